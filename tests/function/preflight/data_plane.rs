//! Cases of the checks of the endpoint and the data plane.

use simulator::Endpoints;

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a reachable endpoint",
        check: "endpoint",
        observed: "http://127.",
        ..CASE
    },
    Case {
        name: "a Flink endpoint before a key exists",
        check: "endpoint",
        outcome: NotVerifiable,
        observed: "until a key exists",
        setting: Setting {
            key_type: KeyType::Flink,
            ..INITIAL_KEY
        },
        arrange: |world| respond(world, lists_keys, empty_list()),
    },
    Case {
        name: "an endpoint on a domain that is not allowed",
        check: "endpoint",
        outcome: Failed,
        observed: "evil.example",
        arrange: |world| {
            world.change_value(|value| value["endpoint"] = json!("https://evil.example"));
        },
        ..CASE
    },
    Case {
        name: "a resource that does not exist",
        check: "endpoint",
        outcome: Failed,
        observed: "could not look up",
        arrange: |world| world.simulator.state().resources.clear(),
        ..CASE
    },
    Case {
        name: "an unreachable endpoint",
        check: "endpoint",
        outcome: Failed,
        observed: "unreachable",
        arrange: advertise_unreachable_url,
        ..CASE
    },
    Case {
        name: "an unreachable endpoint with best effort",
        check: "endpoint",
        outcome: Warning,
        observed: "is unreachable",
        arrange: |world| {
            world.set_variable("KEY_VERIFICATION", "best-effort");
            advertise_unreachable_url(world);
        },
        ..CASE
    },
    Case {
        name: "an endpoint that cannot be looked up",
        check: "endpoint",
        outcome: Unknown,
        observed: "503",
        arrange: |world| {
            let looks_up = |request: &Request| requests(request, "cmk");
            respond(world, looks_up, Response::empty(503));
        },
        ..CASE
    },
    Case {
        name: "brokers that accept the key",
        check: "brokers",
        observed: "2 of 2 brokers accept the current key",
        arrange: |world| world.simulator.add_brokers("lkc-orders", 2),
        ..CASE
    },
    Case {
        name: "brokers without a connection that are not required",
        check: "brokers",
        outcome: NotVerifiable,
        observed: "without a connection to broker 127.0.0.1:1",
        ..CASE
    },
    Case {
        name: "brokers without a connection with best effort",
        check: "brokers",
        outcome: Warning,
        observed: "without a connection to broker 127.0.0.1:1",
        arrange: |world| world.set_variable("KAFKA_VERIFICATION", "brokers-best-effort"),
        ..CASE
    },
    Case {
        name: "brokers without a connection",
        check: "brokers",
        outcome: Failed,
        observed: "without a connection to broker 127.0.0.1:1",
        arrange: |world| world.set_variable("KAFKA_VERIFICATION", "brokers"),
        ..CASE
    },
    Case {
        name: "an accepted key",
        check: "data-plane",
        observed: "the resource accepts the current key",
        ..CASE
    },
    Case {
        name: "a key that cannot be probed with best effort",
        check: "data-plane",
        outcome: Warning,
        observed: "KEY_VERIFICATION=best-effort",
        arrange: |world| {
            world.set_variable("KEY_VERIFICATION", "best-effort");
            advertise_unreachable_url(world);
        },
        ..CASE
    },
    Case {
        name: "a rejected key that is not checked",
        check: "data-plane",
        outcome: Warning,
        observed: "rejected with HTTP 401",
        arrange: |world| {
            world.set_variable("CURRENT_KEY_CHECK", "off");
            respond(world, is_probe, Response::empty(401));
        },
        ..CASE
    },
    Case {
        name: "a rejected key",
        check: "data-plane",
        outcome: Failed,
        observed: "rejected with HTTP 401",
        arrange: |world| respond(world, is_probe, Response::empty(401)),
        ..CASE
    },
    Case {
        name: "a rate limited probe",
        check: "data-plane",
        outcome: Unknown,
        observed: "rate limited",
        arrange: |world| {
            world.time_limit = Duration::from_secs(5);
            respond(world, is_probe, Response::empty(429));
        },
        ..CASE
    },
    Case {
        name: "a resource that fails",
        check: "data-plane",
        outcome: Unknown,
        observed: "inconclusive (HTTP 503",
        arrange: |world| respond(world, is_probe, Response::empty(503)),
        ..CASE
    },
    Case {
        name: "no key yet",
        check: "data-plane",
        outcome: NotVerifiable,
        observed: "no key to verify",
        setting: INITIAL_KEY,
        ..CASE
    },
];

fn advertise_unreachable_url(world: &mut World) {
    world.set_advertised_url(&world.simulator.unreachable_url());
    let mut state = world.simulator.state();
    let cluster = state.resources.get_mut("lkc-orders").unwrap();
    cluster.endpoints = Endpoints::Public;
}
