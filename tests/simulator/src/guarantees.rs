//! The guarantees of the rotation function that the simulator checks at every request. Tests check the others.
//!
//! A violation names the request and the API key ID, never a secret.

use std::fmt;

use crate::confluent::token_exchange::{ACCESS_TOKEN_MARK, is_token_exchange};
use crate::generate::CANARY;
use crate::http::request::{HttpRequest, Service};
use crate::secret::slot::Slot;
use crate::secret::{CurrentKeyGuarantee, Secret};
use crate::state::State;
use crate::sts::web_identity_token::SIGNATURE_PREFIX;

/// A guarantee that the simulator checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Holds between any two requests. [`CurrentKeyGuarantee`] can relax it for a secret.
    CurrentKeyAccepted,
    /// A key is in use while a version with any staging label holds it, or it authenticates the request.
    KeyInUseKept,
    /// By [`Overlap`](crate::Overlap) and the secret's resource tags. Does not apply if the quota is exceeded.
    PreviousKeyKept,
    /// A key is the secret's by its ownership tag, or by `replaces=` in the current key's, and has the secret's owner and
    /// resource.
    OtherKeysKept,
    /// The creation times of both keys are known. Does not apply to one key if the quota is exceeded.
    YoungerKeysKept,
    /// The current key may be the only one that works.
    WorkingKeyKept,
    /// A version with a staging label that cannot be read or parsed may hold any key, and a replica that is not in sync may
    /// serve an earlier value.
    AmbiguousStateKept,
    /// A pending value holds a new key in each slot of the value that it replaces, for the same resource.
    AllKeysReplaced,
    /// A pending value contains the new key of a slot wherever the value that it replaces contains its own, and is otherwise
    /// equal.
    CopiesReplaced,
    /// A secret value may appear only in the header `Authorization`, in the body of `PutSecretValue` and in the token of
    /// `SaslAuthenticate`, an access token only in the header, and the signature of a web identity token only in the form of
    /// the token exchange.
    SecretsNotLogged,
    /// A key is sent only to its resource, to the listed brokers of its cluster and to the control plane, and an access token
    /// only to the control plane.
    CredentialDestination,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CurrentKeyAccepted => "AWSCURRENT names a key that its resource accepts",
            Self::KeyInUseKept => "a key in use is never deleted",
            Self::PreviousKeyKept => "the previous key is deleted only after the overlap",
            Self::OtherKeysKept => "only keys of the secret are deleted",
            Self::YoungerKeysKept => {
                "a key is deleted only if it was created before the current key"
            }
            Self::WorkingKeyKept => "a key is deleted only while the current key works",
            Self::AmbiguousStateKept => "no key is deleted in an ambiguous state",
            Self::AllKeysReplaced => "a rotation replaces all keys of a secret in one version",
            Self::CopiesReplaced => "every copy of a key is replaced, and nothing else",
            Self::SecretsNotLogged => "no secret value appears where it may be logged",
            Self::CredentialDestination => "a credential is sent only to its own service",
        })
    }
}

impl State {
    /// Records a broken guarantee.
    pub(crate) fn record_broken(&mut self, guarantee: Guarantee, message: &str) {
        self.record_violation(&format!("broken guarantee ({guarantee}): {message}"));
    }

    /// Checks [`Guarantee::CurrentKeyAccepted`] for every secret. Reports each secret only once.
    pub(crate) fn check_current_keys(&mut self) {
        let problem = |secret: &Secret| {
            let problem = self.current_keys_problem(secret)?;
            let message = format!("AWSCURRENT of {} {problem}", secret.name);
            Some((secret.arn.clone(), message))
        };
        let problems: Vec<_> = self.secrets.values().filter_map(problem).collect();
        for (arn, message) in problems {
            self.secret_mut(&arn).current_key_guarantee = CurrentKeyGuarantee::Off;
            self.record_broken(Guarantee::CurrentKeyAccepted, &message);
        }
    }

