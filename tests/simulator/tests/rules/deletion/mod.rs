//! Which deletions are violations. Every case changes one thing in a state in which the deletion is legitimate.

mod exceptions;
mod overlap;
mod retire;

use serde_json::{Value, json};
use simulator::{
    CrossAccountReplica, CurrentKeyGuarantee, Replica, SecretValue, ownership_tag, timestamp,
};

use crate::{CLUSTER, ENVIRONMENT, OWNER, World, secret_value};

/// A change of the state.
type Change = fn(&World);

/// A world after a rotation: the current key replaces the initial key, and `AWSPREVIOUS` is removed.
async fn after_rotation() -> World {
    let world = World::new().await;
    world.rotate().await;
    world.remove_previous_label().await;
    world
}

impl World {
    async fn remove_previous_label(&self) {
        let version = self.simulator.state().secret(&self.arn).labels["AWSPREVIOUS"].clone();
        let remove = json!({ "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": version });
        self.aws("UpdateSecretVersionStage", remove).await;
    }

    /// Deletes a key immediately after it reads the labels.
    async fn delete(&self, id: &str) -> u16 {
        self.aws("DescribeSecret", json!({})).await;
        self.delete_only(id).await
    }

    async fn delete_only(&self, id: &str) -> u16 {
        let request = format!("DELETE /iam/v2/api-keys/{id}");
        self.control_plane(&request, &Value::Null).await.0
    }

    /// Creates a key with the secret's ownership tag, which no version holds.
    async fn create_orphan(&self, version: &str) -> String {
        let tag = ownership_tag(&self.arn, version, "9z8y7x6w", "");
        self.create_described(&tag).await.0
    }

    fn set_key(&self, id: &str, change: impl FnOnce(&mut simulator::ApiKey)) {
        change(self.simulator.state().keys.get_mut(id).unwrap());
    }

    /// Changes the current value in place.
    fn edit_current(&self, change: impl FnOnce(&mut Value)) {
        let current = {
            let state = self.simulator.state();
            let value = state.secret(&self.arn).value("AWSCURRENT");
            value.unwrap().to_owned()
        };
        let mut value = serde_json::from_str(&current).unwrap();
        change(&mut value);
        let value = SecretValue::String(value.to_string());
        self.simulator
            .overwrite_value(&self.arn, "AWSCURRENT", value);
    }
}

/// Asserts that the deletion of the initial key after `change` is one violation with `message` or, without a message, none.
async fn assert_deletion(change: Change, message: Option<&str>, case: &str) {
    let world = after_rotation().await;
    change(&world);
    world.delete(&world.key.0).await;
    let violations = world.violations();
    let of_deletion = |violation: &&String| violation.contains("DELETE");
    let violations: Vec<_> = violations.iter().filter(of_deletion).collect();
    match message {
        None => assert!(violations.is_empty(), "{case}: {violations:?}"),
        Some(message) => assert!(
            matches!(violations.as_slice(), [violation] if violation.contains(message)),
            "{case}: {violations:?}"
        ),
    }
}

#[tokio::test]
async fn deleting_the_previous_key_after_its_label_was_removed_is_legitimate() {
    assert_deletion(|_| {}, None, "after a rotation").await;
}

#[tokio::test]
async fn deleting_a_key_in_use_is_a_violation() {
    let cases: [(&str, Change, Option<&str>); 7] = [
        (
            "AWSPREVIOUS",
            |world| {
                world
                    .simulator
                    .add_version(&world.arn, "AWSPREVIOUS", &secret_value(&world.key));
            },
            Some("a key in use is never deleted): AWSPREVIOUS of app/kafka names"),
        ),
        (
            "AWSPENDING",
            |world| {
                world
                    .simulator
                    .add_version(&world.arn, "AWSPENDING", &secret_value(&world.key));
            },
            Some("AWSPENDING of app/kafka names"),
        ),
        (
            "a user's own label",
            |world| {
                world
                    .simulator
                    .add_version(&world.arn, "BLUE", &secret_value(&world.key));
            },
            Some("BLUE of app/kafka names"),
        ),
        (
            "the ID in another field",
            |world| {
                let value = json!({ "jaas": format!("username='{}'", world.key.0) }).to_string();
                world.simulator.add_version(&world.arn, "BLUE", &value);
            },
            Some("BLUE of app/kafka names"),
        ),
        (
            "another secret",
            |world| {
                world
                    .simulator
                    .add_secret("other", &secret_value(&world.key));
            },
            // That AWSCURRENT names a deleted key is reported by a guarantee of its own.
            Some("a key in use is never deleted): AWSCURRENT of other names"),
        ),
        (
            "a copy that the function cannot find",
            |world| {
                let copy = world
                    .simulator
                    .add_secret("other", &secret_value(&world.key));
                let mut state = world.simulator.state();
                state.secret_mut(&copy).current_key_guarantee = CurrentKeyGuarantee::Off;
            },
            None,
        ),
        (
            "a label on a version without a value",
            |world| {
                world.simulator.start_rotation(&world.arn);
            },
            None,
        ),
    ];
    for (case, change, message) in cases {
        let world = after_rotation().await;
        change(&world);
        world.delete(&world.key.0).await;
        let violations = world.violations();
        let found = violations
            .iter()
            .any(|violation| message.is_some_and(|message| violation.contains(message)));
        assert_eq!(found, message.is_some(), "{case}: {violations:?}");
        assert_eq!(violations.is_empty(), message.is_none(), "{case}");
    }
}

