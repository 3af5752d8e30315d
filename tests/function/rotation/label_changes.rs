//! Changes that a user makes between two steps of a rotation: how the rotation ends, and how a later one recovers.
//!
//! Each case is run between createSecret and setSecret, setSecret and testSecret, testSecret and finishSecret. Afterwards the
//! rotation is retried, as Secrets Manager does. Then the user fixes what prevents it, if anything does, and it is retried
//! again.

use super::*;

/// How a rotation ends: the failed step and the error's name, or `None` for a success.
type Ending = Option<(&'static str, &'static str)>;

/// A change that a user makes, and its consequences.
struct Case {
    /// The change, as part of a sentence.
    name: &'static str,
    setting: Setting,
    change: Arrange,
    /// How the rotation ends if the change is made after createSecret, after setSecret, after testSecret.
    endings: [Ending; 3],
    /// How the next attempt ends, for each.
    retried: [Ending; 3],
    fix: Arrange,
    /// The fields of the current value that the user has changed.
    changed: &'static [(&'static str, &'static str)],
}

const ADMIN_MODE: Setting = Setting {
    key_type: KeyType::Kafka,
    mode: Mode::Admin,
    policy: OldKeyPolicy::Delete,
    further: &[],
};
const OWN_MODE: Setting = Setting {
    key_type: KeyType::Cloud,
    mode: Mode::SelfRotation,
    policy: OldKeyPolicy::Delete,
    further: &[],
};
const KEEPING: Setting = Setting {
    policy: OldKeyPolicy::KeepUntilNextRotation,
    ..ADMIN_MODE
};

const NOT_PENDING: [Ending; 3] = [
    Some(("testSecret", "VersionNotPending")),
    Some(("testSecret", "VersionNotPending")),
    Some(("finishSecret", "VersionNotPending")),
];
const NOT_ENABLED: [Ending; 3] = [
    Some(("testSecret", "RotationNotEnabled")),
    Some(("testSecret", "RotationNotEnabled")),
    Some(("finishSecret", "RotationNotEnabled")),
];
const SUCCESS: [Ending; 3] = [None; 3];

fn nothing(_: &World) {}

/// The service account and the cluster to which a user changes the secret.
const OTHER_OWNER: &str = "sa-other";
const OTHER_CLUSTER: &str = "lkc-other";

fn store_key_of(world: &World, owner: &str, cluster: &str) {
    let simulator = &world.simulator;
    if owner != OWNER {
        simulator.add_owner(owner, &[]);
    }
    if cluster != "lkc-orders" {
        simulator.add_kafka_cluster(cluster, ENVIRONMENT);
    }
    let (id, secret) = simulator.add_key(owner, Some(cluster), Some(ENVIRONMENT));
    world.change_value(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
        value["serviceAccountId"] = json!(owner);
        value["resourceId"] = json!(cluster);
    });
}

fn delete_current_key(world: &World) {
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    let key = world.key("AWSCURRENT").expect("a current key");
    world.simulator.delete_key_manually(&key);
}

const DEFAULT: Case = Case {
    name: "",
    setting: ADMIN_MODE,
    change: nothing,
    endings: SUCCESS,
    retried: SUCCESS,
    fix: nothing,
    changed: &[],
};

