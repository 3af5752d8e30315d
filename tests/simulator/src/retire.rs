//! The event `retire`, which a rule of `EventBridge` sends every hour.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>

use serde_json::{Value, json};

use crate::{Outcome, Simulator};

impl Simulator {
    /// Invokes the function with the event `retire`, with `SecretIds` if `secret_ids` is not empty.
    ///
    /// The invocation may delete keys of any secret, even while another secret is in rotation.
    pub async fn retire(
        &self,
        secret_ids: &[&str],
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let mut event = json!({ "Step": "retire" });
        if !secret_ids.is_empty() {
            event["SecretIds"] = json!(secret_ids);
        }
        let _run = Run::new(self);
        let interrupted = self.interrupted();
        tokio::select! {
            () = interrupted => Outcome::Interrupted { step: "retire" },
            result = invoke(event) => match result {
                Ok(()) => Outcome::Succeeded,
                Err(error) => Outcome::Failed { step: "retire", error },
            },
        }
    }
}

/// An invocation that runs until it is dropped.
struct Run<'a>(&'a Simulator);

impl<'a> Run<'a> {
    fn new(simulator: &'a Simulator) -> Self {
        simulator.state().retire_runs += 1;
        Self(simulator)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.state().retire_runs -= 1;
    }
}
