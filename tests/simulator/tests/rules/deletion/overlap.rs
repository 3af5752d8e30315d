//! The overlap: which deletions and removals of `AWSPREVIOUS` come too early.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Outcome, Overlap, Quota, QuotaResponse};

use crate::{CLUSTER, ENVIRONMENT, OWNER, World};

const HOUR: Duration = Duration::from_hours(1);
const TOO_EARLY: &str = "the previous key is deleted only after the overlap";

/// A change of the state.
type Change = fn(&World);

/// The names, without their prefix, and the values of resource tags.
type Tags = &'static [(&'static str, &'static str)];

/// A world after a rotation with an overlap of 24 hours.
async fn after_rotation() -> World {
    let world = World::new().await;
    world.simulator.state().controls.overlap = Overlap::Hours(24);
    world.rotate().await;
    world
}

impl World {
    /// Removes the label of a key and deletes the key. Returns whether the simulator reports that this is too early.
    async fn is_too_early(&self, id: &str) -> bool {
        let labeled = self.simulator.state().secret(&self.arn).key("AWSPREVIOUS");
        let mut reports = Vec::new();
        if labeled.is_some_and(|(labeled, _)| labeled == id) {
            self.remove_previous_label().await;
            reports.push(self.violations());
        }
        // A label that was not removed would protect the key.
        self.simulator.move_label(&self.arn, "AWSPREVIOUS", None);
        self.delete(id).await;
        reports.push(self.violations());
        let is_too_early = |report: &Vec<String>| match report.as_slice() {
            [] => false,
            [violation] if violation.contains(TOO_EARLY) => true,
            _ => panic!("{report:?}"),
        };
        let results: Vec<bool> = reports.iter().map(is_too_early).collect();
        assert!(
            results.iter().all(|result| *result == results[0]),
            "{reports:?}"
        );
        results[0]
    }

    fn set_tags(&self, tags: Tags) {
        let tags = tags.iter().map(|(name, value)| {
            let name = format!("confluent-key-rotation:{name}");
            (name, (*value).to_owned())
        });
        self.set_secret(|secret| secret.attributes.tags = tags.collect());
    }

    fn add_another_key(&self) -> (String, String) {
        let key = self
            .simulator
            .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        let created_at = simulator::timestamp(0);
        self.simulator.set_created_at(&key.0, Some(&created_at));
        key
    }
}

#[tokio::test]
async fn the_previous_key_may_be_deleted_after_the_overlap() {
    for (hours, is_too_early) in [(0, true), (23, true), (24, false), (1000, false)] {
        let world = after_rotation().await;
        world.simulator.pass(hours * HOUR);

        assert_eq!(
            world.is_too_early(&world.key.0).await,
            is_too_early,
            "{hours}"
        );
    }
}

#[tokio::test]
async fn a_label_whose_removal_is_too_early_remains() {
    let world = after_rotation().await;
    let version = world.simulator.state().secret(&world.arn).labels["AWSPREVIOUS"].clone();
    let remove = json!({ "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": version });

    let (status, _) = world.aws("UpdateSecretVersionStage", remove).await;

    assert_eq!(status, 500);
    world.assert_violation("AWSPREVIOUS of app/kafka is removed");
    let state = world.simulator.state();
    assert_eq!(state.secret(&world.arn).labels["AWSPREVIOUS"], version);
}

#[tokio::test]
async fn a_deletion_that_takes_no_effect_is_too_early_as_well() {
    let world = after_rotation().await;
    world.simulator.move_label(&world.arn, "AWSPREVIOUS", None);
    world.simulator.make_undeletable(&world.key.0, 503);

    world.delete(&world.key.0).await;

    world.assert_violation(TOO_EARLY);
}

#[tokio::test]
async fn a_key_before_the_previous_one_may_be_deleted() {
    let world = after_rotation().await;
    let second = world.current_key();
    world.rotate().await;
    let third = world.current_key();
    world.rotate().await;

    assert!(!world.is_too_early(&second).await);
    assert!(world.is_too_early(&third).await);
}

