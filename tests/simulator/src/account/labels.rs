//! `UpdateSecretVersionStage` by a user.

use super::{Call, string};
use crate::http::response::Response;
use crate::secret::operations::change_label;
use crate::state::State;

/// Changes a label. To remove `AWSPENDING` abandons the rotation.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html>
pub(super) fn update(state: &mut State, arn: &str, call: &Call) -> Result<Response, Response> {
    let response = change_label(state, arn, call.body, check)?;
    if string(call.body, "VersionStage") == Some("AWSPENDING") {
        state.secret_mut(arn).incomplete = None;
    }
    Ok(response)
}

/// Fails if a user adds a label that only Secrets Manager adds.
fn check(state: &mut State, _arn: &str, label: &str, to: Option<&str>) -> Result<(), Response> {
    match (label, to) {
        ("AWSPENDING" | "AWSPREVIOUS", Some(_)) => {
            Err(state.violation_response(&format!("a user adds {label}")))
        }
        _ => Ok(()),
    }
}
