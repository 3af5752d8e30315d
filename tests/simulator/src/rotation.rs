//! Secrets Manager's part of a rotation: it creates a version without a value, invokes the function for each of the
//! four steps, and stops if a step fails.
//!
//! Secrets Manager retries an incomplete rotation from the first step, with the same token.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use serde_json::{Value, json};

use crate::Simulator;
use crate::generate;
use crate::secret::{SecretValue, epoch_seconds};

/// The values of `Step` in the events.
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// The ARN of the function, unless a stack has another one.
pub const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:rotation";

/// The outcome of a rotation or of `retire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new version is current, or `retire` succeeded.
    Succeeded,
    /// A step failed. Secrets Manager will retry a rotation.
    Failed {
        /// The step.
        step: &'static str,
        /// The error of the function or of Secrets Manager.
        error: String,
    },
    /// [`Fault::InterruptBefore`](crate::Fault) or `InterruptAfter` fired, and the invocation was dropped.
    Interrupted {
        /// The step.
        step: &'static str,
    },
}

impl Simulator {
    /// Rotates a secret, as `RotateSecret` does. If a rotation is incomplete, retries it.
    pub async fn rotate(
        &self,
        arn: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        self.rotate_from(arn, STEPS[0], invoke).await
    }

    /// Continues a rotation with the step `first`, if the steps before it have succeeded.
    pub async fn rotate_from(
        &self,
        arn: &str,
        first: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let token = self.start_rotation(arn);
        self.run_steps(arn, &token, first, invoke).await
    }

    /// Retries the last incomplete rotation with its token, even if `AWSPENDING` was removed from its version. AWS does not
    /// document when a retry has a new token.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
    ///
    /// # Panics
    /// If no rotation is incomplete.
    pub async fn retry_rotation(
        &self,
        arn: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let token = self.last_token(arn).expect("a rotation is incomplete");
        self.run_rotation(arn, &token, invoke).await
    }

    /// Returns the token of the last rotation, unless the rotation succeeded.
    #[must_use]
    pub fn last_token(&self, arn: &str) -> Option<String> {
        self.state().secret(arn).last_token.clone()
    }

    pub(crate) async fn run_rotation(
        &self,
        arn: &str,
        token: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        self.run_steps(arn, token, STEPS[0], invoke).await
    }

    async fn run_steps(
        &self,
        arn: &str,
        token: &str,
        first: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let _rotating = Rotating::new(self, arn);
        for step in STEPS.into_iter().skip_while(|step| *step != first) {
            if let Some(outcome) = self.step(arn, token, step, invoke).await {
                return outcome;
            }
            let has_value = self.state().secret(arn).versions[token].value.is_some();
            if step == "createSecret" && !has_value {
                // https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html
                let error = format!(
                    "Pending secret version {token} for Secret {arn} was not created by Lambda. Remove the AWSPENDING \
                     staging label and restart rotation"
                );
                return Outcome::Failed { step, error };
            }
        }
        let mut state = self.state();
        let keep_pending_label = state.controls.keep_pending_label;
        let secret = state.secret_mut(arn);
        if secret.labels.get("AWSCURRENT").map(String::as_str) != Some(token) {
            let error = "the new version is not AWSCURRENT".to_owned();
            return Outcome::Failed {
                step: "finishSecret",
                error,
            };
        }
        secret.incomplete = None;
        secret.last_token = None;
        secret.last_rotated = Some(epoch_seconds());
        secret.schedule_next_rotation();
        // "Our backend cleans up the pending label on rotation completion, outside the rotation lambda."
        // https://github.com/aws-samples/aws-secrets-manager-rotation-lambdas/pull/145
        let pending = secret.labels.get("AWSPENDING").map(String::as_str);
        if !keep_pending_label && pending == Some(token) {
            secret.remove_label("AWSPENDING");
        }
        Outcome::Succeeded
    }

