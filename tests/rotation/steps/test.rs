//! `testSecret`: when a key counts as proven, and what is said when it does not.

use simulator::{Endpoints, Verdict};

use super::*;

/// What is left of this for trying a key is one second: the rest is kept for what comes after.
const SHORT: Duration = Duration::from_secs(12);

/// A world whose new key is staged.
async fn staged(setting: Setting) -> World {
    let world = World::new(setting).await;
    world.pass(&["createSecret", "setSecret"]).await;
    world.requests();
    world
}

/// A pattern of answers that goes on for longer than anybody tries.
fn for_ever(status: u16) -> Vec<u16> {
    vec![status; 10_000]
}

impl World {
    /// The statuses that a data plane gave to a key, in their order.
    fn statuses(&self, key: &str) -> Vec<u16> {
        let state = self.simulator.state();
        let probes = state.requests.iter().filter(|request| is_probe(request));
        let of_key = probes.filter(|request| request.key_id.as_deref() == Some(key));
        of_key.filter_map(|request| request.status).collect()
    }

    /// Runs `testSecret` alone, on a copy of the current value, as `RotateImmediately=false` does.
    pub(super) async fn test_only(&self) -> Outcome {
        let invoke = async |event| self.invoke(event).await.map_err(|error| error.error_type);
        self.simulator.test_only(&self.arn, &invoke).await
    }
}

/// `AWSCURRENT` names a key that opens its resource, at every moment.
#[tokio::test]
async fn a_key_is_proven_by_three_successes_in_a_row_however_it_settles() {
    for settling in [
        vec![],
        vec![401; 8],
        vec![200, 401],
        vec![200, 200, 401, 200, 401, 401],
        vec![403, 401, 200, 403],
        vec![503, 200, 200, 404],
    ] {
        let world = World::new(Setting::default()).await;
        world.simulator.state().knobs.settling.clone_from(&settling);
        world.pass(&["createSecret", "setSecret"]).await;

        world.pass(&["testSecret"]).await;

        let statuses = world.statuses(&world.key("AWSPENDING").unwrap());
        let expected: Vec<u16> = settling.iter().copied().chain([200; 3]).collect();
        assert_eq!(statuses, expected);
    }
}

#[tokio::test]
async fn a_key_that_may_do_as_little_as_the_current_one_is_proven() {
    for kind in [
        Kind::Kafka,
        Kind::SchemaRegistry,
        Kind::KsqlDb,
        Kind::Flink,
        Kind::Global,
        Kind::Tableflow,
    ] {
        let world = World::new(Setting {
            kind,
            ..Setting::default()
        })
        .await;
        let resource = resource_id(kind).unwrap();
        let forbidden = |id: String| (id, Verdict::Forbidden);
        world.simulator.state().knobs.verdicts = [resource.to_owned(), resource.to_lowercase()]
            .map(forbidden)
            .into();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{kind:?}");
    }
}

/// An endpoint that gives no proof: what it answers to the new key, and what is said of it.
struct NoProof {
    case: &'static str,
    answer: Answer,
    error: &'static str,
    says: &'static str,
}

#[tokio::test]
async fn an_answer_that_proves_nothing_is_reported_with_how_long_it_was_seen() {
    let page = "<html>Welcome</html>";
    let forbidden = json!({"error_code": 40301, "message": "Request is not authorized"});
    for NoProof {
        case,
        answer,
        error: expected,
        says,
    } in [
        NoProof {
            case: "refused",
            answer: Answer::json(
                401,
                &json!({"error_code": 40101, "message": "Authentication failed"}),
            ),
            error: "NewKeyNotAccepted",
            says: "401",
        },
        NoProof {
            case: "forbidden, as the current key is not",
            answer: Answer::json(403, &forbidden),
            error: "NewKeyNotAuthorised",
            says: "403",
        },
        NoProof {
            case: "a page that greets everybody",
            answer: Answer::new(200, "text/html", page),
            error: "NewKeyNotAccepted",
            says: "status 200 without JSON",
        },
        NoProof {
            case: "nothing at all",
            answer: Answer::empty(204),
            error: "NewKeyNotAccepted",
            says: "status 204 without JSON",
        },
        NoProof {
            case: "a fault of the endpoint's",
            answer: Answer::json(500, &json!({"error_code": 50001, "message": "Broken"})),
            error: "NewKeyNotAccepted",
            says: "status 500",
        },
        NoProof {
            case: "no such path",
            answer: Answer::new(404, "text/html", page),
            error: "NewKeyNotAccepted",
            says: "status 404",
        },
    ] {
        let mut world = staged(Setting::default()).await;
        let pending = world.key("AWSPENDING").unwrap();
        let key = pending.clone();
        let of_new_key =
            move |request: &Request| is_probe(request) && request.key_id.as_ref() == Some(&key);
        world.simulator.answer(usize::MAX, of_new_key, answer);
        world.time_limit = SHORT;
        let keys = world.all_keys();

        let error = world.refusal("testSecret", case).await;

        let text = &error.error_message;
        assert_eq!(error.error_type, expected, "{case}: {text}");
        assert!(
            text.contains(says) && text.contains(&pending),
            "{case}: {text}"
        );
        assert!(text.contains(" tries in 0 seconds"), "{case}: {text}");
        assert_eq!(world.all_keys(), keys, "{case}");
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{case}");
    }
}

