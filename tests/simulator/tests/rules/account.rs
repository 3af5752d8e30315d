//! The AWS account: what a user may do, and that a user's permissions hide no violation by the function.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::{FUNCTION_ARN as FUNCTION, FunctionError, Simulator, Stack, USER_ACCESS_KEY_ID};

use crate::{World, secret_value, send};

const TOKEN: &str = "5ef0e2f5-8a1c-4d6c-9a7b-0123456789ab";

/// Sends a request with the access key ID to a URL. Returns the status and the body.
async fn call(url: &str, key: &str, operation: &str, body: &Value) -> (u16, Value) {
    let head = format!(
        "POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-date: 20260101T000000Z\r\n\
         x-amz-target: secretsmanager.{operation}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={key}/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=00"
    );
    let (status, _, body) = send(url, &head, &body.to_string()).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn user(world: &World, operation: &str, body: Value) -> (u16, Value) {
    let url = world.simulator.account_url();
    call(&url, USER_ACCESS_KEY_ID, operation, &body).await
}

fn deploy(simulator: &Simulator) {
    simulator.deploy(Stack {
        name: "rotation".to_owned(),
        function_arn: FUNCTION.to_owned(),
        outputs: BTreeMap::from([("LogGroupName".to_owned(), "/aws/lambda/rotation".to_owned())]),
        secret_prefixes: vec!["app/".to_owned()],
        admin_secret_arns: Vec::new(),
        may_list_secrets: false,
    });
}

fn set_function(world: &World, arn: Option<&str>) {
    let mut state = world.simulator.state();
    let attributes = &mut state.secret_mut(&world.arn).attributes;
    attributes.rotation_lambda_arn = arn.map(ToOwned::to_owned);
}

fn take_violations(world: &World) -> Vec<String> {
    std::mem::take(&mut world.simulator.state().violations)
}

#[tokio::test]
async fn the_function_and_a_user_cannot_use_each_others_listener() {
    let world = World::new().await;
    let (account, function) = (
        world.simulator.account_url(),
        world.simulator.secrets_manager_url(),
    );
    let body = json!({ "SecretId": world.arn });

    for (url, key) in [(&account, "AKID"), (&function, USER_ACCESS_KEY_ID)] {
        let (status, _) = call(url, key, "DescribeSecret", &body).await;

        assert_eq!(status, 500, "{key}");
        assert_eq!(take_violations(&world).len(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_user_violates_the_rules_of_the_labels_and_of_the_fields() {
    let world = World::new().await;
    let version = world.simulator.state().secret(&world.arn).labels["AWSCURRENT"].clone();
    let put = json!({
        "SecretId": world.arn, "ClientRequestToken": TOKEN, "SecretString": "{}", "VersionStages": ["AWSPENDING"],
    });
    let add =
        json!({ "SecretId": world.arn, "VersionStage": "AWSPENDING", "MoveToVersionId": version });
    for (operation, body) in [
        ("PutSecretValue", put),
        ("UpdateSecretVersionStage", add),
        (
            "DescribeSecret",
            json!({ "SecretId": world.arn, "Unknown": 1 }),
        ),
        ("BatchGetSecretValue", json!({})),
        (
            "RotateSecret",
            json!({ "SecretId": world.arn, "ClientRequestToken": "short" }),
        ),
    ] {
        let (status, _) = user(&world, operation, body).await;

        assert_eq!(status, 500, "{operation}");
        assert_eq!(take_violations(&world).len(), 1, "{operation}");
    }
}

#[tokio::test]
async fn a_user_who_stores_a_deleted_key_breaks_the_guarantee() {
    let world = World::new().await;
    let value = secret_value(&("UNKNOWN".to_owned(), "secret".to_owned()));
    let put = json!({ "SecretId": world.arn, "ClientRequestToken": TOKEN, "SecretString": value });

    let (status, _) = user(&world, "PutSecretValue", put).await;

    assert_eq!(status, 200);
    assert!(take_violations(&world)[0].contains("which does not exist"));
}

#[tokio::test]
async fn rotate_secret_returns_the_token_and_runs_the_steps_in_the_background() {
    let world = World::new().await;
    deploy(&world.simulator);
    let rules = json!({ "AutomaticallyAfterDays": 30 });
    let rotate = json!({
        "SecretId": "app/kafka", "ClientRequestToken": TOKEN, "RotationLambdaARN": FUNCTION, "RotationRules": rules,
    });

    let (status, body) = user(&world, "RotateSecret", rotate).await;
    let (_, before) = user(&world, "DescribeSecret", json!({ "SecretId": "app/kafka" })).await;
    let invoke = async |event: Value| {
        let response = world.step(event).await.map(|()| Value::Null);
        response.map_err(|message| FunctionError {
            error_type: "Error".to_owned(),
            message,
        })
    };
    tokio::select! {
        () = world.simulator.jobs_finished() => {}
        () = world.simulator.run_jobs(&invoke) => unreachable!(),
    }
    let (_, after) = user(&world, "DescribeSecret", json!({ "SecretId": "app/kafka" })).await;

    assert_eq!((status, &body["VersionId"]), (200, &json!(TOKEN)));
    assert_eq!(before["VersionIdsToStages"][TOKEN], json!(["AWSPENDING"]));
    assert_eq!(after["VersionIdsToStages"][TOKEN], json!(["AWSCURRENT"]));
    assert_eq!(after["RotationRules"], rules);
}

#[tokio::test]
async fn rotate_secret_rejects_what_secrets_manager_rejects() {
    let world = World::new().await;
    deploy(&world.simulator);
    set_function(&world, None);
    let rules = json!({ "AutomaticallyAfterDays": 30 });
    let both = json!({ "AutomaticallyAfterDays": 30, "ScheduleExpression": "rate(4 hours)" });
    let other = FUNCTION.replace("rotation", "other");
    let request = |token: &str, function: Option<&str>, rules: &Value| {
        let mut body =
            json!({ "SecretId": "app/kafka", "ClientRequestToken": token, "RotationRules": rules });
        if let Some(function) = function {
            body["RotationLambdaARN"] = json!(function);
        }
        body
    };
    let second = TOKEN.replace('5', "6");
    for (body, expected) in [
        (request(TOKEN, None, &rules), "InvalidRequestException"),
        (
            request(TOKEN, Some(&other), &rules),
            "AccessDeniedException",
        ),
        (
            request(TOKEN, Some(FUNCTION), &both),
            "InvalidParameterException",
        ),
        (request(TOKEN, Some(FUNCTION), &rules), ""),
        (
            request(&second, Some(FUNCTION), &rules),
            "InvalidRequestException",
        ),
    ] {
        let (_, response) = user(&world, "RotateSecret", body.clone()).await;

        assert_eq!(
            response["__type"].as_str().unwrap_or_default(),
            expected,
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_function_reads_only_secrets_that_its_stack_permits() {
    let world = World::new().await;
    let admin = world.simulator.add_admin_secret("admin", &world.admin);
    deploy(&world.simulator);
    set_function(&world, None);
    let read = async |arn: &str| {
        let url = world.simulator.secrets_manager_url();
        let body = json!({ "SecretId": arn, "VersionStage": "AWSCURRENT" });
        call(&url, "AKID", "GetSecretValue", &body).await.0
    };

    let denied = [read(&admin).await, read(&world.arn).await];
    set_function(&world, Some(FUNCTION));
    let permitted = read(&world.arn).await;

    assert_eq!((denied, permitted), ([400, 400], 200));
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_and_not_read() {
    let world = World::new().await;
    let id = json!({ "SecretId": world.arn });
    let mut statuses = Vec::new();
    for operation in [
        "DeleteSecret",
        "GetSecretValue",
        "DescribeSecret",
        "RestoreSecret",
        "GetSecretValue",
    ] {
        statuses.push(user(&world, operation, id.clone()).await.0);
    }

    assert_eq!(statuses, [200, 400, 200, 200, 200]);
}
