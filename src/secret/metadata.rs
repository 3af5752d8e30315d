//! The metadata of a secret: its rotation settings, its replicas and the staging labels of its versions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_secretsmanager::types::{SecretListEntry, Tag};

use super::Dates;
use super::dates::{seconds, window};

/// The staging label of the version that clients read.
pub const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that a rotation creates.
pub const PENDING: &str = "AWSPENDING";
/// The staging label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The metadata of a secret, as `DescribeSecret` or `ListSecrets` returns it.
#[derive(Clone, Debug, Default)]
pub struct SecretMetadata {
    /// The secret's ARN.
    pub arn: String,
    /// The secret's name.
    pub name: String,
    /// Whether rotation is enabled.
    pub rotation_enabled: bool,
    /// Whether the secret is scheduled for deletion. Its values cannot be read.
    pub is_scheduled_for_deletion: bool,
    /// The ARN of the Lambda function that rotates the secret.
    pub rotation_function: Option<String>,
    /// The dates of the rotation.
    pub dates: Dates,
    /// The resource tags.
    pub tags: BTreeMap<String, String>,
    /// The admin secret that the rotation metadata names.
    pub admin_secret_arn: Option<String>,
    /// If the secret is a replica, the Region of its primary secret, or the ARN of a primary secret in another account.
    pub primary: Option<String>,
    /// The Region, or the ARN in another account, of a replica that may still serve an earlier value.
    pub replica_not_in_sync: Option<String>,
    pub(super) versions: Versions,
}

/// The staging labels of each version that has one.
pub type Versions = BTreeMap<String, BTreeSet<String>>;

impl SecretMetadata {
    /// Returns the version with `label`.
    pub fn version_with(&self, label: &str) -> Option<&str> {
        let mut versions = self.versions.iter();
        let (version, _) = versions.find(|(_, labels)| labels.contains(label))?;
        Some(version)
    }

    /// Returns the labels of `version`, or `None` if it has none.
    pub fn labels_of(&self, version: &str) -> Option<&BTreeSet<String>> {
        self.versions.get(version)
    }

    /// Returns whether `version` has `label`.
    pub fn has(&self, version: &str, label: &str) -> bool {
        let labels = self.labels_of(version);
        labels.is_some_and(|labels| labels.contains(label))
    }

    /// Returns the versions that have a label, and their labels.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Returns the version that is labeled `AWSPENDING`, unless it is the current version.
    pub fn pending_version(&self) -> Option<&str> {
        let pending = self.version_with(PENDING)?;
        (!self.has(pending, CURRENT)).then_some(pending)
    }

    /// Returns whether `other` has the same staging labels, the same replica that is not in sync, and rotation enabled or disabled
    /// alike.
    pub fn has_same_state_as(&self, other: &Self) -> bool {
        self.rotation_enabled == other.rotation_enabled
            && self.versions == other.versions
            && self.replica_not_in_sync == other.replica_not_in_sync
    }

    /// Adds `label` to `version`.
    #[cfg(test)]
    #[must_use]
    pub fn with(mut self, version: &str, label: &str) -> Self {
        let labels = self.versions.entry(version.to_owned()).or_default();
        labels.insert(label.to_owned());
        self
    }

    /// Removes `label` from `version`, as the function has done in Secrets Manager.
    pub fn remove(&mut self, version: &str, label: &str) {
        if let Some(labels) = self.versions.get_mut(version) {
            labels.remove(label);
        }
        self.versions.retain(|_, labels| !labels.is_empty());
    }
}

/// Converts an entry of `ListSecrets`, which doesn't contain the state of replicas, and might not reflect changes from the last five
/// minutes. Returns `None` if it has no ARN.
pub(super) fn from_list_entry(entry: SecretListEntry) -> Option<SecretMetadata> {
    Some(SecretMetadata {
        dates: Dates {
            created: entry.created_date().map(seconds),
            last_changed: entry.last_changed_date().map(seconds),
            last_rotated: entry.last_rotated_date().map(seconds),
            next_rotation: entry.next_rotation_date().map(seconds),
            window: window(entry.rotation_rules()),
        },
        tags: tags(entry.tags()),
        arn: entry.arn?,
        name: entry.name.unwrap_or_default(),
        rotation_enabled: entry.rotation_enabled.unwrap_or(false),
        is_scheduled_for_deletion: entry.deleted_date.is_some(),
        rotation_function: entry.rotation_lambda_arn,
        admin_secret_arn: None,
        primary: None,
        replica_not_in_sync: None,
        versions: versions(entry.secret_versions_to_stages),
    })
}

pub(super) fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    let tags = tags.iter().filter_map(|tag| tag.key().zip(tag.value()));
    tags.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the versions that have a label.
pub(super) fn versions(versions: Option<HashMap<String, Vec<String>>>) -> Versions {
    let versions = versions.into_iter().flatten();
    versions
        .filter(|(_, labels)| !labels.is_empty())
        .map(|(version, labels)| (version, labels.into_iter().collect()))
        .collect()
}
