//! `createSecret`: creates one key and stores it, whatever the responses.

use std::sync::atomic::{AtomicBool, Ordering};

use simulator::{Fault, Quota, QuotaResponse};

use super::*;

/// Returns the index of the request that creates the key, in a rotation without faults.
async fn create_index() -> usize {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    let state = world.simulator.state();
    state
        .requests
        .iter()
        .position(creates_a_key)
        .expect("a key is created")
}

#[tokio::test]
async fn an_existing_pending_value_is_kept_without_a_request_to_confluent() {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    let pending = world.key("AWSPENDING");
    world.requests();

    world.run_steps(&["createSecret"]).await;

    assert_eq!(world.key("AWSPENDING"), pending);
    let requests = ["DescribeSecret", "GetSecretValue", "GetSecretValue"];
    assert_eq!(world.requests(), requests);
}

#[tokio::test]
async fn a_new_key_has_an_ascii_ownership_tag_with_its_version_and_the_name_of_its_secret() {
    let world = World::new(Setting::default()).await;

    world.run_steps(&["createSecret"]).await;

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
async fn a_key_whose_value_is_rejected_permanently_is_deleted() {
    let cases = [
        (
            "no permission",
            Response::aws_access_denied("PutSecretValue"),
        ),
        ("no permission for the KMS key", Response::aws_kms_denied()),
        (
            "too many versions",
            Response::aws_error(400, "LimitExceededException", "The request failed"),
        ),
        (
            "encryption",
            Response::aws_error(400, "EncryptionFailure", "Secrets Manager can't encrypt"),
        ),
    ];
    for (case, response) in cases {
        let world = World::new(Setting::default()).await;
        world
            .simulator
            .respond_with(usize::MAX, is_operation("PutSecretValue"), response);

        let error = world.step_error("createSecret", case).await;

        assert_eq!(
            error.error_type, "SecretsManagerRejected",
            "{case}: {}",
            error.error_message
        );
        assert!(
            error.error_message.contains("PutSecretValue"),
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 1, "{case}");
        world.assert_keys(std::slice::from_ref(&world.initial_key), &case);
    }
}

/// The size of the value with the new key is known only after the key was created.
#[tokio::test]
async fn a_key_whose_value_exceeds_the_size_limit_is_deleted() {
    let world = World::new(Setting::default()).await;
    let short = "a short API secret";
    let set_secret = |key: &mut simulator::ApiKey| short.clone_into(&mut key.secret);
    set_secret(
        world
            .simulator
            .state()
            .keys
            .get_mut(&world.initial_key)
            .unwrap(),
    );
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| {
        value["apiSecret"] = json!(short);
        value["note"] = json!("");
        value["note"] = json!("x".repeat(65_536 - value.to_string().len()));
    });

    let error = world.step_error("createSecret", "too large").await;

    assert_eq!(error.error_type, "InvalidSecretValue", "{error:?}");
    for part in ["65536", "Move other fields to another secret"] {
        assert!(
            error.error_message.contains(part),
            "{part}: {}",
            error.error_message
        );
    }
    assert_eq!(world.count(creates_a_key), 1);
    assert_eq!(world.count(is_operation("PutSecretValue")), 0);
    world.assert_keys(std::slice::from_ref(&world.initial_key), &"too large");
}

#[tokio::test]
async fn if_another_invocation_stores_its_key_first_the_step_deletes_its_own_and_succeeds() {
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
    assert_eq!(world.count(creates_a_key), 2);
    let pending = world.key("AWSPENDING").unwrap();
    world.assert_keys(
        &[world.initial_key.clone(), pending],
        &"the second key was deleted",
    );
}

/// Faults after which it is unknown whether the key was created.
const UNKNOWN_OUTCOMES: [Fault; 7] = [
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::StallBefore,
    Fault::StallAfter,
    Fault::InternalError,
    Fault::InternalErrorAfter,
    Fault::Unavailable,
];

#[tokio::test]
async fn a_create_whose_outcome_is_unknown_is_not_retried_in_the_same_invocation() {
    let create = create_index().await;
    for fault in UNKNOWN_OUTCOMES {
        let world = World::new(Setting::default()).await;
        world.simulator.fail(create, fault);

        let error = world.step_error("createSecret", "unknown outcome").await;

        assert_eq!(
            error.error_type, "CreationOutcomeUnknown",
            "{fault:?}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 1, "{fault:?}");
        assert_eq!(world.count(deletes_a_key), 0, "{fault:?}");
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{fault:?}");
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &fault);
    }
}

#[tokio::test]
async fn a_duplicate_is_deleted_by_the_first_finish_secret_whose_list_contains_it() {
    let create = create_index().await;
    for (list_lag, rotations) in [(0, 1), (1, 1), (2, 2)] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().controls.list_lag = list_lag;
        world.simulator.fail(create, Fault::ResetAfter);
        let error = world.step_error("createSecret", "unknown outcome").await;
        assert_eq!(error.error_type, "CreationOutcomeUnknown", "{list_lag}");

        for _ in 0..rotations {
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{list_lag}");
        }

        assert_eq!(world.count(creates_a_key), 1 + rotations, "{list_lag}");
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &list_lag);
    }
}

