//! Violations: frames that the function never sends, and keys at the wrong broker.

use simulator::{CANARY, FUNCTION_CLIENT_ID};

use super::{
    API_VERSIONS, Client, METADATA, NO_TOPICS, PLAIN, SASL_AUTHENTICATE, SASL_HANDSHAKE,
    error_code, request, sized, token,
};
use crate::{CLUSTER, ENVIRONMENT, OWNER, World};

const DESTINATION: &str = "a credential is sent only to its own service";
const NOT_LOGGED: &str = "no secret value appears where it may be logged";

impl World {
    async fn connect_as(&self, client_id: &'static str) -> Client {
        Client::connect_as(client_id, &self.broker_address(0)).await
    }

    #[track_caller]
    fn assert_no_violations(&self, case: &str) {
        assert_eq!(self.violations(), Vec::<String>::new(), "{case}");
    }
}

#[tokio::test]
async fn a_frame_before_the_handshake_is_a_violation_and_gets_no_response() {
    let world = World::with_brokers(1).await;
    for (api, body) in [
        (METADATA, NO_TOPICS.to_vec()),
        (SASL_AUTHENTICATE, token(&world.key)),
        ((0, 8), Vec::new()),
        ((99, 0), Vec::new()),
    ] {
        let mut client = world.connect_as("rdkafka").await;
        client.send(api, &body).await;
        client.assert_closed().await;
        world.assert_violation("the broker does not expect this frame before SaslHandshake");
    }
    let mut client = world.connect_as("rdkafka").await;
    client.call(API_VERSIONS, &[]).await.unwrap();
    client.send(API_VERSIONS, &[]).await;
    client.assert_closed().await;
    world.assert_violation("the broker does not expect this frame before SaslHandshake");
}

#[tokio::test]
async fn another_frame_after_the_handshake_is_a_violation_with_error_34() {
    let world = World::with_brokers(1).await;
    for (api, body) in [(API_VERSIONS, [].as_slice()), (SASL_HANDSHAKE, PLAIN)] {
        let mut client = world.connect_as("rdkafka").await;
        client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
        let response = client.call(api, body).await.unwrap();
        assert_eq!(error_code(&response), 34);
        client.assert_closed().await;
        world.assert_violation("the broker does not expect this frame before SaslAuthenticate");
    }
}

#[tokio::test]
async fn a_second_authentication_on_a_connection_is_a_violation() {
    let world = World::with_brokers(1).await;
    let mut client = world.connect_as("rdkafka").await;
    client.authenticate(&world.key).await;
    client.call(API_VERSIONS, &[]).await.unwrap();
    world.assert_no_violations("ApiVersions after authentication");
    client.send(SASL_HANDSHAKE, PLAIN).await;
    client.assert_closed().await;
    world.assert_violation("the broker does not expect this frame after authentication");
}

#[tokio::test]
async fn an_authorization_id_or_a_malformed_token_is_a_violation() {
    let world = World::with_brokers(1).await;
    let (id, secret) = &world.key;
    let malformed = "the token is malformed";
    let tokens = [
        (
            format!("{id}\0{id}\0{secret}"),
            "the token has an authorization ID",
        ),
        (format!("{id}\0{secret}"), malformed),
        (format!("\0{id}\0{secret}\0"), malformed),
        (format!("\0\0{secret}"), malformed),
        (format!("\0{id}\0"), malformed),
        (String::new(), malformed),
    ];
    for (token, violation) in tokens {
        let mut client = world.connect_as("rdkafka").await;
        client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
        let body = sized(token.as_bytes());
        let response = client.call(SASL_AUTHENTICATE, &body).await;
        assert_eq!(error_code(&response.unwrap()), 58, "{token:?}");
        client.assert_closed().await;
        world.assert_violation(violation);
    }
    let mut client = world.connect_as("rdkafka").await;
    client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
    let not_utf8 = client.call(SASL_AUTHENTICATE, &sized(b"\0\xff\0x")).await;
    assert_eq!(error_code(&not_utf8.unwrap()), 58);
    world.assert_violation(malformed);
}

