//! `createSecret`: creates an API key and stores it as `AWSPENDING`.
//!
//! Confluent returns a key's secret only once. If the function stops between creating the key and storing it, the key
//! cannot be used. Every key therefore carries an ownership tag, so that a later step can find and delete it.

use super::{Rotation, key_in, record, resource};
use crate::config::{CurrentKeyCheck, KeyVerification};
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ApiKeySpec, ErrorKind, KeyFilter, Resource,
    ResourceReference, STORE_RESERVE,
};
use crate::error::Error;
use crate::http::RESPONSE_RESERVE;
use crate::keys::credentials::{ControlPlane, key_filter};
use crate::keys::deletion::{Deletion, Evidence};
use crate::keys::ownership::{self, Ownership, OwnershipTag};
use crate::keys::policy::PreviousKeyPolicy;
use crate::keys::target::Scope;
use crate::keys::verification::{self, Verification};
use crate::secret::{CURRENT, PENDING, PREVIOUS, SecretMetadata, SecretValue, SecretVersion};

/// The result of a step that stored its key.
const STORED: &str = "created an API key and stored it as AWSPENDING";

/// The current value, and what createSecret knows about its key.
struct Current<'a> {
    labels: &'a SecretMetadata,
    value: &'a SecretValue,
    control_plane: &'a ControlPlane<'a>,
    /// The filter of the list.
    filter: KeyFilter<'a>,
    /// The listed keys.
    keys: &'a [ApiKeyMetadata],
    /// The current key's metadata, if Confluent Cloud returns it.
    metadata: Option<ApiKeyMetadata>,
    /// Whether the resource accepted the current key in this invocation.
    is_verified: bool,
}

impl Current<'_> {
    fn owner(&self) -> &str {
        self.value.owner()
    }

    /// Returns the ID of the current key, or `None` if the initial key is to be created.
    fn key_id(&self) -> Option<&ApiKeyId> {
        self.value.api_key().map(|key| &key.id)
    }
}

