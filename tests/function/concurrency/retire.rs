//! retire concurrently with each step of a rotation, with a rollback, and with itself.

use super::*;

/// Settings with an admin secret and with self-rotation.
const RETIRED: [Setting; 2] = [
    Setting {
        key_type: KeyType::Kafka,
        mode: Mode::Admin,
        policy: OldKeyPolicy::DeleteAfter,
        further: &[],
    },
    Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        policy: OldKeyPolicy::DeleteAfter,
        further: &[],
    },
];

/// More than the default of `OLD_KEY_HOURS`.
const OVERLAP: Duration = Duration::from_hours(25);

/// The number of rotations before retire.
const ROTATIONS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Other {
    /// The rest of the rotation, from this step.
    Rotation(&'static str),
    /// A user moves `AWSCURRENT` back to the version labeled `AWSPREVIOUS`.
    Rollback,
    /// A duplicate of the event.
    Retire,
}

#[derive(Clone, Debug)]
struct Case {
    setting: Setting,
    other: Other,
    /// The first runner is the other invocation.
    turns: Turns,
}

/// Creates a world in which retire would delete the previous key, before `step` of the next rotation.
async fn due(setting: Setting, step: Option<&str>) -> World {
    let done = step.map_or(&[][..], steps_before);
    let world = world_without_timeouts(setting, ROTATIONS + 1, &[]).await;
    world.simulator.pass(OVERLAP);
    for step in done {
        world.step(step).await.expect(step);
    }
    world.requests();
    world
}

fn retire_event(world: &World) -> Value {
    json!({"Step": "retire", "SecretIds": [world.arn]})
}

impl Case {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    /// Runs the case, unless an equivalent order has run. Completes the rotation and the overlap, unless a case with the same other
    /// invocation has done so from the same state.
    async fn run(&self, orders: &Orders, continued: &ContinuedStates) {
        let name = self.name();
        let mut trace = Trace::<2>::new(Shared::Secret, &(self.setting, self.other));
        if !matches!(self.other, Other::Retire) {
            // The start of a rotation, or the rollback.
            trace.changes_secret_at_start(0);
        }
        if orders.can_skip(&trace, &self.turns) {
            return;
        }
        let step = match self.other {
            Other::Rotation(step) => Some(step),
            Other::Rollback | Other::Retire => None,
        };
        let world = due(self.setting, step).await;
        // An execution environment handles one invocation at a time.
        let process = world.restart();
        let retire = process.invoke_and_ignore_outcome(retire_event(&world));
        let retire = Runner::new(&world.simulator, self.setting, retire);
        let other = Runner::new(&world.simulator, self.setting, self.other(&world));

        let mut runners = [other, retire];
        orders
            .interleave(&mut trace, &mut runners, &self.turns, &name)
            .await;

        let violations = world.simulator.state().violations.clone();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        orders.complete(&trace, &world, &name);
        if matches!(self.other, Other::Rollback) {
            // The key that was rolled back to must still work, which the simulator checks. It is rotated next.
            world.simulator.pass(OVERLAP);
        }
        if !continued.is_new(&world, &(self.setting, self.other)) {
            return;
        }
        let failed = world
            .rotate_until_it_succeeds(Recovery::SameToken, &name)
            .await;
        assert!(failed <= 1, "{name}");
        world.simulator.pass(OVERLAP);
        world.invoke(retire_event(&world)).await.expect(&name);
        world.assert_keys(&[world.key("AWSCURRENT").expect(&name)], &name);
    }

    async fn other(&self, world: &World) {
        match self.other {
            Other::Rotation(step) => {
                let nth = steps_before(step).len();
                for step in &STEPS[nth..] {
                    let event = world.simulator.event(&world.arn, &world.token(), step);
                    if world.invoke(event).await.is_err() {
                        return;
                    }
                }
            }
            Other::Rollback => world.roll_back(),
            Other::Retire => world.invoke_and_ignore_outcome(retire_event(world)).await,
        }
    }
}

impl World {
    /// Moves `AWSCURRENT` back to the version labeled `AWSPREVIOUS`, if there is one.
    fn roll_back(&self) {
        if let Some(version) = self.version("AWSPREVIOUS") {
            self.simulator
                .move_label(&self.arn, "AWSCURRENT", Some(&version));
        }
    }
}

/// Returns the number of requests of retire.
fn requests_of_retire(setting: Setting) -> usize {
    block_on(async {
        let world = due(setting, None).await;
        world.invoke(retire_event(&world)).await.unwrap();
        world.requests().len()
    })
}

fn run_all(mut cases: Vec<Case>) {
    assert!(!cases.is_empty());
    shuffle(&mut cases);
    let (orders, continued) = (Orders::default(), ContinuedStates::default());
    in_threads(&cases, |case| block_on(case.run(&orders, &continued)));
    let different = orders.count();
    println!(
        "{} interleavings of retire, {different} different",
        cases.len()
    );
}

/// retire is paused before any of its requests, and resumed before any request of the rotation: before every request for the
/// first setting and the steps that create or delete keys, and before every third for the others.
#[test]
fn retire_and_each_step_of_a_rotation_delete_no_key_in_use() {
    let mut cases = Vec::new();
    for setting in RETIRED {
        let requests = block_on(undisturbed_rotation(setting)).len();
        for step in STEPS {
            let changes = matches!(step, "createSecret" | "finishSecret");
            let is_first = setting.key_type == RETIRED[0].key_type;
            let every = if changes && is_first { 1 } else { 3 };
            for paused_before in 1..=requests_of_retire(setting) {
                for resumed_before in (1..=requests).step_by(every) {
                    cases.push(Case {
                        setting,
                        other: Other::Rotation(step),
                        turns: vec![0, paused_before, resumed_before, usize::MAX],
                    });
                }
            }
        }
    }

    run_all(cases);
}

#[test]
fn a_rollback_at_any_request_of_retire_keeps_a_key_that_works() {
    let mut cases = Vec::new();
    for setting in RETIRED {
        for rolled_back_before in 1..=requests_of_retire(setting) {
            cases.push(Case {
                setting,
                other: Other::Rollback,
                turns: vec![0, rolled_back_before, usize::MAX],
            });
        }
    }

    run_all(cases);
}

#[test]
fn two_runs_of_retire_delete_no_key_in_use() {
    let mut cases = Vec::new();
    for setting in RETIRED {
        let requests = requests_of_retire(setting);
        for (first, second) in (1..=requests).flat_map(|n| (1..=requests).map(move |m| (n, m))) {
            cases.push(Case {
                setting,
                other: Other::Retire,
                turns: vec![first, second, usize::MAX],
            });
        }
    }

    run_all(cases);
}
