//! The stable names of errors.

use super::{Error, TokenError};
use crate::confluent::{self, ErrorKind, ProbeOutcome};
use crate::{http, secret};

impl Error {
    /// Returns the stable name, which Lambda reports as `errorType`. It is the variant's name, except for the variants below.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CurrentKeyNotAccepted {
                outcome: ProbeOutcome::BrokerUnreachable(..),
                ..
            } => "EndpointUnreachable",
            Self::PendingKeyNotAccepted { outcome, .. } => match outcome {
                ProbeOutcome::Unreachable(_) | ProbeOutcome::BrokerUnreachable(..) => {
                    "EndpointUnreachable"
                }
                _ => "PendingKeyNotAccepted",
            },
            Self::Confluent(error) => of_confluent(error),
            Self::SecretsManager(secret::Error::Binary { .. }) => "InvalidSecretValue",
            Self::AdminSecretNotRead {
                source: secret::Error::Binary { .. },
            } => "InvalidAdminSecretValue",
            // It failed, throttled the request or did not respond.
            Self::SecretsManager(error) | Self::AdminSecretNotRead { source: error }
                if error.may_have_taken_effect() =>
            {
                "SecretsManagerUnavailable"
            }
            Self::SecretsManager(_) | Self::AdminSecretNotRead { .. } => "SecretsManagerRejected",
            Self::AdminSecretNotAllowed { .. } => "AdminSecretConflict",
            Self::EarlierValueStored { source, .. } | Self::InKey { source, .. } => source.name(),
            Self::Token(error) => match &**error {
                TokenError::TokenNotExchanged { source } => of_confluent(source),
                error => error.into(),
            },
            Self::Endpoint(error) => error.into(),
            error => error.into(),
        }
    }
}

fn of_confluent(error: &confluent::Error) -> &'static str {
    let response = match error {
        confluent::Error::Rejected { response, .. } => response,
        confluent::Error::InvalidResponse { .. } => return "ConfluentInvalidResponse",
        confluent::Error::NoResponse { source, .. } => match source {
            http::Error::DeadlineExceeded { .. } => return "TimeoutTooShort",
            _ => return "ConfluentUnavailable",
        },
    };
    match response.kind {
        ErrorKind::Unauthenticated => "ConfluentUnauthenticated",
        ErrorKind::ResourceScopedKey => "AdminSecretRequired",
        ErrorKind::Forbidden => "ConfluentForbidden",
        ErrorKind::Blocked => "RequestBlocked",
        ErrorKind::QuotaExceeded => "QuotaExceeded",
        ErrorKind::RateLimited => "ConfluentRateLimited",
        ErrorKind::PaymentRequired | ErrorKind::NotFound | ErrorKind::Other => "ConfluentRejected",
        ErrorKind::ServerError => "ConfluentUnavailable",
    }
}
