//! Where the control plane says resources are, and the two probes that it answers itself.
//!
//! Cloud keys may look, if their owner has a role that sees the resource. In a wrong environment there
//! is nothing.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::keys::Kind;
use crate::knobs::Endpoints;
use crate::state::{Resource, State};

pub(crate) fn answer(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    match call.segments().as_slice() {
        ["cmk", "v2", "clusters", id] => cluster(state, call, id, Kind::Kafka),
        ["srcm", "v3", "clusters", id] => cluster(state, call, id, Kind::SchemaRegistry),
        ["ksqldbcm", "v2", "clusters", id] => cluster(state, call, id, Kind::KsqlDb),
        ["fcpm", "v2", "regions"] => regions(state, call),
        ["org", "v2", "environments"] => environments(state, call),
        ["org", "v2", "organizations"] => organizations(state, call),
        ["iam", "v2", "service-accounts" | "users", id] => owner(state, call, id),
        ["service-quota", "v1", "applied-quotas"] => quotas(state, call),
        ["tableflow", "v1", "regions"] => tableflow_regions(state, call),
        _ => Err(state.unknown_route()),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>, `getSrcmV3Cluster` and
/// `getKsqldbcmV2Cluster`; `environment` is required by each.
fn cluster(state: &mut State, call: &Call, id: &str, kind: Kind) -> Result<Answer, Answer> {
    let me = state.principal(call, |kind| kind == Kind::Cloud)?;
    state.only_params(call, &["environment"])?;
    let Some(environment) = call.param("environment") else {
        return Err(state.refuse("a cluster is asked for without its environment"));
    };
    let found = state
        .resources
        .get(id)
        .filter(|resource| resource.kind == kind);
    // https://github.com/confluentinc/terraform-provider-confluent/issues/364
    let resource = found
        .filter(|resource| resource.environments.iter().any(|one| one == environment))
        .ok_or_else(|| Answer::confluent_error(404, None, "", "Resource Not Found"))?;
    if !state.may_discover(&me, id, environment) {
        return Err(Answer::confluent_forbidden());
    }
    let url = resource.advertised.as_ref().unwrap_or(&resource.url);
    let (api_version, mut spec, mut status) = match kind {
        Kind::Kafka => ("cmk/v2", kafka_endpoints(resource, url), json!({})),
        Kind::SchemaRegistry => ("srcm/v3", registry_endpoints(resource, url), json!({})),
        _ => ("ksqldbcm/v2", json!({}), json!({ "http_endpoint": url })),
    };
    spec["display_name"] = json!(id);
    spec["environment"] = json!({ "id": environment });
    status["phase"] = json!("PROVISIONED");
    let body = json!({ "api_version": api_version, "kind": "Cluster", "id": id, "spec": spec, "status": status });
    Ok(Answer::json(200, &body))
}

/// `spec.endpoints` by access point, or the deprecated `spec.http_endpoint`.
///
/// <https://github.com/confluentinc/ccloud-sdk-go-v2> `cmk/v2/api/openapi.yaml`
fn kafka_endpoints(resource: &Resource, url: &str) -> Value {
    let access_point = |connection_type: &str, url: &str| {
        json!({
            "connection_type": connection_type,
            "http_endpoint": url,
            "kafka_bootstrap_endpoint": "SASL_SSL://lkc-00000.us-west-2.aws.confluent.cloud:9092",
        })
    };
    let spec = match &resource.endpoints {
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

fn page(api_version: &str, kind: &str, data: &[Value]) -> Answer {
    let metadata =
        json!({ "first": format!("https://api.confluent.cloud/{api_version}"), "next": "" });
    Answer::json(
        200,
        &json!({ "api_version": api_version, "kind": kind, "metadata": metadata, "data": data }),
    )
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listFcpmV2Regions>
fn regions(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    state.principal(call, |kind| kind == Kind::Cloud)?;
    state.only_params(call, &["cloud", "region_name", "page_size", "page_token"])?;
    let mut data = Vec::new();
    for (id, resource) in state
        .resources
        .iter()
        .filter(|(_, resource)| resource.kind == Kind::Flink)
    {
        let (cloud, region) = id
            .split_once('.')
            .expect("a Flink region is <cloud>.<region>");
        let cloud = cloud.to_ascii_uppercase();
        let wanted = |name, value: &str| call.param(name).is_none_or(|wanted| wanted == value);
        if !wanted("cloud", &cloud) || !wanted("region_name", region) {
            continue;
        }
        let url = resource.advertised.as_ref().unwrap_or(&resource.url);
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
    Ok(page("fcpm/v2", "RegionList", &data))
}

/// The probe of Cloud and Global keys; what a key may not see is left out.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Environments>
fn environments(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    let me = state.principal(call, |kind| matches!(kind, Kind::Cloud | Kind::Global))?;
    state.only_params(call, &["page_size", "page_token"])?;
    refuse_if_forbidden(state, call)?;
    let mut seen: Vec<&String> = state
        .resources
        .values()
        .flat_map(|resource| &resource.environments)
        .collect();
    seen.sort();
    seen.dedup();
    seen.retain(|environment| state.may_discover(&me, "", environment));
    let data: Vec<_> = seen
        .into_iter()
        .map(|id| json!({ "id": id, "display_name": id }))
        .collect();
    Ok(page("org/v2", "EnvironmentList", &data))
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Organizations>
fn organizations(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    state.principal(call, |kind| matches!(kind, Kind::Cloud | Kind::Global))?;
    state.only_params(call, &["page_size", "page_token"])?;
    refuse_if_forbidden(state, call)?;
    let organization = json!({ "id": state.organization, "display_name": "simulated" });
    Ok(page("org/v2", "OrganizationList", &[organization]))
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ServiceAccount>, `getIamV2User`
fn owner(state: &mut State, call: &Call, id: &str) -> Result<Answer, Answer> {
    let me = state.principal(call, |kind| kind == Kind::Cloud)?;
    state.only_params(call, &[])?;
    if !state.is_admin(&me) && me != id {
        return Err(Answer::confluent_forbidden());
    }
    if !state.owners.contains_key(id) {
        return Err(Answer::confluent_error(404, None, "", "Resource Not Found"));
    }
    let body = json!({ "api_version": "iam/v2", "id": id, "display_name": id });
    Ok(Answer::json(200, &body))
}

/// The limits of one scope, of which the documentation lists more. Who may see them is not documented.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listServiceQuotaV1AppliedQuotas>
fn quotas(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    let me = state.principal(call, |kind| kind == Kind::Cloud)?;
    state.only_params(call, &["scope", "id", "page_size", "page_token"])?;
    let scopes = ["SERVICE_ACCOUNT", "USER_ACCOUNT"];
    let Some(scope) = call.param("scope").filter(|scope| scopes.contains(scope)) else {
        return Err(state.refuse("applied quotas are asked for without a scope that is known"));
    };
    if !state.is_admin(&me) {
        return Err(Answer::confluent_forbidden());
    }
    let (owner, limit) = match scope {
        "SERVICE_ACCOUNT" => ("service_account", 100),
        _ => ("user", 10),
    };
    let limit = state.knobs.quota.map_or(limit, |quota| quota.per_owner);
    let quotas = ["cloud", "cluster"].map(|class| format!("iam.max_{class}_api_keys.per_{owner}"));
    let wanted = |id: &&String| call.param("id").is_none_or(|wanted| wanted == *id);
    let data: Vec<_> = quotas
        .iter()
        .filter(wanted)
        .map(|id| json!({ "id": id, "scope": scope, "applied_limit": limit }))
        .collect();
    Ok(page("service-quota/v1", "AppliedQuotaList", &data))
}

/// The probe of Tableflow keys, which are the only resource keys that the control plane accepts.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listTableflowV1Regions>
fn tableflow_regions(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    state.principal(call, |kind| kind == Kind::Tableflow)?;
    state.only_params(call, &["cloud", "page_size", "page_token"])?;
    refuse_if_forbidden(state, call)?;
    Ok(page("tableflow/v1", "RegionList", &[]))
}

/// The verdict for a key of the control plane, which has just been accepted.
fn refuse_if_forbidden(state: &State, call: &Call) -> Result<(), Answer> {
    let key = call.basic().and_then(|(id, _)| state.keys.get(&id));
    match key {
        Some(key) if state.knobs.is_forbidden(&key.resource) => Err(Answer::confluent_forbidden()),
        _ => Ok(()),
    }
}
