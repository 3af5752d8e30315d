//! Logs: each step writes one line about its outcome, with the fields that a search needs.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use confluent_key_rotation::config::read_log_level;
use confluent_key_rotation::telemetry::logging;

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

/// While there is only one subscriber, `tracing` asks the default of the thread that reaches an event first whether the event is
/// of interest, and that may be a thread of another test without a subscriber.
pub(crate) static SECOND_SUBSCRIBER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Runs `future` on this thread. Returns its output and the lines that it logs at `level`, or at the default level.
pub(super) async fn logged_at<T>(
    level: Option<&str>,
    future: impl Future<Output = T>,
) -> (T, Vec<Value>) {
    let variable = |name: &str| match name {
        "AWS_LAMBDA_LOG_LEVEL" => level.map(str::to_owned),
        _ => None,
    };
    LazyLock::force(&SECOND_SUBSCRIBER);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = logging::subscriber(read_log_level(variable), move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    // On the heap: the future of a rotation is too large for the stack.
    let output = Box::pin(future).await;
    drop(guard);
    let bytes = log.0.lock().expect("no writer panics").clone();
    let lines = String::from_utf8(bytes).expect("UTF-8");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    (output, lines.collect())
}

/// Runs `future` and returns its output and the lines that it logs at the default level.
pub(crate) fn logged<'a, T: 'a>(
    future: impl Future<Output = T> + 'a,
) -> impl Future<Output = (T, Vec<Value>)> + 'a {
    logged_at(None, Box::pin(future))
}

/// Returns the lines about the outcome of a step.
fn outcomes(lines: &[Value]) -> Vec<&Value> {
    let has_outcome = |line: &&Value| line.get("outcome").is_some();
    lines.iter().filter(has_outcome).collect()
}

/// Whether the step sends requests. `setSecret` does not, so it does not know the secret's keys.
fn sends_requests(line: &Value) -> bool {
    line["step"] != "setSecret"
}

pub(super) fn is_timestamp(value: &Value) -> bool {
    let is_utc = |time: &str| time.ends_with('Z') && time.as_bytes().get(10) == Some(&b'T');
    value.as_str().is_some_and(is_utc)
}

#[tokio::test]
async fn each_step_logs_its_outcome_once() {
    let world = World::new(Setting::default()).await;
    let token = world.token();

    let (outcome, lines) = logged(world.rotate()).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let outcomes = outcomes(&lines);
    let steps: Vec<&Value> = outcomes.iter().map(|line| &line["step"]).collect();
    assert_eq!(steps, STEPS);
    for line in outcomes {
        for (field, value) in [
            ("level", "INFO"),
            ("outcome", "succeeded"),
            ("secret_id", world.arn.as_str()),
            ("version_id", token.as_str()),
        ] {
            assert_eq!(line[field], value, "{line:#}");
        }
        assert!(is_timestamp(&line["timestamp"]), "{line:#}");
        let request_id = line["request_id"].as_str().unwrap();
        assert!(request_id.starts_with("request0-"), "{line:#}");
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line:#}");
    }
}

#[tokio::test]
async fn each_step_that_sends_requests_logs_the_ids_of_both_keys() {
    let world = World::new(Setting::default()).await;

    let (_, lines) = logged(world.rotate()).await;

    let outcomes = outcomes(&lines);
    assert_eq!(outcomes.len(), STEPS.len());
    let pending = world.key("AWSCURRENT").unwrap();
    for line in outcomes {
        let known = |id: &str| json!(sends_requests(line).then_some(id));
        let previous = known(&world.initial_key);
        assert_eq!(line["previous_key_id"], previous, "{line:#}");
        assert_eq!(line["pending_key_id"], known(&pending), "{line:#}");
    }
}

#[tokio::test]
async fn a_resumed_finish_secret_logs_the_ids_of_both_keys() {
    let world = World::new(Setting::default()).await;
    world
        .run_steps(&["createSecret", "setSecret", "testSecret"])
        .await;
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "finishSecret");
    world
        .simulator
        .respond_with(usize::MAX, deletes_a_key, Response::empty(403));
    world.invoke(event.clone()).await.unwrap_err();

    let (_, lines) = logged(world.invoke(event)).await;

    let outcome = outcomes(&lines)[0];
    let current = world.key("AWSCURRENT").unwrap();
    assert_eq!(outcome["pending_key_id"], current, "{outcome:#}");
    assert_eq!(outcome["previous_key_id"], world.initial_key, "{outcome:#}");
}

