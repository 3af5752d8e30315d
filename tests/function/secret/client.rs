//! The client for Secrets Manager: reads, writes, retries and invalid responses.

use std::time::Instant;

use confluent_key_rotation::secret::{self, CURRENT, Error, PENDING, PREVIOUS};
use simulator::Fault;

use super::*;
use crate::faults::{block_on, in_threads};

/// A world with a rotation in progress.
struct Rotating {
    world: World,
    client: secret::Client,
    /// The `AWSCURRENT` version.
    current: String,
    /// The `AWSPENDING` version, which has no value yet.
    token: String,
}

impl Rotating {
    async fn new() -> Self {
        let world = World::new(Setting::default()).await;
        let token = world.simulator.start_rotation(&world.arn);
        let current = world.simulator.state().secret(&world.arn).labels[CURRENT].clone();
        Self {
            client: world.client(AMPLE),
            world,
            current,
            token,
        }
    }

    /// Returns the version with `label` from the simulator's state.
    fn version_with(&self, label: &str) -> Option<String> {
        let state = self.world.simulator.state();
        state.secret(&self.world.arn).labels.get(label).cloned()
    }

    /// Stores `value` as the pending version.
    async fn store(&self, value: &str) -> Result<(), Error> {
        let event = (self.world.simulator).event(&self.world.arn, &self.token, "createSecret");
        let rotation_token = event["RotationToken"].as_str();
        let rotation_token = rotation_token.map(|token| Redacted::new(token.to_owned()));
        let value = Redacted::new(value.to_owned());
        self.client
            .store_pending(
                &self.world.arn,
                &self.token,
                &value,
                rotation_token.as_ref(),
            )
            .await
    }
}

impl World {
    /// Returns a client with a deadline.
    fn client(&self, remaining: Duration) -> secret::Client {
        self.secrets_with(self.function.secrets_manager.clone(), remaining)
    }

    fn secrets_with(
        &self,
        sdk: aws_sdk_secretsmanager::Client,
        remaining: Duration,
    ) -> secret::Client {
        secret::Client::new(
            sdk,
            Deadline::after(remaining),
            self.function.sdk_limits,
            self.function.read_after_write,
        )
    }
}

#[tokio::test]
async fn a_description_contains_the_staging_labels_of_each_version() {
    let Rotating {
        world,
        client,
        current,
        token,
    } = Rotating::new().await;

    let labels = client.describe(&world.arn).await.unwrap();

    assert_eq!(labels.arn, world.arn);
    assert!(labels.rotation_enabled);
    assert_eq!(labels.version_with(CURRENT), Some(current.as_str()));
    assert_eq!(labels.version_with(PENDING), Some(token.as_str()));
    assert_eq!(labels.version_with(PREVIOUS), None);
    assert!(labels.has(&token, PENDING));
    assert!(!labels.has(&token, CURRENT));
    assert_eq!(labels.labels_of("unknown"), None);
}

#[tokio::test]
async fn a_description_by_name_contains_the_arn_and_the_admin_secret() {
    let world = World::new(Setting::default()).await;
    let admin = Some("arn:aws:secretsmanager:::admin".to_owned());
    let set = |secret: &mut simulator::Secret| secret.admin_secret_arn.clone_from(&admin);
    set(world.simulator.state().secret_mut(&world.arn));

    let labels = world.client(AMPLE).describe("orders/kafka").await.unwrap();

    assert_eq!(labels.arn, world.arn);
    assert_eq!(labels.admin_secret_arn, admin);
}

#[tokio::test]
async fn rotation_is_enabled_only_if_describe_secret_says_so() {
    let world = World::new(Setting::default()).await;
    for enabled in [None, Some(false)] {
        world
            .simulator
            .state()
            .secret_mut(&world.arn)
            .rotation_enabled = enabled;

        let labels = world.client(AMPLE).describe(&world.arn).await.unwrap();

        assert!(!labels.rotation_enabled, "{enabled:?}");
    }
}

