//! The preflight of many secrets in one invocation: one line per secret, and an overall verdict.

use serde::Serialize;

use super::Preflight;
use super::report::{Check, Outcome, Report};
use crate::error::Error;
use crate::event::SecretSelection;
use crate::secret::{process_each, truncate_lines};

/// The verdict if some secrets were not checked.
const INCOMPLETE: &str = "incomplete";

/// The maximum sizes of the lines and of the secrets that were not checked, in bytes. A response of Lambda may have 6 MB.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_LINES_BYTES: usize = 4_000_000;
const MAX_NOT_CHECKED_BYTES: usize = 1_000_000;

/// A verdict on many secrets, with one line per secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The worst verdict, or `incomplete` if some secrets were not checked.
    pub verdict: String,
    /// The secrets that were checked, sorted.
    pub secrets: Vec<Line>,
    /// The secrets for which no time was left, sorted.
    pub not_checked: Vec<String>,
    /// The number of secrets that did not fit into the response. Those that require no attention are omitted first.
    pub truncated: usize,
}

/// The report on one of many secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The secret's ARN, or the requested ID if the secret could not be described.
    pub secret: String,
    /// The worst outcome.
    pub verdict: Outcome,
    /// The checks that require attention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

impl From<Report> for Line {
    fn from(report: Report) -> Self {
        let checks = report.checks.into_iter();
        let checks = checks.filter(|check| check.finding.outcome >= Outcome::Unknown);
        Self {
            secret: report.secret,
            verdict: report.verdict,
            checks: checks.collect(),
        }
    }
}

impl Preflight<'_> {
    /// Checks many secrets concurrently: the fleet, or those that the event names.
    ///
    /// # Errors
    /// Returns an error if the fleet cannot be listed.
    pub async fn run_many(&self, selection: &SecretSelection) -> Result<Summary, Error> {
        let ids = match selection {
            SecretSelection::Ids(ids) => ids.clone(),
            SecretSelection::All => {
                let fleet = self.invocation.fleet().await?;
                fleet.into_iter().map(|secret| secret.arn).collect()
            }
        };
        let checked = process_each(ids, self.invocation.deadline, async |id, deadline| {
            let preflight = Preflight {
                invocation: &self.invocation.with_deadline(deadline),
            };
            let report = preflight.run(id, None).await;
            report.log();
            Line::from(report)
        });
        let (mut lines, mut not_checked) = (Vec::new(), Vec::new());
        for (id, line) in checked.await {
            match line {
                Some(line) => lines.push(line),
                None => not_checked.push(id),
            }
        }
        lines.sort_by(|line: &Line, other| line.secret.cmp(&other.secret));
        not_checked.sort();
        let worst = lines.iter().map(|line| line.verdict).max();
        let verdict = match not_checked.as_slice() {
            [] => worst.unwrap_or(Outcome::Ok).to_string(),
            _ => INCOMPLETE.to_owned(),
        };
        let is_ok = |line: &Line| line.checks.is_empty();
        let (secrets, dropped) = truncate_lines(lines, MAX_LINES_BYTES, is_ok);
        let (not_checked, dropped_ids) =
            truncate_lines(not_checked, MAX_NOT_CHECKED_BYTES, |_| true);
        Ok(Summary {
            verdict,
            secrets,
            not_checked,
            truncated: dropped + dropped_ids,
        })
    }
}
