//! Invalid secret values and events that contain a secret.

use super::*;

#[tokio::test]
async fn an_invalid_secret_value_is_not_printed() {
    let world = World::new(Setting::default()).await;
    let valid = world.value("AWSCURRENT");
    let (id, secret) = world.current_key(&world.arn);
    let with = |field: &str, value: Value| {
        let mut changed = valid.clone();
        changed[field] = value;
        changed.to_string()
    };
    for value in [
        secret.clone(),
        json!(secret).to_string(),
        json!([secret]).to_string(),
        format!(r#"{{"apiKey": "{id}", "apiSecret": "{secret}"#),
        format!(r#"{{"apiSecret": "{secret}", "apiSecret": "{secret}"}}"#),
        with("apiKey", json!(secret)),
        with("apiKey", json!([secret])),
        with("apiSecret", json!([secret])),
        with("apiSecret", json!(format!("{secret}\u{0}"))),
        with("apiSecret", json!(format!("{secret}wrong"))),
        with("serviceAccountId", json!(secret)),
        with("resourceId", json!(secret)),
        with("environmentId", json!(secret)),
        with("environmentId", json!([secret])),
        with("adminSecretArn", json!([secret])),
        with("endpoint", json!(secret)),
        with(
            "endpoint",
            json!(format!("https://{id}:{secret}@evil.example")),
        ),
        with("endpoint", json!(format!("https://evil.example/{secret}"))),
        with("endpoint", json!("https://evil.example")),
    ] {
        world.store_invalid(&world.arn, &value);
        let case = value.replace(&secret, "(secret)");

        let outcome = world.rotate_without_leak(&case).await;

        assert_ne!(outcome, Outcome::Succeeded, "{case}");
    }
}

#[tokio::test]
async fn an_invalid_event_is_not_printed() {
    let world = World::new(Setting::default()).await;
    let token = world.simulator.start_rotation(&world.arn);
    let valid = world.simulator.event(&world.arn, &token, "createSecret");
    let secret = valid["RotationToken"].clone();
    let with = |field: &str, value: &Value| {
        let mut changed = valid.clone();
        changed[field] = value.clone();
        changed
    };
    for event in [
        secret.clone(),
        json!([secret]),
        with("Step", &secret),
        with("Step", &json!([secret])),
        with("SecretId", &json!([secret])),
        with("ClientRequestToken", &json!({"token": secret})),
        with("ClientRequestToken", &json!(format!("{secret} {secret}"))),
        with("RotationToken", &json!([secret])),
    ] {
        let log = CapturedLog::start();

        let outcome = world.invoke(event).await;

        let error = format!("{:?}", outcome.unwrap_err());
        assert_no_secret(&world.simulator, &log.output(), "an event");
        assert_no_secret(&world.simulator, &error, "an event");
    }
}
