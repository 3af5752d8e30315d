//! Copies of the key in other fields, and fields of other applications.

use super::layouts::Layout;
use super::*;
use crate::generated::key;

/// Returns a value as another application may write it: unusual whitespace, order, numbers and escapes, and a repeated name.
fn value_of_another_application(world: &World, (id, secret): (&str, &str)) -> String {
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let jaas = format!(
        r#"org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{id}\" password=\"{secret}\";"#
    );
    format!(
        "\n{{ \"zeta\" : 1.50e+2,\t\"big\": 12345678901234567890123,\"apiSecret\":\"{secret}\",\r\n \
         \"caf\\u00e9\": \"\\u00fc\\/\", \"twice\": 1, \"twice\": 2, \"apiKey\" : \"{id}\",\n \
         \"serviceAccountId\":\"{OWNER}\", \"resourceId\": \"lkc-orders\", \"environmentId\": \"{ENVIRONMENT}\",\n \
         \"adminSecretArn\": {admin}, \"nested\": {{\"apiKey\": \"unchanged\", \"none\": null}},\n \
         \"username\": \"{id}\", \"password\": \"{secret}\", \"sasl.username\": \"{id}\",\n \
         \"sasl.password\": \"{secret}\", \"sasl.jaas.config\": \"{jaas}\",\n \
         \"basic.auth.user.info\": \"{id}:{secret}\" }}\n"
    )
}

