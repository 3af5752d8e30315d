//! Secrets Manager: rotations, versions and staging labels.

use std::cell::RefCell;

use serde_json::{Value, json};
use simulator::Outcome;

use crate::{World, now, secret_value};

#[tokio::test]
async fn a_rotation_moves_the_labels_and_removes_awspending() {
    let world = World::new().await;

    let outcome = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    let state = world.simulator.state();
    let secret = state.secret(&world.arn);
    assert_eq!(secret.key_id("AWSPREVIOUS"), Some(world.key.0.as_str()));
    assert_ne!(secret.key_id("AWSCURRENT"), Some(world.key.0.as_str()));
    assert_eq!(secret.pending_version(), None);
    assert!(!secret.labels.contains_key("AWSPENDING"));
    let labels = [
        "POST /iam/v2/api-keys",
        "PutSecretValue",
        "DescribeSecret",
        "DescribeSecret",
    ];
    assert_eq!(state.request_names()[..4], labels);
    assert_eq!(state.requests[0].key_id.as_ref(), Some(&world.admin.0));
}

#[tokio::test]
async fn a_rotation_that_succeeds_schedules_the_next_one() {
    const DAY: f64 = 86_400.0;
    let cron = json!({ "ScheduleExpression": "cron(0 8 1 * ? *)" });
    for (rules, expected) in [
        (json!({ "AutomaticallyAfterDays": 7 }), 7.0 * DAY),
        (json!({ "ScheduleExpression": "rate(12 hours)" }), DAY / 2.0),
        (cron, -DAY),
    ] {
        let world = World::new().await;
        let before = now();
        world.set_secret(|secret| {
            secret.attributes.rotation_rules = Some(rules.clone());
            secret.next_rotation = Some(before - DAY);
        });
        let next = || world.simulator.state().secret(&world.arn).next_rotation;

        let fail = async |_| Err("no".to_owned());
        world.simulator.rotate(&world.arn, &fail).await;
        let overdue = next();
        world.rotate().await;

        assert_eq!(overdue, Some(before - DAY), "{rules}");
        let delay = next().unwrap() - before - expected;
        assert!((0.0..60.0).contains(&delay), "{rules}: {delay}");
    }
}

#[tokio::test]
async fn an_incomplete_rotation_is_retried_with_the_same_token() {
    let world = World::new().await;
    let tokens = RefCell::new(Vec::new());
    let fail = async |event: Value| {
        tokens
            .borrow_mut()
            .push(event["ClientRequestToken"].clone());
        Err("no".to_owned())
    };

    let failed = world.simulator.rotate(&world.arn, &fail).await;
    world.simulator.rotate(&world.arn, &fail).await;
    world.simulator.abandon_rotation(&world.arn);
    world.simulator.rotate(&world.arn, &fail).await;

    assert_eq!(
        failed,
        Outcome::Failed {
            step: "createSecret",
            error: "no".into()
        }
    );
    let tokens = tokens.borrow();
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[1], tokens[2]);
}

#[tokio::test]
async fn the_value_of_a_new_version_is_stored_only_once() {
    let world = World::new().await;
    let token = world.simulator.start_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, "createSecret");
    let pending = json!({ "VersionId": token, "VersionStage": "AWSPENDING" });
    let put = |value: &str| {
        json!({
            "ClientRequestToken": token, "SecretString": value, "VersionStages": ["AWSPENDING"],
            "RotationToken": event["RotationToken"],
        })
    };

    let (status, empty) = world.aws("GetSecretValue", pending.clone()).await;
    let (_, description) = world.aws("DescribeSecret", json!({})).await;
    let stored = [put("one"), put("one"), put("two"), put(&"x".repeat(65_537))]
        .map(|put| world.aws("PutSecretValue", put));
    let mut statuses = Vec::new();
    for stored in stored {
        statuses.push(stored.await);
    }
    let (_, value) = world.aws("GetSecretValue", pending).await;
    let current = json!({ "VersionId": token, "VersionStage": "AWSCURRENT" });
    let (_, mismatch) = world.aws("GetSecretValue", current).await;

    assert_eq!(
        (status, &empty["__type"]),
        (400, &json!("ResourceNotFoundException"))
    );
    assert!(
        empty["message"]
            .as_str()
            .unwrap()
            .ends_with("for staging label: AWSPENDING"),
        "{empty}"
    );
    assert_eq!(
        description["VersionIdsToStages"][&token],
        json!(["AWSPENDING"])
    );
    assert_eq!(statuses[0].0, 200);
    assert_eq!(statuses[1].0, 200);
    assert_eq!(statuses[2].1["__type"], "ResourceExistsException");
    assert_eq!(statuses[3].1["__type"], "ValidationException");
    assert_eq!(value["SecretString"], "one");
    assert_eq!(mismatch["__type"], "InvalidRequestException");
}

#[tokio::test]
async fn awscurrent_moves_only_from_the_version_that_has_it() {
    let world = World::new().await;
    let current = world.simulator.state().secret(&world.arn).labels["AWSCURRENT"].clone();
    let new = world.simulator.start_configuration_test(&world.arn);
    let other = world.simulator.state().secret(&world.arn).labels["AWSPENDING"].clone();
    let update = |from: Option<&str>| {
        let mut body = json!({ "VersionStage": "AWSCURRENT", "MoveToVersionId": new });
        if let Some(from) = from {
            body["RemoveFromVersionId"] = json!(from);
        }
        body
    };

    let (_, without) = world.aws("UpdateSecretVersionStage", update(None)).await;
    let (_, wrong) = world
        .aws("UpdateSecretVersionStage", update(Some(&other)))
        .await;
    let (moved, _) = world
        .aws("UpdateSecretVersionStage", update(Some(&current)))
        .await;

    assert!(
        without["message"].as_str().unwrap().contains(&current),
        "{without}"
    );
    assert_eq!(wrong["__type"], "InvalidParameterException");
    assert_eq!(moved, 200);
    let state = world.simulator.state();
    let labels = &state.secret(&world.arn).labels;
    assert_eq!(
        (
            &labels["AWSCURRENT"],
            &labels["AWSPREVIOUS"],
            &labels["AWSPENDING"]
        ),
        (&new, &current, &new)
    );
}

#[tokio::test]
async fn storing_a_value_without_the_rotation_token_of_the_event_is_a_violation() {
    let world = World::new().await;
    let token = world.simulator.start_rotation(&world.arn);

    let put = json!({ "ClientRequestToken": token, "SecretString": "{}", "VersionStages": ["AWSPENDING"] });
    world.aws("PutSecretValue", put).await;

    world.assert_violation("RotationToken");
}

#[tokio::test]
async fn storing_a_value_manually_abandons_the_rotation() {
    let world = World::new().await;
    world.simulator.start_rotation(&world.arn);

    world
        .simulator
        .store_manually(&world.arn, &secret_value(&world.key));

    assert_eq!(
        world.simulator.state().secret(&world.arn).pending_version(),
        None
    );
}

#[tokio::test]
async fn a_configuration_test_runs_only_test_secret_and_removes_awspending() {
    let world = World::new().await;
    let steps = RefCell::new(Vec::new());

    let outcome = world
        .simulator
        .test_configuration(&world.arn, &async |event| {
            let state = world.simulator.state();
            let secret = state.secret(&world.arn);
            assert_eq!(secret.value("AWSPENDING"), secret.value("AWSCURRENT"));
            steps.borrow_mut().push(event["Step"].clone());
            Ok(())
        })
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(*steps.borrow(), ["testSecret"]);
    assert_eq!(
        world.simulator.state().secret(&world.arn).pending_version(),
        None
    );
}
