//! Secrets Manager: what is read, what is written, and what becomes of an answer that cannot be read.

use std::time::Instant;

use confluent_key_rotation::store::{CURRENT, Error, PENDING, PREVIOUS, Store};

use super::*;

/// A world in whose secret a rotation has begun.
struct Rotating {
    world: World,
    store: Store,
    /// The version that is current.
    current: String,
    /// The version that is to become current, and has no value yet.
    token: String,
}

impl Rotating {
    async fn new() -> Self {
        let world = World::new(Setting::default()).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let current = world.simulator.state().secret(&world.arn).labels[CURRENT].clone();
        Self {
            store: world.store(AMPLE),
            world,
            current,
            token,
        }
    }

    /// What is on the wire's other side: which version a label is on.
    fn label(&self, label: &str) -> Option<String> {
        let state = self.world.simulator.state();
        state.secret(&self.world.arn).labels.get(label).cloned()
    }

    async fn put(&self, value: &str) -> Result<(), Error> {
        let event = (self.world.simulator).event(&self.world.arn, &self.token, "createSecret");
        let rotation_token = event["RotationToken"].as_str();
        let rotation_token = rotation_token.map(|token| Redacted::new(token.to_owned()));
        let value = Redacted::new(value.to_owned());
        self.store
            .put_pending(
                &self.world.arn,
                &self.token,
                &value,
                rotation_token.as_ref(),
            )
            .await
    }
}

impl World {
    /// The store, for so long.
    fn store(&self, left: Duration) -> Store {
        Store::new(
            self.function.secrets_manager.clone(),
            Deadline::after(left),
            self.function.store_limits,
        )
    }
}

#[tokio::test]
async fn a_description_tells_which_version_bears_which_label() {
    let Rotating {
        world,
        store,
        current,
        token,
    } = Rotating::new().await;

    let labels = store.describe(&world.arn).await.unwrap();

    assert_eq!(labels.arn, world.arn);
    assert!(labels.rotation_enabled);
    assert_eq!(labels.version_with(CURRENT), Some(current.as_str()));
    assert_eq!(labels.version_with(PENDING), Some(token.as_str()));
    assert_eq!(labels.version_with(PREVIOUS), None);
    assert!(labels.has(&token, PENDING));
    assert!(!labels.has(&token, CURRENT));
    assert_eq!(labels.of("unknown"), None);
}

#[tokio::test]
async fn a_description_by_name_tells_the_arn_and_the_admin_secret() {
    let world = World::new(Setting::default()).await;
    let admin = Some("arn:aws:secretsmanager:::admin".to_owned());
    let set = |secret: &mut simulator::Secret| secret.admin_secret_arn.clone_from(&admin);
    set(world.simulator.state().secret_mut(&world.arn));

    let labels = world.store(AMPLE).describe("orders/kafka").await.unwrap();

    assert_eq!(labels.arn, world.arn);
    assert_eq!(labels.admin_secret_arn, admin);
}

#[tokio::test]
async fn rotation_that_was_never_enabled_is_not_enabled() {
    let world = World::new(Setting::default()).await;
    for enabled in [None, Some(false)] {
        world
            .simulator
            .state()
            .secret_mut(&world.arn)
            .rotation_enabled = enabled;

        let labels = world.store(AMPLE).describe(&world.arn).await.unwrap();

        assert!(!labels.rotation_enabled, "{enabled:?}");
    }
}

#[tokio::test]
async fn a_value_is_read_by_its_version_and_its_label() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);

    let value = store.value(&world.arn, &rotating.current, CURRENT).await;

    let expected = world.value(CURRENT).to_string();
    assert_eq!(value.unwrap().unwrap().expose(), expected);
}

#[tokio::test]
async fn a_version_without_a_value_has_none() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);

    let value = store.value(&world.arn, &rotating.token, PENDING).await;

    assert_eq!(value.unwrap(), None);
}

#[tokio::test]
async fn a_version_that_does_not_bear_the_label_is_not_read() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);

    let value = store.value(&world.arn, &rotating.current, PENDING).await;

    let error = value.unwrap_err();
    assert_eq!(error.code(), Some("InvalidRequestException"), "{error}");
}

#[tokio::test]
async fn a_value_that_was_just_written_is_waited_for() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);
    world.simulator.state().knobs.value_lag = 2;
    rotating.put("{}").await.unwrap();

    let value = store
        .written_value(&world.arn, &rotating.token, PENDING)
        .await;

    assert_eq!(value.unwrap().unwrap().expose(), "{}");
}

