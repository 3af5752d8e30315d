//! Verification at the brokers of a Kafka cluster.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use confluent_key_rotation::confluent::broker;
use confluent_key_rotation::preflight::Outcome as Checked;
use lambda_runtime::Diagnostic;
use simulator::tls::CertificateAuthority;
use simulator::{Broker, BrokerBehavior, Endpoints, Fault, Request, Response, Service};
use tokio::net::TcpStream;

use super::*;

const CLUSTER: &str = "lkc-orders";

/// A world whose cluster has three brokers, with `KAFKA_VERIFICATION`.
async fn world_with_brokers(verification: &str) -> World {
    let mut world = World::new(Setting::default()).await;
    world.simulator.add_brokers(CLUSTER, 3);
    world.set_variable("KAFKA_VERIFICATION", verification);
    world
}

impl World {
    fn change_broker(&self, index: usize, change: impl FnOnce(&mut Broker)) {
        let mut state = self.simulator.state();
        let cluster = state.resources.get_mut(CLUSTER).unwrap();
        change(&mut cluster.brokers[index]);
    }

    fn set_behavior(&self, index: usize, behavior: BrokerBehavior) {
        self.change_broker(index, |broker| broker.behavior = behavior);
    }

    fn make_rest_unreachable(&self) {
        self.set_advertised_url(&self.simulator.unreachable_url());
    }

    /// Returns the number of authentication attempts at each target with `key`.
    fn attempts(&self, target: &str, key: &str) -> usize {
        self.count(|request| {
            request.operation.as_deref() == Some("SaslAuthenticate")
                && request.target == target
                && request.key_id.as_deref() == Some(key)
        })
    }

    fn node(&self, index: usize) -> String {
        let state = self.simulator.state();
        state.resources[CLUSTER].brokers[index].node_id.to_string()
    }

    fn address(&self, index: usize) -> String {
        self.simulator.state().resources[CLUSTER].brokers[index]
            .address
            .clone()
    }

    /// Runs createSecret, and testSecret within a time limit that leaves a moment to verify the key. Returns its error.
    async fn verification_error(&self, case: &str) -> Diagnostic {
        self.run_steps(&["createSecret"]).await;
        let event = self.simulator.event(&self.arn, &self.token(), "testSecret");
        let outcome = self.invoke_within(event, SHORT_TIME_LIMIT).await;
        outcome.expect_err(case)
    }
}

fn is_to_broker(request: &Request) -> bool {
    request.service == Service::KafkaBroker
}

#[tokio::test]
async fn by_default_no_broker_receives_a_request() {
    let world = World::new(Setting::default()).await;
    world.simulator.add_brokers(CLUSTER, 3);

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert_eq!(world.count(is_to_broker), 0);
}

#[tokio::test]
async fn every_broker_accepts_the_pending_key_before_its_promotion() {
    for verification in ["brokers", "brokers-best-effort"] {
        for form in [
            simulator::BootstrapForm::WithScheme,
            simulator::BootstrapForm::WithoutScheme,
            simulator::BootstrapForm::List,
        ] {
            let world = world_with_brokers(verification).await;
            world.simulator.state().controls.bootstrap_form = form;
            for step in STEPS {
                world.requests();

                world.run_steps(&[step]).await;

                let current = world.key("AWSCURRENT").unwrap();
                let key = world.key("AWSPENDING").unwrap_or(current);
                let expected = usize::from(["testSecret", "finishSecret"].contains(&step));
                for index in 0..3 {
                    let attempts = world.attempts(&world.node(index), &key);
                    assert_eq!(attempts, expected, "{verification}, {form:?}, {step}");
                }
            }
        }
    }
}

