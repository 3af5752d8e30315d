//! The dates of a secret's rotation, as `DescribeSecret` and `ListSecrets` return them.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_secretsmanager::types::RotationRulesType;
use aws_smithy_types::DateTime;

/// The dates of a secret's rotation, in seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// `CreatedDate`: when the secret was created.
    pub created: Option<i64>,
    /// `LastChangedDate`: when the secret was last modified in any way.
    pub last_changed: Option<i64>,
    /// `LastRotatedDate`: the end of the last rotation that succeeded.
    pub last_rotated: Option<i64>,
    /// `NextRotationDate`: the next rotation is scheduled to occur on or before this date. After a failure, it may be in the
    /// past.
    pub next_rotation: Option<i64>,
    /// The length of the rotation window.
    pub window: Duration,
}

impl Dates {
    /// Returns the time from the last rotation to the next one, or `None` if it is unknown.
    pub fn interval(&self) -> Option<Duration> {
        let seconds = self.next_rotation?.checked_sub(self.last_rotated?)?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Returns the time in seconds since the epoch, rounded up, so that no interval since then is overestimated.
pub(super) fn seconds(date: &DateTime) -> i64 {
    date.secs()
        .saturating_add(i64::from(date.subsec_nanos() > 0))
}

/// Returns the current time in seconds since the epoch.
pub fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since_epoch.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Returns the length of the rotation window. Without `Duration`, a window lasts an hour if the schedule is in hours, and
/// otherwise until the end of the day, which is at most 24 hours.
pub(super) fn window(rules: Option<&RotationRulesType>) -> Duration {
    let hours = rules.and_then(RotationRulesType::duration);
    let hours: Option<u64> = hours.and_then(|duration| duration.strip_suffix('h')?.parse().ok());
    if let Some(hours) = hours {
        return Duration::from_hours(hours);
    }
    let schedule = rules.and_then(RotationRulesType::schedule_expression);
    let is_in_hours = schedule.is_some_and(|schedule| match schedule.strip_prefix("cron(") {
        // A wildcard, list, range or step of hours means more than one rotation a day.
        Some(fields) => fields
            .split_whitespace()
            .nth(1)
            .is_some_and(|hours| hours.contains(['*', '/', ',', '-'])),
        None => schedule.contains("hour"),
    });
    if is_in_hours { HOUR } else { DAY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lasts_as_long_as_its_rules_say() {
        for (schedule, duration, hours) in [
            (None, None, 24),
            (None, Some("3h"), 3),
            (None, Some("never"), 24),
            (Some("rate(4 hours)"), None, 1),
            (Some("rate(4 hours)"), Some("2h"), 2),
            (Some("rate(30 days)"), None, 24),
            (Some("rate(1 day)"), Some("10h"), 10),
            (Some("cron(0 */8 * * ? *)"), None, 1),
            (Some("cron(0 6,18 ? * * *)"), None, 1),
            (Some("cron(0 16 1 * ? *)"), None, 24),
        ] {
            let rules = RotationRulesType::builder();
            let rules = rules
                .set_schedule_expression(schedule.map(str::to_owned))
                .set_duration(duration.map(str::to_owned))
                .build();

            let window = window(Some(&rules));

            assert_eq!(
                window,
                Duration::from_hours(hours),
                "{schedule:?} {duration:?}"
            );
        }
        assert_eq!(window(None), DAY);
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_up() {
        assert_eq!(seconds(&DateTime::from_secs_f64(5.0)), 5);
        assert_eq!(seconds(&DateTime::from_secs_f64(5.25)), 6);
    }
}
