//! Faults and holds of frames, and the behavior of brokers.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use simulator::{BrokerBehavior, Fault};
use tokio::io::AsyncReadExt as _;

use super::{
    API_VERSIONS, Client, METADATA, NO_TOPICS, PLAIN, SASL_AUTHENTICATE, SASL_HANDSHAKE,
    error_code, token,
};
use crate::{World, send};

/// Time after which a response that is not sent counts as stalled.
const STALLED: Duration = Duration::from_millis(50);

const OPERATIONS: [&str; 4] = [
    "ApiVersions",
    "SaslHandshake",
    "SaslAuthenticate",
    "Metadata",
];

/// Sends the frames of an exchange. Returns the operation of the first one without error code 0, and the outcome.
async fn exchange(world: &World, address: &str) -> (&'static str, String) {
    let mut client = Client::connect(address).await;
    let frames = [
        (API_VERSIONS, Vec::new()),
        (SASL_HANDSHAKE, PLAIN.to_vec()),
        (SASL_AUTHENTICATE, token(&world.key)),
        (METADATA, NO_TOPICS.to_vec()),
    ];
    for (operation, (api, body)) in OPERATIONS.into_iter().zip(frames) {
        let outcome = tokio::select! {
            () = world.simulator.interrupted() => "interrupted".to_owned(),
            response = tokio::time::timeout(STALLED, client.call(api, &body)) => match response {
                Err(_) => "stalled".to_owned(),
                Ok(Err(error)) => error.kind().to_string(),
                // The first field of Metadata is the throttle time, and a response to an error lists no broker.
                Ok(Ok(body)) if operation == "Metadata" => match body[7] {
                    0 => "no brokers".to_owned(),
                    _ => continue,
                },
                Ok(Ok(body)) => match error_code(&body) {
                    0 => continue,
                    code => code.to_string(),
                },
            },
        };
        return (operation, outcome);
    }
    ("none", "accepted".to_owned())
}

#[tokio::test]
async fn a_frame_with_a_fault_takes_effect_or_not_as_the_fault_specifies() {
    for (index, operation) in OPERATIONS.into_iter().enumerate() {
        for fault in Fault::ALL {
            if fault == Fault::Unavailable {
                continue;
            }
            let world = World::with_brokers(1).await;
            world.simulator.fail(index, fault);

            let outcome = exchange(&world, &world.broker_address(0)).await;

            let (expected, status) = match fault {
                Fault::InterruptBefore | Fault::InterruptAfter => ("interrupted", None),
                Fault::ResetBefore | Fault::ResetAfter => ("connection reset", None),
                Fault::StallBefore | Fault::StallAfter => ("stalled", None),
                _ if operation == "Metadata" => ("no brokers", Some(u16::MAX)),
                _ => ("-1", Some(u16::MAX)),
            };
            let case = format!("{fault:?} at {operation}");
            assert_eq!(outcome, (operation, expected.to_owned()), "{case}");
            let requests = world.simulator.state().requests.clone();
            assert_eq!(requests[index].status, status, "{case}");
        }
    }
}

#[tokio::test]
async fn an_attempt_counts_only_if_the_frame_takes_effect() {
    for fault in Fault::ALL {
        let world = World::with_brokers(1).await;
        world.change_broker(0, |broker| broker.propagation = vec![true, false]);
        let new = world.create().await;
        world.simulator.clear_requests();
        world.simulator.fail(1, fault);
        let mut client = Client::connect(&world.broker_address(0)).await;
        client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
        client.send(SASL_AUTHENTICATE, &token(&new)).await;
        let _ = tokio::time::timeout(STALLED, client.rest()).await;

        let code = world.authenticate_at(0, &new).await;

        let expected = if fault.takes_effect() { 58 } else { 0 };
        assert_eq!(code, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn an_unavailable_broker_responds_with_a_page_of_a_proxy() {
    let world = World::with_brokers(1).await;
    world.simulator.fail(0, Fault::Unavailable);
    let mut client = Client::connect(&world.broker_address(0)).await;

    client.send(SASL_HANDSHAKE, PLAIN).await;
    let page = String::from_utf8(client.rest().await.unwrap()).unwrap();

    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())));
    assert_eq!(world.simulator.state().requests[0].status, Some(503));
}

#[tokio::test]
async fn frames_and_http_requests_have_indexes_in_the_same_log() {
    let world = World::with_brokers(1).await;
    world.simulator.fail(2, Fault::ResetBefore);
    world.describe().await;

    let outcome = exchange(&world, &world.broker_address(0)).await;

    assert_eq!(outcome, ("SaslHandshake", "connection reset".to_owned()));
    let names = world.simulator.state().request_names();
    assert_eq!(names, ["DescribeSecret", "ApiVersions", "SaslHandshake"]);
}

