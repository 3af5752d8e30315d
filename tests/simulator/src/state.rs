//! Everything the services know, in one value under one lock: a request is carried out whole, and a
//! test sees it either before or after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::answer::Answer;
use crate::call::{Call, Request};
use crate::confluent::Cursor;
use crate::faults::{Faults, Gate, Override};
use crate::keys::{ApiKey, Kind, Owner};
use crate::knobs::{Endpoints, Knobs};
use crate::mint;
use crate::rate_limit::Meter;
use crate::secrets::Secret;

/// What exists, what was asked, and what went wrong.
pub struct State {
    /// The organization's UUID.
    pub organization: String,
    /// Service accounts and users, by id.
    pub owners: BTreeMap<String, Owner>,
    /// Clusters and regions, by id.
    pub resources: BTreeMap<String, Resource>,
    /// Keys that exist, by id.
    pub keys: BTreeMap<String, ApiKey>,
    /// Keys that existed once, by id.
    pub deleted_keys: BTreeMap<String, ApiKey>,
    /// Secrets, by ARN.
    pub secrets: BTreeMap<String, Secret>,
    /// Every request to Confluent and to Secrets Manager, in the order they arrived.
    pub requests: Vec<Request>,
    /// What was wrong so far: broken promises, and requests that no documentation allows.
    pub violations: Vec<String>,
    /// How the services behave.
    pub knobs: Knobs,
    pub(crate) canaries: BTreeSet<String>,
    /// Which secrets ever named a key, and whom they said it belongs to.
    pub(crate) named: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    pub(crate) faults: Faults,
    pub(crate) overrides: Vec<Override>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) meter: Meter,
    /// The ARNs that are being rotated.
    pub(crate) rotating: Vec<String>,
    /// The request that is being carried out, for the text of a violation.
    pub(crate) in_hand: String,
    serial: u64,
}

/// A cluster, or a Flink region.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// Its environments: one for a cluster, any number for a Flink region.
    pub environments: Vec<String>,
    /// Where it listens, without a trailing slash.
    pub url: String,
    /// What the control plane says instead, to send clients elsewhere.
    pub advertised: Option<String>,
    /// In which fields the control plane says so.
    pub endpoints: Endpoints,
}

impl State {
    /// How many requests had to wait for the answer to one before: the longest chain in which each arrived after the one
    /// before it was answered. With a [latency](crate::Knobs::latency) longer than the client needs in between, it is
    /// what a rotation costs in round trips.
    #[must_use]
    pub fn serial_waits(&self) -> usize {
        let times = |request: &Request| Some((request.answered_at?, request.at));
        let mut times: Vec<_> = self.requests.iter().filter_map(times).collect();
        times.sort_unstable();
        let mut last_answer = None;
        let mut chain = 0;
        for (answered_at, at) in times {
            if last_answer.is_none_or(|last_answer| at >= last_answer) {
                last_answer = Some(answered_at);
                chain += 1;
            }
        }
        chain
    }

