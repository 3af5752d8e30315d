//! Verification: a key is verified when its resource accepts it.
//!
//! A resource rejects a key until the key has propagated, and a node of the service that the key has not reached yet may
//! reject it later. The pending key is therefore verified after several consecutive accepted probes on separate connections.
//! Until the deadline, a rejection means "not propagated yet". A key that the function cannot probe must reach a minimum age. A Kafka
//! key can also be verified at the brokers.
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/troubleshoot.html>

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::target::Target;
use crate::config::{Config, KafkaVerification, KeyVerification};
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, EndpointSource, ProbeOutcome, Resource,
};
use crate::error::Error;
use crate::http::{Deadline, RESPONSE_RESERVE, Redacted, with_jitter};
use crate::secret::Slot;

/// The number of consecutive accepted probes that verify the pending key. Confluent's Terraform provider waits for two, "to
/// ensure synced across all brokers". A third costs one request: the probes always span [`REQUIRED_INTERVALS`].
///
/// <https://github.com/confluentinc/terraform-provider-confluent/blob/master/internal/provider/utils_wait.go>
const REQUIRED_ACCEPTED_PROBES: u32 = 3;

/// The number of intervals between the first and the last of these probes, in which a node without the key can show itself.
const REQUIRED_INTERVALS: u32 = 5;

/// The number of probes without a response after which an endpoint counts as unreachable.
const MAX_UNREACHABLE_PROBES: u32 = 3;

/// The number of probes, rate-limited ones excluded, after which the verification of the current key fails. The key propagated
/// long ago.
pub(super) const MAX_CURRENT_KEY_PROBES: u32 = 3;

/// The length of a wrong API secret, in characters. It is that of a real one.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
const SECRET_LENGTH: usize = 64;

/// The factor by which the interval between probes grows, and the longest interval.
pub(super) const INTERVAL_GROWTH: f64 = 1.5;
const MAX_INTERVAL: Duration = Duration::from_secs(15);

/// Verifies keys as `KEY_VERIFICATION` requires.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    pub(super) client: &'a confluent::Client,
    verification: KeyVerification,
    pub(super) kafka: KafkaVerification,
    pub(super) interval: Duration,
    propagation_wait: Option<Duration>,
}

/// The result of a verification that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The resource accepts the key.
    Verified,
    /// The endpoint is unreachable, which `KEY_VERIFICATION=best-effort` or `KAFKA_VERIFICATION=brokers` allows.
    Unreachable,
}

/// What the probes of one verification have shown about the endpoint.
#[derive(Default)]
struct Observed {
    /// Whether it has responded.
    was_reached: bool,
    /// Whether it has rejected a wrong secret.
    rejects_wrong_secret: bool,
    /// The number of probes.
    probes: u32,
    /// The number of probes in which it accepted the key, with no rejection between them. Transient outcomes don't count.
    accepted: u32,
}

impl<'a> Verifier<'a> {
    /// Creates a verifier that sends probes with `client`.
    pub fn new(client: &'a confluent::Client, config: &Config) -> Self {
        Self {
            client,
            verification: config.key_verification,
            kafka: config.kafka_verification,
            interval: config.probe_interval,
            propagation_wait: config.propagation_wait,
        }
    }

    /// Returns whether keys for `resource` are probed.
    pub fn can_probe(&self, resource: &Resource) -> bool {
        self.verification != KeyVerification::ControlPlane
            || matches!(resource.key_type.endpoint, EndpointSource::ControlPlane)
    }

    /// Verifies a key that has propagated, usually the current one, with one accepted probe. This shows that the writer of the
    /// secret value possesses the key: otherwise, a value that names another application's key could be used to obtain another
    /// key for the same owner.
    ///
    /// With `KAFKA_VERIFICATION=brokers`, the bootstrap endpoint takes the place of an unreachable REST endpoint.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyNotAccepted`] with the last outcome, [`Error::EndpointUnreachable`] unless best effort is
    /// sufficient, [`Error::Endpoint`], and [`Error::EndpointAcceptsAnyCredential`] if the endpoint does not reject a
    /// wrong secret.
    pub async fn verify_once(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let verified = self.verify_with_one_probe(key, target, deadline).await;
        self.update_cache(target, &verified);
        verified
    }

