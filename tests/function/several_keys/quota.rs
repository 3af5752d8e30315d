//! Quotas: a rotation needs room for one more key per resource.

use simulator::{Quota, QuotaResponse};

use super::*;

/// Allows the owner `more` keys than it has.
fn allow(world: &World, more: usize) {
    let mut state = world.simulator.state();
    let per_owner = state.keys_of(OWNER).len() + more;
    state.controls.quota = Some(Quota {
        per_owner,
        response: QuotaResponse::PaymentRequired,
    });
}

fn add_orphan(world: &World, resource: &str, version: &str) -> String {
    let environment = Some(ENVIRONMENT);
    let (id, _) = world.simulator.add_key(OWNER, Some(resource), environment);
    world.simulator.tag_key(&id, &world.arn, version, "i", "");
    id
}

#[tokio::test]
async fn without_room_for_all_keys_nothing_is_stored_and_no_key_remains() {
    for (setting, room) in [
        (TWO_KEYS, 0),
        (TWO_KEYS, 1),
        (THREE_KEYS, 1),
        (THREE_KEYS, 2),
    ] {
        let world = World::new(setting).await;
        let keys = world.all_keys();
        allow(&world, room);

        for _ in 0..2 {
            let error = world.step_error("createSecret", "the quota").await;

            assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
            // The fields of the ksqlDB key come first in the JSON.
            let resources: &[&str] = match setting.further.len() {
                1 => &["lkc-orders", REGISTRY],
                _ => &["lkc-orders", "lksqlc-further", REGISTRY],
            };
            let resource = resources[room];
            let message = &error.error_message;
            assert!(
                message.contains(&format!("({resource}): a quota")),
                "{message}"
            );
            assert_eq!(world.all_keys(), keys, "{setting:?}, {room}");
            let state = world.simulator.state();
            assert_eq!(state.secret(&world.arn).value("AWSPENDING"), None);
        }
        world.simulator.state().controls.quota = None;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.assert_rotated(setting, "with a larger quota");
    }
}

#[tokio::test]
async fn a_full_quota_ends_the_overlap_of_all_keys_under_every_policy() {
    for policy in POLICIES {
        let setting = Setting { policy, ..TWO_KEYS };
        let world = World::new(setting).await;
        allow(&world, 2);

        for nth in 0..5 {
            let outcome = world.rotate().await;
            assert_eq!(outcome, Outcome::Succeeded, "{policy:?}, {nth}");
        }
        assert_eq!(
            world.keys().len(),
            if policy == OldKeyPolicy::Delete { 2 } else { 4 }
        );
    }
}

/// The keys for all clusters use the same quota.
#[tokio::test]
async fn an_orphan_of_another_slot_frees_the_quota() {
    for resource in ["lkc-orders", REGISTRY] {
        let world = World::new(TWO_KEYS).await;
        let orphans = [
            add_orphan(&world, resource, "abandoned-1"),
            add_orphan(&world, resource, "abandoned-2"),
        ];
        allow(&world, 0);

        world.run_steps(&["createSecret"]).await;

        let keys = world.all_keys();
        assert!(!orphans.iter().any(|id| keys.contains(id)), "{resource}");
        assert_eq!(world.count(deletes_a_key), 2, "one per key that is created");
        world.run_steps(&["testSecret", "finishSecret"]).await;
        world.assert_rotated(TWO_KEYS, resource);
    }
}

#[tokio::test]
async fn an_orphan_of_another_quota_is_not_deleted_for_it() {
    let world = World::new(Setting {
        further: &[KeyType::Cloud],
        ..TWO_KEYS
    })
    .await;
    let orphan = add_orphan(&world, "cloud", "abandoned");
    let keys = world.all_keys();
    allow(&world, 0);

    let error = world.step_error("createSecret", "the quota").await;

    assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
    assert!(keys.contains(&orphan));
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn the_preflight_counts_one_more_key_per_resource() {
    use confluent_key_rotation::preflight::Outcome as Checked;

    for (room, expected) in [(1, Checked::Failed), (2, Checked::Ok)] {
        let world = World::new(TWO_KEYS).await;
        for _ in 0..50 {
            world.add_registry_key();
        }
        allow(&world, room);

        let report = world.preflight().await;

        let checks = report.checks.iter().filter(|check| check.name == "quota");
        let found: Vec<_> = checks
            .map(|check| (check.key.as_deref(), check.finding.outcome))
            .collect();
        let of = |key| {
            let (_, outcome) = found.iter().find(|(of, _)| *of == Some(key)).unwrap();
            *outcome
        };
        let is_failed = |key| of(key) == Checked::Failed;
        let fails = expected == Checked::Failed;
        assert_eq!(is_failed("apiKey"), fails, "{room}: {found:?}");
        assert_eq!(is_failed(REGISTRY_KEY), fails, "{room}: {found:?}");
    }
}
