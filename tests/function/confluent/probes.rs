//! Where a key is probed, and the outcome of a probe.

use confluent_key_rotation::confluent::{
    Endpoint, EndpointLookup, EndpointSource, Error, ErrorKind, ProbeOutcome, ProbeTarget,
};
use confluent_key_rotation::http;
use simulator::Endpoints;

use super::*;

/// The key types whose endpoint is looked up.
const LOOKED_UP: [KeyType; 4] = [
    KeyType::Kafka,
    KeyType::SchemaRegistry,
    KeyType::KsqlDb,
    KeyType::Flink,
];

fn lookup(resource: &Resource) -> &'static EndpointLookup {
    match &resource.key_type.endpoint {
        EndpointSource::Lookup(lookup) => lookup,
        EndpointSource::ControlPlane => panic!("{} is not looked up", resource.key_type.name),
    }
}

impl World {
    async fn look_up(
        &self,
        credentials: &Credentials,
        key_type: KeyType,
        environment: &str,
    ) -> Result<String, Error> {
        let resource = resource(key_type);
        let lookup = lookup(&resource);
        self.confluent()
            .endpoint(credentials, lookup, &resource.id, environment)
            .await
            .map(|(endpoint, _)| endpoint)
    }

    /// Returns the endpoint of the key type's resource.
    fn endpoint(&self, key_type: KeyType) -> Url {
        let state = self.simulator.state();
        let resource = state
            .resources
            .get(resource_id(key_type).unwrap_or_default());
        let url = resource.map_or(self.function.config.confluent_url.to_string(), |resource| {
            resource.url.clone()
        });
        Url::parse(&url).unwrap()
    }

    /// Probes `endpoint` once with `key`.
    async fn probe_at(&self, key: &ApiKey, key_type: KeyType, endpoint: Url) -> ProbeOutcome {
        let target = ProbeTarget {
            resource: &resource(key_type),
            endpoint: Endpoint {
                environment: ENVIRONMENT.to_owned(),
                organization: self.simulator.state().organization.clone(),
                ..Endpoint::new(endpoint)
            },
            field: None,
        };
        let confluent = self.confluent();
        let probe = confluent.probe(key, &target, Deadline::after(AMPLE));
        probe.await.unwrap()
    }

    async fn probe(&self, key: &ApiKey, key_type: KeyType) -> ProbeOutcome {
        self.probe_at(key, key_type, self.endpoint(key_type)).await
    }
}

