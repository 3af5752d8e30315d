//! Who signs: the admin secret's key, from wherever it is named, or the secret's own.

use super::*;

/// A place in which an admin secret is named.
const PLACES: [&str; 4] = [
    "metadata",
    "adminSecretArn",
    "masterarn",
    "ADMIN_SECRET_ARN",
];

/// A world whose secret names no admin secret, and an admin secret with the id of its key.
async fn unnamed(kind: Kind) -> (World, String, String) {
    let mode = Mode::Own;
    let world = World::new(Setting {
        kind,
        mode,
        ..Setting::default()
    })
    .await;
    let (arn, key) = admin_secret(&world, "admin");
    (world, arn, key)
}

/// Adds an admin secret. Returns its ARN and the id of its key.
fn admin_secret(world: &World, name: &str) -> (String, String) {
    world.grant_admin(&[Role::OrganizationAdmin]);
    let key = world.simulator.add_key(ADMIN, None, None);
    (world.simulator.add_admin_secret(name, &key), key.0)
}

/// Gives an admin secret another key, and deletes the old one. Returns the id of the new one.
fn rotate_admin(world: &World, arn: &str) -> String {
    let (id, secret) = world.simulator.add_key(ADMIN, None, None);
    let old = world
        .simulator
        .state()
        .secret(arn)
        .value("AWSCURRENT")
        .map(str::to_owned);
    let old: Value = serde_json::from_str(&old.expect("an admin secret")).expect("JSON");
    world
        .simulator
        .put_by_hand(arn, &json!({"apiKey": id, "apiSecret": secret}).to_string());
    world
        .simulator
        .delete_key_by_hand(old["apiKey"].as_str().expect("a key's id"));
    id
}

impl World {
    /// Names an admin secret in one of the places.
    fn name(&mut self, place: &str, arn: &str) {
        match place {
            "metadata" => {
                self.simulator
                    .state()
                    .secret_mut(&self.arn)
                    .admin_secret_arn = Some(arn.to_owned());
            }
            "ADMIN_SECRET_ARN" => self.set(place, arn),
            field => self.edit(|value| value[field] = json!(arn)),
        }
    }

    /// The ids of the keys that signed requests to the API Keys API.
    fn signers(&self) -> BTreeSet<String> {
        let state = self.simulator.state();
        let requests = state.requests.iter();
        let of_api_keys = requests.filter(|request| request.target.starts_with(API_KEYS));
        of_api_keys
            .filter_map(|request| request.key_id.clone())
            .collect()
    }

    /// How many requests went to Confluent.
    fn asked_of_confluent(&self) -> usize {
        self.count(|request| request.plane != Plane::SecretsManager)
    }
}

#[tokio::test]
async fn the_admin_secrets_key_signs_wherever_the_secret_is_named() {
    for place in PLACES {
        let (mut world, admin, key) = unnamed(Kind::Kafka).await;
        world.name(place, &admin);

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{place}");
        assert_eq!(world.signers(), BTreeSet::from([key]), "{place}");
    }
}

#[tokio::test]
async fn an_admin_secret_may_be_named_in_several_places_if_they_agree() {
    let (mut world, admin, key) = unnamed(Kind::Kafka).await;
    for place in PLACES {
        world.name(place, &admin);
    }

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.signers(), BTreeSet::from([key]));
}

#[tokio::test]
async fn two_places_that_name_different_admin_secrets_are_refused() {
    for (nth, first) in PLACES.iter().enumerate() {
        for second in &PLACES[nth + 1..] {
            let (mut world, admin, _) = unnamed(Kind::Kafka).await;
            let (other, _) = admin_secret(&world, "other");
            world.name(first, &admin);
            world.name(second, &other);

            let error = world.refusal("createSecret", "they differ").await;

            // Within one value, it is the value that is wrong.
            let within = *first == "adminSecretArn" && *second == "masterarn";
            let expected = if within {
                "SecretValue"
            } else {
                "AdminSecretAmbiguous"
            };
            assert_eq!(
                error.error_type, expected,
                "{first}, {second}: {}",
                error.error_message
            );
            assert_eq!(world.asked_of_confluent(), 0, "{first}, {second}");
        }
    }
}

#[tokio::test]
async fn a_cloud_key_signs_for_itself_where_no_secret_or_the_secret_itself_is_named() {
    for place in [
        "nowhere",
        "metadata",
        "adminSecretArn",
        "masterarn",
        "ADMIN_SECRET_ARN",
    ] {
        let (mut world, _, _) = unnamed(Kind::Cloud).await;
        if place != "nowhere" {
            world.name(place, &world.arn.clone());
        }

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{place}");
        let current = world.key("AWSCURRENT").unwrap();
        let state = world.simulator.state();
        let signer_of = |matches: fn(&Request) -> bool| {
            let request = state.requests.iter().find(|request| matches(request));
            request.and_then(|request| request.key_id.clone())
        };
        assert_eq!(
            signer_of(makes_a_key).as_ref(),
            Some(&world.first_key),
            "{place}"
        );
        assert_eq!(signer_of(deletes_a_key), Some(current), "{place}");
    }
}

#[tokio::test]
async fn an_admin_key_that_is_replaced_between_two_steps_signs_no_more() {
    for nth in 1..STEPS.len() {
        let (mut world, admin, _) = unnamed(Kind::Kafka).await;
        world.name("metadata", &admin);
        world.pass(&STEPS[..nth]).await;
        world.requests();
        let fresh = rotate_admin(&world, &admin);

        world.pass(&STEPS[nth..]).await;

        assert_eq!(
            world.signers(),
            BTreeSet::from([fresh]),
            "before {}",
            STEPS[nth]
        );
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &STEPS[nth]);
    }
}

