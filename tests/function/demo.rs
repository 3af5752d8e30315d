//! The demo, `tests/simulator/demo`, with the options that a user can enter.

use simulator::rotation::STEPS;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use simulator::CANARY;

const KEY_TYPES: [&str; 8] = [
    "cloud",
    "kafka",
    "schema-registry",
    "ksqldb",
    "flink",
    "tableflow",
    "global",
    "kafka+schema-registry",
];

/// Returns a command for `<target>/<profile>/examples/demo`. Cargo builds it before it runs all tests.
fn demo() -> Command {
    let test = std::env::current_exe().unwrap();
    let demo: PathBuf = test.ancestors().nth(2).unwrap().join("examples/demo");
    assert!(demo.exists(), "build it first: cargo build --example demo");
    let mut command = Command::new(demo);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    result(&demo().args(arguments).output().unwrap())
}

/// Runs the demo with each of the arguments, concurrently: it waits most of the time for a key to propagate.
fn run_all<const N: usize>(arguments: [&[&str]; N]) -> [(Option<i32>, String); N] {
    let running = arguments.map(|arguments| demo().args(arguments).spawn().unwrap());
    running.map(|process| result(&process.wait_with_output().unwrap()))
}

/// Returns the exit status and the output.
fn result(output: &Output) -> (Option<i32>, String) {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(!printed.contains(CANARY), "{printed}");
    (output.status.code(), printed)
}

#[test]
fn the_demo_shows_a_rotation_of_each_key_type_and_no_secret() {
    let arguments = KEY_TYPES.map(|key_type| ["--key-type", key_type]);
    let results = run_all(arguments.each_ref().map(|arguments| &arguments[..]));

    for (key_type, (status, printed)) in KEY_TYPES.into_iter().zip(results) {
        assert_eq!(status, Some(0), "{key_type}: {printed}");
        let mut rest = printed.as_str();
        for step in STEPS {
            let found = rest.split_once(&format!("\n{step}: "));
            (_, rest) = found.unwrap_or_else(|| panic!("{key_type}: no {step} in {rest}"));
        }
        let probes = printed.split_once("\ntestSecret: ").unwrap().1;
        let (rejected, accepted) = (probes.find(" s  401 "), probes.rfind(" s  200 "));
        assert!(
            rejected.is_some() && rejected < accepted,
            "{key_type}: {printed}"
        );
        assert!(
            printed.contains("Violations: none"),
            "{key_type}: {printed}"
        );
    }
}

#[test]
fn the_readme_quotes_the_summary_which_contains_the_guarantee_for_copies() {
    let (_, printed) = run(&[]);
    let readme = include_str!("../../README.md");

    // The number of requests depends on the time that the key takes to propagate.
    let summary = |output: &str| {
        let (_, summary) = output.split_once("\nChecked at each of ").unwrap();
        let (summary, _) = summary.split_once("\nViolations: none\n").unwrap();
        summary
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .to_owned()
    };
    let words = summary(&printed).replace('\n', " ");
    assert!(words.contains("; every copy of the key in the secret value is replaced;"));
    assert_eq!(summary(readme), summary(&printed));
}

#[test]
fn the_demo_shows_that_a_resource_scoped_api_key_requires_an_admin_secret() {
    let (status, printed) = run(&["--key-type", "kafka", "--self"]);

    assert_eq!(status, Some(1), "{printed}");
    for part in [
        "AdminSecretRequired",
        "Name an admin secret",
        "Violations: none",
    ] {
        let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            printed.contains(part) || words.contains(part),
            "{part} in {printed}"
        );
    }
}

#[test]
fn the_demo_shows_when_each_policy_deletes_the_previous_key() {
    let keep = [
        "--key-type",
        "cloud",
        "--self",
        "--policy",
        "keep-until-next-rotation",
    ];
    let results = run_all([
        &[],
        &["--policy", "delete-after"],
        &["--policy", "delete"],
        &keep,
    ]);

    for ((status, printed), (announced, is_kept)) in results.into_iter().zip([
        ("deletes it 24 hours later.", true),
        ("deletes it 24 hours later.", true),
        (" key 1 is deleted.", false),
        ("The next rotation deletes it.", true),
    ]) {
        assert_eq!(status, Some(0), "{printed}");
        let (_, end) = printed.split_once("The rotation is complete").unwrap();
        let (keys, announcement) = end.split_once("\nThe previous key ").unwrap();
        assert!(announcement.contains(announced), "{announced} in {printed}");
        let previous = keys.lines().filter(|line| line.contains(" key 1"));
        // AWSPREVIOUS names it, and it exists.
        let expected = if is_kept { 2 } else { 0 };
        assert_eq!(previous.count(), expected, "{printed}");
    }
}

