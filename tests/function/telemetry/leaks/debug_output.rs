//! `Display` and `Debug` output of errors and of types that contain a secret.

use confluent_key_rotation::confluent::{ApiKey, ApiKeyId, Client};
use confluent_key_rotation::event::Event;
use confluent_key_rotation::http::{
    AllowedHosts, Deadline, Destination, Http, Redacted, Request, Response,
};
use confluent_key_rotation::invocation::Invocation;
use confluent_key_rotation::rotation::Rotation;
use confluent_key_rotation::secret::{self, SecretValue};
use reqwest::{Method, StatusCode};
use simulator::Fault;
use url::Url;

use super::*;

#[tokio::test]
async fn an_error_with_its_causes_contains_no_secret() {
    for fault in [Fault::InternalError, Fault::ResetAfter, Fault::StallAfter] {
        let world = World::new(Setting::default()).await;
        let (id, secret) = world.admin_key_pair();
        let key = ApiKey {
            id: ApiKeyId::new(id),
            secret: Redacted::new(secret.clone()),
        };
        let echo = simulator::Response::confluent_error(409, Some(&secret), &secret, &secret);
        world.simulator.respond_with(1, |_| true, echo);
        world.simulator.fail(1, fault);
        let allowed = AllowedHosts::new(world.function.config.confluent_url.clone(), Vec::new());
        let http = Http::new(
            world.function.http.clone(),
            allowed,
            world.function.http_limits,
        );
        let request = request(&world, &key);

        let rejected = http.send_once(&request, Deadline::after(AMPLE)).await;
        let failed = http.send_once(&request, Deadline::after(AMPLE)).await;

        for error in [rejected.unwrap_err(), failed.unwrap_err()] {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            let mut output = Vec::new();
            while let Some(error) = cause {
                output.push(format!("{error} {error:?} {error:#?}"));
                cause = error.source();
            }
            assert_no_secret(&world.simulator, &output.join("\n"), &format!("{fault:?}"));
        }
    }
}

fn request<'k>(world: &World, key: &'k ApiKey) -> Request<'k> {
    Request {
        method: Method::GET,
        destination: Destination::WithKey(
            world.control_plane().join("/org/v2/environments").unwrap(),
            key.basic_auth(),
        ),
        accept: "application/json",
        body: None,
    }
}

#[tokio::test]
async fn debug_output_of_a_type_with_a_secret_does_not_contain_it() {
    let world = World::new(Setting::default()).await;
    let token = world.simulator.start_rotation(&world.arn);
    let event = world.simulator.event(&world.arn, &token, "createSecret");
    let event = Event::parse(&event).unwrap();
    let (id, secret) = world.current_key(&world.arn);
    let key = ApiKey {
        id: ApiKeyId::new(id),
        secret: Redacted::new(secret.clone()),
    };
    let value = Redacted::new(world.value("AWSCURRENT").to_string());
    let mut function = world.function.clone();
    let sdk = function.secrets_manager.config().to_builder();
    let credentials = aws_sdk_secretsmanager::config::Credentials::new(
        "AKIAEXAMPLE",
        CANARY,
        Some(CANARY.into()),
        None,
        "test",
    );
    let sdk = sdk.credentials_provider(credentials).build();
    function.secrets_manager = aws_sdk_secretsmanager::Client::from_conf(sdk);
    let deadline = Deadline::after(AMPLE);
    let url = Url::parse("https://api.confluent.cloud").unwrap();
    let allowed = AllowedHosts::new(url, Vec::new());
    let http = Http::new(function.http.clone(), allowed, function.http_limits);
    let invocation = Invocation {
        config: &function.config,
        secrets: secret::Client::new(
            function.secrets_manager.clone(),
            deadline,
            function.sdk_limits,
            function.read_after_write,
        ),
        confluent: Client::new(
            http.clone(),
            http,
            function.broker_tls.clone(),
            function.endpoints.clone(),
            deadline,
        ),
        access_tokens: None,
        deadline,
        function_arn: "arn",
        request_id: "request",
    };
    let rotation = Rotation {
        invocation: &invocation,
        event: &event,
    };
    let body = json!({"spec": {"secret": secret}}).to_string();
    let response = Response::new(StatusCode::OK, None, body.into());
    let request = request(&world, &key);
    let secret_value = SecretValue::parse(value.clone()).unwrap();

    let values: [(&str, &dyn Debug); 8] = [
        ("Function", &function),
        ("Rotation", &rotation),
        ("Event", &event),
        ("Request", &request),
        ("Response", &response),
        ("SecretValue", &secret_value),
        ("ApiKey", &key),
        ("Redacted", &value),
    ];

    for (case, value) in values {
        assert_no_secret(&world.simulator, &format!("{value:?} {value:#?}"), case);
    }
}
