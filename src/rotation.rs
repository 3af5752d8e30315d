//! One step of a rotation: the guard before it, and what all steps read.
//!
//! A step may be stopped at any point and is then asked for again with the same token. So each one first looks
//! at what is already there, and nothing is destroyed before its successor is in place.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

mod create;
mod finish;
mod test;

use crate::config::{Config, FirstKey};
use crate::confluent::{Confluent, Listed};
use crate::credential::{ApiKey, ApiKeyId, Redacted};
use crate::deadline::Deadline;
use crate::document::Document;
use crate::error::Error;
use crate::event::{Event, Step};
use crate::proof::Prover;
use crate::resource::Resource;
use crate::signer::{self, Signer};
use crate::store::{self, CURRENT, Labels, PENDING, PREVIOUS, Store};
use crate::sweep::Mark;

/// Everything a step works with.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// What was asked for.
    pub event: &'a Event,
    /// The function's configuration.
    pub config: &'a Config,
    /// Secrets Manager.
    pub store: &'a Store,
    /// Confluent Cloud.
    pub confluent: &'a Confluent,
    /// When the invocation must have ended.
    pub deadline: Deadline,
    /// The invocation's id, with which its keys are marked.
    pub invocation: &'a str,
}

impl Rotation<'_> {
    /// Takes the step that the event asks for, and says what was done.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self) -> Result<&'static str, Error> {
        let labels = self.store.describe(&self.event.secret_id).await?;
        let already_current = self.guard(&labels)?;
        match self.event.step {
            Step::Finish if already_current => self.finish_again(&labels).await,
            _ if already_current => Ok("nothing to do: the version is already current"),
            Step::Create => self.create_secret(&labels).await,
            Step::Set => self.set_secret(&labels).await,
            Step::Test => self.test_secret(&labels).await,
            Step::Finish => self.finish_secret(&labels).await,
        }
    }

    /// Refuses a step that Secrets Manager did not ask for, and tells whether the version is current already.
    fn guard(&self, labels: &Labels) -> Result<bool, Error> {
        if !labels.rotation_enabled {
            return Err(Error::RotationNotEnabled {
                secret: labels.arn.clone(),
            });
        }
        if labels.has(&self.event.token, CURRENT) {
            return Ok(true);
        }
        if labels.has(&self.event.token, PENDING) {
            return Ok(false);
        }
        Err(Error::VersionNotPending {
            version: self.event.token.clone(),
            labels: match labels.of(&self.event.token) {
                Some(labels) => format!("it is {}", labels.join(", ")),
                None => "it has no label".to_owned(),
            },
        })
    }

    /// `setSecret`: a key is set at Confluent by making it, so this only checks that what is pending is for
    /// what is current.
    async fn set_secret(&self, labels: &Labels) -> Result<&'static str, Error> {
        let (pending, _) = self.pending(labels).await?;
        let current = self.current(labels).await?;
        self.check_pending(&pending, &current)?;
        Ok("the pending value is for the same owner and resource as the current one")
    }

    /// Checks that the pending value may take the current one's place.
    fn check_pending(&self, pending: &Document, current: &Document) -> Result<(), Error> {
        let version = self.event.token.clone();
        if pending.api_key().map(|key| &key.id) == current.api_key().map(|key| &key.id) {
            return Err(Error::PendingIsCurrent { version });
        }
        if let Err(source) = pending.agrees_with(current) {
            return Err(Error::PendingDisagrees { version, source });
        }
        // It was made from a value that somebody has changed since: publishing it would undo the change.
        if !pending.renews(current) {
            return Err(Error::PendingOutdated { version });
        }
        Ok(())
    }

    /// The current value, which holds no key if this rotation is to make the first one.
    async fn current(&self, labels: &Labels) -> Result<Document, Error> {
        let version = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let value = self.store.value(&labels.arn, version, CURRENT).await?;
        let current = parsed(CURRENT, version, value)?;
        record_kind(&current);
        match current.api_key() {
            Some(key) => {
                tracing::Span::current().record("old_key_id", key.id.as_str());
            }
            None if self.config.first_key == FirstKey::Off => return Err(Error::NoKeyYet),
            None => {}
        }
        Ok(current)
    }

    /// The pending value, which createSecret wrote a moment ago, and the key in it.
    async fn pending(&self, labels: &Labels) -> Result<(Document, ApiKey), Error> {
        let version = &self.event.token;
        let value = self
            .store
            .written_value(&labels.arn, version, PENDING)
            .await?;
        let pending = parsed(PENDING, version, value)?;
        let key = key_in(PENDING, &pending)?;
        tracing::Span::current().record("new_key_id", key.id.as_str());
        Ok((pending, key))
    }

    /// The value that was current before `current`, if its key is surely one that `current`'s replaced.
    async fn previous(
        &self,
        labels: &Labels,
        current: &Document,
    ) -> Result<Option<Document>, Error> {
        let Some(version) = labels.version_with(PREVIOUS) else {
            return Ok(None);
        };
        let stays = "the key that AWSPREVIOUS names stays: its version is not like the current one";
        let value = match self.store.value(&labels.arn, version, PREVIOUS).await {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(error @ store::Error::Binary { .. }) => {
                tracing::warn!(%error, version, "{stays}");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let previous = Document::parse(value).and_then(|previous| {
            previous.agrees_with(current)?;
            Ok(previous)
        });
        match previous {
            Ok(previous) => Ok(Some(previous)),
            Err(error) => {
                tracing::warn!(%error, version, "{stays}");
                Ok(None)
            }
        }
    }

    /// Who signs: the admin secret's key, or `own`, if there is one.
    async fn signer(
        &self,
        labels: &Labels,
        document: &Document,
        own: Option<&ApiKey>,
    ) -> Result<Signer<'_>, Error> {
        let configured = self.config.admin_secret_arn.as_deref();
        let admin = signer::admin_secret(labels, document, configured)?;
        let mode = if admin.is_some() { "admin" } else { "self" };
        tracing::Span::current().record("mode", mode);
        Signer::new(self.confluent, self.store, admin, own).await
    }

    fn prover(&self) -> Prover<'_> {
        Prover {
            confluent: self.confluent,
            verification: self.config.key_verification,
            interval: self.config.probe_interval,
        }
    }

    fn count_swept(&self) {
        self.confluent.metrics().count(|counts| counts.swept += 1);
    }

    /// The mark of the keys that this invocation makes.
    fn mark(&self, labels: &Labels) -> Mark {
        Mark::new(&labels.arn, &self.event.token, self.invocation)
    }
}

