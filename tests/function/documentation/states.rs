//! The states that pages describe. Each check asserts one of them.

use std::sync::atomic::Ordering;

use super::deployment::{
    ADMIN_SECRET, CLUSTER, Deployment, ENVIRONMENT, OTHER_OWNER, REGISTRY_SECRET, SECRET,
    function_arn,
};
use super::*;

/// Asserts the state that a page describes.
pub(super) type Check = fn(&Deployment);

/// Checks by the heading before which they are made.
pub(super) type Checks = &'static [(&'static str, Check)];

/// The current key exists and is accepted.
pub(super) fn is_usable(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let (id, api_secret) = secret.key("AWSCURRENT").expect("the secret has a key");
    let key = state.keys.get(&id).expect("the current key exists");
    assert!(key.secret == api_secret, "the API secret is the key's");
}

/// Returns the ID of the key of the version with `label`.
fn key(deployment: &Deployment, label: &str) -> String {
    let state = deployment.simulator.state();
    let key = state.secret(SECRET).key_id(label);
    key.unwrap_or_else(|| panic!("no {label}")).to_owned()
}

/// The owner has only the current keys, no version is labeled `AWSPREVIOUS`, and no rotation is incomplete.
pub(super) fn has_only_its_keys(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    assert_eq!(secret.pending_version(), None, "no rotation is incomplete");
    assert_eq!(secret.labels.get("AWSPREVIOUS"), None);
    assert!(secret.last_rotated.is_some(), "the secret was rotated");
    let mut keys = secret.key_ids("AWSCURRENT");
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
}

/// The same, and the secret has one key.
pub(super) fn has_only_its_key(deployment: &Deployment) {
    has_only_its_keys(deployment);
    assert_eq!(deployment.keys().len(), 1);
}

/// The key that was current is deleted, and the further key that a rotation has replaced with it still works.
pub(super) fn has_no_leaked_key(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    assert!(!state.keys.contains_key(&deployment.key));
    let secret = state.secret(SECRET);
    assert_eq!(secret.labels.get("AWSPREVIOUS"), None);
    assert_eq!(secret.key_ids("AWSCURRENT").len(), 2);
    drop(state);
    assert_eq!(deployment.keys().len(), 3);
}

/// The same, with another key than before.
pub(super) fn is_rotated(deployment: &Deployment) {
    has_only_its_key(deployment);
    let current = key(deployment, "AWSCURRENT");
    assert_ne!(current, deployment.key, "the key was replaced");
}

/// The secret has two current and two previous keys. The owner has these keys and no other.
pub(super) fn has_two_pairs_of_keys(deployment: &Deployment) {
    assert_eq!(deployment.verdict(), "ok", "before the rotation");
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let current = secret.key_ids("AWSCURRENT");
    let previous = secret.key_ids("AWSPREVIOUS");
    assert_eq!((current.len(), previous.len()), (2, 2));
    let value: Value = serde_json::from_str(secret.value("AWSCURRENT").unwrap()).unwrap();
    assert_eq!(value["schemaRegistryApiKey"], json!(current[1]));
    let copy = value["basic.auth.user.info"].as_str().unwrap();
    assert!(copy.starts_with(&format!("{}:", current[1])));
    drop(state);
    let mut keys = [current, previous].concat();
    keys.sort();
    assert_eq!(deployment.keys(), keys);
}

/// The owner has only the current and the previous key, which differ.
pub(super) fn has_both_keys(deployment: &Deployment) {
    is_usable(deployment);
    let mut keys = ["AWSCURRENT", "AWSPREVIOUS"].map(|label| key(deployment, label));
    keys.sort();
    assert_eq!(deployment.keys(), keys);
}

/// The same, and the previous key is the one that was current.
pub(super) fn is_in_overlap(deployment: &Deployment) {
    has_both_keys(deployment);
    assert_eq!(key(deployment, "AWSPREVIOUS"), deployment.key);
}

/// A rotation would succeed.
pub(super) fn is_ready(deployment: &Deployment) {
    assert_eq!(deployment.verdict(), "ok");
}

/// The secret has the hours of its tag. The function has others.
pub(super) fn has_longer_overlap(deployment: &Deployment) {
    assert_eq!(deployment.parameter("OldKeyHours"), "72");
    let (outcome, observed) = deployment.check("old-key-policy");
    assert_eq!((&*outcome, &*observed), ("ok", "delete-after, 120 hours"));
}

pub(super) fn is_overdue(deployment: &Deployment) {
    has_both_keys(deployment);
    let status = deployment.status();
    assert_eq!(status["findings"]["previous-key-overdue"], 1, "{status}");
}

/// The version that was the previous one is current, the other key is still valid, and Secrets Manager has no rotation to
/// reattempt.
pub(super) fn is_rolled_back(deployment: &Deployment) {
    is_in_overlap(deployment);
    let state = deployment.simulator.state();
    let labels = &state.secret(SECRET).labels;
    assert_eq!(labels["AWSCURRENT"], deployment.labels["AWSPREVIOUS"]);
    assert_eq!(labels.get("AWSPENDING"), None);
}

