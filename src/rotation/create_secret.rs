//! `createSecret`: creates an API key and stores it as `AWSPENDING`.
//!
//! Confluent returns a key's secret only once. If the function stops between creating the key and storing it, the key
//! cannot be used. Every key therefore carries an ownership tag, so that a later step can find and delete it.

use super::{Rotation, key_in, record, resource};
use crate::config::CurrentKeyCheck;
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ApiKeySpec, ErrorKind, Resource, ResourceReference,
    STORE_RESERVE,
};
use crate::error::Error;
use crate::http::RESPONSE_RESERVE;
use crate::keys::credentials::ControlPlane;
use crate::keys::deletion::{Deletion, delete_key};
use crate::keys::ownership;
use crate::keys::verification::{self, Verification};
use crate::secret::{PENDING, SecretValue, StagingLabels};

/// The result of a step that stored its key.
const STORED: &str = "created an API key and stored it as AWSPENDING";

/// The current value, and what createSecret knows about its key.
struct Current<'a> {
    labels: &'a StagingLabels,
    value: &'a SecretValue,
    control_plane: &'a ControlPlane<'a>,
    /// The owner's keys, listed before the staging labels are read again.
    keys: &'a [ApiKeyMetadata],
}

impl Current<'_> {
    fn owner(&self) -> &str {
        self.value.owner()
    }

    /// Returns the owner's keys. Every list also contains Confluent's internal keys, which have no owner.
    fn owned_keys(&self) -> impl Iterator<Item = &ApiKeyMetadata> {
        let is_owned = |key: &&ApiKeyMetadata| key.owner.as_deref() == Some(self.owner());
        self.keys.iter().filter(is_owned)
    }

    /// Returns the ID of the current key, or `None` if the initial key is to be created.
    fn key_id(&self) -> Option<&ApiKeyId> {
        self.value.api_key().map(|key| &key.id)
    }
}

