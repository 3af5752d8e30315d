//! Keys that a user moves from one secret to another.

use super::*;

/// Adds a second secret with a key for the Schema Registry cluster. Returns its ARN.
fn add_registry_secret(world: &World) -> String {
    world.simulator.add_schema_registry(REGISTRY, ENVIRONMENT);
    let (id, secret) = world.add_registry_key();
    let mut value = json!({
        "apiKey": id,
        "apiSecret": secret,
        "serviceAccountId": OWNER,
        "resourceId": REGISTRY,
        "environmentId": ENVIRONMENT,
    });
    value["adminSecretArn"] = world.value("AWSCURRENT")["adminSecretArn"].clone();
    world
        .simulator
        .add_secret("orders/registry", &value.to_string())
}

async fn rotate(world: &World, arn: &str) -> Outcome {
    let invoke = async |event| {
        let outcome = world.invoke(event).await;
        outcome.map_err(|error| format!("{error:?}"))
    };
    world.simulator.rotate(arn, &invoke).await
}

/// Copies the key of the other secret into the first one.
fn merge(world: &World, other: &str) -> String {
    let (id, secret) = world.current_key(other);
    world.change_value(|value| {
        value[REGISTRY_KEY] = json!(id);
        value[REGISTRY_SECRET] = json!(secret);
        value[REGISTRY_ID] = json!(REGISTRY);
    });
    id
}

#[tokio::test]
async fn two_secrets_are_moved_into_one_and_back() {
    let world = World::new(Setting::default()).await;
    let other = add_registry_secret(&world);
    assert_eq!(rotate(&world, &other).await, Outcome::Succeeded);
    let moved = merge(&world, &other);

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    // It has the other secret's tag.
    assert!(world.all_keys().contains(&moved));
    assert_ne!(world.registry_key("AWSCURRENT"), moved);
    assert_eq!(rotate(&world, &other).await, Outcome::Succeeded);
    assert!(!world.all_keys().contains(&moved));

    // Back: the other secret gets the key, rotates first, and the fields are removed.
    let shared = world.registry_key("AWSCURRENT");
    let secret = world.value("AWSCURRENT")[REGISTRY_SECRET]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .simulator
        .replace_key_manually(&other, &(shared.clone(), secret));
    assert_eq!(rotate(&world, &other).await, Outcome::Succeeded);
    assert!(
        world.all_keys().contains(&shared),
        "the first secret still contains it"
    );
    world.change_value(|value| {
        let fields = value.as_object_mut().unwrap();
        fields.retain(|name, _| !name.starts_with("schemaRegistry"));
    });
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert!(world.all_keys().contains(&shared), "a user deletes it");
    assert_eq!(world.key_ids("AWSCURRENT").len(), 1);
}

/// Nothing shows that the other secret contains it.
#[tokio::test]
async fn a_moved_key_without_an_ownership_tag_becomes_the_previous_key() {
    let world = World::new(Setting::default()).await;
    let other = add_registry_secret(&world);
    let moved = merge(&world, &other);
    {
        let mut state = world.simulator.state();
        state.secret_mut(&other).current_key_guarantee = CurrentKeyGuarantee::Off;
    }

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert!(!world.all_keys().contains(&moved));
}

#[tokio::test]
async fn a_renamed_prefix_requires_nothing_else() {
    let world = World::new(TWO_KEYS).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let renamed = world.registry_key("AWSCURRENT");
    world.change_value(|value| {
        for name in ["ApiKey", "ApiSecret", "ResourceId"] {
            let fields = value.as_object_mut().unwrap();
            let moved = fields.remove(&format!("schemaRegistry{name}")).unwrap();
            fields.insert(format!("sr{name}"), moved);
        }
    });

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let current = world.key_ids("AWSCURRENT");
    assert_eq!(current.len(), 2);
    assert!(!world.all_keys().contains(&renamed));
    world.assert_keys(&current, &"no orphaned key remains");
}
