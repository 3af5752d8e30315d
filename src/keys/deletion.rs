//! The one rule for deletion. It decides from what Confluent Cloud and Secrets Manager return.
//!
//! What a secret says is a claim: a user may have pasted another application's key. A key is deleted only on evidence from
//! Confluent Cloud: its ownership tag, owner, resource and creation time. Labels may move at any time, so they are read
//! immediately before each `DELETE`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::credentials::ControlPlane;
use super::ownership::{Ownership, OwnershipTag};
use crate::confluent::{self, ApiKey, ApiKeyId, ApiKeyMetadata, ErrorKind, Resource};
use crate::error::Error;
use crate::http::joined;
use crate::secret::{self, PENDING, PREVIOUS, SecretValue, StagingLabels};

/// How far `created_at` may be ahead of the function's clock, in seconds.
const MAX_CLOCK_SKEW: i64 = 5 * 60;

/// The longest time for reading the staging labels before a key is deleted to free quota, retries included. An invocation that
/// would store and promote the key meanwhile must first verify it, which takes longer.
const MAX_LABEL_READ: Duration = Duration::from_secs(20);

/// The result of [`Deletion::delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was deleted.
    Deleted,
    /// The rule does not allow the deletion, or the key no longer exists.
    Kept,
    /// A label has moved since the key was chosen. Nothing more is deleted in this invocation.
    Stopped,
}

/// What decides which keys of a secret may be deleted.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The control plane.
    pub control_plane: &'a ControlPlane<'a>,
    /// Secrets Manager.
    pub secrets: &'a secret::Client,
    /// The owner of the secret's keys.
    pub owner: &'a str,
    /// The resource that the secret's keys are scoped to.
    pub resource: &'a Resource,
    /// The owner's keys.
    pub keys: &'a [ApiKeyMetadata],
    /// The ID of the current key.
    pub current: &'a ApiKeyId,
    /// The staging labels with which keys are chosen.
    pub labels: StagingLabels,
}

/// The deletion of keys of one secret.
#[derive(Debug)]
pub struct Deletion<'a> {
    evidence: Evidence<'a>,
    current: &'a ApiKeyMetadata,
    /// The current key's ownership tag, if it names this secret.
    tag: Option<OwnershipTag>,
    /// The values of the versions that have a label.
    values: BTreeMap<String, SecretValue>,
    /// The pending version, if keys are deleted to free quota for its key.
    version_without_value: Option<&'a str>,
    is_stopped: bool,
}

impl<'a> Deletion<'a> {
    /// Reads all versions that have a label.
    ///
    /// # Errors
    /// Returns the reason if no key may be deleted: Confluent Cloud does not list the current key, a replica may still serve an
    /// earlier value, or a version cannot be read.
    pub async fn prepare(evidence: Evidence<'a>) -> Result<Self, String> {
        let id = evidence.current.as_str();
        let current = evidence.keys.iter().find(|key| key.id == id);
        let current = current.ok_or("Confluent Cloud does not list the current key")?;
        let tag = Ownership::of(current, &evidence.labels.arn).tag_of_this_secret();
        Ok(Self {
            tag,
            current,
            values: read_values(&evidence).await?,
            version_without_value: None,
            is_stopped: false,
            evidence,
        })
    }

    /// Returns whether the current key was created for `version` of this secret.
    pub fn is_current_created_for(&self, version: &str) -> bool {
        self.tag.as_ref().is_some_and(|tag| tag.version == version)
    }

    /// Returns the ID of the previous key: the key of `AWSPREVIOUS`, or else the key that the current key's tag names.
    pub fn previous_key(&self) -> Option<&str> {
        let labeled = self.labeled_previous().map(|(_, id)| id.as_str());
        let labeled = labeled.filter(|id| *id != self.current.id);
        labeled.or_else(|| self.tag.as_ref()?.previous.as_deref())
    }

    /// Returns the version that is labeled `AWSPREVIOUS` and the ID of its key.
    fn labeled_previous(&self) -> Option<(&str, &ApiKeyId)> {
        let version = self.evidence.labels.version_with(PREVIOUS)?;
        let key = self.values.get(version)?.api_key()?;
        Some((version, &key.id))
    }

