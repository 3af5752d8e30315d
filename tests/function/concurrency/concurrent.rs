//! Concurrent invocations of one step. Secrets Manager and Lambda may both send an event twice.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

/// Both are paused once, before any request in `pauses`.
pub(super) fn paused_once_each(pauses: &[usize]) -> Vec<Turns> {
    let turns = pauses.iter();
    let turns = turns.flat_map(|one| pauses.iter().map(|other| vec![*one, *other]));
    turns.collect()
}

/// The first one is paused twice, the second one once.
fn paused_twice_and_once(pauses: &[usize]) -> Vec<Turns> {
    let mut turns = Vec::new();
    for (nth, one) in pauses.iter().enumerate() {
        // The second pause is before the same request, which is then only held, or a later one.
        for again in &pauses[nth..] {
            turns.extend(
                pauses
                    .iter()
                    .map(|other| vec![*one, *other, again - one + 1]),
            );
        }
    }
    turns
}

/// A sample of the orders of three invocations, the same in every run.
fn orders_of_three(pauses: &[usize]) -> Vec<Turns> {
    const ORDERS: u64 = 120;
    const TURNS: usize = 12;
    let requests = pauses.last().copied().unwrap_or_default();
    let order = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let turns = (0..TURNS).map(|_| random.usize(0..=requests / 2));
        turns.collect()
    };
    (0..ORDERS).map(order).collect()
}

/// Concurrent invocations of one step.
#[derive(Debug)]
struct Invocations {
    setting: Setting,
    step: &'static str,
    turns: Turns,
}

impl Invocations {
    /// Runs `N` invocations, unless an equivalent order has run. Completes the rotation and the next one, unless another case has done
    /// so from the same state.
    async fn run<const N: usize>(&self, orders: &Orders, continued: &ContinuedStates) {
        let (setting, name) = (self.setting, format!("{N} times {self:?}"));
        let mut trace = Trace::<N>::new(Shared::Secret, &(setting, self.step));
        if orders.can_skip(&trace, &self.turns) {
            return;
        }
        let world = world_without_timeouts(setting, 1, steps_before(self.step)).await;
        let token = world.simulator.start_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let succeeded = AtomicUsize::new(0);
        // An execution environment handles one invocation at a time.
        let invocation = |()| {
            let (process, event) = (world.restart(), event.clone());
            let succeeded = &succeeded;
            let invocation = async move {
                if process.invoke(event).await.is_ok() {
                    succeeded.fetch_add(1, Relaxed);
                }
            };
            Runner::new(&world.simulator, setting, invocation)
        };

        let mut invocations = [(); N].map(invocation);
        orders
            .interleave(&mut trace, &mut invocations, &self.turns, &name)
            .await;

        assert_ne!(succeeded.load(Relaxed), 0, "one succeeds: {name}");
        let orphans = world.simulator.state().orphaned_keys(&world.arn).len();
        assert_eq!(orphans, 0, "a key that was not stored is deleted: {name}");
        orders.complete(&trace, &world, &name);
        if !continued.is_new(&world, &setting) {
            return;
        }
        let failed = world
            .rotate_until_it_succeeds(Recovery::SameToken, &name)
            .await;
        assert_eq!(failed, 0, "{name}");
        world.assert_rotated(setting, &name);
        world.assert_next_rotation_succeeds(setting, &name).await;
    }
}

/// Runs `N` concurrent invocations of each step in each setting. `turns` returns the orders, given where they may be paused.
fn run_concurrently<const N: usize>(
    settings: &[Setting],
    steps: &[&'static str],
    turns: impl Fn(&[usize]) -> Vec<Turns>,
) {
    let mut cases = Vec::new();
    for (setting, step) in settings
        .iter()
        .flat_map(|setting| steps.iter().map(move |step| (*setting, *step)))
    {
        let turns = turns(&pauses_of(setting, step, 1));
        println!("{setting:?}, {step}: {} interleavings", turns.len());
        cases.extend(turns.into_iter().map(|turns| Invocations {
            setting,
            step,
            turns,
        }));
    }

    shuffle(&mut cases);
    let (orders, continued) = (Orders::default(), ContinuedStates::default());
    in_threads(&cases, |case| block_on(case.run::<N>(&orders, &continued)));

    let different = orders.count();
    println!(
        "{} cases of {N} invocations, {different} different",
        cases.len()
    );
}

#[test]
fn two_concurrent_invocations_of_a_step_delete_no_key_in_use_and_leave_no_orphan() {
    // setSecret sends no request.
    let steps = ["createSecret", "testSecret", "finishSecret"];
    run_concurrently::<2>(&SETTINGS, &steps, paused_twice_and_once);
}

/// The steps that create and delete keys.
#[test]
fn two_concurrent_invocations_of_a_step_delete_no_key_in_use_of_any_key_type() {
    let settings = KEY_TYPES.map(|key_type| Setting {
        key_type,
        ..Setting::default()
    });
    let steps = ["createSecret", "finishSecret"];
    run_concurrently::<2>(&settings, &steps, paused_once_each);
}

#[test]
fn two_concurrent_invocations_of_a_step_with_two_keys_store_and_promote_no_half_of_a_pair() {
    let steps = ["createSecret", "testSecret", "finishSecret"];
    run_concurrently::<2>(&[TWO_KEYS], &steps, paused_once_each);
}

#[test]
fn three_concurrent_invocations_of_create_secret_delete_no_key_in_use_and_leave_no_orphan() {
    run_concurrently::<3>(&SETTINGS, &["createSecret"], orders_of_three);
}
