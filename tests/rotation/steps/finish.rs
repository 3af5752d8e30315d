//! `finishSecret`: the label first, then the old key, as often as it takes.

use simulator::GoneAnswer;

use super::*;

const BEFORE: [&str; 3] = ["createSecret", "setSecret", "testSecret"];

/// A world in which all but the last step is done.
async fn nearly_finished(policy: OldKeyPolicy) -> World {
    let world = World::new(Setting {
        policy,
        ..Setting::default()
    })
    .await;
    world.pass(&BEFORE).await;
    world
}

impl World {
    /// Moves `AWSCURRENT`, as a person does by hand.
    fn make_current(&self, version: &str) {
        self.simulator
            .move_label(&self.arn, "AWSCURRENT", Some(version));
    }
}

#[tokio::test]
async fn a_move_that_another_invocation_made_is_a_success() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let pending = world.key("AWSPENDING").unwrap();
    let another = async || world.pass(&["finishSecret"]).await;

    let outcome = world
        .step_while(
            "finishSecret",
            is_operation("UpdateSecretVersionStage"),
            another,
        )
        .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(world.key("AWSCURRENT"), Some(pending.clone()));
    world.assert_keys(&[pending], &"finished twice");
}

#[tokio::test]
async fn a_move_that_was_refused_and_not_made_is_an_error_and_the_old_key_stays() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let keys = world.all_keys();
    let denied = Answer::aws_access_denied("UpdateSecretVersionStage");
    world
        .simulator
        .answer(1, is_operation("UpdateSecretVersionStage"), denied);

    let error = world.refusal("finishSecret", "the move is refused").await;

    assert_eq!(
        error.error_type, "SecretsManagerRefused",
        "{}",
        error.error_message
    );
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn what_was_left_to_do_after_the_move_is_done_when_the_step_is_repeated() {
    for policy in [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation] {
        let world = nearly_finished(policy).await;
        let pending = world.key("AWSPENDING").unwrap();
        // As a crash right after the move leaves it.
        let version = world.version("AWSPENDING");
        world
            .simulator
            .move_label(&world.arn, "AWSCURRENT", version.as_deref());

        for repeated in 0..2 {
            let outcome = world.step("finishSecret").await;

            assert!(outcome.is_ok(), "{policy:?}, {repeated}: {outcome:?}");
            let left = match policy {
                OldKeyPolicy::Delete => vec![pending.clone()],
                OldKeyPolicy::KeepUntilNextRotation => {
                    vec![pending.clone(), world.first_key.clone()]
                }
            };
            world.assert_keys(&left, &(policy, repeated));
        }
    }
}

#[tokio::test]
async fn a_key_that_was_made_for_the_version_and_did_not_become_its_value_goes() {
    for policy in [OldKeyPolicy::Delete, OldKeyPolicy::KeepUntilNextRotation] {
        let world = nearly_finished(policy).await;
        let pending = world.key("AWSPENDING").unwrap();
        {
            let mut state = world.simulator.state();
            let mut orphan = state.keys[&pending].clone();
            orphan.id = "ORPHAN0000000000".to_owned();
            state.keys.insert(orphan.id.clone(), orphan);
        }

        world.pass(&["finishSecret"]).await;

        let keys = world.all_keys();
        assert!(
            !keys.contains("ORPHAN0000000000") && keys.contains(&pending),
            "{policy:?}"
        );
    }
}

#[tokio::test]
async fn an_old_key_that_somebody_deletes_first_is_as_good_as_deleted() {
    for gone_answer in [GoneAnswer::Forbidden, GoneAnswer::NotFound] {
        for matches in [lists_keys, deletes_a_key] {
            let world = nearly_finished(OldKeyPolicy::Delete).await;
            world.simulator.state().knobs.gone_answer = gone_answer;
            let pending = world.key("AWSPENDING").unwrap();
            let delete = async || world.simulator.delete_key_by_hand(&world.first_key);
            // Under AWSCURRENT still, if it is deleted before the list.
            world.watch(Watch::Off);

            let outcome = world.step_while("finishSecret", matches, delete).await;

            assert!(outcome.is_ok(), "{gone_answer:?}: {outcome:?}");
            world.assert_keys(&[pending], &gone_answer);
        }
    }
}

