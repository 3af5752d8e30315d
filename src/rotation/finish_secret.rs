//! `finishSecret`: promotes the pending version to `AWSCURRENT`, then deletes the keys that it replaces.
//!
//! If the step is resumed after an interruption, the version may already be current. Then only the deletion remains.

use super::{Rotation, StepContext, key_in, parse, record, record_key_type};
use crate::config::OldKeyPolicy;
use crate::confluent::{ApiKey, ApiKeyId, ApiKeyMetadata};
use crate::error::Error;
use crate::keys::credentials::ControlPlane;
use crate::keys::ownership;
use crate::secret::{CURRENT, PENDING, PREVIOUS, SecretValue, StagingLabels};

/// A promoted version and what it replaces.
struct Replacement<'a> {
    control_plane: &'a ControlPlane<'a>,
    owner: &'a str,
    /// The ID of the key that is now current.
    key: &'a ApiKeyId,
    /// The value that was current before, if it is known.
    previous: Option<&'a SecretValue>,
    /// The owner's keys, listed before the staging labels are read again.
    keys: &'a [ApiKeyMetadata],
}

impl<'a> Replacement<'a> {
    fn previous_key(&self) -> Option<&'a ApiKeyId> {
        Some(&self.previous?.api_key()?.id)
    }
}

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, context: StepContext) -> Result<&'static str, Error> {
        let StepContext { labels, is_current } = context;
        let (value, key) = self.value_to_finish(&labels, is_current).await?;
        let previous = if is_current {
            let previous = self.previous(&labels, &value).await?;
            let previous_key = previous.as_ref().and_then(SecretValue::api_key);
            previous_key.inspect(|key| record("previous_key_id", key));
            previous
        } else {
            let current = self.current(&labels).await?;
            self.check_pending(&value, &current)?;
            Some(current)
        };
        let control_plane = self.control_plane(&labels, &value, Some(&key)).await?;
        let keys = list_with(&control_plane, value.owner(), &key.id).await?;
        let (labels, is_promoted_here) = if is_current {
            (labels, false)
        } else {
            self.promote(&labels).await?
        };
        let replacement = Replacement {
            control_plane: &control_plane,
            owner: value.owner(),
            key: &key.id,
            previous: previous.as_ref(),
            keys: &keys,
        };
        self.delete_replaced(&replacement, &labels).await?;
        Ok(if is_promoted_here {
            "promoted the pending version to AWSCURRENT"
        } else {
            "resumed: the version was already current"
        })
    }

    /// Reads the value of the event's version and the key in it.
    async fn value_to_finish(
        &self,
        labels: &StagingLabels,
        is_current: bool,
    ) -> Result<(SecretValue, ApiKey), Error> {
        if !is_current {
            return self.pending(labels).await;
        }
        let version = &self.event.token;
        let value = self.secrets.value(&labels.arn, version, CURRENT).await?;
        let value = parse(CURRENT, version, value)?;
        let key = key_in(CURRENT, &value)?;
        record("pending_key_id", &key);
        record_key_type(&value);
        Ok((value, key))
    }

    /// Checks that the pending value can replace the current one.
    fn check_pending(&self, pending: &SecretValue, current: &SecretValue) -> Result<(), Error> {
        let version = self.event.token.clone();
        if pending.api_key().map(|key| &key.id) == current.api_key().map(|key| &key.id) {
            return Err(Error::PendingIsCurrent { version });
        }
        if let Err(source) = pending.has_same_scope_as(current) {
            return Err(Error::PendingMismatch { version, source });
        }
        // Promoting a value that was created from an earlier one would revert the change.
        if !pending.differs_only_in_key_from(current) {
            return Err(Error::PendingOutdated { version });
        }
        Ok(())
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
        let promoted = self.secrets.promote(arn, from, version).await;
        // The keys to delete are chosen with these labels. This or another invocation may have moved AWSCURRENT although the
        // request failed.
        let now = self.secrets.describe(arn).await?;
        match promoted {
            _ if now.has(version, CURRENT) => Ok((now, true)),
            Err(error) if now.version_with(CURRENT) == Some(from) => Err(error.into()),
            _ => Err(Error::StagingLabelMoved),
        }
    }

    /// Deletes orphaned keys and, under the policy `delete`, the previous key. `labels` are those after the promotion.
    async fn delete_replaced(
        &self,
        replacement: &Replacement<'_>,
        labels: &StagingLabels,
    ) -> Result<(), Error> {
        let previous = self.find_previous(replacement).await?;
        let (control_plane, key) = (replacement.control_plane, replacement.key);
        let deletion = self.deletion(control_plane, replacement.owner, Some(key), labels);
        deletion
            .delete_orphans(self.find_orphans(labels, replacement))
            .await?;
        if let Some(previous) = previous {
            deletion.delete(&previous).await?;
        }
        Ok(())
    }

    /// Returns the orphaned keys that no version can contain anymore.
    ///
    /// If another version is pending, a key with another version's tag may belong to it. If the value of `AWSPREVIOUS` is
    /// unknown, it may contain such a key.
    fn find_orphans<'k>(
        &self,
        labels: &StagingLabels,
        replacement: &Replacement<'k>,
    ) -> Vec<&'k ApiKeyMetadata> {
        let Replacement { key, keys, .. } = *replacement;
        let tag = self.tag(labels);
        let kept = [Some(key), replacement.previous_key()];
        let kept: Vec<&str> = kept.into_iter().flatten().map(ApiKeyId::as_str).collect();
        let another_is_pending = labels
            .version_with(PENDING)
            .is_some_and(|version| version != self.event.token);
        let previous_is_unknown =
            replacement.previous.is_none() && labels.version_with(PREVIOUS).is_some();
        if another_is_pending || previous_is_unknown {
            ownership::find_orphans_of_version(keys, &tag, &kept)
        } else {
            ownership::find_orphans(keys, &tag, &kept)
        }
    }

    /// Returns the metadata of the previous key if the policy is to delete it, or `None` if it was deleted.
    async fn find_previous(
        &self,
        replacement: &Replacement<'_>,
    ) -> Result<Option<ApiKeyMetadata>, Error> {
        let Replacement { key, keys, .. } = *replacement;
        let is_replaced =
            |id: &&ApiKeyId| self.config.old_key_policy == OldKeyPolicy::Delete && *id != key;
        let Some(id) = replacement.previous_key().filter(is_replaced) else {
            return Ok(None);
        };
        // Only a list that contains the current key shows that a key was deleted.
        let found = match replacement.control_plane.find(id, keys).await {
            Ok(None) if !keys.iter().any(|listed| listed.id == key.as_str()) => {
                Err(Error::PreviousKeyStateUnknown {
                    key: id.to_string(),
                })
            }
            found => found,
        };
        let metrics = self.confluent.metrics();
        found.inspect_err(|_| metrics.count(|counts| counts.failed_deletions += 1))
    }
}

/// Lists the owner's keys. The key with `id` must exist: it may have been deleted since it was verified.
async fn list_with(
    control_plane: &ControlPlane<'_>,
    owner: &str,
    id: &ApiKeyId,
) -> Result<Vec<ApiKeyMetadata>, Error> {
    let keys = control_plane.list(owner).await?;
    match control_plane.find(id, &keys).await? {
        Some(_) => Ok(keys),
        None => Err(Error::PendingKeyNotListed {
            key: id.to_string(),
        }),
    }
}