#[tokio::test]
async fn each_step_that_sends_requests_logs_the_key_type_and_the_mode() {
    for (key_type, mode, key_type_name, mode_name) in [
        (KeyType::Kafka, Mode::Admin, "kafka", "admin"),
        (
            KeyType::SchemaRegistry,
            Mode::Admin,
            "schema-registry",
            "admin",
        ),
        (KeyType::Cloud, Mode::SelfRotation, "cloud", "self"),
    ] {
        let world = World::new(Setting {
            key_type,
            mode,
            ..Setting::default()
        })
        .await;

        let (_, lines) = logged(world.rotate()).await;

        let outcomes = outcomes(&lines);
        assert_eq!(outcomes.len(), STEPS.len(), "{key_type:?}");
        for line in outcomes {
            let known = |name: &str| json!(sends_requests(line).then_some(name));
            assert_eq!(line["key_type"], known(key_type_name), "{line:#}");
            assert_eq!(line["mode"], known(mode_name), "{line:#}");
        }
    }
}

#[tokio::test]
async fn a_failed_step_is_logged_once_as_an_error_with_its_name() {
    let world = World::new(Setting::default()).await;
    world.change_value(|value| value["resourceId"] = json!("lkc-other"));

    let (error, lines) = logged(world.step_error("createSecret", "another cluster's key")).await;

    let outcomes = outcomes(&lines);
    assert_eq!(outcomes.len(), 1, "{lines:#?}");
    assert_eq!(outcomes[0]["level"], "ERROR");
    assert_eq!(outcomes[0]["outcome"], "failed");
    assert_eq!(outcomes[0]["error_type"], error.error_type);
    assert_eq!(outcomes[0]["message"], error.error_message);
    assert_eq!(outcomes[0]["step"], "createSecret");
}

#[tokio::test]
async fn a_failed_step_is_logged_with_all_fields_at_the_highest_log_levels() {
    for level in ["ERROR", "FATAL"] {
        let world = World::new(Setting::default()).await;
        world.change_value(|value| value["resourceId"] = json!("lkc-other"));
        let failed = world.step_error("createSecret", "another cluster's key");

        let (_, lines) = logged_at(Some(level), failed).await;

        let line = &lines[0];
        assert_eq!(line["secret_id"], world.arn, "{level}");
        assert_eq!(line["previous_key_id"], world.initial_key, "{level}");
        assert_eq!(line["key_type"], "kafka", "{level}");
    }
}

#[tokio::test]
async fn deleted_keys_are_logged_by_their_ids() {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret"]).await;
    let orphan = world.key("AWSPENDING").unwrap();
    world.simulator.abandon_rotation(&world.arn);

    let (_, lines) = logged(world.rotate()).await;

    let ids = lines.iter().filter_map(|line| line.get("deleted_key_id"));
    let expected = [json!(world.initial_key), json!(orphan)];
    assert_eq!(ids.collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

/// Returns the lines that the filter of the dashboard's table "Deleted keys and warnings" selects.
fn deletions_and_warnings(lines: &[Value]) -> Vec<&Value> {
    let template = include_str!("../../../template.yaml");
    let (_, table) = template
        .split_once(r#""Deleted keys and warnings""#)
        .unwrap();
    let (_, filter) = table.split_once("| filter ").unwrap();
    let (filter, _) = filter.split_once(r"\n").unwrap();
    let is_selected = |line: &&Value| {
        filter
            .split(" and ")
            .all(|condition| is_met(line, condition))
    };
    lines.iter().filter(is_selected).collect()
}

/// Returns whether a line meets a condition of a query in CloudWatch Logs Insights, as far as the dashboard uses its language.
fn is_met(line: &Value, condition: &str) -> bool {
    let arguments = |function: &str| condition.strip_prefix(function)?.strip_suffix(')');
    if let Some(condition) = condition.strip_prefix("not ") {
        return !is_met(line, condition);
    }
    if let Some(alternatives) = arguments("(") {
        return alternatives
            .split(" or ")
            .any(|condition| is_met(line, condition));
    }
    if let Some((field, value)) = condition.split_once(" != ") {
        return line[field] != json!(value.trim_matches('\''));
    }
    if let Some((field, part)) = arguments("strcontains(").and_then(|it| it.split_once(", ")) {
        return line[field]
            .as_str()
            .unwrap()
            .contains(part.trim_matches('\''));
    }
    line.get(arguments("ispresent(").expect(condition))
        .is_some()
}

#[tokio::test]
async fn the_table_of_deletions_and_warnings_contains_nothing_else() {
    let world = World::new(Setting::default()).await;
    world.change_value(|value| {
        let secret = value["apiSecret"].as_str().unwrap();
        value["jaas"] = json!(format!("PlainLoginModule required password={secret};"));
    });
    let admin = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let admin = admin.as_str().unwrap();
    let rotating_admin_secret = async || {
        let previous = world
            .simulator
            .state()
            .secret(admin)
            .key_id("AWSCURRENT")
            .map(str::to_owned);
        let (id, secret) = world.simulator.add_key(ADMIN, None, None);
        let value = json!({"apiKey": id, "apiSecret": secret});
        world.simulator.store_manually(admin, &value.to_string());
        world.simulator.delete_key_manually(&previous.unwrap());
    };
    let event = json!({"Step": "preflight", "SecretId": world.arn});

    let ((), lines) = logged(async {
        world.invoke(event).await.unwrap();
        assert_eq!(world.test_configuration().await, Outcome::Succeeded);
        let created = world.step_while("createSecret", creates_a_key, rotating_admin_secret);
        created.await.unwrap();
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    })
    .await;

    let logged = |message: &str| lines.iter().any(|line| line["message"] == message);
    assert!(logged("preflight report") && logged("the admin secret was rotated"));
    let is_row = |line: &&Value| line["level"] == "WARN" || line.get("deleted_key_id").is_some();
    let expected: Vec<&Value> = lines.iter().filter(is_row).collect();
    assert!(expected.len() > 2, "{expected:#?}");
    assert_eq!(deletions_and_warnings(&lines), expected);
}

/// The table omits findings, errors and secrets with nothing to delete.
#[tokio::test]
async fn the_table_of_deletions_and_warnings_contains_the_keys_of_retire() {
    const OVERLAP: Duration = Duration::from_hours(25);
    let world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..Setting::default()
    })
    .await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let named = json!({"Step": "retire", "SecretIds": [world.arn]});
    let (simulator, hours) = (&world.simulator, "confluent-key-rotation:old-key-hours");

    let ((), lines) = logged(async {
        world.invoke(named.clone()).await.unwrap();
        simulator.pass(OVERLAP);
        world.set_tag(hours, "a day");
        world.invoke(json!({"Step": "retire"})).await.unwrap();
        world.invoke(named.clone()).await.unwrap_err();
        world.set_tag(hours, "24");
        simulator.add_replica(&world.arn, "us-west-2", "InProgress");
        world.invoke(named.clone()).await.unwrap();
        simulator.state().secret_mut(&world.arn).replicas.clear();
        world.invoke(named).await.unwrap();
    })
    .await;

    for message in ["secret with findings", "scheduled deletion"] {
        assert!(lines.iter().any(|line| line["message"] == message));
    }
    assert!(
        lines
            .iter()
            .any(|line| line["error_type"] == "InvalidPolicyTag")
    );
    let messages = deletions_and_warnings(&lines);
    let messages: Vec<&Value> = messages.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["kept all keys of the secret", "deleted a key"]);
}

