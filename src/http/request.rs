//! Requests to Confluent Cloud.
//!
//! [`Http`] checks the host, retries where a retry is safe, and stops at the deadline. A failed request is classified by what
//! the caller can do next: it returned an error status, it was not sent, or no complete response arrived.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode};
use url::Url;

use super::client::{self, MAX_BODY_BYTES};
use super::hosts::authority;
use super::service_text::printable;
use super::{AllowedHosts, Backoff, ControlPlaneUrl, Deadline, RateLimit, Redacted, rate_limit};
use crate::telemetry::Metrics;

/// Limits of requests: the timeout and the retries. Tests pass shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum duration of one attempt, from connecting to the last byte read.
    pub request: Duration,
    /// The delays between attempts.
    pub retries: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Confluent's slowest operations take seconds. A stalled one must not use up the invocation.
            request: Duration::from_secs(20),
            retries: Backoff {
                initial: Duration::from_millis(500),
                factor: 2.0,
                max: Duration::from_secs(8),
                retries: 5,
            },
        }
    }
}

/// Time reserved at the end of a wait for the response to the last attempt, so that the error reports this response and not
/// the deadline.
pub const RESPONSE_RESERVE: Duration = Duration::from_secs(2);

/// A request to Confluent Cloud.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The HTTP method. It also decides whether the request may be retried.
    pub method: Method,
    /// The URL and the credentials.
    pub destination: Destination<'a>,
    /// The media type of the expected response.
    pub accept: &'static str,
    /// The media type and the content of the body.
    pub body: Option<(&'static str, Redacted)>,
}

/// Where a request is sent, and the credentials that it contains. Only a URL of the control plane can be combined with an access
/// token:
///
/// ```compile_fail,E0308
/// # use confluent_key_rotation::http::{BearerToken, Destination};
/// # let token = BearerToken::new("token".to_owned()).unwrap();
/// let cluster = url::Url::parse("https://pkc-1.confluent.cloud").unwrap();
/// let target = Destination::WithToken(cluster, &token);
/// ```
#[derive(Clone, Debug)]
pub enum Destination<'a> {
    /// HTTP basic authentication with the ID and the secret of an API key, at a host that [`AllowedHosts`] allows.
    WithKey(Url, (&'a str, &'a Redacted)),
    /// An access token, at the control plane.
    WithToken(ControlPlaneUrl, &'a BearerToken),
    /// The token exchange of the control plane, whose body authenticates. It has no side effect, so it may be retried like a read
    /// request.
    TokenExchange(ControlPlaneUrl),
}

impl Destination<'_> {
    fn url(&self) -> &Url {
        match self {
            Self::WithKey(url, _) => url,
            Self::WithToken(url, _) | Self::TokenExchange(url) => url.as_url(),
        }
    }
}

/// The string of an access token. Only [`Http`] can read it, and only for a [`ControlPlaneUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerToken(Redacted);

impl BearerToken {
    /// Wraps an access token, or returns `None` if it cannot be part of a header.
    pub fn new(token: String) -> Option<Self> {
        let is_valid = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| Self(Redacted::new(token)))
    }

    /// Returns whether `text` contains the token.
    pub fn is_in(&self, text: &str) -> bool {
        text.contains(self.0.expose())
    }
}

impl Request<'_> {
    fn build(&self, client: &reqwest::Client) -> RequestBuilder {
        let builder = client.request(self.method.clone(), self.destination.url().clone());
        let builder = match self.destination {
            Destination::WithKey(_, (id, secret)) => builder.basic_auth(id, Some(secret.expose())),
            Destination::WithToken(_, token) => builder.bearer_auth(token.0.expose()),
            Destination::TokenExchange(_) => builder,
        };
        let builder = builder.header(ACCEPT, self.accept);
        match &self.body {
            Some((media_type, body)) => builder
                .header(CONTENT_TYPE, *media_type)
                .body(body.expose().to_owned()),
            None => builder,
        }
    }

    /// Returns whether a retry of the request has no further effect.
    fn is_idempotent(&self) -> bool {
        self.method.is_idempotent() || matches!(self.destination, Destination::TokenExchange(_))
    }
}