/// The version that was the previous one is current, its key is the only one, and Secrets Manager has no rotation to reattempt.
pub(super) fn has_earlier_version(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let labels = &state.secret(SECRET).labels;
    assert_eq!(labels["AWSCURRENT"], deployment.labels["AWSPREVIOUS"]);
    assert_eq!(labels.get("AWSPENDING"), None);
}

/// The secret and its only key have the new owner, the previous key is deleted, and the secret can be rotated.
pub(super) fn has_another_owner(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let value = secret.value("AWSCURRENT").unwrap();
    let value: Value = serde_json::from_str(value).unwrap();
    assert_eq!(value["serviceAccountId"], OTHER_OWNER);
    assert_eq!(value["resourceId"], CLUSTER);
    assert_eq!(value["environmentId"], ENVIRONMENT);
    let id = secret.key_id("AWSCURRENT").unwrap().to_owned();
    let key = &state.keys[&id];
    assert_eq!(key.owner.as_deref(), Some(OTHER_OWNER));
    assert_eq!(key.resource, CLUSTER);
    assert_eq!(secret.rotation_enabled, Some(true));
    let labels: Vec<&str> = secret.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["AWSCURRENT"], "no label is on an earlier version");
    drop(state);
    assert_eq!(deployment.keys_of(OTHER_OWNER), [id], "the only key");
    assert_eq!(deployment.keys(), [""; 0], "the previous key was deleted");
    assert_eq!(deployment.verdict(), "ok");
    let (_, current_key) = deployment.check("current-key");
    assert!(current_key.contains(OTHER_OWNER), "{current_key}");
    let (_, orphans) = deployment.check("orphaned-keys");
    assert_eq!(orphans, "no orphaned keys");
}

/// The secret, its key and its rotation are as before.
fn is_unchanged(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    assert_eq!(secret.labels, deployment.labels);
    assert_eq!(secret.rotation_enabled, Some(true));
    let function = secret.attributes.rotation_lambda_arn.as_deref();
    assert_eq!(function, Some(function_arn().as_str()));
    drop(state);
    assert_eq!(deployment.keys(), [deployment.key.as_str()]);
}

/// The function was deployed, and once more with the default policy. The other parameters are those of before, and a rotation
/// would succeed.
pub(super) fn is_upgraded(deployment: &Deployment) {
    is_unchanged(deployment);
    assert_eq!(deployment.deployments.load(Ordering::Relaxed), 2);
    assert_eq!(deployment.parameter("OldKeyPolicy"), "delete-after");
    assert_eq!(
        deployment.parameter("AdminSecretArn"),
        admin_secret_arn(deployment)
    );
    assert_eq!(deployment.verdict(), "ok");
}

/// The function has a VPC and a proxy, in addition to its other parameters, and reaches everything.
pub(super) fn uses_vpc_and_proxy(deployment: &Deployment) {
    is_unchanged(deployment);
    for (parameter, value) in [
        (
            "VpcSubnetIds",
            "subnet-0123456789abcdef0,subnet-0fedcba9876543210",
        ),
        ("VpcSecurityGroupIds", "sg-0123456789abcdef0"),
        ("HttpsProxy", "http://proxy.example.com:3128"),
        ("NoProxy", "secretsmanager.eu-west-1.amazonaws.com"),
        ("AdminSecretArn", &admin_secret_arn(deployment)),
    ] {
        assert_eq!(deployment.parameter(parameter), value, "{parameter}");
    }
    for name in ["secret", "control-plane-access", "endpoint", "data-plane"] {
        let (outcome, observed) = deployment.check(name);
        assert_eq!(outcome, "ok", "{name}: {observed}");
    }
}

fn admin_secret_arn(deployment: &Deployment) -> String {
    let state = deployment.simulator.state();
    state.secret(ADMIN_SECRET).arn.clone()
}

/// Each secret with the prefix is rotated, and has the owner's only key for it.
pub(super) fn all_are_rotated(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let has_prefix = |secret: &&simulator::Secret| secret.name.starts_with("confluent/");
    let secrets = state.secrets.values().filter(has_prefix);
    let mut keys = Vec::new();
    for secret in secrets {
        assert_eq!(secret.rotation_enabled, Some(true), "{}", secret.name);
        assert!(secret.last_rotated.is_some(), "{}", secret.name);
        keys.push(secret.key_id("AWSCURRENT").unwrap().to_owned());
    }
    assert!(
        !keys.contains(&deployment.key),
        "the secret was rotated again"
    );
    assert_eq!(keys.len(), 3);
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
    let status = deployment.status();
    assert_eq!(status["total"], 3);
    let findings = status["findings"].as_object().unwrap();
    assert!(findings.values().all(|count| *count == 0), "{status}");
}

/// The secret and its copy have different keys, and the previous key of the original is in its overlap.
pub(super) fn copy_has_its_own_key(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let current = |name: &str| {
        let key = state.secret(name).key_id("AWSCURRENT");
        key.unwrap().to_owned()
    };
    let (original, copy) = (current(SECRET), current("confluent/orders-copy"));
    let mut keys = [original, copy, deployment.key.clone()];
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
}

