//! `RotateSecret`, which runs the rotation in the background, and `CancelRotateSecret`.

use serde_json::{Value, json};

use super::{Body, Call, Job, error, named, string};
use crate::Simulator;
use crate::http::response::Response;
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
const MAX_DAYS: u64 = 1000;

/// Configures rotation, and starts one.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
pub(super) fn rotate(simulator: &Simulator, arn: &str, call: &Call) -> Result<Response, Response> {
    let token = string(call.body, "ClientRequestToken").unwrap_or_default();
    let mut state = simulator.state();
    if !(32..=64).contains(&token.len()) {
        return Err(state.violation_response("ClientRequestToken has not 32 to 64 characters"));
    }
    if state.secrets[arn].versions.contains_key(token) {
        return Ok(named(&state, arn, json!({ "VersionId": token })));
    }
    configure(&mut state, arn, call.body)?;
    let incomplete = state.secrets[arn].pending_version().map(ToOwned::to_owned);
    drop(state);
    if let Some(incomplete) = incomplete {
        let job = Job::Rotate {
            arn: arn.to_owned(),
            token: incomplete,
        };
        simulator.state().account.add_job(job);
        let message = "A previous rotation isn't complete. That rotation will be reattempted.";
        return Err(error("InvalidRequestException", message));
    }
    if call.body.get("RotateImmediately") == Some(&json!(false)) {
        let token = simulator.start_configuration_test(arn);
        let job = Job::TestConfiguration {
            arn: arn.to_owned(),
            token,
        };
        simulator.state().account.add_job(job);
        return Ok(named(&simulator.state(), arn, json!({})));
    }
    simulator.start_rotation_with(arn, token);
    let job = Job::Rotate {
        arn: arn.to_owned(),
        token: token.to_owned(),
    };
    simulator.state().account.add_job(job);
    Ok(named(
        &simulator.state(),
        arn,
        json!({ "VersionId": token }),
    ))
}

/// Stores the function and the rules.
fn configure(state: &mut State, arn: &str, body: &Body) -> Result<(), Response> {
    let rules = body.get("RotationRules");
    if let Some(rules) = rules {
        check_rules(rules)?;
    }
    let attributes = &state.secrets[arn].attributes;
    let given = string(body, "RotationLambdaARN");
    let function = given
        .map(ToOwned::to_owned)
        .or_else(|| attributes.rotation_lambda_arn.clone());
    let Some(function) = function else {
        let message = "No Lambda rotation function ARN is associated with this secret.";
        return Err(error("InvalidRequestException", message));
    };
    if rules.is_none() && attributes.rotation_rules.is_none() {
        return Err(state.violation_response("rotation is enabled without RotationRules"));
    }
    let stack = state.account.stack.as_ref();
    if stack.is_none_or(|stack| stack.function_arn != function) {
        // https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html
        let message = "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy \
                       grants access to the principal secretsmanager.amazonaws.com.";
        return Err(error("AccessDeniedException", message));
    }
    let secret = state.secret_mut(arn);
    secret.rotation_enabled = Some(true);
    secret.attributes.rotation_lambda_arn = Some(function);
    if let Some(rules) = rules {
        secret.attributes.rotation_rules = Some(rules.clone());
        secret.next_rotation = None;
    }
    secret.schedule_next_rotation();
    Ok(())
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
fn check_rules(rules: &Value) -> Result<(), Response> {
    let fields = ["AutomaticallyAfterDays", "Duration", "ScheduleExpression"];
    let known = rules
        .as_object()
        .is_some_and(|rules| rules.keys().all(|field| fields.contains(&field.as_str())));
    let days = rules.get("AutomaticallyAfterDays");
    let schedule = rules.get("ScheduleExpression");
    let is_schedule = |schedule: &Value| {
        let schedule = schedule.as_str().unwrap_or_default();
        (schedule.starts_with("rate(") || schedule.starts_with("cron(")) && schedule.ends_with(')')
    };
    let is_duration = |duration: &Value| {
        let hours = duration
            .as_str()
            .and_then(|duration| duration.strip_suffix('h'));
        hours.is_some_and(|hours| (1..=2).contains(&hours.len()) && hours.parse::<u8>().is_ok())
    };
    let is_valid = known
        && days.is_some() != schedule.is_some()
        && days.is_none_or(|days| {
            days.as_u64()
                .is_some_and(|days| (1..=MAX_DAYS).contains(&days))
        })
        && schedule.is_none_or(is_schedule)
        && rules.get("Duration").is_none_or(is_duration);
    if is_valid {
        return Ok(());
    }
    Err(error(
        "InvalidParameterException",
        &format!("The rotation rules {rules} are invalid."),
    ))
}

/// Turns off rotation. The versions and their labels remain.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CancelRotateSecret.html>
pub(super) fn cancel(state: &mut State, arn: &str) -> Result<Response, Response> {
    let secret = state.secret_mut(arn);
    if secret.rotation_enabled != Some(true) {
        let message = "Rotation is not enabled for this secret.";
        return Err(error("InvalidRequestException", message));
    }
    secret.rotation_enabled = Some(false);
    Ok(named(state, arn, json!({})))
}
