//! One rotation, step by step, against the simulator: `cargo run --example demo -- --help`.
//!
//! The function and the HTTP requests are real. The services are simulated on loopback.

#![expect(clippy::print_stdout, reason = "the output is for the user")]
#![expect(clippy::expect_used, reason = "the example sets up its own data")]

mod function;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use confluent_key_rotation::error::Error;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::preflight::Outcome;
use serde_json::{Value, json};
use simulator::{Overlap, Request, Role, Service, Simulator};

const HELP: &str = "\
Shows one rotation of a Confluent Cloud API key. It requires no account and no network.

Usage: cargo run --example demo -- [OPTIONS]

  --key-type <TYPE>  cloud, kafka, schema-registry, ksqldb, flink, tableflow or global [default: kafka]
  --self             use self-rotation: authenticate with the secret's own key instead of the admin key
  --policy <POLICY>  what to do with the previous key: delete, keep-until-next-rotation [default: delete]
  --preflight        don't rotate: report whether everything that a rotation requires is in place
  --help             print this help";

const OWNER: &str = "sa-orders";
const ENVIRONMENT: &str = "env-prod";
/// How long a new key takes to propagate. In Confluent Cloud, it takes seconds to minutes.
const PROPAGATION_DELAY: Duration = Duration::from_millis(1500);

/// The steps and what they do.
const STEPS: [(&str, &str); 4] = [
    (
        "createSecret",
        "creates an API key and stores it as AWSPENDING",
    ),
    (
        "setSecret",
        "sends no request: creating a key also activates it",
    ),
    ("testSecret", "probes the key until its resource accepts it"),
    (
        "finishSecret",
        "verifies the key again, promotes its version to AWSCURRENT, then deletes the previous key if the policy is delete",
    ),
];

const POLICIES: [&str; 2] = ["delete", "keep-until-next-rotation"];
const KEY_TYPES: [(&str, Option<&str>); 7] = [
    ("cloud", None),
    ("kafka", Some("lkc-orders")),
    ("schema-registry", Some("lsrc-orders")),
    ("ksqldb", Some("lksqlc-orders")),
    ("flink", Some("aws.us-west-2")),
    ("tableflow", Some("Tableflow")),
    ("global", Some("Global")),
];

/// The options of the command line.
struct Options {
    key_type: &'static str,
    resource: Option<&'static str>,
    self_rotation: bool,
    policy: &'static str,
    preflight: bool,
}

/// The rotation of a secret.
struct Demo {
    simulator: Simulator,
    function: Function,
    arn: String,
    /// The ID of the key that is current at the start.
    original_key: String,
    /// The ID of the admin key.
    admin_key: String,
    began: SystemTime,
    /// The number of requests that were shown.
    shown: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let mut demo = Demo::new(&options).await;
    if options.preflight {
        let is_ready = demo.preflight().await;
        return ExitCode::from(u8::from(!is_ready));
    }
    demo.introduce(&options);
    let has_rotated = demo.rotate().await;
    let has_kept_guarantees = demo.summarize();
    ExitCode::from(u8::from(!has_rotated || !has_kept_guarantees))
}

impl Options {
    /// Parses the command line. Returns `None` if it contains `--help`.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut key_type, mut policy) = ("kafka".to_owned(), "delete".to_owned());
        let (mut self_rotation, mut preflight) = (false, false);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" => return Ok(None),
                "--self" => self_rotation = true,
                "--preflight" => preflight = true,
                "--key-type" => key_type = arguments.next().unwrap_or_default(),
                "--policy" => policy = arguments.next().unwrap_or_default(),
                other => return Err(format!("{other} is not an option")),
            }
        }
        let names = KEY_TYPES.map(|(name, _)| name).join(", ");
        let (key_type, resource) = (KEY_TYPES.into_iter().find(|(name, _)| *name == key_type))
            .ok_or(format!("--key-type must be one of: {names}"))?;
        let policy = (POLICIES.into_iter().find(|name| *name == policy))
            .ok_or(format!("--policy must be one of: {}", POLICIES.join(", ")))?;
        Ok(Some(Self {
            key_type,
            resource,
            self_rotation,
            policy,
            preflight,
        }))
    }
}

