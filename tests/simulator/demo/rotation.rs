//! One rotation, step by step, and the preflight of its secret.

use confluent_key_rotation::error::Error;
use confluent_key_rotation::handler::Response;
use confluent_key_rotation::preflight::Outcome as PreflightOutcome;
use serde_json::{Value, json};
use simulator::{Outcome, Overlap, Role, Simulator};

use crate::console::Console;
use crate::crash::{Crash, INTERRUPTED};
use crate::options::Options;
use crate::{ENVIRONMENT, PROPAGATION_DELAY};

const OWNER: &str = "sa-orders";

/// The steps and what they do.
const STEPS: [(&str, &str); 4] = [
    (
        "createSecret",
        "creates a replacement for each current key and stores it as AWSPENDING",
    ),
    (
        "setSecret",
        "sends no request: creating a key also activates it",
    ),
    (
        "testSecret",
        "probes each key until its resource accepts it",
    ),
    (
        "finishSecret",
        "verifies each key again, promotes their version to AWSCURRENT, then deletes orphaned keys and, if the policy is delete, the previous keys",
    ),
];

/// The rotation of a secret.
pub(crate) struct Rotation {
    console: Console,
    arn: String,
    /// The IDs of the keys that are current at the start.
    original_keys: Vec<String>,
}

impl Rotation {
    pub(crate) async fn new(options: &Options) -> Self {
        let simulator = Simulator::start().await;
        for id in options.resources.iter().copied().flatten() {
            add_resource(&simulator, id);
        }
        let environment = (!simulator.state().resources.is_empty()).then_some(ENVIRONMENT);
        simulator.add_owner(OWNER, &[Role::ResourceOwnerOf(OWNER.to_owned())]);
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        let add_key = |resource| simulator.add_key(OWNER, resource, environment);
        let keys: Vec<(String, String)> = options.resources.iter().copied().map(add_key).collect();
        let admin_key = simulator.add_key("sa-admin", None, None);
        let admin_secret = simulator.add_admin_secret("admin", &admin_key);
        let value = json!({
            "serviceAccountId": OWNER, "environmentId": environment,
            "adminSecretArn": (!options.self_rotation).then_some(admin_secret),
            "team": "another field, which does not change",
        });
        let value = with_keys(value, options.resources, &keys);
        let arn = simulator.add_secret("orders", &value.to_string());
        simulator.state().controls.propagation_delay = PROPAGATION_DELAY;
        simulator.state().controls.overlap = options.overlap;
        let variables = [
            ("OLD_KEY_POLICY", options.policy),
            ("PROBE_INTERVAL_MS", "250"),
        ];
        let original_keys: Vec<String> = keys.into_iter().map(|(id, _)| id).collect();
        Self {
            console: Console::new(simulator, &variables, admin_key.0, original_keys.clone()),
            arn,
            original_keys,
        }
    }

    /// Rotates the secret. Returns whether the rotation succeeded and kept all guarantees.
    pub(crate) async fn run(&mut self, options: &Options) -> bool {
        self.introduce(options);
        let mut outcome = self.rotate(options.crash).await;
        if is_interrupted(&outcome) {
            println!(
                "\nSecrets Manager retries the rotation from createSecret, with the same ClientRequestToken. The retry has\n\
                 none of the interrupted invocation's state."
            );
            self.console.restart();
            outcome = self.rotate(None).await;
        }
        let mut is_ok = outcome == Outcome::Succeeded;
        if is_ok {
            self.show_result(options.overlap);
            is_ok = self.show_orphans();
        }
        self.console.show_violations() && is_ok
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
        let keys = if options.resources.len() == 1 {
            "a key of type"
        } else {
            "two keys, of the types"
        };
        println!(
            "One rotation of a secret, in the four steps of AWS Secrets Manager.\n\
             The function and its requests are real. The services are simulated on this machine,\n\
             and a new key takes {PROPAGATION_DELAY:?} to propagate.\n\n\
             A secret with {keys} {key_type}, rotated with {credentials} and the policy {policy}:\n\n  {}\n",
            self.redacted_value()
        );
        self.show_keys();
    }

    /// Invokes a preflight, as an operator does. Returns whether a rotation would succeed.
    pub(crate) async fn preflight(&self) -> bool {
        let event = json!({"Step": "preflight", "SecretId": self.arn});
        let Ok(Some(Response::Preflight(report))) = self.console.invoke(event).await else {
            panic!("a preflight always returns a report");
        };
        println!("{}\n", report.secret);
        let names = report.checks.iter().map(|check| match &check.key {
            Some(key) => format!("{} ({key})", check.name),
            None => check.name.to_owned(),
        });
        let names: Vec<String> = names.collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for (name, check) in names.iter().zip(&report.checks) {
            let finding = &check.finding;
            let outcome = finding.outcome.to_string();
            println!("{outcome:<14} {name:<width$} {}", finding.observed);
            if let Some(remedy) = &finding.remedy {
                println!("{:<14} {:<width$} → {remedy}", "", "");
            }
        }
        if let Some(rest) = &report.not_run {
            println!("not run        {}: {}", rest.checks.join(", "), rest.reason);
        }
        println!("\nverdict: {}", report.verdict);
        report.verdict < PreflightOutcome::Failed
    }

    /// Rotates the secret, as Secrets Manager does, or retries an incomplete rotation.
    async fn rotate(&self, crash: Option<&Crash>) -> Outcome {
        let step = async |event| self.step(event, crash).await;
        let simulator = &self.console.simulator;
        simulator.rotate(&self.arn, &step).await
    }

