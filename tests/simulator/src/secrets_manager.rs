//! The four operations of Secrets Manager that a rotation function needs, in AWS JSON 1.1.
//!
//! Stricter than the service where a rotation function has no business to go: other operations, other
//! staging labels, and versions that no rotation has begun are violations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::secrets::SecretValue;
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const LARGEST_VALUE: usize = 65_536;

type Body = Map<String, Value>;

pub(crate) fn answer(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    check_head(state, call)?;
    let Ok(Value::Object(body)) = serde_json::from_slice(&call.body) else {
        return Err(state.refuse("the body is not a JSON object"));
    };
    let fields: &[&str] = match call.operation() {
        Some("DescribeSecret") => &["SecretId"],
        Some("GetSecretValue") => &["SecretId", "VersionId", "VersionStage"],
        Some("PutSecretValue") => &[
            "SecretId",
            "ClientRequestToken",
            "SecretString",
            "VersionStages",
            "RotationToken",
        ],
        Some("UpdateSecretVersionStage") => &[
            "SecretId",
            "VersionStage",
            "RemoveFromVersionId",
            "MoveToVersionId",
        ],
        _ => return Err(state.refuse("an operation that a rotation function has no business with")),
    };
    if let Some(field) = body.keys().find(|field| !fields.contains(&field.as_str())) {
        return Err(state.refuse(&format!("unknown field {field}")));
    }
    if let Some((field, _)) = body
        .iter()
        .find(|(field, value)| *field != "VersionStages" && !value.is_string())
    {
        return Err(state.refuse(&format!("{field} is not a string")));
    }
    let arn = text(&body, "SecretId")
        .and_then(|id| state.arn(id))
        .ok_or_else(|| {
            Answer::aws_error(
                400,
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret.",
            )
        })?;
    match call.operation() {
        Some("DescribeSecret") => Ok(describe_secret(state, &arn)),
        Some("GetSecretValue") => get_secret_value(state, &arn, &body),
        Some("PutSecretValue") => put_secret_value(state, &arn, &body),
        _ => update_secret_version_stage(state, &arn, &body),
    }
}

/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
fn check_head(state: &mut State, call: &Call) -> Result<(), Answer> {
    if call.method != http::Method::POST || call.target != "/" {
        return Err(state.unknown_route());
    }
    if call.header("content-type") != Some("application/x-amz-json-1.1") {
        return Err(state.refuse("the content type is not application/x-amz-json-1.1"));
    }
    let authorization = call.header("authorization").unwrap_or_default();
    let parts = [
        "AWS4-HMAC-SHA256 Credential=",
        "/secretsmanager/aws4_request",
        "SignedHeaders=",
        "Signature=",
    ];
    if !parts.iter().all(|part| authorization.contains(part)) || call.header("x-amz-date").is_none()
    {
        return Err(
            state.refuse("the request is not signed with Signature Version 4 for secretsmanager")
        );
    }
    Ok(())
}

fn text<'a>(body: &'a Body, field: &str) -> Option<&'a str> {
    body.get(field).and_then(Value::as_str)
}

fn reply(body: &Value) -> Answer {
    Answer::new(200, "application/x-amz-json-1.1", body.to_string())
}

fn refused(error_type: &str, message: &str) -> Answer {
    Answer::aws_error(400, error_type, message)
}