    /// Returns why a current key breaks the guarantee for the secret.
    fn current_keys_problem(&self, secret: &Secret) -> Option<String> {
        let guarantee = secret.current_key_guarantee;
        // First, because this runs for each of thousands of secrets at every request.
        if guarantee == CurrentKeyGuarantee::Off {
            return None;
        }
        let slots = secret.slots("AWSCURRENT");
        if slots.is_empty() {
            return Some("names no key".to_owned());
        }
        let mut slots = slots.iter();
        slots.find_map(|slot| self.slot_problem(secret, slot, guarantee))
    }

    /// Returns why the current key in a slot breaks a guarantee.
    pub(crate) fn slot_problem(
        &self,
        secret: &Secret,
        slot: &Slot,
        guarantee: CurrentKeyGuarantee,
    ) -> Option<String> {
        if guarantee == CurrentKeyGuarantee::Off {
            return None;
        }
        let Some(id) = slot.key_id() else {
            // A slot that waits for its initial key never held one.
            let previous = secret.slot_key_id("AWSPREVIOUS", &slot.name);
            let awaits_initial_key = previous.is_none() && secret.owner().is_some();
            return (!awaits_initial_key)
                .then(|| format!("names no key in {}", slot.field("apiKey")));
        };
        match self
            .keys
            .get(id)
            .filter(|key| key.remaining_reads.is_none())
        {
            None => Some(format!("names {id}, which does not exist")),
            Some(key) if key.secret != slot.secret => {
                Some(format!("has a wrong API secret for {id}"))
            }
            Some(key) if guarantee == CurrentKeyGuarantee::Accepted && !key.is_accepted() => {
                Some(format!("names {id}, which is not accepted yet"))
            }
            Some(_) => None,
        }
    }

    /// Checks [`Guarantee::SecretsNotLogged`]. Every secret value that the simulator issues contains the canary.
    pub(crate) fn check_for_leaks(&mut self, request: &HttpRequest) {
        let has_canary = |bytes: &[u8]| contains(bytes, CANARY);
        let guarantee = Guarantee::SecretsNotLogged;
        if has_canary(request.entry.target.as_bytes()) {
            self.record_broken(guarantee, "the URL contains a secret");
        }
        for (name, value) in &request.headers {
            if name != http::header::AUTHORIZATION && has_canary(value.as_bytes()) {
                self.record_broken(guarantee, &format!("the header {name} contains a secret"));
            }
        }
        if body_has_leak(request) {
            self.record_broken(guarantee, "the body contains a secret");
        }
        let (id, secret) = request.basic().unwrap_or_default();
        let authorization = request.header("authorization").unwrap_or_default();
        let is_jwt_sent = [authorization, id, secret]
            .iter()
            .any(|value| contains(value.as_bytes(), SIGNATURE_PREFIX));
        let is_basic_token = [id, secret]
            .iter()
            .any(|value| contains(value.as_bytes(), ACCESS_TOKEN_MARK));
        if is_jwt_sent || is_basic_token {
            let message = "the header authorization contains a token of another kind";
            self.record_broken(guarantee, message);
        }
        if request.bearer().is_some() && request.service != Service::ControlPlane {
            let message = "a bearer token is sent to another service than the control plane";
            self.record_broken(Guarantee::CredentialDestination, message);
        }
    }
}

/// Returns whether the body contains a secret that the operation does not need.
fn body_has_leak(request: &HttpRequest) -> bool {
    let has_token = |bytes: &[u8]| {
        [SIGNATURE_PREFIX, ACCESS_TOKEN_MARK]
            .iter()
            .any(|mark| contains(bytes, mark))
    };
    if is_token_exchange(request) {
        let form = request.form();
        return form.iter().any(|(name, value)| {
            let is_jwt = name == "subject_token"
                && contains(value.as_bytes(), SIGNATURE_PREFIX)
                && !contains(value.as_bytes(), ACCESS_TOKEN_MARK);
            contains(name.as_bytes(), CANARY) || (contains(value.as_bytes(), CANARY) && !is_jwt)
        });
    }
    match (request.service, request.operation()) {
        (Service::SecretsManager, Some("PutSecretValue")) => has_token(&request.body),
        _ => contains(&request.body, CANARY),
    }
}

pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    // Comparing the first byte avoids nearly every call of `memcmp`.
    let is_text = |window: &[u8]| window.first() == text.first() && window == text;
    bytes.windows(text.len()).any(is_text)
}