    /// Runs one step and prints its requests and its result.
    async fn step(&self, event: Value, crash: Option<&Crash>) -> Result<(), String> {
        let step = event.get("Step").and_then(Value::as_str).map(str::to_owned);
        let step = step.expect("the event is that of a step");
        let description = STEPS.iter().find(|(name, _)| *name == step);
        let (_, description) = description.expect("the table has all steps");
        println!("\n{step}: {description}");
        let crash = crash.filter(|crash| crash.step == step);
        let invocation = self.invoke(event, crash);
        let result = match self.console.show_requests_of(invocation).await {
            Some(Ok(_)) => {
                println!();
                Ok(())
            }
            Some(Err(error)) => {
                let (name, message) = (error.name(), error.message());
                println!("\n{step} failed: {name}\n{message}\n");
                Err(name.to_owned())
            }
            None => {
                let consequence = crash.map_or("", |crash| crash.consequence);
                println!(
                    "\n{step} was interrupted while it waited for the last response, as if its process had been killed.\n\
                     {consequence}\n"
                );
                Err(INTERRUPTED.to_owned())
            }
        };
        self.show_keys();
        result
    }

    /// Invokes the function. Returns `None` if the invocation was interrupted.
    async fn invoke(
        &self,
        event: Value,
        crash: Option<&Crash>,
    ) -> Option<Result<Option<Response>, Error>> {
        let Some(crash) = crash else {
            return Some(self.console.invoke(event).await);
        };
        let hold = crash.hold(&self.console.simulator, &self.arn);
        tokio::select! {
            outcome = self.console.invoke(event) => Some(outcome),
            () = hold.arrived(1) => None,
        }
    }

    /// Prints the secret and the keys after the rotation.
    fn show_result(&self, overlap: Overlap) {
        println!("\nThe rotation is complete, and Secrets Manager removes AWSPENDING.");
        println!("\n  {}\n", self.redacted_value());
        self.show_keys();
        for key in &self.original_keys {
            self.show_previous(key, overlap);
        }
    }

    /// Prints what happens to a previous key.
    fn show_previous(&self, key: &str, overlap: Overlap) {
        let is_kept = {
            let state = self.console.simulator.state();
            state.keys.contains_key(key)
        };
        let previous = self.console.named(key);
        match overlap {
            _ if !is_kept => println!("\nThe previous key {previous} is deleted."),
            Overlap::None => println!("\nThe previous key {previous} still exists."),
            Overlap::Hours(_) => println!(
                "\nThe previous key {previous} still works. `retire`, an event that a schedule sends every hour,\n\
                 deletes it {} hours later.",
                self.console.function.config.old_key_hours
            ),
            Overlap::UntilNextRotation => {
                println!(
                    "\nThe previous key {previous} still works. The next rotation deletes it."
                );
            }
        }
    }

    /// Prints the orphaned keys. Returns whether there are none.
    fn show_orphans(&self) -> bool {
        let state = self.console.simulator.state();
        let orphans = state.orphaned_keys(&self.arn);
        let orphans: Vec<&str> = orphans.iter().map(|key| key.id.as_str()).collect();
        let list = orphans.join(", ");
        let list = if orphans.is_empty() { "none" } else { &list };
        println!("Orphaned keys: {list}");
        orphans.is_empty()
    }

    fn show_keys(&self) {
        self.console.show_keys(&self.arn, OWNER);
    }

    /// Returns the current value without the keys' secrets.
    fn redacted_value(&self) -> String {
        let state = self.console.simulator.state();
        let value = state.secret(&self.arn).value("AWSCURRENT");
        let mut value = value.unwrap_or_default().to_owned();
        for key in state.keys_of(OWNER) {
            value = value.replace(&key.secret, "(redacted)");
        }
        value
    }
}

fn add_resource(simulator: &Simulator, id: &str) {
    match id.split('-').next() {
        Some("lkc") => simulator.add_kafka_cluster(id, ENVIRONMENT),
        Some("lsrc") => simulator.add_schema_registry(id, ENVIRONMENT),
        Some("lksqlc") => simulator.add_ksqldb(id, ENVIRONMENT),
        Some("aws.us") => simulator.add_flink_region(id, ENVIRONMENT),
        _ => {}
    }
}

/// Adds the fields of the keys to a secret value, and copies in the form that Spring reads. Removes the fields that are `null`.
fn with_keys(mut value: Value, resources: &[Option<&str>], keys: &[(String, String)]) -> Value {
    let fields = value.as_object_mut().expect("the value is an object");
    for (resource, (id, secret)) in resources.iter().zip(keys) {
        let pair = format!("{id}:{secret}");
        let of_key = if fields.contains_key("apiKey") {
            json!({
                "schemaRegistryApiKey": id, "schemaRegistryApiSecret": secret, "schemaRegistryResourceId": resource,
                "spring.kafka.properties.schema.registry.basic.auth.user.info": pair,
            })
        } else {
            json!({
                "apiKey": id, "apiSecret": secret, "resourceId": resource,
                "spring.kafka.properties.basic.auth.user.info": pair,
                "sasl.jaas.config": format!(
                    r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="{id}" password="{secret}";"#
                ),
            })
        };
        fields.extend(of_key.as_object().cloned().unwrap_or_default());
    }
    fields.retain(|_, value| !value.is_null());
    value
}

/// Returns whether a step was interrupted.
fn is_interrupted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { error, .. } if error == INTERRUPTED)
}
