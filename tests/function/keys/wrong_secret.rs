//! Probes with a wrong secret: a 403 verifies a key only if a wrong secret for the same ID gets a 401.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use simulator::Permission;

use super::*;

impl World {
    /// Denies every key of the resource access to it.
    fn deny_access(&self, key_type: KeyType) {
        let resource = resource_id(key_type).unwrap();
        let denied = |id: String| (id, Permission::Denied);
        self.simulator.state().controls.permissions =
            [resource.to_owned(), resource.to_lowercase()]
                .map(denied)
                .into();
    }

    /// Deletes the current key, and lets the next rotation replace it.
    fn delete_current_key(&mut self) {
        self.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        self.simulator.delete_key_manually(&self.initial_key);
        self.set_variable("CURRENT_KEY_CHECK", "off");
    }

    /// Sets `endpoint` in the secret to the Kafka cluster's.
    fn name_endpoint(&self) {
        let endpoint = {
            let state = self.simulator.state();
            state.resources["lkc-orders"].url.clone()
        };
        self.change_value(|value| value["endpoint"] = json!(endpoint));
    }

    fn wrong_secrets(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.simulator.state().wrong_secrets)
    }
}

const DENIED: [KeyType; 6] = [
    KeyType::Kafka,
    KeyType::SchemaRegistry,
    KeyType::KsqlDb,
    KeyType::Flink,
    KeyType::Global,
    KeyType::Tableflow,
];

/// Each wrong secret is a failed login in Confluent's audit log.
#[tokio::test]
async fn a_403_verifies_a_key_if_one_wrong_secret_gets_a_401() {
    for key_type in DENIED {
        let world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.deny_access(key_type);
        let mut secrets = std::collections::BTreeSet::new();

        for (step, label) in [("createSecret", "AWSCURRENT"), ("testSecret", "AWSPENDING")] {
            world.run_steps(&[step]).await;

            let sent = world.wrong_secrets();
            assert_eq!(sent.len(), 1, "{key_type:?}, {step}: {sent:?}");
            assert_eq!(Some(&sent[0].0), world.key(label).as_ref(), "{step}");
            assert!(sent[0].1.len() >= 32, "{sent:?}");
            assert!(secrets.insert(sent[0].1.clone()), "a secret is sent twice");
        }
        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}");
    }
}

#[tokio::test]
async fn no_wrong_secret_is_sent_if_the_resource_accepts_the_key() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = vec![401, 503, 200, 429];

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    assert_eq!(world.wrong_secrets(), []);
}

#[tokio::test]
async fn a_denied_key_is_verified_while_its_nodes_flap() {
    let world = World::new(Setting::default()).await;
    world.simulator.state().controls.propagation_statuses = vec![401, 200, 403, 401, 403, 200];
    world.run_steps(&["createSecret", "setSecret"]).await;

    world.run_steps(&["testSecret"]).await;

    assert_eq!(world.wrong_secrets().len(), 1);
    let pending = world.key("AWSPENDING").unwrap();
    assert!(world.simulator.state().keys[&pending].is_accepted());
}

/// The deleted key cannot be compared with the pending one.
#[tokio::test]
async fn an_owner_whose_keys_only_get_a_403_recovers_from_a_deleted_current_key() {
    for key_type in DENIED {
        let mut world = World::new(Setting {
            key_type,
            ..Setting::default()
        })
        .await;
        world.deny_access(key_type);
        world.delete_current_key();

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{key_type:?}");
    }
}

/// Responses that a firewall, a proxy or an IP filter may send to every caller.
fn responses_to_every_caller() -> [Response; 6] {
    let page = "<html><body>Access to this page is blocked</body></html>";
    let body = json!({"error_code": 40301, "message": "Request is not authorized"});
    [
        Response::json(403, &body),
        Response::empty(403),
        Response::new(403, "text/html", page),
        Response::new(200, "text/html", page),
        Response::new(404, "text/html", page),
        Response::new(503, "text/html", page),
    ]
}

type Prepare = fn(&mut World);

