//! The fields of a secret that are not the key's.

use super::*;

/// A value as another program wrote it: its own spacing and order, numbers and escapes in every spelling, a name twice.
fn written_elsewhere(world: &World, (id, secret): (&str, &str)) -> String {
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let jaas = format!(
        r#"org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{id}\" password=\"{secret}\";"#
    );
    format!(
        "\n{{ \"zeta\" : 1.50e+2,\t\"big\": 12345678901234567890123,\"apiSecret\":\"{secret}\",\r\n \
         \"caf\\u00e9\": \"\\u00fc\\/\", \"twice\": 1, \"twice\": 2, \"apiKey\" : \"{id}\",\n \
         \"serviceAccountId\":\"{OWNER}\", \"resourceId\": \"lkc-orders\", \"environmentId\": \"{ENVIRONMENT}\",\n \
         \"adminSecretArn\": {admin}, \"nested\": {{\"apiKey\": \"left as it is\", \"none\": null}},\n \
         \"username\": \"{id}\", \"password\": \"{secret}\", \"sasl.username\": \"{id}\",\n \
         \"sasl.password\": \"{secret}\", \"sasl.jaas.config\": \"{jaas}\",\n \
         \"basic.auth.user.info\": \"{id}:{secret}\" }}\n"
    )
}

/// Fields of the secret that are not ours come out of a rotation exactly as they went in: value, JSON type, order.
#[tokio::test]
async fn a_rotation_changes_the_key_wherever_it_stands_and_no_other_byte() {
    let world = World::new(Setting::default()).await;
    let first_secret = world.value("AWSCURRENT")["apiSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = written_elsewhere(&world, (&world.first_key, &first_secret));
    world.simulator.put_by_hand(&world.arn, &text);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    let state = world.simulator.state();
    let expected = text
        .replace(&world.first_key, &current)
        .replace(&first_secret, &state.keys[&current].secret);
    assert_eq!(
        state.secret(&world.arn).value("AWSCURRENT"),
        Some(expected.as_str())
    );
}

#[tokio::test]
async fn fields_that_look_like_the_keys_and_hold_another_stay_as_they_are() {
    let world = World::new(Setting::default()).await;
    world.edit(|value| {
        value["username"] = json!("somebody");
        value["password"] = json!("something");
        value["sasl.username"] = value["apiKey"].clone();
        value["sasl.password"] = json!("something");
    });
    let before = world.value("AWSCURRENT");

    let (outcome, lines) = logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let after = world.value("AWSCURRENT");
    for field in ["username", "password", "sasl.username", "sasl.password"] {
        assert_eq!(after[field], before[field], "{field}");
        let is_said =
            |line: &Value| line["level"] == "WARN" && line["message"].to_string().contains(field);
        assert!(lines.iter().any(is_said), "{field}: {lines:#?}");
    }
}
