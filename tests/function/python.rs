//! Python packages, in virtual environments under the target folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs the packages of a requirements file in `tests/function`. It names all dependencies. Returns the folder of the programs,
/// or the reason of a failure.
pub(crate) fn install(environment: &str, requirements: &str) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.parent().expect("the target folder");
    let folder = folder.join(environment);
    let (programs, stamp) = (folder.join("bin"), folder.join("requirements"));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/function");
    let path = tests.join(requirements);
    let requirements = fs::read_to_string(&path).unwrap();
    // Written last, so that an interrupted installation is repeated.
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(programs);
    }
    let venv = ["-m", "venv", "--clear"];
    run(Command::new("python3").args(venv).arg(&folder))?;
    run(Command::new(programs.join("python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-input", "--retries", "1", "--no-deps", "--requirement"])
        .arg(path))?;
    fs::write(stamp, requirements).unwrap();
    Ok(programs)
}

/// Runs a command. Returns the command and its last line of output if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let last = printed.lines().rfind(|line| !line.trim().is_empty());
    Err(format!("{command:?}: {}", last.unwrap_or("it failed")))
}

/// Prints that a test is skipped, what it requires, and the reason.
///
/// # Panics
/// If `REQUIRE_PYTHON` is set, as in `.ci/run`, which skips no test.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    let is_required = std::env::vars_os().any(|(name, _)| name == "REQUIRE_PYTHON");
    assert!(!is_required, "{line}");
    // Not println!, because the test passes, and the output of a passed test is not printed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
