//! An invocation that is paused and resumed after other invocations have continued its rotation.
//!
//! The rotation runs once for each pause, and the state before each of its steps is kept. To resume the invocation at a request of a step,
//! it is paused again in a new world, whose state is then replaced by the one before that step: equal requests get equal IDs from the
//! simulator. The rotation runs in another process than the invocation, because an execution environment handles one request at a time.
//!
//! If the resumed invocation only reads and ends soon, it is not resumed again until the rotation has changed something: in the
//! meantime, it would read the same.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use super::*;

/// The number of attempts to pause an invocation: on a busy machine, it may reach its deadline first.
const ATTEMPTS: usize = 5;

/// An invocation that is paused while other invocations continue its rotation.
#[derive(Clone, Debug)]
struct Late {
    setting: Setting,
    step: &'static str,
    /// Whether `AWSPENDING` is removed first, so that another rotation starts.
    is_abandoned: bool,
    /// The number of the request before which it is paused, counted from 1.
    paused_before: usize,
    /// It is resumed before every request of the rotation and the next one, or before every nth.
    resumed_every: usize,
}

/// A state before a step of the rotation or the next one, while the invocation is paused.
struct Before {
    world: World,
    step: &'static str,
    /// The number of rotations that follow this one.
    remaining: usize,
    /// What the step's requests do, of those that can be held.
    actions: Vec<Action>,
}

impl Before {
    /// Returns the number of changes before a request.
    fn changes_before(&self, request: usize) -> usize {
        let before = self.actions.iter().take(request - 1);
        before.filter(|action| action.is_change()).count()
    }
}

/// What followed the resumption of an invocation.
#[derive(Clone, Copy)]
struct Resumed {
    /// Whether the invocation ended soon, and only read after it was resumed.
    is_harmless: bool,
    /// The number of failed attempts, or 0 if another case has continued from the same state.
    failed: usize,
}

impl Late {
    /// Returns the number of the invocation's rotation. An abandoned rotation is the second one, so that the current key has an
    /// ownership tag by which it is found after its label has moved.
    fn nth(&self) -> usize {
        1 + usize::from(self.is_abandoned)
    }

    /// Returns the world in which the invocation starts, and its event.
    async fn start(&self) -> (World, Value) {
        let world = world_without_timeouts(self.setting, self.nth(), steps_before(self.step)).await;
        let token = world.simulator.start_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        (world, event)
    }

    /// Starts the invocation, and pauses it.
    async fn pause<'w>(&self, world: &'w World, event: Value) -> Runner<'w> {
        let invocation = world.invoke_and_ignore_outcome(event);
        let mut late = Runner::new(&world.simulator, self.setting, invocation);
        late.advance_by(self.paused_before).await;
        late
    }

    /// Removes violations that an abandoned rotation causes: a late `PutSecretValue` may store a key just before another invocation
    /// deletes it. testSecret detects this.
    fn accept_violations(&self, world: &World) {
        if self.is_abandoned {
            let mut state = world.simulator.state();
            state
                .violations
                .retain(|violation| !violation.contains("AWSPENDING of"));
        }
    }

    /// Returns the state when the invocation is paused.
    async fn paused(&self) -> World {
        for _ in 0..ATTEMPTS {
            let (world, event) = self.start().await;
            let late = self.pause(&world, event).await;
            if !late.is_done() {
                return world.fork().await;
            }
        }
        panic!("{self:?} completes before it is paused");
    }

    /// Runs a rotation and the next one while the invocation is paused, each step in a new process. Returns the state before each
    /// step.
    ///
    /// Each step has a runtime of its own, whose end closes the services' sockets.
    fn before_each_step(&self, paused: &World) -> Vec<Before> {
        let mut world = block_on(paused.fork());
        if self.is_abandoned {
            world.simulator.abandon_rotation(&world.arn);
        }
        let mut before = Vec::new();
        for remaining in [1, 0] {
            for step in STEPS {
                let after = block_on(async {
                    let after = world.fork().await;
                    after.rotate_one_step(step).await;
                    after
                });
                before.push(Before {
                    world,
                    step,
                    remaining,
                    actions: held_actions(&after, self.setting),
                });
                world = after;
            }
        }
        before
    }

    /// Runs the resumptions, except those that would only read the same again: first with the same token and then, where an attempt
    /// failed, with a new one.
    fn run(&self, continued: &ContinuedStates, counts: &Counts) {
        let paused = block_on(self.paused());
        let before = self.before_each_step(&paused);
        let resumptions = before.iter().flat_map(|before| {
            let resumptions = pauses(&before.actions).into_iter();
            resumptions.map(move |resumed_before| (before, resumed_before))
        });
        let mut harmless = HashSet::new();
        for (before, resumed_before) in resumptions.step_by(self.resumed_every) {
            counts.resumptions.fetch_add(1, Relaxed);
            let changes = before.changes_before(resumed_before);
            let place = (before.remaining, before.step, changes);
            if harmless.contains(&place) {
                continue;
            }
            let run = |recovery| {
                let case = Resumption {
                    late: self,
                    paused: &paused,
                    before,
                    resumed_before,
                    recovery,
                };
                block_on(case.run(continued))
            };
            counts.run.fetch_add(1, Relaxed);
            let resumed = run(Recovery::SameToken);
            if resumed.failed > 0 {
                counts.failed.fetch_add(1, Relaxed);
                run(Recovery::NewToken);
            }
            if resumed.is_harmless {
                harmless.insert(place);
            }
        }
    }
}

