//! Where a key is tried, and what the trial shows.

use confluent_key_rotation::confluent::{Error, Target, Verdict};
use confluent_key_rotation::refusal::Meaning;
use confluent_key_rotation::resource::{Endpoint, LookUp};
use simulator::Endpoints;

use super::*;

/// The kinds whose endpoint is looked up.
const LOOKED_UP: [Kind; 4] = [Kind::Kafka, Kind::SchemaRegistry, Kind::KsqlDb, Kind::Flink];

fn look_up(resource: &Resource) -> &'static LookUp {
    match &resource.kind.endpoint {
        Endpoint::LookUp(look_up) => look_up,
        Endpoint::ControlPlane => panic!("{} is not looked up", resource.kind.name),
    }
}

impl World {
    async fn find(&self, signer: &ApiKey, kind: Kind, environment: &str) -> Result<String, Error> {
        let resource = resource(kind);
        let look_up = look_up(&resource);
        self.confluent()
            .endpoint(signer, look_up, &resource.id, environment)
            .await
    }

    /// The listener of the kind's resource.
    fn endpoint(&self, kind: Kind) -> Url {
        let state = self.simulator.state();
        let resource = state.resources.get(resource_id(kind).unwrap_or_default());
        let url = resource.map_or(self.function.config.confluent_url.to_string(), |resource| {
            resource.url.clone()
        });
        Url::parse(&url).unwrap()
    }

    /// What trying `key` shows at `endpoint`.
    async fn tried_at(&self, key: &ApiKey, kind: Kind, endpoint: Url) -> Verdict {
        let target = Target {
            resource: &resource(kind),
            endpoint,
            environment: ENVIRONMENT.to_owned(),
            organization: self.simulator.state().organization.clone(),
            given: false,
        };
        let confluent = self.confluent();
        let tried = confluent.try_key(key, &target, Deadline::after(AMPLE));
        tried.await.unwrap()
    }

    async fn tried(&self, key: &ApiKey, kind: Kind) -> Verdict {
        self.tried_at(key, kind, self.endpoint(kind)).await
    }
}

