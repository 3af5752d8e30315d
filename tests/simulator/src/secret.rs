//! A secret in Secrets Manager: its versions and staging labels.
//!
//! A staging label is on at most one version, so labels are a map from label to version ID. The value of a version
//! never changes.

pub(crate) mod describe;
mod error_response;
pub(crate) mod list;
mod manual_changes;
pub(crate) mod operations;
mod replication;
mod schedule;
pub(crate) mod slot;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

pub use self::replication::{CrossAccountReplica, Replica};
use self::slot::Slot;
use crate::account::Attributes;
use crate::guarantees::contains;
use crate::state::State;

/// A secret in Secrets Manager.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The ARN, with the six characters that Secrets Manager adds.
    pub arn: String,
    /// The name.
    pub name: String,
    /// `RotationEnabled`; `None` if rotation was never turned on.
    pub rotation_enabled: Option<bool>,
    /// `adminSecretArn` in `ExternalSecretRotationMetadata`.
    pub admin_secret_arn: Option<String>,
    /// `PrimaryRegion`, if the secret is replicated.
    pub primary_region: Option<String>,
    /// `ReplicationStatus`: the replicas in other Regions.
    pub replicas: Vec<Replica>,
    /// `CrossAccountReplicas`: the replicas in other accounts.
    pub cross_account_replicas: Vec<CrossAccountReplica>,
    /// `CrossAccountPrimary`: the ARN of the primary secret, if the secret is a replica in another account.
    pub cross_account_primary: Option<String>,
    /// The attributes that only users change.
    pub attributes: Attributes,
    /// `LastRotatedDate`, in seconds since 1970: the end of the last rotation that succeeded.
    pub last_rotated: Option<f64>,
    /// `LastChangedDate`, in seconds since 1970: the last change of a version or a label.
    pub last_changed: Option<f64>,
    /// `NextRotationDate`, in seconds since 1970. A rotation that succeeds sets it if the rotation rules name an interval.
    pub next_rotation: Option<f64>,
    /// The guarantee for the current key.
    pub current_key_guarantee: CurrentKeyGuarantee,
    /// The versions by ID, including those without a label.
    pub versions: BTreeMap<String, Version>,
    /// The version ID of each staging label.
    pub labels: BTreeMap<String, String>,
    /// The `RotationToken` of each version that a rotation created.
    pub(crate) rotation_tokens: BTreeMap<String, Option<String>>,
    /// The version of the last rotation, unless the rotation succeeded.
    pub(crate) last_token: Option<String>,
    /// The version of the last rotation, unless the rotation succeeded or was abandoned.
    pub(crate) incomplete: Option<String>,
}

/// A version of a secret.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// The value. A rotation starts with a version that has none.
    pub value: Option<SecretValue>,
    /// The slots of the value; empty if it is not a string.
    pub(crate) slots: Vec<Slot>,
    /// `CreatedDate`, in seconds since 1970.
    pub created: Option<f64>,
    /// The time at which `AWSCURRENT` moved to another version, in seconds since 1970.
    pub(crate) replaced: Option<f64>,
    /// Whether the role has no permission to decrypt the value.
    pub is_unreadable: bool,
    /// Number of reads that do not find the value yet.
    pub(crate) hidden_from_reads: u32,
}

/// The value of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretValue {
    /// `SecretString`.
    String(String),
    /// `SecretBinary`.
    Binary(Vec<u8>),
}

impl SecretValue {
    /// Returns whether the ID of a key occurs anywhere in the value.
    pub(crate) fn contains(&self, id: &str) -> bool {
        let bytes = match self {
            Self::String(string) => string.as_bytes(),
            Self::Binary(bytes) => bytes,
        };
        contains(bytes, id)
    }
}

/// The condition that the simulator checks for each current key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CurrentKeyGuarantee {
    /// The key's resource accepts it.
    #[default]
    Accepted,
    /// The key exists. For a rotation that does not verify the key on the data plane.
    Exists,
    /// Nothing. For a secret with a key that is invalid from the start.
    Off,
}

impl Secret {
    /// Returns the `SecretString` of the version with `label`.
    #[must_use]
    pub fn value(&self, label: &str) -> Option<&str> {
        match self.versions.get(self.labels.get(label)?)?.value.as_ref()? {
            SecretValue::String(string) => Some(string),
            SecretValue::Binary(_) => None,
        }
    }

    /// Returns the ID of the main key in the version with `label`.
    #[must_use]
    pub fn key_id(&self, label: &str) -> Option<&str> {
        self.slot_key_id(label, "")
    }

    /// Returns the ID and the secret of the main key in the version with `label`.
    #[must_use]
    pub fn key(&self, label: &str) -> Option<(String, String)> {
        let slot = self.version(label)?.slot_with_key("")?;
        Some((slot.id.clone(), slot.secret.clone()))
    }

    /// Returns the IDs of all keys in the version with `label`: that of the main key, followed by the others in the order of
    /// the JSON.
    #[must_use]
    pub fn key_ids(&self, label: &str) -> Vec<String> {
        let ids = self.slots(label).iter().filter_map(Slot::key_id);
        ids.map(ToOwned::to_owned).collect()
    }

