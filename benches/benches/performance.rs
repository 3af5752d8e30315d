//! Compares the function with a minimal Rust function and with a function like AWS's Python template, in one run:
//! `cargo bench --package benches --bench performance`. `-- --starts 10` is faster, `--program <path>` measures another
//! build, and `--write` writes the table to `docs/performance.md`.
//!
//! No published harness measures the start of a process under Lambda's Runtime API. The subjects are started in turn, so that a
//! slowdown of the machine affects all of them.

#![expect(
    clippy::print_stderr,
    reason = "a skipped measurement is reported immediately"
)]
#![expect(clippy::expect_used, reason = "a failed measurement stops the run")]

use std::path::PathBuf;

use benches::machine;
use benches::process::Process;
use benches::report::{self, DOCUMENT, Samples, number, ratio, table};
use benches::subject::Subject;
use benches::tls::Tls;
use benches::world::{World, any_event, function_variables};

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

/// The measurements of one subject. Times are in milliseconds, sizes in MiB.
#[derive(Default)]
struct Measurements {
    size: Samples,
    init: Samples,
    first_cpu: Samples,
    warm_cpu: Samples,
    memory: Samples,
    control_plane: Samples,
    warm_control_plane: Samples,
    probes: Samples,
    requests: Samples,
    violations: Samples,
}

#[expect(clippy::cast_precision_loss, reason = "sizes and numbers of requests")]
impl Measurements {
    fn of(subject: &Subject) -> Self {
        let mut measured = Self::default();
        if let Some(size) = subject.size() {
            measured.size.add_number(size as f64 / MIB);
        }
        measured
    }

    /// Measures a start without TLS, whose roots the floor does not have.
    async fn start(&mut self, subject: &Subject) -> Result<(), String> {
        let variables = function_variables("http://127.0.0.1:1", "http://127.0.0.1:1");
        let process = Process::start(subject, &variables).await?;
        self.init.add(process.init.wall);
        Ok(())
    }

    /// Measures a process that rotates a secret twice over TLS.
    async fn rotate_twice(&mut self, subject: &Subject, tls: &Tls) -> Result<(), String> {
        let rotations = World::new(Some(tls)).await.rotate_twice(subject).await?;
        let (first, second) = (rotations.first, rotations.second);
        self.first_cpu.add(rotations.init.cpu + first.cost.cpu);
        self.warm_cpu.add(second.cost.cpu);
        self.memory.add_number(rotations.peak_memory as f64 / MIB);
        self.requests.add_number(second.requests as f64);
        self.control_plane
            .add_number(first.control_plane_requests as f64);
        self.warm_control_plane
            .add_number(second.control_plane_requests as f64);
        self.probes.add_number(second.probes as f64);
        self.violations.add_number(rotations.violations as f64);
        Ok(())
    }

    /// Measures the memory of the floor, which rotates nothing.
    async fn floor_memory(&mut self, subject: &Subject) -> Result<(), String> {
        let mut process = Process::start(subject, &function_variables("", "")).await?;
        let (response, _) = process.invoke(any_event()).await;
        response.map_err(|error| error.message)?;
        self.memory.add_number(process.peak_memory() as f64 / MIB);
        Ok(())
    }
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

    let mut of_function = Measurements::of(&function);
    let mut of_floor = Measurements::of(&floor);
    let mut of_python = Measurements::default();
    for _ in 0..options.starts {
        of_floor.start(&floor).await?;
        of_floor.floor_memory(&floor).await?;
        of_function.start(&function).await?;
        of_function.rotate_twice(&function, &tls).await?;
        if let Some(python) = &python {
            of_python.start(python).await?;
            of_python.rotate_twice(python, &tls).await?;
        }
    }
    let pinned = if machine::pin(0) {
        "The measured process has a core of its own"
    } else {
        "No process is pinned to a core"
    };
    let report = format!(
        "`cargo bench --package benches --bench performance`, {} starts of each in turn, on {machine}, {}, {}, load {load} \
         before the start. {pinned}. Medians, with the quartiles in brackets.\n\n{}\n{}",
        options.starts,
        machine::version("rustc"),
        machine::version("python3"),
        comparison([&of_function, &of_floor, &of_python]),
        goals(&of_function, &of_floor),
    );
    report::print(&report);
    if options.write {
        report::write(DOCUMENT, "measurements", &report);
    }
    Ok(())
}

/// A figure's name, and its measurements.
type Row = (&'static str, fn(&Measurements) -> &Samples);

const ROWS: [Row; 10] = [
    ("program, MiB", |of| &of.size),
    ("initialization, ms", |of| &of.init),
    ("initialization and first rotation, CPU ms", |of| {
        &of.first_cpu
    }),
    ("rotation in a warm process, CPU ms", |of| &of.warm_cpu),
    ("peak memory, MiB", |of| &of.memory),
    ("requests to the control plane, first rotation", |of| {
        &of.control_plane
    }),
    ("requests to the control plane, warm process", |of| {
        &of.warm_control_plane
    }),
    ("probes of keys", |of| &of.probes),
    ("all requests of a rotation, warm process", |of| {
        &of.requests
    }),
    ("violations of the guarantees, two rotations", |of| {
        &of.violations
    }),
];

fn comparison(subjects: [&Measurements; 3]) -> String {
    let row = |(name, pick): Row| {
        let [function, floor, python] = subjects.map(pick);
        vec![
            name.to_owned(),
            function.cell(),
            floor.cell(),
            python.cell(),
            ratio(python.median(), function.median()),
        ]
    };
    let rows: Vec<_> = ROWS.into_iter().map(row).collect();
    let head = [
        "",
        "this function",
        "minimal Rust function",
        "Python template",
        "Python template ÷ this function",
    ];
    table(&head, &rows)
}

/// Compares the figures with the goals.
fn goals(function: &Measurements, floor: &Measurements) -> String {
    let per_floor = function.init.median().zip(floor.init.median());
    let per_floor = per_floor.map(|(function, floor)| function / floor);
    let goal = |(name, measured, limit): (&str, Option<f64>, f64)| {
        let verdict = match measured {
            Some(measured) if measured <= limit => "met",
            Some(_) => "**missed**",
            None => "not measured",
        };
        let measured = measured.map_or("–".to_owned(), number);
        vec![name.to_owned(), number(limit), measured, verdict.to_owned()]
    };
    let rows = [
        (
            "initialization ÷ that of the minimal Rust function",
            per_floor,
            1.2,
        ),
        ("peak memory, MiB", function.memory.median(), 6.0),
        ("program, MiB", function.size.median(), 5.0),
        (
            "requests to the control plane, warm process",
            function.warm_control_plane.median(),
            4.0,
        ),
    ];
    let rows: Vec<_> = rows.into_iter().map(goal).collect();
    table(&["goal", "at most", "measured", ""], &rows)
}