const CASES: [Case; 11] = [
    Case {
        name: "stores another note",
        change: |world| world.change_value(|value| value["note"] = json!("changed")),
        endings: NOT_PENDING,
        changed: &[("note", "changed")],
        ..DEFAULT
    },
    Case {
        name: "changes resourceId and keeps the key",
        change: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world
                .simulator
                .add_kafka_cluster(OTHER_CLUSTER, ENVIRONMENT);
            world.change_value(|value| value["resourceId"] = json!(OTHER_CLUSTER));
        },
        endings: NOT_PENDING,
        retried: [Some(("createSecret", "CurrentKeyScopeMismatch")); 3],
        fix: |world| world.change_value(|value| value["resourceId"] = json!("lkc-orders")),
        ..DEFAULT
    },
    Case {
        name: "changes serviceAccountId and keeps the key",
        change: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.add_owner(OTHER_OWNER, &[]);
            world.change_value(|value| value["serviceAccountId"] = json!(OTHER_OWNER));
        },
        endings: NOT_PENDING,
        retried: [Some(("createSecret", "CurrentKeyNotOfOwner")); 3],
        fix: |world| world.change_value(|value| value["serviceAccountId"] = json!(OWNER)),
        ..DEFAULT
    },
    Case {
        name: "removes AWSPENDING",
        change: |world| world.simulator.abandon_rotation(&world.arn),
        endings: NOT_PENDING,
        ..DEFAULT
    },
    Case {
        name: "promotes the pending version",
        change: |world| {
            let token = world.token();
            world
                .simulator
                .move_label(&world.arn, "AWSCURRENT", Some(&token));
        },
        ..DEFAULT
    },
    Case {
        name: "rolls AWSCURRENT back to the previous version",
        setting: KEEPING,
        change: |world| {
            let previous = world.version("AWSPREVIOUS").expect("a previous version");
            world
                .simulator
                .move_label(&world.arn, "AWSCURRENT", Some(&previous));
        },
        ..DEFAULT
    },
    Case {
        name: "deletes the current key, and there is an admin key",
        change: delete_current_key,
        ..DEFAULT
    },
    Case {
        name: "deletes the current key under self-rotation",
        setting: OWN_MODE,
        change: delete_current_key,
        ..DEFAULT
    },
    Case {
        name: "deletes the pending key",
        change: |world| {
            let key = world.key("AWSPENDING").expect("a pending key");
            world.simulator.delete_key_manually(&key);
        },
        endings: [
            Some(("testSecret", "PendingKeyNotAccepted")),
            Some(("testSecret", "PendingKeyNotAccepted")),
            Some(("finishSecret", "PendingKeyNotAccepted")),
        ],
        // In the first ten minutes, it does not count as deleted.
        retried: [Some(("testSecret", "PendingKeyNotAccepted")); 3],
        fix: |world| world.simulator.abandon_rotation(&world.arn),
        ..DEFAULT
    },
    Case {
        name: "revokes the role of the admin key's owner",
        change: |world| world.grant_admin(&[]),
        endings: [
            Some(("testSecret", "EndpointNotFound")),
            Some(("testSecret", "EndpointNotFound")),
            Some(("finishSecret", "EndpointNotFound")),
        ],
        retried: [
            Some(("testSecret", "EndpointNotFound")),
            Some(("testSecret", "EndpointNotFound")),
            Some(("testSecret", "EndpointNotFound")),
        ],
        fix: |world| world.grant_admin(&[Role::OrganizationAdmin]),
        ..DEFAULT
    },
    Case {
        name: "cancels the rotation",
        change: |world| world.simulator.cancel_rotation(&world.arn),
        endings: NOT_ENABLED,
        retried: [Some(("createSecret", "RotationNotEnabled")); 3],
        fix: |world| {
            let mut state = world.simulator.state();
            state.secret_mut(&world.arn).rotation_enabled = Some(true);
        },
        ..DEFAULT
    },
];

