//! The control plane's limits for an organization: so many requests in a window of time, and so many at once.
//!
//! What is refused is not carried out, and is told when to come back. Windows follow each other without a gap from the
//! first request on, as the header that names a window's end suggests.
//!
//! <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>

use std::time::{Duration, Instant};

use crate::Shared;
use crate::answer::Answer;
use crate::call::{Call, Plane};
use crate::state::State;

/// What the limits are compared with.
#[derive(Default)]
pub(crate) struct Meter {
    first: Option<Instant>,
    window: u128,
    used: u32,
    in_flight: u32,
}

/// A request that was let in. It counts as unanswered until this is dropped.
pub(crate) struct Turn<'a>(&'a Shared);

impl<'a> Turn<'a> {
    /// Lets a request in, or refuses it. None for one that no limit counts.
    pub(crate) fn take(shared: &'a Shared, call: &Call) -> Result<Option<Self>, Answer> {
        if call.plane != Plane::ControlPlane {
            return Ok(None);
        }
        shared.state().let_in()?;
        Ok(Some(Self(shared)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().meter.in_flight -= 1;
    }
}

impl State {
    fn let_in(&mut self) -> Result<(), Answer> {
        if let Some(limit) = self.knobs.rate_limit {
            self.turn_window(limit.window);
            if self.meter.used >= limit.requests || self.meter.in_flight >= limit.at_once {
                let retry_after = self.seconds_to_next_window(limit.window);
                let answer = self.with_rate_limit(Answer::empty(429));
                return Err(answer.with_header("retry-after", retry_after.to_string()));
            }
        }
        self.meter.used += 1;
        self.meter.in_flight += 1;
        Ok(())
    }

    /// Begins to count anew if the window that was counted in is over.
    fn turn_window(&mut self, length: Duration) {
        let first = *self.meter.first.get_or_insert_with(Instant::now);
        let window = first.elapsed().as_nanos() / length.as_nanos().max(1);
        if window != self.meter.window {
            self.meter.window = window;
            self.meter.used = 0;
        }
    }

    /// Whole seconds, as both headers have them: a client that waits for so long is not too early.
    fn seconds_to_next_window(&self, length: Duration) -> u64 {
        let length = length.as_nanos().max(1);
        let elapsed = self
            .meter
            .first
            .map_or(0, |first| first.elapsed().as_nanos());
        let left = length - elapsed % length;
        u64::try_from(left.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }

    /// The headers that tell how much is left. `Reset` is in seconds from now.
    pub(crate) fn with_rate_limit(&self, answer: Answer) -> Answer {
        let (limit, remaining, reset) = match self.knobs.rate_limit {
            None => (10, 9, 1),
            Some(limit) => (
                limit.requests,
                limit.requests.saturating_sub(self.meter.used),
                self.seconds_to_next_window(limit.window),
            ),
        };
        answer
            .with_header("x-ratelimit-limit", limit.to_string())
            .with_header("x-ratelimit-remaining", remaining.to_string())
            .with_header("x-ratelimit-reset", reset.to_string())
    }
}
