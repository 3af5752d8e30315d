//! One request to Confluent Cloud, within the deadline.
//!
//! Every request goes through [`Http`], and so through one check of where a credential may be sent,
//! one rule for what may be sent again, and one limit to what is read. A request that did not succeed
//! is told apart by what may be done next: refused, not sent, or sent with its outcome unknown.

mod hosts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::credential::ApiKey;
use crate::deadline::{Backoff, Deadline, at_least};
use crate::metrics::Metrics;
use crate::transport::{self, LONGEST_BODY};

pub(crate) use hosts::OTHER_DOMAIN;
use hosts::authority;
pub use hosts::{AllowedHosts, is_loopback};

/// What a request may cost. Tests pass shorter times.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long one request may take, from the first byte sent to the last byte read.
    pub request: Duration,
    /// The waits before a request is sent again.
    pub repeats: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Confluent's slowest documented answers take seconds; a stalled one must not eat the
            // whole invocation.
            request: Duration::from_secs(20),
            repeats: Backoff {
                first: Duration::from_millis(500),
                factor: 2.0,
                longest: Duration::from_secs(8),
                times: 5,
            },
        }
    }
}

/// No wait a server asks for is longer: past this, a later invocation may as well try.
const LONGEST_ASKED_WAIT: Duration = Duration::from_mins(1);

/// How many others ask at the same time, as far as refusals let one guess. It outlives an invocation.
///
/// A limit is one for the whole organization, and functions know nothing of each other. So each request that is refused
/// for being one too many doubles the time over which this process spreads its next tries, and each other answer
/// shortens it. Refusals then stay a fixed part of all answers, however many functions there are.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    spread_ms: Arc<AtomicU64>,
}

impl Crowd {
    /// The first spread, in multiples of the first wait before a repeat, and the widest.
    const FIRST: u32 = 4;
    const WIDEST: u32 = 128;

    /// Notes a refusal, and says how much later than asked for to come back.
    fn grows(&self, unit: Duration) -> Duration {
        let spread = Duration::from_millis(self.spread_ms.load(Ordering::Relaxed));
        let spread = (2 * spread).clamp(Self::FIRST * unit, Self::WIDEST * unit);
        self.keep(spread);
        spread.mul_f64(fastrand::f64())
    }

    /// Notes an answer that is no such refusal. Two of them make up for a refusal.
    fn thins_out(&self) {
        let spread = Duration::from_millis(self.spread_ms.load(Ordering::Relaxed));
        self.keep(spread.mul_f64(0.7));
    }

    fn keep(&self, spread: Duration) {
        let milliseconds = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        self.spread_ms.store(milliseconds, Ordering::Relaxed);
    }
}

/// A request and the key that signs it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The HTTP method, which also says whether the request may be sent again.
    pub method: Method,
    /// Where it goes; checked against the allowed hosts.
    pub url: Url,
    /// The key that signs it, by HTTP basic authentication.
    pub key: &'a ApiKey,
    /// The media type of the body sent and of the answer wanted.
    pub media_type: &'static str,
    /// What is sent.
    pub body: Option<String>,
}

/// What a server answered.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The `X-Request-Id` header: what Confluent's support asks for.
    pub request_id: Option<String>,
    /// The body. It may hold a secret, which is why `Debug` does not show it.
    pub body: Vec<u8>,
    asked_wait: Option<Duration>,
}

impl Answer {
    /// An answer without any wait asked for.
    #[must_use]
    pub fn new(status: StatusCode, request_id: Option<String>, body: Vec<u8>) -> Self {
        Self {
            status,
            request_id,
            body,
            asked_wait: None,
        }
    }

    /// How long the server wants to be left alone; zero if it does not say.
    #[must_use]
    pub fn asked_wait(&self) -> Duration {
        self.asked_wait.unwrap_or_default()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            status,
            request_id,
            body: _,
            asked_wait,
        } = self;
        f.debug_struct("Answer")
            .field("status", status)
            .field("request_id", request_id)
            .field("asked_wait", asked_wait)
            .finish_non_exhaustive()
    }
}