#[tokio::test]
async fn an_old_key_that_may_not_be_deleted_is_an_error_until_it_is() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    world
        .simulator
        .answer(1, deletes_a_key, Answer::confluent_forbidden());

    let error = world
        .refusal("finishSecret", "the list still shows the key")
        .await;

    assert_eq!(error.error_type, "KeyNotDeleted", "{}", error.error_message);
    assert!(
        error.error_message.contains(&world.first_key),
        "{}",
        error.error_message
    );
    world.pass(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the next attempt");
}

/// A list that shows nothing at all shows no more than that the signer may see nothing.
#[tokio::test]
async fn an_old_key_whose_deletion_is_refused_is_not_taken_for_gone_because_a_list_shows_no_key() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    world
        .simulator
        .answer(1, deletes_a_key, Answer::confluent_forbidden());
    let hide_all = async || world.simulator.answer(1, lists_keys, empty_list());

    let outcome = world
        .step_while("finishSecret", deletes_a_key, hide_all)
        .await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "KeyNotDeleted", "{}", error.error_message);
    world.pass(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"once it may be deleted, it is");
}

#[tokio::test]
async fn an_old_key_that_the_list_does_not_show_is_found_by_its_id() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    world.simulator.answer(1, lists_keys, empty_list());

    world.pass(&["finishSecret"]).await;

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"the old key is deleted");
}

#[tokio::test]
async fn a_new_key_that_cannot_be_seen_is_not_made_current() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    world.grant_admin(&[Role::Operator]);

    let error = world.refusal("finishSecret", "neither key is seen").await;

    assert_eq!(
        error.error_type, "NewKeyNotListed",
        "{}",
        error.error_message
    );
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    world.grant_admin(&[Role::OrganizationAdmin]);
    world.pass(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"once it is seen, it is published");
}

#[tokio::test]
async fn a_new_key_that_was_deleted_after_its_test_is_not_made_current() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let pending = world.key("AWSPENDING").unwrap();
    world.simulator.delete_key_by_hand(&pending);

    let error = world.refusal("finishSecret", "the new key is gone").await;

    assert_eq!(
        error.error_type, "NewKeyNotListed",
        "{}",
        error.error_message
    );
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    world.assert_keys(std::slice::from_ref(&world.first_key), &"the old key lives");
}

#[tokio::test]
async fn an_old_key_of_which_nothing_can_be_seen_is_not_taken_for_gone() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let old = format!("{API_KEYS}/{}", world.first_key);
    world.simulator.answer(1, lists_keys, empty_list());
    let reads_old = move |request: &Request| request.label() == format!("GET {old}");
    world
        .simulator
        .answer(1, reads_old, Answer::confluent_forbidden());

    let error = world
        .refusal("finishSecret", "the list shows neither key")
        .await;

    assert_eq!(error.error_type, "OldKeyUnknown", "{}", error.error_message);
    world.pass(&["finishSecret"]).await;
    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"once it is seen, it is deleted");
}

#[tokio::test]
async fn a_key_that_somebody_made_current_again_is_not_deleted() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let old = world.version("AWSCURRENT").unwrap();
    let new = world.version("AWSPENDING").unwrap();
    world.make_current(&new);
    let roll_back = async || world.make_current(&old);

    let outcome = world
        .step_while("finishSecret", lists_keys, roll_back)
        .await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "LabelMoved", "{}", error.error_message);
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

/// The list before it may wait for minutes, if Confluent is asked too often.
#[tokio::test]
async fn a_version_whose_rotation_somebody_has_ended_is_not_made_current() {
    let endings: [(Arrange, &str); 2] = [
        (
            |world| world.simulator.abandon(&world.arn),
            "VersionNotPending",
        ),
        (
            |world| world.simulator.cancel_rotation(&world.arn),
            "RotationNotEnabled",
        ),
    ];
    for (end, error_type) in endings {
        let world = nearly_finished(OldKeyPolicy::Delete).await;

        let outcome = world
            .step_while("finishSecret", lists_keys, async || end(&world))
            .await;

        assert_eq!(outcome.unwrap_err().error_type, error_type);
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
        assert_eq!(world.count(deletes_a_key), 0, "{error_type}");
    }
}

