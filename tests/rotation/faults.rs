//! A fault at every request of a rotation, and the recovery from it.
//!
//! A rotation is short, so every fault is tried at every request. Secrets Manager attempts a rotation that failed
//! again with the same token, and with a new one after somebody has taken `AWSPENDING` off; both are tried. What
//! is asserted is the state that is left, not the calls that led there.

use simulator::Fault;

use super::*;

/// How often Secrets Manager tries again. How often it really does is not documented.
const ATTEMPTS: usize = 4;

/// Cases that run side by side. Most of a case's time is spent waiting for an answer that does not come.
const THREADS: usize = 32;

/// How a rotation that was disturbed is taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Secrets Manager attempts the same rotation again.
    SameToken,
    /// Somebody takes `AWSPENDING` off, and another rotation is begun.
    NewToken,
}

/// A world in which every kind may rotate that ever may, and what was read counts as fresh for as long as where it ships.
pub(crate) async fn world(setting: Setting) -> World {
    let mut world = World::new(setting).await;
    world.simulator.state().knobs.global_keys_may_call_iam = true;
    world.function.store_limits.fresh = store::Limits::default().fresh;
    world
}

/// The requests of a rotation in which nothing goes wrong.
pub(crate) async fn calm_rotation(setting: Setting) -> Vec<String> {
    requests_of(world(setting).await).await
}

async fn requests_of(world: World) -> Vec<String> {
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.requests()
}

impl World {
    /// Rotates with what is in the way, then attempts again until it succeeds. Returns how many attempts failed.
    pub(crate) async fn rotate_until_it_succeeds(&self, recovery: Recovery, case: &str) -> usize {
        let mut outcome = self.rotate().await;
        for failed in 0..ATTEMPTS {
            if outcome == Outcome::Succeeded {
                return failed;
            }
            if recovery == Recovery::NewToken {
                self.simulator.abandon(&self.arn);
            }
            outcome = self.rotate().await;
        }
        panic!("{case}: {outcome:?}");
    }

    /// Asserts what is left after a rotation, however it went.
    pub(crate) fn assert_rotated(&self, setting: Setting, case: &str) {
        let current = self.key("AWSCURRENT").expect(case);
        assert_ne!(current, self.first_key, "{case}");
        let mut left = vec![current.clone()];
        if setting.policy == OldKeyPolicy::KeepUntilNextRotation {
            left.extend(self.key("AWSPREVIOUS"));
        }
        self.assert_keys(&left, &case);
        let pending = self.key("AWSPENDING");
        assert!(pending.is_none_or(|pending| pending == current), "{case}");
        assert_eq!(
            self.value("AWSCURRENT")["note"],
            json!({"kept": [1.0, null, "as it is"]}),
            "{case}"
        );
        self.simulator.assert_promises_kept();
    }
}

/// Whether a step takes so long that it reads the labels again before each change.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Usual,
    Slow,
}

impl Pace {
    async fn world(self, setting: Setting) -> World {
        let mut world = world(setting).await;
        if matches!(self, Self::Slow) {
            world.function.store_limits.fresh = Duration::ZERO;
        }
        world
    }
}

/// One way for a rotation to be disturbed.
#[derive(Clone, Debug)]
struct Case {
    setting: Setting,
    pace: Pace,
    /// What happens to which request, counted from 0 over the rotation and what follows it. Of requests that go out
    /// together it is the one that arrives first which counts first. They are sent in the order of the code, over
    /// connections of their own; should two of them ever change places, both are reads, and meet each fault all the same.
    faults: Vec<(usize, Fault)>,
    recovery: Recovery,
}

impl Case {
    /// Says all that it takes to do it again.
    fn name(&self) -> String {
        let Self {
            setting,
            pace,
            faults,
            recovery,
        } = self;
        format!("{faults:?}; {recovery:?}; {pace:?}; {setting:?}")
    }

    async fn run(&self) {
        let name = self.name();
        let world = self.pace.world(self.setting).await;
        for (nth, fault) in &self.faults {
            world.simulator.fail(*nth, *fault);
        }

        world.rotate_until_it_succeeds(self.recovery, &name).await;

        world.assert_rotated(self.setting, &name);
    }
}

/// Every fault at every request of a rotation.
fn single_faults(setting: Setting, pace: Pace) -> Vec<Case> {
    let requests = block_on(async { requests_of(pace.world(setting).await).await }).len();
    let places = (0..requests).flat_map(|nth| Fault::ALL.map(|fault| (nth, fault)));
    places
        .flat_map(|place| {
            [Recovery::SameToken, Recovery::NewToken].map(|recovery| Case {
                setting,
                pace,
                faults: vec![place],
                recovery,
            })
        })
        .collect()
}

/// What ends an invocation, or leaves unknown whether a request was carried out. The other faults are mended within
/// the step, by sending the request again.
const GRAVE: [Fault; 4] = [
    Fault::StopBefore,
    Fault::StopAfter,
    Fault::InternalErrorAfter,
    Fault::ResetAfter,
];

/// Every pair of grave faults, the second anywhere in as many requests as a rotation has: in the same rotation or in the
/// recovery from the first.
fn pairs_of_faults(setting: Setting) -> Vec<Case> {
    let requests = block_on(calm_rotation(setting)).len();
    let mut cases = Vec::new();
    for (first, second) in (0..requests).flat_map(|nth| (1..=requests).map(move |n| (nth, nth + n)))
    {
        for (one, other) in GRAVE
            .iter()
            .flat_map(|one| GRAVE.map(|other| (*one, other)))
        {
            cases.push(Case {
                setting,
                pace: Pace::Usual,
                faults: vec![(first, one), (second, other)],
                recovery: Recovery::SameToken,
            });
        }
    }
    cases
}

/// Runs all cases, and fails with the name of one in which something went wrong.
fn run_all(cases: &[Case]) {
    in_threads(cases, |case| block_on(case.run()));
}

/// Runs something for all cases, many of them side by side.
pub(crate) fn in_threads<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let (mine, run) = (cases.iter().skip(first).step_by(THREADS), &run);
            scope.spawn(move || mine.for_each(run));
        }
    });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// A rotation may be stopped before, during or after any request, in any step, and asked for again with the same
/// token or a new one: it converges, and when it has, no key of ours is left over.
#[test]
fn a_rotation_survives_every_fault_at_every_request() {
    let usual = kinds::possible_settings().map(|setting| (setting, Pace::Usual));
    let cases: Vec<Case> = usual
        .chain([(Setting::default(), Pace::Slow)])
        .flat_map(|(setting, pace)| single_faults(setting, pace))
        .collect();
    assert!(cases.len() >= 10_000, "{}", cases.len());

    run_all(&cases);

    println!("{} rotations recovered from a fault", cases.len());
}

#[test]
fn a_rotation_survives_every_pair_of_grave_faults() {
    let cases = pairs_of_faults(Setting::default());

    run_all(&cases);

    println!("{} rotations recovered from two faults", cases.len());
}