/// A request that did not succeed, told apart by what may be done next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, and the answer was not a success.
    #[error("{}", .0.status)]
    Refused(Box<Answer>),
    /// The host is not one that a credential may be sent to. Nothing was sent.
    #[error("{host} is not a host that credentials are sent to ({why})")]
    HostNotAllowed {
        /// The host as the URL names it.
        host: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The request never left. Sending it again is always safe.
    #[error("could not connect to {host}")]
    NotSent {
        /// Where the connection was to go.
        host: String,
        /// Why there is none.
        #[source]
        source: reqwest::Error,
    },
    /// The request left and no whole answer came back. It may have been carried out.
    #[error("{host} gave no whole answer: the request may or may not have been carried out")]
    OutcomeUnknown {
        /// Where the request went.
        host: String,
        /// What happened instead of an answer.
        #[source]
        source: reqwest::Error,
    },
    /// A success whose body is too long to be what was asked for.
    #[error("the answer of {host} is longer than {LONGEST_BODY} bytes, and was not read")]
    TooLong {
        /// Who answered.
        host: String,
    },
    /// There was no time left to send it.
    #[error("no time was left to ask {host}")]
    TimeUp {
        /// Where the request was to go.
        host: String,
    },
}

impl Error {
    /// Whether the same request, sent again, can do no harm and may do better.
    fn is_repeatable(&self, method: &Method) -> bool {
        match self {
            error if error.is_one_too_many() => true,
            Self::Refused(answer) => answer.status.is_server_error() && method.is_idempotent(),
            Self::NotSent { .. } => true,
            Self::OutcomeUnknown { .. } => method.is_idempotent(),
            Self::HostNotAllowed { .. } | Self::TooLong { .. } | Self::TimeUp { .. } => false,
        }
    }

    /// Whether the server refused it because it is asked too often.
    fn is_one_too_many(&self) -> bool {
        matches!(self, Self::Refused(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether the request may have done its work all the same.
    #[must_use]
    pub fn may_have_been_carried_out(&self) -> bool {
        match self {
            Self::Refused(answer) => answer.status.is_server_error(),
            Self::OutcomeUnknown { .. } | Self::TooLong { .. } => true,
            Self::HostNotAllowed { .. } | Self::NotSent { .. } | Self::TimeUp { .. } => false,
        }
    }

    /// The wait the server asked for, if it did.
    fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Refused(answer) => answer.asked_wait,
            _ => None,
        }
    }
}

/// Sends requests to Confluent Cloud.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    allowed: AllowedHosts,
    limits: Limits,
    crowd: Crowd,
    metrics: Arc<Metrics>,
}

/// Kept back from waiting, so that the last try gets an answer: what it says is reported then, not that no time was left.
pub const FOR_AN_ANSWER: Duration = Duration::from_secs(2);

