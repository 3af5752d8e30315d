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
