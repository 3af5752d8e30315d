//! `retire`: the function deletes keys of several secrets, one after the other or concurrently, outside of a rotation.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Outcome};

use super::after_rotation;
use crate::{CLUSTER, ENVIRONMENT, OWNER, World, secret_value};

impl World {
    /// Adds a secret with the same owner, which was rotated, and whose previous key has no label.
    async fn add_second(&self) -> Self {
        let simulator = self.simulator.clone();
        let key = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        let second = Self {
            arn: simulator.add_secret("app/second", &secret_value(&key)),
            admin: self.admin.clone(),
            simulator,
            key,
        };
        second.rotate().await;
        second.remove_previous_label().await;
        second
    }
}

#[tokio::test]
async fn the_deletions_of_two_secrets_may_interleave() {
    let world = after_rotation().await;
    let second = world.add_second().await;

    world.describe().await;
    second.describe().await;
    let deleted = [
        world.delete_only(&world.key.0).await,
        second.delete_only(&second.key.0).await,
    ];

    assert_eq!(deleted, [204, 204]);
    assert!(world.violations().is_empty());
}

#[tokio::test]
async fn the_labels_of_a_secret_are_read_before_its_keys_are_deleted() {
    for (case, is_read) in [
        ("nothing is read", false),
        ("the labels of another secret are read", false),
        ("the request for the labels fails", false),
        (
            "more than an invocation passes after the labels were read",
            false,
        ),
        ("both are read", true),
        (
            "a part of an invocation passes after the labels were read",
            true,
        ),
    ] {
        let world = after_rotation().await;
        let second = world.add_second().await;
        world.simulator.pass(Duration::from_hours(24));
        match case {
            "nothing is read" => {}
            "the request for the labels fails" => {
                let next = world.simulator.state().requests.len();
                world.simulator.fail(next, Fault::InternalError);
                world.describe().await;
            }
            "the labels of another secret are read" => drop(second.describe().await),
            "both are read" => {
                world.describe().await;
                second.describe().await;
            }
            _ => {
                world.describe().await;
                let minutes = if is_read { 14 } else { 15 };
                world.simulator.pass(Duration::from_mins(minutes));
            }
        }

        world.delete_only(&world.key.0).await;

        let violations = world.violations();
        let found = |violation: &String| violation.contains("whose labels were not read before");
        assert_eq!(
            violations.len(),
            usize::from(!is_read),
            "{case}: {violations:?}"
        );
        assert!(violations.iter().all(found), "{case}: {violations:?}");
    }
}

#[tokio::test]
async fn retire_may_delete_a_key_while_another_secret_is_in_rotation() {
    let world = after_rotation().await;
    let second = world.add_second().await;
    let retire = async |_| {
        world.delete(&world.key.0).await;
        Ok(())
    };
    let step = async |_| {
        world.simulator.retire(&[], &retire).await;
        let violations = world.violations();
        assert!(violations.is_empty(), "{violations:?}");
        second.delete(&second.key.0).await;
        let orphan = world.create_orphan("v0").await;
        world.delete(&orphan).await;
        Err("no".to_owned())
    };

    second.simulator.rotate(&second.arn, &step).await;

    world.assert_violation("is in rotation");
}

#[tokio::test]
async fn retire_sends_the_event_and_reports_its_outcome() {
    let world = World::new().await;
    let events = RefCell::new(Vec::new());
    let invoke = async |event: Value| {
        events.borrow_mut().push(event);
        let (status, _) = world.aws("DescribeSecret", json!({})).await;
        if status == 200 {
            Ok(())
        } else {
            Err("no".to_owned())
        }
    };

    let mut outcomes = vec![world.simulator.retire(&[], &invoke).await];
    world.simulator.fail(1, Fault::InternalError);
    outcomes.push(world.simulator.retire(&["a", "b"], &invoke).await);
    world.simulator.fail(2, Fault::InterruptBefore);
    outcomes.push(world.simulator.retire(&[], &invoke).await);

    let step = "retire";
    let error = "no".to_owned();
    assert_eq!(
        outcomes,
        [
            Outcome::Succeeded,
            Outcome::Failed { step, error },
            Outcome::Interrupted { step }
        ]
    );
    let listed = json!({ "Step": "retire" });
    let named = json!({ "Step": "retire", "SecretIds": ["a", "b"] });
    assert_eq!(*events.borrow(), [listed.clone(), named, listed]);
}
