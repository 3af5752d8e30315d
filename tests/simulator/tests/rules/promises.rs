//! What is recorded as a violation: broken promises, and requests that nothing documents.

use serde_json::{Value, json};
use simulator::{Answer, Fault, Simulator, Watch};

use crate::{CLUSTER, ENVIRONMENT, OWNER, World, send};

#[tokio::test]
async fn a_misspelt_field_is_a_violation() {
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
            .control("POST /iam/v2/api-keys", &json!({ "spec": spec }))
            .await;
        world.assert_violated(field);
    }
    world
        .control("GET /iam/v2/api-keys?owner=sa-app", &Value::Null)
        .await;
    world.assert_violated("unknown query parameter owner");
    world.control("PUT /iam/v2/api-keys", &Value::Null).await;
    world.assert_violated("no such path");
}

#[tokio::test]
async fn a_key_at_a_wrong_resource_is_a_violation() {
    let world = World::new().await;
    let (status, body) = world.probe(&world.admin).await;

    assert_eq!(status, 401);
    assert!(body.contains("HTTP ERROR 401"), "{body}");
    world.assert_violated("promise 6");
}

#[tokio::test]
async fn a_key_that_is_in_use_or_foreign_must_not_be_deleted() {
    let world = World::new().await;
    world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
    let (foreign, _) = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));

    world
        .control(&format!("DELETE /iam/v2/api-keys/{foreign}"), &Value::Null)
        .await;
    world.assert_violated("promise 4");
    world
        .control(
            &format!("DELETE /iam/v2/api-keys/{}", world.key.0),
            &Value::Null,
        )
        .await;
    world.assert_violated("promise 2");
}

#[tokio::test]
async fn a_previous_key_is_kept_until_the_next_rotation_begins() {
    let world = World::new().await;
    world.simulator.state().knobs.keep_previous = true;
    let delete = format!("DELETE /iam/v2/api-keys/{}", world.key.0);
    world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    let next = world.simulator.state().requests.len();
    world.simulator.fail(next, Fault::InternalError);
    world.control(&delete, &Value::Null).await;
    assert!(
        world.violations().is_empty(),
        "a request that is not carried out deletes nothing"
    );
    world.simulator.begin_rotation(&world.arn);
    world.control(&delete, &Value::Null).await;

    assert!(world.violations().is_empty());
    assert!(
        world
            .simulator
            .state()
            .deleted_keys
            .contains_key(&world.key.0)
    );
}

#[tokio::test]
async fn a_current_key_that_is_not_accepted_yet_is_reported_once() {
    let world = World::new().await;
    world.simulator.state().knobs.settling = vec![401];

    world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    world.aws("DescribeSecret", json!({})).await;

    let violations = world.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(
        violations[0].contains("UpdateSecretVersionStage: promise 1"),
        "{violations:?}"
    );
}

#[tokio::test]
async fn a_secret_in_a_url_is_a_violation_and_is_not_repeated() {
    let world = World::new().await;
    let request = format!(
        "GET /iam/v2/api-keys?spec.owner={}",
        world.key.1.replace('+', "%2B")
    );

    world.control(&request, &Value::Null).await;

    let violations = world.violations();
    assert!(violations[0].contains("promise 5"), "{violations:?}");
    assert!(
        world
            .simulator
            .canaries()
            .iter()
            .all(|canary| !violations.concat().contains(canary))
    );
}

#[tokio::test]
#[should_panic(expected = "no such path")]
async fn the_last_handle_panics_with_what_was_wrong() {
    let simulator = Simulator::start().await;
    let clone = simulator.clone();
    send(&simulator.confluent_url(), "GET /nowhere HTTP/1.1", "")
        .await
        .unwrap();
    drop(simulator);
    drop(clone);
}

#[tokio::test]
async fn a_panic_of_the_simulator_is_a_violation() {
    let world = World::new().await;
    world.simulator.answer(
        1,
        |request| panic!("{}", request.label()),
        Answer::empty(200),
    );

    assert!(
        send(&world.simulator.confluent_url(), "GET / HTTP/1.1", "")
            .await
            .is_err()
    );

    world.assert_violated("the simulator panicked");
}
