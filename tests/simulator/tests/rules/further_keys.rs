//! A secret with two keys: the main key, of a Kafka cluster, and a further key, of a Schema Registry cluster.

use serde_json::{Value, json};
use simulator::{Fault, Overlap, SecretValue, ownership_tag, timestamp};

use crate::{CLUSTER, ENVIRONMENT, OWNER, World};

const REGISTRY: &str = "lsrc-orders";
const SLOT: &str = "schemaRegistry";

type Key = (String, String);

/// A secret with two keys.
struct TwoKeys {
    world: World,
    further: Key,
}

/// A change of the state.
type Change = fn(&TwoKeys);

impl TwoKeys {
    async fn new() -> Self {
        let mut world = World::new().await;
        world.simulator.add_schema_registry(REGISTRY, ENVIRONMENT);
        let further = world
            .simulator
            .add_key(OWNER, Some(REGISTRY), Some(ENVIRONMENT));
        world.simulator.state().secrets.remove(&world.arn);
        let value = value(&world.key, &further);
        world.arn = world.simulator.add_secret("app/kafka", &value);
        Self { world, further }
    }

    /// Returns the state after a rotation, without `AWSPREVIOUS`.
    async fn after_rotation() -> Self {
        let two_keys = Self::new().await;
        two_keys.rotate().await;
        two_keys
            .world
            .simulator
            .move_label(&two_keys.world.arn, "AWSPREVIOUS", None);
        two_keys
    }

    /// Creates the successors of both keys for the version `token`.
    async fn create(&self, token: &str) -> (Key, Key) {
        let [main, further] = ["", SLOT]
            .map(|slot| self.current(slot))
            .map(|current| format!("previous={current} replaces={current}"));
        let further = format!("slot={SLOT} {further}");
        let tag = |extra: &str| ownership_tag(&self.world.arn, token, "0a1b2c3d", extra);
        (
            self.world.create_described(&tag(&main)).await,
            self.create_in(REGISTRY, &tag(&further)).await,
        )
    }

    async fn create_in(&self, resource: &str, description: &str) -> Key {
        let spec = json!({
            "owner": { "id": OWNER }, "resource": { "id": resource }, "description": description,
        });
        let body = json!({ "spec": spec });
        let (status, body) = self
            .world
            .control_plane("POST /iam/v2/api-keys", &body)
            .await;
        assert_eq!(status, 202, "{body}");
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        (string(&body["id"]), string(&body["spec"]["secret"]))
    }

    /// Creates both keys, and stores a value with them.
    async fn store(&self, value: impl FnOnce(&Key, &Key) -> String) -> String {
        let token = self.world.simulator.start_rotation(&self.world.arn);
        let (main, further) = self.create(&token).await;
        self.world.put(&token, &value(&main, &further)).await;
        token
    }

    async fn promote(&self, token: &str) {
        let current =
            self.world.simulator.state().secret(&self.world.arn).labels["AWSCURRENT"].clone();
        let update = json!({
            "VersionStage": "AWSCURRENT", "MoveToVersionId": token, "RemoveFromVersionId": current,
        });
        self.world.aws("UpdateSecretVersionStage", update).await;
    }

    async fn rotate(&self) {
        let token = self.store(value).await;
        self.promote(&token).await;
        self.world.simulator.abandon_rotation(&self.world.arn);
    }

    fn current(&self, slot: &str) -> String {
        let state = self.world.simulator.state();
        let id = state
            .secret(&self.world.arn)
            .slot_key_id("AWSCURRENT", slot);
        id.unwrap().to_owned()
    }

    fn key_ids(&self, label: &str) -> Vec<String> {
        let state = self.world.simulator.state();
        state.secret(&self.world.arn).key_ids(label)
    }

    /// Changes the current value in place.
    fn edit_current(&self, change: impl FnOnce(&mut Value)) {
        let mut value = {
            let state = self.world.simulator.state();
            let value = state.secret(&self.world.arn).value("AWSCURRENT").unwrap();
            serde_json::from_str(value).unwrap()
        };
        change(&mut value);
        let value = SecretValue::String(value.to_string());
        let world = &self.world;
        world
            .simulator
            .overwrite_value(&world.arn, "AWSCURRENT", value);
    }

