//! Replicas of a secret in other Regions and accounts.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/replicate-secrets.html>
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/cross-account-replicate-secrets.html>

use serde_json::{Value, json};

use super::Secret;
use crate::Simulator;

/// A replica in another Region.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ReplicationStatusType.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// `Region`.
    pub region: String,
    /// `Status`: `InSync`, `InProgress` or `Failed`.
    pub status: String,
}

/// A replica in another account.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/cross-account-replicate-status.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossAccountReplica {
    /// `ReplicaSecretARN`.
    pub arn: String,
    /// `ReplicationStatus`: `Pending`, `InProgress`, `InSync`, `Failed` or `Detached`.
    pub status: String,
}

impl Secret {
    /// Returns the Region or the ARN of each replica, and its status.
    pub(crate) fn replication_statuses(&self) -> impl Iterator<Item = (&str, &str)> {
        let replicas = self.replicas.iter();
        let replicas = replicas.map(|replica| (replica.region.as_str(), replica.status.as_str()));
        let cross_account = self.cross_account_replicas.iter();
        replicas.chain(cross_account.map(|replica| (replica.arn.as_str(), replica.status.as_str())))
    }

    /// Adds the fields of `DescribeSecret`. Fields without a value are absent.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
    pub(super) fn describe_replication(&self, body: &mut Value) {
        if let Some(region) = &self.primary_region {
            body["PrimaryRegion"] = json!(region);
        }
        if !self.replicas.is_empty() {
            let entry =
                |replica: &Replica| json!({ "Region": replica.region, "Status": replica.status });
            body["ReplicationStatus"] = self.replicas.iter().map(entry).collect();
        }
        if !self.cross_account_replicas.is_empty() {
            let entry = |replica: &CrossAccountReplica| json!({ "ReplicaSecretARN": replica.arn, "ReplicationStatus": replica.status });
            let entries = self.cross_account_replicas.iter().map(entry);
            body["CrossAccountReplicas"] = entries.collect();
        }
        if let Some(arn) = &self.cross_account_primary {
            body["CrossAccountPrimary"] =
                json!({ "PrimarySecretARN": arn, "ReplicationStatus": "InSync" });
        }
    }
}

impl Simulator {
    /// Replicates a secret to another Region with this status.
    pub fn add_replica(&self, arn: &str, region: &str, status: &str) {
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        secret.primary_region = Some(secret.region().to_owned());
        secret.replicas.push(Replica {
            region: region.to_owned(),
            status: status.to_owned(),
        });
    }

    /// Replicates a secret to another account with this status.
    pub fn add_cross_account_replica(&self, arn: &str, status: &str) {
        let mut state = self.state();
        let secret = state.secret_mut(arn);
        let arn = secret.arn.replace(":123456789012:", ":210987654321:");
        secret.cross_account_replicas.push(CrossAccountReplica {
            arn,
            status: status.to_owned(),
        });
    }
}

impl Secret {
    /// Returns the Region in the ARN.
    pub(crate) fn region(&self) -> &str {
        self.arn.split(':').nth(3).expect("the ARN is complete")
    }
}