    async fn verify_with_one_probe(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let mut observed = Observed::default();
        let mut interval = self.interval;
        loop {
            let outcome = self.check(key, target, deadline, &mut observed).await?;
            let delay = match outcome {
                ProbeOutcome::Accepted => return Ok(Verification::Verified),
                // A rate-limited probe shows nothing about the key, so it doesn't count.
                ProbeOutcome::RateLimited(requested) => {
                    let delay = with_jitter(interval.max(requested));
                    interval = self.next_interval(interval);
                    observed.probes -= 1;
                    delay
                }
                _ => self.interval,
            };
            let deadline = deadline.with_reserve(RESPONSE_RESERVE);
            let is_last = observed.probes >= MAX_CURRENT_KEY_PROBES;
            if !is_last && deadline.wait(delay).await.is_ok() {
                continue;
            }
            // If the resource has moved, its former host may serve other resources and reject the key.
            if is_last && self.look_up_again(target, deadline).await? {
                observed = Observed::default();
                continue;
            }
            if self.may_use_brokers(target, &observed) {
                return self.verify_at_bootstrap(key, target, deadline).await;
            }
            let key = key.id.to_string();
            return match outcome {
                ProbeOutcome::Unreachable(_) if self.may_skip(target, &observed) => {
                    Ok(Verification::Unreachable)
                }
                ProbeOutcome::Unreachable(cause) => Err(Error::EndpointUnreachable { key, cause }),
                outcome => Err(Error::CurrentKeyNotAccepted { key, outcome }),
            };
        }
    }

    /// Verifies the pending key, until `deadline`: with several consecutive accepted probes and then, if `KAFKA_VERIFICATION`
    /// requires it, at the brokers.
    ///
    /// # Errors
    /// Returns [`Error::PendingKeyNotAccepted`] with the last outcome, [`Error::EndpointAcceptsAnyCredential`] if the endpoint
    /// does not reject a wrong secret, [`Error::TimeoutTooShort`] and [`Error::Endpoint`].
    pub async fn verify_pending(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        if deadline.remaining().is_zero() {
            let purpose = "verify the pending key";
            return Err(Error::TimeoutTooShort { purpose });
        }
        let mut verified = self.verify_with_probes(key, target, deadline).await;
        if let Ok(probed) = verified
            && self.kafka != KafkaVerification::Rest
            && target.bootstrap().is_some()
        {
            verified = self.verify_at_brokers(key, target, probed, deadline).await;
        }
        self.update_cache(target, &verified);
        verified
    }

    async fn verify_with_probes(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let started = Instant::now();
        let mut observed = Observed::default();
        let (mut interval, mut previous, mut probes) = (self.interval, None, 0);
        loop {
            let outcome = self.check(key, target, deadline, &mut observed).await?;
            probes += 1;
            let delay = match &outcome {
                ProbeOutcome::Accepted => {
                    observed.accepted += 1;
                    self.interval * REQUIRED_INTERVALS / (REQUIRED_ACCEPTED_PROBES - 1)
                }
                outcome => {
                    if !outcome.is_transient() {
                        observed.accepted = 0;
                    }
                    interval.max(outcome.retry_after())
                }
            };
            let accepted = observed.accepted;
            tracing::debug!(probes, accepted, probe_outcome = ?outcome, "probed the pending key");
            if accepted == REQUIRED_ACCEPTED_PROBES {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(probes, seconds, "verified the pending key");
                return Ok(Verification::Verified);
            }
            if self.may_stop_probing(target, &observed) {
                return Ok(Verification::Unreachable);
            }
            // A probe that the deadline cut short shows nothing about the key.
            let cut_short = previous.filter(|_| deadline.remaining().is_zero());
            let last = cut_short.unwrap_or(outcome);
            if deadline.wait(delay).await.is_err() {
                return Err(Error::PendingKeyNotAccepted {
                    key: key.id.to_string(),
                    outcome: last,
                    elapsed: started.elapsed(),
                    probes,
                });
            }
            interval = self.next_interval(interval);
            previous = Some(last);
        }
    }

