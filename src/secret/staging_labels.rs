//! The staging labels of a secret's versions.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version>

use std::collections::HashMap;

/// The staging label of the version that clients read.
pub const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that a rotation creates.
pub const PENDING: &str = "AWSPENDING";
/// The staging label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The description of a secret: its rotation settings and the staging labels of its versions.
#[derive(Clone, Debug)]
pub struct StagingLabels {
    /// The secret's ARN.
    pub arn: String,
    /// Whether rotation is enabled.
    pub rotation_enabled: bool,
    /// The admin secret that the rotation metadata names.
    pub admin_secret_arn: Option<String>,
    pub(super) versions: HashMap<String, Vec<String>>,
}

impl StagingLabels {
    /// Returns the version with `label`.
    pub fn version_with(&self, label: &str) -> Option<&str> {
        let mut versions = self.versions.keys();
        versions
            .find(|version| self.has(version, label))
            .map(String::as_str)
    }

    /// Returns the labels of `version`, or `None` if it has none.
    pub fn labels_of(&self, version: &str) -> Option<&[String]> {
        self.versions.get(version).map(Vec::as_slice)
    }

    /// Returns whether `version` has `label`.
    pub fn has(&self, version: &str, label: &str) -> bool {
        let mut labels = self.labels_of(version).unwrap_or_default().iter();
        labels.any(|other| other == label)
    }

    /// Returns whether one of the three labels has been added to a version that did not have it in `earlier`.
    pub fn moved_since(&self, earlier: &Self) -> bool {
        [CURRENT, PENDING, PREVIOUS].into_iter().any(|label| {
            let version = self.version_with(label);
            version.is_some() && version != earlier.version_with(label)
        })
    }
}
