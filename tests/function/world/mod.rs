//! [`World`]: one secret, everything that its rotation requires, and the function as `main` builds it, with shorter delays.

mod steps;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confluent_key_rotation::config::{Config, InitialKey, OldKeyPolicy};
use confluent_key_rotation::handler::{Function, Response};
use confluent_key_rotation::http::{
    self, Backoff, SdkLimits, build_client, build_probe_client, build_tls,
};
use confluent_key_rotation::preflight::Report;
use confluent_key_rotation::{secret, web_identity};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::{Value, json};
use simulator::{FUNCTION_ARN, KeyType, Outcome, Overlap, Role, Simulator};

pub(crate) use steps::*;

/// The service account whose keys are rotated.
pub(crate) const OWNER: &str = "sa-orders";
/// The service account that owns the admin key.
pub(crate) const ADMIN: &str = "sa-admin";
/// The environment of every resource.
pub(crate) const ENVIRONMENT: &str = "env-prod";
/// Enough time for every request of a test on a busy machine.
pub(crate) const AMPLE: Duration = Duration::from_mins(2);

/// The time limit of a request: longer than any request takes on a busy machine.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// The time limit of a request in a test that waits for it many times, and in which a slow request may time out, too.
pub(crate) const SHORT_REQUEST_LIMIT: Duration = Duration::from_millis(250);

/// The management credentials of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The key of an admin secret that the secret value names.
    Admin,
    /// The secret's own key.
    SelfRotation,
    /// The key of an admin secret. The secret contains no key yet.
    InitialKey,
    /// Access tokens of an identity pool.
    Keyless,
}

/// The parameters of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The type of the main key.
    pub(crate) key_type: KeyType,
    pub(crate) mode: Mode,
    pub(crate) policy: OldKeyPolicy,
    /// The types of the further keys.
    pub(crate) further: &'static [KeyType],
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            key_type: KeyType::Kafka,
            mode: Mode::Admin,
            policy: OldKeyPolicy::Delete,
            further: &[],
        }
    }
}

/// A secret, and everything that its rotation requires.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) function: Function,
    /// The secret's ARN.
    pub(crate) arn: String,
    /// The ID of the main key that the secret contains at first, or an empty string if it contains none.
    pub(crate) initial_key: String,
    /// The IDs of all keys that the secret contains at first.
    pub(crate) initial_keys: Vec<String>,
    /// The time limit of an invocation.
    pub(crate) time_limit: Duration,
}

/// Returns the ID of the key type's resource, as a secret value names it.
pub(crate) fn resource_id(key_type: KeyType) -> Option<&'static str> {
    match key_type {
        KeyType::Cloud => None,
        KeyType::Kafka => Some("lkc-orders"),
        KeyType::SchemaRegistry => Some("lsrc-orders"),
        KeyType::KsqlDb => Some("lksqlc-orders"),
        KeyType::Flink => Some("aws.us-west-2"),
        KeyType::Tableflow => Some("Tableflow"),
        KeyType::Global => Some("Global"),
    }
}

/// Returns the prefix of the further key of a type, and the ID of its resource.
pub(crate) fn further_key(key_type: KeyType) -> (&'static str, &'static str) {
    match key_type {
        KeyType::Cloud => ("cloud", "cloud"),
        KeyType::Kafka => ("kafka", "lkc-further"),
        KeyType::SchemaRegistry => ("schemaRegistry", "lsrc-further"),
        KeyType::KsqlDb => ("ksqldb", "lksqlc-further"),
        KeyType::Flink => ("flink", "aws.eu-west-1"),
        KeyType::Tableflow => ("tableflow", "Tableflow"),
        KeyType::Global => ("global", "Global"),
    }
}

pub(crate) fn environment_id(key_type: KeyType) -> Option<&'static str> {
    (!key_type.is_control_plane()).then_some(ENVIRONMENT)
}

fn add_resource(simulator: &Simulator, id: &str, key_type: KeyType) {
    match key_type {
        KeyType::Kafka => simulator.add_kafka_cluster(id, ENVIRONMENT),
        KeyType::SchemaRegistry => simulator.add_schema_registry(id, ENVIRONMENT),
        KeyType::KsqlDb => simulator.add_ksqldb(id, ENVIRONMENT),
        KeyType::Flink => simulator.add_flink_region(id, ENVIRONMENT),
        KeyType::Cloud | KeyType::Tableflow | KeyType::Global => {}
    }
}