impl Demo {
    async fn new(options: &Options) -> Self {
        let simulator = Simulator::start().await;
        match options.resource {
            Some(id) if options.key_type == "kafka" => simulator.add_kafka_cluster(id, ENVIRONMENT),
            Some(id) if options.key_type == "ksqldb" => simulator.add_ksqldb(id, ENVIRONMENT),
            Some(id) if options.key_type == "flink" => simulator.add_flink_region(id, ENVIRONMENT),
            Some(id) if id.starts_with("lsrc") => simulator.add_schema_registry(id, ENVIRONMENT),
            _ => {}
        }
        let environment = (!simulator.state().resources.is_empty()).then_some(ENVIRONMENT);
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        let (original_key, secret) = simulator.add_key(OWNER, options.resource, environment);
        let admin_key = simulator.add_key("sa-admin", None, None);
        let admin_secret = simulator.add_admin_secret("admin", &admin_key);
        let mut value = json!({
            "apiKey": original_key, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": options.resource,
            "environmentId": environment, "adminSecretArn": (!options.self_rotation).then_some(admin_secret),
            "spring.kafka.properties.basic.auth.user.info": format!("{original_key}:{secret}"),
            "sasl.jaas.config": format!(
                r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="{original_key}" password="{secret}";"#
            ),
            "team": "another field, which does not change",
        });
        if let Value::Object(fields) = &mut value {
            fields.retain(|_, value| !value.is_null());
        }
        let arn = simulator.add_secret("orders", &value.to_string());
        simulator.state().controls.propagation_delay = PROPAGATION_DELAY;
        if options.policy != "delete" {
            simulator.state().controls.overlap = Overlap::UntilNextRotation;
        }
        Self {
            function: function::function(
                &simulator,
                &[
                    ("OLD_KEY_POLICY", options.policy),
                    ("PROBE_INTERVAL_MS", "250"),
                ],
            ),
            simulator,
            arn,
            original_key,
            admin_key: admin_key.0,
            began: SystemTime::now(),
            shown: 0,
        }
    }

    fn introduce(&self, options: &Options) {
        let Options {
            key_type, policy, ..
        } = options;
        let credentials = if options.self_rotation {
            "self-rotation"
        } else {
            "an admin secret"
        };
        println!(
            "One rotation of a Confluent Cloud API key, in the four steps of AWS Secrets Manager.\n\
             The function and its requests are real. The services are simulated on this machine,\n\
             and a new key takes {PROPAGATION_DELAY:?} to propagate.\n\n\
             A secret with a key of type {key_type}, rotated with {credentials} and the policy {policy}:\n\n  {}\n",
            self.redacted_value()
        );
        self.show_keys();
    }

    /// Invokes a preflight, as an operator does. Returns whether a rotation would succeed.
    async fn preflight(&mut self) -> bool {
        let event = json!({"Step": "preflight", "SecretId": self.arn});
        let outcome = self.function.handle(function::invocation(event)).await;
        let report = outcome.expect("a preflight succeeds").expect("a report");
        println!("{}\n", report.secret);
        for check in &report.checks {
            let finding = &check.finding;
            let outcome = finding.outcome.to_string();
            println!("{outcome:<14} {:<22} {}", check.name, finding.observed);
            if let Some(remedy) = finding.remedy {
                println!("{:<37} → {remedy}", "");
            }
        }
        if let Some(rest) = &report.not_run {
            println!("not run        {}: {}", rest.checks.join(", "), rest.reason);
        }
        println!("\nverdict: {}", report.verdict);
        report.verdict < Outcome::Failed
    }

