//! AWS STS: `GetWebIdentityToken`, the only operation that the function needs, in the AWS Query protocol.
//!
//! The simulator is stricter than the service: a token with tags, with more than one audience, or that is valid for longer than
//! one exchange needs is a violation.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>

mod error_response;
pub(crate) mod web_identity_token;

use http::Method;

use self::web_identity_token::SigningAlgorithm;
use crate::account::{is_user, region};
use crate::controls::Federation;
use crate::generate;
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// The ARN of the function's role, the `sub` of its web identity tokens.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
pub const ROLE_ARN: &str =
    "arn:aws:iam::123456789012:role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL";

/// The audience of the function's web identity tokens, the example in Confluent's clients.
///
/// <https://github.com/confluentinc/confluent-kafka-python> `docs/oauthbearer-aws.rst`
pub const TOKEN_AUDIENCE: &str = "https://confluent.cloud/oidc";

/// The issuer of the account's web identity tokens.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_getting_started.html>
pub const TOKEN_ISSUER: &str =
    "https://0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.tokens.sts.global.api.aws";

pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The validated parameters of `GetWebIdentityToken`.
struct Parameters {
    audience: String,
    algorithm: SigningAlgorithm,
    seconds: u64,
}

/// Responds to a request to AWS STS.
pub(crate) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    check_headers(state, request)?;
    let parameters = parameters(state, request)?;
    if state.controls.denies_web_identity_tokens {
        return Err(Response::aws_sts_denied());
    }
    // The last check: https://github.com/radkawar/stackd testdata/aws/iam/outbound_lifecycle.json
    if state.controls.federation == Federation::Disabled {
        return Err(Response::aws_federation_disabled());
    }
    let region = region(request).unwrap_or_default();
    let Parameters {
        audience,
        algorithm,
        seconds,
    } = parameters;
    let (token, expiration) = state.issue_web_identity_token(&audience, algorithm, seconds, region);
    let id = generate::uuid(state.next_serial());
    let body = format!(
        "<GetWebIdentityTokenResponse xmlns=\"{NAMESPACE}\">\n  <GetWebIdentityTokenResult>\n    \
         <WebIdentityToken>{token}</WebIdentityToken>\n    <Expiration>{expiration}</Expiration>\n  \
         </GetWebIdentityTokenResult>\n  <ResponseMetadata>\n    <RequestId>{id}</RequestId>\n  \
         </ResponseMetadata>\n</GetWebIdentityTokenResponse>\n"
    );
    Ok(Response::new(200, "text/xml", body).with_header("x-amzn-requestid", id))
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
fn check_headers(state: &mut State, request: &HttpRequest) -> Result<(), Response> {
    if request.method != Method::POST || request.entry.target != "/" {
        return Err(state.unknown_route());
    }
    if !request.is_form() {
        return Err(
            state.violation_response("the content type is not application/x-www-form-urlencoded")
        );
    }
    if !request.is_signed_for("sts") {
        return Err(
            state.violation_response("the request is not signed with Signature Version 4 for sts")
        );
    }
    if is_user(request) {
        return Err(state.violation_response("the function has a user's credentials"));
    }
    Ok(())
}

/// Validates the parameters. The messages of AWS STS are not documented.
fn parameters(state: &mut State, request: &HttpRequest) -> Result<Parameters, Response> {
    let form = request.form();
    let known = [
        "Action",
        "Version",
        "Audience.member.1",
        "SigningAlgorithm",
        "DurationSeconds",
    ];
    for (name, _) in &form {
        let message = if name.starts_with("Tags.") {
            "a web identity token with tags".to_owned()
        } else if name.starts_with("Audience.") && name != "Audience.member.1" {
            "a web identity token for more than one audience".to_owned()
        } else if !known.contains(&name.as_str()) {
            format!("unknown parameter {name}")
        } else if form.iter().filter(|(other, _)| other == name).count() > 1 {
            format!("repeated parameter {name}")
        } else {
            continue;
        };
        return Err(state.violation_response(&message));
    }
    let value = |name: &str| {
        let parameter = form.iter().find(|(found, _)| found == name);
        parameter.map(|(_, value)| value.as_str())
    };
    let operation = (value("Action"), value("Version"));
    if operation != (Some("GetWebIdentityToken"), Some("2011-06-15")) {
        return Err(state.violation_response("an operation that a rotation function does not need"));
    }
    let length = |audience: &&str| (1..=1000).contains(&audience.chars().count());
    let Some(audience) = value("Audience.member.1").filter(length) else {
        return Err(invalid(state, "Audience"));
    };
    let Some(algorithm) = value("SigningAlgorithm").and_then(SigningAlgorithm::parse) else {
        return Err(invalid(state, "SigningAlgorithm"));
    };
    let seconds = value("DurationSeconds").map_or(Ok(300), str::parse);
    let Some(seconds) = seconds.ok().filter(|seconds| (60..=3600).contains(seconds)) else {
        return Err(invalid(state, "DurationSeconds"));
    };
    if seconds > 300 {
        let message = "a web identity token that is valid for longer than 300 s";
        return Err(state.violation_response(message));
    }
    Ok(Parameters {
        audience: audience.to_owned(),
        algorithm,
        seconds,
    })
}

/// Records a violation, and returns the error of AWS STS.
fn invalid(state: &mut State, parameter: &str) -> Response {
    state.record_violation(&format!("{parameter} is missing or out of range"));
    let message = format!("Requested {parameter} is not supported");
    Response::aws_sts_error(400, "ValidationError", &message)
}
