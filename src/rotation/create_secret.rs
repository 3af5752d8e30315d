//! `createSecret`: creates an API key and stores it as `AWSPENDING`.
//!
//! Confluent returns a key's secret only once. If the function is interrupted between creating the key and storing it, the key
//! cannot be used. Every key therefore carries an ownership tag, so that a later step can find and delete it.

use tracing::Instrument;

use super::quota::{QuotaCleanup, is_quota_exceeded, quota_exceeded};
use super::{Rotation, ensure_keys, record_ids};
use crate::config::CurrentKeyCheck;
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ApiKeySpec, ErrorKind, KeyFilter, Resource,
    ResourceReference, STORE_RESERVE,
};
use crate::error::{EndpointError, Error};
use crate::http::RESPONSE_RESERVE;
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::ownership::{self, Ownership, OwnershipTag};
use crate::keys::policy::PreviousKeyPolicy;
use crate::keys::target::Scope;
use crate::keys::verification::{self, Verification};
use crate::secret::{CURRENT, PENDING, PREVIOUS, SecretMetadata, SecretValue, SecretVersion, Slot};

/// The current value, and what createSecret knows about its keys.
pub(super) struct Current<'a> {
    pub(super) secret: &'a SecretMetadata,
    pub(super) value: &'a SecretValue,
    pub(super) control_plane: &'a ControlPlane<'a>,
    pub(super) keys: Vec<CurrentKey<'a>>,
}

/// The current key of a slot, or an empty slot for an initial key.
pub(super) struct CurrentKey<'a> {
    pub(super) slot: &'a Slot,
    pub(super) resource: Resource,
    /// The listed keys.
    pub(super) listed: Vec<ApiKeyMetadata>,
    /// The current key's metadata, if Confluent Cloud returns it.
    metadata: Option<ApiKeyMetadata>,
    /// Whether the resource accepted the current key in this invocation.
    pub(super) is_verified: bool,
}

impl CurrentKey<'_> {
    /// Returns the ID of the current key, or `None` if the initial key is to be created.
    fn id(&self) -> Option<&ApiKeyId> {
        self.slot.key.as_ref().map(|key| &key.id)
    }

    /// Returns the filter of the list.
    pub(super) fn filter(&self) -> KeyFilter<'_> {
        key_filter(self.slot, &self.resource)
    }
}

