//! Verification: when a key is verified, what an error reports if it is not, and where probes are sent.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::{Endpoints, Permission};

use super::*;

impl World {
    /// Returns the statuses that the data plane returned for a key, in order.
    fn statuses(&self, key: &str) -> Vec<u16> {
        let state = self.simulator.state();
        let probes = state.requests.iter().filter(|request| is_probe(request));
        let of_key = probes.filter(|request| request.key_id.as_deref() == Some(key));
        of_key.filter_map(|request| request.status).collect()
    }
}

/// A user who names another application's key in a secret, and chooses the endpoint that is probed, must not obtain a key of
/// its owner.
#[tokio::test]
async fn an_endpoint_that_accepts_any_credential_does_not_verify_possession() {
    for status in [200, 403] {
        let world = World::new(Setting::default()).await;
        let endpoint = {
            let state = world.simulator.state();
            state.resources["lkc-orders"].url.clone()
        };
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.change_value(|value| {
            value["apiSecret"] = json!("a-guess");
            value["endpoint"] = json!(endpoint);
        });
        world
            .simulator
            .respond_with(20, is_probe, Response::json(status, &json!({})));
        let keys = world.all_keys();

        let error = world
            .step_error("createSecret", "the API secret is a guess")
            .await;

        assert_eq!(
            error.error_type, "EndpointAcceptsAnyCredential",
            "{status}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 0, "{status}");
        assert_eq!(world.all_keys(), keys, "{status}");
    }
}

#[tokio::test]
async fn a_rate_limited_probe_does_not_count_against_the_current_key() {
    let world = World::new(Setting::default()).await;
    world
        .simulator
        .respond_with(5, is_probe, Response::empty(429));

    let outcome = world.step("createSecret").await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Only an endpoint that accepts a wrong secret or denies it with 403 accepts any credential.
#[tokio::test]
async fn a_failed_probe_with_a_wrong_secret_does_not_show_that_the_endpoint_accepts_any_credential()
{
    let world = World::new(Setting::default()).await;
    let current = world.initial_key.clone();
    let forbidden = Response::json(403, &json!({}));
    let probes = AtomicUsize::new(0);
    let is_first_of_two = move |request: &Request| {
        is_probe(request) && probes.fetch_add(1, Relaxed).is_multiple_of(2)
    };
    world.simulator.respond_with(20, is_first_of_two, forbidden);
    world
        .simulator
        .respond_with(20, is_probe, Response::empty(503));

    let error = world.step_error("createSecret", "a failing endpoint").await;

    assert_eq!(error.error_type, "CurrentKeyNotAccepted");
    assert!(error.error_message.contains("HTTP 503"), "{error:?}");
    assert_eq!(world.key("AWSCURRENT"), Some(current));
}

/// `AWSCURRENT` always names a key that its resource accepts.
#[tokio::test]
async fn a_key_is_verified_by_three_consecutive_accepted_probes() {
    for propagation in [
        vec![],
        vec![401; 8],
        vec![200, 401],
        vec![200, 200, 401, 200, 401, 401],
        vec![403, 401, 200, 403],
        vec![503, 200, 200, 404],
    ] {
        let world = World::new(Setting::default()).await;
        world
            .simulator
            .state()
            .controls
            .propagation_statuses
            .clone_from(&propagation);
        world.run_steps(&["createSecret", "setSecret"]).await;

        world.run_steps(&["testSecret"]).await;

        let statuses = world.statuses(&world.key("AWSPENDING").unwrap());
        let expected: Vec<u16> = propagation.iter().copied().chain([200; 3]).collect();
        assert_eq!(statuses, expected);
    }
}

#[tokio::test]
async fn a_pending_key_that_is_denied_like_the_current_one_is_verified() {
    for key_type in [
        KeyType::Kafka,
        KeyType::SchemaRegistry,
        KeyType::KsqlDb,
        KeyType::Flink,
        KeyType::Global,
        KeyType::Tableflow,
    ] {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        let resource = resource_id(key_type).unwrap();
        let denied = |id: String| (id, Permission::Denied);
        world.simulator.state().controls.permissions =
            [resource.to_owned(), resource.to_lowercase()]
                .map(denied)
                .into();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}");
    }
}

/// Responses to the probes of the pending key that do not verify it.
struct Unverified {
    name: &'static str,
    response: fn() -> Response,
    error: &'static str,
    outcome: &'static str,
}

const UNVERIFIED: [Unverified; 6] = [
    Unverified {
        name: "rejected",
        response: || {
            let body = json!({"error_code": 40101, "message": "Authentication failed"});
            Response::json(401, &body)
        },
        error: "PendingKeyNotAccepted",
        outcome: "rejected with HTTP 401",
    },
    Unverified {
        name: "denied, unlike the current key",
        response: || {
            let body = json!({"error_code": 40301, "message": "Request is not authorized"});
            Response::json(403, &body)
        },
        error: "PendingKeyNotAuthorized",
        outcome: "denied with HTTP 403",
    },
    Unverified {
        name: "a page for every caller",
        response: || Response::new(200, "text/html", "<html>Welcome</html>"),
        error: "PendingKeyNotAccepted",
        outcome: "HTTP 200 without JSON",
    },
    Unverified {
        name: "no content",
        response: || Response::empty(204),
        error: "PendingKeyNotAccepted",
        outcome: "HTTP 204 without JSON",
    },
    Unverified {
        name: "a server error",
        response: || Response::json(500, &json!({"error_code": 50001, "message": "Broken"})),
        error: "PendingKeyNotAccepted",
        outcome: "HTTP 500",
    },
    Unverified {
        name: "an unknown path",
        response: || Response::new(404, "text/html", "<html>Welcome</html>"),
        error: "PendingKeyNotAccepted",
        outcome: "HTTP 404",
    },
];

#[tokio::test]
async fn an_unverified_key_is_reported_with_the_last_outcome_and_the_number_of_probes() {
    for Unverified {
        name,
        response,
        error: expected,
        outcome,
    } in UNVERIFIED
    {
        let mut world = with_pending_key().await;
        let pending = world.key("AWSPENDING").unwrap();
        let key = pending.clone();
        let of_pending_key =
            move |request: &Request| is_probe(request) && request.key_id.as_ref() == Some(&key);
        world
            .simulator
            .respond_with(usize::MAX, of_pending_key, response());
        world.time_limit = SHORT_TIME_LIMIT;
        let keys = world.all_keys();

        let error = world.step_error("testSecret", name).await;

        let message = &error.error_message;
        assert_eq!(error.error_type, expected, "{name}: {message}");
        for part in [outcome, &pending, " probes in "] {
            assert!(message.contains(part), "{name}: {part}: {message}");
        }
        assert_eq!(world.all_keys(), keys, "{name}");
        assert_eq!(world.version("AWSPENDING"), Some(world.token()), "{name}");
    }
}

#[tokio::test]
async fn a_redirect_does_not_verify_a_key_and_is_not_followed() {
    let mut world = with_pending_key().await;
    let other = format!("{}/org/v2/environments", world.simulator.confluent_url());
    world
        .simulator
        .respond_with(usize::MAX, is_probe, Response::redirect(&other));
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world.step_error("testSecret", "a redirect").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
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
async fn an_unreachable_endpoint_is_reported_as_unreachable() {
    let mut world = with_pending_key().await;
    world.set_advertised_url(&world.simulator.unreachable_url());
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world
        .step_error("testSecret", "the endpoint is unreachable")
        .await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert!(
        error.error_message.contains("with a route to the endpoint"),
        "{}",
        error.error_message
    );
}

#[tokio::test]
async fn best_effort_does_not_skip_an_endpoint_that_responded_once() {
    let mut world = World::new(Setting::default()).await;
    world.set_variable("KEY_VERIFICATION", "best-effort");
    world.run_steps(&["createSecret", "setSecret"]).await;
    world.simulator.state().controls.permissions.clear();
    let pending = world.key("AWSPENDING").unwrap();
    world
        .simulator
        .respond_with(1, is_probe, Response::json(401, &json!({})));
    world.simulator.clear_requests();
    // After the 401, no request gets a response.
    for nth in 6..200 {
        world.simulator.fail(nth, simulator::Fault::ResetBefore);
    }
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world
        .step_error("testSecret", "the key was rejected once")
        .await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert_eq!(world.key("AWSPENDING"), Some(pending));
}

#[tokio::test]
async fn best_effort_skips_an_unreachable_endpoint_with_a_warning() {
    let mut world = World::new(Setting::default()).await;
    world.set_advertised_url(&world.simulator.unreachable_url());
    world.set_variable("KEY_VERIFICATION", "best-effort");

    let (outcome, lines) = telemetry::logs::logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    for step in ["createSecret", "testSecret"] {
        let is_warning = |line: &Value| {
            line["level"] == "WARN" && line["step"] == step && line["host"] == "127.0.0.1"
        };
        assert!(lines.iter().any(is_warning), "{step}: {lines:#?}");
    }
}

#[tokio::test]
async fn best_effort_fails_if_the_key_is_rejected() {
    let mut world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = always(401);
    world.set_variable("KEY_VERIFICATION", "best-effort");
    world.run_steps(&["createSecret"]).await;
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world.step_error("testSecret", "the key is rejected").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
}

#[tokio::test]
async fn control_plane_sends_no_credential_to_a_data_plane() {
    let mut world = World::new(Setting::default()).await;
    world.set_variable("KEY_VERIFICATION", "control-plane");

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(world.count(is_probe), 0);
    assert_eq!(
        world.count(|request| request.target.starts_with("/cmk/")),
        0
    );
}

#[tokio::test]
async fn an_endpoint_in_the_secret_replaces_the_lookup() {
    let world = World::new(Setting::default()).await;
    let url = world.simulator.state().resources["lkc-orders"].url.clone();
    world.change_value(|value| value["endpoint"] = json!(url));
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
async fn the_endpoint_may_be_in_any_field_in_which_the_control_plane_returns_it() {
    for key_type in [KeyType::Kafka, KeyType::SchemaRegistry] {
        for case in [
            "deprecated",
            "PRIVATE_LINK",
            "PRIVATELINK",
            "PRIVATE_NETWORK_INTERFACE",
            "private and public",
        ] {
            let world = World::new(Setting {
                key_type,
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
                .get_mut(resource_id(key_type).unwrap())
                .unwrap());

            let outcome = world.rotate().await;

            assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}, {case}");
            assert!(world.count(is_probe) > 0, "{key_type:?}, {case}");
        }
    }
}
