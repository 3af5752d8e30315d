//! Services that repeat, in their refusals, what they were sent.

use simulator::Answer;

use super::*;

/// What an `Authorization` header holds.
fn basic_authorization((id, secret): &(String, String)) -> String {
    let client = transport::client(&Network::default()).unwrap();
    let request = client.get("http://127.0.0.1");
    let request = request.basic_auth(id, Some(secret)).build().unwrap();
    let value = &request.headers()["authorization"];
    value.to_str().unwrap().to_owned()
}

fn url_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Answers that repeat `secret` wherever a client may look for an explanation.
fn echoes(status: u16, secret: &str) -> Vec<Answer> {
    let cut_off = format!("{}{secret}", "x".repeat(380));
    let escaped = json!({"message": secret}).to_string().replace('/', "\\/");
    let json = |body: &Value| Answer::json(status, body);
    vec![
        Answer::confluent_error(status, Some("no"), "no", secret),
        Answer::confluent_error(status, Some(secret), "no", "no"),
        Answer::confluent_error(status, Some("no"), secret, ""),
        json(&json!({"error": {"code": secret, "message": secret}})),
        json(&json!({"error_code": 40301, "message": cut_off})),
        json(&json!({"error": secret})),
        Answer::new(status, "application/json", escaped),
        Answer::new(status, "text/html", format!("<html>{secret}</html>")),
        Answer::new(status, "text/plain", secret.to_owned()),
        Answer::empty(status).with_header("x-request-id", secret),
        Answer::empty(status).with_header("location", secret),
    ]
}

#[tokio::test]
async fn a_refusal_that_repeats_what_signed_the_request_is_not_printed() {
    for status in [400, 401, 403, 500] {
        let world = World::new(Setting::default()).await;
        let signer = world.signer();
        let basic = basic_authorization(&signer);
        for secret in [signer.1.clone(), basic, url_encoded(&signer.1)] {
            for (nth, echo) in echoes(status, &secret).into_iter().enumerate() {
                let on_control_plane =
                    |request: &simulator::Request| request.plane == Plane::ControlPlane;
                // Two requests go out together, and each is repeated five times.
                world.simulator.answer(12, on_control_plane, echo);
                let case = format!("{status}, the {nth}th answer");

                let outcome = world.rotate_searched(true, &case).await;

                assert_ne!(outcome, Outcome::Succeeded, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_repeats_the_key_tried_is_not_printed() {
    for status in [200, 302, 400, 401, 403, 500] {
        for nth in 0..echoes(status, "").len() {
            let mut world = World::new(Setting::default()).await;
            world.step("createSecret").await.unwrap();
            let id = world.key("AWSPENDING").unwrap();
            let key = (id.clone(), world.simulator.state().keys[&id].secret.clone());
            let echo = echoes(status, &key.1)[nth].clone();
            world.answer_operation("GET /kafka/v3/clusters/lkc-orders/topics", echo);
            let case = format!("{status}, the {nth}th answer");
            // What testSecret keeps back, and a moment to try the key in.
            world.time_limit = Duration::from_millis(11_300);
            let printed = Printed::from_now_on(true);

            let outcome = world.step("testSecret").await;

            assert_no_secret(&world.simulator, &printed.text(), &case);
            let outcome = format!("{outcome:?}");
            assert_no_secret(&world.simulator, &outcome, &case);
            assert!(!outcome.contains("OutOfTime"), "{case}: {outcome}");
        }
    }
}

#[tokio::test]
async fn a_refused_put_that_repeats_the_value_is_not_printed() {
    for code in [
        "ValidationException",
        "InvalidParameterException",
        "InvalidRequestException",
        "SerializationException",
        "UnknownException",
    ] {
        let world = World::new(Setting::default()).await;
        let token = world.simulator.begin_rotation(&world.arn);
        let event = world.simulator.event(&world.arn, &token, "createSecret");
        let (value, rotation_token) = (world.value("AWSCURRENT"), &event["RotationToken"]);
        let message =
            format!("Value '{value}' at 'secretString', {rotation_token} at 'rotationToken'");
        let refusal = Answer::aws_error(400, code, &message);
        world.answer_operation("PutSecretValue", refusal);

        let outcome = world.rotate_searched(true, code).await;

        assert!(format!("{outcome:?}").contains(code), "{outcome:?}");
    }
}