/// Returns the number of accepted attempts at a broker after the last rejection of a key by any broker.
fn accepted_after_rejection(world: &World, node: &str) -> usize {
    let state = world.simulator.state();
    let is_attempt = |request: &&Request| request.name() == "SaslAuthenticate";
    let attempts: Vec<&Request> = state.requests.iter().filter(is_attempt).collect();
    let last = attempts
        .iter()
        .rposition(|attempt| attempt.status == Some(58));
    let later = attempts[last.unwrap()..].iter();
    later
        .filter(|attempt| attempt.target == node && attempt.status == Some(0))
        .count()
}

/// Brokers learn of a key at different times, and may reject it again.
#[tokio::test]
async fn a_broker_that_the_key_has_not_reached_delays_the_promotion() {
    for propagation in [
        vec![false],
        vec![false, false, false],
        vec![false, true, false, true],
    ] {
        let world = world_with_brokers("brokers").await;
        let rejections = propagation.iter().filter(|accepted| !**accepted).count();
        world.change_broker(1, |broker| broker.propagation.clone_from(&propagation));
        world.run_steps(&["createSecret"]).await;
        world.requests();

        world.run_steps(&["testSecret"]).await;

        let rejected = |request: &Request| is_to_broker(request) && request.status == Some(58);
        assert_eq!(world.count(rejected), rejections, "{propagation:?}");
        // After a rejection, two consecutive rounds are required.
        let node = world.node(1);
        assert_eq!(
            accepted_after_rejection(&world, &node),
            2,
            "{propagation:?}"
        );
        assert_eq!(world.rotate().await, Outcome::Succeeded);
    }
}

#[tokio::test]
async fn a_key_that_one_broker_rejects_is_never_promoted() {
    for verification in ["brokers", "brokers-best-effort"] {
        let world = world_with_brokers(verification).await;
        world.change_broker(2, |broker| broker.propagation = vec![false; 10_000]);
        let keys = world.all_keys().len();

        let error = world.verification_error(verification).await;

        assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
        // The last attempt may also have reached this broker at the bootstrap address.
        let bootstrap = world.simulator.state().resources[CLUSTER].bootstrap.clone();
        let bootstrap = bootstrap.unwrap().replace("SASL_SSL://", "");
        let names = |address| format!("rejected by broker {address} with error 58");
        let expected = [world.address(2), bootstrap].map(names);
        let is_named = |expected: &String| error.error_message.contains(expected);
        assert!(expected.iter().any(is_named), "{error:?}");
        assert_eq!(world.key("AWSCURRENT").unwrap(), world.initial_key);
        assert_eq!(world.all_keys().len(), keys + 1);
    }
}

/// What the REST endpoint rejects is not accepted, whatever the brokers say.
#[tokio::test]
async fn brokers_do_not_replace_a_rest_endpoint_that_responds() {
    let world = world_with_brokers("brokers").await;
    world.simulator.state().controls.propagation_statuses = always(401);

    let error = world.verification_error("rejected by REST").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
    assert_eq!(world.count(is_to_broker), 0);
}

