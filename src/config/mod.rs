//! The function's configuration, read once from the environment at start.
//!
//! All problems are reported together. Each one names its variable and the fix, and never quotes a value.

mod aws;
mod keyless;
mod network;
mod reader;

use std::net::Ipv4Addr;
use std::time::Duration;

use url::Url;

use crate::http::Network;
use crate::telemetry::LogLevel;

pub use aws::Aws;
pub use keyless::{Keyless, SigningAlgorithm};
pub use reader::{Problems, environment};
use reader::{Reader, base_url, choice};

/// What the function does with the previous key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum_macros::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum OldKeyPolicy {
    /// Keeps it for `OLD_KEY_HOURS`. Then the event `retire` deletes it, or else the next rotation.
    #[default]
    DeleteAfter,
    /// Deletes it after the promotion, as AWS's managed type does.
    Delete,
    /// Keeps it until the next rotation, for clients that cache the secret.
    KeepUntilNextRotation,
}

/// How keys are verified: the current one before a key is created, the pending one before its promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyVerification {
    /// The resource must accept it.
    #[default]
    Required,
    /// The resource must accept it, unless the endpoint is unreachable.
    BestEffort,
    /// The control plane must return it. Only keys for the control plane itself are probed.
    ControlPlane,
}

/// Where Kafka keys are verified. Other key types have no brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KafkaVerification {
    /// At the cluster's REST endpoint.
    #[default]
    Rest,
    /// At the REST endpoint, and then at all reachable brokers.
    BrokersBestEffort,
    /// At all brokers, and before that at the REST endpoint, unless it is unreachable.
    Brokers,
}

/// Whether the current key is checked before a key is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CurrentKeyCheck {
    /// It must have the owner and resource that the secret names, and is verified as `KEY_VERIFICATION` requires.
    #[default]
    Required,
    /// It is not checked, to recover a secret whose key was deleted.
    Off,
}

/// Whether a rotation creates an initial key where the secret has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialKey {
    /// It fails: without a current key, nothing shows that the writer of the secret may have a key of the owner.
    #[default]
    Off,
    /// It creates a key, if an admin secret or an identity pool is configured.
    Allow,
}

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `CONFLUENT_API_URL`: the URL of the control plane.
    pub confluent_url: Url,
    /// `ADMIN_SECRET_ARN`: the admin secret of all secrets. A secret that names another one is rejected.
    pub admin_secret_arn: Option<String>,
    /// `IDENTITY_POOL_ID`, `TOKEN_AUDIENCE` and `TOKEN_SIGNING_ALGORITHM`, instead of an admin secret.
    pub keyless: Option<Keyless>,
    /// `OLD_KEY_POLICY`
    pub old_key_policy: OldKeyPolicy,
    /// `OLD_KEY_HOURS`: how long the policy `delete-after` keeps the previous key.
    pub old_key_hours: u16,
    /// `KEY_VERIFICATION`
    pub key_verification: KeyVerification,
    /// `KAFKA_VERIFICATION`
    pub kafka_verification: KafkaVerification,
    /// `CURRENT_KEY_CHECK`
    pub current_key_check: CurrentKeyCheck,
    /// `INITIAL_KEY`
    pub initial_key: InitialKey,
    /// `PROBE_INTERVAL_MS`: the first interval between probes.
    pub probe_interval: Duration,
    /// `PROPAGATION_WAIT_SECONDS`: the minimum age of keys that are not probed, instead of their key type's.
    pub propagation_wait: Option<Duration>,
    /// `ALLOWED_ENDPOINT_DOMAINS`: domains of endpoints in addition to Confluent's.
    pub allowed_domains: Vec<String>,
    /// `SSL_CERT_FILE`, `HTTPS_PROXY` and `NO_PROXY`
    pub network: Network,
    /// The settings of the AWS SDK.
    pub aws: Aws,
}

/// The default of AWS's managed type `SnowflakePat`, whose `expireOldTokenAfterHours` has the same maximum.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-SnowflakePat.html>
const DEFAULT_OLD_KEY_HOURS: u16 = 24;

/// The first interval between probes. Keys propagate in seconds (Cloud) or minutes (Kafka), and the interval grows.
const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_secs(2);

