//! Checks everything that a rotation needs, and changes nothing.
//!
//! It asks what a rotation asks, in the same way, so that what it finds is what a rotation would find. Nothing is
//! made, deleted or written; whether a key could be made is therefore not known, and is said not to be.

mod report;

use std::time::Duration;

use crate::config::{Config, CurrentKeyCheck, FirstKey};
use crate::confluent::{self, Confluent, Listed, Target, Verdict};
use crate::credential::{ApiKey, ApiKeyId};
use crate::deadline::Deadline;
use crate::document::Document;
use crate::error::{Error, joined};
use crate::proof::{self, Proof, Prover};
use crate::refusal::Meaning;
use crate::resource::Resource;
use crate::signer::{self, Signer};
use crate::store::{CURRENT, Labels, PENDING, PREVIOUS, Store};
use crate::sweep::{self, Mark};

use Outcome::{Failed, Ok as Fine, Unknown, Warning};
pub use report::{CHECKS, Check, Outcome, Report};

/// What a preflight works with.
#[derive(Debug)]
pub struct Preflight<'a> {
    /// The function's configuration.
    pub config: &'a Config,
    /// Secrets Manager.
    pub store: &'a Store,
    /// Confluent Cloud.
    pub confluent: &'a Confluent,
    /// When the invocation must have ended.
    pub deadline: Deadline,
}

/// The names of the checks that two functions fill in.
const ENDPOINT: &str = "endpoint";
const ACCEPTANCE: &str = "acceptance";

/// How long the current key is tried, at an endpoint that is asked too often. A person waits for the report.
const TO_TRY: Duration = Duration::from_secs(30);

/// This share of a quota, in percent, is worth a warning.
const MUCH: u64 = 90;

