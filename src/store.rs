//! One secret, seen through its staging labels.
//!
//! A version's value can be written once and its labels move, so every read names both the version and the
//! label it expects on it, or is told the version that a label is on, for the reader to compare: a value is never
//! taken from a version that has meanwhile become something else.
//!
//! No error of the SDK is kept as a cause: its `Debug` prints the raw answer, which may hold a value.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::RequestId;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::builders::GetSecretValueFluentBuilder;

use crate::credential::Redacted;
use crate::deadline::{Backoff, Deadline};
use crate::refusal::one_line;

/// The staging label of the version that clients read.
pub const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that is being rotated in.
pub const PENDING: &str = "AWSPENDING";
/// The staging label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// How long one call of the SDK may take, with all its repeats, and how they are spaced. Tests pass
/// shorter times.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One try. Without it a black-holed VPC endpoint eats the whole invocation.
    pub attempt: Duration,
    /// The SDK's first wait before it tries again.
    pub first_repeat: Duration,
    /// No wait before it tries again is longer, even if Secrets Manager asks for it: a call that is held for
    /// long keeps the step from saying what is wrong.
    pub longest_repeat: Duration,
    /// The waits for a value that was just written and is not found yet.
    pub visible: Backoff,
    /// For how long labels count as read just now. A step whose requests are all answered seldom takes longer; one that has
    /// to wait, because Confluent is asked too often, may take minutes.
    pub fresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            first_repeat: Duration::from_millis(200),
            longest_repeat: Duration::from_secs(5),
            visible: Backoff {
                first: Duration::from_millis(250),
                factor: 2.0,
                longest: Duration::from_secs(2),
                times: 5,
            },
            fresh: Duration::from_secs(2),
        }
    }
}

/// A call of Secrets Manager that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered, and the answer was no.
    #[error("Secrets Manager refused {operation} of {secret}: {code}, {message}{}", suffix(.request_id.as_deref()))]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The secret's ARN or name.
        secret: String,
        /// The error's code.
        code: String,
        /// What it says.
        message: String,
        /// What AWS's support asks for.
        request_id: Option<String>,
    },
    /// No answer came, or none that can be read. A write may have been carried out.
    #[error("Secrets Manager did not answer {operation} of {secret}: {problem}")]
    NoAnswer {
        /// The operation.
        operation: &'static str,
        /// The secret's ARN or name.
        secret: String,
        /// What happened instead.
        problem: String,
    },
    /// The value is not text.
    #[error("the value of {secret} is binary (SecretBinary)")]
    Binary {
        /// The secret's ARN or name.
        secret: String,
    },
    /// The description lacks something every secret has.
    #[error("Secrets Manager's description of {secret} lacks {what}")]
    Undescribed {
        /// The secret's ARN or name.
        secret: String,
        /// What is missing.
        what: &'static str,
    },
}

fn suffix(id: Option<&str>) -> String {
    id.map(|id| format!(" (request id {id})"))
        .unwrap_or_default()
}

impl Error {
    /// The code of a refusal; none if there was no answer.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether a write may have been carried out all the same.
    #[must_use]
    pub fn may_have_been_carried_out(&self) -> bool {
        match self {
            // Of a call that the SDK repeated, only the last refusal is told.
            Self::Refused { code, .. } => {
                ["InternalServiceError", "ServiceUnavailable"].contains(&code.as_str())
                    || code.starts_with("Throttl")
            }
            Self::NoAnswer { .. } => true,
            Self::Binary { .. } | Self::Undescribed { .. } => false,
        }
    }
}

/// The value of the version that a label was on when it was read.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The version.
    pub version: String,
    /// Its value.
    pub value: Redacted,
}

/// Secrets Manager, for as long as one invocation lasts.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    deadline: Deadline,
    limits: Limits,
}

/// What `DescribeSecret` tells of a secret: which version bears which label.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The secret's ARN.
    pub arn: String,
    /// Whether rotation is enabled; absent if it never was.
    pub rotation_enabled: bool,
    /// The admin secret that the rotation's metadata name.
    pub admin_secret_arn: Option<String>,
    stages: HashMap<String, Vec<String>>,
    read: Instant,
}

impl Labels {
    /// The version that bears `label`.
    #[must_use]
    pub fn version_with(&self, label: &str) -> Option<&str> {
        let (version, _) = self
            .stages
            .iter()
            .find(|(_, labels)| labels.iter().any(|l| l == label))?;
        Some(version)
    }

    /// The labels of `version`; none if it bears no label.
    #[must_use]
    pub fn of(&self, version: &str) -> Option<&[String]> {
        self.stages.get(version).map(Vec::as_slice)
    }

