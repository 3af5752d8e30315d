//! Verification: a key is verified when its resource accepts it.
//!
//! A resource rejects a key until the key has propagated, and a part of the service that the key has not reached yet may
//! reject it later. The pending key is therefore verified after several consecutive accepted probes. Until the deadline, a
//! rejection means "not propagated yet".
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/troubleshoot.html>

use std::time::{Duration, Instant};

use url::Url;

use super::credentials::ControlPlane;
use crate::config::{Config, KeyVerification};
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ENDPOINT_FROM_CONFLUENT, ENDPOINT_FROM_SECRET,
    EndpointLookup, EndpointSource, ErrorKind, ProbeOutcome, ProbeTarget, Resource,
};
use crate::error::Error;
use crate::http::{Deadline, RESPONSE_RESERVE, Redacted, at_least};
use crate::secret::SecretValue;

/// The number of consecutive accepted probes that verify the pending key. Confluent's Terraform provider waits for two, "to
/// ensure synced across all brokers". One more costs one interval.
///
/// <https://github.com/confluentinc/terraform-provider-confluent/blob/master/internal/provider/utils_wait.go>
const REQUIRED_ACCEPTED_PROBES: u32 = 3;

/// The number of probes without a response after which an endpoint counts as unreachable.
const MAX_UNREACHABLE_PROBES: u32 = 3;

/// The number of probes, rate-limited ones excluded, after which the verification of the current key fails. The key propagated
/// long ago.
const MAX_CURRENT_KEY_PROBES: u32 = 3;

/// The factor by which the interval between probes grows, and the longest interval.
const INTERVAL_GROWTH: f64 = 1.5;
const MAX_INTERVAL: Duration = Duration::from_secs(15);

/// Verifies keys as `KEY_VERIFICATION` requires.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    client: &'a confluent::Client,
    verification: KeyVerification,
    interval: Duration,
}

/// The result of a verification that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The resource accepts the key.
    Verified,
    /// The endpoint is unreachable, and `KEY_VERIFICATION=best-effort` allows that.
    Unreachable,
}

impl<'a> Verifier<'a> {
    /// Creates a verifier that sends probes with `client`.
    pub fn new(client: &'a confluent::Client, config: &Config) -> Self {
        Self {
            client,
            verification: config.key_verification,
            interval: config.probe_interval,
        }
    }

    /// Returns whether keys for `resource` are probed.
    pub fn can_probe(&self, resource: &Resource) -> bool {
        self.verification != KeyVerification::ControlPlane
            || matches!(resource.key_type.endpoint, EndpointSource::ControlPlane)
    }

    /// Verifies the current key. This shows that the writer of the secret value possesses the key: otherwise, a value that
    /// names another application's key could be used to obtain another key for the same owner.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyNotAccepted`] with the last outcome, [`Error::EndpointUnreachable`] unless best effort is
    /// sufficient, and [`Error::EndpointAcceptsAnyCredential`] if the endpoint does not reject a wrong secret.
    pub async fn verify_current(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let mut probes = 0;
        let mut interval = self.interval;
        loop {
            let Some(outcome) = self.check_possession(key, target, deadline).await? else {
                return Ok(Verification::Verified);
            };
            // A rate-limited probe shows nothing about the key, so it doesn't count.
            let delay = if let ProbeOutcome::RateLimited(requested) = outcome {
                let delay = at_least(interval.max(requested));
                interval = self.next_interval(interval);
                delay
            } else {
                probes += 1;
                self.interval
            };
            let deadline = deadline.with_reserve(RESPONSE_RESERVE);
            if probes < MAX_CURRENT_KEY_PROBES && deadline.wait(delay).await.is_ok() {
                continue;
            }
            let key = key.id.to_string();
            return match outcome {
                ProbeOutcome::Accepted | ProbeOutcome::NotAuthorized => {
                    Err(Error::EndpointAcceptsAnyCredential { key })
                }
                ProbeOutcome::Unreachable(cause) => match self.verification {
                    KeyVerification::BestEffort => Ok(Verification::Unreachable),
                    _ => Err(Error::EndpointUnreachable { key, cause }),
                },
                outcome => Err(Error::CurrentKeyNotAccepted { key, outcome }),
            };
        }
    }

