//! Recognizes orders of requests that cannot differ, so that only one of them runs.
//!
//! What an invocation does next depends on the responses to its requests, and a response on the changes before it. If each request of
//! each runner follows the same changes in two orders, these are equivalent: they have the same result. Two reads that follow each other,
//! for example, may change places. This is partial-order reduction.
//!
//! What a runner does next is known from orders that have run. An order with an unknown request always runs. So does a sample of the
//! known ones, to check that they have the same result.
//!
//! <https://en.wikipedia.org/wiki/Partial_order_reduction>

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::PoisonError;

use super::*;

/// One in this number of equivalent orders runs nevertheless.
const SAMPLE: usize = 25;

/// Shuffles cases, in the same way in every run: equivalent orders often follow one another, and would run before one is known.
pub(super) fn shuffle<T>(cases: &mut [T]) {
    fastrand::Rng::with_seed(0).shuffle(cases);
}

/// What a runner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Next {
    /// It reads from Confluent Cloud.
    Read,
    /// It reads the endpoint of a resource, which its process keeps.
    ReadEndpoint,
    /// It reads from Secrets Manager.
    ReadSecret,
    /// It changes a secret.
    ChangeSecret,
    /// It creates or deletes a key, or may change something else in Confluent Cloud.
    ChangeKeys,
    /// It completes.
    End,
}

impl Next {
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
            _ if request.method != "GET" => Self::ChangeKeys,
            _ if is_probe(request) || name == format!("GET {API_KEYS}") => Self::Read,
            _ => Self::ReadEndpoint,
        }
    }

    /// Returns whether it changes a service.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::ChangeSecret | Self::ChangeKeys)
    }
}

/// Where a runner is in an order.
#[derive(Clone, Copy, Debug, Hash)]
struct Position {
    /// Identifies its requests so far, and the changes before each of them.
    history: u64,
    /// What it does next; `None` before it starts.
    next: Option<Next>,
}

/// What the runners share, apart from keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shared {
    /// A secret. Each runner has a process of its own.
    Secret,
    /// A process. Each runner has a secret of its own.
    Process,
}

/// Where all runners are in an order.
#[derive(Clone, Debug, Hash)]
pub(super) struct Course<const N: usize> {
    shared: Shared,
    runners: [Position; N],
    /// Identifies the changes of the shared secret so far.
    secret: u64,
    /// Identifies the changes of keys so far.
    keys: u64,
    /// Identifies what has been added to the endpoints that the shared process keeps.
    endpoints: u64,
    /// Identifies the last read of Secrets Manager, by which the simulator judges a deletion.
    last_read: u64,
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl<const N: usize> Course<N> {
    /// Creates the start of a course. Courses of one group have the same runners, and begin in the same state.
    pub(super) fn new(shared: Shared, group: &dyn Debug) -> Self {
        let group = format!("{group:?}");
        let mut nth = 0;
        let runners = [(); N].map(|()| {
            nth += 1;
            let history = hash(&(&group, nth));
            Position {
                history,
                next: None,
            }
        });
        Self {
            shared,
            runners,
            secret: 0,
            keys: 0,
            endpoints: 0,
            last_read: 0,
        }
    }

    fn is_done(&self, nth: usize) -> bool {
        self.runners[nth].next == Some(Next::End)
    }

    /// Starts the `nth` runner, or lets its held request take effect.
    fn release(&mut self, nth: usize) {
        // The simulator judges changes of keys by what runs, and by the last read of a secret.
        let running = self
            .runners
            .map(|runner| runner.next.map(|next| next == Next::End));
        let runner = &mut self.runners[nth];
        let changes = match runner.next {
            Some(Next::ReadSecret) => (self.secret, 0, self.endpoints),
            Some(Next::Read | Next::ReadEndpoint) => (0, self.keys, self.endpoints),
            _ => (self.secret, self.keys, self.endpoints),
        };
        runner.history = hash(&(runner.history, changes));
        match runner.next {
            Some(Next::ReadSecret) => self.last_read = runner.history,
            Some(Next::ChangeSecret) if self.shared == Shared::Secret => {
                self.secret = runner.history;
            }
            Some(Next::ChangeKeys) => {
                self.keys = hash(&(runner.history, running, self.last_read));
            }
            Some(Next::ReadEndpoint) if self.shared == Shared::Process => {
                self.endpoints = runner.history;
            }
            _ => {}
        }
    }

    /// Records what the `nth` runner does next.
    fn arrive(&mut self, nth: usize, next: Next) {
        self.runners[nth].next = Some(next);
    }
}

/// The orders that have run.
#[derive(Default)]
pub(super) struct Orders {
    /// What a runner does next after its history; `None` if it is not always the same.
    next: Mutex<HashMap<u64, Option<Next>>>,
    /// The fingerprints of the states after complete courses.
    results: Mutex<HashMap<u64, u64>>,
    /// The number of orders that were known before they ran.
    equivalent: AtomicUsize,
}

impl Orders {
    fn expected(&self, history: u64) -> Option<Next> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.get(&history).copied().flatten()
    }

    /// Records what a runner does next after a history.
    fn observe(&self, history: u64, observed: Next) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let known = next.entry(history).or_insert(Some(observed));
        if *known != Some(observed) {
            *known = None;
        }
    }

    /// Returns the end of a course with these turns, if all its requests are known.
    fn predict<const N: usize>(&self, mut course: Course<N>, turns: &[usize]) -> Option<Course<N>> {
        for (turn, requests) in turns.iter().enumerate() {
            self.predict_turn(&mut course, turn % N, *requests)?;
        }
        for nth in 0..N {
            self.predict_turn(&mut course, (turns.len() + nth) % N, usize::MAX)?;
        }
        Some(course)
    }

    fn predict_turn<const N: usize>(
        &self,
        course: &mut Course<N>,
        nth: usize,
        requests: usize,
    ) -> Option<()> {
        for _ in 0..requests {
            if course.is_done(nth) {
                break;
            }
            course.release(nth);
            let next = self.expected(course.runners[nth].history)?;
            course.arrive(nth, next);
        }
        Some(())
    }

    /// Returns the number of orders with different courses.
    pub(super) fn count(&self) -> usize {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.len()
    }

    /// Returns whether an order with the same result has run.
    pub(super) fn is_known<const N: usize>(&self, start: &Course<N>, turns: &[usize]) -> bool {
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
        course: &mut Course<N>,
        runners: &mut [Runner<'_>; N],
        turns: &[usize],
    ) {
        for (turn, requests) in turns.iter().enumerate() {
            self.run_turn(course, runners, turn % N, *requests).await;
        }
        for nth in 0..N {
            let nth = (turns.len() + nth) % N;
            self.run_turn(course, runners, nth, usize::MAX).await;
        }
    }

    async fn run_turn<const N: usize>(
        &self,
        course: &mut Course<N>,
        runners: &mut [Runner<'_>; N],
        nth: usize,
        requests: usize,
    ) {
        for _ in 0..requests {
            if runners[nth].is_done {
                break;
            }
            course.release(nth);
            let next = runners[nth].advance().await;
            self.observe(course.runners[nth].history, next);
            course.arrive(nth, next);
        }
    }

    /// Records the result of an order that has run, and checks that equivalent ones have the same.
    pub(super) fn complete<const N: usize>(&self, end: &Course<N>, world: &World, case: &str) {
        let result = world.simulator.state().fingerprint();
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *results.entry(hash(end)).or_insert(result);
        assert_eq!(
            known, result,
            "an equivalent order had another result: {case}"
        );
    }
}