impl Preflight<'_> {
    /// Checks the secret. `tested` is the version that a test without a rotation has staged, which is nobody's
    /// rotation.
    pub async fn run(&self, secret_id: &str, tested: Option<&str>) -> Report {
        let mut report = Report::new(secret_id);
        match self.store.describe(secret_id).await {
            Ok(labels) => {
                report.secret.clone_from(&labels.arn);
                report.add("secret", Fine, "it can be described", None);
                self.check_secret(&mut report, &labels, tested).await;
            }
            Err(error) => report.add_error("secret", Failed, &error.into()),
        }
        report.complete()
    }

    async fn check_secret(&self, report: &mut Report, labels: &Labels, tested: Option<&str>) {
        check_rotation(report, labels);
        check_labels(report, labels, tested);
        let Some(document) = self.check_value(report, labels).await else {
            return;
        };
        check_aliases(report, &document);
        let resource = Resource::new(document.resource_id(), document.environment_id());
        let resource = match resource {
            Ok(resource) => {
                let (kind, id) = (resource.kind.name, &resource.id);
                report.add("kind", Fine, format!("{kind}, {id}"), None);
                resource
            }
            Err(error) => return report.add_error("kind", Failed, &error.into()),
        };
        let Some(signer) = self.check_signer(report, labels, &document).await else {
            return;
        };
        let keys = signer.list(document.owner()).await;
        let keys = match keys {
            Ok(keys) => {
                report.add("credential", Fine, "the key that signs is accepted", None);
                keys
            }
            Err(error) => return report.add_error("credential", outcome_of(&error), &error),
        };
        check_owner(report, &signer, document.owner(), &keys).await;
        let may_free_one = labels.version_with(PREVIOUS).is_some();
        check_quota(report, &signer, &document, &resource, &keys, may_free_one).await;
        let seen = "the key that signs may list the owner's keys; whether it may make one is not known before it does";
        report.add("creation", Unknown, seen, None);
        self.check_left_over(report, labels, &document, &keys).await;
        let may_be_tried = self
            .check_current_key(report, &signer, &document, &resource, &keys)
            .await;
        if let Some(listed) = may_be_tried {
            self.check_endpoint(report, &signer, &document, &resource, listed)
                .await;
        }
    }

    async fn check_value(&self, report: &mut Report, labels: &Labels) -> Option<Document> {
        let version = labels.version_with(CURRENT)?;
        let value = self.store.value(&labels.arn, version, CURRENT).await;
        let document = match value {
            Ok(Some(value)) => Document::parse(value).map_err(|source| Error::SecretValue {
                label: CURRENT,
                source,
            }),
            Ok(None) => Err(Error::VersionWithoutValue {
                label: CURRENT,
                version: version.to_owned(),
            }),
            Err(error) => Err(error.into()),
        };
        match document {
            Ok(document) => {
                let padded = document.padded();
                if padded.is_empty() {
                    report.add("value", Fine, "it is well formed", None);
                } else {
                    report.add("value", Warning, padded.join("; "), Some("Remove it"));
                }
                Some(document)
            }
            Err(error) => {
                report.add_error("value", Failed, &error);
                None
            }
        }
    }

    async fn check_signer(
        &self,
        report: &mut Report,
        labels: &Labels,
        document: &Document,
    ) -> Option<Signer<'_>> {
        let configured = self.config.admin_secret_arn.as_deref();
        let admin = match signer::admin_secret(labels, document, configured) {
            Ok(admin) => admin,
            Err(error) => {
                report.add_error("signer", Failed, &error);
                return None;
            }
        };
        let who = match &admin {
            Some(admin) => format!(
                "the key of the admin secret {}, which {} names",
                admin.arn, admin.named_by
            ),
            None => "the secret's own key".to_owned(),
        };
        match Signer::new(self.confluent, self.store, admin, None, document.api_key()).await {
            Ok(signer) => {
                report.add("signer", Fine, who, None);
                Some(signer)
            }
            Err(error) => {
                report.add_error("signer", Failed, &error);
                None
            }
        }
    }

    /// Checks that the current key is the owner's and for the resource. Returns how Confluent describes it, unless it
    /// must not be sent to the resource.
    async fn check_current_key(
        &self,
        report: &mut Report,
        signer: &Signer<'_>,
        document: &Document,
        resource: &Resource,
        keys: &[Listed],
    ) -> Option<Listed> {
        const NAME: &str = "current-key";
        let Some(ApiKey { id, .. }) = document.api_key() else {
            match self.config.first_key {
                FirstKey::Off => report.add_error(NAME, Failed, &Error::NoKeyYet),
                FirstKey::Allow => {
                    report.add(NAME, Fine, "none yet: the first rotation makes it", None);
                }
            }
            // The organization, which every key tells, is all that the endpoint needs of one.
            let organization = keys.iter().find_map(|key| key.organization.clone());
            return Some(Listed {
                organization,
                ..Listed::default()
            });
        };
        let listed = match signer.find(id, keys).await {
            Ok(listed) => listed,
            Err(error) => {
                report.add_error(NAME, outcome_of(&error), &error);
                return None;
            }
        };
        let checked = proof::check_listed(id, document, resource, listed.as_ref(), keys);
        let is_off = self.config.current_key_check == CurrentKeyCheck::Off;
        match checked {
            Ok(()) => {
                let seen = format!("{id} is the owner's, for the resource that the secret names");
                report.add(NAME, Fine, seen, None);
                listed
            }
            Err(error) => {
                report.add_error(NAME, if is_off { Warning } else { Failed }, &error);
                // A dead key may be tried all the same: it shows whether the endpoint is in reach.
                (is_off && listed.is_none()).then(Listed::default)
            }
        }
    }

    /// Looks for keys that bear our mark and that no version names.
    async fn check_left_over(
        &self,
        report: &mut Report,
        labels: &Labels,
        document: &Document,
        keys: &[Listed],
    ) {
        const NAME: &str = "left-over-keys";
        let mut named: Vec<ApiKeyId> = document
            .api_key()
            .map(|key| key.id.clone())
            .into_iter()
            .collect();
        for label in [PREVIOUS, PENDING] {
            let Some(version) = labels.version_with(label) else {
                continue;
            };
            match self.store.value(&labels.arn, version, label).await {
                Ok(None) => {}
                Ok(Some(value)) => match Document::parse(value) {
                    Ok(value) => named.extend(value.api_key().map(|key| key.id.clone())),
                    Err(source) => {
                        let error = Error::SecretValue { label, source };
                        return report.add_error(NAME, Unknown, &error);
                    }
                },
                Err(error) => return report.add_error(NAME, Unknown, &error.into()),
            }
        }
        let named: Vec<&str> = named.iter().map(ApiKeyId::as_str).collect();
        let left_over = sweep::of_secret(keys, &Mark::new(&labels.arn, "", ""), &named);
        if left_over.is_empty() {
            return report.add(NAME, Fine, "none", None);
        }
        let ids: Vec<&str> = left_over.iter().map(|key| key.id.as_str()).collect();
        let remedy = "Nothing is to be done: the next rotation deletes them";
        report.add(NAME, Warning, ids.join(", "), Some(remedy));
    }

    /// Finds the endpoint, and tries the current key there.
    async fn check_endpoint(
        &self,
        report: &mut Report,
        signer: &Signer<'_>,
        document: &Document,
        resource: &Resource,
        listed: Listed,
    ) {
        let prover = Prover::new(self.confluent, self.config);
        if !prover.tries(resource) {
            let seen = "not asked: KEY_VERIFICATION=control-plane";
            report.add(ENDPOINT, Fine, seen, None);
            return report.add(ACCEPTANCE, Fine, seen, None);
        }
        let (confluent, listed) = (self.confluent, Some(listed));
        let found = proof::target(confluent, signer, document, resource, listed, &[], None).await;
        let checked = found.and_then(|target| match confluent.check_host(&target.endpoint) {
            Ok(()) => Ok(target),
            Err(source) => Err(Error::EndpointNotAllowed {
                source_of_it: target.source_of_endpoint(),
                source,
            }),
        });
        match (checked, document.api_key()) {
            (Ok(target), Some(key)) => self.check_acceptance(report, prover, key, &target).await,
            (Ok(target), None) => {
                report.add(ENDPOINT, Fine, target.endpoint.as_str(), None);
                report.add(ACCEPTANCE, Unknown, "there is no key to try yet", None);
            }
            (Err(Error::OrganizationUnknown), None) => {
                let seen = "not known before there is a key";
                report.add(ENDPOINT, Unknown, seen, None);
            }
            (Err(error), _) => report.add_error(ENDPOINT, outcome_of(&error), &error),
        }
    }

    async fn check_acceptance(
        &self,
        report: &mut Report,
        prover: Prover<'_>,
        key: &ApiKey,
        target: &Target<'_>,
    ) {
        let endpoint = target.endpoint.as_str();
        let deadline = self.deadline.within(TO_TRY);
        match prover.current(key, target, deadline).await {
            Ok(Proof::Accepted) => {
                report.add(ENDPOINT, Fine, endpoint, None);
                report.add(ACCEPTANCE, Fine, "the current key opens the resource", None);
            }
            Ok(Proof::Unreachable) => {
                let seen = format!("{endpoint} cannot be reached from here");
                let remedy = "Attach the function to a network that reaches it";
                report.add(ENDPOINT, Warning, seen, Some(remedy));
                let seen = "it is not tried, which KEY_VERIFICATION=best-effort lets pass";
                report.add(ACCEPTANCE, Warning, seen, Some(remedy));
            }
            Err(error @ Error::EndpointUnreachable { .. }) => {
                report.add_error(ENDPOINT, Failed, &error);
                report.add(ACCEPTANCE, Unknown, "it cannot be tried from here", None);
            }
            Err(error) => {
                report.add(ENDPOINT, Fine, endpoint, None);
                let outcome = match self.config.current_key_check {
                    CurrentKeyCheck::Off => Warning,
                    CurrentKeyCheck::Required => outcome_of(&error),
                };
                report.add_error(ACCEPTANCE, outcome, &error);
            }
        }
    }
}

