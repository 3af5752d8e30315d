//! Every fault at every request of retire, and the recovery from it.

use simulator::Fault;

use super::retire::due;
use super::*;
use crate::faults::{block_on, in_threads};

/// A run of retire with a fault.
struct Case<'w> {
    setting: Setting,
    /// The world in which retire deletes the previous key.
    due: &'w World,
    nth: usize,
    fault: Fault,
}

impl Case<'_> {
    async fn run(&self) {
        let (nth, fault) = (self.nth, self.fault);
        let case = format!("{:?}: {fault:?} at request {nth}", self.setting);
        let mut world = self.due.fork().await;
        if fault.stalls() {
            world.set_request_limit(SHORT_REQUEST_LIMIT);
        }
        let current = world.key("AWSCURRENT").unwrap();
        world.simulator.fail(nth, fault);
        let interrupted = world.simulator.interrupted();

        tokio::select! {
            () = interrupted => {}
            // The fault may prevent the deletion.
            _ = world.retire() => {}
        }

        let previous = world.key("AWSPREVIOUS");
        let exists = |id: &String| world.all_keys().contains(id);
        assert!(
            previous.as_ref().is_none_or(exists),
            "a label names a deleted key: {case}"
        );
        assert_eq!(world.key("AWSCURRENT").as_ref(), Some(&current), "{case}");
        world.simulator.clear_requests();
        world.set_request_limit(REQUEST_LIMIT);
        // The removal of the label starts the overlap again.
        world.simulator.pass(OVERLAP);
        let retired = world.retire().await;
        assert!(retired.is_ok(), "{case}: {retired:?}");
        world.assert_keys(&[current], &case);
        world.simulator.assert_guarantees();
    }
}

/// Returns the settings in which retire deletes a previous key.
pub(super) fn settings() -> impl Iterator<Item = Setting> {
    key_types::possible_settings().filter(|setting| {
        setting.policy == OldKeyPolicy::DeleteAfter && setting.mode != Mode::InitialKey
    })
}

#[test]
fn retire_recovers_from_every_fault_at_every_request() {
    let worlds: Vec<(Setting, World)> = settings()
        .map(|setting| (setting, block_on(due(setting))))
        .collect();
    let mut cases = Vec::new();
    for (setting, due) in &worlds {
        let requests = block_on(async {
            let world = due.fork().await;
            world.retire().await.unwrap();
            world.requests().len()
        });
        for nth in 0..requests {
            cases.extend(Fault::ALL.map(|fault| Case {
                setting: *setting,
                due,
                nth,
                fault,
            }));
        }
    }
    assert!(cases.len() >= 500, "{}", cases.len());

    in_threads(&cases, |case| block_on(case.run()));

    println!("{} runs of retire recovered from a fault", cases.len());
}