#[tokio::test]
async fn an_unreachable_broker_is_tolerated_only_with_best_effort() {
    let unreachable = "127.0.0.1:1".to_owned();
    for (verification, succeeds) in [("brokers", false), ("brokers-best-effort", true)] {
        let world = world_with_brokers(verification).await;
        world.change_broker(1, |broker| {
            broker.advertised = Some(("127.0.0.1".into(), 1));
        });
        world.run_steps(&["createSecret"]).await;
        let event = world
            .simulator
            .event(&world.arn, &world.token(), "testSecret");
        let step = world.invoke_within(event, SHORT_TIME_LIMIT);

        let (outcome, lines) = telemetry::logs::logged(step).await;

        let mut warnings = lines
            .iter()
            .filter(|line| line["unreachable"] == unreachable);
        let metrics = lines.iter().find(|line| line.get("_aws").is_some());
        if succeeds {
            outcome.unwrap();
            assert_eq!(warnings.next().unwrap()["level"], "WARN", "{lines:?}");
            assert_eq!(metrics.unwrap()["UnreachableBrokers"], 1, "{lines:?}");
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
            assert!(error.error_message.contains(&unreachable), "{error:?}");
            assert!(error.error_message.contains("9092"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn with_best_effort_a_rotation_succeeds_if_no_broker_is_reachable() {
    let world = world_with_brokers("brokers-best-effort").await;
    let unreachable = Some("127.0.0.1:1".to_owned());
    world
        .simulator
        .state()
        .resources
        .get_mut(CLUSTER)
        .unwrap()
        .bootstrap = unreachable;

    assert_eq!(world.rotate().await, Outcome::Succeeded);
}

/// Only a missing connection is tolerated.
#[tokio::test]
async fn a_broker_that_does_not_respond_as_expected_is_not_tolerated() {
    let behaviors = [
        BrokerBehavior::ClosesWithoutResponse("SaslHandshake"),
        BrokerBehavior::ClosesWithoutResponse("SaslAuthenticate"),
        BrokerBehavior::Stalls("SaslHandshake"),
        BrokerBehavior::Stalls("SaslAuthenticate"),
        BrokerBehavior::RespondsWithError("SaslHandshake", 33),
        BrokerBehavior::RespondsWithError("SaslAuthenticate", 34),
        BrokerBehavior::RespondsWithError("SaslAuthenticate", -1),
        // Error 58 in response to another request is no rejection of the key.
        BrokerBehavior::RespondsWithError("SaslHandshake", 58),
        BrokerBehavior::RespondsWith("SaslAuthenticate", b"HTTP/1.1 503 Service".to_vec()),
        BrokerBehavior::RespondsWith("SaslAuthenticate", Vec::new()),
        BrokerBehavior::RespondsWith("SaslAuthenticate", vec![0x7f, 0xff, 0xff, 0xff, 0]),
        BrokerBehavior::RespondsWith("SaslAuthenticate", vec![0, 0, 0, 4, 0, 0, 0, 9]),
    ];
    for verification in ["brokers", "brokers-best-effort"] {
        for behavior in behaviors.clone() {
            let world = world_with_brokers(verification).await;
            let case = format!("{verification}, {behavior:?}");
            world.set_behavior(1, behavior);

            let error = world.verification_error(&case).await;

            assert_eq!(
                error.error_type, "PendingKeyNotAccepted",
                "{case}: {error:?}"
            );
            let message = &error.error_message;
            assert!(
                message.contains("inconclusive (broker 127."),
                "{case}: {message}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_is_sent_to_no_broker_outside_the_allowed_domains() {
    for (host, port) in [
        ("b1.evil.example", 9092),
        ("confluent.cloud.evil.example", 9092),
        ("evilconfluent.cloud", 9092),
        ("169.254.169.254", 9092),
        ("[::ffff:169.254.169.254]", 9092),
        ("b1.pkc.confluent.cloud", 443),
        ("b1.pkc.confluent.cloud/x", 9092),
        ("user@b1.pkc.confluent.cloud", 9092),
        ("", 9092),
        ("b1.evil.example\u{0}.confluent.cloud", 9092),
    ] {
        let world = world_with_brokers("brokers-best-effort").await;
        world.change_broker(1, |broker| {
            broker.advertised = Some((host.to_owned(), port));
        });

        let error = world.verification_error(host).await;

        assert_eq!(
            error.error_type, "PendingKeyNotAccepted",
            "{host}: {error:?}"
        );
        let message = &error.error_message;
        assert!(
            message.contains("credentials are not sent to"),
            "{host}: {message}"
        );
        let pending = world.key("AWSPENDING").unwrap();
        assert_eq!(world.attempts(&world.node(1), &pending), 0, "{host}");
    }
}

#[tokio::test]
async fn each_round_lists_the_brokers_again() {
    let world = world_with_brokers("brokers").await;
    world.change_broker(0, |broker| broker.propagation = vec![false]);
    world.change_broker(2, |broker| broker.is_listed = false);
    world.run_steps(&["createSecret"]).await;
    let is_metadata = |request: &Request| request.operation.as_deref() == Some("Metadata");
    let hold = world.simulator.hold_requests(is_metadata);
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "testSecret");
    let change = async {
        hold.arrived(1).await;
        world.change_broker(1, |broker| broker.is_listed = false);
        world.change_broker(2, |broker| broker.is_listed = true);
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.invoke(event), change);

    outcome.unwrap();
    let pending = world.key("AWSPENDING").unwrap();
    assert_eq!(world.attempts(&world.node(1), &pending), 0);
    assert!(world.attempts(&world.node(2), &pending) >= 2);
}

#[tokio::test]
async fn a_cluster_without_brokers_in_its_metadata_verifies_nothing() {
    let world = world_with_brokers("brokers").await;
    // The correlation ID, the throttle time, no brokers, no cluster ID, the controller and no topics.
    let zero = [0; 4];
    let metadata = [&[0, 0, 0, 3][..], &zero, &zero, &[0xff, 0xff], &zero, &zero].concat();
    let length = u32::try_from(metadata.len()).unwrap().to_be_bytes();
    for index in 0..3 {
        let response = [&length[..], &metadata].concat();
        world.set_behavior(index, BrokerBehavior::RespondsWith("Metadata", response));
    }

    let error = world.verification_error("no brokers").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
    assert!(error.error_message.contains("names no broker"), "{error:?}");
}

/// Where only port 9092 is open, the brokers verify both keys.
#[tokio::test]
async fn the_rest_endpoint_may_be_unreachable_if_all_brokers_accept_the_key() {
    for endpoints in [
        Endpoints::Public,
        Endpoints::Private("PRIVATELINK".into()),
        Endpoints::Deprecated,
    ] {
        let world = world_with_brokers("brokers").await;
        world
            .simulator
            .state()
            .resources
            .get_mut(CLUSTER)
            .unwrap()
            .endpoints = endpoints;
        world.make_rest_unreachable();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded);
        // The possession of the previous key was checked, too.
        assert!(world.attempts("bootstrap", &world.initial_key) > 0);
    }
}

/// A key that could not be verified later is not created, and the preflight agrees.
#[tokio::test]
async fn an_unreachable_rest_endpoint_fails_a_rotation_unless_all_brokers_are_required() {
    for verification in ["rest", "brokers-best-effort"] {
        let world = world_with_brokers(verification).await;
        world.make_rest_unreachable();
        let keys = world.all_keys();

        let error = world.step_error("createSecret", verification).await;

        assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
        assert_eq!(world.all_keys(), keys, "{verification}");
        let verdict = world.preflight().await.verdict;
        assert_eq!(verdict, Checked::Failed, "{verification}");
    }
}

#[tokio::test]
async fn a_current_key_that_the_brokers_reject_is_not_replaced() {
    let world = world_with_brokers("brokers").await;
    world.make_rest_unreachable();
    world.set_current_key_guarantee(simulator::CurrentKeyGuarantee::Off);
    world.change_value(|value| value["apiSecret"] = json!("cflt".repeat(16)));
    let keys = world.all_keys();

    let error = world
        .step_error("createSecret", "rejected by the brokers")
        .await;

    assert_eq!(error.error_type, "CurrentKeyNotAccepted", "{error:?}");
    assert!(error.error_message.contains("with error 58"), "{error:?}");
    assert_eq!(world.all_keys(), keys);
}

#[tokio::test]
async fn an_unreachable_cluster_is_tolerated_if_both_settings_are_best_effort() {
    let mut world = World::new(Setting::default()).await;
    world.make_rest_unreachable();
    world.function = function(
        &world.simulator,
        &[
            ("OLD_KEY_POLICY", "delete"),
            ("KEY_VERIFICATION", "best-effort"),
            ("KAFKA_VERIFICATION", "brokers-best-effort"),
        ],
    );

    assert_eq!(world.rotate().await, Outcome::Succeeded);
}

#[tokio::test]
async fn other_key_types_ignore_the_setting() {
    for key_type in key_types::KEY_TYPES {
        if key_type == KeyType::Kafka {
            continue;
        }
        let mut world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.set_variable("KAFKA_VERIFICATION", "brokers");

        assert_eq!(world.rotate().await, Outcome::Succeeded, "{key_type:?}");
        assert_eq!(world.preflight().await.verdict, Checked::Ok, "{key_type:?}");
    }
}

/// Returns a loopback address that nobody else uses, so that its port 9092 is free.
pub(super) fn loopback_host() -> String {
    let part = || fastrand::u8(1..255);
    format!("127.{}.{}.{}", part(), part(), part())
}

/// Starts a server on port 9092 of another loopback address that accepts any credentials.
fn start_broker_that_accepts_any_key() -> String {
    let host = loopback_host();
    let listener = TcpListener::bind((host.as_str(), 9092)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut frame = [0; 1024];
            let handshake = [0, 0, 0, 17, 0, 0, 0, 17, 0, 0, 0, 0, 0, 1, 0, 5];
            let accepted = [0, 0, 0, 20, 0, 0, 0, 36, 0, 0, 0xff, 0xff];
            let _ = stream.read(&mut frame);
            let _ = stream.write_all(&[&handshake[..], b"PLAIN"].concat());
            let _ = stream.read(&mut frame);
            let _ = stream.write_all(&[&accepted[..], &[0; 12]].concat());
        }
    });
    format!("https://{host}")
}

/// Otherwise, a writer who does not possess the key could name a server of their own.
#[tokio::test]
async fn brokers_of_an_endpoint_in_the_secret_must_reject_a_wrong_secret() {
    let endpoint = start_broker_that_accepts_any_key();
    let world = world_with_brokers("brokers").await;
    let keys = world.all_keys();
    world.change_value(|value| value["endpoint"] = json!(endpoint));

    let error = world
        .step_error("createSecret", "a broker that accepts any key")
        .await;

    assert_eq!(
        error.error_type, "EndpointAcceptsAnyCredential",
        "{error:?}"
    );
    assert_eq!(world.all_keys(), keys);
}

/// `KAFKA_VERIFICATION`, a condition, the outcome of the check, and a part of what it observes.
type BrokersCase = (&'static str, Arrange, Checked, &'static str);

#[tokio::test]
async fn a_preflight_reports_the_brokers_whatever_the_setting() {
    let unreachable = |world: &World| {
        world.change_broker(1, |broker| {
            broker.advertised = Some(("127.0.0.1".into(), 1));
        });
    };
    let rejecting = |world: &World| {
        world.set_behavior(1, BrokerBehavior::RespondsWithError("SaslAuthenticate", 58));
    };
    let closing = |world: &World| {
        world.set_behavior(1, BrokerBehavior::ClosesWithoutResponse("SaslAuthenticate"));
    };
    let none = |_: &World| {};
    let cases: [BrokersCase; 11] = [
        ("rest", none, Checked::Ok, "3 of 3 brokers"),
        ("brokers", none, Checked::Ok, "3 of 3 brokers"),
        (
            "rest",
            unreachable,
            Checked::NotVerifiable,
            "2 of 3 brokers",
        ),
        (
            "brokers-best-effort",
            unreachable,
            Checked::Warning,
            "127.0.0.1:1",
        ),
        ("brokers", unreachable, Checked::Failed, "127.0.0.1:1"),
        ("rest", rejecting, Checked::NotVerifiable, "with error 58"),
        ("rest", closing, Checked::NotVerifiable, "inconclusive"),
        (
            "brokers-best-effort",
            rejecting,
            Checked::Failed,
            "with error 58",
        ),
        ("brokers", rejecting, Checked::Failed, "with error 58"),
        (
            "brokers-best-effort",
            closing,
            Checked::Failed,
            "inconclusive",
        ),
        ("brokers", closing, Checked::Failed, "inconclusive"),
    ];
    for (verification, arrange, outcome, expected) in cases {
        let world = world_with_brokers(verification).await;
        arrange(&world);

        let report = world.preflight().await;

        let mut checks = report.checks.iter();
        let finding = &checks
            .find(|check| check.name == "brokers")
            .unwrap()
            .finding;
        assert_eq!(finding.outcome, outcome, "{verification}: {finding:?}");
        let verdict = if outcome == Checked::NotVerifiable {
            Checked::Ok
        } else {
            outcome
        };
        assert_eq!(report.verdict, verdict, "{verification}: {report:?}");
        assert!(
            finding.observed.contains(expected),
            "{verification}: {finding:?}"
        );
        let requires_remedy = outcome >= Checked::Warning;
        assert_eq!(finding.remedy.is_some(), requires_remedy, "{finding:?}");
    }
}

#[tokio::test]
async fn a_preflight_reports_the_brokers_even_if_the_rest_endpoint_is_unreachable() {
    for (verification, verdict) in [("rest", Checked::Failed), ("brokers", Checked::Ok)] {
        let world = world_with_brokers(verification).await;
        world.make_rest_unreachable();

        let report = world.preflight().await;

        let mut checks = report.checks.iter();
        let brokers = checks.find(|check| check.name == "brokers");
        assert_eq!(
            brokers.unwrap().finding.outcome,
            Checked::Ok,
            "{verification}"
        );
        assert_eq!(report.verdict, verdict, "{verification}: {report:#?}");
    }
}

/// The scheduled deletion verifies the current key first.
#[tokio::test]
async fn retire_verifies_the_current_key_at_the_bootstrap_endpoint_if_rest_is_unreachable() {
    let mut world = World::new(Setting {
        policy: OldKeyPolicy::DeleteAfter,
        ..Setting::default()
    })
    .await;
    world.simulator.add_brokers(CLUSTER, 3);
    world.set_variable("KAFKA_VERIFICATION", "brokers");
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.make_rest_unreachable();
    world.simulator.pass(Duration::from_hours(25));

    world.retire().await.unwrap();

    world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"retire");
}

#[tokio::test]
async fn a_cluster_without_a_bootstrap_endpoint_is_not_verified() {
    let world = world_with_brokers("brokers").await;
    let is_cluster = |request: &Request| request.name().contains("/cmk/v2/clusters/");
    let url = world.simulator.state().resources[CLUSTER].url.clone();
    let cluster = json!({"id": CLUSTER, "spec": {"http_endpoint": url}});
    world
        .simulator
        .respond_with(usize::MAX, is_cluster, Response::json(200, &cluster));

    let error = world.verification_error("no bootstrap endpoint").await;

    assert_eq!(error.error_type, "PendingKeyNotAccepted", "{error:?}");
    assert!(
        error.error_message.contains("no valid bootstrap endpoint"),
        "{error:?}"
    );
}

/// The certificate must be that of the broker, and its authority must be trusted.
#[tokio::test]
async fn a_connection_to_a_broker_uses_tls_with_its_name_and_the_trusted_authorities() {
    const NAME: &str = "b0-pkc-1.us-west-2.aws.confluent.cloud";
    let world = world_with_brokers("brokers").await;
    let authority = CertificateAuthority::default();
    let address = format!("http://{}", world.address(0));
    let front = authority.serve(&[NAME], &address).await;
    let bundle = crate::http::network::Bundle::of(&authority);
    let (id, secret) = world.current_key(&world.arn);
    let key = clients::api_key((id, secret));
    let limit = Duration::from_secs(5);
    let connect = async |variables: &[(&str, &str)], name: &str| {
        let mut world = World::new(Setting::default()).await;
        let tls =
            confluent_key_rotation::http::build_tls(&crate::http::network::network(variables))
                .unwrap();
        world.function.broker_tls = Arc::new(tls);
        let stream = TcpStream::connect(&front.address).await.unwrap();
        world.confluent().tls(stream, name, limit).await
    };
    let trusted = [("SSL_CERT_FILE", bundle.path())];

    let stream = connect(&trusted, NAME).await.unwrap();
    let brokers = broker::authenticate(stream, &key, true, limit).await;

    assert_eq!(brokers.unwrap().len(), 3);
    for (variables, name) in [(&[][..], NAME), (&trusted[..], "b1.confluent.cloud")] {
        let error = connect(variables, name).await.unwrap_err();
        assert!(
            error.contains("invalid peer certificate"),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn the_number_of_brokers_is_bounded() {
    let world = world_with_brokers("brokers").await;
    let zero = [0; 4];
    let count = 150_u32.to_be_bytes();
    let mut metadata = [&[0, 0, 0, 3][..], &zero, &count].concat();
    for node in 0..150_u32 {
        // The node ID, the host, the port and no rack.
        metadata.extend(node.to_be_bytes());
        metadata.extend([0, 9]);
        metadata.extend(b"127.0.0.1");
        metadata.extend(node.to_be_bytes());
        metadata.extend([0xff, 0xff]);
    }
    metadata.extend([&[0xff, 0xff][..], &zero, &zero].concat());
    let length = u32::try_from(metadata.len()).unwrap().to_be_bytes();
    for index in 0..3 {
        let response = [&length[..], &metadata].concat();
        world.set_behavior(index, BrokerBehavior::RespondsWith("Metadata", response));
    }
    let (id, secret) = world.current_key(&world.arn);
    let key = clients::api_key((id, secret));
    let bootstrap = world.simulator.state().resources[CLUSTER].bootstrap.clone();
    let bootstrap = broker::Bootstrap::parse(&bootstrap.unwrap());

    let round = world
        .confluent()
        .authenticate_at_brokers(&key, &bootstrap, clients::Deadline::after(AMPLE))
        .await
        .unwrap();

    assert_eq!(round.outcomes.len(), broker::MAX_BROKERS);
    assert_eq!(round.omitted, 150 - broker::MAX_BROKERS);
}

/// `KEY_VERIFICATION=best-effort` does not weaken `brokers`: a key that could not be verified later is not created.
#[tokio::test]
async fn brokers_are_required_even_with_best_effort() {
    let mut world = World::new(Setting::default()).await;
    world.make_rest_unreachable();
    world.function = function(
        &world.simulator,
        &[
            ("OLD_KEY_POLICY", "delete"),
            ("KEY_VERIFICATION", "best-effort"),
            ("KAFKA_VERIFICATION", "brokers"),
        ],
    );
    let keys = world.all_keys();

    let error = world.step_error("createSecret", "no connection").await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert!(error.error_message.contains("9092"), "{error:?}");
    assert_eq!(world.all_keys(), keys);
    assert_eq!(world.preflight().await.verdict, Checked::Failed);
}

/// A REST endpoint that responds decides, even if it does not respond later.
#[tokio::test]
async fn brokers_do_not_replace_a_rest_endpoint_that_rejected_the_current_key() {
    let undisturbed = world_with_brokers("brokers").await;
    undisturbed.run_steps(&["createSecret"]).await;
    let is_rest = |request: &Request| request.service == Service::KafkaRest;
    let requests = undisturbed.simulator.state().requests.clone();
    let first = requests.iter().position(is_rest).unwrap();
    let world = world_with_brokers("brokers").await;
    world
        .simulator
        .respond_with(1, is_rest, Response::empty(401));
    for nth in 1..3 {
        world.simulator.fail(first + nth, Fault::ResetBefore);
    }

    let error = world.step_error("createSecret", "rejected by REST").await;

    assert_eq!(error.error_type, "EndpointUnreachable", "{error:?}");
    assert_eq!(world.count(is_to_broker), 0);
}
