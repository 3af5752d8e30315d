//! Arrangements: lagging and undeletable keys, copies, replicas, dates, and retries of a rotation.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{CreatedAt, CurrentKeyGuarantee, Outcome};

use crate::{OWNER, World, secret_value};

impl World {
    async fn list(&self) -> Vec<String> {
        let request = format!("GET /iam/v2/api-keys?spec.owner={OWNER}&page_size=100");
        let (_, body) = self.control_plane(&request, &Value::Null).await;
        let keys = body["data"].as_array().unwrap().iter();
        keys.map(|key| key["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn read(&self, id: &str) -> (u16, Value) {
        let request = format!("GET /iam/v2/api-keys/{id}");
        self.control_plane(&request, &Value::Null).await
    }
}

#[tokio::test]
async fn the_creation_time_of_a_new_key_is_later_than_that_of_the_key_before_absent_or_any_string()
{
    let world = World::new().await;
    let mut created = Vec::new();
    for created_at in [
        CreatedAt::Now,
        CreatedAt::Now,
        CreatedAt::Absent,
        CreatedAt::At("yesterday".to_owned()),
    ] {
        world.simulator.state().controls.created_at = created_at;
        let (id, _) = world.create().await;
        let (_, key) = world.read(&id).await;
        created.push(key["metadata"].get("created_at").cloned());
    }

    let time = |index: usize| {
        created[index]
            .as_ref()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(time(0) < time(1), "{created:?}");
    assert_eq!(created[2], None);
    assert_eq!(created[3], Some(json!("yesterday")));
}

#[tokio::test]
async fn a_key_may_be_missing_from_lists_from_reads_or_from_both() {
    let world = World::new().await;
    let (id, _) = &world.key;
    world.simulator.hide_key_from_lists(id, 1);
    assert!(!world.list().await.contains(id));
    assert_eq!(world.read(id).await.0, 200);
    assert!(world.list().await.contains(id));

    world.simulator.hide_key_from_lists(id, u32::MAX);
    world.simulator.hide_key_from_reads(id, u32::MAX);
    for _ in 0..3 {
        assert!(!world.list().await.contains(id));
        assert_eq!(world.read(id).await.0, 403);
    }

    world.simulator.state().controls.list_lag = 1;
    world.simulator.state().controls.read_lag = 2;
    let (new, _) = world.create().await;
    assert!(!world.list().await.contains(&new));
    let statuses = [
        world.read(&new).await.0,
        world.read(&new).await.0,
        world.read(&new).await.0,
    ];
    assert_eq!(statuses, [403, 403, 200]);
    assert!(world.list().await.contains(&new));
}

#[tokio::test]
async fn a_key_that_was_deleted_may_still_be_listed() {
    let world = World::new().await;
    let (id, _) = world.simulator.add_key(OWNER, None, None);
    world
        .simulator
        .state()
        .keys
        .get_mut(&id)
        .unwrap()
        .delete_lag = Some(2);

    let request = format!("DELETE /iam/v2/api-keys/{id}");
    world.control_plane(&request, &Value::Null).await;

    assert!(world.list().await.contains(&id));
    assert!(!world.list().await.contains(&id));
    world.assert_violation("another application's key");
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_remains() {
    let world = World::new().await;
    let (id, _) = world.simulator.add_key(OWNER, None, None);
    for status in [403, 500, 503] {
        world.simulator.make_undeletable(&id, status);
        let request = format!("DELETE /iam/v2/api-keys/{id}");
        assert_eq!(world.control_plane(&request, &Value::Null).await.0, status);
        assert!(world.simulator.state().keys.contains_key(&id));
    }
    world.assert_violation("another application's key");
}

#[tokio::test]
async fn describe_secret_returns_replicas_and_dates() {
    let world = World::new().await;
    let description = world.describe().await;
    for field in [
        "PrimaryRegion",
        "ReplicationStatus",
        "CrossAccountReplicas",
        "LastRotatedDate",
    ] {
        assert_eq!(description.get(field), None, "{field}");
    }
    assert!(description["LastChangedDate"].is_f64());

    world.rotate().await;
    world
        .simulator
        .add_replica(&world.arn, "eu-west-1", "InProgress");
    world
        .simulator
        .add_cross_account_replica(&world.arn, "Detached");
    world
        .simulator
        .age_secret(&world.arn, Duration::from_hours(1));
    let description = world.describe().await;
    assert_eq!(description["PrimaryRegion"], "us-east-1");
    assert_eq!(
        description["ReplicationStatus"],
        json!([{ "Region": "eu-west-1", "Status": "InProgress" }])
    );
    let replica = &description["CrossAccountReplicas"][0];
    assert_eq!(replica["ReplicationStatus"], "Detached");
    assert!(replica["ReplicaSecretARN"].is_string());
    assert_eq!(
        description["LastRotatedDate"],
        description["LastChangedDate"]
    );

    let before = description["LastChangedDate"].as_f64().unwrap();
    world.simulator.move_label(&world.arn, "AWSPREVIOUS", None);
    let after = world.describe().await["LastChangedDate"].as_f64().unwrap();
    assert!(after > before + 3_000.0, "a label was removed");
}

#[tokio::test]
async fn the_created_date_of_a_version_can_be_changed_and_removed() {
    let world = World::new().await;
    let read = || world.aws("GetSecretValue", json!({ "VersionStage": "AWSCURRENT" }));
    let (_, now) = read().await;

    world
        .simulator
        .age_version(&world.arn, "AWSCURRENT", Duration::from_mins(20));
    let (_, aged) = read().await;
    {
        let mut state = world.simulator.state();
        let secret = state.secret_mut(&world.arn);
        secret.versions.values_mut().next().unwrap().created = None;
    }
    let (_, absent) = read().await;

    let age = now["CreatedDate"].as_f64().unwrap() - aged["CreatedDate"].as_f64().unwrap();
    assert!((1_190.0..=1_200.0).contains(&age), "{age}");
    assert_eq!(absent.get("CreatedDate"), None);
}

#[tokio::test]
async fn a_users_label_is_added_moved_and_removed_by_compare_and_swap() {
    let world = World::new().await;
    let (simulator, arn) = (&world.simulator, &world.arn);
    let first = simulator.add_version(arn, "BLUE", &secret_value(&world.key));
    let current = simulator.state().secret(arn).labels["AWSCURRENT"].clone();
    assert_ne!(first, current);
    simulator.move_label(arn, "BLUE", Some(&current));
    assert_eq!(
        world.describe().await["VersionIdsToStages"],
        json!({ &current: ["AWSCURRENT", "BLUE"] })
    );
    simulator.move_label(arn, "BLUE", None);

    simulator.move_label(arn, "AWSPREVIOUS", Some(&first));
    let remove = |from: &str| {
        let body = json!({ "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": from });
        world.aws("UpdateSecretVersionStage", body)
    };
    let (_, elsewhere) = remove(&current).await;
    let (removed, _) = remove(&first).await;
    let (_, again) = remove(&first).await;

    assert_eq!(elsewhere["__type"], "InvalidParameterException");
    assert_eq!(removed, 200);
    assert_eq!(again["__type"], "InvalidParameterException");
}

#[tokio::test]
async fn a_version_may_be_unreadable() {
    let world = World::new().await;
    world.simulator.deny_decryption(&world.arn, "AWSCURRENT");

    let (_, denied) = world
        .aws("GetSecretValue", json!({ "VersionStage": "AWSCURRENT" }))
        .await;

    assert_eq!(denied["__type"], "AccessDeniedException");
    assert!(denied["message"].as_str().unwrap().contains("KMS"));
}

#[tokio::test]
async fn a_copy_and_a_promoted_replica_have_the_key_and_another_arn() {
    let world = World::new().await;
    world.rotate().await;
    let (simulator, arn) = (&world.simulator, &world.arn);
    simulator.add_replica(arn, "eu-west-1", "InSync");
    simulator.start_rotation(arn);

    let copy = simulator.copy_secret(arn, "copy", &["AWSCURRENT", "AWSPREVIOUS"]);
    let value_only = simulator.copy_secret(arn, "value", &["AWSCURRENT"]);
    let promoted = simulator.promote_replica(arn, "eu-west-1");

    let state = simulator.state();
    let original = state.secret(arn);
    let (current, previous) = (
        original.key_id("AWSCURRENT"),
        original.key_id("AWSPREVIOUS"),
    );
    assert!(promoted.starts_with("arn:aws:secretsmanager:eu-west-1:"));
    assert!(original.replicas.is_empty());
    for (other, expected) in [
        (&copy, previous),
        (&value_only, None),
        (&promoted, previous),
    ] {
        let secret = state.secret(other);
        assert_ne!(secret.arn, original.arn);
        assert_eq!(secret.key_id("AWSCURRENT"), current);
        assert_eq!(secret.key_id("AWSPREVIOUS"), expected);
        assert!(!secret.labels.contains_key("AWSPENDING"));
        assert_eq!(secret.rotation_enabled, Some(true));
        assert!(state.is_owned(arn, current.unwrap()));
        assert!(!state.is_owned(other, current.unwrap()));
    }
    assert_ne!(
        state.secret(&copy).labels["AWSCURRENT"],
        original.labels["AWSCURRENT"]
    );
    assert_eq!(
        state.secret(&promoted).labels["AWSCURRENT"],
        original.labels["AWSCURRENT"]
    );
}

#[tokio::test]
async fn an_admin_secret_may_name_the_key_of_the_secret() {
    let world = World::new().await;
    let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");

    let admin = world.simulator.add_admin_secret("admin", &key.unwrap());

    let state = world.simulator.state();
    assert_eq!(
        state.secret(&admin).key_id("AWSCURRENT"),
        Some(world.key.0.as_str())
    );
}

#[tokio::test]
async fn a_user_replaces_the_key_and_keeps_the_rest_of_the_value() {
    let world = World::new().await;
    let key = world.simulator.add_key(OWNER, None, None);
    world
        .simulator
        .state()
        .secret_mut(&world.arn)
        .current_key_guarantee = CurrentKeyGuarantee::Exists;

    world.simulator.replace_key_manually(&world.arn, &key);

    let state = world.simulator.state();
    let secret = state.secret(&world.arn);
    assert_eq!(secret.key("AWSCURRENT"), Some(key));
    assert_eq!(secret.owner().as_deref(), Some(OWNER));
    assert_eq!(secret.key_id("AWSPREVIOUS"), Some(world.key.0.as_str()));
}

#[tokio::test]
async fn a_rotation_whose_awspending_was_removed_is_retried_with_the_same_or_a_new_token() {
    let world = World::new().await;
    let (simulator, arn) = (&world.simulator, &world.arn);
    // A function that heals: it removes AWSPENDING and fails.
    let heal = async |event: Value| {
        let token = event["ClientRequestToken"].clone();
        let remove = json!({ "VersionStage": "AWSPENDING", "RemoveFromVersionId": token });
        world.aws("UpdateSecretVersionStage", remove).await;
        Err("start over".to_owned())
    };
    simulator.rotate(arn, &heal).await;
    let token = simulator.last_token(arn).unwrap();

    let tokens = std::cell::RefCell::new(Vec::new());
    let record = async |event: Value| {
        tokens
            .borrow_mut()
            .push(event["ClientRequestToken"].clone());
        Err("no".to_owned())
    };
    let retried = simulator.retry_rotation(arn, &record).await;
    let labels = world.describe().await["VersionIdsToStages"].clone();
    simulator.rotate(arn, &record).await;

    assert!(
        matches!(
            &retried,
            Outcome::Failed {
                step: "createSecret",
                ..
            }
        ),
        "{retried:?}"
    );
    assert_eq!(tokens.borrow()[0], token.as_str());
    assert_eq!(labels.get(&token), None, "a retry adds no label");
    assert_ne!(tokens.borrow()[1], token.as_str());
    world.rotate().await;
    assert_eq!(simulator.last_token(arn), None);
}
