//! The endpoint of a resource, where it comes from, and how it is read from the control plane's response.

use serde_json::Value;
use url::Url;

use super::broker::Bootstrap;
use crate::http::ControlPlaneUrl;

/// The endpoint of a resource, and what requests to it contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The base URL.
    pub url: Url,
    /// The resource's environment, or an empty string if it is not needed.
    pub environment: String,
    /// The organization's ID, or an empty string if it is not needed.
    pub organization: String,
    /// The bootstrap endpoint of a Kafka cluster, empty if it is unknown. `None` if the resource has no brokers.
    pub bootstrap: Option<Bootstrap>,
}

impl Endpoint {
    /// Creates an endpoint whose requests contain neither an environment nor an organization.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            environment: String::new(),
            organization: String::new(),
            bootstrap: None,
        }
    }
}

/// Where the endpoint of a resource comes from.
#[derive(Debug)]
pub enum EndpointSource {
    /// The control plane is the endpoint.
    ControlPlane,
    /// The control plane returns the endpoint.
    Lookup(EndpointLookup),
}

/// A request to the control plane whose response contains an endpoint.
#[derive(Debug)]
pub struct EndpointLookup {
    /// Returns the URL at the control plane, from the resource's ID and environment.
    pub url: fn(&ControlPlaneUrl, &str, &str) -> ControlPlaneUrl,
    /// Reads the endpoint from the response.
    pub endpoint: fn(&Value) -> Option<String>,
    /// Reads the bootstrap endpoint of the brokers from the response, if the resource has brokers.
    pub bootstrap: Option<fn(&Value) -> Option<String>>,
    /// Whether a probe's request contains the organization's ID.
    pub needs_organization: bool,
}

/// Returns the URL of a cluster in one of the APIs that manage clusters.
pub(super) fn cluster_url(
    base: &ControlPlaneUrl,
    [api, version]: [&str; 2],
    id: &str,
    environment: &str,
) -> ControlPlaneUrl {
    let path = [api, version, "clusters", id];
    base.at(&path, &[("environment", environment)])
}

/// Returns the URL of a Flink region.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listFcpmV2Regions>
pub(super) fn flink_region(
    base: &ControlPlaneUrl,
    id: &str,
    _environment: &str,
) -> ControlPlaneUrl {
    let (cloud, region) = cloud_and_region(id).unwrap_or_default();
    let cloud = cloud.to_ascii_uppercase();
    let query = [("cloud", cloud.as_str()), ("region_name", region)];
    base.at(&["fcpm", "v2", "regions"], &query)
}

/// Splits the ID of a Flink region, such as `aws.us-west-2`, into cloud provider and region.
pub(super) fn cloud_and_region(id: &str) -> Option<(&str, &str)> {
    let (cloud, region) = id.split_once('.')?;
    (["aws", "azure", "gcp"].contains(&cloud) && !region.is_empty()).then_some((cloud, region))
}

/// Returns the endpoint of a public access point, else of a private one, else the deprecated field.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
pub(super) fn kafka_endpoint(response: &Value) -> Option<String> {
    kafka_endpoints(response).map(|(endpoint, _)| endpoint)
}

/// Returns the bootstrap endpoint of the access point whose endpoint [`kafka_endpoint`] returns.
pub(super) fn bootstrap_endpoint(response: &Value) -> Option<String> {
    kafka_endpoints(response)?.1
}

/// Returns the REST endpoint and the bootstrap endpoint of the same access point.
fn kafka_endpoints(response: &Value) -> Option<(String, Option<String>)> {
    let of = |point: &Value| {
        let endpoint = string(point, "/http_endpoint")?;
        let bootstrap = string(point, "/kafka_bootstrap_endpoint");
        let deprecated = || string(response, "/spec/kafka_bootstrap_endpoint");
        Some((endpoint, bootstrap.or_else(deprecated)))
    };
    // Every type except PUBLIC is private, and the private types have several spellings.
    let is_public = |point: &Value| string(point, "/connection_type").as_deref() == Some("PUBLIC");
    let of_access_point = |public: bool| {
        let points = response.pointer("/spec/endpoints")?.as_object()?.values();
        let mut points = points.filter(|point| is_public(point) == public);
        points.find_map(of)
    };
    of_access_point(true)
        .or_else(|| of_access_point(false))
        .or_else(|| of(response.get("spec")?))
}

/// Returns the public endpoint, else a private one, else the deprecated private one.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getSrcmV3Cluster>
pub(super) fn schema_registry_endpoint(response: &Value) -> Option<String> {
    let regional = || {
        let endpoints = response.pointer("/spec/private_networking_config/regional_endpoints")?;
        let mut endpoints = endpoints.as_object()?.values();
        endpoints.find_map(|endpoint| string(endpoint, ""))
    };
    string(response, "/spec/http_endpoint")
        .or_else(regional)
        .or_else(|| string(response, "/spec/private_http_endpoint"))
}

pub(super) fn ksqldb_endpoint(response: &Value) -> Option<String> {
    string(response, "/status/http_endpoint")
}

pub(super) fn flink_endpoint(response: &Value) -> Option<String> {
    string(response, "/data/0/http_endpoint")
        .or_else(|| string(response, "/data/0/private_http_endpoint"))
}

/// Returns the string at `pointer`, or `None` if it is empty. Unused endpoints are empty strings.
fn string(response: &Value, pointer: &str) -> Option<String> {
    let string = response.pointer(pointer)?.as_str()?;
    (!string.is_empty()).then(|| string.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_public_kafka_endpoint_takes_precedence_over_private_and_deprecated_ones() {
        let private =
            json!({"connection_type": "PRIVATE_LINK", "http_endpoint": "https://private"});
        let public = json!({"connection_type": "PUBLIC", "http_endpoint": "https://public"});
        let deprecated = "https://deprecated";

        let all = json!({"spec": {"endpoints": {"ap1": private, "ap2": public}, "http_endpoint": deprecated}});
        let only_private =
            json!({"spec": {"endpoints": {"ap1": private}, "http_endpoint": deprecated}});
        let neither = json!({"spec": {"endpoints": {}, "http_endpoint": deprecated}});

        assert_eq!(kafka_endpoint(&all).as_deref(), Some("https://public"));
        assert_eq!(
            kafka_endpoint(&only_private).as_deref(),
            Some("https://private")
        );
        assert_eq!(
            kafka_endpoint(&neither).as_deref(),
            Some("https://deprecated")
        );
        assert_eq!(kafka_endpoint(&json!({"spec": {}})), None);
    }

    #[test]
    fn an_empty_schema_registry_endpoint_is_ignored() {
        let response = json!({"spec": {
            "http_endpoint": "",
            "private_networking_config": {"regional_endpoints": {"us-west-2": "https://regional"}},
            "private_http_endpoint": "https://deprecated",
        }});

        assert_eq!(
            schema_registry_endpoint(&response).as_deref(),
            Some("https://regional")
        );
    }
}
