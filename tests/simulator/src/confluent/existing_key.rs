//! Reads and deletes a key by its ID.

use super::operations::key_json;
use crate::controls::DeletedKeyResponse;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
pub(super) fn read(
    state: &mut State,
    request: &HttpRequest,
    principal: &str,
    id: &str,
) -> Result<Response, Response> {
    state.check_params(request, &[])?;
    state.count_read(id);
    if let Some(key) = state
        .keys
        .get_mut(id)
        .filter(|key| key.hidden_from_reads > 0)
    {
        // `u32::MAX` hides the key permanently.
        key.hidden_from_reads -= u32::from(key.hidden_from_reads < u32::MAX);
        return Err(deleted_key(state, id));
    }
    let key = state.keys.get(id).ok_or_else(|| deleted_key(state, id))?;
    if !state.may_read(principal, key) {
        return Err(Response::confluent_forbidden());
    }
    Ok(Response::json(200, &key_json(state, key, None)))
}

/// Deletes the key asynchronously: "The API key is being deleted". Requests may still find it for a while.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/deleteIamV2ApiKey>
pub(super) fn delete(
    state: &mut State,
    request: &HttpRequest,
    principal: &str,
    id: &str,
) -> Result<Response, Response> {
    state.check_params(request, &[])?;
    let key = state
        .keys
        .get(id)
        .filter(|key| key.remaining_reads.is_none())
        .cloned()
        .ok_or_else(|| deleted_key(state, id))?;
    // A deletion that Confluent rejects breaks the guarantees, too.
    state.check_delete(&key, request);
    if !state.may_manage(principal, &key) {
        return Err(Response::confluent_forbidden());
    }
    if let Some(status) = key.deletion_status {
        return Err(rejected_deletion(status));
    }
    state.record_deletion(&key);
    let lag = key.delete_lag.unwrap_or(state.controls.delete_lag);
    if lag > 0 {
        state
            .keys
            .entry(id.to_owned())
            .and_modify(|key| key.remaining_reads = Some(lag - 1));
    } else {
        state.keys.remove(id);
        state.deleted_keys.insert(id.to_owned(), key);
    }
    Ok(Response::empty(204))
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/deleteIamV2ApiKey>
fn rejected_deletion(status: u16) -> Response {
    match status {
        403 => Response::confluent_forbidden(),
        status => Response::confluent_error(status, None, "", "The API key could not be deleted"),
    }
}

/// Returns the response for a key that does not exist.
///
/// <https://github.com/confluentinc/terraform-provider-confluent> `fixtures/apikey/read_deleted_*.json`
fn deleted_key(state: &State, id: &str) -> Response {
    match state.controls.deleted_key_response {
        DeletedKeyResponse::Forbidden => Response::confluent_forbidden(),
        DeletedKeyResponse::NotFound => {
            let detail = format!("The API Key (id={id}) does not exist");
            Response::confluent_error(404, Some("api_key_not_found"), "API Key Not Found", &detail)
        }
    }
}
