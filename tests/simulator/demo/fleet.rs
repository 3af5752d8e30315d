//! A small fleet: its status, one rotation with an overlap, and the scheduled deletion a day later.

use std::collections::BTreeMap;
use std::time::Duration;

use confluent_key_rotation::fleet::status::{Line, Status};
use confluent_key_rotation::handler::Response;
use confluent_key_rotation::http::{Network, build_client, build_tls};
use serde_json::{Value, json};
use simulator::{Outcome, Overlap, Role, Simulator};

use crate::console::Console;
use crate::{ENVIRONMENT, PROPAGATION_DELAY};

/// The names of the secrets.
const SECRETS: [&str; 5] = ["audit", "billing", "orders", "payments", "shipping"];
/// The secret that is rotated.
const ROTATED: &str = "orders";

/// The hours that pass between the rotation and the scheduled deletion.
const HOURS: u64 = 25;

const DAY: Duration = Duration::from_hours(24);

/// A fleet of five secrets.
pub(crate) struct Fleet {
    console: Console,
    /// The ARN of the secret that is rotated.
    arn: String,
    /// The API key that a client of the rotated secret has cached.
    previous: (String, String),
    http: reqwest::Client,
}

/// The state of a secret: the version ID of each staging label, and the IDs of the owner's keys.
type State = (BTreeMap<String, String>, Vec<String>);

impl Fleet {
    pub(crate) async fn new() -> Self {
        let simulator = Simulator::start().await;
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        let admin_key = simulator.add_key("sa-admin", None, None);
        let admin_secret = simulator.add_admin_secret("admin", &admin_key);
        for name in SECRETS {
            add_secret(&simulator, name, &admin_secret);
        }
        // Every secret was rotated 20 days ago. One rotation started 2 days ago and did not complete.
        simulator.cancel_rotation("audit");
        set_tag(&simulator, "billing", "old-key-hours", "72");
        set_tag(&simulator, "shipping", "old-key-policy", "delete-later");
        simulator.pass(18 * DAY);
        simulator.start_rotation("payments");
        simulator.pass(2 * DAY);
        {
            let controls = &mut simulator.state().controls;
            controls.propagation_delay = PROPAGATION_DELAY;
            controls.overlap = Overlap::Hours(24);
        }
        let arn = simulator.state().secret(ROTATED).arn.clone();
        let previous = current_key(&simulator, ROTATED);
        let variables = [("PROBE_INTERVAL_MS", "250")];
        let keys = vec![previous.0.clone()];
        let network = Network::default();
        let tls = build_tls(&network).expect("the TLS settings are valid");
        Self {
            console: Console::new(simulator, &variables, admin_key.0, keys),
            arn,
            previous,
            http: build_client(&network, &tls).expect("no proxy is set"),
        }
    }

    /// Shows the fleet. Returns whether every step had the expected result and kept all guarantees.
    pub(crate) async fn run(&self) -> bool {
        self.introduce();
        let mut is_ok = self.status().await;
        let others = self.others();
        is_ok &= self.rotate().await;
        is_ok &= self.call_cluster().await == [200, 200];
        println!(
            "\nThe simulator makes every key, secret and version {HOURS} hours older, as if this time had passed. So all dates\n\
             are {HOURS} hours earlier."
        );
        let duration = Duration::from_hours(HOURS);
        self.console.simulator.pass(duration);
        is_ok &= self.retire().await;
        is_ok &= self.call_cluster().await == [401, 200];
        is_ok &= self.compare(&others);
        is_ok &= self.status().await;
        self.console.show_violations() && is_ok
    }

    fn introduce(&self) {
        let config = &self.console.function.config;
        println!(
            "A fleet of {} secrets with Kafka keys. The function's policy for previous keys is {}, with {} hours.\n\
             The function and its requests are real. The services are simulated on this machine, and a new key takes\n\
             {PROPAGATION_DELAY:?} to propagate.",
            SECRETS.len(),
            config.old_key_policy,
            config.old_key_hours
        );
    }

    /// Invokes the function with an event for the fleet, and prints the event. Prints an error.
    async fn invoke(&self, step: &str) -> Option<Response> {
        let event = json!({ "Step": step });
        println!("\nInvoke the function with {event}");
        match self.console.invoke(event).await {
            Ok(response) => response,
            Err(error) => {
                println!("\n{step} failed: {}\n{}", error.name(), error.message());
                None
            }
        }
    }

    /// Prints the status as a table. Returns whether the function reported all secrets.
    async fn status(&self) -> bool {
        let Some(Response::Status(status)) = self.invoke("status").await else {
            return false;
        };
        print_table(&status);
        status.total == SECRETS.len()
    }

    /// Rotates one secret, as Secrets Manager does. Returns whether the rotation succeeded.
    async fn rotate(&self) -> bool {
        println!("\nSecrets Manager rotates the secret {ROTATED}:\n");
        let simulator = &self.console.simulator;
        let step = async |event: Value| {
            let step = event.get("Step").cloned().unwrap_or_default();
            let step = step.as_str().unwrap_or_default();
            let result = self.console.invoke(event).await;
            let result = result.map_err(|error| format!("{}: {}", error.name(), error.message()));
            let outcome = result.as_ref().map_or_else(String::as_str, |_| "succeeded");
            println!("  {step:<13}{outcome}");
            result.map(|_| ())
        };
        let outcome = simulator.rotate(&self.arn, &step).await;
        println!();
        self.console.show_keys(&self.arn, &owner(ROTATED));
        outcome == Outcome::Succeeded
    }

