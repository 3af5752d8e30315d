//! `testSecret`: verifies the pending key.
//!
//! It never deletes a key. If a schedule is changed with `RotateImmediately=false`, Secrets Manager runs only this step, on a
//! copy of the current value.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>

use std::time::{Duration, Instant};

use super::{Pending, Rotation, resource};
use crate::confluent::Resource;
use crate::error::Error;
use crate::event::Step;
use crate::keys::credentials::ControlPlane;
use crate::keys::target::Scope;
use crate::keys::verification::Verification;
use crate::preflight::Preflight;
use crate::secret::{SecretMetadata, SecretValue};

/// Time reserved after the verification to find out whether the key still exists, and to report it.
const DIAGNOSIS_RESERVE: Duration = Duration::from_secs(10);

/// Time reserved after the preflight for the verification.
const VERIFICATION_RESERVE: Duration = Duration::from_mins(1);

impl Rotation<'_> {
    pub(super) async fn test_secret(&self, labels: &SecretMetadata) -> Result<&'static str, Error> {
        let current = self.current(labels).await?;
        let pending = match self.pending(labels).await {
            // Secrets Manager tests a copy of the current value, which contains no key yet.
            Err(Error::VersionWithoutKey { .. }) if current.api_key().is_none() => {
                self.log_preflight(labels).await;
                return Ok("no action required: the first rotation creates the key");
            }
            pending => self.heal_if_invalid(labels, pending).await?,
        };
        match self.check_pending(&pending, &current) {
            // A test of the configuration never heals.
            Err(Error::PendingIsCurrent { .. }) => self.log_preflight(labels).await,
            checked => self.heal_if_invalid(labels, checked).await?,
        }
        let control_plane = self
            .control_plane(labels, &current, current.api_key())
            .await?;
        self.verify_or_heal(labels, &control_plane, (&pending, &current))
            .await
    }

    /// Verifies the pending key. Heals if it was deleted.
    pub(super) async fn verify_or_heal(
        &self,
        labels: &SecretMetadata,
        control_plane: &ControlPlane<'_>,
        (pending, current): (&Pending, &SecretValue),
    ) -> Result<&'static str, Error> {
        match self.verify_pending(control_plane, pending, current).await {
            Ok(message) => Ok(message),
            Err(error) => {
                let values = (pending, current);
                Err(self
                    .heal_if_deleted(error, labels, control_plane, values)
                    .await)
            }
        }
    }

    /// Logs the preflight report for operators who enable rotation without rotating immediately.
    async fn log_preflight(&self, labels: &SecretMetadata) {
        let deadline = self.deadline.with_reserve(VERIFICATION_RESERVE);
        let preflight = Preflight {
            config: self.config,
            secrets: &self.secrets.with_deadline(deadline),
            confluent: &self.confluent.with_deadline(deadline),
            access_tokens: self.access_tokens,
            deadline,
        };
        let report = preflight.run(&labels.arn, Some(&self.event.token)).await;
        report.log();
    }

    /// Verifies the pending key: it is probed at its resource. If it cannot be probed, it must reach its minimum age. Returns a
    /// message for the log.
    pub(super) async fn verify_pending(
        &self,
        control_plane: &ControlPlane<'_>,
        pending: &Pending,
        current: &SecretValue,
    ) -> Result<&'static str, Error> {
        let (resource, key) = (&resource(&pending.value)?, &pending.key);
        let verifier = self.verifier();
        if !verifier.can_probe(resource) {
            return self.await_age(control_plane, pending, resource).await;
        }
        // Either key's metadata contains the environment, even if the other key was deleted or is not returned yet.
        let keys = [Some(key), current.api_key()].into_iter().flatten();
        let scope = Scope {
            control_plane,
            value: &pending.value,
            resource,
            metadata: None,
            keys: keys.map(|key| &key.id).collect(),
        };
        let mut target = verifier.target(scope).await?;
        let started = Instant::now();
        let deadline = self.deadline.with_reserve(DIAGNOSIS_RESERVE);
        if verifier.verify_pending(key, &mut target, deadline).await? == Verification::Unreachable {
            tracing::warn!(
                host = target.host(),
                "did not verify the pending key because its endpoint is unreachable"
            );
            return self.await_age(control_plane, pending, resource).await;
        }
        // A copy of the current key propagated long ago.
        if self.event.step == Step::Test && current.api_key() != Some(key) {
            let seconds = started.elapsed().as_secs_f64();
            let metrics = self.confluent.metrics();
            metrics.count(|counts| counts.propagation_seconds = Some(seconds));
        }
        Ok("verified the pending key")
    }

    /// Waits until the control plane returns the pending key and the key has reached its minimum age, and checks its owner and
    /// resource. No probe is sent.
    async fn await_age(
        &self,
        control_plane: &ControlPlane<'_>,
        pending: &Pending,
        resource: &Resource,
    ) -> Result<&'static str, Error> {
        let id = &pending.key.id;
        let key = id.to_string();
        let deadline = self.deadline.with_reserve(DIAGNOSIS_RESERVE);
        let mut interval = self.config.probe_interval;
        let metadata = loop {
            if let Some(metadata) = control_plane.read(id).await? {
                break metadata;
            }
            if deadline.wait(interval).await.is_err() {
                return Err(Error::PendingKeyNotListed { key });
            }
            interval = self.verifier().next_interval(interval);
        };
        let is_same_resource = resource.matches(
            metadata.resource.as_deref(),
            metadata.environment.as_deref(),
        );
        if metadata.owner.as_deref() != Some(pending.value.owner()) || !is_same_resource {
            return Err(Error::PendingKeyScopeMismatch { key });
        }
        let delay = self.verifier().remaining_age(&metadata, resource);
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
        Ok("the control plane returns the pending key, which has reached its minimum age")
    }
}
