//! Runs the simulator as a server, with one secret in rotation: `cargo run -p simulator --example serve`.
//!
//! The function runs in another process, for example under `cargo lambda watch`, with the events in `tests/events`. The
//! ports, the secret and the version are the same in each run, so that the events match. `--check` only checks the
//! events.

#![expect(
    clippy::print_stdout,
    reason = "a command-line program prints its output"
)]
#![expect(clippy::expect_used, reason = "the example arranges what it expects")]

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Authentication, Role, Simulator};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Fixed ports, because the simulator listens on random ones.
const CONFLUENT_PORT: u16 = 8601;
const SECRETS_MANAGER_PORT: u16 = 8602;
const STS_PORT: u16 = 8603;

const OWNER: &str = "sa-orders";
const CLUSTER: &str = "lkc-orders";
const ENVIRONMENT: &str = "env-prod";
/// Time until a new key is accepted. In Confluent Cloud, it is seconds to minutes.
const PROPAGATION_DELAY: Duration = Duration::from_secs(15);

/// The events of a rotation, in order.
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
    let token = simulator.start_rotation(&arn);
    for (step, event) in EVENTS {
        let expected = simulator.event(&arn, &token, step);
        if serde_json::from_str::<Value>(event).ok().as_ref() != Some(&expected) {
            println!("tests/events/{step}.json must be\n{expected:#}");
            return ExitCode::FAILURE;
        }
    }
    if std::env::args().any(|argument| argument == "--check") {
        return ExitCode::SUCCESS;
    }
    for (port, url) in [
        (CONFLUENT_PORT, simulator.confluent_url()),
        (SECRETS_MANAGER_PORT, simulator.secrets_manager_url()),
        (STS_PORT, simulator.sts_url()),
    ] {
        if let Err(error) = forward(port, url).await {
            println!("could not listen on 127.0.0.1:{port}: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "# Set these variables for the function, and send it the events in tests/events:\n\
         export CONFLUENT_API_URL=http://127.0.0.1:{CONFLUENT_PORT}\n\
         export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:{SECRETS_MANAGER_PORT}\n\
         export AWS_ENDPOINT_URL_STS=http://127.0.0.1:{STS_PORT}\n\
         export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=example AWS_SECRET_ACCESS_KEY=example\n\
         # A new key is rejected for {PROPAGATION_DELAY:?}. To start over, press Ctrl+C and run this again.\n"
    );
    show(&simulator, &arn).await
}

/// Arranges a secret with a Kafka key and an admin secret.
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
    simulator.state().controls.propagation_delay = PROPAGATION_DELAY;
    (simulator, arn)
}

/// Forwards connections from `port` to the simulator.
async fn forward(port: u16, url: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let to = url
        .strip_prefix("http://")
        .expect("the URL uses HTTP")
        .to_owned();
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

/// Prints requests and changes of labels and keys until the process exits.
async fn show(simulator: &Simulator, arn: &str) -> ! {
    let (mut shown, mut before) = (0, String::new());
    let mut polls = tokio::time::interval(Duration::from_millis(50));
    loop {
        polls.tick().await;
        let mut state = simulator.state();
        for request in state.requests.iter().skip(shown) {
            let Some(status) = request.status else { break };
            shown += 1;
            let credentials = match &request.authentication {
                Authentication::Basic(key_id) => key_id,
                Authentication::Bearer => "access token",
                Authentication::None | Authentication::SigV4 => "-",
            };
            println!("{status}  {credentials:<16}  {}", request.name());
        }
        for violation in std::mem::take(&mut state.violations) {
            println!("violation: {violation}");
        }
        let secret = state.secret(arn);
        let key_id = |label| secret.key_id(label).unwrap_or("-");
        let keys: Vec<&str> = state
            .keys_of(OWNER)
            .iter()
            .map(|key| key.id.as_str())
            .collect();
        let now = format!(
            "     AWSCURRENT {}  AWSPENDING {}  AWSPREVIOUS {}  keys in Confluent Cloud: {}",
            key_id("AWSCURRENT"),
            key_id("AWSPENDING"),
            key_id("AWSPREVIOUS"),
            keys.join(" ")
        );
        if now != before {
            println!("{now}");
            before = now;
        }
    }
}
