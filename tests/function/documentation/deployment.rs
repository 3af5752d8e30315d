//! [`Deployment`]: what a page's commands find, with the names that all pages use.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use confluent_key_rotation::handler::Function;
use confluent_key_rotation::telemetry::{LogLevel, logging};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use simulator::{Federation, FunctionError, Overlap, ROLE_ARN, Replica, Stack, TOKEN_AUDIENCE};
use tracing::subscriber::DefaultGuard;

use super::confluent_cli::add_other_keys;
use super::start::Start;
use super::template::{FUNCTION, Parameters};
use super::*;

pub(super) const REGION: &str = "eu-west-1";
pub(super) const ACCOUNT: &str = "123456789012";
/// The stack and the function.
pub(super) const STACK: &str = "confluent-key-rotation";
pub(super) const SECRET: &str = "confluent/orders";
pub(super) const ADMIN_SECRET: &str = "confluent-admin/rotator";
const MANAGED_SECRET: &str = "orders-managed";
/// The secret with the key for [`REGISTRY`].
pub(super) const REGISTRY_SECRET: &str = "confluent/orders-registry";
pub(super) const OWNER: &str = "sa-abc123";
/// The service account to which pages change the owner.
pub(super) const OTHER_OWNER: &str = "sa-def456";
pub(super) const ADMIN: &str = "sa-rot123";
pub(super) const CLUSTER: &str = "lkc-abc123";
const REGISTRY: &str = "lsrc-abc123";
pub(super) const ENVIRONMENT: &str = "env-abc123";

/// A day, and the hour in which the stack's rule sends its next event.
const DAY: Duration = Duration::from_hours(25);

/// The AWS account and the Confluent Cloud organization of a page.
pub(super) struct Deployment {
    pub(super) simulator: Simulator,
    /// The owner's keys that belong to another application and to a secret of another deployment. No page deletes them.
    pub(super) other_keys: Vec<String>,
    /// The parameters of the stack, except those with the template's default.
    parameters: Mutex<Parameters>,
    /// The function with these parameters.
    function: Mutex<Option<Arc<Function>>>,
    /// The number of times that commands deployed the stack.
    pub(super) deployments: AtomicU32,
    /// The responses of the function to operators and to its rule.
    responses: Mutex<Vec<Value>>,
    /// What the page's invocations returned that failed, and the reports whose verdict is `failed`.
    failed_invocations: Mutex<Vec<String>>,
    /// The number of jobs at the end of the last wait of the block.
    waited_for_jobs: Mutex<Option<usize>>,
    /// The labels of the secret, and the ID of its current key, before the first command.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) key: String,
}

impl Deployment {
    pub(super) async fn new(simulator: Simulator, start: Start) -> Self {
        REGION.clone_into(&mut simulator.state().region);
        simulator.state().controls.federation = Federation::Disabled;
        simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
        simulator.add_schema_registry(REGISTRY, ENVIRONMENT);
        simulator.add_owner(OWNER, &[]);
        simulator.add_owner(OTHER_OWNER, &[]);
        simulator.add_owner(ADMIN, &[]);
        let other_keys = add_other_keys(&simulator);
        let mut deployment = Self {
            simulator,
            other_keys,
            parameters: Mutex::default(),
            function: Mutex::default(),
            deployments: AtomicU32::default(),
            responses: Mutex::default(),
            failed_invocations: Mutex::default(),
            waited_for_jobs: Mutex::default(),
            labels: BTreeMap::new(),
            key: String::new(),
        };
        deployment.deploy(&[]).unwrap();
        if start != Start::Stack {
            deployment.add_admin_secret();
        }
        if start == Start::Managed {
            deployment.add_managed_secret();
        } else if start != Start::Stack {
            deployment.rotate_once(start).await;
            deployment.arrange(start).await;
            let state = deployment.simulator.state();
            let secret = state.secret(SECRET);
            deployment.labels.clone_from(&secret.labels);
            deployment.key = secret.key_id("AWSCURRENT").unwrap().to_owned();
        }
        deployment.deployments = AtomicU32::default();
        deployment.failed_invocations = Mutex::default();
        deployment
    }

    fn add_admin_secret(&self) {
        let simulator = &self.simulator;
        simulator.add_owner(ADMIN, &admin_roles());
        let admin = simulator.add_key(ADMIN, None, None);
        let admin = simulator.add_admin_secret(ADMIN_SECRET, &admin);
        self.deploy(&[("AdminSecretArn", &admin)]).unwrap();
    }

