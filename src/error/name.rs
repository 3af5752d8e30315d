//! The stable names of errors.

use super::Error;
use crate::confluent::{self, ErrorKind, ProbeOutcome};
use crate::{http, secret};

impl Error {
    /// Returns the stable name, which Lambda reports as `errorType`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidEvent { .. } => "InvalidEvent",
            Self::RotationNotEnabled { .. } => "RotationNotEnabled",
            Self::VersionNotPending { .. } => "VersionNotPending",
            Self::VersionWithoutKey { .. } => "VersionWithoutKey",
            Self::InitialKeyNotAllowed => "InitialKeyNotAllowed",
            Self::InitialKeyRequiresAdminSecret => "InitialKeyRequiresAdminSecret",
            Self::NoCurrentVersion => "NoCurrentVersion",
            Self::StagingLabelMoved => "StagingLabelMoved",
            Self::VersionWithoutValue { .. } => "VersionWithoutValue",
            Self::InvalidSecretValue { .. } => "InvalidSecretValue",
            Self::PendingIsCurrent { .. } => "PendingIsCurrent",
            Self::PendingMismatch { .. } => "PendingMismatch",
            Self::PendingOutdated { .. } => "PendingOutdated",
            Self::UnknownResource(_) => "UnknownResource",
            Self::AdminSecretConflict { .. } => "AdminSecretConflict",
            Self::InvalidAdminSecretValue { .. } => "InvalidAdminSecretValue",
            Self::CurrentKeyNotOfOwner { .. } => "CurrentKeyNotOfOwner",
            Self::CurrentKeyScopeMismatch { .. } => "CurrentKeyScopeMismatch",
            Self::CurrentKeyNotAccepted { .. } => "CurrentKeyNotAccepted",
            Self::EndpointUnreachable { .. } => "EndpointUnreachable",
            Self::EndpointAcceptsAnyCredential { .. } => "EndpointAcceptsAnyCredential",
            Self::EnvironmentUnknown => "EnvironmentUnknown",
            Self::OrganizationUnknown => "OrganizationUnknown",
            Self::EndpointNotFound { .. } => "EndpointNotFound",
            Self::EndpointInvalid { .. } => "EndpointInvalid",
            Self::EndpointNotAllowed { .. } => "EndpointNotAllowed",
            Self::PendingKeyNotAccepted { outcome, .. } => match outcome {
                ProbeOutcome::Unreachable(_) => "EndpointUnreachable",
                ProbeOutcome::NotAuthorized => "PendingKeyNotAuthorized",
                _ => "PendingKeyNotAccepted",
            },
            Self::PendingKeyDeleted { .. } => "PendingKeyDeleted",
            Self::PendingKeyNotListed { .. } => "PendingKeyNotListed",
            Self::PendingKeyScopeMismatch { .. } => "PendingKeyScopeMismatch",
            Self::QuotaExceeded { .. } => "QuotaExceeded",
            Self::TimeoutTooShort { .. } => "TimeoutTooShort",
            Self::CreationOutcomeUnknown { .. } => "CreationOutcomeUnknown",
            Self::PreviousKeyStateUnknown { .. } => "PreviousKeyStateUnknown",
            Self::KeyDeletionFailed { .. } => "KeyDeletionFailed",
            Self::Confluent(error) => of_confluent(error),
            Self::SecretsManager(error) => of_secrets_manager(error),
        }
    }
}

fn of_confluent(error: &confluent::Error) -> &'static str {
    match error.kind() {
        Some(ErrorKind::Unauthenticated) => "ConfluentUnauthenticated",
        Some(ErrorKind::ResourceScopedKey) => "AdminSecretRequired",
        Some(ErrorKind::Forbidden) => "ConfluentForbidden",
        Some(ErrorKind::QuotaExceeded) => "QuotaExceeded",
        Some(ErrorKind::RateLimited) => "ConfluentRateLimited",
        Some(ErrorKind::NotFound | ErrorKind::Other) => "ConfluentRejected",
        Some(ErrorKind::ServerError) => "ConfluentUnavailable",
        None => match error {
            confluent::Error::NoResponse {
                source: http::Error::DeadlineExceeded { .. },
                ..
            } => "TimeoutTooShort",
            confluent::Error::InvalidResponse { .. } => "ConfluentInvalidResponse",
            _ => "ConfluentUnavailable",
        },
    }
}

fn of_secrets_manager(error: &secret::Error) -> &'static str {
    match error {
        secret::Error::Rejected { .. } => "SecretsManagerRejected",
        secret::Error::NoResponse { .. } | secret::Error::MissingArn { .. } => {
            "SecretsManagerUnavailable"
        }
        secret::Error::Binary { .. } => "InvalidSecretValue",
    }
}
