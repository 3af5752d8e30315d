//! The brokers that the metadata and the bootstrap listener use.

use simulator::BrokerBehavior;

use super::{Client, METADATA, NO_TOPICS, PLAIN, SASL_HANDSHAKE, error_code};
use crate::{CLUSTER, World};

/// Returns the node IDs, hosts and ports in a response to version 4.
fn brokers(body: &[u8]) -> Vec<(i32, String, i32)> {
    let int32 = |at: usize| i32::from_be_bytes(*body[at..].first_chunk().unwrap());
    let mut at = 8;
    let mut brokers = Vec::new();
    for _ in 0..int32(4) {
        let node_id = int32(at);
        let length = usize::try_from(error_code(&body[at + 4..])).unwrap();
        let host = String::from_utf8(body[at + 6..][..length].to_vec()).unwrap();
        brokers.push((node_id, host, int32(at + 6 + length)));
        at += 12 + length;
    }
    brokers
}

impl World {
    async fn metadata(&self, address: &str) -> Vec<(i32, String, i32)> {
        let mut client = Client::connect(address).await;
        assert_eq!(client.authenticate(&self.key).await, 0);
        brokers(&client.call(METADATA, NO_TOPICS).await.unwrap())
    }

    fn listed(&self, index: usize) -> (i32, String, i32) {
        let address = self.broker_address(index);
        let (host, port) = address.rsplit_once(':').unwrap();
        let node_id = i32::try_from(index).unwrap();
        (node_id, host.to_owned(), port.parse().unwrap())
    }
}

#[tokio::test]
async fn the_metadata_lists_brokers_by_their_advertised_addresses() {
    let world = World::with_brokers(3).await;
    let elsewhere = ("b1.example".to_owned(), 9092);
    world.change_broker(1, |broker| broker.advertised = Some(elsewhere));
    world.change_broker(2, |broker| broker.is_listed = false);

    for address in [world.bootstrap(), world.broker_address(0)] {
        let expected = [world.listed(0), (1, "b1.example".to_owned(), 9092)];
        assert_eq!(world.metadata(&address).await, expected);
    }
    world.change_broker(2, |broker| broker.is_listed = true);
    let found = world.metadata(&world.bootstrap()).await;
    assert_eq!(found.last(), Some(&world.listed(2)), "the list may change");
}

#[tokio::test]
async fn brokers_can_be_added_later() {
    let world = World::with_brokers(1).await;
    let bootstrap = world.bootstrap();
    world.simulator.add_brokers(CLUSTER, 2);

    assert_eq!(world.bootstrap(), bootstrap);
    let expected = [world.listed(0), world.listed(1), world.listed(2)];
    assert_eq!(world.metadata(&bootstrap).await, expected);
    let mut addresses = expected.map(|(.., port)| port).to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "each broker has its own port");
}

#[tokio::test]
#[should_panic(expected = "there is no Kafka cluster lsrc-1")]
async fn only_a_kafka_cluster_has_brokers() {
    let world = World::new().await;
    world.simulator.add_schema_registry("lsrc-1", "env-prod");
    world.simulator.add_brokers("lsrc-1", 1);
}

#[tokio::test]
async fn the_bootstrap_listener_uses_the_listed_brokers_in_turn() {
    let world = World::with_brokers(4).await;
    for (index, code) in (0..).zip([101, 102, 103, 104]) {
        let behavior = BrokerBehavior::RespondsWithError("SaslHandshake", code);
        world.change_broker(index, |broker| broker.behavior = behavior);
    }
    world.change_broker(1, |broker| broker.is_listed = false);
    for expected in [101, 103, 104, 101] {
        let mut client = Client::connect(&world.bootstrap()).await;
        let response = client.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
        assert_eq!(error_code(&response), expected);
    }
}

#[tokio::test]
async fn the_bootstrap_listener_has_the_propagation_of_the_broker() {
    let world = World::with_brokers(2).await;
    world.change_broker(1, |broker| broker.propagation = vec![false]);
    let new = world.create().await;
    for expected in [0, 58, 0, 0] {
        let mut client = Client::connect(&world.bootstrap()).await;
        assert_eq!(client.authenticate(&new).await, expected);
    }
}

#[tokio::test]
async fn the_bootstrap_listener_without_listed_brokers_resets_connections() {
    let world = World::with_brokers(1).await;
    world.change_broker(0, |broker| broker.is_listed = false);
    let mut client = Client::connect(&world.bootstrap()).await;
    let error = client.rest().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// `MetadataRequest.json` and `MetadataResponse.json`:
/// <https://github.com/apache/kafka> `clients/src/main/resources/common/message`
#[tokio::test]
async fn a_client_may_use_versions_0_to_8_of_metadata_on_one_connection() {
    let world = World::with_brokers(1).await;
    let elsewhere = ("b0.x".to_owned(), 9092);
    world.change_broker(0, |broker| broker.advertised = Some(elsewhere));
    let mut client = Client::connect_as("rdkafka", &world.broker_address(0)).await;
    client.authenticate(&world.key).await;
    for version in 0..=8 {
        let mut options = Vec::new();
        let mut expected: Vec<u8> = Vec::new();
        let mut from = |first: i16, bytes: &[u8]| {
            if version >= first {
                expected.extend(bytes);
            }
        };
        from(3, &[0; 4]);
        from(0, b"\0\0\0\x01\0\0\0\0\0\x04b0.x\0\0\x23\x84");
        from(1, &[0xff; 2]);
        from(2, b"\0\x0alkc-orders");
        from(1, &[0; 4]);
        from(0, &[0; 4]);
        from(8, &[0x80, 0, 0, 0]);
        if version >= 4 {
            options.push(1);
        }
        if version >= 8 {
            options.extend([0, 0]);
        }
        let all_or_none = [-1_i32, 0];
        for count in all_or_none.into_iter().skip(usize::from(version == 0)) {
            let body = [&count.to_be_bytes(), options.as_slice()].concat();
            let response = client.call((3, version), &body).await.unwrap();
            assert_eq!(response, expected, "version {version}, {count} topics");
        }
    }
}