impl Config {
    /// Reads the configuration. `variable` returns the value of an environment variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let default_url = Url::parse(DEFAULT_URL).map_err(|_| Problems::default())?;
        let mut reader = Reader::new(variable);
        reader.parse(LOG_LEVEL, log_level);
        let url = reader.parse("CONFLUENT_API_URL", |value| base_url(value, DEFAULT_URL));
        let interval = reader.parse("PROBE_INTERVAL_MS", interval);
        let domains = reader.parse("ALLOWED_ENDPOINT_DOMAINS", domains);
        let old_key_policy = reader.parse("OLD_KEY_POLICY", old_key_policy);
        let old_key_hours = reader.parse("OLD_KEY_HOURS", old_key_hours);
        let key_verification = reader.choose("KEY_VERIFICATION", &KEY_VERIFICATIONS);
        let config = Self {
            confluent_url: url.unwrap_or(default_url),
            admin_secret_arn: reader.parse("ADMIN_SECRET_ARN", secret_arn),
            keyless: keyless::read(&mut reader),
            old_key_policy: old_key_policy.unwrap_or_default(),
            old_key_hours: old_key_hours.unwrap_or(DEFAULT_OLD_KEY_HOURS),
            key_verification,
            kafka_verification: kafka_verification(&mut reader, key_verification),
            current_key_check: reader.choose("CURRENT_KEY_CHECK", &CURRENT_KEY_CHECKS),
            initial_key: reader.choose("INITIAL_KEY", &INITIAL_KEYS),
            probe_interval: interval.unwrap_or(DEFAULT_PROBE_INTERVAL),
            propagation_wait: reader.parse("PROPAGATION_WAIT_SECONDS", propagation_wait),
            allowed_domains: domains.unwrap_or_default(),
            network: network::read(&mut reader),
            aws: Aws::read(&mut reader),
        };
        reader.finish().map(|()| config)
    }
}

/// Reads the log level, or returns the default if it is invalid. [`Config::read`] reports the problem.
pub fn read_log_level(variable: impl Fn(&str) -> Option<String>) -> LogLevel {
    let level = Reader::new(variable).parse(LOG_LEVEL, log_level);
    level.unwrap_or(LogLevel::INFO)
}

const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

const OLD_KEY_POLICIES: [(&str, OldKeyPolicy); 3] = [
    ("delete-after", OldKeyPolicy::DeleteAfter),
    ("delete", OldKeyPolicy::Delete),
    (
        "keep-until-next-rotation",
        OldKeyPolicy::KeepUntilNextRotation,
    ),
];
const KEY_VERIFICATIONS: [(&str, KeyVerification); 3] = [
    ("required", KeyVerification::Required),
    ("best-effort", KeyVerification::BestEffort),
    ("control-plane", KeyVerification::ControlPlane),
];
const KAFKA_VERIFICATIONS: [(&str, KafkaVerification); 3] = [
    ("rest", KafkaVerification::Rest),
    ("brokers-best-effort", KafkaVerification::BrokersBestEffort),
    ("brokers", KafkaVerification::Brokers),
];
const CURRENT_KEY_CHECKS: [(&str, CurrentKeyCheck); 2] = [
    ("required", CurrentKeyCheck::Required),
    ("off", CurrentKeyCheck::Off),
];
const INITIAL_KEYS: [(&str, InitialKey); 2] =
    [("off", InitialKey::Off), ("allow", InitialKey::Allow)];

/// <https://docs.confluent.io/cloud/current/api.html>
const DEFAULT_URL: &str = "https://api.confluent.cloud";

/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
fn log_level(value: &str) -> Result<LogLevel, &'static str> {
    LogLevel::from_name(value).ok_or("must be one of: TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
}

fn secret_arn(value: &str) -> Result<String, String> {
    let arn = is_secret_arn(value).then(|| value.to_owned());
    arn.ok_or_else(|| format!("must be {SECRET_ARN_FORM}"))
}

/// What [`is_secret_arn`] requires. A partial ARN may name another secret, and IAM policies contain complete ones.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen>
pub(crate) const SECRET_ARN_FORM: &str =
    "the complete ARN of a secret, with the hyphen and the six random characters at its end";

