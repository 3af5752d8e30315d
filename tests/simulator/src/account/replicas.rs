//! Replicas in other Regions. They are in sync immediately.

use serde_json::{Value, json};

use super::{Call, error, strings, success};
use crate::http::response::Response;
use crate::secret::{Replica, Secret};
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