    /// Runs only `testSecret` on a copy of the current value, as `RotateImmediately=false` does. Removes the copy's
    /// label afterwards.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
    pub async fn test_configuration(
        &self,
        arn: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let token = self.start_configuration_test(arn);
        self.run_configuration_test(arn, &token, invoke).await
    }

    pub(crate) async fn run_configuration_test(
        &self,
        arn: &str,
        token: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let outcome = self.step(arn, token, "testSecret", invoke).await;
        self.abandon_rotation(arn);
        outcome.unwrap_or(Outcome::Succeeded)
    }

    /// Creates a version with `AWSPENDING` and without a value, unless a rotation is incomplete. Returns the token, for
    /// [events](Self::event).
    ///
    /// "Secrets Manager creates an AWSPENDING version ID before creating the new secret version."
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
    pub fn start_rotation(&self, arn: &str) -> String {
        if let Some(incomplete) = self.state().secret(arn).incomplete_version() {
            return incomplete.to_owned();
        }
        let token = self.new_token();
        self.start_rotation_with(arn, &token);
        token
    }

    pub(crate) fn start_rotation_with(&self, arn: &str, token: &str) {
        self.create_pending_version(arn, token, None);
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        secret.incomplete = Some(token.to_owned());
        secret.last_token = Some(token.to_owned());
    }

    fn new_token(&self) -> String {
        generate::uuid(self.state().next_serial())
    }

    /// Creates a version with `AWSPENDING` and the current value, as `RotateImmediately=false` does. Returns the token.
    pub fn start_configuration_test(&self, arn: &str) -> String {
        let current = {
            let state = self.state();
            let secret = state.secret(arn);
            secret.versions[&secret.labels["AWSCURRENT"]].value.clone()
        };
        let token = self.new_token();
        self.create_pending_version(arn, &token, current);
        token
    }

    fn create_pending_version(&self, arn: &str, token: &str, value: Option<SecretValue>) {
        let mut state = self.state();
        let rotation_token = generate::rotation_token(state.next_serial());
        state.store(arn, token, value);
        let rotation_token = (!state.controls.omit_rotation_token).then_some(rotation_token);
        state.canaries.extend(rotation_token.clone());
        let secret = state.secret_mut(arn);
        secret.move_label("AWSPENDING", token);
        secret
            .rotation_tokens
            .insert(token.to_owned(), rotation_token);
    }

    /// Returns the event of a step.
    #[must_use]
    pub fn event(&self, arn: &str, token: &str, step: &str) -> Value {
        let mut event = json!({ "Step": step, "SecretId": arn, "ClientRequestToken": token });
        if let Some(Some(rotation_token)) = self.state().secret(arn).rotation_tokens.get(token) {
            event["RotationToken"] = json!(rotation_token);
        }
        event
    }

    /// Invokes the function for a step. Returns `None` if the step succeeded.
    async fn step(
        &self,
        arn: &str,
        token: &str,
        step: &'static str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Option<Outcome> {
        let (event, interrupted) = (self.event(arn, token, step), self.interrupted());
        tokio::select! {
            () = interrupted => Some(Outcome::Interrupted { step }),
            result = invoke(event) => result.err().map(|error| Outcome::Failed { step, error }),
        }
    }
}

/// Marks a secret as in rotation until it is dropped. Keys that are created in the meantime belong to the secret.
struct Rotating<'a> {
    simulator: &'a Simulator,
    arn: &'a str,
}

impl<'a> Rotating<'a> {
    fn new(simulator: &'a Simulator, arn: &'a str) -> Self {
        let mut state = simulator.state();
        state.rotating.push(arn.to_owned());
        state.are_interleaved |= state.rotating.len() > 1;
        drop(state);
        Self { simulator, arn }
    }
}

impl Drop for Rotating<'_> {
    fn drop(&mut self) {
        let mut state = self.simulator.state();
        if let Some(index) = state.rotating.iter().position(|arn| arn == self.arn) {
            state.rotating.remove(index);
        }
        state.are_interleaved &= !state.rotating.is_empty();
    }
}
