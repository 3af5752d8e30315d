//! Two invocations at once, stopped and let go between any two of their requests.
//!
//! Every request waits at the simulator until its invocation's turn comes, so one invocation at most is under way, and
//! a [`Turns`] says exactly who gets how far. Afterwards attempts go on as Secrets Manager makes them, until the secret
//! has been rotated, and what is asserted is the state that is left.

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::rotation::STEPS;
use simulator::{Hold, State};

use super::faults::{Recovery, block_on, calm_rotation, in_threads, world};
use super::*;

/// A kind whose keys are signed for by an admin and tried at a data plane, and one that signs for itself; between
/// them, both policies.
const SETTINGS: [Setting; 2] = [
    Setting {
        kind: Kind::Kafka,
        mode: Mode::Admin,
        policy: OldKeyPolicy::Delete,
    },
    Setting {
        kind: Kind::Cloud,
        mode: Mode::Own,
        policy: OldKeyPolicy::KeepUntilNextRotation,
    },
];

/// A little more than is kept back for what comes after trying a key, and for saying so.
const SHORT: Duration = Duration::from_millis(11_300);

/// How far the first gets, then how far the second gets from there, then the first again, and so on; in the end each
/// goes on until it is done, beginning with the one whose turn it is.
///
/// The first request that somebody is let go for is only held: `n` is "up to before its `n`-th request".
type Turns = Vec<usize>;

/// Somebody whose requests are let go one by one.
struct Runner<'a> {
    simulator: &'a Simulator,
    running: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Where the next request waits.
    held: Option<Hold>,
    is_done: bool,
}

impl<'a> Runner<'a> {
    fn new(simulator: &'a Simulator, running: impl Future<Output = ()> + 'a) -> Self {
        Self {
            simulator,
            running: Box::pin(running),
            held: None,
            is_done: false,
        }
    }

    /// Lets the request that waits be carried out, and holds the next one. Everybody else's requests wait already, so
    /// the next to arrive is this one's.
    async fn advance(&mut self) {
        let is_next = AtomicBool::new(true);
        let next = self
            .simulator
            .hold_requests(move |_| is_next.swap(false, Relaxed));
        self.held = None;
        tokio::select! {
            () = &mut self.running => self.is_done = true,
            () = next.arrived(1) => self.held = Some(next),
        }
    }

    async fn finish(&mut self) {
        self.held = None;
        if !self.is_done {
            (&mut self.running).await;
            self.is_done = true;
        }
    }
}

/// Runs two side by side, as `turns` says.
async fn interleave(mut first: Runner<'_>, mut second: Runner<'_>, turns: &[usize]) {
    let mut pair = [&mut first, &mut second];
    for requests in turns {
        for _ in 0..*requests {
            if pair[0].is_done {
                break;
            }
            pair[0].advance().await;
        }
        pair.swap(0, 1);
    }
    pair[0].finish().await;
    pair[1].finish().await;
}

/// Each stopped once, at any of its requests: the first, and the second while the first waits.
fn stopped_once_each(first: usize, second: usize) -> Vec<Turns> {
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

/// A world in which a request may be held for long, with these steps of its `nth` rotation done.
async fn patient_world(setting: Setting, nth: usize, done: &[&str]) -> World {
    let mut world = world(setting).await;
    world.function.http_limits.request = AMPLE;
    world.function.store_limits.attempt = AMPLE;
    for _ in 1..nth {
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    }
    for step in done {
        world.step(step).await.expect(step);
    }
    world
}

/// The steps before this one.
fn before(step: &str) -> &'static [&'static str] {
    let nth = STEPS.iter().position(|known| *known == step).expect(step);
    &STEPS[..nth]
}

/// How many requests a step makes if nothing goes wrong, in the `nth` rotation.
fn requests_of(setting: Setting, step: &str, nth: usize) -> usize {
    block_on(async {
        let world = patient_world(setting, nth, before(step)).await;
        world.requests();
        world.step(step).await.expect(step);
        world.requests().len()
    })
}

impl World {
    /// An invocation whose outcome nobody waits for. Its time is short: it tries a key that is gone until there is none
    /// left.
    async fn duplicate(&self, event: Value) {
        let _ = self.invoke_within(event, SHORT).await;
    }

    /// What Secrets Manager finds when all has come to rest and it rotates once more.
    async fn assert_rotates_calmly(&self, setting: Setting, case: &str) {
        let outcome = self.rotate().await;
        assert_eq!(outcome, Outcome::Succeeded, "{case}: the next rotation");
        self.assert_rotated(setting, case);
    }

    async fn rotate_secret(&self, arn: &str) -> Outcome {
        let invoke = async |event| {
            let outcome = self.invoke(event).await;
            outcome.map_err(|error| format!("{error:?}"))
        };
        self.simulator.rotate(arn, &invoke).await
    }
}

/// Two invocations of one step.
#[derive(Debug)]
struct Twice {
    setting: Setting,
    step: &'static str,
    turns: Turns,
}