    /// Creates a secret that has no rotation function. The simulator does not rotate it.
    fn add_managed_secret(&self) {
        let arn = self.add_secret(MANAGED_SECRET, CLUSTER, None);
        let mut state = self.simulator.state();
        let secret = state.secret_mut(&arn);
        secret.rotation_enabled = Some(true);
        // The page rotates a copy, which deletes the key.
        secret.current_key_guarantee = CurrentKeyGuarantee::Off;
    }

    /// Creates the secret and rotates it.
    async fn rotate_once(&self, start: Start) {
        let simulator = &self.simulator;
        if start == Start::Delete {
            self.deploy(&[("OldKeyPolicy", "delete")]).unwrap();
        }
        simulator.state().controls.keep_pending_label = start == Start::Pending;
        let admin = (start == Start::NamesAdmin).then(|| self.parameter("AdminSecretArn"));
        let mut arns = vec![self.add_secret(SECRET, CLUSTER, admin)];
        if start == Start::SeveralKeys {
            self.add_further_key(&arns[0]);
        }
        if start == Start::SecondResource {
            arns.push(self.add_secret(REGISTRY_SECRET, REGISTRY, None));
        }
        for arn in arns {
            {
                let mut state = simulator.state();
                let attributes = &mut state.secret_mut(&arn).attributes;
                attributes.rotation_lambda_arn = Some(function_arn());
                attributes.rotation_rules = Some(json!({"AutomaticallyAfterDays": 30}));
            }
            assert_eq!(self.rotate(&arn).await, Outcome::Succeeded);
        }
        simulator.state().controls.keep_pending_label = false;
        if !matches!(start, Start::Overlap | Start::Pending | Start::SeveralKeys) {
            if start == Start::Overdue {
                simulator.add_owner(ADMIN, &[]);
            }
            simulator.pass(DAY);
            let retired = self.invoke(json!({"Step": "retire"})).await;
            assert_eq!(retired.is_err(), start == Start::Overdue, "{retired:?}");
        }
    }

    /// Creates a secret with a key of the owner for `resource` that names the admin secret with the ARN `admin`. Returns its ARN.
    fn add_secret(&self, name: &str, resource: &str, admin: Option<String>) -> String {
        let key = self
            .simulator
            .add_key(OWNER, Some(resource), Some(ENVIRONMENT));
        let mut value = json!({
            "apiKey": key.0, "apiSecret": key.1, "serviceAccountId": OWNER, "resourceId": resource,
            "environmentId": ENVIRONMENT,
        });
        if let Some(admin) = admin {
            value["adminSecretArn"] = json!(admin);
        }
        self.simulator.add_secret(name, &value.to_string())
    }

    /// Adds a key for [`REGISTRY`] to the secret.
    fn add_further_key(&self, arn: &str) {
        let (id, secret) = self
            .simulator
            .add_key(OWNER, Some(REGISTRY), Some(ENVIRONMENT));
        let value = {
            let state = self.simulator.state();
            let value = state.secret(arn).value("AWSCURRENT").unwrap();
            let mut value: Value = serde_json::from_str(value).unwrap();
            value["schemaRegistryApiKey"] = json!(id);
            value["schemaRegistryApiSecret"] = json!(secret);
            value["schemaRegistryResourceId"] = json!(REGISTRY);
            SecretValue::String(value.to_string())
        };
        self.simulator.overwrite_value(arn, "AWSCURRENT", value);
    }

    async fn arrange(&self, start: Start) {
        let arn = self.simulator.state().secret(SECRET).arn.clone();
        match start {
            Start::Stack
            | Start::Managed
            | Start::Rotated
            | Start::Delete
            | Start::NamesAdmin
            | Start::SecondResource
            | Start::SeveralKeys
            | Start::Overlap
            | Start::Pending => {}
            Start::Overdue => {
                self.simulator.pass(4 * DAY);
                self.simulator.add_owner(ADMIN, &admin_roles());
            }
            Start::Stuck => {
                self.simulator.start_rotation(&arn);
                self.simulator.pass(DAY);
            }
            Start::Several => {
                for name in ["confluent/payments", "confluent/stock"] {
                    let arn = self.add_secret(name, CLUSTER, None);
                    self.simulator.state().secret_mut(&arn).rotation_enabled = None;
                }
            }
            Start::Failed => {
                self.simulator.add_owner(ADMIN, &[]);
                assert_ne!(self.rotate(&arn).await, Outcome::Succeeded);
                self.simulator.add_owner(ADMIN, &admin_roles());
                assert_eq!(self.rotate(&arn).await, Outcome::Succeeded);
            }
            Start::EarlierValue => {
                let mut state = self.simulator.state();
                let secret = state.secret_mut(&arn);
                secret.current_key_guarantee = CurrentKeyGuarantee::Off;
                let current = secret.labels["AWSCURRENT"].clone();
                let mut versions = secret.versions.iter();
                let initial = versions.find(|(id, _)| **id != current);
                let Some(SecretValue::String(value)) = initial.unwrap().1.value.clone() else {
                    panic!("the initial version has no string");
                };
                drop(state);
                self.simulator.store_manually(&arn, &value);
            }
            Start::Replicated => {
                let mut state = self.simulator.state();
                let secret = state.secret_mut(&arn);
                secret.primary_region = Some(REGION.to_owned());
                secret.replicas.push(Replica {
                    region: "eu-central-1".to_owned(),
                    status: "InSync".to_owned(),
                });
            }
            Start::KeyDeleted => {
                let state = self.simulator.state();
                let key = state.secret(&arn).key_id("AWSCURRENT").unwrap().to_owned();
                drop(state);
                self.delete_key(&key);
            }
        }
    }

