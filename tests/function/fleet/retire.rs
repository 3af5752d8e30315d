//! `retire`: the scheduled deletion of previous keys under the policy `delete-after`.

use super::*;

/// A condition under which retire keeps the previous key.
struct Kept {
    name: &'static str,
    /// The condition, after one rotation.
    arrange: fn(&mut World),
    /// Part of a log message, or the name of the error of the secret.
    reason: &'static str,
}

/// A secret after one rotation, whose previous key is due.
pub(super) async fn due(setting: Setting) -> World {
    let world = World::new(setting).await;
    world.simulator.state().controls.global_keys_may_call_iam = true;
    assert_eq!(world.rotate().await, Outcome::Succeeded, "{setting:?}");
    world.simulator.pass(OVERLAP);
    world.requests();
    world
}

fn current_created(secret: &mut Secret) -> &mut Option<f64> {
    let version = &secret.labels["AWSCURRENT"];
    &mut secret.versions.get_mut(version).unwrap().created
}

const KEPT: &[Kept] = &[
    Kept {
        name: "rotation was canceled",
        arrange: |world| world.simulator.cancel_rotation(&world.arn),
        reason: "rotation is not enabled",
    },
    Kept {
        name: "a rotation is in progress",
        arrange: |world| {
            world.simulator.start_rotation(&world.arn);
            world.simulator.pass(OVERLAP);
        },
        reason: "a rotation is in progress",
    },
    Kept {
        name: "the secret changed an hour ago",
        arrange: |world| set_dates(world, Some(HOUR), &[CHANGED]),
        reason: "it is not due",
    },
    Kept {
        name: "the rotation ended an hour ago",
        arrange: |world| set_dates(world, Some(HOUR), &[ROTATED]),
        reason: "it is not due",
    },
    Kept {
        name: "the current version was created an hour ago",
        arrange: |world| set_dates(world, Some(HOUR), &[current_created]),
        reason: "it is not due",
    },
    Kept {
        name: "LastChangedDate is absent",
        arrange: |world| set_dates(world, None, &[CHANGED]),
        reason: "it is not due",
    },
    Kept {
        name: "LastRotatedDate is absent",
        arrange: |world| set_dates(world, None, &[ROTATED]),
        reason: "it is not due",
    },
    Kept {
        name: "CreatedDate is absent",
        arrange: |world| set_dates(world, None, &[current_created]),
        reason: "it is not due",
    },
    Kept {
        name: "the dates are in the future",
        arrange: |world| set_dates(world, Some(-100.0 * HOUR), &[CHANGED, ROTATED]),
        reason: "it is not due",
    },
    Kept {
        name: "OLD_KEY_HOURS is longer",
        arrange: |world| world.set_variable("OLD_KEY_HOURS", "48"),
        reason: "it is not due",
    },
    Kept {
        name: "the policy of the function is delete",
        arrange: |world| world.set_variable("OLD_KEY_POLICY", "delete"),
        reason: "the policy is not delete-after",
    },
    Kept {
        name: "a resource tag has another policy",
        arrange: |world| {
            world.set_tag(
                "confluent-key-rotation:old-key-policy",
                "keep-until-next-rotation",
            );
        },
        reason: "the policy is not delete-after",
    },
    Kept {
        name: "a resource tag has more hours",
        arrange: |world| world.set_tag("confluent-key-rotation:old-key-hours", "25"),
        reason: "it is not due",
    },
    Kept {
        name: "a resource tag is invalid",
        arrange: |world| world.set_tag("confluent-key-rotation:old-key-hours", "a day"),
        reason: "InvalidPolicyTag",
    },
    Kept {
        name: "the secret names another function",
        arrange: |world| {
            let mut state = world.simulator.state();
            let attributes = &mut state.secret_mut(&world.arn).attributes;
            attributes.rotation_lambda_arn = Some(format!("{FUNCTION_ARN}-other"));
        },
        reason: "AnotherRotationFunction",
    },
    Kept {
        name: "the secret is a replica",
        arrange: |world| {
            let mut state = world.simulator.state();
            let secret = state.secret_mut(&world.arn);
            secret.primary_region = Some("eu-central-1".to_owned());
        },
        reason: "ReplicaSecret",
    },
    Kept {
        name: "a replica is not in sync",
        arrange: |world| {
            world
                .simulator
                .add_replica(&world.arn, "us-west-2", "InProgress");
        },
        reason: "the replica us-west-2 is not in sync",
    },
    Kept {
        name: "the current key was deleted",
        arrange: |world| {
            let current = world.key("AWSCURRENT").unwrap();
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.delete_key_manually(&current);
        },
        reason: "CurrentKeyNotOfOwner",
    },
    Kept {
        name: "the current value has a wrong API secret",
        arrange: store_wrong_secret,
        reason: "CurrentKeyNotAccepted",
    },
    Kept {
        name: "the current value has a wrong API secret, and CURRENT_KEY_CHECK is off",
        arrange: |world| {
            store_wrong_secret(world);
            world.set_variable("CURRENT_KEY_CHECK", "off");
        },
        reason: "CurrentKeyNotAccepted",
    },
    Kept {
        name: "the endpoint is unreachable",
        arrange: |world| world.set_advertised_url(&world.simulator.unreachable_url()),
        reason: "EndpointUnreachable",
    },
    Kept {
        name: "the endpoint is unreachable, which best-effort allows",
        arrange: |world| {
            world.set_advertised_url(&world.simulator.unreachable_url());
            world.set_variable("KEY_VERIFICATION", "best-effort");
        },
        reason: "the endpoint of the current key is unreachable",
    },
    Kept {
        name: "a user's label is on the previous version",
        arrange: |world| {
            let previous = world.version("AWSPREVIOUS");
            world
                .simulator
                .move_label(&world.arn, "BLUE", previous.as_deref());
            world.simulator.pass(OVERLAP);
        },
        reason: "a version with a staging label contains it",
    },
    Kept {
        name: "the current version cannot be read",
        arrange: |world| world.simulator.deny_decryption(&world.arn, "AWSCURRENT"),
        reason: "SecretsManagerRejected",
    },
    Kept {
        name: "the previous version cannot be read",
        arrange: |world| world.simulator.deny_decryption(&world.arn, "AWSPREVIOUS"),
        reason: "kept all keys of the secret",
    },
    Kept {
        name: "the previous key was created after the current one",
        arrange: |world| {
            let previous = world.key("AWSPREVIOUS").unwrap();
            world
                .simulator
                .set_created_at(&previous, Some("2020-01-02T00:00:00Z"));
            let current = world.key("AWSCURRENT").unwrap();
            world
                .simulator
                .set_created_at(&current, Some("2020-01-01T00:00:00Z"));
        },
        reason: "it is not known to be older than the current key",
    },
];

