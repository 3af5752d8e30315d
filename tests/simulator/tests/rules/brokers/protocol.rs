//! The exchange: its bytes, its order, and which keys a broker accepts.

use std::time::Duration;

use serde_json::Value;
use simulator::{Authentication, FUNCTION_CLIENT_ID, Service, Simulator};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{
    API_VERSIONS, Client, METADATA, NO_TOPICS, PLAIN, SASL_AUTHENTICATE, SASL_HANDSHAKE,
    error_code, sized, token,
};
use crate::{CLUSTER, ENVIRONMENT, OWNER, World};

/// Returns the bytes of hexadecimal digits and of words in quotation marks.
fn bytes(description: &str) -> Vec<u8> {
    let decode = |part: &str| match part.strip_prefix('"') {
        Some(word) => word.trim_end_matches('"').replace('_', " ").into_bytes(),
        None => vec![u8::from_str_radix(part, 16).unwrap()],
    };
    description.split_whitespace().flat_map(decode).collect()
}

/// The frames of the documented message formats, for the client `x` and the key `KEY` with the API secret `SECRET`.
///
/// <https://kafka.apache.org/protocol>
#[tokio::test]
async fn the_frames_have_the_documented_bytes() {
    let simulator = Simulator::start().await;
    simulator.add_kafka_cluster("lkc-1", ENVIRONMENT);
    simulator.add_brokers("lkc-1", 1);
    let (id, _) = simulator.add_key(OWNER, Some("lkc-1"), Some(ENVIRONMENT));
    let address = {
        let mut state = simulator.state();
        let mut key = state.keys.remove(&id).unwrap();
        (key.id, key.secret) = ("KEY".to_owned(), "SECRET".to_owned());
        state.keys.insert("KEY".to_owned(), key);
        let broker = &mut state.resources.get_mut("lkc-1").unwrap().brokers[0];
        broker.advertised = Some(("b0-pkc-1.x".to_owned(), 9092));
        broker.address.clone()
    };
    let handshake = (
        "00 00 00 12 00 11 00 01 00 00 00 02 00 01 78 00 05 50 4c 41 49 4e",
        "00 00 00 11 00 00 00 02 00 00 00 00 00 01 00 05 50 4c 41 49 4e",
    );
    let accepted = [
        (
            "00 00 00 0b 00 12 00 00 00 00 00 01 00 01 78",
            "00 00 00 3a 00 00 00 01 00 00 00 00 00 08 00 00 00 00 00 08 00 01 00 00 00 0b 00 02 00 00 00 05 \
             00 0a 00 00 00 02 00 03 00 00 00 08 00 11 00 00 00 01 00 12 00 00 00 00 00 24 00 00 00 01",
        ),
        handshake,
        (
            "00 00 00 1a 00 24 00 01 00 00 00 03 00 01 78 00 00 00 0b 00 4b 45 59 00 53 45 43 52 45 54",
            "00 00 00 14 00 00 00 03 00 00 ff ff 00 00 00 00 00 00 00 00 00 00 00 00",
        ),
        (
            "00 00 00 10 00 03 00 04 00 00 00 04 00 01 78 00 00 00 00 00",
            "00 00 00 31 00 00 00 04 00 00 00 00 00 00 00 01 00 00 00 00 00 0a \"b0-pkc-1.x\" 00 00 23 84 ff ff \
             00 05 \"lkc-1\" 00 00 00 00 00 00 00 00",
        ),
    ];
    let rejected = [
        handshake,
        (
            "00 00 00 19 00 24 00 01 00 00 00 03 00 01 78 00 00 00 0a 00 4b 45 59 00 \"OTHER\"",
            "00 00 00 29 00 00 00 03 00 3a 00 15 \"Authentication_failed\" 00 00 00 00 00 00 00 00 00 00 00 00",
        ),
    ];
    for (exchange, is_accepted) in [(accepted.as_slice(), true), (&rejected, false)] {
        let mut client = Client::connect_as("x", &address).await;
        for (request, response) in exchange {
            client.write(&bytes(request)).await;
            let response = bytes(response);
            let mut received = vec![0; response.len()];
            client.stream.read_exact(&mut received).await.unwrap();
            assert_eq!(received, response, "{request}");
        }
        if !is_accepted {
            client.assert_closed().await;
        }
    }
}