#[tokio::test]
async fn duplicates_of_several_attempts_are_deleted_with_the_same_token_or_another() {
    let create = create_index().await;
    for has_same_token in [true, false] {
        let world = World::new(Setting::default()).await;
        for attempt in 0..3 {
            world.simulator.clear_requests();
            world.forget_endpoint();
            world.simulator.fail(create, Fault::ResetAfter);

            let error = world.step_error("createSecret", "unknown outcome").await;

            assert_eq!(error.error_type, "CreationOutcomeUnknown", "{attempt}");
            assert_eq!(world.count(creates_a_key), 1, "{attempt}");
        }
        assert_eq!(world.keys().len(), 4, "the current key and three orphans");

        if !has_same_token {
            world.simulator.abandon_rotation(&world.arn);
        }
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{has_same_token}");
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &has_same_token);
    }
}

#[tokio::test]
async fn a_rate_limited_create_is_retried() {
    let create = create_index().await;
    for fault in [Fault::TooManyRequests, Fault::TooManyRequestsWithoutHeaders] {
        let world = World::new(Setting::default()).await;
        world.simulator.fail(create, fault);

        let outcome = world.step("createSecret").await;

        assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
        let pending = world.key("AWSPENDING").unwrap();
        world.assert_keys(&[world.initial_key.clone(), pending], &fault);
    }
}

#[tokio::test]
async fn a_rejected_create_is_not_retried() {
    for (case, response, error_type) in [
        (
            "forbidden",
            Response::confluent_forbidden(),
            "ConfluentForbidden",
        ),
        (
            "conflict",
            Response::confluent_error(
                409,
                Some("resource_already_exists"),
                "Conflict",
                "It exists",
            ),
            "ConfluentRejected",
        ),
        (
            "unprocessable",
            Response::confluent_error(
                422,
                Some("invalid_configuration"),
                "Invalid",
                "No such owner",
            ),
            "ConfluentRejected",
        ),
    ] {
        let world = World::new(Setting::default()).await;
        world
            .simulator
            .respond_with(usize::MAX, creates_a_key, response);

        let error = world.step_error("createSecret", case).await;

        assert_eq!(
            error.error_type, error_type,
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 1, "{case}");
    }
}

#[tokio::test]
async fn an_exhausted_quota_is_reported_with_the_number_of_keys() {
    for response in [QuotaResponse::PaymentRequired, QuotaResponse::BadRequest] {
        let world = World::new(Setting::default()).await;
        world.simulator.add_key(OWNER, None, None);
        let per_owner = world.simulator.state().keys_of(OWNER).len();
        world.simulator.state().controls.quota = Some(Quota {
            per_owner,
            response,
        });

        let error = world.step_error("createSecret", "too many keys").await;

        assert_eq!(
            error.error_type, "QuotaExceeded",
            "{response:?}: {}",
            error.error_message
        );
        let counts = "(3 API keys, 2 of them scoped to this resource)";
        assert!(
            error.error_message.contains(counts),
            "{response:?}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 1, "{response:?}");
    }
}

/// What another user does to a rotation during createSecret, by name.
const CHANGES: [(&str, Arrange); 3] = [
    ("abandons the rotation", |world| {
        world.simulator.abandon_rotation(&world.arn);
    }),
    ("cancels the rotation", |world| {
        world.simulator.cancel_rotation(&world.arn);
    }),
    ("stores another current value", |world| {
        let token = world.version("AWSPENDING");
        world.change_value(|value| value["note"] = json!("another"));
        world
            .simulator
            .move_label(&world.arn, "AWSPENDING", token.as_deref());
    }),
];

/// The staging labels are not read again before the key is created and stored. The rotation that follows deletes the key.
#[tokio::test]
async fn a_rotation_that_is_ended_during_create_secret_deletes_no_key_in_use_and_is_cleaned_up() {
    for (change_name, change) in CHANGES {
        for request in [lists_keys, creates_a_key] {
            let world = World::new(Setting::default()).await;
            let keys = world.all_keys();

            let outcome = world
                .step_while("createSecret", request, async || change(&world))
                .await;

            assert!(outcome.is_ok(), "{change_name}: {outcome:?}");
            assert_eq!(world.count(creates_a_key), 1, "{change_name}");
            assert!(world.all_keys().is_superset(&keys), "{change_name}");
            world.simulator.abandon_rotation(&world.arn);
            world
                .simulator
                .state()
                .secret_mut(&world.arn)
                .rotation_enabled = Some(true);
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{change_name}");
            let current = world.key("AWSCURRENT").unwrap();
            world.assert_keys(&[current], &change_name);
        }
    }
}
