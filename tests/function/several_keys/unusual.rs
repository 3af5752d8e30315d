//! Failures between the creations of several keys, and of their storage.

use super::*;

fn second_post() -> impl Fn(&Request) -> bool + Send + 'static {
    let posts = std::sync::atomic::AtomicUsize::new(0);
    move |request| {
        let nth = || posts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        creates_a_key(request) && nth() == 1
    }
}

#[tokio::test]
async fn if_the_second_key_cannot_be_created_the_first_one_is_deleted() {
    for response in [
        Response::confluent_forbidden(),
        Response::empty(400),
        Response::json(201, &json!({"id": "x"})),
        Response::empty(502),
    ] {
        let world = World::new(TWO_KEYS).await;
        let keys = world.all_keys();
        world.simulator.respond_with(1, second_post(), response);

        let error = world.step_error("createSecret", "the second POST").await;

        let message = &error.error_message;
        assert!(
            message.contains("`schemaRegistryApiKey` (lsrc-further)"),
            "{message}"
        );
        assert_eq!(world.all_keys(), keys, "{message}");
        assert_eq!(world.count(is_operation("PutSecretValue")), 0);
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.assert_rotated(TWO_KEYS, message);
    }
}

/// Its tag identifies it as an orphan.
#[tokio::test]
async fn a_first_key_that_cannot_be_deleted_is_deleted_by_finish_secret() {
    let world = World::new(TWO_KEYS).await;
    let forbidden = Response::confluent_forbidden();
    world.simulator.respond_with(1, second_post(), forbidden);
    let denied = Response::aws_access_denied("GetSecretValue");
    let reads = std::sync::atomic::AtomicUsize::new(0);
    // After the current value, the pending version and the admin secret.
    let is_pending = move |request: &Request| {
        let nth = || reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        is_operation("GetSecretValue")(request) && nth() == 3
    };
    world.simulator.respond_with(1, is_pending, denied);

    world.step_error("createSecret", "the second POST").await;

    assert_eq!(world.keys().len(), 3);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.assert_rotated(TWO_KEYS, "the orphan");
}

#[tokio::test]
async fn if_the_keys_cannot_be_stored_both_are_deleted() {
    let world = World::new(TWO_KEYS).await;
    let keys = world.all_keys();
    let denied = Response::aws_access_denied("PutSecretValue");
    world
        .simulator
        .respond_with(1, is_operation("PutSecretValue"), denied);

    let error = world.step_error("createSecret", "denied").await;

    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn the_keys_of_an_invocation_that_stores_too_late_are_deleted() {
    let world = World::new(TWO_KEYS).await;
    let other = async || world.run_steps(&["createSecret"]).await;

    let outcome = world
        .step_while("createSecret", is_operation("PutSecretValue"), other)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    world.run_steps(&["testSecret", "finishSecret"]).await;
    world.assert_rotated(TWO_KEYS, "the first invocation that stores");
}

/// A configuration is tested with a copy of the current value.
#[tokio::test]
async fn a_test_of_the_configuration_verifies_all_keys_and_never_heals() {
    let world = World::new(TWO_KEYS).await;

    let outcome = world.test_configuration().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let probed = |resource: &str| {
        let state = world.simulator.state();
        let mut requests = state.requests.iter();
        requests.any(|request| is_probe(request) && request.name().contains(resource))
    };
    assert!(probed("lkc-orders") && probed("subjects"));
    assert_eq!(world.count(creates_a_key), 0);
}

/// A user stores one of the pending keys manually.
#[tokio::test]
async fn a_pending_value_with_half_of_a_pair_is_healed() {
    for (id, secret) in [("apiKey", "apiSecret"), (REGISTRY_KEY, REGISTRY_SECRET)] {
        let world = World::new(TWO_KEYS).await;
        let current = world.value("AWSCURRENT");
        world.run_steps(&["createSecret"]).await;
        world.overwrite_pending(|value| {
            value[id] = current[id].clone();
            value[secret] = current[secret].clone();
        });

        let error = world.step_error("finishSecret", id).await;

        assert_eq!(error.error_type, "PendingIsCurrent", "{error:?}");
        assert_eq!(world.version("AWSPENDING"), None, "{id}");
        assert_eq!(world.key_ids("AWSCURRENT"), world.initial_keys, "{id}");
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{id}");
        world.assert_rotated(TWO_KEYS, id);
    }
}
