//! A secret with a Kafka API key, an admin secret, and the services.

use std::cell::RefCell;

use serde_json::{Value, json};
use simulator::{Outcome, Role, Service, Simulator};

use crate::process::{Cost, Process};
use crate::subject::Subject;
use crate::tls::Tls;

const OWNER: &str = "sa-orders";
const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";

/// A secret to rotate, and the services.
pub struct World {
    /// The simulated services.
    pub simulator: Simulator,
    /// The secret's ARN.
    pub arn: String,
    /// The environment variables of the function.
    pub variables: Vec<(String, String)>,
}

/// The cost of a process that rotates the secret twice.
pub struct Rotations {
    /// The cost of starting the process.
    pub init: Cost,
    /// The first rotation.
    pub first: Rotation,
    /// The second rotation, in the warm process.
    pub second: Rotation,
    /// The peak resident memory, in bytes.
    pub peak_memory: u64,
    /// The number of violations of the guarantees that the simulator checks.
    pub violations: usize,
}

/// The cost of one rotation.
pub struct Rotation {
    /// The cost of all steps.
    pub cost: Cost,
    /// The number of requests in all steps.
    pub requests: usize,
    /// Those of them that were sent to Confluent's control plane.
    pub control_plane_requests: usize,
    /// The number of requests with which the cluster showed whether it accepts a key.
    pub probes: usize,
}

impl World {
    /// Creates the services and a secret. With `tls`, the function uses TLS.
    pub async fn new(tls: Option<&Tls>) -> Self {
        let simulator = Simulator::start().await;
        simulator.add_owner(OWNER, &[]);
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
        let admin = simulator.add_key("sa-admin", None, None);
        let admin = simulator.add_admin_secret("admin", &admin);
        let (id, secret) = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        let value = json!({
            "apiKey": id, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": CLUSTER,
            "environmentId": ENVIRONMENT, "adminSecretArn": admin,
        });
        let arn = simulator.add_secret("orders", &value.to_string());

        let (mut confluent, mut secrets_manager) =
            (simulator.confluent_url(), simulator.secrets_manager_url());
        let mut variables = Vec::new();
        if let Some(tls) = tls {
            confluent = tls.front(&confluent).await;
            secrets_manager = tls.front(&secrets_manager).await;
            let cluster = simulator
                .state()
                .resources
                .get(CLUSTER)
                .map(|cluster| cluster.url.clone());
            let cluster = tls.front(&cluster.unwrap_or_default()).await;
            if let Some(resource) = simulator.state().resources.get_mut(CLUSTER) {
                resource.advertised_url = Some(cluster);
            }
            let trusted = [
                ("SSL_CERT_FILE", &tls.authority),
                ("AWS_CA_BUNDLE", &tls.bundle),
            ];
            variables.extend(
                trusted.map(|(name, file)| (name.to_owned(), file.to_string_lossy().into_owned())),
            );
        }
        let variables = variables
            .into_iter()
            .chain(function_variables(&confluent, &secrets_manager))
            .collect();
        Self {
            simulator,
            arn,
            variables,
        }
    }

    /// Starts a function and rotates the secret twice with it.
    ///
    /// # Errors
    /// Returns why the function did not start, or the error of the failed step.
    pub async fn rotate_twice(&self, subject: &Subject) -> Result<Rotations, String> {
        let mut process = Process::start(subject, &self.variables).await?;
        let first = self.rotate(&mut process).await?;
        Ok(Rotations {
            init: process.init,
            first,
            second: self.rotate(&mut process).await?,
            peak_memory: process.peak_memory(),
            violations: std::mem::take(&mut self.simulator.state().violations).len(),
        })
    }

    async fn rotate(&self, process: &mut Process) -> Result<Rotation, String> {
        self.simulator.clear_requests();
        let spent = RefCell::new(Vec::new());
        let process = RefCell::new(process);
        // The calls are sequential.
        #[expect(clippy::await_holding_refcell_ref, reason = "one call at a time")]
        let invoke = async |event| {
            let (response, cost) = process.borrow_mut().invoke(event).await;
            spent.borrow_mut().push(cost);
            let response = response.map(|_| ());
            response.map_err(|error| format!("{}: {}", error.error_type, error.message))
        };
        let outcome = self.simulator.rotate(&self.arn, &invoke).await;
        if outcome != Outcome::Succeeded {
            return Err(format!("{outcome:?}"));
        }
        let state = self.simulator.state();
        let count = |service| {
            let requests = state.requests.iter();
            requests
                .filter(|request| request.service == service)
                .count()
        };
        Ok(Rotation {
            cost: spent.into_inner().into_iter().sum(),
            requests: state.requests.len(),
            control_plane_requests: count(Service::ControlPlane),
            probes: count(Service::KafkaRest),
        })
    }
}

/// Returns the environment variables of a function, except the address of the Runtime API.
#[must_use]
pub fn function_variables(confluent: &str, secrets_manager: &str) -> Vec<(String, String)> {
    let variables = [
        ("AWS_LAMBDA_FUNCTION_NAME", "rotation"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("AWS_SESSION_TOKEN", "session"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager),
        ("CONFLUENT_API_URL", confluent),
        // The intervals between probes are not part of the cost.
        ("PROBE_INTERVAL_MS", "1"),
        ("OLD_KEY_POLICY", "delete"),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Returns an event for a function that ignores it.
#[must_use]
pub fn any_event() -> Value {
    json!({ "Step": "setSecret", "SecretId": "any", "ClientRequestToken": "any" })
}
