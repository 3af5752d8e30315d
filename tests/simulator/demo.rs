//! One rotation, step by step, against the simulator: `cargo run --example demo -- --help`.
//!
//! The function is the real one and so is the HTTP; only the services are played, on loopback.

#![expect(clippy::print_stdout, reason = "it is there to be read")]
#![expect(clippy::expect_used, reason = "what it arranges itself is there")]

mod function;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confluent_key_rotation::error::Error;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::preflight::Outcome;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use simulator::{Plane, Request, Role, Simulator};

const HELP: &str = "\
Shows one rotation of a Confluent Cloud API key, without an account and without a network.

Usage: cargo run --example demo -- [OPTIONS]

  --kind <KIND>      cloud, kafka, schema-registry, ksqldb, flink, tableflow or global [default: kafka]
  --self             sign with the secret's own key, not with an admin secret's
  --policy <POLICY>  what becomes of the old key: delete, keep-until-next-rotation [default: delete]
  --preflight        no rotation: a report on all that one needs
  --help             this text";

const OWNER: &str = "sa-orders";
const ENVIRONMENT: &str = "env-prod";
/// How long a new key is refused. At Confluent it is seconds to minutes.
const SETTLES_AFTER: Duration = Duration::from_millis(1500);

/// Each step, and what it does.
const STEPS: [(&str, &str); 4] = [
    ("createSecret", "a key is made and staged as AWSPENDING"),
    ("setSecret", "the staged value is compared to the current"),
    (
        "testSecret",
        "the key is tried until its resource accepts it",
    ),
    (
        "finishSecret",
        "AWSCURRENT moves, and the old key is retired",
    ),
];

const POLICIES: [&str; 2] = ["delete", "keep-until-next-rotation"];
const KINDS: [(&str, Option<&str>); 7] = [
    ("cloud", None),
    ("kafka", Some("lkc-orders")),
    ("schema-registry", Some("lsrc-orders")),
    ("ksqldb", Some("lksqlc-orders")),
    ("flink", Some("aws.us-west-2")),
    ("tableflow", Some("Tableflow")),
    ("global", Some("Global")),
];

/// What the command line asks for.
struct Options {
    kind: &'static str,
    resource: Option<&'static str>,
    own: bool,
    policy: &'static str,
    preflight: bool,
}

/// A secret, and how much of its rotation has been shown.
struct Demo {
    simulator: Simulator,
    function: Function,
    arn: String,
    old: String,
    admin: String,
    began: SystemTime,
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
    let rotated = demo.rotate().await;
    let kept = demo.summarise();
    ExitCode::from(u8::from(!rotated || !kept))
}

impl Options {
    /// Reads the command line; none if it asks for help.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut kind, mut policy) = ("kafka".to_owned(), "delete".to_owned());
        let (mut own, mut preflight) = (false, false);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" => return Ok(None),
                "--self" => own = true,
                "--preflight" => preflight = true,
                "--kind" => kind = arguments.next().unwrap_or_default(),
                "--policy" => policy = arguments.next().unwrap_or_default(),
                other => return Err(format!("{other} is not an option")),
            }
        }
        let kinds = KINDS.map(|(name, _)| name).join(", ");
        let (kind, resource) = (KINDS.into_iter().find(|(name, _)| *name == kind))
            .ok_or(format!("--kind must be one of: {kinds}"))?;
        let policy = (POLICIES.into_iter().find(|name| *name == policy))
            .ok_or(format!("--policy must be one of: {}", POLICIES.join(", ")))?;
        Ok(Some(Self {
            kind,
            resource,
            own,
            policy,
            preflight,
        }))
    }
}

