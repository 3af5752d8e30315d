//! Each page in `docs/reference` has a row for each name in the code and in the template, and no other row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use confluent_key_rotation::preflight::CHECKS;
use confluent_key_rotation::telemetry::{Metrics, NAMESPACE};

use super::read_sources;
use crate::telemetry::logs::logged;
use crate::*;

const TEMPLATE: &str = include_str!("../../../template.yaml");
const PARAMETERS: &str = include_str!("../../../docs/reference/parameters.md");
const METRICS: &str = include_str!("../../../docs/reference/metrics.md");
const LOGS: &str = include_str!("../../../docs/reference/logs.md");

/// Returns the names in the first column of the rows under `heading`: the strings in backticks.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).expect(heading);
    let level = format!("\n{} ", heading.split(' ').next().unwrap());
    let section = section.split(level.as_str()).next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = cells.filter_map(|row| row.split('|').next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

/// Asserts that `documented` contains each name of `existing` once, and no other.
fn assert_documented(documented: &[&str], existing: &BTreeSet<&str>) {
    let names: BTreeSet<&str> = documented.iter().copied().collect();
    let missing: Vec<_> = existing.difference(&names).collect();
    let unknown: Vec<_> = names.difference(existing).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    assert!(unknown.is_empty(), "do not exist: {unknown:?}");
    assert_eq!(documented.len(), names.len(), "two rows: {documented:?}");
}

#[test]
fn each_environment_variable_has_a_row() {
    let names = std::cell::RefCell::new(BTreeSet::new());
    let variable = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        let (_, value) = LAMBDA_VARIABLES.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    };

    Config::read(variable).unwrap();

    let names = names.into_inner();
    let existing = names.iter().map(String::as_str).collect();
    let documented = rows(PARAMETERS, "## Environment variables");
    assert_documented(&documented, &existing);
}

/// Errors with the name of their source.
const NAMED_LIKE_THEIR_SOURCE: [&str; 4] = [
    "AdminSecretNotRead",
    "Confluent",
    "EarlierValueStored",
    "SecretsManager",
];

/// Returns the names of all errors: the variants of the enum, except those with the name of their source, and the strings in
/// `src/error/name.rs`.
fn error_names() -> BTreeSet<&'static str> {
    let source = include_str!("../../../src/error/mod.rs");
    let (_, variants) = source.split_once("pub enum Error {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let variants = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
        .filter(|name| !NAMED_LIKE_THEIR_SOURCE.contains(name));
    let strings = include_str!("../../../src/error/name.rs")
        .split('"')
        .skip(1);
    variants.chain(strings.step_by(2)).collect()
}

/// The names with a dot or a space are Lambda's.
#[test]
fn each_error_name_has_a_row() {
    let lines = include_str!("../../../docs/reference/errors.md").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let rows: Vec<&str> = rows
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect();

    assert!(rows.len() > 40, "{rows:?}");
    assert_documented(&rows, &error_names());
}

#[test]
fn each_key_type_has_a_row() {
    let page = include_str!("../../../docs/reference/secret.md");
    for key_type in &confluent_key_rotation::confluent::KEY_TYPES {
        let row = format!("| {} | ", key_type.name);
        let minutes = format!(" | {} minutes |", key_type.min_age.as_secs() / 60);

        let row = page.lines().find(|line| line.starts_with(&row));

        let row = row.unwrap_or_else(|| panic!("{}", key_type.name));
        assert!(row.ends_with(&minutes), "{row}");
    }
}

#[test]
fn each_preflight_check_has_a_row_in_the_order_of_the_report() {
    let page = include_str!("../../../docs/reference/preflight.md");

    assert_eq!(rows(page, "## Checks")[..], CHECKS);
}

#[tokio::test]
async fn each_metric_and_each_dimension_has_a_row() {
    let metrics = Metrics::default();
    metrics.count(|counts| {
        counts.propagation_seconds = Some(1.0);
        counts.owner_keys = Some(1);
    });

    let ((), lines) = logged(async { metrics.write("function", "testSecret", None) }).await;

    let directives = lines[0]["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let mut existing = BTreeSet::new();
    for directive in directives {
        assert_eq!(directive["Namespace"], NAMESPACE);
        let dimensions = directive["Dimensions"][0].as_array().unwrap();
        existing.extend(dimensions.iter().filter_map(Value::as_str));
        let metrics = directive["Metrics"].as_array().unwrap();
        existing.extend(metrics.iter().filter_map(|metric| metric["Name"].as_str()));
    }
    let lines = METRICS.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<&str> = lines.filter_map(|row| row.split('`').next()).collect();
    assert!(METRICS.contains(NAMESPACE));
    assert_documented(&documented, &existing);
}

/// Returns the fields of the log lines: those of the calls of tracing's macros, and those that every line has.
fn log_fields(sources: &[(std::path::PathBuf, String)]) -> BTreeSet<&str> {
    let mut fields = BTreeSet::from(["timestamp", "level", "message"]);
    for (path, source) in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let macros = [
            "trace!",
            "debug!",
            "info!",
            "warn!",
            "error!",
            "error_span!",
        ];
        for name in macros {
            let start = format!("tracing::{name}(");
            for call in code.split(start.as_str()).skip(1) {
                let end = call
                    .find(");")
                    .unwrap_or_else(|| panic!("{}", path.display()));
                fields.extend(call.get(..end).unwrap().split(',').filter_map(field));
            }
        }
    }
    fields
}

/// Returns the name of the field of an argument of tracing's macros: `name`, `?name`, `%name`, or `name = value`.
fn field(argument: &str) -> Option<&str> {
    let name = argument.split('=').next()?.trim();
    let name = name.trim_start_matches(['?', '%']);
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_name.then_some(name)
}

#[test]
fn each_log_field_has_a_row() {
    let mut sources = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_sources(&source, &mut sources);

    let existing = log_fields(&sources);

    assert!(existing.len() > 30, "{existing:?}");
    let lines = LOGS.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = lines.filter_map(|row| row.split(" | ").next());
    let documented: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_documented(&documented, &existing);
}

#[test]
fn each_alarm_has_a_row() {
    let names = TEMPLATE
        .lines()
        .filter_map(|line| line.trim().strip_prefix("AlarmName: !Sub ${FunctionName}-"));
    let names: BTreeSet<String> = names.map(|name| format!("FUNCTION-{name}")).collect();
    let page = include_str!("../../../docs/reference/alarms.md");

    let documented = rows(page, "## Alarms");

    let existing = names.iter().map(String::as_str).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_documented(&documented, &existing);
}

#[test]
fn each_statement_of_the_role_has_a_row() {
    let (_, role) = TEMPLATE.split_once("\n  RotationRole:\n").unwrap();
    let (role, _) = role.split_once("\n  RotationPermission:\n").unwrap();
    let statements = role.lines().filter_map(|line| line.split("Sid: ").nth(1));
    let page = include_str!("../../../docs/reference/iam.md");

    let documented = rows(page, "## The function");

    assert_documented(&documented, &statements.collect());
}

#[test]
fn each_page_is_in_the_index_and_each_link_to_a_page_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        pages.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    let index = fs::read_to_string(folder.join("README.md")).unwrap();

    for page in &pages {
        let text = fs::read_to_string(folder.join(page)).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let is_page = !target.is_empty() && !target.contains('/');
            assert!(!is_page || pages.contains(target), "{page}: {target}");
        }
        let is_listed = page == "README.md" || index.contains(&format!("]({page})"));
        assert!(is_listed, "{page}");
    }
}