/// Whether a rotation would fail, or it is not known, since the service could not be asked.
fn outcome_of(error: &Error) -> Outcome {
    let source = match error {
        Error::Confluent(source) => source,
        Error::CurrentKeyNotAccepted { seen, .. } if matches!(seen.0, Verdict::Busy(_)) => {
            return Unknown;
        }
        _ => return Failed,
    };
    let is_refusal = !matches!(
        source.meaning(),
        None | Some(Meaning::ServerError | Meaning::RateLimited)
    );
    let is_unusable = matches!(source, confluent::Error::Unusable { .. });
    if is_refusal || is_unusable {
        Failed
    } else {
        Unknown
    }
}

fn check_rotation(report: &mut Report, labels: &Labels) {
    if labels.rotation_enabled {
        return report.add("rotation", Fine, "it is enabled", None);
    }
    let error = Error::RotationNotEnabled {
        secret: labels.arn.clone(),
    };
    report.add_error("rotation", Warning, &error);
}

fn check_labels(report: &mut Report, labels: &Labels, tested: Option<&str>) {
    let Some(current) = labels.version_with(CURRENT) else {
        return report.add_error("labels", Failed, &Error::NoCurrentVersion);
    };
    let pending = labels.version_with(PENDING);
    match pending.filter(|version| *version != current && Some(*version) != tested) {
        None => report.add(
            "labels",
            Fine,
            format!("AWSCURRENT is on version {current}"),
            None,
        ),
        Some(pending) => {
            let seen = format!(
                "AWSPENDING is on version {pending}: a rotation is under way, or was not completed"
            );
            let remedy = "If none is under way, start one with RotateSecret, which takes it up; or take AWSPENDING off \
                          the version";
            report.add("labels", Warning, seen, Some(remedy));
        }
    }
}

