//! The rotation schedule: when the next rotation is due. The simulator starts no rotation by itself.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>

use serde_json::Value;

use super::{Secret, epoch_seconds};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

impl Secret {
    /// Counts the interval of the rotation rules from now. The simulator does not evaluate `cron()`.
    pub(crate) fn schedule_next_rotation(&mut self) {
        let interval = self.attributes.rotation_rules.as_ref().and_then(interval);
        if let Some(interval) = interval {
            self.next_rotation = Some(epoch_seconds() + interval);
        }
    }
}

/// Returns the interval of rotation rules, in seconds.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
fn interval(rules: &Value) -> Option<f64> {
    if let Some(days) = rules["AutomaticallyAfterDays"].as_f64() {
        return Some(days * DAY);
    }
    let rate = rules["ScheduleExpression"].as_str()?;
    let rate = rate.strip_prefix("rate(")?.strip_suffix(')')?;
    let (number, unit) = rate.split_once(' ')?;
    let unit = match unit {
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        _ => return None,
    };
    Some(f64::from(number.parse::<u32>().ok()?) * unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_interval_of_days_and_of_a_rate_is_known() {
        for (rules, expected) in [
            (json!({ "AutomaticallyAfterDays": 7 }), Some(7.0 * DAY)),
            (json!({ "ScheduleExpression": "rate(1 day)" }), Some(DAY)),
            (
                json!({ "ScheduleExpression": "rate(10 days)", "Duration": "2h" }),
                Some(10.0 * DAY),
            ),
            (
                json!({ "ScheduleExpression": "rate(4 hours)" }),
                Some(4.0 * HOUR),
            ),
            (json!({ "ScheduleExpression": "rate(4 weeks)" }), None),
            (json!({ "ScheduleExpression": "cron(0 8 1 * ? *)" }), None),
            (json!({}), None),
        ] {
            assert_eq!(interval(&rules), expected, "{rules}");
        }
    }
}
