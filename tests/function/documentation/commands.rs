//! The commands of the tutorial and of the runbooks run, and the state afterwards is what the page says.
//!
//! To run one page: `cargo test --test function documentation::commands::rollback -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::deployment::{
    self, ADMIN_SECRET, CLUSTER, Deployment, ENVIRONMENT, OTHER_OWNER, SECRET, Start, function_arn,
};
use super::markdown::{Block, blocks, pages};
use super::shell::Shell;
use super::stand_ins::StandIns;
use super::*;

/// A page, what exists before its commands, and what holds after them.
struct Page {
    name: &'static str,
    start: Start,
    /// The check at the end has no heading. The others are made before the first block after their heading.
    checks: Checks,
}

/// Asserts the state that a page describes.
pub(super) type Check = fn(&Deployment);

/// Checks by the heading before which they are made.
pub(super) type Checks = &'static [(&'static str, Check)];

/// Runs the commands of each page in a test of its own.
macro_rules! pages {
    ($($test:ident: $name:literal, $start:ident, [$($heading:literal => $check:expr),*];)*) => {
        const PAGES: &[Page] = &[
            $(Page { name: $name, start: Start::$start, checks: &[$(($heading, $check)),*] },)*
        ];

        $(#[tokio::test]
        async fn $test() {
            test($name).await;
        })*
    };
}

pages! {
    tutorial: "docs/tutorial.md", Stack, ["15. Clean up" => is_rotated, "" => nothing_remains];
    failing_rotation: "docs/runbooks/failing-rotation.md", Failed, ["" => is_rotated];
    stuck_rotation: "docs/runbooks/stuck-rotation.md", Stuck, ["" => is_rotated];
    rollback: "docs/runbooks/rollback.md", Pending, ["" => is_rolled_back];
    leaked_key: "docs/runbooks/leaked-key.md", RotatedAndKept, ["" => leaked_key_is_deleted];
    deleted_key: "docs/runbooks/deleted-key.md", KeyDeleted, ["" => is_rotated];
    change_owner_or_resource: "docs/runbooks/change-owner-or-resource.md", Rotated, ["" => has_another_owner];
    managed_type: "docs/runbooks/managed-type.md", Rotated, ["" => rotation_is_off];
    many_secrets: "docs/runbooks/many-secrets.md", Several, ["" => all_are_rotated];
    replicas_and_regions: "docs/runbooks/replicas-and-regions.md", Rotated, ["" => copy_has_its_own_key];
    other_accounts_and_networks: "docs/runbooks/other-accounts-and-networks.md", Rotated, ["" => uses_vpc_and_proxy];
    initial_key: "docs/runbooks/initial-key.md", Rotated, ["" => has_initial_key];
    upgrade: "docs/runbooks/upgrade.md", Rotated, ["" => is_upgraded];
    uninstall: "docs/runbooks/uninstall.md", Rotated, ["" => is_uninstalled];
    decommission_secret: "docs/runbooks/decommission-secret.md", Rotated, ["" => is_decommissioned];
    terraform_api_key: "docs/runbooks/terraform-api-key.md", Rotated, ["" => is_rotated];
    clients: "docs/runbooks/clients.md", Rotated, ["" => previous_keys_are_kept];
}

/// The current key exists and is accepted.
fn is_usable(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let secret = state.secret(SECRET);
    let (id, api_secret) = secret.key("AWSCURRENT").expect("the secret has a key");
    let key = state.keys.get(&id).expect("the current key exists");
    assert!(key.secret == api_secret, "the API secret is the key's");
}