#[tokio::test]
async fn a_test_holds_a_frame_or_its_response() {
    let world = World::with_brokers(1).await;
    let is_token = |request: &simulator::Request| request.name() == "SaslAuthenticate";
    for (is_request_held, expected) in [(true, 58), (false, 0)] {
        let hold = if is_request_held {
            world.simulator.hold_requests(is_token)
        } else {
            world.simulator.hold_responses(is_token)
        };
        let new = world.create().await;
        let change = async {
            hold.arrived(1).await;
            world.simulator.state().keys.remove(&new.0);
            hold.release();
        };
        let (code, ()) = tokio::join!(world.authenticate_at(0, &new), change);
        assert_eq!(
            code, expected,
            "held before it takes effect: {is_request_held}"
        );
    }
}

#[tokio::test]
async fn a_response_has_the_latency_of_the_controls() {
    const LATENCY: Duration = Duration::from_millis(20);
    let world = World::with_brokers(1).await;
    world.simulator.state().controls.latency = LATENCY;
    let started = Instant::now();

    world.authenticate_at(0, &world.key).await;

    assert!(started.elapsed() >= LATENCY * 2, "{:?}", started.elapsed());
    assert_eq!(world.simulator.state().round_trips(), 2);
}

#[tokio::test]
async fn a_broker_closes_stalls_or_responds_with_an_error_at_an_operation() {
    for operation in OPERATIONS {
        let error = if operation == "Metadata" {
            "no brokers"
        } else {
            "58"
        };
        for (behavior, expected) in [
            (
                BrokerBehavior::ClosesWithoutResponse(operation),
                "unexpected end of file",
            ),
            (BrokerBehavior::Stalls(operation), "stalled"),
            (BrokerBehavior::RespondsWithError(operation, 58), error),
        ] {
            let world = World::with_brokers(1).await;
            let case = format!("{behavior:?}");
            world.change_broker(0, |broker| broker.behavior = behavior);
            for address in [world.broker_address(0), world.bootstrap()] {
                let outcome = exchange(&world, &address).await;
                assert_eq!(outcome, (operation, expected.to_owned()), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_unreachable_broker_resets_connections_before_the_first_frame() {
    let world = World::with_brokers(2).await;
    world.change_broker(0, |broker| broker.behavior = BrokerBehavior::Unreachable);
    for address in [world.broker_address(0), world.bootstrap()] {
        let mut client = Client::connect(&address).await;
        let error = client.rest().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(world.simulator.state().requests.is_empty());
    let next = exchange(&world, &world.bootstrap()).await;
    assert_eq!(next.1, "accepted", "the load balancer's next broker");
}

#[tokio::test]
async fn a_broker_responds_with_bytes_and_continues() {
    const BYTES: &[u8] = b"\x7f\xff\xff\xffhostile";
    let world = World::with_brokers(1).await;
    let behavior = BrokerBehavior::RespondsWith("SaslAuthenticate", BYTES.to_vec());
    world.change_broker(0, |broker| broker.behavior = behavior);
    let mut client = Client::connect(&world.broker_address(0)).await;
    client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();

    client.send(SASL_AUTHENTICATE, &token(&world.key)).await;
    let mut received = vec![0; BYTES.len()];
    client.stream.read_exact(&mut received).await.unwrap();

    assert_eq!(received, BYTES);
    client.call(METADATA, NO_TOPICS).await.unwrap();
    let requests = world.simulator.state().requests.clone();
    assert_eq!(requests[1].status, None);
    assert!(requests[1].responded_at.is_some());
}

#[tokio::test]
async fn an_error_at_the_handshake_lists_other_mechanisms_and_closes_the_connection() {
    let world = World::with_brokers(1).await;
    let behavior = BrokerBehavior::RespondsWithError("SaslHandshake", 33);
    world.change_broker(0, |broker| broker.behavior = behavior);
    let mut client = Client::connect(&world.broker_address(0)).await;

    let response = client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();

    assert_eq!(response, b"\x00\x21\x00\x00\x00\x01\x00\x0bOAUTHBEARER");
    client.assert_closed().await;
}

#[tokio::test]
async fn a_connection_ends_if_its_broker_becomes_unreachable() {
    let world = World::with_brokers(1).await;
    let mut client = Client::connect(&world.broker_address(0)).await;
    client.authenticate(&world.key).await;
    world.change_cluster(|cluster| cluster.brokers.clear());
    let error = client.call(METADATA, NO_TOPICS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_guarantees_of_the_current_key_hold_between_frames() {
    let world = World::with_brokers(1).await;
    world.simulator.state().keys.remove(&world.key.0);
    world.authenticate_at(0, &world.key).await;
    world.assert_violation("AWSCURRENT names a key that its resource accepts");
}

#[tokio::test]
async fn an_http_client_gets_no_response_from_a_broker() {
    let world = World::with_brokers(1).await;
    let url = format!("http://{}", world.broker_address(0));
    send(&url, "GET / HTTP/1.1", "").await.unwrap_err();
    world.assert_violation("a connection to broker 0: the bytes are not a frame");
    assert!(world.simulator.state().requests.is_empty());
}