    async fn rotate(&self, arn: &str) -> Outcome {
        let invoke = async |event| {
            let response = self.invoke(event).await;
            response.map(|_| ()).map_err(|error| error.message)
        };
        self.simulator.rotate(arn, &invoke).await
    }

    /// Creates or updates the stack with `parameters`. The others keep their values.
    ///
    /// # Errors
    /// Returns an error if the template does not allow them.
    pub(super) fn deploy(&self, parameters: &[(&str, &str)]) -> Result<(), String> {
        let given = parameters.iter();
        let given = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut current = self.parameters.lock().unwrap();
        let mut merged = current.clone();
        merged.extend(given);
        FUNCTION.check(&merged)?;
        {
            let controls = &mut self.simulator.state().controls;
            controls.overlap = overlap(&merged);
            // A pool exists before the function uses it.
            controls.accept_api_keys =
                FUNCTION.value(&merged, "IdentityPoolId").as_deref() == Some("");
        }
        let sts_url = self.simulator.sts_url();
        let mut variables = vec![("AWS_REGION", REGION), ("AWS_ENDPOINT_URL_STS", &sts_url)];
        for (parameter, value) in &merged {
            let variable = FUNCTION.variable(parameter);
            variables.extend(variable.map(|variable| (variable, value.as_str())));
        }
        let function = function(&self.simulator, &variables);
        *self.function.lock().unwrap() = Some(Arc::new(function));
        let output = |name: &'static str| (name.to_owned(), output(name));
        self.simulator.deploy(Stack {
            name: STACK.to_owned(),
            function_arn: function_arn(),
            outputs: FUNCTION.names("Outputs").map(output).collect(),
            secret_prefixes: FUNCTION.list(&merged, &["SecretPrefixes"]),
            admin_secret_arns: FUNCTION.list(&merged, &["AdminSecretArn", "OtherAdminSecretArns"]),
            may_list_secrets: FUNCTION.value(&merged, "RetireSchedule").as_deref() == Some("yes"),
        });
        *current = merged;
        self.deployments.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Invokes the function as Lambda does.
    pub(super) async fn invoke(&self, event: Value) -> Result<Value, FunctionError> {
        const LAMBDA_TIMEOUT: Duration = Duration::from_mins(15);
        let deadline = SystemTime::now() + LAMBDA_TIMEOUT;
        let mut context = Context::default();
        context.request_id = format!("request-{}", fastrand::u64(..));
        context.invoked_function_arn = function_arn();
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap();
        context.deadline = u64::try_from(deadline.as_millis()).unwrap();
        let function = self.function.lock().unwrap().clone();
        let function = function.expect("the stack is deployed");
        let is_rotation = event.get("ClientRequestToken").is_some();
        let response = Box::pin(function.handle(LambdaEvent::new(event, context))).await;
        let response = response.map(|report| serde_json::to_value(report).unwrap());
        self.responses
            .lock()
            .unwrap()
            .extend(response.iter().cloned());
        let response = response.map_err(|error| {
            let diagnostic = Diagnostic::from(error);
            FunctionError {
                error_type: diagnostic.error_type,
                message: diagnostic.error_message,
            }
        });
        let failed = match &response {
            Ok(report) => (report["verdict"] == "failed").then(|| format!("{report:#}")),
            Err(error) => Some(format!("{error:?}")),
        };
        let failed = failed.filter(|_| !is_rotation);
        self.failed_invocations.lock().unwrap().extend(failed);
        response
    }

    /// Returns what the page's invocations returned that failed, and the reports whose verdict is `failed`.
    pub(super) fn failed_invocations(&self) -> Vec<String> {
        self.failed_invocations.lock().unwrap().clone()
    }

    /// Begins a block of commands.
    pub(super) fn begin_block(&self) {
        *self.waited_for_jobs.lock().unwrap() = None;
    }

    /// Waits until no rotation and no invocation runs. Returns `false` if none has started since the last wait of the block: then the
    /// block waits for something else.
    pub(super) fn wait_for_jobs(&self) -> bool {
        const MAX_WAIT: Duration = Duration::from_secs(30);
        let started = Instant::now();
        while self.simulator.has_jobs() && started.elapsed() < MAX_WAIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let jobs = self.simulator.started_jobs();
        let last = self.waited_for_jobs.lock().unwrap().replace(jobs);
        last != Some(jobs)
    }

    /// Lets time pass. Every hour, the stack's rule sends its event to the function.
    pub(super) fn pass(&self, hours: u32) {
        for _ in 0..hours {
            self.wait_for_jobs();
            self.simulator.pass(Duration::from_hours(1));
            if self.simulator.has_stack() && self.parameter("RetireSchedule") == "yes" {
                self.simulator.send_event(json!({"Step": "retire"}));
            }
        }
        self.wait_for_jobs();
    }

    /// Returns the value of a parameter of the stack, or its default.
    pub(super) fn parameter(&self, name: &str) -> String {
        let value = FUNCTION.value(&self.parameters.lock().unwrap(), name);
        value.unwrap_or_else(|| panic!("the template has no parameter {name}"))
    }

    /// Returns the verdict of the last preflight report.
    pub(super) fn verdict(&self) -> String {
        let report = self.last_with("verdict");
        report["verdict"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the last status.
    pub(super) fn status(&self) -> Value {
        self.last_with("findings")
    }

    /// Returns the last response with a field.
    fn last_with(&self, field: &str) -> Value {
        let responses = self.responses.lock().unwrap();
        let mut responses = responses.iter().rev();
        let last = responses.find(|response| response.get(field).is_some());
        last.cloned().unwrap_or_default()
    }

    /// Returns the outcome of a check in the last preflight report, and what it observed.
    pub(super) fn check(&self, name: &str) -> (String, String) {
        let report = self.last_with("checks");
        let mut checks = report["checks"].as_array().into_iter().flatten();
        let check = checks.find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("{name} was not run: {report:#}"));
        let string = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        (string("outcome"), string("observed"))
    }

    /// Deletes a key in Confluent Cloud. The secret that contains it no longer has the guarantee of a working key.
    pub(super) fn delete_key(&self, id: &str) {
        let mut state = self.simulator.state();
        for secret in state.secrets.values_mut() {
            if secret.key_ids("AWSCURRENT").iter().any(|key| key == id) {
                secret.current_key_guarantee = CurrentKeyGuarantee::Off;
            }
        }
        drop(state);
        self.simulator.delete_key_manually(id);
    }

    /// Returns the IDs of the owner's keys, except [`Self::other_keys`].
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys_of(OWNER)
    }

    pub(super) fn keys_of(&self, owner: &str) -> Vec<String> {
        let state = self.simulator.state();
        let keys = state.keys_of(owner);
        let ids = keys.iter().map(|key| key.id.clone());
        ids.filter(|id| !self.other_keys.contains(id)).collect()
    }
}

pub(super) fn function_arn() -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}")
}

