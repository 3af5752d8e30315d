//! Probes: one authentication attempt with an API key at its resource.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;

use super::{ApiKey, Client, Endpoint, ErrorResponse, Resource};
use crate::http::{self, Deadline, Destination, Redacted, Request, error_chain};

/// The endpoint that a probe is sent to.
#[derive(Clone, Debug)]
pub struct ProbeTarget<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The resource's endpoint.
    pub endpoint: Endpoint,
    /// The field of the secret value that contains the endpoint, or `None` if the control plane returned the endpoint.
    pub field: Option<String>,
}

/// Returns where an endpoint comes from, for an error message: a field of the secret value, or the control plane.
pub(crate) fn endpoint_source(field: Option<&str>) -> String {
    let from_confluent = || "the endpoint that Confluent Cloud returned".to_owned();
    field.map_or_else(from_confluent, |field| format!("`{field}` in the secret"))
}

/// The outcome of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The resource accepted the key.
    Accepted,
    /// HTTP 401: the resource does not accept the key, or not yet.
    NotAccepted,
    /// HTTP 403: the endpoint denied the request. It may have recognized the key.
    NotAuthorized,
    /// HTTP 429, with the requested wait.
    RateLimited(Duration),
    /// HTTP 5xx.
    ServerError(String),
    /// HTTP 404 or a redirect, as from a host that is not, or no longer, the resource's endpoint.
    NotTheEndpoint(String),
    /// Another response, which the resource does not send, such as a firewall's page.
    Inconclusive(String),
    /// No response.
    Unreachable(String),
    /// Error 58 of this broker: it does not accept the key, or not yet.
    RejectedByBroker(String),
    /// Another response of this broker, or none, and why.
    BrokerInconclusive(String, String),
    /// No connection to this broker, and why.
    BrokerUnreachable(String, String),
}

impl ProbeOutcome {
    /// Returns whether the endpoint is busy, failed or did not respond, which shows nothing about the key.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited(_) | Self::ServerError(_) | Self::Unreachable(_)
        )
    }

    /// Returns whether the resource may have another endpoint.
    pub fn suggests_another_endpoint(&self) -> bool {
        matches!(
            self,
            Self::NotTheEndpoint(_) | Self::Unreachable(_) | Self::BrokerUnreachable(..)
        )
    }

    /// Returns the delay that the endpoint requests.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::RateLimited(requested) => *requested,
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::NotAccepted => f.write_str("rejected with HTTP 401"),
            Self::NotAuthorized => f.write_str("denied with HTTP 403"),
            Self::RateLimited(_) => f.write_str("rate limited with HTTP 429"),
            Self::ServerError(response)
            | Self::NotTheEndpoint(response)
            | Self::Inconclusive(response) => {
                write!(f, "inconclusive ({response})")
            }
            Self::Unreachable(cause) => write!(f, "without a response ({cause})"),
            Self::RejectedByBroker(broker) => {
                write!(f, "rejected by broker {broker} with error 58")
            }
            Self::BrokerInconclusive(broker, cause) => {
                write!(f, "inconclusive (broker {broker}: {cause})")
            }
            Self::BrokerUnreachable(broker, cause) => {
                write!(f, "without a connection to broker {broker} ({cause})")
            }
        }
    }
}

impl Client {
    /// Probes `target` once with `key`, on a new connection.
    ///
    /// # Errors
    /// Returns only [`http::Error::HostNotAllowed`]. Every other result is a [`ProbeOutcome`].
    pub async fn probe(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, http::Error> {
        let key_type = target.resource.key_type;
        let request = Request {
            method: if key_type.probe_body.is_some() {
                Method::POST
            } else {
                Method::GET
            },
            destination: Destination::WithKey((key_type.probe)(target), key.basic_auth()),
            accept: key_type
                .probe_body
                .map_or("application/json", |(media_type, _)| media_type),
            body: key_type
                .probe_body
                .map(|(media_type, body)| (media_type, Redacted::new(body.to_owned()))),
        };
        let sent = self.probe_http.send_once(&request, deadline).await;
        outcome(key, sent)
    }
}

/// Returns what a response, or its absence, shows about the key.
fn outcome(
    key: &ApiKey,
    sent: Result<http::Response, http::Error>,
) -> Result<ProbeOutcome, http::Error> {
    let text = |response: &http::Response| {
        ErrorResponse::parse(response, |text| key.is_in(text)).to_string()
    };
    Ok(match sent {
        // Every probe has a JSON response. A page that returns 200 for any request verifies nothing.
        Ok(response) if serde_json::from_slice::<IgnoredAny>(&response.body).is_ok() => {
            ProbeOutcome::Accepted
        }
        Ok(response) => {
            ProbeOutcome::Inconclusive(format!("HTTP {} without JSON", response.status.as_u16()))
        }
        Err(http::Error::Rejected(response)) => match response.status {
            StatusCode::UNAUTHORIZED => ProbeOutcome::NotAccepted,
            StatusCode::FORBIDDEN => ProbeOutcome::NotAuthorized,
            StatusCode::TOO_MANY_REQUESTS => {
                ProbeOutcome::RateLimited(response.retry_after.unwrap_or_default())
            }
            status if status.is_server_error() => ProbeOutcome::ServerError(text(&response)),
            status if status == StatusCode::NOT_FOUND || status.is_redirection() => {
                ProbeOutcome::NotTheEndpoint(text(&response))
            }
            _ => ProbeOutcome::Inconclusive(text(&response)),
        },
        Err(error @ http::Error::HostNotAllowed { .. }) => return Err(error),
        Err(
            error @ (http::Error::ResponseTooLong { .. } | http::Error::DeadlineExceeded { .. }),
        ) => ProbeOutcome::Inconclusive(error.to_string()),
        // The endpoint has responded.
        Err(error) if error.is_incomplete_response() => {
            ProbeOutcome::Inconclusive(error_chain(&error))
        }
        Err(error) => ProbeOutcome::Unreachable(error_chain(&error)),
    })
}