#[tokio::test]
async fn the_overlap_begins_when_the_key_is_replaced() {
    let cases: [(&str, Change, bool); 6] = [
        (
            "a rotation that is in progress",
            |world| {
                world.simulator.start_rotation(&world.arn);
            },
            false,
        ),
        (
            "a label of a user",
            |world| {
                world.simulator.add_version(&world.arn, "BLUE", "{}");
            },
            false,
        ),
        (
            "the same key in another version",
            |world| {
                let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");
                world
                    .simulator
                    .replace_key_manually(&world.arn, &key.unwrap());
            },
            false,
        ),
        (
            "a rollback and back again",
            |world| {
                let labels = world.simulator.state().secret(&world.arn).labels.clone();
                for label in ["AWSPREVIOUS", "AWSCURRENT"] {
                    let version = Some(labels[label].as_str());
                    world
                        .simulator
                        .move_label(&world.arn, "AWSCURRENT", version);
                }
            },
            true,
        ),
        (
            "dates that were changed",
            |world| {
                world.set_secret(|secret| secret.last_changed = Some(1.0));
            },
            false,
        ),
        (
            "a replica",
            |world| {
                world
                    .simulator
                    .add_replica(&world.arn, "eu-west-1", "InSync");
            },
            false,
        ),
    ];
    for (case, change, is_too_early) in cases {
        let world = after_rotation().await;
        world.simulator.pass(24 * HOUR);
        change(&world);

        assert_eq!(
            world.is_too_early(&world.key.0).await,
            is_too_early,
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_key_that_a_user_replaced_has_an_overlap() {
    let world = after_rotation().await;
    world.simulator.pass(48 * HOUR);
    let replaced = world.current_key();
    let key = world.add_another_key();
    world.simulator.replace_key_manually(&world.arn, &key);
    // Without a tag, the simulator cannot know that the key before belongs to the secret.
    world.simulator.tag_key(
        &key.0,
        &world.arn,
        "v",
        "i",
        &format!("replaces={}", world.key.0),
    );

    assert!(!world.is_too_early(&world.key.0).await);
    assert!(world.is_too_early(&replaced).await);
}

#[tokio::test]
async fn after_a_rollback_the_next_rotation_may_delete_the_younger_key() {
    let world = after_rotation().await;
    let younger = world.current_key();
    let version = world.simulator.state().secret(&world.arn).labels["AWSPREVIOUS"].clone();
    world
        .simulator
        .move_label(&world.arn, "AWSCURRENT", Some(&version));
    world.rotate().await;

    assert!(!world.is_too_early(&younger).await);
    assert!(world.is_too_early(&world.key.0).await);
}

#[tokio::test]
async fn an_exceeded_quota_ends_the_overlap() {
    let world = after_rotation().await;
    world.simulator.state().controls.quota = Some(Quota {
        per_owner: 1,
        response: QuotaResponse::PaymentRequired,
    });
    world.post("another key").await;

    assert!(!world.is_too_early(&world.key.0).await);
}

#[tokio::test]
async fn the_resource_tags_of_a_secret_override_the_overlap() {
    const POLICY: &str = "old-key-policy";
    const HOURS: &str = "old-key-hours";
    let (none, function) = (Overlap::None, Overlap::Hours(24));
    let kept = u32::MAX;
    let cases: [(Overlap, Tags, u32); 15] = [
        (none, &[], 0),
        (none, &[(HOURS, "5")], 0),
        (none, &[(POLICY, "delete-after")], 24),
        (none, &[(POLICY, "delete-after"), (HOURS, "5")], 5),
        (none, &[(POLICY, "keep-until-next-rotation")], kept),
        (function, &[], 24),
        (function, &[(POLICY, "delete")], 0),
        (function, &[(HOURS, "5")], 5),
        (function, &[(POLICY, "delete-after"), (HOURS, "720")], 720),
        (function, &[(HOURS, "0")], kept),
        (function, &[(HOURS, "721")], kept),
        (function, &[(HOURS, "")], kept),
        (function, &[(POLICY, "never")], kept),
        (Overlap::UntilNextRotation, &[(POLICY, "delete-after")], 24),
        (Overlap::UntilNextRotation, &[], kept),
    ];
    for (overlap, tags, hours) in cases {
        for offset in [0, 1] {
            let (passed, is_too_early) = match (hours, offset) {
                (u32::MAX, _) => (100_000, true),
                (0, _) => (0, false),
                (hours, offset) => (hours - offset, offset == 1),
            };
            let world = after_rotation().await;
            world.simulator.state().controls.overlap = overlap;
            world.set_tags(tags);
            world.simulator.pass(passed * HOUR);

            let found = world.is_too_early(&world.key.0).await;

            assert_eq!(found, is_too_early, "{overlap:?}, {tags:?}, {passed}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_made_older_has_an_older_overlap() {
    let world = after_rotation().await;
    world.simulator.age_secret(&world.arn, 24 * HOUR);

    assert!(!world.is_too_early(&world.key.0).await);
}

#[tokio::test]
async fn a_rotation_may_fail_during_the_overlap() {
    let world = after_rotation().await;
    let fail = async |_: Value| Err("no".to_owned());

    let outcome = world.simulator.rotate(&world.arn, &fail).await;
    world.simulator.abandon_rotation(&world.arn);

    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert!(world.is_too_early(&world.key.0).await);
}
