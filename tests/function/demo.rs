//! The demo, `tests/simulator/demo.rs`, with the options that a user can enter.

use simulator::rotation::STEPS;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use simulator::CANARY;

const KEY_TYPES: [&str; 7] = [
    "cloud",
    "kafka",
    "schema-registry",
    "ksqldb",
    "flink",
    "tableflow",
    "global",
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

/// Returns the exit status and the output.
fn result(output: &Output) -> (Option<i32>, String) {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(!printed.contains(CANARY), "{printed}");
    (output.status.code(), printed)
}

#[test]
fn the_demo_shows_a_rotation_of_each_key_type_and_no_secret() {
    // Concurrently, because each waits most of the time for its key to propagate.
    let running = KEY_TYPES.map(|key_type| {
        let demo = demo().args(["--key-type", key_type]).spawn();
        (key_type, demo.unwrap())
    });

    for (key_type, process) in running {
        let (status, printed) = result(&process.wait_with_output().unwrap());

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
fn the_demo_shows_self_rotation_and_a_previous_key_that_is_kept() {
    let (status, printed) = run(&[
        "--key-type",
        "cloud",
        "--self",
        "--policy",
        "keep-until-next-rotation",
    ]);

    assert_eq!(status, Some(0), "{printed}");
    let (_, end) = printed.split_once("The rotation is complete").unwrap();
    let previous = end.lines().filter(|line| line.contains(" key 1"));
    assert_eq!(
        previous.count(),
        2,
        "AWSPREVIOUS names it, and it exists: {end}"
    );
}

#[test]
fn the_demo_rejects_an_unknown_option_and_lists_the_valid_ones() {
    for arguments in [&["--key-type", "kafak"][..], &["--key-type"]] {
        let (status, printed) = run(arguments);

        assert_eq!(status, Some(2), "{printed}");
        assert!(printed.contains(&KEY_TYPES.join(", ")), "{printed}");
    }
    assert_eq!(run(&["--policy", "burn"]).0, Some(2));
    assert_eq!(run(&["--fast"]).0, Some(2));
    let (status, printed) = run(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(printed.contains("--key-type"), "{printed}");
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
    let not_run = "\nnot run        control-plane-access, current-key, create-permission, quota, orphaned-keys, endpoint, \
                   data-plane: they require `management-credentials`\n\nverdict: failed\n";
    assert!(own.ends_with(not_run), "{own}");
}