impl Rotation<'_> {
    pub(super) async fn create_secret(
        &self,
        labels: &SecretMetadata,
    ) -> Result<&'static str, Error> {
        let (arn, version) = (&labels.arn, &self.event.token);
        let pending = self.secrets.version(arn, version, PENDING).await;
        let value = &self.current(labels).await?;
        if !matches!(pending, Ok(None)) {
            return self.keep_pending(labels, pending, value).await;
        }
        check_value(value)?;
        PreviousKeyPolicy::of(labels, self.config)?;
        let resource = &resource(value)?;
        let control_plane = &self.control_plane(labels, value, value.api_key()).await?;
        control_plane
            .ensure_can_manage_keys(resource, value.api_key())
            .await?;
        let filter = key_filter(value, resource);
        let keys = &match control_plane.list(filter).await {
            Ok(keys) => keys,
            Err(error) => {
                let previous = self.previous(labels).await;
                return Err(control_plane.explain(error, value, previous.as_ref()).await);
            }
        };
        match value.api_key() {
            Some(key) => control_plane.ensure_not_admin_key(&key.id).await?,
            None => Error::ensure_no_listed_key(value, keys)?,
        }
        let mut current = Current {
            labels,
            value,
            control_plane,
            filter,
            keys,
            metadata: None,
            is_verified: false,
        };
        self.count_keys(&current, resource);
        if let Err(error) = self.check_current(&mut current, resource).await {
            let previous = self.previous(labels).await;
            return Err(error.with_previous_key(previous.as_ref(), keys));
        }
        let resource = &complete_environment(resource, current.metadata.as_ref())?;

        let key = self.create_key(&current, resource).await?;
        check_created(&current, &key)?;
        self.store(&current, &key).await
    }

    /// Returns the current key if there is one and `CURRENT_KEY_CHECK` requires a check.
    fn key_to_check<'v>(&self, value: &'v SecretValue) -> Option<&'v ApiKey> {
        let is_required = self.config.current_key_check == CurrentKeyCheck::Required;
        value.api_key().filter(|_| is_required)
    }

    /// Looks up the current key and verifies it. If the key is to be checked, its metadata must match the secret value.
    async fn check_current(
        &self,
        current: &mut Current<'_>,
        resource: &Resource,
    ) -> Result<(), Error> {
        let Some(id) = current.key_id() else {
            return Ok(());
        };
        let metadata = current.control_plane.find(id, current.keys).await?;
        if self.key_to_check(current.value).is_some() {
            let all = match metadata {
                Some(_) => None,
                None => current.control_plane.all_keys(current.filter).await,
            };
            let (value, keys) = (current.value, all.as_deref().unwrap_or(current.keys));
            verification::check_scope(id, value, resource, metadata.as_ref(), keys)?;
        }
        current.metadata = metadata;
        current.is_verified = self.verify_current(current, resource).await?;
        Ok(())
    }

    /// Reads the value that is labeled `AWSPREVIOUS`, to explain an error.
    async fn previous(&self, labels: &SecretMetadata) -> Option<SecretValue> {
        let version = labels.version_with(PREVIOUS)?;
        let value = self.secrets.value(&labels.arn, version, PREVIOUS).await;
        SecretValue::parse(value.ok().flatten()?).ok()
    }

    /// Verifies the current key, which shows that the writer of the secret value possesses it. Returns whether its resource
    /// accepted it.
    async fn verify_current(
        &self,
        current: &Current<'_>,
        resource: &Resource,
    ) -> Result<bool, Error> {
        let verifier = self.verifier();
        let Some(key) = self.key_to_check(current.value) else {
            return Ok(false);
        };
        if !verifier.can_probe(resource) {
            return Ok(false);
        }
        let scope = Scope {
            control_plane: current.control_plane,
            value: current.value,
            resource,
            metadata: current.metadata.clone(),
            keys: Vec::new(),
        };
        let mut target = verifier.target(scope).await?;
        self.ensure_time_left()?;
        let deadline = self.deadline.with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
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
        let deadline = self.deadline.with_reserve(STORE_RESERVE + RESPONSE_RESERVE);
        if deadline.remaining().is_zero() {
            let purpose = "create a key and store it";
            return Err(Error::TimeoutTooShort { purpose });
        }
        Ok(())
    }

    /// Counts the owner's keys for the resource.
    fn count_keys(&self, current: &Current<'_>, resource: &Resource) {
        let used = count(current.keys, current.owner(), Some(resource));
        let metrics = self.confluent.metrics();
        metrics.count(|counts| counts.resource_keys = u64::try_from(used).ok());
    }

    /// Creates a key. If the quota is exceeded, deletes one key and sends the `POST` once more. A `POST` whose outcome is unknown
    /// is not retried: a key that it created is an orphan, which finishSecret deletes.
    async fn create_key(
        &self,
        current: &Current<'_>,
        resource: &Resource,
    ) -> Result<ApiKey, Error> {
        self.ensure_time_left()?;
        let tag = self.new_tag(current);
        let spec = ApiKeySpec {
            owner: current.owner(),
            resource,
            display_name: &ownership::display_name(&current.labels.arn),
            description: &tag.description(),
        };
        let control_plane = current.control_plane;
        let post = async || {
            control_plane
                .send(async |client, key| client.create(key, &spec).await)
                .await
        };
        let mut created = post().await;
        let mut cleanup = String::new();
        if created.as_ref().is_err_and(is_quota_exceeded) {
            let is_sent_again;
            (is_sent_again, cleanup) = self.free_quota(current, resource).await;
            if is_sent_again {
                self.ensure_time_left()?;
                created = post().await;
            }
        }
        match created {
            Err(Error::Confluent(source)) if source.kind() == Some(ErrorKind::QuotaExceeded) => {
                Err(quota_exceeded(current, resource, cleanup, source).await)
            }
            Err(Error::Confluent(source)) if source.may_have_taken_effect() => {
                Err(Error::CreationOutcomeUnknown { source })
            }
            created => created,
        }
    }

    /// Returns the ownership tag of the key to create. It names the untagged key that is to be replaced only on evidence: the
    /// current key if its resource accepted it, or else what the current key's own tag says.
    fn new_tag(&self, current: &Current<'_>) -> OwnershipTag {
        let arn = &current.labels.arn;
        let id = current.key_id().map(ToString::to_string);
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
            let mut keys = current.keys.iter();
            keys.any(|key| key.id == *id && Ownership::of(key, arn) == Ownership::Untagged)
        };
        let replaces = replaces.filter(is_listed_untagged);
        OwnershipTag::new(arn, &self.event.token, self.request_id).replacing(id, replaces)
    }

    /// Deletes at most one key to free quota. Returns whether a key may have been deleted, and what happened.
    async fn free_quota(&self, current: &Current<'_>, resource: &Resource) -> (bool, String) {
        let evidence = Evidence {
            control_plane: current.control_plane,
            secrets: self.secrets,
            value: current.value,
            resource,
            keys: current.keys,
            labels: current.labels.clone(),
        };
        match Deletion::prepare(evidence).await {
            Ok(deletion) => {
                let is_verified = self.is_verified_for_deletion(current, resource);
                deletion.free_quota(&self.event.token, is_verified).await
            }
            Err(reason) => {
                tracing::warn!(reason, "kept all keys of the secret");
                self.confluent.metrics().count(|counts| counts.kept += 1);
                (false, format!("no key was deleted, because {reason}"))
            }
        }
    }

    /// Returns whether the current key is verified, so that keys other than orphans of this version may be deleted.
    fn is_verified_for_deletion(&self, current: &Current<'_>, resource: &Resource) -> bool {
        let is_aged = || {
            let id = self.key_to_check(current.value).map(|key| key.id.as_str());
            let listed = current.keys.iter().find(|key| Some(key.id.as_str()) == id);
            listed.is_some_and(|key| self.verifier().remaining_age(key, resource).is_zero())
        };
        let is_probed = self.config.key_verification != KeyVerification::ControlPlane;
        current.is_verified || (!is_probed && is_aged())
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
        self.delete_unstored_key(current, key).await;
        match stored {
            Ok(Some(_)) => Ok("another invocation stored a key first"),
            _ => Err(error),
        }
    }

    /// Deletes the key that was just created and is not stored. If that fails, the key is an orphan.
    async fn delete_unstored_key(&self, current: &Current<'_>, key: &ApiKey) {
        let (filter, expected) = (current.filter, current.key_id());
        let control_plane = current.control_plane;
        let deleted = control_plane.delete(filter, &key.id, expected, async || true);
        match deleted.await {
            Ok(()) => {
                tracing::info!(deleted_key_id = %key.id, "deleted the created key because it was not stored");
            }
            Err(error) => {
                let error = error.message();
                tracing::warn!(key_id = %key.id, error, "could not delete the created key, which was not stored");
                let metrics = self.confluent.metrics();
                metrics.count(|counts| counts.failed_deletions += 1);
            }
        }
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
        let version = self
            .secrets
            .version_after_write(arn, &self.event.token, PENDING);
        let Some(SecretVersion { value, .. }) = version.await? else {
            return Ok(None);
        };
        let pending = SecretValue::parse(value).map_err(|source| Error::InvalidSecretValue {
            label: PENDING,
            source,
        })?;
        Ok(Some(key_in(PENDING, &pending)?.id))
    }
}

