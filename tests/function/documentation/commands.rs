//! The commands of the tutorial and of the runbooks run, and the state afterwards is what the page says.
//!
//! To run one page: `cargo test --test function documentation::commands::rollback -- --nocapture`.

use std::sync::Arc;

use super::deployment::{self, Deployment, SECRET};
use super::exclusions;
use super::markdown::{Block, blocks, pages};
use super::shell::Shell;
use super::stand_ins::StandIns;
use super::start::Start;
use super::states::*;
use super::*;

/// A page, what exists before its commands, and what holds after them.
struct Page {
    test: &'static str,
    name: &'static str,
    /// The headings of the blocks that run, in this order. If there are none, all blocks run that are not excluded.
    headings: &'static [&'static str],
    start: Start,
    /// The check at the end has no heading. The others are made before the first block after their heading.
    checks: Checks,
}

impl Page {
    /// Returns the blocks that run.
    fn blocks(&self, markdown: &str) -> Vec<Block> {
        let blocks = blocks(markdown);
        if self.headings.is_empty() {
            let is_run = |block: &Block| !exclusions::contains(self.name, block);
            return blocks.into_iter().filter(is_run).collect();
        }
        let under = |heading: &&str| {
            let blocks = blocks.iter().filter(|block| block.heading == *heading);
            let blocks: Vec<Block> = blocks.cloned().collect();
            assert!(!blocks.is_empty(), "{heading}");
            blocks
        };
        self.headings.iter().flat_map(under).collect()
    }
}

/// Runs the commands of each page in a test of its own.
macro_rules! pages {
    ($($test:ident: $name:literal $([$($part:literal),*])?, $start:ident, [$($heading:literal => $check:expr),*];)*) => {
        const PAGES: &[Page] = &[
            $(Page {
                test: stringify!($test),
                name: $name,
                headings: &[$($($part),*)?],
                start: Start::$start,
                checks: &[$(($heading, $check)),*],
            },)*
        ];

        $(#[tokio::test]
        async fn $test() {
            test(stringify!($test)).await;
        })*
    };
}

pages! {
    tutorial: "docs/tutorial.md", Stack,
        ["11. Rotate" => is_ready, "15. Read the status" => has_both_keys, "17. Add a Schema Registry key" => is_rotated,
            "18. Clean up" => has_two_pairs_of_keys, "" => nothing_remains];
    tutorial_keyless: "docs/tutorial-keyless.md", Stack,
        ["13. Rotate" => is_ready, "17. Clean up" => has_both_keys, "" => nothing_remains];
    keyless: "docs/runbooks/keyless.md", NamesAdmin,
        ["9. Delete the admin key and the admin secret" => is_keyless, "" => has_admin_secret_again];
    failing_rotation: "docs/runbooks/failing-rotation.md", Failed, ["" => is_in_overlap];
    stuck_rotation: "docs/runbooks/stuck-rotation.md", Stuck, ["" => is_in_overlap];
    rollback: "docs/runbooks/rollback.md", Pending, ["" => is_rolled_back];
    leaked_key: "docs/runbooks/leaked-key.md", Overlap, ["" => is_rotated];
    overlap: "docs/runbooks/overlap.md", Overlap,
        ["Verify" => has_longer_overlap, "End the overlap now" => has_both_keys, "1. Rotate, and wait" => has_only_its_key,
            "" => is_rotated];
    previous_key_overdue: "docs/runbooks/previous-key-overdue.md", Overdue,
        ["1. Read the cause" => is_overdue, "4. Delete the previous key" => is_ready, "" => has_only_its_key];
    deleted_key: "docs/runbooks/deleted-key.md", KeyDeleted, ["" => is_rotated];
    change_owner_or_resource: "docs/runbooks/change-owner-or-resource.md", Rotated, ["" => has_another_owner];
    earlier_value: "docs/runbooks/deleted-key.md" [
        "Recognize it", "2. Stop the rotation", "An earlier value was stored again", "5. Enable the rotation again",
        "6. Wait for the test", "Verify"
    ], EarlierValue, ["" => has_earlier_version];
    managed_type: "docs/runbooks/managed-type.md", Managed, ["1. Stop the rotation" => has_both_keys, "" => rotation_is_off];
    many_secrets: "docs/runbooks/many-secrets.md", Several, ["" => all_are_rotated];
    replicas_and_regions: "docs/runbooks/replicas-and-regions.md", Replicated, ["" => copy_has_its_own_key];
    other_accounts_and_networks: "docs/runbooks/other-accounts-and-networks.md", Rotated, ["" => uses_vpc_and_proxy];
    initial_key: "docs/runbooks/initial-key.md", Rotated, ["" => has_initial_key];
    upgrade: "docs/runbooks/upgrade.md", Delete, ["" => is_upgraded];
    uninstall: "docs/runbooks/uninstall.md", Overlap, ["" => is_uninstalled];
    decommission_secret: "docs/runbooks/decommission-secret.md", Overlap, ["" => is_decommissioned];
    fleet: "docs/reference/fleet.md", Overdue, ["" => has_only_its_key];
    several_keys: "docs/runbooks/several-keys.md", SecondResource,
        ["Move a key to a secret of its own" => is_merged, "7. Delete the key" => keeps_removed_key, "" => is_split];
    terraform_api_key: "docs/runbooks/terraform-api-key.md", Rotated, ["" => is_rotated];
    end_the_overlap_of_several_keys: "docs/runbooks/overlap.md" ["Recognize it", "End the overlap now"], SeveralKeys,
        ["" => has_only_its_keys];
    leaked_key_of_several: "docs/runbooks/leaked-key.md" [
        "Recognize it", "1. Find the version that contains the key", "2. Rotate", "3. Wait for the rotation", "4. Delete the leaked key",
        "Verify"
    ], SeveralKeys, ["" => has_no_leaked_key];
    uninstall_several_keys: "docs/runbooks/uninstall.md", SeveralKeys, ["" => is_uninstalled];
    decommission_several_keys: "docs/runbooks/decommission-secret.md", SeveralKeys, ["" => is_decommissioned];
    clients: "docs/runbooks/clients.md", Rotated, ["Verify" => is_in_overlap, "" => is_rotated];
}

