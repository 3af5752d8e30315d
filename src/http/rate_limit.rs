//! The rate limit of Confluent Cloud, as the headers of its responses describe it.
//!
//! <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest wait that a response can request. A longer one is shortened to it.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The range of the random delay that is added to a requested one, in multiples of the initial delay of a retry. It doubles with each
/// 429 response to the same request, up to the maximum. All clients of an organization wait for the same reset, and execution
/// environments don't know of each other.
const INITIAL_JITTER: u32 = 4;
const MAX_JITTER: u32 = 32;

/// The time at which the rate limit allows the next request, according to the last response. All invocations of a process share it,
/// because Confluent limits the rate per user and per organization.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(Arc<Mutex<Option<Instant>>>);

impl RateLimit {
    /// Records that no request is allowed until `reset` from now, or that the last response states no such limit.
    pub(super) fn record(&self, reset: Option<Duration>) {
        let until = reset.map(|reset| Instant::now() + reset);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Returns the delay before the next request, with a random part of at most `unit`, or `None` if no delay is required.
    pub(super) fn delay(&self, unit: Duration) -> Option<Duration> {
        let until = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let remaining = until.checked_duration_since(Instant::now())?;
        Some(remaining + unit.mul_f64(fastrand::f64()))
    }
}

/// Returns the delay before a request is retried after a 429 response. `requested` is the delay that the response requests, and
/// `count` is the number of earlier 429 responses to the request.
pub(super) fn delay_after_429(requested: Option<Duration>, count: u32, unit: Duration) -> Duration {
    let range = INITIAL_JITTER
        .saturating_mul(1 << count.min(8))
        .min(MAX_JITTER)
        * unit;
    requested.unwrap_or(unit) + range.mul_f64(fastrand::f64())
}

/// Returns the delay that a 429 response requests.
pub(super) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    (status == StatusCode::TOO_MANY_REQUESTS)
        .then(|| seconds(headers, RETRY_AFTER.as_str()).or_else(|| seconds(headers, RESET)))?
}

/// Returns the time until a further request is allowed, if the response says that no request remains until then.
pub(super) fn reset(headers: &HeaderMap) -> Option<Duration> {
    let is_exhausted = number(headers, REMAINING) == Some(0);
    is_exhausted.then(|| seconds(headers, RESET))?
}

const REMAINING: &str = "x-ratelimit-remaining";
/// In seconds from now, not since the epoch.
const RESET: &str = "x-ratelimit-reset";

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    number(headers, name).map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        headers.iter().map(header).collect()
    }

    #[test]
    fn the_next_request_waits_for_the_reset_only_if_no_request_remains() {
        for (remaining, seconds, expected) in [
            ("0", "7", Some(7)),
            ("0", " 7 ", Some(7)),
            ("0", "0", Some(0)),
            ("0", "86400", Some(60)),
            ("0", "-1", None),
            ("0", "1790000000000000000000", None),
            ("0", "soon", None),
            ("1", "7", None),
            ("", "7", None),
            ("-1", "7", None),
        ] {
            let headers = headers(&[(REMAINING, remaining), (RESET, seconds)]);

            assert_eq!(
                reset(&headers),
                expected.map(Duration::from_secs),
                "{remaining} {seconds}"
            );
        }
        assert_eq!(reset(&headers(&[(REMAINING, "0")])), None);
        assert_eq!(reset(&headers(&[(RESET, "7")])), None);
    }

    #[test]
    fn only_the_last_response_decides() {
        let limit = RateLimit::default();
        assert_eq!(limit.delay(Duration::ZERO), None);

        limit.clone().record(Some(Duration::from_mins(1)));
        let delay = limit.delay(Duration::ZERO).unwrap();
        assert!(delay > Duration::from_secs(59), "{delay:?}");
        assert!(delay <= Duration::from_mins(1), "{delay:?}");

        limit.record(None);
        assert_eq!(limit.delay(Duration::ZERO), None);
    }

    #[test]
    fn a_requested_delay_is_never_shortened_and_the_jitter_grows_up_to_its_maximum() {
        let (requested, unit) = (Duration::from_secs(2), Duration::from_secs(1));
        for (count, range) in [(0, 4), (1, 8), (2, 16), (3, 32), (4, 32), (u32::MAX, 32)] {
            let delays = (0..1_000).map(|_| delay_after_429(Some(requested), count, unit));
            let delays: Vec<Duration> = delays.collect();

            let longest = delays.iter().max().unwrap();
            assert!(delays.iter().all(|delay| *delay >= requested), "{count}");
            assert!(*longest <= requested + range * unit, "{count}: {longest:?}");
            assert!(
                *longest > requested + range * unit / 2,
                "{count}: {longest:?}"
            );
        }
    }
}