/// Stores the current value again with a wrong API secret, long ago.
fn store_wrong_secret(world: &mut World) {
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    let current = world.value("AWSCURRENT");
    let mut wrong = current["apiSecret"].as_str().unwrap().to_owned();
    wrong.replace_range(..4, "aaaa");
    let previous = world.version("AWSPREVIOUS");
    world.change_value(|value| value["apiSecret"] = json!(wrong));
    world
        .simulator
        .move_label(&world.arn, "AWSPREVIOUS", previous.as_deref());
    world.simulator.pass(OVERLAP);
}

#[tokio::test]
async fn the_previous_key_is_deleted_once_it_is_due() {
    let world = World::new(DELETE_AFTER).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    let both = [current.clone(), world.initial_key.clone()];
    world.retire().await.unwrap();
    world.assert_keys(&both, &"not due");
    world.simulator.pass(Duration::from_mins(24 * 60 - 1));
    world.retire().await.unwrap();
    world.assert_keys(&both, &"not due yet");

    world.simulator.pass(OVERLAP);
    world.retire().await.unwrap();

    world.assert_keys(&[current], &"due");
    assert_eq!(world.key("AWSPREVIOUS"), None);
}

#[tokio::test]
async fn a_previous_key_of_every_type_is_deleted() {
    for setting in faults::settings() {
        let world = due(setting).await;

        world.retire().await.unwrap();

        world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &setting);
    }
}

