//! What Confluent Cloud says when it says no.
//!
//! Its services answer errors in several shapes, and some of them in HTML or with nothing at all. All are
//! read leniently here, and only named parts are kept: a body is never quoted whole.

use std::fmt;

use serde_json::Value;

use crate::credential::ApiKey;
use crate::http::Answer;

/// Why a request was refused, as far as Confluent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What the refusal means for the rotation.
    pub meaning: Meaning,
    code: Option<String>,
    detail: Option<String>,
    request_id: Option<String>,
}

/// The meanings that call for different remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// 401: the key is unknown, its secret wrong, or it is too new.
    Unauthenticated,
    /// 401: the key belongs to a resource, and only Cloud keys may call this API.
    ResourceKey,
    /// 403: no permission, or the thing asked for is gone: Confluent does not say which.
    Forbidden,
    /// 404.
    NotFound,
    /// 402, or 400 with the text of a quota.
    QuotaExceeded,
    /// 429, after all repeats.
    RateLimited,
    /// 5xx, after all repeats.
    ServerError,
    /// Any other status.
    Other,
}

/// An explanation that is longer is not read. Parsed, a text may take a hundred times its length.
const LONGEST_EXPLANATION: usize = 64 << 10;

/// No part of an error is longer: a page of HTML is no explanation.
const LONGEST_DETAIL: usize = 400;

impl Refusal {
    /// Reads what `answer`, which is not a success, says. What repeats the secret of `signer`, which signed the
    /// request, is left out.
    #[must_use]
    pub fn of(answer: &Answer, signer: &ApiKey) -> Self {
        let status = answer.status.as_u16();
        let body: Option<Value> = match answer.body.len() {
            ..=LONGEST_EXPLANATION => serde_json::from_slice(&answer.body).ok(),
            _ => None,
        };
        let may_be_shown = |text: &String| !signer.is_repeated_in(text);
        let told = |body: &Value, pointers: &[&str]| {
            let found = first(body, pointers).filter(may_be_shown)?;
            Some(one_line(&found))
        };
        let code = body.as_ref().and_then(|body| told(body, &CODES));
        let detail = match &body {
            Some(body) => told(body, &DETAILS),
            None => not_json(&answer.body),
        };
        Self {
            status,
            meaning: meaning(status, code.as_deref(), detail.as_deref()),
            code,
            detail,
            request_id: answer.request_id.clone().filter(may_be_shown),
        }
    }
}

/// Where the shapes keep a code: `errors[]` of the control plane, `error_code` of Kafka REST and Schema
/// Registry, `error` of the Metrics API and of newer services.
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Errors>
/// <https://docs.confluent.io/platform/current/kafka-rest/api.html>
const CODES: [&str; 3] = ["/errors/0/code", "/error_code", "/error/code"];

/// Where the shapes keep a text, the most telling first.
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
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
}

/// Says what a body is that is not JSON, without quoting it.
fn not_json(body: &[u8]) -> Option<String> {
    let text = match body {
        [] => return None,
        [0x1f, 0x8b, ..] => "a compressed body",
        _ if body.len() > LONGEST_EXPLANATION => "a body that is too long to be an explanation",
        [first, ..] if first.is_ascii_whitespace() || *first == b'<' => "an HTML page",
        _ => "a body that is not JSON",
    };
    Some(text.to_owned())
}

/// A text from outside as one line of bounded length: what a log can hold.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .take(LONGEST_DETAIL)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn meaning(status: u16, code: Option<&str>, detail: Option<&str>) -> Meaning {
    let says = |text: &str| detail.is_some_and(|detail| detail.contains(text));
    let limits = says(" is currently limited to ") || says("exceed the quota");
    match status {
        // "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key"
        // https://github.com/confluentinc/terraform-provider-confluent/issues/433
        401 if says("Cluster API Key") => Meaning::ResourceKey,
        401 => Meaning::Unauthenticated,
        402 => Meaning::QuotaExceeded,
        // Known issue: "some quota errors are returned as 400 instead of 402".
        // https://docs.confluent.io/cloud/current/api.html#section/Known-Issues
        400 if code == Some("quota_exceeded") || limits => Meaning::QuotaExceeded,
        403 => Meaning::Forbidden,
        404 => Meaning::NotFound,
        429 => Meaning::RateLimited,
        500..=599 => Meaning::ServerError,
        _ => Meaning::Other,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ", {detail}")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(f, " (request id {request_id})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::credential::{ApiKeyId, Redacted};

    fn refusal(status: u16, body: &str) -> Refusal {
        let signer = ApiKey {
            id: ApiKeyId::new("KEY".into()),
            secret: Redacted::new("hunter2".into()),
        };
        let answer = Answer::new(
            StatusCode::from_u16(status).unwrap(),
            Some("req-1".into()),
            body.into(),
        );
        Refusal::of(&answer, &signer)
    }

    #[test]
    fn every_shape_of_error_is_read() {
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
            ("\u{1f}nonsense", None, Some("a body that is not JSON")),
            ("", None, None),
            (r#"{"errors":[]}"#, None, None),
            (r#"{"errors":{}}"#, None, None),
            ("[]", None, None),
        ] {
            let refusal = refusal(403, body);

            assert_eq!(refusal.code.as_deref(), code, "{body}");
            assert_eq!(refusal.detail.as_deref(), detail, "{body}");
            assert!(refusal.to_string().contains("req-1"), "{refusal}");
        }
    }

    #[test]
    fn a_quota_is_recognised_as_402_and_as_400_with_its_text() {
        let limited =
            r#"{"errors":[{"detail":"Your service account is currently limited to 10 keys"}]}"#;
        let coded = r#"{"errors":[{"code":"quota_exceeded","detail":"no"}]}"#;
        let told = r#"{"errors":[{"detail":"The request would exceed the quota: keys"}]}"#;

        for refusal in [
            refusal(402, ""),
            refusal(400, limited),
            refusal(400, coded),
            refusal(400, told),
        ] {
            assert_eq!(refusal.meaning, Meaning::QuotaExceeded, "{refusal}");
        }
        assert_eq!(refusal(400, "{}").meaning, Meaning::Other);
    }

    #[test]
    fn the_401_for_a_cluster_key_is_told_from_others() {
        let body = r#"{"errors":[{"status":"401","detail":"invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key: https://docs.confluent.io/cloud/current/api.html#section/Authentication","source":{}}]}"#;

        let refusal = refusal(401, body);

        assert_eq!(refusal.meaning, Meaning::ResourceKey);
    }

    #[test]
    fn an_explanation_is_one_line_of_bounded_length() {
        let body = format!(r#"{{"message":"a\nb{}"}}"#, "c".repeat(10_000));

        let text = refusal(500, &body).to_string();

        assert!(text.len() < 600, "{}", text.len());
        assert!(!text.contains('\n'));
    }
}
