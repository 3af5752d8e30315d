//! A client through it all: it caches the secret, and calls the cluster at every moment of twenty rotations.
//!
//! Time is counted in moments, not measured: there is one before each request that the function makes, and there are
//! [`REST`] more between two rotations. At each moment every client calls the cluster with the value in its cache,
//! and reads the secret first if that value is as old as the client lets it become. Clients differ in how old that is
//! and in when they began; all of them are tried. Two that hold the same key at the same moment get the same answer,
//! so one call is made for each key that may still be in a cache, and each client's calls are looked up among them.
//!
//! New keys are refused and flap, lists lag, and so do values that were just written. Deletion is at once, which is
//! the worst case for a client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const ROTATIONS: usize = 20;

/// How many moments there are between two rotations.
const REST: usize = 50;

/// What is known of one moment.
struct Moment {
    /// The key that `AWSCURRENT` names, which is what a client reads.
    current: String,
    /// The keys that exist.
    existing: BTreeSet<String>,
    /// What the cluster answers to each key that was ever current.
    answers: BTreeMap<String, u16>,
}

/// All moments, in order.
struct Timeline(Vec<Moment>);

/// One client's calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Calls {
    made: usize,
    refused: usize,
}

/// Rotates the secret again and again while the clients call.
struct Observer<'w> {
    world: &'w World,
    http: reqwest::Client,
    topics: String,
    /// The secrets of all keys that were ever current.
    secrets: BTreeMap<String, String>,
    is_calling: Arc<AtomicBool>,
    timeline: Timeline,
}

impl Observer<'_> {
    /// Lives through one moment.
    async fn observe(&mut self) {
        let value = self.world.value("AWSCURRENT");
        let field = |name: &str| value[name].as_str().unwrap().to_owned();
        let current = field("apiKey");
        self.secrets.insert(current.clone(), field("apiSecret"));
        let existing = {
            let state = self.world.simulator.state();
            state.keys.keys().cloned().collect()
        };
        self.is_calling.store(true, Ordering::SeqCst);
        let mut answers = BTreeMap::new();
        for (id, secret) in &self.secrets {
            let call = self.http.get(&self.topics).basic_auth(id, Some(secret));
            let status = call.send().await.unwrap().status().as_u16();
            answers.insert(id.clone(), status);
        }
        self.is_calling.store(false, Ordering::SeqCst);
        self.timeline.0.push(Moment {
            current,
            existing,
            answers,
        });
    }

    /// Lives through the moment before each request of the function, which waits for it.
    async fn observe_every_request(&mut self) -> ! {
        let simulator = &self.world.simulator;
        let next = |is_calling: Arc<AtomicBool>| {
            simulator.hold_requests(move |_| !is_calling.load(Ordering::SeqCst))
        };
        let mut hold = next(Arc::clone(&self.is_calling));
        loop {
            hold.arrived(1).await;
            self.observe().await;
            // The next one before this one is let go, so that no request slips between.
            let following = next(Arc::clone(&self.is_calling));
            hold.release();
            hold = following;
        }
    }
}

impl Timeline {
    /// Twenty rotations, and a rest before, between and after them.
    async fn of(policy: OldKeyPolicy) -> Self {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        let topics = {
            let mut state = world.simulator.state();
            let knobs = &mut state.knobs;
            knobs.settling = vec![401, 200, 401, 200, 200, 401];
            knobs.list_lag = 2;
            knobs.value_lag = 2;
            let url = &state.resources["lkc-orders"].url;
            format!("{url}/kafka/v3/clusters/lkc-orders/topics")
        };
        let mut observer = Observer {
            world: &world,
            http: transport::client(&Network::default()).unwrap(),
            topics,
            secrets: BTreeMap::new(),
            is_calling: Arc::default(),
            timeline: Self(Vec::new()),
        };
        for _ in 0..ROTATIONS {
            for _ in 0..REST {
                observer.observe().await;
            }
            let outcome = tokio::select! {
                outcome = world.rotate() => outcome,
                never = observer.observe_every_request() => never,
            };
            assert_eq!(outcome, Outcome::Succeeded, "{policy:?}");
        }
        for _ in 0..REST {
            observer.observe().await;
        }
        observer.timeline
    }

    /// The moments at which another key is current than at the one before.
    fn promotions(&self) -> Vec<usize> {
        let pairs = self.0.windows(2).enumerate();
        let changes = pairs.filter(|(_, pair)| pair[0].current != pair[1].current);
        changes.map(|(before, _)| before + 1).collect()
    }