/// A complete response.
#[derive(Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `X-Request-Id` header, which Confluent Support requests.
    pub request_id: Option<String>,
    /// The body. `Debug` omits it, because it may contain an API secret.
    pub body: Vec<u8>,
    /// The delay that a 429 response requests.
    pub retry_after: Option<Duration>,
    /// The time until the rate limit allows a further request, if it allows none until then.
    pub(super) reset: Option<Duration>,
    /// Whether an earlier attempt of the same request may have taken effect.
    pub follows_unknown_outcome: bool,
}

impl Response {
    /// Creates a response without a `Retry-After` header.
    pub fn new(status: StatusCode, request_id: Option<String>, body: Vec<u8>) -> Self {
        Self {
            status,
            request_id: request_id.map(|id| printable(&id)),
            body,
            retry_after: None,
            reset: None,
            follows_unknown_outcome: false,
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {:?})", self.status, self.request_id)
    }
}

/// A failed request, classified by what the caller can do next.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// The server returned a status other than 2xx.
    #[error("HTTP {}", .0.status.as_u16())]
    Rejected(Box<Response>),
    /// Credentials may not be sent to the host. Nothing was sent.
    #[error("credentials are not sent to {host} because {reason}")]
    HostNotAllowed { host: String, reason: &'static str },
    /// The request was never sent. Retrying is always safe.
    #[error("could not connect to {host}")]
    NotSent {
        host: String,
        source: reqwest::Error,
    },
    /// The request was sent, but no complete response arrived. It may have taken effect.
    #[error("no complete response from {host}; the request may have taken effect")]
    OutcomeUnknown {
        host: String,
        source: reqwest::Error,
    },
    /// The body of a successful response exceeds the limit.
    #[error("the response from {host} exceeds {MAX_BODY_BYTES} bytes and was not read")]
    ResponseTooLong { host: String },
    /// The request was not sent, because it was no longer wanted after a wait for the rate limit.
    #[error(
        "the request to {host} was not sent: after a wait for the rate limit, it was no longer required"
    )]
    NoLongerWanted { host: String },
    /// The deadline had passed before the request could be sent.
    #[error("no time was left to send a request to {host}")]
    DeadlineExceeded { host: String },
}

impl Error {
    /// Returns whether a retry is safe and may succeed.
    fn is_retryable(&self, request: &Request<'_>) -> bool {
        match self {
            Self::NotSent { .. } => true,
            Self::ResponseTooLong { .. } => false,
            _ if self.is_rate_limited() => true,
            // https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
            Self::Rejected(response) if response.status == StatusCode::REQUEST_TIMEOUT => {
                request.is_idempotent()
            }
            _ => self.may_have_taken_effect() && request.is_idempotent(),
        }
    }

    fn is_rate_limited(&self) -> bool {
        matches!(self, Self::Rejected(response) if response.status == StatusCode::TOO_MANY_REQUESTS)
    }

    /// Returns whether the server responded with an incomplete body.
    pub fn is_incomplete_response(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { source, .. } if source.is_body() || source.is_decode())
    }

    /// Returns whether the request may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Rejected(response) => {
                response.status.is_server_error() || response.follows_unknown_outcome
            }
            Self::OutcomeUnknown { .. } | Self::ResponseTooLong { .. } => true,
            Self::HostNotAllowed { .. }
            | Self::NotSent { .. }
            | Self::NoLongerWanted { .. }
            | Self::DeadlineExceeded { .. } => false,
        }
    }
}

/// Sends requests to Confluent Cloud.
#[derive(Clone, Debug)]
pub struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) allowed: AllowedHosts,
    pub(crate) limits: Limits,
    pub(crate) rate_limit: RateLimit,
    pub(crate) metrics: Arc<Metrics>,
}

impl Http {
    /// Creates a client that sends requests with `client`, which must not follow redirects, to the `allowed` hosts only.
    pub fn new(client: reqwest::Client, allowed: AllowedHosts, limits: Limits) -> Self {
        Self {
            client,
            allowed,
            limits,
            rate_limit: RateLimit::default(),
            metrics: Arc::default(),
        }
    }

    /// Sends a request, retries it where that is safe, and returns the last attempt's response if it is a success.
    pub async fn send(&self, request: &Request<'_>, deadline: Deadline) -> Result<Response, Error> {
        self.send_while(request, deadline, async || true).await
    }

