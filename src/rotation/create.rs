//! `createSecret`: makes a key and stages it as `AWSPENDING`.
//!
//! Confluent shows a key's secret once, so a crash between the create and the put leaves a key nobody can use.
//! It bears our mark, by which finishSecret or the next rotation finds and deletes it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Deletion, Opening, Rotation, key_in, resource};
use crate::config::CurrentKeyCheck;
use crate::confluent::{self, Listed, NewKey, TO_STORE};
use crate::credential::{ApiKey, ApiKeyId, Redacted};
use crate::deadline::Deadline;
use crate::document::Document;
use crate::error::Error;
use crate::event::Event;
use crate::http::FOR_AN_ANSWER;
use crate::proof::{self, Proof};
use crate::refusal::Meaning;
use crate::resource::{Reference, Resource};
use crate::signer::Signer;
use crate::store::{CURRENT, Labels, PENDING};
use crate::sweep::{self, Mark};

/// How often a create is sent that gets no answer. Each time the keys it may have made are deleted first.
const MOST_CREATIONS: u32 = 3;

/// What is done if the version became current during the step.
const FINISHED: &str = "nothing to do: another invocation finished the rotation";

impl Rotation<'_> {
    pub(super) async fn create_secret(&self, opening: Opening) -> Result<&'static str, Error> {
        let Opening {
            labels,
            pending,
            current,
            admin,
        } = opening;
        if pending?.is_some() {
            return Ok("nothing to do: the pending version has a value");
        }
        let current = self.current(&labels, current).await?;
        for warning in current.warnings() {
            tracing::warn!("{warning}");
        }
        let mut resource = resource(&current)?;
        ensure_another_key_fits(&current)?;
        let own = current.api_key();
        let signer = self.signer(&labels, &current, admin, own).await?;

        let checked = self.key_to_check(&current);
        let (previous, keys, endpoint) = tokio::join!(
            biased;
            self.previous(&labels, &current),
            signer.list(current.owner()),
            self.look_up_ahead(&signer, &current, checked, &resource),
        );
        let (previous, keys) = (previous?, keys?);
        self.count_keys(current.owner(), &resource, &keys);
        let listed = self
            .find_current(&signer, &current, &resource, &keys)
            .await?;
        // Labels that still stand after the list was made show that no later rotation had begun by then: none
        // of the keys in the list is a later rotation's, and what was current still is.
        let listed = listed.as_ref();
        let (is_proven, now) = tokio::join!(
            biased;
            self.prove_current(checked, &signer, &current, &resource, listed, endpoint),
            self.store.describe(&labels.arn),
        );
        let (is_proven, now) = (is_proven?, now?);
        complete_environment(&mut resource, listed)?;
        if !self.stands(&labels, &now)? {
            return Ok(FINISHED);
        }

        let mark = self.mark(&labels);
        let (kept, replaced) = split_previous(&current, previous.as_ref(), is_proven);
        let going = sweep::before_creation(&keys, &mark, &kept, replaced, epoch_seconds());
        let deletion = Deletion {
            signer: &signer,
            owner: current.owner(),
            witness: id_in(&current),
            labels: Some(&labels),
        };
        if !self.sweep_first(going, deletion, &now).await? {
            return Ok(FINISHED);
        }
        let key = self
            .create_key(&signer, &current, &resource, &labels.arn, &mark)
            .await?;
        // An answer that names a key which was there before names one that is in use, not the one it made.
        if keys.iter().any(|listed| listed.id == key.id.as_str()) {
            let source = confluent::Error::names_another_key();
            return Err(Error::CreationUnknown { source });
        }
        self.stage(&signer, &current, &now, &key).await
    }

    /// The current key, if there is one and the configuration wants it checked.
    fn key_to_check<'d>(&self, current: &'d Document) -> Option<&'d ApiKey> {
        let is_required = self.config.current_key_check == CurrentKeyCheck::Required;
        current.api_key().filter(|_| is_required)
    }

    /// The current key as Confluent describes it, which has to be as the secret says if that is to be checked.
    async fn find_current(
        &self,
        signer: &Signer<'_>,
        current: &Document,
        resource: &Resource,
        keys: &[Listed],
    ) -> Result<Option<Listed>, Error> {
        let Some(key) = current.api_key() else {
            return Ok(None);
        };
        let listed = signer.find(&key.id, keys).await?;
        if self.key_to_check(current).is_some() {
            proof::check_listed(&key.id, current, resource, listed.as_ref(), keys)?;
        }
        Ok(listed)
    }

    /// Asks for the endpoint at which the current key will be tried, while its owner's keys are listed.
    async fn look_up_ahead(
        &self,
        signer: &Signer<'_>,
        current: &Document,
        checked: Option<&ApiKey>,
        resource: &Resource,
    ) -> Option<Result<String, Error>> {
        checked.filter(|_| self.prover().tries(resource))?;
        proof::look_up_ahead(signer, current, resource).await
    }

    /// Tries the current key, which shows that whoever wrote the secret holds it. Tells whether it is as good as the
    /// configuration asks for.
    async fn prove_current(
        &self,
        checked: Option<&ApiKey>,
        signer: &Signer<'_>,
        current: &Document,
        resource: &Resource,
        listed: Option<&Listed>,
        endpoint: Option<Result<String, Error>>,
    ) -> Result<bool, Error> {
        let prover = self.prover();
        let Some(key) = checked else {
            return Ok(false);
        };
        if !prover.tries(resource) {
            return Ok(true);
        }
        let listed = listed.cloned();
        let confluent = self.confluent;
        let target =
            proof::target(confluent, signer, current, resource, listed, &[], endpoint).await?;
        let deadline = self.deadline.keeping(TO_STORE + FOR_AN_ANSWER);
        ensure_time_left(deadline)?;
        match prover.current(key, &target, deadline).await? {
            Proof::Accepted => Ok(true),
            Proof::Unreachable => {
                tracing::warn!(
                    host = target.endpoint.host_str(),
                    "the current key is not proven: its endpoint cannot be reached from here"
                );
                Ok(false)
            }
        }
    }

    /// Counts the owner's keys against the quota that one more would use up.
    fn count_keys(&self, owner: &str, resource: &Resource, keys: &[Listed]) {
        let Some(quota) = resource.kind.quota else {
            return;
        };
        let used = quota.used(
            keys.iter()
                .filter(|key| key.owner.as_deref() == Some(owner))
                .map(|key| key.resource.as_deref()),
        );
        let limit = quota.default_limit(owner);
        let metrics = self.confluent.metrics();
        metrics.count(|counts| counts.owner_keys = Some((used, limit)));
    }

    /// Deletes what was left over. Tells whether the rotation is still to be made, before that and after it: the trial may
    /// have taken long, and so may the deletions.
    async fn sweep_first(
        &self,
        going: Vec<&Listed>,
        deletion: Deletion<'_>,
        now: &Labels,
    ) -> Result<bool, Error> {
        if !going.is_empty() {
            if !self.still_stands(now).await? {
                return Ok(false);
            }
            self.sweep(going, deletion).await?;
        }
        self.still_stands(now).await
    }

    /// Makes a key. A request that may have been carried out is not sent again before the keys it may have made
    /// have been looked for and deleted.
    async fn create_key(
        &self,
        signer: &Signer<'_>,
        current: &Document,
        resource: &Resource,
        arn: &str,
        mark: &Mark,
    ) -> Result<ApiKey, Error> {
        let new = NewKey {
            owner: current.owner(),
            resource,
            display_name: &sweep::display_name(arn),
            description: &mark.description(),
        };
        let mut sent = 0;
        loop {
            ensure_time_left(self.deadline.keeping(TO_STORE + FOR_AN_ANSWER))?;
            let source = match signer.create(&new).await {
                Err(Error::Confluent(source)) => source,
                made => return made,
            };
            if source.meaning() == Some(Meaning::QuotaExceeded) {
                return Err(quota_exceeded(signer, current, resource, mark, source).await);
            }
            if !source.may_have_been_carried_out() {
                return Err(source.into());
            }
            sent += 1;
            if sent == MOST_CREATIONS {
                return Err(Error::CreationUnknown { source });
            }
            // The wait lets the list catch up with what was made.
            let waited = self.deadline.wait(self.config.probe_interval).await;
            if waited.is_err() {
                return Err(Error::CreationUnknown { source });
            }
            let Ok(keys) = signer.list(current.owner()).await else {
                return Err(Error::CreationUnknown { source });
            };
            let made = sweep::of_invocation(&keys, mark);
            let deletion = Deletion {
                signer,
                owner: current.owner(),
                witness: id_in(current),
                labels: None,
            };
            self.sweep(made, deletion).await?;
        }
    }

    /// Stages the new key. If somebody has ended the rotation meanwhile, or that is refused for good, the key is deleted
    /// again: nobody could ever use it.
    async fn stage(
        &self,
        signer: &Signer<'_>,
        current: &Document,
        now: &Labels,
        key: &ApiKey,
    ) -> Result<&'static str, Error> {
        tracing::Span::current().record("new_key_id", key.id.as_str());
        let stands = self.still_stands(now).await;
        if !matches!(stands, Ok(true)) {
            if let Err(error) = self.undo(signer, current, key).await {
                tracing::warn!(error = error.message(), "the new key stays");
            }
            return stands.map(|_| FINISHED);
        }
        let arn = &now.arn;
        let Err(error) = self.put(current, arn, key).await else {
            return Ok("made a key and staged it");
        };
        let refusal = match &error {
            Error::SecretsManager(refusal) if refusal.may_have_been_carried_out() => {
                return Err(error);
            }
            Error::SecretsManager(refusal) => refusal.code(),
            _ => None,
        };
        tracing::warn!(error = error.message(), "the new key was not stored");
        // The version has another value, whatever has become of its labels: ours was never stored.
        let is_taken = refusal == Some("ResourceExistsException");
        let staged = self.staged_key(arn).await;
        match &staged {
            Ok(Some(staged)) if *staged == key.id => return Ok("made a key and staged it"),
            // Whether ours is stored is not known, so it stays; its mark leads to it.
            Err(_) if !is_taken => return Err(error),
            _ => {}
        }
        self.undo(signer, current, key).await?;
        match staged {
            Ok(Some(_)) => Ok("another invocation staged a key first"),
            _ => Err(error),
        }
    }

    /// Deletes the key that was just made and is stored nowhere.
    async fn undo(
        &self,
        signer: &Signer<'_>,
        current: &Document,
        key: &ApiKey,
    ) -> Result<(), Error> {
        let sent = signer.delete(&key.id, current.owner(), id_in(current), async || true);
        sent.await.inspect_err(|_| self.count_deferred())?;
        tracing::info!(deleted_key_id = %key.id, "deleted the new key, which was not stored");
        Ok(())
    }

    /// Writes the value with the new key in it.
    async fn put(&self, current: &Document, arn: &str, key: &ApiKey) -> Result<(), Error> {
        let value = current.with_api_key(key);
        let value = value.map_err(|source| Error::SecretValue {
            label: PENDING,
            source,
        })?;
        let Event {
            token,
            rotation_token,
            ..
        } = self.event;
        let put = self
            .store
            .put_pending(arn, token, &value, rotation_token.as_ref());
        Ok(put.await?)
    }

    /// The key that the pending version names, if it has a value.
    async fn staged_key(&self, arn: &str) -> Result<Option<ApiKeyId>, Error> {
        let token = &self.event.token;
        // A value that was just written may not be found at once, and its key must not be deleted.
        let value = self.store.written_value(arn, token, PENDING).await?;
        let Some(value) = value else {
            return Ok(None);
        };
        let label = PENDING;
        let staged =
            Document::parse(value).map_err(|source| Error::SecretValue { label, source })?;
        Ok(Some(key_in(label, &staged)?.id))
    }
}

