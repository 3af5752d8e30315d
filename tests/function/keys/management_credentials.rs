//! The management credentials: the key of the admin secret, which three places may name, or the secret's own key.

use std::collections::BTreeSet;

use confluent_key_rotation::preflight;

use super::*;
use key_types::resource_scoped;

/// The places that may name an admin secret, with both names of the field in the secret value.
const PLACES: [&str; 4] = [
    "metadata",
    "adminSecretArn",
    "masterarn",
    "ADMIN_SECRET_ARN",
];

/// Creates a world whose secret names no admin secret, and an admin secret. Returns its ARN and the ID of its key.
async fn with_admin_secret(key_type: KeyType) -> (World, String, String) {
    let mode = Mode::SelfRotation;
    let world = World::new(Setting {
        key_type,
        mode,
        ..Setting::default()
    })
    .await;
    let (arn, key) = add_admin_secret(&world, "admin");
    (world, arn, key)
}

/// Adds an admin secret. Returns its ARN and the ID of its key.
fn add_admin_secret(world: &World, name: &str) -> (String, String) {
    world.grant_admin(&[Role::OrganizationAdmin]);
    let key = world.simulator.add_key(ADMIN, None, None);
    (world.simulator.add_admin_secret(name, &key), key.0)
}

/// Replaces the key of an admin secret and deletes the previous one. Returns the ID of the new one.
fn replace_admin_key(world: &World, arn: &str) -> String {
    let (id, secret) = world.simulator.add_key(ADMIN, None, None);
    let previous = world
        .simulator
        .state()
        .secret(arn)
        .value("AWSCURRENT")
        .map(str::to_owned);
    let previous: Value = serde_json::from_str(&previous.expect("an admin secret")).expect("JSON");
    world
        .simulator
        .store_manually(arn, &json!({"apiKey": id, "apiSecret": secret}).to_string());
    world
        .simulator
        .delete_key_manually(previous["apiKey"].as_str().expect("a key ID"));
    id
}

impl World {
    /// Names an admin secret in one of [`PLACES`].
    fn name_admin_secret(&mut self, place: &str, arn: &str) {
        match place {
            "metadata" => {
                self.simulator
                    .state()
                    .secret_mut(&self.arn)
                    .admin_secret_arn = Some(arn.to_owned());
            }
            "ADMIN_SECRET_ARN" => self.set_variable(place, arn),
            field => self.change_value(|value| value[field] = json!(arn)),
        }
    }

    /// Returns the IDs of the keys that authenticated requests to the API Keys API.
    fn management_keys(&self) -> BTreeSet<String> {
        let state = self.simulator.state();
        let requests = state.requests.iter();
        let of_api_keys = requests.filter(|request| request.target.starts_with(API_KEYS));
        of_api_keys
            .filter_map(|request| request.key_id.clone())
            .collect()
    }

    /// Returns the number of requests to Confluent.
    fn confluent_requests(&self) -> usize {
        self.count(is_to_confluent)
    }
}

#[tokio::test]
async fn the_admin_key_authenticates_whichever_place_names_the_admin_secret() {
    for place in PLACES {
        let (mut world, admin, key) = with_admin_secret(KeyType::Kafka).await;
        world.name_admin_secret(place, &admin);

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{place}");
        assert_eq!(world.management_keys(), BTreeSet::from([key]), "{place}");
    }
}

#[tokio::test]
async fn several_places_may_name_the_same_admin_secret() {
    let (mut world, admin, key) = with_admin_secret(KeyType::Kafka).await;
    for place in PLACES {
        world.name_admin_secret(place, &admin);
    }

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.management_keys(), BTreeSet::from([key]));
}

#[tokio::test]
async fn two_places_that_name_different_admin_secrets_are_an_error() {
    for (nth, first) in PLACES.iter().enumerate() {
        for second in &PLACES[nth + 1..] {
            let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
            let (other, _) = add_admin_secret(&world, "other");
            world.name_admin_secret(first, &admin);
            world.name_admin_secret(second, &other);

            let error = world.step_error("createSecret", "two admin secrets").await;

            // If one value names both, the value is invalid.
            let is_same_value = *first == "adminSecretArn" && *second == "masterarn";
            let expected = if is_same_value {
                "InvalidSecretValue"
            } else {
                "AdminSecretConflict"
            };
            assert_eq!(
                error.error_type, expected,
                "{first}, {second}: {}",
                error.error_message
            );
            assert_eq!(world.confluent_requests(), 0, "{first}, {second}");
        }
    }
}

