//! What the function logs: for each step one line with its outcome, and the fields that a search needs.

use std::io;
use std::sync::{Arc, Mutex};

use confluent_key_rotation::config::Logging;
use confluent_key_rotation::logging;

use super::*;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `future` logs, with its outcome. It has to run on one thread.
async fn logged_as<T>(settings: &[(&str, &str)], future: impl Future<Output = T>) -> (T, String) {
    let setting = |name: &str| {
        let (_, value) = settings.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = logging::subscriber(Logging::read(setting).expect("settings"), move || {
        writer.clone()
    });
    let guard = tracing::subscriber::set_default(subscriber);
    let outcome = future.await;
    drop(guard);
    let text = log.0.lock().expect("no writer panics").clone();
    (outcome, String::from_utf8(text).expect("UTF-8"))
}

/// What `future` logs as it is configured by default, line by line, with its outcome.
pub(crate) fn logged<'a, T: 'a>(
    future: impl Future<Output = T> + 'a,
) -> impl Future<Output = (T, Vec<Value>)> + 'a {
    // Futures of whole rotations are too large for the stack.
    let future = Box::pin(future);
    async {
        let (outcome, text) = logged_as(&[], future).await;
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line));
        (outcome, lines.collect())
    }
}

/// The lines that tell an outcome.
fn outcomes(lines: &[Value]) -> Vec<&Value> {
    lines
        .iter()
        .filter(|line| line.get("outcome").is_some())
        .collect()
}

#[tokio::test]
async fn each_step_logs_its_outcome_once_with_what_it_was_about() {
    let world = World::new(Setting::default()).await;
    let token = world.token();

    let (outcome, lines) = logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let outcomes = outcomes(&lines);
    assert_eq!(
        outcomes
            .iter()
            .map(|line| &line["step"])
            .collect::<Vec<_>>(),
        STEPS
    );
    let current = world.key("AWSCURRENT").unwrap();
    for line in outcomes {
        for (field, value) in [
            ("level", "INFO"),
            ("outcome", "succeeded"),
            ("secret_id", world.arn.as_str()),
            ("version_id", token.as_str()),
            ("old_key_id", world.first_key.as_str()),
            ("new_key_id", current.as_str()),
        ] {
            assert_eq!(line[field], value, "{line:#}");
        }
        let time = line["timestamp"].as_str().unwrap();
        assert!(
            time.ends_with('Z') && time.as_bytes()[10] == b'T',
            "{line:#}"
        );
        assert!(
            line["request_id"].as_str().unwrap().starts_with("request-"),
            "{line:#}"
        );
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line:#}");
    }
}

#[tokio::test]
async fn each_step_logs_the_kind_and_who_signs_if_something_is_signed() {
    for (kind, mode, named, signs) in [
        (Kind::Kafka, Mode::Admin, "kafka", "admin"),
        (
            Kind::SchemaRegistry,
            Mode::Admin,
            "schema-registry",
            "admin",
        ),
        (Kind::Cloud, Mode::Own, "cloud", "self"),
    ] {
        let world = World::new(Setting {
            kind,
            mode,
            ..Setting::default()
        })
        .await;

        let (_, lines) = logged(world.rotate()).await;

        let outcomes = outcomes(&lines);
        assert_eq!(outcomes.len(), STEPS.len(), "{kind:?}");
        for line in outcomes {
            let signs = (line["step"] != "setSecret").then_some(signs);
            assert_eq!(line["kind"], named, "{line:#}");
            assert_eq!(line["mode"], json!(signs), "{line:#}");
        }
    }
}

#[tokio::test]
async fn a_failure_is_logged_once_as_an_error_with_its_name() {
    let world = World::new(Setting::default()).await;
    world.edit(|value| value["resourceId"] = json!("lkc-other"));

    let (error, lines) = logged(world.refusal("createSecret", "another cluster's key")).await;

    let outcomes = outcomes(&lines);
    assert_eq!(outcomes.len(), 1, "{lines:#?}");
    assert_eq!(outcomes[0]["level"], "ERROR");
    assert_eq!(outcomes[0]["outcome"], "failed");
    assert_eq!(outcomes[0]["error_type"], error.error_type);
    assert_eq!(outcomes[0]["message"], error.error_message);
    assert_eq!(outcomes[0]["step"], "createSecret");
}

