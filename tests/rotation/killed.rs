//! The release binary killed before and after every request of a rotation, started again, and the rotation taken up
//! with the same token.
//!
//! A step that is dropped inside a test leaves its process alive. Here nothing is left but what the services know.

use simulator::Fault;

use super::end_to_end::Lambda;
use super::faults::{block_on, calm_rotation, in_threads, world};
use super::*;

/// One request of a rotation at which the process is killed.
#[derive(Clone, Debug)]
struct Case {
    setting: Setting,
    nth: usize,
    request: String,
    fault: Fault,
}

/// Both sides of every request of a rotation.
fn boundaries(setting: Setting) -> Vec<Case> {
    let requests = block_on(calm_rotation(setting));
    let sides = [Fault::StopBefore, Fault::StopAfter];
    let cases = requests.iter().enumerate().flat_map(|(nth, request)| {
        sides.map(|fault| Case {
            setting,
            nth,
            request: request.clone(),
            fault,
        })
    });
    cases.collect()
}

/// The release binary as it is deployed for a setting.
async fn start(world: &World, setting: Setting) -> Lambda {
    let variables = [("OLD_KEY_POLICY", policy_name(setting.policy))];
    Lambda::start(&world.simulator, &variables).await
}

impl Case {
    async fn run(&self) {
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
            matches!(outcome, Outcome::Stopped { .. }),
            "{name}: {outcome:?}"
        );
        // Kills the process that waits for an answer.
        drop(lambda);
        let token = world.simulator.begin_rotation(&world.arn);
        let lambda = start(&world, setting).await;
        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        assert_eq!(outcome, Outcome::Succeeded, "{name}");
        let state = world.simulator.state().secret(&world.arn).clone();
        assert_eq!(state.labels["AWSCURRENT"], token, "{name}: the same token");
        world.assert_rotated(setting, &name);
        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        assert_eq!(outcome, Outcome::Succeeded, "{name}: the next rotation");
        world.assert_rotated(setting, &name);
    }
}

/// Wherever the process dies, the next one takes the rotation up from what Confluent and Secrets Manager know, and no
/// key is lost or left over.
#[test]
fn the_binary_that_ships_is_killed_at_every_request_and_the_rotation_recovers() {
    let settings = [(Kind::Kafka, Mode::Admin), (Kind::Cloud, Mode::Own)];
    let policies = [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation];
    let settings = settings
        .into_iter()
        .flat_map(|(kind, mode)| policies.map(|policy| Setting { kind, mode, policy }));
    let cases: Vec<Case> = settings.flat_map(boundaries).collect();

    in_threads(&cases, |case| block_on(case.run()));

    println!("{} killed processes, each rotation recovered", cases.len());
}
