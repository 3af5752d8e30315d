//! Keyless mode: the function's role and an identity pool authenticate, and no admin key is stored.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use confluent_key_rotation::preflight::Outcome as Checked;
use simulator::{
    Authentication, ExpiresIn, Fault, Quota, QuotaResponse, Request, Response, Service,
};

use super::*;
use key_types::KEY_TYPES;

const TOKEN: &str = "GetWebIdentityToken";
const EXCHANGE: &str = "POST /sts/v1/oauth2/token";

async fn keyless(key_type: KeyType, policy: OldKeyPolicy) -> World {
    World::new(Setting {
        key_type,
        mode: Mode::Keyless,
        policy,
        further: &[],
    })
    .await
}

async fn keyless_kafka() -> World {
    keyless(KeyType::Kafka, OldKeyPolicy::Delete).await
}

impl World {
    /// Returns how requests authenticated that match.
    fn authentications(&self, matches: impl Fn(&Request) -> bool) -> Vec<Authentication> {
        let state = self.simulator.state();
        let requests = state.requests.iter().filter(|request| matches(request));
        requests
            .map(|request| request.authentication.clone())
            .collect()
    }

    fn count_name(&self, name: &str) -> usize {
        self.count(|request| request.name() == name)
    }

    /// Runs one invocation for each job that deletes keys. Each must succeed.
    async fn rotate_and_retire(&self) {
        assert_eq!(self.rotate().await, Outcome::Succeeded);
        self.simulator.pass(Duration::from_hours(25));
        self.retire().await.unwrap();
    }
}

/// Returns whether a request to the control plane is authenticated by an access token.
fn has_token(request: &Request) -> bool {
    request.authentication == Authentication::Bearer
}

#[tokio::test]
async fn every_key_type_is_rotated_without_an_admin_key() {
    for key_type in KEY_TYPES {
        for policy in [OldKeyPolicy::Delete, OldKeyPolicy::DeleteAfter] {
            let world = keyless(key_type, policy).await;
            world.simulator.state().controls.propagation_statuses = vec![401, 200, 401];

            let outcome = world.rotate().await;

            let case = format!("{key_type:?}, {policy:?}");
            assert_eq!(outcome, Outcome::Succeeded, "{case}");
            let current = world.key("AWSCURRENT").unwrap();
            let mut expected = vec![current];
            if policy == OldKeyPolicy::DeleteAfter {
                expected.push(world.initial_key.clone());
            }
            world.assert_keys(&expected, &case);
            let is_management = |request: &Request| request.target.starts_with(API_KEYS);
            let used = world.authentications(is_management);
            assert!(
                used.iter().all(|used| *used == Authentication::Bearer),
                "{case}: {used:?}"
            );
            // The simulator reports a violation if a data plane receives an access token.
            let probes = world.authentications(is_probe);
            let is_key = |used: &Authentication| matches!(used, Authentication::Basic(_));
            assert!(probes.iter().all(is_key), "{case}: {probes:?}");
        }
    }
}

#[tokio::test]
async fn an_invocation_obtains_at_most_one_access_token() {
    let world = keyless_kafka().await;
    for step in STEPS {
        world.requests();
        world.forget_endpoint();

        world.run_steps(&[step]).await;

        let expected = usize::from(step != "setSecret");
        assert_eq!(world.count_name(TOKEN), expected, "{step}");
        assert_eq!(world.count_name(EXCHANGE), expected, "{step}");
    }
}

#[tokio::test]
async fn many_secrets_of_one_invocation_share_an_access_token() {
    let world = keyless_kafka().await;
    let value = world.value("AWSCURRENT").to_string();
    let others = ["a", "b", "c"].map(|name| world.simulator.add_secret(name, &value));
    let event = json!({"Step": "preflight", "SecretIds": others});

    world.handle(event, AMPLE).await.unwrap();

    assert_eq!(world.count_name(EXCHANGE), 1);
}

