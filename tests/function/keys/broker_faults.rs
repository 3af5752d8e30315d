//! Verification at brokers that reject, stall, disappear or accept anything, and what is reported about them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use confluent_key_rotation::confluent::ProbeOutcome;
use confluent_key_rotation::confluent::broker::Bootstrap;
use confluent_key_rotation::preflight::Outcome as Checked;
use simulator::{Broker, BrokerBehavior, Response};

use super::brokers::loopback_host;
use super::*;

const CLUSTER: &str = "lkc-orders";
const OLD: Duration = Duration::from_mins(11);

/// What a scripted broker does with a token.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Accept,
    Reject,
    Close,
    Stall,
}

type DecideFn = dyn Fn(usize, &str) -> Verdict + Send + Sync;
type ListFn = dyn Fn(&str) -> Vec<(String, u16)> + Send + Sync;

/// A scripted broker.
#[derive(Clone)]
struct Script {
    /// Decides by the number of the connection and the token's secret.
    verdict: Arc<DecideFn>,
    /// The brokers in the metadata, by the token's secret.
    brokers: Arc<ListFn>,
    /// The delay of each response.
    delay: Duration,
    /// The number of connections after which the broker stops listening.
    connections: usize,
}

impl Script {
    fn new(verdict: impl Fn(usize, &str) -> Verdict + Send + Sync + 'static) -> Self {
        Self {
            verdict: Arc::new(verdict),
            brokers: Arc::new(|_| Vec::new()),
            delay: Duration::ZERO,
            connections: usize::MAX,
        }
    }

    fn start(self) -> SocketAddr {
        self.start_at("127.0.0.1:0")
    }

    fn start_at(self, address: &str) -> SocketAddr {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for number in 0..self.connections {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let script = self.clone();
                std::thread::spawn(move || script.serve(number, stream));
            }
        });
        address
    }

    fn serve(&self, number: usize, mut stream: TcpStream) -> Option<()> {
        let mut secret = String::new();
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).ok()?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame).ok()?;
            std::thread::sleep(self.delay);
            let mut response = frame[4..8].to_vec();
            match frame[1] {
                17 => response.extend([0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N']),
                36 => {
                    secret = String::from_utf8_lossy(frame.rsplit(|b| *b == 0).next()?).into();
                    match (self.verdict)(number, &secret) {
                        Verdict::Accept => response.extend([0, 0, 0xff, 0xff]),
                        Verdict::Reject => response.extend([0, 58, 0xff, 0xff]),
                        Verdict::Close => return None,
                        Verdict::Stall => std::thread::sleep(Duration::from_mins(1)),
                    }
                    response.extend([0; 12]);
                }
                _ => {
                    let brokers = (self.brokers)(&secret);
                    response.extend([0; 4]);
                    response.extend(u32::try_from(brokers.len()).unwrap().to_be_bytes());
                    for (node, (host, port)) in brokers.iter().enumerate() {
                        response.extend(u32::try_from(node).unwrap().to_be_bytes());
                        response.extend(u16::try_from(host.len()).unwrap().to_be_bytes());
                        response.extend(host.as_bytes());
                        response.extend(u32::from(*port).to_be_bytes());
                        response.extend([0xff, 0xff]);
                    }
                    response.extend([0xff, 0xff]);
                    response.extend([0; 8]);
                }
            }
            let length = u32::try_from(response.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &response].concat()).ok()?;
        }
    }
}

fn local(address: SocketAddr) -> (String, u16) {
    (address.ip().to_string(), address.port())
}

async fn world_with(variables: &[(&str, &str)]) -> World {
    let mut world = World::new(Setting::default()).await;
    world.simulator.add_brokers(CLUSTER, 3);
    let variables = [&[("OLD_KEY_POLICY", "delete")], variables].concat();
    world.function = function(&world.simulator, &variables);
    world
}

impl World {
    fn broker(&self, index: usize, change: impl FnOnce(&mut Broker)) {
        let mut state = self.simulator.state();
        change(&mut state.resources.get_mut(CLUSTER).unwrap().brokers[index]);
    }

    fn advertise(&self, index: usize, address: SocketAddr) {
        let (host, port) = local(address);
        self.broker(index, |broker| {
            broker.advertised = Some((host, port.into()));
        });
    }

