//! Previous and orphaned keys of a secret with several keys: each is deleted separately, by the same rule.

use super::*;
use crate::telemetry::logs::logged;

/// The time after which previous keys are due.
const OVERLAP: Duration = Duration::from_mins(24 * 60 + 1);

/// A world that was rotated once under the policy `delete-after`.
async fn rotated() -> World {
    let world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world
}

#[tokio::test]
async fn retire_deletes_the_previous_keys_of_all_slots() {
    let world = rotated().await;
    let current = world.key_ids("AWSCURRENT");
    world.simulator.pass(OVERLAP);

    let outcome = world.retire().await;

    assert!(outcome.is_ok(), "{outcome:?}");
    world.assert_keys(&current, &"the previous keys were deleted");
    assert_eq!(world.version("AWSPREVIOUS"), None);
}

/// The key of the other resource is deleted nevertheless.
#[tokio::test]
async fn retire_keeps_the_previous_key_of_a_slot_whose_current_key_is_not_accepted() {
    for nth in 0..2 {
        let world = rotated().await;
        let (current, previous) = (world.key_ids("AWSCURRENT"), world.key_ids("AWSPREVIOUS"));
        world.set_current_key_guarantee(CurrentKeyGuarantee::Exists);
        {
            let mut state = world.simulator.state();
            let key = state.keys.get_mut(&current[nth]).unwrap();
            key.propagation_statuses = always(401).into();
        }
        world.simulator.pass(OVERLAP);

        let (outcome, lines) = logged(world.retire()).await;

        let error = outcome.expect_err("one key is not accepted");
        assert_eq!(error.error_type, "RetireFailed", "{error:?}");
        let field = ["apiKey", REGISTRY_KEY][nth];
        let names_key = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with(&format!("the key in `{field}` "))
                && line["error_type"] == "CurrentKeyNotAccepted"
        };
        assert!(lines.iter().any(names_key), "{lines:#?}");
        let mut kept = current;
        kept.push(previous[nth].clone());
        world.assert_keys(&kept, &field);
    }
}

/// Without its label, a previous key is found by the tag of the current key.
#[tokio::test]
async fn a_previous_key_whose_deletion_failed_is_deleted_by_the_next_finish_secret() {
    for nth in 0..2 {
        let world = World::new(TWO_KEYS).await;
        let previous = world.key_ids("AWSCURRENT");
        world.run_steps(&["createSecret", "testSecret"]).await;
        world.simulator.make_undeletable(&previous[nth], 503);

        let error = world.step_error("finishSecret", "one deletion fails").await;

        assert_eq!(error.error_type, "KeyDeletionFailed", "{error:?}");
        let field = ["apiKey", REGISTRY_KEY][nth];
        let message = &error.error_message;
        assert!(message.contains(&format!("`{field}`")), "{message}");
        assert!(message.contains(&previous[nth]), "{message}");
        let mut kept = world.key_ids("AWSCURRENT");
        kept.push(previous[nth].clone());
        world.assert_keys(&kept, &"the other previous key was deleted");
        assert_eq!(world.version("AWSPREVIOUS"), None, "no rollback");
        let key = previous[nth].clone();
        world
            .simulator
            .state()
            .keys
            .get_mut(&key)
            .unwrap()
            .deletion_status = None;
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{field}");
        world.assert_rotated(TWO_KEYS, field);
    }
}

#[tokio::test]
async fn orphans_of_all_slots_are_deleted_by_their_tags() {
    let world = World::new(TWO_KEYS).await;
    let mut orphans = Vec::new();
    for (resource, extra) in [("lkc-orders", ""), (REGISTRY, "slot=schemaRegistry")] {
        let (id, _) = world
            .simulator
            .add_key(OWNER, Some(resource), Some(ENVIRONMENT));
        world
            .simulator
            .tag_key(&id, &world.arn, "abandoned", "i", extra);
        orphans.push(id);
    }

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    world.assert_rotated(TWO_KEYS, &format!("{orphans:?}"));
}

/// Another application uses the Schema Registry key, too: a user has pasted its ID, or several applications share it.
#[tokio::test]
async fn a_key_that_was_replaced_manually_or_has_another_secrets_tag_is_kept() {
    let pasted: Arrange = |world| {
        let (id, secret) = world.add_registry_key();
        world
            .simulator
            .replace_slot_key_manually(&world.arn, "schemaRegistry", &(id, secret));
    };
    let copied: Arrange = |world| {
        let key = world.registry_key("AWSCURRENT");
        let other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf";
        world.simulator.state().controls.secrets_are_elsewhere = true;
        world
            .simulator
            .tag_key(&key, other, "version", "i", "slot=schemaRegistry");
    };
    for (name, arrange, is_current_kept) in [("pasted", pasted, false), ("copied", copied, true)] {
        let world = World::new(TWO_KEYS).await;
        let initial = world.registry_key("AWSCURRENT");
        arrange(&world);
        let current = world.registry_key("AWSCURRENT");

        assert_eq!(world.rotate().await, Outcome::Succeeded, "{name}");

        let keys = world.all_keys();
        assert_eq!(keys.contains(&current), is_current_kept, "{name}");
        // The key before a manual replacement was never verified.
        assert!(keys.contains(&initial), "{name}");
        assert!(!keys.contains(&world.initial_key), "{name}");
    }
}

