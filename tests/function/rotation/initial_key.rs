//! A secret without a key: its first rotation creates the initial key, so that no user ever sees it.

use std::ops::Add;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::Permission;

use super::*;

const INITIAL_KEY: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::InitialKey,
    policy: OldKeyPolicy::Delete,
};

#[tokio::test]
async fn the_first_rotation_of_a_secret_without_a_key_creates_one_and_changes_no_other_byte() {
    let world = World::new(INITIAL_KEY).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let string = format!(
        "{{\r\n \"serviceAccountId\": \"{OWNER}\",\t\"resourceId\":\"lkc-orders\", \"password\": \"\", \"username\": null,\n \
         \"adminSecretArn\": {admin}, \"big\": 12345678901234567890123 \n}}\n"
    );
    world.simulator.store_manually(&world.arn, &string);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let id = world.key("AWSCURRENT").unwrap();
    let state = world.simulator.state();
    let (key, secret) = (&state.keys[&id], &state.keys[&id].secret);
    assert_eq!(
        (key.owner.as_deref(), key.resource.as_str()),
        (Some(OWNER), "lkc-orders")
    );
    let expected = string
        .replace(r#""password": """#, &format!(r#""password": "{secret}""#))
        .replace(r#""username": null"#, &format!(r#""username": "{id}""#))
        .replace(
            " \n}",
            &format!(r#","apiKey":"{id}","apiSecret":"{secret}""#).add(" \n}"),
        );
    let value = state.secret(&world.arn).value("AWSCURRENT");
    assert_eq!(value, Some(expected.as_str()));
}

#[tokio::test]
async fn every_step_fails_if_an_initial_key_is_not_allowed() {
    let mut world = World::new(INITIAL_KEY).await;
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    world.set_variable("INITIAL_KEY", "off");
    let keys = world.all_keys();

    for step in ["testSecret", "finishSecret"] {
        let error = world.step_error(step, "not allowed").await;
        assert_eq!(error.error_type, "InitialKeyNotAllowed", "{step}");
    }
    world.simulator.abandon_rotation(&world.arn);
    let error = world.step_error("createSecret", "not allowed").await;

    assert_eq!(error.error_type, "InitialKeyNotAllowed");
    assert!(
        error.error_message.contains("INITIAL_KEY=allow"),
        "{error:?}"
    );
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn an_initial_key_is_not_created_without_an_admin_secret() {
    let world = World::new(INITIAL_KEY).await;
    world.change_value(|value| value["adminSecretArn"] = Value::Null);
    let keys = world.all_keys();

    let error = world
        .step_error("createSecret", "no admin secret is configured")
        .await;

    assert_eq!(error.error_type, "InitialKeyRequiresAdminSecret");
    assert!(error.error_message.contains("adminSecretArn"), "{error:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_configuration_test_sends_no_probe_before_there_is_a_key() {
    let world = World::new(INITIAL_KEY).await;
    let invoke = async |event| {
        let outcome = world.invoke(event).await;
        outcome.map_err(|error| format!("{error:?}"))
    };

    let outcome = world
        .simulator
        .test_configuration(&world.arn, &invoke)
        .await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.count(is_probe), 0);
}

/// A 403 shows that the owner lacks a permission only if the endpoint distinguishes the key from a wrong secret.
#[tokio::test]
async fn a_403_verifies_an_initial_key_only_if_a_wrong_secret_gets_a_401() {
    for rejects_wrong_secret in [true, false] {
        let mut world = World::new(INITIAL_KEY).await;
        world.run_steps(&["createSecret", "setSecret"]).await;
        let forbidden = ("lkc-orders".to_owned(), Permission::Denied);
        world.simulator.state().controls.permissions = [forbidden].into();
        if !rejects_wrong_secret {
            let body = json!({"error_code": 40301, "message": "Request is not authorized"});
            world
                .simulator
                .respond_with(usize::MAX, is_probe, Response::json(403, &body));
            world.time_limit = SHORT_TIME_LIMIT;
        }

        let tested = world.step("testSecret").await;

        assert_eq!(tested.is_ok(), rejects_wrong_secret, "{tested:?}");
    }
}

/// Only an endpoint that accepts a wrong secret or denies it with 403 accepts any credential.
#[tokio::test]
async fn a_failed_probe_with_a_wrong_secret_is_reported_as_the_last_outcome_for_an_initial_key() {
    for (status, error) in [
        (200, "EndpointAcceptsAnyCredential"),
        (403, "EndpointAcceptsAnyCredential"),
        (503, "PendingKeyNotAccepted"),
        (429, "PendingKeyNotAccepted"),
    ] {
        let mut world = World::new(INITIAL_KEY).await;
        world.run_steps(&["createSecret", "setSecret"]).await;
        let probes = AtomicUsize::new(0);
        let is_first_of_two = move |request: &Request| {
            is_probe(request) && probes.fetch_add(1, Relaxed).is_multiple_of(2)
        };
        let [forbidden, response] = [403, status].map(|status| Response::json(status, &json!({})));
        let simulator = &world.simulator;
        simulator.respond_with(usize::MAX, is_first_of_two, forbidden);
        simulator.respond_with(usize::MAX, is_probe, response);
        world.time_limit = SHORT_TIME_LIMIT;

        let failed = world.step_error("testSecret", &status.to_string()).await;

        assert_eq!(failed.error_type, error, "{failed:?}");
    }
}

/// A user empties a secret so that another key is created. The key of the version before it may be in use.
#[tokio::test]
async fn the_key_of_a_secret_that_was_emptied_is_kept_until_another_is_current() {
    let mut world = World::new(Setting::default()).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let emptied = world.key("AWSCURRENT").unwrap();
    world
        .simulator
        .state()
        .secret_mut(&world.arn)
        .current_key_guarantee = CurrentKeyGuarantee::Off;
    world.change_value(|value| {
        value["apiKey"] = json!("");
        value["apiSecret"] = json!("");
    });
    world.set_variable("INITIAL_KEY", "allow");

    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;

    assert!(world.all_keys().contains(&emptied));
    world.run_steps(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"it has the ownership tag of the secret");
}

/// The environment and the organization are in the key's metadata.
#[tokio::test]
async fn an_initial_key_that_reads_do_not_return_yet_is_read_again() {
    for key_type in [KeyType::Kafka, KeyType::SchemaRegistry, KeyType::Flink] {
        for lag in [1, 2] {
            let world = World::new(Setting {
                key_type,
                mode: Mode::InitialKey,
                ..Setting::default()
            })
            .await;
            if key_type != KeyType::Flink {
                world.change_value(|value| {
                    value.as_object_mut().unwrap().remove("environmentId");
                });
            }
            world.simulator.state().controls.read_lag = lag;

            let outcome = world.rotate().await;

            assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}, {lag}");
        }
    }
}
