//! A secret that holds a Kafka key, an admin secret that signs, and the services around them.

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

/// One secret in rotation.
pub struct World {
    /// The services.
    pub simulator: Simulator,
    /// The secret's ARN.
    pub arn: String,
    /// The variables that a function needs here.
    pub variables: Vec<(String, String)>,
}

/// One whole rotation.
pub struct Rotation {
    /// The start of the process.
    pub init: Cost,
    /// Each step.
    pub steps: [Cost; 4],
    /// How many requests all steps sent.
    pub requests: usize,
    /// The most memory that was resident, in bytes.
    pub peak_memory: u64,
}

impl World {
    /// A world whose owner has so many keys, over TLS if there is one to speak.
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
                resource.advertised = Some(cluster);
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
    /// Why the function does not start, or which step failed how.
    pub async fn rotate(&self, subject: &Subject) -> Result<Rotation, String> {
        let mut process = Process::start(subject, &self.variables).await?;
        let token = self.simulator.begin_rotation(&self.arn);
        self.simulator.forget_requests();
        let mut steps = [Cost::default(); 4];
        for (step, cost) in STEPS.into_iter().zip(&mut steps) {
            let (answer, spent) = process
                .invoke(self.simulator.event(&self.arn, &token, step))
                .await;
            answer.map_err(|error| format!("{step}: {}: {}", error.error_type, error.message))?;
            *cost = spent;
        }
        Ok(Rotation {
            init: process.init,
            steps,
            requests: self.simulator.state().requests.len(),
            peak_memory: process.peak_memory(),
        })
    }

    /// Starts a function anew between createSecret and setSecret, and takes that step so many times. It sends
    /// nothing to Confluent and may be repeated, which makes it the one to compare a first call and later ones by.
    ///
    /// # Errors
    /// Why the function does not start, or how a step failed.
    pub async fn set(&self, subject: &Subject, times: usize) -> Result<(Cost, Vec<Cost>), String> {
        let token = self.simulator.begin_rotation(&self.arn);
        let failed =
            |error: simulator::FunctionError| format!("{}: {}", error.error_type, error.message);
        let event = |step| self.simulator.event(&self.arn, &token, step);
        let mut process = Process::start(subject, &self.variables).await?;
        process.invoke(event(STEPS[0])).await.0.map_err(failed)?;
        drop(process);

        let mut process = Process::start(subject, &self.variables).await?;
        let mut costs = Vec::new();
        for _ in 0..times {
            let (answer, cost) = process.invoke(event(STEPS[1])).await;
            answer.map_err(failed)?;
            costs.push(cost);
        }
        Ok((process.init, costs))
    }

    /// Gives every answer this delay.
    pub fn delay(&self, latency: Duration) {
        self.simulator.state().knobs.latency = latency;
    }
}

/// What a function finds in its environment, beside the address of the Runtime API.
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
        // What is waited for between two tries of a key is not what is measured.
        ("PROBE_INTERVAL_MS", "1"),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// An event that any function takes, for one that does not look at it.
#[must_use]
pub fn any_event() -> Value {
    json!({ "Step": "setSecret", "SecretId": "any", "ClientRequestToken": "any" })
}