    fn bootstrap_at(&self, address: &str) {
        let mut state = self.simulator.state();
        let cluster = state.resources.get_mut(CLUSTER).unwrap();
        cluster.bootstrap = Some(address.to_owned());
    }

    fn rest_unreachable(&self) {
        self.set_advertised_url(&self.simulator.unreachable_url());
    }

    /// Runs createSecret, and testSecret within a time limit.
    async fn verified_within(&self, limit: Duration) -> Result<(), lambda_runtime::Diagnostic> {
        self.run_steps(&["createSecret"]).await;
        let event = self.simulator.event(&self.arn, &self.token(), "testSecret");
        self.invoke_within(event, limit).await
    }

    async fn brokers_finding(&self) -> Value {
        let report = serde_json::to_value(self.preflight().await).unwrap();
        let mut checks = report["checks"].as_array().unwrap().iter();
        checks
            .find(|check| check["name"] == "brokers")
            .unwrap()
            .clone()
    }
}

/// Only a broker that was never reached is tolerated.
#[tokio::test]
async fn best_effort_does_not_tolerate_a_broker_whose_last_answer_is_a_rejection() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers-best-effort")]).await;
    let mut script = Script::new(|_, _| Verdict::Reject);
    script.connections = 1;
    world.advertise(1, script.start());

    let outcome = world.verified_within(SHORT_TIME_LIMIT).await;

    assert!(
        outcome.is_err(),
        "the only answer of the broker is error 58"
    );
}

/// The same at the bootstrap endpoint: no broker at all accepted the key.
#[tokio::test]
async fn best_effort_does_not_tolerate_a_bootstrap_endpoint_that_rejected_the_key() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers-best-effort")]).await;
    let mut script = Script::new(|_, _| Verdict::Reject);
    script.connections = 1;
    world.bootstrap_at(&script.start().to_string());

    let outcome = world.verified_within(SHORT_TIME_LIMIT).await;

    assert!(
        outcome.is_err(),
        "the only answer of any broker is error 58"
    );
}

/// Only consecutive rounds without a connection count.
#[tokio::test]
async fn best_effort_does_not_tolerate_a_broker_that_is_inconclusive_between_refusals() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers-best-effort")]).await;
    // Nothing accepts its connections, so they stall while it is bound, and are refused while it is not.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let slot = Mutex::new(Some(listener));
    let mut bootstrap = Script::new(|_, _| Verdict::Accept);
    bootstrap.brokers = Arc::new(move |_| {
        let mut slot = slot.lock().unwrap();
        *slot = match slot.take() {
            Some(_) => None,
            None => Some(TcpListener::bind(address).unwrap()),
        };
        vec![local(address)]
    });
    let good = Script::new(|_, _| Verdict::Accept).start();
    let brokers = bootstrap.brokers.clone();
    bootstrap.brokers = Arc::new(move |secret| [brokers(secret), vec![local(good)]].concat());
    world.bootstrap_at(&bootstrap.start().to_string());

    let outcome = world.verified_within(Duration::from_secs(15)).await;

    assert!(
        outcome.is_err(),
        "it was reached twice and never accepted the key"
    );
}

/// Nothing else verified the key here, so it must reach its minimum age.
#[tokio::test]
async fn best_effort_requires_the_rejection_of_a_wrong_secret() {
    let world = world_with(&[
        ("KAFKA_VERIFICATION", "brokers-best-effort"),
        ("KEY_VERIFICATION", "best-effort"),
        ("PROPAGATION_WAIT_SECONDS", "840"),
    ])
    .await;
    let first = Mutex::new(None::<String>);
    let mut script = Script::new(move |_, secret| {
        let mut first = first.lock().unwrap();
        if first.get_or_insert_with(|| secret.to_owned()) == secret {
            Verdict::Accept
        } else {
            Verdict::Close
        }
    });
    let host = loopback_host();
    let listed = host.clone();
    script.brokers = Arc::new(move |_| vec![(listed.clone(), 9092), ("127.0.0.1".to_owned(), 1)]);
    script.start_at(&format!("{host}:9092"));
    world.change_value(|value| value["endpoint"] = json!(format!("https://{host}")));

    let outcome = world.verified_within(SHORT_TIME_LIMIT).await;

    assert!(
        outcome.is_err(),
        "the endpoint never rejected a wrong secret"
    );
}