    /// Deletes a key immediately after the labels are read.
    async fn delete(&self, id: &str) {
        self.world.describe().await;
        self.delete_only(id).await;
    }

    async fn delete_only(&self, id: &str) {
        let request = format!("DELETE /iam/v2/api-keys/{id}");
        self.world.control_plane(&request, &Value::Null).await;
    }

    /// Asserts that there is one violation with `message` or, without a message, none.
    #[track_caller]
    fn assert_violations(&self, message: Option<&str>, case: &str) {
        let violations = self.world.violations();
        let is_expected = match (violations.as_slice(), message) {
            ([], None) => true,
            ([violation], Some(message)) => violation.contains(message),
            _ => false,
        };
        assert!(is_expected, "{case}: {violations:?}");
    }
}

fn value(main: &Key, further: &Key) -> String {
    json!({
        "apiKey": main.0, "apiSecret": main.1, "serviceAccountId": OWNER, "resourceId": CLUSTER,
        "schemaRegistryApiKey": further.0, "schemaRegistryApiSecret": further.1,
        "schemaRegistryResourceId": REGISTRY, "basic.auth.user.info": format!("{}:{}", further.0, further.1),
    })
    .to_string()
}

#[tokio::test]
async fn a_rotation_replaces_both_keys_and_deletes_the_previous_ones() {
    let two_keys = TwoKeys::new().await;
    let initial = two_keys.key_ids("AWSCURRENT");
    assert_eq!(
        initial,
        [&two_keys.world.key.0, &two_keys.further.0].map(Clone::clone)
    );

    two_keys.rotate().await;

    assert_eq!(two_keys.key_ids("AWSPREVIOUS"), initial);
    let current = two_keys.key_ids("AWSCURRENT");
    assert!(initial.iter().all(|id| !current.contains(id)));
    let (simulator, arn) = (&two_keys.world.simulator, &two_keys.world.arn);
    simulator.move_label(arn, "AWSPREVIOUS", None);
    for id in &initial {
        assert!(simulator.state().is_owned(arn, id), "{id}");
        two_keys.delete(id).await;
    }
    assert!(simulator.state().orphaned_keys(arn).is_empty());
    two_keys.assert_violations(None, "after a rotation");
    let canaries = simulator.canaries();
    assert!(canaries.contains(&two_keys.further.1));
    let state = simulator.state();
    let another_applications = |key| state.belongs_to_another_application(key);
    assert!(!state.deleted_keys.values().any(another_applications));
}

#[tokio::test]
async fn every_current_key_is_accepted_by_its_resource() {
    let cases: [(&str, Change, Option<&str>); 5] = [
        (
            "a deleted key",
            |two_keys| {
                let further = two_keys.current(SLOT);
                two_keys.world.simulator.delete_key_manually(&further);
            },
            Some("which does not exist"),
        ),
        (
            "a wrong API secret",
            |two_keys| two_keys.edit_current(|value| value["schemaRegistryApiSecret"] = json!("x")),
            Some("has a wrong API secret"),
        ),
        (
            "a slot that was emptied",
            |two_keys| {
                let (simulator, arn) = (&two_keys.world.simulator, &two_keys.world.arn);
                let blank = (String::new(), String::new());
                simulator.replace_slot_key_manually(arn, SLOT, &blank);
            },
            Some("AWSCURRENT of app/kafka names no key in schemaRegistryApiKey"),
        ),
        (
            "a slot that awaits its initial key",
            |two_keys| two_keys.edit_current(|value| value["ksqldbResourceId"] = json!("lksqlc-1")),
            None,
        ),
        (
            "a key that is not declared",
            |two_keys| two_keys.edit_current(|value| value["ksqldbApiKey"] = json!("K")),
            None,
        ),
    ];
    for (case, change, message) in cases {
        let two_keys = TwoKeys::after_rotation().await;
        change(&two_keys);
        two_keys.world.describe().await;
        two_keys.assert_violations(message, case);
    }
}

