//! Where a key is probed: at the endpoint of its resource.
//!
//! The control plane returns the endpoint of most resources. The process caches it. A resource may get another endpoint, so a cached
//! one is looked up again if it does not respond as the resource does.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use url::Url;

use super::credentials::ControlPlane;
use super::verification::{INTERVAL_GROWTH, Verification, Verifier};
use crate::confluent::broker::Bootstrap;
use crate::confluent::{
    self, ApiKeyId, ApiKeyMetadata, Endpoint, EndpointCacheKey, EndpointLookup, EndpointSource,
    ErrorKind, ProbeOutcome, ProbeTarget, Resource, endpoint_source,
};
use crate::error::{EndpointError, Error};
use crate::http::{self, Backoff, Deadline, error_chain};
use crate::secret::Slot;

/// The longest interval, and the number of retries, of reading a key that the control plane does not return yet.
const MAX_READ_INTERVAL: Duration = Duration::from_secs(2);
const READ_RETRIES: u32 = 5;

/// What determines where a key is probed.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The control plane, which returns the endpoint.
    pub control_plane: &'a ControlPlane<'a>,
    /// The slot of the key, which may contain the endpoint.
    pub slot: &'a Slot,
    /// The resource.
    pub resource: &'a Resource,
    /// The metadata of a key for the resource, which contains its environment and organization.
    pub metadata: Option<ApiKeyMetadata>,
    /// Keys for the resource. If `metadata` is `None`, that of the first one that exists is read.
    pub keys: Vec<&'a ApiKeyId>,
}

/// The endpoint at which a key is probed.
#[derive(Debug)]
pub struct Target<'a> {
    scope: Scope<'a>,
    /// The endpoint, and what a probe contains.
    pub probe: ProbeTarget<'a>,
    looked_up_at: Instant,
    /// Whether the endpoint was looked up by an earlier verification, and not again since.
    is_cached: bool,
    /// Whether the endpoint may be out of date, because it could not be looked up again.
    pub(super) is_uncertain: bool,
}

impl Target<'_> {
    /// Returns the host, for messages.
    pub fn host(&self) -> Option<&str> {
        self.probe.endpoint.url.host_str()
    }

    /// Returns the bootstrap endpoint, which is empty if it is unknown, or `None` if the resource has no brokers.
    pub fn bootstrap(&self) -> Option<&Bootstrap> {
        self.probe.endpoint.bootstrap.as_ref()
    }

    /// Creates the error for a host to which the key may not be sent.
    pub(crate) fn not_allowed(&self, source: http::Error) -> Error {
        let endpoint_source = endpoint_source(self.probe.field.as_deref());
        Error::Endpoint(EndpointError::EndpointNotAllowed {
            endpoint_source,
            source,
        })
    }
}

