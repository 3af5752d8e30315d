//! Every fault at every request of a rotation, and the recovery from it.
//!
//! Secrets Manager retries a failed rotation with the same token, or with a new one if `AWSPENDING` was removed. Both are
//! tested. The tests assert on the final state, not on the requests.

mod continued_states;
mod threads;

use simulator::{Fault, Service};

use super::*;
use crate::several_keys::TWO_KEYS;
pub(crate) use continued_states::ContinuedStates;
pub(crate) use threads::{block_on, in_threads};

/// The number of retries of a rotation. AWS does not document how often Secrets Manager retries.
const RETRIES: usize = 4;

/// How Secrets Manager resumes a failed rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It retries the same rotation.
    SameToken,
    /// A user removes `AWSPENDING`, and it starts another rotation.
    NewToken,
}

/// A world in which every setting of [`key_types::possible_settings`] can rotate.
pub(crate) async fn world(setting: Setting) -> World {
    let world = World::new(setting).await;
    world.simulator.state().controls.global_keys_may_call_iam = true;
    world
}

/// Returns the state before each step of a rotation.
pub(crate) async fn before_each_step(setting: Setting) -> Vec<(&'static str, World)> {
    let (mut before, mut world) = (Vec::new(), world(setting).await);
    for step in STEPS {
        let after = world.fork().await;
        after.step(step).await.expect(step);
        before.push((step, world));
        world = after;
    }
    before
}

/// A [`world`] whose keys are verified at two brokers.
async fn world_with_brokers(setting: Setting) -> World {
    let mut world = World::new(setting).await;
    world.simulator.add_brokers("lkc-orders", 2);
    world.set_variable("KAFKA_VERIFICATION", "brokers");
    world
}

/// Returns the requests of a rotation without a fault.
pub(crate) async fn undisturbed_rotation(setting: Setting) -> Vec<String> {
    let world = world(setting).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.requests()
}

impl World {
    /// Rotates and retries until the rotation succeeds. Returns the number of failed attempts.
    pub(crate) async fn rotate_until_it_succeeds(&self, recovery: Recovery, case: &str) -> usize {
        let outcome = self.rotate().await;
        self.retry_until_it_succeeds(outcome, recovery, case).await
    }

    /// Retries a rotation whose first attempt had this outcome until it succeeds. Returns the number of failed attempts.
    pub(crate) async fn retry_until_it_succeeds(
        &self,
        mut outcome: Outcome,
        recovery: Recovery,
        case: &str,
    ) -> usize {
        for failed in 0..RETRIES {
            if outcome == Outcome::Succeeded {
                return failed;
            }
            outcome = self.retry(recovery).await;
        }
        panic!("{case}: {outcome:?}");
    }

    /// Retries a failed rotation.
    async fn retry(&self, recovery: Recovery) -> Outcome {
        if recovery == Recovery::NewToken {
            self.simulator.abandon_rotation(&self.arn);
        }
        self.rotate().await
    }

    /// Asserts the final state of a complete rotation: no orphaned key exists, and the other fields are unchanged.
    pub(crate) fn assert_rotated(&self, setting: Setting, case: &str) {
        let current = self.key_ids("AWSCURRENT");
        assert_eq!(current.len(), 1 + setting.further.len(), "{case}");
        let is_initial = |id| self.initial_keys.contains(id);
        assert!(!current.iter().any(is_initial), "{case}");
        let mut kept = current.clone();
        if setting.policy != OldKeyPolicy::Delete {
            kept.extend(self.key_ids("AWSPREVIOUS"));
        }
        self.assert_keys(&kept, &case);
        let pending = self.key_ids("AWSPENDING");
        assert!(pending.is_empty() || pending == current, "{case}");
        assert_eq!(
            self.value("AWSCURRENT")["note"],
            json!({"kept": [1.0, null, "as it is"]}),
            "{case}"
        );
        self.simulator.assert_guarantees();
    }
}