#[tokio::test]
async fn a_response_that_every_caller_gets_verifies_nothing_and_names_what_may_send_it() {
    let required: Prepare = |_| {};
    let unchecked: Prepare = |world| world.set_variable("CURRENT_KEY_CHECK", "off");
    let best_effort: Prepare = |world| world.set_variable("KEY_VERIFICATION", "best-effort");
    for (case, step, mode, prepare) in [
        ("createSecret", "createSecret", Mode::Admin, required),
        ("best effort", "createSecret", Mode::Admin, best_effort),
        ("testSecret", "testSecret", Mode::Admin, required),
        ("no check", "testSecret", Mode::Admin, unchecked),
        ("an initial key", "testSecret", Mode::InitialKey, required),
        (
            "a deleted key",
            "testSecret",
            Mode::Admin,
            World::delete_current_key,
        ),
    ] {
        for response in responses_to_every_caller() {
            let case = format!("{case}: {response:?}");
            let mut world = World::new(Setting {
                mode,
                ..Setting::default()
            })
            .await;
            prepare(&mut world);
            if step == "testSecret" {
                world.run_steps(&["createSecret", "setSecret"]).await;
            }
            let is_denied = response.status == 403;
            world.simulator.respond_with(usize::MAX, is_probe, response);
            world.function.http_limits.request = AMPLE;
            world.time_limit = SHORT_TIME_LIMIT;
            let keys = world.all_keys();

            let error = world.step_error(step, &case).await;

            let message = &error.error_message;
            for cause in ["firewall", "proxy", "Confluent's IP filters"] {
                assert!(message.contains(cause), "{case}: {cause}: {message}");
            }
            assert_eq!(
                error.error_type == "EndpointAcceptsAnyCredential",
                is_denied,
                "{case}: {message}"
            );
            assert_eq!(world.all_keys(), keys, "{case}");
        }
    }
}

/// A single failed request would otherwise end a verification that takes minutes.
#[tokio::test]
async fn a_wrong_secret_is_sent_again_if_its_probe_shows_nothing() {
    for status in [429, 500, 503] {
        let world = World::new(Setting::default()).await;
        world.deny_access(KeyType::Kafka);
        world.run_steps(&["createSecret", "setSecret"]).await;
        let probes = AtomicUsize::new(0);
        let is_second =
            move |request: &Request| is_probe(request) && probes.fetch_add(1, Relaxed) == 1;
        world
            .simulator
            .respond_with(1, is_second, Response::empty(status));

        let outcome = world.step("testSecret").await;

        assert!(outcome.is_ok(), "{status}: {outcome:?}");
    }
}

/// With `CURRENT_KEY_CHECK=off`, createSecret does not show that the endpoint rejects a wrong secret.
#[tokio::test]
async fn an_endpoint_in_the_secret_that_accepts_any_credential_does_not_verify_a_pending_key() {
    for (mode, check) in [
        (Mode::Admin, "required"),
        (Mode::Admin, "off"),
        (Mode::InitialKey, "required"),
    ] {
        let mut world = World::new(Setting {
            mode,
            ..Setting::default()
        })
        .await;
        world.set_variable("CURRENT_KEY_CHECK", check);
        world.name_endpoint();
        world.run_steps(&["createSecret", "setSecret"]).await;
        world
            .simulator
            .respond_with(usize::MAX, is_probe, Response::json(200, &json!({})));
        world.time_limit = SHORT_TIME_LIMIT;

        let error = world
            .step_error("testSecret", "it accepts any credential")
            .await;

        assert_eq!(
            error.error_type, "EndpointAcceptsAnyCredential",
            "{error:?}"
        );
    }
}

/// A user who names another application's key in a secret, and chooses the endpoint that is probed, must not obtain a key of
/// its owner.
#[tokio::test]
async fn an_endpoint_that_accepts_any_credential_does_not_verify_possession() {
    for status in [200, 403] {
        let world = World::new(Setting::default()).await;
        world.set_current_key_guarantee(CurrentKeyGuarantee::Off);
        world.name_endpoint();
        world.change_value(|value| value["apiSecret"] = json!("a-guess"));
        world
            .simulator
            .respond_with(20, is_probe, Response::json(status, &json!({})));
        let keys = world.all_keys();

        let error = world
            .step_error("createSecret", "the API secret is a guess")
            .await;

        assert_eq!(
            error.error_type, "EndpointAcceptsAnyCredential",
            "{status}: {}",
            error.error_message
        );
        assert_eq!(world.count(creates_a_key), 0, "{status}");
        assert_eq!(world.all_keys(), keys, "{status}");
    }
}

/// Only an endpoint that accepts a wrong secret or denies it with 403 accepts any credential.
#[tokio::test]
async fn a_failed_probe_with_a_wrong_secret_does_not_show_that_the_endpoint_accepts_any_credential()
{
    let world = World::new(Setting::default()).await;
    let current = world.initial_key.clone();
    let forbidden = Response::json(403, &json!({}));
    let probes = AtomicUsize::new(0);
    let is_first_of_two = move |request: &Request| {
        is_probe(request) && probes.fetch_add(1, Relaxed).is_multiple_of(2)
    };
    world.simulator.respond_with(20, is_first_of_two, forbidden);
    world
        .simulator
        .respond_with(20, is_probe, Response::empty(503));

    let error = world.step_error("createSecret", "a failing endpoint").await;

    assert_eq!(error.error_type, "CurrentKeyNotAccepted");
    assert!(error.error_message.contains("HTTP 503"), "{error:?}");
    assert_eq!(world.key("AWSCURRENT"), Some(current));
}
