//! Stand-ins for the commands of the Confluent CLI, which read and change the simulator's state.

use regex_lite::Regex;
use simulator::{IdentityPool, TOKEN_ISSUER, ownership_tag};

use super::deployment::{ADMIN, CLUSTER, Deployment, ENVIRONMENT, OWNER};
use super::stand_ins::Call;
use super::*;

/// <https://docs.confluent.io/confluent-cli/current/command-reference/api-key/confluent_api-key_create.html>
pub(super) fn create_api_key(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let resource = call.option("--resource").ok_or("--resource is required")?;
    let owner = call
        .option("--service-account")
        .ok_or("--service-account is required")?;
    {
        let state = deployment.simulator.state();
        if !state.owners.contains_key(owner) {
            return Err(format!("the service account {owner} does not exist"));
        }
        if resource != "cloud" && !state.resources.contains_key(resource) {
            return Err(format!("the resource {resource} does not exist"));
        }
    }
    let description = call.option("--description").unwrap_or_default();
    if description.starts_with("confluent-key-rotation") {
        return Err("the description would be another secret's ownership tag".to_owned());
    }
    if call.option("--output") != Some("json") && call.option("-o") != Some("json") {
        return Err("without --output json, the API secret is in a table".to_owned());
    }
    let resource = Some(resource).filter(|resource| *resource != "cloud");
    let environment = resource.map(|_| "env-abc123");
    let (id, secret) = deployment.simulator.add_key(owner, resource, environment);
    set_description(&deployment.simulator, &id, description);
    Ok(json!({"api_key": id, "api_secret": secret}).to_string())
}

/// Adds keys of the owner for the same cluster, with the descriptions of another person's tutorial and of another deployment.
pub(super) fn add_other_keys(simulator: &Simulator) -> Vec<String> {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:confluent/orders-AbCdEf";
    let tag = ownership_tag(arn, "00000000-0000-0000-0000-000000000000", "0a1b2c3d", "");
    let add = |description: &str| {
        let (id, _) = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
        set_description(simulator, &id, description);
        id
    };
    vec![add("tutorial for confluent/orders"), add(&tag)]
}

fn set_description(simulator: &Simulator, id: &str, description: &str) {
    let mut state = simulator.state();
    let key = state.keys.get_mut(id).expect("the key exists");
    description.clone_into(&mut key.description);
}

/// Without `--force`, the CLI prompts.
///
/// <https://docs.confluent.io/confluent-cli/current/command-reference/api-key/confluent_api-key_delete.html>
pub(super) fn delete_api_key(deployment: &Deployment, call: &Call) -> Result<String, String> {
    if !call.words.iter().any(|word| word == "--force") {
        return Err("the CLI prompts without --force".to_owned());
    }
    let ids = call
        .words
        .iter()
        .skip(3)
        .filter(|word| !word.starts_with('-'));
    for id in ids {
        if !deployment.simulator.state().keys.contains_key(id) {
            return Err(format!("the API key {id} does not exist"));
        }
        deployment.delete_key(id);
    }
    Ok(String::new())
}

