//! Replicas in other Regions. They are in sync immediately.

use serde_json::{Value, json};

use super::{Call, error, strings, success};
use crate::Simulator;
use crate::http::response::Response;
use crate::secret::{CurrentKeyGuarantee, Replica, Secret};
use crate::state::State;

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ReplicateSecretToRegions.html>
pub(super) fn add(state: &mut State, arn: &str, call: &Call) -> Result<Response, Response> {
    let regions = call.body.get("AddReplicaRegions").and_then(Value::as_array);
    let regions = regions
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["Region"].as_str());
    let secret = state.secret_mut(arn);
    for region in regions {
        if region == secret.region() || is_replicated_to(secret, region) {
            let message = format!("Invalid replica region: {region}.");
            return Err(error("InvalidParameterException", &message));
        }
        secret.primary_region = Some(secret.region().to_owned());
        secret.replicas.push(Replica {
            region: region.to_owned(),
            status: "InSync".to_owned(),
        });
    }
    Ok(statuses(secret))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RemoveRegionsFromReplication.html>
pub(super) fn remove(state: &mut State, arn: &str, call: &Call) -> Result<Response, Response> {
    let regions = strings(call.body, "RemoveReplicaRegions");
    let secret = state.secret_mut(arn);
    if let Some(region) = regions
        .iter()
        .find(|region| !is_replicated_to(secret, region))
    {
        let message = format!("The secret has no replica in {region}.");
        return Err(error("InvalidParameterException", &message));
    }
    secret
        .replicas
        .retain(|replica| !regions.contains(&replica.region.as_str()));
    if secret.replicas.is_empty() {
        secret.primary_region = None;
    }
    Ok(statuses(secret))
}

/// Promotes the replica in the Region of the request to a secret of its own, without rotation.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_StopReplicationToReplica.html>
pub(super) fn promote(simulator: &Simulator, arn: &str, call: &Call) -> Result<Response, Response> {
    if !is_replicated_to(simulator.state().secret(arn), call.region) {
        let message = "The secret is not a replica.";
        return Err(error("InvalidRequestException", message));
    }
    let promoted = simulator.promote_replica(arn, call.region);
    let mut state = simulator.state();
    let secret = state.secret_mut(&promoted);
    secret.rotation_enabled = None;
    secret.attributes.rotation_lambda_arn = None;
    secret.attributes.rotation_rules = None;
    // The function cannot find a copy of the key.
    secret.current_key_guarantee = CurrentKeyGuarantee::Off;
    Ok(success(&json!({ "ARN": promoted })))
}

pub(super) fn is_replicated_to(secret: &Secret, region: &str) -> bool {
    secret
        .replicas
        .iter()
        .any(|replica| replica.region == region)
}

/// Returns the ARN in `region`, which differs only in the Region.
pub(super) fn arn_in(secret: &Secret, region: &str) -> String {
    let from = format!(":{}:", secret.region());
    secret.arn.replacen(&from, &format!(":{region}:"), 1)
}

fn statuses(secret: &Secret) -> Response {
    let replicas = secret.replicas.iter();
    let replicas =
        replicas.map(|replica| json!({ "Region": replica.region, "Status": replica.status }));
    let replicas: Vec<Value> = replicas.collect();
    success(&json!({ "ARN": secret.arn, "ReplicationStatus": replicas }))
}

impl Response {
    /// Replaces the ARN of the primary secret with that of a replica.
    pub(super) fn with_replaced(mut self, arn: &str, replica: &str) -> Self {
        let body = String::from_utf8_lossy(&self.body).replace(arn, replica);
        self.body = body.into();
        self
    }
}
