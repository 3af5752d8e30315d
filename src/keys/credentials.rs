//! The management credentials: the secret's own key, or the key of an admin secret.
//!
//! An admin secret may be rotating itself. Each step therefore reads it when it needs it, and once more if its key is rejected.

use tokio::sync::Mutex;

use crate::confluent::{
    self, ApiKey, ApiKeyId, ApiKeyMetadata, ApiKeySpec, EndpointLookup, ErrorKind,
};
use crate::error::Error;
use crate::secret::{self, SecretValue, StagingLabels};

/// The credentials that authenticate to the control plane.
#[derive(Debug)]
pub struct ControlPlaneCredentials {
    /// The ARN of the admin secret, or `None` for self-rotation.
    admin_secret: Option<String>,
    /// Concurrent requests share the key. The first one whose key is rejected reads the admin secret again for all of them.
    key: Mutex<ApiKey>,
}

/// An admin secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSecret {
    /// The ARN.
    pub arn: String,
    /// The place that names the ARN.
    pub source: &'static str,
}

/// Returns the admin secret that the rotation metadata, the secret value or the configuration names. Returns `None` for
/// self-rotation, which includes a secret that names itself.
pub fn admin_secret(
    labels: &StagingLabels,
    value: &SecretValue,
    configured: Option<&str>,
) -> Result<Option<AdminSecret>, Error> {
    let sources = [
        ("the rotation metadata", labels.admin_secret_arn.as_deref()),
        ("adminSecretArn in the secret", value.admin_secret_arn()),
        ("ADMIN_SECRET_ARN", configured),
    ];
    let mut named = sources
        .into_iter()
        .filter_map(|(source, arn)| Some((source, arn?)));
    let Some((source, arn)) = named.next() else {
        return Ok(None);
    };
    if let Some((second, _)) = named.find(|(_, other)| *other != arn) {
        return Err(Error::AdminSecretConflict {
            first: source,
            second,
        });
    }
    Ok((arn != labels.arn).then(|| AdminSecret {
        arn: arn.to_owned(),
        source,
    }))
}

/// Returns the key in the current value of an admin secret.
async fn admin_key(secrets: &secret::Client, arn: &str) -> Result<ApiKey, Error> {
    let value = secrets.admin_secret_value(arn).await?;
    let (key, warnings) =
        secret::api_key(&value).map_err(|source| Error::InvalidAdminSecretValue {
            secret: arn.to_owned(),
            source,
        })?;
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
    credentials: ControlPlaneCredentials,
}

impl<'a> ControlPlane<'a> {
    /// Authenticates with the key of `admin_secret`, or with `own_key` if there is no admin secret.
    pub async fn new(
        client: &'a confluent::Client,
        secrets: &'a secret::Client,
        admin_secret: Option<AdminSecret>,
        own_key: Option<&ApiKey>,
    ) -> Result<Self, Error> {
        let admin_secret = admin_secret.map(|secret| secret.arn);
        let key = match &admin_secret {
            Some(arn) => admin_key(secrets, arn).await?,
            None => own_key
                .cloned()
                .ok_or(Error::InitialKeyRequiresAdminSecret)?,
        };
        Ok(Self {
            client,
            secrets,
            credentials: ControlPlaneCredentials {
                admin_secret,
                key: Mutex::new(key),
            },
        })
    }

    /// See [`confluent::Client::list`].
    pub async fn list(&self, owner: &str) -> Result<Vec<ApiKeyMetadata>, Error> {
        self.send(async |client, key| client.list(key, owner).await)
            .await
    }

    /// Reads a key's metadata. Returns `None` if the key does not exist or the credentials have no permission to see it:
    /// Confluent does not distinguish them.
    pub async fn read(&self, id: &ApiKeyId) -> Result<Option<ApiKeyMetadata>, Error> {
        let read = self.send(async |client, key| client.read(key, id).await);
        match read.await {
            Ok(key) => Ok(Some(key)),
            Err(Error::Confluent(error))
                if matches!(
                    error.kind(),
                    Some(ErrorKind::NotFound | ErrorKind::Forbidden)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
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

    /// See [`confluent::Client::applied_quota`].
    pub async fn applied_quota(&self, scope: &str, id: &str) -> Result<Option<u64>, Error> {
        self.send(async |client, key| client.applied_quota(key, scope, id).await)
            .await
    }

    /// See [`confluent::Client::create`].
    pub async fn create(&self, spec: &ApiKeySpec<'_>) -> Result<ApiKey, Error> {
        self.send(async |client, key| client.create(key, spec).await)
            .await
    }

    /// See [`confluent::Client::endpoint`].
    pub async fn endpoint(
        &self,
        lookup: &EndpointLookup,
        id: &str,
        environment: &str,
    ) -> Result<String, Error> {
        self.send(async |client, key| client.endpoint(key, lookup, id, environment).await)
            .await
    }

    /// See [`confluent::Client::delete`].
    pub(super) async fn delete(
        &self,
        id: &ApiKeyId,
        is_unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        self.send(async |client, key| client.delete(key, id, &is_unused).await)
            .await
    }

    /// Sends a request, and once more with the admin secret's current key if its earlier key is rejected.
    async fn send<T>(
        &self,
        request: impl AsyncFn(&confluent::Client, &ApiKey) -> Result<T, confluent::Error>,
    ) -> Result<T, Error> {
        let key = self.credentials.key.lock().await.clone();
        let error = match request(self.client, &key).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if error.kind() == Some(ErrorKind::Unauthenticated)
            && let Some(arn) = &self.credentials.admin_secret
        {
            let current = self.reread_admin_key(arn, &key).await?;
            if current != key {
                return Ok(request(self.client, &current).await?);
            }
        }
        Err(error.into())
    }

    /// Reads the admin secret again, unless that has happened since `rejected` was in use.
    async fn reread_admin_key(&self, arn: &str, rejected: &ApiKey) -> Result<ApiKey, Error> {
        let mut key = self.credentials.key.lock().await;
        if *key == *rejected {
            *key = admin_key(self.secrets, arn).await?;
            if *key != *rejected {
                tracing::info!(
                    rejected_key_id = %rejected.id,
                    admin_key_id = %key.id,
                    "the admin secret was rotated; retrying with its current key"
                );
            }
        }
        Ok(key.clone())
    }
}
