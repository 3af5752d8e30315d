//! The AWS account as a user sees it with the AWS CLI: Secrets Manager, the Lambda function, its stack and its log, at one URL.
//!
//! Only what the documentation's commands need. A request that is not supported is a violation, as one of the function's is.
//! The access key ID distinguishes the callers: the function cannot use these operations, and a user cannot use the function's
//! listener, so that a user's permissions never hide a violation by the function.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>

mod cloudformation;
mod labels;
mod lambda;
mod lists;
mod logs;
mod replicas;
mod rotation;
mod secrets;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

pub use self::logs::FunctionLog;
pub(crate) use self::secrets::marked_for_deletion;
use crate::Simulator;
use crate::http::request::{HttpRequest, Service};
use crate::http::response::Response;
use crate::http::server::{self, PanicReporter};
use crate::runtime_api::FunctionError;
use crate::secret::Secret;
use crate::state::State;

/// The access key ID of a user's requests. The function has another one.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
pub const USER_ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

/// The function's stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The name of the stack.
    pub name: String,
    /// The function's ARN.
    pub function_arn: String,
    /// The outputs of the template.
    pub outputs: BTreeMap<String, String>,
    /// Name prefixes of the secrets that the function's role may rotate.
    pub secret_prefixes: Vec<String>,
    /// ARNs of the admin secrets that the function's role may read.
    pub admin_secret_arns: Vec<String>,
    /// Whether the function's role may list the secrets of the account.
    pub may_list_secrets: bool,
}

/// A job of the function that a user starts.
enum Job {
    /// An invocation, and the channel for its response.
    Invoke(Value, oneshot::Sender<Result<Value, FunctionError>>),
    /// The four steps of a rotation.
    Rotate { arn: String, token: String },
    /// Only `testSecret`, on a copy of the current value.
    TestConfiguration { arn: String, token: String },
}

/// What a user's requests have changed in the account, apart from the secrets.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) stack: Option<Stack>,
    /// The URL of the listener, once it runs.
    url: Option<String>,
    /// The jobs of the function that have not started.
    jobs: VecDeque<Job>,
    /// Number of jobs that users have started.
    started_jobs: usize,
    /// Number of jobs that have not ended.
    unfinished_jobs: usize,
    log: FunctionLog,
}

/// Attributes of a secret that only users change.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// `Description`.
    pub description: Option<String>,
    /// `KmsKeyId`.
    pub kms_key_id: Option<String>,
    /// `RotationLambdaARN`.
    pub rotation_lambda_arn: Option<String>,
    /// `RotationRules`.
    pub rotation_rules: Option<Value>,
    /// `Tags`.
    pub tags: BTreeMap<String, String>,
    /// `DeletedDate`, in seconds since 1970, of a secret that is scheduled for deletion.
    pub deleted: Option<f64>,
    /// `CreatedDate`, in seconds since 1970.
    pub created: Option<f64>,
}

/// The body of a request, and the fields of a response.
type Body = Map<String, Value>;

/// A user's request to Secrets Manager.
struct Call<'a> {
    operation: &'a str,
    /// The Region in the credential scope.
    region: &'a str,
    body: &'a Body,
}

impl Simulator {
    /// Creates or updates the stack.
    pub fn deploy(&self, stack: Stack) {
        self.state().account.stack = Some(stack);
    }

    /// Deletes the stack. The log remains, as its log group does.
    pub fn delete_stack(&self) {
        self.state().account.stack = None;
    }

    /// Returns whether the stack exists.
    pub fn has_stack(&self) -> bool {
        self.state().account.stack.is_some()
    }

    /// Returns whether a rotation or an invocation that a user started runs.
    pub fn has_jobs(&self) -> bool {
        self.state().account.unfinished_jobs > 0
    }

    /// Returns the number of rotations and invocations that users have started.
    pub fn started_jobs(&self) -> usize {
        self.state().account.started_jobs
    }

    /// Returns the value for the `AWS_ENDPOINT_URL` of a user, without a trailing slash.
    pub fn account_url(&self) -> String {
        if let Some(url) = &self.state().account.url {
            return url.clone();
        }
        let running = Arc::downgrade(&self.running);
        let (url, task) = server::listen(move |head, body| {
            let running = Weak::clone(&running);
            async move {
                respond(
                    &Simulator {
                        running: running.upgrade()?,
                    },
                    head,
                    body,
                )
                .await
            }
        });
        self.running
            .tasks
            .lock()
            .expect("no task panics while it holds the lock")
            .push(task);
        self.state().account.url = Some(url.clone());
        url
    }

    /// Returns the function's log.
    pub fn function_log(&self) -> FunctionLog {
        self.state().account.log.clone()
    }

    /// Sends an event to the function, as an `EventBridge` rule does. The response has no receiver.
    pub fn send_event(&self, event: Value) {
        let (reply, _) = oneshot::channel();
        self.state().account.add_job(Job::Invoke(event, reply));
    }

    /// Runs the rotations and invocations that users start, one after the other, until it is dropped.
    ///
    /// They are not tasks of their own, because the future of an invocation cannot be sent to another thread.
    pub async fn run_jobs(&self, invoke: &impl AsyncFn(Value) -> Result<Value, FunctionError>) {
        loop {
            let next = self.state().account.jobs.pop_front();
            match next {
                Some(job) => {
                    self.run(job, invoke).await;
                    self.state().account.unfinished_jobs -= 1;
                }
                None => self.wait_for_change().await,
            }
        }
    }

