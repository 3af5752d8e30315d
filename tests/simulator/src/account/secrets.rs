//! The operations of Secrets Manager on a secret and its value.

use serde_json::{Value, json};

use super::success;
use super::{Body, Call, error, labels, lists, named, parse, replicas, rotation, string, strings};
use crate::Simulator;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::secret::describe::describe;
use crate::secret::operations::{check_headers, check_value, get_secret_value};
use crate::secret::{CurrentKeyGuarantee, Secret, SecretValue, epoch_seconds};
use crate::state::State;

/// The operations and the fields that a request may have.
const OPERATIONS: [(&str, &[&str]); 18] = [
    ("CancelRotateSecret", &["SecretId"]),
    (
        "CreateSecret",
        &[
            "Name",
            "ClientRequestToken",
            "Description",
            "KmsKeyId",
            "SecretString",
            "Tags",
            "AddReplicaRegions",
        ],
    ),
    (
        "DeleteSecret",
        &[
            "SecretId",
            "RecoveryWindowInDays",
            "ForceDeleteWithoutRecovery",
        ],
    ),
    ("DescribeSecret", &["SecretId"]),
    ("GetResourcePolicy", &["SecretId"]),
    ("GetSecretValue", &["SecretId", "VersionId", "VersionStage"]),
    (
        "ListSecretVersionIds",
        &["SecretId", "IncludeDeprecated", "MaxResults", "NextToken"],
    ),
    (
        "ListSecrets",
        &[
            "Filters",
            "IncludePlannedDeletion",
            "MaxResults",
            "NextToken",
        ],
    ),
    (
        "PutResourcePolicy",
        &["SecretId", "ResourcePolicy", "BlockPublicPolicy"],
    ),
    (
        "PutSecretValue",
        &[
            "SecretId",
            "ClientRequestToken",
            "SecretString",
            "VersionStages",
        ],
    ),
    (
        "RemoveRegionsFromReplication",
        &["SecretId", "RemoveReplicaRegions"],
    ),
    (
        "ReplicateSecretToRegions",
        &["SecretId", "AddReplicaRegions"],
    ),
    ("RestoreSecret", &["SecretId"]),
    (
        "RotateSecret",
        &[
            "SecretId",
            "ClientRequestToken",
            "RotationLambdaARN",
            "RotationRules",
            "RotateImmediately",
        ],
    ),
    ("StopReplicationToReplica", &["SecretId"]),
    ("TagResource", &["SecretId", "Tags"]),
    ("UntagResource", &["SecretId", "TagKeys"]),
    (
        "UpdateSecretVersionStage",
        &[
            "SecretId",
            "VersionStage",
            "RemoveFromVersionId",
            "MoveToVersionId",
        ],
    ),
];

/// Responds to a user's request to Secrets Manager.
pub(super) fn respond(
    simulator: &Simulator,
    request: &HttpRequest,
    region: &str,
) -> Result<Response, Response> {
    let mut state = simulator.state();
    state.current_request = format!("a user's {}", request.name());
    check_headers(&mut state, request)?;
    let operation = request.operation().unwrap_or_default();
    let Some((_, fields)) = OPERATIONS.iter().find(|(known, _)| *known == operation) else {
        return Err(state.violation_response("the operation is not supported"));
    };
    let body = &parse(&mut state, request, fields)?;
    let call = &Call {
        operation,
        region,
        body,
    };
    match operation {
        "CreateSecret" => return create(&mut state, call),
        "ListSecrets" => return lists::secrets(&mut state, call),
        _ => {}
    }
    let arn = &find(&state, call)?;
    match operation {
        "RotateSecret" => {
            drop(state);
            rotation::rotate(simulator, arn, call)
        }
        "StopReplicationToReplica" => {
            drop(state);
            replicas::promote(simulator, arn, call)
        }
        _ => {
            let response = change(&mut state, arn, call)?;
            let secret = state.secrets.get(arn);
            let replica = secret.map(|secret| replicas::arn_in(secret, call.region));
            Ok(match replica {
                Some(replica) => response.with_replaced(arn, &replica),
                None => response,
            })
        }
    }
}

