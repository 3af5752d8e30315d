//! The management credentials: an access token of the function's identity pool, the key of an admin secret, or the secret's own
//! key.
//!
//! An admin secret may be rotated in the meantime. Each step therefore reads it when it needs it, and once more if its key is rejected.

use tokio::sync::Mutex;

use super::access_tokens::AccessTokens;
use crate::config::is_secret_arn;
use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, Credentials, ErrorKind, KeyFilter, Resource,
};
use crate::error::{Error, OwnKeyUse};
use crate::secret::{self, SecretMetadata, SecretValue, Slot};
use crate::telemetry::Metrics;

/// Which management credentials a secret uses.
#[derive(Debug)]
pub enum ManagementCredentials<'a> {
    /// The secret's own key: the ARN of the secret, and why its own key is used.
    OwnKey(String, OwnKeyUse),
    /// The key of another secret.
    AdminSecret(AdminSecret),
    /// Access tokens of the function's identity pool.
    IdentityPool(&'a AccessTokens<'a>),
}

/// An admin secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSecret {
    /// The ARN.
    pub arn: String,
    /// The place that names the ARN.
    pub source: &'static str,
}

impl<'a> ManagementCredentials<'a> {
    /// Selects the function's identity pool, or else the admin secret that the rotation metadata, the secret value or the
    /// configuration names, or else the secret's own key.
    ///
    /// # Errors
    /// Returns [`Error::AdminSecretNotAllowed`] if the function has an identity pool and an admin secret is named,
    /// [`Error::AdminSecretConflict`] if different ones are named, and [`Error::InvalidAdminSecretArn`] if the rotation metadata does
    /// not contain a complete ARN. The other places are checked when they are read.
    pub fn of(
        secret: &SecretMetadata,
        value: &SecretValue,
        configured: Option<&str>,
        access_tokens: Option<&'a AccessTokens<'a>>,
    ) -> Result<Self, Error> {
        let from_metadata = secret.admin_secret_arn.as_deref();
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
        let first = named.next();
        if let Some(tokens) = access_tokens {
            return match first {
                Some((place, _)) => Err(Error::AdminSecretNotAllowed { place }),
                None => Ok(Self::IdentityPool(tokens)),
            };
        }
        if from_metadata.is_some_and(|arn| !is_secret_arn(arn)) {
            return Err(Error::InvalidAdminSecretArn);
        }
        let Some((source, arn)) = first else {
            let own = secret.arn.clone();
            return Ok(Self::OwnKey(own, OwnKeyUse::NoAdminSecret));
        };
        if let Some((second, _)) = named.find(|(_, other)| *other != arn) {
            return Err(Error::AdminSecretConflict {
                first: source,
                second,
            });
        }
        if arn == secret.arn {
            return Ok(Self::OwnKey(arn.to_owned(), OwnKeyUse::NamesItself(source)));
        }
        let arn = arn.to_owned();
        Ok(Self::AdminSecret(AdminSecret { arn, source }))
    }

    /// Returns the name of the mode, for logs.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::OwnKey(..) => "self",
            Self::AdminSecret(_) => "admin",
            Self::IdentityPool(_) => "keyless",
        }
    }
}

/// Returns the filter for the keys of a slot: the owner's keys for the resource. If the slot contains no key, all keys of the owner,
/// because it may have contained any of them.
pub fn key_filter<'v>(slot: &'v Slot, resource: &'v Resource) -> KeyFilter<'v> {
    match slot.key {
        Some(_) => KeyFilter::for_resource(&slot.owner, resource),
        None => KeyFilter::of_owner(&slot.owner),
    }
}

/// Returns the key in the current value of an admin secret.
async fn admin_key(secrets: &secret::Client, arn: &str) -> Result<ApiKey, Error> {
    let value = secrets.admin_secret_value(arn).await;
    let value = value.map_err(|source| Error::AdminSecretNotRead { source })?;
    let secret = arn.to_owned();
    let invalid = |source| Error::InvalidAdminSecretValue { secret, source };
    let (key, warnings) = secret::api_key(&value).map_err(invalid)?;
    for warning in warnings {
        tracing::warn!(admin_secret = arn, "the admin secret: {warning}");
    }
    Ok(key)
}

/// The control-plane client, bound to the management credentials.
#[derive(Debug)]
pub struct ControlPlane<'a> {
    client: &'a confluent::Client,
    pub(super) secrets: &'a secret::Client,
    source: Source<'a>,
}

/// Where the management credentials come from.
#[derive(Debug)]
enum Source<'a> {
    /// The secret's own key, the ARN of the secret, and why its own key is used.
    OwnKey(Mutex<ApiKey>, String, OwnKeyUse),
    /// The key of the admin secret with this ARN.
    AdminSecret(Mutex<ApiKey>, String),
    /// The function's identity pool.
    IdentityPool(&'a AccessTokens<'a>),
}

