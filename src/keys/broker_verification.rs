//! Verification at the brokers of a Kafka cluster, where its clients authenticate.
//!
//! A round is one authentication attempt at each broker. Each round lists the brokers again, because they change.

use std::collections::BTreeSet;
use std::time::Instant;

use super::verification::{MAX_CURRENT_KEY_PROBES, Verification, Verifier, with_wrong_secret};
use crate::config::KafkaVerification;
use crate::confluent::broker::{Address, Bootstrap, Round};
use crate::confluent::{ApiKey, ProbeOutcome, ProbeTarget};
use crate::error::Error;
use crate::http::{self, Deadline, RESPONSE_RESERVE};

/// The number of rounds after which `brokers-best-effort` tolerates unreachable brokers.
const MAX_UNREACHABLE_ROUNDS: u32 = 3;

impl Verifier<'_> {
    /// Returns the bootstrap endpoint if `KAFKA_VERIFICATION` requires brokers, and the target has brokers.
    pub(super) fn brokers<'t>(&self, target: &'t ProbeTarget<'_>) -> Option<&'t Bootstrap> {
        let bootstrap = target.bootstrap.as_ref();
        bootstrap.filter(|_| self.kafka != KafkaVerification::Rest)
    }

    /// Verifies the pending key at all brokers, until `deadline`. `probed` is the result of the probes.
    ///
    /// One round in which all brokers accept the key is sufficient, or two consecutive ones if a broker rejected it before, because
    /// a key propagates to each broker separately.
    ///
    /// # Errors
    /// Returns [`Error::PendingKeyNotAccepted`] with the last outcome, [`Error::EndpointAcceptsAnyCredential`] and
    /// [`Error::EndpointNotAllowed`].
    pub(super) async fn verify_at_brokers(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        bootstrap: &Bootstrap,
        probed: Verification,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        if deadline.remaining().is_zero() {
            let purpose = "verify the pending key at the brokers";
            return Err(Error::TimeoutTooShort { purpose });
        }
        let started = Instant::now();
        let mut progress = Progress::default();
        let (mut interval, mut previous, mut attempts) = (self.interval, None, 0);
        loop {
            let round = self
                .client
                .authenticate_at_brokers(key, bootstrap, deadline);
            let round = round.await.map_err(|source| not_allowed(target, source))?;
            attempts += round.attempts();
            // An attempt that the deadline cut short shows nothing about the key.
            let last = previous.filter(|_| deadline.remaining().is_zero());
            let failed = round.failed().cloned().unwrap_or(ProbeOutcome::Accepted);
            let mut last = last.unwrap_or(failed);
            let is_sufficient = progress.record(&round, &last, self.kafka);
            let rounds = progress.rounds;
            tracing::debug!(rounds, probe_outcome = ?last, "completed a round of the brokers");
            if is_sufficient {
                let checked = if round.accepted() > 0 {
                    self.check_wrong_secret(key, target, bootstrap, deadline)
                        .await?
                } else {
                    ProbeOutcome::Accepted
                };
                if checked == ProbeOutcome::Accepted {
                    return Ok(self.report(&round, rounds, attempts, probed));
                }
                last = checked;
            }
            if deadline.wait(interval).await.is_err() {
                return Err(Error::PendingKeyNotAccepted {
                    key: key.id.to_string(),
                    outcome: last,
                    elapsed: started.elapsed(),
                    probes: attempts,
                });
            }
            interval = self.next_interval(interval);
            previous = Some(last);
        }
    }

    /// Runs one round. If a broker accepted the key, the bootstrap endpoint must reject a wrong secret if the secret value names the
    /// endpoint.
    ///
    /// # Errors
    /// Returns [`Error::EndpointAcceptsAnyCredential`] and [`Error::EndpointNotAllowed`].
    pub(crate) async fn round_with_wrong_secret(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        bootstrap: &Bootstrap,
        deadline: Deadline,
    ) -> Result<Round, Error> {
        let round = self
            .client
            .authenticate_at_brokers(key, bootstrap, deadline);
        let round = round.await.map_err(|source| not_allowed(target, source))?;
        if round.accepted() > 0 {
            self.check_wrong_secret(key, target, bootstrap, deadline)
                .await?;
        }
        Ok(round)
    }

    /// Reports the unreachable brokers. Returns the result of the verification.
    fn report(
        &self,
        round: &Round,
        rounds: u32,
        attempts: u32,
        probed: Verification,
    ) -> Verification {
        let (brokers, omitted) = (round.accepted(), round.omitted);
        let unreachable: Vec<String> = round.unreachable().map(ToString::to_string).collect();
        let count = unreachable.len() as u64;
        self.client
            .metrics()
            .count(|counts| counts.unreachable_brokers = Some(count));
        if !unreachable.is_empty() {
            let unreachable = unreachable.join(", ");
            tracing::warn!(
                unreachable,
                "did not verify the pending key at the unreachable brokers"
            );
            // The others do not replace what the probes could not show.
            return probed;
        }
        tracing::info!(
            brokers,
            omitted,
            rounds,
            probes = attempts,
            "verified the pending key at the brokers"
        );
        Verification::Verified
    }

    /// Verifies with one accepted attempt at the bootstrap endpoint, because the REST endpoint is unreachable, that the writer of
    /// the secret value possesses the current key.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyNotAccepted`] with the last outcome, [`Error::EndpointAcceptsAnyCredential`] and
    /// [`Error::EndpointNotAllowed`].
    pub(super) async fn verify_at_bootstrap(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        bootstrap: &Bootstrap,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = self
                .client
                .authenticate_at_bootstrap(key, bootstrap, deadline);
            let mut outcome = outcome
                .await
                .map_err(|source| not_allowed(target, source))?;
            if outcome == ProbeOutcome::Accepted {
                outcome = self
                    .check_wrong_secret(key, target, bootstrap, deadline)
                    .await?;
            }
            if outcome == ProbeOutcome::Accepted {
                return Ok(Verification::Verified);
            }
            let deadline = deadline.with_reserve(RESPONSE_RESERVE);
            if attempts == MAX_CURRENT_KEY_PROBES || deadline.wait(self.interval).await.is_err() {
                let key = key.id.to_string();
                return Err(Error::CurrentKeyNotAccepted { key, outcome });
            }
        }
    }

    /// Checks that the bootstrap endpoint rejects a wrong secret for the same ID, if the secret value names the endpoint. Returns
    /// [`ProbeOutcome::Accepted`] if so.
    async fn check_wrong_secret(
        &self,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
        bootstrap: &Bootstrap,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        if !target.is_from_secret {
            return Ok(ProbeOutcome::Accepted);
        }
        let wrong = with_wrong_secret(key);
        let outcome = self
            .client
            .authenticate_at_bootstrap(&wrong, bootstrap, deadline);
        match outcome
            .await
            .map_err(|source| not_allowed(target, source))?
        {
            ProbeOutcome::RejectedByBroker(_) => Ok(ProbeOutcome::Accepted),
            ProbeOutcome::Accepted => {
                let key = key.id.to_string();
                Err(Error::EndpointAcceptsAnyCredential { key })
            }
            inconclusive => Ok(inconclusive),
        }
    }
}