/// Neither REST nor two of three brokers verified the key, and afterwards `delete` deletes the previous one.
#[tokio::test]
async fn one_of_three_brokers_does_not_replace_rest_and_the_minimum_age() {
    let world = world_with(&[
        ("KAFKA_VERIFICATION", "brokers-best-effort"),
        ("KEY_VERIFICATION", "best-effort"),
        ("PROPAGATION_WAIT_SECONDS", "840"),
    ])
    .await;
    world.rest_unreachable();
    for index in [1, 2] {
        world.broker(index, |broker| {
            broker.advertised = Some(("127.0.0.1".into(), index.try_into().unwrap()));
        });
    }

    let outcome = world.verified_within(SHORT_TIME_LIMIT).await;

    assert!(outcome.is_err(), "one broker of three accepted the key");
}

/// A preflight is not green if each rotation fails.
#[tokio::test]
async fn a_preflight_detects_brokers_that_accept_any_credential() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    let mut script = Script::new(|_, _| Verdict::Accept);
    let host = loopback_host();
    let listed = host.clone();
    script.brokers = Arc::new(move |_| vec![(listed.clone(), 9092)]);
    script.start_at(&format!("{host}:9092"));
    let rest = world.simulator.state().resources[CLUSTER].url.clone();
    let rest = rest.trim_start_matches("http://").to_owned();
    let front = TcpListener::bind((host.as_str(), 0)).unwrap();
    let endpoint = format!("http://{}", front.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut from, _)) = front.accept() {
            let mut to = TcpStream::connect(&rest).unwrap();
            let (mut from2, mut to2) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from2, &mut to2));
            std::thread::spawn(move || std::io::copy(&mut to, &mut from));
        }
    });
    world.change_value(|value| value["endpoint"] = json!(endpoint));

    let report = world.preflight().await;
    let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

    assert_eq!(
        error.error_type, "EndpointAcceptsAnyCredential",
        "{error:?}"
    );
    assert_eq!(report.verdict, Checked::Failed, "{report:#?}");
}

/// Otherwise, each attempt would fail until someone removes `AWSPENDING`.
#[tokio::test]
async fn a_deleted_pending_key_heals_if_only_the_brokers_are_reachable() {
    let mut outcomes = Vec::new();
    for step in ["createSecret", "testSecret", "finishSecret"] {
        let mut world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
        world.rest_unreachable();
        world.run_steps(&["createSecret"]).await;
        let key = world.key("AWSPENDING").unwrap();
        world.simulator.delete_key_manually(&key);
        world.simulator.age_version(&world.arn, "AWSPENDING", OLD);
        world.time_limit = SHORT_TIME_LIMIT;

        let outcome = world.step(step).await;

        let error = outcome.err().map(|error| error.error_type);
        outcomes.push((
            step,
            error.unwrap_or("success".to_owned()),
            world.version("AWSPENDING"),
        ));
    }
    let is_healed = |(_, error, version): &(_, String, Option<String>)| {
        error == "PendingKeyDeleted" && version.is_none()
    };
    assert!(outcomes.iter().all(is_healed), "{outcomes:#?}");
}

/// The limits of the single operations do not add up past the deadline.
#[tokio::test]
async fn an_attempt_ends_by_the_deadline() {
    let mut world = world_with(&[]).await;
    world.function.http_limits.request = Duration::from_secs(20);
    let mut script = Script::new(|_, _| Verdict::Accept);
    script.delay = Duration::from_millis(900);
    let address = script.start();
    let key = clients::api_key(world.current_key(&world.arn));
    let started = Instant::now();

    let round = world
        .confluent()
        .authenticate_at_brokers(
            &key,
            &Bootstrap::parse(&address.to_string()),
            clients::Deadline::after(Duration::from_secs(1)),
        )
        .await;

    let elapsed = started.elapsed();
    assert!(
        elapsed < Duration::from_millis(1500),
        "{elapsed:?}: {round:?}"
    );
}

/// The step reports its own error before Lambda's timeout.
#[tokio::test]
async fn slow_brokers_do_not_outlast_the_invocation() {
    let mut world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    // As in production.
    world.function.http_limits.request = Duration::from_secs(20);
    let mut script = Script::new(|_, _| Verdict::Accept);
    script.delay = Duration::from_secs(8);
    world.bootstrap_at(&script.start().to_string());
    let limit = Duration::from_secs(20);
    world.run_steps(&["createSecret"]).await;
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "testSecret");
    let started = Instant::now();

    let outcome = world.invoke_within(event, limit).await;

    assert!(
        started.elapsed() < limit,
        "{:?}: {outcome:?}",
        started.elapsed()
    );
}

