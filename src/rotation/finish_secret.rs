//! `finishSecret`: verifies the pending key again, promotes its version, and deletes the keys that it replaces.
//!
//! If the step is resumed after an interruption, the version may already be current. Then only the deletion remains.

use super::{Rotation, StepContext, record_key_type, resource};
use crate::config::OldKeyPolicy;
use crate::confluent::{ApiKey, ApiKeyMetadata, KeyFilter};
use crate::error::Error;
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::deletion::{Deletion, Evidence};
use crate::keys::policy::PreviousKeyPolicy;
use crate::secret::{CURRENT, SecretMetadata, SecretValue};

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, context: StepContext) -> Result<&'static str, Error> {
        let StepContext { labels, is_current } = context;
        let promoted = if is_current {
            self.verify_promoted(&labels).await
        } else {
            Ok(self.verify_and_promote(&labels).await?)
        };
        let cleaned_up = match promoted {
            Ok((control_plane, value)) => self.clean_up(&control_plane, &labels.arn, &value).await,
            Err(error) => Err(error.message()),
        };
        match cleaned_up {
            Ok(deleted) => deleted?,
            // The version was promoted, so the step must not fail: a failed step is retried, and would promote the version again
            // after a rollback.
            Err(reason) => {
                tracing::warn!(reason, "kept all keys of the secret");
                self.confluent.metrics().count(|counts| counts.kept += 1);
            }
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
        labels: &SecretMetadata,
    ) -> Result<(ControlPlane<'_>, SecretValue), Error> {
        let current = self.current(labels).await?;
        let pending = self.pending(labels).await;
        let pending = self.heal_if_invalid(labels, pending).await?;
        let checked = self.check_pending(&pending, &current);
        self.heal_if_invalid(labels, checked).await?;
        let control_plane = self
            .control_plane(labels, &current, current.api_key())
            .await?;
        self.verify_or_heal(labels, &control_plane, (&pending, &current))
            .await?;
        self.promote(labels).await?;
        // With self-rotation, the previous key must not authenticate its own deletion.
        control_plane.use_own_key(&pending.key).await;
        Ok((control_plane, pending.value))
    }

    /// Verifies the key of the event's version, which is already current.
    async fn verify_promoted(
        &self,
        labels: &SecretMetadata,
    ) -> Result<(ControlPlane<'_>, SecretValue), Error> {
        let read = self
            .secrets
            .version(&labels.arn, &self.event.token, CURRENT);
        let promoted = self.parse_version(CURRENT, read.await)?;
        record_key_type(&promoted.value);
        let (value, key) = (&promoted.value, Some(&promoted.key));
        let control_plane = self.control_plane(labels, value, key).await?;
        self.verify_pending(&control_plane, &promoted, value)
            .await?;
        Ok((control_plane, promoted.value))
    }

    /// Moves `AWSCURRENT`, unless another invocation has done so. Reads the staging labels again immediately before.
    async fn promote(&self, labels: &SecretMetadata) -> Result<(), Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        let from = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let now = self.secrets.describe(arn).await?;
        if !self.is_still_pending(&now)? {
            return Ok(());
        }
        if now.version_with(CURRENT) != Some(from) {
            return Err(Error::StagingLabelMoved);
        }
        let Err(error) = self.secrets.promote(arn, from, version).await else {
            return Ok(());
        };
        // This or another invocation may have moved AWSCURRENT although the request failed.
        let is_promoted = |labels: &SecretMetadata| labels.has(version, CURRENT);
        let now = self.secrets.describe_until(arn, is_promoted).await?;
        match now.version_with(CURRENT) {
            Some(current) if current == version => Ok(()),
            Some(current) if current == from => Err(error.into()),
            _ => Err(Error::StagingLabelMoved),
        }
    }

    /// Deletes the previous key if the policy is `delete`, then each orphaned key. Returns an error if the previous key should
    /// have been deleted.
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
        let resource = &resource(value).map_err(message)?;
        let version = &self.event.token;
        let is_promoted = |labels: &SecretMetadata| labels.has(version, CURRENT);
        let labels = self.secrets.describe_until(arn, is_promoted).await;
        let labels = labels.map_err(Error::from).map_err(message)?;
        let key = value.api_key().filter(|_| labels.has(version, CURRENT));
        let key = key.ok_or("the version is not labeled AWSCURRENT")?;
        let filter = key_filter(value, resource);
        let keys = self.list_with(control_plane, filter, key).await;
        let deletes_previous = self.deletes_previous(&labels);
        let evidence = Evidence {
            control_plane,
            secrets: self.secrets,
            value,
            resource,
            keys: &keys.map_err(message)?,
            labels,
        };
        let deletion = Deletion::prepare(evidence).await?;
        if !deletion.is_current_created_for(version) {
            return Err("the current key was not created for this version".to_owned());
        }
        if let Some(previous) = deletion.previous_key() {
            tracing::Span::current().record("previous_key_id", previous);
        }
        Ok(deletion.delete_replaced(deletes_previous).await)
    }

    /// Returns whether finishSecret deletes the previous key. It keeps the key if a resource tag is invalid.
    fn deletes_previous(&self, labels: &SecretMetadata) -> bool {
        match PreviousKeyPolicy::of(labels, self.config) {
            Ok(policy) => policy.policy == OldKeyPolicy::Delete,
            Err(error) => {
                let reason = error.message();
                tracing::warn!(reason, "kept the previous key");
                self.confluent.metrics().count(|counts| counts.kept += 1);
                false
            }
        }
    }

    /// Lists keys of the owner. A list may not contain the promoted key yet, so it is read again for a few seconds.
    async fn list_with(
        &self,
        control_plane: &ControlPlane<'_>,
        filter: KeyFilter<'_>,
        key: &ApiKey,
    ) -> Result<Vec<ApiKeyMetadata>, Error> {
        let list = async || control_plane.list(filter).await;
        let is_complete =
            |keys: &Vec<ApiKeyMetadata>| keys.iter().any(|listed| listed.id == key.id.as_str());
        let backoff = self.secrets.read_after_write();
        backoff.until(self.deadline, list, is_complete).await
    }
}
