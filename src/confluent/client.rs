//! The API Keys API of the control plane.
//!
//! Confluent returns a key's secret only once and has no idempotency token. [`create`](Client::create) therefore retries
//! only if no key can exist, and its error says whether one may exist.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error_response::is_page;
use super::wire::{WireKey, WirePage, create_body, decode, decode_any, next_page};
use super::{
    ApiKey, ApiKeyId, ApiKeyMetadata, Credentials, EndpointCache, EndpointLookup, ErrorKind,
    ErrorResponse, MAX_ID_LENGTH, Principal, Resource,
};
use crate::http::{self, ControlPlaneUrl, Deadline, Http, Redacted, Request, Response};
use crate::telemetry::Metrics;

/// The client for Confluent Cloud during one invocation.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: Http,
    pub(super) probe_http: Http,
    pub(super) broker_tls: Arc<rustls::ClientConfig>,
    pub(crate) endpoints: EndpointCache,
    deadline: Deadline,
}

/// A failed request to the control plane.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// Confluent Cloud denied or rejected the request, or failed, or a proxy or a firewall blocked it.
    #[error("{} {operation}: {response}", action(.response, .principal))]
    Rejected {
        principal: Principal,
        operation: &'static str,
        response: Box<ErrorResponse>,
    },
    /// No complete response arrived.
    #[error("the request to {operation} did not complete")]
    NoResponse {
        operation: &'static str,
        source: http::Error,
    },
    /// The response is successful but lacks required data.
    #[error(
        "Confluent Cloud returned an invalid response to a request to {operation}: it {problem}"
    )]
    InvalidResponse {
        operation: &'static str,
        problem: String,
    },
}

impl Error {
    fn new(
        operation: &'static str,
        principal: Principal,
        credentials_are_in: impl Fn(&str) -> bool,
        error: http::Error,
    ) -> Self {
        match error {
            http::Error::Rejected(response) => {
                let mut response = ErrorResponse::parse(&response, credentials_are_in);
                // The message advises a Cloud API key, which is no remedy for an access token.
                let is_key = matches!(principal, Principal::Key(_));
                if response.kind == ErrorKind::ResourceScopedKey && !is_key {
                    response.kind = ErrorKind::Unauthenticated;
                }
                let is_creation = operation == CREATE;
                Self::Rejected {
                    principal,
                    operation,
                    response: Box::new(if is_creation {
                        response.for_creation()
                    } else {
                        response
                    }),
                }
            }
            source => Self::NoResponse { operation, source },
        }
    }

    pub(super) fn invalid_response(operation: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidResponse {
            operation,
            problem: problem.into(),
        }
    }

    /// Creates the error for a `POST` whose response names a key that existed before.
    pub fn existing_key_returned() -> Self {
        Self::invalid_response(CREATE, "names a key that already existed")
    }

    /// Creates the error for a `POST` whose response contains a key that cannot be stored.
    pub fn malformed_key_returned() -> Self {
        let problem = "contains a key that is not in the format of a Confluent Cloud API key";
        Self::invalid_response(CREATE, problem)
    }

    /// Returns the kind of the error response, or `None` if there is no error response.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Rejected { response, .. } => Some(response.kind),
            Self::NoResponse { .. } | Self::InvalidResponse { .. } => None,
        }
    }

    /// Returns whether the keys must be listed, because the response does not show whether the key still exists. Confluent may
    /// return 403 for a key that does not exist, and a proxy may have replaced the response.
    pub fn may_be_deleted(&self) -> bool {
        let is_unclear = [Some(ErrorKind::Forbidden), Some(ErrorKind::Blocked)];
        is_unclear.contains(&self.kind()) || matches!(self, Self::InvalidResponse { .. })
    }

    /// Returns whether the request may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            // A proxy may have forwarded the request before it responded.
            Self::Rejected { response, .. } => {
                !(400..500).contains(&response.status) || response.follows_unknown_outcome
            }
            Self::NoResponse { source, .. } => source.may_have_taken_effect(),
            Self::InvalidResponse { .. } => true,
        }
    }
}

