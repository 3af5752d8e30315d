//! The client for AWS Secrets Manager.
//!
//! The value of a version never changes, but its labels move. A read therefore names the version and the label that it expects
//! there, so that it never returns a version whose label has moved.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>

use std::time::Duration;

use aws_sdk_secretsmanager::operation::get_secret_value::builders::GetSecretValueFluentBuilder;

use super::dates::{seconds, window};
use super::error::convert;
use super::metadata::{from_list_entry, tags, versions};
use super::replication::{CrossAccountInterceptor, not_in_sync, primary};
use super::{CURRENT, Dates, Error, PENDING, SecretMetadata};
use crate::config::Aws;
use crate::http::{Backoff, Deadline, Redacted, SdkLimits};

/// The delays between reads of a value that was just written. Tests pass shorter ones.
pub const READ_AFTER_WRITE: Backoff = Backoff {
    initial: Duration::from_millis(250),
    factor: 2.0,
    max: Duration::from_secs(2),
    retries: 5,
};

/// A version of a secret.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    /// The value.
    pub value: Redacted,
    /// `CreatedDate`, in seconds since the epoch.
    pub created_at: Option<i64>,
}

/// The largest number of secrets on a page of `ListSecrets`.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const MAX_PAGE: i32 = 100;

/// The client for Secrets Manager during one invocation.
#[derive(Clone, Debug)]
pub struct Client {
    sdk: aws_sdk_secretsmanager::Client,
    deadline: Deadline,
    limits: SdkLimits,
    read_after_write: Backoff,
}

/// Creates the AWS SDK's client, which outlives an invocation.
pub fn sdk_client(aws: &Aws, http: &reqwest::Client) -> aws_sdk_secretsmanager::Client {
    let sdk_config = aws.sdk_config(http);
    let mut builder = aws_sdk_secretsmanager::config::Builder::from(&sdk_config);
    builder.set_endpoint_url(aws.secrets_manager_url.clone().map(String::from));
    aws_sdk_secretsmanager::Client::from_conf(builder.build())
}

impl Client {
    /// Creates a client that sends requests with `sdk` until `deadline`.
    pub fn new(
        sdk: aws_sdk_secretsmanager::Client,
        deadline: Deadline,
        limits: SdkLimits,
        read_after_write: Backoff,
    ) -> Self {
        Self {
            sdk,
            deadline,
            limits,
            read_after_write,
        }
    }

