//! `createSecret`: one key, made once and staged, whatever the answers.

use std::sync::atomic::{AtomicBool, Ordering};

use simulator::{Fault, Quota, QuotaAnswer};

use super::*;

/// The number of the request that makes the key, in a rotation in which nothing goes wrong.
async fn number_of_the_create() -> usize {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let state = world.simulator.state();
    state
        .requests
        .iter()
        .position(makes_a_key)
        .expect("a key is made")
}

#[tokio::test]
async fn a_pending_value_that_is_there_already_is_kept_and_nothing_asked_of_confluent() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let pending = world.key("AWSPENDING");
    world.requests();

    world.pass(&["createSecret"]).await;

    assert_eq!(world.key("AWSPENDING"), pending);
    world.assert_only_read_the_secret(&"createSecret again");
}

#[tokio::test]
async fn a_new_key_is_marked_in_ascii_with_its_version_and_named_after_its_secret() {
    let world = World::new(Setting::default()).await;

    world.pass(&["createSecret"]).await;

    let (token, pending) = (world.token(), world.key("AWSPENDING").unwrap());
    let state = world.simulator.state();
    let key = &state.keys[&pending];
    assert!(key.description.contains(&token), "{}", key.description);
    assert!(
        key.description.is_ascii() && key.description.len() <= 255,
        "{}",
        key.description
    );
    assert!(
        key.display_name.starts_with("orders/kafka"),
        "{}",
        key.display_name
    );
}

#[tokio::test]
async fn a_value_that_is_refused_for_good_takes_its_key_with_it() {
    let cases = [
        ("no permission", Answer::aws_access_denied("PutSecretValue")),
        ("no permission for the KMS key", Answer::aws_kms_denied()),
        (
            "too many versions",
            Answer::aws_error(400, "LimitExceededException", "The request failed"),
        ),
        (
            "encryption",
            Answer::aws_error(400, "EncryptionFailure", "Secrets Manager can't encrypt"),
        ),
    ];
    for (case, answer) in cases {
        let world = World::new(Setting::default()).await;
        world
            .simulator
            .answer(usize::MAX, is_operation("PutSecretValue"), answer);

        let error = world.refusal("createSecret", case).await;

        assert_eq!(
            error.error_type, "SecretsManagerRefused",
            "{case}: {}",
            error.error_message
        );
        assert!(
            error.error_message.contains("PutSecretValue"),
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 1, "{case}");
        world.assert_keys(std::slice::from_ref(&world.first_key), &case);
    }
}

#[tokio::test]
async fn the_key_of_an_invocation_that_comes_second_is_deleted_and_the_step_succeeds() {
    let world = World::new(Setting::default()).await;
    let token = world.token();
    let event = world.simulator.event(&world.arn, &token, "createSecret");
    let is_first = AtomicBool::new(true);
    let first_put = move |request: &Request| {
        is_operation("PutSecretValue")(request) && is_first.swap(false, Ordering::Relaxed)
    };
    let hold = world.simulator.hold_requests(first_put);
    let overtaking = async {
        hold.arrived(1).await;
        let outcome = world.invoke(event.clone()).await;
        hold.release();
        outcome
    };

    let (late, early) = tokio::join!(world.invoke(event.clone()), overtaking);

    assert!(late.is_ok() && early.is_ok(), "{late:?} {early:?}");
    assert_eq!(world.count(makes_a_key), 2);
    let pending = world.key("AWSPENDING").unwrap();
    world.assert_keys(
        &[world.first_key.clone(), pending],
        &"the second key is gone",
    );
}

