//! A person meddles between any two steps of a rotation: what the rotation says to it, what is left, and how it
//! converges.
//!
//! Each case is tried between createSecret and setSecret, setSecret and testSecret, testSecret and finishSecret.
//! Afterwards the rotation is attempted again, as Secrets Manager does; then the person mends what was broken, if
//! anything was, and it is attempted once more.

use super::*;

/// What ends a rotation: the step and the error's name, or `None` for a success.
type Ending = Option<(&'static str, &'static str)>;

/// Something that a person does, and what comes of it.
struct Case {
    name: &'static str,
    setting: Setting,
    meddle: Arrange,
    /// How the rotation ends when this was done after createSecret, after setSecret, after testSecret.
    endings: [Ending; 3],
    /// How the next attempt ends, for each.
    again: [Ending; 3],
    mend: Arrange,
    /// The fields of the current value that the person has changed.
    changed: &'static [(&'static str, &'static str)],
}

const ADMIN_MODE: Setting = Setting {
    kind: Kind::Kafka,
    mode: Mode::Admin,
    policy: OldKeyPolicy::Delete,
};
const OWN_MODE: Setting = Setting {
    kind: Kind::Cloud,
    mode: Mode::Own,
    policy: OldKeyPolicy::Delete,
};
const KEEPING: Setting = Setting {
    policy: OldKeyPolicy::KeepUntilNextRotation,
    ..ADMIN_MODE
};

const NOT_PENDING: [Ending; 3] = [
    Some(("setSecret", "VersionNotPending")),
    Some(("testSecret", "VersionNotPending")),
    Some(("finishSecret", "VersionNotPending")),
];
const NOT_ENABLED: [Ending; 3] = [
    Some(("setSecret", "RotationNotEnabled")),
    Some(("testSecret", "RotationNotEnabled")),
    Some(("finishSecret", "RotationNotEnabled")),
];
const SUCCESS: [Ending; 3] = [None; 3];

fn nothing(_: &World) {}

/// The account and the cluster that a person moves the secret to.
const OTHER_OWNER: &str = "sa-other";
const OTHER_CLUSTER: &str = "lkc-other";

fn put_key_of(world: &World, owner: &str, cluster: &str) {
    let simulator = &world.simulator;
    if owner != OWNER {
        simulator.add_owner(owner, &[]);
    }
    if cluster != "lkc-orders" {
        simulator.add_kafka_cluster(cluster, ENVIRONMENT);
    }
    let (id, secret) = simulator.add_key(owner, Some(cluster), Some(ENVIRONMENT));
    world.edit(|value| {
        value["apiKey"] = json!(id);
        value["apiSecret"] = json!(secret);
        value["serviceAccountId"] = json!(owner);
        value["resourceId"] = json!(cluster);
    });
}

fn delete_current_key(world: &World) {
    world.watch(Watch::Off);
    let key = world.key("AWSCURRENT").expect("a current key");
    world.simulator.delete_key_by_hand(&key);
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let base = || Case {
        name: "",
        setting: ADMIN_MODE,
        meddle: nothing,
        endings: SUCCESS,
        again: SUCCESS,
        mend: nothing,
        changed: &[],
    };
    vec![
        Case {
            name: "stores another note",
            meddle: |world| world.edit(|value| value["note"] = json!("changed")),
            endings: NOT_PENDING,
            changed: &[("note", "changed")],
            ..base()
        },
        Case {
            name: "puts a key for another cluster",
            meddle: |world| put_key_of(world, OWNER, OTHER_CLUSTER),
            endings: NOT_PENDING,
            changed: &[("resourceId", OTHER_CLUSTER)],
            ..base()
        },
        Case {
            name: "changes resourceId and leaves the key",
            meddle: |world| {
                world.watch(Watch::Off);
                world
                    .simulator
                    .add_kafka_cluster(OTHER_CLUSTER, ENVIRONMENT);
                world.edit(|value| value["resourceId"] = json!(OTHER_CLUSTER));
            },
            endings: NOT_PENDING,
            again: [Some(("createSecret", "CurrentKeyOfOtherResource")); 3],
            mend: |world| world.edit(|value| value["resourceId"] = json!("lkc-orders")),
            ..base()
        },
        Case {
            name: "changes serviceAccountId and leaves the key",
            meddle: |world| {
                world.watch(Watch::Off);
                world.simulator.add_owner(OTHER_OWNER, &[]);
                world.edit(|value| value["serviceAccountId"] = json!(OTHER_OWNER));
            },
            endings: NOT_PENDING,
            again: [Some(("createSecret", "CurrentKeyNotOfOwner")); 3],
            mend: |world| world.edit(|value| value["serviceAccountId"] = json!(OWNER)),
            ..base()
        },
        Case {
            name: "takes AWSPENDING off",
            meddle: |world| world.simulator.abandon(&world.arn),
            endings: NOT_PENDING,
            ..base()
        },
        Case {
            name: "makes the pending version current",
            meddle: |world| {
                let token = world.token();
                world
                    .simulator
                    .move_label(&world.arn, "AWSCURRENT", Some(&token));
            },
            ..base()
        },
        Case {
            name: "makes the previous version current again",
            setting: KEEPING,
            meddle: |world| {
                // Its key went when this rotation began, so that what follows mends what the person broke.
                world.watch(Watch::Off);
                let previous = world.version("AWSPREVIOUS").expect("a previous version");
                world
                    .simulator
                    .move_label(&world.arn, "AWSCURRENT", Some(&previous));
            },
            ..base()
        },
        Case {
            name: "deletes the current key, which an admin key outlives",
            meddle: delete_current_key,
            ..base()
        },
        Case {
            name: "deletes the current key, which signs for itself",
            setting: OWN_MODE,
            meddle: delete_current_key,
            ..base()
        },
        Case {
            name: "deletes the pending key",
            meddle: |world| {
                let key = world.key("AWSPENDING").expect("a pending key");
                world.simulator.delete_key_by_hand(&key);
            },
            endings: [
                Some(("testSecret", "NewKeyDeleted")),
                Some(("testSecret", "NewKeyDeleted")),
                Some(("finishSecret", "NewKeyNotListed")),
            ],
            // After its test nobody looks whether the key is gone for good: that is the next attempt's test.
            again: [None, None, Some(("testSecret", "NewKeyDeleted"))],
            ..base()
        },
        Case {
            name: "takes the admin's role away",
            meddle: |world| world.grant_admin(&[]),
            endings: [
                Some(("testSecret", "EndpointNotFound")),
                Some(("testSecret", "EndpointNotFound")),
                Some(("finishSecret", "NewKeyNotListed")),
            ],
            again: [
                Some(("testSecret", "EndpointNotFound")),
                Some(("testSecret", "EndpointNotFound")),
                Some(("testSecret", "EndpointNotFound")),
            ],
            mend: |world| world.grant_admin(&[Role::OrganizationAdmin]),
            ..base()
        },
        Case {
            name: "cancels the rotation",
            meddle: |world| world.simulator.cancel_rotation(&world.arn),
            endings: NOT_ENABLED,
            again: [Some(("createSecret", "RotationNotEnabled")); 3],
            mend: |world| {
                let mut state = world.simulator.state();
                state.secret_mut(&world.arn).rotation_enabled = Some(true);
            },
            ..base()
        },
    ]
}

