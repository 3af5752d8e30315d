//! Backoff that all invocations of a process share when Confluent Cloud rate-limits them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A backoff after HTTP 429 that adapts to the number of concurrent clients. It outlives an invocation.
///
/// Confluent's rate limit applies to the organization, and execution environments don't know of each other. Each 429 therefore
/// doubles the range from which this process draws its next delays, up to a maximum, and each other response narrows it. The
/// share of rate-limited requests then depends little on the number of execution environments.
#[derive(Clone, Debug, Default)]
pub struct SharedBackoff(Arc<AtomicU64>);

impl SharedBackoff {
    /// The first and the widest range, in multiples of the initial delay of a retry.
    const INITIAL: u32 = 4;
    const MAX: u32 = 128;

    /// Widens the range after a 429 and returns a random delay from it.
    pub(super) fn on_rate_limited(&self, unit: Duration) -> Duration {
        let range = (2 * self.range()).clamp(Self::INITIAL * unit, Self::MAX * unit);
        self.set(range);
        range.mul_f64(fastrand::f64())
    }

    /// Narrows the range after any other response. Two of them offset one 429.
    pub(super) fn on_other_response(&self) {
        self.set(self.range().mul_f64(0.7));
    }

    fn range(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, range: Duration) {
        let milliseconds = u64::try_from(range.as_millis()).unwrap_or(u64::MAX);
        self.0.store(milliseconds, Ordering::Relaxed);
    }
}
