//! Recognizes orders of requests that have the same result, so that only one of them runs.
//!
//! What an invocation does next depends on the responses to its requests, and a response on the changes before it. Two orders are
//! equivalent if each request follows the same changes, of those on which its response depends. For example, two consecutive reads can
//! be swapped. This is partial-order reduction.
//!
//! What a runner does next is known from orders that have run. An order with an unknown request always runs. So does a sample of the
//! known ones, to check that they have the same result. Requests that are not held are ignored. These are probes and lookups of
//! endpoints: no runner changes a key that another one probes, and endpoints do not change.
//!
//! <https://en.wikipedia.org/wiki/Partial_order_reduction>

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::PoisonError;

use super::*;

/// One in this number of equivalent orders runs nevertheless.
const SAMPLE: usize = 25;

/// Shuffles cases, in the same way in every run. Otherwise, equivalent orders, which often follow one another, would run concurrently,
/// before the first one has completed.
pub(super) fn shuffle<T>(cases: &mut [T]) {
    fastrand::Rng::with_seed(0).shuffle(cases);
}

/// What a request does, or that the runner completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// It lists or reads keys.
    ReadKeys,
    /// It probes a key, except at the control plane.
    Probe,
    /// It reads something else from Confluent Cloud, usually an endpoint.
    ReadEndpoint,
    /// It reads from Secrets Manager.
    ReadSecret,
    /// It changes a secret.
    ChangeSecret,
    /// It creates or deletes a key, or obtains a token.
    ChangeKeys,
    /// The runner completes.
    End,
}

impl Action {
    pub(super) fn of(request: &Request) -> Self {
        let name = request.name();
        match request.service {
            Service::SecretsManager => {
                if ["DescribeSecret", "GetSecretValue"].contains(&name.as_str()) {
                    Self::ReadSecret
                } else {
                    Self::ChangeSecret
                }
            }
            _ if is_probe(request) => Self::Probe,
            _ if request.method != "GET" => Self::ChangeKeys,
            _ if name.contains(API_KEYS) => Self::ReadKeys,
            _ => Self::ReadEndpoint,
        }
    }

    /// Returns whether the request changes a service.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::ChangeSecret | Self::ChangeKeys)
    }
}

/// What a runner has done so far, and what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Position {
    /// Identifies its requests so far, and the changes before each of them.
    history: u64,
    /// What it does next; before it starts, what its start does, or `None` if that is nothing.
    next: Option<Action>,
    /// Whether its last request was a lookup of an endpoint, or a probe after one. The process caches the endpoint after the last probe.
    may_cache: bool,
}

/// What the runners share, apart from keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shared {
    /// A secret. Each runner has a process of its own.
    Secret,
    /// A process. Each runner has a secret of its own.
    Process,
}