    /// Returns the orphaned keys: keys of this secret that no version with a label contains, except the previous key. With
    /// `version`, only keys that were created for it.
    pub fn orphans(&self, version: Option<&str>) -> Vec<&'a str> {
        let previous = self.previous_key();
        let is_of_version = |key: &ApiKeyMetadata| {
            let tag = Ownership::of(key, &self.evidence.labels.arn).tag_of_this_secret();
            version.is_none_or(|version| tag.is_some_and(|tag| tag.version == version))
        };
        let is_orphan = |key: &&ApiKeyMetadata| {
            let id = Some(key.id.as_str());
            id != Some(&self.current.id)
                && id != previous
                && self.check_ownership(key).is_ok()
                && !self.is_in_use(&key.id)
                && is_of_version(key)
        };
        let orphans = self.evidence.keys.iter().filter(is_orphan);
        orphans.map(|key| key.id.as_str()).collect()
    }

    /// Returns the previous key and why it is kept, if it is listed and the rule does not allow its deletion at any age.
    pub fn kept_previous_key(&self) -> Option<String> {
        let id = self.previous_key()?;
        let reason = self.check(self.listed(id)?).err()?;
        Some(format!("{id} is kept: {reason}"))
    }

    /// Returns whether the rule allows the deletion of a key to free quota.
    pub fn can_free_quota(&self) -> bool {
        let mut ids = self.orphans(None).into_iter().chain(self.previous_key());
        ids.any(|id| self.listed(id).is_some_and(|key| self.check(key).is_ok()))
    }

    fn listed(&self, id: &str) -> Option<&'a ApiKeyMetadata> {
        self.evidence.keys.iter().find(|key| key.id == id)
    }

    /// Deletes at most one key, so that a key for `version` can be created: an orphan of this version, another orphan or the
    /// previous key. Only an orphan of this version is deleted if the current key `is_verified` not to be. The pending version
    /// must not have a value yet, and the key may be younger than the current one. Returns whether a key may have been deleted,
    /// and what happened.
    pub async fn free_quota(mut self, version: &'a str, is_verified: bool) -> (bool, String) {
        self.version_without_value = Some(version);
        let mut ids = self.orphans(Some(version));
        let mut result = "no key was deleted, because the current key was not verified and there is no orphaned key of this version";
        let previous = self.previous_key().map(str::to_owned);
        if is_verified {
            let others = self.orphans(None).into_iter().chain(previous.as_deref());
            ids.extend(others);
            result = "no key was deleted, because the rule for deletion allows none of this secret's keys";
        }
        let mut result = result.to_owned();
        let mut tried = BTreeSet::new();
        for id in ids {
            if !tried.insert(id) {
                continue;
            }
            match self.delete(id).await {
                Ok(Outcome::Deleted) => return (true, format!("deleted key {id}")),
                Ok(Outcome::Stopped) => return (false, "no key was deleted, because a staging label has moved or another invocation stored a key".to_owned()),
                Ok(Outcome::Kept) => {}
                Err(error) => {
                    result = joined(&error);
                    if error.may_have_taken_effect() {
                        return (true, result);
                    }
                }
            }
        }
        (false, result)
    }

    /// Deletes the key with `id` if the rule allows it.
    ///
    /// # Errors
    /// Returns [`Error`] if the rule allows it, and the removal of its label or the `DELETE` failed.
    pub async fn delete(&mut self, id: &str) -> Result<Outcome, Error> {
        if self.is_stopped {
            return Ok(Outcome::Stopped);
        }
        let control_plane = self.evidence.control_plane;
        let reason = match self.listed(id) {
            None => {
                let read = control_plane.read(&ApiKeyId::new(id.to_owned())).await;
                let exists = !matches!(read, Ok(None));
                exists.then_some("Confluent Cloud does not list it with the secret's owner")
            }
            Some(_) if control_plane.authenticates_with(id).await => {
                Some("the function authenticates with it")
            }
            Some(key) => match self.check(key).and_then(|()| self.check_age(key)) {
                Ok(()) => return self.delete_allowed(key).await,
                Err(reason) => Some(reason),
            },
        };
        if let Some(reason) = reason {
            tracing::warn!(key_id = id, reason, "kept a key");
            control_plane.metrics().count(|counts| counts.kept += 1);
        }
        Ok(Outcome::Kept)
    }

    /// Checks everything that the list of keys and the versions show, except the creation time.
    fn check(&self, key: &ApiKeyMetadata) -> Result<(), &'static str> {
        let (resource, environment) = (key.resource.as_deref(), key.environment.as_deref());
        if key.owner.as_deref() != Some(self.evidence.owner) {
            return Err("it has another owner than the secret names");
        }
        if !self.evidence.resource.matches(resource, environment) {
            return Err("it is scoped to another resource than the secret names");
        }
        if self.is_in_use(&key.id) {
            return Err("a version with a staging label contains it");
        }
        self.check_ownership(key)
    }

    /// Checks that an ownership tag says that the key belongs to this secret.
    fn check_ownership(&self, key: &ApiKeyMetadata) -> Result<(), &'static str> {
        let replaced = self.tag.as_ref().and_then(|tag| tag.replaces.as_ref());
        match Ownership::of(key, &self.evidence.labels.arn) {
            Ownership::ThisSecret(_) => Ok(()),
            Ownership::Untagged if replaced == Some(&key.id) => Ok(()),
            Ownership::Untagged => Err("no ownership tag says that it belongs to this secret"),
            Ownership::AnotherSecret => Err("it has another secret's ownership tag"),
        }
    }

    /// Checks that the key is older than the current one.
    fn check_age(&self, key: &ApiKeyMetadata) -> Result<(), &'static str> {
        let created = plausible(key.created_at).zip(plausible(self.current.created_at));
        let is_older = created.is_some_and(|(key, current)| key < current);
        if is_older || self.version_without_value.is_some() {
            Ok(())
        } else {
            Err("it is not known to be older than the current key")
        }
    }

    /// Returns whether a version contains the ID, except the version from which `AWSPREVIOUS` can be removed.
    fn is_in_use(&self, id: &str) -> bool {
        let removable = self.removable_version(id);
        let id = ApiKeyId::new(id.to_owned());
        let mut values = self.values.iter();
        values.any(|(version, value)| Some(version.as_str()) != removable && value.contains(&id))
    }

    /// Returns the version of the key if its only label is `AWSPREVIOUS`.
    fn removable_version(&self, id: &str) -> Option<&str> {
        let only_previous = BTreeSet::from([PREVIOUS.to_owned()]);
        let (version, _) = self
            .labeled_previous()
            .filter(|(_, key)| key.as_str() == id)?;
        (self.evidence.labels.labels_of(version) == Some(&only_previous)).then_some(version)
    }

    async fn delete_allowed(&mut self, key: &ApiKeyMetadata) -> Result<Outcome, Error> {
        let deleted = self.remove_label_and_delete(key).await;
        let metrics = self.evidence.control_plane.metrics();
        match deleted {
            Ok(true) => {
                tracing::info!(deleted_key_id = key.id, "deleted a key");
                self.warn_of_lost_evidence(key);
                Ok(Outcome::Deleted)
            }
            Ok(false) => {
                tracing::warn!("stopped the deletion of keys because a staging label has moved");
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
    /// labels and deletes the key. Returns `false` if a label has moved.
    async fn remove_label_and_delete(&mut self, key: &ApiKeyMetadata) -> Result<bool, Error> {
        if let Some(version) = self.removable_version(&key.id).map(str::to_owned)
            && !self.remove_previous_label(&version).await?
        {
            return Ok(false);
        }
        if !self.is_unchanged().await? {
            return Ok(false);
        }
        let evidence = &self.evidence;
        let id = ApiKeyId::new(key.id.clone());
        let is_unused = async || self.is_unchanged().await.unwrap_or(false);
        let (owner, current) = (evidence.owner, Some(evidence.current));
        match delete_key(evidence.control_plane, owner, &id, current, is_unused).await {
            Ok(()) => Ok(true),
            // A moved label is the reason that the deletion was not retried.
            Err(_) if matches!(self.is_unchanged().await, Ok(false)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes `AWSPREVIOUS` from `version`. Returns `false` if the label has moved.
    async fn remove_previous_label(&mut self, version: &str) -> Result<bool, Error> {
        let secrets = self.evidence.secrets;
        let mut without_label = self.evidence.labels.clone();
        without_label.remove(version, PREVIOUS);
        let arn = &without_label.arn;
        if let Err(error) = secrets.remove_label(arn, version, PREVIOUS).await {
            // It may have been removed although the request failed.
            let now = secrets.describe(arn).await?;
            if now.has(version, PREVIOUS) {
                return Err(error.into());
            }
            if !now.is_same_as(&without_label) {
                return Ok(false);
            }
        }
        self.evidence.labels = without_label;
        self.values.remove(version);
        Ok(true)
    }

    /// Reads the staging labels. Returns whether none has moved since the key was chosen.
    async fn is_unchanged(&self) -> Result<bool, Error> {
        let Evidence {
            secrets, labels, ..
        } = &self.evidence;
        let Some(version) = self.version_without_value else {
            return Ok(secrets.describe(&labels.arn).await?.is_same_as(labels));
        };
        let secrets = secrets.within(MAX_LABEL_READ);
        let is_same = secrets.describe(&labels.arn).await?.is_same_as(labels);
        // Storing a value moves no label.
        Ok(is_same
            && secrets
                .value(&labels.arn, version, PENDING)
                .await?
                .is_none())
    }

    /// Warns if the deleted key was the last one whose tag says that it replaced an untagged key.
    fn warn_of_lost_evidence(&self, key: &ApiKeyMetadata) {
        let arn = &self.evidence.labels.arn;
        let tag = Ownership::of(key, arn).tag_of_this_secret();
        let Some(id) = tag.and_then(|tag| tag.replaces) else {
            return;
        };
        let is_remembered = self.tag.as_ref().and_then(|tag| tag.replaces.as_ref()) == Some(&id);
        let mut keys = self.evidence.keys.iter();
        let is_untagged = |key: &ApiKeyMetadata| Ownership::of(key, arn) == Ownership::Untagged;
        if !is_remembered && keys.any(|key| key.id == id && is_untagged(key)) {
            let reason = "this secret contained it, and no other ownership tag names it";
            tracing::warn!(
                key_id = id,
                reason,
                "kept a key: if no application uses it, delete it"
            );
            let metrics = self.evidence.control_plane.metrics();
            metrics.count(|counts| counts.kept += 1);
        }
    }
}

/// Reads the values of all versions that have a label. Returns why no key may be deleted if that is not possible.
async fn read_values(evidence: &Evidence<'_>) -> Result<BTreeMap<String, SecretValue>, String> {
    let labels = &evidence.labels;
    if let [replica, ..] = &labels.replicas_not_in_sync[..] {
        return Err(format!("the replica {replica} is not in sync"));
    }
    let mut values = BTreeMap::new();
    for (version, version_labels) in labels.versions() {
        let Some(label) = version_labels.first() else {
            continue;
        };
        let value = evidence.secrets.value(&labels.arn, version, label).await;
        match value.map_err(|error| joined(&error))? {
            // A pending version without a value contains no key.
            None if version_labels.contains(PENDING) => {}
            None => return Err(format!("the {label} version {version} has no value")),
            Some(value) => {
                let value = SecretValue::parse(value)
                    .map_err(|error| format!("the {label} version {version}: {error}"))?;
                values.insert(version.clone(), value);
            }
        }
    }
    Ok(values)
}

/// Returns a creation time unless it is absent, zero or in the future.
fn plausible(created_at: Option<i64>) -> Option<i64> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let now = i64::try_from(since_epoch.as_secs()).ok()?;
    created_at.filter(|created_at| (1..=now + MAX_CLOCK_SKEW).contains(created_at))
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
