//! Preflight: checks what a rotation requires, and changes nothing.
//!
//! It sends the read requests and probes of a rotation, so its findings apply to a rotation. It creates no key, so it cannot
//! check the permission to create one.

mod data_plane;
mod keys;
mod many;
mod report;
mod tokens;

use crate::confluent::{ApiKeyMetadata, KeyFilter, Resource};
use crate::error::Error;
use crate::invocation::Invocation;
use crate::keys::credentials::{ControlPlane, ManagementCredentials};
use crate::keys::deletion::Deletion;
use crate::keys::evidence::Evidence;
use crate::keys::policy::PreviousKeyPolicy;
use crate::secret::{CURRENT, PENDING, PREVIOUS, SecretMetadata, SecretValue, Slot};
use report::Finding;

pub use many::Summary;
pub use report::{CHECKS, Check, NotRun, Outcome, Report, TOKEN_CHECKS};

/// The preflight of one secret or of many.
#[derive(Debug)]
pub struct Preflight<'a> {
    /// The configuration and the clients.
    pub invocation: &'a Invocation<'a>,
}

/// What the checks of keys and endpoint require.
struct Context<'a> {
    preflight: &'a Preflight<'a>,
    secret: &'a SecretMetadata,
    value: &'a SecretValue,
    control_plane: &'a ControlPlane<'a>,
    /// The list of the owner's keys.
    keys: &'a [ApiKeyMetadata],
    /// The deletion of previous and orphaned keys, or why no key can be deleted.
    deletion: &'a Result<Deletion<'a>, String>,
    /// The slot to check, and its resource.
    slot: &'a Slot,
    resource: &'a Resource,
}

impl Context<'_> {
    /// Returns the evidence for the deletion of keys of a slot, or why no key can be deleted.
    fn evidence<'c>(
        &'c self,
        slot: &'c Slot,
        resource: &'c Resource,
    ) -> Result<(&'c Deletion<'c>, Evidence<'c>), String> {
        let deletion = self.deletion.as_ref().map_err(Clone::clone)?;
        let evidence = deletion.evidence(slot, resource, self.keys)?;
        Ok((deletion, evidence))
    }
}

const SHORTEN_OVERLAP: &str = "The next rotation ends the overlap early. Reduce OLD_KEY_HOURS or the resource tag \
                               confluent-key-rotation:old-key-hours, or rotate less often";

/// What a check found, with a value that the next checks require.
type CheckResult<T> = Result<(T, Finding), Finding>;

