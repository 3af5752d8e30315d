//! HTTP: the clients, requests with retries, allowed hosts and the deadline.
//!
//! [`Http`] sends every HTTP request to Confluent Cloud. It checks where credentials may be sent, decides which requests are
//! retried, and limits how much of a response is read. A message from a service is printed only as far as [`printable`] allows.

mod client;
mod deadline;
mod hosts;
mod network;
mod rate_limit;
mod redacted;
mod request;
mod sdk;
mod service_text;

pub use client::{MAX_BODY_BYTES, build_client, build_probe_client, build_tls};
pub use deadline::{Backoff, Deadline, DeadlineExceeded, with_jitter};
pub(crate) use hosts::DOMAIN_NOT_ALLOWED;
pub use hosts::{AllowedHosts, BROKER_PORT, ControlPlaneUrl, is_loopback, url_at};
pub use network::Network;
pub use rate_limit::RateLimit;
pub use redacted::Redacted;
pub use request::{
    BearerToken, Destination, Error, Http, Limits, RESPONSE_RESERVE, Request, Response,
};
pub(crate) use sdk::SdkFailure;
pub use sdk::{SdkHttpClient, SdkLimits};
pub use service_text::printable;

/// Returns an error and its causes, separated by colons.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
