//! API keys: the key type, propagation, and authentication with a key.
//!
//! A key is scoped to one resource. A new key may be rejected for a while, and may flap, as the
//! [`Controls`](crate::Controls) specify.

use std::collections::VecDeque;
use std::time::Instant;

use crate::guarantees::Guarantee;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// The type of resource that an API key is scoped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// Cloud resource management.
    Cloud,
    /// A Kafka cluster, `lkc-…`.
    Kafka,
    /// A Schema Registry cluster, `lsrc-…`.
    SchemaRegistry,
    /// A ksqlDB cluster, `lksqlc-…`.
    KsqlDb,
    /// A Flink region of one environment, `<cloud>.<region>`.
    Flink,
    /// Tableflow.
    Tableflow,
    /// All resources.
    Global,
}

impl KeyType {
    /// Returns the key type for a resource ID. `cloud`, `tableflow` and `global` are case-insensitive.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    #[must_use]
    pub fn of(resource: Option<&str>) -> Option<Self> {
        let id = resource.unwrap_or("cloud").to_ascii_lowercase();
        let prefixes = [
            ("lkc-", Self::Kafka),
            ("lsrc-", Self::SchemaRegistry),
            ("lksqlc-", Self::KsqlDb),
            ("aws.", Self::Flink),
            ("azure.", Self::Flink),
            ("gcp.", Self::Flink),
        ];
        match id.as_str() {
            "cloud" => Some(Self::Cloud),
            "tableflow" => Some(Self::Tableflow),
            "global" => Some(Self::Global),
            id => prefixes
                .iter()
                .find(|(prefix, _)| id.starts_with(prefix))
                .map(|(_, key_type)| *key_type),
        }
    }

    /// Returns whether `api.confluent.cloud` accepts keys of this type.
    #[must_use]
    pub fn is_control_plane(self) -> bool {
        matches!(self, Self::Cloud | Self::Tableflow | Self::Global)
    }
}

/// An API key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The API key ID, which is not secret.
    pub id: String,
    /// The API secret, which Confluent returns only once.
    pub secret: String,
    /// The owner, `sa-…` or `u-…`; `None` for Confluent's internal keys, which appear in lists.
    pub owner: Option<String>,
    /// The key type.
    pub key_type: KeyType,
    /// The resource ID, including `cloud`, `tableflow` and `global`.
    pub resource: String,
    /// The resource's environment, if it has one.
    pub environment: Option<String>,
    /// `spec.display_name`.
    pub display_name: String,
    /// `spec.description`.
    pub description: String,
    /// `metadata.created_at`; `None` if the field is absent.
    pub created_at: Option<String>,
    /// Whether a `POST` created the key, which only the function sends. Set it to arrange an orphaned key of an
    /// interrupted rotation.
    pub created_by_function: bool,
    /// The secret whose rotation created the key; `None` if no rotation, or more than one, was running.
    pub created_for: Option<String>,
    /// Statuses that the first node returns, in turn, before the actual one.
    pub propagation_statuses: VecDeque<u16>,
    /// The same for each further node.
    pub other_nodes: Vec<VecDeque<u16>>,
    pub(crate) accepted_from: Instant,
    /// Number of lists that omit the key; `u32::MAX` for all.
    pub hidden_from_lists: u32,
    /// Number of reads by ID that do not find the key; `u32::MAX` for all.
    pub hidden_from_reads: u32,
    /// [`Controls::delete_lag`](crate::Controls::delete_lag) of this key.
    pub delete_lag: Option<u32>,
    /// The status with which every `DELETE` of the key fails.
    pub deletion_status: Option<u16>,
    /// If the key was deleted, the number of requests for which it remains visible.
    pub(crate) remaining_reads: Option<u32>,
}