fn change(state: &mut State, arn: &str, call: &Call) -> Result<Response, Response> {
    match call.operation {
        "CancelRotateSecret" => rotation::cancel(state, arn),
        "DeleteSecret" => delete(state, arn, call.body),
        "DescribeSecret" => Ok(success(&describe(&state.secrets[arn]))),
        "GetResourcePolicy" => Ok(named(state, arn, json!({}))),
        "GetSecretValue" => get(state, arn, call.body),
        "ListSecretVersionIds" => lists::versions(state, arn, call),
        "PutResourcePolicy" => put_resource_policy(state, arn, call.body),
        "PutSecretValue" => put(state, arn, call.body),
        "RemoveRegionsFromReplication" => replicas::remove(state, arn, call),
        "ReplicateSecretToRegions" => replicas::add(state, arn, call),
        "RestoreSecret" => restore(state, arn),
        "TagResource" | "UntagResource" => Ok(tag(state, arn, call.body)),
        _ => labels::update(state, arn, call),
    }
}

/// Returns the ARN of the secret of a request. A replica can only be read.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/replicate-secrets.html>
fn find(state: &State, call: &Call) -> Result<String, Response> {
    let id = string(call.body, "SecretId").unwrap_or_default();
    let is_named = |secret: &&Secret| {
        let is_here = call.region == secret.region();
        let arn = replicas::arn_in(secret, call.region);
        (is_here || replicas::is_replicated_to(secret, call.region))
            && (arn == id || secret.name == id)
    };
    let secret = state.secrets.values().find(is_named).ok_or_else(|| {
        let message = "Secrets Manager can't find the specified secret.";
        error("ResourceNotFoundException", message)
    })?;
    let reads = [
        "DescribeSecret",
        "GetSecretValue",
        "ListSecretVersionIds",
        "StopReplicationToReplica",
    ];
    if call.region != secret.region() && !reads.contains(&call.operation) {
        let message = "Operation not permitted on a replica secret. Call must be made in primary secret's region.";
        return Err(error("InvalidRequestException", message));
    }
    if secret.attributes.deleted.is_some()
        && !["DescribeSecret", "RestoreSecret", "DeleteSecret"].contains(&call.operation)
    {
        return Err(marked_for_deletion());
    }
    Ok(secret.arn.clone())
}

