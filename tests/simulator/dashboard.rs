//! Draws five widgets of the dashboard in `template.yaml` from rotations against the simulator:
//! `cargo run --example dashboard > docs/dashboard.svg`.
//!
//! The metrics and log messages are the function's. The design is not CloudWatch's.

#![expect(clippy::print_stdout, reason = "the output is the picture")]
#![expect(clippy::expect_used, reason = "the example sets up its own data")]

mod function;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confluent_key_rotation::handler::Function;
use confluent_key_rotation::telemetry::{LogLevel, logging};
use serde_json::{Value, json};
use simulator::{FUNCTION_ARN, Overlap, Request, Response, Role, Service, Simulator};

const ENVIRONMENT: &str = "env-prod";
/// The number of secrets that are rotated.
const SECRETS: u64 = 24;
/// The secret whose next rotation does not start.
const OVERDUE: u64 = 7;
/// The secret whose rotation is canceled.
const CANCELED: u64 = 13;

/// The lines that the function logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().expect("no writer panics");
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = logging::subscriber(LogLevel::INFO, move || writer.clone());
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    let simulator = Simulator::start().await;
    simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
    let admin = simulator.add_key("sa-admin", None, None);
    let admin = simulator.add_admin_secret("admin", &admin);
    let function = function::function(&simulator, &[("PROBE_INTERVAL_MS", "50")]);
    simulator.state().controls.overlap = Overlap::Hours(24);
    for nth in 0..SECRETS {
        rotate(&simulator, &function, &admin, nth).await;
    }
    delete_previous_keys(&simulator, &function).await;
    simulator.assert_guarantees();
    let output = lines.0.lock().expect("no writer panics").clone();
    let output = String::from_utf8(output).expect("UTF-8");
    let lines: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object per line"))
        .collect();
    println!("{}", draw(&lines));
}

/// Rotates a secret until the rotation succeeds. Two of the secrets fail once.
async fn rotate(simulator: &Simulator, function: &Function, admin: &str, nth: u64) {
    let (owner, cluster) = (format!("sa-{nth}"), format!("lkc-{nth}"));
    simulator.add_owner(&owner, &[]);
    simulator.add_kafka_cluster(&cluster, ENVIRONMENT);
    let (id, secret) = simulator.add_key(&owner, Some(&cluster), Some(ENVIRONMENT));
    let value = json!({
        "apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "resourceId": cluster,
        "environmentId": ENVIRONMENT, "adminSecretArn": admin,
    });
    let arn = simulator.add_secret(&name(nth), &value.to_string());
    if nth == OVERDUE {
        let rules = json!({"ScheduleExpression": "rate(4 hours)"});
        simulator.state().secret_mut(&arn).attributes.rotation_rules = Some(rules);
    }
    simulator.state().controls.propagation_delay = Duration::from_millis(100 + nth * nth * 4);
    let fault = match nth {
        5 => Some((402, "POST")),
        11 => Some((403, "GET")),
        _ => None,
    };
    if let Some((status, method)) = fault {
        reject(simulator, status, method);
    }
    let invoke = async |event| invoke(function, event).await;
    while simulator.rotate(&arn, &invoke).await != simulator::Outcome::Succeeded {}
}

fn name(nth: u64) -> String {
    format!("team-{nth}/kafka")
}

/// Makes the previous keys due and sends the event twice. At first, a deletion fails.
async fn delete_previous_keys(simulator: &Simulator, function: &Function) {
    const OVERLAP: Duration = Duration::from_hours(25);
    simulator.pass(OVERLAP);
    let canceled = simulator.state().secret(&name(CANCELED)).arn.clone();
    simulator.cancel_rotation(&canceled);
    reject(simulator, 400, "DELETE");
    for expected in [Err("RetireFailed".to_owned()), Ok(())] {
        let outcome = invoke(function, json!({"Step": "retire"})).await;
        assert_eq!(outcome, expected, "the outcome of retire");
    }
}

/// Rejects the next request to Confluent Cloud with this method.
fn reject(simulator: &Simulator, status: u16, method: &'static str) {
    let requests = move |request: &Request| {
        request.service == Service::ControlPlane && request.method == method
    };
    let body = json!({"errors": [{"status": status.to_string(), "detail": "simulated"}]});
    simulator.respond_with(1, requests, Response::json(status, &body));
}

async fn invoke(function: &Function, event: Value) -> Result<(), String> {
    let mut invocation = function::invocation(event);
    FUNCTION_ARN.clone_into(&mut invocation.context.invoked_function_arn);
    let response = function.handle(invocation).await;
    response
        .map(|_| ())
        .map_err(|error| error.name().to_owned())
}

/// Draws the widgets.
fn draw(lines: &[Value]) -> String {
    let mut svg = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 700" font-family="system-ui, sans-serif" font-size="13">
<title>Dashboard with data from rotations against the simulator</title>
<style>rect.widget{fill:#fff;stroke:#c8ccd0}text{fill:#1f2328}.soft{fill:#59636e}.ok{fill:#2e7d4f}.bad{fill:#b3382c}.dot{fill:#2f6fb3}.number{font-size:26px}</style>
<rect width="960" height="700" fill="#f3f4f6"/>
"##,
    );
    draw_fleet(&mut svg, lines);
    draw_findings(&mut svg, lines);
    draw_steps(&mut svg, lines);
    draw_propagation(&mut svg, lines);
    draw_failures(&mut svg, lines);
    svg.push_str("</svg>");
    svg
}

