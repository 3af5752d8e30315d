//! Each step: what it requests, what it changes, and what it rejects.
//!
//! A test changes the simulator's state as an operator or another program would, and asserts on the final state. It looks at
//! requests only where the rule is about them.

mod create_secret;
mod finish_secret;
mod healing;
mod initial_key;
mod label_changes;
mod lifecycle;
mod pending_value;
mod quota;
mod rejections;
mod set_secret;
mod step_context;
mod test_secret;

use super::*;

/// The steps that send requests.
const STEPS_WITH_REQUESTS: [&str; 3] = ["createSecret", "testSecret", "finishSecret"];

#[tokio::test]
async fn a_rotation_replaces_the_key_and_deletes_the_previous_one() {
    let world = World::new(Setting::default()).await;

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, world.initial_key);
    world.assert_keys(&[current], &"after a rotation");
}