/// Returns the start of a message, such as `Confluent Cloud denied key ABC permission to`.
fn action(response: &ErrorResponse, principal: &Principal) -> String {
    let action = match response.kind {
        ErrorKind::ServerError => "failed to".to_owned(),
        ErrorKind::Unauthenticated | ErrorKind::ResourceScopedKey => {
            format!("rejected {principal} in a request to")
        }
        ErrorKind::Forbidden => format!("denied {principal} permission to"),
        ErrorKind::RateLimited => format!("rate limited a request from {principal} to"),
        ErrorKind::Blocked if response.status < 400 => {
            return format!("a proxy or a firewall responded to a request from {principal} to");
        }
        ErrorKind::Blocked => {
            return format!(
                "a proxy, a firewall or an IP filter blocked a request from {principal} to"
            );
        }
        _ => format!("rejected a request from {principal} to"),
    };
    format!("Confluent Cloud {action}")
}

/// The key to create.
#[derive(Clone, Debug)]
pub struct ApiKeySpec<'a> {
    /// The service account or user that will own the key.
    pub owner: &'a str,
    /// The resource that the key will be scoped to.
    pub resource: &'a Resource,
    /// The name shown in the Confluent Cloud Console.
    pub display_name: &'a str,
    /// The ownership tag.
    pub description: &'a str,
}

/// Which keys a list contains.
#[derive(Clone, Copy, Debug)]
pub struct KeyFilter<'a> {
    owner: &'a str,
    resource: Option<&'a str>,
}

impl<'a> KeyFilter<'a> {
    /// Creates a filter for all keys of `owner`.
    pub fn of_owner(owner: &'a str) -> Self {
        let resource = None;
        Self { owner, resource }
    }

    /// Creates a filter for the keys of `owner` for `resource`, so that the owner's other keys add no requests. For key types for
    /// which Confluent documents no such filter, it is the filter for all keys of `owner`.
    pub fn for_resource(owner: &'a str, resource: &'a Resource) -> Self {
        let is_supported = resource.key_type.supports_resource_filter;
        let resource = is_supported.then_some(resource.id.as_str());
        Self { owner, resource }
    }

    /// Returns the filter for all keys of the owner, or `None` if this one is.
    pub fn without_resource(self) -> Option<Self> {
        self.resource.map(|_| Self::of_owner(self.owner))
    }
}

/// The number of keys per page, which is the documented maximum.
const PAGE_SIZE: &str = "100";

/// The largest number of pages that is read. A service account may have 100 Cloud API keys, and 100 keys for its clusters.
///
/// <https://docs.confluent.io/cloud/current/quotas/service-quotas.html>
const MAX_PAGES: usize = 100;

/// The largest list that is read, in keys and in bytes. These limits bound the memory that an implausible list uses.
const MAX_KEYS: usize = 10_000;
const MAX_LIST_BYTES: usize = 16 << 20;

/// Time reserved after a `POST` to store the created key. A key that is not stored is lost.
pub const STORE_RESERVE: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const API_KEYS: [&str; 3] = ["iam", "v2", "api-keys"];
const CREATE: &str = "create an API key";

impl Client {
    /// Creates a client that sends requests until `deadline`. It sends probes with `probe_http`, which must not reuse connections,
    /// connects to brokers with `broker_tls`, and caches endpoints in `endpoints`.
    pub fn new(
        http: Http,
        probe_http: Http,
        broker_tls: Arc<rustls::ClientConfig>,
        endpoints: EndpointCache,
        deadline: Deadline,
    ) -> Self {
        Self {
            http,
            probe_http,
            broker_tls,
            endpoints,
            deadline,
        }
    }

    /// Returns the base URL of the control plane.
    pub fn control_plane(&self) -> ControlPlaneUrl {
        self.http.allowed.control_plane()
    }

    /// Returns the deadline of the requests.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Returns the same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Deadline) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Returns the metrics of this invocation.
    pub fn metrics(&self) -> &Metrics {
        &self.http.metrics
    }