/// A state from which a rotation is continued by a new process. Cases that begin in the same way share it, so that each one runs only
/// what differs.
struct Prefix {
    setting: Setting,
    world: World,
    /// The faults so far, for the name of a case: the step, the request and the fault.
    faults: Vec<(&'static str, usize, Fault)>,
    /// What the prefix is continued with.
    next: Next,
    /// The number of requests of the next invocation, or of all remaining ones for a retry.
    requests: usize,
    /// The fingerprint of the state.
    fingerprint: u64,
}

/// How a rotation continues after a [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// With this step.
    Step(&'static str),
    /// With a retry of the rotation, or with the next rotation.
    Rotation,
}

impl Next {
    fn step(self) -> &'static str {
        match self {
            Self::Step(step) => step,
            Self::Rotation => "createSecret",
        }
    }
}

impl Prefix {
    async fn new(
        setting: Setting,
        world: &World,
        faults: Vec<(&'static str, usize, Fault)>,
        next: Next,
    ) -> Self {
        let measured = world.fork().await;
        match next {
            Next::Step(step) => measured.step(step).await.expect(step),
            Next::Rotation => assert_eq!(measured.rotate().await, Outcome::Succeeded),
        }
        let world = world.fork().await;
        let fingerprint = world.simulator.state().fingerprint();
        Self {
            setting,
            world,
            faults,
            next,
            requests: measured.requests().len(),
            fingerprint,
        }
    }

    /// Returns the state before each step of a rotation that sends requests.
    async fn before_each_step(setting: Setting) -> Vec<Self> {
        let mut prefixes = Vec::new();
        for (step, world) in before_each_step(setting).await {
            if step != "setSecret" {
                prefixes.push(Self::new(setting, &world, Vec::new(), Next::Step(step)).await);
            }
        }
        prefixes
    }

    /// Returns the state after an attempt that begins here and has one fault. The attempt may succeed nevertheless.
    async fn after(&self, nth: usize, fault: Fault) -> Self {
        let world = self.world.fork().await;
        world.simulator.fail(nth, fault);
        world.rotate_from(self.next.step()).await;
        let mut faults = self.faults.clone();
        faults.push((self.next.step(), nth, fault));
        Self::new(self.setting, &world, faults, Next::Rotation).await
    }
}

/// A rotation with faults.
struct Case<'p> {
    prefix: &'p Prefix,
    /// The states from which other cases have continued, in a new process. `None` if each recovery runs in one process to its end.
    continued: Option<&'p ContinuedStates>,
    /// The faults of the next invocation and the following ones, and the index of their requests, counted from 0.
    faults: Vec<(usize, Fault)>,
    /// How a failed attempt is recovered.
    recoveries: &'static [Recovery],
}

impl Case<'_> {
    /// Returns everything that is needed to repeat the case.
    fn name(&self) -> String {
        let Prefix {
            setting,
            faults: before,
            next,
            ..
        } = self.prefix;
        let faults = &self.faults;
        format!("{setting:?}; before: {before:?}; {next:?}: {faults:?}")
    }

    /// Returns whether no other case has begun with the same faults from the same state.
    fn is_new(&self) -> bool {
        let Some(continued) = self.continued else {
            return true;
        };
        let Prefix {
            setting,
            next,
            fingerprint,
            ..
        } = self.prefix;
        continued.insert(
            *fingerprint,
            &(setting, next, &self.faults, self.recoveries),
        )
    }

    async fn run(&self) {
        if !self.is_new() {
            return;
        }
        match self.continued {
            None => self.run_in_one_process().await,
            Some(continued) => self.run_from_new_states(continued).await,
        }
    }

    /// Returns a world with the faults.
    async fn world(&self) -> World {
        let mut world = self.prefix.world.fork().await;
        if self.faults.iter().any(|(_, fault)| fault.stalls()) {
            world.set_request_limit(SHORT_REQUEST_LIMIT);
        }
        for (nth, fault) in &self.faults {
            world.simulator.fail(*nth, *fault);
        }
        world
    }

    /// Runs each recovery in the process of the failed attempt.
    async fn run_in_one_process(&self) {
        for recovery in self.recoveries {
            let mut world = self.world().await;

            let outcome = world.rotate_from(self.prefix.next.step()).await;

            world.set_request_limit(REQUEST_LIMIT);
            if outcome == Outcome::Succeeded {
                // Nothing to recover.
                return world.assert_rotated(self.prefix.setting, &self.name());
            }
            self.recover(&world, outcome, *recovery).await;
        }
    }

    /// Continues in new processes, from the states from which no other case has continued.
    async fn run_from_new_states(&self, continued: &ContinuedStates) {
        let (setting, first) = (self.prefix.setting, self.prefix.next.step());
        let mut world = self.world().await;

        let outcome = world
            .rotate_from_new_states(first, setting, continued)
            .await;

        world.set_request_limit(REQUEST_LIMIT);
        match outcome {
            None => {}
            Some(Outcome::Succeeded) => world.assert_rotated(setting, &self.name()),
            Some(outcome) => {
                for (nth, recovery) in self.recoveries.iter().enumerate() {
                    if !continued.is_new(&world, &(setting, recovery)) {
                        continue;
                    }
                    // A copy loses the second fault of a pair, if it has not fired yet.
                    let is_last = nth + 1 == self.recoveries.len();
                    let world = if is_last {
                        world.restart()
                    } else {
                        world.fork().await
                    };
                    self.recover(&world, outcome.clone(), *recovery).await;
                }
            }
        }
    }

    /// Recovers a failed attempt.
    async fn recover(&self, world: &World, outcome: Outcome, recovery: Recovery) {
        let name = format!("{}; {recovery:?}", self.name());
        world
            .retry_until_it_succeeds(outcome, recovery, &name)
            .await;
        world.assert_rotated(self.prefix.setting, &name);
    }
}

