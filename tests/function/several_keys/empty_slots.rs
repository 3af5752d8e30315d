//! A secret in which one slot is empty: its initial key is still to be created, next to current keys.

use super::*;
use crate::telemetry::logs::logged;

const OVERLAP: Duration = Duration::from_mins(24 * 60 + 1);

fn blank_registry(world: &World) {
    world.change_value(|value| {
        value[REGISTRY_KEY] = json!("");
        value[REGISTRY_SECRET] = json!("");
    });
}

#[tokio::test]
async fn an_empty_slot_next_to_another_key_is_named_by_its_fields() {
    let world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    blank_registry(&world);
    world.change_value(|value| value["monitoringApiKey"] = json!("ABCDEFGH12345678"));
    let error = world.step_error("createSecret", "initial").await;
    let message = &error.error_message;
    let expected = "there is no key to rotate: schemaRegistryApiKey and schemaRegistryApiSecret";
    assert!(message.contains(expected), "{message}");
}

#[tokio::test]
async fn a_key_for_another_resource_does_not_block_an_initial_key() {
    let mut world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.set_variable("INITIAL_KEY", "allow");
    // A Kafka key of the owner for another purpose, which the function does not rotate.
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    blank_registry(&world);
    world.change_value(|value| {
        value["legacyApiKey"] = json!(id);
        value["legacyApiSecret"] = json!(secret);
    });
    let outcome = world.rotate().await;
    assert_eq!(outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_key_for_its_resource_in_other_fields_blocks_an_initial_key() {
    let mut world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.set_variable("INITIAL_KEY", "allow");
    let (id, secret) = world.add_registry_key();
    blank_registry(&world);
    world.change_value(|value| value["basic.auth.user.info"] = json!(format!("{id}:{secret}")));

    let error = world.step_error("createSecret", "a listed key").await;

    let expected = "schemaRegistryApiKey and schemaRegistryApiSecret are missing or empty, but there seems to be an API key in \
                    `basic.auth.user.info`";
    assert!(error.error_message.contains(expected), "{error:?}");
    assert_eq!(world.count(creates_a_key), 0);
}

#[tokio::test]
async fn a_test_of_the_configuration_verifies_the_filled_slots() {
    let mut world = World::new(TWO_KEYS).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.set_variable("INITIAL_KEY", "allow");
    world.time_limit = SHORT_TIME_LIMIT;
    blank_registry(&world);
    world.change_value(|value| value["apiSecret"] = json!("x".repeat(64)));
    let outcome = world.test_configuration().await;
    assert_ne!(outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn retire_deletes_the_previous_keys_of_the_filled_slots() {
    let mut world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    })
    .await;
    world.set_variable("INITIAL_KEY", "allow");
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key_ids("AWSCURRENT");
    world.simulator.add_ksqldb("lksqlc-new", ENVIRONMENT);
    world.change_value(|value| {
        value["ksqldbApiKey"] = json!("${ksqldbApiKey}");
        value["ksqldbApiSecret"] = json!("${ksqldbApiSecret}");
        value["ksqldbResourceId"] = json!("lksqlc-new");
    });
    world.simulator.pass(OVERLAP);
    let (outcome, lines) = logged(world.retire()).await;
    assert!(outcome.is_ok(), "{outcome:?} {lines:#?}");
    world.assert_keys(&current, &"the previous keys were deleted");
}

#[tokio::test]
async fn self_rotation_uses_a_filled_slot() {
    let mut world = World::new(Setting {
        mode: Mode::SelfRotation,
        further: &[KeyType::Cloud],
        ..TWO_KEYS
    })
    .await;
    world.set_variable("INITIAL_KEY", "allow");
    world.change_value(|value| {
        // Sorts before "cloudResourceId".
        value["aApiKey"] = json!("");
        value["aApiSecret"] = json!("");
        value["aResourceId"] = json!("Global");
    });
    let outcome = world.rotate().await;
    assert_eq!(outcome, Outcome::Succeeded);
}
