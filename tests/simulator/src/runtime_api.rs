//! The Lambda Runtime API, to run a real `bootstrap`, which requests the next invocation and posts a response or an
//! error.
//!
//! The log does not include these requests.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::generate;
use crate::http::response::Response;
use crate::http::server;
use crate::rotation::FUNCTION_ARN;

/// The error that the function posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// `errorType`.
    pub error_type: String,
    /// `errorMessage`.
    pub message: String,
}

type Reply = Result<Value, FunctionError>;

struct Invocation {
    id: String,
    function_arn: String,
    event: Value,
    deadline_ms: u128,
    reply: oneshot::Sender<Reply>,
}

struct Invocations {
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Reply>>>,
    /// Number of times that the function has requested an invocation.
    requests: watch::Sender<u64>,
}

/// The Lambda Runtime API for one function.
pub struct RuntimeApi {
    address: String,
    queue: mpsc::UnboundedSender<Invocation>,
    requests: watch::Receiver<u64>,
    serial: AtomicU64,
    function_arn: Mutex<String>,
    task: AbortHandle,
}

impl RuntimeApi {
    /// Starts the Runtime API.
    #[expect(
        clippy::unused_async,
        reason = "listeners can only be registered inside a runtime"
    )]
    pub async fn start() -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        let (requests_sender, requests) = watch::channel(0);
        let invocations = Arc::new(Invocations {
            next: tokio::sync::Mutex::new(next),
            running: Mutex::default(),
            requests: requests_sender,
        });
        let (url, task) = server::listen(move |head, body| {
            let invocations = Arc::clone(&invocations);
            async move { Some(invocations.respond(&head, &body).await) }
        });
        Self {
            address: url.replace("http://", ""),
            queue,
            requests,
            // Far from the serial numbers of the other services, so that no request ID is also a version ID.
            serial: AtomicU64::new(1 << 32),
            function_arn: Mutex::new(FUNCTION_ARN.to_owned()),
            task,
        }
    }

    /// Returns the value for `AWS_LAMBDA_RUNTIME_API`: host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sets the ARN with which the function is invoked from now on, instead of [`FUNCTION_ARN`]. An alias or a version adds
    /// a qualifier to it.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
    ///
    /// # Panics
    /// If another thread panicked while it invoked the function.
    pub fn set_function_arn(&self, arn: &str) {
        let mut function_arn = self.function_arn.lock();
        let function_arn = function_arn.as_mut().expect("no thread has panicked");
        arn.clone_into(function_arn);
    }

    /// Waits until the function has requested an invocation `count` times, and returns the time. At the first request,
    /// the function is initialized.
    ///
    /// # Panics
    /// If the Runtime API is not running.
    pub async fn invocations_requested(&self, count: u64) -> Instant {
        let mut requests = self.requests.clone();
        let result = requests.wait_for(|requests| *requests >= count).await;
        result.expect("the Runtime API is running");
        Instant::now()
    }

    /// Invokes the function and waits for its response without a timeout. If the process exits, drop the future.
    /// Concurrent invocations run one after the other.
    ///
    /// # Errors
    /// Returns the error that the function posted.
    pub async fn invoke(&self, event: Value, time_limit: Duration) -> Result<Value, FunctionError> {
        let id = generate::uuid(self.serial.fetch_add(1, Ordering::Relaxed));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (reply, response) = oneshot::channel();
        let function_arn = self.function_arn.lock();
        let function_arn = function_arn.expect("no thread has panicked").clone();
        let invocation = Invocation {
            id,
            function_arn,
            event,
            deadline_ms: (now + time_limit).as_millis(),
            reply,
        };
        self.queue
            .send(invocation)
            .unwrap_or_else(|_| panic!("the Runtime API is not running"));
        response.await.expect("the Runtime API is running")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Invocations {
    async fn respond(&self, head: &http::request::Parts, body: &Bytes) -> Response {
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => self.reply(
                id,
                serde_json::from_slice(body)
                    .map_err(|_| "the response is not JSON")
                    .map(Ok),
            ),
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                let error: Value = serde_json::from_slice(body).unwrap_or_default();
                let field = |name: &str| {
                    error
                        .get(name)
                        .and_then(Value::as_str)
                        .map(ToOwned::to_owned)
                };
                let error = field("errorType").zip(field("errorMessage"));
                let error = error.map(|(error_type, message)| {
                    Err(FunctionError {
                        error_type,
                        message,
                    })
                });
                self.reply(id, error.ok_or("errorType or errorMessage is missing"))
            }
            _ => error_response(404, "NotFound", "the Runtime API has no such path"),
        }
    }

    /// Returns the next invocation, and skips those whose caller no longer waits.
    async fn next(&self) -> Response {
        self.requests.send_modify(|requests| *requests += 1);
        let mut queue = self.next.lock().await;
        loop {
            let Some(invocation) = queue.recv().await else {
                return std::future::pending().await;
            };
            if invocation.reply.is_closed() {
                continue;
            }
            let Invocation {
                id,
                function_arn,
                event,
                deadline_ms,
                reply,
            } = invocation;
            self.running
                .lock()
                .expect("no task panics while it holds the lock")
                .insert(id.clone(), reply);
            return Response::json(200, &event)
                .with_header("lambda-runtime-aws-request-id", id)
                .with_header("lambda-runtime-deadline-ms", deadline_ms.to_string())
                .with_header("lambda-runtime-invoked-function-arn", function_arn)
                .with_header(
                    "lambda-runtime-trace-id",
                    "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                );
        }
    }

    fn reply(&self, id: &str, reply: Result<Reply, &str>) -> Response {
        let reply = match reply {
            Ok(reply) => reply,
            Err(message) => return error_response(400, "InvalidRequest", message),
        };
        let Some(caller) = self
            .running
            .lock()
            .expect("no task panics while it holds the lock")
            .remove(id)
        else {
            return error_response(400, "InvalidRequestID", "the invocation does not exist");
        };
        // An error means that the caller no longer waits.
        let _ = caller.send(reply);
        Response::json(202, &json!({ "status": "OK" }))
    }
}

fn error_response(status: u16, error_type: &str, message: &str) -> Response {
    Response::json(
        status,
        &json!({ "errorType": error_type, "errorMessage": message }),
    )
}