/// Adds the resource and the key of each further key, and another application's key of the same resource. In [`Mode::InitialKey`],
/// the further keys are blank.
fn add_further_keys(simulator: &Simulator, setting: Setting, value: &mut Value) {
    for key_type in setting.further {
        let (prefix, resource) = further_key(*key_type);
        let environment = environment_id(*key_type);
        add_resource(simulator, resource, *key_type);
        simulator.add_key(OWNER, Some(resource), environment);
        let (mut id, mut secret) = (Value::Null, String::new());
        if setting.mode != Mode::InitialKey {
            let key = simulator.add_key(OWNER, Some(resource), environment);
            (id, secret) = (json!(key.0), key.1);
        }
        value[format!("{prefix}ApiKey")] = id;
        value[format!("{prefix}ApiSecret")] = json!(secret);
        value[format!("{prefix}ResourceId")] = json!(resource);
        if environment.is_some() {
            value["environmentId"] = json!(environment);
        }
    }
}

impl World {
    pub(crate) async fn new(setting: Setting) -> Self {
        let simulator = Simulator::start().await;
        let resource = resource_id(setting.key_type);
        let environment = environment_id(setting.key_type);
        add_resource(&simulator, resource.unwrap_or("cloud"), setting.key_type);
        let owner_role = Role::ResourceOwnerOf(OWNER.to_owned());
        let mut owner_roles = vec![owner_role.clone()];
        if !setting.further.is_empty() {
            // With its own main key, the function finds the endpoints of the further keys' resources.
            owner_roles.push(Role::Operator);
        }
        simulator.add_owner(OWNER, &owner_roles);
        simulator.state().controls.overlap = overlap(setting.policy);
        let (mut initial_key, secret) = simulator.add_key(OWNER, resource, environment);
        // Another application's key. The simulator reports a violation if the function deletes it.
        simulator.add_key(OWNER, resource, environment);
        simulator.add_internal_key();
        let mut value = json!({
            "apiKey": initial_key,
            "apiSecret": secret,
            "serviceAccountId": OWNER,
            "resourceId": resource,
            "environmentId": environment,
            "note": {"kept": [1.0, null, "as it is"]},
        });
        if setting.mode == Mode::InitialKey {
            simulator.delete_key_manually(&initial_key);
            initial_key = String::new();
            value["apiKey"] = Value::Null;
            // One field is null, the other one is absent.
            value.as_object_mut().unwrap().remove("apiSecret");
        }
        add_further_keys(&simulator, setting, &mut value);
        let mut pool = String::new();
        if setting.mode == Mode::Keyless {
            pool = simulator.add_identity_pool(&[owner_role, Role::Operator]);
        }
        if matches!(setting.mode, Mode::Admin | Mode::InitialKey) {
            simulator.add_owner(ADMIN, &[Role::OrganizationAdmin]);
            let key = simulator.add_key(ADMIN, None, None);
            value["adminSecretArn"] = json!(simulator.add_admin_secret("admin", &key));
        }
        let arn = simulator.add_secret("orders/kafka", &value.to_string());
        let initial_keys = simulator.state().secret(&arn).key_ids("AWSCURRENT");
        let function = function(
            &simulator,
            &[
                ("OLD_KEY_POLICY", policy_setting(setting.policy)),
                ("INITIAL_KEY", initial_key_setting(setting.mode)),
                ("IDENTITY_POOL_ID", &pool),
            ],
        );
        Self {
            simulator,
            function,
            arn,
            initial_key,
            initial_keys,
            time_limit: AMPLE,
        }
    }

    /// Invokes the function as Lambda does, and returns the error that Lambda reports.
    pub(crate) async fn invoke(&self, event: Value) -> Result<(), Diagnostic> {
        self.invoke_within(event, self.time_limit).await
    }

    /// Requests the preflight report of the secret.
    pub(crate) async fn preflight(&self) -> Report {
        let event = json!({"Step": "preflight", "SecretId": self.arn});
        match self.handle(event, self.time_limit).await {
            Ok(Some(Response::Preflight(report))) => report,
            other => panic!("a preflight always returns a report: {other:?}"),
        }
    }

    /// Invokes the function with a time limit.
    pub(crate) async fn invoke_within(
        &self,
        event: Value,
        time_limit: Duration,
    ) -> Result<(), Diagnostic> {
        self.handle(event, time_limit).await.map(|_| ())
    }