    /// Like [`send`](Self::send), but calls `is_wanted` after each delay, and stops if it returns `false`: the delay may have taken
    /// minutes.
    pub async fn send_while(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
        is_wanted: impl AsyncFn() -> bool,
    ) -> Result<Response, Error> {
        if self.wait_for_reset(deadline).await && !is_wanted().await {
            let host = authority(request.destination.url());
            return Err(Error::NoLongerWanted { host });
        }
        let unit = self.limits.retries.initial;
        let mut delays = self.limits.retries.delays();
        let mut rate_limited = 0;
        let mut may_have_taken_effect = false;
        loop {
            let mut outcome = self.send_once(request, deadline).await;
            if let Ok(response) = &outcome {
                self.rate_limit.record(response.reset);
            }
            if let Err(Error::Rejected(response)) = &mut outcome {
                self.rate_limit.record(response.reset);
                response.follows_unknown_outcome = may_have_taken_effect;
            }
            may_have_taken_effect |= !request.method.is_safe()
                && outcome.as_ref().is_err_and(Error::may_have_taken_effect);
            let error = match outcome {
                Err(error) if error.is_retryable(request) => error,
                outcome => return outcome,
            };
            // Retries after 429 are not limited: if the step failed, its requests would all be sent again.
            let (delay, deadline) = if let Error::Rejected(response) = &error
                && error.is_rate_limited()
            {
                let delay = rate_limit::delay_after_429(response.retry_after, rate_limited, unit);
                rate_limited += 1;
                (delay, deadline.with_reserve(RESPONSE_RESERVE))
            } else if let Some(delay) = delays.next() {
                (delay, deadline)
            } else {
                return Err(error);
            };
            let delay = delay.max(self.rate_limit.delay(unit).unwrap_or_default());
            let is_in_time = deadline.wait(delay).await.is_ok();
            if !is_in_time || !is_wanted().await || deadline.remaining().is_zero() {
                return Err(error);
            }
            tracing::info!(%error, method = %request.method, path = request.destination.url().path(), ?delay, "retrying a request");
            self.metrics.count(|counts| counts.retries += 1);
        }
    }

    /// Waits until the rate limit allows a request. If too little time is left, does not wait: the server decides. Returns whether
    /// it waited.
    async fn wait_for_reset(&self, deadline: Deadline) -> bool {
        let deadline = deadline.with_reserve(RESPONSE_RESERVE);
        match self.rate_limit.delay(self.limits.retries.initial) {
            Some(delay) => deadline.wait(delay).await.is_ok(),
            None => false,
        }
    }

    /// Sends a request once and returns the response if it is a success.
    pub async fn send_once(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let url = request.destination.url();
        match &request.destination {
            Destination::WithKey(url, _) => self.allowed.check(url)?,
            Destination::WithToken(url, _) | Destination::TokenExchange(url) => {
                self.allowed.check_control_plane(url)?;
            }
        }
        let host = authority(url);
        let remaining = deadline.remaining();
        if remaining.is_zero() {
            return Err(Error::DeadlineExceeded { host });
        }
        let timeout = self.limits.request.min(remaining);
        let builder = request.build(&self.client).timeout(timeout);
        self.metrics.count(|counts| counts.requests += 1);
        let started = Instant::now();
        // The URL may contain a page token.
        let response = builder.send().await.map_err(reqwest::Error::without_url);
        tracing::debug!(
            method = %request.method,
            host,
            path = url.path(),
            status = response.as_ref().ok().map(|r| r.status().as_u16()),
            elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
        match response {
            Ok(response) => read(response, host).await,
            Err(source) if source.is_connect() || source.is_builder() => {
                Err(Error::NotSent { host, source })
            }
            Err(source) => Err(Error::OutcomeUnknown { host, source }),
        }
    }
}

/// Reads a response up to the size limit.
async fn read(mut response: reqwest::Response, host: String) -> Result<Response, Error> {
    let status = response.status();
    let request_id = response.headers().get("x-request-id");
    let request_id = request_id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
    let mut complete = Response::new(status, request_id, Vec::new());
    complete.retry_after = rate_limit::retry_after(status, response.headers());
    complete.reset = rate_limit::reset(response.headers());
    match client::read_body(&mut response, MAX_BODY_BYTES).await {
        Ok(Some(body)) => complete.body = body,
        // The status of a rejection counts even if its body cannot be read.
        _ if !status.is_success() => {}
        Ok(None) => return Err(Error::ResponseTooLong { host }),
        Err(source) => {
            let source = source.without_url();
            return Err(Error::OutcomeUnknown { host, source });
        }
    }
    if status.is_success() {
        Ok(complete)
    } else {
        Err(Error::Rejected(Box::new(complete)))
    }
}
