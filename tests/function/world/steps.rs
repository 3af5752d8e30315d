//! Runs single steps and changes the simulator's state around them.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use confluent_key_rotation::confluent::{EndpointCacheKey, Resource};
use simulator::{CurrentKeyGuarantee, Request, Response, SecretValue, Service};

use super::*;

/// The change that a case makes before a step.
pub(crate) type Arrange = fn(&World);
/// The same, with the ID of a version or a key.
pub(crate) type ArrangeFor = fn(&World, &str);

/// The path of the API Keys API.
pub(crate) const API_KEYS: &str = "/iam/v2/api-keys";

/// Returns whether a request creates a key.
pub(crate) fn creates_a_key(request: &Request) -> bool {
    request.name() == format!("POST {API_KEYS}")
}

/// Returns whether a request was sent to Confluent Cloud.
pub(crate) fn is_to_confluent(request: &Request) -> bool {
    !matches!(request.service, Service::SecretsManager | Service::Sts)
}

/// Returns whether a request lists keys.
pub(crate) fn lists_keys(request: &Request) -> bool {
    request.name() == format!("GET {API_KEYS}")
}

/// Returns whether a request deletes a key.
pub(crate) fn deletes_a_key(request: &Request) -> bool {
    request.method == "DELETE"
}

/// Returns a filter for requests of one Secrets Manager operation.
pub(crate) fn is_operation(name: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| request.operation.as_deref() == Some(name)
}

/// Returns whether a request was sent to a data plane.
pub(crate) fn is_probe(request: &Request) -> bool {
    is_to_confluent(request) && request.service != Service::ControlPlane
}

/// A time limit that leaves one second to verify a key: the rest is reserved for what follows.
pub(crate) const SHORT_TIME_LIMIT: Duration = Duration::from_secs(12);

/// Returns more of the same status than there are probes.
pub(crate) fn always(status: u16) -> Vec<u16> {
    vec![status; 10_000]
}

/// Returns the response of a list without keys.
pub(crate) fn empty_list() -> Response {
    Response::json(200, &json!({"data": [], "metadata": {"next": ""}}))
}

/// Creates a world whose pending key is stored.
pub(crate) async fn with_pending_key() -> World {
    let world = World::new(Setting::default()).await;
    world.run_steps(&["createSecret", "setSecret"]).await;
    world.requests();
    world
}

impl World {
    /// Runs steps of the rotation in progress, or of a new one. Each must succeed.
    pub(crate) async fn run_steps(&self, steps: &[&str]) {
        for step in steps {
            let outcome = self.step(step).await;
            outcome.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
    }

    /// Runs a step that must fail, and returns its error.
    pub(crate) async fn step_error(&self, step: &str, case: &str) -> Diagnostic {
        let outcome = self.step(step).await;
        outcome.expect_err(&format!("{step} succeeds: {case}"))
    }

    /// Returns the token of the rotation in progress, or of a new one.
    pub(crate) fn token(&self) -> String {
        self.simulator.start_rotation(&self.arn)
    }

    /// Runs a step, and `change` before the first request that matches takes effect.
    pub(crate) async fn step_while(
        &self,
        step: &str,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        change: impl AsyncFnOnce(),
    ) -> Result<(), Diagnostic> {
        let event = self.simulator.event(&self.arn, &self.token(), step);
        let is_first = AtomicBool::new(true);
        let hold = self
            .simulator
            .hold_requests(move |request| matches(request) && is_first.swap(false, Relaxed));
        let changing = async {
            hold.arrived(1).await;
            change().await;
            hold.release();
        };
        tokio::join!(self.invoke(event), changing).0
    }

    /// Asserts that the function sent only `DescribeSecret`, as every step except setSecret does first.
    pub(crate) fn assert_only_described_the_secret(&self, case: &dyn Debug) {
        assert_eq!(self.requests(), ["DescribeSecret"], "{case:?}");
    }

    /// Returns the version with `label`.
    pub(crate) fn version(&self, label: &str) -> Option<String> {
        let state = self.simulator.state();
        state.secret(&self.arn).labels.get(label).cloned()
    }

    /// Returns the number of requests that match.
    pub(crate) fn count(&self, matches: impl Fn(&Request) -> bool) -> usize {
        let state = self.simulator.state();
        state
            .requests
            .iter()
            .filter(|request| matches(request))
            .count()
    }

    /// Returns the IDs of all keys of the organization.
    pub(crate) fn all_keys(&self) -> BTreeSet<String> {
        self.simulator.state().keys.keys().cloned().collect()
    }

    /// Sets the condition that the simulator checks for the current key.
    pub(crate) fn set_current_key_guarantee(&self, guarantee: CurrentKeyGuarantee) {
        self.simulator
            .state()
            .secret_mut(&self.arn)
            .current_key_guarantee = guarantee;
    }

    /// Removes the Kafka cluster's endpoint from the function's cache, which a new process has not filled yet.
    pub(crate) fn forget_endpoint(&self) {
        let cluster = Resource::new(Some("lkc-orders"), Some(ENVIRONMENT)).unwrap();
        let admin = self.value("AWSCURRENT")["adminSecretArn"].clone();
        let pool = self.identity_pool();
        for credentials in [admin.as_str().unwrap_or_default(), &self.arn, &pool] {
            let key = EndpointCacheKey::new(&self.control_plane(), credentials, &cluster);
            self.function.endpoints.remove(&key);
        }
    }

    /// Sets the endpoint that the control plane returns for the Kafka cluster. The function has cached no other one.
    pub(crate) fn set_advertised_url(&self, url: &str) {
        self.forget_endpoint();
        let mut state = self.simulator.state();
        let cluster = state
            .resources
            .get_mut("lkc-orders")
            .expect("a Kafka cluster");
        cluster.advertised_url = Some(url.to_owned());
    }

    /// Grants the owner of the admin key exactly these roles.
    pub(crate) fn grant_admin(&self, roles: &[Role]) {
        self.simulator.add_owner(ADMIN, roles);
    }

    /// Changes the pending value in place, which Secrets Manager does not support.
    pub(crate) fn overwrite_pending(&self, change: impl FnOnce(&mut Value)) {
        let (mut value, token) = (self.value("AWSPENDING"), self.token());
        change(&mut value);
        let mut state = self.simulator.state();
        let secret = state.secret_mut(&self.arn);
        let version = secret.versions.get_mut(&token).expect("a pending version");
        version.value = Some(SecretValue::String(value.to_string()));
    }
}
