//! Simulates Confluent Cloud, AWS Secrets Manager, AWS STS and the AWS Lambda Runtime API over real HTTP on loopback, and the
//! brokers of Kafka clusters over TCP.
//!
//! A [`Simulator`] keeps state and behaves as the services document. Each rule cites its source. The crate shares no
//! code with the rotation function. A request that the documentation does not allow is a violation, and so is a broken
//! [guarantee](guarantees). When the last handle is dropped, it panics and reports all violations.
//!
//! A request passes through
//!
//! 1. `http`: the log, [faults](Fault), and [holds](Hold);
//! 2. `confluent`, `secret` or `sts`, which read and change the [`State`];
//! 3. [`guarantees`], before the response is sent.
//!
//! [`rotation`] plays the other half of Secrets Manager: it invokes the function for each step.
//!
//! A frame to a Kafka broker has the same steps: `brokers`. A user's requests have their own path: `account`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "an invalid arrangement fails where the test makes it"
)]

mod account;
mod arrange;
mod brokers;
mod confluent;
mod controls;
mod copies;
mod deletion;
mod fingerprint;
mod generate;
pub mod guarantees;
mod http;
mod overlap;
mod ownership;
mod replacement;
mod retire;
pub mod rotation;
mod runtime_api;
mod secret;
mod state;
mod sts;
mod time;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use self::account::{Attributes, FunctionLog, Stack, USER_ACCESS_KEY_ID};
pub use self::brokers::{Broker, BrokerBehavior, FUNCTION_CLIENT_ID};
pub use self::confluent::api_key::{ApiKey, KeyType};
pub use self::confluent::created_at::timestamp;
pub use self::confluent::endpoints::Resource;
pub use self::confluent::identity_pool::IdentityPool;
pub use self::confluent::permissions::{Owner, Role};
pub use self::controls::{
    BootstrapForm, Controls, CreatedAt, DeletedKeyResponse, Endpoints, ExpiresIn, Federation,
    LastPage, Overlap, Permission, Quota, QuotaResponse, RateLimit,
};
pub use self::generate::CANARY;
pub use self::http::faults::{Fault, Hold};
pub use self::http::request::{Authentication, Request, Service};
pub use self::http::response::Response;
pub use self::http::tls;
pub use self::ownership::ownership_tag;
pub use self::rotation::{FUNCTION_ARN, Outcome};
pub use self::runtime_api::{FunctionError, RuntimeApi};

pub use self::secret::{
    CrossAccountReplica, CurrentKeyGuarantee, Replica, Secret, SecretValue, Version,
};
pub use self::state::State;
pub use self::sts::{ROLE_ARN, TOKEN_AUDIENCE, TOKEN_ISSUER};

/// A handle to the running services. Clones share the services; dropping the last one stops them.
#[derive(Clone)]
pub struct Simulator {
    running: Arc<Running>,
}

/// State that the listeners' tasks share with the handles.
struct Shared {
    state: Mutex<State>,
    /// Number of interruptions that have fired.
    interruptions: watch::Sender<usize>,
}

/// Owned by the handles only, so that it is dropped at the end of the test and not at the end of a connection.
struct Running {
    shared: Arc<Shared>,
    confluent_url: String,
    secrets_manager_url: String,
    sts_url: String,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Shared {
    /// Maximum wait for the lock. No task holds it for more than a few instructions.
    const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

    /// Locks the state.
    ///
    /// Panics if a test still holds a guard, because it would deadlock otherwise.
    fn state(&self) -> MutexGuard<'_, State> {
        let since = Instant::now();
        loop {
            match self.state.try_lock() {
                Ok(state) => return state,
                // The panic of the test is the failure to report, not the poisoned lock.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
            assert!(
                since.elapsed() < Self::LOCK_TIMEOUT,
                "a guard of Simulator::state() is still held; drop it before this call"
            );
        }
    }
}

impl Simulator {
    /// Starts Confluent's control plane, Secrets Manager and AWS STS, each on its own port.
    ///
    /// A data plane starts when its resource is added: see [`add_kafka_cluster`](Self::add_kafka_cluster).
    #[expect(
        clippy::unused_async,
        reason = "listeners can only be registered inside a runtime"
    )]
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            interruptions: watch::Sender::new(0),
        });
        let (confluent_url, confluent) = http::server::spawn(&shared, Service::ControlPlane, None);
        let (secrets_manager_url, secrets_manager) =
            http::server::spawn(&shared, Service::SecretsManager, None);
        let (sts_url, sts) = http::server::spawn(&shared, Service::Sts, None);
        let tasks = Mutex::new(vec![confluent, secrets_manager, sts]);
        Self {
            running: Arc::new(Running {
                shared,
                confluent_url,
                secrets_manager_url,
                sts_url,
                tasks,
            }),
        }
    }

    /// Returns the value for `CONFLUENT_API_URL`, without a trailing slash.
    #[must_use]
    pub fn confluent_url(&self) -> String {
        self.running.confluent_url.clone()
    }

    /// Returns the value for `AWS_ENDPOINT_URL_SECRETS_MANAGER`, without a trailing slash.
    #[must_use]
    pub fn secrets_manager_url(&self) -> String {
        self.running.secrets_manager_url.clone()
    }

    /// Returns the value for `AWS_ENDPOINT_URL_STS`, without a trailing slash.
    #[must_use]
    pub fn sts_url(&self) -> String {
        self.running.sts_url.clone()
    }

    /// Locks the state of the services, to read and change it.
    ///
    /// Requests wait while the guard is held. Drop it before the next `await` and before the next call to the
    /// simulator.
    pub fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.running.shared.state();
        state.is_checked = false;
        state
    }

    /// Resolves when the next [`Fault::InterruptBefore`] or [`Fault::InterruptAfter`] fires. At that moment, kill the
    /// process that sent the request.
    ///
    /// Faults count from the call, not from the first poll.
    pub fn interrupted(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut interruptions = self.running.shared.interruptions.subscribe();
        async move {
            // Without a simulator, no interruption can fire.
            if interruptions.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns every secret value, `RotationToken`, API secret, access token and web identity token that the simulator has
    /// issued, and the signature of each web identity token. None of them may appear in a log, an error or a response.
    #[must_use]
    pub fn canaries(&self) -> Vec<String> {
        self.state().canaries.iter().cloned().collect()
    }

    /// Panics if there are violations, and clears them.
    pub fn assert_guarantees(&self) {
        let violations = std::mem::take(&mut self.state().violations);
        assert_none(&violations);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        // The test's own failure is the one to report.
        if !std::thread::panicking() {
            let violations = std::mem::take(&mut self.shared.state().violations);
            assert_none(&violations);
        }
    }
}

fn assert_none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "the simulator recorded violations:\n  - {}",
        violations.join("\n  - ")
    );
}
