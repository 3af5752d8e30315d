//! Time that passes.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CurrentKeyGuarantee, timestamp};

use crate::{World, now};

const DAY: Duration = Duration::from_hours(24);

impl World {
    fn created_at(&self, id: &str) -> Option<String> {
        let state = self.simulator.state();
        let key = state.keys.get(id).or_else(|| state.deleted_keys.get(id));
        key.unwrap().created_at.clone()
    }
}

#[tokio::test]
async fn all_dates_of_a_secret_and_of_its_versions_become_earlier() {
    let world = World::new().await;
    world.rotate().await;
    let fields = [
        "CreatedDate",
        "LastChangedDate",
        "LastRotatedDate",
        "NextRotationDate",
    ];
    let current = json!({ "VersionStage": "AWSCURRENT" });
    let before = world.describe().await;
    let (_, version) = world.aws("GetSecretValue", current.clone()).await;
    world.simulator.freeze_list();

    world.simulator.pass(DAY);

    let after = world.describe().await;
    let (_, older_version) = world.aws("GetSecretValue", current).await;
    let (_, list) = world.secrets_manager("ListSecrets", &json!({})).await;
    let age = |before: &Value, after: &Value| before.as_f64().unwrap() - after.as_f64().unwrap();
    for field in fields {
        let (older, listed) = (&after[field], &list["SecretList"][0][field]);
        assert!(
            (age(&before[field], older) - 86_400.0).abs() < 0.01,
            "{field}"
        );
        assert_eq!(older, listed, "{field}");
    }
    let version = age(&version["CreatedDate"], &older_version["CreatedDate"]);
    assert!((version - 86_400.0).abs() < 0.01, "{version}");
    let next = after["NextRotationDate"].as_f64().unwrap();
    assert!((next - now() - 29.0 * 86_400.0).abs() < 60.0, "{next}");
}

#[tokio::test]
async fn a_key_becomes_older_and_keeps_the_format_of_its_creation_time() {
    let world = World::new().await;
    for (before, after) in [
        (
            Some("2026-03-01T12:00:00.5+02:00"),
            Some("2026-02-28T12:00:00.5+02:00"),
        ),
        (Some("yesterday"), Some("yesterday")),
        (Some("0001-01-01T00:00:00Z"), Some("0001-01-01T00:00:00Z")),
        (None, None),
    ] {
        world.simulator.set_created_at(&world.key.0, before);

        world.simulator.pass(DAY);

        assert_eq!(world.created_at(&world.key.0).as_deref(), after);
    }
}

#[tokio::test]
async fn a_deleted_key_becomes_older() {
    let world = World::new().await;
    world.set_secret(|secret| secret.current_key_guarantee = CurrentKeyGuarantee::Off);
    world.simulator.delete_key_manually(&world.key.0);
    let before = world.created_at(&world.key.0).unwrap();

    world.simulator.pass(DAY);

    let after = world.created_at(&world.key.0).unwrap();
    assert!(after < before, "{after}, {before}");
}

#[tokio::test]
async fn keys_remain_in_the_order_of_their_creation_and_before_the_current_time() {
    let world = World::new().await;
    let mut keys = vec![world.key.0.clone()];
    for _ in 0..3 {
        keys.push(world.create().await.0);
        world.simulator.pass(DAY);
    }
    let arranged = world.simulator.add_key("sa-admin", None, None);
    keys.push(arranged.0);

    let times: Vec<_> = keys.iter().map(|id| world.created_at(id)).collect();

    assert!(times.is_sorted(), "{times:?}");
    assert!(times[3] < Some(timestamp(-86_000)), "{times:?}");
    assert!(times[4] < Some(timestamp(0)), "{times:?}");
}

#[tokio::test]
async fn the_propagation_of_a_key_ends() {
    let world = World::new().await;
    world.simulator.state().controls.propagation_delay = DAY;
    let key = world.create().await;

    let before = world.probe(&key).await.0;
    world.simulator.pass(DAY);
    let after = world.probe(&key).await.0;

    assert_eq!((before, after), (401, 200));
}
