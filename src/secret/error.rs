//! The errors of requests to Secrets Manager.
//!
//! No SDK error is kept as a source: its `Debug` output contains the raw response, which may contain a secret value.

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use crate::http::{SdkFailure, printable};

/// A failed request to Secrets Manager.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// Secrets Manager or a proxy returned an error. A proxy returns no code.
    #[error(
        "Secrets Manager {} {operation} for {secret}: {}, {message}{}",
        action(*.status, .code.as_deref()),
        .code.clone().unwrap_or_else(|| format!("HTTP {status} without an error code")),
        suffix(.request_id.as_deref())
    )]
    Rejected {
        operation: &'static str,
        secret: String,
        status: u16,
        code: Option<String>,
        message: String,
        request_id: Option<String>,
    },
    /// No valid response arrived. A write may have taken effect.
    #[error("{operation} for {secret} did not complete: {problem}")]
    NoResponse {
        operation: &'static str,
        secret: String,
        problem: String,
    },
    /// The secret value is binary.
    #[error("the value of {secret} is binary (SecretBinary)")]
    Binary { secret: String },
}

fn action(status: u16, code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => "denied",
        Some("InternalServiceError" | "ServiceUnavailable") => "failed to process",
        Some(code) if code.starts_with("Throttl") => "throttled",
        None if status >= 500 => "failed to process",
        _ => "rejected",
    }
}

fn suffix(id: Option<&str>) -> String {
    id.map_or_else(String::new, |id| format!(" (request ID {id})"))
}

impl Error {
    /// Returns the error code, or `None` if Secrets Manager returned none.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Returns whether a write may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self.code() {
            // The SDK reports only the last attempt. An earlier one may have taken effect.
            Some("InternalServiceError" | "ServiceUnavailable") => true,
            Some(code) => code.starts_with("Throttl"),
            None => match self {
                Self::Rejected { status, .. } => *status >= 500,
                Self::NoResponse { .. } => true,
                Self::Binary { .. } => false,
            },
        }
    }
}

/// Converts an SDK error of an operation on `secret`.
pub(super) fn convert<E: ProvideErrorMetadata>(
    operation: &'static str,
    secret: &str,
    error: &SdkError<E>,
) -> Error {
    let secret = secret.to_owned();
    match SdkFailure::new(error) {
        SdkFailure::Rejected {
            status,
            code,
            message,
            request_id,
        } => Error::Rejected {
            operation,
            secret,
            status,
            message: printable_message(operation, code.as_deref(), message.as_deref()),
            code,
            request_id,
        },
        SdkFailure::NoResponse(problem) => Error::NoResponse {
            operation,
            secret,
            problem,
        },
    }
}

/// The errors of `PutSecretValue` whose messages describe permissions, versions and limits, and never quote the value.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html#API_PutSecretValue_Errors>
const SAFE_PUT_ERRORS: [&str; 6] = [
    "AccessDeniedException",
    "DecryptionFailure",
    "EncryptionFailure",
    "LimitExceededException",
    "ResourceExistsException",
    "ResourceNotFoundException",
];

/// Returns the message of a rejection. Messages that may quote a secret value are omitted, because a value may contain
/// passwords that are too short to be recognized.
fn printable_message(operation: &str, code: Option<&str>, message: Option<&str>) -> String {
    let code = code.unwrap_or_default();
    let message = message.unwrap_or("no message");
    if operation != "PutSecretValue" || SAFE_PUT_ERRORS.contains(&code) {
        return printable(message);
    }
    let subject = if is_about_kms_key(message) {
        " about the KMS key"
    } else {
        ""
    };
    format!("the message{subject} is omitted because it may quote the secret value")
}

/// Phrases about a KMS key, in lowercase. No name of a secret or a role contains their spaces and colons. AWS has called KMS keys
/// customer master keys (CMKs).
///
/// <https://docs.aws.amazon.com/kms/latest/cryptographic-details/kms-keys.html>
const KMS_PHRASES: [&str; 6] = [
    "access to kms",
    " kms key",
    " kms:",
    ":kms:",
    " customer master key",
    " cmk",
];

/// Returns whether a message of Secrets Manager is about a KMS key.
pub(crate) fn is_about_kms_key(message: &str) -> bool {
    let message = message.to_lowercase();
    KMS_PHRASES.iter().any(|phrase| message.contains(phrase))
}