    pub(crate) fn new() -> Self {
        Self {
            organization: mint::uuid(0),
            owners: BTreeMap::new(),
            resources: BTreeMap::new(),
            keys: BTreeMap::new(),
            deleted_keys: BTreeMap::new(),
            secrets: BTreeMap::new(),
            requests: Vec::new(),
            violations: Vec::new(),
            knobs: Knobs::default(),
            canaries: BTreeSet::new(),
            named: BTreeMap::new(),
            cursors: BTreeMap::new(),
            faults: Faults::default(),
            overrides: Vec::new(),
            gates: Vec::new(),
            meter: Meter::default(),
            rotating: Vec::new(),
            in_hand: "no request".to_owned(),
            serial: 0,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The keys that exist for an owner.
    #[must_use]
    pub fn keys_of(&self, owner: &str) -> Vec<&ApiKey> {
        self.keys
            .values()
            .filter(|key| key.lingers.is_none() && key.owner.as_deref() == Some(owner))
            .collect()
    }

    /// The keys of the secret's service account that are this function's doing (made by a `POST`, or
    /// named by a version of the secret) and that no label of the secret names any more.
    ///
    /// # Panics
    /// If there is no such secret.
    #[must_use]
    pub fn leftover_keys(&self, arn: &str) -> Vec<&ApiKey> {
        let secret = self.secret(arn);
        let in_use: BTreeSet<&str> = secret
            .labels
            .keys()
            .filter_map(|label| secret.key_named_by(label))
            .collect();
        let ours = |key: &&ApiKey| {
            key.made_for
                .as_deref()
                .map_or(!self.is_foreign(key), |made_for| made_for == arn)
        };
        let owner = secret.owner().unwrap_or_default();
        self.keys_of(&owner)
            .into_iter()
            .filter(ours)
            .filter(|key| !in_use.contains(key.id.as_str()))
            .collect()
    }

    /// Whether the function has nothing to do with a key: it did not make it, and no version of any
    /// secret ever named it.
    #[must_use]
    pub fn is_foreign(&self, key: &ApiKey) -> bool {
        !key.posted && !self.named.contains_key(&key.id)
    }

    /// The secret with this ARN or name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn secret(&self, id: &str) -> &Secret {
        let arn = self
            .arn(id)
            .unwrap_or_else(|| panic!("there is no secret {id}"));
        &self.secrets[&arn]
    }

    /// The secret with this ARN or name, to change.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn secret_mut(&mut self, id: &str) -> &mut Secret {
        let arn = self
            .arn(id)
            .unwrap_or_else(|| panic!("there is no secret {id}"));
        self.secrets
            .get_mut(&arn)
            .expect("an ARN that was just found")
    }

    /// `SecretId` may be the ARN or the name.
    pub(crate) fn arn(&self, id: &str) -> Option<String> {
        if self.secrets.contains_key(id) {
            return Some(id.to_owned());
        }
        self.secrets
            .values()
            .find(|secret| secret.name == id)
            .map(|secret| secret.arn.clone())
    }

    /// The requests so far, as they are called in a test's name.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.requests.iter().map(Request::label).collect()
    }

    /// Records what should not have happened.
    pub(crate) fn violation(&mut self, text: &str) {
        let violation = format!("{}: {text}", self.in_hand);
        self.violations.push(violation);
    }

    /// Records a violation, and the answer that goes with it.
    pub(crate) fn refuse(&mut self, text: &str) -> Answer {
        self.violation(text);
        Answer::new(
            500,
            "text/plain",
            format!("the simulator does not know this: {text}"),
        )
    }

    /// Refuses query parameters that the operation does not document.
    pub(crate) fn only_params(&mut self, call: &Call, known: &[&str]) -> Result<(), Answer> {
        match call
            .query
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) => Err(self.refuse(&format!("unknown query parameter {name}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn unknown_route(&mut self) -> Answer {
        self.refuse("no such path, or not with this method")
    }

    /// A new key, known to nobody yet.
    pub(crate) fn mint_key(
        &mut self,
        owner: Option<&str>,
        resource: &str,
        environment: Option<&str>,
    ) -> ApiKey {
        let serial = self.next();
        let kind =
            Kind::of(Some(resource)).unwrap_or_else(|| panic!("{resource} is no resource's id"));
        let key = ApiKey {
            id: mint::key_id(serial),
            secret: mint::key_secret(serial),
            owner: owner.map(ToOwned::to_owned),
            kind,
            resource: if kind.is_control_plane() {
                resource.to_ascii_lowercase()
            } else {
                resource.to_owned()
            },
            environment: environment.map(ToOwned::to_owned),
            display_name: String::new(),
            description: String::new(),
            created_at: mint::timestamp(serial),
            posted: false,
            made_for: None,
            settling: [].into(),
            accepted_from: Instant::now(),
            hidden_from_lists: 0,
            lingers: None,
        };
        self.canaries.insert(key.secret.clone());
        key
    }
}

/// The date of everything in Secrets Manager, in its JSON form: seconds since 1970.
pub(crate) fn epoch_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
