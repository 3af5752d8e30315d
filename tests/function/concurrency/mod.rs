//! Concurrent invocations, paused and resumed between any two of their requests.
//!
//! Every request waits at the simulator until it is the turn of its invocation, so at most one invocation makes progress.
//! Afterwards, the rotation is retried until it succeeds, and the test asserts on the final state. If several cases leave the same
//! state, only the first one runs what follows. Of equivalent [`orders`], one runs.
//!
//! [`concurrent`] runs several invocations of one step, [`late`] resumes an invocation after its rotation has continued without
//! it, [`retire`] runs the scheduled deletion concurrently, and [`two_secrets`] rotates two secrets.

mod concurrent;
mod late;
mod orders;
mod retire;
mod two_secrets;

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use simulator::{Hold, State};

use self::orders::{Action, Orders, Shared, Trace, shuffle};
use super::*;
use crate::faults::{ContinuedStates, Recovery, block_on, in_threads, undisturbed_rotation, world};
use crate::several_keys::TWO_KEYS;

/// A resource-scoped key with an admin secret, and a Cloud API key with self-rotation. Together they cover both policies.
const SETTINGS: [Setting; 2] = [
    Setting {
        key_type: KeyType::Kafka,
        mode: Mode::Admin,
        policy: OldKeyPolicy::Delete,
        further: &[],
    },
    Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        policy: OldKeyPolicy::KeepUntilNextRotation,
        further: &[],
    },
];

/// Slightly more than the time that testSecret reserves after the verification, so that it stops probing a deleted key soon.
const SHORT_TIME_LIMIT: Duration = Duration::from_millis(11_300);

/// No time limit stops a runner within this time. [`SHORT_TIME_LIMIT`] leaves less only to testSecret, which changes nothing, and which
/// runs in no order with that limit.
const PROMPT: Duration = Duration::from_secs(1);

/// The number of requests per turn. The runners take turns, and in the end each one finishes, beginning with the next in turn.
///
/// The first request of a runner is only held: `n` means "up to before its `n`th request".
type Turns = Vec<usize>;

/// Returns whether an invocation waits for the response to a request before it sends another one. Several keys are verified
/// concurrently.
fn is_sequential(request: &Request) -> bool {
    request.service == Service::SecretsManager || request.name().contains(API_KEYS)
}

/// Returns whether the requests of a rotation with this setting are held: all, or those that are sent one after the other.
fn is_held(setting: Setting) -> fn(&Request) -> bool {
    if setting.further.is_empty() {
        |_| true
    } else {
        is_sequential
    }
}

/// A future whose requests, which it sends one after the other, are released one by one.
struct Runner<'a> {
    simulator: &'a Simulator,
    /// Whether a request is held.
    is_held: fn(&Request) -> bool,
    running: Pin<Box<dyn Future<Output = ()> + 'a>>,
    created_at: Instant,
    /// The request that waits for its turn.
    held: Option<Hold>,
    /// What it does next; `None` before it starts.
    next: Option<Action>,
}

impl<'a> Runner<'a> {
    fn new(
        simulator: &'a Simulator,
        setting: Setting,
        running: impl Future<Output = ()> + 'a,
    ) -> Self {
        Self {
            simulator,
            is_held: is_held(setting),
            running: Box::pin(running),
            created_at: Instant::now(),
            held: None,
            next: None,
        }
    }

    /// Returns whether no time limit can have stopped it yet.
    fn is_prompt(&self) -> bool {
        self.created_at.elapsed() < PROMPT
    }

    fn is_done(&self) -> bool {
        self.next == Some(Action::End)
    }

    /// Releases the held request, and holds the next one. The other runners' requests are already held, so the one that arrives
    /// is this runner's. Returns what the runner does next.
    async fn advance(&mut self) -> Action {
        let held = self.hold_next();
        self.held = None;
        let next = tokio::select! {
            biased;
            () = held.arrived(1) => {
                self.held = Some(held);
                self.last_held()
            }
            () = &mut self.running => Action::End,
        };
        self.next = Some(next);
        next
    }

