//! The operations: what a broker responds, and the state of a connection.
//!
//! <https://github.com/apache/kafka>
//! `clients/src/main/java/org/apache/kafka/common/security/authenticator/SaslServerAuthenticator.java`

use std::time::{Instant, SystemTime};

use super::frame::{APIS, Body, Frame, Token, Writer};
use super::{Broker, BrokerBehavior};
use crate::confluent::api_key::KeyType;
use crate::http::faults::Fault;
use crate::http::request::{Authentication, Request, Service};
use crate::state::State;

/// <https://kafka.apache.org/protocol#protocol_error_codes>
const NONE: i16 = 0;
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;
const UNSUPPORTED_VERSION: i16 = 35;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connected,
    VersionsReturned,
    MechanismChosen,
    Authenticated,
}

/// A connection to a broker.
pub(super) struct Session {
    pub(super) cluster: String,
    /// The broker that serves the connection.
    pub(super) node_id: i32,
    pub(super) is_bootstrap: bool,
    pub(super) stage: Stage,
    number: usize,
    key_id: Option<String>,
}

/// What the broker does after a frame.
pub(super) enum Reply {
    Respond {
        bytes: Vec<u8>,
        /// The error code; `None` if the bytes are not the broker's own response.
        status: Option<u16>,
        closes: bool,
    },
    Close,
    Reset,
    Stall,
    Interrupt,
}

impl Session {
    /// Returns the target of the connection's requests in the log.
    pub(super) fn target(&self) -> String {
        if self.is_bootstrap {
            "bootstrap".to_owned()
        } else {
            self.node_id.to_string()
        }
    }

    /// Returns whether the broker expects the operation at this stage.
    pub(super) fn expects(&self, frame: &Frame) -> bool {
        let operations: &[&str] = match self.stage {
            Stage::Connected => &["ApiVersions", "SaslHandshake"],
            Stage::VersionsReturned => &["SaslHandshake"],
            Stage::MechanismChosen => &["SaslAuthenticate"],
            Stage::Authenticated => &["ApiVersions", "Metadata"],
        };
        operations.contains(&frame.operation().as_str())
    }

    fn log_entry(&mut self, frame: &Frame) -> Request {
        if let Some(Body::SaslAuthenticate(Some(token))) = frame.body() {
            self.key_id = Some(token.key_id);
        }
        let authentication = self.key_id.clone().map(Authentication::Basic);
        Request {
            service: Service::KafkaBroker,
            method: String::new(),
            target: self.target(),
            operation: Some(frame.operation()),
            authentication: authentication.unwrap_or_default(),
            key_id: self.key_id.clone(),
            connection: self.number,
            status: None,
            received_at: SystemTime::now(),
            responded_at: None,
        }
    }
}

impl State {
    /// Returns the session of a new connection; `None` if the broker cannot be reached.
    pub(super) fn connect(
        &self,
        cluster: &str,
        node_id: Option<i32>,
        number: usize,
    ) -> Option<Session> {
        let brokers = &self.resources.get(cluster)?.brokers;
        let listed: Vec<_> = brokers.iter().filter(|broker| broker.is_listed).collect();
        let broker = match node_id {
            Some(node_id) => self.broker(cluster, node_id)?,
            None => listed.get(number.checked_rem(listed.len())?)?,
        };
        (broker.behavior != BrokerBehavior::Unreachable).then(|| Session {
            cluster: cluster.to_owned(),
            node_id: broker.node_id,
            is_bootstrap: node_id.is_none(),
            stage: Stage::Connected,
            number,
            key_id: None,
        })
    }

    pub(super) fn broker(&self, cluster: &str, node_id: i32) -> Option<&Broker> {
        let mut brokers = self.resources.get(cluster)?.brokers.iter();
        brokers.find(|broker| broker.node_id == node_id)
    }

    /// Logs a frame, checks it, and returns its index and its fault.
    pub(super) fn log_frame(
        &mut self,
        session: &mut Session,
        frame: &Frame,
    ) -> (usize, Option<Fault>) {
        self.current_request = frame.operation();
        self.requests.push(session.log_entry(frame));
        self.check_frame(session, frame);
        let index = self.requests.len() - 1;
        (index, self.faults.remove(&index))
    }

    pub(super) fn finish_frame(&mut self, index: usize, status: Option<u16>) {
        if let Some(logged) = self.requests.get_mut(index) {
            logged.status = status;
            logged.responded_at = Some(SystemTime::now());
        }
    }

