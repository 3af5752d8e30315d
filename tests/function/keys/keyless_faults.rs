//! Keyless mode under faults: which error is reported, what counts as evidence, and what many secrets share.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use confluent_key_rotation::handler::Response as Report;
use confluent_key_rotation::http::{BearerToken, Destination, Request as HttpRequest};
use confluent_key_rotation::preflight::Outcome as Checked;
use reqwest::Method;
use simulator::{Authentication, ExpiresIn, Quota, QuotaResponse, Request, Response};

use super::*;

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

fn is_exchange(request: &Request) -> bool {
    request.name() == EXCHANGE
}

fn has_token(request: &Request) -> bool {
    request.authentication == Authentication::Bearer
}

impl World {
    fn named(&self, name: &str) -> usize {
        self.count(|request| request.name() == name)
    }

    fn other_secrets(&self, count: usize) -> Vec<String> {
        let value = self.value("AWSCURRENT").to_string();
        let name = |n| format!("other-{n}");
        let secrets = (0..count).map(|n| self.simulator.add_secret(&name(n), &value));
        secrets.collect()
    }

    async fn preflight_many(&self, arns: &[String], time_limit: Duration) -> Value {
        let event = json!({"Step": "preflight", "SecretIds": arns});
        match self.handle(event, time_limit).await.unwrap() {
            Some(Report::PreflightMany(summary)) => json!(summary),
            other => panic!("{other:?}"),
        }
    }
}

/// A control-plane API that takes no access token says nothing about the current key.
#[tokio::test]
async fn a_rejected_access_token_is_no_evidence_that_the_current_key_was_deleted() {
    let mut wrong = Vec::new();
    for (key_type, path) in [
        (KeyType::Kafka, "/cmk/"),
        (KeyType::Flink, "/fcpm/"),
        (KeyType::SchemaRegistry, "/srcm/"),
        (KeyType::KsqlDb, "/ksqldbcm/"),
    ] {
        let world = keyless(key_type, OldKeyPolicy::DeleteAfter).await;
        assert_eq!(world.rotate().await, Outcome::Succeeded);
        // A new process has not cached the endpoint.
        let world = world.fork().await;
        let unauthorized = Response::confluent_error(401, None, "Unauthorized", "no");
        let matches =
            move |request: &Request| has_token(request) && request.target.starts_with(path);
        world
            .simulator
            .respond_with(usize::MAX, matches, unauthorized);

        let error = world.step_error("createSecret", path).await;

        if error.error_message.contains("AWSPREVIOUS") {
            wrong.push(format!("{path}: {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Secrets that wait for another one's exchange report the exchange, not AWS STS, which was not even asked.
#[tokio::test]
async fn a_secret_that_waited_for_a_failing_exchange_does_not_blame_aws_sts() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    let arns = world.other_secrets(6);
    // AWS STS is healthy, but it takes longer than a millisecond.
    world.simulator.state().controls.latency = Duration::from_millis(20);
    let _hold = world.simulator.hold_requests(is_exchange);

    let summary = world.preflight_many(&arns, Duration::from_secs(6)).await;

    let lines = summary["secrets"].as_array().unwrap().iter();
    let checks: Vec<&Value> = lines.map(|line| &line["checks"][0]["name"]).collect();
    assert_eq!(checks, ["token-exchange"; 6], "{summary:#}");
}

/// The function has one pool, so a rejection of one secret is that of all.
#[tokio::test]
async fn a_rejected_exchange_is_not_repeated_for_each_secret() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    let arns = world.other_secrets(20);
    world.simulator.state().controls.pool_filter_mismatch = true;

    world.preflight_many(&arns, AMPLE).await;

    assert_eq!((world.named(TOKEN), world.named(EXCHANGE)), (1, 1));
}

/// The token that another request has obtained in the meantime may have expired, too.
#[tokio::test]
async fn a_rejected_token_is_not_replaced_by_one_that_has_expired() {
    let mut world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    world.function.http_limits.request = Duration::from_secs(20);
    world.simulator.state().controls.expires_in = ExpiresIn::Value(json!(1));
    let arns = world.other_secrets(2);
    let (lists, released) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let slow = world
        .simulator
        .hold_requests(move |request| lists_keys(request) && lists.fetch_add(1, Relaxed) == 0);
    let fast = world
        .simulator
        .hold_requests(move |request| lists_keys(request) && released.fetch_add(1, Relaxed) == 0);
    let release = async {
        slow.arrived(1).await;
        fast.arrived(1).await;
        clients::Deadline::after(AMPLE)
            .wait(Duration::from_millis(1_200))
            .await
            .unwrap();
        fast.release();
        clients::Deadline::after(AMPLE)
            .wait(Duration::from_millis(2_500))
            .await
            .unwrap();
        slow.release();
    };

    let (summary, ()) = tokio::join!(world.preflight_many(&arns, AMPLE), release);

    assert_eq!(summary["verdict"], json!("ok"), "{summary:#}");
}

/// A remedy fits the response.
#[tokio::test]
async fn a_rejection_that_is_not_about_the_pool_does_not_suggest_to_change_the_pool() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    let detail = "Your free trial has expired.";
    let response = Response::confluent_error(402, None, "Payment Required", detail);
    world
        .simulator
        .respond_with(usize::MAX, is_exchange, response);

    let error = world.step_error("createSecret", "402").await;

    assert!(
        !error.error_message.contains("Compare the identity"),
        "{error:?}"
    );
}

/// Load balancers send 408 with a page.
#[tokio::test]
async fn a_request_timeout_of_a_proxy_is_not_a_rejected_exchange() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    let page = "<html>408 Request Time-out</html>";
    world.simulator.respond_with(
        usize::MAX,
        is_exchange,
        Response::new(408, "text/html", page),
    );

    let error = world.step_error("createSecret", "408").await;

    assert_eq!(error.error_type, "ConfluentUnavailable", "{error:?}");
}

/// Only the URL of this client's own control plane may receive an access token.
#[tokio::test]
async fn an_access_token_is_not_sent_to_another_control_plane_url() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
    let data_plane = world.simulator.state().resources["lkc-orders"].url.clone();
    let elsewhere = AllowedHosts::new(data_plane.parse().unwrap(), Vec::new()).control_plane();
    let token = BearerToken::new("token".to_owned()).unwrap();
    let request = HttpRequest {
        method: Method::GET,
        destination: Destination::WithToken(elsewhere, &token),
        accept: "application/json",
        body: None,
    };

    // The client's own control plane is another one.
    let outcome = world
        .http()
        .send_once(&request, Deadline::after(AMPLE))
        .await;

    let sent = world.count(has_token);
    world.simulator.state().violations.clear();
    assert_eq!(sent, 0, "{outcome:?}");
}

