//! `finishSecret`: promotes the pending version, then deletes the previous key. It can be resumed at any point.

use simulator::DeletedKeyResponse;

use std::sync::atomic::Ordering::Relaxed;

use super::*;

const BEFORE: [&str; 3] = ["createSecret", "setSecret", "testSecret"];

/// Creates a world in which only finishSecret is left to run.
async fn before_finish(policy: OldKeyPolicy) -> World {
    let world = World::new(Setting {
        policy,
        ..Setting::default()
    })
    .await;
    world.run_steps(&BEFORE).await;
    world
}

impl World {
    /// Moves `AWSCURRENT`, as a user does manually.
    pub(crate) fn make_current(&self, version: &str) {
        self.simulator
            .move_label(&self.arn, "AWSCURRENT", Some(version));
    }
}

#[tokio::test]
async fn a_promotion_by_another_invocation_is_a_success() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let pending = world.key("AWSPENDING").unwrap();
    let another = async || world.run_steps(&["finishSecret"]).await;

    let outcome = world
        .step_while(
            "finishSecret",
            is_operation("UpdateSecretVersionStage"),
            another,
        )
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.key("AWSCURRENT"), Some(pending.clone()));
    world.assert_keys(&[pending], &"two invocations of finishSecret");
}

#[tokio::test]
async fn a_denied_promotion_is_an_error_and_the_previous_key_is_kept() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let keys = world.all_keys();
    let denied = Response::aws_access_denied("UpdateSecretVersionStage");
    world
        .simulator
        .respond_with(1, is_operation("UpdateSecretVersionStage"), denied);

    let error = world
        .step_error("finishSecret", "the promotion is denied")
        .await;

    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_step_that_was_interrupted_after_the_promotion_is_resumed() {
    for policy in POLICIES {
        let world = before_finish(policy).await;
        let pending = world.key("AWSPENDING").unwrap();
        // The state after an interruption immediately after the promotion.
        let version = world.version("AWSPENDING");
        world
            .simulator
            .move_label(&world.arn, "AWSCURRENT", version.as_deref());

        for attempt in 0..2 {
            let outcome = world.step("finishSecret").await;

            assert!(outcome.is_ok(), "{policy:?}, {attempt}: {outcome:?}");
            let expected = match policy {
                OldKeyPolicy::Delete => vec![pending.clone()],
                OldKeyPolicy::DeleteAfter | OldKeyPolicy::KeepUntilNextRotation => {
                    vec![pending.clone(), world.initial_key.clone()]
                }
            };
            world.assert_keys(&expected, &(policy, attempt));
        }
    }
}

#[tokio::test]
async fn an_orphaned_key_of_the_same_version_is_deleted() {
    for policy in POLICIES {
        let world = before_finish(policy).await;
        let pending = world.key("AWSPENDING").unwrap();
        {
            let mut state = world.simulator.state();
            let mut orphan = state.keys[&pending].clone();
            orphan.id = "ORPHAN0000000000".to_owned();
            orphan.created_at = Some("2020-01-01T00:00:00Z".to_owned());
            state.keys.insert(orphan.id.clone(), orphan);
        }

        world.run_steps(&["finishSecret"]).await;

        let keys = world.all_keys();
        assert!(
            !keys.contains("ORPHAN0000000000") && keys.contains(&pending),
            "{policy:?}"
        );
    }
}

#[tokio::test]
async fn a_previous_key_that_another_user_deleted_counts_as_deleted() {
    for deleted_key_response in [DeletedKeyResponse::Forbidden, DeletedKeyResponse::NotFound] {
        for matches in [lists_keys, deletes_a_key] {
            let world = before_finish(OldKeyPolicy::Delete).await;
            world.simulator.state().controls.deleted_key_response = deleted_key_response;
            let pending = world.key("AWSPENDING").unwrap();
            let delete = async || world.simulator.delete_key_manually(&world.initial_key);
            // If it is deleted before the list, its version is still AWSCURRENT.
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);

            let outcome = world.step_while("finishSecret", matches, delete).await;

            assert!(outcome.is_ok(), "{deleted_key_response:?}: {outcome:?}");
            world.assert_keys(&[pending], &deleted_key_response);
        }
    }
}

#[tokio::test]
async fn a_denied_deletion_of_the_previous_key_is_an_error_and_the_next_attempt_retries() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    world
        .simulator
        .respond_with(1, deletes_a_key, Response::confluent_forbidden());

    let error = world
        .step_error("finishSecret", "the list still contains the key")
        .await;

    assert_eq!(error.error_type, "KeyDeletionFailed", "{error:?}");
    assert!(
        error.error_message.contains(&world.initial_key),
        "{}",
        error.error_message
    );
    world.run_steps(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the next attempt");
}

