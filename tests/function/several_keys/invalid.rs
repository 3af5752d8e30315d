//! Secret values with several keys that are rejected before a key is created.

use super::*;

/// A change of the value, and the fields that the error names.
type Invalid = (&'static str, fn(&mut Value), &'static [&'static str]);

fn remove(value: &mut Value, fields: &[&str]) {
    let object = value.as_object_mut().unwrap();
    object.retain(|name, _| !fields.contains(&name.as_str()));
}

const INVALID: &[Invalid] = &[
    (
        "no secret",
        |value| remove(value, &[REGISTRY_SECRET]),
        &[REGISTRY_SECRET, REGISTRY_ID],
    ),
    (
        "no ID",
        |value| remove(value, &[REGISTRY_KEY]),
        &[REGISTRY_KEY, REGISTRY_ID],
    ),
    (
        "only a resource",
        |value| remove(value, &[REGISTRY_KEY, REGISTRY_SECRET]),
        &[REGISTRY_KEY, REGISTRY_SECRET, REGISTRY_ID],
    ),
    (
        "an empty secret",
        |value| value[REGISTRY_SECRET] = json!(""),
        &[REGISTRY_SECRET],
    ),
    (
        "no ID but a placeholder",
        |value| value[REGISTRY_KEY] = json!("${schemaRegistryApiKey}"),
        &[REGISTRY_KEY],
    ),
    (
        "a number",
        |value| value[REGISTRY_ID] = json!(1),
        &[REGISTRY_ID],
    ),
    (
        "the resource of the main key",
        |value| value[REGISTRY_ID] = json!("lkc-orders"),
        &["resourceId", REGISTRY_ID],
    ),
    (
        "the main key",
        |value| {
            value[REGISTRY_KEY] = value["apiKey"].clone();
            value[REGISTRY_SECRET] = value["apiSecret"].clone();
        },
        &["apiKey", REGISTRY_KEY],
    ),
    (
        "two further keys for one resource",
        |value| {
            value["srApiKey"] = json!("ABCDEFGH12345678");
            value["srApiSecret"] = json!("x".repeat(64));
            value["srResourceId"] = value[REGISTRY_ID].clone();
        },
        &[REGISTRY_ID, "srResourceId"],
    ),
    (
        "a prefix of 33 characters",
        |value| {
            for name in ["ApiKey", "ApiSecret", "ResourceId"] {
                let field = format!("a23456789b123456789c123456789d123{name}");
                value[field] = value[format!("schemaRegistry{name}")].clone();
            }
            remove(value, &[REGISTRY_KEY, REGISTRY_SECRET, REGISTRY_ID]);
        },
        &["a23456789b123456789c123456789d123ResourceId"],
    ),
    (
        "an unknown resource",
        |value| value[REGISTRY_ID] = json!("lrsc-1"),
        &[REGISTRY_ID],
    ),
    (
        "a copy in an encoding that cannot be replaced",
        |value| {
            let secret = value[REGISTRY_SECRET]
                .as_str()
                .unwrap()
                .replace('/', "%252F");
            value["x"] = json!(secret.replace('+', "%252B"));
        },
        &["x"],
    ),
];

#[tokio::test]
async fn an_invalid_value_is_an_error_that_names_the_fields_and_creates_no_key() {
    for (name, change, fields) in INVALID {
        let world = World::new(TWO_KEYS).await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.change_value(change);
        let (value, keys) = (world.value("AWSCURRENT"), world.all_keys());

        let error = world.step_error("createSecret", name).await;

        let known = ["InvalidSecretValue", "UnknownResource"];
        assert!(
            known.contains(&error.error_type.as_str()),
            "{name}: {error:?}"
        );
        for field in *fields {
            let message = &error.error_message;
            assert!(message.contains(&format!("`{field}`")), "{name}: {message}");
        }
        assert_eq!(world.all_keys(), keys, "{name}");
        assert_eq!(world.count(creates_a_key), 0, "{name}");
        assert_eq!(world.value("AWSCURRENT"), value, "{name}");
    }
}

#[tokio::test]
async fn an_empty_slot_is_filled_only_if_initial_keys_are_allowed() {
    for initial_key in ["off", "allow"] {
        let mut world = World::new(TWO_KEYS).await;
        let kept = world.registry_key("AWSCURRENT");
        world.change_value(|value| {
            value[REGISTRY_KEY] = json!("${schemaRegistryApiKey}");
            value[REGISTRY_SECRET] = json!("");
            value["user.info"] = json!("${schemaRegistryApiKey}:${schemaRegistryApiSecret}");
        });
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.set_variable("INITIAL_KEY", initial_key);

        let outcome = world.rotate().await;

        if initial_key == "off" {
            let Outcome::Failed { error, .. } = outcome else {
                panic!("{outcome:?}");
            };
            assert!(error.contains("InitialKeyNotAllowed"), "{error}");
            let fields = "schemaRegistryApiKey and schemaRegistryApiSecret are missing, empty or placeholders";
            assert!(error.contains(fields), "{error}");
            let remedy =
                "Add schemaRegistryApiKey and schemaRegistryApiSecret, or set INITIAL_KEY=allow";
            assert!(error.contains(remedy), "{error}");
            continue;
        }
        assert_eq!(outcome, Outcome::Succeeded);
        let value = world.value("AWSCURRENT");
        let user_info = format!(
            "{}:{}",
            value[REGISTRY_KEY].as_str().unwrap(),
            value[REGISTRY_SECRET].as_str().unwrap()
        );
        assert_eq!(value["user.info"], user_info);
        assert!(world.all_keys().contains(&kept), "it was replaced manually");
    }
}

#[tokio::test]
async fn an_invalid_endpoint_of_a_further_key_is_named() {
    let world = World::new(TWO_KEYS).await;
    world.change_value(|value| value["schemaRegistryEndpoint"] = json!("https://a/b"));

    let error = world.step_error("createSecret", "a path").await;

    assert_eq!(error.error_type, "EndpointInvalid");
    let message = &error.error_message;
    assert!(
        message.contains("`schemaRegistryEndpoint` in the secret"),
        "{message}"
    );
    assert!(
        message.contains("Set `schemaRegistryEndpoint`"),
        "{message}"
    );
    assert_eq!(world.count(creates_a_key), 0);
}

/// Guarantee 6: no secret value appears in an error.
#[tokio::test]
async fn an_error_does_not_show_the_name_of_a_field_that_contains_an_api_secret() {
    let world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    let secret = world.value("AWSCURRENT")["apiSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    world.change_value(|value| {
        value[format!("{secret}ApiKey")] = json!("x");
        value[format!("{secret}ResourceId")] = json!("lkc-2");
    });
    let error = world
        .step_error("createSecret", "an API secret as a name")
        .await;
    assert!(!error.error_message.contains(&secret), "{error:?}");
}
