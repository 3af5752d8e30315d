//! `ListSecrets` and `ListSecretVersionIds`, with pages.

use serde_json::{Value, json};

use super::{Body, Call, error, named, success};
use crate::http::response::Response;
use crate::secret::Secret;
use crate::secret::operations::describe;
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const MAX_PAGE: usize = 100;

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
pub(super) fn secrets(state: &mut State, call: &Call) -> Result<Response, Response> {
    let filters = call.body.get("Filters").and_then(Value::as_array);
    let mut prefixes: Vec<&Value> = Vec::new();
    for filter in filters.into_iter().flatten() {
        match (filter["Key"].as_str(), filter["Values"].as_array()) {
            (Some("name"), Some(values)) => prefixes.extend(values),
            _ => return Err(state.violation_response("only the filter by name is supported")),
        }
    }
    if prefixes.iter().any(|prefix| {
        prefix
            .as_str()
            .is_some_and(|prefix| prefix.starts_with('!'))
    }) {
        return Err(state.violation_response("a negated filter is not supported"));
    }
    let includes_deleted = call.body.get("IncludePlannedDeletion") == Some(&json!(true));
    // "name: Matches the prefix of secret names; case-sensitive."
    let is_listed = |secret: &&Secret| {
        let mut names = prefixes.iter().filter_map(|prefix| prefix.as_str());
        (prefixes.is_empty() || names.any(|prefix| secret.name.starts_with(prefix)))
            && (includes_deleted || secret.attributes.deleted.is_none())
    };
    let secrets = state.secrets.values().filter(is_listed);
    let entries: Vec<Value> = secrets.map(entry).collect();
    let (page, next) = page(call.body, &entries)?;
    Ok(success(&with_next(json!({ "SecretList": page }), next)))
}

/// Describes the secret as `ListSecrets` does, with another name for the labels.
fn entry(secret: &Secret) -> Value {
    let mut entry = describe(secret);
    super::secrets::describe_attributes(secret, &mut entry);
    if let Some(labels) = entry
        .as_object_mut()
        .and_then(|e| e.remove("VersionIdsToStages"))
    {
        entry["SecretVersionsToStages"] = labels;
    }
    entry
}

/// Lists the versions that have a value. Without `IncludeDeprecated`, only those with a label.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecretVersionIds.html>
pub(super) fn versions(state: &State, arn: &str, call: &Call) -> Result<Response, Response> {
    let secret = &state.secrets[arn];
    let includes_deprecated = call.body.get("IncludeDeprecated") == Some(&json!(true));
    let entry = |(id, version): (&String, &crate::Version)| {
        let labels = secret.labels.iter().filter(|(_, labeled)| *labeled == id);
        let labels: Vec<&String> = labels.map(|(label, _)| label).collect();
        let is_listed = version.value.is_some() && (includes_deprecated || !labels.is_empty());
        let mut entry = json!({ "VersionId": id, "CreatedDate": version.created });
        if !labels.is_empty() {
            entry["VersionStages"] = json!(labels);
        }
        is_listed.then_some(entry)
    };
    let entries: Vec<Value> = secret.versions.iter().filter_map(entry).collect();
    let (page, next) = page(call.body, &entries)?;
    Ok(named(
        state,
        arn,
        with_next(json!({ "Versions": page }), next),
    ))
}

/// Returns a page, and the token of the next one.
fn page<'a>(body: &Body, entries: &'a [Value]) -> Result<(&'a [Value], Option<String>), Response> {
    let size = body.get("MaxResults").and_then(Value::as_u64);
    let size = size.map_or(MAX_PAGE, |size| usize::try_from(size).unwrap_or(0));
    let start = super::string(body, "NextToken").map_or(Ok(0), str::parse);
    let start = start.ok().filter(|start| *start <= entries.len());
    let Some(start) = start.filter(|_| (1..=MAX_PAGE).contains(&size)) else {
        return Err(error(
            "InvalidNextTokenException",
            "The NextToken value is invalid.",
        ));
    };
    let end = entries.len().min(start + size);
    Ok((
        &entries[start..end],
        (end < entries.len()).then(|| end.to_string()),
    ))
}

fn with_next(mut body: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        body["NextToken"] = json!(next);
    }
    body
}