    pub(crate) async fn handle(
        &self,
        event: Value,
        time_limit: Duration,
    ) -> Result<Option<Response>, Diagnostic> {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time_limit;
        let mut context = Context::default();
        // The ownership tag contains the first eight letters and digits, so equal states have equal tags.
        context.request_id = format!("request0-{}", fastrand::u64(..));
        FUNCTION_ARN.clone_into(&mut context.invoked_function_arn);
        context.deadline = u64::try_from(deadline.as_millis()).unwrap();
        let invocation = LambdaEvent::new(event, context);
        // Boxed, because a test's future contains several of these.
        let result = Box::pin(self.function.handle(invocation)).await;
        result.map_err(Diagnostic::from)
    }

    /// Rotates the secret, or resumes an incomplete rotation.
    pub(crate) async fn rotate(&self) -> Outcome {
        self.rotate_from("createSecret").await
    }

    /// Continues a rotation with the step `first`, if the steps before it have succeeded.
    pub(crate) async fn rotate_from(&self, first: &str) -> Outcome {
        let invoke = async |event| {
            self.invoke(event)
                .await
                .map_err(|error| format!("{error:?}"))
        };
        self.simulator.rotate_from(&self.arn, first, &invoke).await
    }

    /// Sets the time limit of requests.
    pub(crate) fn set_request_limit(&mut self, limit: Duration) {
        self.function.http_limits.request = limit;
        self.function.sdk_limits.attempt = limit;
    }

    /// Returns a world with a copy of the state of this one, and a new process of the function.
    pub(crate) async fn fork(&self) -> Self {
        self.with_new_process(self.simulator.fork().await)
    }

    /// Returns this world with a new process of the function.
    pub(crate) fn restart(&self) -> Self {
        self.with_new_process(self.simulator.clone())
    }

    fn with_new_process(&self, simulator: Simulator) -> Self {
        let mut function = function(&simulator, &borrowed(&self.variables()));
        function.http_limits = self.function.http_limits;
        function.sdk_limits = self.function.sdk_limits;
        Self {
            simulator,
            function,
            arn: self.arn.clone(),
            initial_key: self.initial_key.clone(),
            initial_keys: self.initial_keys.clone(),
            time_limit: self.time_limit,
        }
    }

    /// Runs one step of the rotation in progress, or of a new one.
    pub(crate) async fn step(&self, step: &str) -> Result<(), Diagnostic> {
        let token = self.simulator.start_rotation(&self.arn);
        self.invoke(self.simulator.event(&self.arn, &token, step))
            .await
    }

    /// Returns the ID of the main key in the version with `label`.
    pub(crate) fn key(&self, label: &str) -> Option<String> {
        let state = self.simulator.state();
        state.secret(&self.arn).key_id(label).map(str::to_owned)
    }

    /// Returns the IDs of all keys in the version with `label`, that of the main key first.
    pub(crate) fn key_ids(&self, label: &str) -> Vec<String> {
        self.simulator.state().secret(&self.arn).key_ids(label)
    }

    /// Returns the ID and the secret of the current main key of a secret.
    pub(crate) fn current_key(&self, arn: &str) -> (String, String) {
        let state = self.simulator.state();
        let id = state.secret(arn).key_id("AWSCURRENT").unwrap();
        (id.to_owned(), state.keys[id].secret.clone())
    }

    /// Returns the IDs of the owner's keys, except another application's.
    pub(crate) fn keys(&self) -> Vec<String> {
        let state = self.simulator.state();
        let keys = state.keys_of(OWNER).into_iter();
        keys.filter(|key| !state.belongs_to_another_application(key))
            .map(|key| key.id.clone())
            .collect()
    }

    /// Asserts that the owner has exactly these keys, apart from another application's.
    pub(crate) fn assert_keys(&self, expected: &[String], case: &dyn Debug) {
        let mut expected = expected.to_vec();
        let mut keys = self.keys();
        expected.sort();
        keys.sort();
        assert_eq!(keys, expected, "{case:?}");
    }

