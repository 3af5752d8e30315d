//! The function against the simulator: real clients, real HTTP, and the promises checked at every request.
//!
//! [`World`] is one secret, everything its rotation needs, and the function as `main` wires it up, with
//! shorter waits.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on should say where, and counts are printed"
)]

mod client;
mod concurrency;
mod contract;
mod demo;
mod end_to_end;
mod faults;
mod generated;
mod hostile;
mod killed;
mod kinds;
mod leaks;
mod network;
mod preflight;
mod readme;
mod steps;
mod teaching;
mod waits;

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use confluent_key_rotation::config::{Config, FirstKey, Network, OldKeyPolicy};
use confluent_key_rotation::deadline::Backoff;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::preflight::Report;
use confluent_key_rotation::transport::{self, SdkHttpClient};
use confluent_key_rotation::{http, store};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::{Value, json};
use simulator::{Kind, Outcome, Role, Simulator};

/// The service account whose keys are rotated.
const OWNER: &str = "sa-orders";
/// The service account whose key signs, where there is an admin secret.
const ADMIN: &str = "sa-admin";
/// The environment of every resource.
const ENVIRONMENT: &str = "env-prod";
/// Long enough for every request of a test, however busy the machine is.
const AMPLE: Duration = Duration::from_mins(2);

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The key of an admin secret, which the secret names.
    Admin,
    /// The secret's own key.
    Own,
    /// The key of an admin secret, and the secret holds no key yet.
    FirstKey,
}

/// What a world is made with.
#[derive(Clone, Copy, Debug)]
struct Setting {
    kind: Kind,
    mode: Mode,
    policy: OldKeyPolicy,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            kind: Kind::Kafka,
            mode: Mode::Admin,
            policy: OldKeyPolicy::Delete,
        }
    }
}

/// A secret, and all that its rotation needs.
struct World {
    simulator: Simulator,
    function: Function,
    /// The secret's ARN.
    arn: String,
    /// The id of the key the secret holds at first; empty if it holds none.
    first_key: String,
    /// How long an invocation may take.
    time_limit: Duration,
}

/// The id of the resource of a kind, as a secret names it.
fn resource_id(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Cloud => None,
        Kind::Kafka => Some("lkc-orders"),
        Kind::SchemaRegistry => Some("lsrc-orders"),
        Kind::KsqlDb => Some("lksqlc-orders"),
        Kind::Flink => Some("aws.us-west-2"),
        Kind::Tableflow => Some("Tableflow"),
        Kind::Global => Some("Global"),
    }
}

fn environment_id(kind: Kind) -> Option<&'static str> {
    (!kind.is_control_plane()).then_some(ENVIRONMENT)
}

impl World {
    async fn new(setting: Setting) -> Self {
        let simulator = Simulator::start().await;
        let resource = resource_id(setting.kind);
        let environment = environment_id(setting.kind);
        match setting.kind {
            Kind::Kafka => simulator.add_kafka_cluster("lkc-orders", ENVIRONMENT),
            Kind::SchemaRegistry => simulator.add_schema_registry("lsrc-orders", ENVIRONMENT),
            Kind::KsqlDb => simulator.add_ksqldb("lksqlc-orders", ENVIRONMENT),
            Kind::Flink => simulator.add_flink_region("aws.us-west-2", ENVIRONMENT),
            Kind::Cloud | Kind::Tableflow | Kind::Global => {}
        }
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        simulator.state().knobs.keep_previous =
            setting.policy == OldKeyPolicy::KeepUntilNextRotation;
        let (mut first_key, secret) = simulator.add_key(OWNER, resource, environment);
        // Not named by the secret, and so not to be touched: the simulator sees to that.
        simulator.add_key(OWNER, resource, environment);
        simulator.add_internal_key();
        let mut value = json!({
            "apiKey": first_key,
            "apiSecret": secret,
            "serviceAccountId": OWNER,
            "resourceId": resource,
            "environmentId": environment,
            "note": {"kept": [1.0, null, "as it is"]},
        });
        if setting.mode == Mode::FirstKey {
            simulator.delete_key_by_hand(&first_key);
            first_key = String::new();
            value["apiKey"] = Value::Null;
            // The other field is not there at all.
            value.as_object_mut().unwrap().remove("apiSecret");
        }
        if setting.mode != Mode::Own {
            simulator.add_owner(ADMIN, &[Role::OrganizationAdmin]);
            let key = simulator.add_key(ADMIN, None, None);
            value["adminSecretArn"] = json!(simulator.add_admin_secret("admin", &key));
        }
        let arn = simulator.add_secret("orders/kafka", &value.to_string());
        let function = function(
            &simulator,
            &[
                ("OLD_KEY_POLICY", policy_name(setting.policy)),
                ("FIRST_KEY", first_key_name(setting.mode)),
            ],
        );
        Self {
            simulator,
            function,
            arn,
            first_key,
            time_limit: AMPLE,
        }
    }

    /// Invokes the function as Lambda does, and returns what Lambda would report.
    async fn invoke(&self, event: Value) -> Result<(), Diagnostic> {
        self.invoke_within(event, self.time_limit).await
    }

    /// Asks for a preflight of the secret.
    async fn preflight(&self) -> Report {
        let event = json!({"Step": "preflight", "SecretId": self.arn});
        let report = self.handle(event, self.time_limit).await;
        report
            .expect("a preflight fails at nothing")
            .expect("a report")
    }

