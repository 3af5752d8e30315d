//! Continues from each state once: thousands of faults and interleavings leave few different states.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crate::*;

/// The states from which a case has continued, and what it has continued with.
///
/// Nearly every fault of a request that reads leaves the state before it. For a new process, equal states have the same future, so only
/// the first case that reaches one continues from it.
#[derive(Default)]
pub(crate) struct ContinuedStates(Mutex<HashSet<(u64, String)>>);

impl ContinuedStates {
    /// Returns whether no case has continued from the state of `world` with `next` before.
    pub(crate) fn is_new(&self, world: &World, next: &dyn Debug) -> bool {
        let fingerprint = world.simulator.state().fingerprint();
        self.insert(fingerprint, next)
    }

    /// Returns the number of states, counted once for each `next`.
    pub(super) fn count(&self) -> usize {
        let continued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        continued.len()
    }

    pub(super) fn insert(&self, fingerprint: u64, next: &dyn Debug) -> bool {
        let mut continued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        continued.insert((fingerprint, format!("{next:?}")))
    }
}

impl World {
    /// Continues a rotation with the step `first`. Once all faults have fired, each further step runs in a new process. Returns `None`
    /// if another case has continued from the state before a step.
    pub(super) async fn rotate_from_new_states(
        &self,
        first: &str,
        setting: Setting,
        continued: &ContinuedStates,
    ) -> Option<Outcome> {
        let is_known = AtomicBool::new(false);
        let invoke = async |event: Value| {
            let outcome = if event["Step"] == first || self.simulator.has_faults() {
                self.invoke(event).await
            } else if continued.is_new(self, &(setting, event["Step"].as_str())) {
                self.restart().invoke(event).await
            } else {
                is_known.store(true, Relaxed);
                return Err("another case has continued from this state".to_owned());
            };
            outcome.map_err(|error| format!("{error:?}"))
        };
        let outcome = self.simulator.rotate_from(&self.arn, first, &invoke).await;
        (!is_known.into_inner()).then_some(outcome)
    }
}
