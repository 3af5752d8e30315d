//! Where a key is probed: endpoints are cached for a fleet, and looked up again when they change.

use confluent_key_rotation::confluent::{Endpoint, EndpointCacheKey, Resource};
use reqwest::StatusCode;
use url::Url;

use simulator::{Fault, RateLimit};

use super::*;

const CLUSTER_LOOKUP: &str = "GET /cmk/v2/clusters/lkc-orders";

/// The responses of a host that is not, or no longer, the resource's endpoint.
const OTHER_HOST: [StatusCode; 7] = [
    StatusCode::NOT_FOUND,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::NOT_MODIFIED,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];

impl World {
    /// Returns the requests to the control plane since the last call.
    fn control_plane_requests(&self) -> Vec<String> {
        let mut state = self.simulator.state();
        let requests = std::mem::take(&mut state.requests);
        let requests = requests.iter();
        let requests = requests.filter(|request| request.service == Service::ControlPlane);
        requests.map(Request::name).collect()
    }

    fn lookups(&self) -> usize {
        self.count(|request| request.name() == CLUSTER_LOOKUP)
    }

    /// Caches `url` as the endpoint of the cluster.
    fn cache_endpoint(&self, url: &str) {
        let admin = self.value("AWSCURRENT")["adminSecretArn"].clone();
        let cluster = Resource::new(Some("lkc-orders"), Some(ENVIRONMENT)).unwrap();
        let key = EndpointCacheKey::new(&self.control_plane(), admin.as_str().unwrap(), &cluster);
        let endpoint = Endpoint {
            environment: ENVIRONMENT.to_owned(),
            ..Endpoint::new(Url::parse(url).unwrap())
        };
        let now = std::time::Instant::now();
        self.function.endpoints.insert(key, endpoint, now);
    }

    async fn rotated(policy: OldKeyPolicy) -> Self {
        let world = Self::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        world.simulator.clear_requests();
        world
    }
}

/// Confluent's control plane limits the rate at which a fleet can be rotated.
#[tokio::test]
async fn a_rotation_in_a_warm_process_sends_four_requests_to_the_control_plane() {
    for key_type in [
        KeyType::Kafka,
        KeyType::SchemaRegistry,
        KeyType::KsqlDb,
        KeyType::Flink,
    ] {
        for mode in [Mode::Admin, Mode::Keyless] {
            let world = World::new(Setting {
                key_type,
                mode,
                policy: OldKeyPolicy::Delete,
                further: &[],
            })
            .await;
            assert_eq!(world.rotate().await, Outcome::Succeeded);
            let previous = world.key("AWSCURRENT").unwrap();
            world.control_plane_requests();

            assert_eq!(world.rotate().await, Outcome::Succeeded);

            let mut requests = world.control_plane_requests();
            // Keyless rotations exchange one token per invocation.
            requests.retain(|request| !request.contains("oauth"));
            let delete = format!("DELETE {API_KEYS}/{previous}");
            let list = format!("GET {API_KEYS}");
            let create = format!("POST {API_KEYS}");
            assert_eq!(
                requests,
                [&*list, &create, &list, &delete],
                "{key_type:?} {mode:?}"
            );
        }
    }
}

#[tokio::test]
async fn with_delete_after_a_rotation_sends_three_requests_and_the_scheduled_deletion_two() {
    let world = World::rotated(OldKeyPolicy::DeleteAfter).await;
    world.simulator.pass(Duration::from_hours(25));
    world.retire().await.unwrap();
    world.control_plane_requests();

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let (list, create) = (format!("GET {API_KEYS}"), format!("POST {API_KEYS}"));
    assert_eq!(world.control_plane_requests(), [&*list, &create, &list]);
    let previous = world.key("AWSPREVIOUS").unwrap();
    world.simulator.pass(Duration::from_hours(25));

    world.retire().await.unwrap();

    let delete = format!("DELETE {API_KEYS}/{previous}");
    assert_eq!(world.control_plane_requests(), [list, delete]);
}