impl World {
    /// Runs these steps until one fails.
    async fn ending(&self, token: &str, steps: &[&'static str]) -> Option<(&'static str, String)> {
        for &step in steps {
            let event = self.simulator.event(&self.arn, token, step);
            if let Err(error) = self.invoke(event).await {
                return Some((step, error.error_type));
            }
        }
        None
    }
}

fn as_ending<'a>(ending: Option<&'a (&'static str, String)>) -> Option<(&'a str, &'a str)> {
    ending.map(|(step, error)| (*step, error.as_str()))
}

/// Returns the time limit for attempts with this ending. The verification of a deleted key lasts until the deadline.
fn time_limit(ending: Ending) -> Duration {
    match ending {
        Some(_) => Duration::from_millis(11_300),
        None => AMPLE,
    }
}

#[tokio::test]
async fn a_rotation_recovers_from_any_change_between_two_steps() {
    let mut count = 0;
    for Case {
        name,
        setting,
        change,
        endings,
        retried,
        fix,
        changed,
    } in CASES
    {
        for (done, (ending, retried)) in (1..).zip(endings.into_iter().zip(retried)) {
            let case = format!("a user {name} after {}", STEPS[done - 1]);
            let mut world = World::new(setting).await;
            // Creates a previous version, and a current key with an ownership tag.
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{case}");
            let before = world.value("AWSCURRENT");
            let token = world.token();
            let started = world.ending(&token, &STEPS[..done]).await;
            assert_eq!(started, None, "{case}");

            change(&world);
            // The next step runs in a new process.
            world.forget_endpoint();
            world.time_limit = time_limit(ending);
            let ended = world.ending(&token, &STEPS[done..]).await;
            assert_eq!(as_ending(ended.as_ref()), ending, "{case}");
            if ended.is_some() {
                world.time_limit = time_limit(retried);
                let ended = world.ending(&world.token(), &STEPS).await;
                assert_eq!(as_ending(ended.as_ref()), retried, "{case}, retried");
                fix(&world);
            }
            world.time_limit = AMPLE;
            let outcome = world.rotate().await;
            assert_eq!(outcome, Outcome::Succeeded, "{case}, fixed");

            world.set_current_key_guarantee(CurrentKeyGuarantee::Accepted);
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{case}, later");
            let after = world.value("AWSCURRENT");
            for (field, value) in before.as_object().expect("an object") {
                let changed = changed.iter().find(|(name, _)| name == field);
                match (changed, field.as_str()) {
                    (Some((_, changed)), _) => assert_eq!(after[field], *changed, "{case}"),
                    (None, "apiKey" | "apiSecret") => assert_ne!(after[field], *value, "{case}"),
                    (None, _) => assert_eq!(after[field], *value, "{case}"),
                }
            }
            let mut expected = vec![world.key("AWSCURRENT").expect("a current key")];
            if setting.policy != OldKeyPolicy::Delete {
                expected.push(world.key("AWSPREVIOUS").expect("a previous key"));
            }
            world.assert_keys(&expected, &case);
            count += 1;
        }
    }
    println!("{count} changes between two steps");
}

/// A limit that the README names: a key is deleted only if it has the owner and the resource that the secret names.
#[tokio::test]
async fn keys_of_an_owner_or_a_resource_that_the_secret_no_longer_names_are_kept() {
    for (owner, cluster) in [(OTHER_OWNER, "lkc-orders"), (OWNER, OTHER_CLUSTER)] {
        for done in 1..=3 {
            let case = (owner, cluster, done);
            let world = World::new(Setting::default()).await;
            let token = world.token();
            assert_eq!(world.ending(&token, &STEPS[..done]).await, None);
            let (initial, pending) = (world.initial_key.clone(), world.key("AWSPENDING").unwrap());

            store_key_of(&world, owner, cluster);
            let stored = world.key("AWSCURRENT").unwrap();
            let ended = world.ending(&token, &STEPS[done..]).await;
            let retried = [world.rotate().await, world.rotate().await];

            assert_eq!(as_ending(ended.as_ref()), NOT_PENDING[done - 1]);
            assert_eq!(retried, [Outcome::Succeeded, Outcome::Succeeded]);
            assert_eq!(world.value("AWSCURRENT")["serviceAccountId"], owner);
            let keys = world.all_keys();
            assert!(
                keys.contains(&initial) && keys.contains(&pending),
                "{case:?}"
            );
            assert!(!keys.contains(&stored), "{case:?}");
        }
    }
}
