//! Rotates 1,000 secrets concurrently, with a control plane that accepts ten requests per second:
//! `cargo run --package benches --bin fleet -- --full`. Without `--full`: 50 secrets and 20 requests per second.
//!
//! The function is the release build, in a pool of processes like Lambda's: an event starts another process if all are busy, up
//! to the function's reserved concurrency. Only the services are simulated. No time is scaled.
//!
//! The run fails if a rotation does not complete, if a key is created twice or if an orphaned key remains. It only prints the
//! figures.

#![expect(clippy::expect_used, reason = "a failed measurement stops the run")]
#![expect(clippy::print_stderr, reason = "a long run shows its progress")]

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
use simulator::{Outcome, RateLimit, Role, Service, Simulator};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

const HELP: &str = "\
Rotates many secrets concurrently with a control plane that has a rate limit.

Usage: cargo run --package benches --bin fleet -- [OPTIONS]

  --full             1000 secrets of 50 owners, 10 requests per second, 200 processes: 8 minutes
  --secrets <N>      number of secrets
  --owners <N>       number of service accounts that own their keys
  --rate <N>         requests per second that the control plane accepts
  --concurrent <N>   concurrent requests that it accepts
  --processes <N>    the function's reserved concurrency
  --program <PATH>   another build of the function
  --write            write the chart and the figures to docs";

const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";

/// The latency of every response.
const LATENCY: Duration = Duration::from_millis(50);

/// The delay before a failed rotation is retried. Secrets Manager retries "multiple times during the open rotation windows"
/// and does not document when. A short delay adds load to a service that already rate-limits its clients.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot_rotation.html>
const NEXT_ATTEMPT: Duration = Duration::from_secs(30);

struct Options {
    program: Option<PathBuf>,
    secrets: usize,
    owners: usize,
    rate: u32,
    concurrent: u32,
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
            concurrent: 10,
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
                        processes: 200,
                        ..options
                    };
                }
                "--secrets" => options.secrets = number(arguments.next())? as usize,
                "--owners" => options.owners = number(arguments.next())? as usize,
                "--rate" => options.rate = number(arguments.next())?,
                "--concurrent" => options.concurrent = number(arguments.next())?,
                "--processes" => options.processes = number(arguments.next())? as usize,
                "--program" => options.program = Some(arguments.next()?.into()),
                "--write" => options.write = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// A pool of processes, like Lambda's: they are started when required, and reused.
struct Pool {
    subject: Subject,
    variables: Vec<(String, String)>,
    idle: RefCell<Vec<Process>>,
    started: RefCell<usize>,
    /// An event waits for a free process.
    free: Semaphore,
}

impl Pool {
    async fn invoke(&self, event: Value) -> Result<(), String> {
        let _free = self.free.acquire().await.expect("an open pool");
        let idle = self.idle.borrow_mut().pop();
        let mut process = if let Some(process) = idle {
            process
        } else {
            *self.started.borrow_mut() += 1;
            Process::start(&self.subject, &self.variables).await?
        };
        let response = process.invoke_unmeasured(event).await;
        self.idle.borrow_mut().push(process);
        let failed =
            |error: simulator::FunctionError| format!("{}: {}", error.error_type, error.message);
        response.map(|_| ()).map_err(failed)
    }
}