/// Counts the keys of `owner`, or only those for `resource`. Every list also contains Confluent's internal keys, which have no owner.
fn count(keys: &[ApiKeyMetadata], owner: &str, resource: Option<&Resource>) -> usize {
    let is_counted = |key: &&ApiKeyMetadata| {
        key.owner.as_deref() == Some(owner)
            && resource.is_none_or(|resource| {
                resource.matches(key.resource.as_deref(), key.environment.as_deref())
            })
    };
    keys.iter().filter(is_counted).count()
}

/// Adds the numbers of keys, and what was done to free quota, to the error of a `POST` that exceeded a quota. Lists all keys of the
/// owner, because those for other resources use the same quota.
async fn quota_exceeded(
    current: &Current<'_>,
    resource: &Resource,
    cleanup: String,
    source: confluent::Error,
) -> Error {
    let owner = current.owner();
    let of_resource = count(current.keys, owner, Some(resource));
    let listed = current.control_plane.all_keys(current.filter).await;
    let keys = if listed.is_none() && current.filter.without_resource().is_some() {
        format!("API keys scoped to this resource: {of_resource}")
    } else {
        let all = count(listed.as_deref().unwrap_or(current.keys), owner, None);
        format!("{all} API keys, {of_resource} of them scoped to this resource")
    };
    Error::QuotaExceeded {
        owner: owner.to_owned(),
        keys: keys.into(),
        cleanup,
        source,
    }
}

fn is_quota_exceeded(error: &Error) -> bool {
    let Error::Confluent(source) = error else {
        return false;
    };
    source.kind() == Some(ErrorKind::QuotaExceeded)
}

/// Checks that the response to a `POST` describes a created key. Otherwise, the key in it may be in use, so it is neither stored
/// nor deleted. A key that was created is an orphan, which finishSecret deletes.
fn check_created(current: &Current<'_>, key: &ApiKey) -> Result<(), Error> {
    let is_listed = current
        .keys
        .iter()
        .any(|listed| listed.id == key.id.as_str());
    if is_listed || current.key_id() == Some(&key.id) {
        let source = confluent::Error::existing_key_returned();
        return Err(Error::CreationOutcomeUnknown { source });
    }
    // The replacement of copies relies on the format of keys.
    if !key.is_well_formed() {
        return Err(confluent::Error::malformed_key_returned().into());
    }
    Ok(())
}

/// Logs the warnings about the value, and checks that every copy of the key can be replaced.
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
    })
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
        resource.environment = Some(environment.ok_or(Error::EnvironmentUnknown)?);
    }
    Ok(resource)
}
