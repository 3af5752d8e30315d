//! An invocation that goes on when others have taken its rotation further.

use super::*;

#[derive(Clone, Debug)]
struct Late {
    setting: Setting,
    step: &'static str,
    /// Whether somebody takes `AWSPENDING` off first, so that what goes on is another rotation.
    is_abandoned: bool,
    /// The first is the rotation and the one after it, the second the invocation.
    turns: Turns,
}

impl Late {
    /// Which rotation of the secret the invocation belongs to. Of one that is abandoned it is the second, so that
    /// the current key bears a mark and is found when no label names it any more.
    fn nth(&self) -> usize {
        1 + usize::from(self.is_abandoned)
    }

    /// Returns how many attempts of Secrets Manager failed.
    async fn run(&self, recovery: Recovery) -> usize {
        let (setting, name) = (self.setting, format!("{recovery:?} {self:?}"));
        let world = patient_world(setting, self.nth(), before(self.step)).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let failed = AtomicUsize::new(0);
        let rotations = async {
            if self.is_abandoned {
                world.simulator.abandon(&world.arn);
            }
            for _ in 0..2 {
                let attempts = world.rotate_until_it_succeeds(recovery, &name).await;
                failed.fetch_add(attempts, Relaxed);
            }
        };
        let rotations = Runner::new(&world.simulator, rotations);
        let late = Runner::new(&world.simulator, world.duplicate(event));

        interleave([rotations, late], &self.turns).await;

        if self.is_abandoned {
            // A put may come just before the key is deleted which it stages. testSecret finds that out.
            let mut state = world.simulator.state();
            state
                .violations
                .retain(|broken| !broken.contains("AWSPENDING of"));
        }
        let violations = world.simulator.state().violations.clone();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        // It may have made a key so late that only the next rotation can find it.
        let left_over = world.simulator.state().leftover_keys(&world.arn).len();
        assert!(left_over <= 1, "{left_over} keys are left over: {name}");
        world.assert_rotates_calmly(setting, &name).await;
        failed.load(Relaxed)
    }
}

/// Runs all, and those in which an attempt failed once more, with a new token instead of the same.
fn run_late(cases: &[Late]) {
    let failed = AtomicUsize::new(0);
    in_threads(cases, |case| {
        if block_on(case.run(Recovery::SameToken)) > 0 {
            failed.fetch_add(1, Relaxed);
            block_on(case.run(Recovery::NewToken));
        }
    });
    println!(
        "{} late invocations; in {} of the cases an attempt failed and was made good",
        cases.len(),
        failed.into_inner()
    );
}

/// How many requests a rotation and the next one make.
fn two_rotations(setting: Setting) -> usize {
    2 * block_on(calm_rotation(setting)).len()
}

/// Every place to stop an invocation of any step, and places all over two rotations to let it go on at: for the first
/// setting and the steps that change something it is every request, for the others every third.
fn late_cases(is_abandoned: bool) -> Vec<Late> {
    let mut cases = Vec::new();
    for (setting, step) in SETTINGS
        .iter()
        .flat_map(|one| STEPS.map(|step| (*one, step)))
    {
        let changes = matches!(step, "createSecret" | "finishSecret");
        let every = if changes && setting.kind == SETTINGS[0].kind {
            1
        } else {
            3
        };
        let nth = 1 + usize::from(is_abandoned);
        for stopped_before in 1..=requests_of(setting, step, nth) {
            for goes_on_before in (1..=two_rotations(setting)).step_by(every) {
                cases.push(Late {
                    setting,
                    step,
                    is_abandoned,
                    // The invocation begins first.
                    turns: vec![0, stopped_before, goes_on_before],
                });
            }
        }
    }
    cases
}

/// An invocation that was stopped before any of its requests goes on at any request of its own rotation, whose steps
/// have all been repeated meanwhile, or of the next.
#[test]
fn an_invocation_that_goes_on_late_takes_no_key_away_and_leaves_none() {
    run_late(&late_cases(false));
}

/// The same, of a rotation that was abandoned meanwhile: what it still stores or publishes opens its resource.
#[test]
fn an_invocation_that_goes_on_after_its_rotation_was_abandoned_takes_no_key_away_and_leaves_none() {
    run_late(&late_cases(true));
}

/// A duplicate that begins late, and runs to its end before the rotation's next request.
#[test]
fn a_late_duplicate_of_any_step_at_any_request_takes_no_key_away_and_leaves_none() {
    let mut cases = Vec::new();
    for setting in SETTINGS {
        for step in STEPS {
            for nth in 1..=two_rotations(setting) {
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