    /// Probes a key. Returns [`ProbeOutcome::Accepted`] if the probe counts as accepted.
    ///
    /// If every caller could get the same response, the endpoint must reject a wrong API secret for the same ID: a firewall may
    /// deny every request, and an endpoint that the secret value names may accept every request. One wrong API secret is sent per
    /// verification, because each one is a failed login in Confluent's audit log.
    async fn check(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
        observed: &mut Observed,
    ) -> Result<ProbeOutcome, Error> {
        let mut outcome = self.probe(key, target, deadline).await?;
        if self.look_up_if_moved(target, &outcome, deadline).await? {
            *observed = Observed::default();
            outcome = self.probe(key, target, deadline).await?;
        }
        observed.probes += 1;
        observed.was_reached |= !matches!(outcome, ProbeOutcome::Unreachable(_));
        match outcome {
            ProbeOutcome::NotAuthorized => {}
            ProbeOutcome::Accepted if target.probe.field.is_some() => {}
            outcome => return Ok(outcome),
        }
        if observed.rejects_wrong_secret {
            return Ok(ProbeOutcome::Accepted);
        }
        match self
            .probe(&with_wrong_secret(key), target, deadline)
            .await?
        {
            ProbeOutcome::NotAccepted => {
                observed.rejects_wrong_secret = true;
                Ok(ProbeOutcome::Accepted)
            }
            ProbeOutcome::Accepted | ProbeOutcome::NotAuthorized => {
                let key = key.id.to_string();
                Err(Error::EndpointAcceptsAnyCredential { key })
            }
            // It shows nothing, so the next probe compares again.
            outcome => Ok(outcome),
        }
    }

    /// Returns whether more probes are useless because the endpoint is unreachable, and `KEY_VERIFICATION` or
    /// `KAFKA_VERIFICATION` allows that.
    fn may_stop_probing(&self, target: &Target<'_>, observed: &Observed) -> bool {
        let may_do_without =
            self.may_skip(target, observed) || self.may_use_brokers(target, observed);
        observed.probes == MAX_UNREACHABLE_PROBES && may_do_without
    }

    /// Returns whether the brokers are sufficient because the endpoint is unreachable.
    fn may_use_brokers(&self, target: &Target<'_>, observed: &Observed) -> bool {
        let requires_all = self.kafka == KafkaVerification::Brokers;
        requires_all && target.bootstrap().is_some() && !observed.was_reached
    }

    /// Returns whether `KEY_VERIFICATION` allows skipping the verification because the endpoint is unreachable.
    fn may_skip(&self, target: &Target<'_>, observed: &Observed) -> bool {
        let is_unreachable = !observed.was_reached && !target.is_uncertain;
        self.verification == KeyVerification::BestEffort && is_unreachable
    }

    /// Returns how much older a key must become until it counts as propagated without a probe. A key of unknown age must reach
    /// the complete minimum age.
    pub fn remaining_age(&self, metadata: &ApiKeyMetadata, resource: &Resource) -> Duration {
        let created_at = metadata.plausible_created_at().map(u64::try_from);
        let created_at = created_at.and_then(Result::ok).and_then(|seconds| {
            // `created_at` omits the fraction of a second.
            UNIX_EPOCH.checked_add(Duration::from_secs(seconds.saturating_add(1)))
        });
        let age = created_at.and_then(|created_at| created_at.elapsed().ok());
        let min_age = self.propagation_wait.unwrap_or(resource.key_type.min_age);
        min_age.saturating_sub(age.unwrap_or_default())
    }

    /// Returns the interval that follows `interval`.
    pub fn next_interval(&self, interval: Duration) -> Duration {
        let max = MAX_INTERVAL.max(self.interval);
        interval.mul_f64(INTERVAL_GROWTH).min(max)
    }

    async fn probe(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        let outcome = self.client.probe(key, &target.probe, deadline).await;
        outcome.map_err(|source| target.not_allowed(source))
    }
}

/// Returns the key with a random secret instead of its own.
pub(super) fn with_wrong_secret(key: &ApiKey) -> ApiKey {
    let secret = (0..SECRET_LENGTH).map(|_| fastrand::alphanumeric());
    ApiKey {
        id: key.id.clone(),
        secret: Redacted::new(secret.collect()),
    }
}

/// Checks that Confluent lists the current key with the owner and resource of its slot. Together with its verification,
/// this prevents a secret from being used to obtain a key for another owner. `metadata` is the key's, `keys` are the owner's.
///
/// # Errors
/// Returns [`Error::CurrentKeyNotOfOwner`] or [`Error::CurrentKeyScopeMismatch`].
pub fn check_scope(
    key: &ApiKeyId,
    slot: &Slot,
    resource: &Resource,
    metadata: Option<&ApiKeyMetadata>,
    keys: &[ApiKeyMetadata],
) -> Result<(), Error> {
    let owner = slot.owner.as_str();
    let Some(found) = metadata.filter(|metadata| metadata.owner.as_deref() == Some(owner)) else {
        return Err(Error::not_of_owner(key, owner, metadata, keys));
    };
    if resource.matches(found.resource.as_deref(), found.environment.as_deref()) {
        Ok(())
    } else {
        Err(Error::CurrentKeyScopeMismatch {
            key: key.to_string(),
        })
    }
}
