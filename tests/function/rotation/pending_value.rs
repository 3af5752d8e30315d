//! The pending value: testSecret and finishSecret read it, and finishSecret checks before the promotion that it can replace
//! the current value.

use super::*;

/// The steps that read the pending value.
const READERS: [&str; 2] = ["testSecret", "finishSecret"];

#[tokio::test]
async fn a_pending_value_with_another_scope_than_the_current_one_is_rejected() {
    for (field, other) in [
        ("serviceAccountId", "sa-other"),
        ("resourceId", "lkc-other"),
        ("environmentId", "env-other"),
    ] {
        let world = World::new(Setting::default()).await;
        world.run_steps(&["createSecret"]).await;
        world.overwrite_pending(|value| value[field] = json!(other));
        let keys = world.all_keys();

        let error = world.step_error("finishSecret", field).await;

        assert_eq!(error.error_type, "PendingMismatch", "{field}");
        assert!(error.error_message.contains(field), "{error:?}");
        assert_eq!(
            world.key("AWSCURRENT").as_ref(),
            Some(&world.initial_key),
            "{field}"
        );
        assert_eq!(world.all_keys(), keys, "{field}");
    }
}

#[tokio::test]
async fn a_pending_value_that_contains_the_current_key_is_rejected() {
    let world = World::new(Setting::default()).await;
    let before = world.version("AWSCURRENT");
    let token = world.simulator.start_configuration_test(&world.arn);

    let outcome = world
        .invoke(world.simulator.event(&world.arn, &token, "finishSecret"))
        .await;

    let error = outcome.expect_err("there is nothing to promote");
    assert_eq!(error.error_type, "PendingIsCurrent");
    assert_eq!(world.version("AWSCURRENT"), before);
    world.assert_keys(std::slice::from_ref(&world.initial_key), &"finishSecret");
}

#[tokio::test]
async fn a_rotation_does_not_revert_a_value_that_a_user_stores_during_it() {
    let world = World::new(Setting::default()).await;
    let change = async || world.change_value(|value| value["note"] = json!("changed"));

    // The user stores the value after the key was created and before it is stored.
    let outcome = world
        .step_while("createSecret", is_operation("PutSecretValue"), change)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let error = world
        .step_error("finishSecret", "the pending value is outdated")
        .await;
    assert_eq!(error.error_type, "PendingOutdated", "{error:?}");
    world.simulator.abandon_rotation(&world.arn);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.value("AWSCURRENT")["note"], json!("changed"));
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"after the next rotation");
}

/// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
#[tokio::test]
async fn a_pending_value_that_a_read_does_not_find_yet_is_read_again() {
    for step in READERS {
        let world = World::new(Setting::default()).await;
        world.simulator.state().controls.value_lag = 3;
        world.run_steps(&["createSecret"]).await;

        let outcome = world.step(step).await;

        assert!(outcome.is_ok(), "{step}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_pending_version_without_a_value_is_an_error() {
    for step in READERS {
        let world = World::new(Setting::default()).await;
        let token = world.token();

        let error = world.step_error(step, "there is no value").await;

        assert_eq!(error.error_type, "VersionWithoutValue", "{step}");
        assert!(error.error_message.contains(&token), "{step}: {error:?}");
        assert_eq!(world.count(is_to_confluent), 0, "{step}");
    }
}

/// An upgrade of the function during a rotation may change how it writes a value.
#[tokio::test]
async fn a_pending_value_in_another_spelling_is_promoted() {
    type Respell = fn(&str) -> String;
    let spellings: [(&str, Respell); 3] = [
        ("whitespace", |json| json.replace("\":", "\" :\n  ")),
        ("escapes", |json| {
            json.replace("sa-orders", "sa\\u002dorders")
        }),
        ("a solidus", |json| json.replace('/', "\\/")),
    ];
    for (name, respell) in spellings {
        let world = with_pending_key().await;
        let pending = world.key("AWSPENDING");
        let value = respell(&world.value("AWSPENDING").to_string());
        let value = SecretValue::String(value);
        world
            .simulator
            .overwrite_value(&world.arn, "AWSPENDING", value);

        world.run_steps(&["testSecret", "finishSecret"]).await;

        assert_eq!(world.key("AWSCURRENT"), pending, "{name}");
    }
}
