//! Rotations of a secret with several keys.

use super::*;
use crate::telemetry::logs::logged;

/// Every management mode with two keys, and every type of further key.
const SETTINGS: &[Setting] = &[
    TWO_KEYS,
    THREE_KEYS,
    Setting {
        mode: Mode::Keyless,
        ..TWO_KEYS
    },
    Setting {
        mode: Mode::InitialKey,
        ..TWO_KEYS
    },
    Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        ..TWO_KEYS
    },
    Setting {
        mode: Mode::SelfRotation,
        further: &[KeyType::Cloud],
        ..TWO_KEYS
    },
    Setting {
        further: &[KeyType::Cloud, KeyType::Tableflow, KeyType::Global],
        ..TWO_KEYS
    },
    Setting {
        key_type: KeyType::SchemaRegistry,
        further: &[KeyType::Kafka, KeyType::Flink],
        ..TWO_KEYS
    },
    Setting {
        key_type: KeyType::Kafka,
        further: &[KeyType::Kafka],
        ..TWO_KEYS
    },
];

#[tokio::test]
async fn all_keys_are_replaced_in_one_version_under_every_policy() {
    for (setting, policy) in SETTINGS
        .iter()
        .flat_map(|setting| POLICIES.map(|policy| (*setting, policy)))
    {
        let setting = Setting { policy, ..setting };
        let world = faults::world(setting).await;
        let settings = |world: &World| {
            let value = world.value("AWSCURRENT");
            let fields = value.as_object().unwrap().clone().into_iter();
            let settings = fields.filter(|(name, _)| {
                let name = name.to_ascii_lowercase();
                !name.ends_with("apikey") && !name.ends_with("apisecret")
            });
            settings.collect::<serde_json::Map<_, _>>()
        };
        let before = settings(&world);

        let outcome = world.rotate().await;

        let name = format!("{setting:?}");
        assert_eq!(outcome, Outcome::Succeeded, "{name}");
        assert_eq!(settings(&world), before, "{name}");
        assert_eq!(world.count(is_operation("PutSecretValue")), 1, "{name}");
        let promotions = world.count(is_operation("UpdateSecretVersionStage"));
        let removals =
            usize::from(policy == OldKeyPolicy::Delete && setting.mode != Mode::InitialKey);
        assert_eq!(promotions, 1 + removals, "{name}");
        world.assert_rotated(setting, &name);
    }
}

#[tokio::test]
async fn twenty_rotations_leave_no_orphaned_key_under_any_policy() {
    for policy in POLICIES {
        let setting = Setting { policy, ..TWO_KEYS };
        let world = World::new(setting).await;
        for nth in 1..=20 {
            assert_eq!(
                world.rotate().await,
                Outcome::Succeeded,
                "{policy:?}, {nth}"
            );
            world.assert_rotated(setting, &format!("{policy:?}, {nth}"));
        }
    }
}

#[tokio::test]
async fn three_keys_are_replaced_after_an_interruption_between_two_creations() {
    for (nth, recovery) in (1..=3).flat_map(|nth| {
        [faults::Recovery::SameToken, faults::Recovery::NewToken].map(|recovery| (nth, recovery))
    }) {
        let world = World::new(THREE_KEYS).await;
        let undisturbed = faults::undisturbed_rotation(THREE_KEYS).await;
        let posts = undisturbed.iter().enumerate();
        let mut posts = posts.filter(|(_, request)| request.starts_with("POST /iam"));
        let (post, _) = posts.nth(nth - 1).expect("a key per resource");
        world.simulator.fail(post, simulator::Fault::InterruptAfter);
        let name = format!("after creation {nth}, {recovery:?}");

        let outcome = world.rotate().await;

        let step = "createSecret";
        assert_eq!(outcome, Outcome::Interrupted { step }, "{name}");
        let pending = world
            .simulator
            .state()
            .secret(&world.arn)
            .value("AWSPENDING")
            .is_some();
        assert!(!pending, "nothing is staged: {name}");
        assert_eq!(world.keys().len(), 3 + nth, "{name}");
        world.rotate_until_it_succeeds(recovery, &name).await;
        world.assert_rotated(THREE_KEYS, &name);
    }
}

#[tokio::test]
async fn the_ownership_tag_of_a_further_key_names_its_slot() {
    let world = World::new(TWO_KEYS).await;
    let previous = world.key_ids("AWSCURRENT");

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let current = world.key_ids("AWSCURRENT");
    let [main, registry] = current.as_slice() else {
        panic!("two keys: {current:?}");
    };
    assert!(!world.description(main).contains("slot="));
    let description = world.description(registry);
    let words: Vec<&str> = description.split(' ').skip(3).collect();
    let [invocation, slot, previous_key, replaces] = words.as_slice() else {
        panic!("{description}");
    };
    assert!(invocation.starts_with("invocation="), "{description}");
    assert_eq!(*slot, "slot=schemaRegistry");
    assert_eq!(*previous_key, format!("previous={}", previous[1]));
    assert_eq!(*replaces, format!("replaces={}", previous[1]));
}