/// A proxy may send its page before or after Confluent Cloud deletes the key.
#[tokio::test]
async fn a_page_in_response_to_a_deletion_is_an_error_only_if_the_key_is_still_listed() {
    for takes_effect in [false, true] {
        let world = before_finish(OldKeyPolicy::Delete).await;
        let page = Response::new(200, "text/html", "<html>Blocked</html>");
        if takes_effect {
            world.simulator.replace_response(1, deletes_a_key, page);
        } else {
            world.simulator.respond_with(1, deletes_a_key, page);
        }

        let outcome = world.step("finishSecret").await;

        let error = outcome.err().map(|error| error.error_type);
        let expected = (!takes_effect).then(|| "KeyDeletionFailed".to_owned());
        assert_eq!(error, expected, "{takes_effect}");
        world.run_steps(&["finishSecret"]).await;
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &takes_effect);
    }
}

/// An empty list shows only that the management credentials have no permission to see the keys.
#[tokio::test]
async fn an_empty_list_does_not_show_that_a_key_whose_deletion_was_denied_no_longer_exists() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    world
        .simulator
        .respond_with(1, deletes_a_key, Response::confluent_forbidden());
    let hide_all = async || world.simulator.respond_with(1, lists_keys, empty_list());

    let outcome = world
        .step_while("finishSecret", deletes_a_key, hide_all)
        .await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "KeyDeletionFailed", "{error:?}");
    world.run_steps(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the next attempt deletes it");
}

#[tokio::test]
async fn a_previous_key_that_the_list_omits_is_read_by_its_id() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    world.simulator.respond_with(1, lists_keys, empty_list());

    world.run_steps(&["finishSecret"]).await;

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the previous key was deleted");
}

#[tokio::test]
async fn no_key_is_deleted_if_the_credentials_have_no_permission_to_see_the_keys() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let keys = world.all_keys();
    world.grant_admin(&[Role::Operator]);

    world.run_steps(&["finishSecret"]).await;

    assert_ne!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    assert_eq!(world.all_keys(), keys);
    world.grant_admin(&[Role::OrganizationAdmin]);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the next rotation deletes both keys");
}

#[tokio::test]
async fn a_pending_key_that_was_deleted_after_test_secret_is_not_promoted() {
    let mut world = before_finish(OldKeyPolicy::Delete).await;
    let pending = world.key("AWSPENDING").unwrap();
    world.simulator.delete_key_manually(&pending);
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world
        .step_error("finishSecret", "the pending key was deleted")
        .await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    world.assert_keys(
        std::slice::from_ref(&world.initial_key),
        &"the current key is kept",
    );
}

