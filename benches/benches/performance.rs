//! What the function costs, beside the least that a Rust function costs and beside AWS's Python template:
//! `cargo bench --package benches --bench performance`. `-- --starts 10` is quicker, `--program <path>` measures another
//! build, and `--write` puts the tables into `docs/performance.md`, and a short one into the README.
//!
//! No published harness measures the start of a process under Lambda's Runtime API, so this one does. Each subject is
//! started in turn, again and again, so that a machine that slows down slows all of them.

#![expect(
    clippy::print_stderr,
    reason = "what is left out should be known before the end"
)]
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made should stop the run"
)]

use std::path::PathBuf;
use std::time::Duration;

use benches::machine;
use benches::process::{Cost, Process};
use benches::report::{self, DOCUMENT, Samples, number, ratio, table};
use benches::subject::Subject;
use benches::tls::Tls;
use benches::world::{World, any_event, function_variables};

/// What every answer is delayed by, to count the answers that are waited for one after the other.
const DELAY: Duration = Duration::from_millis(50);

/// How often a warm step is taken in each process.
const WARM: usize = 5;

/// Keys of the owner: a few, a page, five pages.
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
                // What `cargo bench` says to every harness.
                "--bench" => {}
                other => panic!("unknown argument {other}"),
            }
        }
        options
    }
}

/// All measurements of one subject. Times are in milliseconds, memory in MiB.
#[derive(Default)]
struct Measured {
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
    waits: Samples,
}

impl Measured {
    fn add_set(&mut self, init: Cost, steps: &[Cost]) {
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
        reason = "bytes of memory, and some requests"
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
            .set(subject, 1 + WARM)
            .await?;
        self.add_set(init, &steps);
        self.rotate(subject, tls).await
    }

    /// The floor takes any event, and has nothing to rotate.
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    async fn floor_round(&mut self, subject: &Subject) -> Result<(), String> {
        let mut process = Process::start(subject, &function_variables("", "")).await?;
        let mut steps = Vec::new();
        for _ in 0..=WARM {
            let (answer, cost) = process.invoke(any_event()).await;
            answer.map_err(|error| error.message)?;
            steps.push(cost);
        }
        self.add_set(process.init, &steps);
        self.memory.add_number(process.peak_memory() as f64 / MIB);
        Ok(())
    }
}

/// How many answers are waited for one after the other, how many requests are sent, and how long it all takes.
struct Depth {
    waits: f64,
    requests: usize,
    wall: Duration,
}

async fn depth(subject: &Subject, keys: usize) -> Result<Depth, String> {
    let world = World::new(keys, None).await;
    world.delay(DELAY);
    let rotation = world.rotate(subject).await?;
    let spent: Cost = rotation.steps.into_iter().sum();
    // What is sent while an answer is being waited for waits beside it.
    let (mut waits, mut wave) = (0.0, None);
    for request in &world.simulator.state().requests {
        let is_beside = wave.is_some_and(|wave| request.at < wave + DELAY);
        if !is_beside {
            (waits, wave) = (waits + 1.0, Some(request.at));
        }
    }
    Ok(Depth {
        waits,
        requests: rotation.requests,
        wall: spent.wall,
    })
}

/// What is compared.
struct Run {
    function: Measured,
    function_tls: Option<Measured>,
    floor: Measured,
    python: Option<Measured>,
    python_tls: Option<Measured>,
    growth: Vec<(usize, Depth)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let options = Options::read();
    // Before this process keeps to one core.
    let (kind, load) = (machine::kind(), machine::load());
    let (function, floor) = (Subject::function(options.program.clone()), Subject::floor());
    let python = Subject::python()
        .map_err(|reason| eprintln!("without Python: {reason}"))
        .ok();
    let tls = Tls::new();
    // A function that does not read SSL_CERT_FILE trusts nobody on loopback.
    let speaks_tls = World::new(1, Some(&tls)).await.rotate(&function).await;
    let speaks_tls = speaks_tls
        .map_err(|reason| eprintln!("without TLS: {reason}"))
        .is_ok();

