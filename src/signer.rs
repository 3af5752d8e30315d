//! Who signs requests to Confluent's control plane: the secret's own key, or an admin secret's.
//!
//! An admin secret may itself be rotating, so it is read in each step that needs it, and once more when its
//! key is refused.

use tokio::sync::Mutex;

use crate::confluent::{self, Confluent, Listed, NewKey};
use crate::credential::{ApiKey, ApiKeyId};
use crate::document::{self, Document};
use crate::error::Error;
use crate::refusal::Meaning;
use crate::resource::LookUp;
use crate::store::{Labels, Store};

/// The control plane, and the key that signs what is asked of it.
#[derive(Debug)]
pub struct Signer<'a> {
    confluent: &'a Confluent,
    store: &'a Store,
    admin_secret: Option<String>,
    /// Requests go out together, and the first whose key is refused reads it again for all.
    key: Mutex<ApiKey>,
}

/// An admin secret, and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSecret {
    /// Its ARN.
    pub arn: String,
    /// Where the ARN comes from.
    pub named_by: &'static str,
}

/// The admin secret that the rotation's metadata, the secret's value or the function's configuration name;
/// none for self-rotation, which is also what a secret that names itself asks for.
///
/// # Errors
/// [`Error::AdminSecretAmbiguous`] if two of them name different secrets.
pub fn admin_secret(
    labels: &Labels,
    document: &Document,
    configured: Option<&str>,
) -> Result<Option<AdminSecret>, Error> {
    let sources = [
        (
            "the rotation's metadata",
            labels.admin_secret_arn.as_deref(),
        ),
        ("adminSecretArn in the secret", document.admin_secret_arn()),
        ("ADMIN_SECRET_ARN", configured),
    ];
    let mut named = sources
        .into_iter()
        .filter_map(|(place, arn)| Some((place, arn?)));
    let Some((named_by, arn)) = named.next() else {
        return Ok(None);
    };
    if let Some((second, _)) = named.find(|(_, other)| *other != arn) {
        let first = named_by;
        return Err(Error::AdminSecretAmbiguous { first, second });
    }
    Ok((arn != labels.arn).then(|| AdminSecret {
        arn: arn.to_owned(),
        named_by,
    }))
}

impl<'a> Signer<'a> {
    /// Signs with the key of `admin_secret`, which may have been read `ahead`, or with `own` where there is none.
    ///
    /// # Errors
    /// [`Error`], if the admin secret cannot be read, or if there is neither.
    pub async fn new(
        confluent: &'a Confluent,
        store: &'a Store,
        admin_secret: Option<AdminSecret>,
        ahead: Option<Result<ApiKey, Error>>,
        own: Option<&ApiKey>,
    ) -> Result<Self, Error> {
        let admin_secret = admin_secret.map(|secret| secret.arn);
        let key = match (&admin_secret, ahead) {
            (Some(_), Some(read)) => read?,
            (Some(secret), None) => admin_key(store, secret).await?,
            (None, _) => own.cloned().ok_or(Error::FirstKeyNeedsAdmin)?,
        };
        Ok(Self {
            confluent,
            store,
            admin_secret,
            key: Mutex::new(key),
        })
    }

    /// [`Confluent::list`]
    ///
    /// # Errors
    /// [`Error`]
    pub async fn list(&self, owner: &str) -> Result<Vec<Listed>, Error> {
        self.signed(async |confluent, key| confluent.list(key, owner).await)
            .await
    }

