//! The settings of keyless mode: management credentials without a stored admin key.
//!
//! They apply to all secrets of the function and never come from a secret: a principal that can write a secret must not choose the
//! identity.

use super::reader::{Reader, choice};
use crate::http::is_loopback;

/// The settings of keyless mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyless {
    /// `IDENTITY_POOL_ID`: the identity pool of Confluent Cloud whose permissions the function uses.
    pub identity_pool_id: String,
    /// `TOKEN_AUDIENCE`: the audience of the web identity token, which the pool's filter compares.
    pub audience: String,
    /// `TOKEN_SIGNING_ALGORITHM`: the algorithm with which AWS STS signs the token.
    pub signing_algorithm: SigningAlgorithm,
}

/// The algorithms of `GetWebIdentityToken`.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum_macros::Display)]
#[expect(missing_docs, reason = "the names are those of RFC 7518")]
#[strum(serialize_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    #[default]
    Es384,
    Rs256,
}

/// The audience in the examples of Confluent's clients.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/clients/aws-iam-java-plugin.html>
const DEFAULT_AUDIENCE: &str = "https://confluent.cloud/oidc";

const ALGORITHMS: [(&str, SigningAlgorithm); 2] = [
    ("ES384", SigningAlgorithm::Es384),
    ("RS256", SigningAlgorithm::Rs256),
];

/// Reads the settings, and checks them against the variables that they exclude.
pub(super) fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Option<Keyless> {
    let is_set = reader.value(POOL).is_some();
    let pool = reader.parse(POOL, identity_pool_id);
    let audience = reader.parse(AUDIENCE, audience);
    let algorithm = reader.parse(ALGORITHM, |value| choice(value, &ALGORITHMS));
    if is_set {
        if reader.value("ADMIN_SECRET_ARN").is_some() {
            reader.report(
                POOL,
                "cannot be set together with ADMIN_SECRET_ARN: remove one of them",
            );
        }
        if uses_common_endpoint(reader) {
            reader.report(
                "AWS_ENDPOINT_URL",
                "would also be the endpoint of AWS STS: set AWS_ENDPOINT_URL_SECRETS_MANAGER instead",
            );
        }
    } else {
        for name in [AUDIENCE, ALGORITHM] {
            if reader.value(name).is_some() {
                reader.report(
                    name,
                    "requires IDENTITY_POOL_ID: set it, too, or remove this variable",
                );
            }
        }
    }
    Some(Keyless {
        identity_pool_id: pool?,
        audience: audience.unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned()),
        signing_algorithm: algorithm.unwrap_or_default(),
    })
}

const POOL: &str = "IDENTITY_POOL_ID";
const AUDIENCE: &str = "TOKEN_AUDIENCE";
const ALGORITHM: &str = "TOKEN_SIGNING_ALGORITHM";

/// Returns whether requests to AWS STS would use the endpoint in `AWS_ENDPOINT_URL`, which is probably Secrets Manager's. On a
/// loopback address, an emulator is the endpoint of all services.
fn uses_common_endpoint<F: Fn(&str) -> Option<String>>(reader: &Reader<F>) -> bool {
    let is_local = |url: String| url.parse().is_ok_and(|url| is_loopback(&url));
    let common = reader.value("AWS_ENDPOINT_URL");
    reader.value("AWS_ENDPOINT_URL_STS").is_none() && common.is_some_and(|url| !is_local(url))
}

fn identity_pool_id(value: &str) -> Result<String, &'static str> {
    let id = value.strip_prefix("pool-").unwrap_or_default();
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_id = is_id.then(|| value.to_owned());
    is_id.ok_or("must be the ID of an identity pool, pool-…")
}

