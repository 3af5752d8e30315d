//! Secrets: versions, the staging labels on them, and what a person may do to them by hand.
//!
//! A label is on one version at most, so labels are kept as a map from label to version. A version's
//! value is written once and never changed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Simulator;
use crate::mint;
use crate::state::{State, epoch_seconds};

/// A secret in Secrets Manager.
#[derive(Clone)]
pub struct Secret {
    /// Its ARN, with the six characters that Secrets Manager adds.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// `RotationEnabled`; none for a secret that never had rotation configured.
    pub rotation_enabled: Option<bool>,
    /// `adminSecretArn` in `ExternalSecretRotationMetadata`.
    pub admin_secret_arn: Option<String>,
    /// Whether `AWSCURRENT` must name a key that opens its resource.
    pub watch: Watch,
    /// Versions, by id; those without a label are kept, as Secrets Manager does for a while.
    pub versions: BTreeMap<String, Version>,
    /// Which version a staging label is on.
    pub labels: BTreeMap<String, String>,
    /// The `RotationToken` of each version that a rotation has begun.
    pub(crate) rotation_tokens: BTreeMap<String, Option<String>>,
    /// The version of the last rotation that was begun, unless it succeeded or was abandoned.
    pub(crate) incomplete: Option<String>,
}

/// A version of a secret.
#[derive(Clone, Default)]
pub struct Version {
    /// Its value. A rotation begins with a version that has none.
    pub value: Option<SecretValue>,
    pub(crate) names: Option<Names>,
    pub(crate) created: f64,
    /// How many reads will not find the value yet.
    pub(crate) unreadable_for: u32,
}

/// A secret's value.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// `SecretString`.
    Text(String),
    /// `SecretBinary`.
    Binary(Vec<u8>),
}

/// How much of "`AWSCURRENT` names a key that opens its resource" is asked of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// All of it.
    #[default]
    Opens,
    /// The key exists; for rotations without proof on the data plane.
    Exists,
    /// Nothing; for secrets whose key is dead from the start.
    Off,
}

/// The key that a version's value names.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) key_id: String,
    pub(crate) key_secret: String,
    pub(crate) owner: String,
}

impl Names {
    /// The fields of AWS's managed type.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>
    fn of(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let field = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(ToOwned::to_owned)
        };
        Some(Self {
            key_id: field("apiKey")?,
            key_secret: field("apiSecret")?,
            owner: field("serviceAccountId").unwrap_or_default(),
        })
    }
}

impl Secret {
    /// The text of the version that a label is on.
    #[must_use]
    pub fn value(&self, label: &str) -> Option<&str> {
        match self.versions.get(self.labels.get(label)?)?.value.as_ref()? {
            SecretValue::Text(text) => Some(text),
            SecretValue::Binary(_) => None,
        }
    }

    /// The id of the key that the labelled version names.
    #[must_use]
    pub fn key_named_by(&self, label: &str) -> Option<&str> {
        self.names(label).map(|names| names.key_id.as_str())
    }

    /// The `serviceAccountId` of the current version.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        let value: Value = serde_json::from_str(self.value("AWSCURRENT")?).ok()?;
        value["serviceAccountId"].as_str().map(ToOwned::to_owned)
    }

    /// The version of a rotation that did not succeed yet, which Secrets Manager attempts again: also when
    /// the version is current already and a later part of the last step failed.
    pub(crate) fn incomplete(&self) -> Option<&str> {
        let begun = self.incomplete.as_ref()?;
        let is_on = |label| self.labels.get(label) == Some(begun);
        (is_on("AWSPENDING") || is_on("AWSCURRENT")).then_some(begun)
    }

    /// The version that a rotation has begun and not finished.
    #[must_use]
    pub fn pending(&self) -> Option<&str> {
        let pending = self.labels.get("AWSPENDING")?;
        (Some(pending) != self.labels.get("AWSCURRENT")).then_some(pending)
    }

    pub(crate) fn names(&self, label: &str) -> Option<&Names> {
        self.versions.get(self.labels.get(label)?)?.names.as_ref()
    }

    /// Moves a label. `AWSPREVIOUS` goes to the version that `AWSCURRENT` leaves.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
    pub(crate) fn attach(&mut self, label: &str, version: &str) {
        let left = self.labels.insert(label.to_owned(), version.to_owned());
        match left {
            Some(left) if label == "AWSCURRENT" && left != version => {
                self.labels.insert("AWSPREVIOUS".to_owned(), left);
            }
            _ => {}
        }
    }
}

impl State {
    /// Adds a version, or gives one its value.
    pub(crate) fn store(&mut self, arn: &str, version: &str, value: Option<SecretValue>) {
        let names = match &value {
            Some(SecretValue::Text(text)) => {
                self.canaries.insert(text.clone());
                Names::of(text)
            }
            Some(SecretValue::Binary(_)) | None => None,
        };
        if let Some(names) = &names {
            self.canaries.insert(names.key_secret.clone());
            let secrets = self.named.entry(names.key_id.clone()).or_default();
            secrets.insert(arn.to_owned(), names.owner.clone());
        }
        let version_with_value = Version {
            value,
            names,
            created: epoch_seconds(),
            unreadable_for: 0,
        };
        self.secret_mut(arn)
            .versions
            .insert(version.to_owned(), version_with_value);
    }

    pub(crate) fn put_by_hand(&mut self, arn: &str, value: SecretValue) -> String {
        let version = mint::uuid(self.next());
        self.store(arn, &version, Some(value));
        let secret = self.secret_mut(arn);
        secret.attach("AWSCURRENT", &version);
        secret.labels.remove("AWSPENDING");
        version
    }
}

/// What a person does, in the console or with the command line.
impl Simulator {
    /// Stores a new current version, which abandons a rotation under way: Secrets Manager strips
    /// `AWSPENDING`. Returns the version's id.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieve-ct-entries.html>
    pub fn put_by_hand(&self, arn: &str, value: &str) -> String {
        self.state()
            .put_by_hand(arn, SecretValue::Text(value.to_owned()))
    }

    /// Moves a staging label to a version, or takes it off.
    pub fn move_label(&self, arn: &str, label: &str, version: Option<&str>) {
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        match version {
            Some(version) => secret.attach(label, version),
            None => {
                secret.labels.remove(label);
            }
        }
    }

    /// `CancelRotateSecret`: rotation is off, and what has begun is left as it is.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CancelRotateSecret.html>
    pub fn cancel_rotation(&self, arn: &str) {
        self.state().secret_mut(arn).rotation_enabled = Some(false);
    }

    /// Takes `AWSPENDING` off: the next rotation begins anew, with another token.
    pub fn abandon(&self, arn: &str) {
        self.move_label(arn, "AWSPENDING", None);
        self.state().secret_mut(arn).incomplete = None;
    }

    /// Deletes a key at Confluent.
    pub fn delete_key_by_hand(&self, id: &str) {
        let mut state = self.state();
        let key = state
            .keys
            .remove(id)
            .unwrap_or_else(|| panic!("there is no key {id}"));
        state.deleted_keys.insert(id.to_owned(), key);
    }
}
