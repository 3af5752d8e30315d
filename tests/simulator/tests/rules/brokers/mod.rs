//! Kafka brokers, tested with frames as bytes.

mod behavior;
mod endpoints;
mod metadata;
mod protocol;
mod violations;

use std::io;
use std::time::Duration;

use simulator::{Broker, FUNCTION_CLIENT_ID, Resource};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{CLUSTER, World};

/// API keys and versions, as the function sends them.
const API_VERSIONS: (i16, i16) = (18, 0);
const SASL_HANDSHAKE: (i16, i16) = (17, 1);
const SASL_AUTHENTICATE: (i16, i16) = (36, 1);
const METADATA: (i16, i16) = (3, 4);

const PLAIN: &[u8] = b"\x00\x05PLAIN";
/// No topics, and no creation of topics.
const NO_TOPICS: &[u8] = &[0, 0, 0, 0, 0];

/// A connection to a broker.
struct Client {
    stream: TcpStream,
    client_id: &'static str,
}

impl Client {
    /// Connects as the function.
    async fn connect(address: &str) -> Self {
        Self::connect_as(FUNCTION_CLIENT_ID, address).await
    }

    async fn connect_as(client_id: &'static str, address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, client_id }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, api: (i16, i16), body: &[u8]) {
        let frame = request(self.client_id, api, body);
        self.write(&frame).await;
    }

    /// Returns the body of the next response.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let stream = &mut self.stream;
        let read = async {
            let length = stream.read_u32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut frame).await?;
            io::Result::Ok(frame)
        };
        let mut frame = timeout(TIMEOUT, read).await??;
        assert_eq!(frame[..4], CORRELATION_ID.to_be_bytes());
        Ok(frame.split_off(4))
    }

    async fn call(&mut self, api: (i16, i16), body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(api, body).await;
        self.receive().await
    }

    /// Chooses the mechanism, and returns the error code for a token.
    async fn authenticate(&mut self, key: &(String, String)) -> i16 {
        self.call(SASL_HANDSHAKE, PLAIN).await.unwrap();
        error_code(&self.call(SASL_AUTHENTICATE, &token(key)).await.unwrap())
    }

    /// Returns the bytes that the broker sends until it closes the connection.
    async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        timeout(TIMEOUT, self.stream.read_to_end(&mut rest)).await??;
        Ok(rest)
    }

    async fn assert_closed(&mut self) {
        assert_eq!(self.rest().await.unwrap(), b"");
    }
}

const CORRELATION_ID: i32 = 7;

/// Time after which a test fails because the broker neither responds nor closes the connection.
const TIMEOUT: Duration = Duration::from_secs(5);

fn request(client_id: &str, (api_key, version): (i16, i16), body: &[u8]) -> Vec<u8> {
    let mut frame = [api_key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(CORRELATION_ID.to_be_bytes());
    frame.extend(i16::try_from(client_id.len()).unwrap().to_be_bytes());
    frame.extend(client_id.as_bytes());
    frame.extend(body);
    sized(&frame)
}

/// Returns the bytes after their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

fn token((id, secret): &(String, String)) -> Vec<u8> {
    sized(format!("\0{id}\0{secret}").as_bytes())
}

fn error_code(body: &[u8]) -> i16 {
    i16::from_be_bytes(*body.first_chunk().unwrap())
}

impl World {
    /// Returns a world with brokers in its Kafka cluster.
    async fn with_brokers(count: usize) -> Self {
        let world = Self::new().await;
        world.simulator.add_brokers(CLUSTER, count);
        world
    }

    fn change_cluster(&self, change: impl FnOnce(&mut Resource)) {
        change(self.simulator.state().resources.get_mut(CLUSTER).unwrap());
    }

    fn change_broker(&self, index: usize, change: impl FnOnce(&mut Broker)) {
        self.change_cluster(|cluster| change(&mut cluster.brokers[index]));
    }

    fn broker_address(&self, index: usize) -> String {
        let state = self.simulator.state();
        state.resources[CLUSTER].brokers[index].address.clone()
    }

    fn bootstrap(&self) -> String {
        let state = self.simulator.state();
        state.resources[CLUSTER].bootstrap.clone().unwrap()
    }

    /// Connects to a broker as the function, and returns the error code for a key.
    async fn authenticate_at(&self, index: usize, key: &(String, String)) -> i16 {
        let mut client = Client::connect(&self.broker_address(index)).await;
        client.authenticate(key).await
    }
}
