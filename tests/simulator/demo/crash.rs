//! Interruptions of a step while it waits for the response to a request, as if the process were killed.

use simulator::{Hold, Request, Simulator};

/// The error of an interrupted step, as Secrets Manager receives it.
pub(crate) const INTERRUPTED: &str = "the invocation was interrupted";

/// An interruption of a step.
pub(crate) struct Crash {
    /// The step.
    pub(crate) step: &'static str,
    /// The state that the retry has to recover from.
    pub(crate) consequence: &'static str,
    /// Whether a request is the one to interrupt, if the pending key has this ID.
    is_at: fn(&Request, Option<&str>) -> bool,
}

/// One interruption per step that sends requests. setSecret sends none.
pub(crate) const CRASHES: [Crash; 3] = [
    Crash {
        step: "createSecret",
        consequence: "Confluent Cloud created a key, and only the lost response contains its API secret. The key is orphaned.",
        is_at: |request, _| request.name() == "POST /iam/v2/api-keys",
    },
    Crash {
        step: "testSecret",
        consequence: "The pending key is stored, and it is not known whether its resource accepts it yet.",
        is_at: |request, pending| pending.is_some() && request.key_id.as_deref() == pending,
    },
    Crash {
        step: "finishSecret",
        consequence: "Secrets Manager promoted the pending version, and no key was deleted.",
        is_at: |request, _| request.name() == "UpdateSecretVersionStage",
    },
];

impl Crash {
    /// Holds the response to the request that is to be interrupted. The request takes effect.
    pub(crate) fn hold(&self, simulator: &Simulator, arn: &str) -> Hold {
        let is_at = self.is_at;
        let pending = {
            let state = simulator.state();
            state.secret(arn).key_id("AWSPENDING").map(str::to_owned)
        };
        simulator.hold_responses(move |request| is_at(request, pending.as_deref()))
    }
}
