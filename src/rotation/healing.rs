//! Healing: removes `AWSPENDING` from a version that can never become current, so that the next attempt starts over.
//!
//! The key of the version becomes an orphan, which a later finishSecret deletes. Healing deletes no key.

use super::{Pending, Rotation};
use crate::confluent::{ApiKey, ApiKeyId, ApiKeyMetadata, ProbeOutcome};
use crate::error::Error;
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::target::Scope;
use crate::keys::verification::Verification;
use crate::secret::{self, PENDING, SecretMetadata, SecretValue, SecretVersion, Slot, now};

/// The age of a version, in seconds, after which its key counts as deleted if Confluent Cloud does not return it. The key of a
/// younger version may not be listed yet.
const MIN_HEALING_AGE: i64 = 10 * 60;

impl Rotation<'_> {
    /// Checks that the pending value can replace the current one.
    ///
    /// # Errors
    /// Returns the reason to heal.
    pub(super) fn check_pending(
        &self,
        pending: &Pending,
        current: &SecretValue,
    ) -> Result<(), Error> {
        let version = self.event.token.clone();
        let is_current = |key: &ApiKey| current.keys().any(|current| current.id == key.id);
        if pending.value.keys().any(is_current) {
            return Err(Error::PendingIsCurrent { version });
        }
        if let Err(source) = pending.value.ensure_same_scope(current) {
            return Err(Error::PendingMismatch { version, source });
        }
        // If the current value was changed after this version was created, promoting the version would revert the change.
        if !pending.value.differs_only_in_keys_from(current) {
            return Err(Error::PendingOutdated { version });
        }
        Ok(())
    }

    /// Heals if the pending version cannot be used. A version that cannot be read is not healed.
    pub(super) async fn heal_if_invalid<T>(
        &self,
        secret: &SecretMetadata,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match result {
            Err(
                reason @ (Error::PendingIsCurrent { .. }
                | Error::PendingMismatch { .. }
                | Error::PendingOutdated { .. }
                | Error::InvalidSecretValue { .. }
                | Error::VersionWithoutKey { .. }),
            ) => Err(self.heal(secret, reason).await),
            result => result,
        }
    }

    /// Keeps the pending version, unless it can never become current.
    pub(super) async fn keep_pending(
        &self,
        secret: &SecretMetadata,
        version: Result<Option<SecretVersion>, secret::Error>,
        current: &SecretValue,
    ) -> Result<&'static str, Error> {
        let pending = self.parse_version(PENDING, version).and_then(|pending| {
            self.check_pending(&pending, current)?;
            Ok(pending)
        });
        let pending = self.heal_if_invalid(secret, pending).await?;
        for (slot, key) in pending
            .value
            .filled_slots()
            .filter(|_| is_old_enough_to_heal(&pending))
        {
            // If this cannot be determined, testSecret reports the cause.
            let is_deleted = self.is_confirmed_deleted(secret, (slot, key), current);
            if matches!(is_deleted.await, Ok(true)) {
                let error = self.heal(secret, self.pending_key_deleted(key)).await;
                return Err(error.with_key(slot, current));
            }
        }
        Ok("no action required: the pending version has a value")
    }

    /// Returns whether the pending key of a slot was deleted, and its resource rejects it, is not probed, or is unreachable under
    /// `KEY_VERIFICATION=best-effort`.
    async fn is_confirmed_deleted(
        &self,
        secret: &SecretMetadata,
        (slot, key): (&Slot, &ApiKey),
        current: &SecretValue,
    ) -> Result<bool, Error> {
        let control_plane = self.control_plane(secret, current).await?;
        if !is_deleted(&control_plane, (slot, key), current).await? {
            return Ok(false);
        }
        let (verifier, resource) = (self.invocation.verifier(), slot.resource()?);
        if !verifier.can_probe(&resource) {
            return Ok(true);
        }
        let replaced = current.key(&slot.prefix);
        let scope = Scope {
            control_plane: &control_plane,
            slot,
            resource: &resource,
            metadata: None,
            keys: replaced.map(|key| &key.id).into_iter().collect(),
        };
        let mut target = verifier.target(scope).await?;
        let probed = verifier.verify_once(key, &mut target, self.invocation.deadline);
        Ok(matches!(
            probed.await,
            Ok(Verification::Unreachable)
                | Err(Error::CurrentKeyNotAccepted {
                    outcome: ProbeOutcome::NotAccepted | ProbeOutcome::RejectedByBroker(_),
                    ..
                })
        ))
    }

    /// Heals if the pending key of a slot was deleted, which may be why the verification failed with `error`. The caller has
    /// checked the age of the version. Returns the error to report.
    pub(super) async fn heal_if_deleted(
        &self,
        error: Error,
        secret: &SecretMetadata,
        control_plane: &ControlPlane<'_>,
        slot: &Slot,
        current: &SecretValue,
    ) -> Error {
        let Some(key) = &slot.key else {
            return error;
        };
        // If the diagnosis fails, too, the first error is reported.
        match is_deleted(control_plane, (slot, key), current).await {
            Ok(true) => self.heal(secret, self.pending_key_deleted(key)).await,
            _ => error,
        }
    }

    fn pending_key_deleted(&self, key: &ApiKey) -> Error {
        Error::PendingKeyDeleted {
            key: key.id.to_string(),
            version: self.event.token.clone(),
        }
    }

    /// Removes `AWSPENDING`. Returns the error that reports the reason, or why the label could not be removed.
    async fn heal(&self, secret: &SecretMetadata, reason: Error) -> Error {
        let (arn, version) = (&secret.arn, &self.event.token);
        let secrets = &self.invocation.secrets;
        let Err(error) = secrets.remove_label(arn, version, PENDING).await else {
            return reason;
        };
        // The label may already have been removed.
        match self.invocation.secrets.describe(arn).await {
            Ok(now) if !now.has(version, PENDING) => reason,
            _ => error.into(),
        }
    }
}

