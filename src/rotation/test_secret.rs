//! `testSecret`: verifies the pending key.
//!
//! It never deletes a key. If a schedule is changed with `RotateImmediately=false`, Secrets Manager runs only this step, on a
//! copy of the current value.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>

use std::time::{Duration, Instant};

use super::{Rotation, key_in, resource};
use crate::confluent::{ApiKeyId, Resource};
use crate::error::Error;
use crate::event::Step;
use crate::keys::credentials::ControlPlane;
use crate::keys::verification::Verification;
use crate::preflight::Preflight;
use crate::secret::{PENDING, SecretValue, StagingLabels};

/// Time reserved after the verification to find out whether the key still exists, and to report it.
const DIAGNOSIS_RESERVE: Duration = Duration::from_secs(10);

/// Time reserved after the preflight for the verification.
const VERIFICATION_RESERVE: Duration = Duration::from_mins(1);

impl Rotation<'_> {
    pub(super) async fn test_secret(&self, labels: &StagingLabels) -> Result<&'static str, Error> {
        let current = self.current(labels).await?;
        let (pending, key) = match self.pending(labels).await {
            // Secrets Manager tests a copy of the current value, which contains no key yet.
            Err(Error::VersionWithoutKey { .. }) if current.api_key().is_none() => {
                self.log_preflight(labels).await;
                return Ok("no action required: the first rotation creates the key");
            }
            pending => pending?,
        };
        if current.api_key() == Some(&key) {
            self.log_preflight(labels).await;
        }
        let control_plane = self
            .control_plane(labels, &current, current.api_key())
            .await?;

        let verified = self.verify_pending(&control_plane, &pending, &current);
        let error = match verified.await {
            Ok(message) => return Ok(message),
            Err(error) => error,
        };
        // If the diagnosis fails, too, the first error is reported.
        let is_deleted = is_deleted(&control_plane, &key.id, &current, &error).await;
        if !is_deleted.unwrap_or(false) || pending.has_same_scope_as(&current).is_err() {
            return Err(error);
        }
        self.remove_pending_label(labels).await?;
        Err(Error::PendingKeyDeleted {
            key: key.id.to_string(),
            version: self.event.token.clone(),
        })
    }

    /// Logs the preflight report for operators who enable rotation without rotating immediately.
    async fn log_preflight(&self, labels: &StagingLabels) {
        let deadline = self.deadline.with_reserve(VERIFICATION_RESERVE);
        let preflight = Preflight {
            config: self.config,
            secrets: &self.secrets.with_deadline(deadline),
            confluent: &self.confluent.with_deadline(deadline),
            deadline,
        };
        let report = preflight.run(&labels.arn, Some(&self.event.token)).await;
        report.log();
    }

    /// Removes `AWSPENDING`, so that the next rotation starts with a new version. If the request is rejected, the label may
    /// already have been removed.
    async fn remove_pending_label(&self, labels: &StagingLabels) -> Result<(), Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        let Err(error) = self.secrets.remove_pending_label(arn, version).await else {
            return Ok(());
        };
        if self.secrets.describe(arn).await?.has(version, PENDING) {
            Err(error.into())
        } else {
            Ok(())
        }
    }

    /// Verifies the pending key: it is probed at its resource. If it cannot be probed, it must reach its minimum age. Returns a
    /// message for the log.
    pub(super) async fn verify_pending(
        &self,
        control_plane: &ControlPlane<'_>,
        pending: &SecretValue,
        current: &SecretValue,
    ) -> Result<&'static str, Error> {
        let (resource, key) = (&resource(pending)?, &key_in(PENDING, pending)?);
        let verifier = self.verifier();
        if !verifier.can_probe(resource) {
            return self.await_age(control_plane, pending, resource).await;
        }
        // Either key's metadata contains the environment, even if the other key was deleted or is not returned yet.
        let keys = [Some(key), current.api_key()].into_iter().flatten();
        let keys: Vec<&ApiKeyId> = keys.map(|key| &key.id).collect();
        let target = verifier
            .target(control_plane, pending, resource, None, &keys)
            .await?;
        let started = Instant::now();
        let deadline = self.deadline.with_reserve(DIAGNOSIS_RESERVE);
        if verifier.verify_pending(key, &target, deadline).await? == Verification::Unreachable {
            tracing::warn!(
                host = target.endpoint.host_str(),
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
        pending: &SecretValue,
        resource: &Resource,
    ) -> Result<&'static str, Error> {
        let id = key_in(PENDING, pending)?.id;
        let key = id.to_string();
        let deadline = self.deadline.with_reserve(DIAGNOSIS_RESERVE);
        let mut interval = self.config.probe_interval;
        let metadata = loop {
            if let Some(metadata) = control_plane.read(&id).await? {
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
        if metadata.owner.as_deref() != Some(pending.owner()) || !is_same_resource {
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

/// Returns whether the pending key was deleted: a list that contains the current key does not contain it, and reading it
/// finds nothing. A copy of the current key and an initial key are never considered deleted.
async fn is_deleted(
    control_plane: &ControlPlane<'_>,
    id: &ApiKeyId,
    current: &SecretValue,
    error: &Error,
) -> Result<bool, Error> {
    let may_be_deleted = matches!(
        error,
        Error::PendingKeyNotAccepted { .. } | Error::PendingKeyNotListed { .. }
    );
    let Some(expected_key) = current.api_key().map(|key| &key.id) else {
        return Ok(false);
    };
    if !may_be_deleted || id == expected_key {
        return Ok(false);
    }
    let keys = control_plane.list(current.owner()).await?;
    let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
    if lists(id) || !lists(expected_key) {
        return Ok(false);
    }
    Ok(control_plane.read(id).await?.is_none())
}