/// The results of all rotations.
#[derive(Default)]
struct Results {
    /// When each rotation completed.
    completed: Vec<Duration>,
    /// The errors of the failed attempts.
    errors: Vec<String>,
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
        // The default: two seconds between two probes.
        variables: variables
            .into_iter()
            .filter(|(name, _)| name != "PROBE_INTERVAL_MS")
            .collect(),
        idle: RefCell::default(),
        started: RefCell::default(),
        free: Semaphore::new(options.processes),
    });

    let (began, began_at) = (Instant::now(), SystemTime::now());
    let results = Rc::new(RefCell::new(Results::default()));
    let tasks = LocalSet::new();
    for arn in secrets {
        let (simulator, pool, results) = (simulator.clone(), Rc::clone(&pool), Rc::clone(&results));
        tasks.spawn_local(async move {
            let invoke = async |event| pool.invoke(event).await;
            while let Outcome::Failed { step, error } = simulator.rotate(&arn, &invoke).await {
                results.borrow_mut().errors.push(format!("{step}: {error}"));
                wait(NEXT_ATTEMPT).await;
            }
            let mut results = results.borrow_mut();
            results.completed.push(began.elapsed());
            if results.completed.len().is_multiple_of(50) {
                let (completed, seconds) = (results.completed.len(), began.elapsed().as_secs());
                eprintln!(
                    "{completed} rotations after {seconds} s, {} failed attempts",
                    results.errors.len()
                );
            }
        });
    }
    tasks.await;

    let results = results.borrow();
    let figures = Figures::of(&simulator, &options, &results, began_at);
    let report = figures.report(&options, &results, *pool.started.borrow(), &load);
    report::print(&report);
    if options.write {
        report::write(DOCUMENT, "fleet", &report);
        let chart = chart(&options, &figures.created, &results.completed);
        std::fs::write(root().join("docs/fleet.svg"), chart).expect("the folder docs");
    }
    let keys = simulator.state().keys.len();
    // One key per secret, and the admin key.
    if figures.created.len() != options.secrets || keys != options.secrets + 1 {
        eprintln!(
            "{} keys were created and {keys} exist, for {} secrets",
            figures.created.len(),
            options.secrets
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[expect(
    clippy::disallowed_methods,
    reason = "Secrets Manager waits, not the function"
)]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// Creates secrets with Kafka API keys, distributed evenly over the owners, and sets the limits. Returns the ARNs.
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
    let secrets = secrets.map(|(index, owner)| {
        let (id, secret) = simulator.add_key(owner, Some(CLUSTER), Some(ENVIRONMENT));
        let value = json!({
            "apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "resourceId": CLUSTER,
            "environmentId": ENVIRONMENT, "adminSecretArn": admin,
        });
        simulator.add_secret(&format!("orders/{index}"), &value.to_string())
    });
    let secrets = secrets.collect();
    let limit = RateLimit {
        requests: options.rate,
        window: Duration::from_secs(1),
        concurrent_requests: options.concurrent,
    };
    {
        let controls = &mut simulator.state().controls;
        controls.latency = LATENCY;
        controls.rate_limit = Some(limit);
    }
    (simulator, secrets)
}

/// The requests to the control plane.
struct Figures {
    accepted: usize,
    rejected: usize,
    /// When each key was created.
    created: Vec<Duration>,
    /// The share of the allowed rate that was used while all processes were busy.
    used: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn of(simulator: &Simulator, options: &Options, results: &Results, began: SystemTime) -> Self {
        let state = simulator.state();
        let requests = || {
            state
                .requests
                .iter()
                .filter(|request| request.service == Service::ControlPlane)
        };
        let is_accepted = |status: Option<u16>| status != Some(429);
        // With fewer rotations than processes, some processes are idle.
        let last_busy = results.completed.len().saturating_sub(options.processes);
        let busy = results
            .completed
            .get(last_busy)
            .copied()
            .unwrap_or_default();
        let while_busy = requests().filter(|request| {
            let at = request
                .received_at
                .duration_since(began)
                .unwrap_or_default();
            at < busy && is_accepted(request.status)
        });
        let used = while_busy.count() as f64 / (busy.as_secs_f64() * f64::from(options.rate));
        let created =
            requests().filter(|request| request.method == "POST" && request.status == Some(202));
        Self {
            accepted: requests()
                .filter(|request| is_accepted(request.status))
                .count(),
            rejected: requests()
                .filter(|request| !is_accepted(request.status))
                .count(),
            created: created
                .map(|request| {
                    request
                        .received_at
                        .duration_since(began)
                        .unwrap_or_default()
                })
                .collect(),
            used,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn report(&self, options: &Options, results: &Results, started: usize, load: &str) -> String {
        let Self {
            accepted,
            rejected,
            created,
            used,
        } = self;
        let seconds = |index: usize| {
            results
                .completed
                .get(index)
                .map_or(0.0, Duration::as_secs_f64)
        };
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
                    "{} requests per second, {} concurrent, {} ms latency",
                    options.rate,
                    options.concurrent,
                    LATENCY.as_millis()
                ),
            ),
            row("completed rotations", results.completed.len().to_string()),
            row(
                "half, 90 %, all of them completed after",
                format!(
                    "{}, {}, {} s",
                    number(seconds(secrets / 2)),
                    number(seconds(secrets * 9 / 10)),
                    number(seconds(secrets - 1))
                ),
            ),
            row("keys created", created.len().to_string()),
            row(
                "requests that the control plane accepted",
                format!(
                    "{accepted}, {} per secret",
                    number(*accepted as f64 / secrets as f64)
                ),
            ),
            row(
                "requests that it rejected with 429",
                format!(
                    "{rejected}, {} per accepted request",
                    number(*rejected as f64 / *accepted as f64)
                ),
            ),
            row(
                "share of the allowed rate used while all processes were busy",
                format!("{} %", number(used * 100.0)),
            ),
            row(
                "failed attempts, which were retried",
                results.errors.len().to_string(),
            ),
            row("processes started", started.to_string()),
        ];
        let mut names = std::collections::BTreeMap::<&str, usize>::new();
        for error in &results.errors {
            *names
                .entry(error.split(": ").nth(1).unwrap_or_default())
                .or_default() += 1;
        }
        for (name, count) in names {
            rows.push(row(&format!("… with `{name}`"), count.to_string()));
        }
        let command: Vec<String> = std::env::args().skip(1).collect();
        format!(
            "`cargo run --package benches --bin fleet -- {}`, on {}, {}, load {load} before the start.\n\n{}\nWith the same number of requests per secret and 10 requests per second:\n\n{}",
            command.join(" "),
            machine::description(),
            machine::version("rustc"),
            table(&["", ""], &rows),
            projection(*accepted as f64 / secrets as f64),
        )
    }
}

