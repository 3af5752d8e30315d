//! A secret with a Kafka API key, an admin secret, and the services.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::rotation::STEPS;
use simulator::{Role, Simulator};

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

/// The cost of one rotation.
pub struct Rotation {
    /// The cost of starting the process.
    pub init: Cost,
    /// The cost of each step.
    pub steps: [Cost; 4],
    /// The number of requests in all steps.
    pub requests: usize,
    /// The peak resident memory, in bytes.
    pub peak_memory: u64,
}

impl World {
    /// Creates the services and a secret whose owner has `keys` keys. With `tls`, the function uses TLS.
    pub async fn new(keys: usize, tls: Option<&Tls>) -> Self {
        let simulator = Simulator::start().await;
        simulator.add_owner(OWNER, &[]);
        simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
        simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
        let admin = simulator.add_key("sa-admin", None, None);
        let admin = simulator.add_admin_secret("admin", &admin);
        let (id, secret) = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        for _ in 1..keys {
            simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        }
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

    /// Starts a function and rotates the secret with it.
    ///
    /// # Errors
    /// Returns why the function did not start, or the error of the failed step.
    pub async fn rotate(&self, subject: &Subject) -> Result<Rotation, String> {
        let mut process = Process::start(subject, &self.variables).await?;
        let token = self.simulator.start_rotation(&self.arn);
        self.simulator.clear_requests();
        let mut steps = [Cost::default(); 4];
        for (step, cost) in STEPS.into_iter().zip(&mut steps) {
            let (response, spent) = process
                .invoke(self.simulator.event(&self.arn, &token, step))
                .await;
            response.map_err(|error| format!("{step}: {}: {}", error.error_type, error.message))?;
            *cost = spent;
        }
        Ok(Rotation {
            init: process.init,
            steps,
            requests: self.simulator.state().requests.len(),
            peak_memory: process.peak_memory(),
        })
    }

    /// Runs createSecret, starts a new process, and resumes createSecret there `times` times.
    ///
    /// A resumed createSecret reads the staging labels and the pending value and sends no request to Confluent, so the first
    /// step of a process and later ones can be compared.
    ///
    /// # Errors
    /// Returns why the function did not start, or the error of the failed step.
    pub async fn resume_create(
        &self,
        subject: &Subject,
        times: usize,
    ) -> Result<(Cost, Vec<Cost>), String> {
        let token = self.simulator.start_rotation(&self.arn);
        let failed =
            |error: simulator::FunctionError| format!("{}: {}", error.error_type, error.message);
        let event = || self.simulator.event(&self.arn, &token, STEPS[0]);
        let mut process = Process::start(subject, &self.variables).await?;
        process.invoke(event()).await.0.map_err(failed)?;
        drop(process);

        let mut process = Process::start(subject, &self.variables).await?;
        let mut costs = Vec::new();
        for _ in 0..times {
            let (response, cost) = process.invoke(event()).await;
            response.map_err(failed)?;
            costs.push(cost);
        }
        Ok((process.init, costs))
    }

    /// Delays every response.
    pub fn delay(&self, latency: Duration) {
        self.simulator.state().controls.latency = latency;
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
