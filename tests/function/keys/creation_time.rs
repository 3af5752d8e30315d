//! Keys are compared by the creation time that Confluent Cloud returns.

use simulator::timestamp;

use super::deletion::world;
use super::*;

#[tokio::test]
async fn a_key_of_unknown_creation_time_is_kept() {
    let hour_ahead = timestamp(3_600);
    let unknown = [
        None,
        Some("0001-01-01T00:00:00Z"),
        Some("1970-01-01T00:00:00Z"),
        Some("yesterday"),
        Some("2026-01-01 00:00"),
        Some(hour_ahead.as_str()),
    ];
    for created_at in unknown {
        let world = world(OldKeyPolicy::Delete).await;
        world.rotate_successfully(&created_at).await;
        let previous = world.key("AWSCURRENT").unwrap();
        world.simulator.set_created_at(&previous, created_at);

        let reason = "not known to be older";
        world.assert_kept(&previous, reason, &created_at).await;
    }
}

#[tokio::test]
async fn a_creation_time_with_another_offset_is_valid() {
    for created_at in ["2020-01-01T02:00:00+02:00", "2020-01-01T00:00:00.123-05:30"] {
        let world = world(OldKeyPolicy::Delete).await;
        world.rotate_successfully(&created_at).await;
        let previous = world.key("AWSCURRENT").unwrap();
        world.simulator.set_created_at(&previous, Some(created_at));

        world.rotate_successfully(&created_at).await;

        assert!(!world.all_keys().contains(&previous), "{created_at}");
    }
}

#[tokio::test]
async fn a_key_without_a_creation_time_is_reported_as_kept_by_a_preflight() {
    let world = world(OldKeyPolicy::Delete).await;
    let (orphan, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
    world
        .simulator
        .tag_key(&orphan, &world.arn, "abandoned", "i", "");
    world.simulator.set_created_at(&orphan, None);

    let report = world.preflight().await;

    let check = report.checks.iter().find(|c| c.name == "orphaned-keys");
    let finding = &check.unwrap().finding;
    let expected = format!("{orphan} is kept: its creation time is unknown");
    assert_eq!(finding.observed, expected);
    assert!(
        finding
            .remedy
            .as_deref()
            .unwrap()
            .contains("delete it manually")
    );
}

/// Creation times are whole seconds, so a key of a concurrent rotation may have the same one.
#[tokio::test]
async fn a_key_that_was_created_in_the_same_second_as_the_current_key_is_kept() {
    let world = world(OldKeyPolicy::Delete).await;
    world.run_steps(&["createSecret", "testSecret"]).await;
    let pending = world.key("AWSPENDING").unwrap();
    let created_at = world.simulator.state().keys[&pending].created_at.clone();
    let (orphan, _) = world.other_key(Some("lkc-orders"), Some(ENVIRONMENT));
    world
        .simulator
        .tag_key(&orphan, &world.arn, "abandoned", "i", "");
    world
        .simulator
        .set_created_at(&orphan, created_at.as_deref());

    world.step("finishSecret").await.unwrap();

    assert_eq!(world.key("AWSCURRENT"), Some(pending));
    assert!(world.all_keys().contains(&orphan));
}
