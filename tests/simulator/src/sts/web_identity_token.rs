//! Web identity tokens: JWTs with the claims of AWS STS. The signature is random, because the simulator recognizes its own
//! tokens.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{ROLE_ARN, TOKEN_ISSUER};
use crate::confluent::created_at::rfc3339;
use crate::generate::{BASE64URL, characters, uuid};
use crate::state::State;

/// The signature of every web identity token begins with this string. It contains [`CANARY`](crate::CANARY).
pub(crate) const SIGNATURE_PREFIX: &str = "J4vx9CANARYq2Zt8w";

/// `SigningAlgorithm`.
#[derive(Clone, Copy)]
pub(crate) enum SigningAlgorithm {
    Es384,
    Rs256,
}

impl SigningAlgorithm {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "ES384" => Some(Self::Es384),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    /// Returns the header of a JWT, as published at
    /// <https://github.com/radkawar/stackd> `testdata/aws/iam/outbound_issuance.json`.
    fn header(self) -> Value {
        match self {
            Self::Es384 => json!({ "kid": "EC384_0", "typ": "JWT", "alg": "ES384" }),
            Self::Rs256 => json!({ "kid": "RSA_0", "typ": "JWT", "alg": "RS256" }),
        }
    }

    /// Returns the length of a signature in base64url: 96 bytes (RFC 7518, section 3.4), and 256 bytes for an RSA key of
    /// 2,048 bits.
    fn signature_len(self) -> usize {
        match self {
            Self::Es384 => 128,
            Self::Rs256 => 342,
        }
    }
}

/// The claims on which Confluent's decision depends.
#[derive(Clone)]
pub(crate) struct WebIdentityToken {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) expires_at: SystemTime,
    /// Whether the client received an access token for it.
    pub(crate) is_exchanged: bool,
}

impl State {
    /// Issues a web identity token to the function's role. Returns the JWT and its expiration.
    pub(super) fn issue_web_identity_token(
        &mut self,
        audience: &str,
        algorithm: SigningAlgorithm,
        seconds: u64,
        region: &str,
    ) -> (String, String) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (issued_at, millis) = (now.as_secs(), now.subsec_millis());
        let expires_at = issued_at + seconds;
        let session_end = issued_at.cast_signed() + 6 * 60 * 60;
        let serial = self.next_serial();
        let claims = json!({
            "iss": TOKEN_ISSUER,
            "sub": ROLE_ARN,
            "aud": audience,
            "iat": issued_at,
            "exp": expires_at,
            "jti": uuid(serial),
            "https://sts.amazonaws.com/": {
                "aws_account": "123456789012",
                "org_id": "o-a1b2c3d4e5",
                "ou_path": ["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"],
                "source_region": region,
                "principal_id": ROLE_ARN,
                "original_session_exp": rfc3339(session_end).replace(".000000", ""),
                "lambda_source_function_arn": self.function_arn(),
            },
        });
        let signature = signature(serial, algorithm);
        let [header, payload] =
            [algorithm.header(), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let token = format!("{header}.{payload}.{signature}");
        self.canaries.extend([signature, token.clone()]);
        let issued = WebIdentityToken {
            issuer: TOKEN_ISSUER.to_owned(),
            subject: ROLE_ARN.to_owned(),
            audience: audience.to_owned(),
            expires_at: UNIX_EPOCH + Duration::from_secs(expires_at),
            is_exchanged: false,
        };
        self.web_identity_tokens.insert(token.clone(), issued);
        let expiration = rfc3339(expires_at.cast_signed());
        (
            token,
            expiration.replace(".000000", &format!(".{millis:03}")),
        )
    }
}

fn signature(serial: u64, algorithm: SigningAlgorithm) -> String {
    let length = algorithm.signature_len() - SIGNATURE_PREFIX.len() - 1;
    // The last character of 256 bytes has four unused bits.
    format!(
        "{SIGNATURE_PREFIX}{}A",
        characters(serial, length, BASE64URL)
    )
}
