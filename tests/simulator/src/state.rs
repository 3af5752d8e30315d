//! The state of all services, under one lock. A request takes effect atomically.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::Account;
use crate::brokers::Attempts;
use crate::confluent::api_key::ApiKey;
use crate::confluent::created_at::START_OF_2026;
use crate::confluent::endpoints::Resource;
use crate::confluent::identity_pool::{AccessToken, IdentityPool};
use crate::confluent::operations::Cursor;
use crate::confluent::permissions::Owner;
use crate::confluent::rate_limit::Usage;
use crate::controls::Controls;
use crate::deletion::DeletionEvidence;
use crate::generate;
use crate::http::faults::{Faults, HeldRequests, Replacement};
use crate::http::request::{HttpRequest, Request};
use crate::http::response::Response;
use crate::secret::Secret;
use crate::sts::web_identity_token::WebIdentityToken;

/// The state of the services, the log, and the violations.
pub struct State {
    /// The Region of new secrets.
    pub region: String,
    /// The UUID of the organization.
    pub organization: String,
    /// Service accounts, users and identity pools, by ID.
    pub owners: BTreeMap<String, Owner>,
    /// The filters of the identity pools, by ID.
    pub identity_pools: BTreeMap<String, IdentityPool>,
    /// Clusters and Flink regions, by ID.
    pub resources: BTreeMap<String, Resource>,
    /// API keys, by ID.
    pub keys: BTreeMap<String, ApiKey>,
    /// Deleted API keys, by ID.
    pub deleted_keys: BTreeMap<String, ApiKey>,
    /// Secrets, by ARN.
    pub secrets: BTreeMap<String, Secret>,
    /// All requests to Confluent, Secrets Manager and AWS STS, and all frames to Kafka brokers, in order of arrival.
    pub requests: Vec<Request>,
    /// For each authentication attempt with the ID of an existing key and a wrong API secret, that ID and that secret.
    /// Confluent's audit log records each one as a failed login.
    pub wrong_secrets: Vec<(String, String)>,
    /// Broken guarantees, and requests that no documentation allows.
    pub violations: Vec<String>,
    /// The behavior of the services.
    pub controls: Controls,
    /// The secrets as `ListSecrets` returns them, if the list is frozen.
    pub(crate) frozen_list: Option<BTreeMap<String, Secret>>,
    pub(crate) account: Account,
    pub(crate) canaries: BTreeSet<String>,
    /// The web identity tokens that AWS STS issued.
    pub(crate) web_identity_tokens: BTreeMap<String, WebIdentityToken>,
    /// The access tokens that Confluent Cloud issued.
    pub(crate) access_tokens: BTreeMap<String, AccessToken>,
    /// The keys that a version of a secret ever held.
    pub(crate) stored_keys: BTreeSet<String>,
    pub(crate) broker_attempts: Attempts,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    pub(crate) faults: Faults,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) holds: Vec<HeldRequests>,
    pub(crate) usage: Usage,
    pub(crate) deletion_evidence: DeletionEvidence,
    /// The last creation time of a key, in seconds since 1970.
    pub(crate) last_created_at: i64,
    /// The ARNs of the secrets in rotation.
    pub(crate) rotating: Vec<String>,
    /// Whether several secrets were in rotation at the same time, and one of them still is.
    pub(crate) are_interleaved: bool,
    /// Number of `retire` invocations in progress.
    pub(crate) retire_runs: usize,
    /// Whether [`check_current_keys`](Self::check_current_keys) has run since a test may have changed the state.
    pub(crate) is_checked: bool,
    /// The name of the current request, for violations.
    pub(crate) current_request: String,
    pub(crate) serial: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            organization: generate::uuid(0),
            owners: BTreeMap::new(),
            identity_pools: BTreeMap::new(),
            resources: BTreeMap::new(),
            keys: BTreeMap::new(),
            deleted_keys: BTreeMap::new(),
            secrets: BTreeMap::new(),
            requests: Vec::new(),
            wrong_secrets: Vec::new(),
            violations: Vec::new(),
            controls: Controls::default(),
            frozen_list: None,
            account: Account::default(),
            canaries: BTreeSet::new(),
            web_identity_tokens: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            stored_keys: BTreeSet::new(),
            broker_attempts: Attempts::new(),
            cursors: BTreeMap::new(),
            faults: Faults::default(),
            replacements: Vec::new(),
            holds: Vec::new(),
            usage: Usage::default(),
            deletion_evidence: DeletionEvidence::default(),
            last_created_at: START_OF_2026,
            rotating: Vec::new(),
            are_interleaved: false,
            retire_runs: 0,
            is_checked: false,
            current_request: "no request".to_owned(),
            serial: 0,
        }
    }

    /// Returns a copy, without the log of requests, the changes to the account, and the faults and holds of a test.
    ///
    /// # Panics
    /// If a cluster has brokers, whose listeners belong to this simulator.
    pub(crate) fn fork(&self) -> Self {
        let has_brokers = |resource: &Resource| !resource.brokers.is_empty();
        assert!(
            !self.resources.values().any(has_brokers),
            "brokers cannot be copied"
        );
        Self {
            region: self.region.clone(),
            organization: self.organization.clone(),
            owners: self.owners.clone(),
            identity_pools: self.identity_pools.clone(),
            resources: self.resources.clone(),
            keys: self.keys.clone(),
            deleted_keys: self.deleted_keys.clone(),
            secrets: self.secrets.clone(),
            wrong_secrets: self.wrong_secrets.clone(),
            violations: self.violations.clone(),
            controls: self.controls.clone(),
            frozen_list: self.frozen_list.clone(),
            canaries: self.canaries.clone(),
            web_identity_tokens: self.web_identity_tokens.clone(),
            access_tokens: self.access_tokens.clone(),
            stored_keys: self.stored_keys.clone(),
            broker_attempts: self.broker_attempts.clone(),
            cursors: self.cursors.clone(),
            deletion_evidence: self.deletion_evidence.clone(),
            last_created_at: self.last_created_at,
            rotating: self.rotating.clone(),
            are_interleaved: self.are_interleaved,
            retire_runs: self.retire_runs,
            current_request: self.current_request.clone(),
            serial: self.serial,
            ..Self::new()
        }
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Returns the names of the requests in the log.
    #[must_use]
    pub fn request_names(&self) -> Vec<String> {
        self.requests.iter().map(Request::name).collect()
    }

    /// Returns the number of sequential round trips: the length of the longest chain in which each request arrived
    /// after the response to the one before.
    ///
    /// Set a [latency](Controls::latency) longer than the client's own work between two requests.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        let times = |request: &Request| Some((request.responded_at?, request.received_at));
        let mut times: Vec<_> = self.requests.iter().filter_map(times).collect();
        times.sort_unstable();
        let mut last_response = None;
        let mut round_trips = 0;
        for (responded_at, received_at) in times {
            if last_response.is_none_or(|last_response| received_at >= last_response) {
                last_response = Some(responded_at);
                round_trips += 1;
            }
        }
        round_trips
    }

    /// Returns the keys of an owner that exist.
    #[must_use]
    pub fn keys_of(&self, owner: &str) -> Vec<&ApiKey> {
        self.keys
            .values()
            .filter(|key| key.remaining_reads.is_none() && key.owner.as_deref() == Some(owner))
            .collect()
    }

    /// Returns the orphaned keys of a secret: the keys that are the secret's, or that a `POST` created during its rotation,
    /// and that no version with a staging label holds.
    ///
    /// # Panics
    /// If the secret does not exist.
    #[must_use]
    pub fn orphaned_keys(&self, arn: &str) -> Vec<&ApiKey> {
        let secret = self.secret(arn);
        let is_of_secret =
            |key: &&ApiKey| self.is_owned(arn, &key.id) || key.created_for.as_deref() == Some(arn);
        let is_labeled = |id: &str| {
            let mut labels = secret.labels.keys();
            labels.any(|label| secret.key_ids(label).iter().any(|held| held == id))
        };
        let owner = secret.owner().unwrap_or_default();
        self.keys_of(&owner)
            .into_iter()
            .filter(is_of_secret)
            .filter(|key| !is_labeled(&key.id))
            .collect()
    }

    /// Returns whether a key is another application's: the function did not create it, and no version of a secret ever
    /// held it.
    ///
    /// This is for assertions. Whether a key may be deleted does not depend on it: a user may store any ID.
    #[must_use]
    pub fn belongs_to_another_application(&self, key: &ApiKey) -> bool {
        !key.created_by_function && !self.stored_keys.contains(&key.id)
    }

    /// Returns a key that exists.
    pub(crate) fn key_mut(&mut self, id: &str) -> &mut ApiKey {
        self.keys
            .get_mut(id)
            .unwrap_or_else(|| panic!("the key {id} does not exist"))
    }

    /// Records a violation by the current request.
    pub(crate) fn record_violation(&mut self, message: &str) {
        let violation = format!("{}: {message}", self.current_request);
        self.violations.push(violation);
    }

    /// Records a violation, and returns the response to the request.
    pub(crate) fn violation_response(&mut self, message: &str) -> Response {
        self.record_violation(message);
        Response::new(
            500,
            "text/plain",
            format!("the simulator does not support this: {message}"),
        )
    }

    /// Fails if the request has a query parameter that the operation does not document.
    pub(crate) fn check_params(
        &mut self,
        request: &HttpRequest,
        known: &[&str],
    ) -> Result<(), Response> {
        match request
            .query
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) => {
                Err(self.violation_response(&format!("unknown query parameter {name}")))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn unknown_route(&mut self) -> Response {
        self.violation_response("the path does not exist, or does not support the method")
    }
}