    /// Lists the keys that match `filter` and that `credentials` have permission to see. A key that is not listed may still exist.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
    pub async fn list(
        &self,
        credentials: &Credentials,
        filter: KeyFilter<'_>,
    ) -> Result<Vec<ApiKeyMetadata>, Error> {
        const LIST: &str = "list the owner's API keys";
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut page_token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = vec![("spec.owner", filter.owner), ("page_size", PAGE_SIZE)];
            query.extend(filter.resource.map(|id| ("spec.resource", id)));
            query.extend(page_token.as_deref().map(|token| ("page_token", token)));
            let url = self.control_plane().at(&API_KEYS, &query);
            let response = self.get(LIST, credentials, url).await?;
            bytes += response.body.len();
            let page: WirePage = decode(LIST, &response)?;
            keys.extend(page.data.into_iter().map(ApiKeyMetadata::from));
            if bytes > MAX_LIST_BYTES || keys.len() > MAX_KEYS {
                let problem = format!("exceeds {MAX_KEYS} keys or {MAX_LIST_BYTES} bytes");
                return Err(Error::invalid_response(LIST, problem));
            }
            let next = page.metadata.and_then(|metadata| metadata.next);
            page_token = next_page(self.control_plane().as_url(), next.as_deref())
                .map_err(|problem| Error::invalid_response(LIST, problem))?;
            if page_token.is_none() {
                return Ok(keys);
            }
        }
        let problem = format!("exceeds {MAX_PAGES} pages");
        Err(Error::invalid_response(LIST, problem))
    }

    /// Reads a key's metadata. If the key does not exist, the error is [`ErrorKind::NotFound`] or [`ErrorKind::Forbidden`].
    pub async fn read(
        &self,
        credentials: &Credentials,
        id: &ApiKeyId,
    ) -> Result<ApiKeyMetadata, Error> {
        const READ: &str = "describe an API key";
        let response = self.get(READ, credentials, self.api_key_url(id)).await?;
        let read: WireKey = decode(READ, &response)?;
        if read.id != id.as_str() {
            return Err(Error::invalid_response(READ, "describes another key"));
        }
        Ok(read.into())
    }

    /// Creates an API key and returns it with its secret, which Confluent never returns again.
    ///
    /// After an error that [`may_have_taken_effect`](Error::may_have_taken_effect), the key may exist: before you retry, list
    /// the keys and look for the description.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    pub async fn create(
        &self,
        credentials: &Credentials,
        spec: &ApiKeySpec<'_>,
    ) -> Result<ApiKey, Error> {
        let url = self.control_plane().at(&API_KEYS, &[]);
        let mut request = request(Method::POST, url, credentials);
        request.body = Some((JSON, Redacted::new(create_body(spec).to_string())));
        let deadline = self.deadline.with_reserve(STORE_RESERVE);
        let sent = self.http.send(&request, deadline).await;
        let response = check_authenticated(CREATE, credentials, sent)?;
        let created: WireKey = decode(CREATE, &response)?;
        // The description names the invocation, so another key has a different one.
        let described = created
            .spec
            .as_ref()
            .and_then(|spec| spec.description.as_deref())
            .filter(|description| !description.is_empty());
        if described.is_some_and(|description| description != spec.description) {
            return Err(Error::existing_key_returned());
        }
        let secret = created.spec.and_then(|spec| spec.secret);
        let secret = secret.unwrap_or_default();
        // A secret value cannot hold an empty string or surrounding whitespace.
        let is_valid = |string: &str| !string.is_empty() && string.trim() == string;
        if !is_valid(&created.id) || created.id.len() > MAX_ID_LENGTH || !is_valid(&secret) {
            let problem = "lacks a valid ID or secret";
            return Err(Error::invalid_response(CREATE, problem));
        }
        Ok(ApiKey {
            id: ApiKeyId::new(created.id),
            secret: Redacted::new(secret),
        })
    }

    /// Deletes a key. Succeeds if Confluent returns 404. After an error that [`may_be_deleted`](Error::may_be_deleted), list the
    /// keys to find out whether the key still exists. Calls `is_unused` after a wait for the rate limit and before each retry, and
    /// stops if it returns `false`.
    pub async fn delete(
        &self,
        credentials: &Credentials,
        id: &ApiKeyId,
        is_unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        const DELETE: &str = "delete an API key";
        let request = request(Method::DELETE, self.api_key_url(id), credentials);
        let sent = self.http.send_while(&request, self.deadline, is_unused);
        match check_authenticated(DELETE, credentials, sent.await) {
            Ok(response) if response.body.is_empty() => Ok(()),
            Ok(response) => decode::<IgnoredAny>(DELETE, &response).map(drop),
            Err(error) if error.kind() == Some(ErrorKind::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the endpoint of the resource with `id`, and the bootstrap endpoint of a Kafka cluster.
    pub async fn endpoint(
        &self,
        credentials: &Credentials,
        lookup: &EndpointLookup,
        id: &str,
        environment: &str,
    ) -> Result<(String, Option<String>), Error> {
        const LOOK_UP: &str = "look up the resource's endpoint";
        let url = (lookup.url)(&self.control_plane(), id, environment);
        let response = self.get(LOOK_UP, credentials, url).await?;
        let response = decode_any(LOOK_UP, &response)?;
        let endpoint = (lookup.endpoint)(&response)
            .ok_or_else(|| Error::invalid_response(LOOK_UP, "contains no endpoint"))?;
        let bootstrap = lookup.bootstrap.and_then(|read| read(&response));
        Ok((endpoint, bootstrap))
    }

    /// Returns the applied limit of the quota with `id`, or `None` if the response doesn't contain it.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listServiceQuotaV1AppliedQuotas>
    pub async fn applied_quota(
        &self,
        credentials: &Credentials,
        scope: &str,
        id: &str,
    ) -> Result<Option<u64>, Error> {
        const READ_QUOTA: &str = "read an applied quota";
        let path = ["service-quota", "v1", "applied-quotas"];
        let query = [("scope", scope), ("id", id)];
        let url = self.control_plane().at(&path, &query);
        let response = self.get(READ_QUOTA, credentials, url).await?;
        let response = decode_any(READ_QUOTA, &response)?;
        let limit = response.pointer("/data/0/applied_limit");
        Ok(limit.and_then(Value::as_u64))
    }

    fn api_key_url(&self, id: &ApiKeyId) -> ControlPlaneUrl {
        let [iam, v2, api_keys] = API_KEYS;
        self.control_plane()
            .at(&[iam, v2, api_keys, id.as_str()], &[])
    }

    async fn get(
        &self,
        operation: &'static str,
        credentials: &Credentials,
        url: ControlPlaneUrl,
    ) -> Result<Response, Error> {
        let request = request(Method::GET, url, credentials);
        let sent = self.http.send(&request, self.deadline).await;
        check_authenticated(operation, credentials, sent)
    }
}

/// Returns the response to a request with `credentials`. See [`check_response`].
fn check_authenticated(
    operation: &'static str,
    credentials: &Credentials,
    sent: Result<Response, http::Error>,
) -> Result<Response, Error> {
    let are_in = |text: &str| credentials.are_in(text);
    check_response(operation, credentials.principal(), are_in, sent)
}

/// Returns the response, unless the request failed or a proxy or a firewall responded with a page.
pub(super) fn check_response(
    operation: &'static str,
    principal: Principal,
    credentials_are_in: impl Fn(&str) -> bool,
    sent: Result<Response, http::Error>,
) -> Result<Response, Error> {
    let error = match sent {
        Ok(response) if is_page(&response.body) => http::Error::Rejected(Box::new(response)),
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    Err(Error::new(operation, principal, credentials_are_in, error))
}

fn request(method: Method, url: ControlPlaneUrl, credentials: &Credentials) -> Request<'_> {
    Request {
        method,
        destination: credentials.at(url),
        accept: JSON,
        body: None,
    }
}
