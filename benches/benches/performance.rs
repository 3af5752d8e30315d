//! Measures the function, a minimal Rust function and AWS's Python template:
//! `cargo bench --package benches --bench performance`. `-- --starts 10` is faster, `--program <path>` measures another
//! build, and `--write` writes the tables and the summary to `docs/performance.md`.
//!
//! No published harness measures the start of a process under Lambda's Runtime API. The subjects are started in turn, so that a
//! slowdown of the machine affects all of them.

#![expect(
    clippy::print_stderr,
    reason = "a skipped measurement is reported immediately"
)]
#![expect(clippy::expect_used, reason = "a failed measurement stops the run")]

use std::path::PathBuf;
use std::time::Duration;

use benches::machine;
use benches::process::{Cost, Process};
use benches::report::{self, DOCUMENT, Samples, number, ratio, table};
use benches::subject::Subject;
use benches::tls::Tls;
use benches::world::{World, any_event, function_variables};

/// The latency of every response, by which sequential requests are counted.
const DELAY: Duration = Duration::from_millis(50);

/// The number of warm steps in each process.
const WARM: usize = 5;

/// The numbers of the owner's keys: a few, a page, five pages.
const KEYS: [usize; 3] = [10, 100, 500];

const MIB: f64 = 1_048_576.0;

struct Options {
    starts: usize,
    program: Option<PathBuf>,
    write: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            starts: 40,
            program: None,
            write: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--starts" => {
                    let starts = arguments.next().and_then(|starts| starts.parse().ok());
                    options.starts = starts.expect("--starts <N>");
                }
                "--program" => options.program = arguments.next().map(PathBuf::from),
                "--write" => options.write = true,
                // `cargo bench` passes it to every harness.
                "--bench" => {}
                other => panic!("unknown argument {other}"),
            }
        }
        options
    }
}

/// The measurements of one subject. Times are in milliseconds, memory is in MiB.
#[derive(Default)]
struct Measurements {
    init: Samples,
    init_cpu: Samples,
    first: Samples,
    first_cpu: Samples,
    warm: Samples,
    warm_cpu: Samples,
    create_cpu: Samples,
    rotation_cpu: Samples,
    memory: Samples,
    size: Samples,
    requests: Samples,
    sequential: Samples,
}

impl Measurements {
    fn add_steps(&mut self, init: Cost, steps: &[Cost]) {
        self.init.add(init.wall);
        self.init_cpu.add(init.cpu);
        let Some((first, warm)) = steps.split_first() else {
            return;
        };
        self.first.add(first.wall);
        self.first_cpu.add(first.cpu);
        for cost in warm {
            self.warm.add(cost.wall);
            self.warm_cpu.add(cost.cpu);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of memory and numbers of requests"
    )]
    async fn rotate(&mut self, subject: &Subject, tls: Option<&Tls>) -> Result<(), String> {
        let rotation = World::new(KEYS[0], tls).await.rotate(subject).await?;
        self.create_cpu.add(rotation.steps[0].cpu);
        let all: Cost = rotation.steps.into_iter().chain([rotation.init]).sum();
        self.rotation_cpu.add(all.cpu);
        self.memory.add_number(rotation.peak_memory as f64 / MIB);
        self.requests.add_number(rotation.requests as f64);
        Ok(())
    }

    async fn round(&mut self, subject: &Subject, tls: Option<&Tls>) -> Result<(), String> {
        let (init, steps) = World::new(KEYS[0], tls)
            .await
            .resume_create(subject, 1 + WARM)
            .await?;
        self.add_steps(init, &steps);
        self.rotate(subject, tls).await
    }

    /// Measures the floor, which rotates nothing.
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    async fn floor_round(&mut self, subject: &Subject) -> Result<(), String> {
        let mut process = Process::start(subject, &function_variables("", "")).await?;
        let mut steps = Vec::new();
        for _ in 0..=WARM {
            let (response, cost) = process.invoke(any_event()).await;
            response.map_err(|error| error.message)?;
            steps.push(cost);
        }
        self.add_steps(process.init, &steps);
        self.memory.add_number(process.peak_memory() as f64 / MIB);
        Ok(())
    }
}