impl Preflight<'_> {
    /// Checks a secret. `tested` is the version that Secrets Manager creates to test the configuration without a rotation.
    pub async fn run(&self, secret_id: &str, tested: Option<&str>) -> Report {
        let mut report = Report::new(secret_id, self.invocation.access_tokens.is_some());
        if let Some(tokens) = self.invocation.access_tokens
            && !tokens::check(tokens, self.invocation.deadline, &mut report).await
        {
            return report.complete();
        }
        match self.invocation.secrets.describe(secret_id).await {
            Ok(secret) => {
                report.secret.clone_from(&secret.arn);
                report.add("secret", Finding::ok("DescribeSecret succeeded"));
                report.add("rotation", check_rotation(&secret));
                report.add("old-key-policy", self.check_policy(&secret));
                let current = report.add_result("labels", check_labels(&secret, tested));
                if let Some(version) = current {
                    self.check_current_version(&mut report, &secret, version)
                        .await;
                }
            }
            Err(error) => {
                report.add_result::<()>("secret", Err(Error::from(error).into()));
            }
        }
        report.complete()
    }

    /// Runs the remaining checks. Stops when a check does not return what the next ones require.
    async fn check_current_version(
        &self,
        report: &mut Report,
        secret: &SecretMetadata,
        version: &str,
    ) -> Option<()> {
        let value = report.add_result("value", self.check_value(secret, version).await)?;
        report.set_keys(&value);
        report.add("key-copies", check_key_copies(&value));
        let mut slots = Vec::new();
        for slot in value.slots() {
            report.set_slot(slot);
            let resource = report.add_result("key-type", check_key_type(slot));
            slots.extend(resource.map(|resource| (slot, resource)));
        }
        if slots.len() < value.slots().count() {
            return None;
        }
        let control_plane = self.check_credentials(secret, &value).await;
        let control_plane = report.add_result("management-credentials", control_plane)?;
        let keys = self.check_access(secret, &control_plane, &value).await;
        let keys = report.add_result("control-plane-access", keys)?;
        let deletion = Deletion::prepare(&control_plane, &value, secret.clone());
        let deletion = &deletion.await;
        let contexts = slots.iter().map(|(slot, resource)| Context {
            preflight: self,
            secret,
            value: &value,
            control_plane: &control_plane,
            keys: &keys,
            deletion,
            slot,
            resource,
        });
        check_keys(report, &contexts.collect::<Vec<_>>()).await;
        Some(())
    }

    /// Checks the resource tags, and that the overlap ends before the next rotation.
    fn check_policy(&self, secret: &SecretMetadata) -> Finding {
        let policy = match PreviousKeyPolicy::of(secret, self.invocation.config) {
            Ok(policy) => policy,
            Err(error) => return error.into(),
        };
        let Some(overlap) = policy.overlap() else {
            return Finding::ok(policy.policy.to_string());
        };
        let hours = policy.hours;
        let plural = if hours == 1 { "" } else { "s" };
        let observed = format!("{}, {hours} hour{plural}", policy.policy);
        match secret.dates.interval() {
            Some(interval) if interval <= overlap => {
                let observed =
                    format!("{observed}, which is not shorter than the rotation interval");
                Finding::warning(observed, SHORTEN_OVERLAP)
            }
            _ => Finding::ok(observed),
        }
    }

    async fn check_value(
        &self,
        secret: &SecretMetadata,
        version: &str,
    ) -> CheckResult<SecretValue> {
        let value = self.read(secret, CURRENT).await?;
        let value = value.ok_or_else(|| Error::VersionWithoutValue {
            label: CURRENT,
            version: version.to_owned(),
        })?;
        let finding = match value.whitespace_warnings().as_slice() {
            [] => Finding::ok("valid"),
            padded => Finding::warning(padded.join("; "), "Remove the whitespace"),
        };
        Ok((value, finding))
    }

    /// Reads the value of the version with `label`. Returns `None` if there is no such version or value.
    async fn read(
        &self,
        secret: &SecretMetadata,
        label: &'static str,
    ) -> Result<Option<SecretValue>, Error> {
        let Some(version) = secret.version_with(label) else {
            return Ok(None);
        };
        let secrets = &self.invocation.secrets;
        let value = secrets.value(&secret.arn, version, label).await?;
        let value = value.map(SecretValue::parse).transpose();
        value.map_err(|source| Error::InvalidSecretValue { label, source })
    }

    /// Lists the owner's keys.
    async fn check_access(
        &self,
        secret: &SecretMetadata,
        control_plane: &ControlPlane<'_>,
        value: &SecretValue,
    ) -> CheckResult<Vec<ApiKeyMetadata>> {
        let owner = value.owner();
        let keys = match control_plane.list(KeyFilter::of_owner(owner)).await {
            Ok(keys) => keys,
            Err(error) => {
                let previous = self.read(secret, PREVIOUS).await.ok().flatten();
                let error =
                    control_plane.explain(error, value.self_rotation_slot(), previous.as_ref());
                return Err(error.await.into());
            }
        };
        let observed =
            format!("Confluent Cloud accepts the credentials and lists the keys of {owner}");
        Ok((keys, Finding::ok(observed)))
    }

    async fn check_credentials(
        &self,
        secret: &SecretMetadata,
        value: &SecretValue,
    ) -> CheckResult<ControlPlane<'_>> {
        let own_slot = value.self_rotation_slot();
        let management = self.invocation.management_credentials(secret, value)?;
        let finding = Finding::ok(match &management {
            ManagementCredentials::AdminSecret(admin) => format!("the key of {} (from {})", admin.arn, admin.source),
            ManagementCredentials::IdentityPool(tokens) => {
                format!("access tokens of identity pool {}", tokens.identity_pool_id())
            }
            ManagementCredentials::OwnKey(..) if own_slot.resource().is_ok_and(|own| own.key_type.name == "global") => {
                "the secret's own key; Confluent does not document whether a Global API key can manage keys".to_owned()
            }
            ManagementCredentials::OwnKey(..) => "the secret's own key".to_owned(),
        });
        let created = self.invocation.control_plane(management, value).await?;
        created.ensure_can_manage_keys(own_slot).await?;
        for key in value.keys() {
            created.ensure_not_admin_key(key).await?;
        }
        Ok((created, finding))
    }
}