#[tokio::test]
async fn a_frame_is_in_the_log_with_its_operation_broker_key_and_error_code() {
    let world = World::with_brokers(3).await;
    let address = world.broker_address(2);
    Client::connect(&address).await.assert_is_open().await;
    let mut client = Client::connect(&address).await;
    client.call(API_VERSIONS, &[]).await.unwrap();
    client.authenticate(&world.key).await;
    client.call(METADATA, NO_TOPICS).await.unwrap();
    let wrong = (world.key.0.clone(), "wrong".to_owned());
    let mut client = Client::connect(&world.bootstrap()).await;
    client.authenticate(&wrong).await;

    let requests = world.simulator.state().requests.clone();
    let logged: Vec<_> = requests
        .iter()
        .map(|request| {
            assert_eq!(request.service, Service::KafkaBroker);
            assert!(request.responded_at.is_some());
            let (name, status) = (request.name(), request.status.unwrap());
            (request.target.as_str(), request.connection, name, status)
        })
        .collect();
    let expected = [
        ("2", 0, "ApiVersions", 0),
        ("2", 1, "ApiVersions", 0),
        ("2", 1, "SaslHandshake", 0),
        ("2", 1, "SaslAuthenticate", 0),
        ("2", 1, "Metadata", 0),
        ("bootstrap", 0, "SaslHandshake", 0),
        ("bootstrap", 0, "SaslAuthenticate", 58),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(target, connection, name, status)| (target, connection, name.to_owned(), status))
        .collect();
    assert_eq!(logged, expected);
    for (index, request) in requests.iter().enumerate() {
        let key_id = [3, 4, 6].contains(&index).then(|| world.key.0.clone());
        let authentication = key_id.clone().map(Authentication::Basic);
        assert_eq!(request.key_id, key_id, "{index}");
        assert_eq!(request.authentication, authentication.unwrap_or_default());
    }
}

#[tokio::test]
async fn a_broker_accepts_the_keys_of_its_cluster_and_global_keys() {
    const OTHER_CLUSTER: &str = "lkc-other";
    let world = World::with_brokers(1).await;
    let simulator = &world.simulator;
    simulator.add_kafka_cluster(OTHER_CLUSTER, ENVIRONMENT);
    let (id, secret) = world.key.clone();
    let deleted = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
    simulator.state().keys.remove(&deleted.0);
    let keys = [
        ("its own", world.key.clone(), 0),
        ("Global", simulator.add_key(OWNER, Some("global"), None), 0),
        ("Cloud", world.admin.clone(), 58),
        (
            "another cluster's",
            simulator.add_key(OWNER, Some(OTHER_CLUSTER), Some(ENVIRONMENT)),
            58,
        ),
        ("deleted", deleted, 58),
        (
            "with a wrong secret",
            (id.clone(), format!("{secret}x")),
            58,
        ),
    ];
    for (case, key, expected) in keys {
        let mut client = Client::connect_as("rdkafka", &world.broker_address(0)).await;
        assert_eq!(client.authenticate(&key).await, expected, "{case}");
        if expected == 0 {
            client.assert_is_authenticated().await;
        } else {
            client.assert_closed().await;
        }
    }
    assert_eq!(
        simulator.state().wrong_secrets,
        [(id, format!("{secret}x"))]
    );
}

#[tokio::test]
async fn a_new_key_propagates_to_each_broker_separately() {
    let world = World::with_brokers(2).await;
    world.change_broker(0, |broker| broker.propagation = vec![false, true, false]);
    let new = world.create().await;
    let other = world.create().await;

    for expected in [58, 0, 58, 0, 0] {
        assert_eq!(world.authenticate_at(0, &new).await, expected);
        assert_eq!(world.authenticate_at(1, &new).await, 0);
    }
    assert_eq!(world.authenticate_at(0, &other).await, 58);
    let code = world.authenticate_at(0, &world.key).await;
    assert_eq!(code, 0, "a key that the function did not create");
}