/// Returns whether the pending key of a slot was deleted: it is missing from a list that contains the current key (or, for an initial
/// key, another key of the owner), and Confluent Cloud does not return it by its ID. A copy of the current key never counts as deleted.
async fn is_deleted(
    control_plane: &ControlPlane<'_>,
    (slot, key): (&Slot, &ApiKey),
    current: &SecretValue,
) -> Result<bool, Error> {
    let Some(current) = current.slot(&slot.prefix) else {
        return Ok(false);
    };
    let (id, expected) = (&key.id, current.key.as_ref().map(|key| &key.id));
    if Some(id) == expected {
        return Ok(false);
    }
    let resource = &current.resource()?;
    let keys = control_plane.list(key_filter(current, resource)).await?;
    let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
    let is_owned = |key: &ApiKeyMetadata| key.owner.as_ref() == Some(&current.owner);
    let is_complete = expected.map_or_else(|| keys.iter().any(is_owned), lists);
    if lists(id) || !is_complete {
        return Ok(false);
    }
    Ok(control_plane.read(id).await?.is_none())
}

/// Returns whether a verification failed with an error that a deleted key may cause.
pub(super) fn may_indicate_deletion(error: &Error) -> bool {
    matches!(
        error,
        Error::PendingKeyNotListed { .. }
            | Error::PendingKeyNotAccepted {
                outcome: ProbeOutcome::NotAccepted | ProbeOutcome::RejectedByBroker(_),
                ..
            }
    )
}

/// Returns whether the version is so old that its key counts as deleted if Confluent Cloud does not return it.
pub(super) fn is_old_enough_to_heal(pending: &Pending) -> bool {
    let age = pending.created_at.map(|created_at| now() - created_at);
    age > Some(MIN_HEALING_AGE)
}
