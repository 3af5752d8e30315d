//! `setSecret`: does nothing, because creating a key also activates it.

use super::*;

/// A state of the secret before setSecret, by name.
const STATES: [(&str, Arrange); 8] = [
    ("the pending value is stored", |_| {}),
    ("rotation is canceled", |world| {
        world.simulator.cancel_rotation(&world.arn);
    }),
    ("the version is not pending", |world| {
        world.simulator.abandon_rotation(&world.arn);
    }),
    ("the version is current", |world| {
        let version = world.version("AWSPENDING");
        world
            .simulator
            .move_label(&world.arn, "AWSCURRENT", version.as_deref());
    }),
    ("no version is current", |world| {
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.simulator.move_label(&world.arn, "AWSCURRENT", None);
    }),
    ("the pending value has another scope", |world| {
        world.overwrite_pending(|value| value["resourceId"] = json!("lkc-other"));
    }),
    ("the pending version has no value", |world| {
        let token = world.token();
        let mut state = world.simulator.state();
        let versions = &mut state.secret_mut(&world.arn).versions;
        versions.get_mut(&token).expect("a pending version").value = None;
    }),
    ("the pending key was deleted", |world| {
        let pending = world.key("AWSPENDING").expect("a pending key");
        world.simulator.delete_key_manually(&pending);
    }),
];

#[tokio::test]
async fn set_secret_succeeds_and_sends_no_request_in_any_state() {
    for (state, arrange) in STATES {
        let world = World::new(Setting::default()).await;
        world.run_steps(&["createSecret"]).await;
        let event = world
            .simulator
            .event(&world.arn, &world.token(), "setSecret");
        arrange(&world);
        world.requests();

        let outcome = world.invoke(event).await;

        assert!(outcome.is_ok(), "{state}: {outcome:?}");
        assert!(world.requests().is_empty(), "{state}");
    }
}
