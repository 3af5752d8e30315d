//! The frames of the Kafka protocol, compared with a crate that is generated from Kafka's own schemas, and with hostile responses.

use confluent_key_rotation::confluent::ProbeOutcome;
use confluent_key_rotation::confluent::broker::{self, Address, frame};
use frame::Operation;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    BrokerId, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::generated::for_each;

const OPERATIONS: [Operation; 3] = [
    Operation::SaslHandshake,
    Operation::SaslAuthenticate,
    Operation::Metadata,
];

fn key() -> ApiKey {
    api_key(("ABCDEFGH12345678".to_owned(), "cflt/Se+cret=".to_owned()))
}

/// Returns the header and the body of a request, without its length.
fn decoded<B: Decodable>(operation: Operation, version: i16) -> (RequestHeader, B) {
    let request = frame::request(operation, &key());
    let (length, mut rest) = request.split_at(4);
    let length = u32::from_be_bytes(length.try_into().unwrap());
    assert_eq!(length as usize, rest.len(), "{operation}");
    let header = RequestHeader::decode(&mut rest, 1).unwrap();
    assert_eq!(header.request_api_version, version, "{operation}");
    let body = B::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{operation}");
    (header, body)
}

#[test]
fn requests_are_those_of_the_protocol() {
    let (header, body) = decoded::<SaslHandshakeRequest>(Operation::SaslHandshake, 1);
    assert_eq!(header.request_api_key, 17);
    assert_eq!(header.client_id.unwrap().as_str(), "confluent-key-rotation");
    assert_eq!(body.mechanism.as_str(), "PLAIN");

    let (header, body) = decoded::<SaslAuthenticateRequest>(Operation::SaslAuthenticate, 1);
    assert_eq!(header.request_api_key, 36);
    assert_eq!(&body.auth_bytes[..], b"\0ABCDEFGH12345678\0cflt/Se+cret=");

    let (header, body) = decoded::<MetadataRequest>(Operation::Metadata, 4);
    assert_eq!(header.request_api_key, 3);
    assert_eq!(
        body.topics,
        Some(Vec::new()),
        "no topic; null would request all"
    );
    assert!(!body.allow_auto_topic_creation);
}

/// Encodes a response to `operation`, without its length.
fn response(operation: Operation, version: i16, body: &impl Encodable) -> Vec<u8> {
    let request = frame::request(operation, &key());
    let correlation_id = i32::from_be_bytes(request[8..12].try_into().unwrap());
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let mut encoded = Vec::new();
    header.encode(&mut encoded, 0).unwrap();
    body.encode(&mut encoded, version).unwrap();
    encoded
}

fn string(string: &str) -> StrBytes {
    StrBytes::from_string(string.to_owned())
}

#[test]
fn responses_of_the_protocol_are_decoded() {
    let any_code = any::<i16>();
    for_each(
        (any_code, "[A-Z0-9-]{0,20}", any::<i64>()),
        |(code, text, lifetime)| {
            let handshake = SaslHandshakeResponse::default()
                .with_error_code(code)
                .with_mechanisms(vec![string("PLAIN"), string(&text)]);
            let handshake = response(Operation::SaslHandshake, 1, &handshake);
            assert_eq!(
                frame::error_code(Operation::SaslHandshake, &handshake),
                Ok(code)
            );

            for message in [None, Some(string(&text))] {
                let authenticate = SaslAuthenticateResponse::default()
                    .with_error_code(code)
                    .with_error_message(message)
                    .with_session_lifetime_ms(lifetime);
                let authenticate = response(Operation::SaslAuthenticate, 1, &authenticate);
                let decoded = frame::error_code(Operation::SaslAuthenticate, &authenticate);
                assert_eq!(decoded, Ok(code));
            }
        },
    );
}

fn metadata(brokers: &[(i32, String, i32)]) -> Vec<u8> {
    let broker = |(id, host, port): &(i32, String, i32)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(string(host))
            .with_port(*port)
            .with_rack(id.is_positive().then(|| string("az1")))
    };
    let body = MetadataResponse::default()
        .with_brokers(brokers.iter().map(broker).collect())
        .with_cluster_id(Some(string("lkc-1")));
    response(Operation::Metadata, 4, &body)
}

#[test]
fn the_brokers_of_the_metadata_are_decoded_without_duplicates() {
    let broker = (any::<i32>(), "[a-c]{1,2}\\.confluent\\.cloud", 9090..9093);
    for_each(proptest::collection::vec(broker, 0..40), |brokers| {
        let decoded = frame::brokers(&metadata(&brokers)).unwrap();

        let mut expected: Vec<Address> = brokers
            .into_iter()
            .map(|(_, host, port)| Address {
                host,
                port: u16::try_from(port).unwrap(),
            })
            .collect();
        expected.sort();
        expected.dedup();
        assert_eq!(decoded, expected);
    });
}

