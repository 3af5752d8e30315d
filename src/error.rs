//! Why a step failed: what is wrong, and what to do.
//!
//! A variant's own text says what is wrong; [`remedy`](Error::remedy) says what to do.
//! `lambda_runtime` prints the `Debug` of what a handler returns, so [`Error`]'s is written by hand and shows
//! what its `Display` does. No variant holds a secret, and none holds an error of the SDK.

mod remedy;

use std::fmt;
use std::time::Duration;

use lambda_runtime::Diagnostic;

use crate::confluent::{self, Listed, Verdict};
use crate::credential::ApiKeyId;
use crate::refusal::Meaning;
use crate::resource::UnknownResource;
use crate::{document, http, store};

/// A step that failed. The variants' names are [stable](Error::name): alarms and runbooks use them.
#[derive(thiserror::Error)]
pub enum Error {
    /// The payload is not an event of Secrets Manager's.
    #[error("the event {problem}")]
    InvalidEvent {
        /// What is wrong, naming the field.
        problem: String,
    },
    /// Rotation was never enabled, or was cancelled.
    #[error("rotation is not enabled for {secret}")]
    RotationNotEnabled {
        /// The secret's ARN.
        secret: String,
    },
    /// The version the event names bears no label that lets it be rotated.
    #[error(
        "version {version} is not staged as AWSPENDING ({labels}): its rotation was superseded or abandoned"
    )]
    VersionNotPending {
        /// The version's id.
        version: String,
        /// What it is labelled with.
        labels: String,
    },
    /// A value that has to hold a key holds none.
    #[error(
        "the value of the {label} version of the secret holds no key: apiKey and apiSecret are absent or empty"
    )]
    KeyMissing {
        /// The label.
        label: &'static str,
    },
    /// The secret holds no key, and making the first one is not allowed.
    #[error("the secret holds no key: apiKey and apiSecret are absent or empty")]
    NoKeyYet,
    /// The secret holds no key, and nobody else's signs.
    #[error("the secret holds no key to sign with, and no admin secret is named")]
    FirstKeyNeedsAdmin,
    /// No version is current.
    #[error("no version of the secret bears AWSCURRENT")]
    NoCurrentVersion,
    /// Somebody moved `AWSCURRENT`, or another label, while the step was under way.
    #[error("a label moved to another version during this step, so the step stopped")]
    LabelMoved,
    /// A version that a step needs has no value.
    #[error("the {label} version {version} has no value")]
    VersionWithoutValue {
        /// The label.
        label: &'static str,
        /// The version's id.
        version: String,
    },
    /// A value is not usable.
    #[error("the value of the {label} version of the secret is not usable")]
    SecretValue {
        /// The label.
        label: &'static str,
        /// What is wrong with it.
        #[source]
        source: document::Error,
    },
    /// The pending version holds the key that is current.
    #[error(
        "the AWSPENDING version {version} holds the current key, so there is nothing to rotate to"
    )]
    PendingIsCurrent {
        /// The pending version's id.
        version: String,
    },
    /// The pending value is not for what the current one is for.
    #[error(
        "the AWSPENDING version {version} is not for what the current one is for: the secret was changed \
         during the rotation"
    )]
    PendingDisagrees {
        /// The pending version's id.
        version: String,
        /// The field that differs.
        #[source]
        source: document::Error,
    },
    /// The current value was changed after the pending one was made from it.
    #[error(
        "the AWSPENDING version {version} was not made from the value that is current now, and would undo what \
         was changed since"
    )]
    PendingOutdated {
        /// The pending version's id.
        version: String,
    },
    /// `resourceId` is of no kind.
    #[error(transparent)]
    UnknownResource(#[from] UnknownResource),
    /// The admin secret is named differently in two places.
    #[error("{first} and {second} name different admin secrets")]
    AdminSecretAmbiguous {
        /// One place.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// The admin secret's value is not usable.
    #[error("the value of the admin secret {secret} is not usable")]
    AdminSecretValue {
        /// The admin secret's ARN.
        secret: String,
        /// What is wrong with it.
        #[source]
        source: document::Error,
    },
    /// The current key is not one of the owner's.
    #[error("the current key {key} is not among {owner}'s keys: {found}")]
    CurrentKeyNotOfOwner {
        /// The current key's id.
        key: String,
        /// The owner the secret names.
        owner: String,
        /// What was found instead.
        found: Found,
    },
    /// The current key belongs to another resource.
    #[error("the current key {key} is for another resource or environment than the secret names")]
    CurrentKeyOfOtherResource {
        /// The current key's id.
        key: String,
    },
    /// The current key does not open its resource.
    #[error("the current key {key} does not open its resource: {seen}")]
    CurrentKeyNotAccepted {
        /// The current key's id.
        key: String,
        /// What trying it showed.
        seen: Seen,
    },
    /// The endpoint at which the current key would be tried is out of reach.
    #[error("the current key {key} cannot be tried at its resource: {seen}")]
    EndpointUnreachable {
        /// The current key's id.
        key: String,
        /// How it could not be reached.
        seen: Seen,
    },
    /// The endpoint answers everybody as it answers the current key.
    #[error(
        "the resource's endpoint answers a wrong secret as it answers the current key's, so trying {key} \
         there proves nothing"
    )]
    EndpointIndifferent {
        /// The current key's id.
        key: String,
    },
    /// The environment of the resource is not known.
    #[error("the environment of the resource is not known")]
    EnvironmentUnknown,
    /// The organization's id is not known.
    #[error(
        "Confluent Cloud does not say which organization the key belongs to, which trying a Flink key needs"
    )]
    OrganizationUnknown,
    /// The control plane does not say where the resource is.
    #[error("the resource's endpoint is not found")]
    EndpointNotFound {
        /// What Confluent said.
        #[source]
        source: confluent::Error,
    },
    /// The endpoint is not a URL that a key can be tried at.
    #[error("{source_of_it} is not the https URL of a host, without path or query")]
    EndpointInvalid {
        /// Where the endpoint comes from.
        source_of_it: &'static str,
    },
    /// The endpoint is not at an allowed host.
    #[error("{source_of_it} is not used")]
    EndpointNotAllowed {
        /// Where the endpoint comes from.
        source_of_it: &'static str,
        /// The host, and the rule it breaks.
        #[source]
        source: http::Error,
    },
    /// The new key was not accepted in time.
    #[error(
        "the new key {key} is not known to open its resource after {tries} tries in {} seconds: {seen}",
        .elapsed.as_secs()
    )]
    NewKeyNotAccepted {
        /// The new key's id.
        key: String,
        /// What was seen last.
        seen: Seen,
        /// For how long it was tried.
        elapsed: Duration,
        /// How often.
        tries: u32,
    },
    /// The new key was deleted by somebody else.
    #[error(
        "the new key {key} no longer exists: somebody deleted it, so AWSPENDING was taken off version {version}"
    )]
    NewKeyDeleted {
        /// The new key's id.
        key: String,
        /// The version that was pending.
        version: String,
    },
    /// The control plane does not know the new key.
    #[error(
        "Confluent Cloud does not know the new key {key}, or not yet, or the key that signs may not see it"
    )]
    NewKeyNotListed {
        /// The new key's id.
        key: String,
    },
    /// The control plane does not know the new key as what it was made for.
    #[error("Confluent Cloud lists the new key {key} for another owner or resource")]
    NewKeyOfOtherResource {
        /// The new key's id.
        key: String,
    },
    /// No key could be made, because there are too many.
    #[error(
        "{owner} has {keys} API keys, {of_resource} of them for this resource, and may have no more"
    )]
    QuotaExceeded {
        /// The owner.
        owner: String,
        /// How many keys it has.
        keys: usize,
        /// How many of them are for this secret's resource.
        of_resource: usize,
        /// How many of them an abandoned rotation of this secret left.
        left_over: usize,
        /// What Confluent said.
        #[source]
        source: confluent::Error,
    },
    /// There is too little time left.
    #[error("too little time is left to {purpose}")]
    OutOfTime {
        /// What it is too little for.
        purpose: &'static str,
    },
    /// It is not known whether a key was made.
    #[error("it is not known whether Confluent Cloud made a key")]
    CreationUnknown {
        /// What happened to the request.
        #[source]
        source: confluent::Error,
    },
    /// It is not known whether the old key still exists.
    #[error(
        "the new key is current, and it is not known whether the old key {key} still exists: the owner's \
         list shows neither"
    )]
    OldKeyUnknown {
        /// The old key's id.
        key: String,
    },
    /// A key could not be deleted.
    #[error("the API key {key} could not be deleted, and may still be there")]
    KeyNotDeleted {
        /// The key's id.
        key: String,
        /// What Confluent said.
        #[source]
        source: confluent::Error,
    },
    /// Confluent Cloud did not do what it was asked for.
    #[error(transparent)]
    Confluent(#[from] confluent::Error),
    /// Secrets Manager did not do what it was asked for.
    #[error(transparent)]
    SecretsManager(#[from] store::Error),
}

impl Error {
    /// The error's stable name, which Lambda reports as `errorType`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidEvent { .. } => "InvalidEvent",
            Self::RotationNotEnabled { .. } => "RotationNotEnabled",
            Self::VersionNotPending { .. } => "VersionNotPending",
            Self::KeyMissing { .. } => "KeyMissing",
            Self::NoKeyYet => "NoKeyYet",
            Self::FirstKeyNeedsAdmin => "FirstKeyNeedsAdmin",
            Self::NoCurrentVersion => "NoCurrentVersion",
            Self::LabelMoved => "LabelMoved",
            Self::VersionWithoutValue { .. } => "VersionWithoutValue",
            Self::SecretValue { .. } => "SecretValue",
            Self::PendingIsCurrent { .. } => "PendingIsCurrent",
            Self::PendingDisagrees { .. } => "PendingDisagrees",
            Self::PendingOutdated { .. } => "PendingOutdated",
            Self::UnknownResource(_) => "UnknownResource",
            Self::AdminSecretAmbiguous { .. } => "AdminSecretAmbiguous",
            Self::AdminSecretValue { .. } => "AdminSecretValue",
            Self::CurrentKeyNotOfOwner { .. } => "CurrentKeyNotOfOwner",
            Self::CurrentKeyOfOtherResource { .. } => "CurrentKeyOfOtherResource",
            Self::CurrentKeyNotAccepted { .. } => "CurrentKeyNotAccepted",
            Self::EndpointUnreachable { .. } => "EndpointUnreachable",
            Self::EndpointIndifferent { .. } => "EndpointIndifferent",
            Self::EnvironmentUnknown => "EnvironmentUnknown",
            Self::OrganizationUnknown => "OrganizationUnknown",
            Self::EndpointNotFound { .. } => "EndpointNotFound",
            Self::EndpointInvalid { .. } => "EndpointInvalid",
            Self::EndpointNotAllowed { .. } => "EndpointNotAllowed",
            Self::NewKeyNotAccepted { seen, .. } => match seen.0 {
                Verdict::Unreachable(_) => "EndpointUnreachable",
                Verdict::NotAuthorised => "NewKeyNotAuthorised",
                _ => "NewKeyNotAccepted",
            },
            Self::NewKeyDeleted { .. } => "NewKeyDeleted",
            Self::NewKeyNotListed { .. } => "NewKeyNotListed",
            Self::NewKeyOfOtherResource { .. } => "NewKeyOfOtherResource",
            Self::QuotaExceeded { .. } => "QuotaExceeded",
            Self::OutOfTime { .. } => "OutOfTime",
            Self::CreationUnknown { .. } => "CreationUnknown",
            Self::OldKeyUnknown { .. } => "OldKeyUnknown",
            Self::KeyNotDeleted { .. } => "KeyNotDeleted",
            Self::Confluent(error) => confluent_name(error),
            Self::SecretsManager(error) => store_name(error),
        }
    }
}

