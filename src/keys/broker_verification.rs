//! Verification at the brokers of a Kafka cluster, where its clients authenticate.
//!
//! A round is one authentication attempt at each broker. The brokers are listed anew in each round, because they change.

use std::time::Instant;

use super::verification::{Verification, Verifier, with_wrong_secret};
use crate::config::KafkaVerification;
use crate::confluent::broker::{Bootstrap, Round};
use crate::confluent::{ApiKey, ProbeOutcome, ProbeTarget};
use crate::error::Error;
use crate::http::{self, Deadline};

/// The number of rounds after which `brokers-best-effort` tolerates unreachable brokers.
const MAX_UNREACHABLE_ROUNDS: u32 = 3;

/// The number of attempts to authenticate with the current key. The key propagated long ago.
const MAX_CURRENT_KEY_ATTEMPTS: u32 = 3;

impl Verifier<'_> {
    /// Returns the bootstrap endpoint if `KAFKA_VERIFICATION` requires brokers, and the target has brokers.
    pub(super) fn brokers<'t>(&self, target: &'t ProbeTarget<'_>) -> Option<&'t Bootstrap> {
        let bootstrap = target.bootstrap.as_ref();
        bootstrap.filter(|_| self.kafka != KafkaVerification::Rest)
    }

    /// Verifies the pending key at all brokers, until `deadline`. `probed` is the result of the probes.
    ///
    /// One round in which all brokers accept the key is sufficient, or two consecutive ones if a broker rejected it before: then,
    /// the key reaches the brokers at different times.
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
        let started = Instant::now();
        let (mut interval, mut rounds) = (self.interval, 0);
        let (mut accepted, mut unreachable, mut was_rejected) = (0, 0, false);
        loop {
            let round = self
                .client
                .authenticate_at_brokers(key, bootstrap, deadline);
            let round = round.await.map_err(|source| not_allowed(target, source))?;
            rounds += 1;
            let failed = round.failed();
            tracing::debug!(rounds, ?failed, "completed a round of the brokers");
            was_rejected |= matches!(failed, Some(ProbeOutcome::RejectedByBroker(_)));
            let is_unreachable = matches!(failed, Some(ProbeOutcome::BrokerUnreachable(..)));
            unreachable += u32::from(is_unreachable);
            let is_tolerated = self.kafka == KafkaVerification::BrokersBestEffort
                && is_unreachable
                && unreachable >= MAX_UNREACHABLE_ROUNDS;
            accepted = if failed.is_none() || is_tolerated {
                accepted + 1
            } else {
                0
            };
            let mut last = failed.cloned().unwrap_or(ProbeOutcome::Accepted);
            if accepted > u32::from(was_rejected) {
                if round.accepted() > 0 {
                    last = self
                        .reject_wrong_secret(key, target, bootstrap, deadline)
                        .await?;
                }
                if is_tolerated || last == ProbeOutcome::Accepted {
                    return Ok(self.report(&round, rounds, probed));
                }
            }
            if deadline.wait(interval).await.is_err() {
                return Err(Error::PendingKeyNotAccepted {
                    key: key.id.to_string(),
                    outcome: last,
                    elapsed: started.elapsed(),
                    probes: rounds,
                });
            }
            interval = self.next_interval(interval);
        }
    }

    /// Reports the brokers without a connection. Returns the result of the verification.
    fn report(&self, round: &Round, rounds: u32, probed: Verification) -> Verification {
        let (brokers, omitted) = (round.accepted(), round.omitted);
        let unreachable = round.unreachable();
        let count = unreachable.len() as u64;
        self.client
            .metrics()
            .count(|counts| counts.unreachable_brokers = Some(count));
        if !unreachable.is_empty() {
            let unreachable = unreachable.join(", ");
            tracing::warn!(unreachable, "did not verify the pending key at all brokers");
        }
        if brokers == 0 {
            return probed;
        }
        tracing::info!(
            brokers,
            omitted,
            probes = rounds,
            "verified the pending key at the brokers"
        );
        Verification::Verified
    }

    /// Verifies with one accepted attempt at the bootstrap endpoint, because the REST endpoint is unreachable, that the writer of
    /// the secret value possesses the current key.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyNotAccepted`] with the last outcome, [`Error::EndpointUnreachable`],
    /// [`Error::EndpointAcceptsAnyCredential`] and [`Error::EndpointNotAllowed`].
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
            let outcome = outcome
                .await
                .map_err(|source| not_allowed(target, source))?;
            let outcome = match outcome {
                ProbeOutcome::Accepted => {
                    self.reject_wrong_secret(key, target, bootstrap, deadline)
                        .await?
                }
                outcome => outcome,
            };
            if outcome == ProbeOutcome::Accepted {
                return Ok(Verification::Verified);
            }
            if attempts < MAX_CURRENT_KEY_ATTEMPTS && deadline.wait(self.interval).await.is_ok() {
                continue;
            }
            let key = key.id.to_string();
            return Err(match outcome {
                ProbeOutcome::BrokerUnreachable(broker, cause) => {
                    let cause = format!("broker {broker}: {cause}");
                    Error::EndpointUnreachable { key, cause }
                }
                outcome => Error::CurrentKeyNotAccepted { key, outcome },
            });
        }
    }

    /// Checks that the bootstrap endpoint rejects a wrong secret for the same ID, if the secret value names the endpoint. Returns
    /// [`ProbeOutcome::Accepted`] if so.
    async fn reject_wrong_secret(
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

fn not_allowed(target: &ProbeTarget<'_>, source: http::Error) -> Error {
    Error::EndpointNotAllowed {
        endpoint_source: target.endpoint_source(),
        source,
    }
}
