//! The subjects of the measurements: the function, a minimal Rust function (the floor), and the Python template.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The Python packages, including all dependencies.
const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// A program to start as a Lambda function.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name in a table.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The environment variables that only this subject requires.
    pub variables: Vec<(String, String)>,
    /// Whether it is measured, on a core of its own.
    pub is_pinned: bool,
}

impl Subject {
    /// Returns the function: `program`, or a build with the release profile.
    #[must_use]
    pub fn function(program: Option<PathBuf>) -> Self {
        let package = "confluent-key-rotation";
        Self::of(package, program.unwrap_or_else(|| built(package)))
    }

    /// Returns a minimal function, built with the same profile.
    #[must_use]
    pub fn floor() -> Self {
        Self::of("floor", built("floor"))
    }

    fn of(name: &'static str, program: PathBuf) -> Self {
        Self {
            name,
            program,
            arguments: Vec::new(),
            variables: Vec::new(),
            is_pinned: true,
        }
    }

    /// Returns a function like AWS's Python template with AWS's runtime client, in a virtual environment in the target
    /// folder.
    ///
    /// # Errors
    /// Returns the problem, such as no Python 3, no venv or no package index.
    pub fn python() -> Result<Self, String> {
        let folder = target().join("bench-python");
        let (python, stamp) = (folder.join("bin/python"), folder.join("requirements"));
        let sources = root().join("benches/python");
        // Written last, so that an interrupted installation starts over.
        if fs::read_to_string(&stamp).unwrap_or_default() != REQUIREMENTS {
            run(Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder))?;
            let mut pip = Command::new(&python);
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            pip.args(["--no-input", "--retries", "1", "--no-deps", "--requirement"]);
            run(pip.arg(sources.join("requirements.txt")))?;
            fs::write(stamp, REQUIREMENTS).map_err(|error| error.to_string())?;
        }
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(Self {
            name: "Python template",
            program: python,
            arguments: ["-m", "awslambdaric", "template.lambda_handler"]
                .map(str::to_owned)
                .into(),
            variables: vec![
                ("PYTHONPATH".to_owned(), path(sources)),
                // Compiled once, like its libraries, and not into the source folder.
                ("PYTHONPYCACHEPREFIX".to_owned(), path(folder.join("cache"))),
            ],
            is_pinned: true,
        })
    }

    /// Returns the size of the program in bytes, or `None` if it is a script.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let size = fs::metadata(&self.program).ok()?.len();
        self.arguments.is_empty().then_some(size)
    }
}

/// Returns the certificate authorities in botocore, if it is installed.
pub(crate) fn python_roots() -> Option<String> {
    let versions = fs::read_dir(target().join("bench-python/lib")).ok()?;
    let mut roots = versions.filter_map(|version| {
        let packages = version.ok()?.path().join("site-packages");
        fs::read_to_string(packages.join("botocore/cacert.pem")).ok()
    });
    roots.next()
}

/// Returns the root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace's folder")
}

/// Builds the binary of a package with the release profile.
fn built(package: &str) -> PathBuf {
    // With Cargo's variables for this program, build scripts such as ring's would run again.
    let environment = env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !name.starts_with("CARGO_PKG_") && !name.starts_with("CARGO_MANIFEST_")
    });
    // One package per build: together, they would share features.
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            package,
            "--bin",
            package,
        ])
        .arg("--target-dir")
        .arg(target())
        .current_dir(root())
        .env_clear()
        .envs(environment)
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "{package} was not built"
    );
    target().join("release").join(package)
}

/// Returns the target folder. This program is `<target>/<profile>/fleet` or `<target>/<profile>/deps/<bench>`.
#[must_use]
pub fn target() -> PathBuf {
    let program = env::current_exe().expect("a program");
    let profile = program.parent().expect("a folder");
    let profile = if profile.ends_with("deps") {
        profile.parent()
    } else {
        Some(profile)
    };
    profile
        .and_then(Path::parent)
        .expect("the target folder")
        .to_owned()
}

/// Runs a command. An error names the command and the last line of its output.
fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            let last = printed.lines().rfind(|line| !line.trim().is_empty());
            Err(format!("{command:?}: {}", last.unwrap_or("failed")))
        }
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
