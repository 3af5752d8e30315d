//! Changes that users and other programs make to a secret and its keys while a rotation is in progress.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::*;

#[tokio::test]
async fn the_previous_key_is_kept_if_the_current_key_was_deleted() {
    let mut world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let deleted = world.key("AWSCURRENT").unwrap();
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.simulator.delete_key_manually(&deleted);
    world.set_variable("CURRENT_KEY_CHECK", "off");

    world.run_steps(&["createSecret"]).await;

    let pending = world.key("AWSPENDING").unwrap();
    world.assert_keys(
        &[world.initial_key.clone(), pending],
        &"the last valid key is kept",
    );
}

#[tokio::test]
async fn a_binary_previous_value_does_not_fail_the_rotation() {
    let world = World::new(Setting::default()).await;
    let value = world.value("AWSCURRENT").to_string();
    {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        let version = secret.labels["AWSCURRENT"].clone();
        let version = secret
            .versions
            .get_mut(&version)
            .expect("the current version");
        version.value = Some(SecretValue::Binary(b"bytes".to_vec()));
    }
    world.simulator.store_manually(&world.arn, &value);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
}

/// Returns a world in which the first `PutSecretValue` of createSecret takes effect without a response, and the role then loses its
/// permission, and the number of these requests so far.
async fn with_lost_store() -> (World, Arc<AtomicUsize>) {
    let undisturbed = World::new(Setting::default()).await;
    undisturbed.run_steps(&["createSecret"]).await;
    let requests = undisturbed.simulator.state().request_names();
    let store = requests.iter().position(|name| name == "PutSecretValue");
    let world = World::new(Setting::default()).await;
    let store = store.expect("a PutSecretValue");
    world.simulator.fail(store, simulator::Fault::ResetAfter);
    let stores = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stores);
    let is_retry = move |request: &Request| {
        is_operation("PutSecretValue")(request) && count.fetch_add(1, Relaxed) > 0
    };
    let denied = Response::aws_access_denied("PutSecretValue");
    world.simulator.respond_with(usize::MAX, is_retry, denied);
    (world, stores)
}

fn assert_stored_key_is_kept(world: &World, case: &str) {
    let pending = world.key("AWSPENDING").expect("a stored value");
    world.assert_keys(&[world.initial_key.clone(), pending], &case);
}

#[tokio::test]
async fn the_key_of_a_stored_value_that_can_no_longer_be_read_is_kept() {
    let value = |content: &str| Response::json(200, &json!({"SecretString": content}));
    for (case, response) in [
        ("denied", Response::aws_access_denied("GetSecretValue")),
        ("denied by the KMS key", Response::aws_kms_denied()),
        ("no JSON", value("no JSON")),
        ("without keys", value("{}")),
        ("truncated", Response::json(200, &json!({})).truncated(10)),
    ] {
        let (world, stores) = with_lost_store().await;
        let is_later_read = move |request: &Request| {
            is_operation("GetSecretValue")(request) && stores.load(Relaxed) > 0
        };
        world
            .simulator
            .respond_with(usize::MAX, is_later_read, response);

        let outcome = world.step("createSecret").await;

        let error = outcome.expect_err("the value is not known to be stored");
        let message = error.error_message;
        assert!(message.contains("PutSecretValue"), "{case}: {message}");
        assert_stored_key_is_kept(&world, case);
    }
}

#[tokio::test]
async fn the_key_of_a_stored_value_that_a_read_does_not_find_yet_is_kept() {
    let (world, _) = with_lost_store().await;
    world.simulator.state().controls.value_lag = 2;

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_stored_key_is_kept(&world, "not found yet");
}

#[tokio::test]
async fn a_key_that_is_created_after_the_rotation_succeeded_is_deleted() {
    let world = World::new(Setting::default()).await;
    let finish = async || {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    };

    let outcome = world
        .step_while("createSecret", is_operation("PutSecretValue"), finish)
        .await;

    assert!(outcome.is_err(), "its value can no longer be stored");
    let current = world.key("AWSCURRENT").expect("a rotated secret");
    assert_ne!(current, world.initial_key);
    world.assert_keys(&[current], &"the late key was deleted");
}

#[tokio::test]
async fn whitespace_in_the_admin_secret_is_ignored_with_a_warning() {
    let world = World::new(Setting::default()).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let admin = admin.as_str().expect("an ARN");
    let value = world
        .simulator
        .state()
        .secret(admin)
        .value("AWSCURRENT")
        .map(str::to_owned);
    let value = value.expect("a value").replace("\"}", "\\n\"}");
    // The simulator does not ignore the whitespace.
    world
        .simulator
        .state()
        .secret_mut(admin)
        .current_key_guarantee = CurrentKeyGuarantee::Off;
    world.simulator.store_manually(admin, &value);

    let (outcome, lines) = telemetry::logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let is_warning = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("apiSecret") && line["admin_secret"] == admin
    };
    assert!(lines.iter().any(is_warning), "{lines:#?}");
}
