//! Endpoints and redirects that would send credentials to another host.

use super::*;

/// Endpoints that are not allowed, and the hosts that the errors name.
const NOT_ALLOWED: [(&str, &str); 24] = [
    ("http://169.254.169.254", "169.254.169.254"),
    ("https://169.254.169.254", "169.254.169.254"),
    ("https://169.254.170.2:443", "169.254.170.2"),
    ("https://[fe80::1]", "[fe80::1]"),
    ("https://[fd00:ec2::254]", "[fd00:ec2::254]"),
    ("https://10.0.0.1", "10.0.0.1"),
    ("https://172.16.0.1", "172.16.0.1"),
    ("https://192.168.1.1", "192.168.1.1"),
    ("https://0x0a.1", "10.0.0.1"),
    ("http://[::ffff:127.0.0.1]:9", "[::ffff:7f00:1]:9"),
    ("http://0.0.0.0:9", "0.0.0.0:9"),
    ("http://localhost.:9", "localhost.:9"),
    ("http://pkc-1.confluent.cloud", "pkc-1.confluent.cloud"),
    ("ftp://pkc-1.confluent.cloud", "pkc-1.confluent.cloud"),
    (
        "https://pkc-1.confluent.cloud:9092",
        "pkc-1.confluent.cloud:9092",
    ),
    ("https://pkc-1.confluent.cloud.", "pkc-1.confluent.cloud."),
    (
        "https://user:CANARY@pkc-1.confluent.cloud",
        "pkc-1.confluent.cloud",
    ),
    ("https://pkc-1.confluent.cloud@evil.example", "evil.example"),
    (
        "https://confluent.cloud.evil.example",
        "confluent.cloud.evil.example",
    ),
    ("https://evilconfluent.cloud", "evilconfluent.cloud"),
    ("https://\u{441}onfluent.cloud", "xn--onfluent-ech.cloud"),
    ("https://xn--onfluent-ech.cloud", "xn--onfluent-ech.cloud"),
    (
        "confluent.cloud.evil.example:443",
        "confluent.cloud.evil.example",
    ),
    ("https://pkc-1\u{3002}evil.example", "pkc-1.evil.example"),
];

/// Asserts that a rotation fails at the endpoint with an error that names the host, and sends no credentials there.
async fn assert_rejects_endpoint(world: &World, host: &str, case: &str) {
    let keys = world.keys();

    let outcome = world.attempt(case).await;

    let Outcome::Failed { step, error } = outcome else {
        panic!("{case}: {outcome:?}");
    };
    assert_eq!(step, "createSecret", "{case}");
    assert!(error.contains("EndpointNotAllowed"), "{case}: {error}");
    assert!(
        error.contains(&format!("credentials are not sent to {host} because ")),
        "{case}: {error}"
    );
    let state = world.simulator.state();
    for request in &state.requests {
        let is_known = matches!(
            request.service,
            Service::ControlPlane | Service::SecretsManager | Service::Sts
        );
        assert!(
            is_known && !creates_a_key(request),
            "{case}: {}",
            request.name()
        );
    }
    drop(state);
    world.assert_keys(&keys, &case);
}

/// Credentials are not sent to an endpoint on another host, even if the control plane returns it.
#[tokio::test]
async fn a_returned_endpoint_on_another_host_gets_no_credentials_and_no_key_is_created() {
    for key_type in [
        KeyType::Kafka,
        KeyType::SchemaRegistry,
        KeyType::KsqlDb,
        KeyType::Flink,
    ] {
        for (url, host) in NOT_ALLOWED {
            let setting = Setting {
                key_type,
                ..Setting::default()
            };
            let world = world(setting).await;
            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised_url = Some(url.to_owned());
            }
            let case = format!("{key_type:?} at {url}");

            assert_rejects_endpoint(&world, host, &case).await;

            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised_url = None;
            }
            world.recover(setting, &case).await;
        }
    }
}

/// Credentials are not sent to an endpoint on another host, even if the secret value names it.
#[tokio::test]
async fn an_endpoint_in_the_secret_on_another_host_gets_no_credentials_and_no_key_is_created() {
    for (url, host) in NOT_ALLOWED {
        let setting = Setting::default();
        let world = world(setting).await;
        world.change_value(|value| value["endpoint"] = json!(url));

        assert_rejects_endpoint(&world, host, url).await;

        world.change_value(|value| value["endpoint"] = Value::Null);
        world.recover(setting, url).await;
    }
}

/// A redirect would send the credentials to another host. No request of a rotation follows one.
#[test]
fn no_request_follows_a_redirect() {
    let setting = Setting::default();
    let requests = block_on(undisturbed_rotation(setting));
    let redirects = [301, 302, 303, 307, 308].into_iter();
    let cases: Vec<_> = redirects
        .flat_map(|status| {
            requests
                .iter()
                .enumerate()
                .map(move |(nth, request)| (status, nth, request))
        })
        .collect();

    in_threads(&cases, |(status, nth, request)| {
        block_on(async {
            let case = format!("{status} to {request} ({nth})");
            let other_host = Simulator::start().await;
            let mut world = world(setting).await;
            world.time_limit = STEP;
            let location = format!("{}/iam/v2/api-keys", other_host.confluent_url());
            let redirect = Response::empty(*status).with_header("location", location);
            world.respond_to_nth(*nth, redirect);

            world.attempt(&case).await;

            assert_eq!(other_host.state().request_names(), [""; 0], "{case}");
            world.time_limit = AMPLE;
            world.recover(setting, &case).await;
        });
    });
    println!("{} redirects were not followed", cases.len());
}

/// Both IDs become segments of a path at the endpoint. An ID that would change the path is rejected before any request to the
/// endpoint.
#[tokio::test]
async fn an_invalid_environment_or_organization_id_is_not_used_in_a_path() {
    let long = "e".repeat(100);
    let malformed = [
        "..",
        ".",
        "env-1/../..",
        "env-1?x=1",
        "env-1#x",
        "env-1%2f..",
        "env 1",
        &long,
    ];
    let environments = malformed.iter().map(|id| (*id, "org-1", "an environment"));
    // A slash ends the organization in a resource's name.
    let organizations = malformed.iter().filter(|id| !id.contains('/'));
    let organizations = organizations.map(|id| ("env-1", *id, "an organization"));
    for (environment, organization, what) in environments.chain(organizations) {
        let key_type = KeyType::Flink;
        let setting = Setting {
            key_type,
            ..Setting::default()
        };
        let world = world(setting).await;
        world.change_value(|value| value["environmentId"] = Value::Null);
        let listed = json!({
            "id": world.initial_key,
            "metadata": {"resource_name": format!("crn://confluent.cloud/organization={organization}/x=y")},
            "spec": {
                "owner": {"id": OWNER},
                "resource": {"id": resource_id(key_type), "environment": environment},
            },
        });
        let list = Response::json(200, &json!({"data": [listed], "metadata": {}}));
        world.simulator.respond_with(1, lists_keys, list);
        let (keys, case) = (world.keys(), format!("{environment} {organization}"));

        let outcome = world.attempt(&case).await;

        let outcome = format!("{outcome:?}");
        assert!(
            outcome.contains(&format!("contains {what} with an invalid ID")),
            "{case}: {outcome}"
        );
        let requests = world.simulator.state().requests.clone();
        let is_probed = requests
            .iter()
            .any(|request| request.service == Service::Flink);
        assert!(!is_probed, "{case}");
        world.assert_keys(&keys, &case);
        world.recover(setting, &case).await;
    }
}
