//! Deletion of keys.
//!
//! Every deletion of a key that a version may have contained uses [`Deletion`]. It deletes only keys of the secret's
//! owner, and reads the staging labels immediately before each `DELETE`: a label may have been moved to a version with the key.

use super::credentials::ControlPlane;
use crate::confluent::{self, ApiKey, ApiKeyId, ApiKeyMetadata, ErrorKind};
use crate::error::Error;
use crate::secret::{self, PENDING, StagingLabels};
use crate::telemetry::Metrics;

/// The deletion of keys that were chosen with the staging labels `labels`.
#[derive(Clone, Copy)]
pub struct Deletion<'a> {
    /// The control plane.
    pub control_plane: &'a ControlPlane<'a>,
    /// Secrets Manager.
    pub secrets: &'a secret::Client,
    /// The metrics of this invocation.
    pub metrics: &'a Metrics,
    /// The owner of the secret's keys.
    pub owner: &'a str,
    /// A key that exists. A list that does not contain it is incomplete.
    pub expected_key: Option<&'a ApiKeyId>,
    /// The staging labels with which the keys were chosen.
    pub labels: &'a StagingLabels,
    /// The version that must still be pending, if the keys are deleted before the promotion.
    pub pending_version: Option<&'a str>,
}

impl Deletion<'_> {
    /// Deletes a key. Returns whether it was deleted: a key of another owner is kept, with a warning.
    ///
    /// # Errors
    /// Returns [`Error::StagingLabelMoved`] if a label has moved since the key was chosen, and [`Error::KeyDeletionFailed`].
    pub async fn delete(&self, key: &ApiKeyMetadata) -> Result<bool, Error> {
        if key.owner.as_deref() != Some(self.owner) {
            tracing::warn!(
                key_id = key.id,
                "kept a key because the secret's owner does not own it"
            );
            return Ok(false);
        }
        self.ensure_labels_unchanged().await?;
        let id = ApiKeyId::new(key.id.clone());
        let is_unused = async || self.ensure_labels_unchanged().await.is_ok();
        let deleted = delete_key(
            self.control_plane,
            self.owner,
            &id,
            self.expected_key,
            is_unused,
        );
        if let Err(error) = deleted.await {
            // A moved label, and not the error before it, is the reason that the deletion was not retried.
            if let Err(moved @ Error::StagingLabelMoved) = self.ensure_labels_unchanged().await {
                return Err(moved);
            }
            self.metrics.count(|counts| counts.failed_deletions += 1);
            return Err(error);
        }
        tracing::info!(deleted_key_id = key.id, "deleted a key");
        Ok(true)
    }

    /// Deletes orphaned keys and counts them.
    ///
    /// # Errors
    /// See [`delete`](Self::delete).
    pub async fn delete_orphans(&self, keys: Vec<&ApiKeyMetadata>) -> Result<(), Error> {
        for key in keys {
            let is_deleted = self.delete(key).await?;
            self.metrics
                .count(|counts| counts.orphans += u64::from(is_deleted));
        }
        Ok(())
    }

    async fn ensure_labels_unchanged(&self) -> Result<(), Error> {
        let now = self.secrets.describe(&self.labels.arn).await?;
        let is_still_pending = |version: &str| now.rotation_enabled && now.has(version, PENDING);
        if now.moved_since(self.labels) || !self.pending_version.is_none_or(is_still_pending) {
            return Err(Error::StagingLabelMoved);
        }
        Ok(())
    }
}

/// Deletes the key with `id`. Succeeds if it was already deleted. Calls `is_unused` before each attempt
/// except the first.
///
/// # Errors
/// Returns [`Error::KeyDeletionFailed`].
pub async fn delete_key(
    control_plane: &ControlPlane<'_>,
    owner: &str,
    id: &ApiKeyId,
    expected_key: Option<&ApiKeyId>,
    is_unused: impl AsyncFn() -> bool,
) -> Result<(), Error> {
    let delete =
        async |client: &confluent::Client, key: &ApiKey| client.delete(key, id, &is_unused).await;
    let source = match control_plane.send_while(delete, &is_unused).await {
        Ok(()) => return Ok(()),
        Err(Error::Confluent(source)) => source,
        Err(error) => return Err(error),
    };
    // Confluent may return 403 for a key that does not exist. A list that contains `expected_key` distinguishes the two.
    if source.kind() == Some(ErrorKind::Forbidden)
        && let Ok(keys) = control_plane.list(owner).await
    {
        let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
        if expected_key.is_some_and(lists) && !lists(id) {
            return Ok(());
        }
    }
    Err(Error::KeyDeletionFailed {
        key: id.to_string(),
        source,
    })
}