impl<'a> ControlPlane<'a> {
    /// Creates a client that authenticates with `management`, which may be the secret's `own_key`.
    pub async fn new(
        client: &'a confluent::Client,
        secrets: &'a secret::Client,
        management: ManagementCredentials<'a>,
        own_key: Option<&ApiKey>,
    ) -> Result<Self, Error> {
        let own_key = || own_key.cloned().ok_or(Error::InitialKeyRequiresAdminSecret);
        let source = match management {
            ManagementCredentials::IdentityPool(tokens) => Source::IdentityPool(tokens),
            ManagementCredentials::OwnKey(arn, reason) => {
                Source::OwnKey(Mutex::new(own_key()?), arn, reason)
            }
            ManagementCredentials::AdminSecret(admin) => {
                let key = admin_key(secrets, &admin.arn).await?;
                Source::AdminSecret(Mutex::new(key), admin.arn)
            }
        };
        Ok(Self {
            client,
            secrets,
            source,
        })
    }

    /// Uses `key` from now on for self-rotation.
    pub async fn use_own_key(&self, key: &ApiKey) {
        if let Source::OwnKey(own_key, ..) = &self.source {
            *own_key.lock().await = key.clone();
        }
    }

    /// Returns whether the management credentials are the key with `id`.
    pub async fn authenticates_with(&self, id: &str) -> bool {
        match &self.source {
            Source::OwnKey(key, ..) | Source::AdminSecret(key, _) => {
                key.lock().await.id.as_str() == id
            }
            Source::IdentityPool(_) => false,
        }
    }

    /// Returns what identifies the management credentials: the ARN of the secret that contains them, or the ID of the identity
    /// pool.
    pub fn credentials_id(&self) -> &str {
        match &self.source {
            Source::OwnKey(_, arn, _) | Source::AdminSecret(_, arn) => arn,
            Source::IdentityPool(tokens) => tokens.identity_pool_id(),
        }
    }

    /// Checks that the management credentials may be accepted: a resource-scoped API key cannot rotate itself.
    ///
    /// # Errors
    /// Returns [`Error::AdminSecretRequired`].
    pub async fn ensure_can_manage_keys(&self, slot: &Slot) -> Result<(), Error> {
        let resource = slot.resource()?;
        let reason = match self.source {
            Source::OwnKey(_, _, reason) => reason,
            _ => OwnKeyUse::SameKey,
        };
        if !resource.key_type.can_manage_keys
            && let Some(key) = &slot.key
            && self.authenticates_with(key.id.as_str()).await
        {
            let key_type = resource.key_type.name;
            return Err(Error::AdminSecretRequired { key_type, reason });
        }
        Ok(())
    }

    /// Checks that a rotation does not replace the admin key.
    ///
    /// # Errors
    /// Returns [`Error::CurrentKeyIsAdminKey`].
    pub async fn ensure_not_admin_key(&self, current: &ApiKey) -> Result<(), Error> {
        if matches!(self.source, Source::AdminSecret(..))
            && self.authenticates_with(current.id.as_str()).await
        {
            let key = current.id.to_string();
            return Err(Error::CurrentKeyIsAdminKey { key });
        }
        Ok(())
    }

    /// Returns the metrics of this invocation.
    pub fn metrics(&self) -> &Metrics {
        self.client.metrics()
    }

    /// See [`confluent::Client::list`].
    pub async fn list(&self, filter: KeyFilter<'_>) -> Result<Vec<ApiKeyMetadata>, Error> {
        self.send(async |client, credentials| client.list(credentials, filter).await)
            .await
    }

    /// Explains why the keys of the owner in `slot` could not be listed: the current key has another owner, or an earlier value
    /// was probably stored again. Returns `error` for any other reason.
    pub async fn explain(
        &self,
        error: Error,
        slot: &Slot,
        previous: Option<&SecretValue>,
    ) -> Error {
        let kind = match &error {
            Error::Confluent(source) => source.kind(),
            _ => None,
        };
        match kind {
            Some(ErrorKind::Forbidden) => self.other_owner(slot).await.unwrap_or(error),
            Some(ErrorKind::Unauthenticated) if matches!(self.source, Source::OwnKey(..)) => {
                self.with_previous_key(error, previous).await
            }
            _ => error,
        }
    }

    /// Reads the current key. Returns an error if it has another owner than the one in `slot`.
    async fn other_owner(&self, slot: &Slot) -> Option<Error> {
        let (id, owner) = (&slot.key.as_ref()?.id, &slot.owner);
        let metadata = self.read(id).await.ok()??;
        let is_of_owner = metadata.owner.as_ref() == Some(owner);
        (!is_of_owner).then(|| Error::not_of_owner(id, owner, Some(&metadata), &[]))
    }

    /// Adds to `error` that the key of `previous` exists. A rejected key cannot list the owner's keys, so the key of `previous`
    /// does.
    async fn with_previous_key(&self, error: Error, previous: Option<&SecretValue>) -> Error {
        let previous = previous.map(SecretValue::self_rotation_slot);
        let key = previous.and_then(|slot| Some((slot.key.as_ref()?, &slot.owner)));
        let Some((key, owner)) = key else {
            return error;
        };
        // With the same ID, the current key was not deleted: its secret is wrong.
        if self.authenticates_with(key.id.as_str()).await {
            return error;
        }
        let key = Credentials::Key(key.clone());
        let listed = self.client.list(&key, KeyFilter::of_owner(owner)).await;
        let (Ok(keys), Credentials::Key(key)) = (listed, &key) else {
            return error;
        };
        if !keys.iter().any(|listed| listed.id == key.id.as_str()) {
            return error;
        }
        Error::EarlierValueStored {
            previous: key.id.to_string(),
            source: Box::new(error),
        }
    }