/// Sends the frames of an exchange until the broker closes the connection.
async fn exchange(client: &mut Client, frames: &[((i16, i16), &[u8])]) {
    for (api, body) in frames {
        client.send(*api, body).await;
        if client.receive().await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn the_function_may_use_only_the_documented_versions() {
    let world = World::with_brokers(1).await;
    let token = token(&world.key);
    let handshake = (SASL_HANDSHAKE, PLAIN);
    let accepted = (SASL_AUTHENTICATE, token.as_slice());
    let (all, creates) = (b"\xff\xff\xff\xff\0".as_slice(), b"\0\0\0\0\x01".as_slice());
    let no_topics = b"\0\0\0\0\0\0\0".as_slice();
    let version = "is not documented for the client";
    let topics = "the function needs no topics, and creates none";
    for (frames, violation) in [
        (vec![((18, 3), [0].as_slice())], version),
        (vec![handshake, ((36, 0), token.as_slice())], version),
        (vec![handshake, accepted, ((3, 5), NO_TOPICS)], version),
        (vec![handshake, accepted, ((3, 8), no_topics)], version),
        (
            vec![handshake, accepted, ((3, 3), &no_topics[..4])],
            version,
        ),
        (vec![handshake, accepted, (METADATA, all)], topics),
        (vec![handshake, accepted, (METADATA, creates)], topics),
        (
            vec![(SASL_HANDSHAKE, b"\x00\x06GSSAPI")],
            "the mechanism is not PLAIN",
        ),
    ] {
        exchange(&mut world.connect_as(FUNCTION_CLIENT_ID).await, &frames).await;
        world.assert_violation(violation);
        exchange(&mut world.connect_as("rdkafka").await, &frames).await;
        world.assert_no_violations(violation);
    }
    let frames = [
        (API_VERSIONS, [].as_slice()),
        handshake,
        accepted,
        (METADATA, NO_TOPICS),
    ];
    exchange(&mut world.connect_as(FUNCTION_CLIENT_ID).await, &frames).await;
    world.assert_no_violations("the documented versions");
}

#[tokio::test]
async fn a_version_that_the_broker_does_not_support_is_a_violation_of_any_client() {
    let world = World::with_brokers(1).await;
    let token = token(&world.key);
    let handshake = (SASL_HANDSHAKE, PLAIN);
    let accepted = (SASL_AUTHENTICATE, token.as_slice());
    for frames in [
        vec![((17, 0), PLAIN)],
        vec![((17, 2), PLAIN)],
        vec![handshake, ((36, 2), token.as_slice())],
        vec![handshake, accepted, ((3, 9), NO_TOPICS)],
    ] {
        let mut client = world.connect_as("rdkafka").await;
        exchange(&mut client, &frames).await;
        client.assert_closed().await;
        world.assert_violation("is not documented for the client");
    }
}

#[tokio::test]
async fn a_body_that_the_simulator_does_not_support_is_a_violation() {
    let world = World::with_brokers(1).await;
    let token = token(&world.key);
    let handshake = (SASL_HANDSHAKE, PLAIN);
    let accepted = (SASL_AUTHENTICATE, token.as_slice());
    let surplus = [NO_TOPICS, &[0]].concat();
    let topic = b"\0\0\0\x01\0\x01t\0".as_slice();
    let unsupported = "the simulator does not support the body";
    for (frames, violation) in [
        (vec![(SASL_HANDSHAKE, &PLAIN[..4])], unsupported),
        (vec![(API_VERSIONS, [0].as_slice())], unsupported),
        (
            vec![handshake, (SASL_AUTHENTICATE, &token[..20])],
            unsupported,
        ),
        (vec![handshake, accepted, (METADATA, &surplus)], unsupported),
        (
            vec![handshake, accepted, (METADATA, topic)],
            "the simulator has no topics",
        ),
    ] {
        exchange(&mut world.connect_as("rdkafka").await, &frames).await;
        world.assert_violation(violation);
    }
}

#[tokio::test]
async fn bytes_that_are_not_a_frame_are_a_violation() {
    let world = World::with_brokers(1).await;
    let too_long = 524_289_i32.to_be_bytes();
    let negative = (-1_i32).to_be_bytes();
    for bytes in [too_long.to_vec(), negative.to_vec(), sized(&[0, 18, 0, 0])] {
        let mut client = world.connect_as("rdkafka").await;
        client.write(&bytes).await;
        client.assert_closed().await;
        world.assert_violation("the bytes are not a frame of the Kafka protocol");
    }
    drop(world.connect_as("rdkafka").await);
    let mut client = world.connect_as("rdkafka").await;
    client.write(&[0, 0, 0, 9, 0]).await;
    drop(client);
    world.authenticate_at(0, &world.key).await;
    world.assert_no_violations("a client may close the connection");
}

#[tokio::test]
async fn a_frame_before_the_response_to_the_previous_one_is_a_violation() {
    let pipelined = "the next frame was sent before the response";
    for client_id in [FUNCTION_CLIENT_ID, "rdkafka"] {
        let world = World::with_brokers(1).await;
        let mut client = world.connect_as(client_id).await;
        let frames = [
            request(client_id, SASL_HANDSHAKE, PLAIN),
            request(client_id, SASL_AUTHENTICATE, &token(&world.key)),
        ];
        client.write(&frames.concat()).await;
        client.receive().await.unwrap();
        assert_eq!(error_code(&client.receive().await.unwrap()), 0);
        world.assert_violation(pipelined);

        let metadata = request(client_id, METADATA, NO_TOPICS);
        client.write(&[metadata.clone(), metadata].concat()).await;
        client.receive().await.unwrap();
        client.receive().await.unwrap();
        if client_id == FUNCTION_CLIENT_ID {
            world.assert_violation(pipelined);
        } else {
            world.assert_no_violations("a client may pipeline after authentication");
        }
    }
}

#[tokio::test]
async fn a_frame_that_arrives_while_the_response_is_held_is_a_violation() {
    let world = World::with_brokers(1).await;
    let hold = world.simulator.hold_requests(|_| true);
    let mut client = world.connect_as(FUNCTION_CLIENT_ID).await;
    client.send(API_VERSIONS, &[]).await;
    hold.arrived(1).await;
    client.send(SASL_HANDSHAKE, PLAIN).await;
    hold.release();
    client.receive().await.unwrap();
    client.receive().await.unwrap();
    world.assert_violation("the next frame was sent before the response");
}

#[tokio::test]
async fn the_function_sends_a_key_only_to_brokers_of_its_cluster() {
    let world = World::with_brokers(1).await;
    world.simulator.add_kafka_cluster("lkc-other", ENVIRONMENT);
    let other = world
        .simulator
        .add_key(OWNER, Some("lkc-other"), Some(ENVIRONMENT));
    let global = world.simulator.add_key(OWNER, Some("global"), None);
    for address in [world.broker_address(0), world.bootstrap()] {
        for key in [&other, &world.admin] {
            let mut client = Client::connect_as("rdkafka", &address).await;
            client.authenticate(key).await;
            world.assert_no_violations("another client's configuration");
            Client::connect(&address).await.authenticate(key).await;
            world.assert_violation(DESTINATION);
        }
        for key in [&world.key, &global] {
            Client::connect(&address).await.authenticate(key).await;
            world.assert_no_violations("a key of the cluster");
        }
    }
}

#[tokio::test]
async fn the_function_sends_a_key_only_to_brokers_that_the_metadata_lists() {
    let world = World::with_brokers(2).await;
    world.change_broker(0, |broker| broker.is_listed = false);
    let mut client = world.connect_as("rdkafka").await;
    client.authenticate(&world.key).await;
    Client::connect(&world.bootstrap())
        .await
        .authenticate(&world.key)
        .await;
    world.authenticate_at(1, &world.key).await;
    world.assert_no_violations("another client, the bootstrap listener, a listed broker");
    let mut client = Client::connect(&world.bootstrap()).await;
    client.call(API_VERSIONS, &[]).await.unwrap();
    world.change_broker(1, |broker| broker.is_listed = false);
    client.authenticate(&world.key).await;
    world.assert_no_violations("the control plane returns the bootstrap listener");

    world.authenticate_at(0, &world.key).await;

    world.assert_violation("is sent to broker 0, which the metadata does not list");
}

#[tokio::test]
async fn a_key_outside_of_the_token_is_a_violation_that_does_not_contain_the_secret() {
    let world = World::with_brokers(1).await;
    let (id, secret) = world.key.clone();
    let deleted = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT))
        .0;
    {
        let mut state = world.simulator.state();
        let key = state.keys.remove(&deleted).unwrap();
        state.deleted_keys.insert(deleted.clone(), key);
    }
    let string = |value: &str| {
        let length = u16::try_from(value.len()).unwrap();
        [&length.to_be_bytes(), value.as_bytes()].concat()
    };
    let token = token(&world.key);
    for leaked in [&id, &secret, &deleted] {
        let handshake = request("x", SASL_HANDSHAKE, PLAIN);
        for frames in [
            vec![request(leaked, SASL_HANDSHAKE, PLAIN)],
            vec![request("x", SASL_HANDSHAKE, &string(leaked))],
            vec![request("x", (18, 3), &string(leaked))],
            vec![handshake, request(leaked, SASL_AUTHENTICATE, &token)],
        ] {
            let mut client = world.connect_as("x").await;
            for frame in frames {
                client.write(&frame).await;
                client.receive().await.unwrap();
            }
            let violations = world.violations();
            assert_eq!(violations.len(), 1, "{violations:?}");
            assert!(violations[0].contains(NOT_LOGGED), "{violations:?}");
            assert!(!violations[0].contains(CANARY), "{violations:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_in_place_of_the_key_id_is_a_violation() {
    let world = World::with_brokers(1).await;
    let (id, secret) = world.key.clone();
    world.change_broker(0, |broker| broker.is_listed = false);

    world.authenticate_at(0, &(secret, id)).await;

    let violations = world.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains(NOT_LOGGED), "{violations:?}");
    assert!(!violations[0].contains(CANARY), "{violations:?}");
}

/// Tests issue such API secrets with [`simulator::Controls::issued_secret`].
#[tokio::test]
async fn an_api_secret_that_any_frame_contains_is_no_violation() {
    let world = World::with_brokers(1).await;
    for secret in ["", "PLAIN"] {
        world.simulator.state().controls.issued_secret = Some(secret.to_owned());
        world.create().await;
        world.authenticate_at(0, &world.key).await;
        world.assert_no_violations(secret);
    }
}

#[tokio::test]
async fn a_bearer_token_at_a_broker_is_a_violation() {
    let world = World::with_brokers(1).await;
    for mark in ["T7kz3CANARYm5Xr9b", "J4vx9CANARYq2Zt8w"] {
        let token = ("id".to_owned(), format!("header.{mark}"));
        world.authenticate_at(0, &token).await;
        world.assert_violation(DESTINATION);
    }
}
