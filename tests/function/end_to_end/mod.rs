//! The program, driven over the Lambda Runtime API, and its output.
//!
//! `ROTATION_BINARY` names the program, as in CI, where SAM builds it with the release profile. Without it, the tests run the program
//! that Cargo builds with them.

mod aws_settings;
mod fleet;
mod lambda;
mod memory;
mod moto;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Instant;

use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Map;
use simulator::CANARY;

use super::*;
pub(crate) use lambda::Lambda;
use lambda::Process;

/// Every key type with an admin secret, every key type that can use self-rotation, and keyless mode.
const SETTINGS: [(KeyType, Mode); 10] = [
    (KeyType::Cloud, Mode::Admin),
    (KeyType::Kafka, Mode::Admin),
    (KeyType::SchemaRegistry, Mode::Admin),
    (KeyType::KsqlDb, Mode::Admin),
    (KeyType::Flink, Mode::Admin),
    (KeyType::Tableflow, Mode::Admin),
    (KeyType::Global, Mode::Admin),
    (KeyType::Cloud, Mode::SelfRotation),
    (KeyType::Global, Mode::SelfRotation),
    (KeyType::Kafka, Mode::Keyless),
];

/// Returns the current value, byte for byte.
fn current_string(world: &World) -> String {
    let state = world.simulator.state();
    state
        .secret(&world.arn)
        .value("AWSCURRENT")
        .unwrap()
        .to_owned()
}

/// A world whose rotation was canceled, so that every step except setSecret fails.
async fn canceled_world() -> World {
    let world = World::new(Setting::default()).await;
    world.simulator.cancel_rotation(&world.arn);
    world
}

#[tokio::test]
async fn the_program_rotates_a_secret_of_every_key_type() {
    for (key_type, mode) in SETTINGS {
        let world = World::new(Setting {
            key_type,
            mode,
            ..Setting::default()
        })
        .await;
        {
            let controls = &mut world.simulator.state().controls;
            controls.propagation_statuses = vec![401, 200, 401];
            controls.control_plane_propagation_statuses = vec![401, 200, 401];
            controls.global_keys_may_call_iam = true;
        }
        let (before, string_before) = (world.value("AWSCURRENT"), current_string(&world));
        let pool = world.identity_pool();
        let variables = [("OLD_KEY_POLICY", "delete"), ("IDENTITY_POOL_ID", &pool)];
        let lambda = Lambda::start(&world.simulator, &variables).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;

        let case = format!("{key_type:?} {mode:?}");
        assert_eq!(outcome, Outcome::Succeeded, "{case}");
        let current = world.key("AWSCURRENT").unwrap();
        assert_ne!(current, world.initial_key, "{case}");
        assert_eq!(
            world.keys(),
            [&*current],
            "the previous key is deleted: {case}"
        );
        let after = world.value("AWSCURRENT");
        let expected = ["apiKey", "apiSecret"]
            .iter()
            .fold(string_before, |string, field| {
                string.replace(&before[field].to_string(), &after[field].to_string())
            });
        assert_eq!(current_string(&world), expected, "{case}");
        lambda.process.assert_nothing_secret_was_printed();
    }
}