#[tokio::test]
async fn the_verification_of_the_pending_key_logs_its_probes_and_seconds() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = vec![401, 401];

    let (_, lines) = logged(world.rotate()).await;

    let mut lines = lines.iter();
    let is_verified = |line: &&Value| {
        line["message"] == "verified the pending key" && line.get("outcome").is_none()
    };
    let line = lines.find(is_verified).unwrap();
    assert_eq!(line["step"], "testSecret", "{line:#}");
    assert!(line["probes"].as_u64() > Some(3), "{line:#}");
    assert!(line["seconds"].as_f64() > Some(0.0), "{line:#}");
}

#[tokio::test]
async fn an_invalid_event_is_logged_without_being_quoted() {
    let world = World::new(Setting::default()).await;
    let quoted = "hunter2";
    for payload in [
        json!(quoted),
        json!([quoted]),
        json!({"Step": quoted, "SecretId": quoted, "ClientRequestToken": quoted, "RotationToken": quoted}),
        json!({quoted: quoted}),
    ] {
        let invoked = world.invoke(payload.clone());

        let (outcome, lines) = logged_at(Some("TRACE"), invoked).await;

        let output = format!("{lines:?} {outcome:?}");
        assert!(output.contains("InvalidEvent"), "{output}");
        assert!(!output.contains(quoted), "{output}");
    }
}

/// `logged` parses each line, so a line that a newline starts would fail or be counted here.
#[tokio::test]
async fn a_newline_in_a_field_or_a_message_does_not_start_another_line() {
    let world = World::new(Setting::default()).await;
    let forged = "\n{\"outcome\": \"forged\"}\r\n\u{2028}{\"outcome\": \"forged\"}\n";
    let mut event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    event["SecretId"] = json!(format!("orders{forged}"));
    let detail = format!("try again{forged}");
    let response = Response::confluent_error(400, Some(&detail), &detail, &detail);
    world.simulator.respond_with(1, lists_keys, response);

    let (unknown_secret, in_fields) = logged(world.invoke(event)).await;
    let (rejected, in_message) = logged(world.step("createSecret")).await;

    assert_eq!(
        unknown_secret.unwrap_err().error_type,
        "SecretsManagerRejected"
    );
    assert_eq!(rejected.unwrap_err().error_type, "ConfluentRejected");
    for lines in [in_fields, in_message] {
        assert_eq!(outcomes(&lines).len(), 1, "{lines:#?}");
        assert_eq!(outcomes(&lines)[0]["outcome"], "failed", "{lines:#?}");
        assert!(format!("{lines:?}").contains("forged"), "{lines:#?}");
    }
}
