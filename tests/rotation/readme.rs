//! The README, the pages under `docs` and the code say the same.

use confluent_key_rotation::resource::KINDS;

use super::*;

const README: &str = include_str!("../../README.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

#[test]
fn every_kind_has_a_row() {
    for kind in &KINDS {
        let row = format!("| {} | ", kind.name);

        assert!(README.contains(&row), "{row}");
    }
}

#[test]
fn every_variable_that_is_read_is_named() {
    let asked = std::cell::RefCell::new(Vec::new());
    let ask = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };

    Config::read(ask).unwrap();

    let asked = asked.into_inner();
    assert!(asked.len() >= 7, "{asked:?}");
    for name in asked {
        assert!(CONFIGURATION.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let sources = [
        include_str!("client.rs"),
        include_str!("faults.rs"),
        include_str!("kinds.rs"),
        include_str!("leaks.rs"),
        include_str!("contract/hosts.rs"),
        include_str!("steps/fields.rs"),
        include_str!("steps/refusals.rs"),
        include_str!("steps/sweep.rs"),
        include_str!("steps/test.rs"),
    ];
    let quoted = README.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted
        .filter_map(|name| name.rsplit_once("::"))
        .map(|(_, test)| test)
        .collect();

    assert!(named.len() >= 8, "{named:?}");
    for test in named {
        let definition = format!("fn {test}(");
        assert!(
            sources.iter().any(|source| source.contains(&definition)),
            "{test}"
        );
    }
}

/// The names of errors, as the code has them: the texts in `Error::name` and the two functions below it.
fn error_names() -> std::collections::BTreeSet<&'static str> {
    let source = include_str!("../../src/error.rs");
    let (_, names) = source.split_once("pub fn name(&self)").expect("names");
    let (names, last) = names.split_once("fn store_name(").expect("store_name");
    let (last, _) = last.split_once("\n}\n").expect("an end");
    let quoted = |code: &'static str| code.split('"').skip(1).step_by(2);
    quoted(names).chain(quoted(last)).collect()
}

#[test]
fn every_error_has_a_row_and_every_row_an_error() {
    let lines = include_str!("../../docs/errors.md").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    // Names with a dot or a space are Lambda's own.
    let rows: Vec<&str> = rows
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect();
    let documented: std::collections::BTreeSet<&str> = rows.iter().copied().collect();

    assert_eq!(documented.len(), rows.len(), "a name has two rows");
    assert!(documented.len() > 40, "{documented:?}");
    assert_eq!(documented, error_names());
}
