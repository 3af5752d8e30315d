//! `status`: one line per secret of the fleet, from `ListSecrets` alone.
//!
//! No value is read, and nothing is changed.

use std::collections::BTreeMap;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Serialize;

use super::findings::{FINDINGS, Finding, findings};
use crate::config::Config;
use crate::error::Error;
use crate::invocation::Invocation;
use crate::keys::policy::PreviousKeyPolicy;
use crate::secret::{CURRENT, PENDING, PREVIOUS, SecretMetadata, now, truncate_lines};

/// The longest line of a secret without findings, in bytes, so that a response has room for many secrets.
const MAX_LINE_BYTES: usize = 250;

/// The maximum size of all lines, in bytes. A response of Lambda may have 6 MB.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_LINES_BYTES: usize = 5_000_000;

/// The state of the fleet.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The number of secrets.
    pub total: usize,
    /// The number of secrets with each finding.
    pub findings: BTreeMap<String, usize>,
    /// One line per secret, sorted by name.
    pub secrets: Vec<Line>,
    /// The number of secrets whose lines did not fit into the response. Those without findings are omitted first.
    pub truncated: usize,
}

/// The state of one secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The name.
    pub secret: String,
    /// The end of the last rotation that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rotated: Option<String>,
    /// `NextRotationDate`: the next rotation is scheduled to occur on or before this date. After a failure, it may be in the
    /// past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<String>,
    /// The policy for the previous key, unless a resource tag is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The number of hours of the policy `delete-after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<u16>,
    /// The staging labels of each version.
    pub labels: Vec<Vec<String>>,
    /// What requires attention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl Status {
    /// Reports the state of the fleet.
    ///
    /// # Errors
    /// Returns an error if the fleet cannot be listed.
    pub async fn load(invocation: &Invocation<'_>) -> Result<Self, Error> {
        let (fleet, now) = (invocation.fleet().await?, now());
        let mut lines: Vec<Line> = fleet
            .iter()
            .map(|secret| line(secret, invocation.config, now))
            .collect();
        lines.sort_by(|line, other| line.secret.cmp(&other.secret));
        let count = |finding: &Finding| {
            let lines = lines.iter().filter(|line| line.findings.contains(finding));
            (finding.to_string(), lines.count())
        };
        let findings = FINDINGS.iter().map(count).collect();
        let total = lines.len();
        let (secrets, truncated) =
            truncate_lines(lines, MAX_LINES_BYTES, |line| line.findings.is_empty());
        Ok(Self {
            total,
            findings,
            secrets,
            truncated,
        })
    }
}

fn line(secret: &SecretMetadata, config: &Config, now: i64) -> Line {
    let policy = PreviousKeyPolicy::of(secret, config).ok();
    let hours = policy.and_then(|policy| policy.overlap().map(|_| policy.hours));
    let labels = secret.versions().values();
    let labels = labels.map(|labels| labels.iter().cloned().collect());
    let mut labels: Vec<Vec<String>> = labels.collect();
    labels.sort();
    let mut line = Line {
        secret: secret.name.clone(),
        last_rotated: secret.dates.last_rotated.and_then(timestamp),
        next_rotation: secret.dates.next_rotation.and_then(timestamp),
        policy: policy.map(|policy| policy.policy.to_string()),
        hours,
        labels,
        findings: findings(secret, config, now),
    };
    if line.findings.is_empty() {
        line.shorten();
    }
    line
}

impl Line {
    /// Omits custom staging labels, then truncates the name, if the line is too long.
    fn shorten(&mut self) {
        let excess = |line: &Self| {
            let length = serde_json::to_string(line).map_or(0, |line| line.len());
            length.saturating_sub(MAX_LINE_BYTES)
        };
        if excess(self) > 0 {
            let is_managed =
                |label: &String| [CURRENT, PENDING, PREVIOUS].contains(&label.as_str());
            self.labels
                .iter_mut()
                .for_each(|labels| labels.retain(is_managed));
            self.labels.retain(|labels| !labels.is_empty());
        }
        let excess = excess(self);
        if excess > 0 {
            const ELLIPSIS: &str = "...";
            let kept = self.secret.len().saturating_sub(excess + ELLIPSIS.len());
            // Names are ASCII, so every index is a character boundary.
            self.secret.truncate(kept);
            self.secret.push_str(ELLIPSIS);
        }
    }
}

/// Formats a time in seconds since the epoch as RFC 3339.
fn timestamp(seconds: i64) -> Option<String> {
    DateTime::from_secs(seconds).fmt(Format::DateTime).ok()
}