#[tokio::test]
async fn the_rotations_of_two_secrets_in_one_process_share_no_key_and_no_log_field() {
    let world = World::new(Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    let other_owner = "sa-billing";
    let role = Role::ResourceOwnerOf(other_owner.to_owned());
    simulator.add_owner(other_owner, &[role]);
    let (id, secret) = simulator.add_key(other_owner, None, None);
    let value = json!({"apiKey": id, "apiSecret": secret, "serviceAccountId": other_owner});
    let other_arn = simulator.add_secret("billing", &value.to_string());
    let lambda = Lambda::start(simulator, &[("OLD_KEY_POLICY", "delete")]).await;
    let mut checked = 0;

    for arn in [&world.arn, &other_arn, &world.arn, &other_arn] {
        let before = simulator.state().secret(arn).clone();
        simulator.clear_requests();
        let outcome = lambda.rotate(simulator, arn).await;

        assert_eq!(outcome, Outcome::Succeeded);
        let after = simulator.state().secret(arn).clone();
        let own = [&before, &after].map(|secret| secret.key_id("AWSCURRENT").unwrap());
        for request in &simulator.state().requests {
            let key = request.key_id.as_deref();
            assert!(key.is_none_or(|id| own.contains(&id)), "{request:?}");
        }
        for line in lambda.process.lines().iter().skip(checked) {
            assert_eq!(line["secret_id"], **arn);
            assert_eq!(line["version_id"], after.labels["AWSCURRENT"]);
            for id in ["previous_key_id", "pending_key_id", "deleted_key_id"] {
                let id = line.get(id).map(|id| id.as_str().unwrap());
                assert!(id.is_none_or(|id| own.contains(&id)), "{line:?}");
            }
        }
        checked = lambda.process.lines().len();
    }
}

#[tokio::test]
async fn an_error_has_a_stable_name_and_a_remedy_and_the_process_continues() {
    let world = World::new(Setting {
        mode: Mode::SelfRotation,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    let lambda = Lambda::start(simulator, &[]).await;

    let error = lambda.create_secret_error(&world).await;
    assert_eq!(error.error_type, "AdminSecretRequired");
    assert!(error.message.contains("Name an admin secret"), "{error:?}");

    simulator.cancel_rotation(&world.arn);
    let error = lambda.create_secret_error(&world).await;
    assert_eq!(error.error_type, "RotationNotEnabled");
    assert!(error.message.contains("Enable rotation"), "{error:?}");

    simulator.add_owner(ADMIN, &[Role::OrganizationAdmin]);
    let admin = simulator.add_key(ADMIN, None, None);
    let admin = simulator.add_admin_secret("admin", &admin);
    world.change_value(|value| value["adminSecretArn"] = json!(admin));
    simulator.state().secret_mut(&world.arn).rotation_enabled = Some(true);
    let outcome = lambda.rotate(simulator, &world.arn).await;
    assert_eq!(outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn an_invalid_event_is_rejected_and_not_printed() {
    let simulator = Simulator::start().await;
    let lambda = Lambda::start(&simulator, &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
    let token = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

    for payload in [
        json!(CANARY),
        json!([CANARY]),
        json!({CANARY: CANARY}),
        json!({"Step": CANARY, "SecretId": "s", "ClientRequestToken": token}),
        json!({"Step": "setSecret", "SecretId": {"a": CANARY}, "ClientRequestToken": token}),
        json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": CANARY}),
        json!({"Step": "setSecret", "SecretId": "s", "ClientRequestToken": token, "RotationToken": [CANARY]}),
    ] {
        let error = lambda.invoke(payload).await.unwrap_err();

        assert_eq!(error.error_type, "InvalidEvent");
        assert!(!error.message.contains(CANARY), "{error:?}");
    }

    lambda.process.assert_nothing_secret_was_printed();
    assert_eq!(lambda.process.outcomes().len(), 7);
}

/// At TRACE, the libraries would log every request and every event. The function ignores `RUST_LOG` and the log format: it
/// always writes JSON.
#[tokio::test]
async fn no_secret_value_is_printed_at_any_log_level() {
    let trace = ("AWS_LAMBDA_LOG_LEVEL", "TRACE");
    for (variables, has_debug_messages) in [
        (&[trace][..], true),
        (
            &[
                trace,
                ("RUST_LOG", "trace"),
                ("AWS_LAMBDA_LOG_FORMAT", "Text"),
            ],
            true,
        ),
        (&[("RUST_LOG", "trace")], false),
    ] {
        let world = World::new(Setting::default()).await;
        let lambda = Lambda::start(&world.simulator, variables).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        world.simulator.cancel_rotation(&world.arn);
        let error = lambda.create_secret_error(&world).await;

        assert_eq!(outcome, Outcome::Succeeded);
        assert!(!error.message.contains(CANARY), "{error:?}");
        let lines = lambda.process.lines();
        let is_debug = |line: &Map<String, Value>| line["level"] == "DEBUG";
        assert_eq!(
            lines.iter().any(is_debug),
            has_debug_messages,
            "{variables:?}"
        );
        lambda.process.assert_nothing_secret_was_printed();
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>
#[tokio::test]
async fn every_log_message_is_a_flat_object_that_lambda_can_filter() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = vec![401, 401];
    let lambda = Lambda::start(&world.simulator, &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;

    let outcome = lambda.rotate(&world.simulator, &world.arn).await;
    world.simulator.cancel_rotation(&world.arn);
    lambda.create_secret_error(&world).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let levels = ["DEBUG", "INFO", "WARN", "ERROR"];
    for line in lambda.process.lines() {
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(
            DateTime::from_str(timestamp, Format::DateTime).is_ok(),
            "{line:?}"
        );
        assert!(
            levels.contains(&line["level"].as_str().unwrap()),
            "{line:?}"
        );
        assert!(line["message"].is_string(), "{line:?}");
        let nested = line
            .values()
            .find(|value| value.is_object() || value.is_array());
        assert_eq!(nested, None, "{line:?}");
    }
    assert_eq!(lambda.process.stderr(), "");
}

#[tokio::test]
async fn an_invocation_logs_its_outcome_once_and_the_runtime_does_not_repeat_it() {
    let world = World::new(Setting::default()).await;
    let lambda = Lambda::start(&world.simulator, &[]).await;

    let outcome = lambda.rotate(&world.simulator, &world.arn).await;
    let (previous, current) = (&world.initial_key, world.key("AWSCURRENT").unwrap());
    world.simulator.cancel_rotation(&world.arn);
    let error = lambda.create_secret_error(&world).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let outcomes = lambda.process.outcomes();
    let logged: Vec<_> = outcomes
        .iter()
        .map(|line| ["step", "outcome"].map(|field| line[field].as_str().unwrap()))
        .collect();
    let expected = [
        ["createSecret", "succeeded"],
        ["setSecret", "succeeded"],
        ["testSecret", "succeeded"],
        ["finishSecret", "succeeded"],
        ["createSecret", "failed"],
    ];
    assert_eq!(logged, expected);
    // setSecret sends no request, so it does not know the keys.
    for step in [0, 2, 3] {
        let line = &outcomes[step];
        assert_eq!(line["previous_key_id"], **previous, "{line:?}");
        assert_eq!(line["pending_key_id"], current, "{line:?}");
    }
    let requests: BTreeSet<_> = outcomes
        .iter()
        .map(|line| line["request_id"].as_str())
        .collect();
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert_eq!(outcomes[4]["error_type"], error.error_type);
    assert_eq!(outcomes[4]["message"], error.message);
    let stdout = lambda.process.stdout();
    assert_eq!(stdout.matches("is not enabled").count(), 1, "{stdout}");
}

#[tokio::test]
async fn an_error_is_logged_with_all_fields_at_every_log_level() {
    for level in ["ERROR", "FATAL"] {
        let world = canceled_world().await;
        let lambda = Lambda::start(&world.simulator, &[("AWS_LAMBDA_LOG_LEVEL", level)]).await;

        lambda.create_secret_error(&world).await;

        let [line] = &lambda.process.lines()[..] else {
            panic!("{}", lambda.process.stdout());
        };
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["step"], "createSecret");
        assert_eq!(line["secret_id"], world.arn);
        assert_eq!(line["error_type"], "RotationNotEnabled");
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    }
}

#[tokio::test]
async fn an_invalid_configuration_ends_the_process_with_one_error_that_names_every_variable() {
    let simulator = Simulator::start().await;
    let invalid = [
        ("CONFLUENT_API_URL", "http://api.confluent.cloud"),
        ("ADMIN_SECRET_ARN", "admin"),
        ("OLD_KEY_POLICY", "keep"),
        ("KEY_VERIFICATION", "none"),
        ("CURRENT_KEY_CHECK", "on"),
        ("INITIAL_KEY", "yes"),
        ("PROBE_INTERVAL_MS", "2s"),
        ("ALLOWED_ENDPOINT_DOMAINS", "*.example.com"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
        ("AWS_RETRY_MODE", "legacy"),
        ("SSL_CERT_FILE", "/unknown.pem"),
        ("HTTPS_PROXY", "socks5://proxy"),
    ];
    let mut lambda = Lambda::start(&simulator, &invalid).await;

    let message = lambda.process.startup_error();

    for (name, _) in invalid {
        assert!(message.contains(name), "{name} in {message}");
    }
}

#[tokio::test]
async fn an_unreachable_service_is_reported_before_the_deadline() {
    let simulator = Simulator::start().await;
    // The kernel accepts connections, and no response is ever sent.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let time_limit = Duration::from_secs(3);
    let event = json!({
        "Step": "createSecret",
        "SecretId": "orders",
        "ClientRequestToken": "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab",
    });
    // A port that no system assigns, so that no server listens there by chance.
    let closed = "http://127.0.0.1:1".to_owned();
    for url in [silent, closed] {
        let variables = [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*url),
            ("CONFLUENT_API_URL", &url),
        ];
        let lambda = Lambda::start(&simulator, &variables).await;
        let started = Instant::now();

        let error = lambda
            .runtime
            .invoke(event.clone(), time_limit)
            .await
            .unwrap_err();

        assert_eq!(error.error_type, "SecretsManagerUnavailable", "{error:?}");
        assert!(started.elapsed() < time_limit, "{:?}", started.elapsed());
    }
}