#[tokio::test]
async fn a_value_that_does_not_replace_all_keys_is_a_violation() {
    type Pending = fn(&TwoKeys, &Key, &Key) -> String;
    let cases: [(&str, Pending, Option<&str>); 4] = [
        ("both keys", |_, main, further| value(main, further), None),
        (
            "the main key only",
            |two_keys, main, _| value(main, &two_keys.further),
            Some("which is not a new key"),
        ),
        (
            "half of a key",
            |_, main, further| value(main, &(further.0.clone(), String::new())),
            Some("holds half of a key in schemaRegistryApiKey"),
        ),
        (
            "keys of each other's resources",
            |_, main, further| value(further, main),
            Some("holds a key of another resource in apiKey"),
        ),
    ];
    for (case, pending, message) in cases {
        let two_keys = TwoKeys::new().await;
        two_keys
            .store(|main, further| pending(&two_keys, main, further))
            .await;
        let violations = two_keys.world.violations();
        let of_keys = |violation: &&String| violation.contains("replaces all keys of a secret");
        let found: Vec<_> = violations.iter().filter(of_keys).collect();
        assert_eq!(
            found.len(),
            usize::from(message.is_some()),
            "{case}: {violations:?}"
        );
        assert!(
            found
                .iter()
                .all(|found| message.is_some_and(|message| found.contains(message))),
            "{case}: {violations:?}"
        );
    }
}

#[tokio::test]
async fn a_promotion_that_does_not_replace_all_keys_is_a_violation() {
    let two_keys = TwoKeys::new().await;
    let token = two_keys.store(value).await;
    // A user adds a slot while the rotation is in progress.
    let other = two_keys.world.simulator.add_key(OWNER, None, None);
    two_keys.edit_current(|value| {
        value["cloudApiKey"] = json!(other.0);
        value["cloudApiSecret"] = json!(other.1);
        value["cloudResourceId"] = json!("cloud");
    });

    two_keys.promote(&token).await;

    let message = "that becomes current holds no key in cloudApiKey";
    two_keys.assert_violations(Some(message), "a slot that the rotation does not know");
}

#[tokio::test]
async fn a_copy_that_holds_the_key_of_another_slot_is_a_violation() {
    let two_keys = TwoKeys::new().await;

    two_keys
        .store(|main, further| {
            let info = format!("{}:{}", further.0, further.1);
            value(main, further).replace(&info, &format!("{}:{}", main.0, main.1))
        })
        .await;

    two_keys.assert_violations(Some("every copy of a key is replaced"), "a copy");
}

#[tokio::test]
async fn a_further_key_is_deleted_by_the_rule_for_its_slot() {
    let cases: [(&str, Change, Option<&str>); 8] = [
        ("nothing", |_| {}, None),
        (
            "replaces= in the tag of no current key",
            |two_keys| {
                let (simulator, arn) = (&two_keys.world.simulator, &two_keys.world.arn);
                let current = two_keys.current(SLOT);
                simulator.tag_key(&current, arn, "v", "i", &format!("slot={SLOT}"));
            },
            Some("another application's key"),
        ),
        (
            "the resource of no slot",
            |two_keys| {
                let mut state = two_keys.world.simulator.state();
                let key = state.keys.get_mut(&two_keys.further.0).unwrap();
                "lsrc-other".clone_into(&mut key.resource);
            },
            Some("has another resource than app/kafka"),
        ),
        (
            "younger than the current key of its slot",
            |two_keys| {
                let current = two_keys.current(SLOT);
                let simulator = &two_keys.world.simulator;
                simulator.set_created_at(&current, Some("2026-01-01T00:00:00Z"));
                simulator.set_created_at(&two_keys.further.0, Some("2026-01-02T00:00:00Z"));
            },
            Some("was not created before the current key"),
        ),
        (
            "younger than the current key of another slot",
            |two_keys| {
                let current = two_keys.current("");
                let simulator = &two_keys.world.simulator;
                simulator.set_created_at(&current, Some("2020-01-01T00:00:00Z"));
            },
            None,
        ),
        (
            "an unknown age of the current key of its slot",
            |two_keys| {
                let current = two_keys.current(SLOT);
                two_keys.world.simulator.set_created_at(&current, None);
            },
            Some("has an unknown age relative to the current key"),
        ),
        (
            "a current key of its slot that does not work",
            |two_keys| {
                two_keys.edit_current(|value| value["schemaRegistryApiSecret"] = json!("x"));
                disable_guarantee(two_keys);
            },
            Some("a key is deleted only while the current key works"),
        ),
        (
            "a current key of another slot that does not work",
            |two_keys| {
                two_keys.edit_current(|value| value["apiSecret"] = json!("x"));
                disable_guarantee(two_keys);
            },
            None,
        ),
    ];
    for (case, change, message) in cases {
        let two_keys = TwoKeys::after_rotation().await;
        change(&two_keys);
        two_keys.delete(&two_keys.further.0).await;
        two_keys.assert_violations(message, case);
    }
}

