//! The description of a secret: its rotation settings, its replicas and the staging labels of its versions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>

use std::collections::{BTreeMap, BTreeSet};

/// The staging label of the version that clients read.
pub const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that a rotation creates.
pub const PENDING: &str = "AWSPENDING";
/// The staging label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The description of a secret.
#[derive(Clone, Debug)]
pub struct StagingLabels {
    /// The secret's ARN.
    pub arn: String,
    /// Whether rotation is enabled.
    pub rotation_enabled: bool,
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

impl StagingLabels {
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

    /// Returns whether rotation, the labels of all versions and a replica that is not in sync are as in `other`.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.rotation_enabled == other.rotation_enabled
            && self.versions == other.versions
            && self.replica_not_in_sync == other.replica_not_in_sync
    }

    /// Removes `label` from `version`, as the function has done in Secrets Manager.
    pub fn remove(&mut self, version: &str, label: &str) {
        if let Some(labels) = self.versions.get_mut(version) {
            labels.remove(label);
        }
        self.versions.retain(|_, labels| !labels.is_empty());
    }
}
