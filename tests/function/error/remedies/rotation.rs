//! Messages about the rotation and the function's timeout.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "a secret without rotation",
        arrange: |world| {
            let mut state = world.simulator.state();
            state.secret_mut(&world.arn).rotation_enabled = Some(false);
        },
        error: "RotationNotEnabled",
        message: "rotation is not enabled for SECRET. Enable rotation, unless it was canceled on purpose",
        ..CASE
    },
    Case {
        name: "Lambda's default timeout in createSecret",
        arrange: |world| world.time_limit = Duration::from_secs(3),
        error: "TimeoutTooShort",
        message: "not enough time is left to create a key and store it. Set the function's timeout to 15 minutes",
        ..CASE
    },
    Case {
        name: "Lambda's default timeout in testSecret",
        mode: Mode::Admin,
        arrange: |world| world.time_limit = Duration::from_secs(3),
        step: "testSecret",
        error: "TimeoutTooShort",
        message: "not enough time is left to verify the pending key. Set the function's timeout to 15 minutes",
    },
];

#[tokio::test]
async fn a_step_that_cannot_run_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
