//! Several invocations at once, stopped and let go between any two of their requests.
//!
//! Every request waits at the simulator until its invocation's turn comes, so one invocation at most is under way, and
//! a [`Turns`] says exactly who gets how far. Of requests that an invocation sends together, each is let go by itself:
//! somebody else may come in between. Afterwards attempts go on as Secrets Manager makes them, until the secret
//! has been rotated, and what is asserted is the state that is left.
//!
//! [`at_once`] is one step several times over, [`late`] an invocation that goes on when its rotation has left it behind,
//! and [`two_secrets`] two rotations at once.

mod at_once;
mod late;
mod two_secrets;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::rotation::STEPS;
use simulator::{Hold, State};

use super::faults::{Recovery, block_on, calm_rotation, in_threads, world};
use super::*;

/// A kind whose keys are signed for by an admin and tried at a data plane, and one that signs for itself; between
/// them, both policies.
const SETTINGS: [Setting; 2] = [
    Setting {
        kind: Kind::Kafka,
        mode: Mode::Admin,
        policy: OldKeyPolicy::Delete,
    },
    Setting {
        kind: Kind::Cloud,
        mode: Mode::Own,
        policy: OldKeyPolicy::KeepUntilNextRotation,
    },
];

/// A little more than is kept back for what comes after trying a key, and for saying so.
const SHORT: Duration = Duration::from_millis(11_300);

/// How far the first gets, then how far the next one gets, and so on, by turns; in the end each goes on until it is
/// done, beginning with the one whose turn it is.
///
/// The first request that somebody is let go for is only held: `n` is "up to before its `n`-th request".
type Turns = Vec<usize>;

/// So many times everything that can go on goes on before it is known that no further request is on its way. From being
/// sent to being held a request takes a tenth of it.
const QUIET: usize = 64;

/// Somebody whose requests are let go one by one.
struct Runner<'a> {
    simulator: &'a Simulator,
    running: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Where requests wait, in the order in which they arrived.
    held: VecDeque<Hold>,
    is_done: bool,
}

impl<'a> Runner<'a> {
    fn new(simulator: &'a Simulator, running: impl Future<Output = ()> + 'a) -> Self {
        Self {
            simulator,
            running: Box::pin(running),
            held: VecDeque::new(),
            is_done: false,
        }
    }

    /// Lets the request that has waited longest be carried out, and holds what comes then. Everybody else's requests wait
    /// already, so those that arrive are this one's.
    async fn advance(&mut self) {
        let mut next = self.hold_next();
        self.held.pop_front();
        loop {
            tokio::select! {
                biased;
                () = next.arrived(1) => {
                    let arrived = std::mem::replace(&mut next, self.hold_next());
                    self.held.push_back(arrived);
                }
                () = &mut self.running => {
                    self.is_done = true;
                    return;
                }
                () = quiet(), if !self.held.is_empty() => return,
            }
        }
    }

    fn hold_next(&self) -> Hold {
        let is_next = AtomicBool::new(true);
        self.simulator
            .hold_requests(move |_| is_next.swap(false, Relaxed))
    }

    async fn finish(&mut self) {
        self.held.clear();
        if !self.is_done {
            (&mut self.running).await;
            self.is_done = true;
        }
    }
}

/// Resolves when nothing more can happen without somebody's leave.
async fn quiet() {
    for _ in 0..QUIET {
        tokio::task::yield_now().await;
    }
}

/// Runs them side by side, as `turns` says.
async fn interleave<const N: usize>(mut runners: [Runner<'_>; N], turns: &[usize]) {
    for requests in turns {
        for _ in 0..*requests {
            if runners[0].is_done {
                break;
            }
            runners[0].advance().await;
        }
        runners.rotate_left(1);
    }
    for mut runner in runners {
        runner.finish().await;
    }
}

/// A world in which a request may be held for long, with these steps of its `nth` rotation done.
async fn patient_world(setting: Setting, nth: usize, done: &[&str]) -> World {
    let mut world = world(setting).await;
    world.function.http_limits.request = AMPLE;
    world.function.store_limits.attempt = AMPLE;
    for _ in 1..nth {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    }
    for step in done {
        world.step(step).await.expect(step);
    }
    world
}

/// The steps before this one.
fn before(step: &str) -> &'static [&'static str] {
    let nth = STEPS.iter().position(|known| *known == step).expect(step);
    &STEPS[..nth]
}

/// How many requests a step makes if nothing goes wrong, in the `nth` rotation.
fn requests_of(setting: Setting, step: &str, nth: usize) -> usize {
    block_on(async {
        let world = patient_world(setting, nth, before(step)).await;
        world.requests();
        world.step(step).await.expect(step);
        world.requests().len()
    })
}

impl World {
    /// An invocation whose outcome nobody waits for. Its time is short: it tries a key that is gone until there is none
    /// left.
    async fn duplicate(&self, event: Value) {
        let _ = self.invoke_within(event, SHORT).await;
    }

    /// What Secrets Manager finds when all has come to rest and it rotates once more.
    async fn assert_rotates_calmly(&self, setting: Setting, case: &str) {
        let outcome = self.rotate().await;
        assert_eq!(outcome, Outcome::Succeeded, "{case}: the next rotation");
        self.assert_rotated(setting, case);
    }

    async fn rotate_secret(&self, arn: &str) -> Outcome {
        let invoke = async |event| {
            let outcome = self.invoke(event).await;
            outcome.map_err(|error| format!("{error:?}"))
        };
        self.simulator.rotate(arn, &invoke).await
    }
}