/// What the runners have done so far in an order. Equivalent orders have equal traces.
///
/// <https://en.wikipedia.org/wiki/Trace_monoid>
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Trace<const N: usize> {
    shared: Shared,
    runners: [Position; N],
    /// Identifies the changes of the shared secret so far.
    secret: u64,
    /// Identifies the changes of keys so far.
    keys: u64,
    /// Identifies what has changed the endpoints that the shared process caches.
    endpoints: u64,
    /// Identifies the last request to Secrets Manager, by which the simulator judges a deletion.
    last_secret_request: u64,
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl<const N: usize> Trace<N> {
    /// Creates the start of a trace. Traces of one group have the same runners, and begin in the same state.
    pub(super) fn new(shared: Shared, group: &dyn Debug) -> Self {
        let group = format!("{group:?}");
        let runners = std::array::from_fn(|nth| Position {
            history: hash(&(&group, nth)),
            next: None,
            may_cache: false,
        });
        Self {
            shared,
            runners,
            secret: 0,
            keys: 0,
            endpoints: 0,
            last_secret_request: 0,
        }
    }

    /// Records that the `nth` runner changes the secret when it starts, without a request.
    pub(super) fn changes_secret_at_start(&mut self, nth: usize) {
        self.runners[nth].next = Some(Action::ChangeSecret);
    }

    fn is_done(&self, nth: usize) -> bool {
        self.runners[nth].next == Some(Action::End)
    }

    /// Starts the `nth` runner, or lets its held request take effect.
    fn release(&mut self, nth: usize) {
        // The simulator judges changes of keys by which rotations are in progress.
        let progress = self
            .runners
            .map(|runner| runner.next.map(|next| next == Action::End));
        let runner = &mut self.runners[nth];
        let changes = match runner.next {
            Some(Action::ReadSecret) => (self.secret, 0, self.endpoints),
            Some(Action::ReadKeys | Action::Probe | Action::ReadEndpoint) => {
                (0, self.keys, self.endpoints)
            }
            _ => (self.secret, self.keys, self.endpoints),
        };
        runner.history = hash(&(runner.history, runner.next, changes));
        match (runner.next, self.shared) {
            (Some(Action::ChangeSecret), Shared::Secret) => self.secret = runner.history,
            (Some(Action::ChangeKeys), _) => {
                self.keys = hash(&(runner.history, progress, self.last_secret_request));
            }
            (Some(Action::Probe), Shared::Process) if runner.may_cache => {
                self.endpoints = runner.history;
            }
            _ => {}
        }
        if let Some(Action::ReadSecret | Action::ChangeSecret) = runner.next {
            self.last_secret_request = runner.history;
        }
        runner.may_cache = match runner.next {
            Some(Action::Probe) => runner.may_cache,
            next => next == Some(Action::ReadEndpoint),
        };
    }

    /// Records what the `nth` runner does next.
    fn arrive(&mut self, nth: usize, next: Action) {
        self.runners[nth].next = Some(next);
    }
}

/// Returns the runner and the number of requests of each turn. In the end, each runner finishes.
fn turns_of<const N: usize>(turns: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let last = std::iter::repeat_n(usize::MAX, N);
    let turns = turns.iter().copied().chain(last).enumerate();
    turns.map(|(turn, requests)| (turn % N, requests))
}

/// The orders that have run.
#[derive(Default)]
pub(super) struct Orders {
    /// What a runner does next after its history.
    next: Mutex<HashMap<u64, Action>>,
    /// The fingerprints of the states after complete traces.
    results: Mutex<HashMap<u64, u64>>,
    /// The number of equivalent orders so far. A sample of them runs.
    equivalent: AtomicUsize,
}

impl Orders {
    fn expected(&self, history: u64) -> Option<Action> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.get(&history).copied()
    }

    /// Records what a runner does next after a history, and checks that it is always the same.
    fn observe(&self, history: u64, observed: Action, case: &str) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *next.entry(history).or_insert(observed);
        assert_eq!(
            known, observed,
            "an equivalent order continued with another request: {case}"
        );
    }

    /// Returns the trace of the order, if all its requests are known.
    fn predict<const N: usize>(&self, mut trace: Trace<N>, turns: &[usize]) -> Option<Trace<N>> {
        for (nth, requests) in turns_of::<N>(turns) {
            for _ in 0..requests {
                if trace.is_done(nth) {
                    break;
                }
                trace.release(nth);
                let next = self.expected(trace.runners[nth].history)?;
                trace.arrive(nth, next);
            }
        }
        Some(trace)
    }

    /// Returns the number of orders with different traces.
    pub(super) fn count(&self) -> usize {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.len()
    }

    /// Returns whether an equivalent order has run and this one is not in the sample.
    pub(super) fn can_skip<const N: usize>(&self, start: &Trace<N>, turns: &[usize]) -> bool {
        let Some(end) = self.predict(start.clone(), turns) else {
            return false;
        };
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.contains_key(&hash(&end))
            && !self.equivalent.fetch_add(1, Relaxed).is_multiple_of(SAMPLE)
    }

    /// Runs the runners concurrently, in the order of `turns`.
    pub(super) async fn interleave<const N: usize>(
        &self,
        trace: &mut Trace<N>,
        runners: &mut [Runner<'_>; N],
        turns: &[usize],
        case: &str,
    ) {
        for (nth, requests) in turns_of::<N>(turns) {
            for _ in 0..requests {
                if trace.is_done(nth) {
                    break;
                }
                trace.release(nth);
                let next = runners[nth].advance().await;
                if runners[nth].is_prompt() {
                    self.observe(trace.runners[nth].history, next, case);
                }
                trace.arrive(nth, next);
            }
        }
    }

    /// Records the result of an order that has run, and checks that equivalent ones have the same.
    pub(super) fn complete<const N: usize>(&self, end: &Trace<N>, world: &World, case: &str) {
        let result = world.simulator.state().fingerprint_without_ages();
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *results.entry(hash(end)).or_insert(result);
        assert_eq!(
            known, result,
            "an equivalent order had another result: {case}"
        );
    }
}

