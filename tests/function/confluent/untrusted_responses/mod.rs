//! Responses that no correct service returns.
//!
//! [`bodies`] injects each invalid response into each request of each step, and into the later probes of a rotation in one process.
//! [`slow`] covers slow responses, [`keys`] created and listed keys, and [`other_hosts`] endpoints and redirects to other hosts. If a
//! response is a success, its request takes effect: a key may then exist whose secret is lost. The tests assert that the step ends in
//! time with a cause, and that the next attempt leaves the correct keys.

mod bodies;
mod keys;
mod other_hosts;
mod slow;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use simulator::{CANARY, Request, Response, Service};

use super::*;
use crate::faults::{
    ContinuedStates, Recovery, before_each_step, block_on, in_threads, undisturbed_rotation, world,
};

/// The time limit of a step: shorter than an implausible `Retry-After`, and longer than the time that testSecret reserves.
const STEP: Duration = Duration::from_secs(14);

/// The longest error, in bytes.
const MAX_ERROR_BYTES: usize = 3_000;

/// A response and its name.
type NamedResponse = (String, Response);

fn json_response(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response::new(status, "application/json", body.into())
}

/// Matches the `nth` request from now on.
fn is_nth(nth: usize) -> impl Fn(&Request) -> bool + Send + 'static {
    let count = AtomicUsize::new(0);
    move |_| count.fetch_add(1, Relaxed) == nth
}

impl World {
    /// Responds to the `nth` request from now on with `response`. If it is a success, the request takes effect.
    fn respond_to_nth(&self, nth: usize, response: Response) {
        if (200..300).contains(&response.status) {
            self.simulator.replace_response(1, is_nth(nth), response);
        } else {
            self.simulator.respond_with(1, is_nth(nth), response);
        }
    }

    /// Runs one attempt, which must end in time. If it fails, its error is short and contains no secret.
    async fn attempt(&self, case: &str) -> Outcome {
        assert_ends_well(self.rotate(), 4 * STEP, case).await
    }

    /// Runs one step, and checks the outcome as [`attempt`](Self::attempt) does.
    async fn attempt_step(&self, step: &'static str, case: &str) -> Outcome {
        let attempt = async {
            if step == "finishSecret" {
                // After the last step, Secrets Manager completes the rotation.
                return self.rotate_from(step).await;
            }
            let failed = self.step(step).await.err();
            failed.map_or(Outcome::Succeeded, |error| {
                let error = format!("{error:?}");
                Outcome::Failed { step, error }
            })
        };
        assert_ends_well(attempt, STEP, case).await
    }

    /// Retries the rotation, as Secrets Manager does, until it succeeds.
    async fn recover(&self, setting: Setting, case: &str) {
        self.rotate_until_it_succeeds(Recovery::SameToken, case)
            .await;
        self.assert_rotated(setting, case);
    }
}

/// Asserts that an attempt ends in less than `limit`, and that its error is short and contains no secret.
async fn assert_ends_well(
    attempt: impl Future<Output = Outcome>,
    limit: Duration,
    case: &str,
) -> Outcome {
    let started = Instant::now();
    let outcome = attempt.await;
    let elapsed = started.elapsed();
    assert!(elapsed < limit, "{case}: {elapsed:?}");
    if let Outcome::Failed { error, .. } = &outcome {
        let length = error.len();
        assert!(
            length < MAX_ERROR_BYTES,
            "{case}: {length} bytes: {error:.300}"
        );
        assert!(!error.contains(CANARY), "{case}: {error}");
        assert!(!error.contains("anicked"), "{case}: {error}");
    }
    outcome
}
