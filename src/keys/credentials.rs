//! The management credentials: the secret's own key, or the key of an admin secret.
//!
//! An admin secret may be rotated in the meantime. Each step therefore reads it when it needs it, and once more if its key is rejected.

use tokio::sync::Mutex;

use crate::config::is_secret_arn;
use crate::confluent::{self, ApiKey, ApiKeyId, ApiKeyMetadata, ErrorKind, Resource};
use crate::error::{Error, OwnKeyUse};
use crate::secret::{self, SecretMetadata, SecretValue};
use crate::telemetry::Metrics;

/// An admin secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSecret {
    /// The ARN.
    pub arn: String,
    /// The place that names the ARN.
    pub source: &'static str,
    /// Whether the secret names itself, which is self-rotation.
    pub is_own: bool,
}

/// Returns the admin secret that the rotation metadata, the secret value or the configuration names.
///
/// # Errors
/// Returns [`Error::AdminSecretConflict`] if they name different secrets, and [`Error::InvalidAdminSecretArn`] if the rotation
/// metadata does not contain a complete ARN. The other places are checked when they are read.
pub fn admin_secret(
    labels: &SecretMetadata,
    value: &SecretValue,
    configured: Option<&str>,
) -> Result<Option<AdminSecret>, Error> {
    let from_metadata = labels.admin_secret_arn.as_deref();
    if from_metadata.is_some_and(|arn| !is_secret_arn(arn)) {
        return Err(Error::InvalidAdminSecretArn);
    }
    let sources = [
        ("the rotation metadata", from_metadata),
        (
            "adminSecretArn or masterarn in the secret",
            value.admin_secret_arn(),
        ),
        ("ADMIN_SECRET_ARN", configured),
    ];
    let named = sources.into_iter();
    let mut named = named.filter_map(|(source, arn)| Some((source, arn?)));
    let Some((first, arn)) = named.next() else {
        return Ok(None);
    };
    if let Some((second, _)) = named.find(|(_, other)| *other != arn) {
        return Err(Error::AdminSecretConflict { first, second });
    }
    Ok(Some(AdminSecret {
        arn: arn.to_owned(),
        source: first,
        is_own: arn == labels.arn,
    }))
}

/// Returns the key in the current value of an admin secret.
async fn admin_key(secrets: &secret::Client, arn: &str) -> Result<ApiKey, Error> {
    let value = secrets.admin_secret_value(arn).await;
    let value = value.map_err(|source| Error::AdminSecretNotRead { source })?;
    let secret = arn.to_owned();
    let invalid = |source| Error::InvalidAdminSecretValue { secret, source };
    let (key, warnings) = secret::api_key(&value).map_err(invalid)?;
    for warning in warnings {
        tracing::warn!(admin_secret = arn, "in the admin secret, {warning}");
    }
    Ok(key)
}

/// The control-plane client, bound to the management credentials.
#[derive(Debug)]
pub struct ControlPlane<'a> {
    client: &'a confluent::Client,
    secrets: &'a secret::Client,
    /// The ARN of the admin secret, or `None` for self-rotation.
    admin_secret: Option<String>,
    /// Why the management credentials may be the secret's own key.
    own_key_use: OwnKeyUse,
    key: Mutex<ApiKey>,
}

impl<'a> ControlPlane<'a> {
    /// Creates a client that authenticates with the key of `admin_secret`, or with `own_key` if there is no other secret.
    pub async fn new(
        client: &'a confluent::Client,
        secrets: &'a secret::Client,
        admin_secret: Option<AdminSecret>,
        own_key: Option<&ApiKey>,
    ) -> Result<Self, Error> {
        let own_key_use = match &admin_secret {
            None => OwnKeyUse::NoAdminSecret,
            Some(secret) if secret.is_own => OwnKeyUse::NamesItself(secret.source),
            Some(_) => OwnKeyUse::SameKey,
        };
        let admin_secret = admin_secret.filter(|secret| !secret.is_own);
        let admin_secret = admin_secret.map(|secret| secret.arn);
        let own_key = own_key.ok_or(Error::InitialKeyRequiresAdminSecret);
        let key = match &admin_secret {
            Some(arn) => admin_key(secrets, arn).await?,
            None => own_key.cloned()?,
        };
        Ok(Self {
            client,
            secrets,
            admin_secret,
            own_key_use,
            key: Mutex::new(key),
        })
    }

    /// Uses `key` from now on for self-rotation.
    pub async fn use_own_key(&self, key: &ApiKey) {
        if self.admin_secret.is_none() {
            *self.key.lock().await = key.clone();
        }
    }

    /// Returns whether the management credentials are the key with `id`.
    pub async fn authenticates_with(&self, id: &str) -> bool {
        self.key.lock().await.id.as_str() == id
    }

    /// Checks that the management credentials may be accepted: a resource-scoped API key cannot rotate itself.
    ///
    /// # Errors
    /// Returns [`Error::AdminSecretRequired`].
    pub async fn ensure_can_manage_keys(
        &self,
        resource: &Resource,
        own_key: Option<&ApiKey>,
    ) -> Result<(), Error> {
        if !resource.key_type.can_manage_keys
            && let Some(key) = own_key
            && self.authenticates_with(key.id.as_str()).await
        {
            return Err(Error::AdminSecretRequired {
                key_type: resource.key_type.name,
                reason: self.own_key_use,
            });
        }
        Ok(())
    }

    /// Checks that a rotation does not replace the admin key.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyIsAdminKey`].
    pub async fn ensure_not_admin_key(&self, current: &ApiKeyId) -> Result<(), Error> {
        if self.admin_secret.is_some() && self.authenticates_with(current.as_str()).await {
            let key = current.to_string();
            return Err(Error::CurrentKeyIsAdminKey { key });
        }
        Ok(())
    }

