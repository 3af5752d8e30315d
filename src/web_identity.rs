//! The web identity token of the function's role, which AWS STS issues (IAM outbound identity federation).
//!
//! The token is a JSON Web Token (JWT) that is valid for five minutes. The function does not verify it: an identity pool of Confluent
//! Cloud does, with a filter that [`Claims::filter`] writes.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound.html>

use std::fmt;

use aws_sdk_sts::error::SdkError;
use aws_sdk_sts::operation::get_web_identity_token::GetWebIdentityTokenError;
use aws_smithy_types::base64;
use serde::Deserialize;

use crate::config::{Aws, Keyless};
use crate::http::{Deadline, Redacted, SdkFailure, SdkLimits, printable};

/// `DurationSeconds` of the request. Confluent's own clients request the same.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/clients/aws-iam-java-plugin.html>
const DURATION_SECONDS: i32 = 300;

/// Creates the AWS SDK's client for AWS STS, which outlives an invocation.
pub fn sdk_client(aws: &Aws, http: &reqwest::Client) -> aws_sdk_sts::Client {
    let sdk_config = aws.sdk_config(http);
    let mut builder = aws_sdk_sts::config::Builder::from(&sdk_config);
    builder.set_endpoint_url(aws.sts_url.clone().map(String::from));
    aws_sdk_sts::Client::from_conf(builder.build())
}

/// Requests a web identity token of the function's role.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
pub async fn web_identity_token(
    sdk: &aws_sdk_sts::Client,
    keyless: &Keyless,
    deadline: Deadline,
    limits: SdkLimits,
) -> Result<Redacted, Error> {
    let settings = aws_sdk_sts::Config::builder()
        .timeout_config(limits.timeouts(deadline))
        .retry_config(limits.retries());
    let request = sdk
        .get_web_identity_token()
        .audience(&keyless.audience)
        .signing_algorithm(keyless.signing_algorithm.to_string())
        .duration_seconds(DURATION_SECONDS)
        .customize()
        .config_override(settings);
    let response = request.send().await.map_err(|error| Error::new(&error))?;
    let token = response.web_identity_token;
    let token = token.filter(|token| !token.trim().is_empty());
    token.map(Redacted::new).ok_or_else(|| Error::NoResponse {
        problem: "the response contains no token".to_owned(),
    })
}

/// A failed request to AWS STS. No SDK error is kept as a source: its `Debug` output contains the raw response.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// AWS STS or a proxy returned an error. A proxy's has no code.
    #[error(
        "AWS STS returned {}, {message}{}",
        .code.clone().unwrap_or_else(|| format!("HTTP {status} without an error code")),
        .request_id.as_deref().map_or_else(String::new, |id| format!(" (request ID {id})"))
    )]
    Rejected {
        status: u16,
        code: Option<String>,
        message: String,
        request_id: Option<String>,
    },
    /// No valid response arrived.
    #[error("GetWebIdentityToken did not complete: {problem}")]
    NoResponse { problem: String },
}

/// The codes with which the SDK retries a request because AWS throttled it or it took too long.
///
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
const THROTTLING: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
];

impl Error {
    fn new(error: &SdkError<GetWebIdentityTokenError>) -> Self {
        match SdkFailure::new(error) {
            SdkFailure::Rejected {
                status,
                code,
                message,
                request_id,
            } => Self::Rejected {
                status,
                code,
                message: printable(message.as_deref().unwrap_or("no message")),
                request_id,
            },
            SdkFailure::NoResponse(problem) => Self::NoResponse { problem },
        }
    }

    /// Returns the error code, or `None` if AWS STS returned none.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected { code, .. } => code.as_deref(),
            Self::NoResponse { .. } => None,
        }
    }

    /// Returns whether AWS STS failed, throttled the request or did not respond.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rejected { status, code, .. } => {
                let is_throttled = |code| THROTTLING.iter().any(|known| known == code);
                matches!(status, 408 | 429 | 500..) || code.as_ref().is_some_and(is_throttled)
            }
            Self::NoResponse { .. } => true,
        }
    }
}

