//! Access tokens of the function's identity pool: management credentials without a stored admin key.
//!
//! AWS STS issues a web identity token for the function's role, and Confluent Cloud exchanges it for an access token. The access
//! token is kept for one invocation, so that a change of the role or the pool applies to the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::config::Keyless;
use crate::confluent::{self, AccessToken, ErrorKind};
use crate::error::{Error, TokenError};
use crate::http::{self, Deadline, Redacted, SdkLimits};
use crate::web_identity::{self, Claims};

/// The access tokens of one invocation.
#[derive(Debug)]
pub struct AccessTokens<'a> {
    keyless: &'a Keyless,
    sts: &'a aws_sdk_sts::Client,
    sts_limits: SdkLimits,
    confluent: &'a confluent::Client,
    /// The number of attempts to obtain a token.
    attempts: AtomicUsize,
    /// The result of the last attempt. The lock is held during an attempt, so that concurrent requests obtain one token.
    last: Mutex<Option<Result<Obtained, Failure>>>,
}

/// An access token, and what the web identity token said.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// The access token.
    pub token: AccessToken,
    /// The claims, or `None` if they could not be read.
    pub claims: Option<Claims>,
}

/// Why no access token was obtained.
#[derive(Clone, Debug)]
pub enum Failure {
    /// AWS STS did not issue a web identity token.
    NotIssued(Arc<TokenError>),
    /// Confluent Cloud did not exchange the web identity token. The claims are `None` if they could not be read.
    NotExchanged(Option<Claims>, Arc<TokenError>),
}

impl Failure {
    /// Returns the error.
    pub fn error(&self) -> &Arc<TokenError> {
        let (Self::NotIssued(error) | Self::NotExchanged(_, error)) = self;
        error
    }

    /// Returns whether another attempt in the same invocation would fail, too.
    fn is_permanent(&self) -> bool {
        matches!(
            **self.error(),
            TokenError::FederationDisabled { .. }
                | TokenError::TokenDenied { .. }
                | TokenError::TokenExchangeRejected { .. }
        )
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Token(Arc::clone(failure.error()))
    }
}

/// The time limit of a token exchange, retries included: a minute less than the web identity token is valid.
const EXCHANGE_LIMIT: Duration = Duration::from_mins(4);

impl<'a> AccessTokens<'a> {
    /// Creates an empty cache. It requests web identity tokens with `sts`, and exchanges them with `confluent`.
    pub fn new(
        keyless: &'a Keyless,
        sts: &'a aws_sdk_sts::Client,
        sts_limits: SdkLimits,
        confluent: &'a confluent::Client,
    ) -> Self {
        Self {
            keyless,
            sts,
            sts_limits,
            confluent,
            attempts: AtomicUsize::default(),
            last: Mutex::default(),
        }
    }

    /// Returns the ID of the identity pool.
    pub fn identity_pool_id(&self) -> &str {
        &self.keyless.identity_pool_id
    }

    /// Returns the current token, or obtains one if there is none or if it expires soon.
    pub async fn get(&self, deadline: Deadline) -> Result<Obtained, Failure> {
        self.get_if(|token| !token.is_expiring(), deadline).await
    }

    /// Returns another token than `rejected`.
    pub async fn get_instead_of(
        &self,
        rejected: &AccessToken,
        deadline: Deadline,
    ) -> Result<Obtained, Failure> {
        let is_valid =
            |token: &AccessToken| !token.has_same_token_as(rejected) && !token.is_expiring();
        self.get_if(is_valid, deadline).await
    }

    /// Returns the current token if it `is_valid`, or else obtains one.
    async fn get_if(
        &self,
        is_valid: impl Fn(&AccessToken) -> bool,
        deadline: Deadline,
    ) -> Result<Obtained, Failure> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut last = self.last.lock().await;
        match &*last {
            Some(Ok(obtained)) if is_valid(&obtained.token) => return Ok(obtained.clone()),
            // Another request has just failed to obtain a token, while this one waited for the lock.
            Some(Err(failure))
                if failure.is_permanent() || self.attempts.load(Ordering::Relaxed) > attempts =>
            {
                return Err(failure.clone());
            }
            _ => {}
        }
        let obtained = self.obtain(deadline).await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        *last = Some(obtained.clone());
        obtained
    }

    async fn obtain(&self, deadline: Deadline) -> Result<Obtained, Failure> {
        let started = Instant::now();
        let token = self.web_identity_token(deadline).await?;
        let claims = Claims::parse(&token);
        let pool = &self.keyless.identity_pool_id;
        let within = deadline.within(EXCHANGE_LIMIT);
        match self.confluent.exchange(&token, pool, within).await {
            Ok(token) => {
                log(&token, started);
                Ok(Obtained { token, claims })
            }
            Err(source) => {
                let error = exchange_failed(claims.as_ref(), source);
                Err(Failure::NotExchanged(claims, Arc::new(error)))
            }
        }
    }

    async fn web_identity_token(&self, deadline: Deadline) -> Result<Redacted, Failure> {
        let (keyless, limits) = (self.keyless, self.sts_limits);
        let issued = web_identity::web_identity_token(self.sts, keyless, deadline, limits).await;
        issued.map_err(|error| Failure::NotIssued(Arc::new(error.into())))
    }
}

fn log(token: &AccessToken, started: Instant) {
    tracing::info!(
        identity_pool_id = token.identity_pool_id,
        valid_seconds = token.valid_for.as_secs(),
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "obtained an access token"
    );
}

/// Classifies a failed exchange.
fn exchange_failed(claims: Option<&Claims>, source: confluent::Error) -> TokenError {
    let status = match &source {
        confluent::Error::Rejected { response, .. } => response.status,
        confluent::Error::InvalidResponse { .. }
        | confluent::Error::NoResponse {
            source: http::Error::ResponseTooLong { .. },
            ..
        } => 200,
        confluent::Error::NoResponse { .. } => return TokenError::TokenNotExchanged { source },
    };
    match (status, source.kind()) {
        (_, Some(ErrorKind::RateLimited | ErrorKind::ServerError)) => {
            TokenError::TokenNotExchanged { source }
        }
        (200..300, _) => TokenError::TokenResponseInvalid { source },
        _ => TokenError::TokenExchangeRejected {
            claims: claims.map_or_else(|| "its claims could not be read".into(), Claims::to_string),
            source,
        },
    }
}
