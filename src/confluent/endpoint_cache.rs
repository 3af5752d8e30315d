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

/// What an endpoint depends on: a response of the control plane depends on the permissions of the credentials, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    control_plane: Url,
    credentials: String,
    resource: String,
    environment: Option<String>,
}

impl EndpointKey {
    /// Creates the key of the endpoint of `resource` at a control plane. `credentials` identifies the management credentials: it is
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
pub struct EndpointCache(Arc<Mutex<HashMap<EndpointKey, (Instant, Endpoint)>>>);

impl EndpointCache {
    /// Returns a cached endpoint, unless it is too old.
    pub fn get(&self, key: &EndpointKey) -> Option<Endpoint> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &EndpointKey, now: Instant) -> Option<Endpoint> {
        let endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (looked_up_at, endpoint) = endpoints.get(key)?;
        (now.duration_since(*looked_up_at) < MAX_AGE).then(|| endpoint.clone())
    }

    /// Caches an endpoint that the control plane has just returned.
    pub fn insert(&self, key: EndpointKey, endpoint: Endpoint) {
        let mut endpoints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= MAX_ENDPOINTS {
            endpoints.clear();
        }
        endpoints.insert(key, (Instant::now(), endpoint));
    }

    /// Removes an endpoint that may no longer be the resource's.
    pub fn remove(&self, key: &EndpointKey) {
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
        let key = EndpointKey::new(&control_plane, ADMIN, &cluster);
        let cache = EndpointCache::default();
        cache.insert(key.clone(), endpoint());

        assert_eq!(cache.clone().get(&key), Some(endpoint()));
        for other in [
            EndpointKey::new(&url("https://api.confluentgov.com"), ADMIN, &cluster),
            EndpointKey::new(&control_plane, "pool-1", &cluster),
            EndpointKey::new(&control_plane, ADMIN, &resource("lkc-2", Some("env-1"))),
            EndpointKey::new(&control_plane, ADMIN, &resource("lkc-1", Some("env-2"))),
            EndpointKey::new(&control_plane, ADMIN, &resource("lkc-1", None)),
        ] {
            assert_eq!(cache.get(&other), None, "{other:?}");
        }
        cache.remove(&key);
        assert_eq!(cache.get(&key), None);
    }

    #[test]
    fn an_endpoint_is_cached_for_fifteen_minutes() {
        let cluster = resource("lkc-1", None);
        let key = EndpointKey::new(&url("https://api.confluent.cloud"), ADMIN, &cluster);
        let cache = EndpointCache::default();
        let before = Instant::now();
        cache.insert(key.clone(), endpoint());
        let after = Instant::now();

        let almost = MAX_AGE.saturating_sub(Duration::from_millis(1));
        assert_eq!(cache.get_at(&key, before + almost), Some(endpoint()));
        assert_eq!(cache.get_at(&key, after + MAX_AGE), None);
    }

    #[test]
    fn the_number_of_cached_endpoints_is_limited() {
        let cache = EndpointCache::default();
        for index in 0..=MAX_ENDPOINTS {
            let cluster = resource(&format!("lkc-{index}"), None);
            let key = EndpointKey::new(&url("https://api.confluent.cloud"), ADMIN, &cluster);
            cache.insert(key, endpoint());
        }

        assert_eq!(cache.0.lock().unwrap().len(), 1);
    }
}
