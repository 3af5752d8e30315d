//! The API Keys API of the control plane.
//!
//! Confluent returns a key's secret only once and has no idempotency token. [`create`](Client::create) therefore retries
//! only if no key can exist, and its error says whether one may exist.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

use std::time::Duration;

use reqwest::Method;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use super::endpoint::url_at;
use super::error_response::is_page;
use super::wire::{WireKey, WirePage, create_body, decode, decode_any, next_page};
use super::{
    ApiKey, ApiKeyId, ApiKeyMetadata, EndpointLookup, ErrorKind, ErrorResponse, MAX_ID_LENGTH,
    Resource,
};
use crate::http::{self, Deadline, Http, Redacted, Request, Response};
use crate::telemetry::Metrics;

/// The client for Confluent Cloud during one invocation.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: Http,
    pub(super) probe_http: Http,
    pub(crate) control_plane: Url,
    deadline: Deadline,
}

/// A failed request to the control plane.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// Confluent Cloud denied or rejected the request, or failed, or a proxy or a firewall blocked it.
    #[error("{} {operation}: {response}", action(.response, .authenticated_with))]
    Rejected {
        authenticated_with: ApiKeyId,
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
    fn new(operation: &'static str, key: &ApiKey, error: http::Error) -> Self {
        match error {
            http::Error::Rejected(response) => {
                let response = ErrorResponse::parse(&response, key);
                let is_creation = operation == CREATE;
                Self::Rejected {
                    authenticated_with: key.id.clone(),
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

    /// Returns whether the key of a failed deletion may no longer exist. Confluent may return 403 for a key that does not exist,
    /// and a proxy may have replaced the response.
    pub fn may_be_deleted(&self) -> bool {
        let is_unclear = [Some(ErrorKind::Forbidden), Some(ErrorKind::Blocked)];
        is_unclear.contains(&self.kind()) || matches!(self, Self::InvalidResponse { .. })
    }

    /// Returns whether the request may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            // A proxy may have forwarded the request before it responded.
            Self::Rejected { response, .. } => !(400..500).contains(&response.status),
            Self::NoResponse { source, .. } => source.may_have_taken_effect(),
            Self::InvalidResponse { .. } => true,
        }
    }
}

/// Describes what happened instead of the operation.
fn action(response: &ErrorResponse, key: &ApiKeyId) -> String {
    let action = match response.kind {
        ErrorKind::ServerError => "failed to".to_owned(),
        ErrorKind::Unauthenticated | ErrorKind::ResourceScopedKey => {
            format!("rejected key {key} in a request to")
        }
        ErrorKind::Forbidden => format!("denied key {key} permission to"),
        ErrorKind::RateLimited => format!("rate limited a request from key {key} to"),
        ErrorKind::Blocked if response.status < 400 => {
            return format!("a proxy or a firewall responded to a request from key {key} to");
        }
        ErrorKind::Blocked => {
            return format!(
                "a proxy, a firewall or an IP filter blocked a request from key {key} to"
            );
        }
        _ => format!("rejected a request from key {key} to"),
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

const API_KEYS: [&str; 3] = ["iam", "v2", "api-keys"];
const CREATE: &str = "create an API key";

impl Client {
    /// Creates a client for the control plane at `control_plane` that sends requests until `deadline`. It sends probes with
    /// `probe_http`, which must not reuse connections.
    pub fn new(http: Http, probe_http: Http, control_plane: Url, deadline: Deadline) -> Self {
        Self {
            http,
            probe_http,
            control_plane,
            deadline,
        }
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

    /// Lists the keys of `owner` that `key` has permission to see. A key that is not listed may still exist.
    pub async fn list(&self, key: &ApiKey, owner: &str) -> Result<Vec<ApiKeyMetadata>, Error> {
        const LIST: &str = "list the owner's API keys";
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut page_token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = vec![("spec.owner", owner), ("page_size", PAGE_SIZE)];
            query.extend(page_token.as_deref().map(|token| ("page_token", token)));
            let url = url_at(&self.control_plane, &API_KEYS, &query);
            let response = self.get(LIST, key, url).await?;
            bytes += response.body.len();
            let page: WirePage = decode(LIST, &response)?;
            keys.extend(page.data.into_iter().map(ApiKeyMetadata::from));
            if bytes > MAX_LIST_BYTES || keys.len() > MAX_KEYS {
                let problem = format!("exceeds {MAX_KEYS} keys or {MAX_LIST_BYTES} bytes");
                return Err(Error::invalid_response(LIST, problem));
            }
            let next = page.metadata.and_then(|metadata| metadata.next);
            page_token = next_page(&self.control_plane, next.as_deref())
                .map_err(|problem| Error::invalid_response(LIST, problem))?;
            if page_token.is_none() {
                return Ok(keys);
            }
        }
        let problem = format!("exceeds {MAX_PAGES} pages");
        Err(Error::invalid_response(LIST, problem))
    }

    /// Reads a key's metadata. If the key does not exist, the error is [`ErrorKind::NotFound`] or [`ErrorKind::Forbidden`].
    pub async fn read(&self, key: &ApiKey, id: &ApiKeyId) -> Result<ApiKeyMetadata, Error> {
        const READ: &str = "describe an API key";
        let response = self.get(READ, key, self.api_key_url(id)).await?;
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
    pub async fn create(&self, key: &ApiKey, spec: &ApiKeySpec<'_>) -> Result<ApiKey, Error> {
        let url = url_at(&self.control_plane, &API_KEYS, &[]);
        let mut request = request(Method::POST, url, key);
        request.body = Some(create_body(spec).to_string());
        let deadline = self.deadline.with_reserve(STORE_RESERVE);
        let sent = self.http.send(&request, deadline).await;
        let response = received(CREATE, key, sent)?;
        let created: WireKey = decode(CREATE, &response)?;
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

    /// Deletes a key. Succeeds if Confluent returns 404. If [`may_be_deleted`](Error::may_be_deleted), a list shows whether the
    /// key exists. Calls `is_unused` before each retry.
    pub async fn delete(
        &self,
        key: &ApiKey,
        id: &ApiKeyId,
        is_unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        const DELETE: &str = "delete an API key";
        let request = request(Method::DELETE, self.api_key_url(id), key);
        let sent = self.http.send_while(&request, self.deadline, is_unused);
        match received(DELETE, key, sent.await) {
            Ok(response) if response.body.is_empty() => Ok(()),
            Ok(response) => decode::<IgnoredAny>(DELETE, &response).map(drop),
            Err(error) if error.kind() == Some(ErrorKind::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the endpoint of the resource with `id`.
    pub async fn endpoint(
        &self,
        key: &ApiKey,
        lookup: &EndpointLookup,
        id: &str,
        environment: &str,
    ) -> Result<String, Error> {
        const LOOK_UP: &str = "look up the resource's endpoint";
        let url = (lookup.url)(&self.control_plane, id, environment);
        let response = self.get(LOOK_UP, key, url).await?;
        let response = decode_any(LOOK_UP, &response)?;
        (lookup.endpoint)(&response)
            .ok_or_else(|| Error::invalid_response(LOOK_UP, "contains no endpoint"))
    }

    /// Returns the applied limit of the quota with `id`, or `None` if the response doesn't contain it.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listServiceQuotaV1AppliedQuotas>
    pub async fn applied_quota(
        &self,
        key: &ApiKey,
        scope: &str,
        id: &str,
    ) -> Result<Option<u64>, Error> {
        const READ_QUOTA: &str = "read an applied quota";
        let path = ["service-quota", "v1", "applied-quotas"];
        let url = url_at(&self.control_plane, &path, &[("scope", scope), ("id", id)]);
        let response = self.get(READ_QUOTA, key, url).await?;
        let response = decode_any(READ_QUOTA, &response)?;
        let limit = response.pointer("/data/0/applied_limit");
        Ok(limit.and_then(Value::as_u64))
    }

    fn api_key_url(&self, id: &ApiKeyId) -> Url {
        let [iam, v2, api_keys] = API_KEYS;
        url_at(&self.control_plane, &[iam, v2, api_keys, id.as_str()], &[])
    }

    async fn get(
        &self,
        operation: &'static str,
        key: &ApiKey,
        url: Url,
    ) -> Result<Response, Error> {
        let request = request(Method::GET, url, key);
        received(
            operation,
            key,
            self.http.send(&request, self.deadline).await,
        )
    }
}

/// Returns the response, unless the request failed or a proxy or a firewall responded with a page.
fn received(
    operation: &'static str,
    key: &ApiKey,
    sent: Result<Response, http::Error>,
) -> Result<Response, Error> {
    let error = match sent {
        Ok(response) if is_page(&response.body) => http::Error::Rejected(Box::new(response)),
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    Err(Error::new(operation, key, error))
}

fn request(method: Method, url: Url, key: &ApiKey) -> Request<'_> {
    Request {
        method,
        url,
        auth: key.basic_auth(),
        media_type: "application/json",
        body: None,
    }
}