    /// Invokes the scheduled deletion. Returns whether it deleted exactly one key: the previous key.
    async fn retire(&self) -> bool {
        let Some(response) = self.invoke("retire").await else {
            return false;
        };
        let json = serde_json::to_string(&response).expect("a response is JSON");
        println!("\n  {json}\n");
        self.console.show_keys(&self.arn, &owner(ROTATED));
        let Response::Retire(report) = response else {
            return false;
        };
        report.previous_keys_deleted == 1 && report.orphaned_keys_deleted == 0
    }

    /// Calls the cluster with the previous and with the current key, and returns the statuses.
    async fn call_cluster(&self) -> [u16; 2] {
        println!("\nTwo clients call the cluster of {ROTATED}:\n");
        let current = current_key(&self.console.simulator, ROTATED);
        let previous = self.call(&self.previous, "read the secret before the rotation");
        let previous = previous.await;
        let current = self.call(&current, "reads the secret now").await;
        [previous, current]
    }

    /// Calls the cluster with a key, and prints and returns the status.
    async fn call(&self, (id, secret): &(String, String), client: &str) -> u16 {
        let cluster = cluster(ROTATED);
        let url = {
            let state = self.console.simulator.state();
            let resource = state.resources.get(&cluster);
            resource.expect("the cluster exists").url.clone()
        };
        let path = format!("/kafka/v3/clusters/{cluster}/topics");
        let call = self.http.get(format!("{url}{path}"));
        let response = call.basic_auth(id, Some(secret)).send().await;
        let status = response.map_or(0, |response| response.status().as_u16());
        let key = self.console.named(id);
        println!("  {status}  {key:<22}  {client}");
        status
    }

    /// Returns the state of every secret that is not rotated.
    fn others(&self) -> BTreeMap<&'static str, State> {
        let state = self.console.simulator.state();
        let others = SECRETS.into_iter().filter(|name| *name != ROTATED);
        let state_of = |name| {
            let secret = state.secret(name);
            let labels = secret.labels.clone();
            let keys = state.keys_of(&owner(name)).into_iter();
            (name, (labels, keys.map(|key| key.id.clone()).collect()))
        };
        others.map(state_of).collect()
    }

    /// Prints how many of the other secrets have changed. Returns whether none has.
    fn compare(&self, before: &BTreeMap<&'static str, State>) -> bool {
        let after = self.others();
        let changed = after
            .iter()
            .filter(|(name, state)| before.get(*name) != Some(state));
        let changed: Vec<_> = changed.collect();
        println!(
            "\nOther secrets whose staging labels or keys have changed: {} of {}",
            changed.len(),
            after.len()
        );
        changed.is_empty()
    }
}

fn owner(name: &str) -> String {
    format!("sa-{name}")
}

fn cluster(name: &str) -> String {
    format!("lkc-{name}")
}

/// Adds a secret with the key of a cluster, which was rotated just now.
fn add_secret(simulator: &Simulator, name: &str, admin_secret: &str) {
    let (owner, cluster) = (owner(name), cluster(name));
    simulator.add_owner(&owner, &[]);
    simulator.add_kafka_cluster(&cluster, ENVIRONMENT);
    let (id, secret) = simulator.add_key(&owner, Some(&cluster), Some(ENVIRONMENT));
    let value = json!({
        "apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "resourceId": cluster,
        "environmentId": ENVIRONMENT, "adminSecretArn": admin_secret,
    });
    let arn = simulator.add_secret(name, &value.to_string());
    let mut state = simulator.state();
    let secret = state.secret_mut(&arn);
    secret.last_rotated = secret.last_changed;
}

fn set_tag(simulator: &Simulator, name: &str, tag: &str, value: &str) {
    let mut state = simulator.state();
    let tags = &mut state.secret_mut(name).attributes.tags;
    tags.insert(format!("confluent-key-rotation:{tag}"), value.to_owned());
}

/// Returns the ID and the API secret of the current key, as a client reads them.
fn current_key(simulator: &Simulator, name: &str) -> (String, String) {
    let state = simulator.state();
    let key = state.secret(name).key("AWSCURRENT");
    key.expect("the secret has a current key")
}

/// Prints a line per secret, and the number of secrets with each finding.
fn print_table(status: &Status) {
    let header = [
        "SECRET",
        "LAST ROTATED",
        "NEXT ROTATION",
        "POLICY",
        "STAGING LABELS",
        "FINDINGS",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(status.secrets.iter().map(row));
    println!();
    for row in &rows {
        let [secret, last, next, policy, labels, findings] = row;
        let row = format!("{secret:<10}{last:<22}{next:<22}{policy:<19}{labels:<25}{findings}");
        println!("  {}", row.trim_end());
    }
    let counts = status.findings.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<String> = counts
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!(
        "\n  {} secrets. Findings: {}",
        status.total,
        counts.join(", ")
    );
}

/// Returns the cells of a secret.
fn row(line: &Line) -> [String; 6] {
    let or_dash = |cell: Option<&str>| cell.unwrap_or("-").to_owned();
    let hours = line.hours.map(|hours| format!(" {hours} h"));
    let labels: Vec<String> = line.labels.iter().map(|labels| labels.join(",")).collect();
    let findings: Vec<String> = line.findings.iter().map(ToString::to_string).collect();
    [
        line.secret.clone(),
        or_dash(line.last_rotated.as_deref()),
        or_dash(line.next_rotation.as_deref()),
        or_dash(line.policy.as_deref()) + &hours.unwrap_or_default(),
        labels.join(" "),
        findings.join(", "),
    ]
}
