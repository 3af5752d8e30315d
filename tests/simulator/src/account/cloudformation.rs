//! CloudFormation: `DescribeStacks` of the function's stack.

use std::fmt::Write as _;

use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// Describes the stack, in the Query protocol.
///
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>
pub(super) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body)
        .into_owned()
        .collect();
    let field = |name: &str| {
        let found = form.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let action = field("Action").unwrap_or_default();
    state.current_request = format!("a user's {action}");
    let known = ["Action", "Version", "StackName"];
    let is_known = form.iter().all(|(name, _)| known.contains(&name.as_str()));
    let Some(name) = field("StackName").filter(|_| action == "DescribeStacks" && is_known) else {
        return Err(state.violation_response("only DescribeStacks with StackName is supported"));
    };
    let Some(stack) = state
        .account
        .stack
        .as_ref()
        .filter(|stack| stack.name == name)
    else {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
             <Message>Stack with id {name} does not exist</Message></Error></ErrorResponse>"
        );
        return Err(Response::new(400, "text/xml", body));
    };
    let mut outputs = String::new();
    for (key, value) in &stack.outputs {
        let value = value.replace('&', "&amp;").replace('<', "&lt;");
        let output = format!("<OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue>");
        write!(outputs, "<member>{output}</member>").expect("a string accepts everything");
    }
    Ok(Response::new(
        200,
        "text/xml",
        format!(
            "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>{name}</StackName>\
             <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>UPDATE_COMPLETE</StackStatus>\
             <Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        ),
    ))
}
