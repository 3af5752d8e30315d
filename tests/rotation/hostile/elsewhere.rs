//! Endpoints and redirects that would lead a credential to another host.

use super::*;

/// Where an endpoint may not lead, and the host that the error names.
const ELSEWHERE: [(&str, &str); 24] = [
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

/// Asserts that a rotation got as far as the endpoint, which the error names, and no further.
async fn assert_goes_nowhere(world: &World, host: &str, case: &str) {
    let keys = world.keys();

    let outcome = world.attempt(case).await;

    let Outcome::Failed { step, error } = outcome else {
        panic!("{case}: {outcome:?}");
    };
    assert_eq!(step, "createSecret", "{case}");
    assert!(error.contains("EndpointNotAllowed"), "{case}: {error}");
    assert!(
        error.contains(&format!("{host} is not a host")),
        "{case}: {error}"
    );
    let state = world.simulator.state();
    for request in &state.requests {
        let is_known = matches!(request.plane, Plane::ControlPlane | Plane::SecretsManager);
        assert!(
            is_known && !makes_a_key(request),
            "{case}: {}",
            request.label()
        );
    }
    drop(state);
    world.assert_keys(&keys, &case);
}

/// No credential leaves for an endpoint that discovery names on a host that is not Confluent's.
#[tokio::test]
async fn a_look_up_that_leads_elsewhere_gets_no_credential_and_no_key_is_made() {
    for kind in [Kind::Kafka, Kind::SchemaRegistry, Kind::KsqlDb, Kind::Flink] {
        for (url, host) in ELSEWHERE {
            let setting = Setting {
                kind,
                ..Setting::default()
            };
            let world = world(setting).await;
            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised = Some(url.to_owned());
            }
            let case = format!("{kind:?} at {url}");

            assert_goes_nowhere(&world, host, &case).await;

            for resource in world.simulator.state().resources.values_mut() {
                resource.advertised = None;
            }
            world.recover(setting, &case).await;
        }
    }
}

/// No credential leaves for an endpoint that the writer of a secret names on a host that is not Confluent's.
#[tokio::test]
async fn an_endpoint_in_the_secret_that_leads_elsewhere_gets_no_credential_and_no_key_is_made() {
    for (url, host) in ELSEWHERE {
        let setting = Setting::default();
        let world = world(setting).await;
        world.edit(|value| value["endpoint"] = json!(url));

        assert_goes_nowhere(&world, host, url).await;

        world.edit(|value| value["endpoint"] = Value::Null);
        world.recover(setting, url).await;
    }
}

/// A redirect would carry the credential along: no request of a rotation follows one.
#[test]
fn a_redirect_of_any_request_leads_nowhere() {
    let setting = Setting::default();
    let requests = block_on(calm_rotation(setting));
    let redirects = [301, 302, 303, 307, 308].into_iter();
    let cases: Vec<_> = redirects
        .flat_map(|status| {
            requests
                .iter()
                .enumerate()
                .map(move |(nth, request)| (status, nth, request))
        })
        .collect();

    side_by_side(&cases, async |(status, nth, request)| {
        let case = format!("{status} to {request} ({nth})");
        let elsewhere = Simulator::start().await;
        let mut world = world(setting).await;
        world.time_limit = STEP;
        let location = format!("{}/iam/v2/api-keys", elsewhere.confluent_url());
        let redirect = Answer::empty(*status).with_header("location", location);
        world.answer_nth(*nth, redirect);

        world.attempt(&case).await;

        assert_eq!(elsewhere.state().labels(), [""; 0], "{case}");
        world.time_limit = AMPLE;
        world.recover(setting, &case).await;
    });
    println!("{} redirects led nowhere", cases.len());
}

/// What Confluent tells of a key becomes part of a path at the endpoint. An environment or an organization that would
/// lead that path elsewhere is refused before anything is sent there.
#[tokio::test]
async fn an_environment_or_organization_that_is_no_part_of_a_path_is_not_put_into_one() {
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
        let kind = Kind::Flink;
        let setting = Setting {
            kind,
            ..Setting::default()
        };
        let world = world(setting).await;
        world.edit(|value| value["environmentId"] = Value::Null);
        let listed = json!({
            "id": world.first_key,
            "metadata": {"resource_name": format!("crn://confluent.cloud/organization={organization}/x=y")},
            "spec": {
                "owner": {"id": OWNER},
                "resource": {"id": resource_id(kind), "environment": environment},
            },
        });
        let list = Answer::json(200, &json!({"data": [listed], "metadata": {}}));
        world.simulator.answer(1, lists_keys, list);
        let (keys, case) = (world.keys(), format!("{environment} {organization}"));

        let outcome = world.attempt(&case).await;

        let shown = format!("{outcome:?}");
        assert!(
            shown.contains(&format!("names {what} that cannot be one")),
            "{case}: {shown}"
        );
        let requests = world.simulator.state().requests.clone();
        let is_tried = requests.iter().any(|request| request.plane == Plane::Flink);
        assert!(!is_tried, "{case}");
        world.assert_keys(&keys, &case);
        world.recover(setting, &case).await;
    }
}
