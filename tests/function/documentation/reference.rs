//! Each page in `docs/reference` has a row for each name in the code and in the template, and no other row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use confluent_key_rotation::preflight::{CHECKS, TOKEN_CHECKS};
use confluent_key_rotation::telemetry::{Counts, FleetCounts, Metrics, NAMESPACE};

use super::markdown::pages;
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

/// Errors with the name of their source, or of another error.
const NAMED_LIKE_THEIR_SOURCE: [&str; 9] = [
    "AdminSecretNotAllowed",
    "TokenNotExchanged",
    "AdminSecretNotRead",
    "Confluent",
    "EarlierValueStored",
    "Endpoint",
    "InKey",
    "SecretsManager",
    "Token",
];

/// Returns the names of all errors: the variants of the enums, except those with the name of their source, and the strings in
/// `src/error/name.rs`.
fn error_names() -> BTreeSet<&'static str> {
    let enums = [
        include_str!("../../../src/error/mod.rs"),
        include_str!("../../../src/error/endpoint.rs"),
        include_str!("../../../src/error/token.rs"),
    ];
    let variants = enums.into_iter().flat_map(|source| {
        let (_, variants) = source.split_once("Error {\n").unwrap();
        let (variants, _) = variants.split_once("\n}\n").unwrap();
        variants.lines()
    });
    let variants = variants
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

/// The remedies of these errors depend on the response.
#[test]
fn the_row_of_an_error_names_what_its_messages_name() {
    let page = include_str!("../../../docs/reference/errors.md");
    for (name, remedies) in [
        (
            "ConfluentRejected",
            &["serviceAccountId", "resourceId", "billing"][..],
        ),
        ("ConfluentForbidden", &["serviceAccountId", "ResourceOwner"]),
        (
            "RequestBlocked",
            &["HTTPS_PROXY", "firewall", "IP filters", "CONFLUENT_API_URL"],
        ),
        (
            "CreationOutcomeUnknown",
            &["no action required", "RequestBlocked"],
        ),
    ] {
        let start = format!("| `{name}` |");
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{name}"));
        assert!(remedies.iter().all(|remedy| row.contains(remedy)), "{row}");
    }
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

    let checks: Vec<&str> = TOKEN_CHECKS.into_iter().chain(CHECKS).collect();
    assert_eq!(rows(page, "## Checks"), checks);
}

#[test]
fn each_tutorial_states_the_number_of_preflight_checks() {
    let keyless = TOKEN_CHECKS.len() + CHECKS.len();
    for (tutorial, checks) in [
        ("docs/tutorial.md", CHECKS.len()),
        ("docs/tutorial-keyless.md", keyless),
    ] {
        let (_, page) = pages()
            .into_iter()
            .find(|(name, _)| name == tutorial)
            .unwrap();

        let stated = page.split_once("one line for each of the ").unwrap().1;

        assert!(
            stated.starts_with(&format!("{checks} checks")),
            "{tutorial}: {stated:.20}"
        );
    }
}

