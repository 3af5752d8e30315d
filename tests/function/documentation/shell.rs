//! Runs the commands of a page in bash, with the AWS CLI, POSIX tools, jq, and [stand-ins](super::stand_ins) for all others.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::markdown::Block;
use super::stand_ins::COMMANDS;
use super::*;

/// The time limit of a page.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// The POSIX utilities that commands may use, jq, and OpenSSL for the hash in an ownership tag.
///
/// <https://pubs.opengroup.org/onlinepubs/9799919799/idx/utilities.html>
pub(super) const TOOLS: [&str; 53] = [
    "awk", "basename", "cat", "chmod", "cksum", "cmp", "comm", "cp", "cut", "date", "diff",
    "dirname", "env", "expr", "false", "find", "fold", "getconf", "grep", "head", "id", "join",
    "jq", "ln", "ls", "mkdir", "mv", "nl", "od", "paste", "printf", "pwd", "rm", "rmdir", "sed",
    "sh", "sort", "split", "tail", "tee", "test", "touch", "tr", "true", "tsort", "tty", "uname",
    "uniq", "wc", "who", "xargs", "mkfifo", "openssl",
];

/// The operations of the AWS CLI that are sent to the simulator. All others have stand-ins.
const AWS: &str = r#"#!/bin/sh
case "${1-} ${2-}" in
  "secretsmanager "*|"lambda invoke"|"cloudformation describe-stacks"|"logs filter-log-events")
    "$HARNESS_PYTHON" -IS "$HARNESS_AWS" run "$HARNESS_AWS_SOCKET" "$@" && exit
    status=$?
    echo "aws $*" >> "$HARNESS_FAILED"
    exit "$status" ;;
esac
exec "${0%/*}/../stand-in" aws "$@"
"#;

/// Sends its arguments to [`StandIns`], and prints the response.
const STAND_IN: &str = r#"
exec 3<>"/dev/tcp/127.0.0.1/$HARNESS_PORT"
printf '%s\0' "$#" "$PWD" "$@" >&3
IFS= read -r status <&3
cat <&3
exit "$status"
"#;

/// Before the blocks. The trap names the command that failed, also in a substitution, whose failure bash may ignore.
const PROLOGUE: &str = r#"set -Eeuo pipefail
trap 'printf "failed: %s\n" "$BASH_COMMAND" | tee -a "$HARNESS_FAILED" >&2' ERR
command_not_found_handle() { stand-in "$@"; }
"#;

/// The program that runs the AWS CLI.
const AWS_PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/function/documentation/aws.py"
);

/// The AWS CLI, which all pages share. It ends with this process, which holds its standard input.
struct Aws {
    python: PathBuf,
    socket: PathBuf,
    _server: Child,
}

/// Installs the AWS CLI in a virtual environment under the target folder, and starts it. Returns the reason of a failure.
fn aws() -> Result<&'static Aws, &'static str> {
    static AWS: OnceLock<Result<Aws, String>> = OnceLock::new();
    let aws = AWS.get_or_init(|| {
        let mut tools = ["jq", "openssl"].into_iter();
        if let Some(tool) = tools.find(|tool| look_up(tool).is_none()) {
            return Err(format!("{tool} is not installed"));
        }
        let programs = python::install("awscli", "documentation/requirements.txt")?;
        let python = programs.join("python");
        // The path of a socket has at most some hundred bytes, and this one may be long.
        let socket = std::env::temp_dir().join(format!("aws-cli-{}", std::process::id()));
        let _ = fs::remove_file(&socket);
        let mut server = Command::new(&python)
            .args(["-s", AWS_PROGRAM, "serve"])
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the AWS CLI did not start: {error}"))?;
        let mut line = String::new();
        let stdout = server.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "the AWS CLI did not start");
        Ok(Aws {
            python,
            socket,
            _server: server,
        })
    });
    aws.as_ref().map_err(String::as_str)
}

/// The shell of one page, with its own folder.
pub(super) struct Shell {
    folder: PathBuf,
    aws: &'static Aws,
    bash: PathBuf,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Shell {
    /// Prepares the folder. If the AWS CLI cannot be installed, prints the reason and returns `None`.
    pub(super) fn new() -> Option<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let aws = match aws() {
            Ok(aws) => aws,
            Err(reason) => {
                let test = "the commands of a page, which require Python 3, venv, pip, PyPI, jq and OpenSSL";
                python::skip(test, reason);
                return None;
            }
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("commands-{}-{serial}", std::process::id());
        let shell = Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            aws,
            bash: find("bash"),
        };
        shell.prepare();
        Some(shell)
    }

