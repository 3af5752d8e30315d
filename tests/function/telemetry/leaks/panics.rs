//! A panic prints its message, which may contain a value: `unwrap` of an error prints the error.
//!
//! The crate therefore contains no code that panics. `lambda_runtime` turns a panic of a library into an error with its message.

use std::fs;
use std::path::{Path, PathBuf};

/// Calls that may panic.
const PANICS: [&str; 8] = [
    ".unwrap()",
    ".expect(",
    "unwrap_err(",
    "expect_err(",
    "panic!",
    "unreachable!",
    "unimplemented!",
    "assert",
];

/// The start of a module's tests.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else {
            sources.push(path);
        }
    }
    sources
}

#[test]
fn the_source_without_tests_contains_no_panic() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 20, "{sources:?}");
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        let released = text.split(TESTS).next().unwrap();
        let code = released
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let panics = PANICS.iter().find(|call| line.contains(**call));
            assert_eq!(panics, None, "{}: {line}", source.display());
        }
    }
}

#[test]
fn the_lints_against_panics_are_on_and_denied() {
    let manifest = include_str!("../../../../Cargo.toml");
    for line in [
        "unwrap_used = \"warn\"",
        "expect_used = \"warn\"",
        "indexing_slicing = \"warn\"",
        "[lints]\nworkspace = true",
    ] {
        assert!(manifest.contains(line), "{line}");
    }
    let ci = include_str!("../../../../.ci/run");
    assert!(ci.contains("cargo clippy --workspace --all-targets --locked -- -D warnings"));
}