#[tokio::test]
async fn a_rotation_replaces_every_copy_of_the_key_and_changes_no_other_byte() {
    let world = World::new(Setting::default()).await;
    let initial_secret = world.value("AWSCURRENT")["apiSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    let value = value_of_another_application(&world, (&world.initial_key, &initial_secret));
    world.simulator.store_manually(&world.arn, &value);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    let state = world.simulator.state();
    let expected = value
        .replace(&world.initial_key, &current)
        .replace(&initial_secret, &state.keys[&current].secret);
    assert_eq!(
        state.secret(&world.arn).value("AWSCURRENT"),
        Some(expected.as_str())
    );
}

/// Adds a layout with the current key to the current value. Returns the value.
fn add_layout(world: &World, layout: &Layout) -> String {
    let (id, secret) = world.current_key(&world.arn);
    let json = world.value("AWSCURRENT").to_string();
    let members = layout.members_with(&key(id, secret));
    let json = format!("{},{members}}}", json.strip_suffix('}').unwrap());
    world.simulator.store_manually(&world.arn, &json);
    json
}

#[tokio::test]
async fn rotations_replace_the_key_in_a_layout_under_every_policy() {
    let layouts = Layout::all();
    let names = [
        "environment names, as ECS and External Secrets inject them",
        "a complete client.properties in one string",
        "Airflow connection URI",
        "JSON written by PHP, in a string of JSON",
        "HTTP header with the pair in base64",
        "the ID as a member name, and another key",
    ];
    for (name, policy) in names
        .into_iter()
        .flat_map(|name| POLICIES.map(|policy| (name, policy)))
    {
        let layout = layouts.iter().find(|layout| layout.name == name).unwrap();
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        let before = add_layout(&world, layout);
        let (first_id, first_secret) = world.current_key(&world.arn);
        let filled = layout.members_with(&key(first_id.clone(), first_secret.clone()));

        for _ in 0..3 {
            assert_eq!(
                world.rotate().await,
                Outcome::Succeeded,
                "{name}, {policy:?}"
            );
        }

        let state = world.simulator.state();
        let secret = state.secret(&world.arn);
        let (id, api_secret) = secret.key("AWSCURRENT").unwrap();
        let members = layout.members_after_replacement(&key(id.clone(), api_secret.clone()));
        let expected = before
            .replace(&filled, &members)
            .replace(&first_id, &id)
            .replace(&first_secret, &api_secret);
        assert_eq!(
            secret.value("AWSCURRENT"),
            Some(expected.as_str()),
            "{name}, {policy:?}"
        );
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_replaced_fails_before_any_request_to_confluent() {
    for policy in POLICIES {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        world.change_value(|value| {
            let secret = value["apiSecret"].as_str().unwrap().replace('+', "&#43;");
            value["kube"] = json!({"user": value["apiKey"], "password": secret});
        });

        let error = world
            .step_error("createSecret", "a trace of the secret")
            .await;

        assert_eq!(error.error_type, "InvalidSecretValue");
        let message = error.error_message;
        assert!(
            message.contains("`kube/password`") && message.contains("base64"),
            "{message}"
        );
        assert_eq!(world.count(is_to_confluent), 0);
    }
}

#[tokio::test]
async fn a_second_key_in_the_secret_is_unchanged_and_reported_without_a_remedy() {
    let world = World::new(Setting::default()).await;
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lsrc-orders"), Some(ENVIRONMENT));
    world.change_value(|value| {
        value["schema.registry.basic.auth.user.info"] = json!(format!("{id}:{secret}"));
    });

    let report = world.preflight().await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let mut checks = report.checks.iter();
    let finding = &checks
        .find(|check| check.name == "key-copies")
        .unwrap()
        .finding;
    assert!(
        finding.observed.contains(
            "another key, which is not replaced, in `schema.registry.basic.auth.user.info`"
        ),
        "{finding:?}"
    );
    assert_eq!(finding.remedy, None);
    let value = world.value("AWSCURRENT");
    assert_eq!(
        value["schema.registry.basic.auth.user.info"],
        json!(format!("{id}:{secret}"))
    );
    assert!(world.all_keys().contains(&id));
}

/// A response that is not Confluent Cloud's may contain any string.
#[tokio::test]
async fn a_created_key_that_is_malformed_is_not_stored_and_becomes_an_orphan() {
    for secret in [
        "short",
        "with a space, 0123456789012345678901",
        "with \"quotes\", 0123456789012345678901",
        "ümlauts-0123456789012345678901234567890",
    ] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().controls.issued_secret = Some(secret.to_owned());

        let error = world.step_error("createSecret", secret).await;

        assert_eq!(error.error_type, "ConfluentInvalidResponse", "{secret}");
        assert!(!error.error_message.contains(secret), "{error:?}");
        assert_eq!(world.key("AWSPENDING"), None, "{secret}");
        assert_eq!(world.count(deletes_a_key), 0, "{secret}");
        world.simulator.state().controls.issued_secret = None;
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{secret}");
        world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &secret);
    }
}

/// The list does not contain the current key, as if a list lagged. Such a response is no evidence that a key was created.
#[tokio::test]
async fn a_created_key_with_the_id_of_the_current_key_is_neither_stored_nor_deleted() {
    for secret in [
        "short",
        "cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6SjzZ12wZfwjaJdipHZtDjw",
    ] {
        let world = World::new(Setting::default()).await;
        let simulator = &world.simulator;
        let other = simulator
            .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT))
            .0;
        let listed = {
            let mut key = json!({"id": other, "spec": {"owner": {"id": OWNER}}});
            key["spec"]["resource"] = json!({"id": "lkc-orders", "environment": ENVIRONMENT});
            json!({"data": [key], "metadata": {}})
        };
        let lists_keys = |request: &Request| request.name() == "GET /iam/v2/api-keys";
        simulator.respond_with(usize::MAX, lists_keys, Response::json(200, &listed));
        let created = json!({"id": world.initial_key, "spec": {"secret": secret}});
        simulator.respond_with(1, creates_a_key, Response::json(202, &created));

        let error = world.step_error("createSecret", secret).await;

        assert_eq!(error.error_type, "CreationOutcomeUnknown", "{error:?}");
        assert_eq!(world.count(deletes_a_key), 0, "{secret}");
        assert_eq!(world.key("AWSPENDING"), None, "{secret}");
    }
}