/// Returns whether `value` is the ARN of a secret with the suffix that Secrets Manager generates. A partial ARN is not
/// recognized as one if the secret's name itself ends with a hyphen and six letters or digits.
pub(crate) fn is_secret_arn(value: &str) -> bool {
    let parts: Vec<&str> = value.split(':').collect();
    let ["arn", _, "secretsmanager", _, _, "secret", name] = parts[..] else {
        return false;
    };
    let is_generated =
        |suffix: &str| suffix.len() == 6 && suffix.bytes().all(|b| b.is_ascii_alphanumeric());
    name.rsplit_once('-')
        .is_some_and(|(_, suffix)| is_generated(suffix))
}

/// Parses a policy for the previous key: of the function, or of one secret.
pub fn old_key_policy(value: &str) -> Result<OldKeyPolicy, String> {
    choice(value, &OLD_KEY_POLICIES)
}

/// Parses the number of hours for which the policy `delete-after` keeps the previous key.
pub fn old_key_hours(value: &str) -> Result<u16, String> {
    match value.parse() {
        Ok(hours @ 1..=720) => Ok(hours),
        _ => Err("must be a number of hours from 1 to 720".to_owned()),
    }
}

/// Reads `KAFKA_VERIFICATION`, which must be `rest` if keys are not probed.
fn kafka_verification<F: Fn(&str) -> Option<String>>(
    reader: &mut Reader<F>,
    key_verification: KeyVerification,
) -> KafkaVerification {
    const KAFKA: &str = "KAFKA_VERIFICATION";
    let kafka = reader.choose(KAFKA, &KAFKA_VERIFICATIONS);
    if key_verification == KeyVerification::ControlPlane && kafka != KafkaVerification::Rest {
        let problem = "must be rest, or not set, with KEY_VERIFICATION=control-plane";
        reader.report(KAFKA, problem);
    }
    kafka
}

fn interval(value: &str) -> Result<Duration, &'static str> {
    match value.parse() {
        Ok(milliseconds @ 1..=60_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("must be a number of milliseconds from 1 to 60000"),
    }
}

/// An invocation has 15 minutes. One is reserved for the requests before and after the wait.
fn propagation_wait(value: &str) -> Result<Duration, &'static str> {
    match value.parse() {
        Ok(seconds @ 0..=840) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a number of seconds from 0 to 840"),
    }
}

