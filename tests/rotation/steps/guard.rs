//! Before every step: is it one that Secrets Manager asked for?

use super::*;

#[tokio::test]
async fn a_step_is_refused_unless_rotation_is_enabled() {
    for enabled in [None, Some(false)] {
        for step in STEPS {
            let world = World::new(Setting::default()).await;
            world.token();
            world
                .simulator
                .state()
                .secret_mut(&world.arn)
                .rotation_enabled = enabled;

            let error = world.refusal(step, "rotation is not enabled").await;

            assert_eq!(
                error.error_type, "RotationNotEnabled",
                "{enabled:?}, {step}"
            );
            world.assert_only_read_the_secret(&(enabled, step));
        }
    }
}

#[tokio::test]
async fn a_step_is_refused_unless_its_version_is_pending() {
    let cases: [(&str, ArrangeFor); 3] = [
        ("without a label", |world, _| {
            world.simulator.abandon(&world.arn);
        }),
        ("only previous", |world, token| {
            world.simulator.abandon(&world.arn);
            world
                .simulator
                .move_label(&world.arn, "AWSPREVIOUS", Some(token));
        }),
        ("superseded by another rotation", |world, _| {
            world.simulator.abandon(&world.arn);
            world.token();
        }),
    ];
    for (case, arrange) in cases {
        for step in STEPS {
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
            world.assert_only_read_the_secret(&(case, step));
        }
    }
}

#[tokio::test]
async fn a_version_that_is_current_already_needs_nothing_but_the_end_of_finish_secret() {
    let world = World::new(Setting::default()).await;
    world.rotate().await;
    let token = world.version("AWSCURRENT").unwrap();

    for step in ["createSecret", "setSecret", "testSecret"] {
        world.requests();
        let outcome = world
            .invoke(world.simulator.event(&world.arn, &token, step))
            .await;

        assert!(outcome.is_ok(), "{step}: {outcome:?}");
        world.assert_only_read_the_secret(&step);
    }
}

#[tokio::test]
async fn a_secret_that_is_named_by_its_name_is_the_same_secret() {
    let world = World::new(Setting::default()).await;
    let mut event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    event["SecretId"] = json!("orders/kafka");

    let outcome = world.invoke(event).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    world.simulator.abandon(&world.arn);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(
        &[current],
        &"its key bears the mark by which the next rotation finds it",
    );
}

#[tokio::test]
async fn a_secret_without_a_current_version_is_refused() {
    for step in STEPS {
        let world = World::new(Setting::default()).await;
        world.watch(Watch::Off);
        if step == "createSecret" {
            world.token();
        } else {
            world.pass(&["createSecret"]).await;
        }
        let keys = world.all_keys();
        world.simulator.move_label(&world.arn, "AWSCURRENT", None);

        let error = world.refusal(step, "nothing is current").await;

        assert_eq!(error.error_type, "NoCurrentVersion", "{step}");
        assert_eq!(world.all_keys(), keys, "{step}");
    }
}

#[tokio::test]
async fn a_rotation_token_is_passed_on_and_none_is_made_up() {
    for without_rotation_token in [false, true] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().knobs.without_rotation_token = without_rotation_token;

        let outcome = world.rotate().await;

        // The simulator refuses a value that is put with another one.
        assert_eq!(outcome, Outcome::Succeeded, "{without_rotation_token}");
        assert_eq!(
            world.count(is_operation("PutSecretValue")),
            1,
            "{without_rotation_token}"
        );
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda.html>
#[tokio::test]
async fn steps_may_be_spelt_in_snake_case() {
    let world = World::new(Setting::default()).await;

    world
        .pass(&[
            "create_secret",
            "set_secret",
            "test_secret",
            "finish_secret",
        ])
        .await;

    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, world.first_key);
    world.assert_keys(&[current], &"all four steps were taken");
}

#[tokio::test]
async fn a_payload_that_is_no_event_is_refused_before_anything_is_asked() {
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

        let error = outcome.expect_err("it is refused");
        assert_eq!(error.error_type, "InvalidEvent", "{payload}");
        assert!(world.requests().is_empty(), "{payload}");
    }
}

/// The labels and the values are asked for together, so a label may move in between: what counts is the version that
/// bears it as the labels have it.
#[tokio::test]
async fn a_current_value_that_was_read_before_its_label_moved_does_not_count() {
    let world = World::new(Setting::default()).await;
    let is_late = is_operation("DescribeSecret");
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    let stored = id.clone();

    let outcome = world
        .step_while("createSecret", is_late, async || {
            while world.count(is_operation("GetSecretValue")) < 2 {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let token = world.token();
            world.edit(|value| {
                value["apiKey"] = json!(stored);
                value["apiSecret"] = json!(secret);
            });
            world
                .simulator
                .move_label(&world.arn, "AWSPENDING", Some(&token));
        })
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let current = world.version("AWSCURRENT").unwrap();
    let target = format!("the version {current} was read by its id");
    assert_eq!(world.key("AWSCURRENT"), Some(id), "{target}");
    // Pending, current, the admin's, and the current one again.
    assert_eq!(world.count(is_operation("GetSecretValue")), 5, "{target}");
}