    /// Returns the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.simulator.state().request_names();
        self.simulator.clear_requests();
        requests
    }

    /// Stores another value in the secret, as a user does.
    pub(crate) fn change_value(&self, change: impl FnOnce(&mut Value)) {
        let mut value = self.value("AWSCURRENT");
        change(&mut value);
        self.simulator.store_manually(&self.arn, &value.to_string());
    }

    /// Returns the value of the version with `label`.
    pub(crate) fn value(&self, label: &str) -> Value {
        let state = self.simulator.state();
        let value = state
            .secret(&self.arn)
            .value(label)
            .unwrap_or_else(|| panic!("no {label}"));
        serde_json::from_str(value).unwrap()
    }

    /// Sets a resource tag of the secret.
    pub(crate) fn set_tag(&self, key: &str, value: &str) {
        let mut state = self.simulator.state();
        let tags = &mut state.secret_mut(&self.arn).attributes.tags;
        tags.insert(key.to_owned(), value.to_owned());
    }

    /// Returns the ID of the function's identity pool, or an empty string.
    pub(crate) fn identity_pool(&self) -> String {
        let keyless = self.function.config.keyless.as_ref();
        keyless.map_or_else(String::new, |keyless| keyless.identity_pool_id.clone())
    }

    /// Sets an environment variable of the function.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        let variables = self.variables();
        let mut variables = borrowed(&variables);
        variables.push((name, value));
        self.function = function(&self.simulator, &variables);
    }

    /// Returns the environment variables of the function.
    fn variables(&self) -> [(&'static str, String); 4] {
        let config = &self.function.config;
        let initial_key = match config.initial_key {
            InitialKey::Off => "off",
            InitialKey::Allow => "allow",
        };
        let policy = policy_setting(config.old_key_policy);
        [
            ("OLD_KEY_POLICY", policy.to_owned()),
            ("OLD_KEY_HOURS", config.old_key_hours.to_string()),
            ("INITIAL_KEY", initial_key.to_owned()),
            ("IDENTITY_POOL_ID", self.identity_pool()),
        ]
    }
}

fn borrowed<'v>(variables: &'v [(&'static str, String)]) -> Vec<(&'v str, &'v str)> {
    let variables = variables.iter();
    variables
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

pub(crate) fn initial_key_setting(mode: Mode) -> &'static str {
    if mode == Mode::InitialKey {
        "allow"
    } else {
        "off"
    }
}

pub(crate) fn policy_setting(policy: OldKeyPolicy) -> &'static str {
    match policy {
        OldKeyPolicy::DeleteAfter => "delete-after",
        OldKeyPolicy::Delete => "delete",
        OldKeyPolicy::KeepUntilNextRotation => "keep-until-next-rotation",
    }
}

/// Returns the overlap that the simulator requires under a policy.
pub(crate) fn overlap(policy: OldKeyPolicy) -> Overlap {
    match policy {
        OldKeyPolicy::DeleteAfter => Overlap::Hours(24),
        OldKeyPolicy::Delete => Overlap::None,
        OldKeyPolicy::KeepUntilNextRotation => Overlap::UntilNextRotation,
    }
}

/// The variables that Lambda sets and the function requires.
pub(crate) const LAMBDA_VARIABLES: [(&str, &str); 3] = [
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "example"),
];

/// Builds the function as `main` does, with the simulator's URLs and shorter delays.
pub(crate) fn function(simulator: &Simulator, variables: &[(&str, &str)]) -> Function {
    let control_plane = simulator.confluent_url();
    let secrets_manager = simulator.secrets_manager_url();
    let sts = simulator.sts_url();
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
                    ("PROPAGATION_WAIT_SECONDS", "0"),
                    ("AWS_ENDPOINT_URL", secrets_manager.as_str()),
                    ("AWS_ENDPOINT_URL_STS", sts.as_str()),
                ];
                let mut defaults = defaults.into_iter().chain(LAMBDA_VARIABLES);
                defaults.find(|(known, _)| *known == name)
            })?;
        Some(value.to_owned())
    });
    let config = config.unwrap();
    let tls = build_tls(&config.network).unwrap();
    let http = build_client(&config.network, &tls).unwrap();
    let probe_http = build_probe_client(&config.network, &tls).unwrap();
    let quick = Backoff {
        initial: Duration::from_millis(1),
        factor: 1.5,
        max: Duration::from_millis(5),
        retries: 5,
    };
    Function {
        broker_tls: Arc::new(tls),
        secrets_manager: secret::sdk_client(&config.aws, &http),
        sts: web_identity::sdk_client(&config.aws, &http),
        config,
        http,
        probe_http,
        rate_limit: http::RateLimit::default(),
        endpoints: confluent_key_rotation::confluent::EndpointCache::default(),
        http_limits: http::Limits {
            request: REQUEST_LIMIT,
            retries: quick,
        },
        sdk_limits: SdkLimits {
            attempt: REQUEST_LIMIT,
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(100),
            max_attempts: 3,
        },
        read_after_write: quick,
    }
}
