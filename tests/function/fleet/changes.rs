//! Changes during a run of retire, and secrets that depend on each other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::retire::{add_rotated_secrets, due, has_previous_key};
use super::*;

#[tokio::test]
async fn a_slow_secret_does_not_block_the_others() {
    let mut world = World::new(DELETE_AFTER).await;
    let arns = add_rotated_secrets(&world, 24).await;
    world.simulator.pass(OVERLAP);
    world.function.sdk_limits.attempt = Duration::from_mins(1);
    let is_first = AtomicBool::new(true);
    let is_describe = is_operation("DescribeSecret");
    let _hold = world
        .simulator
        .hold_requests(move |request| is_describe(request) && is_first.swap(false, Relaxed));

    // The first secret of the list takes all of the time.
    let outcome = world
        .handle(json!({"Step": "retire"}), Duration::from_secs(9))
        .await;

    let kept = arns
        .iter()
        .filter(|arn| has_previous_key(&world, arn))
        .count();
    assert!(kept <= 1, "{kept} are kept: {outcome:?}");
}

/// A replica is not in sync for a moment after the function's own removal of the label.
#[tokio::test]
async fn a_replica_that_receives_the_removal_of_the_label_does_not_delay_the_deletion() {
    let world = due(DELETE_AFTER).await;
    world
        .simulator
        .add_replica(&world.arn, "us-west-2", "InSync");
    let set = |status: &str| {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        status.clone_into(&mut secret.replicas[0].status);
    };
    let updated = Arc::new(AtomicBool::new(false));
    let is_update = is_operation("UpdateSecretVersionStage");
    let update = {
        let updated = Arc::clone(&updated);
        world.simulator.hold_responses(move |request| {
            let matches = is_update(request);
            if matches {
                updated.store(true, Relaxed);
            }
            matches
        })
    };
    let is_describe = is_operation("DescribeSecret");
    let is_first = AtomicBool::new(true);
    let describe = world.simulator.hold_responses(move |request| {
        is_describe(request) && updated.load(Relaxed) && is_first.swap(false, Relaxed)
    });
    let changing = async {
        update.arrived(1).await;
        set("InProgress");
        update.release();
        describe.arrived(1).await;
        set("InSync");
        describe.release();
    };

    let (outcome, ()) = tokio::join!(world.retire(), changing);

    outcome.unwrap();
    assert!(
        !world.all_keys().contains(&world.initial_key),
        "{:?}",
        world.key("AWSPREVIOUS")
    );
}

/// A value that a user stores between two requests of retire is no error.
#[tokio::test]
async fn a_value_that_is_stored_during_the_run_is_no_error() {
    let world = due(DELETE_AFTER).await;
    let is_read = is_operation("GetSecretValue");
    let is_first = AtomicBool::new(true);
    let hold = world
        .simulator
        .hold_requests(move |request| is_read(request) && is_first.swap(false, Relaxed));
    let changing = async {
        hold.arrived(1).await;
        world.change_value(|value| value["note"] = json!("edited"));
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.retire(), changing);

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// The list may be five minutes old.
#[tokio::test]
async fn a_secret_that_is_scheduled_for_deletion_does_not_fail_the_run() {
    let world = due(DELETE_AFTER).await;
    world.simulator.freeze_list();
    {
        let mut state = world.simulator.state();
        state.secret_mut(&world.arn).attributes.deleted = Some(1.0);
    }

    let (outcome, lines) = telemetry::logs::logged(world.invoke(json!({"Step": "retire"}))).await;

    assert!(outcome.is_ok(), "{outcome:?} {lines:#?}");
}

/// A rotation test with RotateImmediately=false is in progress.
#[tokio::test]
async fn a_rotation_test_in_progress_keeps_the_previous_key() {
    for starts_first in [true, false] {
        let world = due(DELETE_AFTER).await;
        let keys = world.all_keys();
        if starts_first {
            world.simulator.start_configuration_test(&world.arn);
            world.simulator.pass(OVERLAP);
            world.retire().await.unwrap();
        } else {
            let is_update = is_operation("UpdateSecretVersionStage");
            let hold = world.simulator.hold_responses(is_update);
            let changing = async {
                hold.arrived(1).await;
                world.simulator.start_configuration_test(&world.arn);
                hold.release();
            };
            tokio::join!(world.retire(), changing).0.unwrap();
        }

        assert_eq!(world.all_keys(), keys, "{starts_first}");
    }
}

/// A rollback and a roll forward within the overlap count from the last change.
#[tokio::test]
async fn a_rollback_and_a_roll_forward_start_the_overlap_again() {
    let world = due(DELETE_AFTER).await;
    let keys = world.all_keys();
    for _ in 0..2 {
        let previous = world.version("AWSPREVIOUS");
        world
            .simulator
            .move_label(&world.arn, "AWSCURRENT", previous.as_deref());
        world.simulator.pass(Duration::from_hours(23));
        world.retire().await.unwrap();
        assert_eq!(world.all_keys(), keys);
    }
    world.simulator.pass(Duration::from_hours(2));

    world.retire().await.unwrap();

    world.assert_keys(
        &[world.key("AWSCURRENT").unwrap()],
        &"after the second overlap",
    );
}

/// An admin secret that the function rotates too, and a secret that names it, are both due.
#[tokio::test]
async fn an_admin_secret_in_rotation_and_a_secret_that_names_it_are_processed_in_one_run() {
    let world = World::new(DELETE_AFTER).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"]
        .as_str()
        .unwrap()
        .to_owned();
    {
        let value: Value = {
            let state = world.simulator.state();
            serde_json::from_str(state.secret(&admin).value("AWSCURRENT").unwrap()).unwrap()
        };
        let mut value = value;
        value["serviceAccountId"] = json!(ADMIN);
        world.simulator.store_manually(&admin, &value.to_string());
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&admin);
        secret.rotation_enabled = Some(true);
        secret.attributes.rotation_lambda_arn = Some(FUNCTION_ARN.to_owned());
    }
    let invoke = async |event| {
        world
            .invoke(event)
            .await
            .map_err(|error| format!("{error:?}"))
    };
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(
        world.simulator.rotate(&admin, &invoke).await,
        Outcome::Succeeded
    );
    assert_eq!(
        world.simulator.rotate(&admin, &invoke).await,
        Outcome::Succeeded
    );
    world.simulator.pass(OVERLAP);

    let report = json!(
        world
            .handle(json!({"Step": "retire"}), AMPLE)
            .await
            .unwrap()
    );

    assert_eq!(report["previousKeysDeleted"], 2, "{report}");
    world.simulator.assert_guarantees();
}
