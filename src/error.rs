//! Why a step failed: what is wrong, then what to do.
//!
//! `lambda_runtime` prints the `Debug` of what a handler returns, so [`Error`]'s is written by hand and shows
//! what its `Display` does. No variant holds a secret, and none holds an error of the SDK.

use std::fmt;
use std::time::Duration;

use lambda_runtime::Diagnostic;

use crate::confluent::{self, Verdict};
use crate::refusal::Meaning;
use crate::resource::UnknownResource;
use crate::{document, http, store};

/// A step that failed. The variants' names are [stable](Error::name): alarms and runbooks use them.
#[derive(thiserror::Error)]
pub enum Error {
    /// The payload is not an event of Secrets Manager's.
    #[error(
        "the event {problem}. This function is called by Secrets Manager with Step, SecretId, \
         ClientRequestToken and RotationToken: start a rotation with RotateSecret"
    )]
    InvalidEvent {
        /// What is wrong, naming the field.
        problem: String,
    },
    /// Rotation was never enabled, or was cancelled.
    #[error(
        "rotation is not enabled for {secret}. Enable it with RotateSecret, naming this function; if it was \
         cancelled on purpose, nothing is to be done"
    )]
    RotationNotEnabled {
        /// The secret's ARN.
        secret: String,
    },
    /// The version the event names bears no label that lets it be rotated.
    #[error(
        "version {version} is not staged as AWSPENDING ({labels}). The rotation it belonged to was \
         superseded or abandoned: start another one with RotateSecret"
    )]
    VersionNotPending {
        /// The version's id.
        version: String,
        /// What it is labelled with.
        labels: String,
    },
    /// A value that has to hold a key holds none.
    #[error(
        "the value of the {label} version of the secret holds no key: apiKey and apiSecret are absent or empty. \
         Take AWSPENDING off it, if it bears it, and start another rotation"
    )]
    KeyMissing {
        /// The label.
        label: &'static str,
    },
    /// The secret holds no key, and making the first one is not allowed.
    #[error(
        "the secret holds no key: apiKey and apiSecret are absent or empty. Put a key into the secret, or set \
         FIRST_KEY=allow to let its first rotation make one"
    )]
    NoKeyYet,
    /// The secret holds no key, and nobody else's signs.
    #[error(
        "the secret holds no key to sign with, and names no admin secret. Put adminSecretArn into the secret, or \
         set ADMIN_SECRET_ARN, to let its first rotation make a key"
    )]
    FirstKeyNeedsAdmin,
    /// No version is current.
    #[error(
        "no version of the secret bears AWSCURRENT. Put a value with apiKey, apiSecret and \
         serviceAccountId into the secret first"
    )]
    NoCurrentVersion,
    /// Somebody moved `AWSCURRENT` while the step was under way.
    #[error(
        "AWSCURRENT moved to another version during this step, so nothing was made or deleted. The next \
         attempt begins with the version that is current then"
    )]
    CurrentVersionMoved,
    /// A version that a step needs has no value.
    #[error(
        "the {label} version {version} has no value. If it stays so, take AWSPENDING off it and start \
         another rotation"
    )]
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
        "the AWSPENDING version holds the current key, so there is nothing to rotate to. Take AWSPENDING \
         off version {version} and start another rotation"
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
         was changed since. Take AWSPENDING off it and start another rotation"
    )]
    PendingOutdated {
        /// The pending version's id.
        version: String,
    },
    /// `resourceId` is of no kind.
    #[error(transparent)]
    UnknownResource(#[from] UnknownResource),
    /// The admin secret is named differently in two places.
    #[error(
        "{first} and {second} name different admin secrets. Make them the same, or leave all but one out"
    )]
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
    #[error(
        "the current key {key} is not one of {owner}'s, or was deleted. Correct apiKey and \
         serviceAccountId in the secret, or give the key that signs a role that sees the owner's keys; if \
         the current key is gone, set CURRENT_KEY_CHECK=off for one rotation"
    )]
    CurrentKeyNotOfOwner {
        /// The current key's id.
        key: String,
        /// The owner the secret names.
        owner: String,
    },
    /// The current key belongs to another resource.
    #[error(
        "the current key {key} is not for the resource that the secret names. Correct resourceId and \
         environmentId in the secret"
    )]
    CurrentKeyOfOtherResource {
        /// The current key's id.
        key: String,
    },
    /// The current key does not open its resource.
    #[error(
        "the current key {key} does not open its resource: {seen}. Correct apiKey and apiSecret in the \
         secret; if the key is dead, set CURRENT_KEY_CHECK=off for one rotation"
    )]
    CurrentKeyNotAccepted {
        /// The current key's id.
        key: String,
        /// What trying it showed.
        seen: Seen,
    },
    /// The endpoint at which the current key would be tried is out of reach.
    #[error("the current key {key} is not proven: {seen}")]
    EndpointUnreachable {
        /// The current key's id.
        key: String,
        /// How it could not be reached.
        seen: Seen,
    },
    /// The endpoint answers everybody as it answers the current key.
    #[error(
        "the resource's endpoint answers a wrong secret as it answers the current key's, so trying {key} \
         there proves nothing. Correct `endpoint` in the secret, or give the key's owner a role that may list \
         what is in the resource"
    )]
    EndpointIndifferent {
        /// The current key's id.
        key: String,
    },
    /// The environment of the resource is not known.
    #[error("the environment of the resource is not known. Put environmentId into the secret")]
    EnvironmentUnknown,
    /// The organization's id is not known.
    #[error(
        "Confluent Cloud does not say which organization the key belongs to, which trying a Flink key \
         needs. Set KEY_VERIFICATION=control-plane"
    )]
    OrganizationUnknown,
    /// The control plane does not say where the resource is.
    #[error(
        "the resource's endpoint is not found. Correct resourceId and environmentId in the secret, give the \
         signing key's owner a role that sees the resource, such as Operator, or put `endpoint` into the \
         secret"
    )]
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
        "the new key {key} is not proven after {tries} tries in {} seconds: {seen}. The next attempt \
         tries it again", .elapsed.as_secs()
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
        "the new key {key} no longer exists: somebody deleted it. AWSPENDING was taken off version \
         {version}, so that the next rotation makes another key"
    )]
    NewKeyDeleted {
        /// The new key's id.
        key: String,
        /// The version that was pending.
        version: String,
    },
    /// The control plane does not know the new key.
    #[error(
        "Confluent Cloud does not know the new key {key}, or not yet, or the key that signed the request \
         may not see it. The next attempt asks again"
    )]
    NewKeyNotListed {
        /// The new key's id.
        key: String,
    },
    /// The control plane does not know the new key as what it was made for.
    #[error(
        "Confluent Cloud lists the new key {key} for another owner or resource. Take AWSPENDING off the \
         version and start another rotation"
    )]
    NewKeyOfOtherResource {
        /// The new key's id.
        key: String,
    },
    /// No key could be made, because there are too many.
    #[error(
        "{owner} has {keys} API keys, {of_resource} of them for this resource, and may have no more{}",
        waiting(*.left_over)
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
    /// There is too little time left to make a key and store it.
    #[error(
        "too little time is left to make a key and store it. Raise the function's timeout; the next attempt \
         begins anew"
    )]
    OutOfTime,
    /// It is not known whether a key was made.
    #[error(
        "it is not known whether Confluent Cloud made a key. Nothing is to be done: a key that was made \
         bears this secret's mark, and a later step or rotation deletes it"
    )]
    CreationUnknown {
        /// What happened to the request.
        #[source]
        source: confluent::Error,
    },
    /// It is not known whether the old key still exists.
    #[error(
        "the new key is current, and it is not known whether the old key {key} still exists: the owner's \
         list shows neither. Give the signing key's owner ResourceOwner on the service account, or \
         OrganizationAdmin; the next attempt looks again"
    )]
    OldKeyUnknown {
        /// The old key's id.
        key: String,
    },
    /// A key could not be deleted.
    #[error(
        "the API key {key} may still be there: it could not be deleted, and the next attempt tries again"
    )]
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
            Self::CurrentVersionMoved => "CurrentVersionMoved",
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
            Self::OutOfTime => "OutOfTime",
            Self::CreationUnknown { .. } => "CreationUnknown",
            Self::OldKeyUnknown { .. } => "OldKeyUnknown",
            Self::KeyNotDeleted { .. } => "KeyNotDeleted",
            Self::Confluent(error) => confluent_name(error),
            Self::SecretsManager(error) => store_name(error),
        }
    }
}

fn waiting(left_over: usize) -> String {
    match left_over {
        0 => String::new(),
        keys => format!(
            "; abandoned rotations of this secret left {keys} of them: rotate again half an hour after they were \
             made, and they are deleted first"
        ),
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
        store::Error::NoAnswer { .. } => "SecretsManagerUnavailable",
        store::Error::Binary { .. } | store::Error::Undescribed { .. } => "SecretValue",
    }
}

/// What trying a key showed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(pub Verdict);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Verdict::Accepted => f.write_str("it was accepted, but not often enough in a row"),
            Verdict::NotAccepted => f.write_str("it is not accepted (401), or not yet"),
            Verdict::NotAuthorised => f.write_str("it is recognised, and not authorised (403)"),
            Verdict::Busy(_) => f.write_str("the endpoint is asked too often (429)"),
            Verdict::Unclear(answer) => write!(f, "the endpoint answers something else ({answer})"),
            Verdict::Unreachable(why) => write!(
                f,
                "the endpoint cannot be reached from here ({why}): attach the function to a network that \
                 reaches it, or set KEY_VERIFICATION"
            ),
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), joined(self))
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self {
            error_type: error.name().to_owned(),
            error_message: joined(&error),
        }
    }
}