fn confluent_name(error: &confluent::Error) -> &'static str {
    match error.meaning() {
        Some(Meaning::Unauthenticated) => "ConfluentUnauthenticated",
        Some(Meaning::ResourceKey) => "AdminSecretNeeded",
        Some(Meaning::Forbidden) => "ConfluentForbidden",
        Some(Meaning::QuotaExceeded) => "QuotaExceeded",
        Some(Meaning::RateLimited) => "ConfluentRateLimited",
        Some(Meaning::NotFound | Meaning::Other) => "ConfluentRefused",
        Some(Meaning::ServerError) => "ConfluentUnavailable",
        None => match error {
            confluent::Error::NoAnswer {
                source: http::Error::TimeUp { .. },
                ..
            } => "OutOfTime",
            confluent::Error::Unusable { .. } => "ConfluentAnswerUnusable",
            _ => "ConfluentUnavailable",
        },
    }
}

fn store_name(error: &store::Error) -> &'static str {
    match error {
        store::Error::Refused { .. } => "SecretsManagerRefused",
        store::Error::NoAnswer { .. } | store::Error::Undescribed { .. } => {
            "SecretsManagerUnavailable"
        }
        store::Error::Binary { .. } => "SecretValue",
    }
}

impl Error {
    /// The current key is not one of `owner`'s: `listed` is how Confluent describes it, `keys` are those of the owner
    /// that the key that signs may see.
    #[must_use]
    pub fn not_of_owner(
        key: &ApiKeyId,
        owner: &str,
        listed: Option<&Listed>,
        keys: &[Listed],
    ) -> Self {
        let is_seen = keys.iter().any(|key| key.owner.as_deref() == Some(owner));
        Self::CurrentKeyNotOfOwner {
            key: key.to_string(),
            owner: owner.to_owned(),
            found: match listed {
                Some(_) => Found::OfAnotherOwner,
                None if is_seen => Found::OtherKeys,
                None => Found::NoKeys,
            },
        }
    }
}

