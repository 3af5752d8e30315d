//! A real client throughout ten rotations: librdkafka with AWS's caching library, in [`client.py`](kafka_clients/client.py).
//!
//! Before each HTTP request of the function, and between the rotations, the client opens new connections to all brokers with its
//! cached key. The test decides when the cache expires, so it predicts the key and the result of each attempt. Each broker accepts
//! a new key later than the REST layer does, and deletion takes effect immediately.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use tokio::sync::mpsc;

use super::*;

const CLUSTER: &str = "lkc-orders";
const BROKERS: usize = 3;
const ROTATIONS: usize = 10;

/// The default refresh interval of the caching library.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_cache-ref-secretcacheconfig.html>
const CACHE_AGE: Duration = Duration::from_hours(1);

/// Slightly more than the default of `OLD_KEY_HOURS`.
const OVERLAP: Duration = Duration::from_hours(25);

/// Error code `SASL_AUTHENTICATION_FAILED`.
const REJECTED: u16 = 58;

/// The client's process. Dropping it kills the process.
struct KafkaClient {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Drop for KafkaClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the client's packages. Returns the path of Python, or the reason of a failure.
fn python() -> Result<&'static Path, &'static str> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let programs = python::install("kafka-clients", "kafka_clients/requirements.txt")?;
        Ok(programs.join("python"))
    });
    python.as_deref().map_err(String::as_str)
}

impl KafkaClient {
    /// Starts the client. If its packages cannot be installed, prints the reason and returns `None`.
    fn start(world: &World) -> Option<Self> {
        let python = match python() {
            Ok(python) => python,
            Err(reason) => {
                let test =
                    "a test of a Kafka client, which requires Python 3.10, venv, pip and PyPI";
                python::skip(test, reason);
                return None;
            }
        };
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/function/kafka_clients/client.py");
        let bootstrap = world.simulator.state().resources[CLUSTER].bootstrap.clone();
        let mut child = Command::new(python)
            .arg(script)
            .args([&world.arn, &bootstrap.unwrap()])
            .env_clear()
            .env("AWS_ENDPOINT_URL", world.simulator.account_url())
            .env("AWS_ACCESS_KEY_ID", simulator::USER_ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", "example")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        // The test's only thread serves the simulator, so it must not wait for the client.
        std::thread::spawn(move || {
            let mut printed = BufReader::new(stdout).lines().map_while(Result::ok);
            printed.try_for_each(|line| sender.send(line))
        });
        Some(Self {
            child,
            stdin,
            lines,
        })
    }

    /// Sends a command, and returns the line that the client prints.
    async fn run(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        let line = tokio::time::timeout(AMPLE, self.lines.recv()).await;
        let line = line.expect("the client responds in time");
        line.unwrap_or_else(|| panic!("the client ended at {command}; stderr has its error"))
    }
}

/// The client, and what the test knows about it.
struct Observer<'w> {
    world: &'w World,
    client: KafkaClient,
    /// The ID of the key in the client's cache, or `None` if the cache expired.
    cached: Option<String>,
    /// The ID of the current key at the last attempt.
    current: String,
    /// Whether the cache expires at each promotion, before the previous key is deleted.
    expires_at_promotion: bool,
    attempts: usize,
    /// The IDs of the rejected keys, one for each rejected attempt.
    rejected: Vec<String>,
    /// The IDs of the keys that all brokers accepted.
    accepted: BTreeSet<String>,
}

impl<'w> Observer<'w> {
    /// Starts the client. If its packages cannot be installed, prints the reason and returns `None`.
    fn start(world: &'w World) -> Option<Self> {
        Some(Self {
            world,
            client: KafkaClient::start(world)?,
            cached: None,
            current: world.initial_key.clone(),
            expires_at_promotion: false,
            attempts: 0,
            rejected: Vec::new(),
            accepted: BTreeSet::new(),
        })
    }

    /// Lets the client authenticate. The result must be the predicted one, and the brokers must have received this attempt only.
    async fn authenticate(&mut self) {
        let current = self.world.key("AWSCURRENT").unwrap();
        if current != self.current && self.expires_at_promotion {
            self.expire().await;
        }
        self.current.clone_from(&current);
        let key = self.cached.take().unwrap_or_else(|| current.clone());
        let (is_accepted, logged) = {
            let state = self.world.simulator.state();
            (state.keys.contains_key(&key), state.requests.len())
        };

        let line = self.client.run("authenticate").await;

        self.attempts += 1;
        let (result, status, connections) = if is_accepted {
            ("accepted", 0, 1 + BROKERS)
        } else {
            ("rejected", REJECTED, 1)
        };
        assert_eq!(line, format!("{result} {key}"), "attempt {}", self.attempts);
        {
            let state = self.world.simulator.state();
            let frames = state.requests[logged..].iter();
            let frames = frames.filter(|request| request.name() == "SaslAuthenticate");
            let received: Vec<_> = frames
                .map(|request| (request.key_id.as_deref(), request.status))
                .collect();
            assert_eq!(received, vec![(Some(&*key), Some(status)); connections]);
        }
        if is_accepted {
            self.accepted.insert(key.clone());
            self.cached = Some(key);
        } else {
            assert_ne!(key, current, "the current key is rejected");
            self.rejected.push(key);
            // The client reads the secret again.
            self.cached = Some(current);
        }
    }

