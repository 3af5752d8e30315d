//! Checks of the owner's keys: quota, orphaned keys and the current key.

use super::{CheckResult, Context, Finding, Outcome};
use crate::config::{CurrentKeyCheck, InitialKey};
use crate::confluent::{ApiKey, ApiKeyMetadata};
use crate::error::Error;
use crate::error::remedy::RAISE_QUOTA;
use crate::keys::verification;
use crate::secret::PREVIOUS;

/// The share of a quota, in percent, from which a preflight warns.
const QUOTA_WARNING_PERCENT: u64 = 90;

impl Context<'_> {
    /// Compares the number of the owner's keys with the applied quota.
    pub(super) async fn check_quota(&self) -> Finding {
        let Some(quota) = self.resource.key_type.quota else {
            return Finding::not_verifiable("Confluent documents no quota for keys of this type");
        };
        let owner = self.value.owner();
        let (scope, id) = quota.scope_and_id(owner);
        let control_plane = self.control_plane;
        let limit = control_plane.send(async |c, key| c.applied_quota(key, scope, id).await);
        let limit = limit.await;
        let limit = match limit.map_err(|error| (error.name(), Finding::from(error))) {
            Ok(Some(limit)) => limit,
            Err((_, finding)) if finding.outcome == Outcome::Unknown => return finding,
            // A rotation does not read quotas, so there is no remedy.
            Err(("RequestBlocked", _)) => {
                let blocker = "a proxy, a firewall or an IP filter";
                return Finding::not_verifiable(format!(
                    "{blocker} blocks requests for the quota {id}"
                ));
            }
            _ => {
                let observed = format!(
                    "Confluent Cloud does not return the quota {id} to the management credentials"
                );
                return Finding::not_verifiable(observed);
            }
        };
        let keys = self
            .keys
            .iter()
            .filter(|key| key.owner.as_deref() == Some(owner));
        let used = quota.used(keys.map(|key| key.resource.as_deref()));
        let plural = if limit == 1 { "" } else { "s" };
        let observed =
            format!("{owner} uses {used} of its quota of {limit} API key{plural} ({id})");
        let (created, deleted) = self.count_created_and_deleted();
        if used.saturating_add(created) > limit.saturating_add(deleted) {
            Finding::new(Outcome::Failed, observed, Some(RAISE_QUOTA))
        } else if used.saturating_mul(100) >= limit.saturating_mul(QUOTA_WARNING_PERCENT) {
            Finding::warning(observed, RAISE_QUOTA)
        } else {
            Finding::ok(observed)
        }
    }

    /// Returns how many keys a rotation creates that use the same quota, and how many keys createSecret may delete if the quota is
    /// full: at most one for each key that it creates.
    fn count_created_and_deleted(&self) -> (u64, u64) {
        let quota = self.resource.key_type.quota;
        let resources = self.value.slots().filter_map(|slot| {
            let resource = slot.resource().ok()?;
            (resource.key_type.quota == quota).then_some((slot, resource))
        });
        let is_checked =
            self.preflight.invocation.config.current_key_check == CurrentKeyCheck::Required;
        let (mut created, mut deletable) = (0, 0);
        for (slot, resource) in resources {
            created += 1;
            if let Ok((deletion, evidence)) = self.evidence(slot, &resource)
                && is_checked
            {
                deletable += deletion.count_deletable(&evidence);
            }
        }
        let deleted = u64::try_from(deletable).unwrap_or(u64::MAX);
        (created, deleted.min(created))
    }

    /// Looks for orphaned keys, and for keys that the rule for deletion keeps.
    pub(super) async fn check_orphans(&self) -> Finding {
        let (deletion, evidence) = match self.evidence(self.slot, self.resource) {
            Ok(evidence) => evidence,
            Err(_) if self.slot.key.is_none() => {
                return Finding::ok("no key is deleted before there is a current key");
            }
            Err(reason) => {
                let observed = format!("no key can be deleted: {reason}");
                let remedy = "Resolve this, so that previous and orphaned keys are deleted";
                return Finding::warning(observed, remedy);
            }
        };
        let (orphans, kept) = deletion.orphaned_and_kept(&evidence).await;
        let remedy = match (orphans.as_slice(), kept.as_slice()) {
            ([], []) => return Finding::ok("no orphaned keys"),
            (_, []) => "No action is required: the next rotation deletes orphaned keys",
            _ => "If no application uses a kept key, delete it manually",
        };
        let orphans = orphans.into_iter().map(|id| format!("{id} is orphaned"));
        let observed: Vec<String> = orphans.chain(kept).collect();
        Finding::warning(observed.join("; "), remedy)
    }

    /// Checks the owner and the resource of the current key. Returns its metadata if the key can be probed.
    pub(super) async fn check_current_key(&self) -> CheckResult<ApiKeyMetadata> {
        let Some(ApiKey { id, .. }) = &self.slot.key else {
            return Ok(self.check_initial_key());
        };
        let (keys, owner) = (self.keys, self.value.owner());
        let found = self.control_plane.find(id, keys).await?;
        let metadata = found.as_ref();
        let scope = verification::check_scope(id, self.slot, self.resource, metadata, keys);
        let Err(error) = scope else {
            let observed = format!("{id} is a key of {owner} and scoped to the resource");
            return Ok((found.unwrap_or_default(), Finding::ok(observed)));
        };
        let finding = self.current_key_error(error).await;
        match (found, self.preflight.invocation.config.current_key_check) {
            // A probe with a deleted key shows whether the endpoint is reachable.
            (None, CurrentKeyCheck::Off) => Ok((ApiKeyMetadata::default(), finding)),
            _ => Err(finding),
        }
    }

    /// Reports an error of the current key, which fails a rotation only if the key is checked.
    pub(super) async fn current_key_error(&self, error: Error) -> Finding {
        let previous = self.preflight.read(self.secret, PREVIOUS).await;
        let previous = previous.ok().flatten();
        let previous = previous
            .as_ref()
            .and_then(|value| value.slot(&self.slot.prefix));
        let error = error.with_previous_key(previous, self.keys);
        match self.preflight.invocation.config.current_key_check {
            CurrentKeyCheck::Required => error.into(),
            CurrentKeyCheck::Off => Finding::error(Outcome::Warning, &error),
        }
    }

    /// Checks whether the next rotation creates the initial key. The organization for the probe comes from any listed key of the
    /// owner.
    fn check_initial_key(&self) -> (ApiKeyMetadata, Finding) {
        let metadata = ApiKeyMetadata {
            organization: self.keys.iter().find_map(|key| key.organization.clone()),
            ..ApiKeyMetadata::default()
        };
        let finding = match self.preflight.invocation.config.initial_key {
            InitialKey::Off => {
                let fields = self.slot.key_fields();
                let error = Error::InitialKeyNotAllowed { fields };
                error.with_other_keys(self.value).into()
            }
            InitialKey::Allow => {
                match Error::ensure_no_listed_key(self.value, self.slot, self.keys) {
                    Ok(()) => Finding::ok("there is no key; the next rotation creates it"),
                    Err(error) => error.into(),
                }
            }
        };
        (metadata, finding)
    }
}
