//! Lambda: `Invoke`.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Job, error};
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
    let (reply, response) = oneshot::channel();
    let event = event(simulator, request)?;
    simulator.state().account.add_job(Job::Invoke(event, reply));
    let response = response.await;
    let (body, error) = match response.expect("the test runs the jobs") {
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

/// Returns the event for the function that the path names.
fn event(simulator: &Simulator, request: &HttpRequest) -> Result<Value, Response> {
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
    let stack = state.account.stack.as_ref();
    if !stack.is_some_and(|stack| is_named(&stack.function_arn)) {
        let message = format!("Function not found: {name}");
        let error_type = "ResourceNotFoundException";
        return Err(Response::aws_error(404, error_type, &message));
    }
    serde_json::from_slice(&request.body).map_err(|_| {
        let message = "Could not parse request body into json";
        error("InvalidRequestContentException", message)
    })
}
