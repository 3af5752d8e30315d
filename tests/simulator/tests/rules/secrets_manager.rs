//! Secrets Manager: the rotation it drives, and the versions and labels it keeps.

use std::cell::RefCell;

use serde_json::{Value, json};
use simulator::Outcome;

use crate::{World, document};

#[tokio::test]
async fn a_rotation_moves_the_labels_and_cleans_up_the_pending_one() {
    let world = World::new().await;

    let outcome = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    let state = world.simulator.state();
    let secret = state.secret(&world.arn);
    assert_eq!(
        secret.key_named_by("AWSPREVIOUS"),
        Some(world.key.0.as_str())
    );
    assert_ne!(
        secret.key_named_by("AWSCURRENT"),
        Some(world.key.0.as_str())
    );
    assert_eq!(secret.pending(), None);
    assert!(!secret.labels.contains_key("AWSPENDING"));
    let labels = [
        "POST /iam/v2/api-keys",
        "PutSecretValue",
        "DescribeSecret",
        "DescribeSecret",
    ];
    assert_eq!(state.labels()[..4], labels);
    assert_eq!(state.requests[0].key_id.as_ref(), Some(&world.admin.0));
}

#[tokio::test]
async fn an_incomplete_rotation_is_attempted_again_with_the_same_token() {
    let world = World::new().await;
    let tokens = RefCell::new(Vec::new());
    let refuse = async |event: Value| {
        tokens
            .borrow_mut()
            .push(event["ClientRequestToken"].clone());
        Err("no".to_owned())
    };

    let failed = world.simulator.rotate(&world.arn, &refuse).await;
    world.simulator.rotate(&world.arn, &refuse).await;
    world.simulator.abandon(&world.arn);
    world.simulator.rotate(&world.arn, &refuse).await;

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
async fn a_new_version_has_no_value_until_it_is_put_once_and_for_all() {
    let world = World::new().await;
    let token = world.simulator.begin_rotation(&world.arn);
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
async fn awscurrent_moves_only_from_where_it_is() {
    let world = World::new().await;
    let old = world.simulator.state().secret(&world.arn).labels["AWSCURRENT"].clone();
    let new = world.simulator.begin_test(&world.arn);
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
        .aws("UpdateSecretVersionStage", update(Some(&old)))
        .await;

    assert!(
        without["message"].as_str().unwrap().contains(&old),
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
        (&new, &old, &new)
    );
}

#[tokio::test]
async fn a_put_without_the_rotation_token_of_the_event_is_a_violation() {
    let world = World::new().await;
    let token = world.simulator.begin_rotation(&world.arn);

    let put = json!({ "ClientRequestToken": token, "SecretString": "{}", "VersionStages": ["AWSPENDING"] });
    world.aws("PutSecretValue", put).await;

    world.assert_violated("RotationToken");
}

#[tokio::test]
async fn a_person_s_put_abandons_the_rotation() {
    let world = World::new().await;
    world.simulator.begin_rotation(&world.arn);

    world
        .simulator
        .put_by_hand(&world.arn, &document(&world.key));

    assert_eq!(world.simulator.state().secret(&world.arn).pending(), None);
}

#[tokio::test]
async fn a_rotation_that_only_tests_leaves_nothing_behind() {
    let world = World::new().await;
    let seen = RefCell::new(Vec::new());

    let outcome = world
        .simulator
        .test_only(&world.arn, &async |event| {
            let state = world.simulator.state();
            let secret = state.secret(&world.arn);
            assert_eq!(secret.value("AWSPENDING"), secret.value("AWSCURRENT"));
            seen.borrow_mut().push(event["Step"].clone());
            Ok(())
        })
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(*seen.borrow(), ["testSecret"]);
    assert_eq!(world.simulator.state().secret(&world.arn).pending(), None);
}
