//! A secret without a key: its first rotation creates the initial key, so that no user ever sees it.

use std::ops::Add;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use confluent_key_rotation::preflight::{Check, Outcome as Checked};
use simulator::{CurrentKeyGuarantee, Permission};

use super::*;

const INITIAL_KEY: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::InitialKey,
    policy: OldKeyPolicy::Delete,
    further: &[],
};

#[tokio::test]
async fn the_first_rotation_of_a_secret_without_a_key_creates_one_and_changes_no_other_byte() {
    let world = World::new(INITIAL_KEY).await;
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let string = format!(
        "{{\r\n \"serviceAccountId\": \"{OWNER}\",\t\"resourceId\":\"lkc-orders\", \"password\": \"${{apiSecret}}\",\n \
         \"uri\": \"https://${{apiKey}}:${{apiSecret}}@psrc\", \"username\": null, \"adminSecretArn\": {admin}, \"big\": 12345678901234567890123 \n}}\n"
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
    let encoded = secret.replace('+', "%2B").replace('/', "%2F");
    let expected = string
        .replace("${apiKey}:${apiSecret}@", &format!("{id}:{encoded}@"))
        .replace("${apiSecret}", secret)
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

    let outcome = world.test_configuration().await;

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

/// Names under which applications read a key, with the key.
fn other_fields(id: &str, secret: &str) -> [(&'static str, Value); 7] {
    [
        (
            "`username`, `password`",
            json!({"username": id, "password": secret}),
        ),
        (
            "`api_key`, `api_secret`",
            json!({"api_key": id, "api_secret": secret}),
        ),
        (
            "`CONFLUENT_CLOUD_API_KEY`, `CONFLUENT_CLOUD_API_SECRET`",
            json!({"CONFLUENT_CLOUD_API_KEY": id, "CONFLUENT_CLOUD_API_SECRET": secret}),
        ),
        (
            "`kafka/key`, `kafka/secrets/0`",
            json!({"kafka": {"key": id, "secrets": [secret]}}),
        ),
        (
            "`sasl.jaas.config`",
            json!({"sasl.jaas.config": format!("username=\"{id}\" password=\"{secret}\";")}),
        ),
        (
            "`basic.auth.user.info`",
            json!({"basic.auth.user.info": format!("{id}:{secret}")}),
        ),
        ("`users/", json!({"users": {id: secret}})),
    ]
}

/// Moves the current key to other fields. `blank` remains in `apiKey`.
fn move_key(world: &World, fields: &Value, blank: Value) {
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| {
        let value = value.as_object_mut().unwrap();
        value.insert("apiKey".to_owned(), blank);
        value.remove("apiSecret");
        value.extend(fields.as_object().unwrap().clone());
    });
}

#[tokio::test]
async fn a_key_in_other_fields_is_an_error_that_names_them() {
    for mode in [Mode::Admin, Mode::SelfRotation] {
        for initial_key in ["off", "allow"] {
            let key_type = if mode == Mode::Admin {
                KeyType::Kafka
            } else {
                KeyType::Cloud
            };
            let setting = Setting {
                key_type,
                mode,
                policy: OldKeyPolicy::Delete,
                further: &[],
            };
            let cases = other_fields("", "").len();
            for nth in 0..cases {
                let mut world = World::new(setting).await;
                world.set_variable("INITIAL_KEY", initial_key);
                let (id, secret) = world.current_key(&world.arn);
                let (names, fields) = other_fields(&id, &secret)[nth].clone();
                let blank = [Value::Null, json!(" "), json!("${apiKey}")][nth % 3].clone();
                move_key(&world, &fields, blank);
                let keys = world.all_keys();

                let report = world.preflight().await;
                let error = world.step_error("createSecret", names).await;

                let case = format!("{mode:?}, {initial_key}, {names}");
                assert_eq!(world.all_keys(), keys, "{case}");
                assert_eq!(error.error_type, "InvalidSecretValue", "{case}");
                let message = &error.error_message;
                let mut others = names.split(", ");
                let are_named = others.all(|name| message.contains(name));
                assert!(are_named, "{case}: {message}");
                assert!(
                    message.contains("rename") && !message.contains("INITIAL_KEY"),
                    "{case}: {message}"
                );
                assert!(!message.contains(&secret), "{case}");
                let is_reported = |check: &&Check| {
                    check
                        .finding
                        .observed
                        .contains("there seems to be an API key")
                };
                let failed: Vec<&Check> = report.checks.iter().filter(is_reported).collect();
                assert!(
                    failed
                        .iter()
                        .any(|check| check.finding.outcome == Checked::Failed),
                    "{case}: {report:#?}"
                );
            }
        }
    }
}