fn disable_guarantee(two_keys: &TwoKeys) {
    let off = simulator::CurrentKeyGuarantee::Off;
    two_keys
        .world
        .set_secret(|secret| secret.current_key_guarantee = off);
}

#[tokio::test]
async fn the_overlap_applies_to_the_previous_key_of_every_slot() {
    for overlap in [Overlap::Hours(24), Overlap::UntilNextRotation] {
        let two_keys = TwoKeys::after_rotation().await;
        two_keys.world.simulator.state().controls.overlap = overlap;

        for id in [&two_keys.world.key.0, &two_keys.further.0] {
            two_keys.delete(id).await;
            two_keys.assert_violations(Some("is the previous key of app/kafka"), id);
        }
    }
}

/// A user replaces only one key, whose overlap begins then.
#[tokio::test]
async fn each_slot_has_its_own_overlap() {
    let two_keys = TwoKeys::after_rotation().await;
    let (simulator, arn) = (&two_keys.world.simulator, &two_keys.world.arn);
    simulator.state().controls.overlap = Overlap::Hours(24);
    simulator.pass(std::time::Duration::from_hours(24));
    let replaced = two_keys.current(SLOT);
    let further = simulator.add_key(OWNER, Some(REGISTRY), Some(ENVIRONMENT));
    simulator.set_created_at(&further.0, Some(&timestamp(0)));
    two_keys.edit_current(|value| value["basic.auth.user.info"] = Value::Null);
    simulator.replace_slot_key_manually(arn, SLOT, &further);
    simulator.move_label(arn, "AWSPREVIOUS", None);

    two_keys.delete(&two_keys.world.key.0).await;
    two_keys.assert_violations(None, "the main key was replaced 24 hours ago");
    two_keys.delete(&replaced).await;
    two_keys.assert_violations(Some("is the previous key of app/kafka"), "the further key");
}

#[tokio::test]
async fn create_secret_may_delete_all_keys_of_its_version_after_it_read_the_version() {
    for (case, message) in [
        ("read", None),
        ("not stored", None),
        ("not read", Some("whose labels were not read before")),
    ] {
        let two_keys = TwoKeys::new().await;
        let token = two_keys.world.simulator.start_rotation(&two_keys.world.arn);
        let (main, further) = two_keys.create(&token).await;
        if case == "not stored" {
            let next = two_keys.world.simulator.state().requests.len();
            two_keys.world.simulator.fail(next, Fault::InternalError);
            let stored = value(&main, &further);
            two_keys.world.put(&token, &stored).await;
        }
        if case == "read" {
            let read = json!({ "VersionId": token, "VersionStage": "AWSPENDING" });
            two_keys.world.aws("GetSecretValue", read).await;
        }

        for id in [&main.0, &further.0] {
            two_keys.delete_only(id).await;
            let violations = two_keys.world.violations();
            let found = violations
                .iter()
                .any(|violation| message.is_some_and(|message| violation.contains(message)));
            assert_eq!(found, message.is_some(), "{case}: {violations:?}");
            assert_eq!(
                violations.is_empty(),
                message.is_none(),
                "{case}: {violations:?}"
            );
        }
    }
}