#[tokio::test]
async fn each_copy_is_replaced_with_the_successor_of_the_key_that_it_contains() {
    let world = World::new(TWO_KEYS).await;
    let copies = |world: &World| {
        let value = world.value("AWSCURRENT");
        let string = |name: &str| value[name].as_str().unwrap().to_owned();
        let (id, secret) = (string("apiKey"), string("apiSecret"));
        let (sr_id, sr_secret) = (string(REGISTRY_KEY), string(REGISTRY_SECRET));
        json!({
            "sasl.jaas.config": format!(
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{id}\" password=\"{secret}\";"
            ),
            "basic.auth.user.info": format!("{sr_id}:{sr_secret}"),
            "unrelatedApiKey": id,
            "otherApiKey": "OTHERKEY00000000",
        })
    };
    let expected = copies(&world);
    world.change_value(|value| value["client"] = expected);

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let client = world.value("AWSCURRENT")["client"].clone();
    assert_eq!(client, copies(&world));
    assert_ne!(world.key("AWSCURRENT"), Some(world.initial_key.clone()));
}

#[tokio::test]
async fn all_current_keys_are_checked_before_a_key_is_created() {
    let deleted: Arrange = |world| {
        let key = world.registry_key("AWSCURRENT");
        world.simulator.delete_key_manually(&key);
    };
    let wrong_secret: Arrange = |world| {
        world.change_value(|value| value[REGISTRY_SECRET] = json!("x".repeat(64)));
    };
    let other_resource: Arrange = |world| {
        world
            .simulator
            .add_schema_registry("lsrc-other", ENVIRONMENT);
        world.change_value(|value| value[REGISTRY_ID] = json!("lsrc-other"));
    };
    let admin_key: Arrange = |world| {
        let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
        let (id, secret) = world.current_key(admin.as_str().unwrap());
        world.change_value(|value| {
            value[REGISTRY_KEY] = json!(id);
            value[REGISTRY_SECRET] = json!(secret);
        });
    };
    for (arrange, error) in [
        (deleted, "CurrentKeyNotOfOwner"),
        (wrong_secret, "CurrentKeyNotAccepted"),
        (other_resource, "CurrentKeyScopeMismatch"),
        (admin_key, "CurrentKeyIsAdminKey"),
    ] {
        let world = World::new(TWO_KEYS).await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        arrange(&world);
        let keys = world.all_keys();

        let outcome = world.step_error("createSecret", error).await;

        assert_eq!(outcome.error_type, error, "{outcome:?}");
        let message = &outcome.error_message;
        assert!(
            message.contains("`schemaRegistryApiKey` (lsrc-"),
            "{message}"
        );
        let names_field = ["CurrentKeyNotOfOwner", "CurrentKeyNotAccepted"].contains(&error);
        let remedy = "Correct schemaRegistryApiKey and schemaRegistryApiSecret";
        assert_eq!(message.contains(remedy), names_field, "{message}");
        assert_eq!(world.all_keys(), keys, "{error}");
        assert_eq!(world.count(creates_a_key), 0, "{error}");
    }
}

/// A slow resource delays the rotation, and the error names it.
#[tokio::test]
async fn no_key_is_promoted_before_all_keys_are_accepted() {
    for (slow, field) in [("lkc-orders", "apiKey"), (REGISTRY, REGISTRY_KEY)] {
        let mut world = World::new(TWO_KEYS).await;
        world.run_steps(&["createSecret"]).await;
        world.time_limit = SHORT_TIME_LIMIT;
        {
            let mut state = world.simulator.state();
            let pending = state.secret(&world.arn).key_ids("AWSPENDING");
            let pending = pending.into_iter();
            let mut pending = pending.filter(|id| state.keys[id].resource == slow);
            let id = pending.next().expect(slow);
            let key = state.keys.get_mut(&id).unwrap();
            key.propagation_statuses = always(401).into();
        }

        for step in ["testSecret", "finishSecret"] {
            let error = world.step_error(step, slow).await;

            assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
            let expected = format!("the key in `{field}` ({slow}): could not verify");
            let message = &error.error_message;
            assert!(message.starts_with(&expected), "{message}");
        }
        assert_eq!(world.key_ids("AWSCURRENT"), world.initial_keys);
        let pending = world.key_ids("AWSPENDING");
        for id in pending {
            let mut state = world.simulator.state();
            state
                .keys
                .get_mut(&id)
                .unwrap()
                .propagation_statuses
                .clear();
        }
        world.time_limit = AMPLE;
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{slow}");
        world.assert_rotated(TWO_KEYS, slow);
    }
}