    let mut run = Run {
        function: Measured::default(),
        function_tls: speaks_tls.then(Measured::default),
        floor: Measured::default(),
        python: python.as_ref().map(|_| Measured::default()),
        python_tls: python
            .as_ref()
            .filter(|_| speaks_tls)
            .map(|_| Measured::default()),
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
        run.function.waits.add_number(least.waits);
    }
    if let (Some(python), Some(measured)) = (&python, &mut run.python) {
        measured
            .waits
            .add_number(depth(python, KEYS[0]).await?.waits);
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of a program")]
    for (subject, measured) in [(&function, &mut run.function), (&floor, &mut run.floor)] {
        measured
            .size
            .add_number(subject.size().unwrap_or_default() as f64 / MIB);
    }
    let report = run.report(&options, &kind, &load);
    report::print(&report);
    if options.write {
        report::write(DOCUMENT, "measured", &report);
        report::write("README.md", "summary", &run.summary(&kind));
    }
    Ok(())
}

impl Run {
    fn report(&self, options: &Options, kind: &str, load: &str) -> String {
        let Self {
            function,
            floor,
            growth,
            ..
        } = self;
        let none = Measured::default();
        let python = self.python.as_ref().unwrap_or(&none);
        let pinned = if machine::pin(0) {
            "The function has a core to itself"
        } else {
            "Nothing is pinned to a core"
        };
        let tls = match &self.function_tls {
            Some(_) => {
                "Rows with TLS are over TLS 1.3 on loopback, with an ECDSA P-256 certificate that \
                        `SSL_CERT_FILE` vouches for; the others over plain HTTP."
            }
            None => {
                "All of it over plain HTTP on loopback: this build did not speak TLS to the loopback server."
            }
        };
        format!(
            "`cargo bench --package benches --bench performance`, {} starts of each in turn, on {}, {}, {}, load {load} \
             before it began. {pinned}. Medians, with the quartiles in brackets. {tls}\n\n{}\n{}\n{}",
            options.starts,
            kind,
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

    /// A figure of the function, of the floor and of the Python template; none where it was not measured.
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

    /// What the README says of it.
    fn summary(&self, kind: &str) -> String {
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
            "least Rust function",
            "Python template",
        ];
        format!(
            "`cargo bench --package benches --bench performance` on {kind}, medians; nothing ran on AWS.\n\n{}",
            table(&head, &rows)
        )
    }

    fn costs(&self) -> String {
        let mut rows = Vec::new();
        for row in ROWS {
            let [ours, floor, python] = self.compared(row);
            if ours.median().is_none() {
                continue;
            }
            rows.push(vec![
                row.0.to_owned(),
                ours.cell(),
                floor.cell(),
                ratio(ours.median(), floor.median()),
                python.cell(),
                ratio(python.median(), ours.median()),
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

/// One figure of a subject.
type Pick = fn(&Measured) -> &Samples;

/// A figure's name, whether it is over TLS, and where it is kept.
type Row = (&'static str, bool, Pick);

/// The figures that the README shows.
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
    ("of them waited for one after another", false, |of| {
        &of.waits
    }),
];

/// What was aimed at, and what came of it.
fn goals(
    function: &Measured,
    tls: Option<&Measured>,
    floor: &Measured,
    python: &Measured,
    python_tls: Option<&Measured>,
) -> String {
    let at_most = |name: &str, found: Option<f64>, most: f64| {
        let verdict = match found {
            Some(found) if found <= most => "met",
            Some(_) => "**missed**",
            None => "not measured",
        };
        let found = found.map_or("–".to_owned(), number);
        vec![name.to_owned(), number(most), found, verdict.to_owned()]
    };
    let per_floor = function.init.median().zip(floor.init.median());
    let memory = tls.unwrap_or(function).memory.median();
    let mut rows = vec![
        at_most(
            "init, in multiples of the floor's",
            per_floor.map(|(ours, floor)| ours / floor),
            1.5,
        ),
        at_most(
            "first call over TLS, CPU ms",
            tls.and_then(|tls| tls.first_cpu.median()),
            3.0,
        ),
        at_most("peak memory, MiB", memory, 6.5),
        at_most("program, MiB", function.size.median(), 5.0),
        at_most(
            "answers waited for one after another",
            function.waits.median(),
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
    for (name, ours, theirs) in compared {
        let medians = ours
            .and_then(Samples::median)
            .zip(theirs.and_then(Samples::median));
        let Some((ours, theirs)) = medians else {
            continue;
        };
        let times = theirs / ours;
        let verdict = if times >= 20.0 { "met" } else { "**missed**" };
        let name = format!("{name}: Python's in multiples of ours");
        rows.push(vec![
            name,
            "at least 20".to_owned(),
            number(times),
            verdict.to_owned(),
        ]);
    }
    table(&["goal", "at most", "found", ""], &rows)
}

fn growth_table(growth: &[(usize, Depth)]) -> String {
    let rows: Vec<_> = growth
        .iter()
        .map(|(keys, depth)| {
            vec![
                keys.to_string(),
                depth.requests.to_string(),
                number(depth.waits),
                number(depth.wall.as_secs_f64() * 1e3),
            ]
        })
        .collect();
    let delay = format!("ms, if every answer takes {} ms", DELAY.as_millis());
    table(
        &[
            "keys of the owner",
            "requests of a rotation",
            "waited for one after another",
            &delay,
        ],
        &rows,
    )
}