    /// [`Confluent::read`]; none if the key is gone, or may not be seen, which Confluent answers alike.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn read(&self, id: &ApiKeyId) -> Result<Option<Listed>, Error> {
        let read = self.signed(async |confluent, key| confluent.read(key, id).await);
        match read.await {
            Ok(key) => Ok(Some(key)),
            Err(Error::Confluent(error))
                if matches!(
                    error.meaning(),
                    Some(Meaning::NotFound | Meaning::Forbidden)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A key as Confluent describes it; none if it is gone, or may not be seen. A list may lag, and leaves out what the
    /// signer may not see, so a key that is not in `keys` is asked for.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn find(&self, id: &ApiKeyId, keys: &[Listed]) -> Result<Option<Listed>, Error> {
        match keys.iter().find(|listed| listed.id == id.as_str()) {
            Some(listed) => Ok(Some(listed.clone())),
            None => self.read(id).await,
        }
    }

    /// [`Confluent::has_owner`]
    ///
    /// # Errors
    /// [`Error`]
    pub async fn has_owner(&self, owner: &str) -> Result<bool, Error> {
        self.signed(async |confluent, key| confluent.has_owner(key, owner).await)
            .await
    }

    /// [`Confluent::quota`]
    ///
    /// # Errors
    /// [`Error`]
    pub async fn quota(&self, scope: &str, id: &str) -> Result<Option<u64>, Error> {
        self.signed(async |confluent, key| confluent.quota(key, scope, id).await)
            .await
    }

    /// [`Confluent::create`]
    ///
    /// # Errors
    /// [`Error`]
    pub async fn create(&self, new: &NewKey<'_>) -> Result<ApiKey, Error> {
        self.signed(async |confluent, key| confluent.create(key, new).await)
            .await
    }

    /// [`Confluent::endpoint`]
    ///
    /// # Errors
    /// [`Error`]
    pub async fn endpoint(
        &self,
        look_up: &LookUp,
        id: &str,
        environment: &str,
    ) -> Result<String, Error> {
        self.signed(async |confluent, key| confluent.endpoint(key, look_up, id, environment).await)
            .await
    }

    /// Deletes `key` of `owner`. That it is gone already is a success. What Confluent did not carry out is asked for again,
    /// where that may help, while the key is `unused` still.
    ///
    /// Confluent answers 403 for a key that is gone as for one that may not be deleted. The owner's list
    /// tells them apart, if it shows `witness`, a key that is known to exist, if there is one.
    ///
    /// # Errors
    /// [`Error::KeyNotDeleted`]
    pub async fn delete(
        &self,
        key: &ApiKeyId,
        owner: &str,
        witness: Option<&ApiKeyId>,
        unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        let sent =
            self.signed(async |confluent, signer| confluent.delete(signer, key, &unused).await);
        let source = match sent.await {
            Ok(()) => return Ok(()),
            Err(Error::Confluent(source)) => source,
            Err(error) => return Err(error),
        };
        if source.meaning() == Some(Meaning::Forbidden)
            && let Ok(keys) = self.list(owner).await
        {
            let lists = |id: &ApiKeyId| keys.iter().any(|key| key.id == id.as_str());
            if witness.is_some_and(lists) && !lists(key) {
                return Ok(());
            }
        }
        Err(Error::KeyNotDeleted {
            key: key.to_string(),
            source,
        })
    }

    /// Sends a request, and once more with a fresh key if the admin secret's is refused.
    async fn signed<T>(
        &self,
        request: impl AsyncFn(&Confluent, &ApiKey) -> Result<T, confluent::Error>,
    ) -> Result<T, Error> {
        let key = self.key.lock().await.clone();
        let error = match request(self.confluent, &key).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.meaning() == Some(Meaning::Unauthenticated)
            && let Some(secret) = &self.admin_secret
        {
            let fresh = self.another_key(secret, &key).await?;
            if fresh != key {
                return Ok(request(self.confluent, &fresh).await?);
            }
        }
        Err(error.into())
    }

    /// The admin secret's key, read again unless that has been done since `refused` was in use.
    async fn another_key(&self, secret: &str, refused: &ApiKey) -> Result<ApiKey, Error> {
        let mut key = self.key.lock().await;
        if *key == *refused {
            *key = admin_key(self.store, secret).await?;
            if *key != *refused {
                tracing::info!(old = %refused.id, new = %key.id, "the admin secret has a new key");
            }
        }
        Ok(key.clone())
    }
}

/// The key in the current value of an admin secret.
///
/// # Errors
/// [`Error`], if it cannot be read or holds none.
pub async fn admin_key(store: &Store, secret: &str) -> Result<ApiKey, Error> {
    let value = store.current_value(secret).await?;
    let read = document::api_key(&value);
    let (key, warnings) = read.map_err(|source| Error::AdminSecretValue {
        secret: secret.to_owned(),
        source,
    })?;
    for warning in warnings {
        tracing::warn!(secret, "in the admin secret, {warning}");
    }
    Ok(key)
}
