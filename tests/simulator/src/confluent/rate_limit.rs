//! The control plane's rate limit for an organization: requests in a window, and concurrent requests.
//!
//! A rate limited request does not take effect. The response specifies when to retry. Windows follow each other without
//! a gap from the first request on, as the header for the end of a window suggests.
//!
//! <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>

use std::time::{Duration, Instant};

use crate::Shared;
use crate::http::request::{HttpRequest, Service};
use crate::http::response::Response;
use crate::state::State;

/// The number of requests, to compare with the limit.
#[derive(Default)]
pub(crate) struct Usage {
    first_request: Option<Instant>,
    window: u128,
    requests: u32,
    concurrent_requests: u32,
}

/// A permit for a request. The request is concurrent until the permit is dropped.
pub(crate) struct Permit<'a>(&'a Shared);

impl<'a> Permit<'a> {
    /// Returns a permit, `None` if no limit applies, or 429.
    pub(crate) fn acquire(
        shared: &'a Shared,
        request: &HttpRequest,
    ) -> Result<Option<Self>, Response> {
        if request.service != Service::ControlPlane {
            return Ok(None);
        }
        shared.state().count_request()?;
        Ok(Some(Self(shared)))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state().usage.concurrent_requests -= 1;
    }
}

impl State {
    fn count_request(&mut self) -> Result<(), Response> {
        if let Some(limit) = self.controls.rate_limit {
            self.update_window(limit.window);
            if self.usage.requests >= limit.requests
                || self.usage.concurrent_requests >= limit.concurrent_requests
            {
                let retry_after = self.seconds_to_next_window(limit.window);
                let response = self.with_rate_limit(Response::empty(429));
                return Err(response.with_header("retry-after", retry_after.to_string()));
            }
        }
        self.usage.requests += 1;
        self.usage.concurrent_requests += 1;
        Ok(())
    }

    /// Resets the count if a new window has started.
    fn update_window(&mut self, length: Duration) {
        let first = *self.usage.first_request.get_or_insert_with(Instant::now);
        let window = first.elapsed().as_nanos() / length.as_nanos().max(1);
        if window != self.usage.window {
            self.usage.window = window;
            self.usage.requests = 0;
        }
    }

    /// Returns whole seconds, rounded up, so that a client does not retry too early.
    fn seconds_to_next_window(&self, length: Duration) -> u64 {
        let length = length.as_nanos().max(1);
        let elapsed = self
            .usage
            .first_request
            .map_or(0, |first| first.elapsed().as_nanos());
        let remaining = length - elapsed % length;
        u64::try_from(remaining.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }

    /// Adds the headers of the rate limit. `x-ratelimit-reset` is in seconds from now.
    pub(crate) fn with_rate_limit(&self, response: Response) -> Response {
        let (limit, remaining, reset) = match self.controls.rate_limit {
            None => (10, 9, 1),
            Some(limit) => (
                limit.requests,
                limit.requests.saturating_sub(self.usage.requests),
                self.seconds_to_next_window(limit.window),
            ),
        };
        response
            .with_header("x-ratelimit-limit", limit.to_string())
            .with_header("x-ratelimit-remaining", remaining.to_string())
            .with_header("x-ratelimit-reset", reset.to_string())
    }
}
