//! Draws what the dashboard of `template.yaml` shows, from rotations against the simulator:
//! `cargo run --example dashboard > docs/dashboard.svg`.
//!
//! The metrics and log lines are the function's own. CloudWatch's look is not imitated.

#![expect(clippy::print_stdout, reason = "it is there to be kept")]
#![expect(clippy::expect_used, reason = "what it arranges itself is there")]

mod function;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confluent_key_rotation::config::Logging;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::logging;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use simulator::{Answer, Plane, Request, Role, Simulator};

const ENVIRONMENT: &str = "env-prod";
/// How many secrets rotate.
const SECRETS: u64 = 24;

/// What the function prints.
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
    let subscriber = logging::subscriber(Logging::default(), move || writer.clone());
    tracing::subscriber::set_global_default(subscriber).expect("it is the only one");
    let simulator = Simulator::start().await;
    simulator.add_owner("sa-admin", &[Role::OrganizationAdmin]);
    let admin = simulator.add_key("sa-admin", None, None);
    let admin = simulator.add_admin_secret("admin", &admin);
    let function = function::function(&simulator, &[("PROBE_INTERVAL_MS", "50")]);
    for nth in 0..SECRETS {
        rotate(&simulator, &function, &admin, nth).await;
    }
    simulator.assert_promises_kept();
    let text = lines.0.lock().expect("no writer panics").clone();
    let text = String::from_utf8(text).expect("UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object on each line"))
        .collect();
    println!("{}", drawn(&lines));
}

/// Rotates one secret, in whose way something may be, until it succeeds.
async fn rotate(simulator: &Simulator, function: &Function, admin: &str, nth: u64) {
    let (owner, cluster) = (format!("sa-{nth}"), format!("lkc-{nth}"));
    simulator.add_owner(&owner, &[]);
    simulator.add_kafka_cluster(&cluster, ENVIRONMENT);
    let (id, secret) = simulator.add_key(&owner, Some(&cluster), Some(ENVIRONMENT));
    let value = json!({
        "apiKey": id, "apiSecret": secret, "serviceAccountId": owner, "resourceId": cluster,
        "environmentId": ENVIRONMENT, "adminSecretArn": admin,
    });
    let arn = simulator.add_secret(&format!("team-{nth}/kafka"), &value.to_string());
    simulator.state().knobs.settles_after = Duration::from_millis(100 + nth * nth * 4);
    let in_the_way = match nth {
        5 => Some((402, "POST")),
        11 => Some((403, "GET")),
        17 => Some((400, "DELETE")),
        _ => None,
    };
    if let Some((status, method)) = in_the_way {
        let requests = move |request: &Request| is_at_confluent(request, method);
        let body = json!({"errors": [{"status": status.to_string(), "detail": "as arranged for the picture"}]});
        simulator.answer(1, requests, Answer::json(status, &body));
    }
    let invoke = async |event| invoke(function, event).await;
    while simulator.rotate(&arn, &invoke).await != simulator::Outcome::Succeeded {}
}

fn is_at_confluent(request: &Request, method: &str) -> bool {
    request.plane == Plane::ControlPlane && request.method == method
}

async fn invoke(function: &Function, event: Value) -> Result<(), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let deadline = now.unwrap_or_default() + Duration::from_mins(1);
    let mut context = Context::default();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let answer = function.handle(LambdaEvent::new(event, context)).await;
    answer.map(|_| ()).map_err(|error| error.name().to_owned())
}

/// The picture: three tiles.
fn drawn(lines: &[Value]) -> String {
    let mut svg = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 470" font-family="system-ui, sans-serif" font-size="13">
<title>What the dashboard shows, drawn from rotations against the simulator</title>
<style>rect.tile{fill:#fff;stroke:#c8ccd0}text{fill:#1f2328}.soft{fill:#59636e}.ok{fill:#2e7d4f}.bad{fill:#b3382c}.dot{fill:#2f6fb3}</style>
<rect width="960" height="470" fill="#f3f4f6"/>
"##,
    );
    steps(&mut svg, lines);
    propagation(&mut svg, lines);
    failures(&mut svg, lines);
    svg.push_str("</svg>");
    svg
}

fn tile(svg: &mut String, (x, y): (u32, u32), (width, height): (u32, u32), title: &str) {
    let (text_x, text_y) = (x + 14, y + 24);
    let _ = writeln!(
        svg,
        r#"<rect class="tile" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>
<text x="{text_x}" y="{text_y}" font-weight="600">{title}</text>"#
    );
}

/// Steps by outcome, as bars.
fn steps(svg: &mut String, lines: &[Value]) {
    tile(svg, (16, 16), (456, 230), "Steps by outcome");
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.get("_aws").is_some()) {
        let outcome = line.get("Outcome").and_then(Value::as_str);
        *counts.entry(outcome.unwrap_or_default()).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1);
    for (nth, (outcome, count)) in (0..).zip(&counts) {
        let y = 66 + nth * 34;
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

/// Seconds until each new key was accepted, one dot each, in the order of the rotations.
fn propagation(svg: &mut String, lines: &[Value]) {
    tile(
        svg,
        (488, 16),
        (456, 230),
        "How long until a new key is accepted?",
    );
    let seconds = lines
        .iter()
        .filter_map(|line| line.get("PropagationSeconds"));
    let seconds: Vec<f64> = seconds.filter_map(Value::as_f64).collect();
    let longest = seconds.iter().copied().fold(0.1, f64::max);
    for (x, value) in (520..).step_by(17).zip(&seconds) {
        let y = 210.0 - value / longest * 140.0;
        let _ = writeln!(svg, r#"<circle class="dot" cx="{x}" cy="{y:.1}" r="4"/>"#);
    }
    let _ = writeln!(
        svg,
        r#"<text class="soft" x="502" y="66">{longest:.1} s</text><text class="soft" x="502" y="234">each dot is one key; the simulator's keys settle in seconds</text>"#
    );
}

/// The lines that say why steps failed.
fn failures(svg: &mut String, lines: &[Value]) {
    const LONGEST: usize = 118;
    tile(svg, (16, 262), (928, 192), "What failed, and why?");
    let failed = lines
        .iter()
        .filter(|line| line.get("outcome") == Some(&json!("failed")));
    for (y, line) in (316..).step_by(44).zip(failed) {
        let field = |name| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let message: String = field("message").chars().take(LONGEST).collect();
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