#[tokio::test]
async fn a_value_is_read_by_version_id_and_label() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);

    let value = client.value(&world.arn, &rotating.current, CURRENT).await;

    let expected = world.value(CURRENT).to_string();
    assert_eq!(value.unwrap().unwrap().expose(), expected);
}

#[tokio::test]
async fn the_value_of_a_version_without_one_is_none() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);

    let value = client.value(&world.arn, &rotating.token, PENDING).await;

    assert!(value.unwrap().is_none());
}

#[tokio::test]
async fn a_version_without_the_expected_label_is_not_read() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);

    let value = client.value(&world.arn, &rotating.current, PENDING).await;

    let error = value.unwrap_err();
    assert_eq!(error.code(), Some("InvalidRequestException"), "{error}");
}

#[tokio::test]
async fn the_read_of_a_value_that_was_just_written_is_retried() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);
    world.simulator.state().controls.value_lag = 2;
    rotating.store("{}").await.unwrap();

    let value = client
        .version_after_write(&world.arn, &rotating.token, PENDING)
        .await;

    assert_eq!(value.unwrap().unwrap().value.expose(), "{}");
}

#[tokio::test]
async fn the_number_of_reads_after_a_write_is_limited() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);

    let value = client
        .version_after_write(&world.arn, &rotating.token, PENDING)
        .await;

    assert!(value.unwrap().is_none());
    let reads = 1 + world.function.read_after_write.retries;
    assert_eq!(world.requests().len(), reads as usize);
}

#[tokio::test]
async fn a_binary_value_is_an_error_whose_remedy_is_a_string_value() {
    let world = World::new(Setting::default()).await;
    let arn = world.simulator.add_binary_secret("binary", b"hunter2");

    let error = world
        .client(AMPLE)
        .admin_secret_value(&arn)
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Binary { .. }), "{error:?}");
    let message = confluent_key_rotation::error::Error::from(error).message();
    assert!(message.contains("SecretString"), "{message}");
}

#[tokio::test]
async fn storing_the_same_pending_value_again_succeeds() {
    let rotating = Rotating::new().await;

    let first = rotating.store(r#"{"a": 1}"#).await;
    let second = rotating.store(r#"{"a": 1}"#).await;

    assert!(first.is_ok(), "{first:?}");
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(rotating.world.value(PENDING), json!({"a": 1}));
    // The simulator reports a `PutSecretValue` without token, label or `RotationToken` as a violation.
    rotating.world.simulator.assert_guarantees();
}

#[tokio::test]
async fn storing_another_pending_value_is_rejected() {
    let rotating = Rotating::new().await;
    rotating.store(r#"{"a": 1}"#).await.unwrap();

    let error = rotating.store(r#"{"a": 2}"#).await.unwrap_err();

    assert_eq!(error.code(), Some("ResourceExistsException"), "{error}");
    assert!(!error.may_have_taken_effect());
    assert_eq!(rotating.world.value(PENDING), json!({"a": 1}));
}

#[tokio::test]
async fn a_value_is_stored_without_a_rotation_token_if_the_event_has_none() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.omit_rotation_token = true;
    let token = world.simulator.start_rotation(&world.arn);
    let value = Redacted::new("{}".to_owned());

    let client = world.client(AMPLE);
    let stored = client.store_pending(&world.arn, &token, &value, None).await;

    assert!(stored.is_ok(), "{stored:?}");
    world.simulator.assert_guarantees();
}

#[tokio::test]
async fn a_promotion_moves_awscurrent_and_awsprevious() {
    let rotating = Rotating::new().await;
    let Rotating {
        world,
        client,
        current,
        token,
    } = &rotating;
    rotating
        .store(&world.value(CURRENT).to_string())
        .await
        .unwrap();

    let promoted = client.promote(&world.arn, current, token).await;

    assert!(promoted.is_ok(), "{promoted:?}");
    assert_eq!(rotating.version_with(CURRENT).as_ref(), Some(token));
    assert_eq!(rotating.version_with(PREVIOUS).as_ref(), Some(current));
}

#[tokio::test]
async fn a_promotion_from_a_version_without_awscurrent_is_rejected() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);
    rotating.store("{}").await.unwrap();
    let later = (world.simulator).store_manually(&world.arn, &world.value(CURRENT).to_string());

    let promoted = client
        .promote(&world.arn, &rotating.current, &rotating.token)
        .await;

    let error = promoted.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterException"), "{error}");
    assert_eq!(rotating.version_with(CURRENT), Some(later));
}

#[tokio::test]
async fn awspending_is_removed_only_from_its_version() {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);

    let from_current = client
        .remove_label(&world.arn, &rotating.current, PENDING)
        .await;
    let from_pending = client
        .remove_label(&world.arn, &rotating.token, PENDING)
        .await;

    assert_eq!(
        from_current.unwrap_err().code(),
        Some("InvalidParameterException")
    );
    assert!(from_pending.is_ok(), "{from_pending:?}");
    assert_eq!(rotating.version_with(PENDING), None);
}