    /// The same, with so much time.
    async fn invoke_within(&self, event: Value, time_limit: Duration) -> Result<(), Diagnostic> {
        self.handle(event, time_limit).await.map(|_| ())
    }

    async fn handle(
        &self,
        event: Value,
        time_limit: Duration,
    ) -> Result<Option<Report>, Diagnostic> {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time_limit;
        let mut context = Context::default();
        context.request_id = format!("request-{}", fastrand::u64(..));
        context.deadline = u64::try_from(deadline.as_millis()).unwrap();
        let invocation = LambdaEvent::new(event, context);
        // On the heap: a test holds several of them.
        let answer = Box::pin(self.function.handle(invocation)).await;
        answer.map_err(Diagnostic::from)
    }

    /// Rotates the secret, or goes on with a rotation that is not complete.
    async fn rotate(&self) -> Outcome {
        let invoke = async |event| {
            self.invoke(event)
                .await
                .map_err(|error| format!("{error:?}"))
        };
        self.simulator.rotate(&self.arn, &invoke).await
    }

    /// Takes one step of the rotation that is under way.
    async fn step(&self, step: &str) -> Result<(), Diagnostic> {
        let token = self.simulator.begin_rotation(&self.arn);
        self.invoke(self.simulator.event(&self.arn, &token, step))
            .await
    }

    /// The key that a label names.
    fn key(&self, label: &str) -> Option<String> {
        let state = self.simulator.state();
        state
            .secret(&self.arn)
            .key_named_by(label)
            .map(str::to_owned)
    }

    /// The owner's keys but for those that were never this secret's, in no order that matters.
    fn keys(&self) -> Vec<String> {
        let state = self.simulator.state();
        let keys = state.keys_of(OWNER).into_iter();
        keys.filter(|key| !state.is_foreign(key))
            .map(|key| key.id.clone())
            .collect()
    }

    /// Asserts that these and no other of the owner's keys exist that are or were the secret's.
    fn assert_keys(&self, expected: &[String], case: &dyn Debug) {
        let mut expected = expected.to_vec();
        let mut keys = self.keys();
        expected.sort();
        keys.sort();
        assert_eq!(keys, expected, "{case:?}");
    }

    /// What was asked for since the last look.
    fn requests(&self) -> Vec<String> {
        let requests = self.simulator.state().labels();
        self.simulator.forget_requests();
        requests
    }

    /// Puts another value into the secret, as a person would.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut value = self.value("AWSCURRENT");
        change(&mut value);
        self.simulator.put_by_hand(&self.arn, &value.to_string());
    }

    /// The value of the version that a label is on.
    fn value(&self, label: &str) -> Value {
        let state = self.simulator.state();
        let value = state
            .secret(&self.arn)
            .value(label)
            .unwrap_or_else(|| panic!("no {label}"));
        serde_json::from_str(value).unwrap()
    }

    /// Sets a variable of the function's environment.
    fn set(&mut self, name: &str, value: &str) {
        let config = &self.function.config;
        let policy = policy_name(config.old_key_policy);
        let first_key = match config.first_key {
            FirstKey::Off => "off",
            FirstKey::Allow => "allow",
        };
        self.function = function(
            &self.simulator,
            &[
                ("OLD_KEY_POLICY", policy),
                ("FIRST_KEY", first_key),
                (name, value),
            ],
        );
    }
}

fn first_key_name(mode: Mode) -> &'static str {
    if mode == Mode::FirstKey {
        "allow"
    } else {
        "off"
    }
}

fn policy_name(policy: OldKeyPolicy) -> &'static str {
    match policy {
        OldKeyPolicy::Delete => "delete",
        OldKeyPolicy::KeepUntilNextRotation => "keep-until-next-rotation",
    }
}

/// The function as `main` makes it, with the simulator's addresses and shorter waits.
fn function(simulator: &Simulator, variables: &[(&str, &str)]) -> Function {
    let control_plane = simulator.confluent_url();
    let config = Config::read(|name| {
        let (_, value) = variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .copied()
            .or_else(|| {
                let defaults = [
                    ("CONFLUENT_API_URL", control_plane.as_str()),
                    ("PROBE_INTERVAL_MS", "1"),
                ];
                defaults.into_iter().find(|(known, _)| *known == name)
            })?;
        Some(value.to_owned())
    });
    let config = config.unwrap();
    let http = transport::client(&config.network).unwrap();
    let sdk = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(
            "AKIAEXAMPLE",
            "example",
            None,
            None,
            "test",
        ))
        .endpoint_url(simulator.secrets_manager_url())
        .http_client(SdkHttpClient(http.clone()))
        .build();
    let quick = Backoff {
        first: Duration::from_millis(1),
        factor: 1.5,
        longest: Duration::from_millis(5),
        times: 5,
    };
    Function {
        config,
        http,
        secrets_manager: aws_sdk_secretsmanager::Client::from_conf(sdk),
        crowd: http::Crowd::default(),
        http_limits: http::Limits {
            request: Duration::from_millis(500),
            repeats: quick,
        },
        store_limits: store::Limits {
            attempt: Duration::from_millis(500),
            first_repeat: Duration::from_millis(1),
            longest_repeat: Duration::from_millis(100),
            visible: quick,
            // Nothing that was read counts as fresh, as if every answer had taken long.
            fresh: Duration::ZERO,
        },
    }
}
