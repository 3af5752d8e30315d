//! The brokers of a Kafka cluster, at which clients authenticate with SASL/PLAIN.
//!
//! The frames are written by hand: with a crate for the protocol, the program would be 35 KiB larger and contain eight more crates.
//! A connection is direct, because an HTTP proxy does not forward it.
//!
//! <https://docs.confluent.io/cloud/current/networking/overview.html>

pub mod frame;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ApiKey, Client, ProbeOutcome};
use crate::http::{self, Deadline, printable};
use frame::{Malformed, Operation, SASL_AUTHENTICATION_FAILED};

pub use frame::Address;

/// The port of the brokers.
///
/// <https://docs.confluent.io/cloud/current/networking/overview.html>
const PORT: u16 = 9092;

/// The longest time until a connection is established, and the longest TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest number of concurrent connections to the brokers of a cluster.
const MAX_CONNECTIONS: usize = 16;

/// The largest number of brokers at which a key is verified.
pub const MAX_BROKERS: usize = 100;

/// The addresses of a cluster's bootstrap endpoint. They are empty if it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap(Vec<Address>);

impl Bootstrap {
    /// Parses a bootstrap endpoint as the control plane returns it: pairs of host and port, separated by commas, each of which may
    /// begin with `SASL_SSL://`. Returns an empty one if it has another form.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
    pub fn parse(endpoint: &str) -> Self {
        let address = |endpoint: &str| {
            let endpoint = endpoint.trim();
            let endpoint = endpoint
                .split_once("://")
                .map_or(endpoint, |(_, rest)| rest);
            let (host, port) = endpoint.rsplit_once(':')?;
            let (host, port) = (host.to_owned(), port.parse().ok()?);
            Some(Address { host, port })
        };
        let addresses = endpoint.split(',').map(address).collect::<Option<_>>();
        Self(addresses.unwrap_or_default())
    }

    /// Returns the bootstrap endpoint of a cluster whose REST endpoint has this host. In Confluent Cloud, the hosts are equal.
    pub fn at(host: &str) -> Self {
        let host = host.to_owned();
        Self(vec![Address { host, port: PORT }])
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Metadata may contain anything as a host name.
        write!(f, "{}:{}", printable(&self.host), self.port)
    }
}

/// One authentication attempt at each broker of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The outcome at each broker, or only at the bootstrap endpoint if it did not accept the key and return the brokers.
    pub outcomes: Vec<ProbeOutcome>,
    /// The number of brokers at which no attempt was made, because the cluster has more than [`MAX_BROKERS`].
    pub omitted: usize,
}

impl Round {
    /// Creates the round of a cluster whose brokers are unknown.
    pub(crate) fn of(outcome: ProbeOutcome) -> Self {
        Self {
            outcomes: vec![outcome],
            omitted: 0,
        }
    }

    /// Returns the number of brokers that accepted the key.
    pub fn accepted(&self) -> usize {
        let accepted = |outcome: &&ProbeOutcome| **outcome == ProbeOutcome::Accepted;
        self.outcomes.iter().filter(accepted).count()
    }

    /// Returns the outcome that says most about the key, if not all brokers accepted it: a rejection, or else a response, or else
    /// a missing connection.
    pub fn failed(&self) -> Option<&ProbeOutcome> {
        let severity = |outcome: &&ProbeOutcome| match outcome {
            ProbeOutcome::RejectedByBroker(_) => 2,
            ProbeOutcome::BrokerUnreachable(..) => 0,
            _ => 1,
        };
        let failed = self.outcomes.iter();
        let failed = failed.filter(|outcome| **outcome != ProbeOutcome::Accepted);
        failed.max_by_key(severity)
    }

    /// Returns the brokers without a connection.
    pub fn unreachable(&self) -> Vec<&str> {
        let outcomes = self.outcomes.iter();
        let brokers = outcomes.filter_map(|outcome| match outcome {
            ProbeOutcome::BrokerUnreachable(broker, _) => Some(broker.as_str()),
            _ => None,
        });
        brokers.collect()
    }
}

