//! What Secrets Manager does to rotate a secret: it stages a version without a value, calls the
//! function's four steps in turn, and stops at the first that fails.
//!
//! A rotation that is not complete is attempted again with the same token, from the first step on.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use serde_json::{Value, json};

use crate::Simulator;
use crate::mint;
use crate::secrets::SecretValue;

/// The steps, spelled as in real events.
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `AWSCURRENT` is on the new version.
    Succeeded,
    /// A step failed; Secrets Manager will try again.
    Failed {
        /// The step.
        step: &'static str,
        /// What the function said, or what Secrets Manager found.
        error: String,
    },
    /// A [`Fault::StopBefore`](crate::Fault) or `StopAfter` fired; the step was dropped where it was.
    Stopped {
        /// The step.
        step: &'static str,
    },
}

impl Simulator {
    /// Rotates a secret, as `RotateSecret` and its later attempts do: a new rotation, or the one that
    /// is not complete.
    pub async fn rotate(
        &self,
        arn: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let token = self.begin_rotation(arn);
        let _rotating = Rotating::begin(self, arn);
        for step in STEPS {
            if let Some(outcome) = self.step(arn, &token, step, invoke).await {
                return outcome;
            }
            let has_value = self.state().secret(arn).versions[&token].value.is_some();
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
        let pending_stays = state.knobs.pending_stays;
        let secret = state.secret_mut(arn);
        if secret.labels.get("AWSCURRENT") != Some(&token) {
            let error = "AWSCURRENT is not on the new version".to_owned();
            return Outcome::Failed {
                step: "finishSecret",
                error,
            };
        }
        secret.incomplete = None;
        // "Our backend cleans up the pending label on rotation completion, outside the rotation lambda."
        // https://github.com/aws-samples/aws-secrets-manager-rotation-lambdas/pull/145
        if !pending_stays && secret.labels.get("AWSPENDING") == Some(&token) {
            secret.labels.remove("AWSPENDING");
        }
        Outcome::Succeeded
    }

    /// `RotateImmediately=false`: only `testSecret`, on a copy of the current value that is removed
    /// afterwards.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>
    pub async fn test_only(
        &self,
        arn: &str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Outcome {
        let token = self.begin_test(arn);
        let outcome = self.step(arn, &token, "testSecret", invoke).await;
        self.abandon(arn);
        outcome.unwrap_or(Outcome::Succeeded)
    }

    /// Stages `AWSPENDING` on a version without a value, unless there is a rotation that is not
    /// complete. Returns its token, to make [events](Self::event) of.
    ///
    /// "Secrets Manager creates an AWSPENDING version ID before creating the new secret version."
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
    pub fn begin_rotation(&self, arn: &str) -> String {
        if let Some(incomplete) = self.state().secret(arn).incomplete() {
            return incomplete.to_owned();
        }
        let token = self.stage_pending(arn, None);
        self.state().secret_mut(arn).incomplete = Some(token.clone());
        token
    }

    /// Stages `AWSPENDING` on a copy of the current value, as `RotateImmediately=false` does. Returns
    /// the token.
    pub fn begin_test(&self, arn: &str) -> String {
        let current = {
            let state = self.state();
            let secret = state.secret(arn);
            secret.versions[&secret.labels["AWSCURRENT"]].value.clone()
        };
        self.stage_pending(arn, current)
    }

    fn stage_pending(&self, arn: &str, value: Option<SecretValue>) -> String {
        let mut state = self.state();
        let (token, rotation_token) =
            (mint::uuid(state.next()), mint::rotation_token(state.next()));
        state.store(arn, &token, value);
        let rotation_token = (!state.knobs.without_rotation_token).then_some(rotation_token);
        state.canaries.extend(rotation_token.clone());
        let secret = state.secret_mut(arn);
        secret.attach("AWSPENDING", &token);
        secret.rotation_tokens.insert(token.clone(), rotation_token);
        token
    }

    /// The event of one step.
    #[must_use]
    pub fn event(&self, arn: &str, token: &str, step: &str) -> Value {
        let mut event = json!({ "Step": step, "SecretId": arn, "ClientRequestToken": token });
        if let Some(Some(rotation_token)) = self.state().secret(arn).rotation_tokens.get(token) {
            event["RotationToken"] = json!(rotation_token);
        }
        event
    }

    /// Calls the function once. None if the step succeeded.
    async fn step(
        &self,
        arn: &str,
        token: &str,
        step: &'static str,
        invoke: &impl AsyncFn(Value) -> Result<(), String>,
    ) -> Option<Outcome> {
        let (event, stopped) = (self.event(arn, token, step), self.stopped());
        tokio::select! {
            () = stopped => Some(Outcome::Stopped { step }),
            result = invoke(event) => result.err().map(|error| Outcome::Failed { step, error }),
        }
    }
}

/// While it lives, keys that are made are taken to be made for this secret.
struct Rotating<'a> {
    simulator: &'a Simulator,
    arn: &'a str,
}

impl<'a> Rotating<'a> {
    fn begin(simulator: &'a Simulator, arn: &'a str) -> Self {
        simulator.state().rotating.push(arn.to_owned());
        Self { simulator, arn }
    }
}

impl Drop for Rotating<'_> {
    fn drop(&mut self) {
        let mut state = self.simulator.state();
        if let Some(index) = state.rotating.iter().position(|arn| arn == self.arn) {
            state.rotating.remove(index);
        }
    }
}