/// The requests of a rotation, and its duration.
struct Depth {
    /// The number of requests that were sent one after the other.
    sequential: f64,
    requests: usize,
    wall: Duration,
}

async fn depth(subject: &Subject, keys: usize) -> Result<Depth, String> {
    let world = World::new(keys, None).await;
    world.delay(DELAY);
    let rotation = world.rotate(subject).await?;
    let spent: Cost = rotation.steps.into_iter().sum();
    // A request that is sent before the previous response is concurrent.
    let (mut sequential, mut batch) = (0.0, None);
    for request in &world.simulator.state().requests {
        let is_concurrent = batch.is_some_and(|batch| request.received_at < batch + DELAY);
        if !is_concurrent {
            (sequential, batch) = (sequential + 1.0, Some(request.received_at));
        }
    }
    Ok(Depth {
        sequential,
        requests: rotation.requests,
        wall: spent.wall,
    })
}

/// The measurements of all subjects.
struct Run {
    function: Measurements,
    function_tls: Option<Measurements>,
    floor: Measurements,
    python: Option<Measurements>,
    python_tls: Option<Measurements>,
    growth: Vec<(usize, Depth)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let options = Options::read();
    // Before this process is pinned to one core.
    let (machine, load) = (machine::description(), machine::load());
    let (function, floor) = (Subject::function(options.program.clone()), Subject::floor());
    let python = Subject::python()
        .map_err(|reason| eprintln!("without Python: {reason}"))
        .ok();
    let tls = Tls::new();
    // A build that does not read SSL_CERT_FILE trusts no server on loopback.
    let supports_tls = World::new(1, Some(&tls)).await.rotate(&function).await;
    let supports_tls = supports_tls
        .map_err(|reason| eprintln!("without TLS: {reason}"))
        .is_ok();

    let mut run = Run {
        function: Measurements::default(),
        function_tls: supports_tls.then(Measurements::default),
        floor: Measurements::default(),
        python: python.as_ref().map(|_| Measurements::default()),
        python_tls: python
            .as_ref()
            .filter(|_| supports_tls)
            .map(|_| Measurements::default()),
        growth: Vec::new(),
    };
    for _ in 0..options.starts {
        run.floor.floor_round(&floor).await?;
        run.function.round(&function, None).await?;
        if let Some(measured) = &mut run.function_tls {
            measured.round(&function, Some(&tls)).await?;
        }
        if let (Some(python), Some(measured)) = (&python, &mut run.python) {
            measured.round(python, None).await?;
        }
        if let (Some(python), Some(measured)) = (&python, &mut run.python_tls) {
            measured.round(python, Some(&tls)).await?;
        }
    }
    for keys in KEYS {
        run.growth.push((keys, depth(&function, keys).await?));
    }
    if let Some((_, least)) = run.growth.first() {
        run.function.sequential.add_number(least.sequential);
    }
    if let (Some(python), Some(measured)) = (&python, &mut run.python) {
        measured
            .sequential
            .add_number(depth(python, KEYS[0]).await?.sequential);
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of a program")]
    for (subject, measured) in [(&function, &mut run.function), (&floor, &mut run.floor)] {
        measured
            .size
            .add_number(subject.size().unwrap_or_default() as f64 / MIB);
    }
    let report = run.report(&options, &machine, &load);
    report::print(&report);
    if options.write {
        report::write(DOCUMENT, "measurements", &report);
        report::write(DOCUMENT, "summary", &run.summary(&machine));
    }
    Ok(())
}

impl Run {
    fn report(&self, options: &Options, machine: &str, load: &str) -> String {
        let Self {
            function,
            floor,
            growth,
            ..
        } = self;
        let none = Measurements::default();
        let python = self.python.as_ref().unwrap_or(&none);
        let pinned = if machine::pin(0) {
            "The function has a core of its own"
        } else {
            "No process is pinned to a core"
        };
        let tls = match &self.function_tls {
            Some(_) => {
                "Rows with TLS use TLS 1.3 on loopback, with an ECDSA P-256 certificate whose authority is in \
                        `SSL_CERT_FILE`. The other rows use HTTP."
            }
            None => {
                "All rows use HTTP on loopback: this build did not accept the TLS certificate of the loopback server."
            }
        };
        format!(
            "`cargo bench --package benches --bench performance`, {} starts of each in turn, on {}, {}, {}, load {load} \
             before the start. {pinned}. Medians, with the quartiles in brackets. {tls}\n\n{}\n{}\n{}",
            options.starts,
            machine,
            machine::version("rustc"),
            machine::version("python3"),
            self.costs(),
            goals(
                function,
                self.function_tls.as_ref(),
                floor,
                python,
                self.python_tls.as_ref()
            ),
            growth_table(growth),
        )
    }

