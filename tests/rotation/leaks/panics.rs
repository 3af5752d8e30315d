//! What a panic prints is its message, and a message may quote a value: `unwrap` of an error prints the error.
//!
//! Nothing that ships can be made to panic from outside, so what is asserted is that nothing in it panics by its own
//! word. A panic of a library names no value of ours, and `lambda_runtime` turns it into an error with that message.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that panic.
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

/// Where the tests of a module begin.
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
fn nothing_that_ships_panics_by_its_own_word() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 20, "{sources:?}");
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        let ships = text.split(TESTS).next().unwrap();
        let code = ships
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let word = PANICS.iter().find(|word| line.contains(**word));
            assert_eq!(word, None, "{}: {line}", source.display());
        }
    }
}

#[test]
fn the_lints_that_forbid_a_panic_are_on_and_deny() {
    let manifest = include_str!("../../../Cargo.toml");
    for line in [
        "unwrap_used = \"warn\"",
        "expect_used = \"warn\"",
        "indexing_slicing = \"warn\"",
        "[lints]\nworkspace = true",
    ] {
        assert!(manifest.contains(line), "{line}");
    }
    let ci = include_str!("../../../.ci/run");
    assert!(ci.contains("cargo clippy --workspace --all-targets --locked -- -D warnings"));
}
