//! The order of the modules in `src/`. A module imports only modules of a lower row, so there are no circular dependencies.

use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules, from the top row to the bottom row. Modules on one row don't import each other.
const ROWS: [&[&str]; 12] = [
    &["main", "lib"],
    &["handler"],
    &["rotation"],
    &["preflight", "fleet"],
    &["event", "invocation"],
    &["keys"],
    &["error"],
    &["secret"],
    &["confluent", "web_identity"],
    &["config"],
    &["http"],
    &["telemetry"],
];

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Returns the imports of `module` that don't point to a lower row. Tests, which end a file, may import everything.
fn violations(module: &str, code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join(" ");
    let mut imports: Vec<_> = code.split("crate::").skip(1).flat_map(modules).collect();
    imports.retain(|import| import != module && row(import) <= row(module));
    imports
}

/// Returns the first name of the path at the start of `code`, or of each path in a group such as `{http, secret::Client}`.
fn modules(code: &str) -> Vec<String> {
    let name = |path: &str| {
        let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
        path.trim().chars().take_while(is_name).collect()
    };
    let Some(group) = code.strip_prefix('{') else {
        return vec![name(code)];
    };
    let mut braces = 1;
    let paths = group.split(|c| {
        braces += i32::from(c == '{') - i32::from(c == '}');
        braces < 1 || (braces == 1 && c == ',')
    });
    // The path after the end of the group is empty.
    let names = paths.map(name).take_while(|name| !name.is_empty());
    names.collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    let files = entries.flat_map(|entry| files(&entry.unwrap().path()));
    files.collect()
}

#[test]
fn every_module_imports_only_modules_of_a_lower_row() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&src) {
        let path = file.strip_prefix(&src).unwrap().with_extension("");
        let module = path.iter().next().unwrap().to_str().unwrap();
        assert_ne!(row(module), None, "{module} is in no row");

        let violations = violations(module, &fs::read_to_string(&file).unwrap());

        assert!(violations.is_empty(), "{path:?} imports {violations:?}");
    }
}

#[test]
fn an_import_of_the_same_row_or_of_a_higher_one_is_a_violation() {
    let code = "
        pub use crate::{http, handler, rotation::{Event, Step}, secret::{self}};
        use crate::fleet;
        use crate::preflight::Report;
        fn f() { crate::unknown::f() } // crate::main
        #[cfg(test)]\nmod tests { use crate::lib; }";

    let violations = violations("preflight", code);

    assert_eq!(violations, ["handler", "rotation", "fleet", "unknown"]);
}
