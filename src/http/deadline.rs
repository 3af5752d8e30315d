//! The deadline of an invocation, and the delays between attempts.
//!
//! The deadline is one value, derived from Lambda's and passed down. Every wait in the crate uses
//! [`Deadline::wait`], which fails instead of waiting past the deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time by which an invocation must end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

/// A wait would reach the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineExceeded;

impl Deadline {
    /// Time reserved before Lambda's deadline to report a timeout with its cause.
    const REPORTING: Duration = Duration::from_secs(1);

    /// The time assumed if Lambda's deadline is implausible. Most keys propagate within it.
    const UNKNOWN: Duration = Duration::from_mins(5);

    /// 2001-01-01 in milliseconds since the epoch. An earlier deadline is a placeholder, such as the one that
    /// `cargo lambda watch` sends (<https://github.com/cargo-lambda/cargo-lambda>).
    const PLAUSIBLE_FROM_MS: u64 = 978_307_200_000;

    /// Creates the deadline of an invocation from the `Lambda-Runtime-Deadline-Ms` header, in milliseconds since the epoch.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>
    pub fn of_invocation(epoch_ms: u64) -> Self {
        if epoch_ms < Self::PLAUSIBLE_FROM_MS {
            return Self::after(Self::UNKNOWN);
        }
        let at = UNIX_EPOCH + Duration::from_millis(epoch_ms);
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        Self::after(left.saturating_sub(Self::REPORTING))
    }

    /// Creates a deadline that is `left` from now.
    pub fn after(left: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(left).unwrap_or(now + Self::UNKNOWN))
    }

    /// Returns an earlier deadline that leaves `reserve` before this one.
    #[must_use]
    pub fn with_reserve(self, reserve: Duration) -> Self {
        Self(self.0.checked_sub(reserve).unwrap_or(self.0))
    }

    /// Returns this deadline, or `limit` from now if that is earlier.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self(self.0.min(Self::after(limit).0))
    }

    /// Returns the time left, or zero if the deadline has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits for `delay`, or fails immediately if the wait would reach the deadline.
    #[expect(clippy::disallowed_methods, reason = "checks the deadline first")]
    pub async fn wait(self, delay: Duration) -> Result<(), DeadlineExceeded> {
        if delay >= self.remaining() {
            return Err(DeadlineExceeded);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Exponential backoff with jitter, so that invocations that fail together don't retry together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first delay.
    pub initial: Duration,
    /// The factor by which the delay grows.
    pub factor: f64,
    /// The longest delay.
    pub max: Duration,
    /// The number of delays, and so of retries.
    pub retries: u32,
}

impl Backoff {
    /// The share of a delay that is random.
    const JITTER: f64 = 0.25;

    /// Returns the delays in order.
    pub fn delays(self) -> impl Iterator<Item = Duration> {
        let mut next = self.initial.min(self.max);
        (0..self.retries).map(move |_| {
            let delay = next;
            next = delay.mul_f64(self.factor).min(self.max);
            delay.mul_f64(1.0 - Self::JITTER * fastrand::f64())
        })
    }

    /// Reads until the result `is_complete`, or until the last retry or the deadline. Returns the last result.
    pub async fn until<T, E>(
        self,
        deadline: Deadline,
        read: impl AsyncFn() -> Result<T, E>,
        is_complete: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        for delay in self.delays() {
            let result = read().await?;
            if is_complete(&result) || deadline.wait(delay).await.is_err() {
                return Ok(result);
            }
        }
        read().await
    }
}

/// Returns a random delay of at least `delay`. A delay that the server requested must not be shortened.
pub fn with_jitter(delay: Duration) -> Duration {
    delay.mul_f64(1.0 + Backoff::JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_ms_in(left: Duration) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from((now + left).as_millis()).unwrap()
    }

    #[test]
    fn time_to_report_is_reserved_before_lambdas_deadline() {
        let deadline = Deadline::of_invocation(epoch_ms_in(Duration::from_secs(100)));

        let left = deadline.remaining();

        assert!(left <= Duration::from_secs(99), "{left:?}");
        assert!(left > Duration::from_secs(95), "{left:?}");
    }

    #[test]
    fn an_implausible_deadline_counts_as_unknown() {
        for placeholder in [0, 600_000, Deadline::PLAUSIBLE_FROM_MS - 1] {
            let left = Deadline::of_invocation(placeholder).remaining();

            assert!(left > Duration::from_mins(4), "{placeholder}: {left:?}");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_no_time_and_does_not_wrap() {
        let passed = Deadline::of_invocation(Deadline::PLAUSIBLE_FROM_MS);

        assert_eq!(passed.remaining(), Duration::ZERO);
        assert_eq!(
            passed.with_reserve(Duration::MAX).remaining(),
            Duration::ZERO
        );
    }

    #[test]
    fn a_deadline_far_in_the_future_is_valid() {
        assert!(Deadline::of_invocation(u64::MAX).remaining() > Duration::from_mins(4));
    }

    #[tokio::test]
    async fn a_wait_past_the_deadline_fails_immediately() {
        let deadline = Deadline::after(Duration::from_secs(5));
        let started = Instant::now();

        let outcome = deadline.wait(Duration::from_secs(6)).await;

        assert_eq!(outcome, Err(DeadlineExceeded));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn delays_grow_to_their_maximum_and_end() {
        let backoff = Backoff {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(3),
            retries: 4,
        };

        let delays: Vec<Duration> = backoff.delays().collect();

        assert_eq!(delays.len(), 4);
        for (delay, full) in delays.iter().zip([1, 2, 3, 3]) {
            let full = Duration::from_secs(full);
            assert!(*delay <= full && *delay >= full.mul_f64(0.75), "{delays:?}");
        }
    }

    #[test]
    fn a_delay_that_the_server_requests_is_never_shortened() {
        let requested = Duration::from_secs(2);

        assert!((0..100).all(|_| with_jitter(requested) >= requested));
    }
}