    /// Executes a frame as the broker's behavior specifies.
    pub(super) fn execute_frame(&mut self, session: &mut Session, frame: &Frame) -> Reply {
        self.current_request = frame.operation();
        let broker = self.broker(&session.cluster, session.node_id);
        let behavior = broker.map_or(BrokerBehavior::Unreachable, |broker| {
            broker.behavior.clone()
        });
        let operation = frame.operation();
        let reply = match behavior {
            BrokerBehavior::Unreachable => Reply::Reset,
            BrokerBehavior::ClosesWithoutResponse(at) if at == operation => Reply::Close,
            BrokerBehavior::Stalls(at) if at == operation => Reply::Stall,
            BrokerBehavior::RespondsWithError(at, code) if at == operation => {
                error_reply(frame, code)
            }
            BrokerBehavior::RespondsWith(at, bytes) if at == operation => {
                let reply = self.broker_reply(session, frame);
                Reply::Respond {
                    bytes,
                    status: None,
                    closes: !matches!(reply, Reply::Respond { closes: false, .. }),
                }
            }
            _ => self.broker_reply(session, frame),
        };
        self.check_current_keys();
        reply
    }

    fn broker_reply(&mut self, session: &mut Session, frame: &Frame) -> Reply {
        if !session.expects(frame) {
            return match session.stage {
                Stage::MechanismChosen if frame.is_supported() => {
                    closing(error_reply(frame, ILLEGAL_SASL_STATE))
                }
                _ => Reply::Close,
            };
        }
        if !frame.is_supported() {
            // https://cwiki.apache.org/confluence/display/KAFKA/KIP-511
            return match frame.operation().as_str() {
                "ApiVersions" => error_reply(frame, UNSUPPORTED_VERSION),
                _ => Reply::Close,
            };
        }
        match frame.body() {
            None => Reply::Close,
            Some(Body::SaslAuthenticate(None)) => error_reply(frame, SASL_AUTHENTICATION_FAILED),
            Some(Body::ApiVersions) => {
                if session.stage == Stage::Connected {
                    session.stage = Stage::VersionsReturned;
                }
                let body = api_versions(NONE, |_| true);
                reply(frame, NONE, body)
            }
            Some(Body::SaslHandshake { mechanism }) if mechanism == "PLAIN" => {
                session.stage = Stage::MechanismChosen;
                reply(frame, NONE, sasl_handshake(NONE, &["PLAIN"]))
            }
            Some(Body::SaslHandshake { .. }) => {
                let code = UNSUPPORTED_SASL_MECHANISM;
                closing(reply(frame, code, sasl_handshake(code, &["PLAIN"])))
            }
            Some(Body::SaslAuthenticate(Some(token))) => {
                if !self.is_accepted_by_broker(session, &token) {
                    return error_reply(frame, SASL_AUTHENTICATION_FAILED);
                }
                session.stage = Stage::Authenticated;
                reply(frame, NONE, sasl_authenticate(frame, NONE))
            }
            Some(Body::Metadata { .. }) => {
                let body = self.metadata(&session.cluster, frame.api_version);
                reply(frame, NONE, body)
            }
        }
    }

    /// Returns whether the broker accepts the key, and counts the attempt.
    fn is_accepted_by_broker(&mut self, session: &Session, token: &Token) -> bool {
        let (cluster, node_id) = (session.cluster.clone(), session.node_id);
        let Some(key) = self.find_key(&token.key_id, &token.secret) else {
            return false;
        };
        let is_in_scope = key.resource == cluster || key.key_type == KeyType::Global;
        if !is_in_scope || !token.authorization_id.is_empty() {
            return false;
        }
        let is_propagated = Instant::now() >= key.accepted_from;
        if !key.created_by_function {
            return is_propagated;
        }
        let attempt = (cluster, node_id, token.key_id.clone());
        let attempts = self.broker_attempts.entry(attempt).or_default();
        let number = std::mem::replace(attempts, *attempts + 1);
        let broker = self.broker(&session.cluster, node_id);
        let propagation = broker.map(|broker| broker.propagation.as_slice());
        let answer = propagation.and_then(|propagation| propagation.get(number));
        answer.copied().unwrap_or(is_propagated)
    }

    /// Returns the body of a response with the listed brokers.
    fn metadata(&self, cluster: &str, version: i16) -> Writer {
        let brokers = self.resources.get(cluster).map(|found| &found.brokers);
        let listed: Vec<_> = brokers
            .into_iter()
            .flatten()
            .filter(|broker| broker.is_listed)
            .map(|broker| (broker.node_id, broker.host_and_port()))
            .collect();
        metadata(version, &listed, Some(cluster))
    }
}