/// The message: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
pub(crate) fn marked_for_deletion() -> Response {
    let message =
        "You can't perform this operation on the secret because it was marked for deletion.";
    error("InvalidRequestException", message)
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
fn create(state: &mut State, call: &Call) -> Result<Response, Response> {
    let (Some(name), Some(value), Some(token)) = (
        string(call.body, "Name"),
        string(call.body, "SecretString"),
        string(call.body, "ClientRequestToken"),
    ) else {
        let message = "CreateSecret without Name, SecretString or ClientRequestToken";
        return Err(state.violation_response(message));
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if name.is_empty() || name.len() > 512 || !name.chars().all(is_allowed) {
        let message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the \
                       following: -/_+=.@!";
        return Err(error("ValidationException", message));
    }
    check_value(value)?;
    if let Some(arn) = state.arn(name) {
        if state.secrets[&arn].attributes.deleted.is_some() {
            let message = "You can't create this secret because a secret with this name is already scheduled for deletion.";
            return Err(error("InvalidRequestException", message));
        }
        let message = format!("The operation failed because the secret {name} already exists.");
        return Err(error("ResourceExistsException", &message));
    }
    let arn = state.new_arn(name);
    let mut secret = Secret::new(&arn, name);
    secret.current_key_guarantee = guarantee(value);
    secret.attributes.description = string(call.body, "Description").map(ToOwned::to_owned);
    secret.attributes.kms_key_id = string(call.body, "KmsKeyId").map(ToOwned::to_owned);
    state.secrets.insert(arn.clone(), secret);
    state.store_current(&arn, token, SecretValue::String(value.to_owned()));
    tag(state, &arn, call.body);
    replicas::add(state, &arn, call)?;
    Ok(named(state, &arn, json!({ "VersionId": token })))
}

/// Returns the guarantee for a new secret: a key must exist and be accepted. A value that is not a Confluent key's has none.
fn guarantee(value: &str) -> CurrentKeyGuarantee {
    let value: Value = serde_json::from_str(value).unwrap_or_default();
    if value.get("apiKey").is_some() || value.get("serviceAccountId").is_some() {
        CurrentKeyGuarantee::Accepted
    } else {
        CurrentKeyGuarantee::Off
    }
}

/// Stores a new current version. This abandons a rotation in progress.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
fn put(state: &mut State, arn: &str, body: &Body) -> Result<Response, Response> {
    let (Some(value), Some(token)) = (
        string(body, "SecretString"),
        string(body, "ClientRequestToken"),
    ) else {
        let message = "PutSecretValue without SecretString or ClientRequestToken";
        return Err(state.violation_response(message));
    };
    if body.contains_key("VersionStages") && strings(body, "VersionStages") != ["AWSCURRENT"] {
        let message = "a user stores a version with other labels than AWSCURRENT";
        return Err(state.violation_response(message));
    }
    check_value(value)?;
    let guarantee = guarantee(value);
    let value = SecretValue::String(value.to_owned());
    match state.secrets[arn].versions.get(token) {
        None => {
            state.store_current(arn, token, value);
            let secret = state.secret_mut(arn);
            secret.incomplete = None;
            secret.current_key_guarantee = guarantee;
        }
        Some(version) if version.value.as_ref() == Some(&value) => {}
        Some(_) => {
            let message = format!(
                "You can't use ClientRequestToken {token} because that value is already in use for a version of \
                 secret {arn}."
            );
            return Err(error("ResourceExistsException", &message));
        }
    }
    let response = json!({ "VersionId": token, "VersionStages": ["AWSCURRENT"] });
    Ok(named(state, arn, response))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
fn get(state: &mut State, arn: &str, body: &Body) -> Result<Response, Response> {
    let mut body = body.clone();
    // "If you don't specify either a VersionStage or VersionId, then it returns the AWSCURRENT version."
    if !body.contains_key("VersionId") {
        body.entry("VersionStage").or_insert(json!("AWSCURRENT"));
    }
    get_secret_value(state, arn, &body)
}

/// Schedules the deletion, or deletes the secret immediately.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html>
fn delete(state: &mut State, arn: &str, body: &Body) -> Result<Response, Response> {
    if state.rotating.iter().any(|rotating| rotating == arn) {
        return Err(state.violation_response("a secret is deleted during its rotation"));
    }
    let secret = &state.secrets[arn];
    if !secret.replicas.is_empty() {
        let message = format!("You can't delete secret {arn} that still has replica regions.");
        return Err(error("InvalidParameterException", &message));
    }
    let is_forced = body.get("ForceDeleteWithoutRecovery") == Some(&json!(true));
    let window = body
        .get("RecoveryWindowInDays")
        .map_or(Some(30), Value::as_u64);
    let Some(window) = window.filter(|window| (7..=30).contains(window)) else {
        let message = "RecoveryWindowInDays value must be between 7 and 30 days (inclusive).";
        return Err(error("InvalidParameterException", message));
    };
    if is_forced && body.contains_key("RecoveryWindowInDays") {
        let message =
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.";
        return Err(error("InvalidParameterException", message));
    }
    if secret.attributes.deleted.is_some() && !is_forced {
        return Err(marked_for_deletion());
    }
    let now = epoch_seconds();
    #[expect(clippy::cast_precision_loss, reason = "at most 30 days")]
    let date = if is_forced {
        now
    } else {
        now + window as f64 * 86_400.0
    };
    let response = named(state, arn, json!({ "DeletionDate": date }));
    if is_forced {
        state.secrets.remove(arn);
    } else {
        state.secret_mut(arn).attributes.deleted = Some(now);
    }
    Ok(response)
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RestoreSecret.html>
fn restore(state: &mut State, arn: &str) -> Result<Response, Response> {
    if state.secret_mut(arn).attributes.deleted.take().is_none() {
        let message = "Secret is not scheduled for deletion.";
        return Err(error("InvalidRequestException", message));
    }
    Ok(named(state, arn, json!({})))
}

/// Adds `Tags` and removes `TagKeys`.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_TagResource.html>
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UntagResource.html>
fn tag(state: &mut State, arn: &str, body: &Body) -> Response {
    let tags = &mut state.secret_mut(arn).attributes.tags;
    let added = body.get("Tags").and_then(Value::as_array);
    for tag in added.into_iter().flatten() {
        if let (Some(key), Some(value)) = (tag["Key"].as_str(), tag["Value"].as_str()) {
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    for key in strings(body, "TagKeys") {
        tags.remove(key);
    }
    Response::new(200, "application/x-amz-json-1.1", "")
}

/// Accepts a policy that is JSON. The simulator does not evaluate it.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutResourcePolicy.html>
fn put_resource_policy(state: &State, arn: &str, body: &Body) -> Result<Response, Response> {
    let policy = string(body, "ResourcePolicy").unwrap_or_default();
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    if policy.get("Statement").is_none() {
        let message = "This resource policy contains invalid Json.";
        return Err(error("MalformedPolicyDocumentException", message));
    }
    Ok(named(state, arn, json!({})))
}
