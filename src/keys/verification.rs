//! Verification: a key is verified when its resource accepts it.
//!
//! A resource rejects a key until the key has propagated, and a node of the service that the key has not reached yet may
//! reject it later. The pending key is therefore verified after several consecutive accepted probes on separate connections.
//! Until the deadline, a rejection means "not propagated yet". A key that the function cannot probe must reach a minimum age. A Kafka
//! key can also be verified at the brokers.
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/troubleshoot.html>

use std::time::{Duration, Instant, UNIX_EPOCH};

use url::Url;

use super::credentials::ControlPlane;
use crate::config::{Config, KafkaVerification, KeyVerification};
use crate::confluent::broker::Bootstrap;
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ENDPOINT_FROM_CONFLUENT, ENDPOINT_FROM_SECRET,
    EndpointLookup, EndpointSource, ErrorKind, ProbeOutcome, ProbeTarget, Resource,
};
use crate::error::Error;
use crate::http::{Backoff, Deadline, RESPONSE_RESERVE, Redacted, at_least};
use crate::secret::SecretValue;

/// The number of consecutive accepted probes that verify the pending key. Confluent's Terraform provider waits for two, "to
/// ensure synced across all brokers". One more costs one interval.
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

/// The length of a wrong secret, which is an API secret's, in characters.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
const SECRET_LENGTH: usize = 64;

/// The factor by which the interval between probes grows, and the longest interval.
const INTERVAL_GROWTH: f64 = 1.5;
const MAX_INTERVAL: Duration = Duration::from_secs(15);

