//! Copies of the key in other fields, and fields of other applications.

use super::*;

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

#[tokio::test]
async fn fields_that_do_not_hold_the_current_key_are_unchanged_with_a_warning() {
    let world = World::new(Setting::default()).await;
    world.change_value(|value| {
        value["username"] = json!("another user");
        value["password"] = json!("another password");
        value["sasl.username"] = value["apiKey"].clone();
        value["sasl.password"] = json!("another password");
    });
    let before = world.value("AWSCURRENT");

    let (outcome, lines) = telemetry::logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let after = world.value("AWSCURRENT");
    for field in ["username", "password", "sasl.username", "sasl.password"] {
        assert_eq!(after[field], before[field], "{field}");
        let is_warning =
            |line: &Value| line["level"] == "WARN" && line["message"].to_string().contains(field);
        assert!(lines.iter().any(is_warning), "{field}: {lines:#?}");
    }
}
