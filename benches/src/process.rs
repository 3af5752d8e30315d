//! One function in one process under an emulated Lambda, and what it costs.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{FunctionError, RuntimeApi};

use crate::machine;
use crate::subject::Subject;

/// Nothing that is measured takes as long.
const TIMEOUT: Duration = Duration::from_mins(15);

/// How long a process may take to ask for its first event before it counts as one that does not start.
const START: Duration = Duration::from_mins(1);

/// The emulator keeps to this core, and the function has the other to itself.
const EMULATOR: usize = 0;
const FUNCTION: usize = 1;

/// A running function. It has been killed when this is dropped.
pub struct Process {
    child: Child,
    runtime: RuntimeApi,
    answered: u64,
    /// From the spawn to the first request for an event.
    pub init: Cost,
}

/// Time that passed, and time that the process had a core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Time that passed.
    pub wall: Duration,
    /// CPU time of the process, in all its living threads.
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
    /// Starts a function, with these variables and the subject's own and no others, and waits until it asks for
    /// its first event.
    ///
    /// # Errors
    /// Why there is no process, or that it ended or kept silent.
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
            // Before it is polled for: the emulator must not be where the function is.
            let _ = machine::pin(EMULATOR);
        }
        let child = child.map_err(|error| format!("{}: {error}", subject.program.display()))?;
        let mut process = Self {
            child,
            runtime,
            answered: 0,
            init: Cost::default(),
        };
        let asked = tokio::time::timeout(START, process.runtime.asked(1)).await;
        let at = asked.map_err(|_| format!("{} does not ask for an event", subject.name))?;
        // A process whose cost nobody asks for need not be waited for.
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

    /// Invokes the function, and returns its answer and what it cost until it asked for the next event.
    pub async fn invoke(&mut self, event: Value) -> (Result<Value, FunctionError>, Cost) {
        let (cpu, began) = (self.cpu(), Instant::now());
        let answer = self.runtime.invoke(event, TIMEOUT).await;
        let wall = began.elapsed();
        self.answered += 1;
        self.runtime.asked(self.answered + 1).await;
        let cpu = self.cpu().saturating_sub(cpu);
        (answer, Cost { wall, cpu })
    }

    /// Invokes the function, and measures nothing.
    ///
    /// # Errors
    /// What the function answered instead.
    pub async fn answer(&mut self, event: Value) -> Result<Value, FunctionError> {
        self.runtime.invoke(event, TIMEOUT).await
    }

    /// CPU time so far, once it does not grow any more.
    fn cpu(&self) -> Duration {
        let mut last = self.cpu_now();
        loop {
            // A thread that runs is accounted for when it is next taken off its core.
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
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        let tasks = fs::read_dir(tasks).expect("Linux, and a process that lives");
        Duration::from_nanos(tasks.filter_map(nanoseconds).sum())
    }

    /// The most memory that was resident at any time, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let peak = machine::field(&status, "VmHWM").expect("Linux, and a process that lives");
        let kib: u64 = peak
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