fn describe_key(key: &simulator::ApiKey) -> Value {
    json!({
        "key": key.id, "description": key.description, "owner": key.owner, "resource": key.resource,
        "created": key.created_at,
    })
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/api-key/confluent_api-key_list.html>
#[expect(clippy::unnecessary_wraps, reason = "a stand-in")]
pub(super) fn list_api_keys(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let state = deployment.simulator.state();
    let owner = call.option("--service-account");
    let resource = call.option("--resource");
    let environment = call.option("--environment");
    let is_listed = |key: &&simulator::ApiKey| {
        (owner.is_none() || key.owner.as_deref() == owner)
            && resource.is_none_or(|resource| key.resource == resource)
            && (environment.is_none() || key.environment.as_deref() == environment)
    };
    let keys = state.keys.values().filter(is_listed);
    Ok(keys.map(describe_key).collect::<Value>().to_string())
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/api-key/confluent_api-key_describe.html>
pub(super) fn describe_api_key(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let id = call.words.get(3).map(String::as_str).unwrap_or_default();
    let state = deployment.simulator.state();
    let key = state
        .keys
        .get(id)
        .ok_or_else(|| format!("the API key {id} does not exist"))?;
    Ok(describe_key(key).to_string())
}

/// Returns the ID of the service account with the name.
///
/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/service-account/confluent_iam_service-account_create.html>
#[expect(clippy::unnecessary_wraps, reason = "a stand-in")]
pub(super) fn create_service_account(
    deployment: &Deployment,
    call: &Call,
) -> Result<String, String> {
    let name = call.words.get(4).map(String::as_str).unwrap_or_default();
    let id = if name.contains("rotat") { ADMIN } else { OWNER };
    deployment.simulator.add_owner(id, &[]);
    Ok(json!({"id": id, "name": name, "description": ""}).to_string())
}

/// Also deletes the keys of the service account.
///
/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/service-account/confluent_iam_service-account_delete.html>
pub(super) fn delete_service_account(
    deployment: &Deployment,
    call: &Call,
) -> Result<String, String> {
    let id = call.words.get(4).map(String::as_str).unwrap_or_default();
    let keys: Vec<String> = {
        let mut state = deployment.simulator.state();
        let owner = state.owners.remove(id);
        owner.ok_or_else(|| format!("the service account {id} does not exist"))?;
        state.keys_of(id).iter().map(|key| key.id.clone()).collect()
    };
    for key in keys {
        deployment.delete_key(&key);
    }
    Ok(String::new())
}

/// The only identity provider of a page. Its issuer is the account's.
const PROVIDER: &str = "op-abc12";

/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/provider/confluent_iam_provider_create.html>
pub(super) fn create_identity_provider(_: &Deployment, call: &Call) -> Result<String, String> {
    let keys = format!("{TOKEN_ISSUER}/.well-known/jwks.json");
    for (option, expected) in [("--issuer-uri", TOKEN_ISSUER), ("--jwks-uri", &keys)] {
        if call.option(option) != Some(expected) {
            return Err(format!("{option} is not {expected}"));
        }
    }
    Ok(json!({"id": PROVIDER, "issuer_uri": TOKEN_ISSUER, "jwks_uri": keys}).to_string())
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/provider/confluent_iam_provider_delete.html>
pub(super) fn delete_identity_provider(
    deployment: &Deployment,
    call: &Call,
) -> Result<String, String> {
    check_deletion(call)?;
    if call.words.get(4).is_none_or(|id| id != PROVIDER) {
        return Err("the identity provider does not exist".to_owned());
    }
    if !deployment.simulator.state().identity_pools.is_empty() {
        return Err("the identity provider has a pool".to_owned());
    }
    Ok(String::new())
}

/// Rejects a filter that does not pin the subject and the audience.
///
/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/pool/confluent_iam_pool_create.html>
pub(super) fn create_identity_pool(deployment: &Deployment, call: &Call) -> Result<String, String> {
    if call.option("--provider") != Some(PROVIDER) {
        return Err(format!("--provider is not {PROVIDER}"));
    }
    if call.option("--identity-claim") != Some("claims.sub") {
        return Err("--identity-claim is not claims.sub".to_owned());
    }
    let filter = call.option("--filter").unwrap_or("true");
    let pattern = r#"^claims\.sub=="([^"]+)" && claims\.aud=="([^"]+)"$"#;
    let captured = Regex::new(pattern).unwrap().captures(filter);
    let captured = captured.ok_or_else(|| format!("the filter {filter} accepts other roles"))?;
    let pool = IdentityPool {
        issuer: TOKEN_ISSUER.to_owned(),
        subject: captured[1].to_owned(),
        audience: captured[2].to_owned(),
    };
    let id = "pool-AbC1";
    let simulator = &deployment.simulator;
    simulator.state().identity_pools.insert(id.to_owned(), pool);
    simulator.add_owner(id, &[]);
    Ok(json!({"id": id, "filter": filter}).to_string())
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/pool/confluent_iam_pool_delete.html>
pub(super) fn delete_identity_pool(deployment: &Deployment, call: &Call) -> Result<String, String> {
    check_deletion(call)?;
    let id = call.words.get(4).map(String::as_str).unwrap_or_default();
    let mut state = deployment.simulator.state();
    let pool = state.identity_pools.remove(id);
    pool.ok_or_else(|| format!("the identity pool {id} does not exist"))?;
    state.owners.remove(id);
    Ok(String::new())
}

/// Without `--force`, the CLI prompts.
fn check_deletion(call: &Call) -> Result<(), String> {
    let is_forced = call.words.iter().any(|word| word == "--force");
    is_forced
        .then_some(())
        .ok_or_else(|| "the CLI prompts without --force".to_owned())
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/rbac/role-binding/confluent_iam_rbac_role-binding_create.html>
pub(super) fn bind_role(deployment: &Deployment, call: &Call) -> Result<String, String> {
    change_roles(deployment, call, Vec::push)
}

/// <https://docs.confluent.io/confluent-cli/current/command-reference/iam/rbac/role-binding/confluent_iam_rbac_role-binding_delete.html>
pub(super) fn unbind_role(deployment: &Deployment, call: &Call) -> Result<String, String> {
    change_roles(deployment, call, |roles, role| {
        roles.retain(|known| *known != role);
    })
}

fn change_roles(
    deployment: &Deployment,
    call: &Call,
    change: impl Fn(&mut Vec<Role>, Role),
) -> Result<String, String> {
    let required = |name: &str| {
        let value = call.option(name).map(str::to_owned);
        value.ok_or_else(|| format!("{name} is required"))
    };
    let role = match required("--role")?.as_str() {
        "ResourceOwner" => {
            let resource = required("--resource")?;
            let account = resource.strip_prefix("service-account:");
            Role::ResourceOwnerOf(account.ok_or("another resource")?.to_owned())
        }
        "Operator" => Role::Operator,
        "OrganizationAdmin" => Role::OrganizationAdmin,
        "EnvironmentAdmin" => Role::EnvironmentAdmin(required("--environment")?),
        "CloudClusterAdmin" => Role::CloudClusterAdmin(required("--cloud-cluster")?),
        "ResourceKeyAdmin" => Role::ResourceKeyAdmin,
        role if role.starts_with("Developer") => return Ok(String::new()),
        role => return Err(format!("the stand-in does not know the role {role}")),
    };
    let principal = required("--principal")?;
    let mut state = deployment.simulator.state();
    let owner = principal
        .strip_prefix("User:")
        .and_then(|id| state.owners.get_mut(id));
    let owner = owner.ok_or_else(|| format!("the principal {principal} does not exist"))?;
    change(&mut owner.roles, role);
    Ok(String::new())
}