impl World {
    /// Runs one step of the rotation in progress, or of a new one.
    async fn rotate_one_step(&self, step: &str) {
        const NEXT: &str = "the next step";
        let invoke = async |event: Value| {
            if event["Step"] != step {
                return Err(NEXT.to_owned());
            }
            self.invoke(event)
                .await
                .map_err(|error| format!("{error:?}"))
        };
        let outcome = self.simulator.rotate_from(&self.arn, step, &invoke).await;
        if let Outcome::Failed { error, .. } = outcome {
            assert_eq!(error, NEXT, "{step}");
        }
    }
}

/// A late invocation that is resumed.
struct Resumption<'l> {
    late: &'l Late,
    /// The state when the invocation was paused.
    paused: &'l World,
    before: &'l Before,
    /// The number of the request of `before.step` before which it is resumed, counted from 1.
    resumed_before: usize,
    recovery: Recovery,
}

impl Resumption<'_> {
    /// Pauses the invocation again, and resumes it.
    async fn run(&self, continued: &ContinuedStates) -> Resumed {
        for _ in 0..ATTEMPTS {
            let (world, event) = self.late.start().await;
            let invocation = self.late.pause(&world, event).await;
            // Compared now, because both change with the time.
            let expected = self.paused.simulator.state().fingerprint();
            let paused = world.simulator.state().fingerprint();
            if !invocation.is_done() && paused == expected {
                return self.resume(&world, invocation, continued).await;
            }
        }
        panic!("{:?}: the state is not reproducible", self.late);
    }

    /// Resumes the invocation in the state before a step.
    async fn resume(
        &self,
        world: &World,
        mut invocation: Runner<'_>,
        continued: &ContinuedStates,
    ) -> Resumed {
        let (late, before, recovery) = (self.late, self.before, self.recovery);
        let (setting, step) = (late.setting, before.step);
        let name = format!(
            "{recovery:?} {late:?}, resumed before request {} of {step}, before {} rotations",
            self.resumed_before, before.remaining
        );
        world.simulator.restore(&before.world.simulator);
        let rotating = world.restart();
        let failed = AtomicUsize::new(0);
        let rotations = async {
            let outcome = rotating.rotate_from(step).await;
            let mut attempts = rotating
                .retry_until_it_succeeds(outcome, recovery, &name)
                .await;
            for _ in 0..before.remaining {
                attempts += rotating.rotate_until_it_succeeds(recovery, &name).await;
            }
            failed.store(attempts, Relaxed);
        };
        let mut rotations = Runner::new(&world.simulator, setting, rotations);

        rotations.advance_by(self.resumed_before).await;
        let is_harmless = !invocation.finish().await && invocation.is_prompt();
        late.accept_violations(world);
        // The process of the rotation began in the state before the step, so it has read the same in every case with this position.
        let began_in = before.world.simulator.state().fingerprint();
        let position = (began_in, step, self.resumed_before, before.remaining);
        if !continued.is_new(world, &(setting, recovery, position)) {
            return Resumed {
                is_harmless,
                failed: 0,
            };
        }
        rotations.finish().await;

        late.accept_violations(world);
        let violations = world.simulator.state().violations.clone();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        // The late invocation may have created a key for each resource, which only the next rotation can find.
        let orphans = world.simulator.state().orphaned_keys(&world.arn).len();
        let created = 1 + setting.further.len();
        assert!(orphans <= created, "{orphans} orphaned keys: {name}");
        if continued.is_new(world, &setting) {
            rotating.assert_next_rotation_succeeds(setting, &name).await;
        }
        Resumed {
            is_harmless,
            failed: failed.load(Relaxed),
        }
    }
}

