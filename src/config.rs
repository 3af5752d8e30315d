//! The function's configuration: the environment, read once at start.
//!
//! Whatever is wrong is reported together, each problem naming its variable and the remedy: a function
//! that starts is a function that is configured.

mod network;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use url::Url;

use crate::document::is_secret_arn;
use crate::http::is_loopback;

pub use network::Network;

/// What the function does with a key that has been replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldKeyPolicy {
    /// Delete it as soon as the new key is current, as AWS's managed type does.
    #[default]
    Delete,
    /// Keep it until the next rotation begins, for clients that cache the secret.
    KeepUntilNextRotation,
}

/// How much proof a new key needs before it becomes current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyVerification {
    /// It opens its resource.
    #[default]
    Required,
    /// It opens its resource, unless the resource's endpoint cannot be reached from here.
    BestEffort,
    /// Confluent's control plane knows it. Nothing is sent to a data plane.
    ControlPlane,
}

/// Whether the current key is checked before a new one is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CurrentKeyCheck {
    /// It belongs to the owner and the resource that the secret names, and opens the resource.
    #[default]
    Required,
    /// Not at all: to recover a secret whose key is already dead.
    Off,
}

/// Whether the first rotation of a secret without a key makes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstKey {
    /// It does not: without a current key nothing shows that whoever wrote the secret may have one of the owner's.
    #[default]
    Off,
    /// It does, if an admin secret signs.
    Allow,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `CONFLUENT_API_URL`: the control plane.
    pub confluent_url: Url,
    /// `ADMIN_SECRET_ARN`: who signs for secrets that name no admin secret.
    pub admin_secret_arn: Option<String>,
    /// `OLD_KEY_POLICY`
    pub old_key_policy: OldKeyPolicy,
    /// `KEY_VERIFICATION`
    pub key_verification: KeyVerification,
    /// `CURRENT_KEY_CHECK`
    pub current_key_check: CurrentKeyCheck,
    /// `FIRST_KEY`
    pub first_key: FirstKey,
    /// `PROBE_INTERVAL_MS`: the wait between two tries of a new key, to begin with.
    pub probe_interval: Duration,
    /// `ALLOWED_ENDPOINT_DOMAINS`: data-plane domains beside Confluent's own.
    pub allowed_domains: Vec<String>,
    /// `SSL_CERT_FILE`, `HTTPS_PROXY`, `NO_PROXY`
    pub network: Network,
}

/// How the function logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `AWS_LAMBDA_LOG_LEVEL`, else `RUST_LOG` if that is the name of a level.
    pub level: LevelFilter,
    /// Whether `AWS_LAMBDA_LOG_FORMAT` leaves it at JSON.
    pub json: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            json: true,
        }
    }
}

/// All that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not usable: {}", self.0.join("; "))
    }
}

impl std::error::Error for Problems {}

/// A variable of the process's environment. One that is empty counts as unset, since a template has no
/// other way to leave it out.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    /// Reads the configuration from `variable`, the value of a variable by its name.
    ///
    /// # Errors
    /// [`Problems`], with everything that is wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader {
            variable,
            problems: Vec::new(),
        };
        // How to log is not kept here, but what is wrong with it belongs to the same report.
        if let Err(Problems(problems)) = Logging::read(&reader.variable) {
            reader.problems.extend(problems);
        }
        // The SDK reads these itself; what it is sent to is checked here.
        for name in ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"] {
            reader.parsed(name, None, base_url);
        }
        let confluent_url = reader.parsed("CONFLUENT_API_URL", Some(DEFAULT_URL), base_url);
        let admin_secret_arn = reader.parsed("ADMIN_SECRET_ARN", None, secret_arn);
        let old_key_policy = reader.chosen(
            "OLD_KEY_POLICY",
            &[
                ("delete", OldKeyPolicy::Delete),
                (
                    "keep-until-next-rotation",
                    OldKeyPolicy::KeepUntilNextRotation,
                ),
            ],
        );
        let key_verification = reader.chosen(
            "KEY_VERIFICATION",
            &[
                ("required", KeyVerification::Required),
                ("best-effort", KeyVerification::BestEffort),
                ("control-plane", KeyVerification::ControlPlane),
            ],
        );
        let current_key_check = reader.chosen(
            "CURRENT_KEY_CHECK",
            &[
                ("required", CurrentKeyCheck::Required),
                ("off", CurrentKeyCheck::Off),
            ],
        );
        let first_key = reader.chosen(
            "FIRST_KEY",
            &[("off", FirstKey::Off), ("allow", FirstKey::Allow)],
        );
        let probe_interval = reader.parsed("PROBE_INTERVAL_MS", None, interval);
        let allowed_domains = reader.parsed("ALLOWED_ENDPOINT_DOMAINS", None, domains);
        let network = Network::read(&mut reader);
        match confluent_url {
            Some(confluent_url) if reader.problems.is_empty() => Ok(Self {
                confluent_url,
                admin_secret_arn,
                old_key_policy,
                key_verification,
                current_key_check,
                first_key,
                probe_interval: probe_interval.unwrap_or(DEFAULT_PROBE_INTERVAL),
                allowed_domains: allowed_domains.unwrap_or_default(),
                network,
            }),
            _ => Err(Problems(reader.problems)),
        }
    }
}

