//! No secret is ever printed.
//!
//! Everything that a rotation prints at the lowest level is searched, and so is every error it ends with: in calm
//! weather, with a fault at a request, with values and answers that cannot be read, and in [`echoes`].
//! [`panics`] is about what would be printed without us.

mod echoes;
mod panics;

use std::io;
use std::sync::{Arc, Mutex};

use confluent_key_rotation::config::Logging;
use confluent_key_rotation::confluent::Confluent;
use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::deadline::Deadline;
use confluent_key_rotation::document::Document;
use confluent_key_rotation::event::Event;
use confluent_key_rotation::http::{AllowedHosts, Answer, Http, Request};
use confluent_key_rotation::logging;
use confluent_key_rotation::rotation::Rotation;
use confluent_key_rotation::store::Store;
use reqwest::{Method, StatusCode};
use simulator::{CANARY, Fault, Plane, Quota, QuotaAnswer, Watch};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use url::Url;

use super::kinds::KINDS;
use super::*;

/// The canary as it may be found in a text: as it is (which is also how a URL and JSON spell it), in base64, where
/// it begins at any of three places in a group, and as bytes.
const FORMS: [&str; 6] = [
    CANARY,
    "Q0FOQVJZ",
    "NBTkFSW",
    "DQU5BUl",
    "67, 65, 78, 65, 82, 89",
    "43414e415259",
];

/// What is printed from now on, at every level, until this is dropped.
struct Printed {
    text: Arc<Mutex<Vec<u8>>>,
    _subscribed: DefaultGuard,
}

