//! Healing: a step removes `AWSPENDING` from a version that can never become current, and the next attempt starts over.

use simulator::Fault;

use super::*;

/// The age of a version whose missing key counts as deleted.
const OLD: Duration = Duration::from_mins(11);

/// The age of a version whose missing key may not be listed yet.
const YOUNG: Duration = Duration::from_mins(9);

struct Case {
    name: &'static str,
    /// Changes the pending version after createSecret.
    arrange: Arrange,
    error: &'static str,
}

const CASES: [Case; 10] = [
    Case {
        name: "another owner",
        arrange: |world| world.overwrite_pending(|value| value["serviceAccountId"] = json!("sa-x")),
        error: "PendingMismatch",
    },
    Case {
        name: "another resource",
        arrange: |world| world.overwrite_pending(|value| value["resourceId"] = json!("lkc-x")),
        error: "PendingMismatch",
    },
    Case {
        name: "another environment",
        arrange: |world| world.overwrite_pending(|value| value["environmentId"] = json!("env-x")),
        error: "PendingMismatch",
    },
    Case {
        name: "another value of a user's field",
        arrange: |world| world.overwrite_pending(|value| value["note"] = json!("another")),
        error: "PendingOutdated",
    },
    Case {
        name: "an additional field",
        arrange: |world| world.overwrite_pending(|value| value["more"] = json!(1)),
        error: "PendingOutdated",
    },
    Case {
        name: "a missing field",
        arrange: |world| {
            world.overwrite_pending(|value| {
                value.as_object_mut().unwrap().remove("note");
            });
        },
        error: "PendingOutdated",
    },
    Case {
        name: "no key",
        arrange: |world| {
            world.overwrite_pending(|value| {
                value["apiKey"] = json!("");
                value["apiSecret"] = json!("");
            });
        },
        error: "VersionWithoutKey",
    },
    Case {
        name: "not JSON",
        arrange: |world| {
            let value = SecretValue::String("not JSON".to_owned());
            world
                .simulator
                .overwrite_value(&world.arn, "AWSPENDING", value);
        },
        error: "InvalidSecretValue",
    },
    Case {
        name: "a binary value",
        arrange: |world| {
            let value = SecretValue::Binary(vec![0, 1]);
            world
                .simulator
                .overwrite_value(&world.arn, "AWSPENDING", value);
        },
        error: "InvalidSecretValue",
    },
    Case {
        name: "a key that was deleted more than ten minutes ago",
        arrange: |world| {
            let key = world.key("AWSPENDING").unwrap();
            world.simulator.delete_key_manually(&key);
            world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        },
        error: "PendingKeyDeleted",
    },
];

/// Creates a world with a pending version that was changed.
async fn changed(arrange: Arrange) -> World {
    let mut world = with_pending_key().await;
    world.time_limit = SHORT_TIME_LIMIT;
    arrange(&world);
    world
}

#[tokio::test]
async fn a_version_that_can_never_become_current_loses_aws_pending_in_every_step() {
    for Case {
        name,
        arrange,
        error: expected,
    } in CASES
    {
        for step in STEPS_WITH_REQUESTS {
            let case = format!("{name}, {step}");
            let world = changed(arrange).await;
            let keys = world.all_keys();

            let error = world.step_error(step, &case).await;

            assert_eq!(error.error_type, expected, "{case}: {error:?}");
            assert_eq!(world.version("AWSPENDING"), None, "{case}");
            assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
            assert_eq!(world.all_keys(), keys, "{case}: healing deletes no key");
            if expected.starts_with("Pending") {
                let message = &error.error_message;
                assert!(message.contains("call RotateSecret"), "{case}: {message}");
            }

            assert_eq!(world.rotate().await, Outcome::Succeeded, "{case}");
            let current = world.key("AWSCURRENT").unwrap();
            world.assert_keys(&[current], &case);
        }
    }
}