    /// Invokes the four steps, as Secrets Manager does. Returns whether they succeeded.
    async fn rotate(&mut self) -> bool {
        let token = self.simulator.start_rotation(&self.arn);
        for (step, description) in STEPS {
            println!("\n{step}: {description}");
            let event = self.simulator.event(&self.arn, &token, step);
            if let Err(error) = self.invoke(event).await {
                println!("\n{step} failed: {}\n{}\n", error.name(), error.message());
                self.show_keys();
                return false;
            }
            println!();
            self.show_keys();
        }
        self.simulator.abandon_rotation(&self.arn);
        println!("\nThe rotation is complete, and Secrets Manager removes AWSPENDING.");
        println!("\n  {}\n", self.redacted_value());
        self.show_keys();
        true
    }

    /// Invokes the function and shows its requests while it runs.
    async fn invoke(&mut self, event: Value) -> Result<(), Error> {
        let function = self.function.clone();
        let mut step = std::pin::pin!(function.handle(function::invocation(event)));
        let mut refresh = tokio::time::interval(Duration::from_millis(20));
        loop {
            let outcome = tokio::select! {
                outcome = &mut step => Some(outcome),
                _ = refresh.tick() => None,
            };
            let requests = self.simulator.state().requests.clone();
            let new = requests.iter().skip(self.shown);
            for request in new.take_while(|request| request.status.is_some()) {
                self.shown += 1;
                self.show_request(request);
            }
            if let Some(outcome) = outcome {
                return outcome.map(|_| ());
            }
        }
    }

    fn show_request(&self, request: &Request) {
        let offset = request
            .received_at
            .duration_since(self.began)
            .unwrap_or_default();
        let service = match request.service {
            Service::ControlPlane => "Confluent Cloud",
            Service::SecretsManager => "Secrets Manager",
            Service::KafkaRest => "Kafka cluster",
            Service::SchemaRegistry => "Schema Registry",
            Service::KsqlDb => "ksqlDB cluster",
            Service::Flink => "Flink region",
        };
        println!(
            "{:8.3} s  {}  {service:<15}  {:<22}  {}",
            offset.as_secs_f64(),
            request.status.unwrap_or_default(),
            self.named(request.key_id.as_deref().unwrap_or("-")),
            request.name(),
        );
    }

    /// Returns a key's ID and its role in the rotation.
    fn named(&self, id: &str) -> String {
        match id {
            "-" => id.to_owned(),
            _ if id == self.original_key => format!("{id} key 1"),
            _ if id == self.admin_key => format!("{id} admin"),
            _ => format!("{id} key 2"),
        }
    }

    /// Shows which key each staging label names, and which keys exist.
    fn show_keys(&self) {
        let state = self.simulator.state();
        for label in ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"] {
            let key = state.secret(&self.arn).key_id(label);
            println!("  {label:<13}{}", self.named(key.unwrap_or("-")));
        }
        for key in state.keys_of(OWNER) {
            let state = if key.is_accepted() {
                "accepted"
            } else {
                "propagating"
            };
            println!("  {:<13}{:<22}  {state}", "Confluent", self.named(&key.id));
        }
    }

    /// Returns the current value without the keys' secrets.
    fn redacted_value(&self) -> String {
        let state = self.simulator.state();
        let value = state.secret(&self.arn).value("AWSCURRENT");
        let mut value = value.unwrap_or_default().to_owned();
        for key in state.keys_of(OWNER) {
            value = value.replace(&key.secret, "(redacted)");
        }
        value
    }

    /// Shows the guarantees. Returns whether all requests kept them.
    fn summarize(&self) -> bool {
        let mut state = self.simulator.state();
        let violations = std::mem::take(&mut state.violations);
        println!(
            "\nChecked at each of {} requests: the resource accepts the key of AWSCURRENT; no key in use\n\
             and no key of another application is deleted; every copy of the key in the secret value is\n\
             replaced; no secret is sent to another host or logged.",
            state.requests.len()
        );
        if violations.is_empty() {
            println!("Violations: none");
        } else {
            println!("Violations:\n  {}", violations.join("\n  "));
        }
        violations.is_empty()
    }
}
