//! `finishSecret`: verifies the pending key again, promotes its version, and deletes the keys that it replaces.
//!
//! If the step is resumed after an interruption, the version may already be current. Then the step verifies the
//! keys again and deletes; it promotes nothing.

use tracing::{Instrument, Span};

use super::{Rotation, StepContext, record_resources};
use crate::config::OldKeyPolicy;
use crate::confluent::{ApiKeyMetadata, Resource};
use crate::error::{Error, first_error};
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::deletion::Deletion;
use crate::keys::evidence::Evidence;
use crate::keys::policy::PreviousKeyPolicy;
use crate::secret::{CURRENT, SecretMetadata, SecretValue, Slot};

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, context: StepContext) -> Result<&'static str, Error> {
        let StepContext { secret, is_current } = context;
        let promoted = if is_current {
            self.verify_promoted(&secret).await
        } else {
            Ok(self.verify_and_promote(&secret).await?)
        };
        let cleaned_up = match promoted {
            Ok((control_plane, value)) => self.clean_up(&control_plane, &secret.arn, &value).await,
            Err(error) => Err(error.message()),
        };
        match cleaned_up {
            Ok(deleted) => deleted?,
            // The version has been promoted. If the step failed, Secrets Manager would retry it, and after a rollback, the retry
            // would promote the version again. So the step succeeds, and `retire` or the next finishSecret deletes the keys. Only a
            // failed deletion of a previous key fails it, because a retry may succeed.
            Err(reason) => self.keep_all(&reason),
        }
        Ok(if is_current {
            "resumed: the version was already current"
        } else {
            "promoted the pending version to AWSCURRENT"
        })
    }

    /// Verifies the pending key and promotes its version.
    async fn verify_and_promote(
        &self,
        secret: &SecretMetadata,
    ) -> Result<(ControlPlane<'_>, SecretValue), Error> {
        let current = self.current(secret).await?;
        let pending = self.pending(secret).await;
        let pending = self.heal_if_invalid(secret, pending).await?;
        let checked = self.check_pending(&pending, &current);
        self.heal_if_invalid(secret, checked).await?;
        let control_plane = self.control_plane(secret, &current).await?;
        self.verify_or_heal(secret, &control_plane, (&pending, &current))
            .await?;
        self.promote(secret).await?;
        // With self-rotation, the previous key must not authenticate its own deletion.
        if let Some(key) = &pending.value.self_rotation_slot().key {
            control_plane.use_own_key(key).await;
        }
        Ok((control_plane, pending.value))
    }

    /// Verifies the key of the event's version, which is already current.
    async fn verify_promoted(
        &self,
        secret: &SecretMetadata,
    ) -> Result<(ControlPlane<'_>, SecretValue), Error> {
        let secrets = &self.invocation.secrets;
        let read = secrets.version(&secret.arn, &self.event.token, CURRENT);
        let promoted = self.parse_version(CURRENT, read.await)?;
        let value = &promoted.value;
        record_resources(value);
        let control_plane = self.control_plane(secret, value).await?;
        let verified = self.verify_pending(&control_plane, &promoted, value).await;
        verified.map_err(|(slot, error)| error.with_key(slot, value))?;
        Ok((control_plane, promoted.value))
    }

    /// Moves `AWSCURRENT`, unless another invocation has done so. Reads the staging labels again immediately before.
    async fn promote(&self, secret: &SecretMetadata) -> Result<(), Error> {
        let (arn, version) = (&secret.arn, &self.event.token);
        let from = secret
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let now = self.invocation.secrets.describe(arn).await?;
        if !self.is_still_pending(&now)? {
            return Ok(());
        }
        if now.version_with(CURRENT) != Some(from) {
            return Err(Error::StagingLabelMoved);
        }
        let Err(error) = self.invocation.secrets.promote(arn, from, version).await else {
            return Ok(());
        };
        // This or another invocation may have moved AWSCURRENT although the request failed.
        let is_promoted = |secret: &SecretMetadata| secret.has(version, CURRENT);
        let secrets = &self.invocation.secrets;
        let now = secrets.describe_until(arn, is_promoted).await?;
        match now.version_with(CURRENT) {
            Some(current) if current == version => Ok(()),
            Some(current) if current == from => Err(error.into()),
            _ => Err(Error::StagingLabelMoved),
        }
    }

    /// For each slot, deletes the previous key if the policy is `delete`, then each orphaned key. In the inner result, returns the
    /// first error of the deletion of a previous key.
    ///
    /// # Errors
    /// Returns the reason if no key may be deleted.
    async fn clean_up(
        &self,
        control_plane: &ControlPlane<'_>,
        arn: &str,
        value: &SecretValue,
    ) -> Result<Result<(), Error>, String> {
        let message = |error: Error| error.message();
        let version = &self.event.token;
        let is_promoted = |secret: &SecretMetadata| secret.has(version, CURRENT);
        let secrets = &self.invocation.secrets;
        let secret = secrets.describe_until(arn, is_promoted).await;
        let secret = secret.map_err(Error::from).map_err(message)?;
        if !secret.has(version, CURRENT) {
            return Err("the version is not labeled AWSCURRENT".to_owned());
        }
        let deletes_previous = self.deletes_previous(&secret);
        let mut listed = Vec::new();
        for slot in value.slots() {
            let keys = self.list_promoted(control_plane, slot);
            listed.push((slot, keys.instrument(slot.span()).await));
        }
        let mut deletion = Deletion::prepare(control_plane, value, secret).await?;
        let of_slots = listed.iter().map(|(slot, listed)| {
            let (resource, keys) = listed.as_ref().map_err(Clone::clone)?;
            let evidence = deletion.evidence(slot, resource, keys)?;
            if !evidence.is_current_created_for(version) {
                return Err("the current key was not created for this version".to_owned());
            }
            Ok(evidence)
        });
        let of_slots: Vec<Result<Evidence<'_>, String>> = of_slots.collect();
        record_previous_keys(of_slots.iter().flatten());
        let mut result = Ok(());
        for (slot, evidence) in value.slots().zip(of_slots) {
            let delete = async {
                match &evidence {
                    Ok(evidence) => deletion.delete_replaced(evidence, deletes_previous).await,
                    Err(reason) => {
                        deletion.keep_keys_of_slot(reason);
                        Ok(())
                    }
                }
            };
            // Boxed, because the future is large.
            let deleted = Box::pin(delete).instrument(slot.span()).await;
            let deleted = deleted.map_err(|error| error.with_key(slot, value));
            result = first_error(result, deleted);
        }
        Ok(result)
    }

    /// Warns that no key may be deleted.
    fn keep_all(&self, reason: &str) {
        tracing::warn!(reason, "kept all keys of the secret");
        self.invocation
            .confluent
            .metrics()
            .count(|counts| counts.kept += 1);
    }

    /// Returns whether finishSecret deletes the previous key. It keeps the key if a resource tag is invalid.
    fn deletes_previous(&self, secret: &SecretMetadata) -> bool {
        match PreviousKeyPolicy::of(secret, self.invocation.config) {
            Ok(policy) => policy.policy == OldKeyPolicy::Delete,
            Err(error) => {
                let reason = error.message();
                tracing::warn!(reason, "kept the previous key");
                self.invocation
                    .confluent
                    .metrics()
                    .count(|counts| counts.kept += 1);
                false
            }
        }
    }

    /// Lists the keys of the owner for a slot's resource. A list may not contain the promoted key yet, so the request is retried for a few
    /// seconds.
    ///
    /// # Errors
    /// Returns the reason if the keys cannot be listed.
    async fn list_promoted(
        &self,
        control_plane: &ControlPlane<'_>,
        slot: &Slot,
    ) -> Result<(Resource, Vec<ApiKeyMetadata>), String> {
        let message = |error: Error| error.message();
        let resource = slot.resource().map_err(Error::from).map_err(message)?;
        let filter = key_filter(slot, &resource);
        let list = async || control_plane.list(filter).await;
        let id = slot.key.as_ref().map(|key| key.id.as_str());
        let is_complete =
            |keys: &Vec<ApiKeyMetadata>| keys.iter().any(|listed| Some(listed.id.as_str()) == id);
        let backoff = self.invocation.secrets.read_after_write();
        let keys = backoff
            .until(self.invocation.deadline, list, is_complete)
            .await;
        let keys = keys.map_err(message)?;
        Ok((resource, keys))
    }
}

/// Adds the IDs of the previous keys to all following log messages.
fn record_previous_keys<'e>(evidence: impl Iterator<Item = &'e Evidence<'e>>) {
    let previous: Vec<&str> = evidence.filter_map(Evidence::previous_key).collect();
    if !previous.is_empty() {
        Span::current().record("previous_key_id", previous.join(", "));
    }
}
