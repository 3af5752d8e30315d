//! `testSecret`: proves that the pending key opens its resource.
//!
//! It never deletes a key: when a schedule is changed without rotating at once, Secrets Manager runs this step
//! alone, on a copy of the current value.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>

use std::time::Duration;

use super::{Opening, Rotation, resource};
use crate::credential::{ApiKey, ApiKeyId};
use crate::document::Document;
use crate::error::Error;
use crate::preflight::Preflight;
use crate::proof::{self, Proof};
use crate::resource::Resource;
use crate::signer::Signer;
use crate::store::{Labels, PENDING};

/// Kept back from the time for trying the key: to find out whether it still exists, and to say so.
const AFTER_TRYING: Duration = Duration::from_secs(10);

/// Kept back from the time for a preflight, so that it leaves time for trying the key.
const FOR_TRYING: Duration = Duration::from_mins(1);

impl Rotation<'_> {
    pub(super) async fn test_secret(&self, opening: Opening) -> Result<&'static str, Error> {
        let Opening {
            labels,
            pending,
            current,
            admin,
        } = opening;
        let current = self.current(&labels, current).await?;
        let (pending, key) = match self.pending(&labels, pending).await {
            // Without a rotation, a copy of the current value is tested.
            Err(Error::KeyMissing { .. }) if current.api_key().is_none() => {
                self.log_preflight(&labels).await;
                return Ok("nothing to try yet: the first rotation makes the key");
            }
            pending => pending?,
        };
        if current.api_key() == Some(&key) {
            self.log_preflight(&labels).await;
        }
        let resource = resource(&pending)?;
        let own = current.api_key();
        let signer = self.signer(&labels, &current, admin, own).await?;

        let tested = if self.prover().tries(&resource) {
            self.try_pending(&signer, &pending, &key, &current, &resource)
                .await
        } else {
            self.await_listed(&signer, pending.owner(), &key.id, &resource)
                .await
        };
        let error = match tested {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // Asking why may fail too; the error that was seen first stands.
        let judged = is_gone(&signer, &key.id, &current, &error).await;
        if !judged.unwrap_or(false) {
            return Err(error);
        }
        self.drop_pending(&labels).await?;
        Err(Error::NewKeyDeleted {
            key: key.id.to_string(),
            version: self.event.token.clone(),
        })
    }

    /// Logs what a rotation would find, for whoever attaches a secret without rotating it at once.
    async fn log_preflight(&self, labels: &Labels) {
        let deadline = self.deadline.keeping(FOR_TRYING);
        let preflight = Preflight {
            config: self.config,
            store: &self.store.until(deadline),
            confluent: &self.confluent.until(deadline),
            deadline,
        };
        let report = preflight.run(&labels.arn, Some(&self.event.token)).await;
        report.log();
    }

    /// Takes `AWSPENDING` off, so that the next rotation begins with a version of its own. A refusal may mean that
    /// it is off already.
    async fn drop_pending(&self, labels: &Labels) -> Result<(), Error> {
        let token = &self.event.token;
        let Err(error) = self.store.drop_pending(&labels.arn, token).await else {
            return Ok(());
        };
        if self.store.describe(&labels.arn).await?.has(token, PENDING) {
            Err(error.into())
        } else {
            Ok(())
        }
    }

    /// Waits until the control plane knows the pending key as what it was made for, where nothing is sent to a data
    /// plane.
    async fn await_listed(
        &self,
        signer: &Signer<'_>,
        owner: &str,
        id: &ApiKeyId,
        resource: &Resource,
    ) -> Result<&'static str, Error> {
        let key = id.to_string();
        let deadline = self.deadline.keeping(AFTER_TRYING);
        let mut interval = self.config.probe_interval;
        let listed = loop {
            if let Some(listed) = signer.read(id).await? {
                break listed;
            }
            if deadline.wait(interval).await.is_err() {
                return Err(Error::NewKeyNotListed { key });
            }
            interval = self.prover().longer(interval);
        };
        let of_owner = listed.owner.as_deref() == Some(owner);
        if of_owner
            && resource.is_named_by(listed.resource.as_deref(), listed.environment.as_deref())
        {
            Ok("the control plane knows the pending key")
        } else {
            Err(Error::NewKeyOfOtherResource { key })
        }
    }

    /// Tries the pending key at its resource.
    async fn try_pending(
        &self,
        signer: &Signer<'_>,
        pending: &Document,
        key: &ApiKey,
        current: &Document,
        resource: &Resource,
    ) -> Result<&'static str, Error> {
        // What one key tells of the resource, the other tells too, if the first is gone or not listed yet.
        let keys = [Some(key), current.api_key()].into_iter().flatten();
        let keys: Vec<&ApiKeyId> = keys.map(|key| &key.id).collect();
        let target =
            proof::target(self.confluent, signer, pending, resource, None, &keys, None).await?;
        let deadline = self.deadline.keeping(AFTER_TRYING);
        let prover = self.prover();
        let proof = prover.new_key(key, current.api_key(), &target, deadline);
        match proof.await? {
            Proof::Accepted => Ok("the pending key opens its resource"),
            Proof::Unreachable => {
                tracing::warn!(
                    host = target.endpoint.host_str(),
                    "the pending key is not proven: its endpoint cannot be reached from here"
                );
                Ok("the pending key was let pass without proof")
            }
        }
    }
}

/// Whether the pending key failed because it is gone for good: a list that shows the current key does not show
/// it, and asking for it by its id finds nothing. A copy of the current value is never judged, nor is the first key,
/// since there is no other to tell a list that is complete from one that is not.
async fn is_gone(
    signer: &Signer<'_>,
    id: &ApiKeyId,
    current: &Document,
    error: &Error,
) -> Result<bool, Error> {
    let may_be_gone = matches!(
        error,
        Error::NewKeyNotAccepted { .. } | Error::NewKeyNotListed { .. }
    );
    let Some(ApiKey { id: witness, .. }) = current.api_key() else {
        return Ok(false);
    };
    if !may_be_gone || id == witness {
        return Ok(false);
    }
    let keys = signer.list(current.owner()).await?;
    let lists = |id: &str| keys.iter().any(|key| key.id == id);
    if lists(id.as_str()) || !lists(witness.as_str()) {
        return Ok(false);
    }
    Ok(signer.read(id).await?.is_none())
}
