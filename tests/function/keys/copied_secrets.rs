//! Copies and replicas of a secret.

use super::deletion::world;
use super::*;

#[tokio::test]
async fn a_copied_secret_gets_its_own_key_and_the_tagged_key_is_kept() {
    for policy in POLICIES {
        let mut world = world(policy).await;
        world.rotate_successfully(&policy).await;
        let original = world.arn.clone();
        let keys = world.all_keys();
        let shared = world.key("AWSCURRENT").unwrap();
        let labels: &[&str] = match policy {
            OldKeyPolicy::Delete => &["AWSCURRENT"],
            OldKeyPolicy::DeleteAfter | OldKeyPolicy::KeepUntilNextRotation => {
                &["AWSCURRENT", "AWSPREVIOUS"]
            }
        };
        world.arn = world
            .simulator
            .copy_secret(&original, "orders/copy", labels);

        if policy == OldKeyPolicy::Delete {
            let reason = "another secret's ownership tag";
            world.assert_kept(&shared, reason, &policy).await;
        } else {
            world.rotate_successfully(&policy).await;
            world.rotate_successfully(&policy).await;
        }

        assert!(world.all_keys().is_superset(&keys), "{policy:?}");
        assert_ne!(world.key("AWSCURRENT"), Some(shared));
    }
}

#[tokio::test]
async fn a_promoted_replica_gets_its_own_key_and_the_tagged_key_is_kept() {
    for policy in POLICIES {
        let mut world = world(policy).await;
        world
            .simulator
            .add_replica(&world.arn, "us-west-2", "InSync");
        world.rotate_successfully(&policy).await;
        let keys = world.all_keys();
        let promoted = world.simulator.promote_replica(&world.arn, "us-west-2");
        world.arn = promoted;

        world.rotate_successfully(&policy).await;
        world.rotate_successfully(&policy).await;

        assert!(world.all_keys().is_superset(&keys), "{policy:?}");
    }
}

#[tokio::test]
async fn no_key_is_deleted_while_a_replica_is_not_in_sync() {
    for status in ["InProgress", "Failed", "Unknown", ""] {
        for is_cross_account in [false, true] {
            let case = (status, is_cross_account);
            let world = world(OldKeyPolicy::Delete).await;
            world.rotate_successfully(&case).await;
            if is_cross_account {
                world
                    .simulator
                    .add_cross_account_replica(&world.arn, status);
            } else {
                world.simulator.add_replica(&world.arn, "us-west-2", status);
            }
            let keys = world.all_keys();

            let lines = world.rotate_successfully(&case).await;

            assert!(world.all_keys().is_superset(&keys), "{case:?}");
            let log = serde_json::to_string(&lines).unwrap();
            assert!(log.contains("is not in sync"), "{case:?}: {log}");
            let report = world.preflight().await;
            let check = report.checks.iter().find(|c| c.name == "orphaned-keys");
            let observed = &check.unwrap().finding.observed;
            assert!(observed.contains("is not in sync"), "{observed}");
        }
    }
}

#[tokio::test]
async fn keys_are_deleted_while_all_replicas_are_in_sync_or_detached() {
    for status in ["InSync", "Detached"] {
        let world = world(OldKeyPolicy::Delete).await;
        world.simulator.add_replica(&world.arn, "us-west-2", status);
        world
            .simulator
            .add_cross_account_replica(&world.arn, status);

        world.rotate_successfully(&status).await;

        assert!(!world.all_keys().contains(&world.initial_key), "{status}");
    }
}

#[tokio::test]
async fn a_replica_is_not_rotated_and_the_error_names_its_primary_secret() {
    for step in ["createSecret", "testSecret", "finishSecret"] {
        let world = world(OldKeyPolicy::Delete).await;
        let primary = Some("eu-central-1".to_owned());
        world
            .simulator
            .state()
            .secret_mut(&world.arn)
            .primary_region = primary;

        let error = world.step_error(step, "a replica").await;

        assert_eq!(error.error_type, "ReplicaSecret", "{error:?}");
        let message = &error.error_message;
        assert!(message.contains("eu-central-1"), "{message}");
    }
}

#[tokio::test]
async fn a_replica_that_is_no_longer_in_sync_before_the_delete_stops_the_deletion() {
    let world = world(OldKeyPolicy::Delete).await;
    world
        .simulator
        .add_replica(&world.arn, "us-west-2", "InSync");
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let change = async || {
        let mut state = world.simulator.state();
        state.secret_mut(&world.arn).replicas[0].status = "InProgress".to_owned();
    };

    let finished = world.step_while("finishSecret", lists_keys, change).await;

    assert!(finished.is_ok(), "{finished:?}");
    assert!(world.all_keys().contains(&world.initial_key));
}