/// The keys that a sweep must keep, and the one that it may delete because the current key has replaced it.
///
/// While the current key is not proven, the key that `AWSPREVIOUS` names may be the last one that works.
fn split_previous<'d>(
    current: &'d Document,
    previous: Option<&'d Document>,
    is_proven: bool,
) -> (Vec<&'d str>, Option<&'d str>) {
    let current = id_in(current).map(ApiKeyId::as_str);
    match previous
        .and_then(|previous| id_in(previous))
        .map(ApiKeyId::as_str)
    {
        Some(previous) if !is_proven => {
            tracing::warn!(
                key_id = previous,
                "the key that AWSPREVIOUS names stays: the current key is not proven"
            );
            (current.into_iter().chain([previous]).collect(), None)
        }
        previous => (current.into_iter().collect(), previous),
    }
}

/// Checks that `deadline`, which leaves the time to make a key and to store it, has not passed.
fn ensure_time_left(deadline: Deadline) -> Result<(), Error> {
    if deadline.remaining().is_zero() {
        let purpose = "make a key and store it";
        return Err(Error::OutOfTime { purpose });
    }
    Ok(())
}

/// The id of the key in a value; none if the first key is still to be made.
fn id_in(document: &Document) -> Option<&ApiKeyId> {
    document.api_key().map(|key| &key.id)
}

