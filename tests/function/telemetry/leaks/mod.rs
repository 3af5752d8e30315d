//! No output contains a secret value, a `RotationToken` or a credential.
//!
//! The tests search everything that the function logs at the lowest level, and every error that it returns.

mod debug_output;
mod faults;
mod input;
mod libraries;
mod panics;
mod responses;
mod service_text;
mod tokens;

use std::io;
use std::sync::{Arc, Mutex};

use confluent_key_rotation::telemetry::{LogLevel, logging};
use simulator::{CANARY, CurrentKeyGuarantee, Service};
use tracing::subscriber::DefaultGuard;

use super::*;

/// The representations of the canary: plain, which is also its form in URLs and JSON, base64 at each alignment, and bytes.
const FORMS: [&str; 6] = [
    CANARY,
    "Q0FOQVJZ",
    "NBTkFSW",
    "DQU5BUl",
    "67, 65, 78, 65, 82, 89",
    "43414e415259",
];

/// Captures what this thread logs at any level, until it is dropped.
pub(crate) struct CapturedLog {
    bytes: Arc<Mutex<Vec<u8>>>,
    _subscribed: DefaultGuard,
}

impl CapturedLog {
    pub(crate) fn start() -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(Arc::clone(&bytes));
        let subscriber = logging::subscriber(LogLevel::from_name("TRACE").unwrap(), move || {
            writer.clone()
        });
        Self {
            bytes,
            _subscribed: tracing::subscriber::set_default(subscriber),
        }
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asserts that `output` contains no secret of the simulator in any form.
pub(crate) fn assert_no_secret(simulator: &Simulator, output: &str, case: &str) {
    let canaries = simulator.canaries();
    // Every secret contains the canary, so a search for the canary finds all of them.
    assert!(canaries.iter().all(|secret| secret.contains(CANARY)));
    assert!(canaries.len() >= 2, "{case}: there are no secrets");
    for form in FORMS {
        let line = output.lines().find(|line| line.contains(form));
        assert!(line.is_none(), "{case}: {form} is in {line:?}");
    }
}

impl World {
    /// Rotates the secret. Asserts that neither the log nor the outcome contains a secret.
    async fn rotate_without_leak(&self, case: &str) -> Outcome {
        let log = CapturedLog::start();
        let outcome = self.rotate().await;
        assert_no_secret(&self.simulator, &log.output(), case);
        assert_no_secret(&self.simulator, &format!("{outcome:?}"), case);
        outcome
    }

    /// Stores a value manually, which may be invalid.
    fn store_invalid(&self, arn: &str, value: &str) {
        let mut state = self.simulator.state();
        state.secret_mut(arn).current_key_guarantee = CurrentKeyGuarantee::Off;
        drop(state);
        self.simulator.store_manually(arn, value);
    }

    fn admin_secret_arn(&self) -> String {
        let value = self.value("AWSCURRENT");
        value["adminSecretArn"].as_str().unwrap().to_owned()
    }

    /// Returns the ID and the secret of the admin key.
    fn admin_key_pair(&self) -> (String, String) {
        self.current_key(&self.admin_secret_arn())
    }

    /// Sends `response` to all requests for `operation`.
    fn respond_to(&self, operation: &'static str, response: simulator::Response) {
        let is_operation = move |request: &simulator::Request| request.name() == operation;
        self.simulator
            .respond_with(usize::MAX, is_operation, response);
    }
}