impl Demo {
    async fn new(options: &Options) -> Self {
        let simulator = Simulator::start().await;
        match options.resource {
            Some(id) if options.kind == "kafka" => simulator.add_kafka_cluster(id, ENVIRONMENT),
            Some(id) if options.kind == "ksqldb" => simulator.add_ksqldb(id, ENVIRONMENT),
            Some(id) if options.kind == "flink" => simulator.add_flink_region(id, ENVIRONMENT),
            Some(id) if id.starts_with("lsrc") => simulator.add_schema_registry(id, ENVIRONMENT),
            _ => {}
        }
        let environment = (!simulator.state().resources.is_empty()).then_some(ENVIRONMENT);
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        let (old, secret) = simulator.add_key(OWNER, options.resource, environment);
        let admin = simulator.add_key("sa-admin", None, None);
        let admin_secret = simulator.add_admin_secret("admin", &admin);
        let mut value = json!({
            "apiKey": old, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": options.resource,
            "environmentId": environment, "adminSecretArn": (!options.own).then_some(admin_secret),
            "team": "a field that is not ours",
        });
        if let Value::Object(fields) = &mut value {
            fields.retain(|_, value| !value.is_null());
        }
        let arn = simulator.add_secret("orders", &value.to_string());
        simulator.state().knobs.settles_after = SETTLES_AFTER;
        simulator.state().knobs.keep_previous = options.policy != "delete";
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
            old,
            admin: admin.0,
            began: SystemTime::now(),
            shown: 0,
        }
    }

    fn introduce(&self, options: &Options) {
        let Options { kind, policy, .. } = options;
        let signer = if options.own {
            "its own key"
        } else {
            "an admin secret's key"
        };
        println!(
            "One rotation of a Confluent Cloud API key, in the four steps of AWS Secrets Manager.\n\
             The function and its requests are real; the services are played on this machine,\n\
             and refuse a new key for {SETTLES_AFTER:?}.\n\n\
             A secret with a key of kind {kind}, rotated with {signer}, policy {policy}:\n\n  {}\n",
            self.redacted_value()
        );
        self.show_keys();
    }

    /// Asks for a preflight, as a person does, and tells whether a rotation would succeed.
    async fn preflight(&mut self) -> bool {
        let event = json!({"Step": "preflight", "SecretId": self.arn});
        let began = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut context = Context::default();
        let deadline = began.unwrap_or_default() + Duration::from_mins(1);
        context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let answer = self.function.handle(LambdaEvent::new(event, context)).await;
        let report = answer
            .expect("a preflight is no rotation")
            .expect("a report");
        println!("{}\n", report.secret);
        for check in &report.checks {
            let outcome = format!("{:?}", check.outcome).to_lowercase();
            println!("{outcome:<8} {:<15} {}", check.name, check.seen);
            if let Some(remedy) = &check.remedy {
                println!("{:<24} → {remedy}", "");
            }
        }
        let verdict = format!("{:?}", report.verdict).to_lowercase();
        println!("\nverdict: {verdict}");
        report.verdict < Outcome::Failed
    }

    /// Asks for the four steps, as Secrets Manager does, and tells whether they succeeded.
    async fn rotate(&mut self) -> bool {
        let token = self.simulator.begin_rotation(&self.arn);
        for (step, about) in STEPS {
            println!("\n{step}: {about}");
            let event = self.simulator.event(&self.arn, &token, step);
            if let Err(error) = self.invoke(event).await {
                println!("\n{step} failed: {}\n{}\n", error.name(), error.message());
                self.show_keys();
                return false;
            }
            println!();
            self.show_keys();
        }
        self.simulator.abandon(&self.arn);
        println!("\nThe rotation is complete: Secrets Manager takes AWSPENDING off.");
        println!("\n  {}\n", self.redacted_value());
        self.show_keys();
        true
    }

    /// Calls the function, and shows its requests while they are answered.
    async fn invoke(&mut self, event: Value) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let deadline = now.unwrap_or_default() + Duration::from_mins(1);
        let mut context = Context::default();
        "demo".clone_into(&mut context.request_id);
        context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let function = self.function.clone();
        let mut step = std::pin::pin!(function.handle(LambdaEvent::new(event, context)));
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            let outcome = tokio::select! {
                outcome = &mut step => Some(outcome),
                _ = looks.tick() => None,
            };
            let requests = self.simulator.state().requests.clone();
            let unseen = requests.iter().skip(self.shown);
            for request in unseen.take_while(|request| request.status.is_some()) {
                self.shown += 1;
                self.show_request(request);
            }
            if let Some(outcome) = outcome {
                return outcome.map(|_| ());
            }
        }
    }

    fn show_request(&self, request: &Request) {
        let offset = request.at.duration_since(self.began).unwrap_or_default();
        let service = match request.plane {
            Plane::ControlPlane => "Confluent Cloud",
            Plane::SecretsManager => "Secrets Manager",
            Plane::KafkaRest => "Kafka cluster",
            Plane::SchemaRegistry => "Schema Registry",
            Plane::KsqlDb => "ksqlDB cluster",
            Plane::Flink => "Flink region",
        };
        println!(
            "{:8.3} s  {}  {service:<15}  {:<22}  {}",
            offset.as_secs_f64(),
            request.status.unwrap_or_default(),
            self.named(request.key_id.as_deref().unwrap_or("-")),
            request.label(),
        );
    }

    /// A key's id, with the part the key plays.
    fn named(&self, id: &str) -> String {
        match id {
            "-" => id.to_owned(),
            _ if id == self.old => format!("{id} old"),
            _ if id == self.admin => format!("{id} admin"),
            _ => format!("{id} new"),
        }
    }

    /// Which key each label names, and which keys live.
    fn show_keys(&self) {
        let state = self.simulator.state();
        for label in ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"] {
            let key = state.secret(&self.arn).key_named_by(label);
            println!("  {label:<13}{}", self.named(key.unwrap_or("-")));
        }
        for key in state.keys_of(OWNER) {
            let accepted = if key.is_accepted() { "" } else { " not yet" };
            println!(
                "  at Confluent {:<20}{accepted} accepted",
                self.named(&key.id)
            );
        }
    }

    /// The current value, as it may be shown.
    fn redacted_value(&self) -> String {
        let state = self.simulator.state();
        let value = state.secret(&self.arn).value("AWSCURRENT");
        let mut value = value.unwrap_or_default().to_owned();
        for key in state.keys_of(OWNER) {
            value = value.replace(&key.secret, "(redacted)");
        }
        value
    }

    /// Says what was promised, and tells whether it was kept.
    fn summarise(&self) -> bool {
        let mut state = self.simulator.state();
        let violations = std::mem::take(&mut state.violations);
        println!(
            "\nChecked at each of {} requests: AWSCURRENT opens its resource; no key in use is\n\
             deleted, and nobody else's; no secret is where it may be logged or does not belong.",
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