#[tokio::test]
async fn the_number_of_requests_does_not_depend_on_the_owners_keys_for_other_resources() {
    for key_type in [KeyType::Kafka, KeyType::SchemaRegistry, KeyType::KsqlDb] {
        let mut requests = Vec::new();
        for other_keys in [0, 500] {
            let world = World::new(Setting {
                key_type,
                policy: OldKeyPolicy::Delete,
                ..Setting::default()
            })
            .await;
            let simulator = &world.simulator;
            simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
            for _ in 0..other_keys {
                simulator.add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
            }
            simulator.clear_requests();
            for _ in 0..2 {
                assert_eq!(world.rotate().await, Outcome::Succeeded);
            }
            requests.push(world.control_plane_requests().len());
        }

        assert_eq!(requests[0], requests[1], "{key_type:?}");
    }
}

/// A redirect or 404 may come from a host that has served the resource before.
#[tokio::test]
async fn an_endpoint_that_responds_as_another_host_is_looked_up_again_in_the_same_step() {
    for step in ["createSecret", "testSecret", "finishSecret"] {
        for status in OTHER_HOST {
            let world = World::rotated(OldKeyPolicy::Delete).await;
            world.token();
            for earlier in STEPS.into_iter().take_while(|earlier| *earlier != step) {
                world.step(earlier).await.unwrap();
            }
            world.simulator.clear_requests();
            let response = Response::empty(status.as_u16());
            let response = response.with_header("location", "https://elsewhere.confluent.cloud/");
            world.simulator.respond_with(1, is_probe, response);

            let outcome = world.step(step).await;

            let case = format!("{step} {status}");
            assert!(outcome.is_ok(), "{case}: {outcome:?}");
            assert_eq!(world.lookups(), 1, "{case}");
            world.simulator.assert_guarantees();
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_unreachable_is_looked_up_again_in_the_same_step() {
    for step in ["createSecret", "testSecret", "finishSecret"] {
        let world = World::rotated(OldKeyPolicy::Delete).await;
        world.token();
        for earlier in STEPS.into_iter().take_while(|earlier| *earlier != step) {
            world.step(earlier).await.unwrap();
        }
        world.cache_endpoint(&world.simulator.unreachable_url());
        world.simulator.clear_requests();

        world.step(step).await.expect(step);

        assert_eq!(world.lookups(), 1, "{step}");
    }
}

#[tokio::test]
async fn retire_looks_up_an_unreachable_endpoint_again() {
    let world = World::rotated(OldKeyPolicy::DeleteAfter).await;
    world.cache_endpoint(&world.simulator.unreachable_url());
    world.simulator.pass(Duration::from_hours(25));

    world.retire().await.unwrap();

    assert_eq!(world.lookups(), 1);
    assert_eq!(world.keys(), [world.key("AWSCURRENT").unwrap()]);
}

/// A key that a resource rejects, or that has not propagated, says nothing about the endpoint.
#[tokio::test]
async fn a_rejection_is_no_reason_to_look_up_the_endpoint() {
    for status in [401, 403, 429, 500, 503] {
        let world = World::rotated(OldKeyPolicy::Delete).await;
        world.token();
        world.step("createSecret").await.unwrap();
        world.simulator.clear_requests();
        world
            .simulator
            .respond_with(1, is_probe, Response::empty(status));

        world.step("testSecret").await.unwrap();

        assert_eq!(world.lookups(), 0, "{status}");
    }
}

/// The host of another resource, at which a cached endpoint may point, rejects the key. If the lookup returns the same endpoint, there
/// is no other one to probe.
#[tokio::test]
async fn an_endpoint_is_looked_up_again_only_once_per_verification() {
    for status in [400, 401, 404] {
        let world = World::rotated(OldKeyPolicy::Delete).await;
        world.token();
        world.simulator.clear_requests();
        let response = Response::empty(status);
        world.simulator.respond_with(3, is_probe, response);

        let error = world.step_error("createSecret", "a rejected key").await;

        assert_eq!(error.error_type, "CurrentKeyNotAccepted", "{status}");
        assert_eq!(world.lookups(), 1, "{status}");
        assert_eq!(world.count(is_probe), 3, "{status}");
        // The next attempt does not use the cache, either.
        world.simulator.clear_requests();
        world.step("createSecret").await.unwrap();
        assert_eq!(world.lookups(), 1, "{status}");
    }
}

/// The owner's other keys explain what happened to a key, and a list of all of them is not repeated.
#[tokio::test]
async fn a_deleted_key_is_explained_with_one_list_of_all_keys_of_the_owner() {
    for (key_type, lists) in [(KeyType::Kafka, 2), (KeyType::Cloud, 1)] {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        let keys = world.all_keys();
        for key in keys.iter().filter(|key| world.keys().contains(key)) {
            world.simulator.delete_key_manually(key);
        }
        world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
        world
            .simulator
            .add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
        world.simulator.clear_requests();

        let error = world.step_error("createSecret", "deleted").await;

        assert_eq!(error.error_type, "CurrentKeyNotOfOwner", "{error:?}");
        assert_eq!(world.count(lists_keys), lists, "{key_type:?}");
    }
}

#[tokio::test]
async fn a_cached_endpoint_is_checked_against_the_allowed_hosts() {
    let world = World::rotated(OldKeyPolicy::Delete).await;
    world.cache_endpoint("https://confluent.cloud.evil.example");
    world.token();
    world.simulator.clear_requests();

    let error = world.step_error("createSecret", "another domain").await;

    assert_eq!(error.error_type, "EndpointNotAllowed");
    assert_eq!(world.count(is_probe), 0);
    assert_eq!(world.count(creates_a_key), 0);
}

/// The credentials of one secret may have no permission to look up what another secret's credentials looked up.
#[tokio::test]
async fn secrets_with_different_management_credentials_share_no_endpoint() {
    let world = World::rotated(OldKeyPolicy::Delete).await;
    let simulator = &world.simulator;
    let other = simulator.add_key(ADMIN, None, None);
    let other = simulator.add_admin_secret("other-admin", &other);
    world.change_value(|value| value["adminSecretArn"] = json!(other));

    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.lookups(), 1);

    simulator.clear_requests();
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.lookups(), 0);
}

#[tokio::test]
async fn the_preflight_looks_up_the_endpoint_although_it_is_cached() {
    let world = World::rotated(OldKeyPolicy::Delete).await;

    world.preflight().await;

    assert_eq!(world.lookups(), 1);
}

/// Keys for a former resource are not listed, so a rotation keeps them silently. The preflight, which lists all keys of the owner,
/// reports them.
#[tokio::test]
async fn a_key_for_a_former_resource_is_kept_and_the_preflight_reports_it() {
    let world = World::rotated(OldKeyPolicy::KeepUntilNextRotation).await;
    let simulator = &world.simulator;
    simulator.add_kafka_cluster("lkc-former", ENVIRONMENT);
    let (former, _) = simulator.add_key(OWNER, Some("lkc-former"), Some(ENVIRONMENT));
    simulator.tag_key(&former, &world.arn, "former", "i", "");

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert!(world.all_keys().contains(&former));
    let report = world.preflight().await;
    let orphans = report
        .checks
        .iter()
        .find(|check| check.name == "orphaned-keys");
    let observed = &orphans.unwrap().finding.observed;
    assert!(observed.contains(&former), "{observed}");
    assert!(
        observed.contains("its resource is not the one"),
        "{observed}"
    );
}

/// A control plane that does not respond shows nothing about the endpoint, so the outcome of the probe is reported.
#[tokio::test]
async fn an_endpoint_is_not_changed_if_it_cannot_be_looked_up_again() {
    let mut world = World::rotated(OldKeyPolicy::Delete).await;
    world.token();
    world.step("createSecret").await.unwrap();
    world.simulator.clear_requests();
    // The first probe of the cached endpoint is the fifth request.
    for nth in 4..200 {
        world.simulator.fail(nth, Fault::ResetBefore);
    }
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world.step_error("testSecret", "no response").await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
}

/// An endpoint at which no key was accepted may be wrong, so the next attempt looks it up.
#[tokio::test]
async fn an_endpoint_is_cached_only_after_the_resource_accepted_a_key_there() {
    let world = World::new(Setting::default()).await;
    for url in ["https://confluent.cloud.evil.example", "https://"] {
        world
            .simulator
            .state()
            .resources
            .get_mut("lkc-orders")
            .unwrap()
            .advertised_url = Some(url.to_owned());
        world.step_error("createSecret", url).await;
    }
    world
        .simulator
        .state()
        .resources
        .get_mut("lkc-orders")
        .unwrap()
        .advertised_url = None;

    assert_eq!(world.rotate().await, Outcome::Succeeded);
}

/// The responses of the simulated control plane say how many requests remain in each second.
#[tokio::test]
async fn a_process_that_waits_for_the_reset_is_never_rate_limited() {
    let world = World::new(Setting {
        policy: OldKeyPolicy::Delete,
        ..Setting::default()
    })
    .await;
    world.simulator.state().controls.rate_limit = Some(RateLimit {
        requests: 2,
        window: Duration::from_secs(1),
        concurrent_requests: 1,
    });

    for _ in 0..2 {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    }

    assert_eq!(world.count(|request| request.status == Some(429)), 0);
}

/// The cached endpoint may be out of date, so it is no evidence that the resource's endpoint is unreachable.
#[tokio::test]
async fn best_effort_does_not_skip_an_endpoint_that_cannot_be_looked_up_again() {
    let mut world = World::new(Setting::default()).await;
    world.set_variable("KEY_VERIFICATION", "best-effort");
    world.run_steps(&["createSecret"]).await;
    world.cache_endpoint(&world.simulator.unreachable_url());
    let is_lookup = |request: &Request| request.name() == CLUSTER_LOOKUP;
    world
        .simulator
        .respond_with(usize::MAX, is_lookup, Response::empty(503));
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world.step_error("testSecret", "no lookup").await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
}

/// The ID of a Flink region does not identify the environment, which is part of a probe's path.
#[tokio::test]
async fn secrets_for_one_flink_region_in_two_environments_share_no_endpoint() {
    let world = World::new(Setting {
        key_type: KeyType::Flink,
        policy: OldKeyPolicy::Delete,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    world.change_value(|value| {
        value.as_object_mut().unwrap().remove("environmentId");
    });
    simulator.add_flink_region("aws.us-west-2", "env-other");
    let (id, secret) = simulator.add_key(OWNER, Some("aws.us-west-2"), Some("env-other"));
    let mut value = world.value("AWSCURRENT");
    (value["apiKey"], value["apiSecret"]) = (json!(id), json!(secret));
    let other = simulator.add_secret("orders/flink", &value.to_string());

    for arn in [&world.arn, &other, &world.arn, &other] {
        let invoke = async |event| {
            let outcome = world.invoke(event).await;
            outcome.map_err(|error| format!("{error:?}"))
        };

        assert_eq!(simulator.rotate(arn, &invoke).await, Outcome::Succeeded);
    }
}

/// The list contains only keys for the resource, so it does not show that a key of another one existed before.
#[tokio::test]
async fn a_response_to_a_post_with_another_keys_description_is_no_created_key() {
    for description in [
        "created manually",
        "confluent-key-rotation secret=0 version=0 invocation=0",
    ] {
        let world = World::new(Setting::default()).await;
        let simulator = &world.simulator;
        simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
        let (id, secret) = simulator.add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
        let body = json!({"id": id, "spec": {"secret": secret, "description": description}});
        simulator.respond_with(1, creates_a_key, Response::json(202, &body));

        let error = world.step_error("createSecret", description).await;

        assert_eq!(error.error_type, "CreationOutcomeUnknown", "{error:?}");
        assert!(world.all_keys().contains(&id));
        assert_eq!(world.key("AWSPENDING"), None);
    }
}