impl Http {
    /// Sends with `client`, which must not follow redirects, to the `allowed` hosts only.
    #[must_use]
    pub fn new(client: reqwest::Client, allowed: AllowedHosts, limits: Limits) -> Self {
        Self {
            client,
            allowed,
            limits,
            crowd: Crowd::default(),
            metrics: Arc::default(),
        }
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn counted_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// What this invocation counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The same, with what earlier invocations know of the others that ask.
    #[must_use]
    pub fn among(self, crowd: Crowd) -> Self {
        Self { crowd, ..self }
    }

    /// [`AllowedHosts::check`]
    ///
    /// # Errors
    /// [`Error::HostNotAllowed`]
    pub fn check_host(&self, url: &Url) -> Result<(), Error> {
        self.allowed.check(url)
    }

    /// Sends a request, again where that can do no harm, and returns the answer if it is a success.
    ///
    /// # Errors
    /// The last try's [`Error`].
    pub async fn send(&self, request: &Request<'_>, deadline: Deadline) -> Result<Answer, Error> {
        self.send_while(request, deadline, async || true).await
    }

    /// The same, but sends it again only while that is `wanted`: minutes may have passed since it was.
    ///
    /// # Errors
    /// The last try's [`Error`].
    pub async fn send_while(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
        wanted: impl AsyncFn() -> bool,
    ) -> Result<Answer, Error> {
        let mut delays = self.limits.repeats.delays();
        loop {
            let error = match self.send_once(request, deadline).await {
                Ok(answer) => {
                    self.crowd.thins_out();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if matches!(error, Error::Refused(_)) && !error.is_one_too_many() {
                self.crowd.thins_out();
            }
            if !error.is_repeatable(&request.method) {
                return Err(error);
            }
            // Not counted: to give up would waste all that this step has asked so far, and ask for it once more.
            let (delay, deadline) = if error.is_one_too_many() {
                let unit = self.limits.repeats.first;
                let delay = error.asked_wait().unwrap_or(unit) + self.crowd.grows(unit);
                (delay, deadline.keeping(FOR_AN_ANSWER))
            } else if let Some(delay) = delays.next() {
                (error.asked_wait().map_or(delay, at_least), deadline)
            } else {
                return Err(error);
            };
            let is_in_time = deadline.wait(delay).await.is_ok();
            if !is_in_time || !wanted().await || deadline.remaining().is_zero() {
                return Err(error);
            }
            tracing::info!(%error, method = %request.method, path = request.url.path(), ?delay, "trying again");
            self.metrics.count(|counts| counts.retries += 1);
        }
    }

    /// Sends a request once and returns the answer if it is a success.
    ///
    /// # Errors
    /// [`Error`], which says what may be done next.
    pub async fn send_once(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        self.allowed.check(&request.url)?;
        let host = authority(&request.url);
        let remaining = deadline.remaining();
        if remaining.is_zero() {
            return Err(Error::TimeUp { host });
        }
        let mut sending = self
            .client
            .request(request.method.clone(), request.url.clone())
            .basic_auth(&request.key.id, Some(request.key.secret.expose()))
            .header(ACCEPT, request.media_type)
            .timeout(self.limits.request.min(remaining));
        if let Some(body) = &request.body {
            sending = sending
                .header(CONTENT_TYPE, request.media_type)
                .body(body.clone());
        }

        self.metrics.count(|counts| counts.requests += 1);
        let asked = Instant::now();
        let response = sending.send().await;
        tracing::debug!(
            method = %request.method,
            host,
            path = request.url.path(),
            status = response.as_ref().ok().map(|r| r.status().as_u16()),
            elapsed_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
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

/// Reads an answer, no further than the limit.
async fn read(mut response: reqwest::Response, host: String) -> Result<Answer, Error> {
    let status = response.status();
    let request_id = text_header(response.headers(), "x-request-id");
    let mut answer = Answer::new(status, request_id, Vec::new());
    answer.asked_wait = asked_wait(status, response.headers());
    match transport::body(&mut response).await {
        Ok(Some(body)) => answer.body = body,
        // A refusal stands, whatever became of its explanation.
        _ if !status.is_success() => {}
        Ok(None) => return Err(Error::TooLong { host }),
        Err(source) => return Err(Error::OutcomeUnknown { host, source }),
    }
    if status.is_success() {
        Ok(answer)
    } else {
        Err(Error::Refused(Box::new(answer)))
    }
}

/// How long a server that is asked too often wants to be left alone. Both headers count seconds from
/// now; `X-RateLimit-Reset` comes with successes too, where it asks for nothing.
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>
fn asked_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| headers.get(name)?.to_str().ok()?.trim().parse().ok();
    (status == StatusCode::TOO_MANY_REQUESTS)
        .then(|| seconds(RETRY_AFTER.as_str()).or_else(|| seconds("x-ratelimit-reset")))?
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_ASKED_WAIT))
}

/// No header that is printed is longer. One that is gets dropped whole: what a part of it holds, nobody can tell.
const LONGEST_HEADER: usize = 100;

fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= LONGEST_HEADER).then(|| text.to_owned())
}