/// The brokers that the metadata names, if the key was accepted, or else the outcome.
type Attempt = Result<Vec<Address>, ProbeOutcome>;

impl Client {
    /// Authenticates with `key` at the bootstrap endpoint of a cluster and then, on separate connections, at each broker that its
    /// metadata names.
    ///
    /// # Errors
    /// Returns only [`http::Error::HostNotAllowed`], for the bootstrap endpoint. Another broker that is not allowed is inconclusive.
    pub async fn authenticate_at_brokers(
        &self,
        key: &ApiKey,
        bootstrap: &Bootstrap,
        deadline: Deadline,
    ) -> Result<Round, http::Error> {
        let attempted = self.attempt_at_bootstrap(key, bootstrap, true, deadline);
        let (port, attempt) = attempted.await?;
        let mut brokers = match attempt {
            Ok(brokers) => brokers,
            Err(outcome) => return Ok(Round::of(outcome)),
        };
        if brokers.is_empty() {
            return Ok(Round::of(inconclusive("the metadata names no broker")));
        }
        let omitted = brokers.len().saturating_sub(MAX_BROKERS);
        brokers.truncate(MAX_BROKERS);
        let attempts = brokers.iter().map(async |broker| {
            match self.attempt(key, broker, port, false, deadline).await {
                Ok(Ok(_)) => ProbeOutcome::Accepted,
                Ok(Err(outcome)) => outcome,
                Err(error) => ProbeOutcome::Inconclusive(error.to_string()),
            }
        });
        let outcomes = stream::iter(attempts).buffered(MAX_CONNECTIONS);
        let outcomes = outcomes.collect().await;
        Ok(Round { outcomes, omitted })
    }

