//! What `createSecret` rejects before it creates or deletes a key.

use super::*;

/// A secret that must not be rotated, and the name of the error.
struct Case {
    name: &'static str,
    arrange: fn(&mut World),
    error: &'static str,
}

/// Changes a field of the current value, and turns off the guarantee for its key.
fn edit(world: &World, field: &str, value: &str) {
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|current| current[field] = json!(value));
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
        error: "CurrentKeyScopeMismatch",
    },
    Case {
        name: "a key of another type",
        arrange: |world| edit(world, "resourceId", "cloud"),
        error: "CurrentKeyScopeMismatch",
    },
    Case {
        name: "a resource of another environment",
        arrange: |world| edit(world, "environmentId", "env-other"),
        error: "CurrentKeyScopeMismatch",
    },
    Case {
        name: "a key that was deleted",
        arrange: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.delete_key_manually(&world.initial_key);
        },
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "a key that never existed",
        arrange: |world| edit(world, "apiKey", "NEVEREXISTED0000"),
        error: "CurrentKeyNotOfOwner",
    },
    Case {
        name: "a wrong API secret",
        arrange: |world| edit(world, "apiSecret", "a-guess"),
        error: "CurrentKeyNotAccepted",
    },
    Case {
        name: "an unreachable endpoint",
        arrange: |world| world.set_advertised_url(&world.simulator.unreachable_url()),
        error: "EndpointUnreachable",
    },
    Case {
        name: "an endpoint on a domain that is not allowed",
        arrange: |world| edit(world, "endpoint", "https://confluent.cloud.example"),
        error: "EndpointNotAllowed",
    },
    Case {
        name: "a lookup that returns an endpoint on a domain that is not allowed",
        arrange: |world| world.set_advertised_url("https://confluent.cloud.example"),
        error: "EndpointNotAllowed",
    },
    Case {
        name: "an endpoint with a path",
        arrange: |world| edit(world, "endpoint", "https://pkc-1.confluent.cloud/kafka"),
        error: "EndpointInvalid",
    },
    Case {
        name: "a resource that the management credentials have no permission to view",
        arrange: |world| world.grant_admin(&[Role::ResourceOwnerOf(OWNER.to_owned())]),
        error: "EndpointNotFound",
    },
    Case {
        name: "an environment that neither the secret nor Confluent names",
        arrange: |world| {
            world.change_value(|value| value["environmentId"] = Value::Null);
            let spec = json!({"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}});
            let key = json!({"id": world.initial_key, "spec": spec});
            let list = Response::json(200, &json!({"data": [key], "metadata": {"next": ""}}));
            world.simulator.respond_with(1, lists_keys, list);
        },
        error: "EnvironmentUnknown",
    },
    Case {
        name: "a resource of an unknown type",
        arrange: |world| edit(world, "resourceId", "pkc-orders"),
        error: "UnknownResource",
    },
    Case {
        name: "a binary value",
        arrange: |world| world.arn = world.simulator.add_binary_secret("bytes", b"\x00\x01"),
        error: "InvalidSecretValue",
    },
    Case {
        name: "a value that is not JSON",
        arrange: |world| {
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world
                .simulator
                .store_manually(&world.arn, "apiKey=K apiSecret=S");
        },
        error: "InvalidSecretValue",
    },
];

/// If the state is ambiguous, the rotation fails with an actionable error. It never guesses.
#[tokio::test]
async fn a_secret_that_does_not_match_confluent_is_rejected_before_a_key_is_created_or_deleted() {
    for Case {
        name,
        arrange,
        error: expected,
    } in CASES
    {
        let mut world = World::new(Setting::default()).await;
        arrange(&mut world);
        let keys = world.all_keys();

        let error = world.step_error("createSecret", name).await;

        assert_eq!(
            error.error_type, expected,
            "{name}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 0, "{name}");
        assert_eq!(world.count(deletes_a_key), 0, "{name}");
        assert_eq!(world.all_keys(), keys, "{name}");
    }
}

#[tokio::test]
async fn a_secret_that_names_another_applications_key_obtains_no_key_of_its_owner() {
    let world = World::new(Setting::default()).await;
    world.simulator.add_owner("sa-victim", &[]);
    let (id, _) = world
        .simulator
        .add_key("sa-victim", Some("lkc-orders"), Some(ENVIRONMENT));
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| {
        value["apiKey"] = json!(id);
        value["serviceAccountId"] = json!("sa-victim");
    });

    let error = world
        .step_error("createSecret", "the API secret is a guess")
        .await;

    assert_eq!(error.error_type, "CurrentKeyNotAccepted", "{error:?}");
    assert_eq!(world.count(creates_a_key), 0);
}

#[tokio::test]
async fn a_current_key_that_the_list_omits_is_read_by_its_id() {
    let world = World::new(Setting::default()).await;
    world.simulator.respond_with(1, lists_keys, empty_list());

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let read = format!("GET {API_KEYS}/{}", world.initial_key);
    assert!(world.requests().contains(&read));
}

#[tokio::test]
async fn a_secret_whose_key_was_deleted_is_recovered_with_current_key_check_off() {
    let mut world = World::new(Setting::default()).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.simulator.delete_key_manually(&world.initial_key);
    world.set_variable("CURRENT_KEY_CHECK", "off");

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    world.set_current_key_guarantee(CurrentKeyGuarantee::Accepted);
    world.set_variable("CURRENT_KEY_CHECK", "required");
    assert_eq!(
        world.rotate().await,
        Outcome::Succeeded,
        "the check is on again"
    );
}

/// Another tool, such as Terraform, may store a value whose key an earlier rotation deleted.
#[tokio::test]
async fn an_earlier_value_that_was_stored_again_is_recognized_by_the_key_of_aws_previous() {
    for policy in POLICIES {
        for rotations in [1, 2] {
            let world = World::new(Setting {
                policy,
                ..Setting::default()
            })
            .await;
            let earlier = world.value("AWSCURRENT").to_string();
            for _ in 0..rotations {
                assert_eq!(world.rotate().await, Outcome::Succeeded);
            }
            let replaced = world.key("AWSCURRENT").unwrap();
            world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
            world.simulator.store_manually(&world.arn, &earlier);
            let is_deleted = !world.all_keys().contains(&world.initial_key);
            let keys = world.all_keys();

            let outcome = world.step("createSecret").await;

            let case = (policy, rotations);
            if is_deleted {
                let error = outcome.unwrap_err();
                assert_eq!(error.error_type, "CurrentKeyNotOfOwner", "{case:?}");
                let message = &error.error_message;
                for part in [replaced.as_str(), "AWSPREVIOUS", "move AWSCURRENT"] {
                    assert!(message.contains(part), "{case:?}: {message}");
                }
                assert!(!message.contains("CURRENT_KEY_CHECK"), "{message}");
                assert_eq!(world.all_keys(), keys, "{case:?}");
                let report = world.preflight().await;
                let check = report
                    .checks
                    .iter()
                    .find(|check| check.name == "current-key");
                let observed = &check.unwrap().finding.observed;
                assert!(observed.contains(&replaced), "{case:?}: {observed}");
            } else {
                assert!(outcome.is_ok(), "{case:?}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_earlier_value_that_was_stored_again_is_recognized_under_self_rotation() {
    let world = World::new(Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        ..Setting::default()
    })
    .await;
    let earlier = world.value("AWSCURRENT").to_string();
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let replaced = world.key("AWSCURRENT").unwrap();
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.simulator.store_manually(&world.arn, &earlier);

    let error = world
        .step_error("createSecret", "an earlier value was stored")
        .await;

    assert_eq!(error.error_type, "ConfluentUnauthenticated", "{error:?}");
    let report = world.preflight().await;
    let mut checks = report.checks.iter();
    let access = checks.find(|check| check.name == "control-plane-access");
    let observed = &access.unwrap().finding.observed;
    for message in [&error.error_message, observed] {
        assert!(message.contains(&replaced), "{message}");
        assert!(message.contains("AWSPREVIOUS"), "{message}");
    }
    assert!(error.error_message.contains("move AWSCURRENT"), "{error:?}");
}