/// Both ways in which a failed attempt is recovered.
const RECOVERIES: &[Recovery] = &[Recovery::SameToken, Recovery::NewToken];

/// Returns whether all cases with this setting run to their end in one process. They show what the process does with what it has kept:
/// connections, endpoints and the rate limit.
fn keeps_process(setting: Setting) -> bool {
    let keyless = Setting {
        mode: Mode::Keyless,
        ..Setting::default()
    };
    [Setting::default(), keyless, TWO_KEYS].contains(&setting)
}

/// Every fault at every request of the next invocation, with both recoveries.
fn single_faults<'p>(
    prefix: &'p Prefix,
    continued: &'p ContinuedStates,
) -> impl Iterator<Item = Case<'p>> {
    let continued = (!keeps_process(prefix.setting)).then_some(continued);
    let faults = (0..prefix.requests).flat_map(|nth| Fault::ALL.map(|fault| (nth, fault)));
    faults.map(move |fault| Case {
        prefix,
        continued,
        faults: vec![fault],
        recoveries: RECOVERIES,
    })
}

/// Returns the number of combinations of faults and recoveries.
fn count(cases: &[Case<'_>]) -> usize {
    cases.iter().map(|case| case.recoveries.len()).sum()
}

/// The interruptions, and the faults of a request that took effect. `StallAfter` has the same result but takes longer.
const INTERRUPTIONS_AND_LOST_RESPONSES: [Fault; 4] = [
    Fault::InterruptBefore,
    Fault::InterruptAfter,
    Fault::InternalErrorAfter,
    Fault::ResetAfter,
];

/// Returns the state before every step, and after every one of [`INTERRUPTIONS_AND_LOST_RESPONSES`] at every request of a step.
///
/// Each has a runtime of its own, whose end closes the services' sockets. Together, they would exceed the limit of open files.
fn prefixes_of_pairs(setting: Setting) -> (Vec<Prefix>, Vec<Prefix>) {
    let before = block_on(Prefix::before_each_step(setting));
    let mut after = Vec::new();
    for prefix in &before {
        for nth in 0..prefix.requests {
            for fault in INTERRUPTIONS_AND_LOST_RESPONSES {
                after.push(block_on(prefix.after(nth, fault)));
            }
        }
    }
    (before, after)
}

/// Every pair of [`INTERRUPTIONS_AND_LOST_RESPONSES`]: both in one step, or the second one in the recovery from the first, or in the
/// next rotation if no recovery is required.
fn pairs_of_faults<'p>(
    before: &'p [Prefix],
    after: &'p [Prefix],
    continued: &'p ContinuedStates,
) -> Vec<Case<'p>> {
    let mut cases = Vec::new();
    let mut add = |prefix, faults: &[(usize, Fault)]| {
        for other in INTERRUPTIONS_AND_LOST_RESPONSES {
            let mut faults = faults.to_vec();
            if let Some(last) = faults.last_mut() {
                last.1 = other;
            }
            cases.push(Case {
                prefix,
                continued: Some(continued),
                faults,
                recoveries: &[Recovery::SameToken],
            });
        }
    };
    for prefix in before {
        for first in 0..prefix.requests {
            for second in first + 1..=prefix.requests {
                for one in INTERRUPTIONS_AND_LOST_RESPONSES {
                    add(prefix, &[(first, one), (second, one)]);
                }
            }
        }
    }
    for prefix in after {
        for nth in 0..prefix.requests {
            add(prefix, &[(nth, Fault::InterruptBefore)]);
        }
    }
    cases
}

