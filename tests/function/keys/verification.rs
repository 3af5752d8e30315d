//! Verification: when a key is verified, what an error reports if it is not, and where probes are sent.

use std::collections::BTreeSet;

use simulator::{Endpoints, Fault};

use super::*;

impl World {
    /// Returns the probes of a key, in order.
    fn probes(&self, key: &str) -> Vec<Request> {
        let state = self.simulator.state();
        let probes = state.requests.iter().filter(|request| is_probe(request));
        let of_key = probes.filter(|request| request.key_id.as_deref() == Some(key));
        of_key.cloned().collect()
    }

    /// Returns the statuses that the data plane returned for a key, in order.
    fn statuses(&self, key: &str) -> Vec<u16> {
        let probes = self.probes(key).into_iter();
        probes.filter_map(|request| request.status).collect()
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

/// `AWSCURRENT` always names a key that its resource accepts.
#[tokio::test]
async fn a_key_is_verified_by_three_consecutive_accepted_probes() {
    for propagation in [
        vec![],
        vec![401; 8],
        vec![200, 401],
        vec![200, 200, 401, 200, 401, 401],
        vec![200, 200, 401],
        vec![503, 429, 404, 200, 200, 404],
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

/// They show nothing about the key.
#[tokio::test]
async fn a_rate_limited_or_failed_probe_neither_counts_nor_resets_the_count() {
    for statuses in [
        vec![200, 429, 200, 200],
        vec![200, 200, 503, 200],
        vec![500, 200, 429, 429, 200, 502, 200],
        vec![429, 429, 429, 503, 503, 503, 200, 200, 200],
    ] {
        let world = World::new(Setting::default()).await;
        world
            .simulator
            .state()
            .controls
            .propagation_statuses
            .clone_from(&statuses);
        world.run_steps(&["createSecret", "setSecret"]).await;

        world.run_steps(&["testSecret"]).await;

        assert_eq!(world.statuses(&world.key("AWSPENDING").unwrap()), statuses);
    }
}

#[tokio::test]
async fn a_probe_without_a_response_neither_counts_nor_resets_the_count() {
    for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::StallAfter] {
        let world = with_pending_key().await;
        world.forget_endpoint();
        // The first probe is the sixth request.
        for nth in [6, 7, 9] {
            world.simulator.fail(nth, fault);
        }

        world.run_steps(&["testSecret"]).await;

        let probes = world.probes(&world.key("AWSPENDING").unwrap());
        let statuses: Vec<_> = probes.iter().map(|probe| probe.status).collect();
        let accepted = Some(200);
        assert_eq!(
            statuses,
            [accepted, None, None, accepted, None, accepted],
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn the_first_and_the_last_accepted_probe_are_five_intervals_apart() {
    let mut world = World::new(Setting::default()).await;
    world.set_variable("PROBE_INTERVAL_MS", "60");
    world.simulator.state().controls.propagation_statuses = vec![200, 401];
    world.run_steps(&["createSecret", "setSecret"]).await;

    world.run_steps(&["testSecret"]).await;

    let probes = world.probes(&world.key("AWSPENDING").unwrap());
    let statuses: Vec<_> = probes.iter().filter_map(|probe| probe.status).collect();
    assert_eq!(statuses, [200, 401, 200, 200, 200]);
    let apart = probes[4]
        .received_at
        .duration_since(probes[2].received_at)
        .unwrap();
    assert!(apart >= Duration::from_millis(5 * 60), "{apart:?}");
}

#[tokio::test]
async fn every_probe_uses_its_own_connection() {
    for (key_type, path) in [
        (KeyType::Kafka, "/kafka/v3/clusters/lkc-orders/topics"),
        (KeyType::SchemaRegistry, "/subjects"),
        (KeyType::KsqlDb, "/ksql"),
        (KeyType::Global, "/org/v2/environments"),
        (KeyType::Tableflow, "/tableflow/v1/regions"),
    ] {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}");
        let state = world.simulator.state();
        let (probes, others): (Vec<_>, Vec<_>) = state
            .requests
            .iter()
            .filter(|request| is_to_confluent(request))
            .partition(|request| request.target.split('?').next() == Some(path));
        let service = probes[0].service;
        let others = others.iter().filter(|request| request.service == service);
        let connections: BTreeSet<usize> = probes.iter().map(|probe| probe.connection).collect();
        assert_eq!(connections.len(), probes.len(), "{key_type:?}");
        assert!(probes.len() >= 4, "{key_type:?}");
        assert!(
            others
                .into_iter()
                .all(|r| !connections.contains(&r.connection)),
            "{key_type:?}"
        );
    }
}

/// A pooled connection would reach the first node only.
#[tokio::test]
async fn a_key_that_one_node_accepts_and_another_one_rejects_is_not_verified() {
    for (first, other) in [(vec![], always(401)), (always(401), vec![])] {
        let mut world = World::new(Setting::default()).await;
        {
            let controls = &mut world.simulator.state().controls;
            controls.propagation_statuses = first;
            controls.other_nodes = vec![other];
        }
        world.run_steps(&["createSecret", "setSecret"]).await;
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world.step_error("testSecret", "one node rejects it").await;

        assert_eq!(error.error_type, "PendingKeyNotAccepted");
        let statuses = world.statuses(&world.key("AWSPENDING").unwrap());
        assert!(
            statuses.contains(&200) && statuses.contains(&401),
            "{statuses:?}"
        );
    }
}

/// The simulator reports a violation if a key becomes current that a node will reject.
#[tokio::test]
async fn a_key_that_flaps_on_several_nodes_is_verified_when_all_nodes_accept_it() {
    for (key_type, nodes) in [
        (KeyType::Kafka, [vec![401], vec![200, 401], vec![401, 401]]),
        (KeyType::Kafka, [vec![], vec![401, 401, 401], vec![]]),
        (
            KeyType::Flink,
            [vec![401, 401], vec![200, 200, 401], vec![503, 401]],
        ),
        (KeyType::Global, [vec![401, 401], vec![401], vec![]]),
    ] {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        {
            let controls = &mut world.simulator.state().controls;
            controls.propagation_statuses.clone_from(&nodes[0]);
            controls
                .control_plane_propagation_statuses
                .clone_from(&nodes[0]);
            controls.other_nodes = nodes[1..].to_vec();
        }

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}: {nodes:?}");
        assert_ne!(world.key("AWSCURRENT"), Some(world.initial_key.clone()));
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
        name: "denied, whatever the secret",
        response: || {
            let body = json!({"error_code": 40301, "message": "Request is not authorized"});
            Response::json(403, &body)
        },
        error: "EndpointAcceptsAnyCredential",
        outcome: "does not reject a wrong API secret",
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
        let probes = match expected {
            "PendingKeyNotAccepted" => " probes in ",
            _ => "",
        };
        for part in [outcome, &pending, probes] {
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
    world.forget_endpoint();
    world.simulator.state().controls.permissions.clear();
    let pending = world.key("AWSPENDING").unwrap();
    world
        .simulator
        .respond_with(1, is_probe, Response::json(401, &json!({})));
    world.simulator.clear_requests();
    // After the 401, no request gets a response.
    for nth in 6..200 {
        world.simulator.fail(nth, Fault::ResetBefore);
    }
    world.time_limit = SHORT_TIME_LIMIT;

    let error = world
        .step_error("testSecret", "the key was rejected once")
        .await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert_eq!(world.key("AWSPENDING"), Some(pending));
}

#[tokio::test]
async fn best_effort_does_not_skip_an_endpoint_that_responds_to_the_second_probe() {
    let mut world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = always(401);
    world.run_steps(&["createSecret", "setSecret"]).await;
    world.time_limit = SHORT_TIME_LIMIT;
    let measured = world.fork().await;
    measured.step_error("testSecret", "rejected").await;
    let requests = measured.simulator.state().requests.clone();
    let first = requests.iter().position(is_probe).unwrap();
    world.set_variable("KEY_VERIFICATION", "best-effort");
    world.forget_endpoint();
    world.simulator.clear_requests();
    world.simulator.fail(first, Fault::ResetBefore);

    let error = world.step_error("testSecret", "rejected").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
}

/// A 403 that cannot be compared with the response to a wrong secret is a response, too.
#[tokio::test]
async fn best_effort_does_not_skip_the_check_of_a_current_key_that_was_rejected_or_denied_once() {
    for status in [401, 403] {
        let mut world = World::new(Setting::default()).await;
        world.set_variable("KEY_VERIFICATION", "best-effort");
        let response = Response::json(status, &json!({}));
        world.simulator.respond_with(1, is_probe, response);
        // The first probe is the seventh request.
        for nth in 7..50 {
            world.simulator.fail(nth, Fault::ResetBefore);
        }

        let error = world.step_error("createSecret", "it was reached").await;

        assert_eq!(error.error_type, "EndpointUnreachable", "{status}");
        assert_eq!(world.statuses(&world.initial_key)[..1], [status]);
        assert_eq!(world.count(creates_a_key), 0, "{status}");
    }
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