#[tokio::test]
async fn an_endpoint_is_found_wherever_the_control_plane_names_it() {
    let both = Endpoints::PrivateAndPublic {
        connection_type: "PRIVATE_LINK".to_owned(),
        private_url: "https://private.example".to_owned(),
    };
    for kind in LOOKED_UP {
        let world = world_of(kind).await;
        let signer = world.admin_key();
        for endpoints in [
            Endpoints::Public,
            Endpoints::Deprecated,
            Endpoints::Private("PRIVATE_LINK".to_owned()),
            Endpoints::Private("PRIVATELINK".to_owned()),
            both.clone(),
        ] {
            for resource in world.simulator.state().resources.values_mut() {
                resource.endpoints = endpoints.clone();
            }

            let found = world.find(&signer, kind, ENVIRONMENT).await.unwrap();

            let expected = world.endpoint(kind);
            assert_eq!(
                Url::parse(&found).unwrap(),
                expected,
                "{kind:?}, {endpoints:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_without_an_endpoint_is_not_taken_for_one() {
    for kind in LOOKED_UP {
        let world = world_of(kind).await;
        let signer = world.admin_key();
        for body in [
            json!({}),
            json!({"spec": null, "status": null, "data": null}),
            json!({"spec": {"http_endpoint": "", "endpoints": {}}, "status": {"http_endpoint": ""}, "data": []}),
            json!({"spec": {"http_endpoint": 1, "endpoints": []}, "status": {"http_endpoint": []}, "data": [{}]}),
            json!({"spec": {"endpoints": {"public": {"http_endpoint": ""}}}, "data": [{"http_endpoint": ""}]}),
        ] {
            world
                .simulator
                .answer(1, |_| true, Answer::json(200, &body));

            let outcome = world.find(&signer, kind, ENVIRONMENT).await;

            let error = outcome.expect_err("no endpoint");
            assert!(
                error.to_string().contains("names none"),
                "{kind:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_look_up_in_a_wrong_environment_or_without_a_role_is_refused() {
    for kind in [Kind::Kafka, Kind::SchemaRegistry, Kind::KsqlDb] {
        let world = world_of(kind).await;
        let admin = world.admin_key();
        let owner = api_key(world.simulator.add_key(OWNER, None, None));

        let elsewhere = world.find(&admin, kind, "env-other").await.unwrap_err();
        let without_role = world.find(&owner, kind, ENVIRONMENT).await.unwrap_err();

        assert_eq!(elsewhere.meaning(), Some(Meaning::NotFound), "{kind:?}");
        assert_eq!(without_role.meaning(), Some(Meaning::Forbidden), "{kind:?}");
    }
}

#[tokio::test]
async fn a_key_of_every_kind_is_accepted_at_its_resource_after_one_request() {
    for kind in KINDS {
        let world = world_of(kind).await;

        let verdict = world.tried(&world.resource_key(kind), kind).await;

        assert_eq!(verdict, Verdict::Accepted, "{kind:?}");
        assert_eq!(world.requests().len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_missing_permission() {
    for kind in KINDS {
        let world = world_of(kind).await;
        let key = world.resource_key(kind);
        let wrong = ApiKey {
            secret: Redacted::new("wrong".to_owned()),
            ..key.clone()
        };
        let id = resource(kind).id.to_ascii_lowercase();
        let forbidden = simulator::Verdict::Forbidden;
        world.simulator.state().knobs.verdicts.insert(id, forbidden);

        let of_wrong = world.tried(&wrong, kind).await;
        let of_key = world.tried(&key, kind).await;

        assert_eq!(of_wrong, Verdict::NotAccepted, "{kind:?}");
        assert_eq!(of_key, Verdict::NotAuthorised, "{kind:?}");
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_about_the_key_is_no_verdict_and_is_not_asked_for_again() {
    let world = world_of(Kind::Kafka).await;
    let key = world.resource_key(Kind::Kafka);
    let page = "<html>welcome</html>";
    for (answer, says) in [
        (Answer::new(200, "text/html", page), "status 200"),
        (Answer::new(200, "application/json", page), "status 200"),
        (Answer::empty(204), "status 204"),
        (Answer::redirect("https://login.confluent.io"), "status 302"),
        (Answer::empty(404), "status 404"),
        (Answer::new(500, "text/html", page), "status 500"),
        (Answer::empty(503), "status 503"),
        (
            Answer::new(200, "application/json", vec![b' '; 2 << 20]),
            "longer than",
        ),
    ] {
        world.simulator.answer(1, |_| true, answer.clone());

        let verdict = world.tried(&key, Kind::Kafka).await;

        match &verdict {
            Verdict::Unclear(text) => assert!(text.contains(says), "{answer:?}: {text}"),
            _ => panic!("{answer:?}: {verdict:?}"),
        }
        assert_eq!(world.requests().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_asked_too_often_says_how_long_it_wants_to_be_left_alone() {
    let world = world_of(Kind::Kafka).await;
    let key = world.resource_key(Kind::Kafka);
    for (answer, seconds) in [
        (Answer::empty(429), 0),
        (Answer::empty(429).with_header("retry-after", "7"), 7),
        (Answer::empty(429).with_header("x-ratelimit-reset", "9"), 9),
    ] {
        world.simulator.answer(1, |_| true, answer);

        let verdict = world.tried(&key, Kind::Kafka).await;

        assert_eq!(verdict, Verdict::Busy(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn an_endpoint_without_an_answer_is_unreachable_and_named() {
    let world = world_of(Kind::Kafka).await;
    let key = world.resource_key(Kind::Kafka);
    let nobody = Url::parse(&world.simulator.unreachable_url()).unwrap();
    let deaf = raw_server("", Then::Stall);
    let rude = raw_server("", Then::Close);
    for endpoint in [nobody, deaf, rude] {
        let host = format!("127.0.0.1:{}", endpoint.port().unwrap());

        let verdict = world.tried_at(&key, Kind::Kafka, endpoint).await;

        match &verdict {
            Verdict::Unreachable(text) => assert!(text.contains(&host), "{text}"),
            _ => panic!("{verdict:?}"),
        }
    }
}

#[tokio::test]
async fn a_key_is_not_tried_at_a_host_that_is_not_allowed() {
    let world = world_of(Kind::Kafka).await;
    let key = world.resource_key(Kind::Kafka);
    let target = Target {
        resource: &resource(Kind::Kafka),
        endpoint: Url::parse("https://confluent.cloud.evil.example").unwrap(),
        environment: String::new(),
        organization: String::new(),
        given: false,
    };

    let confluent = world.confluent();
    let outcome = confluent
        .try_key(&key, &target, Deadline::after(AMPLE))
        .await;

    let refused = matches!(outcome, Err(http::Error::HostNotAllowed { .. }));
    assert!(refused, "{outcome:?}");
}