#[tokio::test]
async fn no_key_is_deleted_if_the_list_does_not_contain_the_promoted_key() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    world
        .simulator
        .respond_with(usize::MAX, lists_keys, empty_list());

    world.run_steps(&["finishSecret"]).await;

    assert!(world.all_keys().contains(&world.initial_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

#[tokio::test]
async fn a_rollback_while_the_keys_are_listed_prevents_the_deletion_of_the_previous_key() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let current = world.version("AWSCURRENT").unwrap();
    let pending = world.version("AWSPENDING").unwrap();
    world.make_current(&pending);
    let roll_back = async || world.make_current(&current);

    let outcome = world
        .step_while("finishSecret", lists_keys, roll_back)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

/// The verification may take minutes.
#[tokio::test]
async fn a_version_whose_rotation_was_ended_during_the_verification_is_not_promoted() {
    let endings: [(Arrange, &str); 2] = [
        (
            |world| world.simulator.abandon_rotation(&world.arn),
            "VersionNotPending",
        ),
        (
            |world| world.simulator.cancel_rotation(&world.arn),
            "RotationNotEnabled",
        ),
    ];
    for (end, error_type) in endings {
        let world = before_finish(OldKeyPolicy::Delete).await;

        let outcome = world
            .step_while("finishSecret", is_probe, async || end(&world))
            .await;

        assert_eq!(outcome.unwrap_err().error_type, error_type);
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
        assert_eq!(world.count(deletes_a_key), 0, "{error_type}");
    }
}

/// The previous key was chosen with the labels that were read before the list.
#[tokio::test]
async fn if_aws_previous_moves_while_the_keys_are_listed_no_key_is_deleted() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let pending = world.version("AWSPENDING").unwrap();
    world.make_current(&pending);
    let keys = world.all_keys();
    let change = async || {
        world
            .simulator
            .move_label(&world.arn, "AWSPREVIOUS", Some(&pending));
    };

    let outcome = world.step_while("finishSecret", lists_keys, change).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_promotion_is_rejected_if_aws_current_moved_to_another_version() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let edit = async || {
        let token = world.version("AWSPENDING");
        world.change_value(|value| value["note"] = json!("another"));
        world
            .simulator
            .move_label(&world.arn, "AWSPENDING", token.as_deref());
    };

    let outcome = world
        .step_while(
            "finishSecret",
            is_operation("UpdateSecretVersionStage"),
            edit,
        )
        .await;

    assert_eq!(outcome.unwrap_err().error_type, "StagingLabelMoved");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

#[tokio::test]
async fn a_previous_key_that_the_list_omits_is_kept() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let hidden = world.initial_key.clone();
    world.simulator.hide_key_from_lists(&hidden, u32::MAX);

    world.run_steps(&["finishSecret"]).await;

    assert!(world.all_keys().contains(&hidden));
    assert_eq!(world.count(deletes_a_key), 0);
}

#[tokio::test]
async fn a_denied_read_of_the_labels_before_a_deletion_is_a_warning() {
    let world = before_finish(OldKeyPolicy::Delete).await;
    let describes = std::sync::atomic::AtomicUsize::new(0);
    // The first three are at the start of the step, before the promotion and after it.
    let before_deletion = move |request: &Request| {
        is_operation("DescribeSecret")(request) && describes.fetch_add(1, Relaxed) >= 3
    };
    let denied = Response::aws_access_denied("DescribeSecret");
    world.simulator.respond_with(1, before_deletion, denied);

    let (outcome, lines) = telemetry::logs::logged(world.step("finishSecret")).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.count(deletes_a_key), 0);
    assert_ne!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    let log = serde_json::to_string(&lines).unwrap();
    assert!(log.contains("secretsmanager:DescribeSecret"), "{log}");
    assert!(log.contains(r#""DeletionsFailed":1"#), "{log}");
    assert!(log.contains(r#""KeysKept":1"#), "{log}");
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the next rotation deletes it");
}

/// Minutes may pass before a rejected deletion is retried.
#[tokio::test]
async fn a_rollback_before_a_deletion_is_retried_prevents_it() {
    for status in [429, 503] {
        let world = before_finish(OldKeyPolicy::Delete).await;
        let current = world.version("AWSCURRENT").unwrap();
        world
            .simulator
            .respond_with(1, deletes_a_key, Response::empty(status));
        let roll_back = async || world.make_current(&current);

        let outcome = world
            .step_while("finishSecret", deletes_a_key, roll_back)
            .await;

        assert!(outcome.is_ok(), "{status}: {outcome:?}");
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
        assert_eq!(world.count(deletes_a_key), 1, "{status}");
    }
}

#[tokio::test]
async fn a_rollback_while_an_orphaned_key_is_deleted_prevents_further_deletions() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    for _ in 0..2 {
        world.run_steps(&["createSecret"]).await;
        world.simulator.abandon_rotation(&world.arn);
    }
    world.run_steps(&BEFORE).await;
    let current = world.version("AWSCURRENT").unwrap();
    let roll_back = async || world.make_current(&current);

    let outcome = world
        .step_while("finishSecret", deletes_a_key, roll_back)
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
    assert_eq!(world.count(deletes_a_key), 1, "one orphaned key");
    // The DELETE was already sent when the label moved.
    world.simulator.state().violations.clear();
}

#[tokio::test]
async fn a_deleted_key_that_is_still_listed_fails_at_most_one_attempt() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.delete_lag = 3;

    for rotation in 0..3 {
        if world.rotate().await != Outcome::Succeeded {
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{rotation}");
        }
    }

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"after three rotations");
}

/// An operator may invoke the step with a test event.
#[tokio::test]
async fn a_key_that_was_not_tested_is_verified_before_its_promotion() {
    for status in [401, 404, 429, 503] {
        let mut world = World::new(Setting::default()).await;
        world.simulator.state().controls.propagation_statuses = always(status);
        world.run_steps(&["createSecret"]).await;
        world.time_limit = SHORT_TIME_LIMIT;
        let keys = world.all_keys();

        let error = world.step_error("finishSecret", "not verified").await;

        assert_eq!(error.error_type, "PendingKeyNotAccepted", "{status}");
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.initial_key));
        assert_eq!(world.all_keys(), keys, "{status}");
    }
}