#[tokio::test]
async fn a_key_whose_answer_was_lost_is_looked_for_and_deleted_before_another_is_made() {
    let create = number_of_the_create().await;
    for fault in [
        Fault::ResetAfter,
        Fault::StallAfter,
        Fault::InternalErrorAfter,
    ] {
        let world = World::new(Setting::default()).await;
        world.simulator.fail(create, fault);

        let outcome = world.step("createSecret").await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        let pending = world.key("AWSPENDING").unwrap();
        world.assert_keys(&[world.first_key.clone(), pending], &fault);
        let requests = world.requests();
        let since: Vec<&str> = requests[create..].iter().map(String::as_str).collect();
        let (post, list) = (format!("POST {API_KEYS}"), format!("GET {API_KEYS}"));
        assert_eq!(since[..2], [&post, &list], "{fault:?}");
        assert!(since[2].starts_with("DELETE "), "{fault:?}: {since:?}");
        assert_eq!(
            since[3..],
            [&post, "DescribeSecret", "PutSecretValue"],
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_lost_key_that_the_list_shows_too_late_goes_as_soon_as_it_is_shown() {
    let create = number_of_the_create().await;
    for (list_lag, rotations) in [(1, 1), (2, 2)] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().knobs.list_lag = list_lag;
        world.simulator.fail(create, Fault::ResetAfter);

        for _ in 0..rotations {
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{list_lag}");
        }

        assert_eq!(world.count(makes_a_key), 1 + rotations, "{list_lag}");
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &list_lag);
    }
}

#[tokio::test]
async fn a_create_that_is_never_answered_is_given_up_and_leaves_nothing_to_the_next_attempt() {
    let create = number_of_the_create().await;
    for with_the_same_token in [true, false] {
        let world = World::new(Setting::default()).await;
        // Between two creates the lost key is listed and deleted.
        for again in 0..3 {
            world.simulator.fail(create + 3 * again, Fault::ResetAfter);
        }

        let error = world.refusal("createSecret", "no answer").await;

        assert_eq!(
            error.error_type, "CreationUnknown",
            "{}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 3);
        if !with_the_same_token {
            world.simulator.abandon(&world.arn);
        }
        assert_eq!(
            world.rotate().await,
            Outcome::Succeeded,
            "{with_the_same_token}"
        );
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &with_the_same_token);
    }
}

#[tokio::test]
async fn a_create_that_was_not_carried_out_is_made_good_for() {
    let create = number_of_the_create().await;
    for fault in [
        Fault::TooManyRequests,
        Fault::TooManyRequestsBare,
        Fault::InternalError,
        Fault::Unavailable,
        Fault::ResetBefore,
    ] {
        let world = World::new(Setting::default()).await;
        world.simulator.fail(create, fault);

        let outcome = world.step("createSecret").await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        let pending = world.key("AWSPENDING").unwrap();
        world.assert_keys(&[world.first_key.clone(), pending], &fault);
    }
}

#[tokio::test]
async fn a_create_that_is_refused_is_not_sent_again() {
    for (case, answer, error_type) in [
        (
            "forbidden",
            Answer::confluent_forbidden(),
            "ConfluentForbidden",
        ),
        (
            "conflict",
            Answer::confluent_error(
                409,
                Some("resource_already_exists"),
                "Conflict",
                "It exists",
            ),
            "ConfluentRefused",
        ),
        (
            "unprocessable",
            Answer::confluent_error(
                422,
                Some("invalid_configuration"),
                "Invalid",
                "No such owner",
            ),
            "ConfluentRefused",
        ),
    ] {
        let world = World::new(Setting::default()).await;
        world.simulator.answer(usize::MAX, makes_a_key, answer);

        let error = world.refusal("createSecret", case).await;

        assert_eq!(
            error.error_type, error_type,
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 1, "{case}");
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_reported_with_the_number_of_keys() {
    for answer in [QuotaAnswer::PaymentRequired, QuotaAnswer::BadRequest] {
        let world = World::new(Setting::default()).await;
        world.simulator.add_key(OWNER, None, None);
        let per_owner = world.simulator.state().keys_of(OWNER).len();
        world.simulator.state().knobs.quota = Some(Quota { per_owner, answer });

        let error = world.refusal("createSecret", "too many keys").await;

        assert_eq!(
            error.error_type, "QuotaExceeded",
            "{answer:?}: {}",
            error.error_message
        );
        let counts = "sa-orders has 3 API keys, 2 of them for this resource";
        assert!(
            error.error_message.contains(counts),
            "{answer:?}: {}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_quota_that_an_abandoned_rotation_uses_up_is_said_to_be() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    world.simulator.abandon(&world.arn);
    let per_owner = world.simulator.state().keys_of(OWNER).len();
    let answer = QuotaAnswer::PaymentRequired;
    world.simulator.state().knobs.quota = Some(Quota { per_owner, answer });

    let error = world.refusal("createSecret", "too many keys").await;

    let says = "Abandoned rotations of this secret left 1 of them: rotate again half an hour after";
    assert!(
        error.error_message.contains(says),
        "{}",
        error.error_message
    );
}

/// What somebody may do to a rotation, and how the step that is under way ends then.
const ENDINGS: [(&str, Arrange, &str); 3] = [
    (
        "abandoned",
        |world| world.simulator.abandon(&world.arn),
        "VersionNotPending",
    ),
    (
        "cancelled",
        |world| world.simulator.cancel_rotation(&world.arn),
        "RotationNotEnabled",
    ),
    (
        "given another current version",
        |world| {
            let token = world.version("AWSPENDING");
            world.edit(|value| value["note"] = json!("another"));
            world
                .simulator
                .move_label(&world.arn, "AWSPENDING", token.as_deref());
        },
        "LabelMoved",
    ),
];

/// The create may wait for minutes, if Confluent is asked too often.
#[tokio::test]
async fn a_key_that_is_made_for_a_rotation_which_somebody_has_ended_is_not_stored_and_goes() {
    for (case, end, error_type) in ENDINGS {
        let world = World::new(Setting::default()).await;
        let keys = world.all_keys();

        let outcome = world
            .step_while("createSecret", makes_a_key, async || end(&world))
            .await;

        assert_eq!(outcome.expect_err(case).error_type, error_type, "{case}");
        assert_eq!(world.count(makes_a_key), 1, "{case}");
        assert_eq!(world.count(is_operation("PutSecretValue")), 0, "{case}");
        assert_eq!(world.all_keys(), keys, "{case}");
    }
}

#[tokio::test]
async fn a_rotation_that_somebody_ends_during_the_step_makes_and_deletes_nothing() {
    for (case, end, error_type) in ENDINGS {
        let world = World::new(Setting::default()).await;
        let keys = world.all_keys();
        let event = world
            .simulator
            .event(&world.arn, &world.token(), "createSecret");
        let hold = world.simulator.hold_requests(lists_keys);
        let ending = async {
            hold.arrived(1).await;
            end(&world);
            hold.release();
        };

        let (outcome, ()) = tokio::join!(world.invoke(event), ending);

        assert_eq!(outcome.expect_err(case).error_type, error_type, "{case}");
        assert_eq!(world.all_keys(), keys, "{case}");
        assert_eq!(world.count(makes_a_key), 0, "{case}");
    }
}
