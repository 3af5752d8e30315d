//! The one rule for deletion. It decides from what Confluent Cloud and Secrets Manager return.
//!
//! What a secret says is a claim: a user may have pasted another application's key. A key is deleted only on evidence from
//! Confluent Cloud: its ownership tag, owner, resource and creation time. Labels may move at any time, so they are read
//! immediately before each `DELETE`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::credentials::{ControlPlane, key_filter};
use super::evidence::Evidence;
use super::labeled_values::labeled_values;
use super::ownership::Ownership;
use crate::confluent::{ApiKeyId, ApiKeyMetadata, Resource};
use crate::error::Error;
use crate::secret::{PENDING, PREVIOUS, SecretMetadata, SecretValue, Slot};

/// The longest time for reading the staging labels before a key is deleted to free quota, retries included. Another invocation
/// cannot store a key and promote it within this time: by default, it first verifies the key twice, for 10 seconds each.
const MAX_LABEL_READ: Duration = Duration::from_secs(20);

/// The reason to keep a key that may exist but is not listed.
const NOT_LISTED: &str = "Confluent Cloud does not list it with the secret's owner and resource";

/// The result of [`Deletion::delete`].
pub(super) enum Outcome {
    /// The key was deleted.
    Deleted,
    /// The rule does not allow the deletion, or the key no longer exists.
    Kept,
    /// The secret has changed since the key was chosen (rotation, staging labels, replication, or a value of the pending version
    /// whose keys need quota), or that could not be determined. Nothing more is deleted in this invocation.
    Stopped,
}

/// The deletion of keys of one secret.
#[derive(Debug)]
pub struct Deletion<'a> {
    control_plane: &'a ControlPlane<'a>,
    /// The metadata of the secret, with the staging labels by which keys are chosen.
    secret: SecretMetadata,
    /// The values of the versions that have a label.
    values: BTreeMap<String, SecretValue>,
    /// The current value.
    current: &'a SecretValue,
    /// The resources of all its slots.
    resources: Vec<Resource>,
    /// The pending version whose keys need quota.
    pub(super) quota_version: Option<&'a str>,
    /// The version from which `AWSPREVIOUS` was removed.
    unlabeled_version: Option<String>,
    /// The keys that were deleted, and those whose deletion to free quota may have taken effect.
    pub(super) deleted: Vec<String>,
    is_stopped: bool,
}

impl<'a> Deletion<'a> {
    /// Reads all versions that have a label.
    ///
    /// # Errors
    /// Returns the reason if no key may be deleted: a replica may still serve an earlier value, or a version cannot be read.
    pub async fn prepare(
        control_plane: &'a ControlPlane<'a>,
        current: &'a SecretValue,
        secret: SecretMetadata,
    ) -> Result<Self, String> {
        let resources = current.slots().filter_map(|slot| slot.resource().ok());
        Ok(Self {
            control_plane,
            values: labeled_values(control_plane.secrets, &secret).await?,
            secret,
            current,
            resources: resources.collect(),
            quota_version: None,
            unlabeled_version: None,
            deleted: Vec::new(),
            is_stopped: false,
        })
    }

