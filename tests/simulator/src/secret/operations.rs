//! The five operations of Secrets Manager that a rotation function needs, in AWS JSON 1.1.
//!
//! The simulator is stricter than the service. A violation is: another operation, `PutSecretValue` with other staging
//! labels than `AWSPENDING`, `PutSecretValue` for a version that no rotation created, and `ListSecrets` with filters or another
//! order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::describe::describe;
use super::error_response::error;
use super::list::list_secrets;
use super::{Secret, SecretValue};
use crate::account::{is_user, marked_for_deletion, region};
use crate::copies::replaces_every_copy;
use crate::guarantees::Guarantee;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::replacement::{promotion_problem, stored_value_problem};
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const MAX_VALUE_LEN: usize = 65_536;

type Body = Map<String, Value>;

/// Responds to a request to Secrets Manager.
pub(crate) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    check_headers(state, request)?;
    if is_user(request) {
        return Err(state.violation_response("the function has a user's credentials"));
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return Err(state.violation_response("the body is not a JSON object"));
    };
    let Some(fields) = request.operation().and_then(fields) else {
        return Err(state.violation_response("an operation that a rotation function does not need"));
    };
    if let Some(field) = body.keys().find(|field| !fields.contains(&field.as_str())) {
        return Err(state.violation_response(&format!("unknown field {field}")));
    }
    if let Some((field, _)) = body.iter().find(|(field, value)| !has_type(field, value)) {
        return Err(
            state.violation_response(&format!("{field} has another type or is out of range"))
        );
    }
    if request.operation() == Some("ListSecrets") {
        return list(state, request, &body);
    }
    let arn = string(&body, "SecretId")
        .and_then(|id| state.arn(id))
        .ok_or_else(|| {
            Response::aws_error(
                400,
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret.",
            )
        })?;
    if state.secrets[&arn].attributes.deleted.is_some()
        && request.operation() != Some("DescribeSecret")
    {
        return Err(marked_for_deletion());
    }
    let operation = request.operation().unwrap_or_default();
    let stack = state.account.stack.as_ref();
    if stack.is_some_and(|stack| !stack.permits(operation, &state.secrets[&arn])) {
        return Err(Response::aws_access_denied(operation));
    }
    record_for_deletions(state, request, &arn, &body);
    match request.operation() {
        Some("DescribeSecret") => Ok(success(&describe(&state.secrets[&arn]))),
        Some("GetSecretValue") => get_secret_value(state, &arn, &body),
        Some("PutSecretValue") => put_secret_value(state, &arn, &body),
        _ => update_secret_version_stage(state, &arn, &body),
    }
}

/// Returns whether a field has the type and the range that the API documents.
fn has_type(field: &str, value: &Value) -> bool {
    match field {
        "VersionStages" => value.is_array(),
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
        "MaxResults" => value.as_u64().is_some_and(|size| (1..=100).contains(&size)),
        _ => value.is_string(),
    }
}

/// Lists the secrets of the Region, except those that are scheduled for deletion.
fn list(state: &mut State, request: &HttpRequest, body: &Body) -> Result<Response, Response> {
    let stack = state.account.stack.as_ref();
    if stack.is_some_and(|stack| !stack.may_list_secrets) {
        return Err(Response::aws_access_denied("ListSecrets"));
    }
    state.deletion_evidence.read = None;
    let is_listed = |secret: &Secret| {
        secret.attributes.deleted.is_none() && region(request) == Some(secret.region())
    };
    Ok(success(&list_secrets(state, body, is_listed)?))
}

/// Records which labels were read, and which version was read last.
fn record_for_deletions(state: &mut State, request: &HttpRequest, arn: &str, body: &Body) {
    let version = string(body, "VersionId").map(ToOwned::to_owned);
    let evidence = &mut state.deletion_evidence;
    evidence.read = version
        .filter(|_| request.operation() == Some("GetSecretValue"))
        .map(|version| (arn.to_owned(), version));
    if request.operation() == Some("DescribeSecret") {
        evidence.described.insert(arn.to_owned());
    }
}

/// Returns the fields that a request may have.
fn fields(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "DescribeSecret" => &["SecretId"],
        "GetSecretValue" => &["SecretId", "VersionId", "VersionStage"],
        "ListSecrets" => &["MaxResults", "NextToken"],
        "PutSecretValue" => &[
            "SecretId",
            "ClientRequestToken",
            "SecretString",
            "VersionStages",
            "RotationToken",
        ],
        "UpdateSecretVersionStage" => &[
            "SecretId",
            "VersionStage",
            "RemoveFromVersionId",
            "MoveToVersionId",
        ],
        _ => return None,
    })
}

/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
pub(crate) fn check_headers(state: &mut State, request: &HttpRequest) -> Result<(), Response> {
    if request.method != http::Method::POST || request.entry.target != "/" {
        return Err(state.unknown_route());
    }
    if request.header("content-type") != Some("application/x-amz-json-1.1") {
        return Err(state.violation_response("the content type is not application/x-amz-json-1.1"));
    }
    if !request.is_signed_for("secretsmanager") {
        return Err(state.violation_response(
            "the request is not signed with Signature Version 4 for secretsmanager",
        ));
    }
    Ok(())
}

