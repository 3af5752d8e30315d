//! `retire`: deletes the previous keys that are due under the policy `delete-after`.
//!
//! An Amazon `EventBridge` rule sends the event every hour. The event contains no state and no number of hours: each run decides from
//! staging labels, dates and Confluent's list of keys, so a missed run does no harm.

use serde::Serialize;
use tracing::Instrument;

use super::findings::{Finding, RETIRE_WINDOW, count, findings, has_passed, overlap_start};
use crate::config::Config;
use crate::confluent::{ApiKey, ApiKeyMetadata, Resource};
use crate::error::{Error, first_error};
use crate::event::SecretSelection;
use crate::http::Deadline;
use crate::invocation::Invocation;
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::deletion::Deletion;
use crate::keys::evidence::Evidence;
use crate::keys::policy::PreviousKeyPolicy;
use crate::keys::target::Scope;
use crate::keys::verification::{self, Verification};
use crate::secret::{CURRENT, PREVIOUS, SecretMetadata, SecretValue, Slot, now, process_each};

/// What happened to the keys of a secret, in log messages.
const NOT_DUE: &str = "no key is due for deletion";
const PROCESSED: &str = "processed the previous and orphaned keys";
const KEPT: &str = "kept all keys of the secret";

/// A run of the scheduled deletion.
#[derive(Debug)]
pub struct Retire<'a> {
    /// The configuration and the clients.
    pub invocation: &'a Invocation<'a>,
}

/// The result of a run in which no secret failed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetireReport {
    /// The number of candidates, or of `SecretIds`.
    pub secrets: usize,
    /// The previous keys that were deleted.
    pub previous_keys_deleted: u64,
    /// The orphaned keys that were deleted.
    pub orphaned_keys_deleted: u64,
    /// The secrets for which no time was left.
    pub not_processed: usize,
}

/// A current key, and what Confluent Cloud returns about it.
struct CurrentKey<'a> {
    control_plane: &'a ControlPlane<'a>,
    slot: &'a Slot,
    key: &'a ApiKey,
    resource: Resource,
    /// The listed keys of the owner.
    listed: Vec<ApiKeyMetadata>,
    metadata: ApiKeyMetadata,
}