#[test]
fn the_demo_shows_that_two_keys_in_one_secret_rotate_together() {
    let key_type = ["--kind", "kafka+schema-registry"];
    let with = |more: &[&'static str]| [&key_type[..], more].concat();
    let arguments = [
        with(&[]),
        with(&["--policy", "delete"]),
        with(&["--crash", "createSecret"]),
        with(&["--preflight"]),
    ];
    let [kept, deleted, interrupted, preflight] =
        run_all(arguments.each_ref().map(|arguments| &arguments[..]));

    for ((status, printed), previous) in [
        (kept, "deletes it 24 hours later."),
        (deleted, "is deleted."),
        (interrupted, "deletes it 24 hours later."),
    ] {
        assert_eq!(status, Some(0), "{printed}");
        let (_, end) = printed.split_once("The rotation is complete").unwrap();
        let current = end.lines().find(|line| line.starts_with("  AWSCURRENT"));
        let current: Vec<&str> = current.unwrap().split(", ").collect();
        assert_eq!(current.len(), 2, "{printed}");
        let is_previous = |key: &&str| key.ends_with(" key 1") || key.ends_with(" key 2");
        assert!(!current.iter().any(is_previous), "{printed}");
        assert_eq!(end.matches("\nThe previous key ").count(), 2, "{printed}");
        assert_eq!(end.matches(previous).count(), 2, "{printed}");
        assert!(end.contains("\nOrphaned keys: none\n"), "{printed}");
        assert!(end.ends_with("\nViolations: none\n"), "{printed}");
    }
    let (status, printed) = preflight;
    assert_eq!(status, Some(0), "{printed}");
    for key in ["apiKey", "schemaRegistryApiKey"] {
        let check = format!("data-plane ({key})");
        let line = printed.lines().find(|line| line.contains(&check));
        let line = line.unwrap_or_else(|| panic!("no {check} in {printed}"));
        assert!(line.starts_with("ok "), "{printed}");
    }
}

#[test]
fn the_demo_interrupts_a_step_and_shows_that_the_retry_leaves_no_orphaned_key() {
    let results = run_all([
        &["--crash", "createSecret"],
        &["--crash", "testSecret"],
        &["--crash", "finishSecret"],
    ]);

    for ((status, printed), (step, request)) in results.into_iter().zip([
        ("createSecret", "POST /iam/v2/api-keys"),
        ("testSecret", "GET /kafka/v3/clusters/lkc-orders/topics"),
        ("finishSecret", "UpdateSecretVersionStage"),
    ]) {
        assert_eq!(status, Some(0), "{printed}");
        let interrupted = format!("{request}  (no response)\n\n{step} was interrupted ");
        let found = printed.split_once(&interrupted);
        let (_, rest) = found.unwrap_or_else(|| panic!("no {interrupted} in {printed}"));
        let (state, retry) = rest.split_once("Secrets Manager retries").unwrap();
        // Only createSecret can lose a key.
        let loses_key = step == "createSecret";
        let deletes_key = retry.contains("DELETE /iam/v2/api-keys/");
        assert_eq!(state.contains(", orphaned\n"), loses_key, "{printed}");
        assert_eq!(deletes_key, loses_key, "{printed}");
        assert_eq!(retry.contains(" key 3"), loses_key, "{printed}");
        let (_, end) = retry.split_once("The rotation is complete").unwrap();
        assert!(end.contains("\nOrphaned keys: none\n"), "{printed}");
        assert!(end.ends_with("\nViolations: none\n"), "{printed}");
    }
}

#[test]
fn the_demo_reports_an_error_of_the_step_that_it_should_interrupt() {
    let (status, printed) = run(&["--self", "--crash", "createSecret"]);

    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("AdminSecretRequired"), "{printed}");
    assert!(!printed.contains("Secrets Manager retries"), "{printed}");
}