#[tokio::test]
async fn a_failure_keeps_its_fields_when_only_errors_are_logged() {
    for level in ["ERROR", "FATAL"] {
        let world = World::new(Setting::default()).await;
        world.edit(|value| value["resourceId"] = json!("lkc-other"));
        let failing = world.refusal("createSecret", "another cluster's key");

        let (_, text) = logged_as(&[("AWS_LAMBDA_LOG_LEVEL", level)], failing).await;

        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["secret_id"], world.arn, "{level}");
        assert_eq!(line["old_key_id"], world.first_key, "{level}");
        assert_eq!(line["kind"], "kafka", "{level}");
    }
}

#[tokio::test]
async fn deleted_keys_are_logged_by_their_ids() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    let left_over = world.key("AWSPENDING").unwrap();
    world.simulator.abandon(&world.arn);

    let (_, lines) = logged(world.rotate()).await;

    let deleted: Vec<_> = lines
        .iter()
        .filter_map(|line| line.get("deleted_key_id"))
        .collect();
    assert_eq!(deleted, [&json!(left_over), &json!(world.first_key)]);
}

#[tokio::test]
async fn an_event_that_is_none_is_logged_without_being_quoted() {
    let world = World::new(Setting::default()).await;
    let quoted = "hunter2";
    for payload in [
        json!(quoted),
        json!([quoted]),
        json!({"Step": quoted, "SecretId": quoted, "ClientRequestToken": quoted, "RotationToken": quoted}),
        json!({quoted: quoted}),
    ] {
        let invoked = world.invoke(payload.clone());

        let (outcome, text) = logged_as(&[("AWS_LAMBDA_LOG_LEVEL", "TRACE")], invoked).await;

        assert!(text.contains("InvalidEvent"), "{text}");
        assert!(
            !text.contains(quoted) && !format!("{outcome:?}").contains(quoted),
            "{text}"
        );
    }
}

