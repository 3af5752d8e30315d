//! Errors of keyless mode: why the function has no access token, and what to do.

use super::remedy::{
    BLOCKED, CONFLUENT_STATUS, PAYMENT_REQUIRED, SPREAD_ROTATIONS, denying_policy, for_request,
};
use crate::confluent::{self, ErrorKind};
use crate::web_identity;

/// Why no access token was obtained. The [names](super::Error::name) of the variants are stable.
#[derive(Debug, strum_macros::IntoStaticStr, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum TokenError {
    #[error("IAM outbound identity federation is turned off in the AWS account")]
    FederationDisabled { source: web_identity::Error },
    #[error("AWS denied the function's role a web identity token")]
    TokenDenied { source: web_identity::Error },
    #[error("AWS STS did not issue a web identity token")]
    TokenNotIssued { source: web_identity::Error },
    #[error("the web identity token ({claims}) was not exchanged for an access token")]
    TokenExchangeRejected {
        claims: String,
        source: confluent::Error,
    },
    #[error("the response to the token exchange contains no valid access token")]
    TokenResponseInvalid { source: confluent::Error },
    /// Confluent Cloud failed, rate limited the request or did not respond. The error has the name of its source.
    #[error(transparent)]
    TokenNotExchanged { source: confluent::Error },
}

impl TokenError {
    /// Returns whether AWS STS failed, throttled the request or did not respond, so that the error says nothing about the role.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TokenNotIssued { source } if source.is_transient())
    }

    /// Returns what to do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::FederationDisabled { .. } => ENABLE_FEDERATION,
            Self::TokenDenied { source } => for_denial(&source.to_string()),
            Self::TokenNotIssued { source } => for_sts(source),
            Self::TokenExchangeRejected { source, .. } => for_exchange(source),
            Self::TokenResponseInvalid { source } => for_response(source),
            Self::TokenNotExchanged { source } => for_request(source),
        }
    }
}

/// Classifies a failed request for a web identity token.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html#API_GetWebIdentityToken_Errors>
impl From<web_identity::Error> for TokenError {
    fn from(source: web_identity::Error) -> Self {
        match source.code() {
            Some("OutboundWebIdentityFederationDisabledException") => {
                Self::FederationDisabled { source }
            }
            Some("AccessDenied" | "AccessDeniedException") => Self::TokenDenied { source },
            _ => Self::TokenNotIssued { source },
        }
    }
}

const ENABLE_FEDERATION: &str = "Turn it on, once per account: aws iam enable-outbound-web-identity-federation. Then register the issuer \
    that this prints as an identity provider in Confluent Cloud";
const ALLOW_TOKEN: &str = "Allow sts:GetWebIdentityToken for TOKEN_AUDIENCE, TOKEN_SIGNING_ALGORITHM and 300 seconds: the role in the \
    template has this permission. Check the role's permissions boundary, service control policies, and the policy of the VPC \
    endpoint of AWS STS. IAM outbound identity federation may be turned off, too";
const MATCH_POOL: &str = "Compare the identity provider's issuer and JWKS URI with this issuer, the filter of the identity pool \
    with this subject and audience, and IDENTITY_POOL_ID with the pool's ID. If they match, set \
    TOKEN_SIGNING_ALGORITHM to RS256";
const NO_TOKEN: &str =
    "If this persists, check the proxy in HTTPS_PROXY, firewalls and CONFLUENT_API_URL";
const STS_NETWORK: &str = "If this persists, check the network path to AWS STS: its VPC endpoint or NAT, security groups, \
    HTTPS_PROXY and AWS_ENDPOINT_URL_STS";

/// Returns the remedy of a denied request for a web identity token.
fn for_denial(message: &str) -> &'static str {
    denying_policy(message).map_or(ALLOW_TOKEN, |(_, remedy, _)| remedy)
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html#API_GetWebIdentityToken_Errors>
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
fn for_sts(error: &web_identity::Error) -> &'static str {
    let code = match error {
        web_identity::Error::NoResponse { .. } => return STS_NETWORK,
        web_identity::Error::Rejected { code: None, .. } => {
            return "A proxy or a firewall probably responded: check HTTPS_PROXY, NO_PROXY and AWS_ENDPOINT_URL_STS";
        }
        web_identity::Error::Rejected {
            code: Some(code), ..
        } => code.as_str(),
    };
    match code {
        // The global endpoint does not support the operation.
        "InvalidAction" => {
            "Remove AWS_ENDPOINT_URL_STS, or set it to the endpoint of the function's Region, https://sts.REGION.amazonaws.com"
        }
        "JWTPayloadSizeExceededException" => "Reduce the number of tags of the function's role",
        "ValidationError" | "InvalidParameterValue" => {
            "Correct TOKEN_AUDIENCE and TOKEN_SIGNING_ALGORITHM"
        }
        code if code.contains("Throttl") => SPREAD_ROTATIONS,
        _ if error.is_transient() => {
            "If this persists, see https://health.aws.amazon.com. It may occur for seconds after outbound identity federation was \
             turned on or off"
        }
        // The token would be valid for longer than the role's credentials, or these have expired.
        "SessionDurationEscalationException" | "ExpiredToken" | "ExpiredTokenException" => {
            "Retry: Lambda renews the credentials of the function's role"
        }
        _ => "See https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html",
    }
}

fn for_exchange(error: &confluent::Error) -> &'static str {
    match error.kind() {
        Some(ErrorKind::Blocked) => BLOCKED,
        Some(ErrorKind::PaymentRequired) => PAYMENT_REQUIRED,
        _ => MATCH_POOL,
    }
}

fn for_response(error: &confluent::Error) -> &'static str {
    match error.kind() {
        Some(_) => NO_TOKEN,
        None => CONFLUENT_STATUS,
    }
}
