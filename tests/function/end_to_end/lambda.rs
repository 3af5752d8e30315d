//! The program as a process, and the Lambda service that invokes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use simulator::{FunctionError, RuntimeApi};

use super::*;

/// The function's process. Dropping it kills the process.
pub(super) struct Process {
    pub(super) child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// Returns the path of the program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let given = std::env::vars_os().find(|(name, _)| name == "ROTATION_BINARY");
        match given {
            Some((_, path)) => fs::canonicalize(path).expect("ROTATION_BINARY names a file"),
            None => env!("CARGO_BIN_EXE_confluent-key-rotation").into(),
        }
    })
}

impl Process {
    /// Starts the program with `variables` and no others.
    pub(super) fn start(variables: &[(&str, &str)]) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("end-to-end-{}-{serial}", std::process::id());
        // Files, not pipes: when a response arrives, the lines that were written before it can be read.
        let file = |stream| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{stream}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let child = Command::new(program())
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

    /// Waits until the process ends with a failure, and returns its only message, which must be an error.
    pub(super) fn startup_error(&mut self) -> String {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < AMPLE, "the function started");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(1), "{}", self.stderr());
        assert_eq!(self.stderr(), "");
        let [line] = &self.lines()[..] else {
            panic!("{}", self.stdout());
        };
        assert_eq!(line["level"], "ERROR");
        line["message"].as_str().unwrap().to_owned()
    }

    pub(super) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub(super) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Returns the lines on stdout, each of which must be a JSON object, without the metrics.
    pub(super) fn lines(&self) -> Vec<Map<String, Value>> {
        let stdout = self.stdout();
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let lines = stdout.lines().map(object);
        lines
            .filter(|line: &Map<String, Value>| !line.contains_key("_aws"))
            .collect()
    }

    /// Returns the lines with the outcome of an invocation.
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
        // The process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.stdout);
        let _ = fs::remove_file(&self.stderr);
    }
}

/// Lambda, which runs the function in one process. Dropping it kills the process.
pub(crate) struct Lambda {
    pub(super) runtime: RuntimeApi,
    pub(super) process: Process,
}

impl Lambda {
    /// Starts the function with the variables that every test needs, and `variables`, which override them.
    pub(crate) async fn start(simulator: &Simulator, variables: &[(&str, &str)]) -> Self {
        let runtime = RuntimeApi::start().await;
        let confluent = simulator.confluent_url();
        let secrets_manager = simulator.secrets_manager_url();
        let sts = simulator.sts_url();
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
            ("AWS_ENDPOINT_URL_STS", &sts),
            ("CONFLUENT_API_URL", &confluent),
            ("PROBE_INTERVAL_MS", "1"),
            ("PROPAGATION_WAIT_SECONDS", "0"),
        ];
        environment.extend(variables);
        let process = Process::start(&environment);
        Self { runtime, process }
    }

    pub(super) async fn invoke(&self, event: Value) -> Result<Value, FunctionError> {
        let response = self.runtime.invoke(event, AMPLE);
        let response = tokio::time::timeout(AMPLE, response).await;
        response.unwrap_or_else(|_| panic!("no response: {}", self.process.stderr()))
    }

    /// Rotates a secret, or resumes its rotation, as Secrets Manager does.
    pub(crate) async fn rotate(&self, simulator: &Simulator, arn: &str) -> Outcome {
        let invoke = async |event| {
            let response = self.invoke(event).await;
            response
                .map(|_| ())
                .map_err(|error| format!("{}: {}", error.error_type, error.message))
        };
        simulator.rotate(arn, &invoke).await
    }

    /// Invokes createSecret for a secret that does not exist, and returns the error.
    pub(crate) async fn rotate_unknown(&self) -> FunctionError {
        let token = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";
        let event =
            json!({"Step": "createSecret", "SecretId": "orders", "ClientRequestToken": token});
        self.invoke(event).await.unwrap_err()
    }

    /// Invokes createSecret and returns the error.
    pub(super) async fn create_secret_error(&self, world: &World) -> FunctionError {
        let token = world.simulator.start_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, "createSecret");
        self.invoke(event).await.unwrap_err()
    }

    pub(crate) fn assert_nothing_secret_was_printed(&self) {
        self.process.assert_nothing_secret_was_printed();
    }
}
