//! Changes by users, and faults, between the deletions and creations of several keys.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::telemetry::logs::logged;

const OVERLAP: Duration = Duration::from_mins(24 * 60 + 1);

#[tokio::test]
async fn a_user_may_swap_two_slots() {
    for policy in POLICIES {
        let world = World::new(Setting {
            policy,
            further: &[KeyType::Kafka],
            ..TWO_KEYS
        })
        .await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.change_value(|value| {
            for (a, b) in [
                ("apiKey", "kafkaApiKey"),
                ("apiSecret", "kafkaApiSecret"),
                ("resourceId", "kafkaResourceId"),
            ] {
                let moved = value[a].clone();
                value[a] = value[b].clone();
                value[b] = moved;
            }
        });
        world.simulator.pass(OVERLAP);
        world.retire().await.unwrap();
        for _ in 0..2 {
            assert_eq!(world.rotate().await, Outcome::Succeeded);
        }
        assert_eq!(
            world.keys().len(),
            if policy == OldKeyPolicy::Delete { 2 } else { 4 }
        );
    }
}

#[tokio::test]
async fn swapped_keys_are_rejected() {
    let world = World::new(Setting {
        further: &[KeyType::Kafka],
        ..TWO_KEYS
    })
    .await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| {
        for (a, b) in [("apiKey", "kafkaApiKey"), ("apiSecret", "kafkaApiSecret")] {
            let moved = value[a].clone();
            value[a] = value[b].clone();
            value[b] = moved;
        }
    });
    let error = world.step_error("createSecret", "swapped").await;
    assert_eq!(error.error_type, "CurrentKeyScopeMismatch", "{error:?}");
    assert_eq!(world.count(creates_a_key), 0);
}

#[tokio::test]
async fn nothing_more_is_deleted_if_a_label_moves_between_the_deletions_of_two_slots() {
    for change in ["own label", "rollback", "store"] {
        let world = World::new(TWO_KEYS).await;
        world.run_steps(&["createSecret", "testSecret"]).await;
        let previous = world.version("AWSCURRENT").unwrap();
        let has_deleted = AtomicBool::new(false);
        let described = move |request: &Request| {
            if deletes_a_key(request) {
                has_deleted.store(true, Relaxed);
                return false;
            }
            has_deleted.load(Relaxed) && is_operation("DescribeSecret")(request)
        };
        let moved = async || match change {
            "own label" => world
                .simulator
                .move_label(&world.arn, "GREEN", Some(&previous)),
            "rollback" => {
                world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
                world.make_current(&previous);
            }
            _ => world.change_value(|value| value["x"] = json!(1)),
        };
        let outcome = world.step_while("finishSecret", described, moved).await;
        assert!(outcome.is_ok(), "{change}: {outcome:?}");
        assert_eq!(world.count(deletes_a_key), 1, "{change}");
        assert_eq!(world.keys().len(), 3, "{change}");
    }
}

#[tokio::test]
async fn a_rotation_with_a_full_quota_recovers_from_an_interruption_at_any_request() {
    let setting = Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..TWO_KEYS
    };
    for n in 0..40 {
        let world = World::new(setting).await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        {
            let mut state = world.simulator.state();
            let per_owner = state.keys_of(OWNER).len();
            state.controls.quota = Some(simulator::Quota {
                per_owner,
                response: simulator::QuotaResponse::PaymentRequired,
            });
        }
        world.requests();
        world.simulator.fail(n, simulator::Fault::InterruptAfter);
        let mut last = world.rotate().await;
        for _ in 0..3 {
            if last == Outcome::Succeeded {
                break;
            }
            last = world.rotate().await;
        }
        assert_eq!(last, Outcome::Succeeded, "{n}");
        assert!(world.keys().len() <= 4, "{n}: {}", world.keys().len());
    }
}

#[tokio::test]
async fn the_key_for_a_former_resource_of_a_further_slot_is_reported_once() {
    let world = World::new(Setting {
        key_type: KeyType::Cloud,
        policy: OldKeyPolicy::DeleteAfter,
        further: &[KeyType::Kafka],
        ..TWO_KEYS
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let old = world.key_ids("AWSCURRENT")[1].clone();
    world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
    let (id, secret) = world
        .simulator
        .add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
    world.change_value(|value| {
        value["kafkaApiKey"] = json!(id);
        value["kafkaApiSecret"] = json!(secret);
        value["kafkaResourceId"] = json!("lkc-other");
    });
    for _ in 0..3 {
        let (outcome, lines) = logged(world.rotate()).await;
        assert_eq!(outcome, Outcome::Succeeded);
        let kept = lines
            .iter()
            .filter(|line| line["message"] == "kept a key")
            .collect::<Vec<_>>();
        assert!(kept.len() <= 1, "{kept:#?}");
    }
    assert!(world.all_keys().contains(&old));
}

#[tokio::test]
async fn three_keys_rotate_with_every_kind_of_verification() {
    for (name, value) in [
        ("KEY_VERIFICATION", "control-plane"),
        ("KEY_VERIFICATION", "best-effort"),
        ("CURRENT_KEY_CHECK", "off"),
    ] {
        for policy in POLICIES {
            let setting = Setting {
                policy,
                ..THREE_KEYS
            };
            let mut world = World::new(setting).await;
            world.set_variable(name, value);
            for nth in 0..3 {
                assert_eq!(world.rotate().await, Outcome::Succeeded, "{name} {nth}");
            }
        }
    }
}

#[tokio::test]
async fn two_kafka_keys_are_verified_at_the_brokers_of_their_clusters() {
    let mut world = World::new(Setting {
        further: &[KeyType::Kafka],
        ..TWO_KEYS
    })
    .await;
    for cluster in ["lkc-orders", "lkc-further"] {
        world.simulator.add_brokers(cluster, 2);
    }
    world.set_variable("KAFKA_VERIFICATION", "brokers");

    let (outcome, lines) = logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let verified = lines.iter().filter(|line| {
        line["message"] == "verified the pending key at the brokers" && line["brokers"] == 2
    });
    let clusters: Vec<&Value> = verified.map(|line| &line["resource_id"]).collect();
    for cluster in ["lkc-orders", "lkc-further"] {
        let count = clusters.iter().filter(|id| **id == cluster).count();
        assert_eq!(count, 2, "in testSecret and finishSecret: {lines:#?}");
    }
}