fn epoch_seconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since_epoch.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Takes the environment from the current key where the secret does not name it, and making a key needs it.
fn complete_environment(resource: &mut Resource, current: Option<&Listed>) -> Result<(), Error> {
    if resource.kind.reference != Reference::IdAndEnvironment || resource.environment.is_some() {
        return Ok(());
    }
    if let Some(current) = current {
        resource.environment = current.environment_for_path()?;
    }
    match resource.environment {
        Some(_) => Ok(()),
        None => Err(Error::EnvironmentUnknown),
    }
}

/// Checks, before a key is made, that the secret has room for another key in place of the current one.
fn ensure_another_key_fits(current: &Document) -> Result<(), Error> {
    // As long as Confluent's keys are today.
    // https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html
    let stand_in = ApiKey {
        id: ApiKeyId::new("K".repeat(16)),
        secret: Redacted::new("S".repeat(64)),
    };
    match current.with_api_key(&stand_in) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::SecretValue {
            label: CURRENT,
            source,
        }),
    }
}

/// Adds to a refused create how many keys there are.
async fn quota_exceeded(
    signer: &Signer<'_>,
    current: &Document,
    resource: &Resource,
    mark: &Mark,
    source: confluent::Error,
) -> Error {
    let owner = current.owner();
    let Ok(keys) = signer.list(owner).await else {
        return source.into();
    };
    // Confluent's internal keys, which have no owner, are in every list.
    let is_of_owner = |key: &&Listed| key.owner.as_deref() == Some(owner);
    let is_of_resource =
        |key: &&Listed| resource.is_named_by(key.resource.as_deref(), key.environment.as_deref());
    let of_owner = || keys.iter().filter(is_of_owner);
    let named: Vec<&str> = id_in(current).map(ApiKeyId::as_str).into_iter().collect();
    Error::QuotaExceeded {
        owner: owner.to_owned(),
        keys: of_owner().count(),
        of_resource: of_owner().filter(is_of_resource).count(),
        left_over: sweep::of_secret(&keys, mark, &named).len(),
        source,
    }
}