/// What the rounds of one verification have shown.
#[derive(Default)]
struct Progress {
    rounds: u32,
    /// The number of consecutive rounds that count as accepted.
    accepted: u32,
    /// The number of consecutive rounds in which only connections were missing.
    unreachable: u32,
    /// Whether a broker has rejected the key.
    was_rejected: bool,
    /// The brokers whose last response was not an acceptance.
    not_accepted: BTreeSet<Address>,
}

impl Progress {
    /// Records a round, of which `last` is the most significant outcome. Returns whether the key is verified.
    fn record(&mut self, round: &Round, last: &ProbeOutcome, kafka: KafkaVerification) -> bool {
        self.rounds += 1;
        self.record_brokers(round);
        self.was_rejected |= matches!(last, ProbeOutcome::RejectedByBroker(_));
        self.unreachable = match last {
            ProbeOutcome::BrokerUnreachable(..) => self.unreachable + 1,
            _ => 0,
        };
        let is_tolerated = kafka == KafkaVerification::BrokersBestEffort
            && self.unreachable >= MAX_UNREACHABLE_ROUNDS
            && self.may_tolerate(round);
        self.accepted = if *last == ProbeOutcome::Accepted || is_tolerated {
            self.accepted + 1
        } else {
            0
        };
        self.accepted > u32::from(self.was_rejected)
    }

    fn record_brokers(&mut self, round: &Round) {
        if round.has_brokers {
            // Without those that are no longer listed, and the bootstrap endpoint, which has accepted the key.
            let listed: BTreeSet<&Address> = round.outcomes.iter().map(|(b, _)| b).collect();
            self.not_accepted.retain(|broker| listed.contains(broker));
        }
        for (broker, outcome) in &round.outcomes {
            match outcome {
                ProbeOutcome::BrokerUnreachable(..) => {}
                ProbeOutcome::Accepted => {
                    self.not_accepted.remove(broker);
                }
                _ => {
                    self.not_accepted.insert(broker.clone());
                }
            }
        }
    }

    /// Returns whether the unreachable brokers may be tolerated: none of them rejected the key or responded in another way when it
    /// was last reached. If the brokers are unknown, this applies to all.
    fn may_tolerate(&self, round: &Round) -> bool {
        if !round.has_brokers {
            return self.not_accepted.is_empty();
        }
        let mut unreachable = round.unreachable();
        unreachable.all(|broker| !self.not_accepted.contains(broker))
    }
}

fn not_allowed(target: &ProbeTarget<'_>, source: http::Error) -> Error {
    Error::EndpointNotAllowed {
        endpoint_source: target.endpoint_source(),
        source,
    }
}
