//! Lambda: `Invoke`.

use serde_json::{Value, json};

use super::error;
use crate::Simulator;
use crate::http::request::HttpRequest;
use crate::http::response::Response;

/// Invokes the function and waits for its response. An error of the function has the status 200.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
pub(super) async fn respond(
    simulator: &Simulator,
    request: &HttpRequest,
) -> Result<Response, Response> {
    let (stack, event) = invocation(simulator, request)?;
    let response = (stack.invoke)(event).await;
    let (body, error) = match response {
        Ok(body) => (body, None),
        Err(error) => (
            json!({ "errorType": error.error_type, "errorMessage": error.message }),
            Some("Unhandled"),
        ),
    };
    let response = Response::json(200, &body).with_header("x-amz-executed-version", "$LATEST");
    Ok(match error {
        Some(error) => response.with_header("x-amz-function-error", error),
        None => response,
    })
}

/// Returns the function that the path names, and the event.
fn invocation(
    simulator: &Simulator,
    request: &HttpRequest,
) -> Result<(super::Stack, Value), Response> {
    let mut state = simulator.state();
    "a user's Invoke".clone_into(&mut state.current_request);
    let segments = request.segments();
    let ["2015-03-31", "functions", name, "invocations"] = segments.as_slice() else {
        return Err(state.unknown_route());
    };
    // An ARN is percent-encoded.
    let name = name.replace("%3A", ":");
    for header in ["x-amz-log-type", "x-amz-client-context"] {
        if request.header(header).is_some() {
            return Err(state.violation_response(&format!("{header} is not supported")));
        }
    }
    if request
        .header("x-amz-invocation-type")
        .is_some_and(|kind| kind != "RequestResponse")
    {
        return Err(state.violation_response("only RequestResponse is supported"));
    }
    let is_named = |arn: &str| arn == name || arn.ends_with(&format!(":function:{name}"));
    let stack = state.account.stack.clone();
    let stack = stack
        .filter(|stack| is_named(&stack.function_arn))
        .ok_or_else(|| {
            let message = format!("Function not found: {name}");
            Response::aws_error(404, "ResourceNotFoundException", &message)
        })?;
    let event = serde_json::from_slice(&request.body).map_err(|_| {
        let message = "Could not parse request body into json";
        error("InvalidRequestContentException", message)
    })?;
    Ok((stack, event))
}
