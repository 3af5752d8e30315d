//! Clients that cache the secret, and call the cluster throughout twenty rotations.
//!
//! Time is counted in moments: one before each request of the function, and [`REST`] more between two rotations. At each moment,
//! every client calls the cluster with its cached value. It first reads the secret again if that value has reached the client's
//! cache age. The clients differ in their cache age and in the moment at which they start, and all combinations are tested.
//! Two clients with the same key get the same response at the same moment, so the test sends one call for each key and looks up
//! each client's calls among them.
//!
//! Pending keys are rejected at first and flap. Lists and values lag. Deletion takes effect immediately, which is the worst case
//! for a client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const ROTATIONS: usize = 20;

/// The number of moments between two rotations.
const REST: usize = 50;

/// Slightly more than the default of `OLD_KEY_HOURS`. It passes during the rest after a rotation.
const OVERLAP: Duration = Duration::from_mins(24 * 60 + 1);

/// The state at one moment.
struct Moment {
    /// The ID of the current key, which a client reads.
    current: String,
    /// The IDs of the keys that exist.
    existing: BTreeSet<String>,
    /// The cluster's response to each key that was ever current.
    statuses: BTreeMap<String, u16>,
}

/// All moments, in order.
struct Timeline(Vec<Moment>);

/// The numbers of one client's calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Calls {
    all: usize,
    rejected: usize,
}

/// Records the moments while the secret is rotated.
struct Observer<'w> {
    world: &'w World,
    http: reqwest::Client,
    topics: String,
    /// The API secrets of all keys that were ever current, by key ID.
    secrets: BTreeMap<String, String>,
    is_calling: Arc<AtomicBool>,
    timeline: Timeline,
}

impl Observer<'_> {
    /// Records one moment.
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
        let mut statuses = BTreeMap::new();
        for (id, secret) in &self.secrets {
            let call = self.http.get(&self.topics).basic_auth(id, Some(secret));
            let status = call.send().await.unwrap().status().as_u16();
            statuses.insert(id.clone(), status);
        }
        self.is_calling.store(false, Ordering::SeqCst);
        self.timeline.0.push(Moment {
            current,
            existing,
            statuses,
        });
    }

    /// Records the moment before each request of the function. The request is held in the meantime.
    async fn observe_every_request(&mut self) -> ! {
        let simulator = &self.world.simulator;
        let next = |is_calling: Arc<AtomicBool>| {
            simulator.hold_requests(move |_| !is_calling.load(Ordering::SeqCst))
        };
        let mut hold = next(Arc::clone(&self.is_calling));
        loop {
            hold.arrived(1).await;
            self.observe().await;
            // Before this request is released, so that the next one is held, too.
            let following = next(Arc::clone(&self.is_calling));
            hold.release();
            hold = following;
        }
    }
}

impl Timeline {
    /// Records twenty rotations, with a rest before, between and after them.
    async fn of(policy: OldKeyPolicy) -> Self {
        let world = World::new(Setting {
            policy,
            ..Setting::default()
        })
        .await;
        let topics = {
            let mut state = world.simulator.state();
            let controls = &mut state.controls;
            controls.propagation_statuses = vec![401, 200, 401, 200, 200, 401];
            controls.list_lag = 2;
            controls.value_lag = 2;
            let url = &state.resources["lkc-orders"].url;
            format!("{url}/kafka/v3/clusters/lkc-orders/topics")
        };
        let mut observer = Observer {
            world: &world,
            http: http_client(),
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
            if policy == OldKeyPolicy::DeleteAfter {
                for _ in 0..REST {
                    observer.observe().await;
                }
                world.simulator.pass(OVERLAP);
                let retired = tokio::select! {
                    retired = world.invoke(json!({"Step": "retire"})) => retired,
                    never = observer.observe_every_request() => never,
                };
                retired.unwrap();
            }
        }
        for _ in 0..REST {
            observer.observe().await;
        }
        observer.timeline
    }

    /// Returns the moments at which the current key is not that of the moment before.
    fn promotions(&self) -> Vec<usize> {
        let pairs = self.0.windows(2).enumerate();
        let changes = pairs.filter(|(_, pair)| pair[0].current != pair[1].current);
        changes.map(|(before, _)| before + 1).collect()
    }

    /// Returns, for each promotion, the first moment at which the previous key no longer exists, or `None` if it exists until the
    /// end.
    fn deletions(&self) -> Vec<Option<usize>> {
        let of = |promotion: usize| {
            let previous = &self.0[promotion - 1].current;
            let mut after =
                (promotion..self.0.len()).skip_while(|at| self.0[*at].existing.contains(previous));
            after.next()
        };
        self.promotions().into_iter().map(of).collect()
    }

    /// Returns the shortest time from one promotion to the next.
    fn period(&self) -> usize {
        let promotions = self.promotions();
        let periods = promotions.windows(2).map(|pair| pair[1] - pair[0]);
        periods.min().unwrap()
    }