    /// For each promotion, the first moment at which the key that was current before it does not exist; none if it
    /// exists to the end.
    fn retirements(&self) -> Vec<Option<usize>> {
        let of = |promotion: usize| {
            let replaced = &self.0[promotion - 1].current;
            let mut after =
                (promotion..self.0.len()).skip_while(|at| self.0[*at].existing.contains(replaced));
            after.next()
        };
        self.promotions().into_iter().map(of).collect()
    }

    /// The shortest time from one promotion to the next.
    fn period(&self) -> usize {
        let promotions = self.promotions();
        let periods = promotions.windows(2).map(|pair| pair[1] - pair[0]);
        periods.min().unwrap()
    }

    /// The shortest time from the last moment at which a key is current to the first at which it does not exist.
    fn grace(&self) -> usize {
        let ends = self.promotions().into_iter().zip(self.retirements());
        let lives = ends.filter_map(|(promotion, retirement)| Some(retirement? + 1 - promotion));
        lives.min().unwrap()
    }

    /// Every client that reads a value again once it is `age` moments old, one for each moment it may have begun at.
    fn clients(&self, age: usize) -> impl Iterator<Item = Calls> + '_ {
        (0..age.max(1)).map(move |began| self.client(age, began))
    }

    /// The calls of a client that lets a value become `age` moments old, and reads it at `began` for the first time.
    fn client(&self, age: usize, began: usize) -> Calls {
        let mut calls = Calls::default();
        let mut cached = (began, &self.0[began].current);
        for (at, moment) in self.0.iter().enumerate().skip(began) {
            if at - cached.0 >= age {
                cached = (at, &moment.current);
            }
            let (_, key) = cached;
            calls.made += 1;
            if moment.answers[key] != 200 {
                calls.refused += 1;
                let is_stale = *key != moment.current;
                assert!(is_stale, "a fresh value is refused at {at}: {key}");
            }
        }
        calls
    }

    /// How many calls of that client come after a key's end, and before it reads the secret again: all there is to
    /// refuse, told from when keys were promoted and retired, and from nothing that the cluster answered.
    fn stale_calls(&self, age: usize, began: usize) -> usize {
        let promotions = self.promotions();
        let ends = promotions.iter().zip(self.retirements());
        let stale = ends.map(|(&promotion, retirement)| {
            let retirement = retirement.unwrap_or(self.0.len());
            if promotion <= began {
                return 0;
            }
            // Reads are at `began`, `began + age`, and so on.
            let reads = (promotion - began).div_ceil(age.max(1));
            let read = (began + reads * age.max(1)).min(self.0.len());
            read.saturating_sub(retirement)
        });
        stale.sum()
    }
}

#[tokio::test]
async fn no_client_is_refused_while_the_old_key_is_kept_until_the_next_rotation() {
    let timeline = Timeline::of(OldKeyPolicy::KeepUntilNextRotation).await;
    let (period, grace) = (timeline.period(), timeline.grace());
    assert_eq!(timeline.promotions().len(), ROTATIONS);
    assert!(
        grace > REST && grace < period,
        "a replaced key lives until the next rotation"
    );

    let mut calls = 0;
    for age in 0..=grace {
        for client in timeline.clients(age) {
            assert_eq!(client.refused, 0, "cached for {age} of {period}");
            calls += client.made;
        }
    }

    // A key goes when the next rotation begins, which is the rotation's own length before a whole period is over.
    assert!(timeline.clients(grace + 1).any(|client| client.refused > 0));
    println!(
        "keep-until-next-rotation: of {calls} calls in {ROTATIONS} rotations none is refused, of clients that cache the \
         secret for anything up to {grace} moments of a period of {period}: until the next rotation retires the key"
    );
}

#[tokio::test]
async fn only_a_stale_value_is_refused_once_the_old_key_is_deleted() {
    let timeline = Timeline::of(OldKeyPolicy::Delete).await;
    let (period, grace) = (timeline.period(), timeline.grace());
    assert_eq!(timeline.promotions().len(), ROTATIONS);

    let (mut calls, mut refused) = (0, 0);
    for age in 0..=period {
        let mut most = 0;
        for (began, client) in timeline.clients(age).enumerate() {
            let stale = timeline.stale_calls(age, began);
            assert_eq!(client.refused, stale, "cached for {age} since {began}");
            most = most.max(client.refused);
            calls += client.made;
            refused += client.refused;
        }
        // From the deletion to the end of the cache, in each rotation.
        assert!(
            most <= ROTATIONS * age.saturating_sub(grace),
            "{age}: {most}"
        );
        assert_eq!(most > 0, age > grace, "{age}: {most}");
    }

    println!(
        "delete: of {calls} calls in {ROTATIONS} rotations {refused} are refused, every one with a value read before the \
         move of AWSCURRENT; a cache no older than {grace} moments of a period of {period} is never refused"
    );
}