    /// Returns the same client, whose requests end within `limit`, retries included.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        self.with_deadline(self.deadline.within(limit))
    }

    /// Returns the same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Deadline) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Describes the secret.
    pub async fn describe(&self, secret: &str) -> Result<SecretMetadata, Error> {
        let other_account = CrossAccountInterceptor::default();
        let request = self.sdk.describe_secret().secret_id(secret);
        let request = request.customize().config_override(self.limited());
        let sent = request.interceptor(other_account.clone()).send().await;
        let response = sent.map_err(|error| convert("DescribeSecret", secret, &error))?;
        let mut metadata = response.external_secret_rotation_metadata().iter();
        let admin = metadata.find(|item| item.key() == Some("adminSecretArn"));
        let admin = admin.and_then(|item| item.value()).map(str::to_owned);
        let other_account = other_account.take();
        let dates = Dates {
            created: response.created_date().map(seconds),
            last_changed: response.last_changed_date().map(seconds),
            last_rotated: response.last_rotated_date().map(seconds),
            next_rotation: response.next_rotation_date().map(seconds),
            window: window(response.rotation_rules()),
        };
        let tags = tags(response.tags());
        let primary = primary(&response, &other_account);
        let replica_not_in_sync = not_in_sync(&response, &other_account);
        Ok(SecretMetadata {
            primary,
            replica_not_in_sync,
            admin_secret_arn: admin,
            name: response.name.unwrap_or_default(),
            dates,
            tags,
            rotation_function: response.rotation_lambda_arn,
            arn: response.arn.ok_or_else(|| Error::NoResponse {
                operation: "DescribeSecret",
                secret: secret.to_owned(),
                problem: "the response contains no ARN".to_owned(),
            })?,
            rotation_enabled: response.rotation_enabled.unwrap_or(false),
            is_scheduled_for_deletion: response.deleted_date.is_some(),
            versions: versions(response.version_ids_to_stages),
        })
    }

    /// Returns a page of `ListSecrets` and the token of the next page.
    pub(super) async fn list_page(
        &self,
        next_token: Option<String>,
    ) -> Result<(Vec<SecretMetadata>, Option<String>), Error> {
        let request = self.sdk.list_secrets().max_results(MAX_PAGE);
        let request = request.set_next_token(next_token).customize();
        let sent = request.config_override(self.limited()).send().await;
        let response = sent.map_err(|error| convert("ListSecrets", "all secrets", &error))?;
        let entries = response.secret_list.unwrap_or_default().into_iter();
        Ok((
            entries.filter_map(from_list_entry).collect(),
            response.next_token,
        ))
    }

    /// Returns `version`, which must have `label`, or `None` if Secrets Manager finds no such value.
    pub async fn version(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<Option<SecretVersion>, Error> {
        let request = self.sdk.get_secret_value().version_id(version);
        match self.get(secret, request.version_stage(label)).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the value of [`version`](Self::version).
    pub async fn value(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<Option<Redacted>, Error> {
        let version = self.version(secret, version, label).await?;
        Ok(version.map(|version| version.value))
    }

    /// Like [`version`](Self::version), for a version that was just written. Reads are eventually consistent, so they are
    /// retried for a few seconds.
    ///
    /// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
    pub async fn version_after_write(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<Option<SecretVersion>, Error> {
        let read = async || self.version(secret, version, label).await;
        self.read_after_write()
            .until(self.deadline, read, Option::is_some)
            .await
    }

    /// Describes the secret until the description `is_complete`, after a label was moved. Reads are eventually consistent, so
    /// they are retried for a few seconds. Returns the last description.
    pub async fn describe_until(
        &self,
        secret: &str,
        is_complete: impl Fn(&SecretMetadata) -> bool,
    ) -> Result<SecretMetadata, Error> {
        let read = async || self.describe(secret).await;
        self.read_after_write()
            .until(self.deadline, read, is_complete)
            .await
    }

    /// Returns the delays between reads of what was just written.
    pub fn read_after_write(&self) -> Backoff {
        self.read_after_write
    }

    /// Returns the current value of an admin secret. It is read by label only, because the function has no permission to
    /// describe admin secrets.
    pub async fn admin_secret_value(&self, secret: &str) -> Result<Redacted, Error> {
        let request = self.sdk.get_secret_value().version_stage(CURRENT);
        Ok(self.get(secret, request).await?.value)
    }

    async fn get(
        &self,
        secret: &str,
        request: GetSecretValueFluentBuilder,
    ) -> Result<SecretVersion, Error> {
        let request = request.secret_id(secret).customize();
        let sent = request.config_override(self.limited()).send().await;
        let response = sent.map_err(|error| convert("GetSecretValue", secret, &error))?;
        let created_at = response.created_date().map(seconds);
        let secret = secret.to_owned();
        let value = response.secret_string.map(Redacted::new);
        let value = value.ok_or(Error::Binary { secret })?;
        Ok(SecretVersion { value, created_at })
    }

    /// Stores the value of version `token` and labels it `AWSPENDING`. Storing the same value again succeeds. If the version
    /// has another value, the code of the error is `ResourceExistsException`.
    pub async fn store_pending(
        &self,
        secret: &str,
        token: &str,
        value: &Redacted,
        rotation_token: Option<&Redacted>,
    ) -> Result<(), Error> {
        let request = self.sdk.put_secret_value().secret_id(secret);
        let request = request
            .client_request_token(token)
            .version_stages(PENDING)
            .secret_string(value.expose())
            .set_rotation_token(rotation_token.map(|token| token.expose().to_owned()));
        let request = request.customize().config_override(self.limited());
        let sent = request.send().await;
        sent.map_err(|error| convert("PutSecretValue", secret, &error))?;
        Ok(())
    }

    /// Moves `AWSCURRENT` from version `from` to version `to`. Secrets Manager moves `AWSPREVIOUS` to `from`, and rejects the
    /// request if `from` does not have `AWSCURRENT`.
    pub async fn promote(&self, secret: &str, from: &str, to: &str) -> Result<(), Error> {
        self.move_label(secret, CURRENT, from, Some(to)).await
    }

    /// Removes `label` from `version`. Secrets Manager rejects the request if `version` does not have `label`.
    pub async fn remove_label(
        &self,
        secret: &str,
        version: &str,
        label: &str,
    ) -> Result<(), Error> {
        self.move_label(secret, label, version, None).await
    }

    async fn move_label(
        &self,
        secret: &str,
        label: &str,
        from: &str,
        to: Option<&str>,
    ) -> Result<(), Error> {
        let request = self.sdk.update_secret_version_stage().secret_id(secret);
        let request = request
            .version_stage(label)
            .remove_from_version_id(from)
            .set_move_to_version_id(to.map(str::to_owned));
        let request = request.customize().config_override(self.limited());
        let sent = request.send().await;
        sent.map_err(|error| convert("UpdateSecretVersionStage", secret, &error))?;
        Ok(())
    }

    /// Returns the SDK settings of one operation, which ends before the deadline.
    fn limited(&self) -> aws_sdk_secretsmanager::config::Builder {
        aws_sdk_secretsmanager::Config::builder()
            .timeout_config(self.limits.timeouts(self.deadline))
            .retry_config(self.limits.retries())
    }
}