/// An attempt that the deadline cut short shows nothing about the key.
#[tokio::test]
async fn a_round_that_the_deadline_cuts_short_does_not_hide_the_rejection() {
    let mut world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    world.function.http_limits.request = Duration::from_secs(20);
    let script = Script::new(|number, _| match number {
        0..3 => Verdict::Reject,
        _ => Verdict::Stall,
    });
    world.advertise(1, script.start());

    let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

    assert!(error.error_message.contains("with error 58"), "{error:?}");
}

/// After a rejection, two complete rounds must be accepted.
#[tokio::test]
async fn a_round_that_the_deadline_cuts_short_does_not_count_as_accepted() {
    for verification in ["brokers", "brokers-best-effort"] {
        let mut world = world_with(&[("KAFKA_VERIFICATION", verification)]).await;
        world.function.http_limits.request = Duration::from_secs(20);
        let script = Script::new(|number, _| match number {
            0 => Verdict::Reject,
            1 => Verdict::Accept,
            _ => Verdict::Stall,
        });
        world.advertise(1, script.start());

        let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

        assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
        let message = &error.error_message;
        assert!(message.contains("the last one"), "{message}");
        assert!(!message.contains("the last one accepted"), "{message}");
    }
}

/// It shows nothing about the network, either.
#[tokio::test]
async fn a_connection_that_the_deadline_cuts_short_is_not_called_unreachable() {
    let world = world_with(&[]).await;
    let key = clients::api_key(world.current_key(&world.arn));
    // Its queue is full, so a connection waits.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    let bootstrap = Bootstrap::parse(&address.to_string());
    let deadline = clients::Deadline::after(Duration::from_millis(20));

    let round = world.confluent();
    let round = round.authenticate_at_brokers(&key, &bootstrap, deadline);
    let round = round.await.unwrap();

    let failed = round.failed();
    assert!(
        !matches!(failed, Some(ProbeOutcome::BrokerUnreachable(..))),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_list_with_a_hostile_entry_sends_nothing_to_it() {
    for list in [
        "127.0.0.1:1,evil.example:9092",
        "127.0.0.1:1,SASL_SSL://user@b1.confluent.cloud:9092",
        "127.0.0.1:1,b1.confluent.cloud:443",
        "127.0.0.1:1,b1.confluent.cloud.:9092",
    ] {
        let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
        world.bootstrap_at(list);

        let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

        assert_eq!(error.error_type, "EndpointNotAllowed", "{list}: {error:?}");
    }
}

#[tokio::test]
async fn the_remedy_for_an_unreachable_bootstrap_endpoint_names_its_port() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    world.rest_unreachable();
    world.bootstrap_at("127.0.0.1:1");

    let error = world
        .step_error("createSecret", "nothing is reachable")
        .await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert!(error.error_message.contains("TCP port 9092"), "{error:?}");
}

/// The domain may be the operator's own.
#[tokio::test]
async fn the_remedy_for_a_broker_outside_the_allowed_domains_names_the_setting() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    world.broker(1, |broker| {
        broker.advertised = Some(("b1.kafka.corp.example".into(), 9092));
    });

    let finding = world.brokers_finding().await;
    let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

    let texts = [error.error_message, finding.to_string()];
    let names = texts.map(|text| (text.contains("ALLOWED_ENDPOINT_DOMAINS"), text));
    assert!(names.iter().all(|(names, _)| *names), "{names:#?}");
}

/// Connections to brokers are direct.
#[tokio::test]
async fn the_remedy_for_an_inconclusive_broker_does_not_name_the_proxy() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    world.broker(1, |broker| {
        broker.behavior = BrokerBehavior::ClosesWithoutResponse("SaslAuthenticate");
    });

    let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

    assert!(!error.error_message.contains("HTTPS_PROXY"), "{error:?}");
}

