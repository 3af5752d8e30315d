//! A request: as the services read it ([`HttpRequest`]), and as the log keeps it ([`Request`]).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};

/// The service to which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Confluent's control plane, `api.confluent.cloud`.
    ControlPlane,
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS STS.
    Sts,
    /// The REST endpoint of a Kafka cluster.
    KafkaRest,
    /// A broker of a Kafka cluster, or the bootstrap listener.
    KafkaBroker,
    /// A Schema Registry cluster.
    SchemaRegistry,
    /// A ksqlDB cluster.
    KsqlDb,
    /// The endpoint of a Flink region.
    Flink,
}

/// The authentication of a request, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// None, or a scheme that no service documents.
    #[default]
    None,
    /// Basic authentication, or SASL/PLAIN, with this API key ID.
    Basic(String),
    /// An access token.
    Bearer,
    /// AWS Signature Version 4.
    SigV4,
}

/// The number of a connection at its listener, in the order in which they were accepted.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionNumber(pub(crate) usize);

/// A request in the log, or a frame to a Kafka broker. It has neither headers nor body, because they contain secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The service.
    pub service: Service,
    /// The method; empty for a frame.
    pub method: String,
    /// The path and query or, for a frame, the node ID of the broker or `bootstrap`.
    pub target: String,
    /// The operation of Secrets Manager, from `X-Amz-Target`, of AWS STS, from `Action`, or of a Kafka broker.
    pub operation: Option<String>,
    /// The authentication.
    pub authentication: Authentication,
    /// The API key ID from Basic authentication, or from the last `SaslAuthenticate` of the connection.
    pub key_id: Option<String>,
    /// The number of the connection at the service's listener, in the order in which they were accepted.
    pub connection: usize,
    /// The status of the response or, for a frame, the error code, as `u16`; `None` if the service sent none.
    pub status: Option<u16>,
    /// The time at which the request arrived.
    pub received_at: SystemTime,
    /// The time at which the response was sent; `None` if none was sent.
    pub responded_at: Option<SystemTime>,
}

impl Request {
    /// Returns a name for the request, such as `POST /iam/v2/api-keys` or `PutSecretValue`.
    #[must_use]
    pub fn name(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        self.operation
            .clone()
            .unwrap_or_else(|| format!("{} {path}", self.method))
    }
}

/// A request as it was received.
pub(crate) struct HttpRequest {
    pub(crate) service: Service,
    /// The resource, on a data plane.
    pub(crate) resource: Option<String>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The API key ID and API secret of Basic authentication.
    basic: Option<(String, String)>,
    /// The request as the log keeps it.
    pub(crate) entry: Request,
}

impl HttpRequest {
    pub(crate) fn new(
        service: Service,
        resource: Option<String>,
        head: http::request::Parts,
        body: Bytes,
    ) -> Self {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let connection = head.extensions.get::<ConnectionNumber>();
        let target = head.uri.path_and_query();
        let authorization = header(&head.headers, "authorization").unwrap_or_default();
        let basic = decode_basic(authorization);
        let key_id = basic.as_ref().map(|(id, _)| id.clone());
        let entry = Request {
            service,
            method: head.method.to_string(),
            target: target.map(ToString::to_string).unwrap_or_default(),
            operation: operation(service, &head.headers, &body).map(ToOwned::to_owned),
            authentication: authentication(authorization, key_id.as_deref()),
            key_id,
            connection: connection.map_or(0, |number| number.0),
            status: None,
            received_at: SystemTime::now(),
            responded_at: None,
        };
        Self {
            service,
            resource,
            path: head.uri.path().to_owned(),
            query: url::form_urlencoded::parse(query).into_owned().collect(),
            method: head.method,
            headers: head.headers,
            body,
            basic,
            entry,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn operation(&self) -> Option<&str> {
        self.entry.operation.as_deref()
    }

    /// Returns the access token.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Returns whether the request has a signature for an AWS service. Nothing verifies the signature.
    ///
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
    pub(crate) fn is_signed_for(&self, service: &str) -> bool {
        let authorization = self.header("authorization").unwrap_or_default();
        let scope = format!("/{service}/aws4_request");
        let parts = [
            "AWS4-HMAC-SHA256 Credential=",
            &scope,
            "SignedHeaders=",
            "Signature=",
        ];
        parts.iter().all(|part| authorization.contains(part)) && self.header("x-amz-date").is_some()
    }

    pub(crate) fn is_form(&self) -> bool {
        self.header("content-type") == Some("application/x-www-form-urlencoded")
    }

    /// Returns the fields of a form.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body)
            .into_owned()
            .collect()
    }

    /// Returns the API key ID and API secret of Basic authentication.
    pub(crate) fn basic(&self) -> Option<(&str, &str)> {
        let (id, secret) = self.basic.as_ref()?;
        Some((id, secret))
    }

    /// Returns the segments of the path: `["iam", "v2", "api-keys", "X"]` for `/iam/v2/api-keys/X`.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.trim_start_matches('/').split('/').collect()
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn name(&self) -> String {
        self.entry.name()
    }

    /// Returns whether the operation changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        match self.service {
            Service::SecretsManager => self.operation().is_some_and(|operation| {
                ["Describe", "Get", "List"]
                    .iter()
                    .any(|verb| operation.starts_with(verb))
            }),
            _ => self.method == Method::GET,
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn operation<'r>(service: Service, headers: &'r HeaderMap, body: &'r [u8]) -> Option<&'r str> {
    if service == Service::Sts {
        // The name of an operation has no characters that a form encodes.
        let body = std::str::from_utf8(body).ok()?;
        return body
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("Action="));
    }
    header(headers, "x-amz-target")?.strip_prefix("secretsmanager.")
}

/// <https://docs.confluent.io/cloud/current/api.html#section/Authentication>
fn decode_basic(authorization: &str) -> Option<(String, String)> {
    let encoded = authorization.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn authentication(authorization: &str, key_id: Option<&str>) -> Authentication {
    if let Some(id) = key_id {
        Authentication::Basic(id.to_owned())
    } else if authorization.starts_with("Bearer ") {
        Authentication::Bearer
    } else if authorization.starts_with("AWS4-HMAC-SHA256 ") {
        Authentication::SigV4
    } else {
        Authentication::None
    }
}