impl Rotation<'_> {
    pub(super) async fn create_secret(
        &self,
        secret: &SecretMetadata,
    ) -> Result<&'static str, Error> {
        let (arn, version) = (&secret.arn, &self.event.token);
        let pending = self.invocation.secrets.version(arn, version, PENDING).await;
        let value = &self.current(secret).await?;
        if !matches!(pending, Ok(None)) {
            return self.keep_pending(secret, pending, value).await;
        }
        check_value(value)?;
        // An invalid resource tag fails before a key is created.
        PreviousKeyPolicy::of(secret, self.invocation.config)?;
        let control_plane = &self.control_plane(secret, value).await?;
        control_plane
            .ensure_can_manage_keys(value.self_rotation_slot())
            .await?;
        let mut keys = Vec::new();
        // No key is created before all current keys are checked.
        for slot in value.slots() {
            let checked = self.check_key(secret, value, control_plane, slot);
            let checked = checked.instrument(slot.span()).await;
            keys.push(checked.map_err(|error| error.with_key(slot, value))?);
        }
        let current = Current {
            secret,
            value,
            control_plane,
            keys,
        };
        let keys = self.create_keys(&current).await?;
        self.store(&current, &keys).await
    }

    /// Lists the keys of a slot's owner, and checks the current key.
    async fn check_key<'v>(
        &self,
        secret: &SecretMetadata,
        value: &SecretValue,
        control_plane: &ControlPlane<'_>,
        slot: &'v Slot,
    ) -> Result<CurrentKey<'v>, Error> {
        let resource = slot.resource()?;
        let listed = match control_plane.list(key_filter(slot, &resource)).await {
            Ok(listed) => listed,
            Err(error) => {
                let previous = self.previous(secret).await;
                return Err(control_plane.explain(error, slot, previous.as_ref()).await);
            }
        };
        match &slot.key {
            Some(key) => control_plane.ensure_not_admin_key(key).await?,
            None => Error::ensure_no_listed_key(value, slot, &listed)?,
        }
        let mut key = CurrentKey {
            slot,
            resource,
            listed,
            metadata: None,
            is_verified: false,
        };
        self.record_key_count(&key);
        if let Err(error) = self.check_current(control_plane, &mut key).await {
            let previous = self.previous(secret).await;
            let previous = previous.as_ref().and_then(|value| value.slot(&slot.prefix));
            return Err(error.with_previous_key(previous, &key.listed));
        }
        key.resource = complete_environment(&key.resource, key.metadata.as_ref())?;
        Ok(key)
    }

    /// Returns the current key if there is one and `CURRENT_KEY_CHECK` requires a check.
    pub(super) fn key_to_check<'v>(&self, slot: &'v Slot) -> Option<&'v ApiKey> {
        let is_required = self.invocation.config.current_key_check == CurrentKeyCheck::Required;
        slot.key.as_ref().filter(|_| is_required)
    }

    /// Looks up the current key. If `CURRENT_KEY_CHECK` requires it, checks its metadata against the secret value and verifies the key.
    async fn check_current(
        &self,
        control_plane: &ControlPlane<'_>,
        current: &mut CurrentKey<'_>,
    ) -> Result<(), Error> {
        let Some(id) = current.id() else {
            return Ok(());
        };
        let metadata = control_plane.find(id, &current.listed).await?;
        if self.key_to_check(current.slot).is_some() {
            let all = match metadata {
                Some(_) => None,
                None => control_plane.all_keys(current.filter()).await,
            };
            let (slot, resource) = (current.slot, &current.resource);
            let keys = all.as_deref().unwrap_or(&current.listed);
            verification::check_scope(id, slot, resource, metadata.as_ref(), keys)?;
        }
        current.metadata = metadata;
        current.is_verified = self.verify_current(control_plane, current).await?;
        Ok(())
    }

    /// Reads the value that is labeled `AWSPREVIOUS`, to explain an error.
    async fn previous(&self, secret: &SecretMetadata) -> Option<SecretValue> {
        let version = secret.version_with(PREVIOUS)?;
        let secrets = &self.invocation.secrets;
        let value = secrets.value(&secret.arn, version, PREVIOUS).await;
        SecretValue::parse(value.ok().flatten()?).ok()
    }

    /// Verifies the current key, which shows that the writer of the secret value possesses it. Returns whether its resource
    /// accepted it.
    async fn verify_current(
        &self,
        control_plane: &ControlPlane<'_>,
        current: &CurrentKey<'_>,
    ) -> Result<bool, Error> {
        let verifier = self.invocation.verifier();
        let Some(key) = self.key_to_check(current.slot) else {
            return Ok(false);
        };
        if !verifier.can_probe(&current.resource) {
            return Ok(false);
        }
        let scope = Scope {
            control_plane,
            slot: current.slot,
            resource: &current.resource,
            metadata: current.metadata.clone(),
            keys: Vec::new(),
        };
        let mut target = verifier.target(scope).await?;
        self.ensure_time_left()?;
        let deadline = self
            .invocation
            .deadline
            .with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
        match verifier.verify_once(key, &mut target, deadline).await? {
            Verification::Verified => Ok(true),
            Verification::Unreachable => {
                tracing::warn!(
                    host = target.host(),
                    "did not verify the current key because its endpoint is unreachable"
                );
                Ok(false)
            }
        }
    }

    /// Checks that enough time is left to create a key and to store it.
    fn ensure_time_left(&self) -> Result<(), Error> {
        let deadline = self
            .invocation
            .deadline
            .with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
        if deadline.remaining().is_zero() {
            let purpose = "create a key and store it";
            return Err(Error::TimeoutTooShort { purpose });
        }
        Ok(())
    }

    /// Creates a key for each slot. If one cannot be created, deletes those that were created before it.
    async fn create_keys(&self, current: &Current<'_>) -> Result<Vec<ApiKey>, Error> {
        let (mut keys, mut cleanup) = (Vec::new(), None);
        for key in &current.keys {
            let created = self.create_key(current, key, &mut cleanup);
            let created = created.instrument(key.slot.span()).await;
            let checked = created.and_then(|created| {
                check_created(current, &keys, &created)?;
                Ok(created)
            });
            match checked {
                Ok(created) => keys.push(created),
                Err(error) => {
                    if !keys.is_empty() {
                        self.delete_unless_stored(current, &keys).await;
                    }
                    return Err(error.with_key(key.slot, current.value));
                }
            }
        }
        record_ids("pending_key_id", &keys);
        Ok(keys)
    }

    /// Creates a key. If the quota is exceeded, deletes one key and sends the `POST` once more. A `POST` whose outcome is unknown
    /// is not retried: a key that it created is an orphan, which finishSecret deletes.
    async fn create_key<'c>(
        &'c self,
        current: &'c Current<'_>,
        key: &'c CurrentKey<'_>,
        cleanup: &mut Option<Result<QuotaCleanup<'c>, String>>,
    ) -> Result<ApiKey, Error> {
        self.ensure_time_left()?;
        let tag = self.new_tag(&current.secret.arn, key);
        let spec = ApiKeySpec {
            owner: &key.slot.owner,
            resource: &key.resource,
            display_name: &ownership::display_name(&current.secret.arn),
            description: &tag.description(),
        };
        let control_plane = current.control_plane;
        let post = async || {
            control_plane
                .send(async |client, key| client.create(key, &spec).await)
                .await
        };
        let mut created = post().await;
        let mut result = String::new();
        if created.as_ref().is_err_and(is_quota_exceeded) {
            let is_sent_again;
            (is_sent_again, result) = self.free_quota(current, key, cleanup).await;
            if is_sent_again {
                self.ensure_time_left()?;
                created = post().await;
            }
        }
        match created {
            Err(Error::Confluent(source)) if source.kind() == Some(ErrorKind::QuotaExceeded) => {
                Err(quota_exceeded(control_plane, key, result, source).await)
            }
            Err(Error::Confluent(source)) if source.may_have_taken_effect() => {
                Err(Error::CreationOutcomeUnknown { source })
            }
            created => created,
        }
    }

    /// Returns the ownership tag of the key to create. Its `replaces` names an untagged key only on evidence: the key that the current
    /// key's own tag names, or the current key itself if it is untagged and its resource accepted it.
    fn new_tag(&self, arn: &str, current: &CurrentKey<'_>) -> OwnershipTag {
        let id = current.id().map(ToString::to_string);
        let ownership = current
            .metadata
            .as_ref()
            .map(|metadata| Ownership::of(metadata, arn));
        let replaces = match ownership {
            Some(Ownership::ThisSecret(tag)) => tag.replaces,
            Some(Ownership::Untagged) => id.clone().filter(|_| current.is_verified),
            Some(Ownership::AnotherSecret) | None => None,
        };
        let is_listed_untagged = |id: &String| {
            let mut keys = current.listed.iter();
            keys.any(|key| key.id == *id && Ownership::of(key, arn) == Ownership::Untagged)
        };
        let replaces = replaces.filter(is_listed_untagged);
        OwnershipTag::new(arn, &self.event.token, self.invocation.request_id)
            .for_slot(&current.slot.prefix)
            .replacing(id, replaces)
    }

    /// Stores the created keys. If they are known not to be stored, deletes them, because they cannot be used.
    async fn store(&self, current: &Current<'_>, keys: &[ApiKey]) -> Result<&'static str, Error> {
        let Err(error) = self.store_value(current, keys).await else {
            return Ok(stored_message(keys));
        };
        let code = match &error {
            Error::SecretsManager(source) if source.may_have_taken_effect() => return Err(error),
            Error::SecretsManager(source) => source.code(),
            _ => None,
        };
        tracing::warn!(error = error.message(), "could not store the created keys");
        // The version has another value, so these keys were never stored.
        let has_other_value = code == Some("ResourceExistsException");
        let stored = self.stored_keys(&current.secret.arn).await;
        match &stored {
            Ok(stored) if keys.iter().any(|key| stored.contains(&key.id)) => {
                return Ok(stored_message(keys));
            }
            // The keys may be stored, so they are kept. Their tags identify them.
            Err(_) if !has_other_value => return Err(error),
            _ => {}
        }
        self.delete_unstored_keys(current, keys).await;
        match stored {
            Ok(stored) if !stored.is_empty() => Ok("another invocation stored its keys first"),
            _ => Err(error),
        }
    }

    /// Deletes keys that were created, because another one cannot be created. Keeps them if the pending version contains them or
    /// cannot be read.
    async fn delete_unless_stored(&self, current: &Current<'_>, keys: &[ApiKey]) {
        match self.stored_keys(&current.secret.arn).await {
            Ok(stored) if !keys.iter().any(|key| stored.contains(&key.id)) => {
                self.delete_unstored_keys(current, keys).await;
            }
            _ => {}
        }
    }

    /// Deletes keys that were just created and are not stored. If that fails, they are orphans.
    async fn delete_unstored_keys(&self, current: &Current<'_>, keys: &[ApiKey]) {
        let control_plane = current.control_plane;
        for (replaced, key) in current.keys.iter().zip(keys) {
            let (filter, expected) = (replaced.filter(), replaced.id());
            let deleted = control_plane.delete(filter, &key.id, expected, async || true);
            match deleted.await {
                Ok(()) => {
                    tracing::info!(deleted_key_id = %key.id, "deleted the created key because it was not stored");
                }
                Err(error) => {
                    let error = error.message();
                    tracing::warn!(key_id = %key.id, error, "could not delete the created key, which was not stored");
                    let metrics = self.invocation.confluent.metrics();
                    metrics.count(|counts| counts.failed_deletions += 1);
                }
            }
        }
    }

    /// Stores the current value with `keys` in place of the current ones.
    async fn store_value(&self, current: &Current<'_>, keys: &[ApiKey]) -> Result<(), Error> {
        let value = current.value.with_keys(keys);
        let value = value.map_err(|source| Error::InvalidSecretValue {
            label: PENDING,
            source,
        })?;
        let (arn, event) = (&current.secret.arn, self.event);
        let rotation_token = event.rotation_token.as_ref();
        let secrets = &self.invocation.secrets;
        let stored = secrets.store_pending(arn, &event.token, &value, rotation_token);
        Ok(stored.await?)
    }

    /// Returns the IDs of the keys in the pending version, or an empty `Vec` if it has no value.
    async fn stored_keys(&self, arn: &str) -> Result<Vec<ApiKeyId>, Error> {
        // A read may miss a value that was just written, and its keys must not be deleted.
        let secrets = &self.invocation.secrets;
        let version = secrets.version_after_write(arn, &self.event.token, PENDING);
        let Some(SecretVersion { value, .. }) = version.await? else {
            return Ok(Vec::new());
        };
        let pending = SecretValue::parse(value).map_err(|source| Error::InvalidSecretValue {
            label: PENDING,
            source,
        })?;
        ensure_keys(PENDING, &pending)?;
        Ok(pending.keys().map(|key| key.id.clone()).collect())
    }
}

