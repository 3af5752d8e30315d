//! Before every step except setSecret: does the event belong to a rotation in progress?

use super::*;

#[tokio::test]
async fn a_step_fails_unless_rotation_is_enabled() {
    for enabled in [None, Some(false)] {
        for step in STEPS_WITH_REQUESTS {
            let world = World::new(Setting::default()).await;
            world.token();
            world
                .simulator
                .state()
                .secret_mut(&world.arn)
                .rotation_enabled = enabled;

            let error = world.step_error(step, "rotation is not enabled").await;

            assert_eq!(
                error.error_type, "RotationNotEnabled",
                "{enabled:?}, {step}"
            );
            world.assert_only_described_the_secret(&(enabled, step));
        }
    }
}

#[tokio::test]
async fn a_step_fails_unless_its_version_is_pending() {
    let cases: [(&str, ArrangeFor); 3] = [
        ("without a label", |world, _| {
            world.simulator.abandon_rotation(&world.arn);
        }),
        ("only previous", |world, token| {
            world.simulator.abandon_rotation(&world.arn);
            world
                .simulator
                .move_label(&world.arn, "AWSPREVIOUS", Some(token));
        }),
        ("superseded by another rotation", |world, _| {
            world.simulator.abandon_rotation(&world.arn);
            world.token();
        }),
    ];
    for (case, arrange) in cases {
        for step in STEPS_WITH_REQUESTS {
            let world = World::new(Setting::default()).await;
            let token = world.token();
            let event = world.simulator.event(&world.arn, &token, step);
            arrange(&world, &token);

            let outcome = world.invoke(event).await;

            let error = outcome.expect_err(case);
            assert_eq!(error.error_type, "VersionNotPending", "{case}, {step}");
            assert!(
                error.error_message.contains(&token),
                "{case}, {step}: {error:?}"
            );
            world.assert_only_described_the_secret(&(case, step));
        }
    }
}

#[tokio::test]
async fn if_the_version_is_already_current_only_finish_secret_has_work_to_do() {
    let world = World::new(Setting::default()).await;
    world.rotate().await;
    let token = world.version("AWSCURRENT").unwrap();

    for step in ["createSecret", "testSecret"] {
        world.requests();
        let outcome = world
            .invoke(world.simulator.event(&world.arn, &token, step))
            .await;

        assert!(outcome.is_ok(), "{step}: {outcome:?}");
        world.assert_only_described_the_secret(&step);
    }
}

#[tokio::test]
async fn a_secret_may_be_identified_by_its_name() {
    let world = World::new(Setting::default()).await;
    let mut event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    event["SecretId"] = json!("orders/kafka");

    let outcome = world.invoke(event).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    world.simulator.abandon_rotation(&world.arn);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(
        &[current],
        &"the next rotation finds the key by its ownership tag",
    );
}

#[tokio::test]
async fn a_secret_without_a_current_version_cannot_be_rotated() {
    for step in STEPS_WITH_REQUESTS {
        let world = World::new(Setting::default()).await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        if step == "createSecret" {
            world.token();
        } else {
            world.run_steps(&["createSecret"]).await;
        }
        let keys = world.all_keys();
        world.simulator.move_label(&world.arn, "AWSCURRENT", None);

        let error = world.step_error(step, "nothing is current").await;

        assert_eq!(error.error_type, "NoCurrentVersion", "{step}");
        assert_eq!(world.all_keys(), keys, "{step}");
    }
}

#[tokio::test]
async fn the_rotation_token_is_sent_if_the_event_contains_one() {
    for omit_rotation_token in [false, true] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().controls.omit_rotation_token = omit_rotation_token;

        let outcome = world.rotate().await;

        // The simulator rejects a value that is stored with another token.
        assert_eq!(outcome, Outcome::Succeeded, "{omit_rotation_token}");
        assert_eq!(
            world.count(is_operation("PutSecretValue")),
            1,
            "{omit_rotation_token}"
        );
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda.html>
#[tokio::test]
async fn step_names_may_be_in_snake_case() {
    let world = World::new(Setting::default()).await;

    world
        .run_steps(&[
            "create_secret",
            "set_secret",
            "test_secret",
            "finish_secret",
        ])
        .await;

    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, world.initial_key);
    world.assert_keys(&[current], &"after all four steps");
}

#[tokio::test]
async fn an_invalid_event_is_rejected_before_any_request() {
    let world = World::new(Setting::default()).await;
    for payload in [
        json!(null),
        json!("createSecret"),
        json!({"Step": "createSecret"}),
        json!({"Step": "deleteSecret", "SecretId": world.arn, "ClientRequestToken": world.token()}),
        json!({"Step": "createSecret", "SecretId": "", "ClientRequestToken": world.token()}),
        json!({"Step": "createSecret", "SecretId": world.arn, "ClientRequestToken": "short"}),
    ] {
        let outcome = world.invoke(payload.clone()).await;

        let error = outcome.expect_err("the event is invalid");
        assert_eq!(error.error_type, "InvalidEvent", "{payload}");
        assert!(world.requests().is_empty(), "{payload}");
    }
}

/// The current value is read by the version ID that `DescribeSecret` returned.
#[tokio::test]
async fn a_step_fails_if_aws_current_moves_after_the_secret_was_described() {
    let world = World::new(Setting::default()).await;
    let token = world.token();
    let described = world.version("AWSCURRENT");
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    let change = async || {
        world.change_value(|value| {
            value["apiKey"] = json!(id);
            value["apiSecret"] = json!(secret);
        });
        world
            .simulator
            .move_label(&world.arn, "AWSPENDING", Some(&token));
    };

    let outcome = world
        .step_while("createSecret", is_operation("GetSecretValue"), change)
        .await;

    let error = outcome.expect_err("the label has moved");
    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    assert_ne!(world.version("AWSCURRENT"), described);
    assert_eq!(world.count(creates_a_key) + world.count(deletes_a_key), 0);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    let keys = [world.initial_key.clone(), current];
    world.assert_keys(&keys, &"no evidence about the key that a user replaced");
}