/// The secret has another key than before, which is the owner's only one.
fn is_rotated(deployment: &Deployment) {
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
fn is_rolled_back(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let labels = &state.secret(SECRET).labels;
    assert_eq!(labels["AWSCURRENT"], deployment.labels["AWSPREVIOUS"]);
    assert_eq!(labels.get("AWSPENDING"), None);
}

fn leaked_key_is_deleted(deployment: &Deployment) {
    is_usable(deployment);
    assert!(
        !deployment.keys().contains(&deployment.key),
        "the leaked key was deleted"
    );
}

/// The secret and its only key have the new owner, the previous key is deleted, and the secret can be rotated.
fn has_another_owner(deployment: &Deployment) {
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

/// The function was deployed once, with the parameters of before, and a rotation would succeed.
fn is_upgraded(deployment: &Deployment) {
    is_unchanged(deployment);
    assert_eq!(deployment.deployments.load(Ordering::Relaxed), 1);
    assert_eq!(
        deployment.parameter("AdminSecretArn"),
        admin_secret_arn(deployment)
    );
    assert_eq!(deployment.verdict(), "ok");
}

/// The function has a VPC and a proxy, in addition to its other parameters, and reaches everything.
fn uses_vpc_and_proxy(deployment: &Deployment) {
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
fn all_are_rotated(deployment: &Deployment) {
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
fn copy_has_its_own_key(deployment: &Deployment) {
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
fn has_initial_key(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    let key = state.secret("confluent/invoices").key_id("AWSCURRENT");
    assert!(state.keys.contains_key(key.unwrap()));
    drop(state);
    assert_eq!(deployment.parameter("InitialKey"), "off");
}

fn previous_keys_are_kept(deployment: &Deployment) {
    is_usable(deployment);
    let policy = deployment.parameter("OldKeyPolicy");
    assert_eq!(policy, "keep-until-next-rotation");
}

/// The clients can still use the key.
fn is_uninstalled(deployment: &Deployment) {
    rotation_is_off(deployment);
    assert!(!deployment.simulator.has_stack(), "the stack is deleted");
}

fn rotation_is_off(deployment: &Deployment) {
    is_usable(deployment);
    let state = deployment.simulator.state();
    assert_eq!(state.secret(SECRET).rotation_enabled, Some(false));
}

/// Neither a secret nor a key remains.
fn nothing_remains(deployment: &Deployment) {
    let state = deployment.simulator.state();
    assert!(state.secrets.is_empty(), "the secrets are deleted");
    let keys: Vec<&String> = state.keys.keys().collect();
    assert!(keys.is_empty(), "the keys are deleted: {keys:?}");
}

/// The secret is deleted or scheduled for deletion, and so are all keys.
fn is_decommissioned(deployment: &Deployment) {
    let state = deployment.simulator.state();
    let secret = state.secrets.values().find(|secret| secret.name == SECRET);
    assert!(secret.is_none_or(|secret| secret.attributes.deleted.is_some()));
    drop(state);
    assert_eq!(deployment.keys(), Vec::<String>::new());
}

/// Runs the commands of a page and checks the state.
async fn test(name: &str) {
    let page = PAGES.iter().find(|page| page.name == name).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(markdown) = fs::read_to_string(root.join(name)) else {
        let is_written = root.join("docs/tutorial.md").exists();
        assert!(!is_written, "{name} does not exist");
        return;
    };
    match run(name, &markdown, page.start, page.checks).await {
        Some(result) => result.unwrap_or_else(|failure| panic!("{failure}")),
        None => println!("{name} was skipped"),
    }
}

/// Runs the commands of a page, waits for the rotations that they started, and checks the state. Returns `None` if the AWS CLI is
/// not available.
async fn run(
    name: &str,
    markdown: &str,
    start: Start,
    checks: Checks,
) -> Option<Result<(), String>> {
    let shell = tokio::task::spawn_blocking(Shell::new).await.unwrap()?;
    let simulator = Simulator::start().await;
    let _log = deployment::capture_log(&simulator);
    let deployment = Arc::new(Box::pin(Deployment::new(simulator.clone(), start)).await);
    let stand_ins = StandIns::start(&deployment, checks);
    let (name, blocks, url) = (name.to_owned(), blocks(markdown), simulator.account_url());
    let port = stand_ins.port();
    let commands = async {
        let run = move || shell.run(&name, &blocks, &url, port);
        let result = tokio::task::spawn_blocking(run).await.unwrap();
        simulator.jobs_finished().await;
        result
    };
    let invoke = async |event| deployment.invoke(event).await;
    let result = tokio::select! {
        result = commands => result,
        () = Box::pin(simulator.run_jobs(&invoke)) => unreachable!("it does not end"),
    };
    let rejected = stand_ins.stop();
    if result.is_ok() && !rejected.is_empty() {
        return Some(Err(format!("{rejected:#?}")));
    }
    for (_, check) in checks
        .iter()
        .filter(|(heading, _)| result.is_ok() && heading.is_empty())
    {
        check(&deployment);
    }
    Some(result)
}

#[test]
fn every_page_with_commands_is_tested() {
    let runs = |(_, page): &(String, String)| blocks(page).iter().any(|block: &Block| block.is_run);
    for (name, _) in pages().into_iter().filter(runs) {
        let is_tutorial_or_runbook =
            name == "docs/tutorial.md" || name.starts_with("docs/runbooks/");
        let is_tested = PAGES.iter().any(|page| page.name == name);
        assert!(
            is_tested || !is_tutorial_or_runbook,
            "{name} has no row in the table of pages"
        );
    }
}

#[tokio::test]
async fn the_commands_of_a_page_change_the_state() {
    let rotate = include_str!("pages/rotate.md");
    let recover = include_str!("pages/recover.md");
    let manage = include_str!("pages/manage.md");
    let cases: [(&str, &str, Start, Checks); 3] = [
        (
            "rotate.md",
            rotate,
            Start::Stack,
            &[("Rotate a secret", is_empty), ("", is_rotated)],
        ),
        (
            "recover.md",
            recover,
            Start::Pending,
            &[("", is_rolled_back)],
        ),
        ("manage.md", manage, Start::Rotated, &[("", is_usable)]),
    ];
    for (name, page, start, checks) in cases {
        let Some(result) = run(name, page, start, checks).await else {
            return;
        };

        result.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// No secret exists yet.
fn is_empty(deployment: &Deployment) {
    assert!(deployment.simulator.state().secrets.is_empty());
}

#[tokio::test]
async fn a_page_fails_with_its_block_and_its_output() {
    let page = |block: &str| format!("```sh\necho first\n```\n\n```sh\n{block}\n```\n");
    let get = "aws secretsmanager get-secret-value --secret-id confluent/missing";
    let cases = [
        ("false | cat", "failed: cat"),
        ("echo \"$UNSET\"", "UNSET: unbound variable"),
        ("exit 0", "ended the shell"),
        (get, "ResourceNotFoundException"),
        ("sha256sum < /dev/null", "nor has a stand-in"),
        ("aws s3 ls || true", "aws s3 ls"),
        ("python3 --version || true", "python3 --version"),
        (
            "sam deploy --parameter-overrides Unknown=1",
            "no parameter Unknown",
        ),
        (
            "sam deploy --parameter-overrides OldKeyPolicy=keep || true",
            "OldKeyPolicy failed to satisfy constraint",
        ),
        (
            "sam deploy --parameter-overrides VpcSubnetIds=subnet-0",
            "VpcSubnetIds requires VpcSecurityGroupIds",
        ),
        (
            "sam deploy --stack-name other --parameter-overrides MemorySize=1",
            "MemorySize failed to satisfy constraint",
        ),
        (
            "aws cloudformation deploy --stack-name schedule --template-file templates/rotation-schedule.yaml",
            "parameter SecretArn must have a value",
        ),
    ];
    for (block, expected) in cases {
        let Some(result) = run("a page", &page(block), Start::Stack, &[]).await else {
            return;
        };

        let failure = result.expect_err(block);
        assert!(failure.contains(expected), "{block}: {failure}");
    }
}

#[tokio::test]
async fn a_page_fails_if_a_check_fails_or_its_heading_is_missing() {
    let page = "# First\n\n```sh\ntrue\n```\n";
    let cases: [(Checks, &str); 2] = [
        (&[("First", is_usable)], "the state at First is wrong"),
        (&[("Second", is_empty)], "no block after Second"),
    ];
    for (checks, expected) in cases {
        let Some(result) = run("a page", page, Start::Stack, checks).await else {
            return;
        };

        let failure = result.expect_err(expected);
        assert!(failure.contains(expected), "{failure}");
    }
}

#[tokio::test]
async fn each_check_at_the_end_fails_without_the_commands_of_the_page() {
    for page in PAGES {
        let simulator = Simulator::start().await;
        let deployment = Box::pin(Deployment::new(simulator, page.start)).await;
        let checks = page.checks.iter();
        let mut at_the_end = checks.filter(|(heading, _)| heading.is_empty());
        let (_, check) = at_the_end.next().expect(page.name);

        let check = std::panic::AssertUnwindSafe(|| check(&deployment));
        let checked = std::panic::catch_unwind(check);

        // The tutorial starts without a secret, and deletes everything that it creates.
        let is_tutorial = page.start == Start::Stack;
        assert_eq!(checked.is_ok(), is_tutorial, "{}", page.name);
    }
}

#[tokio::test]
async fn each_start_has_the_state_of_its_name() {
    for start in Start::ALL {
        let simulator = Simulator::start().await;
        let deployment = Box::pin(Deployment::new(simulator, start)).await;

        let state = deployment.simulator.state();
        let secret = state.secrets.values().find(|secret| secret.name == SECRET);
        let has_pending = secret.is_some_and(|secret| secret.labels.contains_key("AWSPENDING"));
        let is_pending = matches!(start, Start::Pending | Start::Stuck);
        assert_eq!(has_pending, is_pending, "{start:?}");
        let has_previous = secret.is_some_and(|secret| secret.key_id("AWSPREVIOUS").is_some());
        let is_kept = matches!(start, Start::RotatedAndKept | Start::Pending);
        assert_eq!(has_previous, is_kept, "{start:?}");
        let keys = match start {
            Start::Stack | Start::KeyDeleted => 0,
            Start::RotatedAndKept | Start::Pending => 2,
            Start::Several => 3,
            Start::Rotated | Start::Stuck | Start::Failed => 1,
        };
        assert_eq!(state.keys_of(deployment::OWNER).len(), keys, "{start:?}");
    }
}