/// Returns the message of a step that stored `keys`.
fn stored_message(keys: &[ApiKey]) -> &'static str {
    match keys {
        [_] => "created an API key and stored it as AWSPENDING",
        _ => "created the API keys and stored them as AWSPENDING",
    }
}

/// Checks that the key in the response to a `POST` is new and well-formed. Otherwise, it is neither stored nor deleted: a key that
/// is not new may be in use, and copies of a malformed key could not be replaced. If a key was created, it is an orphan, which
/// finishSecret deletes.
fn check_created(current: &Current<'_>, created: &[ApiKey], key: &ApiKey) -> Result<(), Error> {
    let mut current = current.keys.iter();
    let is_known = current.any(|current| {
        let mut listed = current.listed.iter();
        listed.any(|listed| listed.id == key.id.as_str()) || current.id() == Some(&key.id)
    });
    if is_known || created.iter().any(|created| created.id == key.id) {
        let source = confluent::Error::existing_key_returned();
        return Err(Error::CreationOutcomeUnknown { source });
    }
    // The replacement of copies relies on the format of keys.
    if !key.is_well_formed() {
        return Err(confluent::Error::malformed_key_returned().into());
    }
    Ok(())
}

/// Logs the warnings about the value, and checks its resource IDs, and that every copy of a key can be replaced.
fn check_value(value: &SecretValue) -> Result<(), Error> {
    for warning in value
        .whitespace_warnings()
        .into_iter()
        .chain(value.copy_warnings())
    {
        tracing::warn!("{warning}");
    }
    let checked = value.check_replaceable();
    checked.map_err(|source| Error::InvalidSecretValue {
        label: CURRENT,
        source,
    })?;
    let mut slots = value.slots();
    Ok(slots.try_for_each(|slot| slot.resource().map(drop))?)
}

/// Adds the environment of the current key if the secret value omits it and a `POST` requires it.
fn complete_environment(
    resource: &Resource,
    metadata: Option<&ApiKeyMetadata>,
) -> Result<Resource, Error> {
    let mut resource = resource.clone();
    if resource.key_type.reference == ResourceReference::IdAndEnvironment
        && resource.environment.is_none()
    {
        let environment = metadata.map(ApiKeyMetadata::environment_for_path);
        let environment = environment.transpose()?.flatten();
        resource.environment = Some(environment.ok_or(EndpointError::EnvironmentUnknown)?);
    }
    Ok(resource)
}
