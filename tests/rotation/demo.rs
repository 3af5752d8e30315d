//! The demo, `tests/simulator/demo.rs`, run as a person runs it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use simulator::CANARY;
use simulator::rotation::STEPS;

const KINDS: [&str; 7] = [
    "cloud",
    "kafka",
    "schema-registry",
    "ksqldb",
    "flink",
    "tableflow",
    "global",
];

/// `<target>/<profile>/examples/demo`, which Cargo builds before it runs all tests.
fn demo() -> Command {
    let test = std::env::current_exe().unwrap();
    let demo: PathBuf = test.ancestors().nth(2).unwrap().join("examples/demo");
    assert!(demo.exists(), "build it first: cargo build --example demo");
    let mut command = Command::new(demo);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    told(&demo().args(arguments).output().unwrap())
}

/// Exit status, and all that was printed.
fn told(output: &Output) -> (Option<i32>, String) {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(!printed.contains(CANARY), "{printed}");
    (output.status.code(), printed)
}

#[test]
fn the_demo_shows_a_rotation_of_every_kind_and_no_secret() {
    // At the same time, since each spends most of its time waiting for its new key.
    let running = KINDS.map(|kind| (kind, demo().args(["--kind", kind]).spawn().unwrap()));

    for (kind, process) in running {
        let (status, printed) = told(&process.wait_with_output().unwrap());

        assert_eq!(status, Some(0), "{kind}: {printed}");
        let mut rest = printed.as_str();
        for step in STEPS {
            let found = rest.split_once(&format!("\n{step}: "));
            (_, rest) = found.unwrap_or_else(|| panic!("{kind}: no {step} in {rest}"));
        }
        let tries = printed.split_once("\ntestSecret: ").unwrap().1;
        let (refused, accepted) = (tries.find(" s  401 "), tries.rfind(" s  200 "));
        assert!(refused.is_some() && refused < accepted, "{kind}: {printed}");
        assert!(printed.contains("Violations: none"), "{kind}: {printed}");
    }
}

#[test]
fn the_demo_shows_that_a_resources_key_cannot_sign_and_what_to_do() {
    let (status, printed) = run(&["--kind", "kafka", "--self"]);

    assert_eq!(status, Some(1), "{printed}");
    for part in [
        " s  401 ",
        "AdminSecretNeeded",
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
fn the_demo_shows_self_rotation_and_an_old_key_that_is_kept() {
    let (status, printed) = run(&[
        "--kind",
        "cloud",
        "--self",
        "--policy",
        "keep-until-next-rotation",
    ]);

    assert_eq!(status, Some(0), "{printed}");
    let (_, end) = printed.split_once("The rotation is complete").unwrap();
    let old = end.lines().filter(|line| line.contains(" old"));
    assert_eq!(old.count(), 2, "AWSPREVIOUS names it, and it lives: {end}");
}

#[test]
fn the_demo_answers_what_it_does_not_know_with_what_it_does() {
    for arguments in [&["--kind", "kafak"][..], &["--kind"]] {
        let (status, printed) = run(arguments);

        assert_eq!(status, Some(2), "{printed}");
        assert!(printed.contains(&KINDS.join(", ")), "{printed}");
    }
    assert_eq!(run(&["--policy", "burn"]).0, Some(2));
    assert_eq!(run(&["--fast"]).0, Some(2));
    let (status, printed) = run(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(printed.contains("--kind"), "{printed}");
}

#[test]
fn the_demo_prints_a_preflight_as_a_table() {
    let (status, printed) = run(&["--preflight"]);
    let (own_status, own) = run(&["--preflight", "--self"]);

    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("ok       acceptance      the current key opens the resource"));
    assert!(printed.ends_with("verdict: ok\n"), "{printed}");
    assert_eq!(own_status, Some(1), "{own}");
    assert!(own.contains("\u{2192} Name an admin secret"), "{own}");
    assert!(own.ends_with("verdict: failed\n"), "{own}");
}