    /// Sets the client's clock forward until its cache expires.
    async fn expire(&mut self) {
        let command = format!("pass {}", CACHE_AGE.as_secs());
        assert_eq!(self.client.run(&command).await, "passed");
        self.cached = None;
    }

    /// Lets the client authenticate before each HTTP request of the function, which is held in the meantime.
    async fn authenticate_before_every_request(&mut self) -> ! {
        let simulator = &self.world.simulator;
        // The client sends its requests to the brokers and, as a user, to Secrets Manager.
        let next = || simulator.hold_requests(|request| request.service != Service::KafkaBroker);
        let mut hold = next();
        loop {
            hold.arrived(1).await;
            self.authenticate().await;
            // Before this request is released, so that the next one is held, too.
            let following = next();
            hold.release();
            hold = following;
        }
    }

    async fn rotate(&mut self) {
        self.authenticate().await;
        let world = self.world;
        let outcome = tokio::select! {
            outcome = world.rotate() => outcome,
            never = self.authenticate_before_every_request() => never,
        };
        assert_eq!(outcome, Outcome::Succeeded);
        self.authenticate().await;
    }

    async fn retire(&mut self) {
        let world = self.world;
        let retired = tokio::select! {
            retired = world.invoke(json!({"Step": "retire"})) => retired,
            never = self.authenticate_before_every_request() => never,
        };
        retired.unwrap();
        self.authenticate().await;
    }
}

/// Creates a world whose brokers learn of each key at different times.
async fn world_with_brokers(policy: OldKeyPolicy) -> World {
    let mut world = World::new(Setting {
        policy,
        ..Setting::default()
    })
    .await;
    world.simulator.add_brokers(CLUSTER, BROKERS);
    {
        let mut state = world.simulator.state();
        let cluster = state.resources.get_mut(CLUSTER).unwrap();
        for (rejections, broker) in cluster.brokers.iter_mut().enumerate() {
            broker.propagation = vec![false; rejections];
        }
    }
    world.set_variable("KAFKA_VERIFICATION", "brokers");
    world
}

#[tokio::test]
async fn no_broker_rejects_a_client_whose_cache_expires_within_the_overlap() {
    let world = world_with_brokers(OldKeyPolicy::DeleteAfter).await;
    let Some(mut observer) = Observer::start(&world) else {
        return;
    };

    for _ in 0..ROTATIONS {
        let previous = world.key("AWSCURRENT");
        observer.rotate().await;
        assert_eq!(observer.cached, previous, "the client's key is stale");
        world.simulator.pass(CACHE_AGE);
        observer.expire().await;
        observer.authenticate().await;
        world.simulator.pass(OVERLAP);
        observer.retire().await;
        world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"after the overlap");
    }

    assert_eq!(observer.rejected, [""; 0]);
    assert_eq!(observer.accepted.len(), 1 + ROTATIONS);
    println!(
        "delete-after: none of {} attempts in {ROTATIONS} rotations is rejected",
        observer.attempts
    );
}

#[tokio::test]
async fn a_broker_rejects_a_deleted_key_once_before_the_client_reads_the_secret_again() {
    let world = world_with_brokers(OldKeyPolicy::Delete).await;
    let Some(mut observer) = Observer::start(&world) else {
        return;
    };
    let mut stale = Vec::new();

    for rotation in 0..ROTATIONS {
        // In every third rotation, the client happens to read the secret between the promotion and the deletion.
        observer.expires_at_promotion = rotation % 3 == 0;
        if !observer.expires_at_promotion {
            stale.push(world.key("AWSCURRENT").unwrap());
        }
        observer.rotate().await;
    }

    assert_eq!(observer.rejected, stale);
    assert_eq!(stale.len(), 6);
    assert_eq!(observer.accepted.len(), 1 + ROTATIONS);
    println!(
        "delete: {} of {} attempts in {ROTATIONS} rotations are rejected, all with the cached key of the previous version",
        stale.len(),
        observer.attempts
    );
}