/// AWS STS accepts any string of this length. The filter of an identity pool quotes it.
fn audience(value: &str) -> Result<String, &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    let is_audience = value.len() <= 1000 && value.bytes().all(is_allowed);
    let audience = is_audience.then(|| value.to_owned());
    audience.ok_or(
        "must have 1 to 1000 ASCII characters without spaces, quotation marks or backslashes",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    const POOL_ID: (&str, &str) = ("IDENTITY_POOL_ID", "pool-aBc1");

    #[test]
    fn an_identity_pool_turns_keyless_on_with_the_defaults_of_confluents_clients() {
        assert_eq!(read(&[]).unwrap().keyless, None);
        assert_eq!(read(&[("IDENTITY_POOL_ID", " ")]).unwrap().keyless, None);

        let keyless = read(&[POOL_ID]).unwrap().keyless.unwrap();

        assert_eq!(keyless.identity_pool_id, "pool-aBc1");
        assert_eq!(keyless.audience, "https://confluent.cloud/oidc");
        assert_eq!(keyless.signing_algorithm.to_string(), "ES384");
    }

    #[test]
    fn the_audience_and_the_algorithm_can_be_set() {
        let settings = [
            POOL_ID,
            ("TOKEN_AUDIENCE", "a|b"),
            ("TOKEN_SIGNING_ALGORITHM", "RS256"),
        ];

        let keyless = read(&settings).unwrap().keyless.unwrap();

        assert_eq!(keyless.audience, "a|b");
        assert_eq!(keyless.signing_algorithm.to_string(), "RS256");
    }

    #[test]
    fn a_malformed_setting_is_a_problem() {
        let long = "a".repeat(1001);
        for (name, value) in [
            ("IDENTITY_POOL_ID", "pool-"),
            ("IDENTITY_POOL_ID", "pool"),
            ("IDENTITY_POOL_ID", "Pool-abc"),
            ("IDENTITY_POOL_ID", "op-abc"),
            ("IDENTITY_POOL_ID", "pool-a/b"),
            ("IDENTITY_POOL_ID", "pool-a,pool-b"),
            ("TOKEN_AUDIENCE", "a\"b"),
            ("TOKEN_AUDIENCE", "a b"),
            ("TOKEN_AUDIENCE", "a\\b"),
            ("TOKEN_AUDIENCE", "https://exämple.com"),
            ("TOKEN_AUDIENCE", long.as_str()),
            ("TOKEN_SIGNING_ALGORITHM", "es384"),
            ("TOKEN_SIGNING_ALGORITHM", "HS256"),
        ] {
            let problems = read(&[POOL_ID, (name, value)][usize::from(name == POOL)..]);

            let problems = problems.unwrap_err().to_string();
            assert!(problems.contains(&format!("{name} must")), "{problems}");
        }
    }

    #[test]
    fn settings_of_keyless_mode_require_an_identity_pool() {
        for setting in [
            ("TOKEN_AUDIENCE", "a"),
            ("TOKEN_SIGNING_ALGORITHM", "ES384"),
        ] {
            let problems = read(&[setting]).unwrap_err().to_string();

            let expected = format!("{} requires IDENTITY_POOL_ID", setting.0);
            assert!(problems.contains(&expected), "{problems}");
        }
    }

    #[test]
    fn an_identity_pool_and_an_admin_secret_exclude_each_other() {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin-AbCdEf";
        for arn in [arn, "malformed"] {
            let problems = read(&[POOL_ID, ("ADMIN_SECRET_ARN", arn)]).unwrap_err();

            let expected = "IDENTITY_POOL_ID cannot be set together with ADMIN_SECRET_ARN";
            assert!(problems.to_string().contains(expected), "{problems}");
        }
    }

    #[test]
    fn an_endpoint_of_secrets_manager_is_not_used_for_aws_sts() {
        let common = (
            "AWS_ENDPOINT_URL",
            "https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com",
        );
        let of_sts = (
            "AWS_ENDPOINT_URL_STS",
            "https://sts.us-east-1.amazonaws.com",
        );

        let problems = read(&[POOL_ID, common]).unwrap_err().to_string();

        assert!(
            problems.contains("AWS_ENDPOINT_URL would also"),
            "{problems}"
        );
        assert!(read(&[POOL_ID, common, of_sts]).is_ok());
        assert!(read(&[POOL_ID, ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]).is_ok());
        assert!(read(&[common]).is_ok());
    }
}
