//! `ListSecrets` and `ListSecretVersionIds` by a user.

use serde_json::{Value, json};

use super::{Call, named, success};
use crate::http::response::Response;
use crate::secret::Secret;
use crate::secret::list::{Page, list_secrets};
use crate::state::State;

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
    let is_listed = |secret: &Secret| {
        let mut names = prefixes.iter().filter_map(|prefix| prefix.as_str());
        (prefixes.is_empty() || names.any(|prefix| secret.name.starts_with(prefix)))
            && (includes_deleted || secret.attributes.deleted.is_none())
    };
    Ok(success(&list_secrets(state, call.body, is_listed)?))
}

/// Lists the versions that have a value. Without `IncludeDeprecated`, only those with a label.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecretVersionIds.html>
pub(super) fn versions(state: &State, arn: &str, call: &Call) -> Result<Response, Response> {
    let secret = &state.secrets[arn];
    let includes_deprecated = call.body.get("IncludeDeprecated") == Some(&json!(true));
    let entry = |id: &String| {
        let version = &secret.versions[id];
        let labels = secret.labels.iter().filter(|(_, labeled)| *labeled == id);
        let labels: Vec<&String> = labels.map(|(label, _)| label).collect();
        let is_listed = version.value.is_some() && (includes_deprecated || !labels.is_empty());
        let mut entry = json!({ "VersionId": id, "CreatedDate": version.created });
        if !labels.is_empty() {
            entry["VersionStages"] = json!(labels);
        }
        is_listed.then_some(entry)
    };
    let ids = secret.versions.keys();
    let entries = ids.filter_map(|id| Some((id.as_str(), entry(id)?)));
    let page = Page::of(entries, call.body)?;
    let versions = json!({ "Versions": page.items });
    Ok(named(state, arn, page.add_next(versions)))
}
