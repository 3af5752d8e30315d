//! The function of the examples: built as `main` builds it, with the simulator's addresses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confluent_key_rotation::config::Config;
use confluent_key_rotation::confluent::EndpointCache;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::http::{SdkLimits, build_client, build_probe_client, build_tls};
use confluent_key_rotation::{http, secret, web_identity};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use simulator::{FUNCTION_ARN, Simulator};

/// Builds the function with the simulator's addresses and with `variables`.
pub(crate) fn function(simulator: &Simulator, variables: &[(&str, &str)]) -> Function {
    let config = Config::read(|name| match name {
        "CONFLUENT_API_URL" => Some(simulator.confluent_url()),
        "AWS_ENDPOINT_URL" => Some(simulator.secrets_manager_url()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
        name => {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some((*value).to_owned())
        }
    });
    let config = config.expect("the configuration is valid");
    let network = &config.network;
    let tls = build_tls(network).expect("the TLS settings are valid");
    let http = build_client(network, &tls).expect("the proxy is valid");
    let probe_http = build_probe_client(network, &tls).expect("the proxy is valid");
    Function {
        broker_tls: std::sync::Arc::new(tls),
        secrets_manager: secret::sdk_client(&config.aws, &http),
        sts: web_identity::sdk_client(&config.aws, &http),
        config,
        http,
        probe_http,
        http_limits: http::Limits::default(),
        rate_limit: http::RateLimit::default(),
        endpoints: EndpointCache::default(),
        sdk_limits: SdkLimits::default(),
        read_after_write: secret::READ_AFTER_WRITE,
    }
}

/// Returns an invocation with `event` and a timeout of one minute.
pub(crate) fn invocation(event: Value) -> LambdaEvent<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let deadline = now.unwrap_or_default() + Duration::from_mins(1);
    let mut context = Context::default();
    "example".clone_into(&mut context.request_id);
    FUNCTION_ARN.clone_into(&mut context.invoked_function_arn);
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    LambdaEvent::new(event, context)
}