#[tokio::test]
async fn a_partial_arn_is_an_error_whichever_field_of_the_secret_contains_it() {
    for (place, error_type) in [
        ("metadata", "InvalidAdminSecretArn"),
        ("adminSecretArn", "InvalidSecretValue"),
        ("masterarn", "InvalidSecretValue"),
    ] {
        for partial in ["admin", "admin-AbCdE", "admin-??????", "admin-AbCdEfG"] {
            let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
            let (start, _) = admin.rsplit_once(':').unwrap();
            world.name_admin_secret(place, &format!("{start}:{partial}"));

            let error = world.step_error("createSecret", partial).await;

            assert_eq!(error.error_type, error_type, "{place}: {partial}");
            let message = error.error_message;
            let reason = "is not the complete ARN of a secret, with the hyphen and the six random characters at its end. Copy it \
                          from DescribeSecret of the admin secret";
            assert!(message.ends_with(reason), "{message}");
            assert_eq!(world.confluent_requests(), 0, "{place}: {partial}");
        }
    }
}

#[tokio::test]
async fn a_cloud_api_key_rotates_itself_if_no_secret_or_the_secret_itself_is_named() {
    for place in [
        "nowhere",
        "metadata",
        "adminSecretArn",
        "masterarn",
        "ADMIN_SECRET_ARN",
    ] {
        let (mut world, _, _) = with_admin_secret(KeyType::Cloud).await;
        if place != "nowhere" {
            world.name_admin_secret(place, &world.arn.clone());
        }

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{place}");
        let current = world.key("AWSCURRENT").unwrap();
        let state = world.simulator.state();
        let key_of = |matches: fn(&Request) -> bool| {
            let request = state.requests.iter().find(|request| matches(request));
            request.and_then(|request| request.key_id.clone())
        };
        assert_eq!(
            key_of(creates_a_key).as_ref(),
            Some(&world.initial_key),
            "{place}"
        );
        assert_eq!(key_of(deletes_a_key), Some(current), "{place}");
    }
}

/// Asserts that createSecret and a preflight fail with this part of a message and this remedy before they send a request to
/// Confluent.
async fn assert_admin_secret_required(world: &World, part: &str, remedy: &str) {
    let error = world.step_error("createSecret", part).await;

    assert_eq!(error.error_type, "AdminSecretRequired", "{error:?}");
    let message = error.error_message;
    assert!(message.contains(part), "{part} in {message}");
    assert!(message.ends_with(&format!(". {remedy}")), "{message}");
    let report = world.preflight().await;
    let mut checks = report.checks.iter();
    let check = checks.find(|check| check.name == "management-credentials");
    let finding = &check.unwrap().finding;
    assert_eq!(finding.outcome, preflight::Outcome::Failed);
    assert!(finding.observed.contains(part), "{finding:?}");
    assert_eq!(finding.remedy.as_deref(), Some(remedy));
    assert_eq!(world.confluent_requests(), 0, "{part}");
}

#[tokio::test]
async fn a_secret_with_a_resource_scoped_api_key_that_names_itself_must_name_another_admin_secret()
{
    for key_type in resource_scoped() {
        for (place, name) in PLACES.into_iter().zip([
            "the rotation metadata",
            "adminSecretArn or masterarn in the secret",
            "adminSecretArn or masterarn in the secret",
            "ADMIN_SECRET_ARN",
        ]) {
            let (mut world, _, _) = with_admin_secret(key_type).await;
            world.name_admin_secret(place, &world.arn.clone());

            let part = format!(
                "which cannot authenticate to the control plane of Confluent Cloud, and {name} names the secret itself as its \
                 admin secret"
            );
            let remedy = "Name another admin secret, with a Cloud API key: in the template parameter AdminSecretArn, or in \
                          adminSecretArn of the secret and in OtherAdminSecretArns";
            assert_admin_secret_required(&world, &part, remedy).await;
        }
    }
}