/// One secret has both keys, which a rotation has replaced, and the other one is scheduled for deletion. The owner has no other key.
pub(super) fn is_merged(deployment: &Deployment) {
    is_usable(deployment);
    assert_eq!(deployment.verdict(), "ok");
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let mut keys = secret.key_ids("AWSCURRENT");
    assert_eq!(keys.len(), 2);
    assert!(!keys.contains(&deployment.key), "the key was replaced");
    assert_eq!(secret.rotation_enabled, Some(true));
    assert!(state.secret(REGISTRY_SECRET).attributes.deleted.is_some());
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
}

/// The preflight reports the key that the secret no longer contains.
pub(super) fn keeps_removed_key(deployment: &Deployment) {
    assert_eq!(deployment.verdict(), "warning");
    let (outcome, observed) = deployment.check("orphaned-keys");
    assert_eq!(outcome, "warning");
    let reason = "is kept: its resource is not the one that the secret names";
    assert!(observed.ends_with(reason), "{observed}");
}

/// Two secrets contain one key each, and the owner has no other. Both are rotated.
pub(super) fn is_split(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let mut keys = Vec::new();
    for name in [SECRET, "confluent/registry"] {
        let secret = state.secret(name);
        assert_eq!(secret.rotation_enabled, Some(true), "{name}");
        assert_eq!(secret.labels.get("AWSPREVIOUS"), None, "{name}");
        let of_secret = secret.key_ids("AWSCURRENT");
        assert_eq!(of_secret.len(), 1, "{name}");
        keys.extend(of_secret);
    }
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
    assert_eq!(deployment.verdict(), "ok");
}

/// The page's secret has a key, and another secret cannot obtain one.
pub(super) fn has_initial_key(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let key = state.secret("confluent/invoices").key_id("AWSCURRENT");
    assert!(state.keys.contains_key(key.unwrap()));
    drop(state);
    assert_eq!(deployment.parameter("InitialKey"), "off");
}

/// The clients can still use the current key, which is the only one.
pub(super) fn is_uninstalled(deployment: &Deployment) {
    rotation_is_off(deployment);
    has_only_its_keys(deployment);
    assert!(!deployment.simulator.has_stack(), "the stack is deleted");
}

pub(super) fn rotation_is_off(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    assert_eq!(state.secret(SECRET).rotation_enabled, Some(false));
}

/// The function authenticates with an access token of the pool, no secret names an admin secret, and a rotation has succeeded.
pub(super) fn is_keyless(deployment: &Deployment) {
    has_both_keys(deployment);
    assert_eq!(deployment.verdict(), "ok");
    assert_eq!(deployment.check("token-exchange").0, "ok");
    let pool = deployment.parameter("IdentityPoolId");
    assert_eq!(deployment.parameter("AdminSecretArn"), "");
    let state = deployment.simulator.state();
    let pools: Vec<&String> = state.identity_pools.keys().collect();
    assert_eq!(pools, [&pool], "the function uses the only pool");
    let value = state.secret(SECRET).value("AWSCURRENT").unwrap();
    assert!(!value.contains("adminSecretArn"));
}

/// The function authenticates with a new admin key, and no pool exists.
pub(super) fn has_admin_secret_again(deployment: &Deployment) {
    has_both_keys(deployment);
    assert_eq!(deployment.verdict(), "ok");
    assert_eq!(deployment.parameter("IdentityPoolId"), "");
    assert_eq!(
        deployment.parameter("AdminSecretArn"),
        admin_secret_arn(deployment)
    );
    assert!(deployment.simulator.state().identity_pools.is_empty());
}

/// The keys of another application and of another deployment still exist.
pub(super) fn other_keys_remain(deployment: &Deployment) {
    let state = deployment.simulator.state();
    for id in &deployment.other_keys {
        assert!(state.keys.contains_key(id), "the page deleted {id}");
    }
}

/// Neither a secret nor a key of the page nor an identity pool remains.
pub(super) fn nothing_remains(deployment: &Deployment) {
    let state = deployment.simulator.state();
    assert!(state.secrets.is_empty(), "the secrets are deleted");
    let is_of_page = |id: &&String| !deployment.other_keys.contains(id);
    let keys: Vec<&String> = state.keys.keys().filter(is_of_page).collect();
    assert!(keys.is_empty(), "the keys are deleted: {keys:?}");
    assert!(state.identity_pools.is_empty(), "the pool is deleted");
}

/// The secret is deleted or scheduled for deletion, and so are all keys.
pub(super) fn is_decommissioned(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let secret = state.secrets.values().find(|secret| secret.name == SECRET);
    assert!(secret.is_none_or(|secret| secret.attributes.deleted.is_some()));
    drop(state);
    assert_eq!(deployment.keys(), Vec::<String>::new());
}

/// No secret exists yet.
pub(super) fn is_empty(deployment: &Deployment) {
    assert!(deployment.simulator.state().secrets.is_empty());
}
