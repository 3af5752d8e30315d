//! Each step by itself: what it asks for, what it leaves, and what it refuses.
//!
//! What a test arranges is done to the simulator's state, as a person or another program would do it. What it asserts
//! is the state that is left; requests are looked at only where the rule is about them.

mod create;
mod fields;
mod finish;
mod first_key;
mod guard;
mod life;
pub(crate) mod logs;
mod meddling;
mod refusals;
mod set;
mod signing;
mod sweep;
mod test;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use simulator::rotation::STEPS;
use simulator::{Answer, Plane, Request, SecretValue, Watch};

use super::*;

/// What a case changes before the step is taken.
type Arrange = fn(&World);
/// The same, for a case that is about a version or a key.
type ArrangeFor = fn(&World, &str);

/// The path of the API Keys API.
const API_KEYS: &str = "/iam/v2/api-keys";

/// Whether a request makes a key.
fn makes_a_key(request: &Request) -> bool {
    request.method == "POST" && request.plane == Plane::ControlPlane
}

/// Whether a request lists keys.
fn lists_keys(request: &Request) -> bool {
    request.label() == format!("GET {API_KEYS}")
}

/// Whether a request deletes a key.
fn deletes_a_key(request: &Request) -> bool {
    request.method == "DELETE"
}

/// Whether a request is one of Secrets Manager's operations.
fn is_operation(name: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| request.operation.as_deref() == Some(name)
}

/// Whether a request went to a data plane.
fn is_probe(request: &Request) -> bool {
    !matches!(request.plane, Plane::ControlPlane | Plane::SecretsManager)
}

/// A list without any key in it.
fn empty_list() -> Answer {
    Answer::json(200, &json!({"data": [], "metadata": {"next": ""}}))
}

impl World {
    /// Takes steps of the rotation that is under way, none of which may fail.
    async fn pass(&self, steps: &[&str]) {
        for step in steps {
            let outcome = self.step(step).await;
            outcome.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
    }

    /// Takes a step that has to be refused, and returns the refusal.
    async fn refusal(&self, step: &str, case: &str) -> Diagnostic {
        let outcome = self.step(step).await;
        outcome.expect_err(&format!("{step} succeeds: {case}"))
    }

    /// The token of the rotation that is under way, or of a new one.
    fn token(&self) -> String {
        self.simulator.begin_rotation(&self.arn)
    }

    /// Takes a step while `meanwhile` happens at the first request that matches, before it is carried out.
    async fn step_while(
        &self,
        step: &str,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        meanwhile: impl AsyncFnOnce(),
    ) -> Result<(), Diagnostic> {
        let event = self.simulator.event(&self.arn, &self.token(), step);
        let is_first = AtomicBool::new(true);
        let hold = self
            .simulator
            .hold_requests(move |request| matches(request) && is_first.swap(false, Relaxed));
        let interfering = async {
            hold.arrived(1).await;
            meanwhile().await;
            hold.release();
        };
        tokio::join!(self.invoke(event), interfering).0
    }

    /// Asserts that nothing else was asked for than what every step begins with.
    fn assert_only_read_the_secret(&self, case: &dyn Debug) {
        let mut requests = self.requests();
        requests.sort_unstable();
        assert_eq!(
            requests,
            ["DescribeSecret", "GetSecretValue", "GetSecretValue"],
            "{case:?}"
        );
    }

    /// The version that a label is on.
    fn version(&self, label: &str) -> Option<String> {
        let state = self.simulator.state();
        state.secret(&self.arn).labels.get(label).cloned()
    }

    /// How many requests so far are like this.
    fn count(&self, matches: impl Fn(&Request) -> bool) -> usize {
        let state = self.simulator.state();
        state
            .requests
            .iter()
            .filter(|request| matches(request))
            .count()
    }

    /// Every key there is, whoever's.
    fn all_keys(&self) -> BTreeSet<String> {
        self.simulator.state().keys.keys().cloned().collect()
    }

    /// What is asked of the secret's current key from now on.
    fn watch(&self, watch: Watch) {
        self.simulator.state().secret_mut(&self.arn).watch = watch;
    }

    /// Lets the control plane name another endpoint for the Kafka cluster.
    fn advertise(&self, url: &str) {
        let mut state = self.simulator.state();
        let cluster = state
            .resources
            .get_mut("lkc-orders")
            .expect("a Kafka cluster");
        cluster.advertised = Some(url.to_owned());
    }

    /// Lets the owner of the admin key do this, and nothing else.
    fn grant_admin(&self, roles: &[Role]) {
        self.simulator.add_owner(ADMIN, roles);
    }

    /// Changes the pending value in place, which Secrets Manager itself does not allow.
    fn forge_pending(&self, change: impl FnOnce(&mut Value)) {
        let (mut value, token) = (self.value("AWSPENDING"), self.token());
        change(&mut value);
        let mut state = self.simulator.state();
        let secret = state.secret_mut(&self.arn);
        let version = secret.versions.get_mut(&token).expect("a pending version");
        version.value = Some(SecretValue::Text(value.to_string()));
    }
}

#[tokio::test]
async fn a_rotation_replaces_the_key_and_deletes_the_old_one() {
    let world = World::new(Setting::default()).await;

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    let current = world.key("AWSCURRENT").unwrap();
    assert_ne!(current, world.first_key);
    world.assert_keys(&[current], &"after a rotation");
}
