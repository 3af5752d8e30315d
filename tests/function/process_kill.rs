//! The program, killed before and after every request of a rotation and started again. The rotation is resumed with the
//! same token.
//!
//! The other tests drop an interrupted step instead of killing the program.

use simulator::Fault;

use super::*;
use crate::end_to_end::Lambda;
use crate::faults::{ContinuedStates, block_on, in_threads, undisturbed_rotation, world};
use crate::several_keys::TWO_KEYS;

/// One request of a rotation at which the process is killed.
#[derive(Clone, Debug)]
struct Case {
    setting: Setting,
    nth: usize,
    request: String,
    fault: Fault,
}

/// Returns a case before and a case after every request of a rotation.
fn interruptions(setting: Setting) -> Vec<Case> {
    let requests = block_on(undisturbed_rotation(setting));
    let faults = [Fault::InterruptBefore, Fault::InterruptAfter];
    let cases = requests.iter().enumerate().flat_map(|(nth, request)| {
        faults.map(|fault| Case {
            setting,
            nth,
            request: request.clone(),
            fault,
        })
    });
    cases.collect()
}

/// Starts the program with the configuration of `setting`.
async fn start(world: &World, setting: Setting) -> Lambda {
    let pool = world.identity_pool();
    let variables = [
        ("OLD_KEY_POLICY", policy_setting(setting.policy)),
        ("IDENTITY_POOL_ID", pool.as_str()),
    ];
    Lambda::start(&world.simulator, &variables).await
}

impl Case {
    async fn run(&self, continued: &ContinuedStates) {
        let Self {
            setting,
            nth,
            request,
            fault,
        } = self;
        let name = format!("{fault:?} at request {nth}, {request}; {setting:?}");
        let setting = *setting;
        let world = world(setting).await;
        world.simulator.fail(*nth, *fault);
        let lambda = start(&world, setting).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;

        assert!(
            matches!(outcome, Outcome::Interrupted { .. }),
            "{name}: {outcome:?}"
        );
        // Kills the process, which waits for a response.
        drop(lambda);
        let token = world.simulator.start_rotation(&world.arn);
        let lambda = start(&world, setting).await;
        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        assert_eq!(outcome, Outcome::Succeeded, "{name}");
        let state = world.simulator.state().secret(&world.arn).clone();
        assert_eq!(state.labels["AWSCURRENT"], token, "{name}: the same token");
        world.assert_rotated(setting, &name);
        // Each process has completed the rotation from its first step.
        if !continued.is_new(&world, &setting) {
            return;
        }
        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        assert_eq!(outcome, Outcome::Succeeded, "{name}: the next rotation");
        world.assert_rotated(setting, &name);
    }
}

#[test]
fn a_new_process_resumes_a_rotation_whose_process_was_killed_at_any_request() {
    let settings = [
        (KeyType::Kafka, Mode::Admin),
        (KeyType::Cloud, Mode::SelfRotation),
        (KeyType::Kafka, Mode::Keyless),
    ];
    let policies = [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation];
    let settings = settings.into_iter().flat_map(|(key_type, mode)| {
        policies.map(|policy| Setting {
            key_type,
            mode,
            policy,
            further: &[],
        })
    });
    let settings = settings.chain([TWO_KEYS]);
    let cases: Vec<Case> = settings.flat_map(interruptions).collect();

    let continued = ContinuedStates::default();
    in_threads(&cases, |case| block_on(case.run(&continued)));

    println!(
        "{} rotations resumed after their process was killed",
        cases.len()
    );
}
