//! Violations: broken guarantees, and requests that no documentation allows.

use serde_json::{Value, json};
use simulator::{Response, Simulator};

use crate::{CLUSTER, OWNER, World, send};

#[tokio::test]
async fn a_misspelled_field_is_a_violation() {
    let world = World::new().await;
    for (spec, field) in [
        (
            json!({ "owner": { "id": OWNER }, "display-name": "x" }),
            "display-name",
        ),
        (
            json!({ "owner": { "id": OWNER, "kind": "ServiceAccount" } }),
            "kind",
        ),
        (
            json!({ "owner": { "id": OWNER }, "resource": { "id": CLUSTER, "kind": "Cluster" } }),
            "kind",
        ),
    ] {
        world
            .control_plane("POST /iam/v2/api-keys", &json!({ "spec": spec }))
            .await;
        world.assert_violation(field);
    }
    world
        .control_plane("GET /iam/v2/api-keys?owner=sa-app", &Value::Null)
        .await;
    world.assert_violation("unknown query parameter owner");
    world
        .control_plane("PUT /iam/v2/api-keys", &Value::Null)
        .await;
    world.assert_violation("the path does not exist");
}

#[tokio::test]
async fn sending_a_key_to_another_resource_is_a_violation() {
    let world = World::new().await;
    let (status, body) = world.probe(&world.admin).await;

    assert_eq!(status, 401);
    assert!(body.contains("HTTP ERROR 401"), "{body}");
    world.assert_violation("a credential is sent only to its own service");
}

#[tokio::test]
async fn a_current_key_that_is_not_accepted_is_one_violation() {
    let world = World::new().await;
    world.simulator.state().controls.propagation_statuses = vec![401];

    world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    world.aws("DescribeSecret", json!({})).await;

    let violations = world.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(
        violations[0]
            .contains("UpdateSecretVersionStage: broken guarantee (AWSCURRENT names a key"),
        "{violations:?}"
    );
}

#[tokio::test]
async fn a_secret_in_a_url_is_a_violation_that_does_not_contain_the_secret() {
    let world = World::new().await;
    let request = format!(
        "GET /iam/v2/api-keys?spec.owner={}",
        world.key.1.replace('+', "%2B")
    );

    world.control_plane(&request, &Value::Null).await;

    let violations = world.violations();
    assert!(
        violations[0].contains("no secret value appears where it may be logged"),
        "{violations:?}"
    );
    assert!(
        world
            .simulator
            .canaries()
            .iter()
            .all(|canary| !violations.concat().contains(canary))
    );
}

#[tokio::test]
#[should_panic(expected = "the path does not exist")]
async fn dropping_the_last_handle_reports_the_violations() {
    let simulator = Simulator::start().await;
    let clone = simulator.clone();
    send(&simulator.confluent_url(), "GET /nowhere HTTP/1.1", "")
        .await
        .unwrap();
    drop(simulator);
    drop(clone);
}

#[tokio::test]
async fn a_panic_in_the_simulator_is_a_violation() {
    let world = World::new().await;
    world.simulator.respond_with(
        1,
        |request| panic!("{}", request.name()),
        Response::empty(200),
    );

    assert!(
        send(&world.simulator.confluent_url(), "GET / HTTP/1.1", "")
            .await
            .is_err()
    );

    world.assert_violation("the simulator panicked");
}