/// What was found where the current key should be. Each calls for another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key, and it belongs to somebody else.
    OfAnotherOwner,
    /// Other keys of the owner: this one is misspelt, or was deleted.
    OtherKeys,
    /// Nothing: the owner is misspelt, or the key that signs may not see its keys.
    NoKeys,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OfAnotherOwner => "it belongs to somebody else",
            Self::OtherKeys => "Confluent Cloud shows others, and not this one",
            Self::NoKeys => "Confluent Cloud shows none of them to the key that signs",
        })
    }
}

/// What trying a key showed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(pub Verdict);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Verdict::Accepted => f.write_str("it was accepted, but not often enough in a row"),
            Verdict::NotAccepted => f.write_str("it is not accepted there (401)"),
            Verdict::NotAuthorised => {
                f.write_str("it is recognised there, and not authorised (403)")
            }
            Verdict::Busy(_) => f.write_str("the endpoint is asked too often (429)"),
            Verdict::Unclear(answer) => write!(f, "the endpoint gives no clear answer ({answer})"),
            Verdict::Unreachable(why) => {
                write!(f, "the endpoint cannot be reached from here ({why})")
            }
        }
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn joined(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

impl Error {
    /// What is wrong, with its causes, and then what to do: what a person reads.
    #[must_use]
    pub fn message(&self) -> String {
        let wrong = joined(self);
        // Services end some of their texts with one.
        let wrong = wrong.trim_end_matches('.');
        format!("{wrong}. {}", self.remedy())
    }
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
