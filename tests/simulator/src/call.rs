//! One request: as the services read it ([`Call`]), and as tests read it in the log ([`Request`]).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};

/// Which service a request went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// `api.confluent.cloud`.
    ControlPlane,
    /// AWS Secrets Manager.
    SecretsManager,
    /// A Kafka cluster's REST endpoint.
    KafkaRest,
    /// A Schema Registry.
    SchemaRegistry,
    /// A ksqlDB cluster.
    KsqlDb,
    /// A Flink region's gateway.
    Flink,
}

/// A request as the log remembers it: neither headers nor body, which carry secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it went.
    pub plane: Plane,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Secrets Manager's operation, from `X-Amz-Target`.
    pub operation: Option<String>,
    /// The API key that signed it, from Basic authentication.
    pub key_id: Option<String>,
    /// The status that was answered; none while there is no answer, and when none was given.
    pub status: Option<u16>,
    /// When it arrived.
    pub at: SystemTime,
    /// When its answer left; none while there is no answer.
    pub answered_at: Option<SystemTime>,
}

impl Request {
    /// How it is called in a test's name: `POST /iam/v2/api-keys`, or `PutSecretValue`.
    #[must_use]
    pub fn label(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        self.operation
            .clone()
            .unwrap_or_else(|| format!("{} {path}", self.method))
    }
}

/// A request as it came in.
pub(crate) struct Call {
    pub(crate) plane: Plane,
    /// The resource whose endpoint was called, on a data plane.
    pub(crate) resource: Option<String>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(
        plane: Plane,
        resource: Option<String>,
        head: http::request::Parts,
        body: Bytes,
    ) -> Self {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        Self {
            plane,
            resource,
            path: head.uri.path().to_owned(),
            query: url::form_urlencoded::parse(query).into_owned().collect(),
            target: head
                .uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            method: head.method,
            headers: head.headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn operation(&self) -> Option<&str> {
        self.header("x-amz-target")?.strip_prefix("secretsmanager.")
    }

    /// Key id and secret of Basic authentication.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#section/Authentication>
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((id.to_owned(), secret.to_owned()))
    }

    /// The path's parts: `/iam/v2/api-keys/X` is `["iam", "v2", "api-keys", "X"]`.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.trim_start_matches('/').split('/').collect()
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn logged(&self) -> Request {
        Request {
            plane: self.plane,
            method: self.method.to_string(),
            target: self.target.clone(),
            operation: self.operation().map(ToOwned::to_owned),
            key_id: self.basic().map(|(id, _)| id),
            status: None,
            at: SystemTime::now(),
            answered_at: None,
        }
    }

    pub(crate) fn label(&self) -> String {
        self.logged().label()
    }
}
