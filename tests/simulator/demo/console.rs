//! Invokes the function and prints its requests, the keys and the violations.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use confluent_key_rotation::error::Error;
use confluent_key_rotation::handler::{Function, Response};
use serde_json::Value;
use simulator::{Request, Service, Simulator};

use crate::function;

/// The function, the simulated services, and what was printed about them.
pub(crate) struct Console {
    pub(crate) simulator: Simulator,
    pub(crate) function: Function,
    variables: Vec<(&'static str, &'static str)>,
    /// The ID of the admin key.
    admin_key: String,
    /// The IDs of the keys of the secret, in the order in which they were printed.
    keys: RefCell<Vec<String>>,
    began: SystemTime,
    /// The number of requests that were printed.
    shown: Cell<usize>,
}

impl Console {
    pub(crate) fn new(
        simulator: Simulator,
        variables: &[(&'static str, &'static str)],
        admin_key: String,
        original_keys: Vec<String>,
    ) -> Self {
        Self {
            function: function::function(&simulator, variables),
            simulator,
            variables: variables.to_vec(),
            admin_key,
            keys: RefCell::new(original_keys),
            began: SystemTime::now(),
            shown: Cell::new(0),
        }
    }

    /// Replaces the function by one with the same configuration and no other state.
    pub(crate) fn restart(&mut self) {
        self.function = function::function(&self.simulator, &self.variables);
    }

    /// Invokes the function.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Option<Response>, Error> {
        // Boxed, because the future is large.
        Box::pin(self.function.handle(function::invocation(event))).await
    }

    /// Prints the requests while `invocation` runs. The requests of an interrupted invocation have no response.
    pub(crate) async fn show_requests_of<T>(&self, invocation: impl Future<Output = T>) -> T {
        let mut invocation = std::pin::pin!(invocation);
        let mut refresh = tokio::time::interval(Duration::from_millis(20));
        loop {
            let outcome = tokio::select! {
                outcome = &mut invocation => Some(outcome),
                _ = refresh.tick() => None,
            };
            let requests = self.simulator.state().requests.clone();
            let is_over = outcome.is_some();
            let new = requests.iter().skip(self.shown.get());
            for request in new.take_while(|request| is_over || request.status.is_some()) {
                self.shown.set(self.shown.get() + 1);
                self.show_request(request);
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    fn show_request(&self, request: &Request) {
        let offset = request.received_at.duration_since(self.began);
        let service = match request.service {
            Service::ControlPlane => "Confluent Cloud",
            Service::SecretsManager => "Secrets Manager",
            Service::Sts => "AWS STS",
            Service::KafkaRest => "Kafka cluster",
            Service::KafkaBroker => "Kafka broker",
            Service::SchemaRegistry => "Schema Registry",
            Service::KsqlDb => "ksqlDB cluster",
            Service::Flink => "Flink region",
        };
        let status = request.status.map(|status| status.to_string());
        let (status, note) = match &status {
            Some(status) => (status.as_str(), ""),
            None => ("---", "  (no response)"),
        };
        println!(
            "{:8.3} s  {status}  {service:<15}  {:<22}  {}{note}",
            offset.unwrap_or_default().as_secs_f64(),
            self.named(request.key_id.as_deref().unwrap_or("-")),
            request.name(),
        );
    }

    /// Returns a key's ID and its role in the rotation.
    pub(crate) fn named(&self, id: &str) -> String {
        if id == "-" {
            return id.to_owned();
        }
        if id == self.admin_key {
            return format!("{id} admin");
        }
        let mut keys = self.keys.borrow_mut();
        let index = keys.iter().position(|key| key == id);
        let index = index.unwrap_or_else(|| {
            keys.push(id.to_owned());
            keys.len() - 1
        });
        format!("{id} key {}", index + 1)
    }

    /// Prints which keys each staging label names, and which keys of `owner` exist.
    pub(crate) fn show_keys(&self, arn: &str, owner: &str) {
        let state = self.simulator.state();
        for label in ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"] {
            let keys = state.secret(arn).key_ids(label);
            let keys: Vec<String> = keys.iter().map(|key| self.named(key)).collect();
            let names = keys.join(", ");
            println!(
                "  {label:<13}{}",
                if keys.is_empty() { "-" } else { &names }
            );
        }
        let orphans: Vec<&str> = state
            .orphaned_keys(arn)
            .iter()
            .map(|key| &*key.id)
            .collect();
        for key in state.keys_of(owner) {
            let is_accepted = if key.is_accepted() {
                "accepted"
            } else {
                "propagating"
            };
            let orphaned = if orphans.contains(&key.id.as_str()) {
                ", orphaned"
            } else {
                ""
            };
            let key = self.named(&key.id);
            println!("  {:<13}{key:<22}  {is_accepted}{orphaned}", "Confluent");
        }
    }

    /// Prints the violations of the guarantees. Returns whether there are none.
    pub(crate) fn show_violations(&self) -> bool {
        let mut state = self.simulator.state();
        let violations = std::mem::take(&mut state.violations);
        println!(
            "\nChecked at each of {} requests: the resource accepts the key of AWSCURRENT; no key in use\n\
             and no key of another application is deleted; the previous key is kept during its overlap;\n\
             every copy of the key in the secret value is replaced; no secret is sent to another host or\n\
             logged.",
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
