//! A secret with several keys: all of them rotate together, in one version.
//!
//! The simulator reports a version that the function stores with half of a pair.

mod changes;
mod deletion;
mod empty_slots;
mod invalid;
mod moved;
mod preflight;
mod quota;
mod rotation;
mod unusual;

use super::*;

/// A Kafka key and a Schema Registry key, as many applications read them from one secret.
pub(crate) const TWO_KEYS: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::Admin,
    policy: OldKeyPolicy::Delete,
    further: &[KeyType::SchemaRegistry],
};

/// The same with a ksqlDB key.
pub(crate) const THREE_KEYS: Setting = Setting {
    further: &[KeyType::SchemaRegistry, KeyType::KsqlDb],
    ..TWO_KEYS
};

/// The fields of the Schema Registry key.
const REGISTRY_KEY: &str = "schemaRegistryApiKey";
const REGISTRY_SECRET: &str = "schemaRegistryApiSecret";
const REGISTRY_ID: &str = "schemaRegistryResourceId";

/// The resource of the Schema Registry key.
const REGISTRY: &str = "lsrc-further";

impl World {
    /// Returns the ID of the Schema Registry key in the version with `label`.
    fn registry_key(&self, label: &str) -> String {
        let id = &self.value(label)[REGISTRY_KEY];
        id.as_str().expect("an ID").to_owned()
    }

    /// Returns the description of a key.
    fn description(&self, id: &str) -> String {
        self.simulator.state().keys[id].description.clone()
    }

    /// Adds a Schema Registry key of the owner. Returns its ID and its secret.
    fn add_registry_key(&self) -> (String, String) {
        self.simulator
            .add_key(OWNER, Some(REGISTRY), Some(ENVIRONMENT))
    }
}
