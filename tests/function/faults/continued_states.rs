//! Continues from each state once. Thousands of faults and interleavings end in few different states.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use lambda_runtime::Diagnostic;

use crate::*;

/// The states from which a rotation was continued by a new process, and what it was continued with.
///
/// Thousands of faults leave the same state: nearly every fault of a request that reads leaves the state before it. Equal states have
/// the same future, so only the first case that reaches one continues from it.
#[derive(Default)]
pub(crate) struct ContinuedStates(Mutex<HashSet<(u64, String)>>);

impl ContinuedStates {
    /// Returns whether no case has continued from the state of `world` with `next` before.
    pub(crate) fn is_new(&self, world: &World, next: &dyn Debug) -> bool {
        let fingerprint = world.simulator.state().fingerprint();
        self.insert(fingerprint, next)
    }

    /// Returns the number of states, and of what they were continued with.
    pub(super) fn count(&self) -> usize {
        let continued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        continued.len()
    }

    pub(super) fn insert(&self, fingerprint: u64, next: &dyn Debug) -> bool {
        let mut continued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        continued.insert((fingerprint, format!("{next:?}")))
    }
}

/// The test does not run the next step.
pub(crate) struct Stopped;

impl World {
    /// Continues a rotation with the step `first`, and with each further step in a new process once all faults have occurred. Stops
    /// before a step if another case has continued with it from the same state.
    pub(super) async fn rotate_from_new_states(
        &self,
        first: &str,
        setting: Setting,
        continued: &ContinuedStates,
    ) -> Result<Outcome, Stopped> {
        let invoke = async |step, event| {
            if step == first || self.simulator.has_faults() {
                Ok(self.invoke(event).await)
            } else if continued.is_new(self, &(setting, step)) {
                Ok(self.restart().invoke(event).await)
            } else {
                Err(Stopped)
            }
        };
        let rotated = self.rotate_steps(first, invoke).await;
        rotated.map_err(|_| Stopped)
    }

    /// Continues a rotation with the step `first`. Returns the step before which `invoke` stopped it, if it did.
    pub(crate) async fn rotate_steps(
        &self,
        first: &str,
        invoke: impl AsyncFn(&'static str, Value) -> Result<Result<(), Diagnostic>, Stopped>,
    ) -> Result<Outcome, &'static str> {
        let stopped_before = OnceLock::new();
        let invoke = async |event: Value| {
            let step = STEPS.iter().find(|step| event["Step"] == **step);
            let step = step.expect("the event has a step");
            let Ok(outcome) = invoke(step, event).await else {
                let _ = stopped_before.set(*step);
                return Err("the test stopped the rotation".to_owned());
            };
            outcome.map_err(|error| format!("{error:?}"))
        };
        let outcome = self.simulator.rotate_from(&self.arn, first, &invoke).await;
        stopped_before.into_inner().map_or(Ok(outcome), Err)
    }
}
