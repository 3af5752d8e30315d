//! The conditions of a measurement: the machine, the compiler, and the load.

use std::fs;
use std::process::Command;

/// Describes the machine in one line.
#[must_use]
pub fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    let system = std::env::consts::OS;
    format!(
        "{model}, {cores} cores, {} GiB, {system} {kernel}",
        kib >> 20
    )
}

/// Returns the version of a program, or that it is not installed.
#[must_use]
pub fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    version.unwrap_or_else(|_| format!("no {program}"))
}

/// Returns the load average of the last minute.
#[must_use]
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Pins this thread, and the processes that it starts, to one core. Returns whether that succeeded.
#[must_use]
pub fn pin(core: usize) -> bool {
    // Rust's standard library has no function for it, and unsafe code is forbidden.
    let pid = std::process::id().to_string();
    let taskset = Command::new("taskset")
        .args(["-pc", &core.to_string(), &pid])
        .output();
    taskset.is_ok_and(|output| output.status.success())
}

/// Returns the value of a line `name : value` in a file of `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let content = fs::read_to_string(path).ok()?;
    let line = content.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
