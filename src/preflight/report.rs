//! The preflight report: one finding per check, and a verdict. It never contains a secret value.

use std::borrow::Cow;

use serde::Serialize;

use crate::error::Error;
use crate::error::remedy::remedy_for_key;
use crate::http::error_chain;
use crate::secret::{SecretValue, Slot, field_name};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum_macros::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Outcome {
    /// The requirement is met.
    Ok,
    /// This preflight could not check the requirement.
    NotVerifiable,
    /// A service failed, rate limited the request or did not respond. Another preflight may succeed.
    Unknown,
    /// Requires attention, but does not make a scheduled rotation fail.
    Warning,
    /// A rotation would fail.
    Failed,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The outcome.
    pub outcome: Outcome,
    /// What the check observed.
    pub observed: String,
    /// What to do, if action is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
}

impl Finding {
    pub(super) fn new(outcome: Outcome, observed: String, remedy: Option<&'static str>) -> Self {
        Self {
            outcome,
            observed,
            remedy: remedy.map(Cow::Borrowed),
        }
    }

    pub(super) fn ok(observed: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, observed.into(), None)
    }

    pub(super) fn not_verifiable(observed: impl Into<String>) -> Self {
        Self::new(Outcome::NotVerifiable, observed.into(), None)
    }

    pub(super) fn warning(observed: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(Outcome::Warning, observed.into(), Some(remedy))
    }

    pub(super) fn error(outcome: Outcome, error: &Error) -> Self {
        Self::new(outcome, error_chain(error), Some(error.remedy()))
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        // If a service failed or rate limited the request, the error says nothing about the secret.
        let outcome = match &error {
            Error::CurrentKeyNotAccepted { outcome, .. } if outcome.is_transient() => {
                Outcome::Unknown
            }
            Error::Token(error) if error.is_transient() => Outcome::Unknown,
            error => match error.name() {
                "ConfluentUnavailable"
                | "ConfluentRateLimited"
                | "SecretsManagerUnavailable"
                | "TimeoutTooShort" => Outcome::Unknown,
                _ => Outcome::Failed,
            },
        };
        Self::error(outcome, &error)
    }
}

/// A check in the report.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The stable name.
    pub name: &'static str,
    /// The field of the key that was checked, such as `schemaRegistryApiKey`, if the secret contains several keys and the check is about
    /// one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the check found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The names of the checks that come first if the function has an identity pool.
pub const TOKEN_CHECKS: [&str; 2] = ["web-identity-token", "token-exchange"];

/// The names of all other checks, in the order of the report. If the secret contains several keys, `quota` and the checks after it are
/// grouped by key.
pub const CHECKS: [&str; 16] = [
    "secret",
    "rotation",
    "old-key-policy",
    "labels",
    "value",
    "key-copies",
    "key-type",
    "management-credentials",
    "control-plane-access",
    "current-key",
    "create-permission",
    "quota",
    "orphaned-keys",
    "endpoint",
    "brokers",
    "data-plane",
];

/// The checks that are run for each key of a secret.
const CHECKS_OF_KEYS: [&str; 7] = [
    "key-type",
    "current-key",
    "quota",
    "orphaned-keys",
    "endpoint",
    "brokers",
    "data-plane",
];

/// The checks whose `not-verifiable` does not affect the verdict: only a rotation shows the first, and no rotation requires the
/// permission to read quotas or, unless `KAFKA_VERIFICATION` says so, a connection to brokers.
const MAY_BE_NOT_VERIFIABLE: [&str; 3] = ["create-permission", "quota", "brokers"];

/// The checks that were not run, and why.
#[derive(Clone, Debug, Serialize)]
pub struct NotRun {
    /// Their names, with the field of the key if the secret contains several.
    pub checks: Vec<String>,
    /// The reason.
    pub reason: String,
}

/// The report on one secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The secret's ARN, or the requested ID if the secret could not be described.
    pub secret: String,
    /// The worst outcome, except that `create-permission`, `brokers` and `quota` count as OK if they are not verifiable, and
    /// `quota` also if it is unknown.
    pub verdict: Outcome,
    /// The checks that were run: [`TOKEN_CHECKS`], then [`CHECKS`].
    pub checks: Vec<Check>,
    /// The checks that were not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<NotRun>,
    #[serde(skip)]
    has_token_checks: bool,
    /// The fields of the keys, if the secret contains several.
    #[serde(skip)]
    keys: Vec<String>,
    /// The prefix of the slot that the next checks are about, if the secret contains several keys.
    #[serde(skip)]
    prefix: Option<String>,
}

impl Report {
    /// Creates an empty report on `secret`. `has_token_checks` is whether it begins with [`TOKEN_CHECKS`].
    pub(super) fn new(secret: &str, has_token_checks: bool) -> Self {
        Self {
            has_token_checks,
            keys: Vec::new(),
            prefix: None,
            secret: secret.to_owned(),
            verdict: Outcome::Ok,
            checks: Vec::new(),
            not_run: None,
        }
    }