    /// Reads a key's metadata. Returns `None` if the key does not exist or the credentials have no permission to see it:
    /// Confluent does not distinguish them.
    pub async fn read(&self, id: &ApiKeyId) -> Result<Option<ApiKeyMetadata>, Error> {
        let not_found = [Some(ErrorKind::NotFound), Some(ErrorKind::Forbidden)];
        let read = self.send(async |client, credentials| client.read(credentials, id).await);
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

    /// Lists all keys of the owner, to explain an error. Returns `None` if `filter` already selects them, or if the request fails.
    pub async fn all_keys(&self, filter: KeyFilter<'_>) -> Option<Vec<ApiKeyMetadata>> {
        self.list(filter.without_resource()?).await.ok()
    }

    /// Deletes the key with `id`. Succeeds if it was already deleted. A list with `filter` shows that only if it contains
    /// `expected_key`. Calls `is_unused` after a wait for the rate limit and before each attempt except the first, and stops if it
    /// returns `false`.
    ///
    /// # Errors
    /// Returns [`Error::KeyDeletionFailed`], or an error if the admin secret cannot be read or no access token can be
    /// obtained.
    pub async fn delete(
        &self,
        filter: KeyFilter<'_>,
        id: &ApiKeyId,
        expected_key: Option<&ApiKeyId>,
        is_unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        let delete = async |client: &confluent::Client, credentials: &Credentials| {
            client.delete(credentials, id, &is_unused).await
        };
        let source = match self.send_while(delete, &is_unused).await {
            Ok(()) => return Ok(()),
            Err(Error::Confluent(source)) => source,
            Err(error) => return Err(error),
        };
        // A list without `expected_key` may be incomplete.
        if source.may_be_deleted()
            && let Ok(keys) = self.list(filter).await
        {
            let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
            if expected_key.is_some_and(lists) && !lists(id) {
                return Ok(());
            }
        }
        let key = id.to_string();
        Err(Error::KeyDeletionFailed { key, source })
    }

    /// Sends a request, and once more with newer credentials if the first ones are rejected.
    pub async fn send<T>(
        &self,
        request: impl AsyncFn(&confluent::Client, &Credentials) -> Result<T, confluent::Error>,
    ) -> Result<T, Error> {
        self.send_while(request, async || true).await
    }

    /// Like [`send`](Self::send), but calls `is_wanted` before the second attempt, and stops if it returns `false`.
    pub async fn send_while<T>(
        &self,
        request: impl AsyncFn(&confluent::Client, &Credentials) -> Result<T, confluent::Error>,
        is_wanted: impl AsyncFn() -> bool,
    ) -> Result<T, Error> {
        let credentials = self.credentials().await?;
        let outcome = request(self.client, &credentials).await;
        if let Err(error) = &outcome
            && error.kind() == Some(ErrorKind::Unauthenticated)
        {
            let newer = match self.newer_than(&credentials).await {
                // Report `error`: it says that the first attempt may have taken effect.
                Err(_) if error.may_have_taken_effect() => None,
                newer => newer?,
            };
            if let Some(newer) = newer
                && is_wanted().await
            {
                return Ok(request(self.client, &newer).await?);
            }
        }
        Ok(outcome?)
    }

    async fn credentials(&self) -> Result<Credentials, Error> {
        Ok(match &self.source {
            Source::OwnKey(key, ..) | Source::AdminSecret(key, _) => {
                Credentials::Key(key.lock().await.clone())
            }
            Source::IdentityPool(tokens) => {
                Credentials::Token(tokens.get(self.client.deadline()).await?.token)
            }
        })
    }

    /// Returns newer credentials than the `rejected` ones: an admin secret may have been rotated, and an access token may have
    /// expired.
    async fn newer_than(&self, rejected: &Credentials) -> Result<Option<Credentials>, Error> {
        match (&self.source, rejected) {
            (Source::AdminSecret(key, arn), Credentials::Key(rejected)) => {
                let current = admin_key(self.secrets, arn).await?;
                if current == *rejected {
                    return Ok(None);
                }
                let (rejected_key_id, admin_key_id) = (&rejected.id, &current.id);
                tracing::info!(%rejected_key_id, %admin_key_id, "the admin secret was rotated");
                *key.lock().await = current.clone();
                Ok(Some(Credentials::Key(current)))
            }
            (Source::IdentityPool(tokens), Credentials::Token(rejected)) => {
                let newer = tokens
                    .get_instead_of(rejected, self.client.deadline())
                    .await?;
                Ok(Some(Credentials::Token(newer.token)))
            }
            _ => Ok(None),
        }
    }
}
