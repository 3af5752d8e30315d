//! The release binary, driven over the Lambda Runtime API: what ships, as Lambda runs it, and what it prints.
//!
//! The binary is built here, so that `cargo test` never passes on yesterday's, unless `ROTATION_BINARY` names one: what
//! SAM has built, in CI.

mod credentials;
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

/// A setting for every kind of key, and for each that Confluent lets sign for itself.
const SETTINGS: [(Kind, Mode); 9] = [
    (Kind::Cloud, Mode::Admin),
    (Kind::Kafka, Mode::Admin),
    (Kind::SchemaRegistry, Mode::Admin),
    (Kind::KsqlDb, Mode::Admin),
    (Kind::Flink, Mode::Admin),
    (Kind::Tableflow, Mode::Admin),
    (Kind::Global, Mode::Admin),
    (Kind::Cloud, Mode::Own),
    (Kind::Global, Mode::Own),
];

/// The current value, byte for byte.
fn current_text(world: &World) -> String {
    let state = world.simulator.state();
    state
        .secret(&world.arn)
        .value("AWSCURRENT")
        .unwrap()
        .to_owned()
}

/// A world whose secret Secrets Manager no longer rotates, so that every step fails.
async fn cancelled_world() -> World {
    let world = World::new(Setting::default()).await;
    world.simulator.cancel_rotation(&world.arn);
    world
}

#[tokio::test]
async fn the_binary_that_ships_rotates_a_secret_of_every_kind() {
    for (kind, mode) in SETTINGS {
        let world = World::new(Setting {
            kind,
            mode,
            ..Setting::default()
        })
        .await;
        {
            let knobs = &mut world.simulator.state().knobs;
            knobs.settling = vec![401, 200, 401];
            knobs.control_plane_settling = vec![401, 200, 401];
            knobs.global_keys_may_call_iam = true;
        }
        let (before, text_before) = (world.value("AWSCURRENT"), current_text(&world));
        let lambda = Lambda::start(&world.simulator, &[]).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;

        let case = format!("{kind:?} {mode:?}");
        assert_eq!(outcome, Outcome::Succeeded, "{case}");
        let new = world.key("AWSCURRENT").unwrap();
        assert_ne!(new, world.first_key, "{case}");
        assert_eq!(world.keys(), [&*new], "the old key is deleted: {case}");
        let after = world.value("AWSCURRENT");
        let text = ["apiKey", "apiSecret"]
            .iter()
            .fold(text_before, |text, field| {
                text.replace(&before[field].to_string(), &after[field].to_string())
            });
        assert_eq!(current_text(&world), text, "{case}");
        lambda.process.assert_nothing_secret_was_printed();
    }
}

