//! Arranges owners, resources, keys and secrets for a test.

use std::collections::BTreeMap;

use serde_json::json;

use crate::account::Attributes;
use crate::confluent::api_key::KeyType;
use crate::confluent::endpoints::Resource;
use crate::confluent::permissions::{Owner, Role};
use crate::controls::Endpoints;
use crate::http::request::Service;
use crate::http::server;
use crate::rotation::FUNCTION_ARN;
use crate::secret::{CurrentKeyGuarantee, Secret, SecretValue, epoch_seconds};
use crate::state::State;
use crate::{Simulator, generate};

impl Simulator {
    /// Adds a service account, `sa-…`, or a user, `u-…`.
    pub fn add_owner(&self, id: &str, roles: &[Role]) {
        self.state().owners.insert(
            id.to_owned(),
            Owner {
                roles: roles.to_vec(),
            },
        );
    }

    /// Adds a Kafka cluster with its own REST endpoint.
    pub fn add_kafka_cluster(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Service::KafkaRest);
    }

    /// Adds a Schema Registry cluster.
    pub fn add_schema_registry(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Service::SchemaRegistry);
    }

    /// Adds a ksqlDB cluster.
    pub fn add_ksqldb(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Service::KsqlDb);
    }

    /// Adds a Flink region, `<cloud>.<region>`, or another environment to it.
    pub fn add_flink_region(&self, id: &str, environment: &str) {
        self.add_resource(id, environment, Service::Flink);
    }

    fn add_resource(&self, id: &str, environment: &str, service: Service) {
        if let Some(resource) = self.state().resources.get_mut(id) {
            resource.environments.push(environment.to_owned());
            return;
        }
        let url = self.serve_resource(id, service);
        let key_type = KeyType::of(Some(id)).unwrap_or_else(|| panic!("{id} is not a resource ID"));
        let environments = vec![environment.to_owned()];
        let resource = Resource {
            key_type,
            environments,
            url,
            advertised_url: None,
            endpoints: Endpoints::default(),
            brokers: Vec::new(),
            bootstrap: None,
        };
        self.state().resources.insert(id.to_owned(), resource);
    }

    /// Serves the data plane of a resource. Returns its URL.
    fn serve_resource(&self, id: &str, service: Service) -> String {
        let shared = &self.running.shared;
        let (url, task) = server::spawn(shared, service, Some(id.to_owned()));
        self.running
            .tasks
            .lock()
            .expect("no task panics while it holds the lock")
            .push(task);
        url
    }

    /// Starts services with a copy of the state of these, so that a test can continue from one state in several ways. They have
    /// other URLs.
    ///
    /// # Panics
    /// If a cluster has brokers.
    pub async fn fork(&self) -> Self {
        let fork = Self::start().await;
        let mut state = self.state().fork();
        for (id, resource) in &mut state.resources {
            let service = match resource.key_type {
                KeyType::Kafka => Service::KafkaRest,
                KeyType::SchemaRegistry => Service::SchemaRegistry,
                KeyType::KsqlDb => Service::KsqlDb,
                _ => Service::Flink,
            };
            resource.url = fork.serve_resource(id, service);
        }
        *fork.state() = state;
        fork
    }

    /// Replaces the state by a copy of that of `other`, as if the requests that led to it had been received here. Requests that are
    /// held take effect in the new state.
    ///
    /// # Panics
    /// If `other` has a resource that these services do not have, or if a cluster has brokers.
    pub fn restore(&self, other: &Self) {
        let mut state = other.state().fork();
        let mut replaced = self.state();
        for (id, resource) in &mut state.resources {
            resource.url.clone_from(&replaced.resources[id].url);
        }
        state.requests = std::mem::take(&mut replaced.requests);
        state.faults = std::mem::take(&mut replaced.faults);
        state.replacements = std::mem::take(&mut replaced.replacements);
        state.holds = std::mem::take(&mut replaced.holds);
        state.usage = std::mem::take(&mut replaced.usage);
        *replaced = state;
    }

    /// Returns a URL without a listener. No system assigns its port, so no other test can listen there.
    #[must_use]
    pub fn unreachable_url(&self) -> String {
        "http://127.0.0.1:1".to_owned()
    }

    /// Adds a key that its resource accepts, and returns its ID and secret. Without `resource`, it is a Cloud API key.
    ///
    /// It is another application's key until a secret holds it.
    pub fn add_key(
        &self,
        owner: &str,
        resource: Option<&str>,
        environment: Option<&str>,
    ) -> (String, String) {
        let mut state = self.state();
        let mut key = state.issue_key(Some(owner), resource.unwrap_or("cloud"), environment);
        key.created_at = Some(state.arranged_created_at());
        let id_and_secret = (key.id.clone(), key.secret.clone());
        state.keys.insert(key.id.clone(), key);
        id_and_secret
    }

    /// Adds an internal key of Confluent, which has no owner and appears in every list.
    ///
    /// <https://github.com/confluentinc/cli> `internal/api-key/command_list.go`
    pub fn add_internal_key(&self) -> String {
        let mut state = self.state();
        let mut key = state.issue_key(None, "cloud", None);
        key.created_at = Some(state.arranged_created_at());
        let id = key.id.clone();
        state.keys.insert(id.clone(), key);
        id
    }

    /// Adds a secret with rotation turned on, and returns its ARN. Its function is that of the stack or, without a stack,
    /// [`FUNCTION_ARN`].
    ///
    /// If its resource does not accept the key, set [`Secret::current_key_guarantee`] before the next request.
    pub fn add_secret(&self, name: &str, value: &str) -> String {
        self.add(
            name,
            SecretValue::String(value.to_owned()),
            true,
            CurrentKeyGuarantee::Accepted,
        )
    }

    /// Adds a secret with a `SecretBinary`, and returns its ARN.
    pub fn add_binary_secret(&self, name: &str, value: &[u8]) -> String {
        self.add(
            name,
            SecretValue::Binary(value.to_vec()),
            true,
            CurrentKeyGuarantee::Off,
        )
    }

    /// Adds an admin secret without rotation, and returns its ARN.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>
    pub fn add_admin_secret(&self, name: &str, (id, secret): &(String, String)) -> String {
        let value = json!({ "apiKey": id, "apiSecret": secret }).to_string();
        self.add(
            name,
            SecretValue::String(value),
            false,
            CurrentKeyGuarantee::Accepted,
        )
    }

    fn add(
        &self,
        name: &str,
        value: SecretValue,
        is_rotated: bool,
        current_key_guarantee: CurrentKeyGuarantee,
    ) -> String {
        let mut state = self.state();
        let arn = state.new_arn(name);
        let mut secret = Secret::new(&arn, name);
        if is_rotated {
            secret.turn_on_rotation(state.function_arn());
        }
        secret.current_key_guarantee = current_key_guarantee;
        state.secrets.insert(arn.clone(), secret);
        state.store_manually(&arn, value);
        arn
    }

    /// Copies the versions with these labels to a new secret with rotation turned on, and returns its ARN.
    ///
    /// The function cannot find a copy. If the original is rotated before the copy, set [`Secret::current_key_guarantee`] of
    /// the copy to [`CurrentKeyGuarantee::Off`].
    pub fn copy_secret(&self, arn: &str, name: &str, labels: &[&str]) -> String {
        let mut state = self.state();
        let original = state.secret(arn).clone();
        let copy_arn = state.new_arn(name);
        let mut copy = Secret::new(&copy_arn, name);
        copy.turn_on_rotation(state.function_arn());
        copy.current_key_guarantee = original.current_key_guarantee;
        copy.admin_secret_arn.clone_from(&original.admin_secret_arn);
        for label in labels {
            let version = original.labels[*label].clone();
            let copied = generate::uuid(state.next_serial());
            copy.versions
                .insert(copied.clone(), original.versions[&version].clone());
            copy.labels.insert((*label).to_owned(), copied);
        }
        state.secrets.insert(copy_arn.clone(), copy);
        copy_arn
    }

    /// Promotes the replica in `region` to a secret with rotation turned on, and returns its ARN. The version IDs are the
    /// same.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/standalone-secret.html>
    pub fn promote_replica(&self, arn: &str, region: &str) -> String {
        let mut state = self.state();
        let primary = state.secret_mut(arn);
        primary.replicas.retain(|replica| replica.region != region);
        let mut promoted = primary.clone();
        promoted.arn = primary
            .arn
            .replace(&format!(":{}:", primary.region()), &format!(":{region}:"));
        promoted.primary_region = None;
        promoted.replicas = Vec::new();
        promoted.incomplete = None;
        promoted.last_token = None;
        promoted.remove_label("AWSPENDING");
        let arn = promoted.arn.clone();
        state.secrets.insert(arn.clone(), promoted);
        arn
    }
}

