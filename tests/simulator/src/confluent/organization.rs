//! The organization: its service accounts, users and quotas.

use serde_json::json;

use super::api_key::KeyType;
use super::single_page;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// <https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Organizations>
pub(super) fn organizations(
    state: &mut State,
    request: &HttpRequest,
) -> Result<Response, Response> {
    state.authenticate(request, |key_type| {
        matches!(key_type, KeyType::Cloud | KeyType::Global)
    })?;
    state.check_params(request, &["page_size", "page_token"])?;
    state.check_permission(request)?;
    let organization = json!({ "id": state.organization, "display_name": "simulated" });
    Ok(single_page("org/v2", "OrganizationList", &[organization]))
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ServiceAccount>, `getIamV2User`
pub(super) fn owner(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
) -> Result<Response, Response> {
    let principal = state.authenticate(request, |key_type| key_type == KeyType::Cloud)?;
    state.check_params(request, &[])?;
    if !state.is_admin(&principal) && principal != id {
        return Err(Response::confluent_forbidden());
    }
    if !state.may_own_keys(id) {
        return Err(Response::confluent_error(
            404,
            None,
            "",
            "Resource Not Found",
        ));
    }
    let body = json!({ "api_version": "iam/v2", "id": id, "display_name": id });
    Ok(Response::json(200, &body))
}

/// Lists some of the applied quotas of a scope. Confluent does not document who may read them.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listServiceQuotaV1AppliedQuotas>
pub(super) fn quotas(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let principal = state.authenticate(request, |key_type| key_type == KeyType::Cloud)?;
    state.check_params(request, &["scope", "id", "page_size", "page_token"])?;
    let scopes = ["SERVICE_ACCOUNT", "USER_ACCOUNT"];
    let Some(scope) = request
        .param("scope")
        .filter(|scope| scopes.contains(scope))
    else {
        return Err(
            state.violation_response("a request for applied quotas without a known `scope`")
        );
    };
    if !state.is_admin(&principal) {
        return Err(Response::confluent_forbidden());
    }
    let (owner, limit) = match scope {
        "SERVICE_ACCOUNT" => ("service_account", 100),
        _ => ("user", 10),
    };
    let limit = state.controls.quota.map_or(limit, |quota| quota.per_owner);
    let quotas = ["cloud", "cluster"].map(|class| format!("iam.max_{class}_api_keys.per_{owner}"));
    let matches = |id: &&String| request.param("id").is_none_or(|param| param == *id);
    let data: Vec<_> = quotas
        .iter()
        .filter(matches)
        .map(|id| json!({ "id": id, "scope": scope, "applied_limit": limit }))
        .collect();
    Ok(single_page("service-quota/v1", "AppliedQuotaList", &data))
}
