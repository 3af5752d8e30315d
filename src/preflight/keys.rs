//! Checks of the owner's keys: quota, orphaned keys and the current key.

use super::{CheckResult, Context, Finding, Outcome};
use crate::config::{CurrentKeyCheck, InitialKey};
use crate::confluent::{ApiKey, ApiKeyId, ApiKeyMetadata};
use crate::error::Error;
use crate::error::remedy::RAISE_QUOTA;
use crate::http::joined;
use crate::keys::ownership::{self, OwnershipTag};
use crate::keys::verification;
use crate::secret::{PENDING, PREVIOUS};

/// The share of a quota, in percent, from which a preflight warns.
const QUOTA_WARNING_PERCENT: u64 = 90;

impl Context<'_> {
    /// Compares the number of the owner's keys with the applied quota.
    pub(super) async fn check_quota(&self) -> Finding {
        let Some(quota) = self.resource.key_type.quota else {
            return Finding::unknown("Confluent documents no quota for keys of this type");
        };
        let owner = self.value.owner();
        let (scope, id) = quota.scope_and_id(owner);
        let limit = match self.control_plane.applied_quota(scope, id).await {
            Ok(Some(limit)) => limit,
            Ok(None) => {
                return Finding::unknown(format!("Confluent Cloud does not return the quota {id}"));
            }
            // A rotation does not require the permission to read quotas, so there is no remedy.
            Err(error) => return Finding::unknown(joined(&error)),
        };
        let keys = self
            .keys
            .iter()
            .filter(|key| key.owner.as_deref() == Some(owner));
        let used = quota.used(keys.map(|key| key.resource.as_deref()));
        let observed = format!("{owner} uses {used} of its quota of {limit} API keys ({id})");
        // createSecret first deletes the key of AWSPREVIOUS.
        let deletable = u64::from(self.labels.version_with(PREVIOUS).is_some());
        if used >= limit.saturating_add(deletable) {
            Finding::new(Outcome::Failed, observed, Some(RAISE_QUOTA))
        } else if used.saturating_mul(100) >= limit.saturating_mul(QUOTA_WARNING_PERCENT) {
            Finding::warning(observed, RAISE_QUOTA)
        } else {
            Finding::ok(observed)
        }
    }

    /// Looks for keys with this secret's ownership tag that no version contains.
    pub(super) async fn check_orphans(&self) -> Finding {
        let kept = match self.keys_in_versions().await {
            Ok(ids) => ids,
            Err(error) => return Finding::error(Outcome::Unknown, &error),
        };
        let kept: Vec<&str> = kept.iter().map(ApiKeyId::as_str).collect();
        let tag = OwnershipTag::new(&self.labels.arn, "", "");
        let orphans = ownership::find_orphans(self.keys, &tag, &kept);
        let ids: Vec<&str> = orphans.iter().map(|key| key.id.as_str()).collect();
        let remedy = "No action is required: the next rotation deletes orphaned keys";
        match ids.as_slice() {
            [] => Finding::ok("no orphaned keys"),
            ids => Finding::warning(ids.join(", "), remedy),
        }
    }

    /// Returns the IDs of the keys in the current, the previous and the pending version.
    async fn keys_in_versions(&self) -> Result<Vec<ApiKeyId>, Error> {
        let mut ids: Vec<ApiKeyId> = Vec::new();
        ids.extend(self.value.api_key().map(|key| key.id.clone()));
        for label in [PREVIOUS, PENDING] {
            let value = self.preflight.read(self.labels, label).await?;
            ids.extend(value.and_then(|value| Some(value.api_key()?.id.clone())));
        }
        Ok(ids)
    }

    /// Checks the owner and the resource of the current key. Returns its metadata if the key can be probed.
    pub(super) async fn check_current_key(&self) -> CheckResult<ApiKeyMetadata> {
        let Some(ApiKey { id, .. }) = self.value.api_key() else {
            return self.check_initial_key();
        };
        let (keys, owner) = (self.keys, self.value.owner());
        let found = self.control_plane.find(id, keys).await?;
        let is_required = self.preflight.config.current_key_check == CurrentKeyCheck::Required;
        let checked =
            verification::check_scope(id, self.value, self.resource, found.as_ref(), keys);
        let finding = match checked {
            Ok(()) => Finding::ok(format!(
                "{id} is a key of {owner} and scoped to the resource"
            )),
            Err(error) if is_required => return Err(error.into()),
            Err(error) if found.is_some() => {
                return Err(Finding::error(Outcome::Warning, &error));
            }
            // A probe with a deleted key shows whether the endpoint is reachable.
            Err(error) => Finding::error(Outcome::Warning, &error),
        };
        Ok((found.unwrap_or_default(), finding))
    }

    /// Checks whether the first rotation creates a key. The endpoint check then needs only the organization, which every key's
    /// metadata contain.
    fn check_initial_key(&self) -> CheckResult<ApiKeyMetadata> {
        if self.preflight.config.initial_key == InitialKey::Off {
            return Err(Error::InitialKeyNotAllowed.into());
        }
        let metadata = ApiKeyMetadata {
            organization: self.keys.iter().find_map(|key| key.organization.clone()),
            ..ApiKeyMetadata::default()
        };
        let observed = "the secret contains no key; the first rotation creates it";
        Ok((metadata, Finding::ok(observed)))
    }
}
