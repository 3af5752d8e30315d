//! Confluent Cloud, AWS Secrets Manager and the AWS Lambda Runtime API on loopback: real HTTP,
//! stateful, strict.
//!
//! A [`Simulator`] answers as the services' own documentation says they answer, and each rule cites
//! where it is written. What no client of these services should ever send is not answered kindly: it
//! is recorded as a violation, as is a broken [promise](promises), and the last handle to be dropped
//! panics with all of them.
//!
//! One request passes through `server` (log, [faults], `rate_limit`, holds), one of `confluent`, `discovery`,
//! `data_planes` or `secrets_manager` (which read and change [`State`]), and [`promises`], before its
//! answer leaves. [`rotation`] plays the other half of Secrets Manager: it calls the function's steps.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test's arrangement that cannot be made should fail loudly, where it is made"
)]

mod answer;
mod arrange;
mod call;
mod confluent;
mod data_planes;
mod discovery;
pub mod faults;
mod keys;
mod knobs;
mod mint;
pub mod promises;
mod rate_limit;
pub mod rotation;
mod runtime_api;
mod secrets;
mod secrets_manager;
mod server;
mod state;
pub mod tls;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use answer::Answer;
pub use call::{Plane, Request};
pub use faults::{Fault, Hold};
pub use keys::{ApiKey, Kind, Owner, Role};
pub use knobs::{Endpoints, GoneAnswer, Knobs, LastPage, Quota, QuotaAnswer, RateLimit, Verdict};
pub use mint::CANARY;
pub use rotation::Outcome;
pub use runtime_api::{FunctionError, RuntimeApi};
pub use secrets::{Secret, SecretValue, Version, Watch};
pub use state::{Resource, State};

/// The running services. Clones are handles to the same ones; the last to go stops them.
#[derive(Clone)]
pub struct Simulator {
    running: Arc<Running>,
}

/// What the listeners' tasks share with the handles.
struct Shared {
    state: Mutex<State>,
    /// How many `Stop` faults have fired.
    stops: watch::Sender<usize>,
}

/// Held by the handles only, so that its end is the end of the test and not of a connection.
struct Running {
    shared: Arc<Shared>,
    confluent_url: String,
    secrets_manager_url: String,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Shared {
    /// How long a guard may be waited for; nothing holds one for more than a few instructions.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Locks the state. A test that still holds a guard is told so, instead of waiting for itself.
    fn state(&self) -> MutexGuard<'_, State> {
        let since = Instant::now();
        loop {
            match self.state.try_lock() {
                Ok(state) => return state,
                // A test that fails while it looks at the state should be reported as that failure.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
            assert!(
                since.elapsed() < Self::PATIENCE,
                "a guard of Simulator::state() is still alive"
            );
        }
    }
}

impl Simulator {
    /// Starts Confluent's control plane and Secrets Manager, each on a port of its own.
    ///
    /// Data planes start with the resource they belong to: [`add_kafka_cluster`](Self::add_kafka_cluster)
    /// and its siblings.
    #[expect(
        clippy::unused_async,
        reason = "listeners can only be registered inside a runtime"
    )]
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            stops: watch::Sender::new(0),
        });
        let (confluent_url, confluent) = server::spawn(&shared, Plane::ControlPlane, None);
        let (secrets_manager_url, secrets_manager) =
            server::spawn(&shared, Plane::SecretsManager, None);
        let tasks = Mutex::new(vec![confluent, secrets_manager]);
        Self {
            running: Arc::new(Running {
                shared,
                confluent_url,
                secrets_manager_url,
                tasks,
            }),
        }
    }

    /// What `CONFLUENT_API_URL` should be; without a trailing slash.
    #[must_use]
    pub fn confluent_url(&self) -> String {
        self.running.confluent_url.clone()
    }

    /// What `AWS_ENDPOINT_URL_SECRETS_MANAGER` should be; without a trailing slash.
    #[must_use]
    pub fn secrets_manager_url(&self) -> String {
        self.running.secrets_manager_url.clone()
    }

    /// Everything there is, to look at and to change. Requests wait while the guard lives: drop it
    /// before the next `await`, and before calling another method of the simulator.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.running.shared.state()
    }

    /// Resolves when the next [`Fault::StopBefore`] or [`Fault::StopAfter`] fires: the moment to kill
    /// the process that sent the request. It counts from the call, not from the first poll.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stops = self.running.shared.stops.subscribe();
        async move {
            // The sender goes with the simulator: then nothing can stop any more.
            if stops.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Every secret value, `RotationToken` and key secret that was ever handed out: none of them may
    /// be found in a log, an error or a response.
    #[must_use]
    pub fn canaries(&self) -> Vec<String> {
        self.state().canaries.iter().cloned().collect()
    }

    /// Panics with the violations recorded so far, and forgets them.
    pub fn assert_promises_kept(&self) {
        let violations = std::mem::take(&mut self.state().violations);
        assert!(violations.is_empty(), "{}", in_lines(&violations));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        // A test that has failed already should be reported as that failure.
        if !std::thread::panicking() {
            let violations = std::mem::take(&mut self.shared.state().violations);
            assert!(violations.is_empty(), "{}", in_lines(&violations));
        }
    }
}

fn in_lines(violations: &[String]) -> String {
    violations.iter().fold(
        "the simulator was not content:".to_owned(),
        |mut text, violation| {
            let _ = write!(text, "\n  - {violation}");
            text
        },
    )
}
