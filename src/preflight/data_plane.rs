//! Checks of the resource: its endpoint, and whether it accepts the current key.

use std::time::Duration;

use super::{CheckResult, Context, Finding, Outcome, Report};
use crate::config::{CurrentKeyCheck, KafkaVerification};
use crate::confluent::broker::Round;
use crate::confluent::{ApiKey, ApiKeyMetadata, ProbeOutcome};
use crate::error::remedy::{CONNECT_TO_ENDPOINT, CORRECT_KEY, PROPAGATION, for_probe};
use crate::error::{EndpointError, Error};
use crate::http::Deadline;
use crate::keys::target::{Scope, Target};
use crate::keys::verification::{Verification, Verifier};

/// The maximum duration of a verification. Rate-limited probes are retried until then, and an operator waits for the report.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(30);

impl Context<'_> {
    /// Determines the endpoint and verifies the current key.
    pub(super) async fn check_data_plane(&self, report: &mut Report, metadata: ApiKeyMetadata) {
        let verifier = self.preflight.invocation.verifier();
        if !verifier.can_probe(self.resource) {
            return report.stop("KEY_VERIFICATION=control-plane skips them");
        }
        let mut target = match self.target(&verifier, metadata).await {
            Ok(target) => target,
            Err(error) => {
                let finding = match (error, &self.slot.key) {
                    (Error::Endpoint(EndpointError::OrganizationUnknown), None) => {
                        Finding::not_verifiable("unknown until a key exists")
                    }
                    (error, _) => error.into(),
                };
                report.add_result::<()>("endpoint", Err(finding));
                return;
            }
        };
        let Some(key) = &self.slot.key else {
            let unknown = || Finding::not_verifiable("there is no key to verify");
            report.add("endpoint", Finding::ok(target.probe.endpoint.url.as_str()));
            report.add("brokers", unknown());
            report.add("data-plane", unknown());
            return;
        };
        let found = self.verify(&verifier, key, &mut target).await;
        let data_plane = report.add_result("endpoint", found);
        report.add(
            "brokers",
            self.check_brokers(&verifier, key, &mut target).await,
        );
        if let Some(data_plane) = data_plane {
            report.add("data-plane", data_plane);
        }
    }

    /// Returns the deadline of a verification that begins now.
    fn deadline(&self) -> Deadline {
        let deadline = self.preflight.invocation.deadline;
        deadline.within(VERIFICATION_TIMEOUT)
    }

    /// Authenticates with the current key at the brokers of a Kafka cluster, even if `KAFKA_VERIFICATION` does not require it, so
    /// that the report shows whether it could be required.
    async fn check_brokers(
        &self,
        verifier: &Verifier<'_>,
        key: &ApiKey,
        target: &mut Target<'_>,
    ) -> Finding {
        if target.bootstrap().is_none() {
            return Finding::ok("keys of this type are not verified at brokers");
        }
        let deadline = self.deadline();
        let checked = async {
            let round = verifier.round(key, target, deadline).await?;
            let checked = verifier.check_round(&round, key, target, deadline).await?;
            Ok::<_, Error>((round, checked))
        };
        let is_required =
            self.preflight.invocation.config.kafka_verification != KafkaVerification::Rest;
        let finding = match checked.await {
            Ok((round, checked)) => self.brokers_finding(&round, &checked),
            Err(error) => error.into(),
        };
        // With `rest`, a rotation does not require the brokers.
        if !is_required && finding.outcome != Outcome::Ok {
            return Finding::not_verifiable(finding.observed);
        }
        finding
    }

    /// Reports a round. `checked` is accepted if the bootstrap endpoint rejects a wrong secret or was not checked for that.
    fn brokers_finding(&self, round: &Round, checked: &ProbeOutcome) -> Finding {
        let observed = if round.has_brokers {
            let (accepted, all) = (round.accepted(), round.outcomes.len() + round.omitted);
            format!("{accepted} of {all} brokers accept the current key")
        } else {
            "the brokers are unknown".to_owned()
        };
        let unchecked = Some(checked).filter(|checked| **checked != ProbeOutcome::Accepted);
        let Some(failed) = round.failed().or(unchecked) else {
            return Finding::ok(observed);
        };
        let others = round.outcomes.iter().map(|(_, outcome)| outcome);
        let others = others.chain([checked]);
        let others = others.filter(|outcome| **outcome != ProbeOutcome::Accepted);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        let observed = format!("{observed}; {}", others.join("; "));
        let config = self.preflight.invocation.config;
        let is_tolerated = match failed {
            ProbeOutcome::BrokerUnreachable(..) => {
                config.kafka_verification == KafkaVerification::BrokersBestEffort
            }
            // With `CURRENT_KEY_CHECK=off`, a rotation does not check the current key.
            ProbeOutcome::RejectedByBroker(_) => config.current_key_check == CurrentKeyCheck::Off,
            _ => false,
        };
        let outcome = if is_tolerated {
            Outcome::Warning
        } else {
            Outcome::Failed
        };
        let rejected = match round.accepted() {
            0 => CORRECT_KEY,
            _ => PROPAGATION,
        };
        Finding::new(outcome, observed, Some(for_probe(failed, rejected)))
    }

    async fn target(
        &self,
        verifier: &Verifier<'_>,
        metadata: ApiKeyMetadata,
    ) -> Result<Target<'_>, Error> {
        let scope = Scope {
            control_plane: self.control_plane,
            slot: self.slot,
            resource: self.resource,
            metadata: Some(metadata),
            keys: Vec::new(),
        };
        // A cached endpoint would not show whether the credentials have permission to look it up.
        let target = verifier.look_up_target(scope).await?;
        let allowed = &self.preflight.invocation.confluent.http.allowed;
        let checked = allowed.check(&target.probe.endpoint.url);
        checked.map_err(|source| target.not_allowed(source))?;
        Ok(target)
    }

    /// Verifies the current key. Returns what the check `data-plane` found, and what the check `endpoint` found.
    async fn verify(
        &self,
        verifier: &Verifier<'_>,
        key: &ApiKey,
        target: &mut Target<'_>,
    ) -> CheckResult<Finding> {
        let deadline = self.deadline();
        let endpoint = Finding::ok(target.probe.endpoint.url.as_str());
        match verifier.verify_once(key, target, deadline).await {
            Ok(Verification::Verified) => Ok((
                Finding::ok("the resource accepts the current key"),
                endpoint,
            )),
            Ok(Verification::Unreachable) => {
                let endpoint = format!("{} is unreachable", target.probe.endpoint.url);
                let observed = "not verified, which KEY_VERIFICATION=best-effort allows";
                let warning = |observed| Finding::warning(observed, CONNECT_TO_ENDPOINT);
                Ok((warning(observed.to_owned()), warning(endpoint)))
            }
            Err(error @ Error::EndpointUnreachable { .. }) => Err(error.into()),
            Err(error) => Ok((self.current_key_error(error).await, endpoint)),
        }
    }
}
