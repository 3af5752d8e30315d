//! `finishSecret`: verifies the pending key again, promotes its version, and deletes the keys that it replaces.
//!
//! If the step is resumed after an interruption, the version may already be current. Then only the deletion remains.

use std::time::Duration;

use super::{Pending, Rotation, StepContext, key_in, parse, record, record_key_type, resource};
use crate::config::OldKeyPolicy;
use crate::confluent::{ApiKey, ApiKeyMetadata};
use crate::error::Error;
use crate::keys::credentials::ControlPlane;
use crate::keys::deletion::{Deletion, Evidence, Outcome};
use crate::secret::{CURRENT, SecretValue, StagingLabels};

/// The number of times, and the longest interval, at which a list that does not contain the promoted key yet is read again.
const LIST_RETRIES: u32 = 5;
const MAX_LIST_INTERVAL: Duration = Duration::from_secs(2);

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, context: StepContext) -> Result<&'static str, Error> {
        let StepContext { labels, is_current } = context;
        if is_current {
            self.resume_cleanup(labels).await?;
            return Ok("resumed: the version was already current");
        }
        let current = self.current(&labels).await?;
        let pending = self.pending(&labels).await;
        let pending = self.heal_if_unusable(&labels, pending).await?;
        let checked = self.check_pending(&pending, &current);
        self.heal_if_unusable(&labels, checked).await?;
        let control_plane = self
            .control_plane(&labels, &current, current.api_key())
            .await?;
        self.verify_or_heal(&labels, &control_plane, (&pending, &current))
            .await?;
        let (labels, is_promoted_here) = self.promote(&labels).await?;
        // With self-rotation, the previous key must not authenticate its own deletion.
        control_plane.use_own_key(&pending.key).await;
        self.clean_up(&control_plane, labels, &pending.value)
            .await?;
        Ok(if is_promoted_here {
            "promoted the pending version to AWSCURRENT"
        } else {
            "resumed: the version was already current"
        })
    }

    /// Deletes the keys that remain after an interruption, if the current key is verified.
    async fn resume_cleanup(&self, labels: StagingLabels) -> Result<(), Error> {
        match self.verify_promoted(&labels).await {
            Ok((control_plane, value)) => self.clean_up(&control_plane, labels, &value).await,
            Err(error) => {
                self.keep_all_keys(&error.message());
                Ok(())
            }
        }
    }

    /// Verifies the key of the event's version, which is already current.
    async fn verify_promoted(
        &self,
        labels: &StagingLabels,
    ) -> Result<(ControlPlane<'_>, SecretValue), Error> {
        let version = &self.event.token;
        let read = self.secrets.version(&labels.arn, version, CURRENT).await?;
        let created_at = read.as_ref().and_then(|version| version.created_at);
        let value = parse(CURRENT, version, read.map(|version| version.value))?;
        let key = key_in(CURRENT, &value)?;
        record("pending_key_id", &key);
        record_key_type(&value);
        let promoted = Pending {
            value,
            key,
            created_at,
        };
        let (value, key) = (&promoted.value, Some(&promoted.key));
        let control_plane = self.control_plane(labels, value, key).await?;
        self.verify_pending(&control_plane, &promoted, value)
            .await?;
        Ok((control_plane, promoted.value))
    }

    /// Moves `AWSCURRENT`, unless another invocation has done so. Reads the staging labels again immediately before, and returns
    /// the labels after the promotion and whether this invocation promoted the version.
    async fn promote(&self, labels: &StagingLabels) -> Result<(StagingLabels, bool), Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        let from = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let now = self.secrets.describe(arn).await?;
        if !self.is_still_pending(&now)? {
            return Ok((now, false));
        }
        if now.version_with(CURRENT) != Some(from) {
            return Err(Error::StagingLabelMoved);
        }
        let Err(error) = self.secrets.promote(arn, from, version).await else {
            let now = self.secrets.describe_after_write(arn, version, CURRENT);
            // A failed read only means that no key is deleted.
            return Ok((now.await.unwrap_or_else(|_| labels.clone()), true));
        };
        // This or another invocation may have moved AWSCURRENT although the request failed.
        let now = self.secrets.describe_after_write(arn, version, CURRENT);
        let now = now.await?;
        if now.has(version, CURRENT) {
            Ok((now, true))
        } else if now.version_with(CURRENT) == Some(from) {
            Err(error.into())
        } else {
            Err(Error::StagingLabelMoved)
        }
    }

    /// Deletes the previous key if the policy is `delete`, then each orphaned key. Keys that are kept, and orphaned keys that
    /// could not be deleted, don't fail the step.
    async fn clean_up(
        &self,
        control_plane: &ControlPlane<'_>,
        labels: StagingLabels,
        value: &SecretValue,
    ) -> Result<(), Error> {
        let (resource, version) = (resource(value)?, &self.event.token);
        let Some(key) = value.api_key().filter(|_| labels.has(version, CURRENT)) else {
            self.keep_all_keys("the version is not labeled AWSCURRENT");
            return Ok(());
        };
        let keys = match self.list_with(control_plane, value.owner(), key).await {
            Ok(keys) => keys,
            Err(error) => {
                self.keep_all_keys(&error.message());
                return Ok(());
            }
        };
        let evidence = Evidence {
            control_plane,
            secrets: self.secrets,
            owner: value.owner(),
            resource: &resource,
            keys: &keys,
            current: &key.id,
            labels,
        };
        match Deletion::prepare(evidence).await {
            Ok(deletion) if deletion.is_current_created_for(version) => {
                self.delete_replaced(deletion).await
            }
            Ok(_) => {
                self.keep_all_keys("the current key was not created for this version");
                Ok(())
            }
            Err(reason) => {
                self.keep_all_keys(&reason);
                Ok(())
            }
        }
    }

    async fn delete_replaced(&self, mut deletion: Deletion<'_>) -> Result<(), Error> {
        let orphans = deletion.orphans(None);
        let previous = deletion.previous_key().map(str::to_owned);
        let is_deleted = self.config.old_key_policy == OldKeyPolicy::Delete;
        let deleted = match previous.filter(|_| is_deleted) {
            Some(previous) => {
                tracing::Span::current().record("previous_key_id", &previous);
                deletion.delete(&previous).await
            }
            None => Ok(Outcome::Kept),
        };
        for id in orphans {
            match deletion.delete(id).await {
                Ok(Outcome::Deleted) => {
                    let metrics = self.confluent.metrics();
                    metrics.count(|counts| counts.orphans += 1);
                }
                Ok(_) => {}
                Err(error) => {
                    let error = error.message();
                    tracing::warn!(key_id = id, error, "could not delete an orphaned key");
                }
            }
        }
        deleted.map(|_| ())
    }

    /// Lists the owner's keys. A list may not contain the promoted key yet, so it is read again for a few seconds.
    async fn list_with(
        &self,
        control_plane: &ControlPlane<'_>,
        owner: &str,
        key: &ApiKey,
    ) -> Result<Vec<ApiKeyMetadata>, Error> {
        let interval = self.config.probe_interval.min(MAX_LIST_INTERVAL);
        let mut keys = control_plane.list(owner).await?;
        for _ in 0..LIST_RETRIES {
            let is_listed = keys.iter().any(|listed| listed.id == key.id.as_str());
            if is_listed || self.deadline.wait(interval).await.is_err() {
                break;
            }
            keys = control_plane.list(owner).await?;
        }
        Ok(keys)
    }

    /// Reports why no key is deleted. The version is current, so the step must not fail: a failed step is retried and would
    /// promote the version again after a rollback.
    fn keep_all_keys(&self, reason: &str) {
        tracing::warn!(reason, "kept all keys of the secret");
        self.confluent.metrics().count(|counts| counts.kept += 1);
    }
}