/// "Secrets Manager creates an AWSPENDING version ID before creating the new secret version", so
/// versions without a value are listed.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
fn describe_secret(state: &State, arn: &str) -> Answer {
    let secret = &state.secrets[arn];
    let mut stages: Map<String, Value> = Map::new();
    for (label, version) in &secret.labels {
        let labels = stages.entry(version.clone()).or_insert_with(|| json!([]));
        labels
            .as_array_mut()
            .expect("it was made as one")
            .push(json!(label));
    }
    let mut body = json!({ "ARN": secret.arn, "Name": secret.name, "VersionIdsToStages": stages });
    if let Some(enabled) = secret.rotation_enabled {
        body["RotationEnabled"] = json!(enabled);
        body["RotationLambdaARN"] =
            json!("arn:aws:lambda:us-east-1:123456789012:function:rotation");
        body["RotationRules"] = json!({ "AutomaticallyAfterDays": 30 });
    }
    if let Some(admin) = &secret.admin_secret_arn {
        body["ExternalSecretRotationMetadata"] =
            json!([{ "Key": "adminSecretArn", "Value": admin }]);
    }
    reply(&body)
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
fn get_secret_value(state: &mut State, arn: &str, body: &Body) -> Result<Answer, Answer> {
    let (version, label) = (text(body, "VersionId"), text(body, "VersionStage"));
    if version.is_none() && label.is_none() {
        return Err(state.refuse("GetSecretValue that names neither a version nor a staging label"));
    }
    let secret = state.secret_mut(arn);
    // The texts: https://github.com/aws/aws-sdk-js-v3/issues/7701 and
    // https://github.com/getmoto/moto/blob/master/tests/test_secretsmanager/test_secretsmanager.py
    let not_found = || {
        let what = label.map_or_else(
            || format!("VersionId: {}", version.unwrap_or_default()),
            |label| format!("staging label: {label}"),
        );
        let message = format!("Secrets Manager can't find the specified secret value for {what}");
        refused("ResourceNotFoundException", &message)
    };
    let labelled = label.and_then(|label| secret.labels.get(label)).cloned();
    let id = version
        .map(ToOwned::to_owned)
        .or_else(|| labelled.clone())
        .ok_or_else(not_found)?;
    let found = secret.versions.get_mut(&id).ok_or_else(not_found)?;
    if label.is_some() && labelled.as_ref() != Some(&id) {
        let message =
            "You provided a VersionStage that is not associated to the provided VersionId.";
        return Err(refused("InvalidRequestException", message));
    }
    if found.unreadable_for > 0 {
        found.unreadable_for -= 1;
        return Err(not_found());
    }
    let value = found.value.clone().ok_or_else(not_found)?;
    let created = found.created;
    let labels: Vec<_> = secret
        .labels
        .iter()
        .filter(|(_, on)| **on == id)
        .map(|(label, _)| label)
        .collect();
    let mut body = json!({
        "ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": labels, "CreatedDate": created,
    });
    match value {
        SecretValue::Text(text) => body["SecretString"] = json!(text),
        SecretValue::Binary(bytes) => body["SecretBinary"] = json!(STANDARD.encode(bytes)),
    }
    Ok(reply(&body))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
fn put_secret_value(state: &mut State, arn: &str, body: &Body) -> Result<Answer, Answer> {
    let (Some(token), Some(value)) = (text(body, "ClientRequestToken"), text(body, "SecretString"))
    else {
        return Err(
            state.refuse("PutSecretValue without ClientRequestToken or without SecretString")
        );
    };
    if body.get("VersionStages") != Some(&json!(["AWSPENDING"])) {
        return Err(
            state.refuse("a rotation function stores what it makes as AWSPENDING, and only so")
        );
    }
    let Some(expected) = state.secrets[arn].rotation_tokens.get(token) else {
        // The SDK makes a token up where none is set, and so a version that is not the rotation's.
        return Err(state.refuse("ClientRequestToken is not that of a rotation"));
    };
    // "Secrets Manager uses the rotation token to validate the IAM role identity."
    // https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
    if expected.as_deref() != text(body, "RotationToken") {
        return Err(state.refuse("RotationToken is not the one that the event carried"));
    }
    if value.len() > LARGEST_VALUE {
        let message = "1 validation error detected: Value at 'secretString' failed to satisfy constraint: \
                       Member must have length less than or equal to 65536";
        return Err(refused("ValidationException", message));
    }
    let value = SecretValue::Text(value.to_owned());
    match state.secrets[arn]
        .versions
        .get(token)
        .and_then(|version| version.value.as_ref())
    {
        None => {
            state.store(arn, token, Some(value));
            let lag = state.knobs.value_lag;
            let version = state
                .secret_mut(arn)
                .versions
                .get_mut(token)
                .expect("it was just stored");
            version.unreadable_for = lag;
        }
        Some(stored) if *stored == value => {}
        Some(_) => {
            let message = format!(
                "You can't use ClientRequestToken {token} because that value is already in use for a version of \
                 secret {arn}."
            );
            return Err(refused("ResourceExistsException", &message));
        }
    }
    let secret = state.secret_mut(arn);
    secret.attach("AWSPENDING", token);
    let name = &secret.name;
    Ok(reply(
        &json!({ "ARN": arn, "Name": name, "VersionId": token, "VersionStages": ["AWSPENDING"] }),
    ))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
fn update_secret_version_stage(
    state: &mut State,
    arn: &str,
    body: &Body,
) -> Result<Answer, Answer> {
    let Some(label) = text(body, "VersionStage") else {
        return Err(state.refuse("UpdateSecretVersionStage without VersionStage"));
    };
    let (from, to) = (
        text(body, "RemoveFromVersionId"),
        text(body, "MoveToVersionId"),
    );
    let secret = &state.secrets[arn];
    for version in [from, to].into_iter().flatten() {
        if !secret.versions.contains_key(version) {
            let message =
                format!("Secrets Manager can't find the specified secret version: {version}");
            return Err(refused("ResourceNotFoundException", &message));
        }
    }
    let attached = secret.labels.get(label).map(String::as_str);
    let elsewhere = attached.filter(|attached| to != Some(attached) && from != Some(attached));
    match (elsewhere, from) {
        // The text: https://github.com/getmoto/moto/blob/master/tests/test_secretsmanager/test_secretsmanager.py
        (Some(attached), None) if to.is_some() => {
            let message = format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to \
                 version {attached}, so you must explicitly reference that version in RemoveFromVersionId."
            );
            return Err(refused("InvalidParameterException", &message));
        }
        (_, Some(from)) if attached != Some(from) => {
            let message =
                format!("Staging label {label} is not currently attached to version {from}.");
            return Err(refused("InvalidParameterException", &message));
        }
        _ => {}
    }
    match (from, to) {
        (None, None) => return Err(state.refuse("UpdateSecretVersionStage that moves nothing")),
        (Some(_), None) if label == "AWSCURRENT" => {
            let message = "You can only move staging label AWSCURRENT to a different secret version. It can't be \
                           completely removed.";
            return Err(refused("InvalidParameterException", message));
        }
        (Some(_), None) => {
            state.secret_mut(arn).labels.remove(label);
        }
        (_, Some(to)) => {
            if label == "AWSCURRENT" && secret.versions[to].value.is_none() {
                return Err(state.refuse("AWSCURRENT is moved to a version without a value"));
            }
            state.secret_mut(arn).attach(label, to);
        }
    }
    Ok(reply(
        &json!({ "ARN": arn, "Name": state.secrets[arn].name }),
    ))
}
