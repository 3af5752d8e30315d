//! Findings: what requires attention in a secret, according to `ListSecrets`.

use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::keys::policy::PreviousKeyPolicy;
use crate::secret::{Dates, PREVIOUS, SecretMetadata};
use crate::telemetry::FleetCounts;

/// The time from the end of a rotation window until the rotation is overdue. Secrets Manager retries a rotation until the window
/// ends, and a retry may still be in progress then.
const OVERDUE_AFTER: Duration = Duration::from_hours(1);

/// The age at which a secret that was never rotated requires attention. Enabling rotation rotates a secret, unless it is enabled with
/// `RotateImmediately=false`.
const NEVER_ROTATED_AFTER: Duration = Duration::from_hours(24);

/// How long an unchanged secret may have a pending version. A rotation window lasts at most 24 hours, and Secrets Manager retries
/// only during it.
const STUCK_AFTER: Duration = Duration::from_hours(24);

/// The time after the due date during which `retire` without `SecretIds` selects a secret. Later, finishSecret of the next rotation
/// deletes the key.
pub(super) const RETIRE_WINDOW: Duration = Duration::from_hours(48);

/// What requires attention in a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum_macros::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Finding {
    /// `NextRotationDate` and its window ended more than an hour ago.
    Overdue,
    /// Rotation is enabled, and no rotation has succeeded since the secret was created at least 24 hours ago.
    NeverRotated,
    /// Rotation was canceled.
    RotationDisabled,
    /// A version other than the current one has `AWSPENDING`, and the secret has not changed for 24 hours.
    Stuck,
    /// A version is still labeled `AWSPREVIOUS` 48 hours after its key became due for deletion.
    PreviousKeyOverdue,
    /// A resource tag of the secret that begins with `confluent-key-rotation:` is invalid or unknown.
    InvalidPolicyTag,
}

/// All findings.
pub const FINDINGS: [Finding; 6] = [
    Finding::Overdue,
    Finding::NeverRotated,
    Finding::RotationDisabled,
    Finding::Stuck,
    Finding::PreviousKeyOverdue,
    Finding::InvalidPolicyTag,
];

/// Returns the findings of a secret at the time `now`, in seconds since the epoch.
pub fn findings(secret: &SecretMetadata, config: &Config, now: i64) -> Vec<Finding> {
    let dates = &secret.dates;
    let policy = PreviousKeyPolicy::of(secret, config);
    let overlap = policy.as_ref().ok().and_then(|policy| policy.overlap());
    // AWS doesn't document whether this date includes the window, so the window is added.
    let is_overdue = has_passed(dates.next_rotation, dates.window + OVERDUE_AFTER, now);
    let is_never_rotated =
        dates.last_rotated.is_none() && has_passed(dates.created, NEVER_ROTATED_AFTER, now);
    let is_unchanged = has_passed(dates.last_changed, STUCK_AFTER, now);
    let is_past_overlap = |overlap| has_passed(overlap_start(dates), overlap + RETIRE_WINDOW, now);
    let is_found = |finding: &Finding| match finding {
        Finding::Overdue => secret.rotation_enabled && is_overdue,
        Finding::NeverRotated => secret.rotation_enabled && is_never_rotated,
        Finding::RotationDisabled => !secret.rotation_enabled,
        Finding::Stuck => secret.pending_version().is_some() && is_unchanged,
        Finding::PreviousKeyOverdue => {
            secret.version_with(PREVIOUS).is_some() && overlap.is_some_and(is_past_overlap)
        }
        Finding::InvalidPolicyTag => policy.is_err(),
    };
    FINDINGS.into_iter().filter(is_found).collect()
}

/// Counts the secrets of a fleet by their findings.
pub(super) fn count(fleet: &[Vec<Finding>]) -> FleetCounts {
    let with = |finding| {
        fleet
            .iter()
            .filter(|found| found.contains(&finding))
            .count()
    };
    FleetCounts {
        managed: fleet.len(),
        overdue: with(Finding::Overdue),
        stuck: with(Finding::Stuck),
        overdue_keys: with(Finding::PreviousKeyOverdue),
    }
}

/// Returns the start of the overlap, as far as `ListSecrets` shows it: the later of the last rotation and the last change. Until a
/// rotation has ended, `LastRotatedDate` is still that of the rotation before.
pub(super) fn overlap_start(dates: &Dates) -> Option<i64> {
    Some(dates.last_rotated?.max(dates.last_changed?))
}

/// Returns whether `wait` has passed since `date`. An unknown date has not passed.
pub(super) fn has_passed(date: Option<i64>, wait: Duration, now: i64) -> bool {
    let wait = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    date.is_some_and(|date| now >= date.saturating_add(wait))
}