    /// Returns the ID of the key in one slot of the version with `label`: that of the main key for an empty name, or of the
    /// further key with this prefix.
    #[must_use]
    pub fn slot_key_id(&self, label: &str, slot: &str) -> Option<&str> {
        self.version(label)?.key_id(slot)
    }

    /// Returns the `serviceAccountId` of the current version.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        let value: Value = serde_json::from_str(self.value("AWSCURRENT")?).ok()?;
        value["serviceAccountId"].as_str().map(ToOwned::to_owned)
    }

    /// Returns the version of a rotation that Secrets Manager retries. It may be the current version, if `finishSecret`
    /// failed after the promotion.
    pub(crate) fn incomplete_version(&self) -> Option<&str> {
        let version = self.incomplete.as_ref()?;
        let has_label = |label| self.labels.get(label) == Some(version);
        (has_label("AWSPENDING") || has_label("AWSCURRENT")).then_some(version)
    }

    /// Returns the version with `AWSPENDING`, unless it is the current version.
    #[must_use]
    pub fn pending_version(&self) -> Option<&str> {
        let pending = self.labels.get("AWSPENDING")?;
        (Some(pending) != self.labels.get("AWSCURRENT")).then_some(pending)
    }

    /// Returns the slots of the version with `label`.
    pub(crate) fn slots(&self, label: &str) -> &[Slot] {
        self.version(label)
            .map_or(&[], |version| version.slots.as_slice())
    }

    fn version(&self, label: &str) -> Option<&Version> {
        self.versions.get(self.labels.get(label)?)
    }

    /// Moves a staging label. If `AWSCURRENT` moves, `AWSPREVIOUS` moves to the version that had it.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
    pub(crate) fn move_label(&mut self, label: &str, version: &str) {
        let now = Some(epoch_seconds());
        self.last_changed = now;
        let previous = self.labels.insert(label.to_owned(), version.to_owned());
        match previous {
            Some(previous) if label == "AWSCURRENT" && previous != version => {
                if let Some(replaced) = self.versions.get_mut(&previous) {
                    replaced.replaced = now;
                }
                self.labels.insert("AWSPREVIOUS".to_owned(), previous);
            }
            _ => {}
        }
    }

    pub(crate) fn remove_label(&mut self, label: &str) {
        self.last_changed = Some(epoch_seconds());
        self.labels.remove(label);
    }

    /// Returns the version with `label`.
    pub(crate) fn version_mut(&mut self, label: &str) -> &mut Version {
        let version = self
            .labels
            .get(label)
            .unwrap_or_else(|| panic!("no version has {label}"));
        self.versions.get_mut(version).expect("the version exists")
    }
}

impl Version {
    /// Returns the ID of the key in a slot.
    pub(crate) fn key_id(&self, slot: &str) -> Option<&str> {
        self.slot_with_key(slot).map(|slot| slot.id.as_str())
    }

    /// Returns the slot with this name, if it holds a key.
    fn slot_with_key(&self, name: &str) -> Option<&Slot> {
        let mut slots = self.slots.iter();
        slots.find(|slot| slot.name == name && slot.key_id().is_some())
    }
}

impl State {
    /// Returns the secret with this ARN or name.
    ///
    /// # Panics
    /// If it does not exist.
    #[must_use]
    pub fn secret(&self, id: &str) -> &Secret {
        let arn = self
            .arn(id)
            .unwrap_or_else(|| panic!("the secret {id} does not exist"));
        &self.secrets[&arn]
    }

    /// Returns the secret with this ARN or name.
    ///
    /// # Panics
    /// If it does not exist.
    #[must_use]
    pub fn secret_mut(&mut self, id: &str) -> &mut Secret {
        let arn = self
            .arn(id)
            .unwrap_or_else(|| panic!("the secret {id} does not exist"));
        self.secrets.get_mut(&arn).expect("the ARN exists")
    }

    /// Returns the ARN for a `SecretId`, which is an ARN or a name.
    pub(crate) fn arn(&self, id: &str) -> Option<String> {
        if self.secrets.contains_key(id) {
            return Some(id.to_owned());
        }
        self.secrets
            .values()
            .find(|secret| secret.name == id)
            .map(|secret| secret.arn.clone())
    }

    /// Adds a version, or stores the value of a version that has none.
    pub(crate) fn store(&mut self, arn: &str, version: &str, value: Option<SecretValue>) {
        let version_with_value = Version {
            slots: self.record_value(value.as_ref()),
            value,
            created: Some(epoch_seconds()),
            ..Version::default()
        };
        let secret = self.secret_mut(arn);
        secret.last_changed = version_with_value.created;
        secret
            .versions
            .insert(version.to_owned(), version_with_value);
    }

    /// Returns the slots of a value that is stored.
    fn record_value(&mut self, value: Option<&SecretValue>) -> Vec<Slot> {
        let Some(SecretValue::String(string)) = value else {
            return Vec::new();
        };
        self.canaries.insert(string.clone());
        let slots = Slot::all(string);
        for slot in slots.iter().filter(|slot| slot.key_id().is_some()) {
            self.canaries.insert(slot.secret.clone());
            self.stored_keys.insert(slot.id.clone());
        }
        slots
    }
}

/// Returns the current time in the JSON format of Secrets Manager: seconds since 1970.
pub(crate) fn epoch_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |duration| duration.as_secs_f64())
}
