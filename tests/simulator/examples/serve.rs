//! The simulator as a server of its own, with one secret in rotation: `cargo run -p simulator --example serve`.
//!
//! The function itself then runs elsewhere, under `cargo lambda watch` say, and is sent the events in
//! `tests/events`. Ports, secret and version are the same each time, so that those events fit; `--check` only
//! looks whether they do.

#![expect(clippy::print_stdout, reason = "it is there to be read")]
#![expect(clippy::expect_used, reason = "what it arranges itself is there")]

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Role, Simulator};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// The simulator takes ports as they come. These stay.
const CONFLUENT_PORT: u16 = 8601;
const SECRETS_MANAGER_PORT: u16 = 8602;

const OWNER: &str = "sa-orders";
const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";
/// How long a new key is refused. At Confluent it is seconds to minutes.
const SETTLES_AFTER: Duration = Duration::from_secs(15);

/// What the function is to be sent, in order.
const EVENTS: [(&str, &str); 4] = [
    (
        "createSecret",
        include_str!("../../events/createSecret.json"),
    ),
    ("setSecret", include_str!("../../events/setSecret.json")),
    ("testSecret", include_str!("../../events/testSecret.json")),
    (
        "finishSecret",
        include_str!("../../events/finishSecret.json"),
    ),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (simulator, arn) = arrange().await;
    let token = simulator.begin_rotation(&arn);
    for (step, event) in EVENTS {
        let right = simulator.event(&arn, &token, step);
        if serde_json::from_str::<Value>(event).ok().as_ref() != Some(&right) {
            println!("tests/events/{step}.json should be\n{right:#}");
            return ExitCode::FAILURE;
        }
    }
    if std::env::args().any(|argument| argument == "--check") {
        return ExitCode::SUCCESS;
    }
    for (port, url) in [
        (CONFLUENT_PORT, simulator.confluent_url()),
        (SECRETS_MANAGER_PORT, simulator.secrets_manager_url()),
    ] {
        if let Err(error) = forward(port, url).await {
            println!("port {port} of 127.0.0.1 cannot be used: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "# Set these where the function runs, and send it the events in tests/events:\n\
         export CONFLUENT_API_URL=http://127.0.0.1:{CONFLUENT_PORT}\n\
         export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:{SECRETS_MANAGER_PORT}\n\
         export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=example AWS_SECRET_ACCESS_KEY=example\n\
         # A new key is refused for {SETTLES_AFTER:?}. Begin anew: stop this with Ctrl+C and start it again.\n"
    );
    show(&simulator, &arn).await
}

/// A Kafka key of a service account, in a secret that names an admin secret.
async fn arrange() -> (Simulator, String) {
    let simulator = Simulator::start().await;
    simulator.add_kafka_cluster(CLUSTER, ENVIRONMENT);
    simulator.add_owner(OWNER, &[]);
    let roles = [Role::ResourceOwnerOf(OWNER.to_owned()), Role::Operator];
    simulator.add_owner("sa-rotator", &roles);
    let (id, secret) = simulator.add_key(OWNER, Some(CLUSTER), Some(ENVIRONMENT));
    let admin = simulator.add_key("sa-rotator", None, None);
    let admin = simulator.add_admin_secret("rotator", &admin);
    let value = json!({
        "apiKey": id, "apiSecret": secret, "serviceAccountId": OWNER, "resourceId": CLUSTER,
        "environmentId": ENVIRONMENT, "adminSecretArn": admin,
    });
    let arn = simulator.add_secret("orders", &value.to_string());
    simulator.state().knobs.settles_after = SETTLES_AFTER;
    (simulator, arn)
}

/// Passes on what comes to `port` to where the simulator listens.
async fn forward(port: u16, url: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let to = url.strip_prefix("http://").expect("plain http").to_owned();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await?;
                copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    Ok(())
}

/// Shows requests and what they changed, for ever.
async fn show(simulator: &Simulator, arn: &str) -> ! {
    let (mut shown, mut before) = (0, String::new());
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let mut state = simulator.state();
        for request in state.requests.iter().skip(shown) {
            let Some(status) = request.status else { break };
            shown += 1;
            let key = request.key_id.as_deref().unwrap_or("-");
            println!("{status}  {:<16}  {}", key, request.label());
        }
        for violation in std::mem::take(&mut state.violations) {
            println!("violation: {violation}");
        }
        let secret = state.secret(arn);
        let named = |label| secret.key_named_by(label).unwrap_or("-");
        let keys: Vec<&str> = state
            .keys_of(OWNER)
            .iter()
            .map(|key| key.id.as_str())
            .collect();
        let now = format!(
            "     AWSCURRENT {}  AWSPENDING {}  AWSPREVIOUS {}  keys at Confluent: {}",
            named("AWSCURRENT"),
            named("AWSPENDING"),
            named("AWSPREVIOUS"),
            keys.join(" ")
        );
        if now != before {
            println!("{now}");
            before = now;
        }
    }
}
