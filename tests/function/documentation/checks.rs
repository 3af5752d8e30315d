//! What holds after the commands of a page.

use std::sync::atomic::Ordering;

use super::deployment::{
    ADMIN_SECRET, CLUSTER, Deployment, ENVIRONMENT, OTHER_OWNER, SECRET, function_arn,
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

/// The secret has another key than before, which is the owner's only one.
pub(super) fn is_rotated(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let key = secret.key_id("AWSCURRENT").unwrap().to_owned();
    assert_eq!(secret.pending_version(), None, "no rotation is incomplete");
    assert!(secret.last_rotated.is_some(), "the secret was rotated");
    drop(state);
    assert_ne!(key, deployment.key, "the key was replaced");
    assert_eq!(
        deployment.keys(),
        [key],
        "the owner has only the current key"
    );
}

/// The version that was the previous one is current, and Secrets Manager has no rotation to reattempt.
pub(super) fn is_rolled_back(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let labels = &state.secret(SECRET).labels;
    assert_eq!(labels["AWSCURRENT"], deployment.labels["AWSPREVIOUS"]);
    assert_eq!(labels.get("AWSPENDING"), None);
}

pub(super) fn leaked_key_is_deleted(deployment: &Deployment) {
    is_usable(deployment);
    assert!(
        !deployment.keys().contains(&deployment.key),
        "the leaked key was deleted"
    );
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
pub(super) fn is_unchanged(deployment: &Deployment) {
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

/// The function was deployed once, with the parameters of before, and a rotation would succeed.
pub(super) fn is_upgraded(deployment: &Deployment) {
    is_unchanged(deployment);
    assert_eq!(deployment.deployments.load(Ordering::Relaxed), 1);
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

pub(super) fn admin_secret_arn(deployment: &Deployment) -> String {
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
}

/// The secret and its copy have different keys, which exist.
pub(super) fn copy_has_its_own_key(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let mut keys = ["confluent/orders", "confluent/orders-copy"].map(|name| {
        let key = state.secret(name).key_id("AWSCURRENT").unwrap();
        key.to_owned()
    });
    drop(state);
    keys.sort();
    assert_eq!(deployment.keys(), keys);
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

pub(super) fn previous_keys_are_kept(deployment: &Deployment) {
    is_usable(deployment);
    let policy = deployment.parameter("OldKeyPolicy");
    assert_eq!(policy, "keep-until-next-rotation");
}

/// The clients can still use the key.
pub(super) fn is_uninstalled(deployment: &Deployment) {
    rotation_is_off(deployment);
    assert!(!deployment.simulator.has_stack(), "the stack is deleted");
}

pub(super) fn rotation_is_off(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    assert_eq!(state.secret(SECRET).rotation_enabled, Some(false));
}

/// Neither a secret nor a key remains.
pub(super) fn nothing_remains(deployment: &Deployment) {
    let state = deployment.simulator.state();
    assert!(state.secrets.is_empty(), "the secrets are deleted");
    let keys: Vec<&String> = state.keys.keys().collect();
    assert!(keys.is_empty(), "the keys are deleted: {keys:?}");
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