impl Verifier<'_> {
    /// Determines where keys are probed: at the control plane, at `endpoint` of the secret value, at a cached endpoint, or at the
    /// endpoint that the control plane returns.
    ///
    /// # Errors
    /// Returns an error if the endpoint, the environment or the organization cannot be determined.
    pub async fn target<'s>(&self, scope: Scope<'s>) -> Result<Target<'s>, Error> {
        let cached = self.cache_key(&scope);
        let cached = cached.and_then(|key| self.client.endpoints.get(&key));
        let Some((looked_up_at, endpoint)) = cached else {
            return self.look_up_target(scope).await;
        };
        let probe = ProbeTarget {
            resource: scope.resource,
            endpoint,
            field: None,
        };
        Ok(Target {
            scope,
            probe,
            looked_up_at,
            is_cached: true,
            is_uncertain: false,
        })
    }

    /// Like [`target`](Self::target), but uses no cached endpoint.
    ///
    /// # Errors
    /// Returns the same errors.
    pub async fn look_up_target<'s>(&self, scope: Scope<'s>) -> Result<Target<'s>, Error> {
        let looked_up_at = Instant::now();
        let endpoint = self.look_up(&scope).await?;
        let probe = ProbeTarget {
            resource: scope.resource,
            endpoint,
            field: scope
                .slot
                .endpoint
                .as_ref()
                .map(|_| scope.slot.field("endpoint")),
        };
        Ok(Target {
            scope,
            probe,
            looked_up_at,
            is_cached: false,
            is_uncertain: false,
        })
    }

    /// Caches the endpoint if the resource accepted a key there. Otherwise, the next verification looks it up.
    pub(super) fn update_cache(&self, target: &Target<'_>, verified: &Result<Verification, Error>) {
        let Some(key) = self.cache_key(&target.scope) else {
            return;
        };
        let endpoints = &self.client.endpoints;
        // A cluster without a bootstrap endpoint may get one at any time.
        let is_complete = target.bootstrap() != Some(&Bootstrap::default());
        if matches!(verified, Ok(Verification::Verified)) && is_complete {
            let endpoint = target.probe.endpoint.clone();
            endpoints.insert(key, endpoint, target.looked_up_at);
        } else {
            endpoints.remove(&key);
        }
    }

    /// Looks up the endpoint again, until `deadline`, if it is a cached one and `outcome` suggests that the resource has another one.
    /// Returns whether the resource has another one.
    ///
    /// # Errors
    /// Returns an error if the control plane denies the lookup, does not find the resource or returns no valid endpoint. If the lookup
    /// fails otherwise, keeps the endpoint.
    pub(super) async fn look_up_if_moved(
        &self,
        target: &mut Target<'_>,
        outcome: &ProbeOutcome,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        Ok(outcome.suggests_another_endpoint() && self.look_up_again(target, deadline).await?)
    }

    /// Looks up a cached endpoint again, until `deadline`. Returns whether the resource has another one.
    ///
    /// # Errors
    /// Returns the same errors as [`look_up_if_moved`](Self::look_up_if_moved).
    pub(super) async fn look_up_again(
        &self,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        if !target.is_cached {
            return Ok(false);
        }
        (target.is_cached, target.is_uncertain) = (false, true);
        let found = self.look_up_target(target.scope.clone());
        let error = match timeout(deadline.remaining(), found).await {
            Ok(Ok(found)) => {
                let is_another = found.probe.endpoint != target.probe.endpoint;
                *target = found;
                return Ok(is_another && !deadline.remaining().is_zero());
            }
            Ok(Err(Error::Confluent(error))) => error_chain(&error),
            Ok(Err(error)) => return Err(error),
            Err(_) => "no time was left".to_owned(),
        };
        tracing::warn!(error, "could not look up the endpoint again");
        Ok(false)
    }

    /// Returns the key with which the endpoint is cached. Only endpoints that the control plane returns are cached.
    fn cache_key(&self, scope: &Scope<'_>) -> Option<EndpointCacheKey> {
        let EndpointSource::Lookup(lookup) = &scope.resource.key_type.endpoint else {
            return None;
        };
        // The ID of a Flink region does not identify its environment.
        let is_identified = !lookup.needs_organization || scope.resource.environment.is_some();
        let is_cached = is_identified && scope.slot.endpoint.is_none();
        let control_plane = self.client.control_plane();
        let credentials = scope.control_plane.credentials_id();
        is_cached
            .then(|| EndpointCacheKey::new(control_plane.as_url(), credentials, scope.resource))
    }

    async fn look_up(&self, scope: &Scope<'_>) -> Result<Endpoint, Error> {
        let Scope { slot, resource, .. } = scope;
        let EndpointSource::Lookup(lookup) = &resource.key_type.endpoint else {
            return Ok(Endpoint::new(self.client.control_plane().as_url().clone()));
        };
        let needs_environment = lookup.needs_organization || slot.endpoint.is_none();
        let needs_metadata =
            lookup.needs_organization || (needs_environment && resource.environment.is_none());
        let mut metadata = scope.metadata.clone();
        if needs_metadata && metadata.is_none() && !scope.keys.is_empty() {
            metadata = self.read_any(scope.control_plane, &scope.keys).await?;
        }
        let metadata = metadata.unwrap_or_default();
        let environment = match resource.environment.clone() {
            Some(environment) => environment,
            None if needs_environment => metadata
                .environment_for_path()?
                .ok_or(EndpointError::EnvironmentUnknown)?,
            None => String::new(),
        };
        let organization = if lookup.needs_organization {
            metadata
                .organization_for_path()?
                .ok_or(EndpointError::OrganizationUnknown)?
        } else {
            String::new()
        };
        let (url, bootstrap) = match &slot.endpoint {
            Some(endpoint) => {
                let url = base_url(&endpoint_source(Some(&slot.field("endpoint"))), endpoint)?;
                let host = url.host_str().map(Bootstrap::at);
                let bootstrap = host.filter(|_| lookup.bootstrap.is_some());
                (url, bootstrap)
            }
            None => {
                request_endpoint(scope.control_plane, lookup, &resource.id, &environment).await?
            }
        };
        Ok(Endpoint {
            url,
            environment,
            organization,
            bootstrap,
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
}

/// Returns the endpoint that the control plane returns for the resource with `id`, and the bootstrap endpoint of a Kafka cluster.
async fn request_endpoint(
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
    Ok((base_url(&endpoint_source(None), &endpoint)?, bootstrap))
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
            EndpointError::EndpointNotFound { source }.into()
        }
        error => error,
    }
}

/// Parses an endpoint. Some of Confluent's responses omit the scheme.
fn base_url(endpoint_source: &str, endpoint: &str) -> Result<Url, EndpointError> {
    let endpoint_source = endpoint_source.to_owned();
    let invalid = EndpointError::EndpointInvalid { endpoint_source };
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