impl Printed {
    fn from_now_on(json: bool) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(Arc::clone(&text));
        let level = LevelFilter::TRACE;
        let subscriber = logging::subscriber(Logging { level, json }, move || writer.clone());
        Self {
            text,
            _subscribed: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asserts that no secret of the simulator's is in `text`, in any form.
fn assert_no_secret(simulator: &Simulator, text: &str, case: &str) {
    let canaries = simulator.canaries();
    // What makes the search for the canary a search for all of them.
    assert!(canaries.iter().all(|secret| secret.contains(CANARY)));
    assert!(canaries.len() >= 2, "{case}: nothing to look for");
    for form in FORMS {
        let line = text.lines().find(|line| line.contains(form));
        assert!(line.is_none(), "{case}: {form} is in {line:?}");
    }
}

impl World {
    /// Rotates, and asserts that neither the lines nor the outcome show a secret.
    async fn rotate_searched(&self, json: bool, case: &str) -> Outcome {
        let printed = Printed::from_now_on(json);
        let outcome = self.rotate().await;
        let text = printed.text();
        assert_no_secret(&self.simulator, &text, case);
        assert_no_secret(&self.simulator, &format!("{outcome:?}"), case);
        outcome
    }

    /// Puts a text into the secret that need not be a usable value.
    fn put(&self, value: &str) {
        self.simulator.state().secret_mut(&self.arn).watch = Watch::Off;
        self.simulator.put_by_hand(&self.arn, value);
    }

    /// The id and the secret of the key that a secret names.
    fn key_of(&self, arn: &str) -> (String, String) {
        let state = self.simulator.state();
        let id = state.secret(arn).key_named_by("AWSCURRENT").unwrap();
        (id.to_owned(), state.keys[id].secret.clone())
    }

    /// The id and the secret of the key that signs.
    fn signer(&self) -> (String, String) {
        let value = self.value("AWSCURRENT");
        self.key_of(value["adminSecretArn"].as_str().unwrap())
    }

    fn answer_operation(&self, operation: &'static str, answer: simulator::Answer) {
        let is_it = move |request: &simulator::Request| request.label() == operation;
        self.simulator.answer(usize::MAX, is_it, answer);
    }
}

/// No secret value, `RotationToken` or admin credential appears in a log line, an error, a `Debug`, a metric or a
/// response, at any log level.
#[tokio::test]
async fn a_rotation_of_any_kind_prints_no_secret() {
    for kind in KINDS {
        for (mode, json) in [(Mode::Admin, true), (Mode::Admin, false), (Mode::Own, true)] {
            let world = World::new(Setting {
                kind,
                mode,
                ..Setting::default()
            })
            .await;
            let case = format!("{kind:?}, {mode:?}, json {json}");

            let outcome = world.rotate_searched(json, &case).await;

            // Only Cloud keys can sign for themselves.
            let can_sign = mode == Mode::Admin || kind == Kind::Cloud;
            assert_eq!(
                outcome == Outcome::Succeeded,
                can_sign,
                "{case}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_rotation_that_is_disturbed_prints_no_secret() {
    let calm = World::new(Setting::default()).await;
    assert_eq!(calm.rotate().await, Outcome::Succeeded);
    let requests = calm.requests();
    for (offset, fault) in Fault::ALL.into_iter().enumerate() {
        // Every request meets some fault, and every fault some request of each step.
        for nth in (offset % 5..requests.len()).step_by(5) {
            let case = format!("{fault:?} at request {nth}, {}", requests[nth]);
            let mut world = World::new(Setting::default()).await;
            world.function.http_limits.request = Duration::from_millis(200);
            world.simulator.fail(nth, fault);

            world.rotate_searched(true, &case).await;
            world.rotate_searched(true, &case).await;
        }
    }
}

#[tokio::test]
async fn a_secret_value_that_is_not_usable_is_not_printed() {
    let world = World::new(Setting::default()).await;
    let good = world.value("AWSCURRENT");
    let (id, secret) = world.key_of(&world.arn);
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed.to_string()
    };
    for value in [
        secret.clone(),
        json!(secret).to_string(),
        json!([secret]).to_string(),
        format!(r#"{{"apiKey": "{id}", "apiSecret": "{secret}"#),
        format!(r#"{{"apiSecret": "{secret}", "apiSecret": "{secret}"}}"#),
        with("apiKey", json!(secret)),
        with("apiKey", json!([secret])),
        with("apiSecret", json!([secret])),
        with("apiSecret", json!(format!("{secret}\u{0}"))),
        with("apiSecret", json!(format!("{secret}wrong"))),
        with("serviceAccountId", json!(secret)),
        with("resourceId", json!(secret)),
        with("environmentId", json!(secret)),
        with("environmentId", json!([secret])),
        with("adminSecretArn", json!([secret])),
        with("endpoint", json!(secret)),
        with(
            "endpoint",
            json!(format!("https://{id}:{secret}@evil.example")),
        ),
        with("endpoint", json!(format!("https://evil.example/{secret}"))),
        with("endpoint", json!("https://evil.example")),
    ] {
        world.put(&value);
        let case = value.replace(&secret, "(secret)");

        let outcome = world.rotate_searched(true, &case).await;

        assert_ne!(outcome, Outcome::Succeeded, "{case}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_printed() {
    for operation in [
        "GetSecretValue",
        "DescribeSecret",
        "PutSecretValue",
        "GET /iam/v2/api-keys",
        "POST /iam/v2/api-keys",
        "GET /cmk/v2/clusters/lkc-orders",
        "GET /kafka/v3/clusters/lkc-orders/topics",
    ] {
        for status in [200, 400, 500] {
            let mut world = World::new(Setting::default()).await;
            world.time_limit = Duration::from_millis(1500);
            let (id, secret) = world.key_of(&world.arn);
            for body in [
                secret.clone(),
                format!(r#"{{"SecretString": "{secret}", "data": ["{secret}"#),
                json!({"SecretString": [secret], "data": {"id": secret}, "id": [secret]})
                    .to_string(),
                json!({"SecretString": secret, "id": id, "spec": {"secret": [secret]}}).to_string(),
            ] {
                let case = format!(
                    "{operation}, {status}, {}",
                    body.replace(&secret, "(secret)")
                );
                let is_it = move |request: &simulator::Request| request.label() == operation;
                let answer = simulator::Answer::new(status, "application/json", body);
                world.simulator.answer(8, is_it, answer);

                world.rotate_searched(true, &case).await;
            }
        }
    }
}

/// Puts something into a rotation's way.
type Arrange = fn(&World);

#[tokio::test]
async fn a_refusal_of_any_sort_prints_no_secret() {
    let refusals: [(&str, Arrange); 9] = [
        ("the admin secret's key is wrong", |world| {
            let (id, secret) = world.signer();
            let arn = world.value("AWSCURRENT")["adminSecretArn"]
                .as_str()
                .unwrap()
                .to_owned();
            let value = json!({"apiKey": id, "apiSecret": format!("{secret}wrong")});
            world.simulator.state().secret_mut(&arn).watch = Watch::Off;
            world.simulator.put_by_hand(&arn, &value.to_string());
        }),
        ("the admin secret holds no key", |world| {
            let (_, secret) = world.signer();
            let arn = world.value("AWSCURRENT")["adminSecretArn"]
                .as_str()
                .unwrap()
                .to_owned();
            world.simulator.state().secret_mut(&arn).watch = Watch::Off;
            world
                .simulator
                .put_by_hand(&arn, &json!([secret]).to_string());
        }),
        ("the current key is gone", |world| {
            world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
            world.simulator.delete_key_by_hand(&world.first_key);
        }),
        ("there is a quota", |world| {
            let answer = QuotaAnswer::BadRequest;
            world.simulator.state().knobs.quota = Some(Quota {
                per_owner: 1,
                answer,
            });
        }),
        ("the put is denied", |world| {
            let denied = simulator::Answer::aws_access_denied("PutSecretValue");
            world.answer_operation("PutSecretValue", denied);
        }),
        ("the key of KMS is denied", |world| {
            world.answer_operation("GetSecretValue", simulator::Answer::aws_kms_denied());
        }),
        ("the label is not moved", |world| {
            let refusal = simulator::Answer::aws_error(400, "InvalidParameterException", "no");
            world.answer_operation("UpdateSecretVersionStage", refusal);
        }),
        ("the endpoint is not allowed", |world| {
            let mut state = world.simulator.state();
            let cluster = state.resources.get_mut("lkc-orders").unwrap();
            cluster.advertised = Some("https://confluent.cloud.evil.example".to_owned());
        }),
        ("nobody is at the endpoint", |world| {
            let nobody = world.simulator.unreachable_url();
            let mut state = world.simulator.state();
            state.resources.get_mut("lkc-orders").unwrap().advertised = Some(nobody);
        }),
    ];
    for (case, arrange) in refusals {
        for json in [true, false] {
            let world = World::new(Setting::default()).await;
            arrange(&world);

            let outcome = world.rotate_searched(json, case).await;

            assert_ne!(outcome, Outcome::Succeeded, "{case}");
        }
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_not_printed() {
    let world = World::new(Setting::default()).await;
    let token = world.simulator.begin_rotation(&world.arn);
    let good = world.simulator.event(&world.arn, &token, "createSecret");
    let secret = good["RotationToken"].clone();
    let with = |field: &str, value: &Value| {
        let mut changed = good.clone();
        changed[field] = value.clone();
        changed
    };
    for event in [
        secret.clone(),
        json!([secret]),
        with("Step", &secret),
        with("Step", &json!([secret])),
        with("SecretId", &json!([secret])),
        with("ClientRequestToken", &json!({"token": secret})),
        with("ClientRequestToken", &json!(format!("{secret} {secret}"))),
        with("RotationToken", &json!([secret])),
    ] {
        let printed = Printed::from_now_on(true);

        let outcome = world.invoke(event).await;

        let error = format!("{:?}", outcome.unwrap_err());
        assert_no_secret(&world.simulator, &printed.text(), "an event");
        assert_no_secret(&world.simulator, &error, "an event");
    }
}

#[tokio::test]
async fn an_error_with_all_its_causes_shows_no_secret() {
    for fault in [Fault::InternalError, Fault::ResetAfter, Fault::StallAfter] {
        let world = World::new(Setting::default()).await;
        let (id, secret) = world.signer();
        let key = ApiKey {
            id: ApiKeyId::new(id),
            secret: Redacted::new(secret.clone()),
        };
        let echo = simulator::Answer::confluent_error(409, Some(&secret), &secret, &secret);
        world.simulator.answer(1, |_| true, echo);
        world.simulator.fail(1, fault);
        let allowed = AllowedHosts::new(world.function.config.confluent_url.clone(), Vec::new());
        let http = Http::new(
            world.function.http.clone(),
            allowed,
            world.function.http_limits,
        );
        let request = request(&world, &key);

        let refused = http.send_once(&request, Deadline::after(AMPLE)).await;
        let failed = http.send_once(&request, Deadline::after(AMPLE)).await;

        for error in [refused.unwrap_err(), failed.unwrap_err()] {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            let mut shown = Vec::new();
            while let Some(error) = cause {
                shown.push(format!("{error} {error:?} {error:#?}"));
                cause = error.source();
            }
            assert_no_secret(&world.simulator, &shown.join("\n"), &format!("{fault:?}"));
        }
    }
}

fn request<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    Request {
        method: Method::GET,
        url: Url::parse(&format!(
            "{}/org/v2/environments",
            world.simulator.confluent_url()
        ))
        .unwrap(),
        key,
        media_type: "application/json",
        body: None,
    }
}

#[tokio::test]
async fn what_holds_a_secret_does_not_show_it() {
    let world = World::new(Setting::default()).await;
    let token = world.simulator.begin_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, "createSecret");
    let event = Event::parse(&event).unwrap();
    let (id, secret) = world.key_of(&world.arn);
    let key = ApiKey {
        id: ApiKeyId::new(id),
        secret: Redacted::new(secret.clone()),
    };
    let value = Redacted::new(world.value("AWSCURRENT").to_string());
    let mut function = world.function.clone();
    let sdk = function.secrets_manager.config().to_builder();
    let credentials = Credentials::new("AKIAEXAMPLE", CANARY, Some(CANARY.into()), None, "test");
    let sdk = sdk.credentials_provider(credentials).build();
    function.secrets_manager = aws_sdk_secretsmanager::Client::from_conf(sdk);
    let deadline = Deadline::after(AMPLE);
    let url = Url::parse("https://api.confluent.cloud").unwrap();
    let allowed = AllowedHosts::new(url.clone(), Vec::new());
    let http = Http::new(function.http.clone(), allowed, function.http_limits);
    let rotation = Rotation {
        event: &event,
        config: &function.config,
        store: &Store::new(
            function.secrets_manager.clone(),
            deadline,
            function.store_limits,
        ),
        confluent: &Confluent::new(http, url, deadline),
        deadline,
        invocation: "request",
    };
    let body = json!({"spec": {"secret": secret}}).to_string();
    let answer = Answer::new(StatusCode::OK, None, body.into());
    let request = request(&world, &key);
    let document = Document::parse(value.clone()).unwrap();

    let shown: [(&str, &dyn Debug); 8] = [
        ("Function", &function),
        ("Rotation", &rotation),
        ("Event", &event),
        ("Request", &request),
        ("Answer", &answer),
        ("Document", &document),
        ("ApiKey", &key),
        ("Redacted", &value),
    ];

    for (case, value) in shown {
        assert_no_secret(&world.simulator, &format!("{value:?} {value:#?}"), case);
    }
}

#[tokio::test]
async fn at_the_lowest_level_no_library_prints_below_warn() {
    let world = World::new(Setting::default()).await;
    let printed = Printed::from_now_on(false);

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let text = printed.text();
    assert!(text.lines().any(|line| line.contains(" DEBUG ")), "{text}");
    for line in text.lines() {
        // The spans around an event are printed before its target.
        let is_ours = line.contains("confluent_key_rotation::") || line.contains("\"_aws\":");
        assert!(is_ours, "{line}");
    }
}

#[test]
fn a_library_that_prints_the_event_at_trace_is_not_heard() {
    for json in [true, false] {
        let printed = Printed::from_now_on(json);

        tracing::trace!(target: "lambda_runtime::layers::trace", "an event at trace");
        tracing::debug!(target: "aws_smithy_runtime::client", "a body at debug");
        tracing::info!(target: "hyper_util::client", "a connection at info");
        tracing::info!(target: "confluent_key", "not ours at info");
        tracing::warn!(target: "aws_smithy_runtime", "an answer at warn");
        tracing::error!(target: "reqwest", "an error of a library");
        tracing::warn!(target: "lambda_runtime", "a warning");
        tracing::error!(target: "lambda_runtime", "an error");

        let text = printed.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("a warning"), "{text}");
        assert!(text.contains("an error"), "{text}");
    }
}
