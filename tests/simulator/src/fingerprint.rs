//! Recognizes equal states, so that a test that reaches the same state in thousands of ways continues from it once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::confluent::created_at::known_time;
use crate::secret::epoch_seconds;
use crate::state::State;

/// The precision of ages, in seconds. Tests make everything older by hours, and the function waits ten minutes before it heals.
const PRECISION: u64 = 600;

/// Added to each age, in seconds: a date that a test arranges in an hour is less than an hour ahead when it is compared.
const TOLERANCE: u64 = 60;

/// The time from which all keys are accepted that are accepted now.
static ACCEPTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl State {
    /// Returns a hash of everything on which a new process of the function and the guarantees depend. If two states have the same
    /// fingerprint, they have the same future, except for random IDs.
    ///
    /// Times are compared by their order, and by their age in units of ten minutes. The creation times of different owners' keys are not
    /// compared with each other: a deletion compares only those of one owner. So a secret must keep its owner.
    ///
    /// # Panics
    /// If a cluster has brokers, or if a fault names a request that was received before the fault was injected.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let (everything, ages) = self.normalized();
        hash(&(everything, ages))
    }

    /// Returns a hash as [`fingerprint`](Self::fingerprint) does, but without ages. Use it for states that began in the same state: their
    /// ages can differ only because they are compared at different times.
    ///
    /// # Panics
    /// As `fingerprint` does.
    #[must_use]
    pub fn fingerprint_without_ages(&self) -> u64 {
        let (everything, _) = self.normalized();
        hash(&everything)
    }

    /// Returns everything but ages, and the ages.
    fn normalized(&self) -> (String, String) {
        let mut state = self.fork();
        let (keys, secrets) = (state.normalize_keys(), state.normalize_secrets());
        let (places, secrets): (Vec<usize>, Vec<u64>) = secrets.into_iter().unzip();
        let ages = format!("{:?}", (keys, secrets));
        // Each copy has its own listeners.
        for resource in state.resources.values_mut() {
            resource.url.clear();
        }
        let received = self.requests.len();
        let faults = self.faults.iter();
        let faults: Vec<_> = faults
            .map(|(nth, fault)| (nth.checked_sub(received).expect("a later request"), *fault))
            .collect();
        let Self {
            region,
            organization,
            owners,
            identity_pools,
            resources,
            keys,
            deleted_keys,
            secrets,
            wrong_secrets,
            violations,
            controls,
            frozen_list,
            stored_keys,
            deletion_evidence,
            rotating,
            are_interleaved,
            retire_runs,
            // A new process has no token and no page of a list, and has sent nothing to a broker.
            web_identity_tokens: _,
            access_tokens: _,
            cursors: _,
            broker_attempts: _,
            // These determine only the next random IDs, and the creation time of a key that a test arranges.
            serial: _,
            last_created_at: _,
            // This only saves checks.
            is_checked: _,
            // These are for messages, and for the tests of leaks.
            current_request: _,
            canaries: _,
            // A copy has none.
            requests: _,
            account: _,
            faults: _,
            replacements: _,
            holds: _,
            usage: _,
        } = state;
        let mut wrong_secrets: Vec<_> = wrong_secrets.into_iter().map(|(id, _)| id).collect();
        // Nothing depends on their order.
        wrong_secrets.sort();
        let organization = (region, organization, owners, identity_pools, resources);
        let keys = (keys, deleted_keys, stored_keys, wrong_secrets);
        let guarantees = (
            deletion_evidence,
            violations,
            rotating,
            are_interleaved,
            retire_runs,
        );
        let everything = (
            organization,
            keys,
            secrets,
            frozen_list,
            guarantees,
            controls,
            faults,
            places,
        );
        (format!("{everything:?}"), ages)
    }

    /// Replaces the creation time of each key by its place in the order of the owner's keys. Returns the ages.
    ///
    /// Keys of different owners are not compared: whether two such times are equal depends on when a second begins.
    fn normalize_keys(&mut self) -> Vec<u64> {
        let mut times: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for key in self.keys.values().chain(self.deleted_keys.values()) {
            let time = known_time(key.created_at.as_deref());
            times.entry(key.owner.clone()).or_default().extend(time);
        }
        let mut ages = Vec::new();
        let keys = self.keys.values_mut().chain(self.deleted_keys.values_mut());
        for key in keys {
            if let Some(time) = known_time(key.created_at.as_deref()) {
                let earlier = times[&key.owner].range(..time);
                key.created_at = Some(earlier.count().to_string());
                ages.push(age(time.cast_unsigned()));
            }
            if key.accepted_from <= Instant::now() {
                key.accepted_from = *ACCEPTED;
            }
        }
        ages
    }

    /// Removes the dates of all secrets. Returns the place of each one in their order, and its age.
    fn normalize_secrets(&mut self) -> Vec<(usize, u64)> {
        let mut normalized = Vec::new();
        for secret in self.secrets.values_mut() {
            let dates: Vec<f64> = secret.dates().map(|date| *date).collect();
            for date in secret.dates() {
                let place = dates.iter().filter(|other| **other < *date).count();
                normalized.push((place, age(Duration::from_secs_f64(*date).as_secs())));
                *date = 0.0;
            }
            // The token of each version is random.
            for token in secret.rotation_tokens.values_mut().flatten() {
                token.clear();
            }
        }
        normalized
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Returns how long ago a time in seconds since 1970 was, or how far ahead it is, in units of [`PRECISION`].
fn age(time: u64) -> u64 {
    let now = Duration::from_secs_f64(epoch_seconds()).as_secs();
    (now.abs_diff(time) + TOLERANCE) / PRECISION
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Fault, Role, Simulator, timestamp};

    const OWNER: &str = "sa-orders";

    /// Starts services with one secret, and returns its ARN.
    async fn with_secret() -> (Simulator, String) {
        let simulator = Simulator::start().await;
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        simulator.add_key(OWNER, None, None);
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
    async fn only_the_fingerprint_without_ages_is_the_same_hours_later() {
        let (simulator, _) = with_secret().await;
        let fingerprints = || {
            let state = simulator.state();
            (state.fingerprint(), state.fingerprint_without_ages())
        };
        let (with_ages, without) = fingerprints();

        simulator.pass(Duration::from_hours(1));

        let (later, later_without) = fingerprints();
        assert_ne!(later, with_ages);
        assert_eq!(later_without, without);
    }

    #[tokio::test]
    async fn the_order_of_two_owners_keys_and_of_wrong_secrets_does_not_change_the_fingerprint() {
        let (simulator, _) = with_secret().await;
        simulator.add_owner("sa-billing", &[]);
        let (id, _) = simulator.add_key("sa-billing", None, None);
        let wrong = |id: &str| (id.to_owned(), "wrong".to_owned());
        simulator.state().wrong_secrets = vec![wrong("one"), wrong("other")];
        let mut fingerprints = Vec::new();

        for seconds in [-10, 10] {
            let mut state = simulator.state();
            state.keys.get_mut(&id).unwrap().created_at = Some(timestamp(seconds));
            state.wrong_secrets.reverse();
            fingerprints.push(state.fingerprint());
        }

        assert_eq!(fingerprints[0], fingerprints[1]);
    }

    #[tokio::test]
    async fn a_change_of_what_the_future_depends_on_changes_the_fingerprint() {
        type Change = fn(&Simulator, &str);
        let changes: [(&str, Change); 13] = [
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
            ("the roles of an owner", |simulator, _| {
                simulator.add_owner(OWNER, &[Role::OrganizationAdmin]);
            }),
            ("the order of creation times", |simulator, _| {
                let mut state = simulator.state();
                let [one, other] = state
                    .keys
                    .values_mut()
                    .collect::<Vec<_>>()
                    .try_into()
                    .ok()
                    .unwrap();
                std::mem::swap(&mut one.created_at, &mut other.created_at);
            }),
            ("a key that is not accepted yet", |simulator, _| {
                let mut state = simulator.state();
                let key = state.keys.values_mut().next().unwrap();
                key.accepted_from += Duration::from_mins(1);
            }),
            ("the order of dates", |simulator, arn| {
                let mut state = simulator.state();
                let secret = state.secret_mut(arn);
                secret.last_changed = secret.last_changed.map(|date| date - 1.0);
            }),
            ("a fault that has not fired", |simulator, _| {
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
