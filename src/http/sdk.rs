//! What the clients of the AWS SDK share: the HTTP client, time limits, and what is kept of their errors.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::client::read_body;
use super::{Deadline, error_chain, printable};

/// Limits of requests to AWS: timeouts and retries. Tests pass shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct SdkLimits {
    /// The maximum duration of one attempt. Without it, a VPC endpoint that drops packets would use up the invocation.
    pub attempt: Duration,
    /// The SDK's first delay before a retry.
    pub initial_backoff: Duration,
    /// The SDK's longest delay before a retry, even if the service requests a longer one: the step has to report the cause.
    pub max_backoff: Duration,
    /// The maximum number of attempts of a request, retries included.
    pub max_attempts: u32,
}

impl Default for SdkLimits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            initial_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(5),
            // The default of the SDK's standard retry mode.
            max_attempts: 3,
        }
    }
}

impl SdkLimits {
    /// Returns the default limits with `max_attempts`, if it is set.
    pub fn with_max_attempts(max_attempts: Option<NonZeroU32>) -> Self {
        let mut limits = Self::default();
        limits.max_attempts = max_attempts.map_or(limits.max_attempts, NonZeroU32::get);
        limits
    }

    /// Returns the timeouts of one operation, which ends before the deadline.
    pub(crate) fn timeouts(&self, deadline: Deadline) -> TimeoutConfig {
        // The SDK interprets zero as no timeout.
        let remaining = deadline.remaining().max(Duration::from_millis(1));
        TimeoutConfig::builder()
            .operation_attempt_timeout(self.attempt.min(remaining))
            .operation_timeout(remaining)
            .build()
    }

    /// Returns the settings of retries.
    pub(crate) fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.max_attempts)
            .with_initial_backoff(self.initial_backoff)
            .with_max_backoff(self.max_backoff)
    }
}

/// The parts of an SDK error that are kept. The error itself is not: its `Debug` output contains the raw response, which may contain
/// a secret.
#[derive(Debug)]
pub(crate) enum SdkFailure {
    /// The service or a proxy returned an error. A proxy's has no code.
    Rejected {
        status: u16,
        code: Option<String>,
        /// The message as the service sent it.
        message: Option<String>,
        request_id: Option<String>,
    },
    /// No valid response arrived. The string says why.
    NoResponse(String),
}

impl SdkFailure {
    /// Keeps the code and message of a rejection, and the kind of any other error.
    pub(crate) fn new<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let unparsed = |response: &HttpResponse| {
            let status = response.status().as_u16();
            Self::NoResponse(format!("the response (HTTP {status}) could not be parsed"))
        };
        match error {
            // The SDK also reports a successful response that it cannot parse as a service error.
            SdkError::ServiceError(error) if error.raw().status().is_success() => {
                unparsed(error.raw())
            }
            SdkError::ServiceError(error) => Self::Rejected {
                status: error.raw().status().as_u16(),
                code: error.err().code().map(printable),
                message: error.err().message().map(str::to_owned),
                request_id: request_id(error.raw()),
            },
            SdkError::TimeoutError(_) => Self::NoResponse("the request timed out".to_owned()),
            SdkError::DispatchFailure(failure) => {
                Self::NoResponse(match failure.as_connector_error() {
                    Some(error) => error_chain(error),
                    None => "the request could not be sent".to_owned(),
                })
            }
            SdkError::ConstructionFailure(_) => {
                Self::NoResponse("the request could not be built".to_owned())
            }
            SdkError::ResponseError(error) => unparsed(error.raw()),
            _ => Self::NoResponse("the response could not be parsed".to_owned()),
        }
    }
}

/// <https://docs.aws.amazon.com/sdk-for-rust/latest/dg/request-id.html>
fn request_id(response: &HttpResponse) -> Option<String> {
    let headers = response.headers();
    let id = headers.get("x-amzn-requestid");
    id.or_else(|| headers.get("x-amz-request-id"))
        .map(printable)
}

/// The largest body from AWS that is read, in bytes. A page of `ListSecrets` contains 100 secrets, each with up to 50 resource tags
/// of 384 characters.
const MAX_SDK_BODY_BYTES: usize = 4 << 20;

/// The shared client as the AWS SDK's [`HttpClient`]. It buffers bodies. The SDK enforces its timeouts for an attempt and for an operation.
#[derive(Clone, Debug)]
pub struct SdkHttpClient(pub reqwest::Client);

impl HttpClient for SdkHttpClient {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkHttpClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move { send(client, request).await })
    }
}

async fn send(
    client: reqwest::Client,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x();
    let (parts, body) = request
        .map_err(|error| ConnectorError::user(error.into()))?
        .into_parts();
    let Some(body) = body.bytes().map(<[u8]>::to_vec) else {
        return Err(ConnectorError::user(
            "a streaming body is not supported".into(),
        ));
    };
    let request = reqwest::Request::try_from(http::Request::from_parts(parts, body));
    let request = request.map_err(connector_error)?;
    let mut response = client.execute(request).await.map_err(connector_error)?;
    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.headers_mut() = response.headers().clone();
    let body = read_body(&mut response, MAX_SDK_BODY_BYTES).await;
    let body = body.map_err(connector_error)?;
    let body =
        body.ok_or_else(|| ConnectorError::other("the response is too long".into(), None))?;
    HttpResponse::try_from(head.map(|()| SdkBody::from(body)))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

/// Classifies an error for the SDK, which retries timeouts and I/O errors.
fn connector_error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