/// After a deletion whose outcome is unknown, no other key is deleted to free quota.
#[tokio::test]
async fn a_failed_exchange_does_not_hide_that_a_key_may_have_been_deleted() {
    let world = keyless(KeyType::Kafka, OldKeyPolicy::DeleteAfter).await;
    assert_eq!(world.rotate().await, Outcome::Succeeded);
    let (orphan, _) = world
        .simulator
        .add_key(OWNER, Some("lkc-orders"), Some(ENVIRONMENT));
    let version = "00000000-0000-0000-0000-000000000000";
    world
        .simulator
        .tag_key(&orphan, &world.arn, version, "invocati", "");
    world.requests();
    let keys = world.simulator.state().keys_of(OWNER).len();
    world.simulator.state().controls.quota = Some(Quota {
        per_owner: keys,
        response: QuotaResponse::PaymentRequired,
    });
    let event = world
        .simulator
        .event(&world.arn, &world.token(), "createSecret");
    let first = AtomicUsize::new(0);
    let hold = world
        .simulator
        .hold_responses(move |request| deletes_a_key(request) && first.fetch_add(1, Relaxed) == 0);
    world
        .simulator
        .replace_response(1, deletes_a_key, Response::empty(500));
    let expire = async {
        hold.arrived(1).await;
        world.simulator.pass(Duration::from_mins(16));
        let no = Response::confluent_error(403, None, "no", "no");
        world.simulator.respond_with(1, is_exchange, no);
        hold.release();
    };

    let (outcome, ()) = tokio::join!(world.invoke(event), expire);

    let requests = world.requests();
    let violations = std::mem::take(&mut world.simulator.state().violations);
    assert!(!world.keys().contains(&orphan), "{requests:?}");
    assert!(
        violations.is_empty(),
        "a second key was chosen: {outcome:?}, {violations:?}, {requests:#?}"
    );
}

/// A response of AWS STS, or of a proxy, that asks to come back later is no failed check.
#[tokio::test]
async fn a_throttled_web_identity_token_is_unknown_whatever_its_code() {
    let mut wrong = Vec::new();
    for response in [
        Response::new(429, "text/html", "<html>Too Many Requests</html>"),
        Response::aws_sts_error(400, "RequestLimitExceeded", "Rate exceeded"),
        Response::aws_sts_error(429, "TooManyRequestsException", "Rate exceeded"),
        Response::aws_sts_error(
            400,
            "RequestTimeout",
            "Your socket connection was not used.",
        ),
        Response::aws_sts_error(400, "RequestThrottledException", "Rate exceeded"),
    ] {
        let world = keyless(KeyType::Kafka, OldKeyPolicy::Delete).await;
        let case = format!("{response:?}");
        world
            .simulator
            .respond_with(usize::MAX, |request| request.name() == TOKEN, response);

        let report = world.preflight().await;

        if report.verdict != Checked::Unknown {
            wrong.push((case, report.checks[0].finding.observed.clone()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
