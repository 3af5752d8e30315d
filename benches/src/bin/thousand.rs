//! A thousand secrets that are rotated at once, with a control plane that takes ten requests a second:
//! `cargo run --package benches --bin thousand -- --full`. Without `--full`, fifty of them and twenty requests.
//!
//! The function is the one that ships, in a pool of processes as Lambda would start them: one more whenever an event
//! finds all others busy, up to the function's reserved concurrency. Only the services are played. No time is scaled.
//!
//! It fails if a secret does not converge, or if a key is made more than once or left over. Figures it only prints.

#![expect(clippy::expect_used, reason = "a run that cannot be made should stop")]
#![expect(clippy::print_stderr, reason = "a long run should be seen to go on")]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use benches::machine;
use benches::process::Process;
use benches::report::{self, DOCUMENT, number, table};
use benches::subject::{Subject, root};
use benches::world::function_variables;
use serde_json::{Value, json};
use simulator::{Outcome, Plane, RateLimit, Role, Simulator};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

const HELP: &str = "\
Rotates many secrets at once against a control plane that limits its requests.

Usage: cargo run --package benches --bin thousand -- [OPTIONS]

  --full             1000 secrets of 50 owners, 10 requests a second, 50 processes: 20 minutes
  --secrets <N>      how many secrets
  --owners <N>       how many service accounts own their keys
  --rate <N>         requests a second that the control plane takes
  --at-once <N>      requests that it takes at once
  --processes <N>    the function's reserved concurrency
  --program <PATH>   another build of the function
  --write            put curve and figures into docs";

const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";

/// How long every answer takes.
const LATENCY: Duration = Duration::from_millis(50);

/// When Secrets Manager attempts a failed rotation again. It does so "multiple times during the open rotation
/// windows", and does not say when; this soon would be hard on a service that is asked too often already.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html>
const NEXT_ATTEMPT: Duration = Duration::from_secs(30);

struct Options {
    program: Option<PathBuf>,
    secrets: usize,
    owners: usize,
    rate: u32,
    at_once: u32,
    processes: usize,
    write: bool,
}

impl Options {
    fn read() -> Option<Self> {
        let mut options = Self {
            program: None,
            secrets: 50,
            owners: 5,
            rate: 20,
            at_once: 10,
            processes: 20,
            write: false,
        };
        let number = |argument: Option<String>| argument?.parse::<u32>().ok();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--full" => {
                    options = Self {
                        secrets: 1000,
                        owners: 50,
                        rate: 10,
                        processes: 50,
                        ..options
                    };
                }
                "--secrets" => options.secrets = number(arguments.next())? as usize,
                "--owners" => options.owners = number(arguments.next())? as usize,
                "--rate" => options.rate = number(arguments.next())?,
                "--at-once" => options.at_once = number(arguments.next())?,
                "--processes" => options.processes = number(arguments.next())? as usize,
                "--program" => options.program = Some(arguments.next()?.into()),
                "--write" => options.write = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Lambda, which starts processes as they are needed and keeps them.
struct Pool {
    subject: Subject,
    variables: Vec<(String, String)>,
    idle: RefCell<Vec<Process>>,
    started: RefCell<usize>,
    /// Secrets Manager waits for an answer, and so it does here for a process that is free.
    free: Semaphore,
}

impl Pool {
    async fn invoke(&self, event: Value) -> Result<(), String> {
        let _free = self.free.acquire().await.expect("a pool that is open");
        let idle = self.idle.borrow_mut().pop();
        let mut process = if let Some(process) = idle {
            process
        } else {
            *self.started.borrow_mut() += 1;
            Process::start(&self.subject, &self.variables).await?
        };
        let answer = process.answer(event).await;
        self.idle.borrow_mut().push(process);
        let failed =
            |error: simulator::FunctionError| format!("{}: {}", error.error_type, error.message);
        answer.map(|_| ()).map_err(failed)
    }
}

/// What became of it all.
#[derive(Default)]
struct Course {
    done: Vec<Duration>,
    failed: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(options) = Options::read() else {
        eprintln!("{HELP}");
        return ExitCode::FAILURE;
    };
    let load = machine::load();
    let (simulator, secrets) = arrange(&options).await;
    let variables =
        function_variables(&simulator.confluent_url(), &simulator.secrets_manager_url());
    let subject = Subject {
        is_pinned: false,
        ..Subject::function(options.program.clone())
    };
    let pool = Rc::new(Pool {
        subject,
        // As it ships: two seconds between two tries of a key.
        variables: variables
            .into_iter()
            .filter(|(name, _)| name != "PROBE_INTERVAL_MS")
            .collect(),
        idle: RefCell::default(),
        started: RefCell::default(),
        free: Semaphore::new(options.processes),
    });

