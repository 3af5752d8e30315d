//! The four steps of a rotation, and what they share.
//!
//! A step may be interrupted at any point, and Secrets Manager then invokes it again with the same token. Each step therefore
//! first checks what has already been done.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

mod create_secret;
mod finish_secret;
mod healing;
mod quota;
mod test_secret;

use tracing::Span;

use crate::config::InitialKey;
use crate::confluent::ApiKey;
use crate::error::Error;
use crate::event::{Event, Step};
use crate::http::Redacted;
use crate::invocation::Invocation;
use crate::keys::credentials::ControlPlane;
use crate::secret::{self, CURRENT, PENDING, SecretMetadata, SecretValue, SecretVersion};

/// One step of a rotation.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The configuration and the clients.
    pub invocation: &'a Invocation<'a>,
    /// The event.
    pub event: &'a Event,
}

/// What a step starts with: the metadata of the secret, after a check that the event's version is pending or current.
struct StepContext {
    secret: SecretMetadata,
    /// Whether the event's version is already labeled `AWSCURRENT`.
    is_current: bool,
}

/// The event's version: pending, or already promoted. Every slot contains a key, except in the copy with which Secrets
/// Manager tests the configuration.
struct Pending {
    value: SecretValue,
    /// `CreatedDate`, in seconds since the epoch.
    created_at: Option<i64>,
}

impl StepContext {
    /// Describes the secret and checks that the event's version is pending or current.
    async fn load(rotation: &Rotation<'_>) -> Result<Self, Error> {
        let secrets = &rotation.invocation.secrets;
        let secret = secrets.describe(&rotation.event.secret_id).await?;
        Error::ensure_not_replica(&secret)?;
        let is_current = !rotation.is_still_pending(&secret)?;
        Ok(Self { secret, is_current })
    }
}

impl Rotation<'_> {
    /// Runs the step that the event names and returns a message for the log.
    pub async fn run(&self) -> Result<&'static str, Error> {
        if self.event.step == Step::Set {
            return Ok("no action required: creating a key also activates it");
        }
        let context = StepContext::load(self).await?;
        match self.event.step {
            Step::Finish => self.finish_secret(context).await,
            _ if context.is_current => Ok("no action required: the version is already current"),
            Step::Test => self.test_secret(&context.secret).await,
            Step::Create | Step::Set => self.create_secret(&context.secret).await,
        }
    }

    /// Returns `true` if the event's version is pending, and `false` if it is current.
    ///
    /// # Errors
    /// Returns [`Error::RotationNotEnabled`], or [`Error::VersionNotPending`] if the version is neither.
    fn is_still_pending(&self, secret: &SecretMetadata) -> Result<bool, Error> {
        if !secret.rotation_enabled {
            return Err(Error::RotationNotEnabled {
                secret: secret.arn.clone(),
            });
        }
        let version = &self.event.token;
        if secret.has(version, CURRENT) {
            return Ok(false);
        }
        if secret.has(version, PENDING) {
            return Ok(true);
        }
        Err(Error::VersionNotPending {
            version: version.clone(),
            labels: match secret.labels_of(version) {
                Some(labels) => {
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    format!("it is labeled {}", labels.join(", "))
                }
                None => "it has no staging label".to_owned(),
            },
        })
    }

    /// Reads the current value. A slot contains no key if this rotation creates the initial one.
    async fn current(&self, secret: &SecretMetadata) -> Result<SecretValue, Error> {
        let version = secret
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let secrets = &self.invocation.secrets;
        let value = secrets.value(&secret.arn, version, CURRENT).await?;
        let current = parse(CURRENT, version, value)?;
        record_resources(&current);
        record_ids("previous_key_id", current.keys());
        if let Some(slot) = current.slots().find(|slot| slot.key.is_none())
            && self.invocation.config.initial_key == InitialKey::Off
        {
            let fields = slot.key_fields();
            let error = Error::InitialKeyNotAllowed { fields }.with_other_keys(&current);
            return Err(error.with_key(slot, &current));
        }
        Ok(current)
    }

    /// Reads the pending version, which createSecret may have just stored.
    async fn pending(&self, secret: &SecretMetadata) -> Result<Pending, Error> {
        let (arn, id) = (&secret.arn, &self.event.token);
        let secrets = &self.invocation.secrets;
        let version = secrets.version_after_write(arn, id, PENDING).await;
        self.parse_version(PENDING, version)
    }

    /// Parses the event's version, which must contain a key in every slot.
    fn parse_version(
        &self,
        label: &'static str,
        version: Result<Option<SecretVersion>, secret::Error>,
    ) -> Result<Pending, Error> {
        let version = match version {
            Err(secret::Error::Binary { .. }) => {
                let source = secret::value::Error::Binary;
                return Err(Error::InvalidSecretValue { label, source });
            }
            version => version?,
        };
        let created_at = version.as_ref().and_then(|version| version.created_at);
        let value = version.map(|version| version.value);
        let value = parse(label, &self.event.token, value)?;
        ensure_keys(label, &value)?;
        record_ids("pending_key_id", value.keys());
        Ok(Pending { value, created_at })
    }

    /// Creates a control-plane client that authenticates with the secret's management credentials, which may be a key in `value`.
    async fn control_plane(
        &self,
        secret: &SecretMetadata,
        value: &SecretValue,
    ) -> Result<ControlPlane<'_>, Error> {
        let management = self.invocation.management_credentials(secret, value)?;
        Span::current().record("mode", management.mode());
        self.invocation.control_plane(management, value).await
    }
}

/// Adds the IDs of keys to all following log messages.
fn record_ids<'k>(field: &'static str, keys: impl IntoIterator<Item = &'k ApiKey>) {
    let ids: Vec<&str> = keys.into_iter().map(|key| key.id.as_str()).collect();
    if !ids.is_empty() {
        Span::current().record(field, ids.join(", "));
    }
}

/// Adds the resources and the key types, if they are known, to all following log messages.
fn record_resources(value: &SecretValue) {
    let resources = value.slots().filter_map(|slot| slot.resource().ok());
    let (ids, types): (Vec<String>, Vec<&str>) = resources
        .map(|resource| (resource.id, resource.key_type.name))
        .unzip();
    if !ids.is_empty() {
        Span::current().record("resource_id", ids.join(", "));
        Span::current().record("key_type", types.join(", "));
    }
}

/// Parses the value of a version that must have one.
fn parse(
    label: &'static str,
    version: &str,
    value: Option<Redacted>,
) -> Result<SecretValue, Error> {
    let value = value.ok_or_else(|| Error::VersionWithoutValue {
        label,
        version: version.to_owned(),
    })?;
    SecretValue::parse(value).map_err(|source| Error::InvalidSecretValue { label, source })
}

/// Checks that every slot of `value` contains a key.
fn ensure_keys(label: &'static str, value: &SecretValue) -> Result<(), Error> {
    let empty = value.slots().find(|slot| slot.key.is_none());
    empty.map_or(Ok(()), |slot| {
        let fields = slot.key_fields();
        Err(Error::VersionWithoutKey { label, fields })
    })
}
