//! Responses that contain a secret: invalid ones, and errors that quote the request.

use simulator::Response;

use super::*;
use crate::faults::{block_on, in_threads};

/// Returns the value of the `Authorization` header.
fn basic_authorization((id, secret): &(String, String)) -> String {
    let client = http_client();
    let request = client.get("http://127.0.0.1");
    let request = request.basic_auth(id, Some(secret)).build().unwrap();
    let value = &request.headers()["authorization"];
    value.to_str().unwrap().to_owned()
}

pub(super) fn url_encoded(string: &str) -> String {
    url::form_urlencoded::byte_serialize(string.as_bytes()).collect()
}

/// Returns responses with `secret` in each place where a client may look for an error message.
pub(super) fn echoes(status: u16, secret: &str) -> Vec<Response> {
    let cut_off = format!("{}{secret}", "x".repeat(380));
    let escaped = json!({"message": secret}).to_string().replace('/', "\\/");
    let json = |body: &Value| Response::json(status, body);
    vec![
        Response::confluent_error(status, Some("no"), "no", secret),
        Response::confluent_error(status, Some(secret), "no", "no"),
        Response::confluent_error(status, Some("no"), secret, ""),
        json(&json!({"error": {"code": secret, "message": secret}})),
        json(&json!({"error_code": 40301, "message": cut_off})),
        json(&json!({"error": secret})),
        Response::new(status, "application/json", escaped),
        Response::new(status, "text/html", format!("<html>{secret}</html>")),
        Response::new(status, "text/plain", secret.to_owned()),
        Response::empty(status).with_header("x-request-id", secret),
        Response::empty(status).with_header("location", secret),
    ]
}

#[tokio::test]
async fn an_error_response_with_the_management_credentials_is_not_printed() {
    for status in [400, 401, 403, 500] {
        let world = World::new(Setting::default()).await;
        let admin_key = world.admin_key_pair();
        let basic = basic_authorization(&admin_key);
        let split = admin_key.1.replace('+', " + ");
        let html = admin_key.1.replace('+', "&#43;");
        for secret in [
            admin_key.1.clone(),
            basic,
            url_encoded(&admin_key.1),
            split,
            html,
        ] {
            for (nth, echo) in echoes(status, &secret).into_iter().enumerate() {
                let on_control_plane =
                    |request: &simulator::Request| request.service == Service::ControlPlane;
                // Each request is retried five times.
                world.simulator.respond_with(12, on_control_plane, echo);
                let case = format!("{status}, response {nth}");

                let outcome = world.rotate_without_leak(&case).await;

                assert_ne!(outcome, Outcome::Succeeded, "{case}");
            }
        }
    }
}

#[test]
fn a_probe_response_with_the_probed_key_is_not_printed() {
    let statuses = [200, 302, 400, 401, 403, 500].into_iter();
    let cases = statuses.flat_map(|status| {
        let responses = 0..echoes(status, "").len();
        responses.map(move |nth| (status, nth))
    });
    let cases: Vec<_> = cases.collect();

    in_threads(&cases, |(status, nth)| {
        block_on(async {
            let mut world = World::new(Setting::default()).await;
            world.step("createSecret").await.unwrap();
            let id = world.key("AWSPENDING").unwrap();
            let secret = world.simulator.state().keys[&id].secret.clone();
            let echo = echoes(*status, &secret)[*nth].clone();
            world.respond_to("GET /kafka/v3/clusters/lkc-orders/topics", echo);
            let case = format!("{status}, response {nth}");
            // The reserve of testSecret, and time for a probe.
            world.time_limit = Duration::from_millis(11_300);
            let log = CapturedLog::start();

            let outcome = world.step("testSecret").await;

            assert_no_secret(&world.simulator, &log.output(), &case);
            let outcome = format!("{outcome:?}");
            assert_no_secret(&world.simulator, &outcome, &case);
            assert!(!outcome.contains("TimeoutTooShort"), "{case}: {outcome}");
        });
    });
}

#[tokio::test]
async fn a_rejection_of_put_secret_value_with_the_value_is_not_printed() {
    for code in [
        "ValidationException",
        "InvalidParameterException",
        "InvalidRequestException",
        "SerializationException",
        "UnknownException",
    ] {
        let world = World::new(Setting::default()).await;
        let token = world.simulator.start_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, "createSecret");
        let (value, rotation_token) = (world.value("AWSCURRENT"), &event["RotationToken"]);
        let message =
            format!("Value '{value}' at 'secretString', {rotation_token} at 'rotationToken'");
        let rejected = Response::aws_error(400, code, &message);
        world.respond_to("PutSecretValue", rejected);

        let outcome = world.rotate_without_leak(code).await;

        assert!(format!("{outcome:?}").contains(code), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_rejection_with_a_credential_is_not_printed() {
    for operation in [
        "DescribeSecret",
        "GetSecretValue",
        "UpdateSecretVersionStage",
    ] {
        let world = World::new(Setting::default()).await;
        let (_, secret) = world.current_key(&world.arn);
        let message =
            format!("User: arn:aws:sts::123456789012:assumed-role/{secret} is not authorized");
        let rejected = Response::aws_error(400, "AccessDeniedException", &message);
        world.respond_to(operation, rejected.with_header("x-amzn-requestid", &secret));

        let outcome = world.rotate_without_leak(operation).await;

        let printed = format!("{outcome:?}");
        let removed = "arn:aws:sts::[removed] is not authorized";
        assert!(printed.contains(removed), "{printed}");
    }
}

#[tokio::test]
async fn an_invalid_response_is_not_printed() {
    for operation in [
        "GetSecretValue",
        "DescribeSecret",
        "PutSecretValue",
        "GET /iam/v2/api-keys",
        "POST /iam/v2/api-keys",
        "GET /cmk/v2/clusters/lkc-orders",
        "GET /kafka/v3/clusters/lkc-orders/topics",
    ] {
        for status in [200, 400, 500] {
            let mut world = World::new(Setting::default()).await;
            world.time_limit = Duration::from_millis(1500);
            let (id, secret) = world.current_key(&world.arn);
            for body in [
                secret.clone(),
                format!(r#"{{"SecretString": "{secret}", "data": ["{secret}"#),
                json!({"SecretString": [secret], "data": {"id": secret}, "id": [secret]})
                    .to_string(),
                json!({"SecretString": secret, "id": id, "spec": {"secret": [secret]}}).to_string(),
            ] {
                let case = format!(
                    "{operation}, {status}, {}",
                    body.replace(&secret, "(secret)")
                );
                let is_operation = move |request: &simulator::Request| request.name() == operation;
                let response = Response::new(status, "application/json", body);
                world.simulator.respond_with(8, is_operation, response);

                world.rotate_without_leak(&case).await;
            }
        }
    }
}
