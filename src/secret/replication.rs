//! The replication of a secret, as `DescribeSecret` returns it.
//!
//! The fields about other accounts are read from the JSON of the response, because the SDK does not model them.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/cross-account-replicate-secrets.html>

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_secretsmanager::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_secretsmanager::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_secretsmanager::error::BoxError;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::StatusType;
use serde::Deserialize;

/// The fields of a `DescribeSecret` response about other accounts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CrossAccount {
    cross_account_primary: Option<Primary>,
    cross_account_replicas: Option<Vec<Replica>>,
}

#[derive(Debug, Deserialize)]
struct Primary {
    #[serde(rename = "PrimarySecretARN")]
    arn: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    #[serde(rename = "ReplicaSecretARN")]
    arn: Option<String>,
    #[serde(rename = "ReplicationStatus")]
    status: Option<String>,
}

/// Returns the primary secret of a replica: its Region, or its ARN in another account. Returns `None` for a primary secret.
pub(super) fn primary(response: &DescribeSecretOutput, other: &CrossAccount) -> Option<String> {
    let own_region = response.arn()?.split(':').nth(3);
    let region = response.primary_region();
    let region = region.filter(|region| Some(*region) != own_region);
    let primary = || other.cross_account_primary.as_ref()?.arn.as_deref();
    region.or_else(primary).map(str::to_owned)
}

/// Returns the replicas that may serve an earlier value: their Regions, or their ARNs in other accounts.
pub(super) fn not_in_sync(response: &DescribeSecretOutput, other: &CrossAccount) -> Vec<String> {
    let regional = response.replication_status().iter();
    let regional = regional.map(|replica| {
        let status = replica.status().map(StatusType::as_str);
        (replica.region(), status)
    });
    let others = other.cross_account_replicas.iter().flatten();
    let others = others.map(|replica| (replica.arn.as_deref(), replica.status.as_deref()));
    let is_in_sync = |status| matches!(status, Some("InSync" | "Detached"));
    let not_in_sync = regional
        .chain(others)
        .filter(|(_, status)| !is_in_sync(*status));
    not_in_sync
        .map(|(id, _)| id.unwrap_or_default().to_owned())
        .collect()
}

/// Reads [`CrossAccount`] from a response.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadCrossAccount(Arc<Mutex<CrossAccount>>);

impl ReadCrossAccount {
    /// Returns what the last response contained.
    pub(super) fn take(&self) -> CrossAccount {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for ReadCrossAccount {
    fn name(&self) -> &'static str {
        "ReadCrossAccount"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_ok() {
            let body = context.response().body().bytes().unwrap_or_default();
            let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *read = serde_json::from_slice(body)?;
        }
        Ok(())
    }
}
