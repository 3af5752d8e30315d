//! Recognizes equal states, so that a test that reaches the same state in thousands of ways continues from it once.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;
use std::time::Instant;

use crate::confluent::created_at::known_time;
use crate::secret::{Secret, epoch_seconds};
use crate::state::State;

/// The precision of ages, in seconds. The function compares the dates of a secret only with times of ten minutes and more.
const PRECISION: f64 = 600.0;

/// The time from which all keys are accepted that are accepted now.
static ACCEPTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl State {
    /// Returns a hash of everything on which a new process of the function and the guarantees depend. If two states have the same
    /// fingerprint, they have the same future, except for random IDs and for tokens: a new process requests its own.
    ///
    /// Dates are compared by age, and the creation times of keys by order.
    ///
    /// # Panics
    /// If a cluster has brokers.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut state = self.fork();
        state.normalize_keys();
        // Each copy has its own listeners.
        for resource in state.resources.values_mut() {
            resource.url.clear();
        }
        for secret in state.secrets.values_mut() {
            secret.normalize();
        }
        let wrong_secrets: Vec<_> = state.wrong_secrets.iter().map(|(id, _)| id).collect();
        let faults = self.faults.iter();
        let faults = faults.map(|(nth, fault)| (nth - self.requests.len(), fault));
        let organization = (&state.owners, &state.identity_pools, &state.resources);
        let keys = (&state.keys, &state.deleted_keys, &state.stored_keys);
        let guarantees = (&state.deletion_evidence, &state.violations, wrong_secrets);
        let runs = (&state.rotating, state.are_interleaved, state.retire_runs);
        let behavior = (&state.controls, faults.collect::<Vec<_>>());
        let everything = (
            organization,
            keys,
            &state.secrets,
            guarantees,
            runs,
            behavior,
        );
        let mut hasher = DefaultHasher::new();
        format!("{everything:?}").hash(&mut hasher);
        hasher.finish()
    }

    /// Replaces the creation time of each key by its place in their order.
    fn normalize_keys(&mut self) {
        let keys = self.keys.values().chain(self.deleted_keys.values());
        let times = keys.filter_map(|key| known_time(key.created_at.as_deref()));
        let times: BTreeSet<_> = times.collect();
        let keys = self.keys.values_mut().chain(self.deleted_keys.values_mut());
        for key in keys {
            if let Some(time) = known_time(key.created_at.as_deref()) {
                key.created_at = Some(times.range(..time).count().to_string());
            }
            if key.accepted_from <= Instant::now() {
                key.accepted_from = *ACCEPTED;
            }
        }
    }
}

impl Secret {
    /// Replaces each date by its age, and removes the tokens of earlier events: the next event has a new one.
    fn normalize(&mut self) {
        let now = epoch_seconds();
        for date in self.dates() {
            *date = ((now - *date) / PRECISION).floor();
        }
        self.rotation_tokens.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Fault, Role, Simulator};

    const OWNER: &str = "sa-orders";

    /// Starts services with one secret, and returns its ARN.
    async fn with_secret() -> (Simulator, String) {
        let simulator = Simulator::start().await;
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        let (id, secret) = simulator.add_key(OWNER, None, None);
        let value = format!(
            r#"{{"apiKey": "{id}", "apiSecret": "{secret}", "serviceAccountId": "{OWNER}"}}"#
        );
        let arn = simulator.add_secret("orders", &value);
        (simulator, arn)
    }

    #[tokio::test]
    async fn a_copy_has_the_same_fingerprint_later_and_on_other_ports() {
        let (simulator, _) = with_secret().await;
        simulator.add_kafka_cluster("lkc-orders", "env-prod");
        let before = simulator.state().fingerprint();
        std::thread::sleep(Duration::from_millis(5));

        let fork = simulator.fork().await;

        assert_eq!(fork.state().fingerprint(), before);
    }

    #[tokio::test]
    async fn every_change_that_the_function_can_observe_changes_the_fingerprint() {
        type Change = fn(&Simulator, &str);
        let changes: [(&str, Change); 9] = [
            ("a key", |simulator, _| {
                simulator.add_key(OWNER, None, None);
            }),
            ("a deleted key", |simulator, _| {
                let id = simulator.state().keys.keys().next().unwrap().clone();
                simulator.delete_key_manually(&id);
            }),
            ("a version", |simulator, arn| {
                simulator.start_rotation(arn);
            }),
            ("a label", |simulator, arn| {
                let version = simulator.state().secret(arn).labels["AWSCURRENT"].clone();
                simulator.move_label(arn, "mine", Some(&version));
            }),
            ("a value", |simulator, arn| {
                let current = simulator.state().secret(arn).labels["AWSCURRENT"].clone();
                let mut state = simulator.state();
                let version = state.secret_mut(arn).versions.get_mut(&current).unwrap();
                version.value = None;
            }),
            ("the age of the secret", |simulator, _| {
                simulator.pass(Duration::from_hours(1));
            }),
            ("the behavior of a service", |simulator, _| {
                simulator.state().controls.list_lag = 1;
            }),
            ("the violations", |simulator, _| {
                simulator.state().violations.push("a violation".to_owned());
            }),
            ("a fault that has not occurred yet", |simulator, _| {
                simulator.fail(0, Fault::ResetAfter);
            }),
        ];
        for (name, change) in changes {
            let (simulator, arn) = with_secret().await;
            let before = simulator.state().fingerprint();

            change(&simulator, &arn);

            assert_ne!(simulator.state().fingerprint(), before, "{name}");
            simulator.state().violations.clear();
        }
    }
}