/// Projects the time for more secrets, with `requests_per_secret` and 10 requests per second.
fn projection(requests_per_secret: f64) -> String {
    const RATE: f64 = 10.0;
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 24.0 * HOUR;
    let rows: Vec<_> = [1_000.0, 10_000.0, 100_000.0]
        .into_iter()
        .map(|secrets| {
            let requests = secrets * requests_per_secret;
            let share = |interval: f64| format!("{} %", number(requests / interval / RATE * 100.0));
            vec![
                number(secrets),
                number(requests),
                format!("{} h", number(requests / RATE / HOUR)),
                share(DAY),
                share(7.0 * DAY),
                share(30.0 * DAY),
            ]
        })
        .collect();
    let head = [
        "secrets",
        "requests",
        "concurrently",
        "over a day",
        "over a week",
        "over 30 days",
    ];
    table(&head, &rows)
}

/// Formats a time as minutes and seconds.
fn minutes(seconds: f64) -> String {
    let (minutes, seconds) = ((seconds / 60.0).floor(), seconds % 60.0);
    format!("{minutes:.0}:{:02.0}", seconds.floor())
}

/// Draws the created keys and the completed rotations over time, as an SVG.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn chart(options: &Options, created: &[Duration], completed: &[Duration]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 240.0;
    const STEPS: usize = 100;
    let end = completed.last().map_or(1.0, Duration::as_secs_f64);
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
    let mut axes = String::new();
    for quarter in 0..=4 {
        let fraction = f64::from(quarter) / 4.0;
        let (x, y) = at(end * fraction, secrets * fraction);
        let (time, count) = (minutes(end * fraction), number(secrets * fraction));
        let _ = write!(
            axes,
            "<path d='M60 {y:.0}h{WIDTH}' stroke='#8884'/>\n\
             <text x='52' y='{y:.0}' text-anchor='end' dominant-baseline='middle'>{count}</text>\n\
             <text x='{x:.0}' y='300' text-anchor='middle'>{time}</text>\n",
        );
    }
    let title = format!(
        "{} concurrent rotations, {} requests per second:",
        options.secrets, options.rate
    );
    let (created, completed) = (line(created), line(completed));
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 720 332' font-family='sans-serif' font-size='12' fill='#777'>\n\
         <title>{title} keys created, rotations completed</title>\n\
         <text x='60' y='20'>{title} <tspan fill='#48c'>keys created</tspan>, <tspan fill='#2a7'>rotations completed</tspan></text>\n\
         {axes}<text x='380' y='322' text-anchor='middle'>time since the start, minutes:seconds</text>\n\
         <text x='14' y='160' text-anchor='middle' transform='rotate(-90 14 160)'>secrets</text>\n\
         <polyline points='{created}' fill='none' stroke='#48c' stroke-width='2'/>\n\
         <polyline points='{completed}' fill='none' stroke='#2a7' stroke-width='2'/>\n</svg>\n"
    )
}