impl World {
    /// Takes these steps until one fails.
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

#[tokio::test]
async fn whatever_a_person_does_between_two_steps_nothing_is_lost_and_the_rotation_converges() {
    let mut tried = 0;
    for Case {
        name,
        setting,
        meddle,
        endings,
        again,
        mend,
        changed,
    } in cases()
    {
        for (passed, (ending, again)) in (1..).zip(endings.into_iter().zip(again)) {
            let case = format!("a person {name} after {}", STEPS[passed - 1]);
            let mut world = World::new(setting).await;
            // So that there is a previous version, and a key that is not the one the world began with.
            assert_eq!(world.rotate().await, Outcome::Succeeded, "{case}");
            // A key that is gone is waited for in vain.
            world.time_limit = Duration::from_millis(11_300);
            let before = world.value("AWSCURRENT");
            let token = world.token();
            let begun = world.ending(&token, &STEPS[..passed]).await;
            assert_eq!(begun, None, "{case}");

            meddle(&world);
            let ended = world.ending(&token, &STEPS[passed..]).await;
            assert_eq!(as_ending(ended.as_ref()), ending, "{case}");
            if ended.is_some() {
                let ended = world.ending(&world.token(), &STEPS).await;
                assert_eq!(as_ending(ended.as_ref()), again, "{case}, again");
                mend(&world);
            }
            let outcome = world.rotate().await;
            assert_eq!(outcome, Outcome::Succeeded, "{case}, mended");

            world.watch(Watch::Opens);
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
            let mut left = vec![world.key("AWSCURRENT").expect("a current key")];
            if setting.policy == OldKeyPolicy::KeepUntilNextRotation {
                left.push(world.key("AWSPREVIOUS").expect("a previous key"));
            }
            world.assert_keys(&left, &case);
            tried += 1;
        }
    }
    println!("{tried} ways to meddle with a rotation");
}

/// A limit, which the README names: keys are listed by their owner, and the secret names no longer this one.
#[tokio::test]
async fn keys_of_a_service_account_that_the_secret_names_no_more_stay() {
    for passed in 1..=3 {
        let world = World::new(Setting::default()).await;
        let token = world.token();
        assert_eq!(world.ending(&token, &STEPS[..passed]).await, None);
        let (first, pending) = (world.first_key.clone(), world.key("AWSPENDING").unwrap());

        put_key_of(&world, OTHER_OWNER, "lkc-orders");
        let ended = world.ending(&token, &STEPS[passed..]).await;
        let again = [world.rotate().await, world.rotate().await];

        assert_eq!(as_ending(ended.as_ref()), NOT_PENDING[passed - 1]);
        assert_eq!(again, [Outcome::Succeeded, Outcome::Succeeded]);
        assert_eq!(world.value("AWSCURRENT")["serviceAccountId"], OTHER_OWNER);
        world.assert_keys(&[first, pending], &passed);
        let current = world.key("AWSCURRENT").unwrap();
        let state = world.simulator.state();
        let keys: Vec<_> = state
            .keys_of(OTHER_OWNER)
            .iter()
            .map(|key| &key.id)
            .collect();
        assert_eq!(keys, [&current]);
    }
}
