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
use serde_json::Value;

/// The fields of a `DescribeSecret` response about other accounts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CrossAccount {
    cross_account_primary: Option<Value>,
    cross_account_replicas: Option<Value>,
}

/// Returns the primary secret of a replica: its Region, or its ARN in another account. Returns `None` for a primary secret.
pub(super) fn primary(response: &DescribeSecretOutput, other: &CrossAccount) -> Option<String> {
    let own_region = response.arn()?.split(':').nth(3);
    let region = response.primary_region();
    if let Some(region) = region.filter(|region| Some(*region) != own_region) {
        return Some(region.to_owned());
    }
    let primary = other.cross_account_primary.as_ref()?;
    Some(
        string(primary, "PrimarySecretARN")
            .unwrap_or("in another account")
            .to_owned(),
    )
}

/// Returns a replica that may serve an earlier value: its Region, or its ARN in another account.
pub(super) fn not_in_sync(response: &DescribeSecretOutput, other: &CrossAccount) -> Option<String> {
    let regional = response.replication_status().iter();
    let regional = regional.map(|replica| {
        let status = replica.status().map(StatusType::as_str);
        (replica.region(), status)
    });
    // A value of another type is treated as one replica of unknown status.
    let others = match &other.cross_account_replicas {
        Some(Value::Array(replicas)) => replicas.as_slice(),
        Some(replicas) => std::slice::from_ref(replicas),
        None => &[],
    };
    let others = others.iter().map(|replica| {
        let status = string(replica, "ReplicationStatus");
        (string(replica, "ReplicaSecretARN"), status)
    });
    let is_in_sync = |status| matches!(status, Some("InSync" | "Detached"));
    let mut replicas = regional.chain(others);
    let (id, _) = replicas.find(|(_, status)| !is_in_sync(*status))?;
    Some(id.unwrap_or("in another account").to_owned())
}

fn string<'v>(object: &'v Value, field: &str) -> Option<&'v str> {
    object.get(field)?.as_str()
}

/// Reads [`CrossAccount`] from a response.
#[derive(Clone, Debug, Default)]
pub(super) struct CrossAccountInterceptor(Arc<Mutex<CrossAccount>>);

impl CrossAccountInterceptor {
    /// Returns what the last response contained.
    pub(super) fn take(&self) -> CrossAccount {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for CrossAccountInterceptor {
    fn name(&self) -> &'static str {
        "CrossAccountInterceptor"
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