#[tokio::test]
async fn the_previous_key_is_kept_under_each_condition() {
    for case in KEPT {
        let mut world = due(DELETE_AFTER).await;
        (case.arrange)(&mut world);
        let keys = world.all_keys();

        let (outcome, lines) = telemetry::logs::logged(world.retire()).await;

        assert_eq!(world.all_keys(), keys, "{}", case.name);
        let is_error = case.reason.starts_with(char::is_uppercase);
        let names_reason = |line: &Value| {
            let fields = [&line["message"], &line["reason"], &line["error_type"]];
            fields.iter().any(|field| {
                field
                    .as_str()
                    .is_some_and(|text| text.contains(case.reason))
            }) && line["secret_id"] == json!(world.arn)
        };
        assert!(lines.iter().any(names_reason), "{}: {lines:#?}", case.name);
        let error = outcome.err().map(|error| error.error_type);
        assert_eq!(
            error.as_deref(),
            is_error.then_some("RetireFailed"),
            "{}",
            case.name
        );
    }
}

#[tokio::test]
async fn without_a_data_plane_the_current_key_must_be_listed_and_have_its_minimum_age() {
    for is_deleted in [true, false] {
        let mut world = due(DELETE_AFTER).await;
        world.set_variable("PROPAGATION_WAIT_SECONDS", "600");
        if !is_deleted {
            let current = world.key("AWSCURRENT").unwrap();
            let created_at = simulator::timestamp(0);
            world.simulator.set_created_at(&current, Some(&created_at));
        }
        world.function.config.key_verification = KeyVerification::ControlPlane;

        world.retire().await.unwrap();

        assert_eq!(!world.all_keys().contains(&world.initial_key), is_deleted);
        assert_eq!(world.count(is_probe), 0);
    }
}

#[tokio::test]
async fn a_rollback_keeps_the_younger_key() {
    let world = due(DELETE_AFTER).await;
    let keys = world.all_keys();
    let previous = world.version("AWSPREVIOUS");
    world
        .simulator
        .move_label(&world.arn, "AWSCURRENT", previous.as_deref());
    world.simulator.pass(OVERLAP);

    world.retire().await.unwrap();

    assert_eq!(world.all_keys(), keys);
    assert!(world.key("AWSPREVIOUS").is_some());
}

/// A value that a user stores moves `AWSPREVIOUS` to a version with the same key.
#[tokio::test]
async fn the_previous_key_is_deleted_although_its_label_was_moved() {
    for moves in [1, 3] {
        let world = due(DELETE_AFTER).await;
        for note in 0..moves {
            world.change_value(|value| value["note"] = json!(note));
        }
        world.retire().await.unwrap();
        assert!(world.all_keys().contains(&world.initial_key), "not due");
        world.simulator.pass(OVERLAP);

        world.retire().await.unwrap();

        world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &moves);
    }
}

#[tokio::test]
async fn the_next_rotation_deletes_a_previous_key_that_retire_did_not_delete() {
    let world = due(DELETE_AFTER).await;
    let second = world.key("AWSCURRENT").unwrap();

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    world.assert_keys(&[world.key("AWSCURRENT").unwrap(), second], &"the overlap");
}

#[tokio::test]
async fn a_secret_with_nothing_to_delete_is_not_probed() {
    let world = due(DELETE_AFTER).await;
    world.retire().await.unwrap();
    world.simulator.pass(OVERLAP);
    world.requests();

    world.retire().await.unwrap();

    assert_eq!(world.count(is_probe), 0);
    assert_eq!(world.count(deletes_a_key), 0);
}