fn draw_widget(svg: &mut String, (x, y): (u32, u32), (width, height): (u32, u32), title: &str) {
    let (text_x, text_y) = (x + 14, y + 24);
    let _ = writeln!(
        svg,
        r#"<rect class="widget" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>
<text x="{text_x}" y="{text_y}" font-weight="600">{title}</text>"#
    );
}

/// Draws the numbers of the fleet, as the last run of retire reported them, and the sum of the previous keys that were deleted.
fn draw_fleet(svg: &mut String, lines: &[Value]) {
    const NUMBERS: [(&str, &str); 4] = [
        ("SecretsManaged", "secrets"),
        ("RotationsOverdue", "rotations overdue"),
        ("RotationsStuck", "rotations stuck"),
        ("PreviousKeysOverdue", "previous keys overdue"),
    ];
    let title = "Fleet: secrets, overdue and stuck rotations, overdue previous keys";
    draw_widget(svg, (16, 16), (692, 104), title);
    let report = lines.iter().rfind(|line| line.get(NUMBERS[0].0).is_some());
    for (x, (metric, label)) in (30..).step_by(172).zip(NUMBERS) {
        let number = report.and_then(|line| line[metric].as_u64());
        draw_number(svg, x, number.unwrap_or_default(), label);
    }
    draw_widget(svg, (724, 16), (220, 104), "Previous keys deleted");
    let deleted = lines
        .iter()
        .filter_map(|line| line.get("PreviousKeysDeleted"));
    let deleted = deleted.filter_map(Value::as_u64).sum();
    draw_number(svg, 738, deleted, "in the time range");
}

fn draw_number(svg: &mut String, x: u32, number: u64, label: &str) {
    let class = if label.contains("rotations") && number > 0 {
        "bad"
    } else {
        ""
    };
    let _ = writeln!(
        svg,
        r#"<text class="number {class}" x="{x}" y="82">{number}</text><text class="soft" x="{x}" y="104">{label}</text>"#
    );
}

/// Draws the findings that the last run of retire reported.
fn draw_findings(svg: &mut String, lines: &[Value]) {
    draw_widget(svg, (16, 136), (928, 94), "Secrets with findings");
    let findings = lines.iter().filter(|line| line.get("findings").is_some());
    let findings: BTreeMap<&str, &str> = findings
        .filter_map(|line| line["secret_id"].as_str().zip(line["findings"].as_str()))
        .collect();
    for (y, (secret, findings)) in (186..).step_by(26).zip(findings) {
        let _ = writeln!(
            svg,
            r#"<text x="30" y="{y}">{secret}</text><text class="bad" x="620" y="{y}">{findings}</text>"#
        );
    }
}

/// Draws the steps by outcome as bars.
fn draw_steps(svg: &mut String, lines: &[Value]) {
    draw_widget(svg, (16, 246), (456, 230), "Steps by outcome");
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.get("_aws").is_some()) {
        let outcome = line.get("Outcome").and_then(Value::as_str);
        *counts.entry(outcome.unwrap_or_default()).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1);
    for (nth, (outcome, count)) in (0..).zip(&counts) {
        let y = 296 + nth * 34;
        let width = (count * 230 / most).max(3);
        let class = if *outcome == "Succeeded" { "ok" } else { "bad" };
        let _ = writeln!(
            svg,
            r#"<text x="30" y="{y}">{outcome}</text><rect class="{class}" x="190" y="{}" width="{width}" height="18"/>
<text class="soft" x="{}" y="{y}">{count}</text>"#,
            y - 14,
            198 + width
        );
    }
}

/// Draws the propagation time of each key as a dot, in the order of the rotations.
fn draw_propagation(svg: &mut String, lines: &[Value]) {
    draw_widget(svg, (488, 246), (456, 230), "Key propagation time");
    let seconds = lines
        .iter()
        .filter_map(|line| line.get("PropagationSeconds"));
    let seconds: Vec<f64> = seconds.filter_map(Value::as_f64).collect();
    let longest = seconds.iter().copied().fold(0.1, f64::max);
    for (x, value) in (520..).step_by(17).zip(&seconds) {
        let y = 440.0 - value / longest * 140.0;
        let _ = writeln!(svg, r#"<circle class="dot" cx="{x}" cy="{y:.1}" r="4"/>"#);
    }
    let _ = writeln!(
        svg,
        r#"<text class="soft" x="502" y="296">{longest:.1} s</text><text class="soft" x="502" y="464">each dot is one key; in the simulator, keys propagate in seconds</text>"#
    );
}

/// Draws the messages of the failed steps, and of the secrets for which retire failed.
fn draw_failures(svg: &mut String, lines: &[Value]) {
    const MAX_LENGTH: usize = 118;
    let title = "Failed steps, and secrets for which retire failed";
    draw_widget(svg, (16, 492), (928, 192), title);
    let failed = lines.iter().filter(|line| line.get("error_type").is_some());
    for (y, line) in (542..).step_by(38).zip(failed) {
        let field = |name| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let message: String = field("message").chars().take(MAX_LENGTH).collect();
        let message = message.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            svg,
            r#"<text class="bad" x="30" y="{y}">{} in {}</text><text class="soft" x="30" y="{}">{message}…</text>"#,
            field("error_type"),
            field("step"),
            y + 18
        );
    }
}