/// The number of resumptions, of those that ran, and of those after which an attempt failed. One that does not continue does not
/// count as failed.
#[derive(Default)]
struct Counts {
    resumptions: AtomicUsize,
    run: AtomicUsize,
    failed: AtomicUsize,
}

fn run_late(pauses: &[Late]) {
    let (counts, continued) = (Counts::default(), ContinuedStates::default());
    in_threads(pauses, |late| late.run(&continued, &counts));
    println!(
        "{} resumptions of late invocations, {} run; after at least {} an attempt failed and a retry succeeded",
        counts.resumptions.into_inner(),
        counts.run.into_inner(),
        counts.failed.into_inner()
    );
}

/// Every request at which an invocation of any step can be paused. It is resumed at requests of two rotations: at every request for
/// the first setting and the steps that create or delete keys, and at every third for the others.
fn late_cases(settings: &[Setting], is_abandoned: bool) -> Vec<Late> {
    let mut cases = Vec::new();
    for (setting, step) in settings
        .iter()
        .flat_map(|one| STEPS.map(|step| (*one, step)))
    {
        let changes = matches!(step, "createSecret" | "finishSecret");
        let resumed_every = match setting {
            _ if setting == TWO_KEYS => 6,
            _ if changes && setting == SETTINGS[0] => 1,
            _ => 3,
        };
        let nth = 1 + usize::from(is_abandoned);
        for paused_before in pauses_of(setting, step, nth) {
            cases.push(Late {
                setting,
                step,
                is_abandoned,
                paused_before,
                resumed_every,
            });
        }
    }
    cases
}

/// The invocation is resumed at any request of its own rotation, whose steps were invoked again in the meantime, or of the next.
#[test]
fn a_late_invocation_deletes_no_key_in_use_and_leaves_no_orphan() {
    run_late(&late_cases(&SETTINGS, false));
}

/// If the invocation still stores or promotes a key, its resource accepts that key.
#[test]
fn a_late_invocation_of_an_abandoned_rotation_deletes_no_key_in_use_and_leaves_no_orphan() {
    run_late(&late_cases(&SETTINGS, true));
}

/// A late invocation of the same rotation and of an abandoned one.
#[test]
fn a_late_invocation_with_two_keys_stores_and_promotes_no_half_of_a_pair() {
    run_late(&late_cases(&[TWO_KEYS], false));
    run_late(&late_cases(&[TWO_KEYS], true));
}

/// The duplicate starts at any request of two rotations and ends before the next one.
#[test]
fn a_late_duplicate_of_a_step_deletes_no_key_in_use_and_leaves_no_orphan() {
    let steps = SETTINGS
        .into_iter()
        .flat_map(|setting| STEPS.map(|step| (setting, step)));
    let cases = steps.map(|(setting, step)| Late {
        setting,
        step,
        is_abandoned: false,
        paused_before: 0,
        resumed_every: 1,
    });
    let cases: Vec<Late> = cases.collect();

    run_late(&cases);
}

/// The request of the rotation that is held at the same time only reads, so it must not be taken for that of the invocation.
#[tokio::test]
async fn a_resumed_request_that_stores_a_key_counts_as_a_change() {
    let undisturbed = World::new(Setting::default()).await;
    undisturbed.step("createSecret").await.unwrap();
    let mut requests = undisturbed.requests().into_iter();
    let before_store = requests.position(|request| request == "PutSecretValue");
    let late = Late {
        setting: Setting::default(),
        step: "createSecret",
        is_abandoned: false,
        paused_before: 1 + before_store.unwrap(),
        resumed_every: 1,
    };
    let (world, event) = late.start().await;
    let mut invocation = late.pause(&world, event).await;
    assert_eq!(invocation.next, Some(Action::ChangeSecret));
    let process = world.restart();
    let rotation = async {
        process.rotate().await;
    };
    let mut rotation = Runner::new(&world.simulator, late.setting, rotation);
    rotation.advance_by(1).await;

    let has_changes = invocation.finish().await;

    assert_eq!(rotation.next, Some(Action::ReadSecret));
    assert!(has_changes);
    rotation.finish().await;
}