impl ApiKey {
    /// Returns whether every node of the key's resource accepts it, now and in the future.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let mut nodes = std::iter::once(&self.propagation_statuses).chain(&self.other_nodes);
        nodes.all(|statuses| statuses.iter().all(|status| *status == 200))
            && self.remaining_reads.is_none()
            && Instant::now() >= self.accepted_from
    }

    /// Returns the status of the next request with the key on a connection, 200 if the connection's node accepts the key.
    fn next_status(&mut self, connection: usize) -> u16 {
        let node = connection % (1 + self.other_nodes.len());
        let statuses = match node.checked_sub(1) {
            None => &mut self.propagation_statuses,
            Some(other) => &mut self.other_nodes[other],
        };
        statuses
            .pop_front()
            .unwrap_or(if Instant::now() < self.accepted_from {
                401
            } else {
                200
            })
    }
}

impl State {
    /// Returns the principal of a request to the control plane: the identity pool of the access token or, if the operation
    /// `accepts` the key type, the owner of the key.
    pub(crate) fn authenticate(
        &mut self,
        request: &HttpRequest,
        accepts: impl Fn(KeyType) -> bool,
    ) -> Result<String, Response> {
        if let Some(token) = request.bearer() {
            return self.authenticate_token(request, token);
        }
        let Some((id, secret)) = request.basic() else {
            self.record_violation("a request to the control plane without authentication");
            // https://github.com/confluentinc/terraform-provider-confluent fixtures/ksql/401_Unathorized.json
            let detail = "Valid authentication credentials must be provided";
            return Err(Response::confluent_error(
                401,
                Some("user_unauthenticated"),
                "Unauthorized",
                detail,
            ));
        };
        if !self.accepts_api_keys(request) {
            return Err(Response::confluent_unauthorized());
        }
        let Some(key) = self.find_key(id, secret) else {
            return Err(Response::confluent_unauthorized());
        };
        if !accepts(key.key_type) {
            // https://github.com/confluentinc/confluent-cloud-secrets-engine
            // astrodocs/src/content/docs/guides/developer.md
            let detail = "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key: \
                          https://docs.confluent.io/cloud/current/api.html#section/Authentication";
            return Err(Response::confluent_error(401, None, "", detail));
        }
        match key.next_status(request.entry.connection) {
            200 => key
                .owner
                .clone()
                .ok_or_else(Response::confluent_unauthorized),
            403 => Err(Response::confluent_forbidden()),
            401 => Err(Response::confluent_unauthorized()),
            status => Err(Response::confluent_error(
                status,
                None,
                "",
                "The key has not propagated yet",
            )),
        }
    }

    /// Returns the status for a request to a data plane, 200 if the key is accepted.
    ///
    /// Sending a key to a resource that it is not scoped to is a violation.
    pub(crate) fn data_plane_status(
        &mut self,
        request: &HttpRequest,
        is_in_scope: impl Fn(&ApiKey) -> bool,
    ) -> u16 {
        let Some((id, secret)) = request.basic() else {
            self.record_violation("a request to a data plane without Basic authentication");
            return 401;
        };
        let Some(key) = self.find_key(id, secret) else {
            return 401;
        };
        if !is_in_scope(key) {
            let message = format!("{id} is scoped to {}, not to this resource", key.resource);
            self.record_broken(Guarantee::CredentialDestination, &message);
            return 401;
        }
        let resource = key.resource.clone();
        match key.next_status(request.entry.connection) {
            200 if self.controls.denies(&resource) => 403,
            status => status,
        }
    }

    /// Returns the key with this ID and secret, counts the read, and records a wrong secret.
    pub(crate) fn find_key(&mut self, id: &str, secret: &str) -> Option<&mut ApiKey> {
        self.count_read(id);
        if self.keys.get(id).is_some_and(|key| key.secret != secret) {
            self.wrong_secrets.push((id.to_owned(), secret.to_owned()));
        }
        self.keys.get_mut(id).filter(|key| key.secret == secret)
    }

    /// Counts a read of a deleted key, and removes the key after the last one.
    pub(crate) fn count_read(&mut self, id: &str) {
        match self.keys.get_mut(id).map(|key| &mut key.remaining_reads) {
            Some(Some(0)) => {
                let key = self.keys.remove(id).expect("the key was found");
                self.deleted_keys.insert(id.to_owned(), key);
            }
            Some(Some(reads)) => *reads -= 1,
            Some(None) | None => {}
        }
    }
}