    /// Returns the shortest overlap: the time from the last moment at which a key is current to the first at which it no longer
    /// exists.
    fn overlap(&self) -> usize {
        let ends = self.promotions().into_iter().zip(self.deletions());
        let overlaps = ends.filter_map(|(promotion, deletion)| Some(deletion? + 1 - promotion));
        overlaps.min().unwrap()
    }

    /// Returns the calls of all clients with the cache age `age`, one for each moment at which a client may start.
    fn clients(&self, age: usize) -> impl Iterator<Item = Calls> + '_ {
        (0..age.max(1)).map(move |start| self.client(age, start))
    }

    /// Returns the calls of a client with the cache age `age` that reads the secret first at `start`.
    fn client(&self, age: usize, start: usize) -> Calls {
        let mut calls = Calls::default();
        let mut cached = (start, &self.0[start].current);
        for (at, moment) in self.0.iter().enumerate().skip(start) {
            if at - cached.0 >= age {
                cached = (at, &moment.current);
            }
            let (_, key) = cached;
            calls.all += 1;
            if moment.statuses[key] != 200 {
                calls.rejected += 1;
                let is_stale = *key != moment.current;
                assert!(is_stale, "the current key is rejected at {at}: {key}");
            }
        }
        calls
    }

    /// Asserts that no call is rejected if clients cache the secret for up to `overlap`, and that one is if they cache it for
    /// longer. Returns the number of calls.
    fn assert_none_is_rejected_within(&self, overlap: usize) -> usize {
        let mut calls = 0;
        for age in 0..=overlap {
            for client in self.clients(age) {
                assert_eq!(client.rejected, 0, "cached for {age}");
                calls += client.all;
            }
        }
        let mut longer = self.clients(overlap + 1);
        assert!(longer.any(|client| client.rejected > 0));
        calls
    }

    /// Returns the number of that client's calls between the deletion of its key and its next read of the secret. It depends on
    /// the times of promotions and deletions only, and on no response of the cluster.
    fn stale_calls(&self, age: usize, start: usize) -> usize {
        let promotions = self.promotions();
        let ends = promotions.iter().zip(self.deletions());
        let stale = ends.map(|(&promotion, deletion)| {
            let deletion = deletion.unwrap_or(self.0.len());
            if promotion <= start {
                return 0;
            }
            // The client reads at `start`, `start + age`, and so on.
            let reads = (promotion - start).div_ceil(age.max(1));
            let read = (start + reads * age.max(1)).min(self.0.len());
            read.saturating_sub(deletion)
        });
        stale.sum()
    }
}

#[tokio::test]
async fn no_client_is_rejected_while_the_previous_key_is_kept_until_the_next_rotation() {
    let timeline = Timeline::of(OldKeyPolicy::KeepUntilNextRotation).await;
    let (period, overlap) = (timeline.period(), timeline.overlap());
    assert_eq!(timeline.promotions().len(), ROTATIONS);
    assert!(
        overlap >= period,
        "the previous key is kept until the next promotion"
    );

    let calls = timeline.assert_none_is_rejected_within(overlap);
    println!(
        "keep-until-next-rotation: none of {calls} calls in {ROTATIONS} rotations is rejected if clients cache the secret \
         for up to {overlap} moments of a period of {period}"
    );
}

#[tokio::test]
async fn no_client_that_reads_the_secret_within_the_overlap_is_rejected() {
    let timeline = Timeline::of(OldKeyPolicy::DeleteAfter).await;
    let (period, overlap) = (timeline.period(), timeline.overlap());
    assert_eq!(timeline.promotions().len(), ROTATIONS);
    assert!(timeline.deletions().iter().all(Option::is_some));
    assert!((REST..period).contains(&overlap), "{overlap} of {period}");

    let calls = timeline.assert_none_is_rejected_within(overlap);
    println!(
        "delete-after: none of {calls} calls in {ROTATIONS} rotations is rejected if clients cache the secret for up to \
         {overlap} moments of a period of {period}"
    );
}

#[tokio::test]
async fn only_a_stale_value_is_rejected_after_the_previous_key_is_deleted() {
    let timeline = Timeline::of(OldKeyPolicy::Delete).await;
    let (period, overlap) = (timeline.period(), timeline.overlap());
    assert_eq!(timeline.promotions().len(), ROTATIONS);

    let (mut calls, mut rejected) = (0, 0);
    for age in 0..=period {
        let mut max = 0;
        for (start, client) in timeline.clients(age).enumerate() {
            let stale = timeline.stale_calls(age, start);
            assert_eq!(client.rejected, stale, "cached for {age} since {start}");
            max = max.max(client.rejected);
            calls += client.all;
            rejected += client.rejected;
        }
        // In each rotation, from the deletion until the client reads the secret again.
        assert!(
            max <= ROTATIONS * age.saturating_sub(overlap),
            "{age}: {max}"
        );
        assert_eq!(max > 0, age > overlap, "{age}: {max}");
    }

    println!(
        "delete: {rejected} of {calls} calls in {ROTATIONS} rotations are rejected, all with a value that was read before \
         the promotion; none is rejected if clients cache the secret for up to {overlap} moments of a period of {period}"
    );
}