/// Runs the commands of a page and checks the state.
async fn test(test: &str) {
    let page = PAGES.iter().find(|page| page.test == test).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page.name);
    let markdown = fs::read_to_string(path).unwrap();
    let run = run(page.name, page.blocks(&markdown), page.start, page.checks);
    match run.await {
        Some(result) => result.unwrap_or_else(|failure| panic!("{failure}")),
        None => println!("{} was skipped", page.name),
    }
}

/// Runs the blocks of a page, waits for the rotations that they started, and checks the state. Returns `None` if the AWS CLI is
/// not available.
async fn run(
    name: &str,
    blocks: Vec<Block>,
    start: Start,
    checks: Checks,
) -> Option<Result<(), String>> {
    let shell = tokio::task::spawn_blocking(Shell::new).await.unwrap()?;
    let simulator = Simulator::start().await;
    let _log = deployment::capture_log(&simulator);
    let deployment = Arc::new(Box::pin(Deployment::new(simulator.clone(), start)).await);
    let stand_ins = StandIns::start(&deployment, checks);
    let (name, url) = (name.to_owned(), simulator.account_url());
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
    let mut rejected = stand_ins.stop();
    rejected.extend(deployment.failed_invocations());
    if result.is_ok() && !rejected.is_empty() {
        return Some(Err(format!("{rejected:#?}")));
    }
    for (_, check) in checks
        .iter()
        .filter(|(heading, _)| result.is_ok() && heading.is_empty())
    {
        check(&deployment);
    }
    if result.is_ok() {
        other_keys_remain(&deployment);
    }
    Some(result)
}

#[tokio::test]
async fn the_tutorial_can_be_completed_without_the_wait_for_the_scheduled_deletion() {
    const CHECKS: Checks = &[
        ("18. Clean up", has_two_pairs_of_keys),
        ("", nothing_remains),
    ];
    run_tutorial_without(&["16. "], CHECKS).await;
}

#[tokio::test]
async fn the_tutorial_can_be_completed_without_a_second_key() {
    const CHECKS: Checks = &[("18. Clean up", has_both_keys), ("", nothing_remains)];
    run_tutorial_without(&["16. ", "17. "], CHECKS).await;
}

/// Runs the tutorial without the steps whose headings begin with `skipped`.
async fn run_tutorial_without(skipped: &[&str], checks: Checks) {
    let mut pages = pages().into_iter();
    let (_, tutorial) = pages.find(|(name, _)| name == "docs/tutorial.md").unwrap();
    let is_run = |section: &&str| !skipped.iter().any(|step| section.starts_with(step));
    let sections: Vec<&str> = tutorial.split("\n## ").filter(is_run).collect();

    let page = PAGES.iter().find(|page| page.test == "tutorial").unwrap();
    let blocks = page.blocks(&sections.join("\n## "));
    let result = run(page.name, blocks, Start::Stack, checks).await;

    if let Some(Err(failure)) = result {
        panic!("{failure}");
    }
}

#[test]
fn every_page_with_commands_is_tested() {
    for (name, page) in pages() {
        let is_tutorial_or_runbook =
            name.starts_with("docs/tutorial") || name.starts_with("docs/runbooks/");
        let is_tested = PAGES.iter().any(|page| page.name == name);
        assert!(
            is_tested || !is_tutorial_or_runbook || blocks(&page).is_empty(),
            "{name} has no row in the table of pages"
        );
    }
}