#[tokio::test]
async fn deleting_the_key_that_authenticates_the_request_is_a_violation() {
    let world = World::new().await;
    let admin = &world.admin.0;
    world.simulator.tag_key(admin, &world.arn, "v1", "i", "");

    world.delete(admin).await;

    world.assert_violation("authenticates the request");
}

#[tokio::test]
async fn deleting_a_key_without_evidence_is_a_violation() {
    let cases: [(&str, Change, Option<&str>); 7] = [
        (
            "the initial key that nothing replaces",
            |world| world.set_key(&world.current_key(), |key| key.description.clear()),
            Some("only keys of the secret are deleted"),
        ),
        (
            "a tag that names another key",
            |world| {
                let (simulator, current) = (&world.simulator, world.current_key());
                simulator.tag_key(&current, &world.arn, "v", "i", "replaces=K0");
            },
            Some("another application's key"),
        ),
        (
            "previous= is information, not evidence",
            |world| {
                let (simulator, extra) = (&world.simulator, format!("previous={}", world.key.0));
                simulator.tag_key(&world.current_key(), &world.arn, "v", "i", &extra);
            },
            Some("another application's key"),
        ),
        (
            "replaces= in another secret's tag",
            |world| {
                let (simulator, extra) = (&world.simulator, format!("replaces={}", world.key.0));
                simulator.tag_key(&world.current_key(), "arn:of:original", "v", "i", &extra);
            },
            Some("another application's key"),
        ),
        (
            "replaces= does not apply to a key with another secret's tag",
            |world| {
                let (simulator, id) = (&world.simulator, &world.key.0);
                simulator.tag_key(id, "arn:of:original", "v", "i", "");
            },
            Some("another application's key"),
        ),
        (
            "a key with the secret's own tag",
            |world| {
                let simulator = &world.simulator;
                simulator.tag_key(&world.key.0, &world.arn, "v", "i", "");
                simulator.tag_key(&world.current_key(), &world.arn, "v", "i", "");
            },
            None,
        ),
        (
            "an edited tag is no tag",
            |world| {
                let current = world.current_key();
                world.set_key(&current, |key| key.description.push_str(" mine"));
            },
            Some("another application's key"),
        ),
    ];
    for (case, change, message) in cases {
        assert_deletion(change, message, case).await;
    }
}

#[tokio::test]
async fn an_id_that_a_version_once_held_does_not_make_the_key_the_secrets() {
    let world = World::new().await;
    let other = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
    world.simulator.replace_key_manually(&world.arn, &other);
    world.simulator.replace_key_manually(&world.arn, &world.key);
    world.rotate().await;
    assert!(!world.simulator.state().is_owned(&world.arn, &other.0));

    world.delete(&other.0).await;

    world.assert_violation("another application's key");
}

#[tokio::test]
async fn deleting_a_key_of_another_owner_or_resource_is_a_violation() {
    let cases: [(&str, Change, Option<&str>); 5] = [
        (
            "owner",
            |world| world.set_key(&world.key.0, |key| key.owner = Some("sa-admin".into())),
            Some("has another owner than app/kafka"),
        ),
        (
            "resource",
            |world| world.set_key(&world.key.0, |key| key.resource = "lkc-other".into()),
            Some("has another resource than app/kafka"),
        ),
        (
            "environment",
            |world| world.edit_current(|value| value["environmentId"] = json!("env-other")),
            Some("has another environment than app/kafka"),
        ),
        (
            "a current value with another resource",
            |world| world.edit_current(|value| value["resourceId"] = json!("lkc-other")),
            Some("has another resource than app/kafka"),
        ),
        ("the same", |_| {}, None),
    ];
    for (case, change, message) in cases {
        assert_deletion(change, message, case).await;
    }
}