/// Runs the checks of each key and its resource.
async fn check_keys(report: &mut Report, contexts: &[Context<'_>]) {
    let mut metadata = Vec::new();
    for context in contexts {
        report.set_slot(context.slot);
        let found = context.check_current_key().await;
        metadata.push(report.add_result("current-key", found));
    }
    let observed = "only a rotation shows it, because it creates a key";
    report.add("create-permission", Finding::not_verifiable(observed));
    for (context, metadata) in contexts.iter().zip(metadata) {
        report.set_slot(context.slot);
        report.add("quota", context.check_quota().await);
        report.add("orphaned-keys", context.check_orphans().await);
        if let Some(metadata) = metadata {
            context.check_data_plane(report, metadata).await;
        }
    }
}

fn check_rotation(secret: &SecretMetadata) -> Finding {
    if let Err(error) = Error::ensure_not_replica(secret) {
        return error.into();
    }
    if secret.rotation_enabled {
        return Finding::ok("rotation is enabled");
    }
    let secret = secret.arn.clone();
    Finding::error(Outcome::Warning, &Error::RotationNotEnabled { secret })
}

/// Checks the staging labels. Returns the current version.
fn check_labels<'l>(secret: &'l SecretMetadata, tested: Option<&str>) -> CheckResult<&'l str> {
    let current = secret.version_with(CURRENT);
    let current = current.ok_or(Error::NoCurrentVersion)?;
    let pending = secret.version_with(PENDING);
    let finding = match pending.filter(|version| *version != current && Some(*version) != tested) {
        None => Finding::ok(format!("version {current} is labeled AWSCURRENT")),
        Some(pending) => {
            let observed = format!("version {pending} is labeled AWSPENDING");
            let remedy = "If this rotation was interrupted, resume it with RotateSecret, or remove the label";
            Finding::warning(observed, remedy)
        }
    };
    Ok((current, finding))
}

fn check_key_copies(value: &SecretValue) -> Finding {
    if let Err(source) = value.check_replaceable() {
        return Error::InvalidSecretValue {
            label: CURRENT,
            source,
        }
        .into();
    }
    let mut observed: Vec<String> = value.slots().map(|slot| stored_in(slot, value)).collect();
    if value.contains_keys() {
        let other_keys = value.other_key_paths();
        observed.extend(
            other_keys.map(|paths| format!("another key, which is not replaced, in {paths}")),
        );
        let placeholders = value.placeholder_paths();
        observed.extend(
            placeholders.map(|paths| {
                format!("placeholders, which only an initial key replaces, in {paths}")
            }),
        );
    }
    let warnings = value.copy_warnings();
    if warnings.is_empty() {
        return Finding::ok(observed.join("; "));
    }
    observed.extend(warnings);
    let remedy = "If a client reads the key from these fields, correct them";
    Finding::warning(observed.join("; "), remedy)
}

/// Returns where a rotation stores the key of a slot.
fn stored_in(slot: &Slot, value: &SecretValue) -> String {
    let copies = value.copy_paths(slot);
    let copies = copies.map_or_else(String::new, |paths| format!(", {paths}"));
    let (id, secret) = (slot.field("apiKey"), slot.field("apiSecret"));
    format!("a rotation stores the key in {id}, {secret}{copies}")
}

fn check_key_type(slot: &Slot) -> CheckResult<Resource> {
    let resource = slot.resource().map_err(Error::from)?;
    let observed = format!(
        "key type {}, resource {}",
        resource.key_type.name, resource.id
    );
    Ok((resource, Finding::ok(observed)))
}
