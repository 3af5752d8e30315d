//! Errors of a step or another job: what happened, and what to do.
//!
//! The `Display` output of a variant says what happened, and [`remedy`](Error::remedy) says what to do. `lambda_runtime` logs the
//! `Debug` output of the error that a handler returns, so `Debug` is implemented manually. No variant contains a secret or an error
//! of the AWS SDK.

mod endpoint;
mod name;
pub(crate) mod remedy;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::Diagnostic;

pub use self::endpoint::EndpointError;
use self::remedy::remedy_for_key;
pub use self::token::TokenError;
use crate::config::SECRET_ARN_FORM;
use crate::confluent::{self, ApiKeyId, ApiKeyMetadata, ProbeOutcome, UnknownResource};
use crate::http::{self, error_chain, printable};
use crate::secret::{self, CURRENT, SecretMetadata, SecretValue, Slot, field_name, value};

/// A failed step or another failed job. The [names](Error::name) of the variants are stable, because alarms and runbooks use them.
#[derive(strum_macros::IntoStaticStr, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum Error {
    #[error("the {event}{}event {problem}", if .event.is_empty() { "" } else { " " })]
    InvalidEvent {
        /// The value of `Step`, except for a step of a rotation.
        event: &'static str,
        problem: String,
    },
    #[error("rotation is not enabled for {secret}")]
    RotationNotEnabled { secret: String },
    #[error(
        "version {version} is not labeled AWSPENDING ({labels}), so its rotation is not in progress"
    )]
    VersionNotPending { version: String, labels: String },
    #[error("a key is missing in the {label} version: {fields} are missing, empty or placeholders")]
    VersionWithoutKey { label: &'static str, fields: String },
    #[error("there is no key to rotate: {fields} are missing, empty or placeholders")]
    InitialKeyNotAllowed { fields: String },
    #[error(
        "the secret contains no key that can authenticate, and neither another admin secret nor an identity pool is configured"
    )]
    InitialKeyRequiresAdminSecret,
    #[error("{secret} is a replica (primary: {primary})")]
    ReplicaSecret { secret: String, primary: String },
    #[error("the current key {key} is also the key of the admin secret")]
    CurrentKeyIsAdminKey { key: String },
    #[error("no version of the secret is labeled AWSCURRENT")]
    NoCurrentVersion,
    #[error("AWSCURRENT moved to another version during this step")]
    StagingLabelMoved,
    #[error("the {label} version {version} has no value")]
    VersionWithoutValue {
        label: &'static str,
        version: String,
    },
    #[error("the value of the {label} version of the secret is invalid")]
    InvalidSecretValue {
        label: &'static str,
        source: value::Error,
    },
    #[error("the AWSPENDING version {version} contains a current key")]
    PendingIsCurrent { version: String },
    #[error("the AWSPENDING version {version} does not match the current version")]
    PendingMismatch {
        version: String,
        source: value::Error,
    },
    #[error(
        "the AWSPENDING version {version} differs from the current version in more than the keys"
    )]
    PendingOutdated { version: String },
    #[error(transparent)]
    UnknownResource(#[from] UnknownResource),
    #[error(
        "the secret's own key is a resource-scoped API key ({key_type}), which cannot authenticate to the control plane of \
         Confluent Cloud, and {reason}"
    )]
    AdminSecretRequired {
        key_type: &'static str,
        reason: OwnKeyUse,
    },
    #[error("adminSecretArn in the rotation metadata is not {SECRET_ARN_FORM}")]
    InvalidAdminSecretArn,
    #[error("could not read the admin secret")]
    AdminSecretNotRead { source: secret::Error },
    #[error("{first} and {second} name different admin secrets")]
    AdminSecretConflict {
        first: &'static str,
        second: &'static str,
    },
    #[error("IDENTITY_POOL_ID is set, but {place} names an admin secret")]
    AdminSecretNotAllowed { place: &'static str },
    /// Several requests may wait for the same token.
    #[error(transparent)]
    Token(Arc<TokenError>),
    #[error("the value of the admin secret {secret} is invalid")]
    InvalidAdminSecretValue {
        secret: String,
        source: value::Error,
    },
    #[error("could not confirm that the current key {key} is an API key of {owner}")]
    CurrentKeyNotOfOwner {
        key: String,
        owner: String,
        source: KeyLookup,
    },
    #[error("the current key {key} is scoped to another resource or environment")]
    CurrentKeyScopeMismatch { key: String },
    #[error("could not verify the current key {key} (last probe: {outcome})")]
    CurrentKeyNotAccepted { key: String, outcome: ProbeOutcome },
    #[error(
        "the current key may have been deleted, but Confluent Cloud lists {previous}, the key of AWSPREVIOUS"
    )]
    EarlierValueStored {
        previous: String,
        source: Box<Error>,
    },
    #[error("could not verify the current key {key}: its endpoint is unreachable ({cause})")]
    EndpointUnreachable { key: String, cause: String },
    #[error("could not verify the key {key}: its endpoint does not reject a wrong API secret")]
    EndpointAcceptsAnyCredential { key: String },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(
        "could not verify the pending key {key}: {probes} probe{} in {} s, the last one {outcome}",
        if *.probes == 1 { "" } else { "s" },
        .elapsed.as_secs()
    )]
    PendingKeyNotAccepted {
        key: String,
        outcome: ProbeOutcome,
        elapsed: Duration,
        probes: u32,
    },
    #[error("the pending key {key} of version {version} was deleted")]
    PendingKeyDeleted { key: String, version: String },
    #[error("Confluent Cloud does not return the key {key} of this rotation")]
    PendingKeyNotListed { key: String },
    #[error("Confluent Cloud returns the pending key {key} with another owner or resource")]
    PendingKeyScopeMismatch { key: String },
    #[error("a quota for API keys is exhausted for {owner} ({keys}); {cleanup}")]
    QuotaExceeded {
        owner: String,
        keys: Box<str>,
        cleanup: String,
        source: confluent::Error,
    },
    #[error("not enough time is left to {purpose}")]
    TimeoutTooShort { purpose: &'static str },
    #[error("it is unknown whether Confluent Cloud created a key")]
    CreationOutcomeUnknown { source: confluent::Error },
    #[error("could not delete the API key {key}")]
    KeyDeletionFailed {
        key: String,
        source: confluent::Error,
    },
    #[error("the resource tag {tag} of the secret {problem}")]
    InvalidPolicyTag { tag: String, problem: String },
    #[error("{secret} does not name this function as its rotation function")]
    AnotherRotationFunction { secret: String },
    #[error(
        "the scheduled deletion failed for {failed} of {secrets} secret{}",
        if *.secrets == 1 { "" } else { "s" }
    )]
    RetireFailed { failed: usize, secrets: usize },
    /// An error about one key of a secret that contains several.
    #[error("the key in `{}` ({resource})", field_name(.prefix, "apiKey"))]
    InKey {
        prefix: String,
        resource: String,
        source: Box<Self>,
    },
    #[error(transparent)]
    Confluent(#[from] confluent::Error),
    #[error(transparent)]
    SecretsManager(#[from] secret::Error),
}

impl Error {
    /// Creates the error for an invalid event with the `Step` `event`, or `""` for a step of a rotation.
    pub fn invalid_event(event: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::InvalidEvent { event, problem }
    }

    /// Creates the error for a current key that could not be confirmed as a key of `owner`. `metadata` is the key's, `keys` are
    /// the owner's.
    pub fn not_of_owner(
        key: &ApiKeyId,
        owner: &str,
        metadata: Option<&ApiKeyMetadata>,
        keys: &[ApiKeyMetadata],
    ) -> Self {
        let source = match metadata {
            Some(ApiKeyMetadata { owner, .. }) => {
                let owner = owner.as_deref().unwrap_or("Confluent Cloud itself");
                KeyLookup::AnotherOwner(printable(owner))
            }
            None if keys.iter().any(|key| key.owner.as_deref() == Some(owner)) => {
                KeyLookup::OtherKeys
            }
            None => KeyLookup::NoKeys,
        };
        let (key, owner) = (key.to_string(), owner.to_owned());
        Self::CurrentKeyNotOfOwner { key, owner, source }
    }

    /// Names the key of `slot` and its resource if `value` contains several keys. Otherwise returns the same error.
    #[must_use]
    pub fn with_key(self, slot: &Slot, value: &SecretValue) -> Self {
        match slot.resource() {
            Ok(resource) if value.has_several_slots() => Self::InKey {
                prefix: slot.prefix.clone(),
                resource: resource.id,
                source: Box::new(self),
            },
            _ => self,
        }
    }

    /// Names the fields of `value` that seem to contain a key, if this error says that a key is missing, and `value` contains none.
    /// Otherwise returns the same error.
    #[must_use]
    pub fn with_other_keys(self, value: &SecretValue) -> Self {
        match self {
            Self::InitialKeyNotAllowed { .. } | Self::InitialKeyRequiresAdminSecret
                if !value.contains_keys() =>
            {
                let paths = value.other_key_paths();
                paths.map_or(self, |paths| Self::key_in_other_fields(value.main(), paths))
            }
            error => error,
        }
    }

    /// Checks that `value`, whose `slot` is to receive an initial key, contains the ID of none of `keys`. If the value already
    /// contains a key, only keys for the slot's resource count: the others have another purpose.
    pub fn ensure_no_listed_key(
        value: &SecretValue,
        slot: &Slot,
        keys: &[ApiKeyMetadata],
    ) -> Result<(), Self> {
        let resource = slot.resource()?;
        let matters = |key: &&ApiKeyMetadata| {
            let environment = key.environment.as_deref();
            !value.contains_keys() || resource.matches(key.resource.as_deref(), environment)
        };
        let ids = keys.iter().filter(matters);
        let mut ids = ids.map(|key| ApiKeyId::new(key.id.clone()));
        let paths = ids.find_map(|id| value.key_paths_with(&id));
        paths.map_or(Ok(()), |paths| Err(Self::key_in_other_fields(slot, paths)))
    }

    fn key_in_other_fields(slot: &Slot, paths: String) -> Self {
        let fields = slot.key_fields();
        let source = value::Error::KeyInOtherFields { fields, paths };
        Self::InvalidSecretValue {
            label: CURRENT,
            source,
        }
    }

    /// Returns [`ReplicaSecret`](Self::ReplicaSecret) if the secret is a replica.
    pub fn ensure_not_replica(secret: &SecretMetadata) -> Result<(), Self> {
        let Some(primary) = secret.primary.clone() else {
            return Ok(());
        };
        let secret = secret.arn.clone();
        Err(Self::ReplicaSecret { secret, primary })
    }

    /// Returns [`EarlierValueStored`](Self::EarlierValueStored) if `keys` contains the key of `previous`, but not the current key.
    /// Otherwise returns the same error.
    #[must_use]
    pub fn with_previous_key(self, previous: Option<&Slot>, keys: &[ApiKeyMetadata]) -> Self {
        let is_listed = |id: &str| keys.iter().any(|key| key.id == id);
        let is_deleted = match &self {
            Self::CurrentKeyNotOfOwner { source, .. } => *source == KeyLookup::OtherKeys,
            Self::CurrentKeyNotAccepted { key, .. } => !is_listed(key),
            _ => false,
        };
        let previous = previous.and_then(|slot| slot.key.as_ref());
        let previous = previous.map(|key| key.id.to_string());
        match previous.filter(|id| is_deleted && is_listed(id)) {
            Some(previous) => Self::EarlierValueStored {
                previous,
                source: Box::new(self),
            },
            None => self,
        }
    }

    /// Returns whether a deletion was not sent, because after a wait for the rate limit, it was no longer required.
    pub fn is_no_longer_wanted(&self) -> bool {
        let Self::KeyDeletionFailed { source, .. } = self else {
            return false;
        };
        let confluent::Error::NoResponse { source, .. } = source else {
            return false;
        };
        matches!(source, http::Error::NoLongerWanted { .. })
    }

    /// Returns whether a request to Confluent Cloud may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Confluent(source) | Self::KeyDeletionFailed { source, .. } => {
                source.may_have_taken_effect()
            }
            Self::InKey { source, .. } => source.may_have_taken_effect(),
            _ => false,
        }
    }

    /// Returns the complete message: what happened, its causes, and what to do.
    pub fn message(&self) -> String {
        let remedy = match self {
            Self::InKey { prefix, .. } => remedy_for_key(self.remedy(), prefix),
            _ => self.remedy().to_owned(),
        };
        // Some messages of the services end with a period.
        format!("{}. {remedy}", error_chain(self).trim_end_matches('.'))
    }
}