/// Only this port is allowed.
#[tokio::test]
async fn the_error_for_another_port_of_the_bootstrap_endpoint_names_the_port() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    world.bootstrap_at("pkc-1.us-west-2.aws.confluent.cloud:9093");

    let error = world.verified_within(SHORT_TIME_LIMIT).await.unwrap_err();

    assert_eq!(error.error_type, "EndpointNotAllowed", "{error:?}");
    assert!(error.error_message.contains("9092"), "{error:?}");
}

/// With `CURRENT_KEY_CHECK=off`, a wrong current key fails no rotation, so it is a warning.
#[tokio::test]
async fn a_preflight_does_not_fail_because_of_a_current_key_that_is_not_checked() {
    for verification in ["brokers-best-effort", "brokers"] {
        let world = world_with(&[
            ("KAFKA_VERIFICATION", verification),
            ("CURRENT_KEY_CHECK", "off"),
        ])
        .await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.change_value(|value| value["apiSecret"] = json!("cflt".repeat(16)));

        let report = world.preflight().await;
        let rotated = world.rotate().await;

        assert_eq!(rotated, Outcome::Succeeded, "{verification}");
        assert_eq!(
            report.verdict,
            Checked::Warning,
            "{verification}: {report:#?}"
        );
    }
}

/// A key that could not be verified later is not created.
#[tokio::test]
async fn no_key_is_created_if_neither_endpoint_is_reachable_and_all_brokers_are_required() {
    let world = world_with(&[
        ("KAFKA_VERIFICATION", "brokers"),
        ("KEY_VERIFICATION", "best-effort"),
    ])
    .await;
    world.rest_unreachable();
    world.bootstrap_at("127.0.0.1:1");
    let keys = world.all_keys();

    let outcome = world.step("createSecret").await;

    assert_eq!(world.all_keys(), keys, "{outcome:?}");
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
#[tokio::test]
async fn the_deprecated_field_is_the_fallback_for_the_bootstrap_endpoint() {
    let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
    let (url, bootstrap) = {
        let state = world.simulator.state();
        let cluster = &state.resources[CLUSTER];
        (cluster.url.clone(), cluster.bootstrap.clone())
    };
    let point = json!({"connection_type": "PUBLIC", "http_endpoint": url});
    let spec = json!({"endpoints": {"ap1": point}, "http_endpoint": url, "kafka_bootstrap_endpoint": bootstrap});
    let cluster = Response::json(200, &json!({"id": CLUSTER, "spec": spec}));
    let is_cluster = |request: &Request| request.name().contains("/cmk/v2/clusters/");
    world
        .simulator
        .respond_with(usize::MAX, is_cluster, cluster);

    world.verified_within(SHORT_TIME_LIMIT).await.unwrap();
}

/// A broker may return anything as the host of another one.
#[tokio::test]
async fn a_broker_that_echoes_the_secret_does_not_put_it_into_the_log() {
    for format in ["{}", "{}.confluent.cloud", "b1.{}.evil.example", "b {} x"] {
        let world = world_with(&[("KAFKA_VERIFICATION", "brokers")]).await;
        let mut script = Script::new(|_, _| Verdict::Accept);
        script.brokers = Arc::new(move |secret| vec![(format.replace("{}", secret), 9092)]);
        world.bootstrap_at(&script.start().to_string());

        let (outcome, lines) =
            telemetry::logs::logged(world.verified_within(SHORT_TIME_LIMIT)).await;
        let report = format!("{:?}", world.preflight().await);

        let secret = world.value("AWSPENDING")["apiSecret"]
            .as_str()
            .unwrap()
            .to_owned();
        let current = world.value("AWSCURRENT")["apiSecret"]
            .as_str()
            .unwrap()
            .to_owned();
        let text = format!("{outcome:?} {lines:?} {report}");
        for secret in [&secret, &current] {
            assert!(!text.contains(&secret[8..40]), "{format}: {text}");
        }
    }
}

#[tokio::test]
async fn every_mode_rotates_with_brokers_only() {
    for mode in [Mode::Keyless, Mode::InitialKey] {
        let mut world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        world.simulator.add_brokers(CLUSTER, 3);
        world.set_variable("KAFKA_VERIFICATION", "brokers");
        world.rest_unreachable();

        assert_eq!(world.rotate().await, Outcome::Succeeded, "{mode:?}");
        let report = world.preflight().await;
        assert_eq!(report.verdict, Checked::Ok, "{mode:?}: {report:#?}");
    }
}