#[tokio::test]
async fn a_redirection_is_no_proof_and_is_not_followed() {
    let mut world = staged(Setting::default()).await;
    let elsewhere = format!("{}/org/v2/environments", world.simulator.confluent_url());
    world
        .simulator
        .answer(usize::MAX, is_probe, Answer::redirect(&elsewhere));
    world.time_limit = SHORT;

    let error = world.refusal("testSecret", "a redirection").await;

    assert_eq!(
        error.error_type, "NewKeyNotAccepted",
        "{}",
        error.error_message
    );
    assert!(
        error.error_message.contains("302"),
        "{}",
        error.error_message
    );
    assert!(
        !world
            .requests()
            .iter()
            .any(|request| request.ends_with("/org/v2/environments"))
    );
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_named_as_that() {
    let mut world = staged(Setting::default()).await;
    world.advertise(&world.simulator.unreachable_url());
    world.time_limit = SHORT;

    let error = world.refusal("testSecret", "nobody listens").await;

    assert_eq!(
        error.error_type, "EndpointUnreachable",
        "{}",
        error.error_message
    );
    assert!(
        error.error_message.contains("KEY_VERIFICATION"),
        "{}",
        error.error_message
    );
}

#[tokio::test]
async fn best_effort_lets_an_endpoint_that_cannot_be_reached_pass_with_a_warning() {
    let mut world = World::new(Setting::default()).await;
    world.advertise(&world.simulator.unreachable_url());
    world.set("KEY_VERIFICATION", "best-effort");

    let (outcome, lines) = logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    for step in ["createSecret", "testSecret"] {
        let is_said = |line: &Value| {
            line["level"] == "WARN" && line["step"] == step && line["host"] == "127.0.0.1"
        };
        assert!(lines.iter().any(is_said), "{step}: {lines:#?}");
    }
}

#[tokio::test]
async fn best_effort_still_fails_on_a_key_that_is_refused() {
    let mut world = World::new(Setting::default()).await;
    world.simulator.state().knobs.settling = for_ever(401);
    world.set("KEY_VERIFICATION", "best-effort");
    world.pass(&["createSecret"]).await;
    world.time_limit = SHORT;

    let error = world.refusal("testSecret", "the key is refused").await;

    assert_eq!(
        error.error_type, "NewKeyNotAccepted",
        "{}",
        error.error_message
    );
}

#[tokio::test]
async fn control_plane_sends_no_credential_to_a_data_plane() {
    let mut world = World::new(Setting::default()).await;
    world.set("KEY_VERIFICATION", "control-plane");

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.count(is_probe), 0);
    assert_eq!(
        world.count(|request| request.target.starts_with("/cmk/")),
        0
    );
}