impl Twice {
    async fn run(&self) {
        let (setting, name) = (self.setting, format!("{self:?}"));
        let world = patient_world(setting, 1, before(self.step)).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let succeeded = AtomicUsize::new(0);
        let invocation = || {
            let event = event.clone();
            let invocation = async {
                if world.invoke(event).await.is_ok() {
                    succeeded.fetch_add(1, Relaxed);
                }
            };
            Runner::new(&world.simulator, invocation)
        };

        interleave(invocation(), invocation(), &self.turns).await;

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

/// Secrets Manager and Lambda may both send an event twice. Whoever comes second takes nothing away from the first, and
/// its own key goes with it: as soon as the rotation has succeeded there is none too many.
#[test]
fn two_invocations_of_a_step_at_once_lose_no_key_and_leave_none() {
    let mut cases = Vec::new();
    for setting in SETTINGS {
        for step in STEPS {
            let requests = requests_of(setting, step, 1);
            let turns = match step {
                "setSecret" => every_order(requests, requests),
                _ => stopped_twice_and_once(requests, requests),
            };
            println!("{setting:?}, {step}: {} interleavings", turns.len());
            cases.extend(turns.into_iter().map(|turns| Twice {
                setting,
                step,
                turns,
            }));
        }
    }

    in_threads(&cases, |case| block_on(case.run()));

    println!("{} pairs of invocations", cases.len());
}

/// An invocation that is late: of a step of a rotation which goes on without it.
#[derive(Clone, Debug)]
struct Late {
    setting: Setting,
    step: &'static str,
    /// Whether somebody takes `AWSPENDING` off first, so that what goes on is another rotation.
    is_abandoned: bool,
    /// The first is the rotation and the one after it, the second the invocation.
    turns: Turns,
}

impl Late {
    /// Which rotation of the secret the invocation belongs to. Of one that is abandoned it is the second, so that
    /// the current key bears a mark and is found when no label names it any more.
    fn nth(&self) -> usize {
        1 + usize::from(self.is_abandoned)
    }

    /// Returns how many attempts of Secrets Manager failed.
    async fn run(&self, recovery: Recovery) -> usize {
        let (setting, name) = (self.setting, format!("{recovery:?} {self:?}"));
        let world = patient_world(setting, self.nth(), before(self.step)).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, self.step);
        let failed = AtomicUsize::new(0);
        let rotations = async {
            if self.is_abandoned {
                world.simulator.abandon(&world.arn);
            }
            for _ in 0..2 {
                let attempts = world.rotate_until_it_succeeds(recovery, &name).await;
                failed.fetch_add(attempts, Relaxed);
            }
        };
        let rotations = Runner::new(&world.simulator, rotations);
        let late = Runner::new(&world.simulator, world.duplicate(event));

        interleave(rotations, late, &self.turns).await;

        if self.is_abandoned {
            // A put may come just before the key is deleted which it stages. testSecret finds that out.
            let mut state = world.simulator.state();
            state
                .violations
                .retain(|broken| !broken.contains("AWSPENDING of"));
        }
        let violations = world.simulator.state().violations.clone();
        assert!(violations.is_empty(), "{name}: {violations:?}");
        // It may have made a key so late that only the next rotation can find it.
        let left_over = world.simulator.state().leftover_keys(&world.arn).len();
        assert!(left_over <= 1, "{left_over} keys are left over: {name}");
        world.assert_rotates_calmly(setting, &name).await;
        failed.load(Relaxed)
    }
}

/// Runs all, and those in which an attempt failed once more, with a new token instead of the same.
fn run_late(cases: &[Late]) {
    let failed = AtomicUsize::new(0);
    in_threads(cases, |case| {
        if block_on(case.run(Recovery::SameToken)) > 0 {
            failed.fetch_add(1, Relaxed);
            block_on(case.run(Recovery::NewToken));
        }
    });
    println!(
        "{} late invocations; in {} of the cases an attempt failed and was made good",
        cases.len(),
        failed.into_inner()
    );
}

/// How many requests a rotation and the next one make.
fn two_rotations(setting: Setting) -> usize {
    2 * block_on(calm_rotation(setting)).len()
}

/// Every place to stop an invocation of any step, and places all over two rotations to let it go on at: for the first
/// setting and the steps that change something it is every request, for the others every third.
fn late_cases(is_abandoned: bool) -> Vec<Late> {
    let mut cases = Vec::new();
    for (setting, step) in SETTINGS
        .iter()
        .flat_map(|one| STEPS.map(|step| (*one, step)))
    {
        let changes = matches!(step, "createSecret" | "finishSecret");
        let every = if changes && setting.kind == SETTINGS[0].kind {
            1
        } else {
            3
        };
        let nth = 1 + usize::from(is_abandoned);
        for stopped_before in 1..=requests_of(setting, step, nth) {
            for goes_on_before in (1..=two_rotations(setting)).step_by(every) {
                cases.push(Late {
                    setting,
                    step,
                    is_abandoned,
                    // The invocation begins first.
                    turns: vec![0, stopped_before, goes_on_before],
                });
            }
        }
    }
    cases
}

/// An invocation that was stopped before any of its requests goes on at any request of its own rotation, whose steps
/// have all been repeated meanwhile, or of the next.
#[test]
fn an_invocation_that_goes_on_late_takes_no_key_away_and_leaves_none() {
    run_late(&late_cases(false));
}

/// The same, of a rotation that was abandoned meanwhile: what it still stores or publishes opens its resource.
#[test]
fn an_invocation_that_goes_on_after_its_rotation_was_abandoned_takes_no_key_away_and_leaves_none() {
    run_late(&late_cases(true));
}

/// A duplicate that begins late, and runs to its end before the rotation's next request.
#[test]
fn a_late_duplicate_of_any_step_at_any_request_takes_no_key_away_and_leaves_none() {
    let mut cases = Vec::new();
    for setting in SETTINGS {
        for step in STEPS {
            for nth in 1..=two_rotations(setting) {
                cases.push(Late {
                    setting,
                    step,
                    is_abandoned: false,
                    turns: vec![nth, usize::MAX],
                });
            }
        }
    }

    run_late(&cases);
}

/// Two secrets that are rotated at once through one function.
#[derive(Debug)]
struct Two {
    /// Whether both are for the same service account and cluster; else they have no field in common.
    alike: bool,
    turns: Turns,
}

impl Two {
    /// The second secret. Returns its ARN.
    fn add_other(&self, world: &World) -> String {
        let simulator = &world.simulator;
        let value = if self.alike {
            let (id, secret) = simulator.add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
            let mut value = world.value("AWSCURRENT");
            value["apiKey"] = json!(id);
            value["apiSecret"] = json!(secret);
            value["note"] = json!("the other's");
            value
        } else {
            let owner = "sa-billing";
            simulator.add_owner(owner, &[Role::ResourceOwnerOf(owner.to_owned())]);
            let (id, secret) = simulator.add_key(owner, None, None);
            json!({"apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "team": "billing"})
        };
        simulator.add_secret("billing", &value.to_string())
    }

    async fn run(&self) {
        let name = format!("{self:?}");
        let world = patient_world(Setting::default(), 1, &[]).await;
        let arns = [world.arn.clone(), self.add_other(&world)];
        let secrets = || {
            let state = world.simulator.state();
            arns.each_ref().map(|arn| key_and_fields(&state, arn))
        };
        let (keys, before) = (|| world.simulator.state().keys.len(), secrets());
        let count = keys();
        let (the_world, case) = (&world, &name);
        let rotation = |arn| {
            let rotation = async move {
                let outcome = the_world.rotate_secret(arn).await;
                assert_eq!(outcome, Outcome::Succeeded, "{case}");
            };
            Runner::new(&world.simulator, rotation)
        };

        interleave(rotation(&arns[0]), rotation(&arns[1]), &self.turns).await;

        for ((old, before), (new, after)) in before.iter().zip(secrets()) {
            assert_ne!(*old, new, "{name}");
            assert_eq!(*before, after, "{name}");
            let state = world.simulator.state();
            assert!(state.keys.contains_key(&new), "{name}: {new}");
            assert!(!state.keys.contains_key(old), "{name}: {old}");
        }
        // Each has one key, the old or the new one; and nothing else came or went.
        assert_eq!(keys(), count, "{name}");
        let deleted = world.simulator.state().deleted_keys.len();
        assert_eq!(deleted, 2, "{name}: only the two old keys are deleted");
        for arn in &arns {
            let outcome = world.rotate_secret(arn).await;
            assert_eq!(outcome, Outcome::Succeeded, "{name}: the next rotation");
        }
        world.simulator.assert_promises_kept();
    }
}

/// The key that a secret's current value names, and all the rest that it says.
fn key_and_fields(state: &State, arn: &str) -> (String, Value) {
    let text = state.secret(arn).value("AWSCURRENT").expect("a value");
    let mut value: Value = serde_json::from_str(text).unwrap();
    let fields = value.as_object_mut().expect("an object");
    let id = fields.remove("apiKey").expect("a key's id");
    fields.remove("apiSecret").expect("a key's secret");
    (id.as_str().expect("a text").to_owned(), value)
}

/// Each stopped once at any request, and the two in turn, so many requests at a time.
fn turns_of_two(requests: usize) -> Vec<Turns> {
    let in_turn = (1..=requests).map(|at_a_time| vec![at_a_time; 2 * requests]);
    let stopped = stopped_once_each(requests, requests);
    stopped.into_iter().chain(in_turn).collect()
}

#[test]
fn secrets_of_one_service_account_that_rotate_at_once_never_touch_each_others_keys() {
    run_two(true);
}

#[test]
fn secrets_that_rotate_at_once_through_one_warm_function_never_share_a_field() {
    run_two(false);
}

fn run_two(alike: bool) {
    let requests = block_on(calm_rotation(Setting::default())).len();
    let turns = turns_of_two(requests).into_iter();
    let cases: Vec<Two> = turns.map(|turns| Two { alike, turns }).collect();

    in_threads(&cases, |case| block_on(case.run()));

    println!("{} pairs of rotations", cases.len());
}