/// The longest interval, and the number of retries, of reading a key that the control plane does not return yet.
const MAX_READ_INTERVAL: Duration = Duration::from_secs(2);
const READ_RETRIES: u32 = 5;

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
struct Endpoint {
    /// Whether it has responded.
    was_reached: bool,
    /// Whether it has rejected a wrong secret.
    rejects_wrong_secret: bool,
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
    /// sufficient, [`Error::EndpointNotAllowed`], and [`Error::EndpointAcceptsAnyCredential`] if the endpoint does not reject a
    /// wrong secret.
    pub async fn verify_once(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let mut endpoint = Endpoint::default();
        let (mut probes, mut interval) = (0, self.interval);
        loop {
            let outcome = self.check(key, target, deadline, &mut endpoint).await?;
            let delay = match outcome {
                ProbeOutcome::Accepted => return Ok(Verification::Verified),
                // A rate-limited probe shows nothing about the key, so it doesn't count.
                ProbeOutcome::RateLimited(requested) => {
                    let delay = at_least(interval.max(requested));
                    interval = self.next_interval(interval);
                    delay
                }
                _ => {
                    probes += 1;
                    self.interval
                }
            };
            let deadline = deadline.with_reserve(RESPONSE_RESERVE);
            if probes < MAX_CURRENT_KEY_PROBES && deadline.wait(delay).await.is_ok() {
                continue;
            }
            if self.may_use_brokers(target, &endpoint)
                && let Some(bootstrap) = &target.bootstrap
            {
                return self
                    .verify_at_bootstrap(key, target, bootstrap, deadline)
                    .await;
            }
            let key = key.id.to_string();
            return match outcome {
                ProbeOutcome::Unreachable(_) if self.may_skip(&endpoint) => {
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
    /// does not reject a wrong secret, [`Error::TimeoutTooShort`] and [`Error::EndpointNotAllowed`].
    pub async fn verify_pending(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let probed = self.verify_with_probes(key, target, deadline).await?;
        match self.brokers(target) {
            Some(brokers) => {
                self.verify_at_brokers(key, target, brokers, probed, deadline)
                    .await
            }
            None => Ok(probed),
        }
    }

    async fn verify_with_probes(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        if deadline.remaining().is_zero() {
            let purpose = "verify the pending key";
            return Err(Error::TimeoutTooShort { purpose });
        }
        let started = Instant::now();
        let mut endpoint = Endpoint::default();
        let (mut interval, mut previous, mut probes, mut accepted) = (self.interval, None, 0, 0);
        loop {
            let outcome = self.check(key, target, deadline, &mut endpoint).await?;
            probes += 1;
            let delay = match &outcome {
                ProbeOutcome::Accepted => {
                    accepted += 1;
                    self.interval * REQUIRED_INTERVALS / (REQUIRED_ACCEPTED_PROBES - 1)
                }
                outcome => {
                    accepted = if outcome.is_transient() { accepted } else { 0 };
                    interval.max(outcome.retry_after())
                }
            };
            tracing::debug!(probes, accepted, probe_outcome = ?outcome, "probed the pending key");
            if accepted == REQUIRED_ACCEPTED_PROBES {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(probes, seconds, "verified the pending key");
                return Ok(Verification::Verified);
            }
            let may_skip = self.may_skip(&endpoint) || self.may_use_brokers(target, &endpoint);
            if probes == MAX_UNREACHABLE_PROBES && may_skip {
                return Ok(Verification::Unreachable);
            }
            // A probe that the deadline cut short shows nothing about the key.
            let last = previous.filter(|_| deadline.remaining().is_zero());
            let last = last.unwrap_or(outcome);
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
    /// If every caller could get the same response, the endpoint must reject a wrong secret for the same ID: a firewall may deny
    /// every request, and an endpoint that the secret value names may accept every request. One wrong secret is sent per
    /// verification, because each one is a failed login in Confluent's audit log.
    async fn check(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
        endpoint: &mut Endpoint,
    ) -> Result<ProbeOutcome, Error> {
        let outcome = self.probe(key, target, deadline).await?;
        endpoint.was_reached |= !matches!(outcome, ProbeOutcome::Unreachable(_));
        match outcome {
            ProbeOutcome::NotAuthorized => {}
            ProbeOutcome::Accepted if target.is_from_secret => {}
            outcome => return Ok(outcome),
        }
        if endpoint.rejects_wrong_secret {
            return Ok(ProbeOutcome::Accepted);
        }
        match self
            .probe(&with_wrong_secret(key), target, deadline)
            .await?
        {
            ProbeOutcome::NotAccepted => {
                endpoint.rejects_wrong_secret = true;
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

    /// Returns whether the brokers are sufficient because the endpoint is unreachable.
    fn may_use_brokers(&self, target: &ProbeTarget<'_>, endpoint: &Endpoint) -> bool {
        let requires_all = self.kafka == KafkaVerification::Brokers;
        requires_all && target.bootstrap.is_some() && !endpoint.was_reached
    }

    /// Returns whether `KEY_VERIFICATION` allows to skip the verification because the endpoint is unreachable.
    fn may_skip(&self, endpoint: &Endpoint) -> bool {
        self.verification == KeyVerification::BestEffort && !endpoint.was_reached
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
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        let outcome = self.client.probe(key, target, deadline).await;
        outcome.map_err(|source| Error::EndpointNotAllowed {
            endpoint_source: target.endpoint_source(),
            source,
        })
    }

    /// Returns the metadata of the first of `keys` that the control plane returns. It may not return a key yet that was just
    /// created, so the keys are read again for a few seconds.
    async fn read_any(
        &self,
        control_plane: &ControlPlane<'_>,
        keys: &[&ApiKeyId],
    ) -> Result<Option<ApiKeyMetadata>, Error> {
        let backoff = Backoff {
            initial: self.interval,
            factor: INTERVAL_GROWTH,
            max: MAX_READ_INTERVAL,
            retries: READ_RETRIES,
        };
        let read = async || {
            for key in keys {
                if let Some(metadata) = control_plane.read(key).await? {
                    return Ok(Some(metadata));
                }
            }
            Ok(None)
        };
        let deadline = self.client.deadline();
        backoff.until(deadline, read, Option::is_some).await
    }

    /// Determines where keys for `resource` are probed: at the control plane, at `endpoint` of the secret value, or at the
    /// endpoint that the control plane returns.
    ///
    /// The metadata of any key for the resource contains its environment and organization. They are taken from `metadata`, or
    /// else from the first of `keys` that exists.
    ///
    /// # Errors
    /// Returns an error if the endpoint, the environment or the organization cannot be determined.
    pub async fn target<'r>(
        &self,
        control_plane: &ControlPlane<'_>,
        value: &SecretValue,
        resource: &'r Resource,
        metadata: Option<ApiKeyMetadata>,
        keys: &[&ApiKeyId],
    ) -> Result<ProbeTarget<'r>, Error> {
        let EndpointSource::Lookup(lookup) = &resource.key_type.endpoint else {
            let endpoint = self.client.control_plane().as_url().clone();
            return Ok(ProbeTarget::new(resource, endpoint));
        };
        let needs_environment = lookup.needs_organization || value.endpoint().is_none();
        let needs_metadata =
            lookup.needs_organization || (needs_environment && resource.environment.is_none());
        let mut metadata = metadata;
        if needs_metadata && metadata.is_none() && !keys.is_empty() {
            metadata = self.read_any(control_plane, keys).await?;
        }
        let metadata = metadata.unwrap_or_default();
        let environment = match resource.environment.clone() {
            Some(environment) => environment,
            None if needs_environment => metadata
                .environment_for_path()?
                .ok_or(Error::EnvironmentUnknown)?,
            None => String::new(),
        };
        let organization = if lookup.needs_organization {
            metadata
                .organization_for_path()?
                .ok_or(Error::OrganizationUnknown)?
        } else {
            String::new()
        };
        let (endpoint, bootstrap) = match value.endpoint() {
            Some(endpoint) => {
                let endpoint = base_url(ENDPOINT_FROM_SECRET, endpoint)?;
                let host = endpoint.host_str().map(Bootstrap::at);
                let bootstrap = host.filter(|_| lookup.bootstrap.is_some());
                (endpoint, bootstrap)
            }
            None => look_up(control_plane, lookup, &resource.id, &environment).await?,
        };
        Ok(ProbeTarget {
            resource,
            endpoint,
            environment,
            organization,
            is_from_secret: value.endpoint().is_some(),
            bootstrap,
        })
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

/// Returns the endpoint that the control plane returns for the resource with `id`, and the bootstrap endpoint of a Kafka cluster.
async fn look_up(
    control_plane: &ControlPlane<'_>,
    lookup: &EndpointLookup,
    id: &str,
    environment: &str,
) -> Result<(Url, Option<Bootstrap>), Error> {
    let found =
        control_plane.send(async |client, key| client.endpoint(key, lookup, id, environment).await);
    let (endpoint, bootstrap) = found.await.map_err(lookup_failed)?;
    // A cluster whose bootstrap endpoint is unknown has brokers, too.
    let bootstrap = lookup.bootstrap.map(|_| {
        let parse = Bootstrap::parse;
        bootstrap.as_deref().map(parse).unwrap_or_default()
    });
    Ok((base_url(ENDPOINT_FROM_CONFLUENT, &endpoint)?, bootstrap))
}

/// Checks that Confluent lists the current key with the owner and resource of the secret value. Together with its verification,
/// this prevents a secret from being used to obtain a key for another owner. `metadata` is the key's, `keys` are the owner's.
///
/// # Errors
/// Returns [`Error::CurrentKeyNotOfOwner`] or [`Error::CurrentKeyScopeMismatch`].
pub fn check_scope(
    key: &ApiKeyId,
    value: &SecretValue,
    resource: &Resource,
    metadata: Option<&ApiKeyMetadata>,
    keys: &[ApiKeyMetadata],
) -> Result<(), Error> {
    let owner = value.owner();
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

/// Converts a failed lookup of an endpoint: it has remedies of its own.
fn lookup_failed(error: Error) -> Error {
    match error {
        Error::Confluent(source)
            if matches!(
                (&source, source.kind()),
                (confluent::Error::InvalidResponse { .. }, _)
                    | (_, Some(ErrorKind::Forbidden | ErrorKind::NotFound))
            ) =>
        {
            Error::EndpointNotFound { source }
        }
        error => error,
    }
}

/// Parses an endpoint. Some of Confluent's responses omit the scheme.
fn base_url(endpoint_source: &'static str, endpoint: &str) -> Result<Url, Error> {
    let invalid = Error::EndpointInvalid { endpoint_source };
    let url = match Url::parse(endpoint) {
        Ok(url) if url.has_host() => url,
        _ if endpoint.contains("://") => return Err(invalid),
        _ => match Url::parse(&format!("https://{endpoint}")) {
            Ok(url) => url,
            Err(_) => return Err(invalid),
        },
    };
    // Hosts are logged. A host without a dot or a colon may be a secret in the wrong field.
    let has_host = url.host_str().is_some_and(|host| host.contains(['.', ':']));
    if has_host && url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_or_without_a_scheme() {
        for (endpoint, url) in [
            (
                "https://pkc-1.eu.aws.confluent.cloud:443",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "https://pkc-1.eu.aws.confluent.cloud/",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "pkc-1.eu.aws.confluent.cloud:443",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "pkc-1.eu.aws.confluent.cloud",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
        ] {
            assert_eq!(
                base_url("it", endpoint).unwrap().as_str(),
                url,
                "{endpoint}"
            );
        }
        for endpoint in [
            "",
            "https://",
            "https://a.confluent.cloud/x",
            "https://a.confluent.cloud?x",
            "a b",
            "cfltSECRET",
            "://x",
        ] {
            assert!(base_url("it", endpoint).is_err(), "{endpoint}");
        }
    }
}
