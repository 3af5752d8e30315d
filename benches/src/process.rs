//! One function in one process under an emulated Lambda, and its cost.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{FunctionError, RuntimeApi};

use crate::machine;
use crate::subject::Subject;

/// Lambda's maximum timeout. No measurement takes that long.
const TIMEOUT: Duration = Duration::from_mins(15);

/// The time in which a process must request its first event.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The cores of the emulator and of the function.
const EMULATOR: usize = 0;
const FUNCTION: usize = 1;

/// A running function. It is killed on drop.
pub struct Process {
    child: Child,
    runtime: RuntimeApi,
    /// The number of events that were handled.
    handled: u64,
    /// The cost from the spawn to the first request for an event.
    pub init: Cost,
}

/// Elapsed time and CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// The elapsed time.
    pub wall: Duration,
    /// The CPU time of the process, in all its running threads.
    pub cpu: Duration,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            wall: sum.wall + cost.wall,
            cpu: sum.cpu + cost.cpu,
        })
    }
}

impl Process {
    /// Starts a function with `variables` and the subject's variables, and no others. Waits until it requests its first
    /// event.
    ///
    /// # Errors
    /// Returns why the process did not start, or that it requested no event.
    pub async fn start(subject: &Subject, variables: &[(String, String)]) -> Result<Self, String> {
        let runtime = RuntimeApi::start().await;
        let mut command = Command::new(&subject.program);
        command
            .args(&subject.arguments)
            .env_clear()
            .envs(
                subject
                    .variables
                    .iter()
                    .chain(variables)
                    .map(|(name, value)| (name, value)),
            )
            .env("AWS_LAMBDA_RUNTIME_API", runtime.address())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let is_pinned = subject.is_pinned && machine::pin(FUNCTION);
        let began = Instant::now();
        let child = command.spawn();
        if is_pinned {
            // Before the first wait, so that the emulator never runs on the function's core.
            let _ = machine::pin(EMULATOR);
        }
        let child = child.map_err(|error| format!("{}: {error}", subject.program.display()))?;
        let mut process = Self {
            child,
            runtime,
            handled: 0,
            init: Cost::default(),
        };
        let requested =
            tokio::time::timeout(START_TIMEOUT, process.runtime.invocations_requested(1)).await;
        let at = requested.map_err(|_| format!("{} requests no event", subject.name))?;
        // Only pinned processes are measured.
        let cpu = if subject.is_pinned {
            process.cpu()
        } else {
            Duration::ZERO
        };
        process.init = Cost {
            wall: at - began,
            cpu,
        };
        Ok(process)
    }

    /// Invokes the function. Returns its response, and the cost until it requests the next event.
    pub async fn invoke(&mut self, event: Value) -> (Result<Value, FunctionError>, Cost) {
        let (cpu, began) = (self.cpu(), Instant::now());
        let response = self.runtime.invoke(event, TIMEOUT).await;
        let wall = began.elapsed();
        self.handled += 1;
        self.runtime.invocations_requested(self.handled + 1).await;
        let cpu = self.cpu().saturating_sub(cpu);
        (response, Cost { wall, cpu })
    }

    /// Invokes the function without measuring it.
    ///
    /// # Errors
    /// Returns the function's error.
    pub async fn invoke_unmeasured(&mut self, event: Value) -> Result<Value, FunctionError> {
        self.runtime.invoke(event, TIMEOUT).await
    }

    /// Returns the CPU time so far, after it has stopped growing.
    fn cpu(&self) -> Duration {
        let mut last = self.cpu_now();
        loop {
            // The kernel accounts for a running thread at the next context switch.
            std::thread::sleep(Duration::from_millis(1));
            let now = self.cpu_now();
            if now == last {
                return now;
            }
            last = now;
        }
    }

    /// <https://docs.kernel.org/scheduler/sched-stats.html>, `/proc/<pid>/schedstat`
    fn cpu_now(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.child.id());
        let nanoseconds = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
            let content = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            content.split(' ').next()?.parse().ok()
        };
        let tasks = fs::read_dir(tasks).expect("Linux, and a running process");
        Duration::from_nanos(tasks.filter_map(nanoseconds).sum())
    }

    /// Returns the peak resident memory, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let peak = machine::field(&status, "VmHWM").expect("Linux, and a running process");
        let kib: u64 = peak
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
