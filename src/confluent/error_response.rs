//! Error responses of Confluent Cloud, and responses that a proxy or a firewall sent instead.
//!
//! Confluent's services return errors in several JSON shapes, as HTML or without a body. Parsing is lenient. Only the documented
//! members are kept, and never the complete body.

use std::fmt;

use serde_json::Value;

use crate::http::{Response, printable};

/// A response that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// What the error means for the rotation.
    pub kind: ErrorKind,
    /// Whether an earlier attempt of the same request may have taken effect.
    pub follows_unknown_outcome: bool,
    code: Option<String>,
    detail: Option<String>,
    request_id: Option<String>,
}

/// The kinds of errors that require different remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 401: the key does not exist, its secret is wrong, or it has not propagated yet.
    Unauthenticated,
    /// 401: the key is scoped to a resource, and the API accepts only Cloud API keys.
    ResourceScopedKey,
    /// 403: a permission is missing, or the object does not exist. Confluent does not distinguish them.
    Forbidden,
    /// 2xx or 4xx with a page instead of JSON, 3xx, 407 or 511: a proxy or a firewall responded, not Confluent's API.
    Blocked,
    /// 404.
    NotFound,
    /// 402 or 400 with the code or the message of an exceeded quota, or 402 without a reason in response to a creation.
    QuotaExceeded,
    /// Any other 402, such as that of an expired trial.
    PaymentRequired,
    /// 429.
    RateLimited,
    /// 5xx, or 408: another attempt may succeed.
    ServerError,
    /// Any other status.
    Other,
}

/// The largest body that is parsed, in bytes. Parsed JSON can take a hundred times its length in memory.
const MAX_ERROR_BYTES: usize = 64 << 10;

impl ErrorResponse {
    /// Parses a response that is not a success, or whose body is a page. Keeps only what is [`printable`], and no string in which
    /// `credentials_are_in` finds those of the request: an API secret that a user stored may be too short to be recognized.
    pub fn parse(response: &Response, credentials_are_in: impl Fn(&str) -> bool) -> Self {
        let status = response.status.as_u16();
        let body: Option<Value> = match response.body.len() {
            ..=MAX_ERROR_BYTES => serde_json::from_slice(&response.body).ok(),
            _ => None,
        };
        let code = body.as_ref().and_then(|body| first(body, &CODES));
        let detail = match &body {
            Some(body) => first(body, &DETAILS),
            None => describe_body(&response.body),
        };
        let message = body.as_ref().and(detail.as_deref());
        let is_page = is_page(&response.body);
        let is_safe = |string: &String| !credentials_are_in(string);
        let safe = |string: Option<String>| string.filter(&is_safe).as_deref().map(printable);
        Self {
            status,
            kind: kind(status, code.as_deref(), message, is_page),
            follows_unknown_outcome: response.follows_unknown_outcome,
            code: safe(code),
            detail: safe(detail),
            request_id: response.request_id.clone().filter(&is_safe),
        }
    }
}

impl ErrorResponse {
    /// Returns the response to a creation. Only a creation exceeds a quota, so 402 without a reason has its documented meaning.
    pub(super) fn for_creation(mut self) -> Self {
        if self.status == 402 && self.code.is_none() && self.detail.is_none() {
            self.kind = ErrorKind::QuotaExceeded;
        }
        self
    }
}

/// Returns whether a body is neither JSON nor compressed nor empty. Every response of the control plane is a JSON object or empty.
pub(super) fn is_page(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    !matches!(start, [] | [b'{' | b'[', ..] | [0x1f, 0x8b, ..])
}

/// Where an error code may be: `errors[]` of the control plane, `error_code` of Kafka REST and Schema Registry, `error` of the
/// Metrics API and newer services.
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Errors>
/// <https://docs.confluent.io/platform/current/kafka-rest/api.html>
const CODES: [&str; 3] = ["/errors/0/code", "/error_code", "/error/code"];

