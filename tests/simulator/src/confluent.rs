//! Confluent's control plane: the API Keys API, and the way to [`discovery`].
//!
//! Requests hold what the API's description lists, and nothing else: Confluent ignores a field it does
//! not know, so a misspelt one would go unnoticed there.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

use std::time::Instant;

use http::Method;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::discovery;
use crate::keys::{ApiKey, Kind};
use crate::knobs::{GoneAnswer, LastPage, QuotaAnswer};
use crate::mint;
use crate::state::State;

/// Where a list goes on. "`page_size` only counts on the first request."
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Pagination>
#[derive(Clone)]
pub(crate) struct Cursor {
    owner: Option<String>,
    resource: Option<String>,
    page_size: usize,
    after: String,
}

pub(crate) fn answer(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    match (&call.method, call.segments().as_slice()) {
        (_, ["iam", "v2", "api-keys", rest @ ..]) => {
            let global_may = state.knobs.global_keys_may_call_iam;
            let me = state.principal(call, |kind| {
                kind == Kind::Cloud || (global_may && kind == Kind::Global)
            })?;
            match (&call.method, rest) {
                (&Method::GET, []) => list(state, call, &me),
                (&Method::POST, []) => create(state, call, &me),
                (&Method::GET, [id]) => read(state, call, &me, id),
                (&Method::DELETE, [id]) => delete(state, call, &me, id),
                _ => Err(state.unknown_route()),
            }
        }
        (&Method::GET, _) => discovery::answer(state, call),
        _ => Err(state.unknown_route()),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
fn list(state: &mut State, call: &Call, me: &str) -> Result<Answer, Answer> {
    state.only_params(
        call,
        &["spec.owner", "spec.resource", "page_size", "page_token"],
    )?;
    let cursor = cursor(state, call)?;
    let is_first_page = cursor.after.is_empty();
    let ids: Vec<String> = state.keys.keys().cloned().collect();
    for id in &ids {
        state.observe(id);
    }
    let matches = |key: &ApiKey| {
        key.owner.is_none()
            || (cursor
                .owner
                .as_ref()
                .is_none_or(|owner| key.owner.as_ref() == Some(owner))
                && cursor
                    .resource
                    .as_ref()
                    .is_none_or(|resource| key.resource == *resource))
    };
    let visible: Vec<&ApiKey> = state
        .keys
        .values()
        .filter(|key| key.hidden_from_lists == 0 && matches(key) && state.may_see(me, key))
        .collect();
    let total = visible.len();
    let mut rest = visible.into_iter().filter(|key| key.id > cursor.after);
    let page: Vec<&ApiKey> = rest.by_ref().take(cursor.page_size).collect();
    let last = page.last().map(|key| key.id.clone()).unwrap_or_default();
    let is_last_page = rest.next().is_none();
    let data: Vec<Value> = page
        .into_iter()
        .map(|key| rendered(state, key, Some("")))
        .collect();
    let mut metadata = json!({
        "first": "https://api.confluent.cloud/iam/v2/api-keys",
        "total_size": total,
    });
    match (is_last_page, state.knobs.last_page) {
        (false, _) => {
            let token = format!("page{}", state.next());
            metadata["next"] = json!(format!(
                "https://api.confluent.cloud/iam/v2/api-keys?page_token={token}"
            ));
            state.cursors.insert(
                token,
                Cursor {
                    after: last,
                    ..cursor
                },
            );
        }
        (true, LastPage::Empty) => metadata["next"] = json!(""),
        (true, LastPage::Null) => metadata["next"] = Value::Null,
        (true, LastPage::Absent) => {}
    }
    if is_first_page {
        for key in state.keys.values_mut() {
            key.hidden_from_lists = key.hidden_from_lists.saturating_sub(1);
        }
    }
    let body = json!({ "api_version": "iam/v2", "kind": "ApiKeyList", "metadata": metadata, "data": data });
    Ok(state.with_rate_limit(Answer::json(200, &body)))
}

fn cursor(state: &mut State, call: &Call) -> Result<Cursor, Answer> {
    let filter = |name| call.param(name).map(ToOwned::to_owned);
    if let Some(token) = call.param("page_token") {
        let Some(cursor) = state.cursors.get(token).cloned() else {
            return Err(invalid("page_token", "The page token is not valid"));
        };
        // A token carries its list's filters. To repeat them is harmless, to change them is not.
        let changed =
            |name, mine: &Option<String>| filter(name).is_some_and(|other| Some(other) != *mine);
        if changed("spec.owner", &cursor.owner) || changed("spec.resource", &cursor.resource) {
            return Err(state.refuse("the filters differ from those of the first page"));
        }
        return Ok(cursor);
    }
    let asked: usize = match call.param("page_size").map(str::parse) {
        None => 10,
        Some(Ok(size @ 1..=100)) => size,
        Some(_) => return Err(invalid("page_size", "page_size must be between 1 and 100")),
    };
    let page_size = state
        .knobs
        .page_size_cap
        .map_or(asked, |cap| asked.min(cap));
    Ok(Cursor {
        owner: filter("spec.owner"),
        resource: filter("spec.resource"),
        page_size,
        after: String::new(),
    })
}

fn invalid(parameter: &str, detail: &str) -> Answer {
    Answer::confluent_error(
        400,
        Some("invalid_filter"),
        "Invalid Filter",
        &format!("{parameter}: {detail}"),
    )
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
fn create(state: &mut State, call: &Call, me: &str) -> Result<Answer, Answer> {
    state.only_params(call, &[])?;
    if call
        .header("content-type")
        .is_none_or(|value| !value.starts_with("application/json"))
    {
        return Err(state.refuse("the content type is not application/json"));
    }
    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else {
        return Err(state.refuse("the body is not JSON"));
    };
    let top = object(state, Some(&body), "the body", &["spec"])?;
    let known = ["display_name", "description", "owner", "resource"];
    let spec = object(state, top.get("spec"), "spec", &known)?;
    // `api_version`, `kind`, `related` and `resource_name` of owner and resource are read-only.
    let owner = object(state, spec.get("owner"), "spec.owner", &["id"])?;
    let owner = string(state, &owner, "id")?.unwrap_or_default();
    let resource = match spec.get("resource") {
        None | Some(Value::Null) => Map::new(),
        given => object(state, given, "spec.resource", &["id", "environment"])?,
    };
    let id = string(state, &resource, "id")?.unwrap_or_else(|| "cloud".to_owned());
    let environment = string(state, &resource, "environment")?;
    let environment = checked_resource(state, &id, environment.as_deref())?;
    if !state.owners.contains_key(&owner) {
        // https://github.com/confluentinc/cli internal/api-key/command_create.go
        return Err(Answer::confluent_error(
            403,
            Some("forbidden_access"),
            "Forbidden",
            "service account is not valid",
        ));
    }
    let mut key = state.mint_key(Some(&owner), &id, environment.as_deref());
    key.created_at = mint::now();
    if !state.may_manage(me, &key) {
        return Err(Answer::confluent_forbidden());
    }
    check_quota(state, &owner)?;
    key.display_name = string(state, &spec, "display_name")?.unwrap_or_default();
    key.description = string(state, &spec, "description")?.unwrap_or_default();
    key.posted = true;
    key.made_for = match state.rotating.as_slice() {
        [arn] => Some(arn.clone()),
        _ => None,
    };
    let knobs = &state.knobs;
    let settling = if key.kind.is_control_plane() {
        &knobs.control_plane_settling
    } else {
        &knobs.settling
    };
    key.settling = settling.iter().copied().collect();
    key.accepted_from = Instant::now() + knobs.settles_after;
    key.hidden_from_lists = knobs.list_lag;
    let body = rendered(state, &key, Some(&key.secret));
    let location = format!("https://api.confluent.cloud/iam/v2/api-keys/{}", key.id);
    state.keys.insert(key.id.clone(), key);
    Ok(state.with_rate_limit(Answer::json(202, &body).with_header("location", location)))
}

/// The environment of the resource, if the resource exists and the request may name it so.
fn checked_resource(
    state: &mut State,
    id: &str,
    environment: Option<&str>,
) -> Result<Option<String>, Answer> {
    let unknown = || {
        let detail = format!("The resource {id} is not valid");
        Answer::confluent_error(
            422,
            Some("invalid_configuration"),
            "Invalid Configuration",
            &detail,
        )
    };
    let kind = Kind::of(Some(id)).ok_or_else(unknown)?;
    match (kind, environment) {
        // Optional and ignored: https://github.com/confluentinc/confluent-cloud-secrets-engine can send it.
        (Kind::Cloud | Kind::Global | Kind::Tableflow, _) => Ok(None),
        // https://github.com/confluentinc/cli internal/api-key/command_create.go
        (Kind::Flink, None) => Err(state.refuse("a Flink key without spec.resource.environment")),
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
fn check_quota(state: &State, owner: &str) -> Result<(), Answer> {
    let Some(quota) = state.knobs.quota else {
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
    Err(match quota.answer {
        QuotaAnswer::PaymentRequired => {
            Answer::confluent_error(402, Some("quota_exceeded"), title, &detail)
        }
        QuotaAnswer::BadRequest => Answer::confluent_error(400, None, "", &detail),
    })
}

fn object(
    state: &mut State,
    value: Option<&Value>,
    name: &str,
    known: &[&str],
) -> Result<Map<String, Value>, Answer> {
    let Some(Value::Object(object)) = value else {
        return Err(state.refuse(&format!("{name} is not an object")));
    };
    match object.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => Err(state.refuse(&format!("unknown field {field} in {name}"))),
        None => Ok(object.clone()),
    }
}

fn string(
    state: &mut State,
    object: &Map<String, Value>,
    field: &str,
) -> Result<Option<String>, Answer> {
    match object.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(state.refuse(&format!("{field} is not a string"))),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
fn read(state: &mut State, call: &Call, me: &str, id: &str) -> Result<Answer, Answer> {
    state.only_params(call, &[])?;
    state.observe(id);
    let key = state.keys.get(id).ok_or_else(|| gone(state, id))?;
    if !state.may_see(me, key) {
        return Err(Answer::confluent_forbidden());
    }
    Ok(state.with_rate_limit(Answer::json(200, &rendered(state, key, None))))
}

/// "The API key is being deleted": asynchronous, so it may be seen for a while.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/deleteIamV2ApiKey>
fn delete(state: &mut State, call: &Call, me: &str, id: &str) -> Result<Answer, Answer> {
    state.only_params(call, &[])?;
    let key = state
        .keys
        .get(id)
        .filter(|key| key.lingers.is_none())
        .cloned()
        .ok_or_else(|| gone(state, id))?;
    state.check_delete(&key);
    if !state.may_manage(me, &key) {
        return Err(Answer::confluent_forbidden());
    }
    if state.knobs.delete_lag > 0 {
        let lag = state.knobs.delete_lag - 1;
        state
            .keys
            .entry(id.to_owned())
            .and_modify(|key| key.lingers = Some(lag));
    } else {
        state.keys.remove(id);
        state.deleted_keys.insert(id.to_owned(), key);
    }
    Ok(state.with_rate_limit(Answer::empty(204)))
}

/// <https://github.com/confluentinc/terraform-provider-confluent> `fixtures/apikey/read_deleted_*.json`
fn gone(state: &State, id: &str) -> Answer {
    match state.knobs.gone_answer {
        GoneAnswer::Forbidden => Answer::confluent_forbidden(),
        GoneAnswer::NotFound => {
            let detail = format!("The API Key (id={id}) does not exist");
            Answer::confluent_error(404, Some("api_key_not_found"), "API Key Not Found", &detail)
        }
    }
}

/// Where the key's cluster is: its organization and environment.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
fn resource_name(state: &State, key: &ApiKey) -> Option<String> {
    let element = match key.kind {
        Kind::Kafka => "cloud-cluster",
        Kind::SchemaRegistry => "schema-registry",
        Kind::KsqlDb => "ksql",
        Kind::Cloud | Kind::Flink | Kind::Tableflow | Kind::Global => return None,
    };
    let environment = state.resources.get(&key.resource)?.environments.first()?;
    let (organization, id) = (&state.organization, &key.resource);
    Some(format!(
        "https://api.confluent.cloud/organization={organization}/environment={environment}/{element}={id}"
    ))
}

/// The key as it is shown: with its secret when it is made, and never again.
fn rendered(state: &State, key: &ApiKey, secret: Option<&str>) -> Value {
    // What Confluent really answers for Schema Registry and ksqlDB differs from its description:
    // https://github.com/confluentinc/terraform-provider-confluent/issues/418
    let (kind, api_version) = match key.kind {
        Kind::Cloud => ("Cloud", "iam/v2"),
        Kind::Kafka => ("Cluster", "cmk/v2"),
        Kind::SchemaRegistry => ("SchemaRegistry", "srcm/v2"),
        Kind::KsqlDb => ("ksqlDB", "ksqldbcm/v2"),
        Kind::Flink => ("Region", "fcpm/v2"),
        Kind::Tableflow => ("Tableflow", "tableflow/v1"),
        Kind::Global => ("Global", "global/v1"),
    };
    let mut id = key.resource.clone();
    let mut resource = json!({ "kind": kind, "api_version": api_version });
    if key.kind == Kind::Flink {
        let environment = key.environment.as_deref().unwrap_or_default();
        resource["environment"] = json!(environment);
        if state.knobs.flink_ids_name_their_environment {
            id = format!("{environment}.{id}");
        }
    }
    resource["id"] = json!(id);
    if let Some(name) = resource_name(state, key) {
        resource["resource_name"] = json!(name);
    }
    let mut spec = json!({
        "display_name": key.display_name, "description": key.description, "resource": resource,
    });
    let owner = key.owner.as_deref().unwrap_or_default();
    let principal = if owner.starts_with("u-") {
        ("User", "user")
    } else {
        ("ServiceAccount", "service-account")
    };
    // Confluent's internal keys have no owner: https://github.com/confluentinc/cli internal/api-key/command_list.go
    if !owner.is_empty() {
        spec["owner"] = json!({ "api_version": "iam/v2", "id": owner, "kind": principal.0 });
    }
    if let Some(secret) = secret {
        spec["secret"] = json!(secret);
    }
    let (organization, principal) = (&state.organization, principal.1);
    let path = format!(
        "organization={organization}/{principal}={owner}/api-key={}",
        key.id
    );
    json!({
        "api_version": "iam/v2",
        "kind": "ApiKey",
        "id": key.id,
        "metadata": {
            "self": format!("https://api.confluent.cloud/iam/v2/api-keys/{}", key.id),
            "resource_name": format!("crn://api.confluent.cloud/{path}"),
            "created_at": key.created_at,
            "updated_at": key.created_at,
        },
        "spec": spec,
    })
}
