//! What `DescribeSecret` and `ListSecrets` return for a secret. Fields without a value are absent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Secret;

/// Describes the secret, including versions without a value: "Secrets Manager creates an AWSPENDING version ID before
/// creating the new secret version".
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html>
pub(crate) fn describe(secret: &Secret) -> Value {
    let mut body = common_fields(secret);
    body["VersionIdsToStages"] = labels_by_version(secret);
    secret.describe_replication(&mut body);
    body
}

/// Describes the secret as `ListSecrets` does: with another name for the labels, and without the state of the replicas.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_SecretListEntry.html>
pub(super) fn list_entry(secret: &Secret) -> Value {
    let mut entry = common_fields(secret);
    entry["SecretVersionsToStages"] = labels_by_version(secret);
    entry
}

fn common_fields(secret: &Secret) -> Value {
    let attributes = &secret.attributes;
    let tags = attributes.tags.iter();
    let tags = tags.map(|(key, value)| json!({ "Key": key, "Value": value }));
    let admin = secret.admin_secret_arn.iter();
    let mut metadata = admin.map(|arn| json!([{ "Key": "adminSecretArn", "Value": arn }]));
    // Rotation that was turned off keeps its function and rules.
    let was_turned_on = secret.rotation_enabled.is_some();
    // "If the secret isn't configured for rotation or rotation has been disabled, Secrets Manager returns null."
    let is_enabled = secret.rotation_enabled == Some(true);
    let fields = [
        ("ARN", json!(secret.arn)),
        ("Name", json!(secret.name)),
        ("Description", json!(attributes.description)),
        ("KmsKeyId", json!(attributes.kms_key_id)),
        ("Tags", tags.collect()),
        ("PrimaryRegion", json!(secret.primary_region)),
        ("RotationEnabled", json!(secret.rotation_enabled)),
        (
            "RotationLambdaARN",
            json!(
                attributes
                    .rotation_lambda_arn
                    .as_ref()
                    .filter(|_| was_turned_on)
            ),
        ),
        (
            "RotationRules",
            json!(attributes.rotation_rules.as_ref().filter(|_| was_turned_on)),
        ),
        ("ExternalSecretRotationMetadata", json!(metadata.next())),
        ("CreatedDate", json!(attributes.created)),
        ("DeletedDate", json!(attributes.deleted)),
        ("LastChangedDate", json!(secret.last_changed)),
        ("LastRotatedDate", json!(secret.last_rotated)),
        (
            "NextRotationDate",
            json!(secret.next_rotation.filter(|_| is_enabled)),
        ),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    let fields = fields.map(|(field, value)| (field.to_owned(), value));
    Value::Object(fields.collect())
}

/// Returns the staging labels of each version that has one.
fn labels_by_version(secret: &Secret) -> Value {
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (label, version) in &secret.labels {
        labels.entry(version).or_default().push(label);
    }
    json!(labels)
}