#[tokio::test]
async fn secrets_that_one_process_rotates_share_nothing() {
    let world = World::new(Setting {
        kind: Kind::Cloud,
        mode: Mode::Own,
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
    let lambda = Lambda::start(simulator, &[]).await;
    let mut seen = 0;

    for arn in [&world.arn, &other_arn, &world.arn, &other_arn] {
        let before = simulator.state().secret(arn).clone();
        simulator.forget_requests();
        let outcome = lambda.rotate(simulator, arn).await;

        assert_eq!(outcome, Outcome::Succeeded);
        let after = simulator.state().secret(arn).clone();
        let own = [&before, &after].map(|secret| secret.key_named_by("AWSCURRENT").unwrap());
        for request in &simulator.state().requests {
            let signer = request.key_id.as_deref();
            assert!(signer.is_none_or(|id| own.contains(&id)), "{request:?}");
        }
        for line in lambda.process.lines().iter().skip(seen) {
            assert_eq!(line["secret_id"], **arn);
            assert_eq!(line["version_id"], after.labels["AWSCURRENT"]);
            for id in ["old_key_id", "new_key_id", "deleted_key_id"] {
                let id = line.get(id).map(|id| id.as_str().unwrap());
                assert!(id.is_none_or(|id| own.contains(&id)), "{line:?}");
            }
        }
        seen = lambda.process.lines().len();
    }
}

#[tokio::test]
async fn a_step_that_fails_has_a_stable_name_and_a_remedy_and_the_process_goes_on() {
    let world = World::new(Setting {
        mode: Mode::Own,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    let lambda = Lambda::start(simulator, &[]).await;

    let error = lambda.fail(&world).await;
    assert_eq!(error.error_type, "AdminSecretNeeded");
    assert!(error.message.contains("Name an admin secret"), "{error:?}");

    simulator.cancel_rotation(&world.arn);
    let error = lambda.fail(&world).await;
    assert_eq!(error.error_type, "RotationNotEnabled");
    assert!(
        error.message.contains("Enable it with RotateSecret"),
        "{error:?}"
    );

    simulator.add_owner(ADMIN, &[Role::OrganizationAdmin]);
    let admin = simulator.add_key(ADMIN, None, None);
    let admin = simulator.add_admin_secret("admin", &admin);
    world.edit(|value| value["adminSecretArn"] = json!(admin));
    simulator.state().secret_mut(&world.arn).rotation_enabled = Some(true);
    let outcome = lambda.rotate(simulator, &world.arn).await;
    assert_eq!(outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn what_is_not_an_event_is_refused_and_not_printed() {
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

/// Promise 5, at the level at which the libraries print every request and every event.
#[tokio::test]
async fn nothing_secret_is_printed_at_the_most_talkative_level() {
    for level in [
        &[("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")][..],
        &[("RUST_LOG", "trace")],
        &[
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("AWS_LAMBDA_LOG_FORMAT", "Text"),
        ],
    ] {
        let world = World::new(Setting::default()).await;
        let lambda = Lambda::start(&world.simulator, level).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;
        world.simulator.cancel_rotation(&world.arn);
        let error = lambda.fail(&world).await;

        assert_eq!(outcome, Outcome::Succeeded);
        assert!(!error.message.contains(CANARY), "{error:?}");
        assert!(
            lambda.process.stdout().contains("DEBUG"),
            "our own lines are there"
        );
        lambda.process.assert_nothing_secret_was_printed();
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>
#[tokio::test]
async fn every_line_is_a_flat_object_that_lambda_can_filter() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().knobs.settling = vec![401, 401];
    let lambda = Lambda::start(&world.simulator, &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;

    let outcome = lambda.rotate(&world.simulator, &world.arn).await;
    world.simulator.cancel_rotation(&world.arn);
    lambda.fail(&world).await;

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
async fn an_invocation_has_one_line_for_its_outcome_and_the_runtime_adds_none() {
    let world = World::new(Setting::default()).await;
    let lambda = Lambda::start(&world.simulator, &[]).await;

    let outcome = lambda.rotate(&world.simulator, &world.arn).await;
    let (old, new) = (&world.first_key, world.key("AWSCURRENT").unwrap());
    world.simulator.cancel_rotation(&world.arn);
    let error = lambda.fail(&world).await;

    assert_eq!(outcome, Outcome::Succeeded);
    let outcomes = lambda.process.outcomes();
    let told: Vec<_> = outcomes
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
    assert_eq!(told, expected);
    for line in &outcomes[..4] {
        assert_eq!(line["old_key_id"], **old, "{line:?}");
        assert_eq!(line["new_key_id"], new, "{line:?}");
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
async fn lines_are_text_where_lambda_asks_for_text() {
    let world = cancelled_world().await;
    let lambda = Lambda::start(&world.simulator, &[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;

    lambda.fail(&world).await;

    let stdout = lambda.process.stdout();
    let [line, metrics] = stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{stdout}");
    };
    assert!(metrics.contains("\"_aws\""), "{metrics}");
    for part in [
        "ERROR",
        "createSecret",
        &world.arn,
        "RotationNotEnabled",
        "is not enabled",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(serde_json::from_str::<Value>(line).is_err(), "{line}");
    assert!(!line.contains('\u{1b}'), "{line}");
}

#[tokio::test]
async fn a_failure_is_printed_with_all_its_fields_at_the_least_talkative_levels() {
    for level in ["ERROR", "FATAL"] {
        let world = cancelled_world().await;
        let lambda = Lambda::start(&world.simulator, &[("AWS_LAMBDA_LOG_LEVEL", level)]).await;

        lambda.fail(&world).await;

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
async fn a_wrong_configuration_ends_the_process_with_one_line_that_names_every_variable() {
    let simulator = Simulator::start().await;
    let wrong = [
        ("CONFLUENT_API_URL", "http://api.confluent.cloud"),
        ("ADMIN_SECRET_ARN", "admin"),
        ("OLD_KEY_POLICY", "keep"),
        ("KEY_VERIFICATION", "none"),
        ("CURRENT_KEY_CHECK", "on"),
        ("PROBE_INTERVAL_MS", "2s"),
        ("ALLOWED_ENDPOINT_DOMAINS", "*.example.com"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
        ("AWS_LAMBDA_LOG_FORMAT", "XML"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("HTTPS_PROXY", "socks5://proxy"),
    ];
    let mut lambda = Lambda::start(&simulator, &wrong).await;

    let status = lambda.process.wait();

    assert!(!status.success(), "{status}");
    let [line] = &lambda.process.lines()[..] else {
        panic!("{}", lambda.process.stdout());
    };
    assert_eq!(line["level"], "ERROR");
    let message = line["message"].as_str().unwrap();
    for (name, _) in wrong {
        assert!(message.contains(name), "{name} in {message}");
    }
}

#[tokio::test]
async fn services_that_cannot_be_reached_are_reported_before_the_deadline() {
    let simulator = Simulator::start().await;
    // Connections are taken, by the kernel, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let time_limit = Duration::from_secs(3);
    let event = json!({
        "Step": "createSecret",
        "SecretId": "orders",
        "ClientRequestToken": "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab",
    });
    // A port that no system hands out, so that nobody listens there by chance.
    let refusing = "http://127.0.0.1:1".to_owned();
    for url in [silent, refusing] {
        let variables = [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*url),
            ("CONFLUENT_API_URL", &url),
        ];
        let lambda = Lambda::start(&simulator, &variables).await;
        let asked = Instant::now();

        let error = lambda
            .runtime
            .invoke(event.clone(), time_limit)
            .await
            .unwrap_err();

        assert_eq!(error.error_type, "SecretsManagerUnavailable", "{error:?}");
        assert!(asked.elapsed() < time_limit, "{:?}", asked.elapsed());
    }
}