/// Returns the first error of two results, and logs the second one.
pub fn first_error(first: Result<(), Error>, second: Result<(), Error>) -> Result<(), Error> {
    if let (Err(_), Err(error)) = (&first, &second) {
        let (error_type, error) = (error.name(), error.message());
        tracing::warn!(error_type, error, "an error also occurred for another key");
    }
    first.and(second)
}

/// Why the management credentials are the secret's own key. Each reason has its own remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnKeyUse {
    /// No place names an admin secret.
    #[error("no admin secret is configured")]
    NoAdminSecret,
    /// The secret is its own admin secret.
    #[error("{0} names the secret itself as its admin secret")]
    NamesItself(&'static str),
    /// Another secret is the admin secret.
    #[error("the admin secret contains the same key")]
    SameKey,
}

/// Why the current key could not be confirmed as a key of its owner. Each reason has its own remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLookup {
    /// The key has another owner, which Confluent Cloud returned.
    #[error("it is a key of {0}")]
    AnotherOwner(String),
    /// The key's ID is misspelled, or the key was deleted or has an owner whose keys Confluent Cloud does not return to the
    /// management credentials.
    #[error("Confluent Cloud lists other keys of this owner, but not this one")]
    OtherKeys,
    /// The management credentials have no role for the owner, or it is misspelled. Confluent does not distinguish them.
    #[error(
        "Confluent Cloud shows neither this key nor any key of this owner to the management credentials: they have no role for \
         this owner, or the key has another owner or was deleted"
    )]
    NoKeys,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self {
            error_type: error.name().to_owned(),
            error_message: error.message(),
        }
    }
}
