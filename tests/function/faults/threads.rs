//! Runs the cases of a group concurrently.

use std::io::Write as _;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The number of concurrent cases. A case mostly waits for responses that do not arrive.
const THREADS: usize = 20;

/// The number of cases after which a group reports its progress.
const PROGRESS: usize = 5_000;

/// Calls `run` for all cases, in several threads. Reports the progress on stderr, also of a test that passes.
///
/// One group runs at a time: together, several would exceed the usual limit of 1,024 open files.
pub(crate) fn in_threads<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    static GROUP: Mutex<()> = Mutex::new(());
    let _group = GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    let name = std::thread::current();
    let name = name.name().unwrap_or_default();
    let report = |progress: &str| {
        let _ = writeln!(std::io::stderr(), "{name}: {progress}");
    };
    report(&format!("{} cases", cases.len()));
    let (started, since) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let nth = started.fetch_add(1, Relaxed)
                    && let Some(case) = cases.get(nth)
                {
                    if nth > 0 && nth.is_multiple_of(PROGRESS) {
                        report(&format!("{nth} cases started"));
                    }
                    run(case);
                }
            });
        }
    });
    report(&format!("complete after {:.1?}", since.elapsed()));
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}
