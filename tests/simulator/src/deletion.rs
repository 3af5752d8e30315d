//! The guarantees for a deletion: which keys are in use, which keys are the secret's, and in which state the function
//! deletes nothing.
//!
//! The secret is the one to which the key belongs. A key that belongs to no secret is another application's. The current key is
//! the one for the same resource.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::confluent::api_key::ApiKey;
use crate::confluent::created_at::known_time;
use crate::guarantees::Guarantee;
use crate::http::request::{HttpRequest, Service};
use crate::http::response::Response;
use crate::ownership::OwnershipTag;
use crate::secret::slot::Slot;
use crate::secret::{CurrentKeyGuarantee, Secret, SecretValue};
use crate::state::State;

/// What the simulator remembers of earlier requests to judge a deletion.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeletionEvidence {
    /// The secrets whose labels were read. Requests of several invocations and for several secrets may interleave.
    pub(crate) described: BTreeSet<String>,
    /// The secret and the version, if the last request to Secrets Manager was a `GetSecretValue`.
    pub(crate) read: Option<(String, String)>,
    /// The keys in the bodies of `PutSecretValue`, even if it failed.
    offered_keys: BTreeSet<String>,
    /// The owners of the last `POST` that was rejected for quota.
    exhausted_quotas: Vec<String>,
}

/// Broken guarantees with a message.
type Broken = Vec<(Guarantee, String)>;

impl State {
    /// Checks the guarantees for a key that is about to be deleted.
    pub(crate) fn check_delete(&mut self, key: &ApiKey, request: &HttpRequest) {
        let secret = self.owning_secret(key);
        let mut broken = self.uses(key, secret);
        if request.basic().is_some_and(|(id, _)| id == key.id) {
            let message = format!("{} authenticates the request", key.id);
            broken.push((Guarantee::KeyInUseKept, message));
        }
        match secret {
            None => {
                let message = format!(
                    "{} is another application's key: it has no secret's ownership tag, and no current key replaces it",
                    key.id
                );
                broken.push((Guarantee::OtherKeysKept, message));
            }
            Some(secret) if self.is_own_unstored_key(key, secret) => {}
            Some(secret) => {
                broken.extend(self.other_secret(key, secret));
                broken.extend(scope_problem(self, key, secret));
                for slot in slots(key, secret) {
                    broken.extend(self.order_problem(key, slot));
                    broken.extend(self.current_key_fault(key, secret, slot));
                }
                broken.extend(self.overlap_problem(key, secret));
                broken.extend(ambiguity(key, secret));
            }
        }
        for (guarantee, message) in broken {
            self.record_broken(guarantee, &message);
        }
    }

    /// Returns the staging labels whose version holds the key.
    ///
    /// A secret without [`CurrentKeyGuarantee`] does not use the key of another one: the function cannot find a copy of a
    /// secret.
    fn uses(&self, key: &ApiKey, owner: Option<&Secret>) -> Broken {
        let mut broken = Vec::new();
        for secret in self.secrets.values() {
            let is_other = owner.is_some_and(|owner| owner.arn != secret.arn);
            if is_other && secret.current_key_guarantee == CurrentKeyGuarantee::Off {
                continue;
            }
            for (label, version) in &secret.labels {
                let value = secret.versions[version].value.as_ref();
                if value.is_some_and(|value| value.contains(&key.id)) {
                    let message = format!("{label} of {} names {}", secret.name, key.id);
                    broken.push((Guarantee::KeyInUseKept, message));
                }
            }
        }
        broken
    }

    /// Returns whether the key was created by this version's createSecret, which could not store it.
    ///
    /// The simulator does not know which invocation sends a request. Before this deletion, createSecret tried to store the
    /// key, or read the version last. A cleanup reads the labels last.
    fn is_own_unstored_key(&self, key: &ApiKey, secret: &Secret) -> bool {
        let evidence = &self.deletion_evidence;
        let Some(tag) = OwnershipTag::parse(&key.description) else {
            return false;
        };
        key.created_by_function
            && !self.was_stored(&key.id)
            && (evidence.offered_keys.contains(&key.id)
                || evidence.read.as_ref() == Some(&(secret.arn.clone(), tag.version)))
    }

    /// Returns whether a version holds the key, even one without a label. No user knows the secret of another key that the
    /// function created.
    fn was_stored(&self, id: &str) -> bool {
        let mut versions = self
            .secrets
            .values()
            .flat_map(|secret| secret.versions.values());
        versions.any(|version| {
            version
                .value
                .as_ref()
                .is_some_and(|value| value.contains(id))
        })
    }

    /// Checks that the secret's labels were read, and that no other secret is in rotation.
    fn other_secret(&self, key: &ApiKey, secret: &Secret) -> Broken {
        let (id, name) = (&key.id, &secret.name);
        let mut broken = Vec::new();
        if self.controls.secrets_are_elsewhere {
            return broken;
        }
        let is_exclusive = !self.are_interleaved && self.retire_runs == 0;
        let other = self.rotating.first().filter(|arn| **arn != secret.arn);
        if let Some(rotating) = other.filter(|_| is_exclusive) {
            let message = format!("{id} is a key of {name}, and {rotating} is in rotation");
            broken.push((Guarantee::OtherKeysKept, message));
        }
        if !self.deletion_evidence.described.contains(&secret.arn) {
            let message = format!("{id} is a key of {name}, whose labels were not read before");
            broken.push((Guarantee::OtherKeysKept, message));
        }
        broken
    }