    /// Sets the fields of the keys, if the secret contains several.
    pub(super) fn set_keys(&mut self, value: &SecretValue) {
        let fields = value.slots().map(|slot| slot.field("apiKey"));
        self.keys = fields.filter(|_| value.has_several_slots()).collect();
    }

    /// Sets the slot that the next checks are about.
    pub(super) fn set_slot(&mut self, slot: &Slot) {
        self.prefix = (!self.keys.is_empty()).then(|| slot.prefix.clone());
    }

    /// Adds what the check `name` found.
    pub(super) fn add(&mut self, name: &'static str, mut finding: Finding) {
        let is_ignored = match finding.outcome {
            Outcome::NotVerifiable => MAY_BE_NOT_VERIFIABLE.contains(&name),
            Outcome::Unknown => name == "quota",
            _ => false,
        };
        if !is_ignored {
            self.verdict = self.verdict.max(finding.outcome);
        }
        let prefix = self.prefix.as_deref();
        let prefix = prefix.filter(|_| CHECKS_OF_KEYS.contains(&name));
        if let Some((prefix, remedy)) = prefix.zip(finding.remedy.as_mut()) {
            *remedy = remedy_for_key(remedy, prefix).into();
        }
        let key = prefix.map(|prefix| field_name(prefix, "apiKey"));
        self.checks.push(Check { name, key, finding });
    }

    /// Adds what the check `name` found, and returns what the next checks require.
    pub(super) fn add_result<T>(
        &mut self,
        name: &'static str,
        result: Result<(T, Finding), Finding>,
    ) -> Option<T> {
        let (required, finding) = match result {
            Ok((required, finding)) => (Some(required), finding),
            Err(finding) => {
                self.stop(&format!("they require `{name}`"));
                (None, finding)
            }
        };
        self.add(name, finding);
        required
    }

    /// Sets why the checks that will be missing were not run. The checks of several keys may have several reasons.
    pub(super) fn stop(&mut self, reason: &str) {
        let known = self.not_run.take().map(|not_run| not_run.reason);
        let reason = match known {
            Some(known) if known.split("; ").any(|known| known == reason) => known,
            Some(known) => format!("{known}; {reason}"),
            None => reason.to_owned(),
        };
        let checks = Vec::new();
        self.not_run = Some(NotRun { checks, reason });
    }

    /// Adds the names of the checks that were not run.
    pub(super) fn complete(mut self) -> Self {
        let first: &[&str] = if self.has_token_checks {
            &TOKEN_CHECKS
        } else {
            &[]
        };
        let names = first.iter().chain(&CHECKS);
        let names: Vec<String> = names.flat_map(|name| self.missing(name)).collect();
        self.not_run = self.not_run.filter(|_| !names.is_empty());
        if let Some(not_run) = &mut self.not_run {
            not_run.checks = names;
        }
        self
    }

    /// Returns the check `name`, once for each key, if it was not run.
    fn missing(&self, name: &'static str) -> Vec<String> {
        let was_run = |key: Option<&String>| {
            let mut checks = self.checks.iter();
            checks.any(|check| check.name == name && check.key.as_ref() == key)
        };
        if self.keys.is_empty() || !CHECKS_OF_KEYS.contains(&name) {
            let missing = Some(name.to_owned()).filter(|_| !was_run(None));
            return missing.into_iter().collect();
        }
        let keys = self.keys.iter().filter(|key| !was_run(Some(key)));
        keys.map(|key| format!("{name} ({key})")).collect()
    }

    /// Logs the checks that require attention, those that were not run, and the verdict.
    pub fn log(&self) {
        for check in &self.checks {
            let Finding {
                outcome,
                observed,
                remedy,
            } = &check.finding;
            if *outcome >= Outcome::Unknown {
                let (key, remedy) = (&check.key, remedy.as_deref());
                tracing::warn!(check = check.name, key, check_outcome = %outcome, observed, remedy, "preflight check");
            }
        }
        let outcomes = self.checks.iter().map(|check| check.finding.outcome);
        let count = |outcome| outcomes.clone().filter(|other| *other == outcome).count();
        let (failed, warnings) = (count(Outcome::Failed), count(Outcome::Warning));
        let not_run = self.not_run.as_ref();
        let not_run = not_run.map(|rest| format!("{}: {}", rest.checks.join(", "), rest.reason));
        tracing::info!(verdict = %self.verdict, failed, warnings, not_run, "preflight report");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_optional_checks_may_be_unknown_without_affecting_the_verdict() {
        use Outcome::{Failed, NotVerifiable, Ok, Unknown};
        let cases = [
            ("create-permission", NotVerifiable, Ok),
            ("quota", NotVerifiable, Ok),
            ("quota", Unknown, Ok),
            ("quota", Failed, Failed),
            ("brokers", NotVerifiable, Ok),
            ("brokers", Unknown, Unknown),
            ("data-plane", NotVerifiable, NotVerifiable),
            ("current-key", Unknown, Unknown),
        ];
        for (name, outcome, verdict) in cases {
            let mut report = Report::new("secret", false);
            report.add(name, Finding::new(outcome, String::new(), None));
            assert_eq!(report.verdict, verdict, "{name}: {outcome}");
        }
    }
}