#[tokio::test]
async fn a_value_that_never_appears_is_waited_for_so_often_and_no_longer() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);

    let value = store
        .written_value(&world.arn, &rotating.token, PENDING)
        .await;

    assert_eq!(value.unwrap(), None);
    let tries = 1 + world.function.store_limits.visible.times;
    assert_eq!(world.requests().len(), tries as usize);
}

#[tokio::test]
async fn a_binary_value_is_refused_with_what_to_store_instead() {
    let world = World::new(Setting::default()).await;
    let arn = world.simulator.add_binary_secret("binary", b"hunter2");

    let error = world.store(AMPLE).current_value(&arn).await.unwrap_err();

    assert!(matches!(error, Error::Binary { .. }), "{error:?}");
    let message = confluent_key_rotation::error::Error::from(error).message();
    assert!(message.contains("SecretString"), "{message}");
}

#[tokio::test]
async fn a_put_stages_the_value_and_can_be_repeated() {
    let rotating = Rotating::new().await;

    let first = rotating.put(r#"{"a": 1}"#).await;
    let second = rotating.put(r#"{"a": 1}"#).await;

    assert!(first.is_ok(), "{first:?}");
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(rotating.world.value(PENDING), json!({"a": 1}));
    // The simulator takes a put without token, label or `RotationToken` for a violation.
    rotating.world.simulator.assert_promises_kept();
}

#[tokio::test]
async fn a_put_of_another_value_is_refused_with_its_code() {
    let rotating = Rotating::new().await;
    rotating.put(r#"{"a": 1}"#).await.unwrap();

    let error = rotating.put(r#"{"a": 2}"#).await.unwrap_err();

    assert_eq!(error.code(), Some("ResourceExistsException"), "{error}");
    assert!(!error.may_have_been_carried_out());
    assert_eq!(rotating.world.value(PENDING), json!({"a": 1}));
}

#[tokio::test]
async fn an_event_without_a_rotation_token_leads_to_a_put_without_one() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().knobs.without_rotation_token = true;
    let token = world.simulator.begin_rotation(&world.arn);
    let value = Redacted::new("{}".to_owned());

    let put = world.store(AMPLE);
    let put = put.put_pending(&world.arn, &token, &value, None).await;

    assert!(put.is_ok(), "{put:?}");
    world.simulator.assert_promises_kept();
}

#[tokio::test]
async fn the_current_label_moves_and_leaves_the_previous_one_behind() {
    let rotating = Rotating::new().await;
    let Rotating {
        world,
        store,
        current,
        token,
    } = &rotating;
    rotating
        .put(&world.value(CURRENT).to_string())
        .await
        .unwrap();

    let moved = store.move_current(&world.arn, current, token).await;

    assert!(moved.is_ok(), "{moved:?}");
    assert_eq!(rotating.label(CURRENT).as_ref(), Some(token));
    assert_eq!(rotating.label(PREVIOUS).as_ref(), Some(current));
}

#[tokio::test]
async fn the_current_label_is_not_taken_from_a_version_that_does_not_bear_it() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);
    rotating.put("{}").await.unwrap();
    let later = (world.simulator).put_by_hand(&world.arn, &world.value(CURRENT).to_string());

    let moved = store
        .move_current(&world.arn, &rotating.current, &rotating.token)
        .await;

    let error = moved.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterException"), "{error}");
    assert_eq!(rotating.label(CURRENT), Some(later));
}

#[tokio::test]
async fn the_pending_label_is_taken_off_its_version_alone() {
    let rotating = Rotating::new().await;
    let (world, store) = (&rotating.world, &rotating.store);

    let wrong = store.drop_pending(&world.arn, &rotating.current).await;
    let right = store.drop_pending(&world.arn, &rotating.token).await;

    assert_eq!(wrong.unwrap_err().code(), Some("InvalidParameterException"));
    assert!(right.is_ok(), "{right:?}");
    assert_eq!(rotating.label(PENDING), None);
}

#[tokio::test]
async fn every_call_is_repeated_after_every_fault() {
    for fault in survivable() {
        let rotating = Rotating::new().await;
        let Rotating {
            world,
            store,
            current,
            token,
        } = &rotating;
        let value = world.value(CURRENT).to_string();
        let fail_next = || {
            world.simulator.forget_requests();
            world.simulator.fail(0, fault);
        };

        fail_next();
        let described = store.describe(&world.arn).await;
        fail_next();
        let read = store.value(&world.arn, current, CURRENT).await;
        fail_next();
        let put = rotating.put(&value).await;

        assert!(described.is_ok(), "{fault:?}: {described:?}");
        assert!(read.is_ok(), "{fault:?}: {read:?}");
        assert!(put.is_ok(), "{fault:?}: {put:?}");
        assert_eq!(world.requests(), ["PutSecretValue"; 2], "{fault:?}");
        assert_eq!(rotating.label(PENDING).as_ref(), Some(token), "{fault:?}");
    }
}

#[tokio::test]
async fn repeats_come_to_an_end_and_the_last_refusal_is_told() {
    let world = World::new(Setting::default()).await;
    let store = world.store(AMPLE);
    for (status, code) in [(400, "ThrottlingException"), (500, "InternalServiceError")] {
        let refusal =
            Answer::aws_error(status, code, "no").with_header("x-amzn-requestid", "req-42");
        world.simulator.answer(3, |_| true, refusal);

        let error = store.describe(&world.arn).await.unwrap_err();

        assert_eq!(error.code(), Some(code), "{error}");
        for part in ["DescribeSecret", world.arn.as_str(), code, "req-42"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert_eq!(world.requests().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn a_refusal_that_stands_is_not_sent_again() {
    let world = World::new(Setting::default()).await;
    for refusal in [
        Answer::aws_access_denied("DescribeSecret"),
        Answer::aws_kms_denied(),
    ] {
        world.simulator.answer(1, |_| true, refusal);

        let error = world.store(AMPLE).describe(&world.arn).await.unwrap_err();

        assert_eq!(error.code(), Some("AccessDeniedException"), "{error}");
        assert_eq!(world.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_call_ends_with_the_deadline() {
    for left in [Duration::ZERO, Duration::from_millis(300)] {
        let mut world = World::new(Setting::default()).await;
        world.function.store_limits.attempt = AMPLE;
        world.simulator.fail(0, Fault::StallBefore);
        let asked = Instant::now();

        let outcome = world.store(left).describe(&world.arn).await;

        let error = outcome.unwrap_err();
        assert!(error.may_have_been_carried_out(), "{error}");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(asked.elapsed() < AMPLE / 2, "{left:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_listener_says_that_it_was_not_answered() {
    let world = World::new(Setting::default()).await;
    let mut config = world.function.secrets_manager.config().to_builder();
    config.set_endpoint_url(Some(world.simulator.unreachable_url()));
    let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let store = Store::new(client, Deadline::after(AMPLE), world.function.store_limits);

    let error = store.describe(&world.arn).await.unwrap_err();

    assert!(matches!(error, Error::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_validation_error_is_not_quoted() {
    let rotating = Rotating::new().await;
    let message = "Value 'hunter2' at 'secretString' failed to satisfy constraint";
    let refusal = Answer::aws_error(400, "ValidationException", message);
    rotating.world.always_answer(refusal);

    let error = rotating.put("hunter2").await.unwrap_err();

    assert_eq!(error.code(), Some("ValidationException"));
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_quoted() {
    for body in [
        "hunter2".to_owned(),
        r#"{"SecretString": "hunter2"#.to_owned(),
        json!({"SecretString": ["hunter2"]}).to_string(),
        json!({"SecretString": {"hunter2": 1}}).to_string(),
        json!({"SecretBinary": "hunter2 is no base64"}).to_string(),
        json!({"CreatedDate": "hunter2", "SecretString": "hunter2"}).to_string(),
        json!(["hunter2"]).to_string(),
        "<html>hunter2</html>".to_owned(),
    ] {
        for status in [200, 400, 500] {
            let Rotating {
                world,
                store,
                current,
                ..
            } = Rotating::new().await;
            let answer = Answer::new(status, "application/x-amz-json-1.1", body.clone());
            world.always_answer(answer);

            let outcome = store.value(&world.arn, &current, CURRENT).await;

            let error = outcome.expect_err(&body);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{status}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_redirect_of_secrets_manager_is_not_followed() {
    let world = World::new(Setting::default()).await;
    let elsewhere = Simulator::start().await;
    for status in [301, 302, 307, 308] {
        let redirect =
            Answer::empty(status).with_header("location", elsewhere.secrets_manager_url());
        world.simulator.answer(1, |_| true, redirect);

        let outcome = world.store(AMPLE).describe(&world.arn).await;

        assert!(outcome.is_err(), "{status}: {outcome:?}");
        assert_eq!(elsewhere.state().labels(), [""; 0], "{status}");
    }
}
