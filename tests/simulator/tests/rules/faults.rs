//! What goes wrong on the way, and the Runtime API, where nothing does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Answer, Fault, Outcome, RuntimeApi, Watch};

use crate::{OWNER, World, confluent, document, send};

#[tokio::test]
async fn every_fault_is_carried_out_or_not_as_it_says() {
    for fault in Fault::ALL {
        let world = World::new().await;
        world.simulator.fail(0, fault);
        let (url, body) = (
            world.simulator.confluent_url(),
            json!({ "spec": { "owner": { "id": OWNER } } }).to_string(),
        );
        let request = confluent(&url, "POST /iam/v2/api-keys", &world.admin, &body);

        let seen = tokio::select! {
            () = world.simulator.stopped() => "stopped".to_owned(),
            answer = tokio::time::timeout(Duration::from_millis(100), request) => match answer {
                Ok(Ok((status, ..))) => status.to_string(),
                Ok(Err(error)) => error.kind().to_string(),
                Err(_) => "stalled".to_owned(),
            },
        };

        let expected = match fault {
            Fault::StopBefore | Fault::StopAfter => "stopped",
            Fault::TooManyRequests | Fault::TooManyRequestsBare => "429",
            Fault::InternalError | Fault::InternalErrorAfter => "500",
            Fault::Unavailable => "503",
            Fault::ResetBefore | Fault::ResetAfter => "connection reset",
            Fault::StallBefore | Fault::StallAfter => "stalled",
        };
        assert_eq!(seen, expected, "{fault:?}");
        let keys = world.simulator.state().keys_of(OWNER).len();
        assert_eq!(keys, 1 + usize::from(fault.is_carried_out()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stop_drops_the_step_that_it_hits() {
    let world = World::new().await;
    world.simulator.fail(1, Fault::StopBefore);

    let stopped = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;
    let again = world
        .simulator
        .rotate(&world.arn, &async |event| world.step(event).await)
        .await;

    assert_eq!(
        stopped,
        Outcome::Stopped {
            step: "createSecret"
        }
    );
    assert_eq!(again, Outcome::Succeeded);
    let state = world.simulator.state();
    let leftover: Vec<_> = state
        .leftover_keys(&world.arn)
        .iter()
        .map(|key| &key.description)
        .collect();
    assert_eq!(
        leftover,
        ["made"],
        "the key of the first attempt, which nothing names"
    );
}

#[tokio::test]
async fn an_answer_may_be_replaced_held_or_redirected() {
    let world = World::new().await;
    let denied = Answer::aws_access_denied("DescribeSecret");
    world
        .simulator
        .answer(1, |request| request.label() == "DescribeSecret", denied);
    let hold = world
        .simulator
        .hold_requests(|request| request.label() == "GetSecretValue");
    let read = world.aws("GetSecretValue", json!({ "VersionStage": "AWSCURRENT" }));

    let (_, refused) = world.aws("DescribeSecret", json!({})).await;
    let (described, _) = world.aws("DescribeSecret", json!({})).await;
    let release = async {
        hold.arrived(1).await;
        world
            .simulator
            .put_by_hand(&world.arn, &document(&world.admin));
        world.simulator.state().secret_mut(&world.arn).watch = Watch::Off;
        hold.release();
    };
    let ((read, value), ()) = tokio::join!(read, release);

    assert_eq!(refused["__type"], "AccessDeniedException");
    assert_eq!((described, read), (200, 200));
    assert!(
        value["SecretString"]
            .as_str()
            .unwrap()
            .contains(&world.admin.0)
    );
}

#[tokio::test]
async fn an_answer_may_drip_byte_by_byte() {
    const BODY: &str = "drip";
    const PACE: Duration = Duration::from_millis(10);
    let world = World::new().await;
    let answer = Answer::new(200, "text/plain", BODY).dripping(PACE);
    world.simulator.answer(1, |_| true, answer);
    let asked = Instant::now();

    let url = world.simulator.confluent_url();
    let answer = confluent(&url, "GET /iam/v2/api-keys", &world.admin, "").await;

    let (status, _, body) = answer.unwrap();
    assert_eq!((status, body.as_str()), (200, BODY));
    // The first byte does not wait.
    let waits = u32::try_from(BODY.len()).unwrap() - 1;
    assert!(asked.elapsed() >= PACE * waits, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn the_runtime_api_hands_out_events_and_takes_answers() {
    let api = RuntimeApi::start().await;
    let url = format!("http://{}", api.address());
    let limit = Duration::from_secs(3);
    let function = async {
        for (path, body) in [
            ("response", "null"),
            ("error", r#"{"errorType":"Refused","errorMessage":"no"}"#),
        ] {
            let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
            let (_, head, event) = send(&url, next, "").await.unwrap();
            let id = head
                .lines()
                .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "))
                .unwrap();
            assert_eq!(event, r#"{"Step":"createSecret"}"#);
            let post = format!("POST /2018-06-01/runtime/invocation/{id}/{path} HTTP/1.1");
            assert_eq!(send(&url, &post, body).await.unwrap().0, 202);
        }
    };
    let given_up = api.invoke(json!({}), limit);
    assert!(
        tokio::time::timeout(Duration::from_millis(10), given_up)
            .await
            .is_err()
    );
    let event = json!({ "Step": "createSecret" });
    let invocations = async {
        (
            api.invoke(event.clone(), limit).await,
            api.invoke(event.clone(), limit).await,
        )
    };

    let ((answered, refused), ()) = tokio::join!(invocations, function);

    assert_eq!(answered, Ok(Value::Null));
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.error_type.as_str(), refused.message.as_str()),
        ("Refused", "no")
    );
}