/// The claims of a web identity token. Only the token's signature is secret.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// The issuer of the AWS account.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The ARN of the function's role.
    #[serde(rename = "sub")]
    pub subject: String,
    /// The audience.
    #[serde(rename = "aud")]
    pub audience: String,
}

impl Claims {
    /// Reads the claims without a verification. Returns `None` if the token has another form than that of AWS STS.
    pub fn parse(token: &Redacted) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let (_, payload) = (parts.next()?, parts.next()?);
        // JWTs use the URL-safe alphabet without padding. https://www.rfc-editor.org/rfc/rfc7515#section-2
        let mut payload = payload.replace('-', "+").replace('_', "/");
        payload.extend(std::iter::repeat_n('=', payload.len().wrapping_neg() % 4));
        let payload = base64::decode(payload).ok()?;
        let claims: Self = serde_json::from_slice(&payload).ok()?;
        // A filter quotes them.
        let is_quotable = |claim: &String| {
            let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
            !claim.is_empty() && claim.bytes().all(is_allowed)
        };
        let all = [&claims.issuer, &claims.subject, &claims.audience];
        let are_quotable = all.into_iter().all(is_quotable);
        are_quotable.then_some(claims)
    }

    /// Returns the filter of an identity pool that accepts only this subject and audience.
    ///
    /// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/identity-pools.html>
    pub fn filter(&self) -> String {
        let (subject, audience) = (&self.subject, &self.audience);
        format!(r#"claims.sub=="{subject}" && claims.aud=="{audience}""#)
    }

    /// Returns whether the subject is the ARN of an IAM role.
    pub fn is_role(&self) -> bool {
        let parts: Vec<&str> = self.subject.splitn(6, ':').collect();
        matches!(parts[..], ["arn", _, "iam", "", _, resource] if resource.starts_with("role/"))
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            issuer,
            subject,
            audience,
        } = self;
        write!(f, "issuer {issuer}, subject {subject}, audience {audience}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(payload: &str) -> Option<Claims> {
        let encoded = base64::encode(payload);
        let encoded = encoded.replace('+', "-").replace('/', "_");
        let token = format!("e30.{}.signature", encoded.trim_end_matches('='));
        Claims::parse(&Redacted::new(token))
    }

    #[test]
    fn the_filter_pins_the_role_and_the_audience() {
        for extra in ["", "?", "?>", "?>~"] {
            let payload = format!(
                r#"{{"iss":"https://a.tokens.sts.global.api.aws","sub":"arn:aws:iam::123456789012:role/path/rotation",
                    "aud":"https://confluent.cloud/oidc","exp":1,"https://sts.amazonaws.com/":{{"x":"{extra}"}}}}"#
            );

            let claims = claims(&payload).unwrap();

            assert!(claims.is_role());
            assert_eq!(
                claims.filter(),
                r#"claims.sub=="arn:aws:iam::123456789012:role/path/rotation" && claims.aud=="https://confluent.cloud/oidc""#
            );
        }
    }

    #[test]
    fn claims_that_a_filter_cannot_quote_are_not_read() {
        for (sub, aud) in [
            (r#""a\" || true""#, r#""b""#),
            (r#""a\\""#, r#""b""#),
            (r#""""#, r#""b""#),
            (r#""a b""#, r#""b""#),
            (r#""a\n""#, r#""b""#),
            ("null", r#""b""#),
            (r#""a""#, r#"["b"]"#),
        ] {
            let payload = format!(r#"{{"iss":"https://a","sub":{sub},"aud":{aud}}}"#);

            assert_eq!(claims(&payload), None, "{payload}");
        }
        for token in ["", ".", "a.b", "a.%.c", "opaque"] {
            assert_eq!(Claims::parse(&Redacted::new(token.into())), None, "{token}");
        }
    }

    #[test]
    fn another_subject_than_a_role_is_recognized() {
        for subject in [
            "arn:aws:sts::123456789012:assumed-role/rotation/session",
            "arn:aws:iam::123456789012:user/someone",
            "123456789012",
        ] {
            let claims = Claims {
                issuer: "https://a".into(),
                subject: subject.into(),
                audience: "b".into(),
            };
            assert!(!claims.is_role(), "{subject}");
        }
    }
}
