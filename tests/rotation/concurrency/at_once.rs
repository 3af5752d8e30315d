//! Invocations of one step at once. Secrets Manager and Lambda may both send an event twice.

use super::super::kinds::KINDS;
use super::*;

pub(super) fn stopped_once_each(first: usize, second: usize) -> Vec<Turns> {
    let places = (1..=first).flat_map(|one| (1..=second).map(move |other| vec![one, other]));
    places.collect()
}

/// The first stopped twice, the second once.
fn stopped_twice_and_once(first: usize, second: usize) -> Vec<Turns> {
    let places = stopped_once_each(first, second).into_iter();
    places
        .flat_map(|turns| {
            let rest = first - turns[0] + 1;
            (1..=rest).map(move |again| [&turns[..], &[again]].concat())
        })
        .collect()
}

/// Every order in which the requests of both can be carried out.
fn every_order(first: usize, second: usize) -> Vec<Turns> {
    // One turn each, in which nothing is carried out, puts both before their first request.
    let mut orders = vec![(vec![1, 1], first, second)];
    let mut complete = Vec::new();
    while let Some((turns, first, second)) = orders.pop() {
        if first == 0 || second == 0 {
            complete.push(turns);
            continue;
        }
        for is_first in [true, false] {
            let mut turns = turns.clone();
            // Turns alternate: an odd number of them means that it is the second's.
            if (turns.len() % 2 == 0) != is_first {
                turns.push(0);
            }
            turns.push(1);
            let (first, second) = if is_first {
                (first - 1, second)
            } else {
                (first, second - 1)
            };
            orders.push((turns, first, second));
        }
    }
    complete
}

/// Orders in which three get by turns a few of so many requests: a sample, and the same one every time.
fn orders_of_three(requests: usize) -> Vec<Turns> {
    const ORDERS: u64 = 120;
    const TURNS: usize = 12;
    let order = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let turns = (0..TURNS).map(|_| random.usize(0..=requests / 2));
        turns.collect()
    };
    (0..ORDERS).map(order).collect()
}

/// Invocations of one step.
#[derive(Debug)]
struct AtOnce {
    setting: Setting,
    step: &'static str,
    turns: Turns,
}

impl AtOnce {
    /// Runs so many invocations.
    async fn run<const N: usize>(&self) {
        let (setting, name) = (self.setting, format!("{N} times {self:?}"));
        let world = patient_world(setting, 1, before(self.step)).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let succeeded = AtomicUsize::new(0);
        let invocation = |()| {
            let event = event.clone();
            let invocation = async {
                if world.invoke(event).await.is_ok() {
                    succeeded.fetch_add(1, Relaxed);
                }
            };
            Runner::new(&world.simulator, invocation)
        };

        interleave([(); N].map(invocation), &self.turns).await;

        assert_ne!(succeeded.load(Relaxed), 0, "one succeeds: {name}");
        let left_over = world.simulator.state().leftover_keys(&world.arn).len();
        assert_eq!(left_over, 0, "whose key was not stored deletes it: {name}");
        let failed = world
            .rotate_until_it_succeeds(Recovery::SameToken, &name)
            .await;
        assert_eq!(failed, 0, "{name}");
        world.assert_rotated(setting, &name);
        world.assert_rotates_calmly(setting, &name).await;
    }
}

/// Runs `N` invocations at once of each of `steps` in each of `settings`, in the orders that `turns` has for a step
/// and the number of its requests.
fn run_at_once<const N: usize>(
    settings: &[Setting],
    steps: &[&'static str],
    turns: impl Fn(&str, usize) -> Vec<Turns>,
) {
    let mut cases = Vec::new();
    for (setting, step) in settings
        .iter()
        .flat_map(|setting| steps.iter().map(move |step| (*setting, *step)))
    {
        let turns = turns(step, requests_of(setting, step, 1));
        println!("{setting:?}, {step}: {} interleavings", turns.len());
        cases.extend(turns.into_iter().map(|turns| AtOnce {
            setting,
            step,
            turns,
        }));
    }

    in_threads(&cases, |case| block_on(case.run::<N>()));

    println!("{} times {N} invocations", cases.len());
}

/// Whoever comes second takes nothing away from the first, and its own key goes with it: as soon as the rotation has
/// succeeded there is none too many.
#[test]
fn two_invocations_of_a_step_at_once_lose_no_key_and_leave_none() {
    run_at_once::<2>(&SETTINGS, &STEPS, |step, requests| match step {
        "setSecret" => every_order(requests, requests),
        _ => stopped_twice_and_once(requests, requests),
    });
}

/// The steps that make and delete keys, for every kind: each invocation is stopped once, at any of its requests.
#[test]
fn two_invocations_of_a_step_at_once_lose_no_key_of_any_kind() {
    let settings = KINDS.map(|kind| Setting {
        kind,
        ..Setting::default()
    });
    let steps = ["createSecret", "finishSecret"];
    run_at_once::<2>(&settings, &steps, |_, requests| {
        stopped_once_each(requests, requests)
    });
}

#[test]
fn three_invocations_of_create_secret_at_once_lose_no_key_and_leave_none() {
    run_at_once::<3>(&SETTINGS, &["createSecret"], |_, requests| {
        orders_of_three(requests)
    });
}
