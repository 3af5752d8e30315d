//! How long an invocation may still take, and how long to wait between tries.
//!
//! The deadline is one value, made once from Lambda's own and passed down. Every wait in the crate
//! goes through [`Deadline::wait`], which refuses one that would not leave time to do anything after.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When an invocation must have given its answer.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
}

/// There is not enough time left for the wait that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeUp;

impl Deadline {
    /// Kept back from Lambda's own deadline so that a timeout is reported by us, with its cause,
    /// rather than by Lambda as `Task timed out`.
    const REPORTING: Duration = Duration::from_secs(1);

    /// Assumed when Lambda's deadline makes no sense: long enough for most keys to be accepted.
    const UNKNOWN: Duration = Duration::from_mins(5);

    /// 2001-01-01 in milliseconds since the epoch. A deadline before it is a made-up number, as
    /// `cargo lambda watch` sends (<https://github.com/cargo-lambda/cargo-lambda>), not a late one.
    const PLAUSIBLE_FROM_MS: u64 = 978_307_200_000;

    /// The deadline of an invocation, from the `Lambda-Runtime-Deadline-Ms` header: milliseconds
    /// since the epoch.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>
    #[must_use]
    pub fn of_invocation(epoch_ms: u64) -> Self {
        if epoch_ms < Self::PLAUSIBLE_FROM_MS {
            return Self::after(Self::UNKNOWN);
        }
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let left = Duration::from_millis(epoch_ms).saturating_sub(since_epoch);
        Self::after(left.saturating_sub(Self::REPORTING))
    }

    /// A deadline that lies `left` ahead.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        let now = Instant::now();
        Self {
            at: now.checked_add(left).unwrap_or(now + Self::UNKNOWN),
        }
    }

    /// The same deadline, moved forward so that `reserve` is left when it is reached.
    #[must_use]
    pub fn keeping(self, reserve: Duration) -> Self {
        Self {
            at: self.at.checked_sub(reserve).unwrap_or(self.at),
        }
    }

    /// This deadline, or the one that lies `limit` ahead if that is sooner.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self {
            at: self.at.min(Self::after(limit).at),
        }
    }

    /// What is left; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Waits for `delay`.
    ///
    /// # Errors
    /// [`TimeUp`], at once, if the deadline would be reached while waiting.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits, after asking the deadline"
    )]
    pub async fn wait(self, delay: Duration) -> Result<(), TimeUp> {
        if delay >= self.remaining() {
            return Err(TimeUp);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Waits between tries: each longer than the one before, up to a limit, and a little random, so that
/// many functions that were refused together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// What a wait is multiplied by to give the next one.
    pub factor: f64,
    /// No wait is longer.
    pub longest: Duration,
    /// How many waits there are, and so how often a thing is tried again.
    pub times: u32,
}

impl Backoff {
    /// How much of a wait is left to chance.
    const JITTER: f64 = 0.25;

    /// The waits, in order.
    pub fn delays(self) -> impl Iterator<Item = Duration> {
        let mut next = self.first.min(self.longest);
        (0..self.times).map(move |_| {
            let delay = next;
            next = delay.mul_f64(self.factor).min(self.longest);
            jittered(delay)
        })
    }
}

/// `delay`, or a little shorter.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(1.0 - Backoff::JITTER * fastrand::f64())
}

/// `delay`, or a little longer: for a wait the server asked for, which may not be cut short.
#[must_use]
pub fn at_least(delay: Duration) -> Duration {
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
    fn time_to_report_is_kept_back_from_lambdas_deadline() {
        let deadline = Deadline::of_invocation(epoch_ms_in(Duration::from_secs(100)));

        let left = deadline.remaining();

        assert!(left <= Duration::from_secs(99), "{left:?}");
        assert!(left > Duration::from_secs(95), "{left:?}");
    }

    #[test]
    fn a_deadline_before_2001_counts_as_unknown() {
        for nonsense in [0, 600_000, Deadline::PLAUSIBLE_FROM_MS - 1] {
            let left = Deadline::of_invocation(nonsense).remaining();

            assert!(left > Duration::from_mins(4), "{nonsense}: {left:?}");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_nothing_and_does_not_wrap() {
        let passed = Deadline::of_invocation(Deadline::PLAUSIBLE_FROM_MS);

        assert_eq!(passed.remaining(), Duration::ZERO);
        assert_eq!(passed.keeping(Duration::MAX).remaining(), Duration::ZERO);
    }

    #[test]
    fn an_absurdly_late_deadline_is_taken_as_it_is() {
        assert!(Deadline::of_invocation(u64::MAX).remaining() > Duration::from_mins(4));
    }

    #[tokio::test]
    async fn a_wait_that_does_not_fit_is_refused_at_once() {
        let deadline = Deadline::after(Duration::from_secs(5));
        let asked = Instant::now();

        let outcome = deadline.wait(Duration::from_secs(6)).await;

        assert_eq!(outcome, Err(TimeUp));
        assert!(asked.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn waits_grow_to_their_limit_and_end() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            factor: 2.0,
            longest: Duration::from_secs(3),
            times: 4,
        };

        let delays: Vec<Duration> = backoff.delays().collect();

        assert_eq!(delays.len(), 4);
        for (delay, whole) in delays.iter().zip([1, 2, 3, 3]) {
            let whole = Duration::from_secs(whole);
            assert!(
                *delay <= whole && *delay >= whole.mul_f64(0.75),
                "{delays:?}"
            );
        }
    }

    #[test]
    fn a_wait_the_server_asked_for_is_never_cut_short() {
        let asked = Duration::from_secs(2);

        assert!((0..100).all(|_| at_least(asked) >= asked));
    }
}