/// Where a message may be, the most specific first.
const DETAILS: [&str; 5] = [
    "/errors/0/detail",
    "/errors/0/title",
    "/error/message",
    "/message",
    "/error",
];

fn first(body: &Value, pointers: &[&str]) -> Option<String> {
    pointers
        .iter()
        .find_map(|pointer| match body.pointer(pointer)? {
            Value::String(string) if !string.trim().is_empty() => Some(string.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
}

/// Describes a body that is not JSON without quoting it.
fn describe_body(body: &[u8]) -> Option<String> {
    let description = match body {
        [] => return None,
        [0x1f, 0x8b, ..] => "a compressed body",
        _ if body.len() > MAX_ERROR_BYTES => "a body that exceeds the size limit",
        _ if body.trim_ascii_start().starts_with(b"<") => "an HTML page",
        _ => "a body that is not JSON",
    };
    Some(description.to_owned())
}

fn kind(status: u16, code: Option<&str>, detail: Option<&str>, is_page: bool) -> ErrorKind {
    let contains = |phrase: &str| detail.is_some_and(|detail| detail.contains(phrase));
    let is_quota = code == Some("quota_exceeded")
        || contains(" is currently limited to ")
        || contains("exceed the quota");
    let mentions_quota = |text: &str| text.to_lowercase().contains("quota");
    match status {
        // "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key"
        // https://github.com/confluentinc/terraform-provider-confluent/issues/433
        401 if contains("Cluster API Key") => ErrorKind::ResourceScopedKey,
        401 => ErrorKind::Unauthenticated,
        // Their bodies may be pages.
        408 => ErrorKind::ServerError,
        429 => ErrorKind::RateLimited,
        // Confluent's API does not redirect, and only proxies send 407 and 511.
        // https://www.rfc-editor.org/rfc/rfc6585#section-6
        ..400 | 407 | 511 => ErrorKind::Blocked,
        400..=499 if is_page => ErrorKind::Blocked,
        // Known issue: "some quota errors are returned as 400 instead of 402".
        // https://docs.confluent.io/cloud/current/api.html#section/Known-Issues
        400 if is_quota => ErrorKind::QuotaExceeded,
        402 if is_quota || code.into_iter().chain(detail).any(mentions_quota) => {
            ErrorKind::QuotaExceeded
        }
        402 => ErrorKind::PaymentRequired,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        500..=599 => ErrorKind::ServerError,
        _ => ErrorKind::Other,
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ", {detail}")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(f, " (request ID {request_id})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn parse(status: u16, body: &str) -> ErrorResponse {
        let response = Response::new(
            StatusCode::from_u16(status).unwrap(),
            Some("req-1".into()),
            body.into(),
        );
        ErrorResponse::parse(&response, |text| text.contains("hunter2"))
    }

    #[test]
    fn every_shape_of_an_error_is_parsed() {
        for (body, code, detail) in [
            (
                r#"{"errors":[{"id":"1","status":"403","code":"forbidden_access","title":"Forbidden","detail":"Forbidden Access","source":{}}]}"#,
                Some("forbidden_access"),
                Some("Forbidden Access"),
            ),
            (
                r#"{"errors":[{"id":"1","status":"403","detail":"","title":"Only a title"}]}"#,
                None,
                Some("Only a title"),
            ),
            (
                r#"{"error":{"code":403,"message":"invalid API key"}}"#,
                Some("403"),
                Some("invalid API key"),
            ),
            (
                r#"{"error_code":40301,"message":"Request is not authorized"}"#,
                Some("40301"),
                Some("Request is not authorized"),
            ),
            (r#"{"message":"no"}"#, None, Some("no")),
            (
                r#"{"status":403,"error":{"code":"NO","message":"no","details":[]},"requestId":"x"}"#,
                Some("NO"),
                Some("no"),
            ),
            (
                "<html><body>HTTP ERROR 403</body></html>",
                None,
                Some("an HTML page"),
            ),
            ("\n <html></html>", None, Some("an HTML page")),
            (" nonsense", None, Some("a body that is not JSON")),
            ("\u{1f}nonsense", None, Some("a body that is not JSON")),
            ("", None, None),
            (r#"{"errors":[]}"#, None, None),
            (r#"{"errors":{}}"#, None, None),
            ("[]", None, None),
        ] {
            let response = parse(403, body);

            assert_eq!(response.code.as_deref(), code, "{body}");
            assert_eq!(response.detail.as_deref(), detail, "{body}");
            assert!(response.to_string().contains("req-1"), "{response}");
        }
    }

    #[test]
    fn an_exceeded_quota_is_402_or_400_with_its_message() {
        let limited =
            r#"{"errors":[{"detail":"Your service account is currently limited to 10 keys"}]}"#;
        let coded = r#"{"errors":[{"code":"quota_exceeded","detail":"no"}]}"#;
        let with_message = r#"{"errors":[{"detail":"The request would exceed the quota: keys"}]}"#;

        for response in [
            parse(402, "").for_creation(),
            parse(402, "{}").for_creation(),
            parse(402, r#"{"errors":[{"title":"API Keys Quota Exceeded"}]}"#),
            parse(402, r#"{"errors":[{"code":"api_key_quota"}]}"#),
            parse(400, limited),
            parse(400, coded),
            parse(400, with_message),
        ] {
            assert_eq!(response.kind, ErrorKind::QuotaExceeded, "{response}");
        }
        assert_eq!(parse(400, "{}").kind, ErrorKind::Other);
    }

    #[test]
    fn a_402_for_another_reason_is_not_an_exceeded_quota() {
        let trial = r#"{"errors":[{"detail":"Your free trial has ended. Add a payment method."}]}"#;
        let coded = r#"{"errors":[{"status":"402","code":"payment_required"}]}"#;

        for response in [
            parse(402, ""),
            parse(402, trial).for_creation(),
            parse(402, coded).for_creation(),
        ] {
            assert_eq!(response.kind, ErrorKind::PaymentRequired, "{response}");
        }
    }

    #[test]
    fn a_page_or_a_proxys_status_is_not_a_response_of_confluents_api() {
        let page = "<html>Access denied</html>";
        let json = r#"{"errors":[{"detail":"Forbidden Access"}]}"#;
        for (status, body) in [
            (403, page),
            (403, "Access denied"),
            (404, page),
            (402, page),
        ] {
            assert_eq!(parse(status, body).kind, ErrorKind::Blocked, "{status}");
        }
        for status in [200, 302, 407, 511] {
            for body in ["", page, json] {
                assert_eq!(parse(status, body).kind, ErrorKind::Blocked, "{status}");
            }
        }
        assert_eq!(parse(403, "").kind, ErrorKind::Forbidden);
        assert_eq!(parse(403, json).kind, ErrorKind::Forbidden);
        assert_eq!(parse(429, page).kind, ErrorKind::RateLimited);
        assert_eq!(parse(401, page).kind, ErrorKind::Unauthenticated);
    }

    #[test]
    fn a_401_for_a_resource_scoped_key_has_its_own_kind() {
        let body = r#"{"errors":[{"status":"401","detail":"invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key: https://docs.confluent.io/cloud/current/api.html#section/Authentication","source":{}}]}"#;

        let response = parse(401, body);

        assert_eq!(response.kind, ErrorKind::ResourceScopedKey);
    }

    #[test]
    fn a_detail_is_a_single_line_of_bounded_length() {
        let body = format!(r#"{{"message":"a\nb{}"}}"#, "c".repeat(10_000));

        let text = parse(500, &body).to_string();

        assert!(text.len() < 600, "{}", text.len());
        assert!(!text.contains('\n'));
    }
}
