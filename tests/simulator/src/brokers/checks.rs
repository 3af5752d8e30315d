//! The checks of a frame: the order of the frames, the versions that the function uses, and where a key may be sent.
//!
//! A client other than the function may use any version that the broker supports, and any cluster's key.

use super::Broker;
use super::frame::{Body, Frame, Token};
use super::operations::{Session, Stage};
use crate::confluent::api_key::{ApiKey, KeyType};
use crate::confluent::token_exchange::ACCESS_TOKEN_MARK;
use crate::generate::CANARY;
use crate::guarantees::{Guarantee, contains};
use crate::state::State;
use crate::sts::web_identity_token::SIGNATURE_PREFIX;

/// The client ID of the function's frames.
pub const FUNCTION_CLIENT_ID: &str = "confluent-key-rotation";

/// The versions that the function uses: `SaslHandshake` 1, for the errors of `SaslAuthenticate`; `SaslAuthenticate` 1, the
/// last one without tagged fields; `Metadata` 4, the first one that can turn off the creation of topics.
///
/// <https://kafka.apache.org/protocol>
const FUNCTION_VERSIONS: [(&str, i16); 4] = [
    ("ApiVersions", 0),
    ("SaslHandshake", 1),
    ("SaslAuthenticate", 1),
    ("Metadata", 4),
];

/// Length from which a part of a key in a frame is no coincidence.
const MIN_LEAK_LENGTH: usize = 12;

impl State {
    /// Records the violations of a frame.
    pub(super) fn check_frame(&mut self, session: &Session, frame: &Frame) {
        self.check_frame_for_leaks(frame);
        if !session.expects(frame) {
            let when = match session.stage {
                Stage::Connected | Stage::VersionsReturned => "before SaslHandshake",
                Stage::MechanismChosen => "before SaslAuthenticate",
                Stage::Authenticated => "after authentication",
            };
            self.record_violation(&format!("the broker does not expect this frame {when}"));
        }
        self.check_version(frame);
        if frame.is_supported() {
            self.check_body(session, frame);
        }
    }

    fn check_version(&mut self, frame: &Frame) {
        let (operation, version) = (frame.operation(), frame.api_version);
        let is_documented = if is_of_function(frame) {
            FUNCTION_VERSIONS.contains(&(operation.as_str(), version))
        } else {
            // Clients start with the last version that they support.
            frame.is_supported() || operation == "ApiVersions"
        };
        if !is_documented {
            self.record_violation(&format!(
                "version {version} is not documented for the client"
            ));
        }
    }

    fn check_body(&mut self, session: &Session, frame: &Frame) {
        let is_of_function = is_of_function(frame);
        match frame.body() {
            None => self.record_violation("the simulator does not support the body"),
            Some(Body::SaslHandshake { mechanism }) if is_of_function && mechanism != "PLAIN" => {
                self.record_violation("the mechanism is not PLAIN");
            }
            Some(Body::SaslAuthenticate(token)) => self.check_token(session, frame, token.as_ref()),
            Some(Body::Metadata {
                topics: Some(1..), ..
            }) => {
                self.record_violation("the simulator has no topics to name");
            }
            Some(Body::Metadata {
                topics,
                creates_topics,
            }) if is_of_function && (topics.is_none() || creates_topics) => {
                self.record_violation("the function needs no topics, and creates none");
            }
            Some(_) => {}
        }
    }

    /// Checks the token, and the destination of the key.
    fn check_token(&mut self, session: &Session, frame: &Frame, token: Option<&Token>) {
        let Some(token) = token else {
            self.record_violation("the token is malformed");
            return;
        };
        if !token.authorization_id.is_empty() {
            self.record_violation("the token has an authorization ID");
        }
        let is_bearer = [ACCESS_TOKEN_MARK, SIGNATURE_PREFIX]
            .iter()
            .any(|mark| contains(&frame.bytes, mark));
        if is_bearer {
            let message = "a bearer token is sent to a broker";
            self.record_broken(Guarantee::CredentialDestination, message);
        } else if contains(token.key_id.as_bytes(), CANARY) {
            let message = "the token has a secret in place of the API key ID";
            self.record_broken(Guarantee::SecretsNotLogged, message);
        } else if is_of_function(frame) {
            self.check_destination(session, token);
        }
    }

    /// Checks that the broker is one of the key's cluster, and that a client can know it.
    fn check_destination(&mut self, session: &Session, token: &Token) {
        let guarantee = Guarantee::CredentialDestination;
        let (id, cluster, node_id) = (&token.key_id, &session.cluster, session.node_id);
        let is_listed = |broker: &Broker| broker.is_listed;
        if !session.is_bootstrap && !self.broker(cluster, node_id).is_some_and(is_listed) {
            let message =
                format!("{id} is sent to broker {node_id}, which the metadata does not list");
            self.record_broken(guarantee, &message);
        }
        let key = self.keys.get(id).filter(|key| key.secret == token.secret);
        let is_of_other =
            |key: &&ApiKey| key.resource != *cluster && key.key_type != KeyType::Global;
        if let Some(key) = key.filter(is_of_other) {
            let resource = &key.resource;
            let message = format!("{id} is scoped to {resource}, not to the broker's {cluster}");
            self.record_broken(guarantee, &message);
        }
    }

    /// Checks that only a token contains an API key ID or an API secret.
    fn check_frame_for_leaks(&mut self, frame: &Frame) {
        let bytes = match frame.operation().as_str() {
            "SaslAuthenticate" => frame.client_id.as_bytes(),
            _ => &frame.bytes,
        };
        let keys = self.keys.values().chain(self.deleted_keys.values());
        // A test may issue an API secret that any frame contains.
        let mut parts = keys
            .flat_map(|key| [&key.id, &key.secret])
            .filter(|part| part.len() >= MIN_LEAK_LENGTH);
        let has_key = parts.any(|part| contains(bytes, part));
        drop(parts);
        if has_key || contains(bytes, CANARY) {
            let message = "a frame contains an API key ID or a secret outside of the token";
            self.record_broken(Guarantee::SecretsNotLogged, message);
        }
    }

    /// Records that a client sent a frame before the response to the previous one. During authentication, no client does, and
    /// the function never does.
    pub(super) fn check_pipelining(&mut self, session: &Session, frame: &Frame) {
        if is_of_function(frame) || session.stage != Stage::Authenticated {
            self.current_request = frame.operation();
            self.record_violation("the next frame was sent before the response");
        }
    }
}

fn is_of_function(frame: &Frame) -> bool {
    frame.client_id == FUNCTION_CLIENT_ID
}