    /// Whether a label has come to a version that it was not on, as `before` has it.
    #[must_use]
    pub fn moved_since(&self, before: &Self) -> bool {
        [CURRENT, PENDING, PREVIOUS].into_iter().any(|label| {
            let version = self.version_with(label);
            version.is_some() && version != before.version_with(label)
        })
    }

    /// Whether `version` bears `label`.
    #[must_use]
    pub fn has(&self, version: &str, label: &str) -> bool {
        self.of(version)
            .is_some_and(|labels| labels.iter().any(|l| l == label))
    }
}

impl Store {
    /// Calls with `client` until `deadline`.
    #[must_use]
    pub fn new(client: Client, deadline: Deadline, limits: Limits) -> Self {
        Self {
            client,
            deadline,
            limits,
        }
    }

    /// The same, asked no longer than until `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Describes a secret.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn describe(&self, secret: &str) -> Result<Labels, Error> {
        let read = Instant::now();
        let call = self.client.describe_secret().secret_id(secret);
        let sent = call.customize().config_override(self.limited()).send();
        let told = sent
            .await
            .map_err(|error| explain("DescribeSecret", secret, &error))?;
        let metadata = told.external_secret_rotation_metadata();
        let admin = metadata
            .iter()
            .find(|item| item.key() == Some("adminSecretArn"))
            .and_then(|item| item.value());
        Ok(Labels {
            arn: told.arn().map(str::to_owned).ok_or(Error::Undescribed {
                secret: secret.to_owned(),
                what: "its ARN",
            })?,
            rotation_enabled: told.rotation_enabled().unwrap_or(false),
            admin_secret_arn: admin.map(str::to_owned),
            stages: told.version_ids_to_stages.unwrap_or_default(),
            read,
        })
    }

    /// The labels as they are now, if `labels` were read so long ago that somebody may have moved them since.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn described_again(&self, labels: &Labels) -> Result<Option<Labels>, Error> {
        if labels.read.elapsed() < self.limits.fresh {
            return Ok(None);
        }
        Ok(Some(self.describe(&labels.arn).await?))
    }

    /// The value of `version`, which must bear `label`; none if that version has no value yet.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn value(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<Option<Redacted>, Error> {
        let call = self.client.get_secret_value().version_id(version);
        let told = self.get(secret, call.version_stage(label)).await;
        found(told.and_then(|told| text(secret, told)))
    }

    /// The value of the version that bears `label` now; none if no version with a value does.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn labelled(&self, secret: &str, label: &str) -> Result<Option<Labelled>, Error> {
        let call = self.client.get_secret_value().version_stage(label);
        let told = self.get(secret, call).await;
        found(told.and_then(|mut told| {
            Ok(Labelled {
                version: told.version_id.take().ok_or(Error::Undescribed {
                    secret: secret.to_owned(),
                    what: "its version",
                })?,
                value: text(secret, told)?,
            })
        }))
    }

    /// As [`value`](Self::value), for a version that was just written: reads are eventually
    /// consistent, so it is looked for again for a few seconds.
    ///
    /// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
    ///
    /// # Errors
    /// [`Error`]
    pub async fn written_value(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<Option<Redacted>, Error> {
        for delay in self.limits.visible.delays() {
            if let Some(value) = self.value(secret, version, label).await? {
                return Ok(Some(value));
            }
            if self.deadline.wait(delay).await.is_err() {
                return Ok(None);
            }
        }
        self.value(secret, version, label).await
    }

    /// The current value of another secret, read by its label alone, as the role's policy permits.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn current_value(&self, secret: &str) -> Result<Redacted, Error> {
        let call = self.client.get_secret_value().version_stage(CURRENT);
        text(secret, self.get(secret, call).await?)
    }

    async fn get(
        &self,
        secret: &str,
        call: GetSecretValueFluentBuilder,
    ) -> Result<GetSecretValueOutput, Error> {
        let call = call.secret_id(secret).customize();
        let told = call.config_override(self.limited()).send().await;
        told.map_err(|error| explain("GetSecretValue", secret, &error))
    }

    /// Writes the value of version `token` and labels it `AWSPENDING`. Written twice, the same value is
    /// a success.
    ///
    /// # Errors
    /// [`Error`]; the code is `ResourceExistsException` if the version has another value already.
    pub async fn put_pending(
        &self,
        secret: &str,
        token: &str,
        value: &Redacted,
        rotation_token: Option<&Redacted>,
    ) -> Result<(), Error> {
        let call = self.client.put_secret_value().secret_id(secret);
        let call = call
            .client_request_token(token)
            .version_stages(PENDING)
            .secret_string(value.expose())
            .set_rotation_token(rotation_token.map(|token| token.expose().to_owned()));
        let sent = call.customize().config_override(self.limited()).send();
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => Err(explain("PutSecretValue", secret, &error)),
        }
    }

    /// Moves `AWSCURRENT` to version `to`. Secrets Manager moves `AWSPREVIOUS` to `from` itself.
    ///
    /// # Errors
    /// [`Error`]; also if `from` does not bear `AWSCURRENT` any more.
    pub async fn move_current(&self, secret: &str, from: &str, to: &str) -> Result<(), Error> {
        let call = self.client.update_secret_version_stage().secret_id(secret);
        let call = call
            .version_stage(CURRENT)
            .move_to_version_id(to)
            .remove_from_version_id(from);
        let sent = call.customize().config_override(self.limited()).send();
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => Err(explain("UpdateSecretVersionStage", secret, &error)),
        }
    }

    /// Takes `AWSPENDING` off `version`, so that the next rotation starts with a version of its own.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn drop_pending(&self, secret: &str, version: &str) -> Result<(), Error> {
        let call = self.client.update_secret_version_stage().secret_id(secret);
        let call = call.version_stage(PENDING).remove_from_version_id(version);
        let sent = call.customize().config_override(self.limited()).send();
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => Err(explain("UpdateSecretVersionStage", secret, &error)),
        }
    }

    /// The SDK's settings for one call: it ends before the deadline.
    fn limited(&self) -> aws_sdk_secretsmanager::config::Builder {
        // Zero would mean no timeout at all.
        let remaining = self.deadline.remaining().max(Duration::from_millis(1));
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(self.limits.attempt.min(remaining))
            .operation_timeout(remaining)
            .build();
        // The SDK waits as long as `x-amz-retry-after` says, but no longer than this.
        let repeats = RetryConfig::standard()
            .with_initial_backoff(self.limits.first_repeat)
            .with_max_backoff(self.limits.longest_repeat);
        aws_sdk_secretsmanager::Config::builder()
            .timeout_config(timeouts)
            .retry_config(repeats)
    }
}

