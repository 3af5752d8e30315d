//! What a test puts in place before it begins.

use std::collections::BTreeMap;

use serde_json::json;

use crate::call::Plane;
use crate::keys::{Kind, Owner, Role};
use crate::knobs::Endpoints;
use crate::secrets::{Secret, SecretValue, Watch};
use crate::state::Resource;
use crate::{Simulator, mint, server};

impl Simulator {
    /// A service account, `sa-…`, or a user, `u-…`.
    pub fn add_owner(&self, id: &str, roles: &[Role]) {
        self.state().owners.insert(
            id.to_owned(),
            Owner {
                roles: roles.to_vec(),
            },
        );
    }

    /// A Kafka cluster, with a REST endpoint of its own.
    pub fn add_kafka_cluster(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Plane::KafkaRest);
    }

    /// A Schema Registry.
    pub fn add_schema_registry(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Plane::SchemaRegistry);
    }

    /// A ksqlDB cluster.
    pub fn add_ksqldb(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Plane::KsqlDb);
    }

    /// Flink in a region, `<cloud>.<region>`; once more for a further environment.
    pub fn add_flink_region(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Plane::Flink);
    }

    fn add_resource(&self, id: &str, environment: &str, plane: Plane) {
        if let Some(resource) = self.state().resources.get_mut(id) {
            resource.environments.push(environment.to_owned());
            return;
        }
        let shared = &self.running.shared;
        let (url, task) = server::spawn(shared, plane, Some(id.to_owned()));
        self.running
            .tasks
            .lock()
            .expect("no task panics with it")
            .push(task);
        let kind = Kind::of(Some(id)).unwrap_or_else(|| panic!("{id} is no resource's id"));
        let environments = vec![environment.to_owned()];
        let resource = Resource {
            kind,
            environments,
            url,
            advertised: None,
            endpoints: Endpoints::default(),
        };
        self.state().resources.insert(id.to_owned(), resource);
    }

    /// A URL at which nobody listens: a port that no system hands out, so that no other test can be there.
    #[must_use]
    pub fn unreachable_url(&self) -> String {
        "http://127.0.0.1:1".to_owned()
    }

    /// A key that has been accepted for long, and its secret; `None` for Cloud resource management. It
    /// is somebody else's until a secret names it.
    pub fn add_key(
        &self,
        owner: &str,
        resource: Option<&str>,
        environment: Option<&str>,
    ) -> (String, String) {
        let mut state = self.state();
        let key = state.mint_key(Some(owner), resource.unwrap_or("cloud"), environment);
        let id_and_secret = (key.id.clone(), key.secret.clone());
        state.keys.insert(key.id.clone(), key);
        id_and_secret
    }

    /// A key of Confluent's own, which shows up in every list, without an owner.
    ///
    /// <https://github.com/confluentinc/cli> `internal/api-key/command_list.go`
    pub fn add_internal_key(&self) -> String {
        let mut state = self.state();
        let key = state.mint_key(None, "cloud", None);
        let id = key.id.clone();
        state.keys.insert(id.clone(), key);
        id
    }

    /// A secret with rotation switched on. Returns its ARN.
    ///
    /// Promise 1 is watched from the next request on: set [`Secret::watch`] for a secret that does not
    /// name a key that is accepted.
    pub fn add_secret(&self, name: &str, value: &str) -> String {
        self.add(
            name,
            SecretValue::Text(value.to_owned()),
            Some(true),
            Watch::Opens,
        )
    }

    /// A secret that holds bytes.
    pub fn add_binary_secret(&self, name: &str, value: &[u8]) -> String {
        self.add(
            name,
            SecretValue::Binary(value.to_vec()),
            Some(true),
            Watch::Off,
        )
    }

    /// An admin secret, which is not rotated: `apiKey` and `apiSecret` of a key.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>
    pub fn add_admin_secret(&self, name: &str, (id, secret): &(String, String)) -> String {
        let value = json!({ "apiKey": id, "apiSecret": secret }).to_string();
        self.add(name, SecretValue::Text(value), None, Watch::Opens)
    }

    fn add(
        &self,
        name: &str,
        value: SecretValue,
        rotation_enabled: Option<bool>,
        watch: Watch,
    ) -> String {
        let mut state = self.state();
        let suffix = mint::arn_suffix(state.next());
        let arn = format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-{suffix}");
        let secret = Secret {
            arn: arn.clone(),
            name: name.to_owned(),
            rotation_enabled,
            admin_secret_arn: None,
            watch,
            versions: BTreeMap::new(),
            labels: BTreeMap::new(),
            rotation_tokens: BTreeMap::new(),
            incomplete: None,
        };
        state.secrets.insert(arn.clone(), secret);
        state.put_by_hand(&arn, value);
        arn
    }
}
