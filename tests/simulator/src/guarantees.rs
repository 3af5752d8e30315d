//! The guarantees of the rotation function that the simulator checks at every request. Tests check the others.
//!
//! A violation names the request and the API key ID, never a secret.

use std::fmt;

use crate::confluent::api_key::ApiKey;
use crate::generate::CANARY;
use crate::http::request::{HttpRequest, Service};
use crate::secret::{CurrentKeyGuarantee, Secret};
use crate::state::State;

/// A guarantee that the simulator checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Holds between any two requests. [`CurrentKeyGuarantee`] can relax it for a secret.
    CurrentKeyAccepted,
    /// A key is in use while `AWSCURRENT`, `AWSPENDING` or, with
    /// [`keep_previous_key`](crate::Controls::keep_previous_key), `AWSPREVIOUS` names it.
    KeyInUseKept,
    /// The owner of the key is the `serviceAccountId` of the secret.
    OtherKeysKept,
    /// A secret value may appear only in the header `Authorization` and in the body of `PutSecretValue`.
    SecretsNotLogged,
    /// A key is sent only to its resource and to the control plane.
    CredentialDestination,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CurrentKeyAccepted => "AWSCURRENT names a key that its resource accepts",
            Self::KeyInUseKept => "a key in use is never deleted",
            Self::OtherKeysKept => "only keys of the secret are deleted",
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
            let problem = self.current_key_problem(secret)?;
            let message = format!("AWSCURRENT of {} {problem}", secret.name);
            Some((secret.arn.clone(), message))
        };
        let problems: Vec<_> = self.secrets.values().filter_map(problem).collect();
        for (arn, message) in problems {
            self.secret_mut(&arn).current_key_guarantee = CurrentKeyGuarantee::Off;
            self.record_broken(Guarantee::CurrentKeyAccepted, &message);
        }
    }

    fn current_key_problem(&self, secret: &Secret) -> Option<String> {
        if secret.current_key_guarantee == CurrentKeyGuarantee::Off {
            return None;
        }
        let Some(held) = secret.held_key("AWSCURRENT") else {
            // A secret that waits for its initial key never held one.
            let awaits_initial_key =
                secret.held_key("AWSPREVIOUS").is_none() && secret.owner().is_some();
            return (!awaits_initial_key).then(|| "names no key".to_owned());
        };
        let id = &held.id;
        match self
            .keys
            .get(id)
            .filter(|key| key.remaining_reads.is_none())
        {
            None => Some(format!("names {id}, which does not exist")),
            Some(key) if key.secret != held.secret => {
                Some(format!("has a wrong API secret for {id}"))
            }
            Some(key)
                if secret.current_key_guarantee == CurrentKeyGuarantee::Accepted
                    && !key.is_accepted() =>
            {
                Some(format!("names {id}, which is not accepted yet"))
            }
            Some(_) => None,
        }
    }

    /// Checks the guarantees for a key that is about to be deleted.
    pub(crate) fn check_delete(&mut self, key: &ApiKey) {
        let mut broken = self.uses(key);
        broken.extend(self.other_keys(key));
        for (guarantee, message) in broken {
            self.record_broken(guarantee, &message);
        }
    }

    fn uses(&self, key: &ApiKey) -> Vec<(Guarantee, String)> {
        let id = &key.id;
        let mut broken = Vec::new();
        for secret in self.secrets.values() {
            for label in ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"] {
                let protects = label != "AWSPREVIOUS"
                    || (self.controls.keep_previous_key && !has_next_rotation_started(secret));
                if protects && secret.key_id(label) == Some(id) {
                    let message = format!("{label} of {} names {id}", secret.name);
                    broken.push((Guarantee::KeyInUseKept, message));
                }
            }
        }
        broken
    }

    fn other_keys(&self, key: &ApiKey) -> Vec<(Guarantee, String)> {
        let id = &key.id;
        let mut messages = Vec::new();
        if self.belongs_to_another_application(key) {
            messages.push(format!("{id} is another application's key"));
        }
        for (arn, owner) in self.holders.get(id).into_iter().flatten() {
            if key.owner.as_ref() != Some(owner) {
                messages.push(format!(
                    "{arn} names {owner} as the owner of {id}, which has another owner"
                ));
            }
        }
        let owners: Vec<_> = self.secrets.values().filter_map(Secret::owner).collect();
        if !key
            .owner
            .as_deref()
            .is_some_and(|owner| owners.iter().any(|known| known == owner))
        {
            messages.push(format!(
                "the owner of {id} is not the serviceAccountId of a secret"
            ));
        }
        if let ([rotating], Some(created_for)) = (self.rotating.as_slice(), &key.created_for)
            && rotating != created_for
        {
            messages.push(format!(
                "{id} was created for {created_for}, and {rotating} is in rotation"
            ));
        }
        messages
            .into_iter()
            .map(|message| (Guarantee::OtherKeysKept, message))
            .collect()
    }

    /// Checks [`Guarantee::SecretsNotLogged`]. Every secret value that the simulator issues contains the canary.
    pub(crate) fn check_for_leaks(&mut self, request: &HttpRequest) {
        let has_canary = |bytes: &[u8]| {
            bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes())
        };
        let guarantee = Guarantee::SecretsNotLogged;
        if has_canary(request.target.as_bytes()) {
            self.record_broken(guarantee, "the URL contains a secret");
        }
        for (name, value) in &request.headers {
            if name != http::header::AUTHORIZATION && has_canary(value.as_bytes()) {
                self.record_broken(guarantee, &format!("the header {name} contains a secret"));
            }
        }
        let may_contain_secret = request.service == Service::SecretsManager
            && request.operation() == Some("PutSecretValue");
        if !may_contain_secret && has_canary(&request.body) {
            self.record_broken(guarantee, "the body contains a secret");
        }
    }
}

/// Returns whether the next rotation has started. Its version is not current and has no value yet.
///
/// A late invocation of another rotation may have moved `AWSPENDING` to its own version in the meantime.
fn has_next_rotation_started(secret: &Secret) -> bool {
    let versions = [secret.pending_version(), secret.incomplete.as_deref()];
    versions
        .into_iter()
        .flatten()
        .any(|version| secret.versions[version].value.is_none())
}
