//! Changes that a user makes, in the console or with the command line.

use super::SecretValue;
use crate::state::State;
use crate::{Simulator, generate};

impl State {
    pub(crate) fn store_manually(&mut self, arn: &str, value: SecretValue) -> String {
        let version = generate::uuid(self.next_serial());
        self.store(arn, &version, Some(value));
        let secret = self.secret_mut(arn);
        secret.move_label("AWSCURRENT", &version);
        secret.labels.remove("AWSPENDING");
        version
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
                secret.labels.remove(label);
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