    /// Returns the metrics of this invocation.
    pub fn metrics(&self) -> &Metrics {
        self.client.metrics()
    }

    /// See [`confluent::Client::list`].
    pub async fn list(&self, owner: &str) -> Result<Vec<ApiKeyMetadata>, Error> {
        self.send(async |client, key| client.list(key, owner).await)
            .await
    }

    /// Explains why the keys of the owner in `value` could not be listed: the current key has another owner, or an earlier value
    /// was probably stored again. Returns `error` for any other reason.
    pub async fn explain(
        &self,
        error: Error,
        value: &SecretValue,
        previous: Option<&SecretValue>,
    ) -> Error {
        let kind = match &error {
            Error::Confluent(source) => source.kind(),
            _ => None,
        };
        match kind {
            Some(ErrorKind::Forbidden) => self.other_owner(value).await.unwrap_or(error),
            Some(ErrorKind::Unauthenticated) if self.admin_secret.is_none() => {
                self.with_previous_key(error, previous).await
            }
            _ => error,
        }
    }

    /// Reads the current key. Returns an error if it has another owner than the one in `value`.
    async fn other_owner(&self, value: &SecretValue) -> Option<Error> {
        let (id, owner) = (&value.api_key()?.id, value.owner());
        let metadata = self.read(id).await.ok()??;
        let is_of_owner = metadata.owner.as_deref() == Some(owner);
        (!is_of_owner).then(|| Error::not_of_owner(id, owner, Some(&metadata), &[]))
    }

    /// Adds to `error` that the key of `previous` exists. A rejected key cannot list the owner's keys, so the key of `previous`
    /// does.
    async fn with_previous_key(&self, error: Error, previous: Option<&SecretValue>) -> Error {
        let key = previous.and_then(|value| Some((value.api_key()?, value.owner())));
        let Some((key, owner)) = key else {
            return error;
        };
        // With the same ID, the current key was not deleted: its secret is wrong.
        if self.authenticates_with(key.id.as_str()).await {
            return error;
        }
        match self.client.list(key, owner).await {
            Ok(keys) => error.with_previous_key(previous, &keys),
            Err(_) => error,
        }
    }

    /// Reads a key's metadata. Returns `None` if the key does not exist or the credentials have no permission to see it:
    /// Confluent does not distinguish them.
    pub async fn read(&self, id: &ApiKeyId) -> Result<Option<ApiKeyMetadata>, Error> {
        let not_found = [Some(ErrorKind::NotFound), Some(ErrorKind::Forbidden)];
        let read = self.send(async |client, key| client.read(key, id).await);
        match read.await {
            Err(Error::Confluent(error)) if not_found.contains(&error.kind()) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Returns a key's metadata from `keys`, or reads it if it is not listed: a list may lag behind, and it omits keys that the
    /// credentials have no permission to see.
    pub async fn find(
        &self,
        id: &ApiKeyId,
        keys: &[ApiKeyMetadata],
    ) -> Result<Option<ApiKeyMetadata>, Error> {
        match keys.iter().find(|key| key.id == id.as_str()) {
            Some(key) => Ok(Some(key.clone())),
            None => self.read(id).await,
        }
    }

    /// Deletes the key with `id`. Succeeds if it was already deleted. Calls `is_unused` before each attempt except the first, and
    /// stops if it returns `false`.
    ///
    /// # Errors
    /// Returns [`Error::KeyDeletionFailed`], or an error if the admin secret cannot be read.
    pub async fn delete(
        &self,
        owner: &str,
        id: &ApiKeyId,
        expected_key: Option<&ApiKeyId>,
        is_unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        let delete = async |client: &confluent::Client, key: &ApiKey| {
            client.delete(key, id, &is_unused).await
        };
        let source = match self.send_while(delete, &is_unused).await {
            Ok(()) => return Ok(()),
            Err(Error::Confluent(source)) => source,
            Err(error) => return Err(error),
        };
        // Only a list that contains `expected_key` shows it.
        if source.may_be_deleted()
            && let Ok(keys) = self.list(owner).await
        {
            let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
            if expected_key.is_some_and(lists) && !lists(id) {
                return Ok(());
            }
        }
        let key = id.to_string();
        Err(Error::KeyDeletionFailed { key, source })
    }

    /// Sends a request, and once more with the admin secret's current key if its earlier key is rejected.
    pub async fn send<T>(
        &self,
        request: impl AsyncFn(&confluent::Client, &ApiKey) -> Result<T, confluent::Error>,
    ) -> Result<T, Error> {
        self.send_while(request, async || true).await
    }

    /// Like [`send`](Self::send), but calls `is_wanted` before the second attempt, and stops if it returns `false`.
    pub async fn send_while<T>(
        &self,
        request: impl AsyncFn(&confluent::Client, &ApiKey) -> Result<T, confluent::Error>,
        is_wanted: impl AsyncFn() -> bool,
    ) -> Result<T, Error> {
        let key = self.key.lock().await.clone();
        let outcome = request(self.client, &key).await;
        if let Err(error) = &outcome
            && error.kind() == Some(ErrorKind::Unauthenticated)
            && let Some(arn) = &self.admin_secret
        {
            let current = admin_key(self.secrets, arn).await?;
            if current == key {
                return Ok(outcome?);
            }
            let (rejected_key_id, admin_key_id) = (&key.id, &current.id);
            tracing::info!(%rejected_key_id, %admin_key_id, "the admin secret was rotated");
            *self.key.lock().await = current.clone();
            if is_wanted().await {
                return Ok(request(self.client, &current).await?);
            }
        }
        Ok(outcome?)
    }
}