#[tokio::test]
async fn deleting_a_key_that_was_not_created_before_the_current_key_is_a_violation() {
    let later = timestamp(120);
    let future = timestamp(3600);
    let (younger, unknown) = (
        Some("was not created before the current key"),
        Some("has an unknown age"),
    );
    let current = Some("2026-03-01T12:00:00.5Z");
    let cases: [(Option<&str>, Option<&str>, Option<&str>); 11] = [
        (Some("2026-03-01T11:59:59.9Z"), current, None),
        (Some("2026-03-01T13:59:59+02:00"), current, None),
        (Some("2026-03-01T11:59:59-02:00"), current, younger),
        (Some("2026-03-01T12:00:00.1Z"), current, younger),
        (current, current, younger),
        (Some(later.as_str()), current, younger),
        (Some(future.as_str()), current, unknown),
        (None, current, unknown),
        (Some("0001-01-01T00:00:00Z"), current, unknown),
        (Some("yesterday"), current, unknown),
        (current, Some("0001-01-01T00:00:00Z"), unknown),
    ];
    for (key, current, message) in cases {
        let world = after_rotation().await;
        world.simulator.set_created_at(&world.key.0, key);
        world
            .simulator
            .set_created_at(&world.current_key(), current);

        world.delete(&world.key.0).await;

        let violations = world.violations();
        match message {
            None => assert!(
                violations.is_empty(),
                "{key:?}, {current:?}: {violations:?}"
            ),
            Some(message) => assert!(
                violations.len() == 1 && violations[0].contains(message),
                "{key:?}, {current:?}: {violations:?}"
            ),
        }
    }
}

#[tokio::test]
async fn deleting_a_key_of_another_secret_than_the_one_in_rotation_is_a_violation() {
    let world = after_rotation().await;
    let key = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
    let other = world.simulator.add_secret("other", &secret_value(&key));

    let delete = async |_| {
        world.delete(&world.key.0).await;
        Err("no".to_owned())
    };
    world.simulator.rotate(&other, &delete).await;

    world.assert_violation("is in rotation");
}

#[tokio::test]
async fn deleting_a_key_while_the_current_key_does_not_work_is_a_violation() {
    let wrong_secret: Change = |world| {
        world.set_secret(|secret| secret.current_key_guarantee = CurrentKeyGuarantee::Off);
        world.edit_current(|value| value["apiSecret"] = json!("wrong"));
    };
    assert_deletion(
        wrong_secret,
        Some("a key is deleted only while the current key works"),
        "wrong API secret",
    )
    .await;

    let world = after_rotation().await;
    let orphan = world.create_orphan("v0").await;
    // The current key is younger than the orphaned key.
    let created_at = timestamp(60);
    world
        .simulator
        .set_created_at(&world.current_key(), Some(&created_at));
    wrong_secret(&world);
    world.delete(&orphan).await;
    assert!(
        world.violations().is_empty(),
        "no version ever held the orphaned key"
    );
}

#[tokio::test]
async fn deleting_a_key_in_an_ambiguous_state_is_a_violation() {
    let cases: [(&str, Change, Option<&str>); 9] = [
        (
            "the role cannot decrypt the value",
            |world| {
                let (simulator, arn) = (&world.simulator, &world.arn);
                simulator.add_version(arn, "BLUE", "{}");
                simulator.deny_decryption(arn, "BLUE");
            },
            Some("the key of BLUE is unknown"),
        ),
        (
            "a binary value",
            |world| {
                let (simulator, arn) = (&world.simulator, &world.arn);
                simulator.add_version(arn, "BLUE", "{}");
                simulator.overwrite_value(arn, "BLUE", SecretValue::Binary(vec![1, 2]));
            },
            Some("the key of BLUE is unknown"),
        ),
        (
            "a value that is not JSON",
            |world| {
                let simulator = &world.simulator;
                simulator.add_version(&world.arn, "BLUE", "key=value");
            },
            Some("the key of BLUE is unknown"),
        ),
        (
            "a value without a key",
            |world| {
                world.simulator.add_version(&world.arn, "BLUE", "{}");
            },
            None,
        ),
        (
            "a version without a label",
            |world| {
                let (simulator, arn) = (&world.simulator, &world.arn);
                simulator.add_version(arn, "BLUE", "key=value");
                simulator.move_label(arn, "BLUE", None);
            },
            None,
        ),
        (
            "a replica that is not in sync",
            |world| {
                world
                    .simulator
                    .add_replica(&world.arn, "eu-west-1", "InProgress");
            },
            Some("the replica eu-west-1 is InProgress"),
        ),
        (
            "a replica in another account that is not in sync",
            |world| {
                let simulator = &world.simulator;
                simulator.add_cross_account_replica(&world.arn, "Failed");
            },
            Some(":210987654321:"),
        ),
        (
            "a replica in sync",
            |world| {
                world.set_secret(|secret| {
                    secret.replicas.push(Replica {
                        region: "eu-west-1".into(),
                        status: "InSync".into(),
                    });
                });
            },
            None,
        ),
        (
            "a replica that was detached",
            |world| {
                world.set_secret(|secret| {
                    secret.cross_account_replicas.push(CrossAccountReplica {
                        arn: "arn".into(),
                        status: "Detached".into(),
                    });
                });
            },
            None,
        ),
    ];
    for (case, change, message) in cases {
        assert_deletion(change, message, case).await;
    }
}