#[tokio::test]
async fn control_plane_refuses_a_pending_key_that_is_not_what_it_was_made_for() {
    let cases: [(&str, ArrangeFor, &str); 3] = [
        (
            "another owner's",
            |world, key| {
                world.simulator.state().keys.get_mut(key).unwrap().owner = Some(ADMIN.to_owned());
            },
            "NewKeyOfOtherResource",
        ),
        (
            "another resource's",
            |world, key| {
                world.simulator.state().keys.get_mut(key).unwrap().resource =
                    "lkc-other".to_owned();
            },
            "NewKeyOfOtherResource",
        ),
        (
            "one that cannot be seen",
            |world, _| world.grant_admin(&[]),
            "NewKeyNotListed",
        ),
    ];
    for (case, arrange, error_type) in cases {
        let mut world = staged(Setting::default()).await;
        world.set("KEY_VERIFICATION", "control-plane");
        world.time_limit = Duration::from_millis(11_300);
        arrange(&world, &world.key("AWSPENDING").unwrap());

        let error = world.refusal("testSecret", case).await;

        assert_eq!(
            error.error_type, error_type,
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{case}");
    }
}

#[tokio::test]
async fn a_pending_key_that_somebody_deleted_makes_room_for_another_rotation() {
    for verification in ["required", "best-effort", "control-plane"] {
        let mut world = staged(Setting::default()).await;
        world.set("KEY_VERIFICATION", verification);
        let dead = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_by_hand(&dead);
        world.time_limit = SHORT;

        let error = world.refusal("testSecret", verification).await;

        assert_eq!(
            error.error_type, "NewKeyDeleted",
            "{verification}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), None, "{verification}");
        world.time_limit = AMPLE;
        assert_eq!(world.rotate().await, Outcome::Succeeded, "{verification}");
        let current = world.key("AWSCURRENT").unwrap();
        world.assert_keys(&[current], &verification);
    }
}

#[tokio::test]
async fn a_pending_key_of_which_too_little_is_seen_is_not_taken_for_deleted() {
    let cases: [(&str, Arrange); 3] = [
        ("the list shows neither key", |world| {
            world
                .simulator
                .delete_key_by_hand(&world.key("AWSPENDING").unwrap());
            world.grant_admin(&[Role::Operator]);
        }),
        (
            "the list is late, and the key is found by its id",
            |world| {
                let pending = world.key("AWSPENDING").unwrap();
                let mut state = world.simulator.state();
                state.keys.get_mut(&pending).unwrap().settling = for_ever(401).into();
                let spec = json!({"owner": {"id": OWNER}, "resource": {"id": "lkc-orders"}});
                let list = json!({"data": [{"id": world.first_key, "spec": spec}], "metadata": {"next": ""}});
                drop(state);
                world
                    .simulator
                    .answer(usize::MAX, lists_keys, Answer::json(200, &list));
            },
        ),
        ("the list is refused", |world| {
            world
                .simulator
                .delete_key_by_hand(&world.key("AWSPENDING").unwrap());
            let refusal = Answer::confluent_error(400, None, "", "Not today");
            world.simulator.answer(usize::MAX, lists_keys, refusal);
        }),
    ];
    for (case, arrange) in cases {
        let mut world = staged(Setting::default()).await;
        arrange(&world);
        world.time_limit = SHORT;

        let error = world.refusal("testSecret", case).await;

        assert_eq!(
            error.error_type, "NewKeyNotAccepted",
            "{case}: {}",
            error.error_message
        );
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{case}");
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
#[tokio::test]
async fn a_test_without_a_rotation_only_tries_the_current_key() {
    for verification in ["required", "best-effort", "control-plane"] {
        let mut world = World::new(Setting::default()).await;
        world.set("KEY_VERIFICATION", verification);
        let (keys, before) = (world.all_keys(), world.version("AWSCURRENT"));

        let outcome = world.test_only().await;

        assert_eq!(outcome, Outcome::Succeeded, "{verification}");
        assert_eq!(
            (world.all_keys(), world.version("AWSCURRENT")),
            (keys, before),
            "{verification}"
        );
        assert_eq!(
            world.count(makes_a_key) + world.count(deletes_a_key),
            0,
            "{verification}"
        );
        assert_eq!(
            world.count(is_operation("UpdateSecretVersionStage")),
            0,
            "{verification}"
        );
        assert_eq!(
            world.count(is_operation("PutSecretValue")),
            0,
            "{verification}"
        );
    }
}

#[tokio::test]
async fn a_test_without_a_rotation_fails_on_a_dead_key_and_moves_no_label() {
    for (verification, error) in [
        ("required", "NewKeyNotAccepted"),
        ("control-plane", "NewKeyNotListed"),
    ] {
        let mut world = World::new(Setting::default()).await;
        world.set("KEY_VERIFICATION", verification);
        world.watch(Watch::Off);
        world.simulator.delete_key_by_hand(&world.first_key);
        let before = world.version("AWSCURRENT");
        world.time_limit = SHORT;

        let outcome = world.test_only().await;

        let failed = Outcome::Failed {
            step: "testSecret",
            error: error.to_owned(),
        };
        assert_eq!(outcome, failed, "{verification}");
        assert_eq!(
            world.count(is_operation("UpdateSecretVersionStage")),
            0,
            "{verification}"
        );
        assert_eq!(world.version("AWSCURRENT"), before, "{verification}");
    }
}

#[tokio::test]
async fn an_endpoint_in_the_secret_takes_the_place_of_the_look_up() {
    let world = World::new(Setting::default()).await;
    let url = world.simulator.state().resources["lkc-orders"].url.clone();
    world.edit(|value| value["endpoint"] = json!(url));
    world.grant_admin(&[Role::ResourceOwnerOf(OWNER.to_owned())]);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(
        world.count(|request| request.target.starts_with("/cmk/")),
        0
    );
    assert!(world.count(is_probe) > 0);
}

#[tokio::test]
async fn an_endpoint_is_found_wherever_the_control_plane_names_it() {
    for kind in [Kind::Kafka, Kind::SchemaRegistry] {
        for case in [
            "deprecated",
            "PRIVATE_LINK",
            "PRIVATELINK",
            "PRIVATE_NETWORK_INTERFACE",
            "private and public",
        ] {
            let world = World::new(Setting {
                kind,
                ..Setting::default()
            })
            .await;
            let endpoints = match case {
                "deprecated" => Endpoints::Deprecated,
                "private and public" => Endpoints::PrivateAndPublic {
                    connection_type: "PRIVATE_LINK".to_owned(),
                    private_url: world.simulator.unreachable_url(),
                },
                spelling => Endpoints::Private(spelling.to_owned()),
            };
            let set = |resource: &mut simulator::Resource| resource.endpoints = endpoints;
            set(world
                .simulator
                .state()
                .resources
                .get_mut(resource_id(kind).unwrap())
                .unwrap());

            let outcome = world.rotate().await;

            assert_eq!(outcome, Outcome::Succeeded, "{kind:?}, {case}");
            assert!(world.count(is_probe) > 0, "{kind:?}, {case}");
        }
    }
}