/// Runs all cases. Fails with the name of a case.
fn run_all(cases: &[Case<'_>]) {
    in_threads(cases, |case| block_on(case.run()));
}

/// A rotation can be interrupted before, during or after any request. It succeeds when it is resumed, with the same token or a
/// new one, and no orphaned key remains.
#[test]
fn a_rotation_recovers_from_every_fault_at_every_request() {
    let settings = key_types::possible_settings();
    let prefixes = settings.flat_map(|setting| block_on(Prefix::before_each_step(setting)));
    let prefixes: Vec<Prefix> = prefixes.collect();
    let continued = ContinuedStates::default();
    let cases = prefixes
        .iter()
        .flat_map(|prefix| single_faults(prefix, &continued));
    let cases: Vec<Case> = cases.collect();
    assert!(count(&cases) >= 22_000, "{}", count(&cases));

    run_all(&cases);

    let (count, states) = (count(&cases), continued.count());
    println!("recovered from {count} faults, continued from {states} states");
}

/// Whatever fails between two creations, no version ever contains half of a pair.
#[test]
fn a_rotation_of_two_keys_recovers_from_every_fault_at_every_request() {
    let keyless = Setting {
        mode: Mode::Keyless,
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..TWO_KEYS
    };
    let settings = [TWO_KEYS, keyless].into_iter();
    let prefixes = settings.flat_map(|setting| block_on(Prefix::before_each_step(setting)));
    let prefixes: Vec<Prefix> = prefixes.collect();
    let continued = ContinuedStates::default();
    let cases = prefixes
        .iter()
        .flat_map(|prefix| single_faults(prefix, &continued));
    let cases: Vec<Case> = cases.collect();
    assert!(count(&cases) >= 1_800, "{}", count(&cases));

    run_all(&cases);

    let (count, states) = (count(&cases), continued.count());
    println!("recovered from {count} faults with two keys, continued from {states} states");
}

/// Faults of the other requests are in the tests above.
#[test]
fn a_rotation_recovers_from_every_fault_at_every_request_to_a_broker() {
    let requests = block_on(async {
        let world = world_with_brokers(Setting::default()).await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        let state = world.simulator.state();
        let requests = state.requests.iter().enumerate();
        let to_brokers = requests.filter(|(_, request)| request.service == Service::KafkaBroker);
        to_brokers.map(|(nth, _)| nth).collect::<Vec<_>>()
    });
    // Two steps verify the key at the bootstrap endpoint and at two brokers.
    assert_eq!(requests.len(), 2 * (3 + 2 + 2));
    let faults = requests
        .iter()
        .flat_map(|nth| Fault::ALL.map(|fault| (*nth, fault)));
    let cases = faults.flat_map(|fault| {
        [Recovery::SameToken, Recovery::NewToken].map(|recovery| (fault, recovery))
    });
    let cases: Vec<_> = cases.collect();

    in_threads(&cases, |((nth, fault), recovery)| {
        block_on(async {
            let name = format!("{fault:?} at request {nth}; {recovery:?}");
            let world = world_with_brokers(Setting::default()).await;
            world.simulator.fail(*nth, *fault);
            world.rotate_until_it_succeeds(*recovery, &name).await;
            world.assert_rotated(Setting::default(), &name);
        });
    });
}

#[test]
fn a_rotation_recovers_from_every_pair_of_interruptions_and_lost_responses() {
    let (before, after) = prefixes_of_pairs(Setting::default());
    let continued = ContinuedStates::default();
    let cases = pairs_of_faults(&before, &after, &continued);
    assert!(count(&cases) >= 18_000, "{}", count(&cases));

    run_all(&cases);

    let (count, states) = (count(&cases), continued.count());
    println!("recovered from {count} pairs of faults, continued from {states} states");
}