#[tokio::test]
async fn a_rejected_secret_does_not_count_as_an_attempt_with_a_new_key() {
    let world = World::with_brokers(1).await;
    world.change_broker(0, |broker| broker.propagation = vec![false]);
    let new = world.create().await;
    let wrong = (new.0.clone(), "wrong".to_owned());

    assert_eq!(world.authenticate_at(0, &wrong).await, 58);
    assert_eq!(world.authenticate_at(0, &new).await, 58);
    assert_eq!(world.authenticate_at(0, &new).await, 0);
}

#[tokio::test]
async fn no_broker_accepts_a_new_key_before_the_propagation_delay() {
    const DELAY: Duration = Duration::from_millis(50);
    let world = World::with_brokers(1).await;
    world.simulator.state().controls.propagation_delay = DELAY;
    let new = world.create().await;

    assert_eq!(world.authenticate_at(0, &new).await, 58);
    timeout(DELAY, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(world.authenticate_at(0, &new).await, 0);
}

#[tokio::test]
async fn a_key_that_is_being_deleted_is_accepted_for_the_delete_lag() {
    let world = World::with_brokers(1).await;
    world.simulator.state().controls.delete_lag = 2;
    let spare = world
        .simulator
        .add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
    let request = format!("DELETE /iam/v2/api-keys/{}", spare.0);
    world.control_plane(&request, &Value::Null).await;
    world.violations();

    assert_eq!(world.authenticate_at(0, &spare).await, 0);
    assert_eq!(world.authenticate_at(0, &spare).await, 58);
}

#[tokio::test]
async fn a_newer_version_of_api_versions_is_rejected_in_the_form_of_version_0() {
    let world = World::with_brokers(1).await;
    let mut client = Client::connect_as("rdkafka", &world.broker_address(0)).await;

    let tagged = b"\x00\x0alibrdkafka\x062.16\x00";
    let rejected = client.call((18, 3), tagged).await.unwrap();
    let listed = client.call(API_VERSIONS, &[]).await.unwrap();

    let own_versions = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 0];
    assert_eq!(rejected, own_versions);
    let apis = listed[6..].chunks(6).map(error_code);
    assert_eq!(apis.collect::<Vec<_>>(), [0, 1, 2, 10, 3, 17, 18, 36]);
    assert_eq!(client.authenticate(&world.key).await, 0);
    let status = world.simulator.state().requests[0].status;
    assert_eq!(status, Some(35));
}

#[tokio::test]
async fn version_0_of_sasl_authenticate_has_no_session_lifetime() {
    let world = World::with_brokers(1).await;
    let mut client = Client::connect_as("rdkafka", &world.broker_address(0)).await;
    client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();

    let response = client.call((36, 0), &token(&world.key)).await.unwrap();

    assert_eq!(response, [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
}

#[tokio::test]
async fn another_mechanism_is_rejected_with_a_list() {
    let world = World::with_brokers(1).await;
    let mut client = Client::connect_as("rdkafka", &world.broker_address(0)).await;

    let response = client.call(SASL_HANDSHAKE, b"\x00\x06GSSAPI").await;

    let expected = [b"\x00\x21\x00\x00\x00\x01".as_slice(), PLAIN].concat();
    assert_eq!(response.unwrap(), expected);
    client.assert_closed().await;
}

#[tokio::test]
async fn a_frame_may_arrive_in_parts() {
    const PAUSE: Duration = Duration::from_millis(5);
    let world = World::with_brokers(1).await;
    let mut client = Client::connect(&world.broker_address(0)).await;
    client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
    let body = token(&world.key);
    let frame = super::request(FUNCTION_CLIENT_ID, SASL_AUTHENTICATE, &body);

    for part in frame.chunks(frame.len() / 4) {
        client.write(part).await;
        // The broker reads the part before the next one arrives.
        let _ = timeout(PAUSE, std::future::pending::<()>()).await;
    }

    assert_eq!(error_code(&client.receive().await.unwrap()), 0);
}

impl Client {
    async fn assert_is_open(&mut self) {
        self.call(API_VERSIONS, &[]).await.unwrap();
    }

    async fn assert_is_authenticated(&mut self) {
        let all = [sized(&[]), vec![0]].concat();
        self.call(METADATA, &all).await.unwrap();
    }
}