    /// Authenticates once with `key` at the bootstrap endpoint.
    ///
    /// # Errors
    /// Returns only [`http::Error::HostNotAllowed`].
    pub async fn authenticate_at_bootstrap(
        &self,
        key: &ApiKey,
        bootstrap: &Bootstrap,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, http::Error> {
        let attempted = self.attempt_at_bootstrap(key, bootstrap, false, deadline);
        let (_, attempt) = attempted.await?;
        Ok(attempt.err().unwrap_or(ProbeOutcome::Accepted))
    }

    /// Attempts each address of the bootstrap endpoint until one is reachable. Returns its port, too.
    async fn attempt_at_bootstrap(
        &self,
        key: &ApiKey,
        bootstrap: &Bootstrap,
        requests_metadata: bool,
        deadline: Deadline,
    ) -> Result<(u16, Attempt), http::Error> {
        let unknown = inconclusive("Confluent Cloud returned no valid bootstrap endpoint");
        let mut last = (PORT, Err(unknown));
        for address in &bootstrap.0 {
            let attempt = self.attempt(key, address, PORT, requests_metadata, deadline);
            let attempt = attempt.await?;
            let is_unreachable = matches!(attempt, Err(ProbeOutcome::BrokerUnreachable(..)));
            last = (address.port, attempt);
            if !is_unreachable {
                break;
            }
        }
        Ok(last)
    }

    /// Authenticates with `key` at `broker`, on a new connection. Returns the brokers of the cluster if `requests_metadata`.
    async fn attempt(
        &self,
        key: &ApiKey,
        broker: &Address,
        port: u16,
        requests_metadata: bool,
        deadline: Deadline,
    ) -> Result<Attempt, http::Error> {
        let hosts = &self.http.allowed;
        let is_plain = hosts.check_broker(&broker.host, broker.port, port)?;
        let limit = self.http.limits.request.min(deadline.remaining());
        let attempt = async {
            let address = (broker.host.as_str(), broker.port);
            let connected = within(CONNECT_TIMEOUT.min(limit), TcpStream::connect(address)).await;
            let unreachable = |cause| ProbeOutcome::BrokerUnreachable(broker.to_string(), cause);
            let stream = connected.map_err(unreachable)?;
            if is_plain {
                return authenticate(stream, key, requests_metadata, limit).await;
            }
            let stream = self.tls(stream, &broker.host, limit).await;
            authenticate(stream.map_err(unreachable)?, key, requests_metadata, limit).await
        };
        Ok(attempt.await.map_err(|outcome| at(broker, outcome)))
    }

    /// Performs the TLS handshake with the broker `host`. Confluent Cloud routes a connection by the name that it contains.
    ///
    /// # Errors
    /// Returns the cause of a failure.
    pub async fn tls(
        &self,
        stream: TcpStream,
        host: &str,
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let handshake = TlsConnector::from(Arc::clone(&self.broker_tls)).connect(name, stream);
        within(CONNECT_TIMEOUT.min(limit), handshake).await
    }
}

/// Authenticates with `key` on a new connection, whose responses each take at most `limit`. Returns the brokers of the cluster if
/// `requests_metadata`.
///
/// # Errors
/// Returns [`ProbeOutcome::NotAccepted`] or [`ProbeOutcome::Inconclusive`].
pub async fn authenticate(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    key: &ApiKey,
    requests_metadata: bool,
    limit: Duration,
) -> Attempt {
    for operation in [Operation::SaslHandshake, Operation::SaslAuthenticate] {
        let response = send(&mut stream, operation, key, limit).await?;
        match frame::error_code(operation, &response) {
            Ok(0) => {}
            Ok(SASL_AUTHENTICATION_FAILED) if operation == Operation::SaslAuthenticate => {
                return Err(ProbeOutcome::NotAccepted);
            }
            Ok(code) => return Err(failed(operation, &format!("returned error {code}"))),
            Err(Malformed) => return Err(failed(operation, MALFORMED)),
        }
    }
    if !requests_metadata {
        return Ok(Vec::new());
    }
    let response = send(&mut stream, Operation::Metadata, key, limit).await?;
    frame::brokers(&response).map_err(|Malformed| failed(Operation::Metadata, MALFORMED))
}

const MALFORMED: &str = "returned a malformed response";

fn failed(operation: Operation, problem: &str) -> ProbeOutcome {
    ProbeOutcome::Inconclusive(format!("{operation} {problem}"))
}

fn inconclusive(problem: &str) -> ProbeOutcome {
    ProbeOutcome::Inconclusive(problem.to_owned())
}

/// Names the broker in an outcome.
fn at(broker: &Address, outcome: ProbeOutcome) -> ProbeOutcome {
    match outcome {
        ProbeOutcome::NotAccepted => ProbeOutcome::RejectedByBroker(broker.to_string()),
        ProbeOutcome::Inconclusive(problem) => {
            ProbeOutcome::Inconclusive(format!("broker {broker}: {problem}"))
        }
        outcome => outcome,
    }
}

/// Sends a request and reads the response. The end of the stream is no evidence that the broker rejected the key.
async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    operation: Operation,
    key: &ApiKey,
    limit: Duration,
) -> Result<Vec<u8>, ProbeOutcome> {
    let exchange = async {
        stream.write_all(&frame::request(operation, key)).await?;
        stream.flush().await?;
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let Some(length) = frame::response_length(prefix) else {
            return Err(io::Error::other("the response has an implausible length"));
        };
        // Grows as the response arrives: the length is only what the broker says.
        let mut response = Vec::new();
        let mut body = stream.take(length as u64);
        if body.read_to_end(&mut response).await? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(response)
    };
    let exchanged = within(limit, exchange).await;
    exchanged.map_err(|cause| failed(operation, &format!("did not complete ({cause})")))
}

/// Waits for `work`. Returns the cause if it fails or takes longer than `limit`.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(printable(&error.to_string())),
        Err(_) => Err("it took too long".to_owned()),
    }
}