#[tokio::test]
async fn an_error_for_one_secret_does_not_stop_the_run() {
    let world = due(DELETE_AFTER).await;
    let event = json!({"Step": "retire", "SecretIds": ["missing", "orders/kafka", "missing too"]});

    let (outcome, lines) = telemetry::logs::logged(world.invoke(event)).await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "RetireFailed");
    let message = "the scheduled deletion failed for 2 of 3 secrets";
    assert!(error.error_message.contains(message), "{error:?}");
    world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"the other secret");
    for missing in ["missing", "missing too"] {
        let is_error = |line: &Value| {
            line["secret_id"] == json!(missing) && line["error_type"] == "SecretsManagerRejected"
        };
        assert!(lines.iter().any(is_error), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_secret_for_which_no_time_is_left_is_not_processed() {
    let world = due(DELETE_AFTER).await;
    let keys = world.all_keys();
    let event = json!({"Step": "retire", "SecretIds": [world.arn]});

    // A second of every invocation is reserved.
    let outcome = world.handle(event, Duration::from_secs(1)).await.unwrap();

    let report = json!(outcome);
    assert_eq!(report["notProcessed"], 1, "{report}");
    assert_eq!(world.all_keys(), keys);
}

/// Adds secrets with keys of their own, and rotates each.
pub(super) async fn add_rotated_secrets(world: &World, count: usize) -> Vec<String> {
    let mut arns = Vec::new();
    for nth in 0..count {
        let simulator = &world.simulator;
        let (id, secret) = simulator.add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
        let mut value = world.value("AWSCURRENT");
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
        let arn = simulator.add_secret(&format!("orders/{nth}"), &value.to_string());
        let invoke = async |event| {
            world
                .invoke(event)
                .await
                .map_err(|error| format!("{error:?}"))
        };
        assert_eq!(simulator.rotate(&arn, &invoke).await, Outcome::Succeeded);
        arns.push(arn);
    }
    arns
}

/// Returns the ID of the key of the version labeled `AWSPREVIOUS`.
pub(super) fn previous_key(world: &World, arn: &str) -> String {
    let state = world.simulator.state();
    let previous = state.secret(arn).key_id("AWSPREVIOUS");
    previous.unwrap().to_owned()
}

/// Returns whether the secret has a previous version whose key exists.
pub(super) fn has_previous_key(world: &World, arn: &str) -> bool {
    let state = world.simulator.state();
    let previous = state.secret(arn).key_id("AWSPREVIOUS");
    previous.is_some_and(|id| state.keys.contains_key(id))
}

#[tokio::test]
async fn the_previous_keys_of_the_fleet_are_deleted() {
    let world = World::new(DELETE_AFTER).await;
    let arns = add_rotated_secrets(&world, 20).await;
    world.simulator.pass(OVERLAP);

    let (response, lines) =
        telemetry::logs::logged(world.handle(json!({"Step": "retire"}), AMPLE)).await;

    let report = json!({
        "secrets": 20,
        "previousKeysDeleted": 20,
        "orphanedKeysDeleted": 0,
        "notProcessed": 0,
    });
    assert_eq!(json!(response.unwrap()), report);
    assert!(arns.iter().all(|arn| !has_previous_key(&world, arn)));
    let metrics = lines.iter().find(|line| line["_aws"].is_object()).unwrap();
    assert_eq!(metrics["PreviousKeysDeleted"], 20);
    assert_eq!(metrics["SecretsManaged"], 21);
}

#[tokio::test]
async fn secrets_that_fail_do_not_prevent_the_deletion_for_the_others() {
    let world = World::new(DELETE_AFTER).await;
    let arns = add_rotated_secrets(&world, 20).await;
    world.simulator.pass(OVERLAP);
    let undeletable = [3, 11].map(|nth: usize| previous_key(&world, &arns[nth]));
    for id in &undeletable {
        world.simulator.make_undeletable(id, 500);
    }

    let error = world.invoke(json!({"Step": "retire"})).await.unwrap_err();

    assert_eq!(error.error_type, "RetireFailed");
    assert!(error.error_message.contains("2 of 20 secrets"), "{error:?}");
    let kept = arns.iter().filter(|arn| has_previous_key(&world, arn));
    assert_eq!(
        kept.count(),
        0,
        "the label of a key that cannot be deleted is removed, too"
    );
    let exists = |id: &&String| world.all_keys().contains(*id);
    assert_eq!(undeletable.iter().filter(exists).count(), 2);
}

/// The list may be five minutes old. It only chooses secrets.
#[tokio::test]
async fn a_list_that_is_out_of_date_does_not_end_an_overlap_early() {
    let world = due(DELETE_AFTER).await;
    world.simulator.freeze_list();
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let keys = world.all_keys();

    world.invoke(json!({"Step": "retire"})).await.unwrap();

    assert_eq!(world.all_keys(), keys);
}