    async fn run(&self, job: Job, invoke: &impl AsyncFn(Value) -> Result<Value, FunctionError>) {
        let step = async |event| {
            let response = invoke(event).await;
            response.map(|_| ()).map_err(|error| error.message)
        };
        match job {
            Job::Invoke(event, reply) => {
                // An error means that the caller no longer waits.
                let _ = reply.send(invoke(event).await);
            }
            Job::Rotate { arn, token } => {
                self.run_rotation(&arn, &token, &step).await;
            }
            Job::TestConfiguration { arn, token } => {
                self.run_configuration_test(&arn, &token, &step).await;
            }
        }
    }

    /// Waits until no rotation and no invocation runs.
    pub async fn jobs_finished(&self) {
        while self.has_jobs() {
            self.wait_for_change().await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "not the function's wait")]
    async fn wait_for_change(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Stack {
    /// Returns whether the function's role has a permission, as the template grants it. A secret that names another function
    /// cannot be rotated.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets-required-permissions-function.html>
    pub(crate) fn permits(&self, operation: &str, secret: &Secret) -> bool {
        let has_prefix = |prefix: &String| secret.name.starts_with(prefix);
        let names_function =
            secret.attributes.rotation_lambda_arn.as_ref() == Some(&self.function_arn);
        (self.secret_prefixes.iter().any(has_prefix) && names_function)
            || (operation == "GetSecretValue" && self.admin_secret_arns.contains(&secret.arn))
    }
}

impl Account {
    fn add_job(&mut self, job: Job) {
        self.started_jobs += 1;
        self.unfinished_jobs += 1;
        self.jobs.push_back(job);
    }
}

/// Responds to a user's request. The credential scope names the service.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
async fn respond(
    simulator: &Simulator,
    head: http::request::Parts,
    body: Bytes,
) -> Option<Response> {
    let _reporter = PanicReporter(&simulator.running.shared);
    let request = HttpRequest::new(Service::SecretsManager, None, head, body);
    let response = match scope(&request) {
        Some((USER_ACCESS_KEY_ID, region, "secretsmanager")) => {
            secrets::respond(simulator, &request, region)
        }
        Some((USER_ACCESS_KEY_ID, _, "lambda")) => lambda::respond(simulator, &request).await,
        Some((USER_ACCESS_KEY_ID, _, "cloudformation")) => {
            cloudformation::respond(&mut simulator.state(), &request)
        }
        Some((USER_ACCESS_KEY_ID, _, "logs")) => logs::respond(&mut simulator.state(), &request),
        Some((USER_ACCESS_KEY_ID, _, service)) => {
            let message = format!("a user's request to {service}");
            Err(simulator.state().violation_response(&message))
        }
        _ => Err(simulator
            .state()
            .violation_response("the access key ID is not the user's")),
    };
    let mut state = simulator.state();
    state.current_request = format!("a user's {}", request.name());
    state.check_current_keys();
    Some(response.unwrap_or_else(|error| error))
}

/// Returns the access key ID, the Region and the service of the credential scope.
fn scope(request: &HttpRequest) -> Option<(&str, &str, &str)> {
    let authorization = request.header("authorization")?;
    let scope = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let mut parts = scope.split(',').next()?.split('/');
    let (key, _date) = (parts.next()?, parts.next()?);
    Some((key, parts.next()?, parts.next()?))
}

/// Returns whether a request has the access key ID of a user.
pub(crate) fn is_user(request: &HttpRequest) -> bool {
    scope(request).is_some_and(|(key, _, _)| key == USER_ACCESS_KEY_ID)
}

/// Returns the Region in the credential scope.
pub(crate) fn region(request: &HttpRequest) -> Option<&str> {
    scope(request).map(|(_, region, _)| region)
}

/// Parses the body of a request in AWS JSON 1.1, and fails if it has a field that `fields` does not name.
///
/// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
fn parse(state: &mut State, request: &HttpRequest, fields: &[&str]) -> Result<Body, Response> {
    state.current_request = format!("a user's {}", request.name());
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return Err(state.violation_response("the body is not a JSON object"));
    };
    match body.keys().find(|field| !fields.contains(&field.as_str())) {
        Some(field) => {
            Err(state.violation_response(&format!("the field {field} is not supported")))
        }
        None => Ok(body),
    }
}

fn string<'a>(body: &'a Body, field: &str) -> Option<&'a str> {
    body.get(field).and_then(Value::as_str)
}

/// Returns the strings of a list; none if the field is absent.
fn strings<'a>(body: &'a Body, field: &str) -> Vec<&'a str> {
    let list = body.get(field).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn success(body: &Value) -> Response {
    Response::new(200, "application/x-amz-json-1.1", body.to_string())
}

fn error(error_type: &str, message: &str) -> Response {
    Response::aws_error(400, error_type, message)
}

/// Returns the ARN and the name of a secret, and `fields`.
fn named(state: &State, arn: &str, mut fields: Value) -> Response {
    fields["ARN"] = json!(arn);
    fields["Name"] = json!(state.secrets[arn].name);
    success(&fields)
}