/// Returns the overlap that the parameters of a stack require.
fn overlap(parameters: &Parameters) -> Overlap {
    let value = |name| FUNCTION.value(parameters, name).unwrap();
    match value("OldKeyPolicy").as_str() {
        "delete" => Overlap::None,
        "delete-after" => Overlap::Hours(value("OldKeyHours").parse().unwrap()),
        _ => Overlap::UntilNextRotation,
    }
}

fn admin_roles() -> [Role; 2] {
    [Role::ResourceOwnerOf(OWNER.to_owned()), Role::Operator]
}

/// Returns the value of an output.
fn output(name: &str) -> String {
    match name {
        "FunctionArn" => function_arn(),
        "FunctionName" => STACK.to_owned(),
        "DashboardName" => format!("{STACK}-{REGION}"),
        "FunctionRoleArn" => ROLE_ARN.to_owned(),
        "IdentityPoolFilter" => {
            format!("claims.sub==\"{ROLE_ARN}\" && claims.aud==\"{TOKEN_AUDIENCE}\"")
        }
        "LogGroupName" => format!("/aws/lambda/{STACK}"),
        "NotificationsTopicArn" => {
            format!("arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-Notifications-ABCDEFGHIJKL")
        }
        _ => panic!("the output {name} has no value here"),
    }
}

/// Writes what the function logs on this thread to the simulator's log, until it is dropped.
pub(super) fn capture_log(simulator: &Simulator) -> DefaultGuard {
    LazyLock::force(&telemetry::logs::SECOND_SUBSCRIBER);
    let log = simulator.function_log();
    let subscriber = logging::subscriber(LogLevel::INFO, move || log.clone());
    tracing::subscriber::set_default(subscriber)
}