/// What the secret's keys open.
fn resource(document: &Document) -> Result<Resource, Error> {
    Ok(Resource::new(
        document.resource_id(),
        document.environment_id(),
    )?)
}

/// Puts the kind of the secret's keys, if it is a known one, into every line that follows.
fn record_kind(document: &Document) {
    if let Ok(resource) = resource(document) {
        tracing::Span::current().record("kind", resource.kind.name);
    }
}

/// The value of a version that has to have one.
fn parsed(label: &'static str, version: &str, value: Option<Redacted>) -> Result<Document, Error> {
    let value = value.ok_or_else(|| Error::VersionWithoutValue {
        label,
        version: version.to_owned(),
    })?;
    Document::parse(value).map_err(|source| Error::SecretValue { label, source })
}

/// The key in a value that has to hold one.
fn key_in(label: &'static str, document: &Document) -> Result<ApiKey, Error> {
    let key = document.api_key().cloned();
    key.ok_or(Error::KeyMissing { label })
}

/// A key as Confluent describes it; none if it is gone, or may not be seen. A list may lag, and leaves out what
/// the signer may not see, so a key that is not in it is asked for.
async fn find(
    signer: &mut Signer<'_>,
    id: &ApiKeyId,
    keys: &[Listed],
) -> Result<Option<Listed>, Error> {
    match keys.iter().find(|listed| listed.id == id.as_str()) {
        Some(listed) => Ok(Some(listed.clone())),
        None => signer.read(id).await,
    }
}

/// Deletes a key that is no longer needed, and says so.
async fn delete(
    signer: &mut Signer<'_>,
    key: &Listed,
    owner: &str,
    witness: Option<&ApiKeyId>,
) -> Result<(), Error> {
    if key.owner.as_deref() != Some(owner) {
        tracing::warn!(key_id = key.id, "a key stays: it is not the owner's");
        return Ok(());
    }
    let id = ApiKeyId::new(key.id.clone());
    signer.delete(&id, owner, witness).await?;
    tracing::info!(
        deleted_key_id = key.id,
        "deleted a key that is no longer needed"
    );
    Ok(())
}
