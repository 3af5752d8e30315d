//! The README and the pages in `docs` use the names of the code and of the tests, and their commands work.

mod commands;
mod confluent_cli;
mod deployment;
mod exclusions;
mod markdown;
mod reference;
mod shell;
mod stand_ins;
mod start;
mod states;
mod template;

use std::fs;
use std::path::Path;

use super::*;

const README: &str = include_str!("../../README.md");

#[test]
fn each_test_that_the_readme_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/function");
    let mut sources = Vec::new();
    read_sources(&root, &mut sources);
    let quoted = README.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted.filter(|name| name.contains("::")).collect();

    assert!(named.len() >= 8, "{named:?}");
    for name in named {
        let (module, test) = name.rsplit_once("::").unwrap();
        let path = root.join(module.replace("::", "/"));
        let files = [path.with_extension("rs"), path.join("mod.rs")];
        let definition = format!("fn {test}(");
        let is_defined =
            |(file, source): &(_, String)| files.contains(file) && source.contains(&definition);
        assert!(sources.iter().any(is_defined), "{name}");
    }
}

/// Reads all files in `folder` and in its subfolders.
fn read_sources(folder: &Path, sources: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            sources.push((path, source));
        }
    }
}
