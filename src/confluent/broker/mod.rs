//! The brokers of a Kafka cluster, at which clients authenticate with SASL/PLAIN.
//!
//! This module encodes the frames itself: a crate for the protocol would add 35 KiB and eight crates to the program. Connections are
//! direct: `HTTPS_PROXY` does not apply to them.
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
use crate::http::{self, BROKER_PORT, Deadline, printable};
use frame::{Malformed, Operation, SASL_AUTHENTICATION_FAILED};

pub use frame::Address;

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
    /// Parses `HOST:PORT`, with or without a scheme such as `SASL_SSL://`. Also accepts a list separated by commas, which Confluent
    /// Cloud has not been observed to return. Returns an empty endpoint if it is invalid.
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

    /// Returns the bootstrap endpoint of a cluster whose REST endpoint has this host. Assumes that the hosts are equal, as in the
    /// examples of Confluent's API.
    pub fn at(host: &str) -> Self {
        let host = host.to_owned();
        Self(vec![Address {
            host,
            port: BROKER_PORT,
        }])
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
    /// The outcome at each broker, or only at the bootstrap endpoint if it did not accept the key or did not return the brokers.
    pub outcomes: Vec<(Address, ProbeOutcome)>,
    /// Whether the outcomes are those of brokers.
    pub has_brokers: bool,
    /// The number of brokers at which no attempt was made, because the cluster has more than [`MAX_BROKERS`].
    pub omitted: usize,
}

impl Round {
    /// Creates the round of a cluster whose brokers are unknown.
    fn of(bootstrap: Address, outcome: ProbeOutcome) -> Self {
        Self {
            outcomes: vec![(bootstrap, outcome)],
            has_brokers: false,
            omitted: 0,
        }
    }

    /// Returns the number of authentication attempts, the one at the bootstrap endpoint included.
    pub fn attempts(&self) -> u32 {
        let at_bootstrap = u32::from(self.has_brokers);
        at_bootstrap + u32::try_from(self.outcomes.len()).unwrap_or(u32::MAX)
    }

    /// Returns the number of brokers that accepted the key.
    pub fn accepted(&self) -> usize {
        let outcomes = self.outcomes.iter();
        let accepted = outcomes.filter(|(_, outcome)| *outcome == ProbeOutcome::Accepted);
        accepted.count()
    }

    /// Returns the most significant outcome other than `Accepted`: a rejection, else an inconclusive outcome, else an unreachable
    /// broker. Returns `None` if all brokers accepted the key.
    pub fn failed(&self) -> Option<&ProbeOutcome> {
        let severity = |outcome: &&ProbeOutcome| match outcome {
            ProbeOutcome::RejectedByBroker(_) => 2,
            ProbeOutcome::BrokerUnreachable(..) => 0,
            _ => 1,
        };
        let failed = self.outcomes.iter().map(|(_, outcome)| outcome);
        let failed = failed.filter(|outcome| **outcome != ProbeOutcome::Accepted);
        failed.max_by_key(severity)
    }

    /// Returns the unreachable brokers.
    pub fn unreachable(&self) -> impl Iterator<Item = &Address> {
        let outcomes = self.outcomes.iter();
        let unreachable =
            outcomes.filter(|(_, outcome)| matches!(outcome, ProbeOutcome::BrokerUnreachable(..)));
        unreachable.map(|(broker, _)| broker)
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
        let attempt = self.attempt_at_bootstrap(key, bootstrap, true, deadline);
        let (address, attempt) = attempt.await?;
        let mut brokers = match attempt {
            Ok(brokers) => brokers,
            Err(outcome) => return Ok(Round::of(address, outcome)),
        };
        if brokers.is_empty() {
            let problem = "the metadata names no broker".to_owned();
            return Ok(Round::of(address, ProbeOutcome::Inconclusive(problem)));
        }
        let omitted = brokers.len().saturating_sub(MAX_BROKERS);
        brokers.truncate(MAX_BROKERS);
        let attempts = brokers.into_iter().map(async |broker| {
            let outcome = match self.attempt(key, &broker, false, deadline).await {
                Ok(Ok(_)) => ProbeOutcome::Accepted,
                Ok(Err(outcome)) => outcome,
                Err(error) => {
                    ProbeOutcome::BrokerInconclusive(broker.to_string(), error.to_string())
                }
            };
            (broker, outcome)
        });
        let outcomes = stream::iter(attempts).buffered(MAX_CONNECTIONS);
        let outcomes = outcomes.collect().await;
        Ok(Round {
            outcomes,
            has_brokers: true,
            omitted,
        })
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
        let attempt = self.attempt_at_bootstrap(key, bootstrap, false, deadline);
        let (_, attempt) = attempt.await?;
        Ok(attempt.err().unwrap_or(ProbeOutcome::Accepted))
    }

    /// Attempts each address of the bootstrap endpoint until one is reachable. Returns it with the outcome.
    async fn attempt_at_bootstrap(
        &self,
        key: &ApiKey,
        bootstrap: &Bootstrap,
        requests_metadata: bool,
        deadline: Deadline,
    ) -> Result<(Address, Attempt), http::Error> {
        let problem = "Confluent Cloud returned no valid bootstrap endpoint".to_owned();
        let (host, port) = ("unknown".to_owned(), BROKER_PORT);
        let unknown = Err(ProbeOutcome::Inconclusive(problem));
        let mut last = (Address { host, port }, unknown);
        for address in &bootstrap.0 {
            let attempt = self.attempt(key, address, requests_metadata, deadline);
            last = (address.clone(), attempt.await?);
            if !matches!(last.1, Err(ProbeOutcome::BrokerUnreachable(..))) {
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
        requests_metadata: bool,
        deadline: Deadline,
    ) -> Result<Attempt, http::Error> {
        let hosts = &self.http.allowed;
        let is_plain = hosts.check_broker(&broker.host, broker.port)?;
        let limit = self.http.limits.request;
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
        let attempted = timeout(deadline.remaining(), attempt).await;
        let attempted = attempted.unwrap_or_else(|_| Err(inconclusive("timed out")));
        Ok(attempted.map_err(|outcome| at(broker, outcome)))
    }

    /// Performs the TLS handshake with the broker `host`. Confluent Cloud routes a connection by the server name (SNI).
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
            ProbeOutcome::BrokerInconclusive(broker.to_string(), problem)
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
        Err(_) => Err(format!("timed out after {limit:?}")),
    }
}
