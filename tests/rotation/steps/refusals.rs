//! What `createSecret` refuses before it makes or deletes anything.

use super::*;

/// A secret that must not be rotated, and the name of the error that says why.
struct Case {
    name: &'static str,
    arrange: fn(&mut World),
    error: &'static str,
}

/// Gives the secret another value, and asks nothing of the key it names.
fn edit(world: &World, field: &str, value: &str) {
    world.watch(Watch::Off);
    world.edit(|document| document[field] = json!(value));
}

const CASES: [Case; 17] = [
    Case {
        name: "a key of another owner",
        arrange: |world| {
            world.simulator.add_owner("sa-victim", &[]);
            edit(world, "serviceAccountId", "sa-victim");
        },
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "another owner's key",
        arrange: |world| {
            world.simulator.add_owner("sa-victim", &[]);
            let (id, _) =
                world
                    .simulator
                    .add_key("sa-victim", Some("lkc-orders"), Some(ENVIRONMENT));
            edit(world, "apiKey", &id);
        },
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "a key of another cluster",
        arrange: |world| {
            world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            edit(world, "resourceId", "lkc-other");
        },
        error: "CurrentKeyOfOtherResource",
    },
    Case {
        name: "a key of another kind",
        arrange: |world| edit(world, "resourceId", "cloud"),
        error: "CurrentKeyOfOtherResource",
    },
    Case {
        name: "a resource of another environment",
        arrange: |world| edit(world, "environmentId", "env-other"),
        error: "CurrentKeyOfOtherResource",
    },
    Case {
        name: "a key that was deleted",
        arrange: |world| {
            world.watch(Watch::Off);
            world.simulator.delete_key_by_hand(&world.first_key);
        },
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "a key that never was",
        arrange: |world| edit(world, "apiKey", "NEVERWAS00000000"),
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "a wrong secret",
        arrange: |world| edit(world, "apiSecret", "a guess"),
        error: "CurrentKeyNotAccepted",
    },
    Case {
        name: "an endpoint that cannot be reached",
        arrange: |world| world.advertise(&world.simulator.unreachable_url()),
        error: "EndpointUnreachable",
    },
    Case {
        name: "an endpoint on somebody else's domain",
        arrange: |world| edit(world, "endpoint", "https://confluent.cloud.example"),
        error: "EndpointNotAllowed",
    },
    Case {
        name: "a look-up that leads to somebody else's domain",
        arrange: |world| world.advertise("https://confluent.cloud.example"),
        error: "EndpointNotAllowed",
    },
    Case {
        name: "an endpoint that is no base URL",
        arrange: |world| edit(world, "endpoint", "https://pkc-1.confluent.cloud/kafka"),
        error: "EndpointInvalid",
    },
    Case {
        name: "a resource that the signing key's owner may not see",
        arrange: |world| world.grant_admin(&[Role::ResourceOwnerOf(OWNER.to_owned())]),
        error: "EndpointNotFound",
    },
    Case {
        name: "an environment that neither the secret nor Confluent tells",
        arrange: |world| {
            world.edit(|document| document["environmentId"] = Value::Null);
            let spec = json!({"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}});
            let key = json!({"id": world.first_key, "spec": spec});
            let list = Answer::json(200, &json!({"data": [key], "metadata": {"next": ""}}));
            world.simulator.answer(1, lists_keys, list);
        },
        error: "EnvironmentUnknown",
    },
    Case {
        name: "a resource of no known kind",
        arrange: |world| edit(world, "resourceId", "pkc-orders"),
        error: "UnknownResource",
    },
    Case {
        name: "a value that holds bytes",
        arrange: |world| world.arn = world.simulator.add_binary_secret("bytes", b"\x00\x01"),
        error: "SecretValue",
    },
    Case {
        name: "a value that is not JSON",
        arrange: |world| {
            world.watch(Watch::Off);
            world
                .simulator
                .put_by_hand(&world.arn, "apiKey=K apiSecret=S");
        },
        error: "SecretValue",
    },
];

/// Unknown state stops the rotation with a message that says what to do. It is never guessed away.
#[tokio::test]
async fn what_is_not_as_the_secret_says_is_refused_before_anything_is_made_or_deleted() {
    for Case {
        name,
        arrange,
        error: expected,
    } in CASES
    {
        let mut world = World::new(Setting::default()).await;
        arrange(&mut world);
        let keys = world.all_keys();

        let error = world.refusal("createSecret", name).await;

        assert_eq!(
            error.error_type, expected,
            "{name}: {}",
            error.error_message
        );
        assert_eq!(world.count(makes_a_key), 0, "{name}");
        assert_eq!(world.count(deletes_a_key), 0, "{name}");
        assert_eq!(world.all_keys(), keys, "{name}");
    }
}

#[tokio::test]
async fn a_value_without_room_for_a_longer_key_is_refused_before_one_is_made() {
    let world = World::new(Setting::default()).await;
    let short = "an old and short one";
    world
        .simulator
        .state()
        .keys
        .get_mut(&world.first_key)
        .unwrap()
        .secret = short.to_owned();
    world.watch(Watch::Off);
    world.edit(|document| {
        document["apiSecret"] = json!(short);
        document["note"] = json!("");
        document["note"] = json!("x".repeat(65_536 - document.to_string().len()));
    });

    let error = world.refusal("createSecret", "no room").await;

    assert_eq!(error.error_type, "SecretValue", "{}", error.error_message);
    assert!(
        error.error_message.contains("65536"),
        "{}",
        error.error_message
    );
    assert_eq!(world.count(makes_a_key), 0);
}

#[tokio::test]
async fn the_guessed_secret_of_somebody_elses_key_obtains_no_key_of_theirs() {
    let world = World::new(Setting::default()).await;
    world.simulator.add_owner("sa-victim", &[]);
    let (id, _) = world
        .simulator
        .add_key("sa-victim", Some("lkc-orders"), Some(ENVIRONMENT));
    world.watch(Watch::Off);
    world.edit(|document| {
        document["apiKey"] = json!(id);
        document["serviceAccountId"] = json!("sa-victim");
    });

    let error = world
        .refusal("createSecret", "the secret was guessed")
        .await;

    assert_eq!(
        error.error_type, "CurrentKeyNotAccepted",
        "{}",
        error.error_message
    );
    assert_eq!(world.count(makes_a_key), 0);
}

#[tokio::test]
async fn a_current_key_that_the_list_does_not_show_is_asked_for_by_its_id() {
    let world = World::new(Setting::default()).await;
    world.simulator.answer(1, lists_keys, empty_list());

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let asked = format!("GET {API_KEYS}/{}", world.first_key);
    assert!(world.requests().contains(&asked));
}

#[tokio::test]
async fn a_secret_whose_key_is_dead_is_recovered_with_the_check_off() {
    let mut world = World::new(Setting::default()).await;
    world.watch(Watch::Off);
    world.simulator.delete_key_by_hand(&world.first_key);
    world.set("CURRENT_KEY_CHECK", "off");

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    world.watch(Watch::Opens);
    world.set("CURRENT_KEY_CHECK", "required");
    assert_eq!(
        world.rotate().await,
        Outcome::Succeeded,
        "and is as good as any other then"
    );
}