#[test]
fn an_invalid_port_is_malformed() {
    for port in [-1, 65_536, i32::MAX, i32::MIN] {
        let malformed = frame::brokers(&metadata(&[(1, "a".to_owned(), port)]));

        assert_eq!(malformed, Err(frame::Malformed), "{port}");
    }
}

fn valid_responses() -> Vec<(Operation, Vec<u8>)> {
    let handshake = SaslHandshakeResponse::default().with_mechanisms(vec![string("PLAIN")]);
    let brokers = [(1, "a.confluent.cloud".to_owned(), 9092)];
    vec![
        (
            Operation::SaslHandshake,
            response(Operation::SaslHandshake, 1, &handshake),
        ),
        (
            Operation::SaslAuthenticate,
            response(
                Operation::SaslAuthenticate,
                1,
                &SaslAuthenticateResponse::default(),
            ),
        ),
        (Operation::Metadata, metadata(&brokers)),
    ]
}

fn is_decoded(operation: Operation, response: &[u8]) -> bool {
    match operation {
        Operation::Metadata => frame::brokers(response).is_ok(),
        operation => frame::error_code(operation, response).is_ok(),
    }
}

#[test]
fn a_truncated_or_extended_response_or_one_to_another_request_is_malformed() {
    for (operation, valid) in valid_responses() {
        assert!(is_decoded(operation, &valid), "{operation}");
        for length in 0..valid.len() {
            assert!(
                !is_decoded(operation, &valid[..length]),
                "{operation}, {length}"
            );
        }
        let extended = [valid.clone(), vec![0]].concat();
        assert!(!is_decoded(operation, &extended), "{operation}");
        for bit in 0..32 {
            let mut other = valid.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_decoded(operation, &other), "{operation}, bit {bit}");
        }
    }
}

/// A broker may send anything.
#[test]
fn decoding_a_hostile_response_does_not_panic() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    for_each((bytes, changes), |(bytes, changes)| {
        for operation in OPERATIONS {
            is_decoded(operation, &bytes);
        }
        for (operation, mut response) in valid_responses() {
            for (index, byte) in &changes {
                let index = index.index(response.len());
                response[index] = *byte;
            }
            is_decoded(operation, &response);
        }
    });
    // Counts and lengths that exceed the response.
    for count in [-2, -1, i32::MAX, 1_000_000] {
        let mut response = metadata(&[]);
        response[8..12].copy_from_slice(&i32::to_be_bytes(count));
        assert!(!is_decoded(Operation::Metadata, &response), "{count}");
    }
}

#[test]
fn the_length_of_a_response_is_bounded() {
    for length in [4, 100, i32::try_from(frame::MAX_FRAME_BYTES).unwrap()] {
        let expected = usize::try_from(length).ok();
        assert_eq!(frame::response_length(length.to_be_bytes()), expected);
    }
    let too_long = i32::try_from(frame::MAX_FRAME_BYTES).unwrap() + 1;
    for length in [-1, 0, 3, too_long, i32::MAX, i32::MIN] {
        assert_eq!(
            frame::response_length(length.to_be_bytes()),
            None,
            "{length}"
        );
    }
}

fn framed(response: &[u8]) -> Vec<u8> {
    let length = u32::try_from(response.len()).unwrap().to_be_bytes();
    [&length[..], response].concat()
}

/// Whatever a broker sends, only error 58 in response to `SaslAuthenticate` is a rejection, and only two successes are acceptance.
#[tokio::test]
async fn only_valid_responses_accept_or_reject_a_key() {
    let responses = valid_responses();
    let complete = [framed(&responses[0].1), framed(&responses[1].1)].concat();
    let limit = Duration::from_secs(1);
    let authenticate = async |bytes: Vec<u8>| {
        let stream = tokio::io::join(std::io::Cursor::new(bytes), tokio::io::sink());
        broker::authenticate(stream, &key(), false, limit).await
    };
    assert_eq!(authenticate(complete.clone()).await, Ok(Vec::new()));
    for length in 0..complete.len() {
        let outcome = authenticate(complete[..length].to_vec()).await;

        assert!(
            matches!(outcome, Err(ProbeOutcome::Inconclusive(_))),
            "{length}: {outcome:?}"
        );
    }
    let mut rejected = complete.clone();
    let code = framed(&responses[0].1).len() + 8;
    rejected[code..code + 2].copy_from_slice(&58_i16.to_be_bytes());
    assert_eq!(authenticate(rejected).await, Err(ProbeOutcome::NotAccepted));
    for code_of_handshake in [58_i16, 33, -1] {
        let mut rejected = complete.clone();
        rejected[8..10].copy_from_slice(&code_of_handshake.to_be_bytes());
        let outcome = authenticate(rejected).await;
        assert!(
            matches!(outcome, Err(ProbeOutcome::Inconclusive(_))),
            "{outcome:?}"
        );
    }
}