impl Logging {
    /// Reads how to log from `variable`, the value of a variable by its name.
    ///
    /// # Errors
    /// [`Problems`], with everything that is wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let rust_log = variable("RUST_LOG").and_then(|level| level_named(&level).ok());
        let mut reader = Reader {
            variable,
            problems: Vec::new(),
        };
        let level = reader.parsed("AWS_LAMBDA_LOG_LEVEL", None, level_named);
        let json = reader.parsed("AWS_LAMBDA_LOG_FORMAT", None, is_json);
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems));
        }
        let default = Self::default();
        Ok(Self {
            level: level.or(rust_log).unwrap_or(default.level),
            json: json.unwrap_or(default.json),
        })
    }
}

/// <https://docs.confluent.io/cloud/current/api.html>
const DEFAULT_URL: &str = "https://api.confluent.cloud";

/// Keys are accepted after seconds (Cloud) or minutes (Kafka); the wait grows from here.
const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Reads variables and remembers what was wrong with them.
struct Reader<F> {
    variable: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// The value of variable `name`, or the default, as `parse` understands it; none if it is wrong.
    fn parsed<T>(
        &mut self,
        name: &str,
        default: Option<&str>,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = (self.variable)(name).or(default.map(str::to_owned))?;
        match parse(value.trim()) {
            Ok(parsed) => Some(parsed),
            Err(remedy) => {
                self.problems.push(format!("{name} {remedy}"));
                None
            }
        }
    }

    /// What variable `name` chooses, or the default.
    fn chosen<T: Copy + Default>(&mut self, name: &str, choices: &[(&str, T)]) -> T {
        let Some(value) = (self.variable)(name) else {
            return T::default();
        };
        if let Some((_, chosen)) = choices.iter().find(|(choice, _)| *choice == value.trim()) {
            return *chosen;
        }
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        let names = names.join(", ");
        self.problems
            .push(format!("{name} must be one of: {names}"));
        T::default()
    }
}

fn base_url(value: &str) -> Result<Url, &'static str> {
    const REMEDY: &str = "must be an https URL without user, path or query, such as \
                          https://api.confluent.cloud (http only for a loopback address)";
    let url = Url::parse(value).map_err(|_| REMEDY)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if bare && anonymous && safe {
        Ok(url)
    } else {
        Err(REMEDY)
    }
}

fn secret_arn(value: &str) -> Result<String, &'static str> {
    if is_secret_arn(value) {
        Ok(value.to_owned())
    } else {
        Err("must be the ARN of a secret in Secrets Manager")
    }
}

fn interval(value: &str) -> Result<Duration, &'static str> {
    match value.parse() {
        Ok(milliseconds @ 1..=60_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("must be a number of milliseconds from 1 to 60000"),
    }
}

fn domains(value: &str) -> Result<Vec<String>, &'static str> {
    let is_domain = |domain: &str| {
        let mut labels = domain.split('.');
        domain.contains('.')
            && labels.all(|label| {
                !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            })
            && domain.parse::<Ipv4Addr>().is_err()
    };
    value
        .split(',')
        .map(|domain| domain.trim().to_ascii_lowercase())
        .filter(|domain| !domain.is_empty())
        .map(|domain| {
            is_domain(&domain)
                .then_some(domain)
                .ok_or("must be domain names separated by commas, such as example.com, without *")
        })
        .collect()
}

