//! The endpoints that the control plane returned, shared by all invocations of a process.
//!
//! Endpoints are not secret and rarely change. Without the cache, each rotation of a fleet would look up the same endpoints several
//! times. A cached endpoint is checked against the allowed hosts whenever it is used, like any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::{Endpoint, Resource};

/// The longest time for which an endpoint is cached.
const MAX_AGE: Duration = Duration::from_mins(15);

/// The largest number of cached endpoints. The limit bounds the memory of a process that rotates secrets for many resources.
const MAX_ENDPOINTS: usize = 1_000;

/// The key of a cached endpoint. It includes the credentials, because the control plane's response depends on their permissions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointCacheKey {
    control_plane: Url,
    credentials: String,
    resource: String,
    environment: Option<String>,
}

impl EndpointCacheKey {
    /// Creates the cache key of the endpoint of `resource` at a control plane. `credentials` identifies the management credentials: it is
    /// the ARN of the secret that contains them, or the ID of the identity pool.
    pub fn new(control_plane: &Url, credentials: &str, resource: &Resource) -> Self {
        Self {
            control_plane: control_plane.clone(),
            credentials: credentials.to_owned(),
            resource: resource.id.clone(),
            environment: resource.environment.clone(),
        }
    }
}

/// A cache of endpoints. A clone refers to the same cache.
#[derive(Clone, Debug, Default)]
pub struct EndpointCache(Arc<Mutex<HashMap<EndpointCacheKey, (Instant, Endpoint)>>>);

impl EndpointCache {
    /// Returns a cached endpoint, and when it was looked up, unless it is too old.
    pub fn get(&self, key: &EndpointCacheKey) -> Option<(Instant, Endpoint)> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &EndpointCacheKey, now: Instant) -> Option<(Instant, Endpoint)> {
        let endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (looked_up_at, endpoint) = endpoints.get(key)?;
        let is_recent = now.duration_since(*looked_up_at) < MAX_AGE;
        is_recent.then(|| (*looked_up_at, endpoint.clone()))
    }

    /// Caches an endpoint until 15 minutes after it was looked up.
    pub fn insert(&self, key: EndpointCacheKey, endpoint: Endpoint, looked_up_at: Instant) {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= MAX_ENDPOINTS {
            endpoints.clear();
        }
        endpoints.insert(key, (looked_up_at, endpoint));
    }

    /// Removes an endpoint that may no longer be the resource's.
    pub fn remove(&self, key: &EndpointCacheKey) {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf";

    fn url(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    fn resource(id: &str, environment: Option<&str>) -> Resource {
        Resource::new(Some(id), environment).unwrap()
    }

    fn endpoint() -> Endpoint {
        Endpoint::new(url("https://pkc-1.confluent.cloud"))
    }

    #[test]
    fn an_endpoint_is_returned_only_for_the_same_control_plane_credentials_resource_and_environment()
     {
        let control_plane = url("https://api.confluent.cloud");
        let cluster = resource("lkc-1", Some("env-1"));
        let key = EndpointCacheKey::new(&control_plane, ADMIN, &cluster);
        let cache = EndpointCache::default();
        cache.insert(key.clone(), endpoint(), Instant::now());

        let cached = cache.clone().get(&key).map(|(_, endpoint)| endpoint);
        assert_eq!(cached, Some(endpoint()));
        for other in [
            EndpointCacheKey::new(&url("https://api.confluentgov.com"), ADMIN, &cluster),
            EndpointCacheKey::new(&control_plane, "pool-1", &cluster),
            EndpointCacheKey::new(&control_plane, ADMIN, &resource("lkc-2", Some("env-1"))),
            EndpointCacheKey::new(&control_plane, ADMIN, &resource("lkc-1", Some("env-2"))),
            EndpointCacheKey::new(&control_plane, ADMIN, &resource("lkc-1", None)),
        ] {
            assert_eq!(cache.get(&other), None, "{other:?}");
        }
        cache.remove(&key);
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn an_endpoint_is_cached_for_fifteen_minutes() {
        let cluster = resource("lkc-1", None);
        let key = EndpointCacheKey::new(&url("https://api.confluent.cloud"), ADMIN, &cluster);
        let cache = EndpointCache::default();
        let looked_up_at = Instant::now();
        cache.insert(key.clone(), endpoint(), looked_up_at);

        let almost = MAX_AGE.saturating_sub(Duration::from_millis(1));
        let cached = cache.get_at(&key, looked_up_at + almost);
        assert_eq!(cached, Some((looked_up_at, endpoint())));
        assert_eq!(cache.get_at(&key, looked_up_at + MAX_AGE), None);
    }

    #[test]
    fn the_number_of_cached_endpoints_is_limited() {
        let cache = EndpointCache::default();
        for index in 0..=MAX_ENDPOINTS {
            let cluster = resource(&format!("lkc-{index}"), None);
            let key = EndpointCacheKey::new(&url("https://api.confluent.cloud"), ADMIN, &cluster);
            cache.insert(key, endpoint(), Instant::now());
        }

        assert_eq!(cache.0.lock().unwrap().len(), 1);
    }
}
