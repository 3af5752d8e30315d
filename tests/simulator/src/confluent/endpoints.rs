//! Endpoint discovery: the resources and their endpoints, as the control plane returns them.

use serde_json::{Value, json};

use super::api_key::KeyType;
use super::single_page;
use crate::brokers::Broker;
use crate::controls::{BootstrapForm, Endpoints};
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// A cluster, or a Flink region.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The type of keys that are scoped to the resource.
    pub key_type: KeyType,
    /// The environments: one for a cluster, one or more for a Flink region.
    pub environments: Vec<String>,
    /// The URL of the data plane, without a trailing slash.
    pub url: String,
    /// The URL that the control plane returns instead, to send clients elsewhere.
    pub advertised_url: Option<String>,
    /// The fields in which the control plane returns the URL.
    pub endpoints: Endpoints,
    /// The brokers of a Kafka cluster. Add them with [`add_brokers`](crate::Simulator::add_brokers).
    pub brokers: Vec<Broker>,
    /// The host and port of the bootstrap listener, as the control plane returns them.
    pub bootstrap: Option<String>,
}

/// Reads a cluster. `environment` is required, and a cluster is found only in its own environment.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>, `getSrcmV3Cluster` and
/// `getKsqldbcmV2Cluster`
pub(super) fn cluster(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    key_type: KeyType,
) -> Result<Response, Response> {
    let principal = state.authenticate(request, |key_type| key_type == KeyType::Cloud)?;
    state.check_params(request, &["environment"])?;
    let Some(environment) = request.param("environment") else {
        return Err(state.violation_response("a request for a cluster without `environment`"));
    };
    let found = state
        .resources
        .get(id)
        .filter(|resource| resource.key_type == key_type);
    // https://github.com/confluentinc/terraform-provider-confluent/issues/364
    let resource = found
        .filter(|resource| resource.environments.iter().any(|one| one == environment))
        .ok_or_else(|| Response::confluent_error(404, None, "", "Resource Not Found"))?;
    if !state.may_read_resource(&principal, id, environment) {
        return Err(Response::confluent_forbidden());
    }
    let url = resource.advertised_url.as_ref().unwrap_or(&resource.url);
    let form = state.controls.bootstrap_form;
    let (api_version, mut spec, mut status) = match key_type {
        KeyType::Kafka => ("cmk/v2", kafka_endpoints(resource, url, form), json!({})),
        KeyType::SchemaRegistry => ("srcm/v3", registry_endpoints(resource, url), json!({})),
        _ => ("ksqldbcm/v2", json!({}), json!({ "http_endpoint": url })),
    };
    spec["display_name"] = json!(id);
    spec["environment"] = json!({ "id": environment });
    status["phase"] = json!("PROVISIONED");
    let body = json!({ "api_version": api_version, "kind": "Cluster", "id": id, "spec": spec, "status": status });
    Ok(Response::json(200, &body))
}

/// Returns `spec.endpoints` by access point, or the deprecated `spec.http_endpoint`.
///
/// <https://github.com/confluentinc/ccloud-sdk-go-v2> `cmk/v2/api/openapi.yaml`
fn kafka_endpoints(resource: &Resource, url: &str, form: BootstrapForm) -> Value {
    let elsewhere = "SASL_SSL://127.0.0.1:1";
    let bootstrap = resource.bootstrap_endpoint(form);
    let access_point = |connection_type: &str, http_endpoint: &str| {
        // The brokers belong to the access point of the resource's URL.
        let bootstrap = bootstrap.as_deref().filter(|_| http_endpoint == url);
        json!({
            "connection_type": connection_type,
            "http_endpoint": http_endpoint,
            "kafka_bootstrap_endpoint": bootstrap.unwrap_or(elsewhere),
        })
    };
    let mut spec = match &resource.endpoints {
        Endpoints::Public => {
            json!({ "http_endpoint": url, "endpoints": { "PUBLIC": access_point("PUBLIC", url) } })
        }
        Endpoints::Deprecated => json!({ "http_endpoint": url }),
        Endpoints::Private(connection) => {
            json!({ "endpoints": { "ap1pni123": access_point(connection, url) } })
        }
        Endpoints::PrivateAndPublic {
            connection_type,
            private_url,
        } => json!({
            "endpoints": {
                "ap1platt67890": access_point(connection_type, private_url),
                "public": access_point("PUBLIC", url),
            },
        }),
    };
    let is_deprecated_used = spec.get("http_endpoint").is_some();
    if let Some(bootstrap) = bootstrap.filter(|_| is_deprecated_used) {
        spec["kafka_bootstrap_endpoint"] = json!(bootstrap);
    }
    with_region(spec)
}

/// <https://github.com/confluentinc/ccloud-sdk-go-v2> `srcm/v3/api/openapi.yaml`
fn registry_endpoints(resource: &Resource, url: &str) -> Value {
    let regional = |url: &str| json!({ "regional_endpoints": { "us-west-2": url } });
    let spec = match &resource.endpoints {
        Endpoints::Public => json!({ "http_endpoint": url }),
        Endpoints::Deprecated => json!({ "http_endpoint": "", "private_http_endpoint": url }),
        Endpoints::Private(_) => {
            json!({ "http_endpoint": "", "private_networking_config": regional(url) })
        }
        Endpoints::PrivateAndPublic { private_url, .. } => {
            json!({ "http_endpoint": url, "private_networking_config": regional(private_url) })
        }
    };
    with_region(spec)
}

fn with_region(mut spec: Value) -> Value {
    spec["cloud"] = json!("AWS");
    spec["region"] = json!("us-west-2");
    spec
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listFcpmV2Regions>
pub(super) fn regions(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    state.authenticate(request, |key_type| key_type == KeyType::Cloud)?;
    state.check_params(
        request,
        &["cloud", "region_name", "page_size", "page_token"],
    )?;
    let mut data = Vec::new();
    for (id, resource) in state
        .resources
        .iter()
        .filter(|(_, resource)| resource.key_type == KeyType::Flink)
    {
        let (cloud, region) = id
            .split_once('.')
            .expect("the ID of a Flink region is <cloud>.<region>");
        let cloud = cloud.to_ascii_uppercase();
        let matches = |name, value: &str| request.param(name).is_none_or(|param| param == value);
        if !matches("cloud", &cloud) || !matches("region_name", region) {
            continue;
        }
        let url = resource.advertised_url.as_ref().unwrap_or(&resource.url);
        let (public, private) = match &resource.endpoints {
            Endpoints::Public | Endpoints::Deprecated => (url.as_str(), ""),
            Endpoints::Private(_) => ("", url.as_str()),
            Endpoints::PrivateAndPublic { private_url, .. } => (url.as_str(), private_url.as_str()),
        };
        data.push(json!({
            "api_version": "fcpm/v2",
            "kind": "Region",
            "id": id,
            "display_name": region,
            "cloud": cloud,
            "region_name": region,
            "http_endpoint": public,
            "private_http_endpoint": private,
        }));
    }
    Ok(single_page("fcpm/v2", "RegionList", &data))
}
