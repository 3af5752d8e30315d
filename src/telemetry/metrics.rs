//! Metrics for CloudWatch: one line in the embedded metric format at the end of each invocation.
//!
//! There are few dimensions, and none identifies a secret, because each combination of their values is billed as a metric.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "ConfluentKeyRotation";

/// The target of the events that contain metrics. They are written at any log level.
pub const METRICS_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::metrics");

/// The counts of one invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// The requests to Confluent Cloud, retries included.
    pub requests: u64,
    /// The retries.
    pub retries: u64,
    /// The orphaned keys that were deleted.
    pub orphans: u64,
    /// The previous keys that were deleted.
    pub previous_keys: u64,
    /// The keys that the deletion rule keeps. If it keeps all keys of a slot or secret, they count as one. A deletion that was
    /// stopped, or that an invalid resource tag prevents, also counts as one.
    pub kept: u64,
    /// The deletions that failed or whose outcome is unknown.
    pub failed_deletions: u64,
    /// The time from the first probe of the pending key to its verification, in seconds. If there are several, that of the slowest.
    pub propagation_seconds: Option<f64>,
    /// The number of unreachable brokers of all keys, or `None` if no key was verified at brokers.
    pub unreachable_brokers: Option<u64>,
    /// The number of the owner's keys for the resource. If there are several resources, the largest number.
    pub resource_keys: Option<u64>,
    /// The state of the fleet.
    pub fleet: Option<FleetCounts>,
}

/// The numbers of secrets in the fleet: all secrets that name the function as their rotation function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// All secrets.
    pub managed: usize,
    /// The secrets whose rotation is overdue.
    pub overdue: usize,
    /// The secrets whose rotation is stuck.
    pub stuck: usize,
    /// The secrets whose previous key should have been deleted.
    pub overdue_keys: usize,
}

/// The metrics of an invocation in progress.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

impl Metrics {
    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the counts.
    pub fn counts(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes the metrics line. `error` is the name of the error if the step failed.
    pub fn write(&self, function: &str, step: &str, error: Option<&str>) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(&counts, function, step, error);
        // The subscriber enables this target at any level.
        tracing::error!(target: METRICS_TARGET, "{line}");
    }
}

/// Returns the name, unit and value of each metric of the function that was measured.
fn measured(counts: &Counts, is_failed: bool) -> Vec<(&'static str, &'static str, Value)> {
    let propagation = counts.propagation_seconds;
    let fleet = |count: fn(&FleetCounts) -> usize| json!(counts.fleet.as_ref().map(count));
    let mut metrics = vec![
        ("FailedSteps", "Count", json!(u8::from(is_failed))),
        ("ConfluentRequests", "Count", json!(counts.requests)),
        ("ConfluentRetries", "Count", json!(counts.retries)),
        ("OrphanedKeysDeleted", "Count", json!(counts.orphans)),
        ("PreviousKeysDeleted", "Count", json!(counts.previous_keys)),
        ("KeysKept", "Count", json!(counts.kept)),
        ("DeletionsFailed", "Count", json!(counts.failed_deletions)),
        ("PropagationSeconds", "Seconds", json!(propagation)),
        (
            "UnreachableBrokers",
            "Count",
            json!(counts.unreachable_brokers),
        ),
        ("ResourceKeys", "Count", json!(counts.resource_keys)),
        ("SecretsManaged", "Count", fleet(|f| f.managed)),
        ("RotationsOverdue", "Count", fleet(|f| f.overdue)),
        ("RotationsStuck", "Count", fleet(|f| f.stuck)),
        ("PreviousKeysOverdue", "Count", fleet(|f| f.overdue_keys)),
    ];
    metrics.retain(|(_, _, value)| !value.is_null());
    metrics
}

fn line(counts: &Counts, function: &str, step: &str, error: Option<&str>) -> Value {
    let metrics = measured(counts, error.is_some());
    let named = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    let of_function = metrics.iter().map(|(name, unit, _)| named(name, unit));
    let of_function: Vec<Value> = of_function.collect();
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
        for (name, _, value) in metrics {
            members.insert(name.to_owned(), value);
        }
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
    fn a_line_declares_exactly_the_metrics_that_it_contains() {
        let counts = Counts {
            requests: 2,
            retries: 3,
            orphans: 4,
            previous_keys: 6,
            kept: 5,
            failed_deletions: 1,
            propagation_seconds: Some(1.5),
            unreachable_brokers: Some(7),
            resource_keys: Some(9),
            fleet: Some(FleetCounts::default()),
        };

        let line = line(&counts, "rotator", "testSecret", Some("KeyDeletionFailed"));

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
        let mut contained: Vec<&str> = numbers.map(|(name, _)| name.as_str()).collect();
        contained.sort_unstable();
        declared.sort_unstable();
        assert_eq!(declared, contained);
        assert_eq!(line["DeletionsFailed"], 1);
        assert_eq!(line["ResourceKeys"], 9);
    }

    #[test]
    fn a_metric_that_was_not_measured_is_omitted() {
        let line = line(&Counts::default(), "rotator", "setSecret", None);

        assert_eq!(line["Outcome"], "Succeeded");
        for name in ["PropagationSeconds", "ResourceKeys"] {
            assert_eq!(line.get(name), None, "{name}");
            assert!(!line.to_string().contains(name), "{name}");
        }
    }
}