/// A short-lived token is replaced before it expires, and one with an implausible lifetime after its rejection.
#[tokio::test]
async fn a_rotation_succeeds_whatever_lifetime_the_response_states() {
    for (expires_in, lifetime) in [
        (ExpiresIn::Absent, None),
        (ExpiresIn::Value(json!(1)), None),
        (ExpiresIn::Value(json!("1")), Some(1)),
        (ExpiresIn::Value(json!(0)), Some(1)),
        (ExpiresIn::Value(json!(-1)), Some(1)),
        (ExpiresIn::Value(json!(86_400)), Some(1)),
        (ExpiresIn::Value(json!("soon")), Some(1)),
        (ExpiresIn::Value(json!([900])), Some(1)),
        (ExpiresIn::Value(Value::Null), Some(1)),
    ] {
        let world = keyless_kafka().await;
        {
            let controls = &mut world.simulator.state().controls;
            controls.expires_in = expires_in.clone();
            controls.access_token_lifetime = lifetime.map(Duration::from_secs);
            // The token expires while the step waits.
            controls.propagation_delay = Duration::from_millis(1_500);
        }

        let outcome = world.rotate().await;

        assert_eq!(outcome, Outcome::Succeeded, "{expires_in:?}, {lifetime:?}");
        world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &expires_in);
    }
}

#[tokio::test]
async fn a_token_that_states_a_short_lifetime_is_never_rejected() {
    let world = keyless_kafka().await;
    {
        let controls = &mut world.simulator.state().controls;
        controls.expires_in = ExpiresIn::Value(json!(2));
        controls.propagation_delay = Duration::from_millis(2_500);
    }

    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let state = world.simulator.state();
    let mut with_token = state.requests.iter().filter(|request| has_token(request));
    assert!(with_token.all(|request| request.status != Some(401)));
}