    /// Returns what the last request that can be held does.
    fn last_held(&self) -> Action {
        let state = self.simulator.state();
        let mut held = state
            .requests
            .iter()
            .rev()
            .filter(|request| (self.is_held)(request));
        Action::of(held.next().expect("a request is held"))
    }

    /// Releases this number of requests, or fewer if the future completes.
    async fn advance_by(&mut self, requests: usize) {
        for _ in 0..requests {
            if self.is_done() {
                break;
            }
            self.advance().await;
        }
    }

    fn hold_next(&self) -> Hold {
        let (is_held, is_next) = (self.is_held, AtomicBool::new(true));
        self.simulator
            .hold_requests(move |request| is_held(request) && is_next.swap(false, Relaxed))
    }

    /// Releases all its requests. Returns whether one of them changes a service.
    async fn finish(&mut self) -> bool {
        let (held, logged) = (self.next, self.simulator.state().requests.len());
        self.held = None;
        if !self.is_done() {
            (&mut self.running).await;
            self.next = Some(Action::End);
        }
        let state = self.simulator.state();
        let sent = state.requests.iter().skip(logged).map(Action::of);
        held.into_iter().chain(sent).any(Action::is_change)
    }
}

/// A prepared state: the setting, the number of the rotation, the number of its completed steps, and the world.
type Prepared = (Setting, usize, usize, Arc<World>);

/// A world in which requests do not time out, after the steps `done` of its `nth` rotation. The next step runs in a new process.
async fn world_without_timeouts(setting: Setting, nth: usize, done: &[&str]) -> World {
    // Thousands of cases begin with one of few states.
    static PREPARED: Mutex<Vec<Prepared>> = Mutex::new(Vec::new());
    let prepared = {
        let prepared = PREPARED.lock().unwrap();
        let mut prepared = prepared.iter();
        let is_same = |(of, rotation, steps, _): &&Prepared| {
            (*of, *rotation, *steps) == (setting, nth, done.len())
        };
        prepared.find(is_same).map(|(.., world)| Arc::clone(world))
    };
    if let Some(world) = prepared {
        return world.fork().await;
    }
    let mut world = world(setting).await;
    world.set_request_limit(AMPLE);
    for _ in 1..nth {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    }
    for step in done {
        world.step(step).await.expect(step);
    }
    let fork = world.fork().await;
    let world = Arc::new(world);
    PREPARED
        .lock()
        .unwrap()
        .push((setting, nth, done.len(), world));
    fork
}

/// Returns the steps before `step`.
fn steps_before(step: &str) -> &'static [&'static str] {
    let nth = STEPS.iter().position(|known| *known == step).expect(step);
    &STEPS[..nth]
}

/// Returns the numbers of the requests of a step in the `nth` rotation before which an invocation is paused.
fn pauses_of(setting: Setting, step: &str, nth: usize) -> Vec<usize> {
    block_on(async {
        let world = world_without_timeouts(setting, nth, steps_before(step)).await;
        world.requests();
        world.step(step).await.expect(step);
        pauses(&held_actions(&world, setting))
    })
}

/// Returns what the requests do that were sent and can be held.
fn held_actions(world: &World, setting: Setting) -> Vec<Action> {
    let (state, is_held) = (world.simulator.state(), is_held(setting));
    let held = state.requests.iter().filter(|request| is_held(request));
    held.map(Action::of).collect()
}

/// Returns the numbers of the requests, counted from 1, before which an invocation is paused: all except a probe after another one.
/// Between two probes, a deletion is the only change that can make a difference, and it also precedes the first one in another case.
fn pauses(held: &[Action]) -> Vec<usize> {
    let is_pause = |nth: &usize| *nth == 1 || held[nth - 2..*nth] != [Action::Probe; 2];
    (1..=held.len()).filter(is_pause).collect()
}

impl World {
    /// Invokes the function with a short time limit and ignores the outcome: it may probe a deleted key until the deadline.
    async fn invoke_and_ignore_outcome(&self, event: Value) {
        let _ = self.invoke_within(event, SHORT_TIME_LIMIT).await;
    }

    /// Asserts that the next rotation succeeds at the first attempt.
    async fn assert_next_rotation_succeeds(&self, setting: Setting, case: &str) {
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
