//! Changes that a user makes, in the console or with the command line.

use std::time::Duration;

use serde_json::{Value, json};

use super::{SecretValue, epoch_seconds, slot};
use crate::state::State;
use crate::{Simulator, generate};

impl State {
    pub(crate) fn store_manually(&mut self, arn: &str, value: SecretValue) -> String {
        let version = generate::uuid(self.next_serial());
        self.store_current(arn, &version, value);
        version
    }

    pub(crate) fn store_current(&mut self, arn: &str, version: &str, value: SecretValue) {
        self.store(arn, version, Some(value));
        let secret = self.secret_mut(arn);
        secret.move_label("AWSCURRENT", version);
        secret.remove_label("AWSPENDING");
    }
}

impl Simulator {
    /// Stores a new current version and returns its ID. This abandons a rotation in progress, because Secrets Manager
    /// removes `AWSPENDING`.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieve-ct-entries.html>
    pub fn store_manually(&self, arn: &str, value: &str) -> String {
        self.state()
            .store_manually(arn, SecretValue::String(value.to_owned()))
    }

    /// Moves a staging label to `version`, or removes it.
    pub fn move_label(&self, arn: &str, label: &str, version: Option<&str>) {
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        match version {
            Some(version) => secret.move_label(label, version),
            None => {
                secret.remove_label(label);
            }
        }
    }

    /// Turns off rotation, as `CancelRotateSecret` does. The versions and their labels remain.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CancelRotateSecret.html>
    pub fn cancel_rotation(&self, arn: &str) {
        self.state().secret_mut(arn).rotation_enabled = Some(false);
    }

    /// Removes `AWSPENDING`, so that the next rotation starts over with another token.
    pub fn abandon_rotation(&self, arn: &str) {
        self.move_label(arn, "AWSPENDING", None);
        self.state().secret_mut(arn).incomplete = None;
    }

    /// Stores the current value with another main key, and returns the ID of the new version.
    ///
    /// # Panics
    /// If the current value is not a JSON object.
    pub fn replace_key_manually(&self, arn: &str, key: &(String, String)) -> String {
        self.replace_slot_key_manually(arn, "", key)
    }

    /// Stores the current value with another key in a slot: that of the main key for an empty name, or of the further key with
    /// this prefix. Returns the ID of the new version.
    ///
    /// # Panics
    /// If the current value is not a JSON object.
    pub fn replace_slot_key_manually(
        &self,
        arn: &str,
        slot: &str,
        (id, secret): &(String, String),
    ) -> String {
        let mut value: Value = {
            let state = self.state();
            let value = state.secret(arn).value("AWSCURRENT").unwrap_or_default();
            serde_json::from_str(value).expect("the current value is JSON")
        };
        value[slot::field(slot, "apiKey")] = json!(id);
        value[slot::field(slot, "apiSecret")] = json!(secret);
        self.store_manually(arn, &value.to_string())
    }

    /// Adds a version with `label` and returns its ID. `AWSCURRENT` does not move.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
    pub fn add_version(&self, arn: &str, label: &str, value: &str) -> String {
        let mut state = self.state();
        let version = generate::uuid(state.next_serial());
        let value = SecretValue::String(value.to_owned());
        state.store(arn, &version, Some(value));
        state.secret_mut(arn).move_label(label, &version);
        version
    }

    /// Makes `ListSecrets` return the secrets as they are now, until [`unfreeze_list`](Self::unfreeze_list): "`ListSecrets` might
    /// not reflect changes from the last five minutes."
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
    pub fn freeze_list(&self) {
        let mut state = self.state();
        state.frozen_list = Some(state.secrets.clone());
    }

    /// Makes `ListSecrets` return the secrets as they are at each request.
    pub fn unfreeze_list(&self) {
        self.state().frozen_list = None;
    }

    /// Changes the value of the version with `label` in place, which Secrets Manager does not support.
    pub fn overwrite_value(&self, arn: &str, label: &str, value: SecretValue) {
        let mut state = self.state();
        let slots = state.record_value(Some(&value));
        let version = state.secret_mut(arn).version_mut(label);
        version.value = Some(value);
        version.slots = slots;
    }

    /// Denies the function permission to decrypt the version that has `label` now.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html>
    pub fn deny_decryption(&self, arn: &str, label: &str) {
        self.state()
            .secret_mut(arn)
            .version_mut(label)
            .is_unreadable = true;
    }

    /// Changes the `CreatedDate` of the version with `label` to `age` ago.
    pub fn age_version(&self, arn: &str, label: &str, age: Duration) {
        let created = Some(epoch_seconds() - age.as_secs_f64());
        self.state().secret_mut(arn).version_mut(label).created = created;
    }

    /// Changes the dates of a secret and of its versions to `age` ago.
    pub fn age_secret(&self, arn: &str, age: Duration) {
        let date = Some(epoch_seconds() - age.as_secs_f64());
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        secret.last_changed = date;
        secret.last_rotated = secret.last_rotated.and(date);
        for version in secret.versions.values_mut() {
            version.created = date;
            version.replaced = version.replaced.and(date);
        }
    }

    /// Changes `metadata.created_at` of a key; `None` for an absent field.
    pub fn set_created_at(&self, id: &str, created_at: Option<&str>) {
        self.state().key_mut(id).created_at = created_at.map(ToOwned::to_owned);
    }

    /// Makes every `DELETE` of a key fail with `status`.
    pub fn make_undeletable(&self, id: &str, status: u16) {
        self.state().key_mut(id).deletion_status = Some(status);
    }

    /// Hides a key from the next `lists`; `u32::MAX` for all.
    pub fn hide_key_from_lists(&self, id: &str, lists: u32) {
        self.state().key_mut(id).hidden_from_lists = lists;
    }

    /// Hides a key from the next `reads` by ID; `u32::MAX` for all.
    pub fn hide_key_from_reads(&self, id: &str, reads: u32) {
        self.state().key_mut(id).hidden_from_reads = reads;
    }

    /// Deletes a key in Confluent Cloud.
    pub fn delete_key_manually(&self, id: &str) {
        let mut state = self.state();
        let key = state
            .keys
            .remove(id)
            .unwrap_or_else(|| panic!("the key {id} does not exist"));
        state.deleted_keys.insert(id.to_owned(), key);
    }
}
