//! The README and the code say the same.

use confluent_key_rotation::resource::KINDS;

use super::*;

const README: &str = include_str!("../../README.md");

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
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}