impl Broker {
    /// Returns the host and port that the metadata lists.
    fn host_and_port(&self) -> (String, i32) {
        let of_listener = || {
            let (host, port) = self.address.rsplit_once(':').unwrap_or_default();
            (host.to_owned(), port.parse().unwrap_or_default())
        };
        self.advertised.clone().unwrap_or_else(of_listener)
    }
}

fn reply(frame: &Frame, code: i16, body: Writer) -> Reply {
    Reply::Respond {
        bytes: body.into_frame(frame.correlation_id),
        status: Some(code.cast_unsigned()),
        closes: false,
    }
}

fn closing(reply: Reply) -> Reply {
    match reply {
        Reply::Respond { bytes, status, .. } => Reply::Respond {
            bytes,
            status,
            closes: true,
        },
        other => other,
    }
}

/// Returns a response with an error code. After a failure of the authentication, the broker closes the connection.
pub(super) fn error_reply(frame: &Frame, code: i16) -> Reply {
    match frame.operation().as_str() {
        "ApiVersions" => reply(frame, code, api_versions(code, |key| key == frame.api_key)),
        "SaslHandshake" => {
            // The error lists the mechanisms that the broker supports.
            let other: &[&str] = match code {
                UNSUPPORTED_SASL_MECHANISM => &["OAUTHBEARER"],
                _ => &[],
            };
            closing(reply(frame, code, sasl_handshake(code, other)))
        }
        "SaslAuthenticate" => closing(reply(frame, code, sasl_authenticate(frame, code))),
        // The error code of Metadata is a topic's, so a response without topics has none.
        // https://github.com/apache/kafka clients/src/main/java/org/apache/kafka/common/requests/MetadataRequest.java
        "Metadata" => reply(frame, code, metadata(frame.api_version, &[], None)),
        _ => Reply::Close,
    }
}

/// `ApiVersionsResponse.json`, in version 0 whatever the request's version.
fn api_versions(code: i16, is_listed: impl Fn(i16) -> bool) -> Writer {
    let apis: Vec<_> = APIS.iter().filter(|api| is_listed(api.key)).collect();
    Writer::default().int16(code).array(&apis, |writer, api| {
        let versions = &api.versions;
        writer
            .int16(api.key)
            .int16(*versions.start())
            .int16(*versions.end())
    })
}

/// `SaslHandshakeResponse.json`.
fn sasl_handshake(code: i16, mechanisms: &[&str]) -> Writer {
    Writer::default()
        .int16(code)
        .array(mechanisms, |writer, name| {
            writer.nullable_string(Some(name))
        })
}

/// `SaslAuthenticateResponse.json`. The session does not expire.
///
/// Confluent Cloud's message: <https://github.com/confluentinc/confluent-kafka-python/issues/1034>
fn sasl_authenticate(frame: &Frame, code: i16) -> Writer {
    let message = match code {
        NONE => None,
        SASL_AUTHENTICATION_FAILED => Some("Authentication failed"),
        _ => Some("The server experienced an unexpected error when processing the request."),
    };
    let token_length = 0;
    let writer = Writer::default()
        .int16(code)
        .nullable_string(message)
        .int32(token_length);
    if frame.api_version == 0 {
        writer
    } else {
        writer.int64(0)
    }
}

/// `MetadataResponse.json`, without topics. Without brokers, there is no controller.
fn metadata(version: i16, brokers: &[(i32, (String, i32))], cluster: Option<&str>) -> Writer {
    let mut writer = Writer::default();
    if version >= 3 {
        let throttle_time = 0;
        writer = writer.int32(throttle_time);
    }
    writer = writer.array(brokers, |writer, (node_id, (host, port))| {
        let writer = writer
            .int32(*node_id)
            .nullable_string(Some(host))
            .int32(*port);
        if version >= 1 {
            let rack = None;
            writer.nullable_string(rack)
        } else {
            writer
        }
    });
    if version >= 2 {
        writer = writer.nullable_string(cluster);
    }
    if version >= 1 {
        writer = writer.int32(brokers.first().map_or(-1, |(node_id, _)| *node_id));
    }
    writer = writer.array::<()>(&[], |writer, ()| writer);
    if version >= 8 {
        let authorized_operations = i32::MIN;
        writer = writer.int32(authorized_operations);
    }
    writer
}