    /// Writes the folder of `PATH`, and creates the empty working directory.
    fn prepare(&self) {
        let bin = self.folder.join("bin");
        for folder in [&bin, &self.folder.join("work"), &self.folder.join("home")] {
            fs::create_dir_all(folder).unwrap();
        }
        for tool in TOOLS {
            std::os::unix::fs::symlink(find(tool), bin.join(tool)).unwrap();
        }
        std::os::unix::fs::symlink(&self.bash, bin.join("bash")).unwrap();
        let bash = format!("#!{}", self.bash.display());
        let stand_in = format!("{bash}{STAND_IN}");
        self.write_program("stand-in", &stand_in);
        self.write_program("bin/stand-in", &stand_in);
        self.write_program("bin/aws", AWS);
        for command in COMMANDS {
            let script = format!("{bash}\nexec stand-in {command} \"$@\"\n");
            self.write_program(&format!("bin/{command}"), &script);
        }
    }

    fn write_program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Checks the blocks with [`ShellCheck`](https://www.shellcheck.net).
    ///
    /// # Errors
    /// Returns what `ShellCheck` prints.
    pub(super) fn check(&self, blocks: &[Block]) -> Result<(), String> {
        let script = self.folder.join("checked");
        let commands = blocks.iter().map(|block| block.commands.as_str());
        fs::write(&script, commands.collect::<String>()).unwrap();
        // JMESPath contains backquotes in single quotes, and a page may source a file that does not exist here.
        let checked = Command::new(self.aws.python.with_file_name("shellcheck"))
            .args(["--shell=bash", "--exclude=SC2016,SC1091"])
            .arg(script)
            .output()
            .map_err(|error| error.to_string())?;
        let printed = String::from_utf8_lossy(&checked.stdout).into_owned();
        if checked.status.success() {
            Ok(())
        } else {
            Err(printed)
        }
    }

    /// Runs the blocks in one process.
    ///
    /// # Errors
    /// Returns the block and the output if a command fails.
    pub(super) fn run(
        &self,
        page: &str,
        blocks: &[Block],
        account_url: &str,
        port: u16,
    ) -> Result<(), String> {
        let [script, log, at, failed] =
            ["script", "log", "at", "failed"].map(|name| self.folder.join(name));
        let run = blocks.iter().map(|block| {
            let Block {
                line,
                heading,
                commands,
                hours,
                ..
            } = block;
            let heading = heading.replace('\'', "'\\''");
            format!("echo {line} > \"$HARNESS_AT\"\nstand-in pass {hours}\nstand-in checkpoint '{heading}'\n{commands}\n")
        });
        let end = "echo end > \"$HARNESS_AT\"\n";
        let commands = format!("{PROLOGUE}{}{end}", run.collect::<String>());
        fs::write(&script, commands).unwrap();
        let output = fs::File::create(&log).unwrap();
        let mut child = Command::new(&self.bash)
            .arg(&script)
            .current_dir(self.folder.join("work"))
            .env_clear()
            .envs(self.variables(account_url, port))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let succeeded = wait(&mut child);
        let output = fs::read_to_string(log).unwrap();
        let at = fs::read_to_string(at).unwrap_or_default();
        let failed = fs::read_to_string(failed).unwrap_or_default();
        if succeeded == Some(true) && at.trim() == "end" {
            println!("{page}:\n{output}");
            if failed.is_empty() {
                return Ok(());
            }
            return Err(format!("{page}: {failed}Its page printed:\n{output}"));
        }
        let reason = match succeeded {
            None => "did not end in time",
            Some(true) => "ended the shell",
            Some(false) => "failed",
        };
        let block = blocks
            .iter()
            .find(|block| block.line.to_string() == at.trim());
        let commands = block.map_or("", |block| &block.commands);
        let line = at.trim();
        Err(format!(
            "{page}, line {line}: the block {reason}:\n{commands}\nIts page printed:\n{output}"
        ))
    }

    fn variables(&self, account_url: &str, port: u16) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        vec![
            ("PATH", path("bin")),
            ("HOME", path("home")),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("AWS_ENDPOINT_URL", account_url.to_owned()),
            (
                "AWS_ACCESS_KEY_ID",
                simulator::USER_ACCESS_KEY_ID.to_owned(),
            ),
            ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
            ("AWS_DEFAULT_REGION", deployment::REGION.to_owned()),
            ("AWS_REGION", deployment::REGION.to_owned()),
            // A failed command must fail immediately.
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
            ("HARNESS_AT", path("at")),
            ("HARNESS_FAILED", path("failed")),
            ("HARNESS_AWS", AWS_PROGRAM.to_owned()),
            ("HARNESS_AWS_SOCKET", self.aws.socket.display().to_string()),
            ("HARNESS_PYTHON", self.aws.python.display().to_string()),
            ("HARNESS_PORT", port.to_string()),
        ]
    }
}

/// Waits for the process and returns whether it succeeded. Kills it after the time limit and returns `None`.
fn wait(child: &mut Child) -> Option<bool> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if started.elapsed() > TIME_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the path of a program.
fn find(program: &str) -> PathBuf {
    look_up(program).unwrap_or_else(|| panic!("the documentation's commands require {program}"))
}

fn look_up(program: &str) -> Option<PathBuf> {
    let path = std::env::vars_os()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path);
    let path = path.unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|path| path.is_file())
}