#[tokio::test]
async fn an_admin_secret_with_the_resource_scoped_api_key_of_the_secret_must_contain_another_key() {
    for key_type in resource_scoped() {
        for place in PLACES {
            let (mut world, _, _) = with_admin_secret(key_type).await;
            let key = world.current_key(&world.arn);
            let admin = world.simulator.add_admin_secret("same", &key);
            world.name_admin_secret(place, &admin);

            let part = "which cannot authenticate to the control plane of Confluent Cloud, and the admin secret contains the \
                        same key";
            let remedy = "Name an admin secret with a Cloud API key (template parameter AdminSecretArn), or store a Cloud API \
                          key in the one that is named";
            assert_admin_secret_required(&world, part, remedy).await;
        }
    }
}

#[tokio::test]
async fn an_admin_key_that_was_replaced_between_two_steps_no_longer_authenticates() {
    for nth in 1..STEPS.len() {
        let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
        world.name_admin_secret("metadata", &admin);
        world.run_steps(&STEPS[..nth]).await;
        world.requests();
        let replacement = replace_admin_key(&world, &admin);

        world.run_steps(&STEPS[nth..]).await;

        assert_eq!(
            world.management_keys(),
            BTreeSet::from([replacement]),
            "before {}",
            STEPS[nth]
        );
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &STEPS[nth]);
    }
}

#[tokio::test]
async fn an_admin_key_that_is_replaced_during_a_step_is_read_once_more() {
    for matches in [lists_keys, creates_a_key] {
        let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
        world.name_admin_secret("metadata", &admin);
        let event = world
            .simulator
            .event(&world.arn, &world.token(), "createSecret");
        let hold = world.simulator.hold_requests(matches);
        let replacing = async {
            hold.arrived(1).await;
            replace_admin_key(&world, &admin);
            hold.release();
        };

        let (outcome, ()) = tokio::join!(world.invoke(event), replacing);

        assert!(outcome.is_ok(), "{outcome:?}");
        let pending = world.key("AWSPENDING").unwrap();
        world.assert_keys(
            &[world.initial_key.clone(), pending],
            &"one key was created",
        );
        // The pending, the current and the admin secret's value, and the admin secret's again.
        assert_eq!(world.count(is_operation("GetSecretValue")), 4);
    }
}

#[tokio::test]
async fn a_rollback_before_a_deletion_is_sent_with_the_new_admin_key_prevents_it() {
    let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
    world.name_admin_secret("metadata", &admin);
    let current = world.version("AWSCURRENT").unwrap();
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let interfering = async || {
        replace_admin_key(&world, &admin);
        world.make_current(&current);
    };

    let finished = world
        .step_while("finishSecret", deletes_a_key, interfering)
        .await;

    assert!(finished.is_ok(), "{finished:?}");
    assert!(world.all_keys().contains(&world.initial_key));
    assert_eq!(world.count(deletes_a_key), 1, "it was rejected with 401");
}

#[tokio::test]
async fn a_rejected_admin_key_that_was_not_replaced_is_an_error() {
    let (mut world, admin, key) = with_admin_secret(KeyType::Kafka).await;
    world.name_admin_secret("metadata", &admin);
    world
        .simulator
        .state()
        .secret_mut(&admin)
        .current_key_guarantee = CurrentKeyGuarantee::Off;
    world.simulator.delete_key_manually(&key);

    let error = world
        .step_error("createSecret", "the admin key was deleted")
        .await;

    assert_eq!(error.error_type, "ConfluentUnauthenticated", "{error:?}");
    assert_eq!(world.confluent_requests(), 1, "the list");
}

#[tokio::test]
async fn a_replaced_admin_key_that_is_rejected_too_is_an_error() {
    let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
    world.name_admin_secret("metadata", &admin);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    world
        .simulator
        .respond_with(usize::MAX, lists_keys, Response::confluent_unauthorized());
    let hold = world.simulator.hold_requests(lists_keys);
    let replacing = async {
        hold.arrived(1).await;
        replace_admin_key(&world, &admin);
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.invoke(event), replacing);

    assert_eq!(outcome.unwrap_err().error_type, "ConfluentUnauthenticated");
    assert_eq!(world.count(lists_keys), 2);
}

