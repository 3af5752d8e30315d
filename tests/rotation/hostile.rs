//! Services that answer as no service should, and endpoints that lead elsewhere.
//!
//! [`bodies`] gives each hostile answer once to each request of a rotation, [`slow`] has answers that take their time,
//! [`keys`] is about the keys that are made and listed, and [`elsewhere`] about where a credential may be led. Where an
//! answer says that the request was carried out, it was: then a key may exist that nobody knows the secret of. What is
//! asserted is that a step ends soon and says why, and that the next attempt leaves the keys it should.

mod bodies;
mod elsewhere;
mod keys;
mod slow;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use simulator::{Answer, CANARY, Plane, Request};

use super::faults::{Recovery, block_on, calm_rotation, world};
use super::*;

/// How long a step may take here: less than an absurd `Retry-After` asks for, and more than testSecret keeps back.
const STEP: Duration = Duration::from_secs(14);

/// No error is longer, whatever the answer was.
const LONGEST_ERROR: usize = 3_000;

/// Cases that run side by side.
const THREADS: usize = 16;

/// An answer and what it is called.
type Named = (String, Answer);

fn json_answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(status, "application/json", body.into())
}

/// Matches the `nth` request from now on.
fn is_nth(nth: usize) -> impl Fn(&Request) -> bool + Send + 'static {
    let seen = AtomicUsize::new(0);
    move |_| seen.fetch_add(1, Relaxed) == nth
}

impl World {
    /// Gives `answer` to the `nth` request from now on. A success means that it was carried out.
    fn answer_nth(&self, nth: usize, answer: Answer) {
        if (200..300).contains(&answer.status) {
            self.simulator.answer_after(1, is_nth(nth), answer);
        } else {
            self.simulator.answer(1, is_nth(nth), answer);
        }
    }

    /// Makes one attempt, which has to end soon, and which says why if it does not succeed.
    async fn attempt(&self, case: &str) -> Outcome {
        let began = Instant::now();
        let outcome = self.rotate().await;
        assert!(began.elapsed() < 4 * STEP, "{case}: {:?}", began.elapsed());
        if let Outcome::Failed { error, .. } = &outcome {
            assert!(
                error.len() < LONGEST_ERROR,
                "{case}: {} bytes: {:.300}",
                error.len(),
                error
            );
            assert!(!error.contains(CANARY), "{case}: {error}");
            assert!(!error.contains("anicked"), "{case}: {error}");
        }
        outcome
    }

    /// Attempts again, as Secrets Manager does, until nothing is in the way any more.
    async fn recover(&self, setting: Setting, case: &str) {
        self.rotate_until_it_succeeds(Recovery::SameToken, case)
            .await;
        self.assert_rotated(setting, case);
    }
}

/// Runs `case` for each of `cases`, side by side.
fn side_by_side<T: Sync>(cases: &[T], run: impl AsyncFn(&T) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let (mine, run) = (cases.iter().skip(first).step_by(THREADS), &run);
            scope.spawn(move || mine.for_each(|case| block_on(run(case))));
        }
    });
}

fn makes_a_key(request: &Request) -> bool {
    request.method == "POST" && request.plane == Plane::ControlPlane
}

fn lists_keys(request: &Request) -> bool {
    request.label() == "GET /iam/v2/api-keys"
}