fn check_aliases(report: &mut Report, document: &Document) {
    let aliases = document.aliases();
    if aliases.is_empty() {
        return report.add("aliases", Fine, "none", None);
    }
    let (follow, stay): (Vec<_>, Vec<_>) = aliases.into_iter().partition(|(_, follows)| *follows);
    let names = |fields: &[(&str, bool)]| {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    };
    if stay.is_empty() {
        let seen = format!("these follow the key: {}", names(&follow));
        return report.add("aliases", Fine, seen, None);
    }
    let seen = format!(
        "these do not hold the current key, and stay as they are: {}",
        names(&stay)
    );
    let remedy = "Put the current key into them if clients read them";
    report.add("aliases", Warning, seen, Some(remedy));
}

async fn check_owner(report: &mut Report, signer: &Signer<'_>, owner: &str, keys: &[Listed]) {
    const NAME: &str = "owner";
    if keys.iter().any(|key| key.owner.as_deref() == Some(owner)) {
        return report.add(NAME, Fine, format!("{owner} has keys"), None);
    }
    match signer.has_owner(owner).await {
        Ok(true) => report.add(NAME, Fine, format!("{owner} exists, without a key"), None),
        Ok(false) => {
            let seen = format!("{owner} does not exist");
            let remedy = "Correct serviceAccountId in the secret";
            report.add(NAME, Failed, seen, Some(remedy));
        }
        // A rotation does without, so nobody is told to grant more for it.
        Err(error) => report.add(NAME, Unknown, joined(&error), None),
    }
}

/// Compares how many keys the owner has with how many it may have.
async fn check_quota(
    report: &mut Report,
    signer: &Signer<'_>,
    document: &Document,
    resource: &Resource,
    keys: &[Listed],
    may_free_one: bool,
) {
    const NAME: &str = "quota";
    let owner = document.owner();
    let Some(quota) = resource.kind.quota else {
        return report.add(
            NAME,
            Unknown,
            "the limit for keys of this kind is not documented",
            None,
        );
    };
    let of_owner = keys
        .iter()
        .filter(|key| key.owner.as_deref() == Some(owner));
    let used = quota.used(of_owner.map(|key| key.resource.as_deref()));
    let (scope, id) = quota.scope_and_id(owner);
    let limit = match signer.quota(scope, id).await {
        Ok(Some(limit)) => limit,
        Ok(None) => {
            let seen = format!("{used} keys; Confluent Cloud does not tell how many there may be");
            return report.add(NAME, Unknown, seen, None);
        }
        Err(error) => return report.add(NAME, Unknown, joined(&error), None),
    };
    let seen = format!("{used} of {limit} keys ({id})");
    let remedy = Some("Delete keys that nobody uses, or have the quota raised");
    // A rotation begins with deleting the key that AWSPREVIOUS names.
    if used >= limit.saturating_add(u64::from(may_free_one)) {
        report.add(NAME, Failed, seen, remedy);
    } else if used.saturating_mul(100) >= limit.saturating_mul(MUCH) {
        report.add(NAME, Warning, seen, remedy);
    } else {
        report.add(NAME, Fine, seen, None);
    }
}
