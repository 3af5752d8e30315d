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
use crate::store::{self, CURRENT, Labelled, Labels, PENDING, PREVIOUS, Store};
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

/// What a step begins with, asked for together. A value that could not be read matters only where it is needed.
struct Opening {
    labels: Labels,
    /// The value of the event's version, if that is pending.
    pending: Result<Option<Redacted>, store::Error>,
    /// The current value, read by its label alone.
    current: Result<Option<Labelled>, store::Error>,
    /// The admin secret's key, where the configuration names the secret.
    admin: Option<Result<ApiKey, Error>>,
}

impl Rotation<'_> {
    /// Takes the step that the event asks for, and says what was done.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self) -> Result<&'static str, Error> {
        let opening = self.open().await?;
        let already_current = self.guard(&opening.labels)?;
        match self.event.step {
            Step::Finish if already_current => self.finish_again(opening).await,
            _ if already_current => Ok("nothing to do: the version is already current"),
            Step::Create => self.create_secret(opening).await,
            Step::Set => self.set_secret(opening).await,
            Step::Test => self.test_secret(opening).await,
            Step::Finish => self.finish_secret(opening).await,
        }
    }

    /// Asks for what every step begins with. Nothing that was read counts before the guard has seen the labels.
    ///
    /// What goes out together goes out in the order of the code (`biased`), so that a fault's number names a request.
    async fn open(&self) -> Result<Opening, Error> {
        let Event {
            secret_id, token, ..
        } = self.event;
        let (labels, pending, current, admin) = tokio::join!(
            biased;
            self.store.describe(secret_id),
            self.store.value(secret_id, token, PENDING),
            self.store.labelled(secret_id, CURRENT),
            self.admin_ahead(),
        );
        Ok(Opening {
            labels: labels?,
            pending,
            current,
            admin,
        })
    }

    /// The key of the admin secret that the configuration names; none where the secret alone says who signs, and in
    /// setSecret, where nobody does.
    async fn admin_ahead(&self) -> Option<Result<ApiKey, Error>> {
        let configured = self.config.admin_secret_arn.as_deref()?;
        if self.event.step == Step::Set || configured == self.event.secret_id {
            return None;
        }
        Some(signer::admin_key(self.store, configured).await)
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
    async fn set_secret(&self, opening: Opening) -> Result<&'static str, Error> {
        let Opening {
            labels,
            pending,
            current,
            ..
        } = opening;
        let (pending, _) = self.pending(&labels, pending).await?;
        let current = self.current(&labels, current).await?;
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
    async fn current(
        &self,
        labels: &Labels,
        read: Result<Option<Labelled>, store::Error>,
    ) -> Result<Document, Error> {
        let version = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let value = self.current_value(labels, version, read).await?;
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

    /// The value of `version`, which is current as the labels have it. What was read counts if it is of that version:
    /// the label may have moved between the two.
    async fn current_value(
        &self,
        labels: &Labels,
        version: &str,
        read: Result<Option<Labelled>, store::Error>,
    ) -> Result<Option<Redacted>, Error> {
        match read? {
            Some(read) if read.version == version => Ok(Some(read.value)),
            _ => Ok(self.store.value(&labels.arn, version, CURRENT).await?),
        }
    }

    /// The pending value, which createSecret wrote a moment ago, and the key in it.
    async fn pending(
        &self,
        labels: &Labels,
        read: Result<Option<Redacted>, store::Error>,
    ) -> Result<(Document, ApiKey), Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        let value = match read? {
            None => self.store.written_value(arn, version, PENDING).await?,
            read => read,
        };
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
        ahead: Option<Result<ApiKey, Error>>,
        own: Option<&ApiKey>,
    ) -> Result<Signer<'_>, Error> {
        let configured = self.config.admin_secret_arn.as_deref();
        let admin = signer::admin_secret(labels, document, configured)?;
        let mode = if admin.is_some() { "admin" } else { "self" };
        tracing::Span::current().record("mode", mode);
        Signer::new(self.confluent, self.store, admin, ahead, own).await
    }

    fn prover(&self) -> Prover<'_> {
        Prover::new(self.confluent, self.config)
    }

    /// Whether the rotation is still to be made, by `now`'s labels as by those that the step began with.
    fn stands(&self, labels: &Labels, now: &Labels) -> Result<bool, Error> {
        if self.guard(now)? {
            return Ok(false);
        }
        if now.version_with(CURRENT) != labels.version_with(CURRENT) {
            return Err(Error::LabelMoved);
        }
        Ok(true)
    }

    /// The same, by the labels as they are now, before something is made or published: what was asked for since `labels`
    /// were read may have waited for minutes.
    async fn still_stands(&self, labels: &Labels) -> Result<bool, Error> {
        match self.store.described_again(labels).await? {
            Some(now) => self.stands(labels, &now),
            None => Ok(true),
        }
    }

    /// Checks that no label has come to another version since `labels` were read: somebody may have rolled back to one
    /// that names the key which is to be deleted.
    async fn ensure_unmoved(&self, labels: &Labels) -> Result<(), Error> {
        match self.store.described_again(labels).await? {
            Some(now) if now.moved_since(labels) => Err(Error::LabelMoved),
            _ => Ok(()),
        }
    }

    /// Deletes what a sweep has chosen.
    async fn sweep(&self, keys: Vec<&Listed>, deletion: Deletion<'_>) -> Result<(), Error> {
        for key in keys {
            let is_deleted = self.delete(key, deletion).await?;
            let metrics = self.confluent.metrics();
            metrics.count(|counts| counts.swept += u64::from(is_deleted));
        }
        Ok(())
    }

    /// Deletes a key that is no longer needed, and says so. Tells whether it was deleted.
    async fn delete(&self, key: &Listed, deletion: Deletion<'_>) -> Result<bool, Error> {
        let Deletion {
            signer,
            owner,
            witness,
            labels,
        } = deletion;
        if key.owner.as_deref() != Some(owner) {
            tracing::warn!(key_id = key.id, "a key stays: it is not the owner's");
            return Ok(false);
        }
        let check_labels = async || match labels {
            Some(labels) => self.ensure_unmoved(labels).await,
            None => Ok(()),
        };
        check_labels().await?;
        let id = ApiKeyId::new(key.id.clone());
        let is_unused = async || check_labels().await.is_ok();
        if let Err(error) = signer.delete(&id, owner, witness, is_unused).await {
            // Then that is the reason, not the refusal that came before.
            if let Err(moved @ Error::LabelMoved) = check_labels().await {
                return Err(moved);
            }
            self.count_deferred();
            return Err(error);
        }
        tracing::info!(
            deleted_key_id = key.id,
            "deleted a key that is no longer needed"
        );
        Ok(true)
    }

    /// Counts a key that stays and should be gone.
    fn count_deferred(&self) {
        let metrics = self.confluent.metrics();
        metrics.count(|counts| counts.deferred = true);
    }

    /// The mark of the keys that this invocation makes.
    fn mark(&self, labels: &Labels) -> Mark {
        Mark::new(&labels.arn, &self.event.token, self.invocation)
    }
}

/// By whom keys are deleted, and what was known when they were chosen.
#[derive(Clone, Copy)]
struct Deletion<'a> {
    signer: &'a Signer<'a>,
    /// Whose keys they are: nobody else's go.
    owner: &'a str,
    /// A key that is known to exist, by which a list is judged.
    witness: Option<&'a ApiKeyId>,
    /// The labels by which they were chosen; none for keys that no version can ever name.
    labels: Option<&'a Labels>,
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