    /// Probes a key. If the response could be the same for every caller, probes with a wrong secret, too, which must be
    /// rejected. Returns the outcome that does not verify the key, or `None` if the key is verified.
    async fn check_possession(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Option<ProbeOutcome>, Error> {
        match self.probe(key, target, deadline).await? {
            ProbeOutcome::Accepted if !target.is_from_secret => Ok(None),
            ProbeOutcome::Accepted | ProbeOutcome::NotAuthorized => {
                let with_wrong_secret = self.probe_with_wrong_secret(key, target, deadline).await?;
                Ok(Some(with_wrong_secret).filter(|outcome| *outcome != ProbeOutcome::NotAccepted))
            }
            outcome => Ok(Some(outcome)),
        }
    }

    /// Probes with the key's ID and a wrong secret. An endpoint that does not reject it verifies nothing: it may be a firewall
    /// that denies every request, or a server of the secret value's writer.
    async fn probe_with_wrong_secret(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        let wrong = ApiKey {
            id: key.id.clone(),
            secret: Redacted::new("not-the-secret".to_owned()),
        };
        self.probe(&wrong, target, deadline).await
    }

    /// Verifies the pending key, until `deadline`.
    ///
    /// A 403 counts as accepted only if the current key gets one, too: then the owner lacks a permission, and the pending key
    /// has the same access as the current one. For an initial key, it counts if a wrong secret gets a 401.
    ///
    /// # Errors
    /// Returns [`Error::PendingKeyNotAccepted`] with the last outcome, [`Error::EndpointAcceptsAnyCredential`] if the endpoint
    /// does not reject a wrong secret, [`Error::TimeoutTooShort`] and [`Error::EndpointNotAllowed`].
    pub async fn verify_pending(
        &self,
        key: &ApiKey,
        current: Option<&ApiKey>,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        if deadline.remaining().is_zero() {
            let purpose = "verify the pending key";
            return Err(Error::TimeoutTooShort { purpose });
        }
        let started = Instant::now();
        let (mut interval, mut previous) = (self.interval, None);
        let (mut probes, mut accepted, mut was_reached) = (0, 0, false);
        loop {
            let outcome = self.check_pending(key, current, target, deadline).await?;
            probes += 1;
            accepted = if outcome.is_none() { accepted + 1 } else { 0 };
            was_reached |= !matches!(outcome, Some(ProbeOutcome::Unreachable(_)));
            tracing::debug!(probes, accepted, ?outcome, "probed the pending key");

            if accepted == REQUIRED_ACCEPTED_PROBES {
                self.report(key, current, probes, started.elapsed());
                return Ok(Verification::Verified);
            }
            let is_best_effort = self.verification == KeyVerification::BestEffort;
            if is_best_effort && !was_reached && probes == MAX_UNREACHABLE_PROBES {
                return Ok(Verification::Unreachable);
            }
            if outcome.is_none() {
                interval = self.interval;
            }
            let requested = outcome.as_ref().map(ProbeOutcome::retry_after);
            let delay = interval.max(requested.unwrap_or_default());
            // A probe that the deadline cut short shows nothing about the key.
            let last = previous.filter(|_| deadline.remaining().is_zero());
            let last = last.unwrap_or(outcome);
            if deadline.wait(delay).await.is_err() {
                let (is_initial, elapsed) = (current.is_none(), started.elapsed());
                return Err(not_verified(key, is_initial, last, probes, elapsed));
            }
            interval = self.next_interval(interval);
            previous = Some(last);
        }
    }

    /// Reports a verified pending key and how long it took to propagate. A copy of the current key propagated long ago.
    fn report(&self, key: &ApiKey, current: Option<&ApiKey>, probes: u32, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        tracing::info!(probes, seconds, "verified the pending key");
        if current.is_none_or(|current| current.id != key.id) {
            let metrics = self.client.metrics();
            metrics.count(|counts| counts.propagation_seconds = Some(seconds));
        }
    }

    /// Probes the pending key. Returns the outcome that does not verify it, or `None` if the probe counts as accepted.
    async fn check_pending(
        &self,
        key: &ApiKey,
        current: Option<&ApiKey>,
        target: &ProbeTarget<'_>,
        deadline: Deadline,
    ) -> Result<Option<ProbeOutcome>, Error> {
        let Some(current) = current else {
            return self.check_possession(key, target, deadline).await;
        };
        let outcome = self.probe(key, target, deadline).await?;
        let is_accepted = match outcome {
            ProbeOutcome::Accepted => true,
            ProbeOutcome::NotAuthorized => self.probe(current, target, deadline).await? == outcome,
            _ => false,
        };
        Ok(Some(outcome).filter(|_| !is_accepted))
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
            let endpoint = self.client.control_plane.clone();
            return Ok(ProbeTarget::new(resource, endpoint));
        };
        let needs_environment = lookup.needs_organization || value.endpoint().is_none();
        let needs_metadata =
            lookup.needs_organization || (needs_environment && resource.environment.is_none());
        let mut metadata = metadata;
        for key in keys {
            if needs_metadata && metadata.is_none() {
                metadata = control_plane.read(key).await?;
            }
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
        let endpoint = match value.endpoint() {
            Some(endpoint) => base_url(ENDPOINT_FROM_SECRET, endpoint)?,
            None => look_up(control_plane, lookup, &resource.id, &environment).await?,
        };
        Ok(ProbeTarget {
            resource,
            endpoint,
            environment,
            organization,
            is_from_secret: value.endpoint().is_some(),
        })
    }
}

/// Returns the error for a pending key with the last outcome `last`, or `None` if the last probe was accepted.
fn not_verified(
    key: &ApiKey,
    is_initial: bool,
    last: Option<ProbeOutcome>,
    probes: u32,
    elapsed: Duration,
) -> Error {
    let key = key.id.to_string();
    match last {
        Some(ProbeOutcome::Accepted | ProbeOutcome::NotAuthorized) if is_initial => {
            Error::EndpointAcceptsAnyCredential { key }
        }
        last => Error::PendingKeyNotAccepted {
            key,
            outcome: last.unwrap_or(ProbeOutcome::Accepted),
            elapsed,
            probes,
        },
    }
}

/// Returns the endpoint that the control plane returns for the resource with `id`.
async fn look_up(
    control_plane: &ControlPlane<'_>,
    lookup: &EndpointLookup,
    id: &str,
    environment: &str,
) -> Result<Url, Error> {
    let found =
        control_plane.send(async |client, key| client.endpoint(key, lookup, id, environment).await);
    let endpoint = found.await.map_err(lookup_failed)?;
    base_url(ENDPOINT_FROM_CONFLUENT, &endpoint)
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