    /// Returns a figure of the function, of the floor and of the Python template, without samples if it was not measured.
    fn compared(&self, (_, over_tls, pick): Row) -> [Samples; 3] {
        let subjects = if over_tls {
            [self.function_tls.as_ref(), None, self.python_tls.as_ref()]
        } else {
            [
                Some(&self.function),
                Some(&self.floor),
                self.python.as_ref(),
            ]
        };
        subjects.map(|subject| subject.map(pick).cloned().unwrap_or_default())
    }

    /// Formats the table of the summary.
    fn summary(&self, machine: &str) -> String {
        let rows: Vec<_> = ROWS
            .into_iter()
            .filter(|(name, ..)| SUMMARY.contains(name))
            .map(|row| {
                let figures = self.compared(row);
                let cells = figures.map(|of| of.median().map_or("–".to_owned(), number));
                [row.0.to_owned()].into_iter().chain(cells).collect()
            })
            .collect();
        let head = [
            "",
            "this function",
            "minimal Rust function",
            "Python template",
        ];
        format!(
            "`cargo bench --package benches --bench performance` on {machine}, medians, not on AWS.\n\n{}",
            table(&head, &rows)
        )
    }

    fn costs(&self) -> String {
        let mut rows = Vec::new();
        for row in ROWS {
            let [function, floor, python] = self.compared(row);
            if function.median().is_none() {
                continue;
            }
            rows.push(vec![
                row.0.to_owned(),
                function.cell(),
                floor.cell(),
                ratio(function.median(), floor.median()),
                python.cell(),
                ratio(python.median(), function.median()),
            ]);
        }
        let head = [
            "",
            "function",
            "floor",
            "function ÷ floor",
            "Python template",
            "Python ÷ function",
        ];
        table(&head, &rows)
    }
}

/// Returns one figure of a subject.
type Pick = fn(&Measurements) -> &Samples;

/// A figure's name, whether it is measured with TLS, and its measurements.
type Row = (&'static str, bool, Pick);

/// The figures in the summary.
const SUMMARY: [&str; 6] = [
    "program, MiB",
    "init, ms",
    "first step over TLS, CPU ms",
    "start and rotation over TLS, CPU ms",
    "peak memory over TLS, MiB",
    "requests of a rotation",
];

const ROWS: [Row; 18] = [
    ("program, MiB", false, |of| &of.size),
    ("init, ms", false, |of| &of.init),
    ("init, CPU ms", false, |of| &of.init_cpu),
    ("first step, ms", false, |of| &of.first),
    ("first step, CPU ms", false, |of| &of.first_cpu),
    ("first step over TLS, ms", true, |of| &of.first),
    ("first step over TLS, CPU ms", true, |of| &of.first_cpu),
    ("warm step, ms", false, |of| &of.warm),
    ("warm step, CPU ms", false, |of| &of.warm_cpu),
    ("warm step over TLS, CPU ms", true, |of| &of.warm_cpu),
    ("`createSecret` first, CPU ms", false, |of| &of.create_cpu),
    ("`createSecret` first over TLS, CPU ms", true, |of| {
        &of.create_cpu
    }),
    ("start and rotation, CPU ms", false, |of| &of.rotation_cpu),
    ("start and rotation over TLS, CPU ms", true, |of| {
        &of.rotation_cpu
    }),
    ("peak memory, MiB", false, |of| &of.memory),
    ("peak memory over TLS, MiB", true, |of| &of.memory),
    ("requests of a rotation", false, |of| &of.requests),
    ("of them one after the other", false, |of| &of.sequential),
];

/// Compares the figures with the goals.
fn goals(
    function: &Measurements,
    tls: Option<&Measurements>,
    floor: &Measurements,
    python: &Measurements,
    python_tls: Option<&Measurements>,
) -> String {
    let at_most = |name: &str, measured: Option<f64>, limit: f64| {
        let verdict = match measured {
            Some(measured) if measured <= limit => "met",
            Some(_) => "**missed**",
            None => "not measured",
        };
        let measured = measured.map_or("–".to_owned(), number);
        vec![name.to_owned(), number(limit), measured, verdict.to_owned()]
    };
    let per_floor = function.init.median().zip(floor.init.median());
    let memory = tls.unwrap_or(function).memory.median();
    let mut rows = vec![
        at_most(
            "init: function ÷ floor",
            per_floor.map(|(function, floor)| function / floor),
            1.5,
        ),
        at_most(
            "first step over TLS, CPU ms",
            tls.and_then(|tls| tls.first_cpu.median()),
            3.0,
        ),
        at_most("peak memory, MiB", memory, 6.5),
        at_most("program, MiB", function.size.median(), 5.0),
        at_most(
            "requests one after the other",
            function.sequential.median(),
            14.0,
        ),
        at_most("requests of a rotation", function.requests.median(), 22.0),
    ];
    let compared = [
        ("init", Some(&function.init), Some(&python.init)),
        (
            "first step, CPU",
            Some(&function.first_cpu),
            Some(&python.first_cpu),
        ),
        (
            "first step over TLS, CPU",
            tls.map(|tls| &tls.first_cpu),
            python_tls.map(|tls| &tls.first_cpu),
        ),
        (
            "warm step, CPU",
            Some(&function.warm_cpu),
            Some(&python.warm_cpu),
        ),
        (
            "start and rotation, CPU",
            Some(&function.rotation_cpu),
            Some(&python.rotation_cpu),
        ),
        ("peak memory", Some(&function.memory), Some(&python.memory)),
    ];
    for (name, function, python) in compared {
        let medians = function
            .and_then(Samples::median)
            .zip(python.and_then(Samples::median));
        let Some((function, python)) = medians else {
            continue;
        };
        let times = python / function;
        let verdict = if times >= 20.0 { "met" } else { "**missed**" };
        let name = format!("{name}: Python template ÷ function");
        rows.push(vec![
            name,
            "at least 20".to_owned(),
            number(times),
            verdict.to_owned(),
        ]);
    }
    table(&["goal", "at most", "measured", ""], &rows)
}

fn growth_table(growth: &[(usize, Depth)]) -> String {
    let rows: Vec<_> = growth
        .iter()
        .map(|(keys, depth)| {
            vec![
                keys.to_string(),
                depth.requests.to_string(),
                number(depth.sequential),
                number(depth.wall.as_secs_f64() * 1e3),
            ]
        })
        .collect();
    let delay = format!("ms, with a latency of {} ms", DELAY.as_millis());
    table(
        &[
            "keys of the owner",
            "requests of a rotation",
            "of them one after the other",
            &delay,
        ],
        &rows,
    )
}
