//! The promises of the rotation function, checked at every request.
//!
//! 1. `AWSCURRENT` names a key that opens its resource, at every moment.
//! 2. No key is deleted while `AWSCURRENT`, `AWSPENDING` or (with [`keep_previous`](crate::Knobs))
//!    `AWSPREVIOUS` names it.
//! 4. Only keys of the secret are deleted, and only those of its `serviceAccountId`.
//! 5. No secret is where it may be logged: a URL, a header other than `Authorization`, a body that is
//!    not there to carry it.
//! 6. A credential is sent only to where it belongs.
//!
//! The numbers are those of the function's list; the others are for the tests to check. What is
//! recorded names the request and the key's id, never a secret.

use crate::call::{Call, Plane};
use crate::keys::ApiKey;
use crate::mint::CANARY;
use crate::secrets::{Secret, Watch};
use crate::state::State;

impl State {
    /// Records a broken promise.
    pub(crate) fn broken(&mut self, promise: u8, text: &str) {
        let title = match promise {
            1 => "AWSCURRENT names a key that opens its resource",
            2 => "no key in use is deleted",
            4 => "only keys of the secret are deleted",
            5 => "no secret is where it may be logged",
            _ => "a credential goes only to where it belongs",
        };
        self.violation(&format!("promise {promise} ({title}): {text}"));
    }

    /// Promise 1, which holds between any two requests. One breach is reported once.
    pub(crate) fn check_promises(&mut self) {
        let breach = |secret: &Secret| {
            let what = self.breach(secret)?;
            Some((secret.arn.clone(), format!("of {} {what}", secret.name)))
        };
        let breaches: Vec<_> = self.secrets.values().filter_map(breach).collect();
        for (arn, text) in breaches {
            self.secret_mut(&arn).watch = Watch::Off;
            self.broken(1, &text);
        }
    }

    fn breach(&self, secret: &Secret) -> Option<String> {
        if secret.watch == Watch::Off {
            return None;
        }
        let Some(names) = secret.names("AWSCURRENT") else {
            // A secret whose first key is still to be made never named one.
            let is_to_be_made = secret.names("AWSPREVIOUS").is_none() && secret.owner().is_some();
            return (!is_to_be_made).then(|| "names no key".to_owned());
        };
        let id = &names.key_id;
        match self.keys.get(id).filter(|key| key.lingers.is_none()) {
            None => Some(format!("names {id}, which does not exist")),
            Some(key) if key.secret != names.key_secret => {
                Some(format!("has a wrong secret for {id}"))
            }
            Some(key) if secret.watch == Watch::Opens && !key.is_accepted() => {
                Some(format!("names {id}, which is not accepted yet"))
            }
            Some(_) => None,
        }
    }

    /// Promises 2 and 4, for a key that is about to be deleted.
    pub(crate) fn check_delete(&mut self, key: &ApiKey) {
        let id = &key.id;
        let mut broken = Vec::new();
        for secret in self.secrets.values() {
            for label in ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"] {
                let kept =
                    label != "AWSPREVIOUS" || (self.knobs.keep_previous && !has_begun_anew(secret));
                if kept && secret.key_named_by(label) == Some(id) {
                    broken.push((2, format!("{label} of {} names {id}", secret.name)));
                }
            }
        }
        if self.is_foreign(key) {
            broken.push((4, format!("{id} is somebody else's")));
        }
        for (arn, owner) in self.named.get(id).into_iter().flatten() {
            if key.owner.as_ref() != Some(owner) {
                broken.push((4, format!("{id} does not belong to {owner}, as {arn} says")));
            }
        }
        let owners: Vec<_> = self.secrets.values().filter_map(Secret::owner).collect();
        if !key
            .owner
            .as_deref()
            .is_some_and(|owner| owners.iter().any(|known| known == owner))
        {
            broken.push((
                4,
                format!("the owner of {id} is no secret's serviceAccountId"),
            ));
        }
        if let ([rotating], Some(made_for)) = (self.rotating.as_slice(), &key.made_for)
            && rotating != made_for
        {
            broken.push((
                4,
                format!("{id} was made for {made_for}, and {rotating} is being rotated"),
            ));
        }
        for (promise, text) in broken {
            self.broken(promise, &text);
        }
    }

    /// Promise 5: every secret the simulator hands out carries the canary.
    pub(crate) fn check_for_leaks(&mut self, call: &Call) {
        let has_canary = |bytes: &[u8]| {
            bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes())
        };
        if has_canary(call.target.as_bytes()) {
            self.broken(5, "a secret is in the URL");
        }
        for (name, value) in &call.headers {
            if name != http::header::AUTHORIZATION && has_canary(value.as_bytes()) {
                self.broken(5, &format!("a secret is in the header {name}"));
            }
        }
        let may_carry =
            call.plane == Plane::SecretsManager && call.operation() == Some("PutSecretValue");
        if !may_carry && has_canary(&call.body) {
            self.broken(5, "a secret is in the body");
        }
    }
}

/// Whether the next rotation has begun: its version is not the current one and has no value yet. It has begun also when
/// a late invocation of another rotation has taken `AWSPENDING` to its own version meanwhile.
fn has_begun_anew(secret: &Secret) -> bool {
    let begun = [secret.pending(), secret.incomplete.as_deref()];
    begun
        .into_iter()
        .flatten()
        .any(|version| secret.versions[version].value.is_none())
}
