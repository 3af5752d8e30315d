//! An invocation that is paused and resumed after other invocations have continued its rotation.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

#[derive(Clone, Debug)]
struct Late {
    setting: Setting,
    step: &'static str,
    /// Whether `AWSPENDING` is removed first, so that another rotation starts.
    is_abandoned: bool,
    /// The first runner is the rotation and the next rotation, the second one is the late invocation.
    turns: Turns,
}

impl Late {
    /// Returns the number of the invocation's rotation. An abandoned rotation is the second one, so that the current key has an
    /// ownership tag by which it is found after its label has moved.
    fn nth(&self) -> usize {
        1 + usize::from(self.is_abandoned)
    }

    /// Returns the number of failed attempts.
    async fn run(&self, recovery: Recovery, continued: &ContinuedStates) -> usize {
        let (setting, name) = (self.setting, format!("{recovery:?} {self:?}"));
        let world = world_without_timeouts(setting, self.nth(), steps_before(self.step)).await;
        let token = world.simulator.start_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let failed = AtomicUsize::new(0);
        let rotations = async {
            if self.is_abandoned {
                world.simulator.abandon_rotation(&world.arn);
            }
            for _ in 0..2 {
                let attempts = world.rotate_until_it_succeeds(recovery, &name).await;
                failed.fetch_add(attempts, Relaxed);
            }
        };
        let rotations = Runner::new(&world.simulator, setting, rotations);
        let late = Runner::new(
            &world.simulator,
            setting,
            world.invoke_and_ignore_outcome(event),
        );

        interleave([rotations, late], &self.turns).await;

        if self.is_abandoned {
            // A late PutSecretValue may store a key just before another invocation deletes it. testSecret detects this.
            let mut state = world.simulator.state();
            state
                .violations
                .retain(|violation| !violation.contains("AWSPENDING of"));
        }
        let violations = world.simulator.state().violations.clone();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        // The late invocation may have created a key for each resource, which only the next rotation can find.
        let orphans = world.simulator.state().orphaned_keys(&world.arn).len();
        let created = 1 + setting.further.len();
        assert!(orphans <= created, "{orphans} orphaned keys: {name}");
        if continued.is_new(&world, &setting) {
            world.assert_next_rotation_succeeds(setting, &name).await;
        }
        failed.load(Relaxed)
    }
}

/// Runs all cases with the same token. If an attempt failed, runs the case again with a new token.
fn run_late(cases: &[Late]) {
    let failed = AtomicUsize::new(0);
    let continued = ContinuedStates::default();
    in_threads(cases, |case| {
        if block_on(case.run(Recovery::SameToken, &continued)) > 0 {
            failed.fetch_add(1, Relaxed);
            block_on(case.run(Recovery::NewToken, &continued));
        }
    });
    println!(
        "{} late invocations; in {} cases an attempt failed and a retry succeeded",
        cases.len(),
        failed.into_inner()
    );
}

/// Returns the numbers of the requests of a rotation and the next one before which the late invocation is resumed.
fn resumptions(setting: Setting) -> Vec<usize> {
    block_on(async {
        let world = world(setting).await;
        for _ in 0..2 {
            assert_eq!(world.rotate().await, Outcome::Succeeded);
        }
        pauses(&world, setting)
    })
}

/// Every request at which an invocation of any step can be paused, and requests of two rotations at which it is resumed: every
/// request for the first setting and the steps that create or delete keys, and every third for the others.
fn late_cases(settings: &[Setting], is_abandoned: bool) -> Vec<Late> {
    let mut cases = Vec::new();
    for (setting, step) in settings
        .iter()
        .flat_map(|one| STEPS.map(|step| (*one, step)))
    {
        let changes = matches!(step, "createSecret" | "finishSecret");
        let every = match setting {
            _ if setting == TWO_KEYS => 6,
            _ if changes && setting == SETTINGS[0] => 1,
            _ => 3,
        };
        let nth = 1 + usize::from(is_abandoned);
        let resumptions = resumptions(setting);
        for paused_before in pauses_of(setting, step, nth) {
            for resumed_before in resumptions.iter().copied().step_by(every) {
                cases.push(Late {
                    setting,
                    step,
                    is_abandoned,
                    // The late invocation begins first.
                    turns: vec![0, paused_before, resumed_before],
                });
            }
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
    let mut cases = Vec::new();
    for setting in SETTINGS {
        for step in STEPS {
            for nth in resumptions(setting) {
                cases.push(Late {
                    setting,
                    step,
                    is_abandoned: false,
                    turns: vec![nth, usize::MAX],
                });
            }
        }
    }

    run_late(&cases);
}