#[tokio::test]
async fn lines_of_text_carry_the_same_fields() {
    let world = World::new(Setting::default()).await;
    world.edit(|value| value["resourceId"] = json!("lkc-other"));
    let failing = world.refusal("createSecret", "another cluster's key");

    let (_, text) = logged_as(&[("AWS_LAMBDA_LOG_FORMAT", "Text")], failing).await;

    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in [
        "ERROR",
        "createSecret",
        &world.arn,
        &world.first_key,
        "CurrentKeyOfOtherResource",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_line_of_text_carries_each_field_once() {
    let world = World::new(Setting::default()).await;

    let (_, text) = logged_as(&[("AWS_LAMBDA_LOG_FORMAT", "Text")], world.rotate()).await;

    for line in text.lines().filter(|line| line.contains("outcome=")) {
        for field in ["step=", "mode=", "kind=", "old_key_id=", "new_key_id="] {
            assert!(line.matches(field).count() <= 1, "{field}: {line}");
        }
    }
}

/// The lines of metrics among `lines`.
fn metrics(lines: &[Value]) -> Vec<&Value> {
    let has_metrics = |line: &&Value| line.get("_aws").is_some();
    lines.iter().filter(has_metrics).collect()
}

#[tokio::test]
async fn every_step_prints_its_metrics_whatever_is_logged() {
    let mut world = World::new(Setting::default()).await;
    world.simulator.state().knobs.settling = vec![401, 401];
    world.time_limit = AMPLE;

    let (outcome, text) = logged_as(
        &[("AWS_LAMBDA_LOG_LEVEL", "FATAL")],
        Box::pin(world.rotate()),
    )
    .await;

    assert_eq!(outcome, Outcome::Succeeded);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let metrics = metrics(&lines);
    assert_eq!(
        metrics.len(),
        lines.len(),
        "nothing else is printed: {text}"
    );
    let steps: Vec<&str> = metrics
        .iter()
        .map(|line| line["Step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, STEPS);
    for line in &metrics {
        assert_eq!(
            (&line["Steps"], &line["FailedSteps"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(line["Outcome"], "Succeeded");
    }
    assert_eq!(metrics[0]["OwnerKeys"], 2);
    assert_eq!(metrics[0]["OwnerKeysPercentOfQuota"], 2);
    assert!(
        metrics[2]["PropagationSeconds"].as_f64() > Some(0.0),
        "{text}"
    );
    let requests: u64 = metrics
        .iter()
        .map(|line| line["ConfluentRequests"].as_u64().unwrap())
        .sum();
    let to_confluent = world.count(|request| request.plane != Plane::SecretsManager);
    assert_eq!(requests, to_confluent as u64);
}

#[tokio::test]
async fn metrics_count_repeats_failures_sweeps_and_keys_that_could_not_be_deleted() {
    let world = World::new(Setting::default()).await;
    world.pass(&["createSecret"]).await;
    world.simulator.abandon(&world.arn);
    world.simulator.answer(1, lists_keys, Answer::empty(503));
    world
        .pass(&["createSecret", "setSecret", "testSecret"])
        .await;
    world.simulator.answer(1, lists_keys, Answer::empty(503));
    let old = world.first_key.clone();
    let is_old = move |request: &Request| deletes_a_key(request) && request.label().contains(&old);
    let refused = Answer::json(400, &json!({"errors": [{"detail": "not now"}]}));
    world.simulator.answer(1, is_old, refused);

    let (outcome, lines) = logged(world.step("finishSecret")).await;

    assert_eq!(outcome.unwrap_err().error_type, "KeyNotDeleted");
    let metrics = metrics(&lines);
    let [line] = metrics.as_slice() else {
        panic!("one line of metrics: {metrics:#?}");
    };
    assert_eq!(line["Outcome"], "KeyNotDeleted");
    for (name, value) in [
        ("FailedSteps", 1),
        ("ConfluentRetries", 1),
        ("KeysSwept", 1),
        ("DeletionsDeferred", 1),
    ] {
        assert_eq!(line[name], value, "{name}: {line:#}");
    }
}

/// Whether the key is gone cannot be told then, so it counts as one that is still there.
#[tokio::test]
async fn a_deletion_that_is_refused_is_reported_as_that_if_the_list_fails_too() {
    let world = World::new(Setting::default()).await;
    world
        .pass(&["createSecret", "setSecret", "testSecret"])
        .await;
    let refusal = Answer::confluent_forbidden();
    world.simulator.answer(1, deletes_a_key, refusal);
    let lists = std::sync::atomic::AtomicUsize::new(0);
    let all_but_the_first =
        move |request: &Request| lists_keys(request) && lists.fetch_add(1, Relaxed) > 0;
    world
        .simulator
        .answer(usize::MAX, all_but_the_first, Answer::empty(503));

    let (outcome, lines) = logged(world.step("finishSecret")).await;

    assert_eq!(outcome.unwrap_err().error_type, "KeyNotDeleted");
    assert_eq!(metrics(&lines)[0]["DeletionsDeferred"], 1);
}

#[tokio::test]
async fn a_trial_of_the_current_key_is_not_taken_for_the_propagation_of_a_new_one() {
    let world = World::new(Setting::default()).await;

    let (outcome, lines) = logged(world.test_only()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let metrics = metrics(&lines);
    assert_eq!(metrics.len(), 1, "{lines:#?}");
    assert_eq!(metrics[0].get("PropagationSeconds"), None);
}

/// The key was made for a rotation that somebody has ended, and Confluent does not delete it.
#[tokio::test]
async fn a_new_key_that_cannot_be_deleted_again_is_counted() {
    let world = World::new(Setting::default()).await;
    let refused = Answer::json(400, &json!({"errors": [{"detail": "not now"}]}));
    world.simulator.answer(1, deletes_a_key, refused);
    let cancel = async || world.simulator.cancel_rotation(&world.arn);

    let step = world.step_while("createSecret", makes_a_key, cancel);
    let (outcome, lines) = logged(step).await;

    assert_eq!(outcome.unwrap_err().error_type, "RotationNotEnabled");
    assert_eq!(metrics(&lines)[0]["DeletionsDeferred"], 1);
}
