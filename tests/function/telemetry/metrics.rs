//! Metrics: each step writes one line, at any log level.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::logs::{is_timestamp, logged, logged_at};
use super::*;

/// Returns the metrics lines.
fn metrics(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| is_metrics(line)).collect()
}

fn is_metrics(line: &Value) -> bool {
    line.get("_aws").is_some()
}

/// Returns Confluent's response to a request that it rejects.
fn rejection() -> Response {
    Response::json(400, &json!({"errors": [{"detail": "not now"}]}))
}

#[tokio::test]
async fn every_step_writes_its_metrics() {
    let mut world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = vec![401, 401];
    world.time_limit = AMPLE;

    let (outcome, lines) = logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let metrics = metrics(&lines);
    let steps: Vec<&Value> = metrics.iter().map(|line| &line["Step"]).collect();
    assert_eq!(steps, STEPS);
    for line in &metrics {
        assert_eq!(line["Steps"], 1, "{line:#}");
        assert_eq!(line["FailedSteps"], 0, "{line:#}");
        assert_eq!(line["Outcome"], "Succeeded");
    }
    assert_eq!(metrics[0]["ResourceKeys"], 2);
    let seconds = metrics[2]["PropagationSeconds"].as_f64();
    assert!(seconds > Some(0.0), "{lines:#?}");
    let requests = |line: &&Value| line["ConfluentRequests"].as_u64().unwrap();
    let requests: u64 = metrics.iter().map(requests).sum();
    let to_confluent = world.count(is_to_confluent);
    assert_eq!(requests, to_confluent as u64);
}

/// Lambda omits lines below the configured log level.
#[tokio::test]
async fn metrics_are_written_with_the_configured_log_level() {
    for level in ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] {
        let mut world = World::new(Setting::default()).await;
        world.set_variable("AWS_LAMBDA_LOG_LEVEL", level);

        let (outcome, lines) = logged_at(Some(level), world.rotate()).await;

        assert_eq!(outcome, Outcome::Succeeded, "{level}");
        let metrics = metrics(&lines);
        assert_eq!(metrics.len(), STEPS.len(), "{level}: {lines:#?}");
        for line in metrics {
            assert_eq!(line["level"], level, "{line:#}");
            assert!(is_timestamp(&line["timestamp"]), "{line:#}");
        }
    }
}

#[tokio::test]
async fn at_fatal_a_rotation_writes_only_metrics() {
    let world = World::new(Setting::default()).await;

    let (outcome, lines) = logged_at(Some("FATAL"), world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(lines.len(), STEPS.len(), "{lines:#?}");
    assert!(lines.iter().all(is_metrics), "{lines:#?}");
}

#[tokio::test]
async fn metrics_count_retries_failures_orphans_and_failed_deletions() {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    world.simulator.abandon_rotation(&world.arn);
    world
        .simulator
        .respond_with(1, lists_keys, Response::empty(503));
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    world
        .simulator
        .respond_with(1, lists_keys, Response::empty(503));
    let previous = world.initial_key.clone();
    let deletes_previous =
        move |request: &Request| deletes_a_key(request) && request.name().contains(&previous);
    world
        .simulator
        .respond_with(1, deletes_previous, rejection());

    let (outcome, lines) = logged(world.step("finishSecret")).await;

    assert_eq!(outcome.unwrap_err().error_type, "KeyDeletionFailed");
    let metrics = metrics(&lines);
    let [line] = metrics.as_slice() else {
        panic!("expected one metrics line: {metrics:#?}");
    };
    assert_eq!(line["Outcome"], "KeyDeletionFailed");
    for (name, value) in [
        ("FailedSteps", 1),
        ("ConfluentRetries", 1),
        ("OrphanedKeysDeleted", 1),
        ("DeletionsFailed", 1),
    ] {
        assert_eq!(line[name], value, "{name}: {line:#}");
    }
}

/// It is then unknown whether the key exists.
#[tokio::test]
async fn a_denied_deletion_counts_as_failed_if_the_list_fails_too() {
    let world = World::new(Setting::default()).await;
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let denied = Response::confluent_forbidden();
    world.simulator.respond_with(1, deletes_a_key, denied);
    let lists = AtomicUsize::new(0);
    let is_later_list =
        move |request: &Request| lists_keys(request) && lists.fetch_add(1, Relaxed) > 0;
    world
        .simulator
        .respond_with(usize::MAX, is_later_list, Response::empty(503));

    let (outcome, lines) = logged(world.step("finishSecret")).await;

    assert_eq!(outcome.unwrap_err().error_type, "KeyDeletionFailed");
    assert_eq!(metrics(&lines)[0]["DeletionsFailed"], 1);
}

#[tokio::test]
async fn the_verification_of_the_current_key_does_not_count_as_propagation() {
    let world = World::new(Setting::default()).await;

    let (outcome, lines) = logged(world.test_configuration()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let metrics = metrics(&lines);
    assert_eq!(metrics.len(), 1, "{lines:#?}");
    assert_eq!(metrics[0].get("PropagationSeconds"), None);
}

#[tokio::test]
async fn a_failed_deletion_of_a_key_that_could_not_be_stored_is_counted() {
    let world = World::new(Setting::default()).await;
    let not_stored = Response::aws_error(400, "InvalidRequestException", "not now");
    world
        .simulator
        .respond_with(1, is_operation("PutSecretValue"), not_stored);
    world.simulator.respond_with(1, deletes_a_key, rejection());

    let (outcome, lines) = logged(world.step("createSecret")).await;

    assert_eq!(outcome.unwrap_err().error_type, "SecretsManagerRejected");
    assert_eq!(metrics(&lines)[0]["DeletionsFailed"], 1);
}