fn domains(value: &str) -> Result<Vec<String>, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_allowed);
    let is_domain = |domain: &String| {
        let is_ip_address = domain.parse::<Ipv4Addr>().is_ok();
        domain.contains('.') && domain.split('.').all(is_label) && !is_ip_address
    };
    let value = value.to_ascii_lowercase();
    let domains = value.split(',').map(|domain| domain.trim().to_owned());
    let domains: Vec<String> = domains.filter(|domain| !domain.is_empty()).collect();
    let are_valid = domains.iter().all(is_domain).then_some(domains);
    are_valid.ok_or("must be domain names separated by commas, such as example.com, without *")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables that Lambda sets.
    pub(super) const LAMBDA: [(&str, &str); 3] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];

    pub(super) fn read(variables: &[(&str, &str)]) -> Result<Config, Problems> {
        let variables = [variables, &LAMBDA].concat();
        Config::read(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn every_variable_that_lambda_does_not_set_has_a_default() {
        let config = read(&[]).unwrap();

        assert_eq!(
            config.confluent_url.as_str(),
            "https://api.confluent.cloud/"
        );
        assert_eq!(config.admin_secret_arn, None);
        assert_eq!(config.old_key_policy, OldKeyPolicy::DeleteAfter);
        assert_eq!(config.old_key_hours, 24);
        assert_eq!(config.key_verification, KeyVerification::Required);
        assert_eq!(config.current_key_check, CurrentKeyCheck::Required);
        assert_eq!(config.initial_key, InitialKey::Off);
        assert_eq!(config.probe_interval, Duration::from_secs(2));
        assert_eq!(config.propagation_wait, None);
        assert!(config.allowed_domains.is_empty());
    }

    #[test]
    fn all_problems_are_reported_together_and_name_their_variable() {
        let invalid = [
            ("CONFLUENT_API_URL", "http://api.confluent.cloud"),
            ("ADMIN_SECRET_ARN", "my-admin-secret"),
            ("OLD_KEY_POLICY", "keep"),
            ("OLD_KEY_HOURS", "721"),
            ("KEY_VERIFICATION", "none"),
            ("CURRENT_KEY_CHECK", "on"),
            ("INITIAL_KEY", "yes"),
            ("PROBE_INTERVAL_MS", "2s"),
            ("PROPAGATION_WAIT_SECONDS", "841"),
            ("ALLOWED_ENDPOINT_DOMAINS", "*.example.com"),
            ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
            ("AWS_RETRY_MODE", "legacy"),
            ("AWS_MAX_ATTEMPTS", "0"),
        ];

        let problems = read(&invalid).unwrap_err().to_string();

        for (name, _) in invalid {
            assert!(problems.contains(name), "{name} in {problems}");
        }
    }

    #[test]
    fn the_control_plane_url_uses_https_or_loopback() {
        for valid in [
            "https://api.confluentgov.com",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert!(read(&[("CONFLUENT_API_URL", valid)]).is_ok(), "{valid}");
        }
        for invalid in [
            "http://localhost:1",
            "http://10.0.0.1",
            "https://user@api.confluent.cloud",
            "https://api.confluent.cloud/iam",
            "https://api.confluent.cloud?a=b",
            "ftp://127.0.0.1",
            "api.confluent.cloud",
        ] {
            assert!(
                read(&[("CONFLUENT_API_URL", invalid)]).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn a_partial_arn_of_the_admin_secret_is_rejected_with_that_reason() {
        let complete =
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:a/b-c-AbCd12";
        let config = read(&[("ADMIN_SECRET_ARN", complete)]).unwrap();
        assert_eq!(config.admin_secret_arn.as_deref(), Some(complete));

        for partial in [
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin-AbC",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin-??????",
            "arn:aws:secretsmanager:us-east-1:123456789012",
            "arn:aws:kms:us-east-1:123456789012:secret:admin-AbCdEf",
            "admin",
        ] {
            let problems = read(&[("ADMIN_SECRET_ARN", partial)]).unwrap_err();

            let problems = problems.to_string();
            let reason = "ADMIN_SECRET_ARN must be the complete ARN of a secret, with the hyphen and the six random";
            assert!(problems.contains(reason), "{problems}");
        }
    }

    #[test]
    fn allowed_domains_are_domain_names() {
        let config = read(&[(
            "ALLOWED_ENDPOINT_DOMAINS",
            "Example.com, proxy.internal.net,",
        )]);
        assert_eq!(
            config.unwrap().allowed_domains,
            ["example.com", "proxy.internal.net"]
        );

        for invalid in [
            ".example.com",
            "com",
            "https://example.com",
            "169.254.169.254",
            "a..b",
        ] {
            assert!(
                read(&[("ALLOWED_ENDPOINT_DOMAINS", invalid)]).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn the_propagation_wait_fits_into_an_invocation() {
        for seconds in [0, 1, 840] {
            let config = read(&[("PROPAGATION_WAIT_SECONDS", &seconds.to_string())]);
            let wait = config.unwrap().propagation_wait;
            assert_eq!(wait, Some(Duration::from_secs(seconds)));
        }
        for invalid in ["-1", "841", "1.5", "5m", "none"] {
            assert!(
                read(&[("PROPAGATION_WAIT_SECONDS", invalid)]).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn the_overlap_lasts_one_hour_to_thirty_days() {
        for hours in [1, 24, 720] {
            let config = read(&[("OLD_KEY_HOURS", &hours.to_string())]).unwrap();
            assert_eq!(config.old_key_hours, hours);
        }
        for invalid in ["0", "721", "-1", "1.5", "24h", "one", "65537"] {
            // It is ignored under another policy, but not if it is malformed.
            let variables = [("OLD_KEY_POLICY", "delete"), ("OLD_KEY_HOURS", invalid)];
            assert!(read(&variables).is_err(), "{invalid}");
        }
    }

    #[test]
    fn the_log_level_is_one_of_lambdas() {
        for level in ["trace", "DEBUG", "WARN", "ERROR", "FATAL"] {
            let read = read_log_level(|_| Some(level.to_owned()));
            assert!(read.name.eq_ignore_ascii_case(level), "{level}");
        }
    }
}