/// Returns the trace of two runners that each send a request, in this order of runners.
fn trace(shared: Shared, actions: [Action; 2], order: [usize; 4]) -> Trace<2> {
    let mut trace = Trace::new(shared, &"a test");
    for nth in order {
        trace.release(nth);
        let next = if trace.runners[nth].next.is_none() {
            actions[nth]
        } else {
            Action::End
        };
        trace.arrive(nth, next);
    }
    trace
}

#[test]
fn requests_can_be_swapped_unless_the_response_to_one_depends_on_the_other() {
    use Action::{ChangeKeys, ChangeSecret, Probe, ReadEndpoint, ReadKeys, ReadSecret};
    for (shared, actions, can_be_swapped) in [
        (Shared::Secret, [ReadKeys, ReadKeys], true),
        (Shared::Secret, [ReadKeys, ReadSecret], true),
        (Shared::Secret, [ReadKeys, ReadEndpoint], true),
        (Shared::Secret, [ReadEndpoint, ReadEndpoint], true),
        (Shared::Secret, [Probe, ReadEndpoint], true),
        (Shared::Secret, [Probe, Probe], true),
        (Shared::Secret, [Probe, ChangeKeys], false),
        (Shared::Secret, [ReadKeys, ChangeSecret], true),
        (Shared::Secret, [ReadKeys, ChangeKeys], false),
        (Shared::Secret, [ReadEndpoint, ChangeKeys], false),
        (Shared::Secret, [ReadSecret, ChangeSecret], false),
        (Shared::Secret, [ReadSecret, ChangeKeys], false),
        (Shared::Secret, [ChangeSecret, ChangeSecret], false),
        (Shared::Secret, [ChangeSecret, ChangeKeys], false),
        (Shared::Secret, [ChangeKeys, ChangeKeys], false),
        (Shared::Process, [ReadKeys, ReadKeys], true),
        (Shared::Process, [ReadKeys, ChangeSecret], true),
        (Shared::Process, [ReadEndpoint, ReadEndpoint], true),
        (Shared::Process, [ReadKeys, Probe], true),
        (Shared::Process, [ReadKeys, ChangeKeys], false),
        (Shared::Process, [ReadSecret, ChangeKeys], false),
        (Shared::Process, [ChangeSecret, ChangeKeys], false),
        (Shared::Process, [ChangeKeys, ChangeKeys], false),
    ] {
        let one = trace(shared, actions, [0, 1, 0, 1]);
        let other = trace(shared, actions, [0, 1, 1, 0]);

        assert_eq!(one == other, can_be_swapped, "{shared:?}: {actions:?}");
    }
}

#[test]
fn a_request_depends_on_the_endpoints_that_the_shared_process_caches() {
    for (shared, previous, depends) in [
        (Shared::Process, Action::ReadEndpoint, true),
        (Shared::Process, Action::ReadKeys, false),
        (Shared::Secret, Action::ReadEndpoint, false),
    ] {
        let [one, other] = [[0, 1], [1, 0]].map(|order| {
            let mut trace = Trace::<2>::new(shared, &"a test");
            for (nth, next) in [(0, previous), (0, Action::Probe), (1, Action::ReadKeys)] {
                trace.release(nth);
                trace.arrive(nth, next);
            }
            for nth in order {
                trace.release(nth);
                trace.arrive(nth, Action::End);
            }
            trace
        });

        assert_eq!(one != other, depends, "{shared:?}: {previous:?}");
    }
}

/// The simulator judges a deletion by whether another secret is in rotation.
#[test]
fn a_change_of_keys_depends_on_whether_the_other_runner_has_completed() {
    let actions = [Action::ChangeKeys, Action::ReadKeys];

    let before = trace(Shared::Process, actions, [0, 0, 1, 1]);
    let between = trace(Shared::Process, actions, [0, 1, 0, 1]);
    let after = trace(Shared::Process, actions, [1, 1, 0, 0]);

    assert_ne!(before.keys, between.keys);
    assert_ne!(between.keys, after.keys);
    assert_ne!(before.keys, after.keys);
}
