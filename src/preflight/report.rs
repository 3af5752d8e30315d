//! What a preflight says: one line for each check, and a verdict. It never holds a secret.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, joined};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As a rotation needs it.
    Ok,
    /// It could not be found out.
    Unknown,
    /// A rotation would pass, and somebody should look.
    Warning,
    /// A rotation would fail.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its stable name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub seen: String,
    /// What to do, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The names of all checks, in the order in which they are made.
pub const CHECKS: [&str; 15] = [
    "secret",
    "rotation",
    "labels",
    "value",
    "aliases",
    "kind",
    "signer",
    "credential",
    "owner",
    "current-key",
    "creation",
    "quota",
    "left-over-keys",
    "endpoint",
    "acceptance",
];

/// What nobody can know before a rotation, or needs permissions that a rotation does not.
const NEED_NOT_BE_KNOWN: [&str; 3] = ["creation", "quota", "owner"];

/// All checks of one secret.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The secret: its ARN, or what was asked for if it could not be described.
    pub secret: String,
    /// The worst of the outcomes. That something is `unknown` which need not be known counts as `ok`.
    pub verdict: Outcome,
    /// One for each of [`CHECKS`], in their order.
    pub checks: Vec<Check>,
}

impl Report {
    /// An empty report on `secret`.
    pub(super) fn new(secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            verdict: Outcome::Ok,
            checks: Vec::new(),
        }
    }

    /// Adds a check that was made.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        outcome: Outcome,
        seen: impl Into<String>,
        remedy: Option<&str>,
    ) {
        let (seen, remedy) = (seen.into(), remedy.map(str::to_owned));
        if outcome != Outcome::Unknown || !NEED_NOT_BE_KNOWN.contains(&name) {
            self.verdict = self.verdict.max(outcome);
        }
        self.checks.push(Check {
            name,
            outcome,
            seen,
            remedy,
        });
    }

    /// Adds a check that ended with an error.
    pub(super) fn add_error(&mut self, name: &'static str, outcome: Outcome, error: &Error) {
        self.add(name, outcome, joined(error), Some(&error.remedy()));
    }

    /// The report, with every check that was not reached put down as that, in the order of [`CHECKS`].
    pub(super) fn complete(mut self) -> Self {
        for name in CHECKS {
            if !self.checks.iter().any(|check| check.name == name) {
                let seen = "not looked at, because of what failed above";
                self.add(name, Outcome::Unknown, seen, None);
            }
        }
        let place = |check: &Check| CHECKS.iter().position(|name| *name == check.name);
        self.checks.sort_by_key(place);
        self
    }

    /// Writes the report into the log, shortened: what is not as it should be, and the verdict.
    pub fn log(&self) {
        for check in &self.checks {
            let Check {
                name,
                outcome,
                seen,
                remedy,
            } = check;
            if matches!(outcome, Outcome::Warning | Outcome::Failed) {
                let remedy = remedy.as_deref().unwrap_or_default();
                tracing::warn!(check = name, check_outcome = %outcome, remedy, "{seen}");
            }
        }
        let count = |outcome| self.checks.iter().filter(|c| c.outcome == outcome).count();
        let (failed, warnings) = (count(Outcome::Failed), count(Outcome::Warning));
        tracing::info!(verdict = %self.verdict, failed, warnings, "preflight");
    }
}
