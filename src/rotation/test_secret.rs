//! `testSecret`: verifies the pending key.
//!
//! It never deletes a key. If `RotateSecret` is called with `RotateImmediately=false`, Secrets Manager runs only this step, on a
//! copy of the current value.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tracing::Instrument;

use super::healing::{is_old_enough_to_heal, may_indicate_deletion};
use super::{Pending, Rotation};
use crate::confluent::{ApiKey, Resource};
use crate::error::Error;
use crate::event::Step;
use crate::keys::credentials::ControlPlane;
use crate::keys::target::Scope;
use crate::keys::verification::Verification;
use crate::preflight::Preflight;
use crate::secret::{SecretMetadata, SecretValue, Slot};

/// The results of a verification.
const VERIFIED: &str = "verified the pending key";
const AGED: &str = "the control plane returns the pending key, which has reached its minimum age";

const VERIFIED_OR_AGED: &str =
    "verified the pending keys that could be probed; the others have reached their minimum age";

/// Time reserved after the verification to find out whether the key still exists, and to report it.
const DIAGNOSIS_RESERVE: Duration = Duration::from_secs(10);

/// Time reserved after the preflight for the verification.
const VERIFICATION_RESERVE: Duration = Duration::from_mins(1);

impl Rotation<'_> {
    pub(super) async fn test_secret(&self, secret: &SecretMetadata) -> Result<&'static str, Error> {
        let current = self.current(secret).await?;
        let has_empty_slot = current.slots().any(|slot| slot.key.is_none());
        let pending = match self.pending(secret).await {
            // Secrets Manager tests a copy of the current value, in which a key is still to be created.
            Err(Error::VersionWithoutKey { .. }) if has_empty_slot => {
                self.log_preflight(secret).await;
                return self.verify_copy(secret, current).await;
            }
            pending => self.heal_if_invalid(secret, pending).await?,
        };
        match self.check_pending(&pending, &current) {
            // Secrets Manager removes the label of its test version itself.
            Err(Error::PendingIsCurrent { .. }) => self.log_preflight(secret).await,
            checked => self.heal_if_invalid(secret, checked).await?,
        }
        let control_plane = self.control_plane(secret, &current).await?;
        self.verify_or_heal(secret, &control_plane, (&pending, &current))
            .await
    }

    /// Verifies the keys of a copy of the current value, in which a key is still to be created.
    async fn verify_copy(
        &self,
        secret: &SecretMetadata,
        current: SecretValue,
    ) -> Result<&'static str, Error> {
        if current.contains_keys() {
            let control_plane = self.control_plane(secret, &current).await?;
            let copy = Pending {
                value: current,
                created_at: None,
            };
            let verified = self
                .verify_pending(&control_plane, &copy, &copy.value)
                .await;
            verified.map_err(|(slot, error)| error.with_key(slot, &copy.value))?;
        }
        Ok("no action required: the next rotation creates the missing key")
    }

    /// Verifies the pending keys. Heals if one was deleted.
    pub(super) async fn verify_or_heal(
        &self,
        secret: &SecretMetadata,
        control_plane: &ControlPlane<'_>,
        (pending, current): (&Pending, &SecretValue),
    ) -> Result<&'static str, Error> {
        match self.verify_pending(control_plane, pending, current).await {
            Ok(message) => Ok(message),
            Err((slot, error)) => {
                let error = if may_indicate_deletion(&error) && is_old_enough_to_heal(pending) {
                    let healed = self.heal_if_deleted(error, secret, control_plane, slot, current);
                    healed.await
                } else {
                    error
                };
                Err(error.with_key(slot, &pending.value))
            }
        }
    }

    /// Logs the preflight report for operators who enable rotation without rotating immediately.
    async fn log_preflight(&self, secret: &SecretMetadata) {
        let deadline = self.invocation.deadline.with_reserve(VERIFICATION_RESERVE);
        let preflight = Preflight {
            invocation: &self.invocation.with_deadline(deadline),
        };
        let report = preflight.run(&secret.arn, Some(&self.event.token)).await;
        report.log();
    }

    /// Verifies all pending keys concurrently. Returns a message for the log, or the first key that could not be verified and its
    /// error.
    pub(super) async fn verify_pending<'p>(
        &self,
        control_plane: &ControlPlane<'_>,
        pending: &'p Pending,
        current: &SecretValue,
    ) -> Result<&'static str, (&'p Slot, Error)> {
        let verified = pending.value.filled_slots().map(async |(slot, key)| {
            let replaced = current.key(&slot.prefix);
            // Boxed, because several of these large futures exist concurrently.
            let verified = Box::pin(self.verify_key(control_plane, (slot, key), replaced));
            let verified = verified.instrument(slot.span()).await;
            verified.map_err(|error| (slot, error))
        });
        let messages = try_join_all(verified).await?;
        let mut messages = messages.into_iter();
        let first = messages.next().unwrap_or(VERIFIED);
        let is_same = messages.all(|message| message == first);
        Ok(if is_same { first } else { VERIFIED_OR_AGED })
    }

    /// Verifies the key of a slot: it is probed at its resource. If it cannot be probed, it must reach its minimum age. `replaced` is
    /// the current key. Returns a message for the log.
    async fn verify_key(
        &self,
        control_plane: &ControlPlane<'_>,
        (slot, key): (&Slot, &ApiKey),
        replaced: Option<&ApiKey>,
    ) -> Result<&'static str, Error> {
        let resource = &slot.resource()?;
        let verifier = self.invocation.verifier();
        if !verifier.can_probe(resource) {
            return self.await_age(control_plane, slot, key, resource).await;
        }
        // Either key's metadata contains the environment, even if the other key was deleted or is not returned yet.
        let keys = [Some(key), replaced].into_iter().flatten();
        let scope = Scope {
            control_plane,
            slot,
            resource,
            metadata: None,
            keys: keys.map(|key| &key.id).collect(),
        };
        let mut target = verifier.target(scope).await?;
        let started = Instant::now();
        let deadline = self.invocation.deadline.with_reserve(DIAGNOSIS_RESERVE);
        if verifier.verify_pending(key, &mut target, deadline).await? == Verification::Unreachable {
            tracing::warn!(
                host = target.host(),
                "did not verify the pending key because its endpoint is unreachable"
            );
            return self.await_age(control_plane, slot, key, resource).await;
        }
        // A copy of the current key propagated long ago.
        if self.event.step == Step::Test && replaced != Some(key) {
            let seconds = started.elapsed().as_secs_f64();
            let metrics = self.invocation.confluent.metrics();
            metrics.count(|counts| {
                let slowest = counts.propagation_seconds.unwrap_or_default();
                counts.propagation_seconds = Some(slowest.max(seconds));
            });
        }
        Ok(VERIFIED)
    }

    /// Waits until the control plane returns the pending key and the key has reached its minimum age, and checks its owner and
    /// resource. No probe is sent.
    async fn await_age(
        &self,
        control_plane: &ControlPlane<'_>,
        slot: &Slot,
        key: &ApiKey,
        resource: &Resource,
    ) -> Result<&'static str, Error> {
        let id = &key.id;
        let key = id.to_string();
        let deadline = self.invocation.deadline.with_reserve(DIAGNOSIS_RESERVE);
        let mut interval = self.invocation.config.probe_interval;
        let metadata = loop {
            if let Some(metadata) = control_plane.read(id).await? {
                break metadata;
            }
            if deadline.wait(interval).await.is_err() {
                return Err(Error::PendingKeyNotListed { key });
            }
            interval = self.invocation.verifier().next_interval(interval);
        };
        let is_same_resource = resource.matches(
            metadata.resource.as_deref(),
            metadata.environment.as_deref(),
        );
        if metadata.owner.as_ref() != Some(&slot.owner) || !is_same_resource {
            return Err(Error::PendingKeyScopeMismatch { key });
        }
        let delay = self
            .invocation
            .verifier()
            .remaining_age(&metadata, resource);
        if !delay.is_zero() {
            let seconds = delay.as_secs_f64();
            tracing::info!(
                seconds,
                "waiting until the pending key reaches its minimum age"
            );
            let purpose = "wait until the pending key reaches its minimum age";
            let waited = deadline.wait(delay).await;
            waited.map_err(|_| Error::TimeoutTooShort { purpose })?;
        }
        Ok(AGED)
    }
}