/// The removed label would have named the other slot's previous key, too.
#[tokio::test]
async fn an_own_label_on_the_previous_version_keeps_all_its_keys() {
    let world = World::new(TWO_KEYS).await;
    let previous = world.version("AWSCURRENT").unwrap();
    world
        .simulator
        .move_label(&world.arn, "BLUE", Some(&previous));

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let keys = world.keys();
    assert!(
        world.initial_keys.iter().all(|id| keys.contains(id)),
        "{keys:?}"
    );
}

/// The list for the main Cloud key contains all keys of the owner.
#[tokio::test]
async fn a_list_of_all_keys_reports_no_key_of_another_slot() {
    let world = World::new(Setting {
        key_type: KeyType::Cloud,
        policy: OldKeyPolicy::KeepUntilNextRotation,
        further: &[KeyType::Kafka, KeyType::Flink],
        ..TWO_KEYS
    })
    .await;
    for _ in 0..3 {
        let (outcome, lines) = logged(world.rotate()).await;

        assert_eq!(outcome, Outcome::Succeeded);
        let kept = |line: &Value| line["message"] == "kept a key";
        assert!(!lines.iter().any(kept), "{lines:#?}");
    }
}

#[tokio::test]
async fn the_keys_of_a_removed_slot_are_kept_and_the_preflight_reports_them() {
    let world = rotated().await;
    let removed = world.registry_key("AWSCURRENT");
    world.change_value(|value| {
        let fields = value.as_object_mut().unwrap();
        for field in [REGISTRY_KEY, REGISTRY_SECRET, REGISTRY_ID] {
            fields.remove(field);
        }
    });

    // A version with a label contains them until the second rotation.
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let report = world.preflight().await;

    let mut checks = report.checks.iter();
    let orphans = checks.find(|check| check.name == "orphaned-keys").unwrap();
    let observed = &orphans.finding.observed;
    let expected = format!("{removed} is kept: its resource is not the one that the secret names");
    assert!(observed.contains(&expected), "{observed}");
    assert!(world.all_keys().contains(&removed));
}

#[tokio::test]
async fn retire_reports_the_errors_of_all_slots() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.set_current_key_guarantee(CurrentKeyGuarantee::Exists);
    for id in world.key_ids("AWSCURRENT") {
        world
            .simulator
            .state()
            .keys
            .get_mut(&id)
            .unwrap()
            .propagation_statuses = always(401).into();
    }
    world.simulator.pass(OVERLAP);
    let (outcome, lines) = logged(world.retire()).await;
    assert!(outcome.is_err());
    for field in ["apiKey", REGISTRY_KEY] {
        let names = |line: &Value| {
            let texts = [&line["message"], &line["error"]];
            let mut texts = texts.into_iter().filter_map(Value::as_str);
            texts.any(|text| text.starts_with(&format!("the key in `{field}`")))
        };
        assert!(lines.iter().any(names), "{field}: {lines:#?}");
    }
}

#[tokio::test]
async fn retire_reports_a_failed_list_even_if_a_version_cannot_be_read() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.simulator.pass(OVERLAP);
    world.simulator.deny_decryption(&world.arn, "AWSPREVIOUS");
    world
        .simulator
        .respond_with(100, lists_keys, Response::confluent_forbidden());
    let (outcome, lines) = logged(world.retire()).await;
    assert!(outcome.is_err(), "{outcome:?} {lines:#?}");
}

#[tokio::test]
async fn retire_keeps_the_previous_key_of_a_resource_that_best_effort_cannot_reach() {
    let mut world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    })
    .await;
    world.set_variable("KEY_VERIFICATION", "best-effort");
    let url = world.simulator.unreachable_url();
    {
        let mut state = world.simulator.state();
        let registry = state.resources.get_mut(REGISTRY).unwrap();
        registry.advertised_url = Some(url);
    }
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let (mut kept, previous) = (world.key_ids("AWSCURRENT"), world.key_ids("AWSPREVIOUS"));
    kept.push(previous[1].clone());
    world.simulator.pass(OVERLAP);

    let (outcome, lines) = logged(world.retire()).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    world.assert_keys(&kept, &"the reachable resource");
    let is_kept = |line: &Value| {
        line["message"] == "kept all keys for the resource" && line["resource_id"] == REGISTRY
    };
    assert!(lines.iter().any(is_kept), "{lines:#?}");
    assert!(lines.iter().any(|line| line["KeysKept"] == 1), "{lines:#?}");
}
