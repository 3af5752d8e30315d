//! The operations: what a broker responds, and the state of a connection.
//!
//! <https://github.com/apache/kafka>
//! `clients/src/main/java/org/apache/kafka/common/security/authenticator/SaslServerAuthenticator.java`

use std::time::{Instant, SystemTime};

use super::frame::{Body, Frame, Token, Writer};
use super::responses::{
    ILLEGAL_SASL_STATE, NONE, Reply, SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM,
    UNSUPPORTED_VERSION, api_versions, closing, error_reply, metadata, reply, sasl_authenticate,
    sasl_handshake,
};
use super::{Broker, BrokerBehavior};
use crate::confluent::api_key::KeyType;
use crate::http::faults::Fault;
use crate::http::request::{Authentication, Request, Service};
use crate::state::State;

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
        if let Some(rejection) = rejection(session, frame) {
            return rejection;
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

/// Returns the reply to a frame that the broker does not expect or support.
fn rejection(session: &Session, frame: &Frame) -> Option<Reply> {
    let is_supported = frame.is_supported();
    match (session.expects(frame), frame.operation().as_str()) {
        (true, _) if is_supported => None,
        // https://cwiki.apache.org/confluence/display/KAFKA/KIP-511%3A+Collect+and+Expose+Client%27s+Name+and+Version+in+the+Brokers
        (true, "ApiVersions") => Some(error_reply(frame, UNSUPPORTED_VERSION)),
        (false, _) if session.stage == Stage::MechanismChosen && is_supported => {
            Some(closing(error_reply(frame, ILLEGAL_SASL_STATE)))
        }
        _ => Some(Reply::Close),
    }
}