fn string<'a>(body: &'a Body, field: &str) -> Option<&'a str> {
    body.get(field).and_then(Value::as_str)
}

fn success(body: &Value) -> Response {
    Response::new(200, "application/x-amz-json-1.1", body.to_string())
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
pub(crate) fn get_secret_value(
    state: &mut State,
    arn: &str,
    body: &Body,
) -> Result<Response, Response> {
    let (version, label) = (string(body, "VersionId"), string(body, "VersionStage"));
    if version.is_none() && label.is_none() {
        return Err(state.violation_response("GetSecretValue without VersionId and VersionStage"));
    }
    let secret = state.secret_mut(arn);
    // The messages: https://github.com/aws/aws-sdk-js-v3/issues/7701 and
    // https://github.com/getmoto/moto/blob/master/tests/test_secretsmanager/test_secretsmanager.py
    let not_found = || {
        let what = label.map_or_else(
            || format!("VersionId: {}", version.unwrap_or_default()),
            |label| format!("staging label: {label}"),
        );
        let message = format!("Secrets Manager can't find the specified secret value for {what}");
        error("ResourceNotFoundException", &message)
    };
    let labeled = label.and_then(|label| secret.labels.get(label)).cloned();
    let id = version
        .map(ToOwned::to_owned)
        .or_else(|| labeled.clone())
        .ok_or_else(not_found)?;
    let found = secret.versions.get_mut(&id).ok_or_else(not_found)?;
    if label.is_some() && labeled.as_ref() != Some(&id) {
        let message =
            "You provided a VersionStage that is not associated to the provided VersionId.";
        return Err(error("InvalidRequestException", message));
    }
    if found.hidden_from_reads > 0 {
        found.hidden_from_reads -= 1;
        return Err(not_found());
    }
    let value = found.value.clone().ok_or_else(not_found)?;
    if found.is_unreadable {
        return Err(Response::aws_kms_denied());
    }
    let created = found.created;
    let labels: Vec<_> = secret
        .labels
        .iter()
        .filter(|(_, on)| **on == id)
        .map(|(label, _)| label)
        .collect();
    let mut body = json!({
        "ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": labels,
    });
    if let Some(created) = created {
        body["CreatedDate"] = json!(created);
    }
    match value {
        SecretValue::String(string) => body["SecretString"] = json!(string),
        SecretValue::Binary(bytes) => body["SecretBinary"] = json!(STANDARD.encode(bytes)),
    }
    Ok(success(&body))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
fn put_secret_value(state: &mut State, arn: &str, body: &Body) -> Result<Response, Response> {
    let (token, value) = check_put(state, arn, body)?;
    check_value(value)?;
    let problem = stored_value_problem(&state.secrets[arn], token, value);
    if let Some(problem) = problem.or_else(|| state.misplaced_key(value)) {
        let message = format!("the pending value of {arn} {problem}");
        state.record_broken(Guarantee::AllKeysReplaced, &message);
    }
    if !replaces_every_copy(&state.secrets[arn], value) {
        let message = format!(
            "the pending value of {arn} is no version's value with every copy of every key replaced"
        );
        state.record_broken(Guarantee::CopiesReplaced, &message);
    }
    let value = SecretValue::String(value.to_owned());
    match state.secrets[arn]
        .versions
        .get(token)
        .and_then(|version| version.value.as_ref())
    {
        None => {
            state.store(arn, token, Some(value));
            let lag = state.controls.value_lag;
            let version = state
                .secret_mut(arn)
                .versions
                .get_mut(token)
                .expect("the version was stored");
            version.hidden_from_reads = lag;
        }
        Some(stored) if *stored == value => {}
        Some(_) => {
            let message = format!(
                "You can't use ClientRequestToken {token} because that value is already in use for a version of \
                 secret {arn}."
            );
            return Err(error("ResourceExistsException", &message));
        }
    }
    let secret = state.secret_mut(arn);
    secret.move_label("AWSPENDING", token);
    let name = &secret.name;
    Ok(success(
        &json!({ "ARN": arn, "Name": name, "VersionId": token, "VersionStages": ["AWSPENDING"] }),
    ))
}

/// Fails if a value is too long.
pub(crate) fn check_value(value: &str) -> Result<(), Response> {
    if value.len() <= MAX_VALUE_LEN {
        return Ok(());
    }
    let message = "1 validation error detected: Value at 'secretString' failed to satisfy constraint: \
                   Member must have length less than or equal to 65536";
    Err(error("ValidationException", message))
}

/// Returns the token and the value of a `PutSecretValue` that stores the value of a rotation.
fn check_put<'a>(
    state: &mut State,
    arn: &str,
    body: &'a Body,
) -> Result<(&'a str, &'a str), Response> {
    let (Some(token), Some(value)) = (
        string(body, "ClientRequestToken"),
        string(body, "SecretString"),
    ) else {
        return Err(state.violation_response(
            "PutSecretValue without ClientRequestToken or without SecretString",
        ));
    };
    if body.get("VersionStages") != Some(&json!(["AWSPENDING"])) {
        return Err(
            state.violation_response("PutSecretValue with VersionStages other than AWSPENDING")
        );
    }
    let Some(expected) = state.secrets[arn].rotation_tokens.get(token) else {
        // Without a token, the SDK generates one, which creates another version than the rotation's.
        return Err(state.violation_response("ClientRequestToken is not that of a rotation"));
    };
    // "Secrets Manager uses the rotation token to validate the IAM role identity."
    // https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
    if expected.as_deref() != string(body, "RotationToken") {
        return Err(state.violation_response("RotationToken is not that of the event"));
    }
    Ok((token, value))
}

/// Changes a label as only a rotation function may.
fn update_secret_version_stage(
    state: &mut State,
    arn: &str,
    body: &Body,
) -> Result<Response, Response> {
    change_label(state, arn, body, check_label)
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
///
/// `check` fails if the caller has no reason to change the label.
pub(crate) fn change_label(
    state: &mut State,
    arn: &str,
    body: &Body,
    check: impl Fn(&mut State, &str, &str, Option<&str>) -> Result<(), Response>,
) -> Result<Response, Response> {
    let Some(label) = string(body, "VersionStage") else {
        return Err(state.violation_response("UpdateSecretVersionStage without VersionStage"));
    };
    let (from, to) = (
        string(body, "RemoveFromVersionId"),
        string(body, "MoveToVersionId"),
    );
    let secret = &state.secrets[arn];
    for version in [from, to].into_iter().flatten() {
        if !secret.versions.contains_key(version) {
            let message =
                format!("Secrets Manager can't find the specified secret version: {version}");
            return Err(error("ResourceNotFoundException", &message));
        }
    }
    check_label_version(secret, label, from, to)?;
    check(state, arn, label, to)?;
    match (from, to) {
        (None, None) => {
            return Err(state.violation_response("UpdateSecretVersionStage without a version"));
        }
        (Some(_), None) if label == "AWSCURRENT" => {
            let message = "You can only move staging label AWSCURRENT to a different secret version. It can't be \
                           completely removed.";
            return Err(error("InvalidParameterException", message));
        }
        (Some(_), None) => {
            state.secret_mut(arn).remove_label(label);
        }
        (_, Some(to)) => {
            let has_value = state.secrets[arn].versions[to].value.is_some();
            if label == "AWSCURRENT" && !has_value {
                return Err(
                    state.violation_response("AWSCURRENT is moved to a version without a value")
                );
            }
            state.secret_mut(arn).move_label(label, to);
        }
    }
    Ok(success(
        &json!({ "ARN": arn, "Name": state.secrets[arn].name }),
    ))
}

/// Fails if a rotation function has no reason to change the label: it moves `AWSCURRENT`, and removes `AWSPENDING` and
/// `AWSPREVIOUS`.
fn check_label(
    state: &mut State,
    arn: &str,
    label: &str,
    to: Option<&str>,
) -> Result<(), Response> {
    match (label, to) {
        ("AWSCURRENT", Some(to)) => {
            if let Some(problem) = promotion_problem(&state.secrets[arn], to) {
                let message = format!("the version of {arn} that becomes current {problem}");
                state.record_broken(Guarantee::AllKeysReplaced, &message);
            }
            Ok(())
        }
        ("AWSCURRENT" | "AWSPENDING", None) => Ok(()),
        ("AWSPREVIOUS", None) => match state.previous_label_problem(arn) {
            None => Ok(()),
            Some((guarantee, message)) => {
                Err(state.violation_response(&format!("broken guarantee ({guarantee}): {message}")))
            }
        },
        _ => Err(state.violation_response(&format!("the label {label} is changed"))),
    }
}

/// Fails if the label is on a version that `RemoveFromVersionId` does not name.
fn check_label_version(
    secret: &Secret,
    label: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), Response> {
    let attached = secret.labels.get(label).map(String::as_str);
    let elsewhere = attached.filter(|attached| to != Some(attached) && from != Some(attached));
    match (elsewhere, from) {
        // The message: https://github.com/getmoto/moto/blob/master/tests/test_secretsmanager/test_secretsmanager.py
        (Some(attached), None) if to.is_some() => {
            let message = format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to \
                 version {attached}, so you must explicitly reference that version in RemoveFromVersionId."
            );
            Err(error("InvalidParameterException", &message))
        }
        (_, Some(from)) if attached != Some(from) => {
            let message =
                format!("Staging label {label} is not currently attached to version {from}.");
            Err(error("InvalidParameterException", &message))
        }
        _ => Ok(()),
    }
}