#[tokio::test]
async fn keys_are_verified_concurrently() {
    let world = World::new(TWO_KEYS).await;
    world.run_steps(&["createSecret"]).await;
    let probes = std::sync::atomic::AtomicUsize::new(0);
    let first_probes = move |request: &Request| {
        is_probe(request) && probes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2
    };
    let hold = world.simulator.hold_requests(first_probes);
    let verification = world.step("testSecret");
    let both_arrive = async {
        hold.arrived(2).await;
        hold.release();
    };

    let (outcome, ()) = tokio::join!(verification, both_arrive);

    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn the_log_of_one_key_names_its_resource_and_the_outcome_names_all() {
    let world = World::new(TWO_KEYS).await;
    let previous = world.key_ids("AWSCURRENT").join(", ");

    let (outcome, lines) = logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let with = |message: &str| -> Vec<&Value> {
        let lines = lines.iter();
        lines.filter(|line| line["message"] == message).collect()
    };
    for message in ["verified the pending key", "deleted a key"] {
        let resources = with(message).into_iter().filter_map(|line| {
            let resource = line["resource_id"].as_str()?;
            (!resource.contains(',')).then(|| (resource, line["key_type"].as_str().unwrap()))
        });
        let resources: std::collections::BTreeSet<_> = resources.collect();
        let expected = [("lkc-orders", "kafka"), (REGISTRY, "schema-registry")];
        assert_eq!(resources, expected.into(), "{message}: {lines:#?}");
    }
    let promoted = with("promoted the pending version to AWSCURRENT");
    let [promoted] = promoted.as_slice() else {
        panic!("{lines:#?}");
    };
    assert_eq!(promoted["resource_id"], "lkc-orders, lsrc-further");
    assert_eq!(promoted["key_type"], "kafka, schema-registry");
    assert_eq!(promoted["previous_key_id"], previous);
    let current = world.key_ids("AWSCURRENT").join(", ");
    assert_eq!(promoted["pending_key_id"], current);
}

#[tokio::test]
async fn the_metrics_are_those_of_the_slowest_key_and_of_the_resource_with_the_most_keys() {
    let world = World::new(TWO_KEYS).await;
    for _ in 0..5 {
        world.add_registry_key();
    }
    let ((), lines) = logged(world.run_steps(&["createSecret"])).await;
    let resource_keys = lines.iter().find_map(|line| line["ResourceKeys"].as_u64());
    assert_eq!(resource_keys, Some(7), "{lines:#?}");
    let id = world.key_ids("AWSPENDING").remove(0);
    {
        let mut state = world.simulator.state();
        state.keys.get_mut(&id).unwrap().propagation_statuses = vec![401; 12].into();
    }

    let ((), lines) = logged(world.run_steps(&["testSecret"])).await;

    let verified = lines
        .iter()
        .filter(|line| line["message"] == "verified the pending key");
    let slowest = verified
        .filter_map(|line| line["seconds"].as_f64())
        .fold(0.0, f64::max);
    let reported = lines
        .iter()
        .find_map(|line| line["PropagationSeconds"].as_f64());
    assert!(
        reported.is_some_and(|reported| reported >= slowest && slowest > 0.0),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_rollback_restores_all_keys() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let rotated = world.key_ids("AWSCURRENT");
    let previous = world.version("AWSPREVIOUS").unwrap();

    world.make_current(&previous);

    assert_eq!(world.key_ids("AWSCURRENT"), world.initial_keys);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let keys = world.keys();
    let has = |ids: &[String]| ids.iter().map(|id| keys.contains(id)).collect::<Vec<_>>();
    assert_eq!(has(&world.initial_keys), [true, true], "the previous keys");
    assert_eq!(has(&rotated), [false, false], "orphans");
}

#[tokio::test]
async fn a_deleted_pending_key_of_any_resource_is_replaced_together_with_the_others() {
    for nth in 0..2 {
        let mut world = World::new(TWO_KEYS).await;
        world.run_steps(&["createSecret"]).await;
        let pending = world.key_ids("AWSPENDING");
        world.simulator.delete_key_manually(&pending[nth]);
        let age = Duration::from_mins(11);
        world.simulator.age_version(&world.arn, "AWSPENDING", age);
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error("testSecret", "a deleted key").await;

        assert_eq!(error.error_type, "PendingKeyDeleted", "{error:?}");
        assert_eq!(world.version("AWSPENDING"), None);
        world.time_limit = AMPLE;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.assert_rotated(TWO_KEYS, "after healing");
    }
}
