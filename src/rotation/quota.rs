//! Quotas: counts keys, and deletes a key of the secret if a `POST` is rejected for quota.

use super::Rotation;
use super::create_secret::{Current, CurrentKey};
use crate::config::KeyVerification;
use crate::confluent::{self, ApiKeyMetadata, ErrorKind, Resource};
use crate::error::Error;
use crate::keys::credentials::ControlPlane;
use crate::keys::deletion::Deletion;
use crate::keys::evidence::Evidence;

/// The deletion of keys to free quota. It is prepared when the first `POST` is rejected for quota, and shared by all keys of the
/// rotation, so that no key is deleted twice.
pub(super) struct QuotaCleanup<'a> {
    deletion: Deletion<'a>,
    evidence: Vec<Evidence<'a>>,
}

impl Rotation<'_> {
    /// Records the number of the owner's keys for the resource as a metric.
    pub(super) fn record_key_count(&self, current: &CurrentKey<'_>) {
        let used = count(
            &current.listed,
            &current.slot.owner,
            Some(&current.resource),
        );
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        let metrics = self.invocation.confluent.metrics();
        metrics.count(|counts| counts.resource_keys = counts.resource_keys.max(Some(used)));
    }

    /// Deletes at most one key that counts against the same quota as `key`, to free quota. Keys for other resources may count against
    /// it. Returns whether a key may have been deleted, and what happened.
    pub(super) async fn free_quota<'c>(
        &'c self,
        current: &'c Current<'_>,
        key: &CurrentKey<'_>,
        cleanup: &mut Option<Result<QuotaCleanup<'c>, String>>,
    ) -> (bool, String) {
        let prepared = match cleanup {
            Some(prepared) => prepared,
            None => cleanup.insert(self.quota_cleanup(current).await),
        };
        match prepared {
            Ok(QuotaCleanup { deletion, evidence }) => {
                let quota = key.resource.key_type.quota;
                let is_of_key = |evidence: &&Evidence<'_>| evidence.slot.prefix == key.slot.prefix;
                let shares_quota = |evidence: &&Evidence<'_>| {
                    quota.is_some() && evidence.resource.key_type.quota == quota
                };
                let own = evidence.iter().filter(is_of_key);
                let others = evidence
                    .iter()
                    .filter(|evidence| !is_of_key(evidence) && shares_quota(evidence));
                let slots: Vec<&Evidence<'_>> = own.chain(others).collect();
                deletion.free_quota(&self.event.token, &slots).await
            }
            Err(reason) => (false, format!("no key was deleted, because {reason}")),
        }
    }

    /// Prepares the deletion of keys to free quota.
    async fn quota_cleanup<'c>(
        &'c self,
        current: &'c Current<'_>,
    ) -> Result<QuotaCleanup<'c>, String> {
        let Current {
            control_plane,
            value,
            secret,
            ..
        } = current;
        let secret = (*secret).clone();
        let deletion = Deletion::prepare(control_plane, value, secret).await;
        let collected = deletion.and_then(|deletion| {
            let (mut evidence, mut problem) = (Vec::new(), None);
            for key in &current.keys {
                match deletion.evidence(key.slot, &key.resource, &key.listed) {
                    Ok(mut of_slot) => {
                        of_slot.may_free_quota = self.is_verified_for_deletion(key);
                        evidence.push(of_slot);
                    }
                    Err(reason) => problem = Some(reason),
                }
            }
            match problem.filter(|_| evidence.is_empty()) {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(QuotaCleanup { deletion, evidence }),
            }
        });
        collected.inspect_err(|reason| {
            tracing::warn!(reason, "kept all keys of the secret");
            self.invocation
                .confluent
                .metrics()
                .count(|counts| counts.kept += 1);
        })
    }

    /// Returns whether the current key is verified, so that keys other than orphans of this version may be deleted.
    fn is_verified_for_deletion(&self, current: &CurrentKey<'_>) -> bool {
        let is_aged = || {
            let id = self.key_to_check(current.slot).map(|key| key.id.as_str());
            let listed = current
                .listed
                .iter()
                .find(|key| Some(key.id.as_str()) == id);
            listed.is_some_and(|key| {
                let remaining = self
                    .invocation
                    .verifier()
                    .remaining_age(key, &current.resource);
                remaining.is_zero()
            })
        };
        let is_probed = self.invocation.config.key_verification != KeyVerification::ControlPlane;
        current.is_verified || (!is_probed && is_aged())
    }
}

/// Counts the keys of `owner`, or only those for `resource`. Every list also contains Confluent's internal keys, which have no owner.
fn count(keys: &[ApiKeyMetadata], owner: &str, resource: Option<&Resource>) -> usize {
    let is_counted = |key: &&ApiKeyMetadata| {
        key.owner.as_deref() == Some(owner)
            && resource.is_none_or(|resource| {
                resource.matches(key.resource.as_deref(), key.environment.as_deref())
            })
    };
    keys.iter().filter(is_counted).count()
}

/// Adds the numbers of keys, and what was done to free quota, to the error of a `POST` that exceeded a quota. Lists all keys of the
/// owner, because those for other resources use the same quota.
pub(super) async fn quota_exceeded(
    control_plane: &ControlPlane<'_>,
    current: &CurrentKey<'_>,
    cleanup: String,
    source: confluent::Error,
) -> Error {
    let owner = current.slot.owner.as_str();
    let of_resource = count(&current.listed, owner, Some(&current.resource));
    let listed = control_plane.all_keys(current.filter()).await;
    let keys = if listed.is_none() && current.filter().without_resource().is_some() {
        format!("API keys scoped to this resource: {of_resource}")
    } else {
        let all = count(listed.as_deref().unwrap_or(&current.listed), owner, None);
        format!("{all} API keys, {of_resource} of them scoped to this resource")
    };
    Error::QuotaExceeded {
        owner: owner.to_owned(),
        keys: keys.into(),
        cleanup,
        source,
    }
}

pub(super) fn is_quota_exceeded(error: &Error) -> bool {
    let Error::Confluent(source) = error else {
        return false;
    };
    source.kind() == Some(ErrorKind::QuotaExceeded)
}
