//! A `POST` that is rejected for quota: createSecret deletes one key that the rule allows, and sends the `POST` once more.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::{Quota, QuotaResponse};

use super::*;

impl World {
    /// Sets the quota to the number of the owner's keys.
    fn exhaust_quota(&self) {
        let mut state = self.simulator.state();
        let per_owner = state.keys_of(OWNER).len();
        state.controls.quota = Some(Quota {
            per_owner,
            response: QuotaResponse::PaymentRequired,
        });
    }

    /// Adds a key with this secret's ownership tag. Returns its ID.
    fn add_orphan(&self, version: &str) -> String {
        let (id, _) = self
            .simulator
            .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
        self.simulator.tag_key(&id, &self.arn, version, "i", "");
        id
    }
}

/// Creates a world that was rotated once, with a previous key and a rotation in progress.
async fn rotated() -> World {
    let world = World::new(Setting {
        policy: OldKeyPolicy::KeepUntilNextRotation,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.token();
    world
}

#[tokio::test]
async fn an_orphan_of_this_version_is_deleted_before_other_orphans_and_the_previous_key() {
    let world = rotated().await;
    let other = world.add_orphan("abandoned");
    let of_version = world.add_orphan(&world.token());
    let previous = world.key("AWSPREVIOUS").unwrap();

    for deleted in [&of_version, &other, &previous] {
        world.exhaust_quota();
        let keys = world.all_keys();

        world.run_steps(&["createSecret"]).await;

        let created = world.key("AWSPENDING").unwrap();
        let mut expected = keys.clone();
        expected.remove(deleted.as_str());
        expected.insert(created.clone());
        assert_eq!(world.all_keys(), expected);
        // The same step runs again, without this key.
        world.simulator.abandon_rotation(&world.arn);
        world.simulator.delete_key_manually(&created);
    }
    assert_eq!(world.version("AWSPREVIOUS"), None, "its key was deleted");
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_is_skipped() {
    let world = rotated().await;
    let undeletable = world.add_orphan(&world.token());
    let other = world.add_orphan("abandoned");
    world.simulator.make_undeletable(&undeletable, 403);
    world.exhaust_quota();

    world.run_steps(&["createSecret"]).await;

    let keys = world.all_keys();
    assert!(keys.contains(&undeletable) && !keys.contains(&other));
}

#[tokio::test]
async fn a_deletion_of_unknown_outcome_is_the_last_one() {
    let world = rotated().await;
    let unknown = world.add_orphan(&world.token());
    let other = world.add_orphan("abandoned");
    world.simulator.make_undeletable(&unknown, 503);
    world.exhaust_quota();

    let error = world.step_error("createSecret", "the quota").await;

    assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
    assert!(error.error_message.contains(&unknown), "{error:?}");
    assert!(world.all_keys().contains(&other));
    assert_eq!(world.count(creates_a_key), 2 + 1, "one more POST");
}

#[tokio::test]
async fn only_one_key_is_deleted_and_the_error_names_it() {
    let world = rotated().await;
    let first = world.add_orphan("abandoned-1");
    let second = world.add_orphan("abandoned-2");
    world.exhaust_quota();
    world
        .simulator
        .state()
        .controls
        .quota
        .as_mut()
        .unwrap()
        .per_owner = 1;

    let error = world.step_error("createSecret", "the quota").await;

    assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
    let keys = world.all_keys();
    let is_one_left = keys.contains(&first) != keys.contains(&second);
    assert!(is_one_left, "{keys:?}");
    assert!(error.error_message.contains("deleted key"), "{error:?}");
    assert!(error.error_message.contains(OWNER), "{error:?}");
}

#[tokio::test]
async fn without_a_key_to_delete_the_post_is_not_repeated() {
    let world = World::new(Setting::default()).await;
    world.exhaust_quota();

    let error = world.step_error("createSecret", "the quota").await;

    assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
    assert_eq!(world.count(creates_a_key), 1);
    assert_eq!(world.count(deletes_a_key), 0);
}

#[tokio::test]
async fn if_the_current_key_is_not_verified_only_an_orphan_of_this_version_is_deleted() {
    for has_orphan in [false, true] {
        let mut world = rotated().await;
        world.set_variable("CURRENT_KEY_CHECK", "off");
        let other = world.add_orphan("abandoned");
        let previous = world.key("AWSPREVIOUS").unwrap();
        let orphan = has_orphan.then(|| world.add_orphan(&world.token()));
        world.exhaust_quota();

        let outcome = world.step("createSecret").await;

        let keys = world.all_keys();
        assert!(keys.contains(&other) && keys.contains(&previous));
        if let Some(orphan) = orphan {
            assert!(outcome.is_ok(), "{outcome:?}");
            assert!(!keys.contains(&orphan));
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
            let message = &error.error_message;
            assert!(
                message.contains("orphaned key of this version"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_if_another_invocation_has_stored_its_key_in_the_meantime() {
    let world = rotated().await;
    let orphan = world.add_orphan("abandoned");
    world.exhaust_quota();
    let keys = world.all_keys();
    let store = async || {
        world.simulator.state().controls.quota = None;
        world.run_steps(&["createSecret"]).await;
        world.exhaust_quota();
    };
    // createSecret describes the secret first when it starts.
    let described = AtomicUsize::new(0);
    let before_deletion = move |request: &Request| {
        request.name() == "DescribeSecret" && described.fetch_add(1, Relaxed) == 1
    };

    let outcome = world
        .step_while("createSecret", before_deletion, store)
        .await;

    assert!(outcome.is_err(), "{outcome:?}");
    assert!(world.all_keys().contains(&orphan));
    assert!(world.all_keys().is_superset(&keys));
}

#[tokio::test]
async fn nothing_is_deleted_if_a_label_has_moved() {
    let world = rotated().await;
    world.add_orphan("abandoned");
    world.exhaust_quota();
    let keys = world.all_keys();
    let value = world.value("AWSCURRENT").to_string();
    let label = async || {
        world.simulator.add_version(&world.arn, "BLUE", &value);
    };

    let outcome = world.step_while("createSecret", creates_a_key, label).await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "QuotaExceeded", "{error:?}");
    assert!(
        error.error_message.contains("the secret has changed"),
        "{error:?}"
    );
    assert_eq!(world.all_keys(), keys);
}

/// The audit-log cluster allows two keys in total.
#[tokio::test]
async fn a_secret_rotates_with_a_quota_of_two_keys_under_every_policy() {
    for policy in POLICIES {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        // The key of another application does not count here.
        let others = world.simulator.state().keys_of(OWNER).len() - 1;
        world.simulator.state().controls.quota = Some(Quota {
            per_owner: 2 + others,
            response: QuotaResponse::BadRequest,
        });

        for rotation in 0..5 {
            let outcome = world.rotate().await;
            assert_eq!(outcome, Outcome::Succeeded, "{policy:?}, {rotation}");
        }
    }
}
