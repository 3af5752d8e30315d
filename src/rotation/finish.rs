//! `finishSecret`: makes the pending version current, then retires the key it replaces.
//!
//! Asked again after a crash, the version is current already, and the retiring goes on.

use super::{Deletion, Opening, Rotation, key_in, parsed, record_kind};
use crate::config::OldKeyPolicy;
use crate::confluent::Listed;
use crate::credential::ApiKeyId;
use crate::document::Document;
use crate::error::Error;
use crate::signer::Signer;
use crate::store::{CURRENT, Labels, PENDING, PREVIOUS};
use crate::sweep::{self, Mark};

impl Rotation<'_> {
    pub(super) async fn finish_secret(&self, opening: Opening) -> Result<&'static str, Error> {
        let Opening {
            labels,
            pending,
            current,
            admin,
        } = opening;
        let (new, key) = self.pending(&labels, pending).await?;
        let old = self.current(&labels, current).await?;
        self.check_pending(&new, &old)?;
        let signer = self.signer(&labels, &new, admin, Some(&key)).await?;
        let keys = keys_with(&signer, new.owner(), &key.id).await?;
        if self.still_stands(&labels).await? {
            self.promote(&labels).await?;
        }
        let replacement = Replacement {
            owner: new.owner(),
            new: &key.id,
            old: Some(&old),
            keys: &keys,
        };
        self.retire(&signer, None, &replacement).await?;
        Ok("the pending version is current")
    }

    /// The part of finishSecret that comes after the version is current, which may be all that is left to do.
    pub(super) async fn finish_again(&self, opening: Opening) -> Result<&'static str, Error> {
        let Opening {
            labels,
            current,
            admin,
            ..
        } = opening;
        let version = &self.event.token;
        let value = self.current_value(&labels, version, current).await?;
        let new = parsed(CURRENT, version, value)?;
        let key = key_in(CURRENT, &new)?;
        let span = tracing::Span::current();
        span.record("new_key_id", key.id.as_str());
        record_kind(&new);
        let (old, signer) = tokio::join!(
            biased;
            self.previous(&labels, &new),
            self.signer(&labels, &new, admin, Some(&key)),
        );
        let (old, signer) = (old?, signer?);
        if let Some(old) = old.as_ref().and_then(Document::api_key) {
            span.record("old_key_id", old.id.as_str());
        }
        let keys = keys_with(&signer, new.owner(), &key.id).await?;
        let replacement = Replacement {
            owner: new.owner(),
            new: &key.id,
            old: old.as_ref(),
            keys: &keys,
        };
        self.retire(&signer, Some(&labels), &replacement).await?;
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
        let now = self.store.describe(&labels.arn).await?;
        if now.has(token, CURRENT) {
            Ok(())
        } else if now.version_with(CURRENT) == Some(from) {
            Err(error.into())
        } else {
            Err(Error::LabelMoved)
        }
    }

    /// Deletes the keys that rotations left which were disturbed or abandoned and, if the policy says so, the one that the
    /// new one replaces. Labels that were read `before` have to hold still, unless this invocation has moved them.
    async fn retire(
        &self,
        signer: &Signer<'_>,
        before: Option<&Labels>,
        replacement: &Replacement<'_>,
    ) -> Result<(), Error> {
        let Replacement {
            owner, new, keys, ..
        } = *replacement;
        let goes =
            |old: &&ApiKeyId| self.config.old_key_policy == OldKeyPolicy::Delete && *old != new;
        let old = match replacement.old_key().filter(goes) {
            Some(old) => {
                let found = find_old(signer, keys, old, new).await;
                found.inspect_err(|_| self.count_deferred())?
            }
            None => None,
        };
        // Somebody who has moved AWSCURRENT back meanwhile uses the old key again.
        let now = self.store.describe(&self.event.secret_id).await?;
        if !now.has(&self.event.token, CURRENT)
            || before.is_some_and(|before| now.moved_since(before))
        {
            return Err(Error::LabelMoved);
        }
        let deletion = Deletion {
            signer,
            owner,
            witness: Some(new),
            labels: Some(&now),
        };
        let left_over = self.left_over(&now, &self.mark(&now), replacement);
        self.sweep(left_over, deletion).await?;
        if let Some(old) = old {
            self.delete(&old, deletion).await?;
        }
        Ok(())
    }

    /// The keys of this secret that neither version names, and that can become no version's value any more.
    ///
    /// While another version is pending, a key that is not this version's may be that one's; and while it is not
    /// known which key `AWSPREVIOUS` names, it may be that.
    fn left_over<'k>(
        &self,
        now: &Labels,
        mark: &Mark,
        replacement: &Replacement<'k>,
    ) -> Vec<&'k Listed> {
        let Replacement { new, old, keys, .. } = *replacement;
        let named = [Some(new), replacement.old_key()].into_iter().flatten();
        let named: Vec<&str> = named.map(ApiKeyId::as_str).collect();
        let another_is_pending = now
            .version_with(PENDING)
            .is_some_and(|version| version != self.event.token);
        let previous_is_unknown = old.is_none() && now.version_with(PREVIOUS).is_some();
        if another_is_pending || previous_is_unknown {
            sweep::of_version(keys, mark, &named)
        } else {
            sweep::of_secret(keys, mark, &named)
        }
    }
}

/// What has become current in the place of what.
#[derive(Clone, Copy)]
struct Replacement<'a> {
    owner: &'a str,
    new: &'a ApiKeyId,
    /// The value before, as far as it is known; the first key replaces one without a key.
    old: Option<&'a Document>,
    /// The owner's keys, listed before.
    keys: &'a [Listed],
}

impl<'a> Replacement<'a> {
    fn old_key(&self) -> Option<&'a ApiKeyId> {
        Some(&self.old?.api_key()?.id)
    }
}

/// The owner's keys, among which the new one must be: somebody may have deleted it since it was tested, and
/// nothing is retired for a key that is not there.
async fn keys_with(signer: &Signer<'_>, owner: &str, id: &ApiKeyId) -> Result<Vec<Listed>, Error> {
    let keys = signer.list(owner).await?;
    match signer.find(id, &keys).await? {
        Some(_) => Ok(keys),
        None => Err(Error::NewKeyNotListed {
            key: id.to_string(),
        }),
    }
}

/// The old key as Confluent describes it; none if it is gone, which only a list that shows `witness` tells from
/// a key that may not be seen.
async fn find_old(
    signer: &Signer<'_>,
    keys: &[Listed],
    old: &ApiKeyId,
    witness: &ApiKeyId,
) -> Result<Option<Listed>, Error> {
    match signer.find(old, keys).await? {
        None if !keys.iter().any(|key| key.id == witness.as_str()) => Err(Error::OldKeyUnknown {
            key: old.to_string(),
        }),
        found => Ok(found),
    }
}
