//! Log events of libraries, which may contain events, bodies and responses.

use super::*;

#[tokio::test]
async fn at_the_lowest_level_no_library_logs_below_warn() {
    let world = World::new(Setting::default()).await;
    let log = CapturedLog::start();

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let output = log.output();
    let lines = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let detailed: Vec<Value> = lines
        .filter(|line: &Value| line["level"] == "DEBUG" || line["level"] == "TRACE")
        .filter(|line| line.get("_aws").is_none())
        .collect();
    assert!(!detailed.is_empty(), "{output}");
    for line in detailed {
        let is_ours = ["request", "probed the pending key"].map(Value::from);
        assert!(is_ours.contains(&line["message"]), "{line}");
    }
}

#[test]
fn events_of_other_libraries_are_not_logged() {
    let log = CapturedLog::start();

    tracing::trace!(target: "lambda_runtime::layers::trace", "an event at trace");
    tracing::debug!(target: "aws_smithy_runtime::client", "a body at debug");
    tracing::info!(target: "hyper_util::client", "a connection at info");
    tracing::info!(target: "confluent_key", "another crate at info");
    tracing::warn!(target: "aws_smithy_runtime", "a response at warn");
    tracing::error!(target: "reqwest", "an error of a library");
    tracing::warn!(target: "lambda_runtime", "a warning");
    tracing::error!(target: "lambda_runtime", "an error");

    let output = log.output();
    assert_eq!(output.lines().count(), 2, "{output}");
    assert!(output.contains("a warning"), "{output}");
    assert!(output.contains("an error"), "{output}");
}
