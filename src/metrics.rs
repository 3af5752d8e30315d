//! What an invocation counts, for CloudWatch: one line in the embedded metric format, at its end.
//!
//! Dimensions are few, and no secret is one: each combination of their values is a metric that is paid for.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "ConfluentKeyRotation";

/// The target of the events that hold a line: it is printed as it is, whatever is logged.
pub const TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::metrics");

/// What one invocation counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests to Confluent Cloud, control plane and data planes, with those sent again.
    pub requests: u64,
    /// Those sent again.
    pub retries: u64,
    /// Keys of this secret that were deleted before or after another was made, but for the one that was replaced: what was
    /// left over, and under `keep-until-next-rotation` the key two rotations old.
    pub swept: u64,
    /// Whether a key could not be deleted, or not be told from a deleted one.
    pub deferred: bool,
    /// For how many seconds the new key was tried before it was accepted.
    pub propagation: Option<f64>,
    /// How many keys the owner has, and how many it may have by default.
    pub owner_keys: Option<(u64, u64)>,
}

/// The counts of an invocation that is under way.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

impl Metrics {
    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Prints the line: the counts so far, and how the step ended, by the error's name if it failed.
    pub fn print(&self, function: &str, step: &str, error: Option<&str>) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(&counts, function, step, error);
        // At the level of errors, so that it is there whatever level is configured.
        tracing::error!(target: TARGET, "{line}");
    }
}

fn line(counts: &Counts, function: &str, step: &str, error: Option<&str>) -> Value {
    let (failed, deferred) = (u8::from(error.is_some()), u8::from(counts.deferred));
    let mut metrics = vec![
        ("FailedSteps", "Count", json!(failed)),
        ("ConfluentRequests", "Count", json!(counts.requests)),
        ("ConfluentRetries", "Count", json!(counts.retries)),
        ("KeysSwept", "Count", json!(counts.swept)),
        ("DeletionsDeferred", "Count", json!(deferred)),
    ];
    if let Some(seconds) = counts.propagation {
        metrics.push(("PropagationSeconds", "Seconds", json!(seconds)));
    }
    if let Some((keys, quota)) = counts.owner_keys {
        metrics.push(("OwnerKeys", "Count", json!(keys)));
        let percent = keys.saturating_mul(100) / quota.max(1);
        metrics.push(("OwnerKeysPercentOfQuota", "Percent", json!(percent)));
    }
    let named = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    let of_function: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| named(name, unit))
        .collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": epoch_milliseconds(),
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": of_function},
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["FunctionName", "Step", "Outcome"]],
                    "Metrics": [named("Steps", "Count")],
                },
            ],
        },
        "FunctionName": function,
        "Step": step,
        "Outcome": error.unwrap_or("Succeeded"),
        "Steps": 1,
    });
    if let Value::Object(members) = &mut line {
        members.extend(
            metrics
                .into_iter()
                .map(|(name, _, value)| (name.to_owned(), value)),
        );
    }
    line
}

fn epoch_milliseconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_declares_every_metric_that_it_holds_and_no_other() {
        let counts = Counts {
            propagation: Some(1.5),
            owner_keys: Some((9, 10)),
            deferred: true,
            ..Counts::default()
        };

        let line = line(&counts, "rotator", "testSecret", Some("KeyNotDeleted"));

        let mut declared = Vec::new();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], NAMESPACE);
            let dimensions = directive["Dimensions"][0].as_array().unwrap();
            assert!(
                dimensions
                    .iter()
                    .all(|name| line[name.as_str().unwrap()].is_string())
            );
            let metrics = directive["Metrics"].as_array().unwrap();
            declared.extend(
                metrics
                    .iter()
                    .map(|metric| metric["Name"].as_str().unwrap()),
            );
        }
        let members = line.as_object().unwrap();
        let numbers = members.iter().filter(|(_, value)| value.is_number());
        let mut held: Vec<&str> = numbers.map(|(name, _)| name.as_str()).collect();
        held.sort_unstable();
        declared.sort_unstable();
        assert_eq!(declared, held);
        assert_eq!(line["DeletionsDeferred"], 1);
        assert_eq!(line["OwnerKeysPercentOfQuota"], 90);
    }

    #[test]
    fn what_was_not_measured_is_not_in_the_line() {
        let line = line(&Counts::default(), "rotator", "setSecret", None);

        assert_eq!(line["Outcome"], "Succeeded");
        for name in ["PropagationSeconds", "OwnerKeys", "OwnerKeysPercentOfQuota"] {
            assert_eq!(line.get(name), None, "{name}");
            assert!(!line.to_string().contains(name), "{name}");
        }
    }
}
