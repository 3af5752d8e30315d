//! Every fault at every request of a rotation, and the recovery from it.
//!
//! Secrets Manager retries a failed rotation with the same token, or with a new one if `AWSPENDING` was removed. Both are
//! tested. The tests assert on the final state, not on the requests.

use simulator::{Fault, Service};

use super::*;

/// The number of retries of a rotation. AWS does not document how often Secrets Manager retries.
const RETRIES: usize = 4;

/// The number of concurrent cases. A case mostly waits for responses that do not arrive.
const THREADS: usize = 32;

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

/// The same world, whose keys are verified at two brokers.
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
        let mut outcome = self.rotate().await;
        for failed in 0..RETRIES {
            if outcome == Outcome::Succeeded {
                return failed;
            }
            if recovery == Recovery::NewToken {
                self.simulator.abandon_rotation(&self.arn);
            }
            outcome = self.rotate().await;
        }
        panic!("{case}: {outcome:?}");
    }

    /// Asserts the final state of a complete rotation: no orphaned key exists, and the other fields are unchanged.
    pub(crate) fn assert_rotated(&self, setting: Setting, case: &str) {
        let current = self.key("AWSCURRENT").expect(case);
        assert_ne!(current, self.initial_key, "{case}");
        let mut kept = vec![current.clone()];
        if setting.policy != OldKeyPolicy::Delete {
            kept.extend(self.key("AWSPREVIOUS"));
        }
        self.assert_keys(&kept, &case);
        let pending = self.key("AWSPENDING");
        assert!(pending.is_none_or(|pending| pending == current), "{case}");
        assert_eq!(
            self.value("AWSCURRENT")["note"],
            json!({"kept": [1.0, null, "as it is"]}),
            "{case}"
        );
        self.simulator.assert_guarantees();
    }
}

/// A rotation with faults.
#[derive(Clone, Debug)]
struct Case {
    setting: Setting,
    has_brokers: bool,
    /// The faults and the index of their requests, counted from 0 over the rotation and its retries.
    faults: Vec<(usize, Fault)>,
    recovery: Recovery,
}

impl Case {
    /// Returns everything that is needed to repeat the case.
    fn name(&self) -> String {
        let Self {
            setting,
            has_brokers,
            faults,
            recovery,
        } = self;
        format!("{faults:?}; {recovery:?}; {setting:?}; brokers: {has_brokers}")
    }

    async fn run(&self) {
        let name = self.name();
        let world = if self.has_brokers {
            world_with_brokers(self.setting).await
        } else {
            world(self.setting).await
        };
        for (nth, fault) in &self.faults {
            world.simulator.fail(*nth, *fault);
        }

        world.rotate_until_it_succeeds(self.recovery, &name).await;

        world.assert_rotated(self.setting, &name);
    }
}

/// Every fault at every request of a rotation.
fn single_faults(setting: Setting) -> Vec<Case> {
    let requests = block_on(undisturbed_rotation(setting)).len();
    let faults = (0..requests).flat_map(|nth| Fault::ALL.map(|fault| (nth, fault)));
    faults
        .flat_map(|fault| {
            [Recovery::SameToken, Recovery::NewToken].map(|recovery| Case {
                setting,
                has_brokers: false,
                faults: vec![fault],
                recovery,
            })
        })
        .collect()
}

/// The interruptions, and the faults of a request that took effect. `StallAfter` has the same result but takes longer.
const INTERRUPTIONS_AND_LOST_RESPONSES: [Fault; 4] = [
    Fault::InterruptBefore,
    Fault::InterruptAfter,
    Fault::InternalErrorAfter,
    Fault::ResetAfter,
];

/// Every pair of [`INTERRUPTIONS_AND_LOST_RESPONSES`]. The second fault is in the same rotation or in the recovery from the
/// first.
fn pairs_of_faults(setting: Setting) -> Vec<Case> {
    let requests = block_on(undisturbed_rotation(setting)).len();
    let mut cases = Vec::new();
    for (first, second) in (0..requests).flat_map(|nth| (1..=requests).map(move |n| (nth, nth + n)))
    {
        for (one, other) in INTERRUPTIONS_AND_LOST_RESPONSES
            .iter()
            .flat_map(|one| INTERRUPTIONS_AND_LOST_RESPONSES.map(|other| (*one, other)))
        {
            cases.push(Case {
                setting,
                has_brokers: false,
                faults: vec![(first, one), (second, other)],
                recovery: Recovery::SameToken,
            });
        }
    }
    cases
}

/// Runs all cases. Fails with the name of a case.
fn run_all(cases: &[Case]) {
    in_threads(cases, |case| block_on(case.run()));
}

/// Calls `run` for all cases, in several threads.
pub(crate) fn in_threads<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let (cases, run) = (cases.iter().skip(first).step_by(THREADS), &run);
            scope.spawn(move || cases.for_each(run));
        }
    });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// A rotation can be interrupted before, during or after any request. It succeeds when it is resumed, with the same token or a
/// new one, and no orphaned key remains.
#[test]
fn a_rotation_recovers_from_every_fault_at_every_request() {
    let cases: Vec<Case> = key_types::possible_settings()
        .flat_map(single_faults)
        .collect();
    assert!(cases.len() >= 10_000, "{}", cases.len());

    run_all(&cases);

    println!("{} rotations recovered from a fault", cases.len());
}

/// Faults of the other requests are in the test above.
#[test]
fn a_rotation_recovers_from_every_fault_at_every_request_to_a_broker() {
    let setting = Setting::default();
    let requests = block_on(async {
        let world = world_with_brokers(setting).await;
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
        [Recovery::SameToken, Recovery::NewToken].map(|recovery| Case {
            setting,
            has_brokers: true,
            faults: vec![fault],
            recovery,
        })
    });

    run_all(&cases.collect::<Vec<_>>());
}

#[test]
fn a_rotation_recovers_from_every_pair_of_interruptions_and_lost_responses() {
    let cases = pairs_of_faults(Setting::default());

    run_all(&cases);

    println!("{} rotations recovered from two faults", cases.len());
}
