//! The README and the pages in `docs` use the names of the code and of the tests, and their commands work.

mod commands;
mod deployment;
mod markdown;
mod shell;
mod stand_ins;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use confluent_key_rotation::confluent::KEY_TYPES;

use super::*;

const README: &str = include_str!("../../README.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

#[test]
fn each_key_type_has_a_row() {
    for key_type in &KEY_TYPES {
        let row = format!("| {} | ", key_type.name);

        assert!(README.contains(&row), "{row}");
    }
}

#[test]
fn each_environment_variable_is_documented() {
    let names = std::cell::RefCell::new(BTreeSet::new());
    let variable = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        let (_, value) = LAMBDA_VARIABLES.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    };

    Config::read(variable).unwrap();

    let rows = CONFIGURATION.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, names.into_inner());
}

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

/// Returns the names of all errors: the variants of the enum, except those with the name of their source, and the strings in
/// `src/error/name.rs`.
fn error_names() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/error/mod.rs");
    let (_, variants) = source.split_once("pub enum Error {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let variants = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
        .filter(|name| !["Confluent", "SecretsManager", "EarlierValueStored"].contains(name));
    let strings = include_str!("../../src/error/name.rs").split('"').skip(1);
    variants.chain(strings.step_by(2)).collect()
}

#[test]
fn each_error_name_has_one_row() {
    let lines = include_str!("../../docs/errors.md").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    // Names with a dot or a space are Lambda's.
    let rows: Vec<&str> = rows
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect();
    let documented: BTreeSet<&str> = rows.iter().copied().collect();

    assert_eq!(documented.len(), rows.len(), "a name has two rows");
    assert!(documented.len() > 40, "{documented:?}");
    assert_eq!(documented, error_names());
}