#[tokio::test]
async fn an_endpoint_is_found_in_every_member_that_may_contain_it() {
    let both = Endpoints::PrivateAndPublic {
        connection_type: "PRIVATE_LINK".to_owned(),
        private_url: "https://private.example".to_owned(),
    };
    for key_type in LOOKED_UP {
        let world = world_of(key_type).await;
        let credentials = world.admin_credentials();
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

            let found = world
                .look_up(&credentials, key_type, ENVIRONMENT)
                .await
                .unwrap();

            let expected = world.endpoint(key_type);
            assert_eq!(
                Url::parse(&found).unwrap(),
                expected,
                "{key_type:?}, {endpoints:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_response_without_an_endpoint_is_an_error() {
    for key_type in LOOKED_UP {
        let world = world_of(key_type).await;
        let credentials = world.admin_credentials();
        for body in [
            json!({}),
            json!({"spec": null, "status": null, "data": null}),
            json!({"spec": {"http_endpoint": "", "endpoints": {}}, "status": {"http_endpoint": ""}, "data": []}),
            json!({"spec": {"http_endpoint": 1, "endpoints": []}, "status": {"http_endpoint": []}, "data": [{}]}),
            json!({"spec": {"endpoints": {"public": {"http_endpoint": ""}}}, "data": [{"http_endpoint": ""}]}),
        ] {
            world
                .simulator
                .respond_with(1, |_| true, Response::json(200, &body));

            let outcome = world.look_up(&credentials, key_type, ENVIRONMENT).await;

            let error = outcome.expect_err("no endpoint");
            assert!(
                error.to_string().contains("contains no endpoint"),
                "{key_type:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_lookup_in_another_environment_is_rejected_and_one_without_a_role_is_denied() {
    for key_type in [KeyType::Kafka, KeyType::SchemaRegistry, KeyType::KsqlDb] {
        let world = world_of(key_type).await;
        let admin = world.admin_credentials();
        let owner = Credentials::Key(api_key(world.simulator.add_key(OWNER, None, None)));

        let other_environment = world
            .look_up(&admin, key_type, "env-other")
            .await
            .unwrap_err();
        let without_role = world
            .look_up(&owner, key_type, ENVIRONMENT)
            .await
            .unwrap_err();

        assert_eq!(
            other_environment.kind(),
            Some(ErrorKind::NotFound),
            "{key_type:?}"
        );
        assert_eq!(
            without_role.kind(),
            Some(ErrorKind::Forbidden),
            "{key_type:?}"
        );
    }
}

#[tokio::test]
async fn a_key_of_every_type_is_accepted_by_its_resource_after_one_request() {
    for key_type in KEY_TYPES {
        let world = world_of(key_type).await;

        let outcome = world.probe(&world.resource_key(key_type), key_type).await;

        assert_eq!(outcome, ProbeOutcome::Accepted, "{key_type:?}");
        assert_eq!(world.requests().len(), 1, "{key_type:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_distinguished_from_a_missing_permission() {
    for key_type in KEY_TYPES {
        let world = world_of(key_type).await;
        let key = world.resource_key(key_type);
        let wrong = ApiKey {
            secret: Redacted::new("wrong".to_owned()),
            ..key.clone()
        };
        let id = resource(key_type).id.to_ascii_lowercase();
        let denied = simulator::Permission::Denied;
        world
            .simulator
            .state()
            .controls
            .permissions
            .insert(id, denied);

        let with_wrong_secret = world.probe(&wrong, key_type).await;
        let without_permission = world.probe(&key, key_type).await;

        assert_eq!(with_wrong_secret, ProbeOutcome::NotAccepted, "{key_type:?}");
        assert_eq!(
            without_permission,
            ProbeOutcome::NotAuthorized,
            "{key_type:?}"
        );
    }
}

#[tokio::test]
async fn a_probe_with_any_other_response_is_inconclusive_and_is_not_retried() {
    let world = world_of(KeyType::Kafka).await;
    let key = world.resource_key(KeyType::Kafka);
    let page = "<html>welcome</html>";
    for (response, description) in [
        (Response::new(200, "text/html", page), "HTTP 200"),
        (Response::new(200, "application/json", page), "HTTP 200"),
        (Response::empty(204), "HTTP 204"),
        (Response::redirect("https://login.confluent.io"), "HTTP 302"),
        (Response::empty(404), "HTTP 404"),
        (Response::new(500, "text/html", page), "HTTP 500"),
        (Response::empty(503), "HTTP 503"),
        (
            Response::new(200, "application/json", vec![b' '; 2 << 20]),
            "exceeds",
        ),
    ] {
        world.simulator.respond_with(1, |_| true, response.clone());

        let outcome = world.probe(&key, KeyType::Kafka).await;

        match &outcome {
            ProbeOutcome::ServerError(actual) if response.status >= 500 => {
                assert!(actual.contains(description), "{response:?}: {actual}");
            }
            ProbeOutcome::Inconclusive(actual) | ProbeOutcome::NotTheEndpoint(actual)
                if response.status < 500 =>
            {
                assert!(actual.contains(description), "{response:?}: {actual}");
            }
            _ => panic!("{response:?}: {outcome:?}"),
        }
        assert_eq!(world.requests().len(), 1, "{response:?}");
    }
}

#[tokio::test]
async fn a_rate_limited_probe_returns_the_requested_wait() {
    let world = world_of(KeyType::Kafka).await;
    let key = world.resource_key(KeyType::Kafka);
    for (response, seconds) in [
        (Response::empty(429), 0),
        (Response::empty(429).with_header("retry-after", "7"), 7),
        (
            Response::empty(429).with_header("x-ratelimit-reset", "9"),
            9,
        ),
    ] {
        world.simulator.respond_with(1, |_| true, response);

        let outcome = world.probe(&key, KeyType::Kafka).await;

        assert_eq!(
            outcome,
            ProbeOutcome::RateLimited(Duration::from_secs(seconds))
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_respond_is_unreachable_and_its_host_is_reported() {
    let world = world_of(KeyType::Kafka).await;
    let key = world.resource_key(KeyType::Kafka);
    let without_listener = Url::parse(&world.simulator.unreachable_url()).unwrap();
    let silent = raw_server("", Then::Stall);
    let closing = raw_server("", Then::Close);
    for endpoint in [without_listener, silent, closing] {
        let host = format!("127.0.0.1:{}", endpoint.port().unwrap());

        let outcome = world.probe_at(&key, KeyType::Kafka, endpoint).await;

        match &outcome {
            ProbeOutcome::Unreachable(cause) => assert!(cause.contains(&host), "{cause}"),
            _ => panic!("{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_key_is_not_sent_to_a_host_that_is_not_allowed() {
    let world = world_of(KeyType::Kafka).await;
    let key = world.resource_key(KeyType::Kafka);
    let target = ProbeTarget {
        resource: &resource(KeyType::Kafka),
        endpoint: Endpoint::new(Url::parse("https://confluent.cloud.evil.example").unwrap()),
        field: None,
    };

    let confluent = world.confluent();
    let outcome = confluent.probe(&key, &target, Deadline::after(AMPLE)).await;

    let is_not_allowed = matches!(outcome, Err(http::Error::HostNotAllowed { .. }));
    assert!(is_not_allowed, "{outcome:?}");
}