#[tokio::test]
async fn each_metric_and_each_dimension_has_a_row() {
    let metrics = Metrics::default();
    // A metric that was not measured is not written.
    metrics.count(|counts| {
        *counts = Counts {
            requests: 1,
            retries: 1,
            orphans: 1,
            previous_keys: 1,
            kept: 1,
            failed_deletions: 1,
            propagation_seconds: Some(1.0),
            unreachable_brokers: Some(1),
            resource_keys: Some(1),
            fleet: Some(FleetCounts::default()),
        };
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

/// The macros of tracing whose fields are counted.
const MACROS: [&str; 6] = [
    "trace!(",
    "debug!(",
    "info!(",
    "warn!(",
    "error!(",
    "error_span!(",
];

/// The other names of tracing that the source may use. None of them adds a field.
const OTHER_NAMES: [&str; 8] = [
    "Instrument;",
    "Span;",
    "Span::current()",
    "field::Empty;",
    "field::{Field, Visit};",
    "subscriber::set_global_default(",
    "{Event, Metadata, Subscriber};",
    "{Instrument, Span};",
];

/// Returns the fields of the log lines: those of the calls of tracing's macros, and those that every line has. Panics if the source
/// uses tracing in another form.
fn log_fields(sources: &[(std::path::PathBuf, String)]) -> BTreeSet<&str> {
    let mut fields = BTreeSet::from(["timestamp", "level", "message"]);
    for (path, source) in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        for use_of_tracing in code.split("tracing").skip(1) {
            let is_other = use_of_tracing.starts_with(['`', '_']);
            let name = use_of_tracing.strip_prefix("::").unwrap_or_default();
            let mut macros = MACROS.iter();
            if let Some(call) = macros.find_map(|start| name.strip_prefix(start)) {
                fields.extend(arguments(call).into_iter().filter_map(field));
            } else {
                let is_known = OTHER_NAMES.iter().any(|other| name.starts_with(other));
                assert!(is_other || is_known, "{}: {name:.40}", path.display());
            }
        }
    }
    fields
}

/// Returns the arguments of a call of a macro, which are separated by the commas outside of strings and brackets.
fn arguments(call: &str) -> Vec<&str> {
    let mut arguments = Vec::new();
    let (mut start, mut depth, mut is_string, mut previous) = (0, 0, false, ' ');
    for (index, c) in call.char_indices() {
        let is_separator = !is_string && depth == 0 && matches!(c, ',' | ')');
        match c {
            '"' if previous != '\\' => is_string = !is_string,
            _ if is_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if is_separator {
            arguments.push(call[start..index].trim());
            start = index + 1;
        }
        if depth < 0 {
            return arguments;
        }
        previous = c;
    }
    panic!("the call does not end: {call:.40}");
}

/// Returns the name of the field of an argument of tracing's macros: `name`, `?name`, `%name`, or `name = value`. Returns `None` for
/// the target and the message. Panics if the argument has another form.
fn field(argument: &str) -> Option<&str> {
    let is_message = argument.starts_with('"') && !argument.contains("\" =");
    if argument.is_empty() || argument.starts_with("target: ") || is_message {
        return None;
    }
    let name = argument.split('=').next()?.trim();
    let name = name.trim_start_matches(['?', '%']);
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(is_allowed), "{argument}");
    Some(name)
}

#[test]
fn a_log_field_in_another_form_of_tracing_is_rejected() {
    let sources = |source: &str| [(std::path::PathBuf::from("f.rs"), source.to_owned())];
    for source in [
        "tracing::info_span!(\"read\", hidden = 1);",
        "tracing::event!(tracing::Level::INFO, hidden = 1, \"x\");",
        "use tracing::warn;",
        "use tracing as t;",
        "#[tracing::instrument(fields(hidden = 1))] fn f() {}",
        "tracing::warn!(key.hidden = 1, \"x\");",
        "tracing::warn!(%key.hidden, \"x\");",
        "tracing::warn!(\"hidden\" = 1, \"x\");",
        "tracing::warn!({ hidden = 1 }, \"x\");",
    ] {
        let sources = sources(source);

        let found = std::panic::catch_unwind(|| log_fields(&sources).len());

        assert!(found.is_err(), "{source}");
    }
    let sources =
        sources("tracing::warn!(target: T, a2 = f(x, \"y, z\"), ?b, %c, d, \"e, f = {g}\");");
    let fields = log_fields(&sources);
    assert_eq!(fields.len(), 3 + 4, "{fields:?}");
    assert!(
        ["a2", "b", "c", "d"]
            .iter()
            .all(|name| fields.contains(name))
    );
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
    assert_eq!(names.len(), 7, "{names:?}");
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

/// Commands of the AWS CLI that require no permission, or that of the deployer.
const WITHOUT_ACTION: [&str; 4] = [
    "cloudformation deploy",
    "cloudformation wait",
    "configure export-credentials",
    "sts get-caller-identity",
];

/// Returns the action of each command of the AWS CLI on a page, such as `DescribeSecret`.
fn actions(page: &str) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.starts_with(char::is_lowercase)
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let mut actions = BTreeSet::new();
    for command in page.split("aws ").skip(1) {
        let end = |c: char| c.is_whitespace() || "`)".contains(c);
        let mut words = command.split(end).take(2).filter(is_name);
        let (Some(service), Some(operation)) = (words.next(), words.next()) else {
            continue;
        };
        let has_no_action = WITHOUT_ACTION.contains(&&*format!("{service} {operation}"));
        if has_no_action || !operation.contains('-') && operation != "invoke" {
            continue;
        }
        let words = operation.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        });
        let action: String = words.collect();
        actions.insert(action.replace("Invoke", "InvokeFunction"));
    }
    actions
}

#[test]
fn each_action_that_a_command_requires_is_listed() {
    let iam = include_str!("../../../docs/reference/iam.md");
    let words: BTreeSet<&str> = iam.split(|c: char| !c.is_alphanumeric()).collect();

    for (name, page) in pages() {
        let actions = actions(&page);
        let missing: Vec<&String> = actions
            .iter()
            .filter(|action| !words.contains(action.as_str()))
            .collect();
        assert!(missing.is_empty(), "{name} requires {missing:?}");
    }
}

#[test]
fn an_action_has_the_name_of_its_command() {
    let page = "`aws events enable-rule --name X` and `aws secretsmanager` are\n$(aws lambda invoke) && aws sts get-caller-identity";

    let actions: Vec<String> = actions(page).into_iter().collect();

    assert_eq!(actions, ["EnableRule", "InvokeFunction"]);
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
