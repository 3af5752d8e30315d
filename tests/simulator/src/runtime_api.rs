//! The Lambda Runtime API, to run a real `bootstrap`: it asks for the next invocation, and posts a
//! response or an error.
//!
//! Requests here are not part of the log: they are the platform's, not the function's.
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

use crate::answer::Answer;
use crate::{mint, server};

/// What the function posted to `/error`.
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
    event: Value,
    deadline_ms: u128,
    reply: oneshot::Sender<Reply>,
}

struct Invocations {
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Reply>>>,
    /// How often the function has asked for an invocation.
    asked: watch::Sender<u64>,
}

/// A Lambda platform that runs one function.
pub struct RuntimeApi {
    address: String,
    queue: mpsc::UnboundedSender<Invocation>,
    asked: watch::Receiver<u64>,
    serial: AtomicU64,
    task: AbortHandle,
}

impl RuntimeApi {
    /// Starts it.
    #[expect(
        clippy::unused_async,
        reason = "listeners can only be registered inside a runtime"
    )]
    pub async fn start() -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        let (asks, asked) = watch::channel(0);
        let invocations = Arc::new(Invocations {
            next: tokio::sync::Mutex::new(next),
            running: Mutex::default(),
            asked: asks,
        });
        let (url, task) = server::listen(move |head, body| {
            let invocations = Arc::clone(&invocations);
            async move { Some(invocations.answer(&head, &body).await) }
        });
        Self {
            address: url.replace("http://", ""),
            queue,
            asked,
            // Far from what the other services count to: no request id is also a version's id.
            serial: AtomicU64::new(1 << 32),
            task,
        }
    }

    /// What `AWS_LAMBDA_RUNTIME_API` should be: host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Resolves when the function has asked for an invocation so many times, and says when that was noticed: the
    /// first time, it has been initialised.
    ///
    /// # Panics
    /// If the Runtime API is not running.
    pub async fn asked(&self, times: u64) -> Instant {
        let mut asked = self.asked.clone();
        let waited = asked.wait_for(|asked| *asked >= times).await;
        waited.expect("the Runtime API is running");
        Instant::now()
    }

    /// Invokes the function, and waits for its answer for as long as it takes: drop the future when the
    /// process has died. Invocations are handed out one after the other.
    ///
    /// # Errors
    /// What the function posted to `/error`.
    pub async fn invoke(&self, event: Value, time_limit: Duration) -> Result<Value, FunctionError> {
        let id = mint::uuid(self.serial.fetch_add(1, Ordering::Relaxed));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let invocation = Invocation {
            id,
            event,
            deadline_ms: (now + time_limit).as_millis(),
            reply,
        };
        self.queue
            .send(invocation)
            .unwrap_or_else(|_| panic!("the Runtime API is not running"));
        answer.await.expect("the Runtime API is running")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Invocations {
    async fn answer(&self, head: &http::request::Parts, body: &Bytes) -> Answer {
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
                self.reply(id, error.ok_or("errorType and errorMessage are not there"))
            }
            _ => refused(404, "NotFound", "no such path in the Runtime API"),
        }
    }

    /// Waits for an invocation that somebody still waits for.
    async fn next(&self) -> Answer {
        self.asked.send_modify(|asked| *asked += 1);
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
                event,
                deadline_ms,
                reply,
            } = invocation;
            self.running
                .lock()
                .expect("nothing panics with it")
                .insert(id.clone(), reply);
            let function = "arn:aws:lambda:us-east-1:123456789012:function:rotation";
            return Answer::json(200, &event)
                .with_header("lambda-runtime-aws-request-id", id)
                .with_header("lambda-runtime-deadline-ms", deadline_ms.to_string())
                .with_header("lambda-runtime-invoked-function-arn", function)
                .with_header(
                    "lambda-runtime-trace-id",
                    "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                );
        }
    }

    fn reply(&self, id: &str, reply: Result<Reply, &str>) -> Answer {
        let reply = match reply {
            Ok(reply) => reply,
            Err(text) => return refused(400, "InvalidRequest", text),
        };
        let Some(waiting) = self
            .running
            .lock()
            .expect("nothing panics with it")
            .remove(id)
        else {
            return refused(400, "InvalidRequestID", "no such invocation");
        };
        // Nobody waits any more when a test has given up on the process.
        let _ = waiting.send(reply);
        Answer::json(202, &json!({ "status": "OK" }))
    }
}

fn refused(status: u16, error_type: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "errorType": error_type, "errorMessage": message }),
    )
}
