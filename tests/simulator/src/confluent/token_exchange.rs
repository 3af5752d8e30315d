//! Confluent Cloud's security token service: exchanges a web identity token for an access token of an identity pool.
//!
//! Confluent documents the form and the successful response, but not the response to a token that it does not accept. The error
//! bodies here are therefore assumptions.
//!
//! <https://docs.confluent.io/cloud/current/api.html#operation/exchangeStsV1OauthToken>

use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::json;

use super::identity_pool::AccessToken;
use crate::controls::ExpiresIn;
use crate::generate::{BASE64URL, characters};
use crate::http::request::{HttpRequest, Service};
use crate::http::response::Response;
use crate::state::State;

/// Every part of an access token contains this string. It contains [`CANARY`](crate::CANARY).
pub(crate) const ACCESS_TOKEN_MARK: &str = "T7kz3CANARYm5Xr9b";

const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The fields of the form. Only `expires_in` is optional.
const FIELDS: [(&str, Option<&str>); 6] = [
    (
        "grant_type",
        Some("urn:ietf:params:oauth:grant-type:token-exchange"),
    ),
    ("subject_token", None),
    (
        "subject_token_type",
        Some("urn:ietf:params:oauth:token-type:jwt"),
    ),
    ("requested_token_type", Some(ACCESS_TOKEN_TYPE)),
    ("identity_pool_id", None),
    ("expires_in", None),
];

/// The default and the maximum of `expires_in`.
const MAX_SECONDS: u64 = 900;

/// The validated form.
struct Form {
    subject_token: String,
    pool: String,
    seconds: u64,
}

/// Returns whether the request is a token exchange.
pub(crate) fn is_token_exchange(request: &HttpRequest) -> bool {
    request.service == Service::ControlPlane
        && request.method == Method::POST
        && request.path == "/sts/v1/oauth2/token"
}

pub(super) fn exchange(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let form = form(state, request)?;
    let Some(pool) = state.identity_pools.get(&form.pool) else {
        return Err(Response::confluent_error(
            404,
            Some("resource_not_found"),
            "Not Found",
            &format!("identity pool {} was not found", form.pool),
        ));
    };
    let token = state.web_identity_tokens.get(&form.subject_token);
    let Some(token) = token.filter(|token| token.issuer == pool.issuer) else {
        return Err(rejected("the signature or the issuer is not valid"));
    };
    if token.expires_at <= SystemTime::now() {
        return Err(rejected("the token has expired"));
    }
    if state.controls.pool_filter_mismatch || !pool.accepts(token) {
        return Err(Response::confluent_forbidden());
    }
    if token.is_exchanged {
        state.record_violation("the web identity token was exchanged before");
    }
    Ok(issue(state, &form))
}

/// The code is in Confluent's troubleshooting, the status and the rest are not:
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/troubleshooting.html>
fn rejected(reason: &str) -> Response {
    let detail = format!("JWT processing failed: {reason}");
    Response::confluent_error(401, Some("JWT_PROCESSING_FAILED"), "Unauthorized", &detail)
}

/// Validates the request.
fn form(state: &mut State, request: &HttpRequest) -> Result<Form, Response> {
    state.check_params(request, &[])?;
    if request.headers.contains_key("authorization") {
        return Err(state.violation_response("a token exchange with an Authorization header"));
    }
    if !request.is_form() {
        return Err(
            state.violation_response("the content type is not application/x-www-form-urlencoded")
        );
    }
    let form = request.form();
    let is_known = |name: &str| FIELDS.iter().any(|(known, _)| *known == name);
    if let Some((name, _)) = form.iter().find(|(name, _)| !is_known(name)) {
        return Err(state.violation_response(&format!("unknown form field {name}")));
    }
    for (name, expected) in FIELDS {
        let mut values = form.iter().filter(|(found, _)| found == name);
        let problem = match (values.next(), expected) {
            (None, _) if name == "expires_in" => continue,
            (None, _) => "missing",
            (Some(_), _) if values.next().is_some() => "repeated",
            (Some((_, value)), Some(expected)) if value != expected => "wrong",
            (Some(_), _) => continue,
        };
        return Err(state.violation_response(&format!("{problem} form field {name}")));
    }
    let value = |name: &str| {
        let field = form.iter().find(|(found, _)| found == name);
        field.map(|(_, value)| value.clone())
    };
    let seconds = value("expires_in").map_or(Ok(MAX_SECONDS), |seconds| seconds.parse());
    match seconds {
        Ok(seconds @ 1..=MAX_SECONDS) => Ok(Form {
            subject_token: value("subject_token").unwrap_or_default(),
            pool: value("identity_pool_id").unwrap_or_default(),
            seconds,
        }),
        _ => Err(state.violation_response("wrong form field expires_in")),
    }
}

/// Issues an access token, which expires when the response says, unless the [`Controls`](crate::Controls) specify otherwise.
fn issue(state: &mut State, form: &Form) -> Response {
    let serial = state.next_serial();
    let random = characters(serial, 400, BASE64URL);
    let (head, rest) = random.split_at(60);
    let (middle, tail) = rest.split_at(254);
    let parts = [head, middle, tail].map(|part| format!("{ACCESS_TOKEN_MARK}{part}"));
    let token = format!("eyJ{}", parts.join("."));
    let stated = match &state.controls.expires_in {
        ExpiresIn::Requested => Some(json!(form.seconds)),
        ExpiresIn::Absent => None,
        ExpiresIn::Value(value) => Some(value.clone()),
    };
    let seconds = stated.as_ref().and_then(serde_json::Value::as_u64);
    let seconds = seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    let lifetime = Duration::from_secs(seconds.unwrap_or(form.seconds));
    let lifetime = state.controls.access_token_lifetime.unwrap_or(lifetime);
    let access_token = AccessToken {
        principal: form.pool.clone(),
        expires_at: SystemTime::now() + lifetime,
    };
    state.canaries.extend(parts);
    state.canaries.insert(token.clone());
    state.access_tokens.insert(token.clone(), access_token);
    let mut body = json!({
        "access_token": token,
        "issued_token_type": ACCESS_TOKEN_TYPE,
        "token_type": "Bearer",
    });
    if let Some(stated) = stated {
        body["expires_in"] = stated;
    }
    Response::json(200, &body)
}

impl State {
    /// Records that the client receives an access token. A client whose exchange failed may send the same token again.
    pub(crate) fn record_exchange(&mut self, request: &HttpRequest, response: &Response) {
        if !is_token_exchange(request) || response.status != 200 || !response.is_complete() {
            return;
        }
        for (_, value) in request.form() {
            if let Some(token) = self.web_identity_tokens.get_mut(&value) {
                token.is_exchanged = true;
            }
        }
    }
}