#[tokio::test]
async fn an_admin_key_that_is_replaced_during_a_step_is_read_once_more() {
    for matches in [lists_keys, makes_a_key] {
        let (mut world, admin, _) = unnamed(Kind::Kafka).await;
        world.name("metadata", &admin);
        let event = world
            .simulator
            .event(&world.arn, &world.token(), "createSecret");
        let hold = world.simulator.hold_requests(matches);
        let rotating = async {
            hold.arrived(1).await;
            rotate_admin(&world, &admin);
            hold.release();
        };

        let (outcome, ()) = tokio::join!(world.invoke(event), rotating);

        assert!(outcome.is_ok(), "{outcome:?}");
        let pending = world.key("AWSPENDING").unwrap();
        world.assert_keys(&[world.first_key.clone(), pending], &"one key was made");
    }
}

#[tokio::test]
async fn an_admin_key_that_is_refused_and_not_replaced_ends_the_step() {
    let (mut world, admin, key) = unnamed(Kind::Kafka).await;
    world.name("metadata", &admin);
    world.simulator.state().secret_mut(&admin).watch = Watch::Off;
    world.simulator.delete_key_by_hand(&key);

    let error = world.refusal("createSecret", "the admin key is dead").await;

    assert_eq!(
        error.error_type, "ConfluentUnauthenticated",
        "{}",
        error.error_message
    );
    assert_eq!(world.asked_of_confluent(), 2, "the list and the look-up");
}

#[tokio::test]
async fn a_fresh_admin_key_that_is_refused_too_ends_the_step() {
    let (mut world, admin, _) = unnamed(Kind::Kafka).await;
    world.name("metadata", &admin);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    world
        .simulator
        .answer(usize::MAX, lists_keys, Answer::confluent_unauthorized());
    let hold = world.simulator.hold_requests(lists_keys);
    let rotating = async {
        hold.arrived(1).await;
        rotate_admin(&world, &admin);
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.invoke(event), rotating);

    assert_eq!(outcome.unwrap_err().error_type, "ConfluentUnauthenticated");
    let lists = world.count(lists_keys);
    assert_eq!(lists, 2, "of {}", world.asked_of_confluent());
}

/// The list and the look-up go out together, and are refused together.
#[tokio::test]
async fn an_admin_key_that_is_refused_twice_at_once_is_read_once_more_for_both() {
    let (mut world, admin, _) = unnamed(Kind::Kafka).await;
    world.name("metadata", &admin);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    let hold = world.simulator.hold_requests(|request| {
        lists_keys(request) || request.target.starts_with("/cmk/v2/clusters")
    });
    let rotating = async {
        hold.arrived(2).await;
        rotate_admin(&world, &admin);
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.invoke(event), rotating);

    assert!(outcome.is_ok(), "{outcome:?}");
    // The pending, the current and the admin's value; and the admin's again.
    assert_eq!(world.count(is_operation("GetSecretValue")), 4);
}

#[tokio::test]
async fn an_own_key_that_is_refused_is_not_tried_again() {
    let (world, _, _) = unnamed(Kind::Cloud).await;
    world.watch(Watch::Off);
    world.edit(|value| value["apiSecret"] = json!("a guess"));

    let error = world.refusal("createSecret", "it cannot sign").await;

    assert_eq!(
        error.error_type, "ConfluentUnauthenticated",
        "{}",
        error.error_message
    );
    assert_eq!(world.asked_of_confluent(), 1);
}

#[tokio::test]
async fn an_admin_secret_that_cannot_be_used_is_named() {
    let missing = "arn:aws:secretsmanager:us-east-1:123456789012:secret:missing-AbCdEf";
    let (mut world, _, _) = unnamed(Kind::Kafka).await;
    let simulator = &world.simulator;
    let words = simulator.add_secret("words", "{\"note\": \"no key\"}");
    let bytes = simulator.add_binary_secret("bytes", b"\x00\x01");
    simulator.state().secret_mut(&words).watch = Watch::Off;
    for (admin, error_type) in [
        (missing, "SecretsManagerRefused"),
        (words.as_str(), "AdminSecretValue"),
        (bytes.as_str(), "SecretValue"),
    ] {
        world.name("metadata", admin);

        let error = world.refusal("createSecret", admin).await;

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
        assert_eq!(world.asked_of_confluent(), 0, "{admin}");
    }
}

#[tokio::test]
async fn an_admin_secret_that_may_not_be_read_is_named() {
    let (mut world, admin, _) = unnamed(Kind::Kafka).await;
    world.name("metadata", &admin);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    // The first two reads are of the secret itself.
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let third_read = move |request: &Request| {
        is_operation("GetSecretValue")(request)
            && reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2
    };
    world
        .simulator
        .answer(1, third_read, Answer::aws_access_denied("GetSecretValue"));

    let error = world.invoke(event).await.unwrap_err();

    assert_eq!(
        error.error_type, "SecretsManagerRefused",
        "{}",
        error.error_message
    );
    assert!(
        error.error_message.contains(&admin),
        "{}",
        error.error_message
    );
    assert_eq!(world.asked_of_confluent(), 0);
}
