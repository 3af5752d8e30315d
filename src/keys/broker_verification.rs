//! Verification at the brokers of a Kafka cluster, where its clients authenticate.
//!
//! A round is one authentication attempt at each broker. Each round lists the brokers again, because they change.

use std::collections::BTreeSet;
use std::time::Instant;

use super::target::Target;
use super::verification::{MAX_CURRENT_KEY_PROBES, Verification, Verifier, with_wrong_secret};
use crate::config::KafkaVerification;
use crate::confluent::broker::{Address, Round};
use crate::confluent::{ApiKey, ProbeOutcome};
use crate::error::Error;
use crate::http::{Deadline, RESPONSE_RESERVE};

/// The number of rounds after which `brokers-best-effort` tolerates unreachable brokers.
const MAX_UNREACHABLE_ROUNDS: u32 = 3;

impl Verifier<'_> {
    /// Verifies the pending key at all brokers, until `deadline`. `probed` is the result of the probes.
    ///
    /// One round in which all brokers accept the key is sufficient, or two consecutive ones if a broker rejected it before, because
    /// a key propagates to each broker separately.
    ///
    /// # Errors
    /// Returns [`Error::TimeoutTooShort`], [`Error::PendingKeyNotAccepted`] with the last outcome,
    /// [`Error::EndpointAcceptsAnyCredential`], and the errors of [`round`](Self::round).
    pub(super) async fn verify_at_brokers(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
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
            let round = self.round(key, target, deadline).await?;
            attempts += round.attempts();
            let mut last = round.failed().cloned().unwrap_or(ProbeOutcome::Accepted);
            // A probe that the deadline cut short shows nothing about the key.
            let is_complete = last == ProbeOutcome::Accepted || !deadline.remaining().is_zero();
            let is_sufficient = is_complete && progress.record(&round, &last, self.kafka);
            if !is_complete {
                let earlier = previous.filter(|outcome| *outcome != ProbeOutcome::Accepted);
                last = earlier.unwrap_or(last);
            }
            let rounds = progress.rounds;
            tracing::debug!(rounds, probe_outcome = ?last, "completed a round of the brokers");
            if is_sufficient {
                let checked = self.check_round(&round, key, target, deadline).await?;
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

    /// Authenticates once at each broker.
    ///
    /// # Errors
    /// Returns [`Error::Endpoint`], and the errors of [`look_up_if_moved`](Self::look_up_if_moved).
    pub(crate) async fn round(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Round, Error> {
        loop {
            let bootstrap = target.bootstrap().cloned().unwrap_or_default();
            let round = self
                .client
                .authenticate_at_brokers(key, &bootstrap, deadline);
            let round = round.await.map_err(|source| target.not_allowed(source))?;
            // If the brokers are unknown, the outcome is the bootstrap endpoint's.
            let failed = round.failed().filter(|_| !round.has_brokers);
            match failed {
                Some(outcome) if self.look_up_if_moved(target, outcome, deadline).await? => {}
                _ => return Ok(round),
            }
        }
    }

    /// If the secret value names the bootstrap endpoint and a broker accepted the key, checks that this endpoint rejects a wrong
    /// API secret. Returns [`ProbeOutcome::Accepted`] if it does, or if no check is required.
    ///
    /// # Errors
    /// Returns [`Error::EndpointAcceptsAnyCredential`] and [`Error::Endpoint`].
    pub(crate) async fn check_round(
        &self,
        round: &Round,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        if round.accepted() == 0 || target.probe.field.is_none() {
            return Ok(ProbeOutcome::Accepted);
        }
        self.probe_with_wrong_secret(key, target, deadline).await
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
            .count(|counts| *counts.unreachable_brokers.get_or_insert_default() += count);
        if !unreachable.is_empty() {
            let unreachable = unreachable.join(", ");
            tracing::warn!(
                unreachable,
                "did not verify the pending key at the unreachable brokers"
            );
            // If some brokers are unreachable, the others do not replace an unreachable REST endpoint.
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

    /// Verifies the current key with one accepted probe at the bootstrap endpoint, in place of an unreachable REST endpoint.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyNotAccepted`] with the last outcome, [`Error::EndpointAcceptsAnyCredential`] and
    /// [`Error::Endpoint`].
    pub(super) async fn verify_at_bootstrap(
        &self,
        key: &ApiKey,
        target: &mut Target<'_>,
        deadline: Deadline,
    ) -> Result<Verification, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut outcome = self.probe_bootstrap(key, target, deadline).await?;
            if self.look_up_if_moved(target, &outcome, deadline).await? {
                outcome = self.probe_bootstrap(key, target, deadline).await?;
            }
            if outcome == ProbeOutcome::Accepted && target.probe.field.is_some() {
                outcome = self.probe_with_wrong_secret(key, target, deadline).await?;
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

    async fn probe_bootstrap(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        let bootstrap = target.bootstrap().cloned().unwrap_or_default();
        let outcome = self
            .client
            .authenticate_at_bootstrap(key, &bootstrap, deadline);
        outcome.await.map_err(|source| target.not_allowed(source))
    }

    /// Checks that the bootstrap endpoint rejects a wrong secret for the same ID. Returns [`ProbeOutcome::Accepted`] if so.
    async fn probe_with_wrong_secret(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<ProbeOutcome, Error> {
        let wrong = with_wrong_secret(key);
        match self.probe_bootstrap(&wrong, target, deadline).await? {
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
    /// The number of consecutive rounds whose only failures were unreachable brokers.
    unreachable: u32,
    /// Whether a broker has rejected the key.
    was_rejected: bool,
    /// The brokers that did not accept the key when they last responded.
    not_accepted: BTreeSet<Address>,
}

impl Progress {
    /// Records a complete round, of which `last` is the most significant outcome. Returns whether the key is verified.
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
            // Forget brokers that are no longer listed, and the bootstrap endpoint, which has accepted the key.
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

    /// Returns whether the unreachable brokers may be tolerated: each of them accepted the key when it last responded, or has not
    /// responded yet. If the brokers are unknown, this applies to all.
    fn may_tolerate(&self, round: &Round) -> bool {
        if !round.has_brokers {
            return self.not_accepted.is_empty();
        }
        let mut unreachable = round.unreachable();
        unreachable.all(|broker| !self.not_accepted.contains(broker))
    }
}