/// AWS does not document whether a retry has a new token.
#[tokio::test]
async fn a_retry_with_the_token_of_a_healed_version_fails_without_a_change() {
    let world = with_pending_key().await;
    world.overwrite_pending(|value| value["note"] = json!("another"));
    world
        .step_error("testSecret", "the value is outdated")
        .await;
    let invoke = async |event| {
        let outcome = world.invoke(event).await;
        outcome.map_err(|error| format!("{error:?}"))
    };
    let keys = world.all_keys();

    let retried = world.simulator.retry_rotation(&world.arn, &invoke).await;

    assert_ne!(retried, Outcome::Succeeded);
    assert_eq!(world.all_keys(), keys);
    assert_eq!(world.rotate().await, Outcome::Succeeded, "a new token");
}

#[tokio::test]
async fn a_copy_of_the_current_value_is_removed_unless_it_is_a_test_of_the_configuration() {
    for step in ["createSecret", "finishSecret"] {
        let world = World::new(Setting::default()).await;
        let token = world.simulator.start_configuration_test(&world.arn);
        let event = world.simulator.event(&world.arn, &token, step);

        let error = world.invoke(event).await.expect_err(step);

        assert_eq!(error.error_type, "PendingIsCurrent", "{error:?}");
        assert_eq!(world.version("AWSPENDING"), None, "{step}");
    }
}

#[tokio::test]
async fn a_test_of_the_configuration_never_heals() {
    let changes: [(&str, Arrange); 2] = [
        ("a deleted key", |world| {
            let key = world.key("AWSCURRENT").unwrap();
            world.simulator.delete_key_manually(&key);
        }),
        ("a wrong secret", |world| {
            world.change_value(|value| value["apiSecret"] = json!("wrong"));
        }),
    ];
    for (name, change) in changes {
        let mut world = World::new(Setting::default()).await;
        world.time_limit = SHORT_TIME_LIMIT;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        change(&world);
        let token = world.simulator.start_configuration_test(&world.arn);
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        let event = world.simulator.event(&world.arn, &token, "testSecret");

        let error = world.invoke(event).await.expect_err(name);

        assert_eq!(error.error_type, "PendingKeyNotAccepted", "{name}");
        assert_eq!(world.version("AWSPENDING"), Some(token), "{name}");
    }
}

#[tokio::test]
async fn a_key_that_is_missing_for_less_than_ten_minutes_does_not_count_as_deleted() {
    for step in STEPS_WITH_REQUESTS {
        let mut world = World::new(Setting::default()).await;
        world.simulator.state().controls.propagation_statuses = always(401);
        world.run_steps(&["createSecret", "setSecret"]).await;
        world.requests();
        world.time_limit = SHORT_TIME_LIMIT;
        let (version, key) = (
            world.version("AWSPENDING"),
            world.key("AWSPENDING").unwrap(),
        );
        world.simulator.hide_key_from_lists(&key, u32::MAX);
        world.simulator.hide_key_from_reads(&key, u32::MAX);
        world.simulator.age_version(&world.arn, "AWSPENDING", YOUNG);

        let outcome = world.step(step).await;

        assert!(outcome.is_ok() || step != "createSecret", "{step}");
        assert_eq!(world.version("AWSPENDING"), version, "{step}");
        assert_eq!(world.count(creates_a_key), 0, "{step}: no other key");
    }
}

#[tokio::test]
async fn a_missing_key_that_its_resource_accepts_is_not_healed() {
    for step in STEPS_WITH_REQUESTS {
        let world = with_pending_key().await;
        let key = world.key("AWSPENDING").unwrap();
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        world.simulator.hide_key_from_lists(&key, u32::MAX);
        world.simulator.hide_key_from_reads(&key, u32::MAX);

        let outcome = world.step(step).await;

        assert!(outcome.is_ok(), "{step}: {outcome:?}");
        let promoted = step == "finishSecret";
        assert_eq!(world.key("AWSCURRENT") == Some(key), promoted, "{step}");
    }
}