/// That there is no such value is an answer.
fn found<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(secret: &str, told: GetSecretValueOutput) -> Result<Redacted, Error> {
    told.secret_string.map(Redacted::new).ok_or(Error::Binary {
        secret: secret.to_owned(),
    })
}

/// What the SDK's error says, without the error: code and message of a refusal, the kind of any other.
fn explain<E: ProvideErrorMetadata>(
    operation: &'static str,
    secret: &str,
    error: &SdkError<E>,
) -> Error {
    let secret = secret.to_owned();
    let no_answer = |problem: String| Error::NoAnswer {
        operation,
        secret: secret.clone(),
        problem,
    };
    match error {
        // The SDK calls a success that it cannot read a service's error too.
        SdkError::ServiceError(answer) if answer.raw().status().is_success() => {
            no_answer("the answer could not be read".to_owned())
        }
        SdkError::ServiceError(refusal) => Error::Refused {
            operation,
            secret,
            code: one_line(refusal.err().code().unwrap_or("no code")),
            message: message(operation, refusal.err()),
            request_id: refusal.raw().request_id().map(one_line),
        },
        SdkError::TimeoutError(_) => no_answer("it took too long".to_owned()),
        SdkError::DispatchFailure(failure) => no_answer(match failure.as_connector_error() {
            Some(error) => crate::error::joined(error),
            None => "the request could not be sent".to_owned(),
        }),
        SdkError::ConstructionFailure(_) => no_answer("the request could not be made".to_owned()),
        _ => no_answer("the answer could not be read".to_owned()),
    }
}

/// The refusals of a put whose messages are about permissions, versions and limits, never about the value.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html#API_PutSecretValue_Errors>
const TELLING: [&str; 6] = [
    "AccessDeniedException",
    "DecryptionFailure",
    "EncryptionFailure",
    "LimitExceededException",
    "ResourceExistsException",
    "ResourceNotFoundException",
];

/// A refusal's message. A validation error's quotes the value it does not like, which may be secret, and so may
/// any other of a put.
fn message(operation: &str, refusal: &impl ProvideErrorMetadata) -> String {
    let code = refusal.code().unwrap_or_default();
    if code == "ValidationException" {
        return "a parameter is not valid".to_owned();
    }
    if operation == "PutSecretValue" && !TELLING.contains(&code) {
        return "its message is left out, since it may quote the value".to_owned();
    }
    one_line(refusal.message().unwrap_or("no message"))
}