/// Before each request with an access token, all tokens expire.
#[tokio::test]
async fn a_token_that_expires_before_any_request_is_replaced() {
    for policy in [OldKeyPolicy::Delete, OldKeyPolicy::DeleteAfter] {
        let undisturbed = keyless(KeyType::Kafka, policy).await;
        undisturbed.rotate_and_retire().await;
        let requests = undisturbed.count(has_token);
        assert!(requests >= 5, "{requests}");
        for nth in 0..requests {
            let world = keyless(KeyType::Kafka, policy).await;
            let (seen, case) = (AtomicUsize::new(0), format!("{policy:?}, request {nth}"));
            let hold = world.simulator.hold_requests(move |request| {
                has_token(request) && seen.fetch_add(1, Relaxed) == nth
            });
            let expire = async {
                hold.arrived(1).await;
                world.simulator.pass(Duration::from_mins(16));
                hold.release();
            };

            tokio::join!(world.rotate_and_retire(), expire);

            let current = world.key("AWSCURRENT").unwrap();
            assert_ne!(current, world.initial_key, "{case}");
            world.assert_keys(&[current], &case);
            let rejected = |request: &Request| has_token(request) && request.status == Some(401);
            assert_eq!(world.count(rejected), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn a_token_that_expires_while_a_full_quota_is_freed_is_replaced() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::DeleteAfter).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.requests();
    let keys = world.simulator.state().keys_of(OWNER).len();
    world.simulator.state().controls.quota = Some(Quota {
        per_owner: keys,
        response: QuotaResponse::PaymentRequired,
    });
    let expire = async || world.simulator.pass(Duration::from_mins(16));

    let outcome = world
        .step_while("createSecret", deletes_a_key, expire)
        .await;

    outcome.unwrap();
    assert!(world.key("AWSPENDING").is_some());
    let is_deleted = !world.keys().contains(&world.initial_key);
    assert!(is_deleted, "the previous key");
}

/// Only the first rejection shows that the token has expired.
#[tokio::test]
async fn a_second_rejection_is_an_error_and_nothing_is_created_or_deleted() {
    for step in ["createSecret", "finishSecret"] {
        let world = keyless_kafka().await;
        let before = STEPS.iter().take_while(|known| **known != step);
        world.run_steps(&before.copied().collect::<Vec<_>>()).await;
        let keys = world.all_keys();
        world.requests();
        world.forget_endpoint();
        let unauthorized = Response::confluent_error(401, None, "Unauthorized", "no");
        world
            .simulator
            .respond_with(usize::MAX, has_token, unauthorized);

        let error = world.step_error(step, "every token is rejected").await;

        assert_eq!(error.error_type, "ConfluentUnauthenticated", "{error:?}");
        assert_eq!(world.count(has_token), 2, "{step}");
        assert_eq!(world.count_name(EXCHANGE), 2, "{step}");
        assert_eq!(world.all_keys(), keys, "{step}");
    }
}

#[tokio::test]
async fn a_missing_role_causes_no_second_token_exchange() {
    let world = keyless_kafka().await;
    world
        .simulator
        .add_owner(&world.identity_pool(), &[Role::Operator]);

    world.step_error("createSecret", "no role").await;

    assert_eq!(world.count_name(EXCHANGE), 1);
}

/// A request that creates a key is repeated only after a 401, after which no key exists.
#[tokio::test]
async fn a_creation_with_an_expired_token_creates_one_key() {
    let world = keyless_kafka().await;
    let keys = world.all_keys().len();
    let expire = async || world.simulator.pass(Duration::from_mins(16));

    world
        .step_while("createSecret", creates_a_key, expire)
        .await
        .unwrap();

    assert_eq!(world.all_keys().len(), keys + 1);
    assert_eq!(world.count(creates_a_key), 2);
}

#[tokio::test]
async fn concurrent_requests_obtain_one_token() {
    let world = keyless_kafka().await;
    let value = world.value("AWSCURRENT").to_string();
    let arns: Vec<String> = (0..5)
        .map(|n| world.simulator.add_secret(&format!("secret-{n}"), &value))
        .collect();
    let hold = world
        .simulator
        .hold_responses(|request| request.name() == EXCHANGE);
    let event = json!({"Step": "preflight", "SecretIds": arns});
    let release = async {
        hold.arrived(1).await;
        hold.release();
    };

    let (report, ()) = tokio::join!(world.handle(event, AMPLE), release);

    report.unwrap();
    assert_eq!(world.count_name(TOKEN), 1);
}

#[tokio::test]
async fn an_initial_key_is_created_without_an_admin_key() {
    let mut world = keyless_kafka().await;
    world.set_current_key_guarantee(simulator::CurrentKeyGuarantee::Off);
    world.simulator.delete_key_manually(&world.initial_key);
    world.change_value(|value| {
        value["apiKey"] = Value::Null;
        value["apiSecret"] = Value::Null;
    });
    let error = world.step_error("createSecret", "INITIAL_KEY=off").await;
    assert_eq!(error.error_type, "InitialKeyNotAllowed");
    world.set_variable("INITIAL_KEY", "allow");

    let outcome = world.rotate().await;

    assert_eq!(outcome, Outcome::Succeeded);
    world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"initial key");
}

/// A principal that can write a secret must not choose the management credentials.
#[tokio::test]
async fn an_admin_secret_is_an_error_whichever_place_names_it() {
    let other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin-AbCdEf";
    for place in ["metadata", "adminSecretArn", "masterarn"] {
        for is_own in [false, true] {
            for step in ["createSecret", "finishSecret"] {
                let world = keyless_kafka().await;
                let before = STEPS.iter().take_while(|known| **known != step);
                world.run_steps(&before.copied().collect::<Vec<_>>()).await;
                let arn = if is_own {
                    world.arn.clone()
                } else {
                    other.to_owned()
                };
                if place == "metadata" {
                    world
                        .simulator
                        .state()
                        .secret_mut(&world.arn)
                        .admin_secret_arn = Some(arn);
                } else if step == "createSecret" {
                    world.change_value(|value| value[place] = json!(arn));
                } else {
                    world.overwrite_pending(|value| value[place] = json!(arn));
                }
                let keys = world.all_keys();
                world.requests();

                let outcome = world.step(step).await;

                let case = format!("{place}, {is_own}, {step}: {outcome:?}");
                assert_eq!(world.all_keys(), keys, "{case}");
                assert_eq!(world.count_name(EXCHANGE), 0, "{case}");
                let error = outcome.expect_err(&case);
                // The pending value differs from the current one, which is found first.
                let expected = match (place, step) {
                    ("metadata", _) | (_, "createSecret") => "AdminSecretConflict",
                    _ => "PendingOutdated",
                };
                assert_eq!(error.error_type, expected, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_exchange_is_retried_after_every_fault() {
    for fault in clients::survivable() {
        for name in [TOKEN, EXCHANGE] {
            let world = keyless_kafka().await;
            let undisturbed = keyless_kafka().await;
            undisturbed.run_steps(&["createSecret"]).await;
            let nth = undisturbed
                .requests()
                .iter()
                .position(|request| request == name);
            world.simulator.fail(nth.unwrap(), fault);

            let outcome = world.step("createSecret").await;

            outcome.unwrap_or_else(|error| panic!("{fault:?} at {name}: {error:?}"));
            assert_eq!(world.count_name(name), 2, "{fault:?} at {name}");
        }
    }
}

#[tokio::test]
async fn a_request_timeout_of_the_exchange_is_retried() {
    let world = keyless_kafka().await;
    let is_exchange = |request: &Request| request.name() == EXCHANGE;
    world
        .simulator
        .respond_with(1, is_exchange, Response::empty(408));

    world.run_steps(&["createSecret"]).await;

    assert_eq!(world.count_name(EXCHANGE), 2);
}

#[tokio::test]
async fn a_rejected_exchange_is_not_retried() {
    for status in [
        301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 409, 415, 422,
    ] {
        let world = keyless_kafka().await;
        let elsewhere = world.simulator.unreachable_url();
        let response = Response::confluent_error(status, None, "no", "no");
        let response = response.with_header("location", &elsewhere);
        world
            .simulator
            .respond_with(usize::MAX, |request| request.name() == EXCHANGE, response);

        let error = world.step_error("createSecret", "rejected").await;

        assert_eq!(
            error.error_type, "TokenExchangeRejected",
            "{status}: {error:?}"
        );
        assert_eq!(world.count_name(EXCHANGE), 1, "{status}");
    }
}

#[tokio::test]
async fn a_response_without_a_valid_token_is_invalid() {
    let token = |body: Value| Response::json(200, &body);
    for response in [
        token(json!({})),
        token(json!([])),
        token(json!({"access_token": "t", "expires_in": 900})),
        token(json!({"access_token": "", "token_type": "Bearer"})),
        token(json!({"access_token": "a b", "token_type": "Bearer"})),
        token(json!({"access_token": "a\nb", "token_type": "Bearer"})),
        token(json!({"access_token": "ä", "token_type": "Bearer"})),
        token(json!({"access_token": null, "token_type": "Bearer"})),
        token(json!({"access_token": {"t": "t"}, "token_type": "Bearer"})),
        token(json!({"access_token": "t", "token_type": "DPoP"})),
        token(json!({"access_token": "t", "token_type": null})),
        Response::empty(200),
        Response::empty(204),
        Response::new(200, "text/html", "<html>Sign in</html>"),
        Response::new(
            200,
            "application/json",
            r#"{"access_token": "t", "token_ty"#,
        ),
        Response::new(200, "application/json", "x".repeat(2 << 20)),
    ] {
        let world = keyless_kafka().await;
        let case = format!("{response:?}");
        world
            .simulator
            .respond_with(usize::MAX, |request| request.name() == EXCHANGE, response);

        let error = world.step_error("createSecret", &case).await;

        assert_eq!(
            error.error_type, "TokenResponseInvalid",
            "{case}: {error:?}"
        );
        assert_eq!(world.count(has_token), 0, "{case}");
    }
}

#[tokio::test]
async fn any_case_of_bearer_is_a_bearer_token() {
    for token_type in ["bearer", "BEARER"] {
        let world = keyless_kafka().await;
        let body = json!({"access_token": "unknown", "token_type": token_type});
        world.simulator.respond_with(
            1,
            |request| request.name() == EXCHANGE,
            Response::json(200, &body),
        );

        // The control plane rejects the token, so another one is obtained.
        world.run_steps(&["createSecret"]).await;

        assert_eq!(world.count_name(EXCHANGE), 2, "{token_type}");
    }
}

/// The exchange cannot use up the invocation: the error is reported before the deadline.
#[tokio::test]
async fn the_deadline_limits_the_exchange() {
    for (name, expected) in [
        (TOKEN, "TokenNotIssued"),
        (EXCHANGE, "ConfluentUnavailable"),
    ] {
        let world = keyless_kafka().await;
        let _hold = world
            .simulator
            .hold_requests(move |request| request.name() == name);

        let event = world
            .simulator
            .event(&world.arn, &world.token(), "createSecret");
        let outcome = world.invoke_within(event, Duration::from_secs(3)).await;

        assert_eq!(outcome.expect_err(name).error_type, expected, "{name}");
    }
}

/// While a function still has an admin key, both ways of authentication work.
#[tokio::test]
async fn a_secret_moves_from_an_admin_secret_to_keyless_mode_and_back() {
    let mut world = World::new(Setting::default()).await;
    let admin_secret = world.value("AWSCURRENT")["adminSecretArn"].clone();
    let owner_role = Role::ResourceOwnerOf(OWNER.to_owned());
    let pool = world
        .simulator
        .add_identity_pool(&[owner_role, Role::Operator]);
    world.simulator.state().controls.accept_api_keys = true;
    assert_eq!(world.rotate().await, Outcome::Succeeded);

    world.set_variable("IDENTITY_POOL_ID", &pool);
    let error = world
        .step_error("createSecret", "an admin secret is named")
        .await;
    assert_eq!(error.error_type, "AdminSecretConflict");
    world.change_value(|value| {
        value.as_object_mut().unwrap().remove("adminSecretArn");
    });
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    assert_eq!(world.preflight().await.verdict, Checked::Ok);

    world.set_variable("IDENTITY_POOL_ID", "");
    world.change_value(|value| value["adminSecretArn"] = admin_secret);
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &"moved back");
}

/// The fault is at the web identity token or at the exchange of each step.
#[tokio::test]
async fn a_rotation_interrupted_at_a_token_request_leaves_no_orphaned_key() {
    for name in [TOKEN, EXCHANGE] {
        for fault in [Fault::InterruptBefore, Fault::InterruptAfter] {
            // testSecret uses the cached endpoint, and so no token.
            for nth in 0..2 {
                let world = keyless_kafka().await;
                let undisturbed = keyless_kafka().await;
                assert_eq!(undisturbed.rotate().await, Outcome::Succeeded);
                let requests = undisturbed.requests();
                let mut indexes = (0..requests.len()).filter(|index| requests[*index] == name);
                world.simulator.fail(indexes.nth(nth).unwrap(), fault);
                assert!(matches!(world.rotate().await, Outcome::Interrupted { .. }));

                let outcome = world.rotate().await;

                assert_eq!(outcome, Outcome::Succeeded, "{name}, {fault:?}, {nth}");
                world.assert_keys(&[world.key("AWSCURRENT").unwrap()], &name);
            }
        }
    }
}

#[tokio::test]
async fn aws_sts_receives_only_the_function_s_own_credentials() {
    let world = keyless_kafka().await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);

    let to_sts = world.authentications(|request| request.service == Service::Sts);
    assert!(!to_sts.is_empty());
    assert!(to_sts.iter().all(|used| *used == Authentication::SigV4));
    let exchanges = world.authentications(|request| request.name() == EXCHANGE);
    assert!(exchanges.iter().all(|used| *used == Authentication::None));
}

/// The credentials are not part of the pending version.
#[tokio::test]
async fn a_rotation_that_began_with_an_admin_key_continues_with_the_pool() {
    let mut world = World::new(Setting::default()).await;
    let admin_secret = world.value("AWSCURRENT")["adminSecretArn"].clone();
    world.change_value(|value| {
        value.as_object_mut().unwrap().remove("adminSecretArn");
    });
    world.set_variable("ADMIN_SECRET_ARN", admin_secret.as_str().unwrap());
    world.run_steps(&["createSecret"]).await;
    let pending = world.key("AWSPENDING").unwrap();
    let owner_role = Role::ResourceOwnerOf(OWNER.to_owned());
    let pool = world
        .simulator
        .add_identity_pool(&[owner_role, Role::Operator]);
    world.set_variable("IDENTITY_POOL_ID", &pool);

    world.run_steps(&["testSecret", "finishSecret"]).await;

    assert_eq!(world.key("AWSCURRENT").unwrap(), pending);
    world.assert_keys(&[pending], &"the previous key is deleted");
}