#[tokio::test]
async fn a_version_that_cannot_be_decrypted_is_an_error_and_keeps_aws_pending() {
    for step in STEPS_WITH_REQUESTS {
        let world = with_pending_key().await;
        let version = world.version("AWSPENDING");
        world.simulator.deny_decryption(&world.arn, "AWSPENDING");

        let error = world.step_error(step, "KMS").await;

        assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
        assert_eq!(world.version("AWSPENDING"), version, "{step}");
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
#[tokio::test]
async fn a_label_that_cannot_be_removed_is_reported() {
    let world = with_pending_key().await;
    world.overwrite_pending(|value| value["note"] = json!("another"));
    let denied = Response::aws_access_denied("UpdateSecretVersionStage");
    world
        .simulator
        .respond_with(1, is_operation("UpdateSecretVersionStage"), denied);

    let error = world.step_error("testSecret", "denied").await;

    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    assert!(world.version("AWSPENDING").is_some());
}

#[tokio::test]
async fn a_lost_response_to_the_removal_of_the_label_does_not_hide_the_reason() {
    let world = with_pending_key().await;
    world.overwrite_pending(|value| value["note"] = json!("another"));
    let measured = world.fork().await;
    measured.step_error("testSecret", "outdated").await;
    let requests = measured.simulator.state().requests.clone();
    let mut requests = requests.iter();
    let removal = requests.position(is_operation("UpdateSecretVersionStage"));
    let world = world.fork().await;
    world.simulator.fail(removal.unwrap(), Fault::ResetAfter);

    let error = world.step_error("testSecret", "outdated").await;

    assert_eq!(error.error_type, "PendingOutdated", "{error:?}");
    assert_eq!(world.version("AWSPENDING"), None);
}

#[tokio::test]
async fn a_deleted_key_heals_under_best_effort_with_an_unreachable_endpoint() {
    for step in STEPS_WITH_REQUESTS {
        let mut world = with_pending_key().await;
        world.set_variable("KEY_VERIFICATION", "best-effort");
        world.set_advertised_url(&world.simulator.unreachable_url());
        let key = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&key);
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error(step, "the key was deleted").await;

        assert_eq!(error.error_type, "PendingKeyDeleted", "{step}: {error:?}");
        assert_eq!(world.version("AWSPENDING"), None, "{step}");
    }
}

#[tokio::test]
async fn a_deleted_initial_key_heals() {
    let mut world = World::new(Setting {
        mode: Mode::InitialKey,
        ..Setting::default()
    })
    .await;
    world.run_steps(&["createSecret", "setSecret"]).await;
    let key = world.key("AWSPENDING").unwrap();
    world.simulator.delete_key_manually(&key);
    world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world
        .step_error("createSecret", "the key was deleted")
        .await;

    assert_eq!(error.error_type, "PendingKeyDeleted", "{error:?}");
    assert_eq!(world.rotate().await, Outcome::Succeeded);
}

/// A list without the keys that it must contain is incomplete, so it shows nothing about the pending key.
#[tokio::test]
async fn a_list_without_the_expected_keys_does_not_heal() {
    for mode in [Mode::Admin, Mode::Keyless, Mode::InitialKey] {
        let mut world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        world.run_steps(&["createSecret", "setSecret"]).await;
        let pending = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&pending);
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        let keys: Vec<String> = world.simulator.state().keys.keys().cloned().collect();
        for key in keys {
            world.simulator.hide_key_from_lists(&key, u32::MAX);
        }
        world.simulator.add_internal_key();
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error("testSecret", "an incomplete list").await;

        assert_eq!(
            error.error_type, "PendingKeyNotAccepted",
            "{mode:?}: {error:?}"
        );
        assert!(world.version("AWSPENDING").is_some(), "{mode:?}");
    }
}

/// A key heals only if its resource rejects it.
#[tokio::test]
async fn a_missing_key_whose_endpoint_is_unreachable_is_not_healed() {
    for step in ["testSecret", "finishSecret"] {
        let mut world = with_pending_key().await;
        world.set_advertised_url(&world.simulator.unreachable_url());
        let key = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&key);
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error(step, "an unreachable endpoint").await;

        assert_eq!(error.error_type, "EndpointUnreachable", "{step}");
        assert!(world.version("AWSPENDING").is_some(), "{step}");
    }
}
