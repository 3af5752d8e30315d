//! Each step by itself.

use super::*;

#[tokio::test]
async fn a_rotation_replaces_the_key_and_deletes_the_old_one() {
    let world = World::new(Setting::default()).await;

    let outcome = world.rotate().await;

    println!("{:#?}", world.simulator.state().labels());
    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, world.first_key);
    assert_eq!(world.keys(), [current]);
}
