//! `finishSecret`: makes the pending version current, then retires the key it replaces.
//!
//! Asked again after a crash, the version is current already, and the retiring goes on.

use super::{Rotation, delete, parsed};
use crate::config::OldKeyPolicy;
use crate::confluent::Listed;
use crate::credential::ApiKeyId;
use crate::document::Document;
use crate::error::Error;
use crate::signer::Signer;
use crate::store::{CURRENT, Labels};
use crate::sweep;

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, labels: &Labels) -> Result<&'static str, Error> {
        let new = self.pending(labels).await?;
        let old = self.current(labels).await?;
        self.check_pending(&new, &old)?;
        self.promote(labels).await?;
        self.retire(labels, &new, Some(old)).await?;
        Ok("the pending version is current")
    }

    /// The part of finishSecret that comes after the version is current, which may be all that is left to do.
    pub(super) async fn finish_again(&self, labels: &Labels) -> Result<&'static str, Error> {
        let version = &self.event.token;
        let value = self.store.value(&labels.arn, version, CURRENT).await?;
        let new = parsed(CURRENT, version, value)?;
        tracing::Span::current().record("new_key_id", new.api_key().id.as_str());
        let old = self.previous(labels, &new).await?;
        self.retire(labels, &new, old).await?;
        Ok("the version was current already")
    }

    /// Moves `AWSCURRENT`. A move that is refused may have been made, by us or by another invocation.
    async fn promote(&self, labels: &Labels) -> Result<(), Error> {
        let token = &self.event.token;
        let from = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let Err(error) = self.store.move_current(&labels.arn, from, token).await else {
            return Ok(());
        };
        let labels = self.store.describe(&labels.arn).await?;
        if labels.has(token, CURRENT) {
            Ok(())
        } else {
            Err(error.into())
        }
    }

    /// Deletes the keys that the new one makes superfluous: those made for its version that did not become its
    /// value and, if the policy says so, the one it replaces.
    async fn retire(
        &self,
        labels: &Labels,
        new: &Document,
        old: Option<Document>,
    ) -> Result<(), Error> {
        let mut signer = self.signer(labels, new, new.api_key()).await?;
        let kept = &new.api_key().id;
        let keys = signer.list(new.owner()).await?;
        for key in sweep::after_promotion(&keys, &self.mark(labels), kept.as_str()) {
            delete(&mut signer, key, new.owner(), kept).await?;
        }
        match old.map(|old| old.api_key().id.clone()) {
            Some(old) if self.config.old_key_policy == OldKeyPolicy::Delete && old != *kept => {
                tracing::Span::current().record("old_key_id", old.as_str());
                let Some(old) = find(&mut signer, &keys, &old, kept).await? else {
                    return Ok(());
                };
                delete(&mut signer, &old, new.owner(), kept).await
            }
            _ => Ok(()),
        }
    }
}

/// The old key as Confluent describes it; none if it is gone.
async fn find(
    signer: &mut Signer<'_>,
    keys: &[Listed],
    old: &ApiKeyId,
    witness: &ApiKeyId,
) -> Result<Option<Listed>, Error> {
    let listed = |id: &ApiKeyId| keys.iter().find(|key| key.id == id.as_str());
    if let Some(key) = listed(old) {
        return Ok(Some(key.clone()));
    }
    match signer.read(old).await? {
        Some(key) => Ok(Some(key)),
        None if listed(witness).is_some() => Ok(None),
        None => Err(Error::OldKeyUnknown {
            key: old.to_string(),
        }),
    }
}