#[tokio::test]
async fn a_rejected_own_key_is_not_retried() {
    let (world, _, _) = with_admin_secret(KeyType::Cloud).await;
    world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
    world.change_value(|value| value["apiSecret"] = json!("a-guess"));

    let error = world
        .step_error("createSecret", "the key is rejected")
        .await;

    assert_eq!(error.error_type, "ConfluentUnauthenticated", "{error:?}");
    assert_eq!(world.confluent_requests(), 1);
}

#[tokio::test]
async fn an_invalid_admin_secret_is_named_in_the_error() {
    let missing = "arn:aws:secretsmanager:us-east-1:123456789012:secret:missing-AbCdEf";
    let (mut world, _, _) = with_admin_secret(KeyType::Kafka).await;
    let simulator = &world.simulator;
    let without_key = simulator.add_secret("without-key", "{\"note\": \"no key\"}");
    let binary = simulator.add_binary_secret("binary", b"\x00\x01");
    simulator
        .state()
        .secret_mut(&without_key)
        .current_key_guarantee = CurrentKeyGuarantee::Off;
    for (admin, error_type) in [
        (missing, "SecretsManagerRejected"),
        (without_key.as_str(), "InvalidAdminSecretValue"),
        (binary.as_str(), "InvalidAdminSecretValue"),
    ] {
        world.name_admin_secret("metadata", admin);

        let error = world.step_error("createSecret", admin).await;

        assert_eq!(
            error.error_type, error_type,
            "{admin}: {}",
            error.error_message
        );
        assert!(
            error.error_message.contains(admin),
            "{}",
            error.error_message
        );
        assert_eq!(world.confluent_requests(), 0, "{admin}");
    }
}

#[tokio::test]
async fn an_admin_secret_that_the_function_has_no_permission_to_read_is_named_in_the_error() {
    let (mut world, admin, _) = with_admin_secret(KeyType::Kafka).await;
    world.name_admin_secret("metadata", &admin);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    // The first two reads are of the secret's own versions.
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let third_read = move |request: &Request| {
        is_operation("GetSecretValue")(request)
            && reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2
    };
    world
        .simulator
        .respond_with(1, third_read, Response::aws_access_denied("GetSecretValue"));

    let error = world.invoke(event).await.unwrap_err();

    assert_eq!(error.error_type, "SecretsManagerRejected", "{error:?}");
    assert!(
        error.error_message.contains(&admin),
        "{}",
        error.error_message
    );
    assert_eq!(world.confluent_requests(), 0);
}

/// Stores `key` in the admin secret, and deletes the earlier admin key.
fn rotate_admin_secret_to(world: &World, admin: &str, key: &(String, String)) {
    let earlier = world.simulator.state().secret(admin).key("AWSCURRENT");
    world.simulator.replace_key_manually(admin, key);
    let (earlier, _) = earlier.expect("an admin key");
    world.simulator.delete_key_manually(&earlier);
}

#[tokio::test]
async fn a_current_key_that_becomes_the_admin_key_fails_before_a_key_is_created() {
    let (mut world, admin, _) = with_admin_secret(KeyType::Cloud).await;
    world.name_admin_secret("metadata", &admin);
    world.grant_admin(&[Role::OrganizationAdmin]);
    let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");
    let key = key.unwrap();
    let change = async || rotate_admin_secret_to(&world, &admin, &key);

    let outcome = world.step_while("createSecret", lists_keys, change).await;

    let error = outcome.unwrap_err();
    assert_eq!(error.error_type, "CurrentKeyIsAdminKey", "{error:?}");
    assert_eq!(world.count(creates_a_key), 0);
}

#[tokio::test]
async fn a_key_that_becomes_the_admin_key_during_its_deletion_is_kept() {
    let (mut world, admin, _) = with_admin_secret(KeyType::Cloud).await;
    world.name_admin_secret("metadata", &admin);
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let key = world.simulator.state().secret(&world.arn).key("AWSCURRENT");
    let key = key.unwrap();
    let change = async || rotate_admin_secret_to(&world, &admin, &key);

    let _ = world
        .step_while("finishSecret", deletes_a_key, change)
        .await;

    assert!(world.all_keys().contains(&key.0));
    // The first DELETE was sent with the earlier admin key.
    world.simulator.state().violations.clear();
}