/// A block that never runs is checked, too.
#[tokio::test]
async fn every_block_passes_shellcheck() {
    let Some(shell) = tokio::task::spawn_blocking(Shell::new).await.unwrap() else {
        return;
    };
    for (name, page) in pages() {
        let checked = shell.check(&blocks(&page));
        assert_eq!(checked, Ok(()), "{name}");
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
            &[("Rotate a secret", is_empty), ("", has_both_keys)],
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
        let Some(result) = run(name, blocks(page), start, checks).await else {
            return;
        };

        result.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

const PREFLIGHT: &str =
    r#"printf '{"Step": "preflight", "SecretId": "confluent/missing"}' > event.json"#;

const INVOKE: &str = "aws lambda invoke --function-name confluent-key-rotation --payload fileb://event.json report.json";

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
            "sam deploy --parameter-overrides AdminSecretArn= IdentityPoolId=pool-AbC1",
            "SAM requires AdminSecretArn",
        ),
        (
            "aws iam get-outbound-web-identity-federation-info",
            "FeatureDisabled",
        ),
        (
            "confluent iam pool create p --provider op-abc12 --identity-claim claims.sub",
            "the filter true accepts other roles",
        ),
        (
            "confluent api-key create --resource cloud --service-account sa-abc123 --description confluent-key-rotation-tutorial",
            "another secret's ownership tag",
        ),
        (
            "sam deploy --stack-name confluent-key-rotation-recovery --parameter-overrides MemorySize=1",
            "MemorySize failed to satisfy constraint",
        ),
        (
            "aws cloudformation deploy --stack-name confluent-orders-rotation --template-file templates/rotation-schedule.yaml",
            "parameter SecretArn must have a value",
        ),
        (
            "sam delete --stack-name confluent-key-rotaton --no-prompts",
            "does not exist",
        ),
        (
            "aws lambda get-function-configuration --function-name confluent-key-rotaton",
            "does not exist",
        ),
        (
            "aws logs delete-log-group --log-group-name /aws/lambda/confluent-key-rotaton",
            "does not exist",
        ),
        (
            "aws cloudformation wait stack-delete-complete --stack-name confluent-key-rotation",
            "never reaches this state",
        ),
        ("while ! false; do sleep 10; done", "does not happen"),
        (&format!("echo \"$({get})\""), "failed: aws"),
        (
            &format!("for name in $({get}); do echo \"$name\"; done"),
            "failed: aws",
        ),
        (&format!("cat < <({get})"), "failed: aws"),
        (
            &format!("if [ -n \"$({get})\" ]; then true; fi"),
            "aws secretsmanager get",
        ),
        (
            &format!("{PREFLIGHT}; {INVOKE}"),
            "can't find the specified secret",
        ),
        (
            &format!("printf '{{\"Step\": \"prefligth\"}}' > event.json; {INVOKE}"),
            "InvalidEvent",
        ),
    ];
    for (block, expected) in cases {
        let Some(result) = run("a page", blocks(&page(block)), Start::Stack, &[]).await else {
            return;
        };

        let failure = result.expect_err(block);
        assert!(failure.contains(expected), "{block}: {failure}");
    }
}

/// A check that fails, without the backtrace of a panic.
fn fails(_: &Deployment) {
    std::panic::resume_unwind(Box::new("an expected failure"));
}

#[tokio::test]
async fn a_page_fails_if_a_check_fails_or_its_heading_is_missing() {
    let page = "# First\n\n```sh\ntrue\n```\n";
    let cases: [(Checks, &str); 2] = [
        (&[("First", fails)], "the state at First is wrong"),
        (&[("Second", is_empty)], "no block after Second"),
    ];
    for (checks, expected) in cases {
        let Some(result) = run("a page", blocks(page), Start::Stack, checks).await else {
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
        let keys = match start {
            Start::Stack | Start::KeyDeleted => 0,
            Start::Overlap
            | Start::Pending
            | Start::Overdue
            | Start::Failed
            | Start::SecondResource => 2,
            Start::Several => 3,
            Start::SeveralKeys => 4,
            Start::EarlierValue
            | Start::Managed
            | Start::Replicated
            | Start::Rotated
            | Start::Delete
            | Start::NamesAdmin
            | Start::Stuck => 1,
        };
        // `AWSPREVIOUS` names the key that the rotation created.
        let is_kept =
            matches!(keys, 2 | 4) && start != Start::SecondResource || start == Start::EarlierValue;
        assert_eq!(has_previous, is_kept, "{start:?}");
        drop(state);
        assert_eq!(deployment.keys().len(), keys, "{start:?}");
    }
}