#[test]
fn every_request_is_retried_after_every_fault() {
    let faults: Vec<Fault> = survivable().collect();
    in_threads(&faults, |fault| {
        block_on(assert_requests_are_retried_after(*fault));
    });
}

async fn assert_requests_are_retried_after(fault: Fault) {
    let rotating = Rotating::new().await;
    let (world, client) = (&rotating.world, &rotating.client);
    let value = world.value(CURRENT).to_string();
    let fail_next = || {
        world.simulator.clear_requests();
        world.simulator.fail(0, fault);
    };

    fail_next();
    let described = client.describe(&world.arn).await;
    fail_next();
    let read = client.value(&world.arn, &rotating.current, CURRENT).await;
    fail_next();
    let stored = rotating.store(&value).await;

    assert!(described.is_ok(), "{fault:?}: {described:?}");
    assert!(read.is_ok(), "{fault:?}: {read:?}");
    assert!(stored.is_ok(), "{fault:?}: {stored:?}");
    assert_eq!(world.requests(), ["PutSecretValue"; 2], "{fault:?}");
    assert_eq!(
        rotating.version_with(PENDING).as_ref(),
        Some(&rotating.token),
        "{fault:?}"
    );
}

#[tokio::test]
async fn the_number_of_retries_is_limited_and_the_last_error_is_reported() {
    let world = World::new(Setting::default()).await;
    let client = world.client(AMPLE);
    for (status, code) in [(400, "ThrottlingException"), (500, "InternalServiceError")] {
        let rejection =
            Response::aws_error(status, code, "no").with_header("x-amzn-requestid", "req-42");
        world.simulator.respond_with(3, |_| true, rejection);

        let error = client.describe(&world.arn).await.unwrap_err();

        assert_eq!(error.code(), Some(code), "{error}");
        for part in ["DescribeSecret", world.arn.as_str(), code, "req-42"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert_eq!(world.requests().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn a_denied_request_is_not_retried() {
    let world = World::new(Setting::default()).await;
    for denial in [
        Response::aws_access_denied("DescribeSecret"),
        Response::aws_kms_denied(),
    ] {
        world.simulator.respond_with(1, |_| true, denial);

        let error = world.client(AMPLE).describe(&world.arn).await.unwrap_err();

        assert_eq!(error.code(), Some("AccessDeniedException"), "{error}");
        assert_eq!(world.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_request_ends_at_the_deadline() {
    for remaining in [Duration::ZERO, Duration::from_millis(300)] {
        let mut world = World::new(Setting::default()).await;
        world.function.sdk_limits.attempt = AMPLE;
        world.simulator.fail(0, Fault::StallBefore);
        let started = Instant::now();

        let outcome = world.client(remaining).describe(&world.arn).await;

        let error = outcome.unwrap_err();
        assert!(error.may_have_taken_effect(), "{error}");
        assert!(
            error.to_string().contains("the request timed out"),
            "{error}"
        );
        assert!(started.elapsed() < AMPLE / 2, "{remaining:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_connection_has_no_response() {
    let world = World::new(Setting::default()).await;
    let mut config = world.function.secrets_manager.config().to_builder();
    config.set_endpoint_url(Some(world.simulator.unreachable_url()));
    let sdk = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let client = world.secrets_with(sdk, AMPLE);

    let error = client.describe(&world.arn).await.unwrap_err();

    assert!(matches!(error, Error::NoResponse { .. }), "{error:?}");
}

#[tokio::test]
async fn a_validation_error_is_not_quoted() {
    let rotating = Rotating::new().await;
    let message = "Value 'hunter2' at 'secretString' failed to satisfy constraint";
    let rejection = Response::aws_error(400, "ValidationException", message);
    rotating.world.always_answer(rejection);

    let error = rotating.store("hunter2").await.unwrap_err();

    assert_eq!(error.code(), Some("ValidationException"));
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_response_that_cannot_be_parsed_is_not_quoted() {
    for body in [
        "hunter2".to_owned(),
        r#"{"SecretString": "hunter2"#.to_owned(),
        json!({"SecretString": ["hunter2"]}).to_string(),
        json!({"SecretString": {"hunter2": 1}}).to_string(),
        json!({"SecretBinary": "hunter2 is not base64"}).to_string(),
        json!({"CreatedDate": "hunter2", "SecretString": "hunter2"}).to_string(),
        json!(["hunter2"]).to_string(),
        "<html>hunter2</html>".to_owned(),
    ] {
        for status in [200, 400, 500] {
            let Rotating {
                world,
                client,
                current,
                ..
            } = Rotating::new().await;
            let response = Response::new(status, "application/x-amz-json-1.1", body.clone());
            world.always_answer(response);

            let outcome = client.value(&world.arn, &current, CURRENT).await;

            let error = outcome.expect_err(&body);
            let output = format!("{error} {error:?}");
            assert!(!output.contains("hunter2"), "{status}: {output}");
        }
    }
}

#[tokio::test]
async fn a_response_without_an_error_code_is_reported_with_its_status() {
    let mut world = World::new(Setting::default()).await;
    world.function.sdk_limits.max_attempts = 1;
    for status in [301, 400, 401, 403, 404, 407, 429, 500, 502, 503, 504] {
        for body in [
            "",
            "<html>Blocked</html>",
            "{}",
            r#"{"message": "Blocked"}"#,
        ] {
            let response = Response::new(status, "text/html", body);
            world.simulator.respond_with(1, |_| true, response);

            let error = world.client(AMPLE).describe(&world.arn).await.unwrap_err();

            let message = error.to_string();
            let expected = format!("HTTP {status} without an error code, ");
            assert!(message.contains(&expected), "{body}: {message}");
            assert_eq!(error.code(), None, "{message}");
            assert_eq!(error.may_have_taken_effect(), status >= 500, "{message}");
        }
    }
}

#[tokio::test]
async fn a_successful_response_that_cannot_be_parsed_is_reported_with_its_status() {
    let world = World::new(Setting::default()).await;
    for body in ["<html>Blocked</html>", "[]"] {
        let response = Response::new(200, "text/html", body);
        world.simulator.respond_with(1, |_| true, response);

        let error = world.client(AMPLE).describe(&world.arn).await.unwrap_err();

        let expected = "did not complete: the response (HTTP 200) ";
        assert!(error.to_string().contains(expected), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_from_secrets_manager_is_not_followed() {
    let world = World::new(Setting::default()).await;
    let other_host = Simulator::start().await;
    for status in [301, 302, 307, 308] {
        let redirect =
            Response::empty(status).with_header("location", other_host.secrets_manager_url());
        world.simulator.respond_with(1, |_| true, redirect);

        let outcome = world.client(AMPLE).describe(&world.arn).await;

        assert!(outcome.is_err(), "{status}: {outcome:?}");
        assert_eq!(other_host.state().request_names(), [""; 0], "{status}");
    }
}