impl Retire<'_> {
    /// Deletes the previous keys that are due: of the fleet, or of the secrets that the event names. An error for one secret does
    /// not stop the run.
    ///
    /// # Errors
    /// Returns [`Error::RetireFailed`] if an error occurred for a secret, and an error if the fleet cannot be listed.
    pub async fn run(&self, selection: &SecretSelection) -> Result<RetireReport, Error> {
        let ids = match selection {
            SecretSelection::Ids(ids) => ids.clone(),
            SecretSelection::All => {
                let fleet = self.invocation.fleet().await?;
                self.report_findings(&fleet);
                candidates(&fleet, self.invocation.config, now())
            }
        };
        let secrets = ids.len();
        let processed = process_each(ids, self.invocation.deadline, async |id, deadline| {
            self.process_secret(id, deadline).await
        });
        let processed = processed.await;
        let count = |result| {
            processed
                .iter()
                .filter(|(_, other)| *other == result)
                .count()
        };
        let (failed, not_processed) = (count(Some(false)), count(None));
        let counts = self.invocation.confluent.metrics().counts();
        let (previous_keys_deleted, orphaned_keys_deleted) = (counts.previous_keys, counts.orphans);
        tracing::info!(
            secrets,
            failed,
            not_processed,
            previous_keys_deleted,
            orphaned_keys_deleted,
            "scheduled deletion"
        );
        if failed > 0 {
            return Err(Error::RetireFailed { failed, secrets });
        }
        Ok(RetireReport {
            secrets,
            previous_keys_deleted,
            orphaned_keys_deleted,
            not_processed,
        })
    }

    /// Logs one line per secret with findings, and counts the fleet.
    fn report_findings(&self, fleet: &[SecretMetadata]) {
        let now = now();
        let found = fleet
            .iter()
            .map(|secret| findings(secret, self.invocation.config, now));
        let found: Vec<Vec<Finding>> = found.collect();
        for (secret, findings) in fleet.iter().zip(&found) {
            if !findings.is_empty() {
                let names: Vec<String> = findings.iter().map(Finding::to_string).collect();
                let findings = names.join(", ");
                tracing::warn!(secret_id = secret.arn, findings, "secret with findings");
            }
        }
        let metrics = self.invocation.confluent.metrics();
        metrics.count(|counts| counts.fleet = Some(count(&found)));
    }

    /// Processes one secret and logs the result. Returns whether there was no error.
    async fn process_secret(&self, id: &str, deadline: Deadline) -> bool {
        let retire = Retire {
            invocation: &self.invocation.with_deadline(deadline),
        };
        let result = retire.delete_if_due(id).await;
        match &result {
            Ok(message) => tracing::info!("{message}"),
            Err(error) => {
                let (error_type, message) = (error.name(), error.message());
                tracing::error!(error_type, "{message}");
            }
        }
        result.is_ok()
    }

    /// Deletes the previous and orphaned keys of one secret if they are due. Returns a message for the log.
    async fn delete_if_due(&self, id: &str) -> Result<&'static str, Error> {
        let secret = self.invocation.secrets.describe(id).await?;
        Error::ensure_not_replica(&secret)?;
        if !secret.names_function(self.invocation.function_arn) {
            let secret = secret.arn;
            return Err(Error::AnotherRotationFunction { secret });
        }
        if secret.is_scheduled_for_deletion {
            return Ok("kept the previous key: the secret is scheduled for deletion");
        }
        if !secret.rotation_enabled {
            return Ok("kept the previous key: rotation is not enabled");
        }
        if secret.pending_version().is_some() {
            return Ok("kept the previous key: a rotation is in progress");
        }
        let policy = PreviousKeyPolicy::of(&secret, self.invocation.config)?;
        let Some(overlap) = policy.overlap() else {
            return Ok("kept the previous key: the policy is not delete-after");
        };
        let (value, created_at) = match self.current_value(&secret).await {
            Ok(current) => current,
            Err(error) => {
                // AWSCURRENT may have moved after the labels were read.
                let now = self.invocation.secrets.describe(id).await?;
                return if now.has_same_state_as(&secret) {
                    Err(error)
                } else {
                    Ok("kept the previous key: a staging label has moved")
                };
            }
        };
        let start = overlap_start(&secret.dates).zip(created_at);
        let start = start.map(|(start, created_at)| start.max(created_at));
        if !has_passed(start, overlap, now()) {
            return Ok("kept the previous key: it is not due");
        }
        self.delete_due(secret, value).await
    }

    /// Deletes the previous and orphaned keys, which are due, of each slot whose current key is verified.
    async fn delete_due(
        &self,
        secret: SecretMetadata,
        value: SecretValue,
    ) -> Result<&'static str, Error> {
        let value = &value;
        let control_plane = &self.control_plane(&secret, value).await?;
        let mut listed = Vec::new();
        for (slot, key) in value.filled_slots() {
            let current = Self::list_keys(control_plane, slot, key);
            let current = current.instrument(slot.span()).await;
            listed.push(current.map_err(|error| error.with_key(slot, value)));
        }
        let deletion = Deletion::prepare(control_plane, value, secret);
        let (message, mut result) = match deletion.await {
            Ok(mut deletion) => self.process_keys(&mut deletion, &listed, value).await,
            Err(reason) => {
                tracing::warn!(reason, "{KEPT}");
                self.invocation
                    .confluent
                    .metrics()
                    .count(|counts| counts.kept += 1);
                (KEPT, Ok(()))
            }
        };
        for error in listed.into_iter().filter_map(Result::err) {
            result = first_error(result, Err(error));
        }
        result.map(|()| message)
    }

    /// Deletes the previous and orphaned keys of each slot whose keys were listed. Returns a message for the log, and the first error.
    async fn process_keys(
        &self,
        deletion: &mut Deletion<'_>,
        listed: &[Result<CurrentKey<'_>, Error>],
        value: &SecretValue,
    ) -> (&'static str, Result<(), Error>) {
        let with_evidence = listed.iter().flatten().map(|current| {
            let CurrentKey {
                slot,
                resource,
                listed,
                ..
            } = current;
            (current, deletion.evidence(slot, resource, listed))
        });
        let with_evidence: Vec<_> = with_evidence.collect();
        let (mut messages, mut result) = (Vec::new(), Ok(()));
        for (current, evidence) in with_evidence {
            let processed = async {
                match evidence {
                    Ok(evidence) => self.process_key(deletion, current, &evidence).await,
                    Err(reason) => {
                        deletion.keep_keys_of_slot(reason);
                        Ok(KEPT)
                    }
                }
            };
            match processed.instrument(current.slot.span()).await {
                Ok(message) => messages.push(message),
                Err(error) => {
                    result = first_error(result, Err(error.with_key(current.slot, value)));
                }
            }
        }
        let mut ordered = [PROCESSED, KEPT].into_iter();
        let message = ordered.find(|message| messages.contains(message));
        (message.unwrap_or(NOT_DUE), result)
    }

    /// Deletes the previous and orphaned keys of a slot, once the current key is verified. Returns a message for the log.
    async fn process_key(
        &self,
        deletion: &mut Deletion<'_>,
        current: &CurrentKey<'_>,
        evidence: &Evidence<'_>,
    ) -> Result<&'static str, Error> {
        if !deletion.has_candidates(evidence) {
            return Ok(NOT_DUE);
        }
        if let Err(reason) = self.verify(current).await? {
            deletion.keep_keys_of_slot(reason);
            return Ok(KEPT);
        }
        deletion.delete_replaced(evidence, true).await?;
        Ok(PROCESSED)
    }

    /// Lists the keys of a slot's owner, and checks that the current key is one of them.
    async fn list_keys<'s>(
        control_plane: &'s ControlPlane<'s>,
        slot: &'s Slot,
        key: &'s ApiKey,
    ) -> Result<CurrentKey<'s>, Error> {
        let resource = slot.resource()?;
        let filter = key_filter(slot, &resource);
        let listed = control_plane.list(filter).await?;
        let metadata = control_plane.find(&key.id, &listed).await?;
        let all = match metadata {
            Some(_) => None,
            None => control_plane.all_keys(filter).await,
        };
        let keys = all.as_deref().unwrap_or(&listed);
        verification::check_scope(&key.id, slot, &resource, metadata.as_ref(), keys)?;
        Ok(CurrentKey {
            control_plane,
            slot,
            key,
            metadata: metadata.unwrap_or_default(),
            resource,
            listed,
        })
    }

    /// Reads the current value and its `CreatedDate`.
    async fn current_value(
        &self,
        secret: &SecretMetadata,
    ) -> Result<(SecretValue, Option<i64>), Error> {
        let version = secret
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let secrets = &self.invocation.secrets;
        let current = secrets.version(&secret.arn, version, CURRENT).await?;
        let current = current.ok_or_else(|| Error::VersionWithoutValue {
            label: CURRENT,
            version: version.to_owned(),
        })?;
        let label = CURRENT;
        let value = SecretValue::parse(current.value)
            .map_err(|source| Error::InvalidSecretValue { label, source })?;
        Ok((value, current.created_at))
    }

    async fn control_plane(
        &self,
        secret: &SecretMetadata,
        value: &SecretValue,
    ) -> Result<ControlPlane<'_>, Error> {
        if !value.contains_keys() {
            let (label, fields) = (CURRENT, value.main().key_fields());
            return Err(Error::VersionWithoutKey { label, fields });
        }
        let own_slot = value.self_rotation_slot();
        let management = self.invocation.management_credentials(secret, value)?;
        let control_plane = self.invocation.control_plane(management, value).await?;
        control_plane.ensure_can_manage_keys(own_slot).await?;
        Ok(control_plane)
    }

    /// Verifies the current key, regardless of `CURRENT_KEY_CHECK`: after a deletion, it is the only key for its resource. Returns the
    /// reason if it cannot be verified.
    async fn verify(&self, current: &CurrentKey<'_>) -> Result<Result<(), &'static str>, Error> {
        let verifier = self.invocation.verifier();
        let (metadata, resource) = (&current.metadata, &current.resource);
        if !verifier.can_probe(resource) {
            let is_aged = verifier.remaining_age(metadata, resource).is_zero();
            let reason = "the current key has not reached its minimum age";
            return Ok(is_aged.then_some(()).ok_or(reason));
        }
        let scope = Scope {
            control_plane: current.control_plane,
            slot: current.slot,
            resource,
            metadata: Some(metadata.clone()),
            keys: Vec::new(),
        };
        let mut target = verifier.target(scope).await?;
        let outcome = verifier.verify_once(current.key, &mut target, self.invocation.deadline);
        Ok(match outcome.await? {
            Verification::Verified => Ok(()),
            Verification::Unreachable => Err("the endpoint of the current key is unreachable"),
        })
    }
}