    let (began, began_at) = (Instant::now(), SystemTime::now());
    let course = Rc::new(RefCell::new(Course::default()));
    let tasks = LocalSet::new();
    for arn in secrets {
        let (simulator, pool, course) = (simulator.clone(), Rc::clone(&pool), Rc::clone(&course));
        tasks.spawn_local(async move {
            let invoke = async |event| pool.invoke(event).await;
            while let Outcome::Failed { step, error } = simulator.rotate(&arn, &invoke).await {
                course.borrow_mut().failed.push(format!("{step}: {error}"));
                wait(NEXT_ATTEMPT).await;
            }
            let mut course = course.borrow_mut();
            course.done.push(began.elapsed());
            if course.done.len().is_multiple_of(50) {
                let (done, seconds) = (course.done.len(), began.elapsed().as_secs());
                eprintln!(
                    "{done} secrets after {seconds} s, {} failed attempts",
                    course.failed.len()
                );
            }
        });
    }
    tasks.await;

    let course = course.borrow();
    let figures = Figures::of(&simulator, &options, &course, began_at);
    let report = figures.report(&options, &course, *pool.started.borrow(), &load);
    report::print(&report);
    if options.write {
        report::write(DOCUMENT, "thousand", &report);
        let curve = curve(&options, &figures.made, &course.done);
        std::fs::write(root().join("docs/thousand.svg"), curve).expect("the folder docs");
    }
    let keys = simulator.state().keys.len();
    // One for each secret, and the admin secret's.
    if figures.made.len() != options.secrets || keys != options.secrets + 1 {
        eprintln!(
            "{} keys were made and {keys} are there, for {} secrets",
            figures.made.len(),
            options.secrets
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is Secrets Manager's waiting, not the function's"
)]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// Secrets of Kafka keys, evenly many of each owner, and the limits. Returns their ARNs.
async fn arrange(options: &Options) -> (Simulator, Vec<String>) {
    let simulator = Simulator::start().await;
    simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
    simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
    let admin = simulator.add_key("sa-admin", None, None);
    let admin = simulator.add_admin_secret("admin", &admin);
    let owners: Vec<_> = (0..options.owners)
        .map(|owner| format!("sa-owner{owner}"))
        .collect();
    for owner in &owners {
        simulator.add_owner(owner, &[]);
    }
    let secrets = owners.iter().cycle().take(options.secrets).enumerate();
    let secrets = secrets.map(|(serial, owner)| {
        let (id, secret) = simulator.add_key(owner, Some(CLUSTER), Some(ENVIRONMENT));
        let value = json!({
            "apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "resourceId": CLUSTER,
            "environmentId": ENVIRONMENT, "adminSecretArn": admin,
        });
        simulator.add_secret(&format!("orders/{serial}"), &value.to_string())
    });
    let secrets = secrets.collect();
    let limit = RateLimit {
        requests: options.rate,
        window: Duration::from_secs(1),
        at_once: options.at_once,
    };
    {
        let knobs = &mut simulator.state().knobs;
        knobs.latency = LATENCY;
        knobs.rate_limit = Some(limit);
    }
    (simulator, secrets)
}

/// What the control plane saw.
struct Figures {
    taken: usize,
    refused: usize,
    /// When each key was made.
    made: Vec<Duration>,
    /// The part of the allowed requests that was made while there was work for every process.
    used: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn of(simulator: &Simulator, options: &Options, course: &Course, began: SystemTime) -> Self {
        let state = simulator.state();
        let asked = || {
            state
                .requests
                .iter()
                .filter(|request| request.plane == Plane::ControlPlane)
        };
        let is_taken = |status: Option<u16>| status != Some(429);
        // Fewer rotations than processes cannot keep all of them at work.
        let last_full = course.done.len().saturating_sub(options.processes);
        let busy = course.done.get(last_full).copied().unwrap_or_default();
        let in_busy = asked().filter(|request| {
            let at = request.at.duration_since(began).unwrap_or_default();
            at < busy && is_taken(request.status)
        });
        let used = in_busy.count() as f64 / (busy.as_secs_f64() * f64::from(options.rate));
        let made =
            asked().filter(|request| request.method == "POST" && request.status == Some(202));
        Self {
            taken: asked().filter(|request| is_taken(request.status)).count(),
            refused: asked().filter(|request| !is_taken(request.status)).count(),
            made: made
                .map(|request| request.at.duration_since(began).unwrap_or_default())
                .collect(),
            used,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn report(&self, options: &Options, course: &Course, started: usize, load: &str) -> String {
        let Self {
            taken,
            refused,
            made,
            used,
        } = self;
        let seconds = |index: usize| course.done.get(index).map_or(0.0, Duration::as_secs_f64);
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let secrets = options.secrets;
        let mut rows = vec![
            row(
                "secrets, owners, processes",
                format!("{secrets}, {}, {}", options.owners, options.processes),
            ),
            row(
                "limit of the control plane",
                format!(
                    "{} requests a second, {} at once, each answered after {} ms",
                    options.rate,
                    options.at_once,
                    LATENCY.as_millis()
                ),
            ),
            row("secrets done", course.done.len().to_string()),
            row(
                "half, 90 %, all of them after",
                format!(
                    "{}, {}, {} s",
                    number(seconds(secrets / 2)),
                    number(seconds(secrets * 9 / 10)),
                    number(seconds(secrets - 1))
                ),
            ),
            row("keys made by `POST`", made.len().to_string()),
            row(
                "requests the control plane took",
                format!(
                    "{taken}, {} for each secret",
                    number(*taken as f64 / secrets as f64)
                ),
            ),
            row(
                "requests it refused with 429",
                format!(
                    "{refused}, {} for each it took",
                    number(*refused as f64 / *taken as f64)
                ),
            ),
            row(
                "part of the allowed rate used while every process had work",
                format!("{} %", number(used * 100.0)),
            ),
            row(
                "attempts of a rotation that failed and were repeated",
                course.failed.len().to_string(),
            ),
            row("processes started", started.to_string()),
        ];
        let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
        for failed in &course.failed {
            *kinds
                .entry(failed.split(": ").nth(1).unwrap_or_default())
                .or_default() += 1;
        }
        for (kind, count) in kinds {
            rows.push(row(&format!("… because of `{kind}`"), count.to_string()));
        }
        let command: Vec<String> = std::env::args().skip(1).collect();
        format!(
            "`cargo run --package benches --bin thousand -- {}`, on {}, {}, load {load} before it began.\n\n{}\nWith as many requests for each secret, and 10 a second:\n\n{}",
            command.join(" "),
            machine::kind(),
            machine::version("rustc"),
            table(&["", ""], &rows),
            projection(*taken as f64 / secrets as f64),
        )
    }
}

/// What more secrets need, if each takes so many requests of the control plane and 10 of them are let in each second.
fn projection(each: f64) -> String {
    const RATE: f64 = 10.0;
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 24.0 * HOUR;
    let rows: Vec<_> = [1_000.0, 10_000.0, 100_000.0]
        .into_iter()
        .map(|secrets| {
            let requests = secrets * each;
            let part = |interval: f64| format!("{} %", number(requests / interval / RATE * 100.0));
            vec![
                number(secrets),
                number(requests),
                format!("{} h", number(requests / RATE / HOUR)),
                part(DAY),
                part(7.0 * DAY),
                part(30.0 * DAY),
            ]
        })
        .collect();
    let head = [
        "secrets",
        "requests",
        "all at once",
        "spread over a day",
        "over a week",
        "over 30 days",
    ];
    table(&head, &rows)
}

/// Time against keys made and secrets done, as an SVG of its own.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn curve(options: &Options, made: &[Duration], done: &[Duration]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 240.0;
    const STEPS: usize = 100;
    let end = done.last().map_or(1.0, Duration::as_secs_f64);
    let secrets = options.secrets as f64;
    let at = |seconds: f64, count: f64| {
        (
            60.0 + seconds / end * WIDTH,
            40.0 + HEIGHT - count / secrets * HEIGHT,
        )
    };
    let line = |times: &[Duration]| {
        let mut line = String::new();
        for step in 0..=STEPS {
            let seconds = end * step as f64 / STEPS as f64;
            let count = times
                .iter()
                .filter(|time| time.as_secs_f64() <= seconds)
                .count();
            let (x, y) = at(seconds, count as f64);
            let _ = write!(line, "{x:.0},{y:.0} ");
        }
        line.trim().to_owned()
    };
    let mut marks = String::new();
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let (x, y) = at(end * part, secrets * part);
        let (time, count) = (number(end / 60.0 * part), number(secrets * part));
        let _ = write!(
            marks,
            "<path d='M60 {y:.0}h{WIDTH}' stroke='#8884'/>\n\
             <text x='52' y='{y:.0}' text-anchor='end' dominant-baseline='middle'>{count}</text>\n\
             <text x='{x:.0}' y='300' text-anchor='middle'>{time}</text>\n",
        );
    }
    let title = format!(
        "{} secrets rotated at once, {} requests a second: minutes, and",
        options.secrets, options.rate
    );
    let (made, done) = (line(made), line(done));
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 720 320' font-family='sans-serif' font-size='12' fill='#777'>\n\
         <title>{title} keys made, secrets done</title>\n\
         <text x='60' y='20'>{title} <tspan fill='#48c'>keys made</tspan>, <tspan fill='#2a7'>secrets done</tspan></text>\n\
         {marks}<polyline points='{made}' fill='none' stroke='#48c' stroke-width='2'/>\n\
         <polyline points='{done}' fill='none' stroke='#2a7' stroke-width='2'/>\n</svg>\n"
    )
}