    /// Checks that the key was created before the current key in a slot.
    fn order_problem(&self, key: &ApiKey, slot: &Slot) -> Option<(Guarantee, String)> {
        let owner = key.owner.as_deref().unwrap_or_default();
        if self.is_quota_exhausted(owner) {
            return None;
        }
        let (id, current) = (&key.id, slot.key_id().unwrap_or_default());
        let created = |key: Option<&ApiKey>| known_time(key?.created_at.as_deref());
        let problem = match (created(Some(key)), created(self.keys.get(current))) {
            (Some(key), Some(current)) if key < current => return None,
            (Some(_), Some(_)) => "was not created before",
            _ => "has an unknown age relative to",
        };
        let message = format!("{id} {problem} the current key {current}");
        Some((Guarantee::YoungerKeysKept, message))
    }

    /// Checks that the current key in a slot works. An orphaned key that was never stored cannot replace it.
    fn current_key_fault(&self, key: &ApiKey, secret: &Secret, slot: &Slot) -> Broken {
        let guarantee = match secret.current_key_guarantee {
            CurrentKeyGuarantee::Off => CurrentKeyGuarantee::Exists,
            guarantee => guarantee,
        };
        let problem = self.slot_problem(secret, slot, guarantee);
        problem
            .filter(|_| self.was_stored(&key.id))
            .map(|problem| {
                let message = format!(
                    "{} is deleted, and AWSCURRENT of {} {problem}",
                    key.id, secret.name
                );
                (Guarantee::WorkingKeyKept, message)
            })
            .into_iter()
            .collect()
    }

    /// Returns whether the last `POST` of a key for this owner was rejected for quota.
    pub(crate) fn is_quota_exhausted(&self, owner: &str) -> bool {
        let mut owners = self.deletion_evidence.exhausted_quotas.iter();
        owners.any(|exhausted| exhausted == owner)
    }

    /// Records the effect of a deletion. A rejected `POST` permits one.
    pub(crate) fn record_deletion(&mut self, key: &ApiKey) {
        let quotas = &mut self.deletion_evidence.exhausted_quotas;
        quotas.retain(|owner| key.owner.as_ref() != Some(owner));
    }

    /// Records the keys that a `PutSecretValue` contains.
    pub(crate) fn record_offered_keys(&mut self, request: &HttpRequest) {
        if request.operation() != Some("PutSecretValue") {
            return;
        }
        let body = String::from_utf8_lossy(&request.body);
        let offered = self.keys.keys().filter(|id| body.contains(*id)).cloned();
        self.deletion_evidence.offered_keys.extend(offered);
    }

    /// Records whether a `POST` was rejected for quota.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#section/Known-Issues>
    pub(crate) fn record_quota(&mut self, request: &HttpRequest, response: &Response) {
        let creates = request.service == Service::ControlPlane
            && request.method == http::Method::POST
            && request.path == "/iam/v2/api-keys";
        if !creates {
            return;
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(owner) = body["spec"]["owner"]["id"].as_str() else {
            return;
        };
        let quotas = &mut self.deletion_evidence.exhausted_quotas;
        quotas.retain(|exhausted| exhausted != owner);
        let body = String::from_utf8_lossy(&response.body);
        let is_rejected = response.status == 402
            || (response.status == 400 && body.contains("is currently limited to"));
        if is_rejected {
            quotas.push(owner.to_owned());
        }
    }
}

/// Returns the slots of the current value for the key's resource.
fn slots<'s>(key: &ApiKey, secret: &'s Secret) -> impl Iterator<Item = &'s Slot> + Clone {
    let slots = secret.slots("AWSCURRENT").iter();
    slots.filter(|slot| slot.resource.eq_ignore_ascii_case(&key.resource))
}

/// Checks that the key has the owner, a resource and the environment of the secret, and the owner and the resource of the
/// current key.
fn scope_problem(state: &State, key: &ApiKey, secret: &Secret) -> Broken {
    let value = secret.value("AWSCURRENT").unwrap_or_default();
    let value: Value = serde_json::from_str(value).unwrap_or_default();
    let owner = value["serviceAccountId"].as_str();
    let environment = value["environmentId"].as_str();
    let current = slots(key, secret).filter_map(|slot| state.keys.get(slot.key_id()?));
    let mut differences = Vec::new();
    if key.owner.as_deref() != owner || current.clone().any(|current| current.owner != key.owner) {
        differences.push("owner");
    }
    if slots(key, secret).next().is_none()
        || current
            .clone()
            .any(|current| current.resource != key.resource)
    {
        differences.push("resource");
    }
    if key.environment.is_some()
        && environment.is_some()
        && key.environment.as_deref() != environment
    {
        differences.push("environment");
    }
    let broken = |difference| {
        let message = format!("{} has another {difference} than {}", key.id, secret.name);
        (Guarantee::OtherKeysKept, message)
    };
    differences.into_iter().map(broken).collect()
}

/// Returns the versions and replicas whose key is unknown.
fn ambiguity(key: &ApiKey, secret: &Secret) -> Broken {
    let mut problems = Vec::new();
    for (label, version) in &secret.labels {
        let version = &secret.versions[version];
        let is_unknown = version.is_unreadable
            || match &version.value {
                None => false,
                Some(SecretValue::Binary(_)) => true,
                Some(SecretValue::String(value)) => serde_json::from_str::<Value>(value).is_err(),
            };
        if is_unknown {
            problems.push(format!("the key of {label} is unknown"));
        }
    }
    for (destination, status) in secret.replication_statuses() {
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ReplicationStatusType.html
        // https://docs.aws.amazon.com/secretsmanager/latest/userguide/cross-account-replicate-status.html
        if !["InSync", "Detached"].contains(&status) {
            problems.push(format!("the replica {destination} is {status}"));
        }
    }
    let broken = |problem| {
        let message = format!("{} of {} is deleted, but {problem}", key.id, secret.name);
        (Guarantee::AmbiguousStateKept, message)
    };
    problems.into_iter().map(broken).collect()
}
