//! The API Keys API: list, create, read and delete.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

use std::time::Instant;

use http::Method;
use serde_json::{Map, Value, json};

use super::api_key::{ApiKey, KeyType};
use super::existing_key::{delete, read};
use crate::controls::{LastPage, QuotaResponse};
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// The position in a list. "`page_size` only counts on the first request."
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Pagination>
#[derive(Clone)]
pub(crate) struct Cursor {
    owner: Option<String>,
    resource: Option<String>,
    page_size: usize,
    after: String,
}

impl Cursor {
    /// Returns whether the filters include `key`. They include every key without an owner.
    fn matches(&self, key: &ApiKey) -> bool {
        let is_owner = |owner| key.owner.as_ref() == Some(owner);
        key.owner.is_none()
            || (self.owner.as_ref().is_none_or(is_owner)
                && self
                    .resource
                    .as_ref()
                    .is_none_or(|resource| key.resource == *resource))
    }
}

/// Responds to a request to `/iam/v2/api-keys` and the rest of the `path`.
pub(super) fn respond(
    state: &mut State,
    request: &HttpRequest,
    path: &[&str],
) -> Result<Response, Response> {
    let accepts_global = state.controls.global_keys_may_call_iam;
    let principal = state.authenticate(request, |key_type| {
        key_type == KeyType::Cloud || (accepts_global && key_type == KeyType::Global)
    })?;
    match (&request.method, path) {
        (&Method::GET, []) => list(state, request, &principal),
        (&Method::POST, []) => create(state, request, &principal),
        (&Method::GET, [id]) => read(state, request, &principal, id),
        (&Method::DELETE, [id]) => delete(state, request, &principal, id),
        _ => Err(state.unknown_route()),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
fn list(state: &mut State, request: &HttpRequest, principal: &str) -> Result<Response, Response> {
    state.check_params(
        request,
        &["spec.owner", "spec.resource", "page_size", "page_token"],
    )?;
    let cursor = cursor(state, request)?;
    let is_first_page = cursor.after.is_empty();
    let ids: Vec<String> = state.keys.keys().cloned().collect();
    for id in &ids {
        state.count_read(id);
    }
    let is_visible = |key: &&ApiKey| {
        key.hidden_from_lists == 0 && cursor.matches(key) && state.may_read(principal, key)
    };
    let visible: Vec<&ApiKey> = state.keys.values().filter(is_visible).collect();
    let total = visible.len();
    let mut rest = visible.into_iter().filter(|key| key.id > cursor.after);
    let page: Vec<&ApiKey> = rest.by_ref().take(cursor.page_size).collect();
    let last = page.last().map(|key| key.id.clone()).unwrap_or_default();
    let is_last_page = rest.next().is_none();
    let data: Vec<Value> = page
        .into_iter()
        .map(|key| key_json(state, key, Some("")))
        .collect();
    let mut metadata = json!({
        "first": "https://api.confluent.cloud/iam/v2/api-keys",
        "total_size": total,
    });
    let next = (!is_last_page).then_some(Cursor {
        after: last,
        ..cursor
    });
    add_next(state, &mut metadata, next);
    if is_first_page {
        for key in state.keys.values_mut() {
            // `u32::MAX` hides the key permanently.
            if key.hidden_from_lists < u32::MAX {
                key.hidden_from_lists = key.hidden_from_lists.saturating_sub(1);
            }
        }
    }
    let body = json!({ "api_version": "iam/v2", "kind": "ApiKeyList", "metadata": metadata, "data": data });
    Ok(Response::json(200, &body))
}

/// Adds the URL of the next page, or ends the list as the [`Controls`](crate::Controls) specify.
fn add_next(state: &mut State, metadata: &mut Value, next: Option<Cursor>) {
    match (next, state.controls.last_page) {
        (Some(cursor), _) => {
            let token = format!("page{}", state.next_serial());
            metadata["next"] = json!(format!(
                "https://api.confluent.cloud/iam/v2/api-keys?page_token={token}"
            ));
            state.cursors.insert(token, cursor);
        }
        (None, LastPage::Empty) => metadata["next"] = json!(""),
        (None, LastPage::Null) => metadata["next"] = Value::Null,
        (None, LastPage::Absent) => {}
    }
}

fn cursor(state: &mut State, request: &HttpRequest) -> Result<Cursor, Response> {
    let filter = |name| request.param(name).map(ToOwned::to_owned);
    if let Some(token) = request.param("page_token") {
        let Some(cursor) = state.cursors.get(token).cloned() else {
            return Err(invalid_filter("page_token", "The page token is not valid"));
        };
        // The token includes the filters of the first page. A request may send the same filters again.
        let differs =
            |name, first: &Option<String>| filter(name).is_some_and(|other| Some(other) != *first);
        if differs("spec.owner", &cursor.owner) || differs("spec.resource", &cursor.resource) {
            return Err(state.violation_response("the filters differ from those of the first page"));
        }
        return Ok(cursor);
    }
    let requested: usize = match request.param("page_size").map(str::parse) {
        None => 10,
        Some(Ok(size @ 1..=100)) => size,
        Some(_) => {
            return Err(invalid_filter(
                "page_size",
                "page_size must be between 1 and 100",
            ));
        }
    };
    let page_size = state
        .controls
        .max_page_size
        .map_or(requested, |max| requested.min(max));
    Ok(Cursor {
        owner: filter("spec.owner"),
        resource: filter("spec.resource"),
        page_size,
        after: String::new(),
    })
}

fn invalid_filter(parameter: &str, detail: &str) -> Response {
    Response::confluent_error(
        400,
        Some("invalid_filter"),
        "Invalid Filter",
        &format!("{parameter}: {detail}"),
    )
}

/// The validated body of a `POST`.
struct NewKey {
    owner: String,
    resource: String,
    environment: Option<String>,
    display_name: String,
    description: String,
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
fn create(state: &mut State, request: &HttpRequest, principal: &str) -> Result<Response, Response> {
    let new = new_key(state, request)?;
    let mut key = state.issue_key(Some(&new.owner), &new.resource, new.environment.as_deref());
    if !state.may_manage(principal, &key) {
        return Err(Response::confluent_forbidden());
    }
    check_quota(state, &new.owner)?;
    let issued_secret = state.controls.issued_secret.clone();
    key.secret = issued_secret.unwrap_or(key.secret);
    key.created_at = state.next_created_at(&new.owner);
    key.display_name = new.display_name;
    key.description = new.description;
    key.created_by_function = true;
    key.created_for = match state.rotating.as_slice() {
        [arn] => Some(arn.clone()),
        _ => None,
    };
    let controls = &state.controls;
    let statuses = if key.key_type.is_control_plane() {
        &controls.control_plane_propagation_statuses
    } else {
        &controls.propagation_statuses
    };
    key.propagation_statuses = statuses.iter().copied().collect();
    let other_nodes = controls.other_nodes.iter();
    key.other_nodes = other_nodes
        .map(|node| node.iter().copied().collect())
        .collect();
    key.accepted_from = Instant::now() + controls.propagation_delay;
    key.hidden_from_lists = controls.list_lag;
    key.hidden_from_reads = controls.read_lag;
    let body = key_json(state, &key, Some(&key.secret));
    let location = format!("https://api.confluent.cloud/iam/v2/api-keys/{}", key.id);
    state.keys.insert(key.id.clone(), key);
    Ok(Response::json(202, &body).with_header("location", location))
}

/// Validates the body of a `POST`.
fn new_key(state: &mut State, request: &HttpRequest) -> Result<NewKey, Response> {
    state.check_params(request, &[])?;
    if request
        .header("content-type")
        .is_none_or(|value| !value.starts_with("application/json"))
    {
        return Err(state.violation_response("the content type is not application/json"));
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return Err(state.violation_response("the body is not JSON"));
    };
    let top = object(state, Some(&body), "the body", &["spec"])?;
    let known = ["display_name", "description", "owner", "resource"];
    let spec = object(state, top.get("spec"), "spec", &known)?;
    // `api_version`, `kind`, `related` and `resource_name` of owner and resource are read-only.
    let owner = object(state, spec.get("owner"), "spec.owner", &["id"])?;
    let owner = string(state, &owner, "id")?.unwrap_or_default();
    let resource = match spec.get("resource") {
        None | Some(Value::Null) => Map::new(),
        value => object(state, value, "spec.resource", &["id", "environment"])?,
    };
    let id = string(state, &resource, "id")?.unwrap_or_else(|| "cloud".to_owned());
    let environment = string(state, &resource, "environment")?;
    let environment = checked_environment(state, &id, environment.as_deref())?;
    if !state.may_own_keys(&owner) {
        // https://github.com/confluentinc/cli internal/api-key/command_create.go
        return Err(Response::confluent_error(
            403,
            Some("forbidden_access"),
            "Forbidden",
            "service account is not valid",
        ));
    }
    Ok(NewKey {
        owner,
        resource: id,
        environment,
        display_name: string(state, &spec, "display_name")?.unwrap_or_default(),
        description: string(state, &spec, "description")?.unwrap_or_default(),
    })
}

/// Returns the environment of the resource. Fails if the resource does not exist there.
fn checked_environment(
    state: &mut State,
    id: &str,
    environment: Option<&str>,
) -> Result<Option<String>, Response> {
    let unknown = || {
        let detail = format!("The resource {id} is not valid");
        Response::confluent_error(
            422,
            Some("invalid_configuration"),
            "Invalid Configuration",
            &detail,
        )
    };
    let key_type = KeyType::of(Some(id)).ok_or_else(unknown)?;
    match (key_type, environment) {
        // Optional and ignored: https://github.com/confluentinc/confluent-cloud-secrets-engine can send it.
        (KeyType::Cloud | KeyType::Global | KeyType::Tableflow, _) => Ok(None),
        // https://github.com/confluentinc/cli internal/api-key/command_create.go
        (KeyType::Flink, None) => {
            Err(state.violation_response("a Flink key without spec.resource.environment"))
        }
        (_, Some(named)) => {
            let resource = state.resources.get(id).ok_or_else(unknown)?;
            let exists = resource
                .environments
                .iter()
                .any(|environment| environment == named);
            if exists {
                Ok(Some(named.to_owned()))
            } else {
                Err(unknown())
            }
        }
        (_, None) => Ok(state
            .resources
            .get(id)
            .ok_or_else(unknown)?
            .environments
            .first()
            .cloned()),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#section/Known-Issues>
fn check_quota(state: &State, owner: &str) -> Result<(), Response> {
    let Some(quota) = state.controls.quota else {
        return Ok(());
    };
    if state.keys_of(owner).len() < quota.per_owner {
        return Ok(());
    }
    let detail = format!(
        "Your service account is currently limited to {} API keys",
        quota.per_owner
    );
    let title = "API Key Quota Exceeded";
    Err(match quota.response {
        QuotaResponse::PaymentRequired => {
            Response::confluent_error(402, Some("quota_exceeded"), title, &detail)
        }
        QuotaResponse::BadRequest => Response::confluent_error(400, None, "", &detail),
    })
}

fn object(
    state: &mut State,
    value: Option<&Value>,
    name: &str,
    known: &[&str],
) -> Result<Map<String, Value>, Response> {
    let Some(Value::Object(object)) = value else {
        return Err(state.violation_response(&format!("{name} is not an object")));
    };
    match object.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => Err(state.violation_response(&format!("unknown field {field} in {name}"))),
        None => Ok(object.clone()),
    }
}

fn string(
    state: &mut State,
    object: &Map<String, Value>,
    field: &str,
) -> Result<Option<String>, Response> {
    match object.get(field) {
        None => Ok(None),
        Some(Value::String(string)) => Ok(Some(string.clone())),
        Some(_) => Err(state.violation_response(&format!("{field} is not a string"))),
    }
}

/// Returns the cluster's `resource_name`, which includes its organization and environment.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
fn resource_name(state: &State, key: &ApiKey) -> Option<String> {
    let element = match key.key_type {
        KeyType::Kafka => "cloud-cluster",
        KeyType::SchemaRegistry => "schema-registry",
        KeyType::KsqlDb => "ksql",
        KeyType::Cloud | KeyType::Flink | KeyType::Tableflow | KeyType::Global => return None,
    };
    let environment = state.resources.get(&key.resource)?.environments.first()?;
    let (organization, id) = (&state.organization, &key.resource);
    Some(format!(
        "https://api.confluent.cloud/organization={organization}/environment={environment}/{element}={id}"
    ))
}

/// Returns the JSON of a key. Only the response to the `POST` includes the API secret.
pub(super) fn key_json(state: &State, key: &ApiKey, secret: Option<&str>) -> Value {
    let mut spec = json!({
        "display_name": key.display_name,
        "description": key.description,
        "resource": resource_json(state, key),
    });
    let owner = key.owner.as_deref().unwrap_or_default();
    let (kind, principal) = if owner.starts_with("u-") {
        ("User", "user")
    } else {
        ("ServiceAccount", "service-account")
    };
    // Confluent's internal keys have no owner: https://github.com/confluentinc/cli internal/api-key/command_list.go
    if !owner.is_empty() {
        spec["owner"] = json!({ "api_version": "iam/v2", "id": owner, "kind": kind });
    }
    if let Some(secret) = secret {
        spec["secret"] = json!(secret);
    }
    let organization = &state.organization;
    let path = format!(
        "organization={organization}/{principal}={owner}/api-key={}",
        key.id
    );
    let mut metadata = json!({
        "self": format!("https://api.confluent.cloud/iam/v2/api-keys/{}", key.id),
        "resource_name": format!("crn://api.confluent.cloud/{path}"),
    });
    if let Some(created_at) = &key.created_at {
        metadata["created_at"] = json!(created_at);
        metadata["updated_at"] = json!(created_at);
    }
    json!({ "api_version": "iam/v2", "kind": "ApiKey", "id": key.id, "metadata": metadata, "spec": spec })
}

/// Returns `spec.resource`. The responses for Schema Registry and ksqlDB differ from the API's description.
///
/// <https://github.com/confluentinc/terraform-provider-confluent/issues/418>
fn resource_json(state: &State, key: &ApiKey) -> Value {
    let (kind, api_version) = match key.key_type {
        KeyType::Cloud => ("Cloud", "iam/v2"),
        KeyType::Kafka => ("Cluster", "cmk/v2"),
        KeyType::SchemaRegistry => ("SchemaRegistry", "srcm/v2"),
        KeyType::KsqlDb => ("ksqlDB", "ksqldbcm/v2"),
        KeyType::Flink => ("Region", "fcpm/v2"),
        KeyType::Tableflow => ("Tableflow", "tableflow/v1"),
        KeyType::Global => ("Global", "global/v1"),
    };
    let mut id = key.resource.clone();
    let mut resource = json!({ "kind": kind, "api_version": api_version });
    if key.key_type == KeyType::Flink {
        let environment = key.environment.as_deref().unwrap_or_default();
        resource["environment"] = json!(environment);
        if state.controls.flink_ids_include_environment {
            id = format!("{environment}.{id}");
        }
    }
    resource["id"] = json!(id);
    if let Some(name) = resource_name(state, key) {
        resource["resource_name"] = json!(name);
    }
    resource
}