impl Rotation<'_> {
    pub(super) async fn create_secret(
        &self,
        labels: &StagingLabels,
    ) -> Result<&'static str, Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        if self.secrets.value(arn, version, PENDING).await?.is_some() {
            return Ok("no action required: the pending version has a value");
        }
        let value = &self.current(labels).await?;
        for warning in value.warnings() {
            tracing::warn!("{warning}");
        }
        let mut resource = resource(value)?;
        let control_plane = &self.control_plane(labels, value, value.api_key()).await?;
        let keys = &control_plane.list(value.owner()).await?;
        let current = Current {
            labels,
            value,
            control_plane,
            keys,
        };
        self.count_keys(&current, &resource);
        let metadata = self.find_current(&current, &resource).await?;
        let is_verified = self
            .verify_current(&current, &resource, metadata.as_ref())
            .await?;
        complete_environment(&mut resource, metadata.as_ref())?;
        self.delete_orphans(&current, is_verified).await?;

        let key = self.create_key(&current, &resource).await?;
        // A response with the ID of an existing key does not describe the created key, and that key may be in use.
        if keys.iter().any(|listed| listed.id == key.id.as_str()) {
            let source = confluent::Error::existing_key_returned();
            return Err(Error::CreationOutcomeUnknown { source });
        }
        self.store(&current, &key).await
    }

    /// Returns the current key if there is one and `CURRENT_KEY_CHECK` requires a check.
    fn key_to_check<'v>(&self, value: &'v SecretValue) -> Option<&'v ApiKey> {
        let is_required = self.config.current_key_check == CurrentKeyCheck::Required;
        value.api_key().filter(|_| is_required)
    }

    /// Returns the current key's metadata. If the key is to be checked, it must match the secret value.
    async fn find_current(
        &self,
        current: &Current<'_>,
        resource: &Resource,
    ) -> Result<Option<ApiKeyMetadata>, Error> {
        let Some(id) = current.key_id() else {
            return Ok(None);
        };
        let metadata = current.control_plane.find(id, current.keys).await?;
        if self.key_to_check(current.value).is_some() {
            let (value, keys) = (current.value, current.keys);
            verification::check_scope(id, value, resource, metadata.as_ref(), keys)?;
        }
        Ok(metadata)
    }

    /// Verifies the current key, which shows that the writer of the secret value possesses it. Returns whether it is verified
    /// as far as the configuration requires.
    async fn verify_current(
        &self,
        current: &Current<'_>,
        resource: &Resource,
        metadata: Option<&ApiKeyMetadata>,
    ) -> Result<bool, Error> {
        let verifier = self.verifier();
        let Some(key) = self.key_to_check(current.value) else {
            return Ok(false);
        };
        if !verifier.can_probe(resource) {
            return Ok(true);
        }
        let (control_plane, metadata) = (current.control_plane, metadata.cloned());
        let target = verifier
            .target(control_plane, current.value, resource, metadata, &[])
            .await?;
        self.ensure_time_left()?;
        let deadline = self.deadline.with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
        match verifier.verify_current(key, &target, deadline).await? {
            Verification::Verified => Ok(true),
            Verification::Unreachable => {
                tracing::warn!(
                    host = target.endpoint.host_str(),
                    "did not verify the current key because its endpoint is unreachable"
                );
                Ok(false)
            }
        }
    }

    /// Checks that enough time is left to create a key and to store it.
    fn ensure_time_left(&self) -> Result<(), Error> {
        let deadline = self.deadline.with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
        if deadline.remaining().is_zero() {
            let purpose = "create a key and store it";
            return Err(Error::TimeoutTooShort { purpose });
        }
        Ok(())
    }

    /// Counts the owner's keys that use the quota of the key to create.
    fn count_keys(&self, current: &Current<'_>, resource: &Resource) {
        let Some(quota) = resource.key_type.quota else {
            return;
        };
        let used = quota.used(current.owned_keys().map(|key| key.resource.as_deref()));
        let metrics = self.confluent.metrics();
        metrics.count(|counts| counts.owner_keys = Some(used));
    }

    /// Deletes orphaned keys, and the key that the current key has replaced.
    async fn delete_orphans(&self, current: &Current<'_>, is_verified: bool) -> Result<(), Error> {
        let Current {
            labels,
            value,
            control_plane,
            keys,
        } = *current;
        let previous = self.previous(labels, value).await?;
        let previous = previous.as_ref().and_then(SecretValue::api_key);
        let mut kept: Vec<&str> = current.key_id().map(ApiKeyId::as_str).into_iter().collect();
        let mut replaced = previous.map(|key| key.id.as_str());
        if let Some(id) = replaced.filter(|_| !is_verified) {
            tracing::warn!(
                key_id = id,
                "kept the key of AWSPREVIOUS because the current key is not verified"
            );
            kept.push(id);
            replaced = None;
        }
        let orphans =
            ownership::find_orphans_before_create(keys, &self.tag(labels), &kept, replaced);
        let deletion = Deletion {
            pending_version: Some(&self.event.token),
            ..self.deletion(control_plane, current.owner(), current.key_id(), labels)
        };
        deletion.delete_orphans(orphans).await
    }

    /// Creates a key. A `POST` whose outcome is unknown is not retried: a key that it created is an orphan, which finishSecret
    /// deletes.
    async fn create_key(
        &self,
        current: &Current<'_>,
        resource: &Resource,
    ) -> Result<ApiKey, Error> {
        self.ensure_time_left()?;
        let arn = &current.labels.arn;
        let spec = ApiKeySpec {
            owner: current.owner(),
            resource,
            display_name: &ownership::display_name(arn),
            description: &self.tag(current.labels).description(),
        };
        let control_plane = current.control_plane;
        let created = control_plane.send(async |client, key| client.create(key, &spec).await);
        match created.await {
            Err(Error::Confluent(source)) if source.kind() == Some(ErrorKind::QuotaExceeded) => {
                Err(self.quota_exceeded(current, resource, source).await)
            }
            Err(Error::Confluent(source)) if source.may_have_taken_effect() => {
                Err(Error::CreationOutcomeUnknown { source })
            }
            created => created,
        }
    }

    /// Stores the created key. If Secrets Manager rejects it permanently, deletes the key, which cannot be used.
    async fn store(&self, current: &Current<'_>, key: &ApiKey) -> Result<&'static str, Error> {
        record("pending_key_id", key);
        let arn = &current.labels.arn;
        let Err(error) = self.store_value(current, key).await else {
            return Ok(STORED);
        };
        let code = match &error {
            Error::SecretsManager(source) if source.may_have_taken_effect() => return Err(error),
            Error::SecretsManager(source) => source.code(),
            _ => None,
        };
        tracing::warn!(error = error.message(), "could not store the created key");
        // The version has another value, so this key was never stored.
        let has_other_value = code == Some("ResourceExistsException");
        let stored = self.stored_key(arn).await;
        match &stored {
            Ok(Some(stored)) if *stored == key.id => return Ok(STORED),
            // The key may be stored, so it is kept. Its tag identifies it.
            Err(_) if !has_other_value => return Err(error),
            _ => {}
        }
        self.delete_unstored_key(current, key).await?;
        match stored {
            Ok(Some(_)) => Ok("another invocation stored a key first"),
            _ => Err(error),
        }
    }

    /// Deletes the key that was just created and is not stored.
    async fn delete_unstored_key(&self, current: &Current<'_>, key: &ApiKey) -> Result<(), Error> {
        let deleted = delete_key(
            current.control_plane,
            current.owner(),
            &key.id,
            current.key_id(),
            async || true,
        );
        let metrics = self.confluent.metrics();
        deleted
            .await
            .inspect_err(|_| metrics.count(|counts| counts.failed_deletions += 1))?;
        tracing::info!(deleted_key_id = %key.id, "deleted the created key because it was not stored");
        Ok(())
    }

    /// Stores the current value with `key` in place of the current key.
    async fn store_value(&self, current: &Current<'_>, key: &ApiKey) -> Result<(), Error> {
        let value = current.value.with_api_key(key);
        let value = value.map_err(|source| Error::InvalidSecretValue {
            label: PENDING,
            source,
        })?;
        let (arn, event) = (&current.labels.arn, self.event);
        let rotation_token = event.rotation_token.as_ref();
        let stored = self
            .secrets
            .store_pending(arn, &event.token, &value, rotation_token);
        Ok(stored.await?)
    }

    /// Returns the ID of the key in the pending version, if it has a value.
    async fn stored_key(&self, arn: &str) -> Result<Option<ApiKeyId>, Error> {
        // A read may miss a value that was just written, and its key must not be deleted.
        let value = self
            .secrets
            .value_after_write(arn, &self.event.token, PENDING);
        let Some(value) = value.await? else {
            return Ok(None);
        };
        let pending = SecretValue::parse(value).map_err(|source| Error::InvalidSecretValue {
            label: PENDING,
            source,
        })?;
        Ok(Some(key_in(PENDING, &pending)?.id))
    }

    /// Adds the numbers of keys to the error of a `POST` that exceeded a quota.
    async fn quota_exceeded(
        &self,
        current: &Current<'_>,
        resource: &Resource,
        source: confluent::Error,
    ) -> Error {
        // The first list may contain keys that this step has deleted.
        let Ok(keys) = &current.control_plane.list(current.owner()).await else {
            return source.into();
        };
        let current = Current { keys, ..*current };
        let is_of_resource = |key: &&ApiKeyMetadata| {
            resource.matches(key.resource.as_deref(), key.environment.as_deref())
        };
        let kept: Vec<&str> = current.key_id().map(ApiKeyId::as_str).into_iter().collect();
        let tag = self.tag(current.labels);
        Error::QuotaExceeded {
            owner: current.owner().to_owned(),
            keys: current.owned_keys().count(),
            of_resource: current.owned_keys().filter(is_of_resource).count(),
            orphans: ownership::find_orphans(current.keys, &tag, &kept).len(),
            source,
        }
    }
}

/// Sets the environment from the current key if the secret value omits it and a `POST` requires it.
fn complete_environment(
    resource: &mut Resource,
    metadata: Option<&ApiKeyMetadata>,
) -> Result<(), Error> {
    if resource.key_type.reference != ResourceReference::IdAndEnvironment
        || resource.environment.is_some()
    {
        return Ok(());
    }
    if let Some(metadata) = metadata {
        resource.environment = metadata.environment_for_path()?;
    }
    match resource.environment {
        Some(_) => Ok(()),
        None => Err(Error::EnvironmentUnknown),
    }
}