#[test]
fn the_demo_shows_the_status_and_the_overlap_of_a_fleet() {
    let (status, printed) = run(&["--fleet"]);

    assert_eq!(status, Some(0), "{printed}");
    let tables: Vec<&str> = printed.split(r#"{"Step":"status"}"#).skip(1).collect();
    assert_eq!(tables.len(), 2, "{printed}");
    assert!(tables[0].contains(r#"{"Step":"retire"}"#), "{printed}");
    for table in tables {
        for (secret, end) in [
            ("audit", " rotation-disabled"),
            ("billing", " delete-after 72 h  AWSCURRENT"),
            ("orders", " delete-after 24 h  AWSCURRENT"),
            ("payments", " AWSCURRENT AWSPENDING    stuck"),
            ("shipping", " invalid-policy-tag"),
        ] {
            let line = table
                .lines()
                .find(|line| line.starts_with(&format!("  {secret} ")));
            assert!(
                line.is_some_and(|line| line.ends_with(end)),
                "{secret}: {printed}"
            );
        }
    }
    let (overlap, end) = printed.split_once(" 25 hours older").unwrap();
    let has_status = |printed: &str, status: &str, key: &str| {
        let mut lines = printed.lines().filter(|line| line.contains(key));
        lines.any(|line| line.starts_with(&format!("  {status}  ")))
    };
    assert!(has_status(overlap, "200", " key 1 "), "{overlap}");
    assert!(has_status(overlap, "200", " key 2 "), "{overlap}");
    assert!(has_status(end, "401", " key 1 "), "{end}");
    assert!(has_status(end, "200", " key 2 "), "{end}");
    for part in [
        r#"{"secrets":1,"previousKeysDeleted":1,"orphanedKeysDeleted":0,"notProcessed":0}"#,
        "have changed: 0 of 4\n",
        "5 secrets. Findings: invalid-policy-tag 1, rotation-disabled 1, stuck 1\n",
        "Violations: none\n",
    ] {
        assert!(end.contains(part), "{part} in {end}");
    }
}

#[test]
fn the_demo_rejects_an_unknown_option_and_lists_the_valid_ones() {
    for arguments in [&["--key-type", "kafak"][..], &["--key-type"]] {
        let (status, printed) = run(arguments);

        assert_eq!(status, Some(2), "{printed}");
        assert!(printed.contains(&KEY_TYPES.join(", ")), "{printed}");
    }
    for (arguments, problem) in [
        (
            &["--policy", "burn"][..],
            "delete-after, delete, keep-until-next-rotation",
        ),
        (
            &["--policy"],
            "delete-after, delete, keep-until-next-rotation",
        ),
        (
            &["--crash", "setSecret"],
            "createSecret, testSecret, finishSecret",
        ),
        (&["--crash"], "createSecret, testSecret, finishSecret"),
        (
            &["--crash", "createSecret", "--preflight"],
            "--preflight cannot be combined",
        ),
        (&["--fleet", "--self"], "--fleet cannot be combined"),
        (
            &["--policy", "delete", "--fleet"],
            "--fleet cannot be combined",
        ),
        (&["--fast"], "--fast is not an option"),
    ] {
        let (status, printed) = run(arguments);

        assert_eq!(status, Some(2), "{arguments:?}: {printed}");
        let (first, _) = printed.split_once('\n').unwrap();
        assert!(first.contains(problem), "{arguments:?}: {printed}");
    }
    let (status, printed) = run(&["--help"]);
    assert_eq!(status, Some(0));
    for option in ["--key-type", "--policy", "--crash", "--fleet"] {
        assert!(printed.contains(option), "{printed}");
    }
}

#[test]
fn the_demo_prints_a_preflight_as_a_table() {
    let (status, printed) = run(&["--preflight"]);
    let (own_status, own) = run(&["--preflight", "--self"]);

    assert_eq!(status, Some(0), "{printed}");
    assert!(
        printed
            .contains("ok             data-plane             the resource accepts the current key")
    );
    assert!(printed.ends_with("verdict: ok\n"), "{printed}");
    assert_eq!(own_status, Some(1), "{own}");
    assert!(own.contains("\u{2192} Name an admin secret"), "{own}");
    let not_run = "\nnot run        control-plane-access, current-key, create-permission, quota, orphaned-keys, endpoint, brokers, \
                   data-plane: they require `management-credentials`\n\nverdict: failed\n";
    assert!(own.ends_with(not_run), "{own}");
}
