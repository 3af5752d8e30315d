//! The Lambda Runtime API.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{FUNCTION_ARN, RuntimeApi};

use crate::send;

#[tokio::test]
async fn the_runtime_api_delivers_events_and_returns_responses_and_errors() {
    let api = RuntimeApi::start().await;
    let url = format!("http://{}", api.address());
    let limit = Duration::from_secs(3);
    let function = async {
        for (path, body) in [
            ("response", "null"),
            ("error", r#"{"errorType":"Failed","errorMessage":"no"}"#),
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
    let dropped = api.invoke(json!({}), limit);
    assert!(
        tokio::time::timeout(Duration::from_millis(10), dropped)
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

    let ((response, error), ()) = tokio::join!(invocations, function);

    assert_eq!(response, Ok(Value::Null));
    let error = error.unwrap_err();
    assert_eq!(
        (error.error_type.as_str(), error.message.as_str()),
        ("Failed", "no")
    );
}

#[tokio::test]
async fn the_runtime_api_names_the_function_and_its_qualifier() {
    let api = RuntimeApi::start().await;
    let url = format!("http://{}", api.address());
    let qualified = format!("{FUNCTION_ARN}:live");
    for arn in [FUNCTION_ARN, &qualified] {
        if arn != FUNCTION_ARN {
            api.set_function_arn(arn);
        }
        let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";

        let head = tokio::select! {
            response = send(&url, next, "") => response.unwrap().1,
            _ = api.invoke(json!({}), Duration::from_secs(3)) => unreachable!(),
        };

        let header = format!("lambda-runtime-invoked-function-arn: {arn}");
        assert!(head.lines().any(|line| line == header), "{head}");
    }
}
