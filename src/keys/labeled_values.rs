//! The values of the versions that have a staging label, in which a key may be in use.

use std::collections::BTreeMap;

use crate::http::error_chain;
use crate::secret::{self, PENDING, SecretMetadata, SecretValue};

/// Reads the values of all versions that have a label. Returns why no key may be deleted if that is not possible.
pub(super) async fn labeled_values(
    secrets: &secret::Client,
    secret: &SecretMetadata,
) -> Result<BTreeMap<String, SecretValue>, String> {
    if let Some(replica) = &secret.replica_not_in_sync {
        return Err(format!("the replica {replica} is not in sync"));
    }
    let mut values = BTreeMap::new();
    for (version, version_labels) in secret.versions() {
        let Some(label) = version_labels.first() else {
            continue;
        };
        let value = secrets.value(&secret.arn, version, label).await;
        match value.map_err(|error| error_chain(&error))? {
            // A pending version without a value contains no key.
            None if version_labels.contains(PENDING) => {}
            None => return Err(format!("the {label} version {version} has no value")),
            Some(value) => {
                // `SecretValue::parse` accepts more than `serde_json::Value`, such as deep nesting. In such a value, an ID may not
                // be found.
                let is_json = serde_json::from_str::<serde_json::Value>(value.expose()).is_ok();
                let parsed = SecretValue::parse(value);
                let parsed =
                    parsed.map_err(|error| format!("the {label} version {version}: {error}"))?;
                if !is_json {
                    return Err(format!(
                        "the {label} version {version} contains JSON that not every parser accepts"
                    ));
                }
                values.insert(version.clone(), parsed);
            }
        }
    }
    Ok(values)
}
