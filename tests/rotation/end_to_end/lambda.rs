//! The release binary as a process, and Lambda, which asks it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use simulator::{FunctionError, RuntimeApi};

use super::*;

/// The function's process. It has been killed when this is dropped.
pub(super) struct Process {
    pub(super) child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// The binary with the profile that ships, built once.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let given = std::env::vars_os().find(|(name, _)| name == "ROTATION_BINARY");
        if let Some((_, path)) = given {
            return fs::canonicalize(path).expect("ROTATION_BINARY names a file");
        }
        // `<target>/<profile>/deps/<test>`, wherever `<target>` was put.
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        // What Cargo tells a test about itself would make build scripts, such as ring's, run again.
        let environment = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("CARGO_PKG_") && !name.starts_with("CARGO_MANIFEST_")
        });
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "--bin",
                "confluent-key-rotation",
            ])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .envs(environment)
            .status();
        assert!(built.unwrap().success(), "the release binary was not built");
        target.join("release/confluent-key-rotation")
    })
}

impl Process {
    /// Starts the binary in an environment of these variables and no others.
    pub(super) fn start(variables: &[(&str, &str)]) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("end-to-end-{}-{serial}", std::process::id());
        // Files, not pipes: a line that was written before an answer is there when the answer is.
        let file = |stream| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{stream}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let child = Command::new(binary())
            .env_clear()
            .envs(variables.iter().copied())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(super) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub(super) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// The lines on stdout, each of which must be an object. Those with metrics are CloudWatch's and left out.
    pub(super) fn lines(&self) -> Vec<Map<String, Value>> {
        let stdout = self.stdout();
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let lines = stdout.lines().map(object);
        lines
            .filter(|line: &Map<String, Value>| !line.contains_key("_aws"))
            .collect()
    }

    /// The lines that tell how an invocation ended.
    pub(super) fn outcomes(&self) -> Vec<Map<String, Value>> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains_key("outcome"));
        lines
    }

    pub(super) fn assert_nothing_secret_was_printed(&self) {
        for printed in [self.stdout(), self.stderr()] {
            let leak = printed
                .lines()
                .find(|line| line.contains(CANARY) || line.contains("Basic "));
            assert_eq!(leak, None);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, and a test that fails is told by its own message.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.stdout);
        let _ = fs::remove_file(&self.stderr);
    }
}

/// Lambda, which runs the function in one process; it has been killed when this is dropped.
pub(crate) struct Lambda {
    pub(super) runtime: RuntimeApi,
    pub(super) process: Process,
}

impl Lambda {
    /// Starts the function with these variables beside, or instead of, those that every test needs.
    pub(crate) async fn start(simulator: &Simulator, variables: &[(&str, &str)]) -> Self {
        let runtime = RuntimeApi::start().await;
        let confluent = simulator.confluent_url();
        let secrets_manager = simulator.secrets_manager_url();
        let mut environment = vec![
            ("AWS_LAMBDA_RUNTIME_API", runtime.address()),
            ("AWS_LAMBDA_FUNCTION_NAME", "rotation"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", CANARY),
            ("AWS_SESSION_TOKEN", "session"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets_manager),
            ("CONFLUENT_API_URL", &confluent),
            ("PROBE_INTERVAL_MS", "1"),
        ];
        environment.extend(variables);
        let process = Process::start(&environment);
        Self { runtime, process }
    }

    pub(super) async fn invoke(&self, event: Value) -> Result<Value, FunctionError> {
        let answer = self.runtime.invoke(event, AMPLE);
        let answer = tokio::time::timeout(AMPLE, answer).await;
        answer.unwrap_or_else(|_| panic!("no answer: {}", self.process.stderr()))
    }

    /// Rotates a secret as Secrets Manager does: the four events, one after the other.
    pub(crate) async fn rotate(&self, simulator: &Simulator, arn: &str) -> Outcome {
        let invoke = async |event| {
            let answer = self.invoke(event).await;
            answer
                .map(|_| ())
                .map_err(|error| format!("{}: {}", error.error_type, error.message))
        };
        simulator.rotate(arn, &invoke).await
    }

    /// Takes the first step for a secret that nobody knows, which fails.
    pub(crate) async fn rotate_unknown(&self) -> FunctionError {
        let token = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";
        let event =
            json!({"Step": "createSecret", "SecretId": "orders", "ClientRequestToken": token});
        self.invoke(event).await.unwrap_err()
    }

    /// Takes the first step of a rotation, which is expected to fail.
    pub(super) async fn fail(&self, world: &World) -> FunctionError {
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, "createSecret");
        self.invoke(event).await.unwrap_err()
    }

    pub(crate) fn assert_nothing_secret_was_printed(&self) {
        self.process.assert_nothing_secret_was_printed();
    }
}
