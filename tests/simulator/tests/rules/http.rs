//! Faults, and responses that are replaced, held or slow.

use std::time::{Duration, Instant};

use serde_json::json;
use simulator::{CurrentKeyGuarantee, Fault, Outcome, Response};

use crate::{OWNER, World, confluent, secret_value};

#[tokio::test]
async fn a_request_with_a_fault_takes_effect_or_not_as_the_fault_specifies() {
    for fault in Fault::ALL {
        let world = World::new().await;
        world.simulator.fail(0, fault);
        let (url, body) = (
            world.simulator.confluent_url(),
            json!({ "spec": { "owner": { "id": OWNER } } }).to_string(),
        );
        let request = confluent(&url, "POST /iam/v2/api-keys", &world.admin, &body);

        let outcome = tokio::select! {
            () = world.simulator.interrupted() => "interrupted".to_owned(),
            response = tokio::time::timeout(Duration::from_millis(100), request) => match response {
                Ok(Ok((status, ..))) => status.to_string(),
                Ok(Err(error)) => error.kind().to_string(),
                Err(_) => "stalled".to_owned(),
            },
        };

        let expected = match fault {
            Fault::InterruptBefore | Fault::InterruptAfter => "interrupted",
            Fault::TooManyRequests | Fault::TooManyRequestsWithoutHeaders => "429",
            Fault::InternalError | Fault::InternalErrorAfter => "500",
            Fault::Unavailable => "503",
            Fault::ResetBefore | Fault::ResetAfter => "connection reset",
            Fault::StallBefore | Fault::StallAfter => "stalled",
        };
        assert_eq!(outcome, expected, "{fault:?}");
        let keys = world.simulator.state().keys_of(OWNER).len();
        assert_eq!(keys, 1 + usize::from(fault.takes_effect()), "{fault:?}");
    }
}

#[tokio::test]
async fn an_interruption_drops_the_step() {
    let world = World::new().await;
    world.simulator.fail(1, Fault::InterruptBefore);

    let interrupted = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    let retried = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(
        interrupted,
        Outcome::Interrupted {
            step: "createSecret"
        }
    );
    assert_eq!(retried, Outcome::Succeeded);
    let state = world.simulator.state();
    assert_eq!(
        state.orphaned_keys(&world.arn).len(),
        1,
        "the key of the first attempt, which no version holds"
    );
}

#[tokio::test]
async fn a_test_replaces_a_response_and_holds_a_request() {
    let world = World::new().await;
    let denied = Response::aws_access_denied("DescribeSecret");
    world
        .simulator
        .respond_with(1, |request| request.name() == "DescribeSecret", denied);
    let hold = world
        .simulator
        .hold_requests(|request| request.name() == "GetSecretValue");
    let read = world.aws("GetSecretValue", json!({ "VersionStage": "AWSCURRENT" }));

    let (_, error) = world.aws("DescribeSecret", json!({})).await;
    let (described, _) = world.aws("DescribeSecret", json!({})).await;
    let release = async {
        hold.arrived(1).await;
        world
            .simulator
            .store_manually(&world.arn, &secret_value(&world.admin));
        world
            .simulator
            .state()
            .secret_mut(&world.arn)
            .current_key_guarantee = CurrentKeyGuarantee::Off;
        hold.release();
    };
    let ((read, value), ()) = tokio::join!(read, release);

    assert_eq!(error["__type"], "AccessDeniedException");
    assert_eq!((described, read), (200, 200));
    assert!(
        value["SecretString"]
            .as_str()
            .unwrap()
            .contains(&world.admin.0)
    );
}

#[tokio::test]
async fn a_response_may_be_sent_byte_by_byte() {
    const BODY: &str = "slow";
    const INTERVAL: Duration = Duration::from_millis(10);
    let world = World::new().await;
    let response = Response::new(200, "text/plain", BODY).byte_by_byte(INTERVAL);
    world.simulator.respond_with(1, |_| true, response);
    let started = Instant::now();

    let url = world.simulator.confluent_url();
    let response = confluent(&url, "GET /iam/v2/api-keys", &world.admin, "").await;

    let (status, _, body) = response.unwrap();
    assert_eq!((status, body.as_str()), (200, BODY));
    // The first byte is sent immediately.
    let waits = u32::try_from(BODY.len()).unwrap() - 1;
    assert!(
        started.elapsed() >= INTERVAL * waits,
        "{:?}",
        started.elapsed()
    );
}