impl State {
    pub(crate) fn new_arn(&mut self, name: &str) -> String {
        let suffix = generate::arn_suffix(self.next_serial());
        let region = &self.region;
        format!("arn:aws:secretsmanager:{region}:123456789012:secret:{name}-{suffix}")
    }

    /// Returns the ARN of the function that rotates new secrets.
    pub(crate) fn function_arn(&self) -> &str {
        let stack = self.account.stack.as_ref();
        stack.map_or(FUNCTION_ARN, |stack| &stack.function_arn)
    }
}

impl Secret {
    /// Returns a secret without versions and rotation.
    pub(crate) fn new(arn: &str, name: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            name: name.to_owned(),
            rotation_enabled: None,
            admin_secret_arn: None,
            primary_region: None,
            replicas: Vec::new(),
            cross_account_replicas: Vec::new(),
            cross_account_primary: None,
            attributes: Attributes {
                created: Some(epoch_seconds()),
                ..Attributes::default()
            },
            last_rotated: None,
            last_changed: None,
            next_rotation: None,
            current_key_guarantee: CurrentKeyGuarantee::Accepted,
            versions: BTreeMap::new(),
            labels: BTreeMap::new(),
            rotation_tokens: BTreeMap::new(),
            last_token: None,
            incomplete: None,
        }
    }

    /// Configures rotation every 30 days.
    fn turn_on_rotation(&mut self, function_arn: &str) {
        self.rotation_enabled = Some(true);
        self.attributes.rotation_lambda_arn = Some(function_arn.to_owned());
        self.attributes.rotation_rules = Some(json!({ "AutomaticallyAfterDays": 30 }));
        self.schedule_next_rotation();
    }
}
