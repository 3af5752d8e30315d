//! Confluent Cloud: the control plane and the data planes.
//!
//! A request may contain only the fields and parameters that Confluent's API describes. Confluent ignores unknown
//! fields, so it would hide a misspelled one.

pub(crate) mod api_key;
pub(crate) mod created_at;
pub(crate) mod endpoints;
mod error_response;
mod existing_key;
pub(crate) mod identity_pool;
mod issue_key;
pub(crate) mod operations;
mod organization;
pub(crate) mod permissions;
pub(crate) mod probes;
pub(crate) mod rate_limit;
pub(crate) mod token_exchange;

use http::Method;
use serde_json::{Value, json};

use self::api_key::KeyType;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// Responds to a request to the control plane.
pub(crate) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    // Successful responses have the headers of the rate limit, too.
    route(state, request).map(|response| state.with_rate_limit(response))
}

fn route(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let segments = request.segments();
    if let ["iam", "v2", "api-keys", path @ ..] = segments.as_slice() {
        return operations::respond(state, request, path);
    }
    if token_exchange::is_token_exchange(request) {
        return token_exchange::exchange(state, request);
    }
    if request.method != Method::GET {
        return Err(state.unknown_route());
    }
    match segments.as_slice() {
        ["cmk", "v2", "clusters", id] => endpoints::cluster(state, request, id, KeyType::Kafka),
        ["srcm", "v3", "clusters", id] => {
            endpoints::cluster(state, request, id, KeyType::SchemaRegistry)
        }
        ["ksqldbcm", "v2", "clusters", id] => {
            endpoints::cluster(state, request, id, KeyType::KsqlDb)
        }
        ["fcpm", "v2", "regions"] => endpoints::regions(state, request),
        ["iam", "v2", "service-accounts" | "users", id] => organization::owner(state, request, id),
        ["org", "v2", "organizations"] => organization::organizations(state, request),
        ["service-quota", "v1", "applied-quotas"] => organization::quotas(state, request),
        ["org", "v2", "environments"] => probes::environments(state, request),
        ["tableflow", "v1", "regions"] => probes::tableflow_regions(state, request),
        _ => Err(state.unknown_route()),
    }
}

/// Returns a list of one page.
fn single_page(api_version: &str, kind: &str, data: &[Value]) -> Response {
    let metadata =
        json!({ "first": format!("https://api.confluent.cloud/{api_version}"), "next": "" });
    Response::json(
        200,
        &json!({ "api_version": api_version, "kind": kind, "metadata": metadata, "data": data }),
    )
}