/// `FATAL` is a level that Lambda knows and `tracing` does not: nothing is worse than an error here.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
fn level_named(value: &str) -> Result<LevelFilter, &'static str> {
    match value.to_ascii_uppercase().as_str() {
        "TRACE" => Ok(LevelFilter::TRACE),
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "INFO" => Ok(LevelFilter::INFO),
        "WARN" => Ok(LevelFilter::WARN),
        "ERROR" | "FATAL" => Ok(LevelFilter::ERROR),
        _ => Err("must be one of: TRACE, DEBUG, INFO, WARN, ERROR, FATAL"),
    }
}

fn is_json(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err("must be JSON or Text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::read(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    fn logging(variables: &[(&str, &str)]) -> Result<Logging, Problems> {
        Logging::read(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let config = read(&[]).unwrap();

        assert_eq!(
            config.confluent_url.as_str(),
            "https://api.confluent.cloud/"
        );
        assert_eq!(config.admin_secret_arn, None);
        assert_eq!(config.old_key_policy, OldKeyPolicy::Delete);
        assert_eq!(config.key_verification, KeyVerification::Required);
        assert_eq!(config.current_key_check, CurrentKeyCheck::Required);
        assert_eq!(config.probe_interval, Duration::from_secs(2));
        assert!(config.allowed_domains.is_empty());
    }

    #[test]
    fn every_problem_is_reported_at_once_and_names_its_variable() {
        let wrong = [
            ("CONFLUENT_API_URL", "http://api.confluent.cloud"),
            ("ADMIN_SECRET_ARN", "my-admin-secret"),
            ("OLD_KEY_POLICY", "keep"),
            ("KEY_VERIFICATION", "none"),
            ("CURRENT_KEY_CHECK", "on"),
            ("PROBE_INTERVAL_MS", "2s"),
            ("ALLOWED_ENDPOINT_DOMAINS", "*.example.com"),
        ];

        let problems = read(&wrong).unwrap_err().to_string();

        for (name, _) in wrong {
            assert!(problems.contains(name), "{name} in {problems}");
        }
    }

    #[test]
    fn the_control_plane_is_https_or_loopback() {
        for good in [
            "https://api.confluentgov.com",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
        ] {
            assert!(read(&[("CONFLUENT_API_URL", good)]).is_ok(), "{good}");
        }
        for bad in [
            "http://localhost:1",
            "http://10.0.0.1",
            "https://user@api.confluent.cloud",
            "https://api.confluent.cloud/iam",
            "https://api.confluent.cloud?a=b",
            "ftp://127.0.0.1",
            "api.confluent.cloud",
        ] {
            assert!(read(&[("CONFLUENT_API_URL", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_are_names_and_nothing_else() {
        let config = read(&[(
            "ALLOWED_ENDPOINT_DOMAINS",
            "Example.com, proxy.internal.net,",
        )]);
        assert_eq!(
            config.unwrap().allowed_domains,
            ["example.com", "proxy.internal.net"]
        );

        for bad in [
            ".example.com",
            "com",
            "https://example.com",
            "169.254.169.254",
            "a..b",
        ] {
            assert!(read(&[("ALLOWED_ENDPOINT_DOMAINS", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn lambdas_log_level_goes_first_and_fatal_is_understood() {
        for (variables, level) in [
            (&[][..], LevelFilter::INFO),
            (&[("RUST_LOG", "debug")], LevelFilter::DEBUG),
            (&[("RUST_LOG", "hyper=trace,info")], LevelFilter::INFO),
            (&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")], LevelFilter::ERROR),
            (
                &[("AWS_LAMBDA_LOG_LEVEL", "WARN"), ("RUST_LOG", "trace")],
                LevelFilter::WARN,
            ),
        ] {
            assert_eq!(logging(variables).unwrap().level, level, "{variables:?}");
        }
        assert!(logging(&[("AWS_LAMBDA_LOG_LEVEL", "LOUD")]).is_err());
    }

    #[test]
    fn lines_are_json_unless_lambda_says_text() {
        assert!(logging(&[]).unwrap().json);
        assert!(logging(&[("AWS_LAMBDA_LOG_FORMAT", "JSON")]).unwrap().json);
        assert!(!logging(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]).unwrap().json);
    }
}