    /// Collects the evidence for the keys of `slot`, whose resource is `resource`, from the listed `keys` of the owner. Collect it for
    /// all slots before the first deletion: the removal of `AWSPREVIOUS` also removes the version that names the other previous keys.
    ///
    /// # Errors
    /// Returns the reason if no key of the slot may be deleted: Confluent Cloud does not list the current key.
    pub fn evidence<'e>(
        &self,
        slot: &'e Slot,
        resource: &'e Resource,
        keys: &'e [ApiKeyMetadata],
    ) -> Result<Evidence<'e>, &'static str> {
        let id = slot.key.as_ref().map(|key| key.id.as_str());
        let id = id.ok_or("the current version contains no key")?;
        let current = keys.iter().find(|key| key.id == id);
        let current = current.ok_or("Confluent Cloud does not list the current key")?;
        let tag = Ownership::of(current, &self.secret.arn).tag_of_this_secret();
        // A user may have moved the current keys to other fields.
        let is_current = |id: &&ApiKeyId| self.current.keys().any(|key| key.id == **id);
        let labeled = self.labeled_previous(slot).map(|(_, id)| id);
        let labeled = labeled
            .filter(|id| !is_current(id))
            .map(ToString::to_string);
        Ok(Evidence {
            previous: labeled.or_else(|| tag.as_ref()?.previous.clone()),
            tag,
            slot,
            resource,
            listed: keys,
            current,
            may_free_quota: false,
        })
    }

    /// Returns the version that is labeled `AWSPREVIOUS` and the ID of its key in `slot`.
    fn labeled_previous(&self, slot: &Slot) -> Option<(&str, &ApiKeyId)> {
        let version = self.secret.version_with(PREVIOUS)?;
        let previous = self.values.get(version)?.slot(&slot.prefix)?;
        Some((version, &previous.key.as_ref()?.id))
    }

    /// Returns the orphaned keys: keys of this secret that no version with a label contains, except the previous key. With
    /// `version`, only keys that were created for it.
    pub fn orphans<'e>(&self, evidence: &Evidence<'e>, version: Option<&str>) -> Vec<&'e str> {
        let is_of_version = |key: &ApiKeyMetadata| {
            let tag = Ownership::of(key, &self.secret.arn).tag_of_this_secret();
            version.is_none_or(|version| tag.is_some_and(|tag| tag.version == version))
        };
        let is_orphan = |key: &&ApiKeyMetadata| {
            let id = key.id.as_str();
            id != evidence.current.id
                && Some(id) != evidence.previous_key()
                && self.is_of_slot(evidence, key)
                && self.check_ownership(evidence, key).is_ok()
                && !self.is_in_use(evidence, id)
                && is_of_version(key)
        };
        let orphans = evidence.listed.iter().filter(is_orphan);
        orphans.map(|key| key.id.as_str()).collect()
    }

    /// Returns whether a listed key is one of the slot's. The slot of `apiKey` includes the keys for former resources.
    fn is_of_slot(&self, evidence: &Evidence<'_>, key: &ApiKeyMetadata) -> bool {
        let is_for = |resource: &Resource| {
            resource.matches(key.resource.as_deref(), key.environment.as_deref())
        };
        let is_former = || !self.resources.iter().any(is_for);
        is_for(evidence.resource) || evidence.slot.prefix.is_empty() && is_former()
    }

    /// Returns the orphaned keys that may be deleted under the rule once they are older than the current key, and the orphaned and
    /// previous keys that the rule keeps, with the reasons.
    pub async fn orphaned_and_kept<'e>(
        &self,
        evidence: &Evidence<'e>,
    ) -> (Vec<&'e str>, Vec<String>) {
        let (mut orphaned, mut kept) = (Vec::new(), Vec::new());
        for id in self.orphans(evidence, None) {
            match self.decide(evidence, id).await {
                Ok(key) if key.plausible_created_at().is_some() => orphaned.push(id),
                Ok(_) => kept.push(format!("{id} is kept: its creation time is unknown")),
                Err(reason) => kept.extend(reason.map(|reason| format!("{id} is kept: {reason}"))),
            }
        }
        if let Some(id) = evidence.previous_key()
            && let Err(Some(reason)) = self.decide(evidence, id).await
        {
            kept.push(format!("{id} is kept: {reason}"));
        }
        (orphaned, kept)
    }

    /// Deletes the previous key of a slot if `deletes_previous`, then each orphaned key.
    ///
    /// # Errors
    /// Returns an error if the previous key may be deleted under the rule, and the removal of its label or the `DELETE` failed. An
    /// orphaned key that cannot be deleted is a warning.
    pub async fn delete_replaced(
        &mut self,
        evidence: &Evidence<'_>,
        deletes_previous: bool,
    ) -> Result<(), Error> {
        let orphans = self.orphans(evidence, None);
        let mut deleted = Ok(Outcome::Kept);
        if let Some(previous) = evidence.previous_key().filter(|_| deletes_previous) {
            deleted = self.delete(evidence, previous).await;
        } else {
            self.warn_of_previous_key(evidence).await;
        }
        for id in orphans {
            if let Err(error) = self.delete(evidence, id).await {
                let error = error.message();
                tracing::warn!(key_id = id, error, "could not delete an orphaned key");
            }
        }
        deleted.map(|_| ())
    }

    /// Returns whether Confluent Cloud lists the previous key or an orphaned key.
    pub fn has_candidates(&self, evidence: &Evidence<'_>) -> bool {
        let previous = evidence.previous_key().and_then(|id| evidence.find(id));
        previous.is_some() || !self.orphans(evidence, None).is_empty()
    }

    /// Deletes the key with `id` if the rule allows it.
    ///
    /// # Errors
    /// Returns [`Error`] if the rule allows it, and the removal of its label or the `DELETE` failed.
    pub(super) async fn delete(
        &mut self,
        evidence: &Evidence<'_>,
        id: &str,
    ) -> Result<Outcome, Error> {
        if self.is_stopped {
            return Ok(Outcome::Stopped);
        }
        let reason = match self.decide(evidence, id).await {
            Ok(key) => match self.check_age(evidence, key) {
                Ok(()) => return self.delete_allowed(evidence, key).await,
                Err(reason) => Some(reason),
            },
            Err(reason) => reason,
        };
        if let Some(reason) = reason {
            self.warn_of_kept_key(id, reason);
        }
        Ok(Outcome::Kept)
    }

    /// Returns the key with `id` if the rule allows its deletion at some age. Otherwise returns the reason, or `None` if the key
    /// no longer exists.
    async fn decide<'e>(
        &self,
        evidence: &Evidence<'e>,
        id: &str,
    ) -> Result<&'e ApiKeyMetadata, Option<&'static str>> {
        let control_plane = self.control_plane;
        let Some(key) = evidence.find(id) else {
            let read = control_plane.read(&ApiKeyId::new(id.to_owned())).await;
            return Err(match read {
                Ok(None) => None,
                Ok(Some(key)) => Some(self.check(evidence, &key).err().unwrap_or(NOT_LISTED)),
                Err(_) => Some(NOT_LISTED),
            });
        };
        if control_plane.authenticates_with(id).await {
            return Err(Some("the function authenticates with it"));
        }
        self.check(evidence, key).map(|()| key).map_err(Some)
    }

    /// Warns that no key of a slot may be deleted.
    pub fn keep_keys_of_slot(&self, reason: &str) {
        tracing::warn!(reason, "kept all keys for the resource");
        let metrics = self.control_plane.metrics();
        metrics.count(|counts| counts.kept += 1);
    }

    fn warn_of_kept_key(&self, id: &str, reason: &str) {
        tracing::warn!(key_id = id, reason, "kept a key");
        let metrics = self.control_plane.metrics();
        metrics.count(|counts| counts.kept += 1);
    }

    /// Warns if the rule will not allow the deletion of the previous key, which the policy keeps for the moment.
    async fn warn_of_previous_key(&self, evidence: &Evidence<'_>) {
        if let Some(id) = evidence.previous_key()
            && let Err(Some(reason)) = self.decide(evidence, id).await
        {
            self.warn_of_kept_key(id, reason);
        }
    }

    /// Checks everything that the list of keys and the versions show, except the creation time.
    pub(super) fn check(
        &self,
        evidence: &Evidence<'_>,
        key: &ApiKeyMetadata,
    ) -> Result<(), &'static str> {
        let (resource, environment) = (key.resource.as_deref(), key.environment.as_deref());
        if key.owner.as_ref() != Some(&evidence.slot.owner) {
            return Err("its owner is not the one that the secret names");
        }
        if !evidence.resource.matches(resource, environment) {
            return Err("its resource is not the one that the secret names");
        }
        // The ID of a Flink region does not contain its environment.
        let environments = key
            .environment
            .as_ref()
            .zip(evidence.current.environment.as_ref());
        if environments.is_some_and(|(key, current)| key != current) {
            return Err("its environment is not the current key's");
        }
        if self.is_in_use(evidence, &key.id) {
            return Err("a version with a staging label contains it");
        }
        self.check_ownership(evidence, key)
    }

    /// Checks that an ownership tag says that the key belongs to this secret.
    fn check_ownership(
        &self,
        evidence: &Evidence<'_>,
        key: &ApiKeyMetadata,
    ) -> Result<(), &'static str> {
        let tag = evidence.tag.as_ref();
        let replaced = tag.and_then(|tag| tag.replaces.as_ref());
        match Ownership::of(key, &self.secret.arn) {
            Ownership::ThisSecret(_) => Ok(()),
            Ownership::Untagged if replaced == Some(&key.id) => Ok(()),
            Ownership::Untagged => Err("no ownership tag says that it belongs to this secret"),
            Ownership::AnotherSecret => Err("it has another secret's ownership tag"),
        }
    }

    /// Checks that the key is older than the current one, unless the deletion frees quota.
    fn check_age(&self, evidence: &Evidence<'_>, key: &ApiKeyMetadata) -> Result<(), &'static str> {
        let created = key
            .plausible_created_at()
            .zip(evidence.current.plausible_created_at());
        let is_older = created.is_some_and(|(key, current)| key < current);
        if is_older || self.quota_version.is_some() {
            Ok(())
        } else {
            Err("it is not known to be older than the current key")
        }
    }

    /// Returns whether a version contains the ID, except the version from which `AWSPREVIOUS` can be removed.
    fn is_in_use(&self, evidence: &Evidence<'_>, id: &str) -> bool {
        let removable = self.removable_version(evidence.slot, id);
        let id = ApiKeyId::new(id.to_owned());
        let mut values = self.values.iter();
        values.any(|(version, value)| {
            Some(version.as_str()) != removable && value.paths_containing(&id).is_some()
        })
    }

    /// Returns the version of the key if its only label is `AWSPREVIOUS`.
    fn removable_version(&self, slot: &Slot, id: &str) -> Option<&str> {
        let (version, key) = self.labeled_previous(slot)?;
        let labels = self.secret.labels_of(version)?;
        (key.as_str() == id && labels.len() == 1).then_some(version)
    }

    async fn delete_allowed(
        &mut self,
        evidence: &Evidence<'_>,
        key: &ApiKeyMetadata,
    ) -> Result<Outcome, Error> {
        let is_orphan = evidence.previous_key() != Some(&key.id);
        let deleted = self.remove_label_and_delete(evidence, key).await;
        let metrics = self.control_plane.metrics();
        match deleted {
            Ok(true) => {
                tracing::info!(deleted_key_id = key.id, "deleted a key");
                metrics.count(|counts| {
                    counts.orphans += u64::from(is_orphan);
                    counts.previous_keys += u64::from(!is_orphan);
                });
                self.warn_of_lost_evidence(evidence, key);
                self.deleted.push(key.id.clone());
                Ok(Outcome::Deleted)
            }
            Ok(false) => {
                tracing::warn!(
                    "stopped deleting keys: the secret has changed or could not be described"
                );
                metrics.count(|counts| counts.kept += 1);
                self.is_stopped = true;
                Ok(Outcome::Stopped)
            }
            Err(error) => {
                metrics.count(|counts| counts.failed_deletions += 1);
                Err(error)
            }
        }
    }

    /// Removes `AWSPREVIOUS` if it names the key, so that no label ever names a key that the function deleted. Then reads the
    /// labels and deletes the key. Returns `false` if the secret has changed, or if that cannot be determined. If the admin secret
    /// was rotated to this key, the `DELETE` is not sent again, and its error is returned.
    async fn remove_label_and_delete(
        &mut self,
        evidence: &Evidence<'_>,
        key: &ApiKeyMetadata,
    ) -> Result<bool, Error> {
        let removable = self.removable_version(evidence.slot, &key.id);
        if let Some(version) = removable.map(str::to_owned)
            && !self.remove_previous_label(&version).await?
        {
            return Ok(false);
        }
        match self.is_unchanged().await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                let error = error.message();
                tracing::warn!(error, "could not read the staging labels before a deletion");
                let metrics = self.control_plane.metrics();
                metrics.count(|counts| counts.failed_deletions += 1);
                return Ok(false);
            }
        }
        let id = ApiKeyId::new(key.id.clone());
        // The admin secret may have been rotated to this key in the meantime.
        let is_unused = async || {
            !self.control_plane.authenticates_with(&key.id).await
                && self.is_unchanged().await.unwrap_or(false)
        };
        let filter = key_filter(evidence.slot, evidence.resource);
        let current = evidence.slot.key.as_ref().map(|key| &key.id);
        let control_plane = self.control_plane;
        match control_plane.delete(filter, &id, current, is_unused).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_no_longer_wanted() => Ok(false),
            // The deletion was not retried, because a label has moved.
            Err(error) if matches!(self.is_unchanged().await, Ok(false)) => {
                let is_unknown = u64::from(error.may_have_taken_effect());
                let metrics = control_plane.metrics();
                metrics.count(|counts| counts.failed_deletions += is_unknown);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes `AWSPREVIOUS` from `version`. Returns `false` if the label has moved.
    async fn remove_previous_label(&mut self, version: &str) -> Result<bool, Error> {
        let secrets = self.control_plane.secrets;
        let mut without_label = self.secret.clone();
        without_label.remove(version, PREVIOUS);
        let arn = &without_label.arn;
        if let Err(error) = secrets.remove_label(arn, version, PREVIOUS).await {
            // It may have been removed although the request failed.
            let now = secrets.describe(arn).await?;
            if now.has(version, PREVIOUS) {
                return Err(error.into());
            }
            if !now.has_same_state_as(&without_label) {
                return Ok(false);
            }
        }
        self.secret = without_label;
        self.values.remove(version);
        self.unlabeled_version = Some(version.to_owned());
        Ok(true)
    }

    /// Describes the secret. Returns whether nothing has changed since the key was chosen, except what the function itself changed.
    async fn is_unchanged(&self) -> Result<bool, Error> {
        let (secrets, secret) = (self.control_plane.secrets, &self.secret);
        // The removal of the label reaches the replicas later.
        let is_complete = |now: &SecretMetadata| {
            let removed = self.unlabeled_version.as_ref();
            removed.is_none_or(|version| {
                !now.has(version, PREVIOUS) && now.replica_not_in_sync.is_none()
            })
        };
        let Some(version) = self.quota_version else {
            let now = secrets.describe_until(&secret.arn, is_complete).await?;
            return Ok(now.has_same_state_as(secret));
        };
        let secrets = secrets.within(MAX_LABEL_READ);
        let now = secrets.describe_until(&secret.arn, is_complete).await?;
        // Storing a value moves no label.
        Ok(now.has_same_state_as(secret)
            && secrets
                .value(&secret.arn, version, PENDING)
                .await?
                .is_none())
    }

    /// Warns if the tag of a deleted key says that it replaced an untagged key, and the current key's tag does not.
    fn warn_of_lost_evidence(&self, evidence: &Evidence<'_>, key: &ApiKeyMetadata) {
        let arn = &self.secret.arn;
        let tag = Ownership::of(key, arn).tag_of_this_secret();
        let Some(id) = tag.and_then(|tag| tag.replaces) else {
            return;
        };
        let tag = evidence.tag.as_ref();
        let is_remembered = tag.and_then(|tag| tag.replaces.as_ref()) == Some(&id);
        let mut keys = evidence.listed.iter();
        let is_untagged = |key: &ApiKeyMetadata| Ownership::of(key, arn) == Ownership::Untagged;
        if !is_remembered && keys.any(|key| key.id == id && is_untagged(key)) {
            let reason = "this secret contained it, and the current key's ownership tag does not name it: delete it \
                          manually if no application uses it";
            self.warn_of_kept_key(&id, reason);
        }
    }
}
