//! The four steps of a rotation, and what they share.
//!
//! A step may be interrupted at any point, and Secrets Manager then invokes it again with the same token. Each step therefore
//! first checks what has already been done.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

mod create_secret;
mod finish_secret;
mod healing;
mod test_secret;

use crate::config::{Config, InitialKey};
use crate::confluent::{self, ApiKey, Resource};
use crate::error::Error;
use crate::event::{Event, Step};
use crate::http::{Deadline, Redacted};
use crate::keys::access_tokens::AccessTokens;
use crate::keys::credentials::{ControlPlane, ManagementCredentials};
use crate::keys::verification::Verifier;
use crate::secret::{self, CURRENT, PENDING, SecretMetadata, SecretValue, SecretVersion};

/// A step of a rotation, with everything that it uses.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The event.
    pub event: &'a Event,
    /// The function's configuration.
    pub config: &'a Config,
    /// Secrets Manager.
    pub secrets: &'a secret::Client,
    /// Confluent Cloud.
    pub confluent: &'a confluent::Client,
    /// The access tokens of the function's identity pool, if it has one.
    pub access_tokens: Option<&'a AccessTokens<'a>>,
    /// The invocation's deadline.
    pub deadline: Deadline,
    /// The invocation's request ID, for the ownership tag.
    pub request_id: &'a str,
}

/// What a step starts with: the staging labels, after a check that the event's version is pending or current.
struct StepContext {
    labels: SecretMetadata,
    /// Whether the event's version is already labeled `AWSCURRENT`.
    is_current: bool,
}

/// The event's version: pending, or already promoted.
struct Pending {
    value: SecretValue,
    key: ApiKey,
    /// `CreatedDate`, in seconds since the epoch.
    created_at: Option<i64>,
}

impl StepContext {
    /// Describes the secret and checks that the event's version can be rotated.
    async fn load(rotation: &Rotation<'_>) -> Result<Self, Error> {
        let labels = rotation.secrets.describe(&rotation.event.secret_id).await?;
        Error::ensure_not_replica(&labels)?;
        let is_current = !rotation.is_still_pending(&labels)?;
        Ok(Self { labels, is_current })
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
            Step::Test => self.test_secret(&context.labels).await,
            Step::Create | Step::Set => self.create_secret(&context.labels).await,
        }
    }

    /// Returns whether the event's version is pending, and `false` if it is current.
    ///
    /// # Errors
    /// Returns [`Error::RotationNotEnabled`], or [`Error::VersionNotPending`] if the version is neither.
    fn is_still_pending(&self, labels: &SecretMetadata) -> Result<bool, Error> {
        if !labels.rotation_enabled {
            return Err(Error::RotationNotEnabled {
                secret: labels.arn.clone(),
            });
        }
        let version = &self.event.token;
        if labels.has(version, CURRENT) {
            return Ok(false);
        }
        if labels.has(version, PENDING) {
            return Ok(true);
        }
        Err(Error::VersionNotPending {
            version: version.clone(),
            labels: match labels.labels_of(version) {
                Some(labels) => {
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    format!("it is labeled {}", labels.join(", "))
                }
                None => "it has no staging label".to_owned(),
            },
        })
    }

    /// Reads the current value. It contains no key if this rotation creates the initial one.
    async fn current(&self, labels: &SecretMetadata) -> Result<SecretValue, Error> {
        let version = labels
            .version_with(CURRENT)
            .ok_or(Error::NoCurrentVersion)?;
        let value = self.secrets.value(&labels.arn, version, CURRENT).await?;
        let current = parse(CURRENT, version, value)?;
        record_key_type(&current);
        match current.api_key() {
            Some(key) => record("previous_key_id", key),
            None if self.config.initial_key == InitialKey::Off => {
                return Err(Error::InitialKeyNotAllowed.with_other_keys(&current));
            }
            None => {}
        }
        Ok(current)
    }

    /// Reads the pending version, which createSecret has just stored.
    async fn pending(&self, labels: &SecretMetadata) -> Result<Pending, Error> {
        let (arn, id) = (&labels.arn, &self.event.token);
        let version = self.secrets.version_after_write(arn, id, PENDING).await;
        self.parse_version(PENDING, version)
    }

    /// Parses the event's version, which must contain a key.
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
        let key = key_in(label, &value)?;
        record("pending_key_id", &key);
        Ok(Pending {
            value,
            key,
            created_at,
        })
    }

    /// Creates a control-plane client that authenticates with the secret's management credentials, which may be `own_key`.
    async fn control_plane(
        &self,
        labels: &SecretMetadata,
        value: &SecretValue,
        own_key: Option<&ApiKey>,
    ) -> Result<ControlPlane<'_>, Error> {
        let configured = self.config.admin_secret_arn.as_deref();
        let management = ManagementCredentials::of(labels, value, configured, self.access_tokens)?;
        tracing::Span::current().record("mode", management.mode());
        let created = ControlPlane::new(self.confluent, self.secrets, management, own_key).await;
        created.map_err(|error| error.with_other_keys(value))
    }

    fn verifier(&self) -> Verifier<'_> {
        Verifier::new(self.confluent, self.config)
    }
}

/// Returns the resource that the keys in `value` are scoped to.
fn resource(value: &SecretValue) -> Result<Resource, Error> {
    Ok(Resource::new(value.resource_id(), value.environment_id())?)
}

/// Adds a key's ID to all following log messages.
fn record(field: &'static str, key: &ApiKey) {
    tracing::Span::current().record(field, key.id.as_str());
}

/// Adds the key type, if it is known, to all following log messages.
fn record_key_type(value: &SecretValue) {
    if let Ok(resource) = resource(value) {
        tracing::Span::current().record("key_type", resource.key_type.name);
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

/// Returns the key in a value that must contain one.
fn key_in(label: &'static str, value: &SecretValue) -> Result<ApiKey, Error> {
    let key = value.api_key().cloned();
    key.ok_or(Error::VersionWithoutKey { label })
}
