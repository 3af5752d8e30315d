//! The two deletions that createSecret is permitted, the policy for the previous key, and labels.

use serde_json::json;
use simulator::{CreatedAt, Fault, Overlap, Quota, QuotaResponse, Response, ownership_tag};

use super::after_rotation;
use crate::{World, secret_value};

#[tokio::test]
async fn create_secret_may_delete_its_own_key_that_it_could_not_store() {
    for (case, is_legitimate) in [
        ("stored without success", true),
        ("read last", true),
        ("labels read last", false),
        ("stored", false),
        ("stored, and the label removed", false),
    ] {
        let world = World::new().await;
        let token = world.simulator.start_rotation(&world.arn);
        let tag = ownership_tag(&world.arn, &token, "0a1b2c3d", "");
        let key = world.create_described(&tag).await;
        let value = secret_value(&key);
        let read = json!({ "VersionId": token, "VersionStage": "AWSPENDING" });
        match case {
            "stored without success" => {
                let next = world.simulator.state().requests.len();
                world.simulator.fail(next, Fault::InternalError);
                world.put(&token, &value).await;
                world.aws("DescribeSecret", json!({})).await;
            }
            "read last" => {
                world.aws("GetSecretValue", read).await;
            }
            "labels read last" => {
                world.aws("GetSecretValue", read).await;
                world.aws("DescribeSecret", json!({})).await;
            }
            _ => {
                world.put(&token, &value).await;
                world.aws("GetSecretValue", read).await;
            }
        }
        if case == "stored, and the label removed" {
            world.simulator.abandon_rotation(&world.arn);
        }

        world.delete_only(&key.0).await;

        let violations = world.violations();
        assert_eq!(
            violations.is_empty(),
            is_legitimate,
            "{case}: {violations:?}"
        );
    }
}

#[tokio::test]
async fn a_rejection_for_quota_permits_one_deletion_of_a_younger_key() {
    for response in [QuotaResponse::PaymentRequired, QuotaResponse::BadRequest] {
        let world = World::new().await;
        let mut orphans = Vec::new();
        for version in ["v1", "v2", "v3"] {
            orphans.push(world.create_orphan(version).await);
        }
        world.simulator.make_undeletable(&orphans[0], 403);
        world.simulator.state().controls.quota = Some(Quota {
            per_owner: 4,
            response,
        });

        let (rejected, _) = world.post("another key").await;
        let undeletable = world.delete(&orphans[0]).await;
        let deleted = world.delete(&orphans[1]).await;
        let violations = world.violations();
        world.delete(&orphans[2]).await;

        assert!(rejected == 402 || rejected == 400, "{rejected}");
        assert_eq!((undeletable, deleted), (403, 204));
        assert!(violations.is_empty(), "{violations:?}");
        world.assert_violation("created before the current key");
    }
}

#[tokio::test]
async fn a_replaced_response_for_quota_permits_a_deletion_until_a_key_is_created() {
    let world = World::new().await;
    let orphan = world.create_orphan("v1").await;
    let quota = Response::confluent_error(402, Some("quota_exceeded"), "", "");
    let is_post = |request: &simulator::Request| request.method == "POST";
    world.simulator.respond_with(1, is_post, quota);

    world.post("another key").await;
    world.post("another key").await;
    world.delete(&orphan).await;

    world.assert_violation("created before the current key");
}

#[tokio::test]
async fn the_previous_key_is_kept_until_the_next_promotion_if_the_test_requires_it() {
    let world = World::new().await;
    world.rotate().await;
    world.simulator.state().controls.overlap = Overlap::UntilNextRotation;
    let label = {
        let state = world.simulator.state();
        state.secret(&world.arn).labels["AWSPREVIOUS"].clone()
    };

    world.remove_previous_label().await;
    world.assert_violation("AWSPREVIOUS of app/kafka is removed, and its overlap has not ended");
    world.simulator.move_label(&world.arn, "AWSPREVIOUS", None);
    world.simulator.make_undeletable(&world.key.0, 503);
    world.delete(&world.key.0).await;
    world.assert_violation("is the previous key of app/kafka");
    world
        .simulator
        .move_label(&world.arn, "AWSPREVIOUS", Some(&label));
    world.simulator.state().controls.quota = Some(Quota {
        per_owner: 1,
        response: QuotaResponse::PaymentRequired,
    });
    world.post("another key").await;
    world.remove_previous_label().await;
    let status = world.delete(&world.key.0).await;

    assert_eq!(status, 503);
    assert!(world.violations().is_empty(), "the quota is exceeded");
}

#[tokio::test]
async fn the_previous_key_may_be_deleted_after_the_next_promotion() {
    let world = World::new().await;
    world.simulator.state().controls.overlap = Overlap::UntilNextRotation;
    world.rotate().await;
    let second = world.current_key();
    world.rotate().await;
    world.rotate().await;
    let next = world.simulator.state().requests.len();
    world.simulator.fail(next + 1, Fault::InternalError);
    world.delete(&second).await;
    assert!(
        world.violations().is_empty(),
        "a request without effect deletes nothing"
    );

    world.delete(&second).await;

    assert!(world.violations().is_empty());
    assert!(world.simulator.state().deleted_keys.contains_key(&second));
}

#[tokio::test]
async fn a_rotation_function_that_changes_a_users_label_is_a_violation() {
    let world = World::new().await;
    let version = world.simulator.add_version(&world.arn, "BLUE", "{}");

    let remove = json!({ "VersionStage": "BLUE", "RemoveFromVersionId": version });
    world.aws("UpdateSecretVersionStage", remove).await;

    world.assert_violation("the label BLUE is changed");
    let state = world.simulator.state();
    assert_eq!(state.secret(&world.arn).labels["BLUE"], version);
}

#[tokio::test]
async fn a_deletion_that_fails_is_a_violation_as_well() {
    let world = after_rotation().await;
    world.simulator.state().controls.created_at = CreatedAt::Absent;
    let orphan = world.create_orphan("v1").await;
    world.simulator.make_undeletable(&orphan, 500);

    let status = world.delete(&orphan).await;

    assert_eq!(status, 500);
    world.assert_violation("has an unknown age");
}