/// Returns the secrets whose previous or orphaned keys may be due, according to `ListSecrets`: those with `AWSPREVIOUS` before the
/// others, and in each group the earliest due first.
fn candidates(fleet: &[SecretMetadata], config: &Config, now: i64) -> Vec<String> {
    let candidate = |secret: &SecretMetadata| {
        if !secret.rotation_enabled || secret.pending_version().is_some() {
            return None;
        }
        let overlap = PreviousKeyPolicy::of(secret, config).ok()?.overlap()?;
        let start = overlap_start(&secret.dates)?;
        let is_due = has_passed(Some(start), overlap, now)
            && !has_passed(Some(start), overlap + RETIRE_WINDOW, now);
        let has_previous = secret.version_with(PREVIOUS).is_some();
        let due_at = start.saturating_add_unsigned(overlap.as_secs());
        is_due.then(|| (!has_previous, due_at, secret.arn.clone()))
    };
    let mut candidates: Vec<_> = fleet.iter().filter_map(candidate).collect();
    candidates.sort();
    candidates.into_iter().map(|(_, _, arn)| arn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::PENDING;

    const HOUR: i64 = 3600;

    /// A secret that was rotated `hours` ago.
    fn secret(arn: &str, hours: i64) -> SecretMetadata {
        let mut secret = SecretMetadata::default().with("current", CURRENT);
        arn.clone_into(&mut secret.arn);
        secret.rotation_enabled = true;
        secret.dates.last_changed = Some(-hours * HOUR);
        secret.dates.last_rotated = Some(-hours * HOUR);
        secret
    }

    #[test]
    fn the_earliest_due_secrets_with_a_previous_key_come_first() {
        let config = Config::read(|name| {
            let set = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
            set.contains(&name).then(|| "example".to_owned())
        });
        let with_previous = |arn, hours| secret(arn, hours).with("previous", PREVIOUS);
        let fleet = [
            secret("fifth", 50),
            with_previous("third", 26),
            with_previous("not due", 23),
            with_previous("first", 60),
            with_previous("too late", 72),
            with_previous("pending", 30).with("pending", PENDING),
            with_previous("second", 40),
            secret("fourth", 55),
        ];

        let candidates = candidates(&fleet, &config.unwrap(), 0);

        assert_eq!(candidates, ["first", "second", "third", "fourth", "fifth"]);
    }
}