/// Which key `AWSPREVIOUS` names was read before the list, and is not deleted for what it says no more.
#[tokio::test]
async fn a_previous_version_that_changes_while_the_keys_are_listed_stops_the_deletions() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let new = world.version("AWSPENDING").unwrap();
    world.make_current(&new);
    let keys = world.all_keys();
    let change = async || {
        world
            .simulator
            .move_label(&world.arn, "AWSPREVIOUS", Some(&new));
    };

    let outcome = world.step_while("finishSecret", lists_keys, change).await;

    assert_eq!(outcome.unwrap_err().error_type, "LabelMoved");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn a_move_that_comes_too_late_for_another_current_version_is_refused_as_that() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let edit = async || {
        let token = world.version("AWSPENDING");
        world.edit(|value| value["note"] = json!("another"));
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

    assert_eq!(outcome.unwrap_err().error_type, "LabelMoved");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

/// A list may lag, and asking for the key that it does not show may wait for minutes.
#[tokio::test]
async fn a_key_that_somebody_makes_current_again_while_it_is_looked_for_stays() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let old = world.version("AWSCURRENT").unwrap();
    let new = world.key("AWSPENDING").unwrap();
    let only_the_new = json!({"data": [{"id": new, "spec": {"owner": {"id": OWNER}}}]});
    world
        .simulator
        .answer(1, lists_keys, Answer::json(200, &only_the_new));
    let describes_a_key =
        |request: &Request| request.label().starts_with(&format!("GET {API_KEYS}/"));
    let roll_back = async || world.make_current(&old);

    let outcome = world
        .step_while("finishSecret", describes_a_key, roll_back)
        .await;

    assert_eq!(outcome.unwrap_err().error_type, "LabelMoved");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    assert_eq!(world.count(deletes_a_key), 0);
}

/// A deletion that is refused may wait for minutes before it is sent again.
#[tokio::test]
async fn a_key_that_somebody_makes_current_again_while_its_deletion_waits_is_not_deleted() {
    for status in [429, 503] {
        let world = nearly_finished(OldKeyPolicy::Delete).await;
        let old = world.version("AWSCURRENT").unwrap();
        let refusal = Answer::empty(status);
        world.simulator.answer(1, deletes_a_key, refusal);
        let roll_back = async || world.make_current(&old);

        let outcome = world
            .step_while("finishSecret", deletes_a_key, roll_back)
            .await;

        assert_eq!(outcome.unwrap_err().error_type, "LabelMoved", "{status}");
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
        assert_eq!(world.count(deletes_a_key), 1, "{status}");
    }
}

#[tokio::test]
async fn a_key_that_somebody_makes_current_again_while_another_is_deleted_stays() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    world.simulator.abandon(&world.arn);
    world.pass(&BEFORE).await;
    let old = world.version("AWSCURRENT").unwrap();
    let roll_back = async || world.make_current(&old);

    let outcome = world
        .step_while("finishSecret", deletes_a_key, roll_back)
        .await;

    assert_eq!(outcome.unwrap_err().error_type, "LabelMoved");
    assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&world.first_key));
    assert_eq!(world.count(deletes_a_key), 1, "what was left over");
}

#[tokio::test]
async fn a_key_that_is_still_listed_while_it_is_being_deleted_costs_an_attempt_at_most() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().knobs.delete_lag = 3;

    for rotation in 0..3 {
        if world.rotate().await != Outcome::Succeeded {
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{rotation}");
        }
    }

    let current = world.key("AWSCURRENT").unwrap();
    world.assert_keys(&[current], &"after three rotations");
}

#[tokio::test]
async fn an_old_key_of_a_current_version_that_is_for_something_else_stays() {
    let world = nearly_finished(OldKeyPolicy::Delete).await;
    let version = world.version("AWSPENDING");
    world
        .simulator
        .move_label(&world.arn, "AWSCURRENT", version.as_deref());
    // By hand after the move: what was current before is for another cluster.
    let previous = world.version("AWSPREVIOUS").unwrap();
    let mut value = world.value("AWSPREVIOUS");
    value["resourceId"] = json!("lkc-other");
    let forged = Some(SecretValue::Text(value.to_string()));
    let forge =
        |secret: &mut simulator::Secret| secret.versions.get_mut(&previous).unwrap().value = forged;
    forge(world.simulator.state().secret_mut(&world.arn));

    world.pass(&["finishSecret"]).await;

    assert!(world.all_keys().contains(&world.first_key));
}
