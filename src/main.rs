//! The Lambda function: reads the configuration, creates the clients and waits for events.

use std::process::ExitCode;
use std::sync::Arc;

use confluent_key_rotation::config::{Config, environment, read_log_level};
use confluent_key_rotation::confluent::EndpointCache;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::http::{
    self, RateLimit, SdkLimits, build_client, build_probe_client, build_tls,
};
use confluent_key_rotation::telemetry::logging;
use confluent_key_rotation::{secret, web_identity};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(outcome = "failed", "the function could not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), lambda_runtime::Error> {
    // Logging starts before the configuration is validated, so that its problems can be logged.
    let log_level = read_log_level(environment);
    tracing::subscriber::set_global_default(logging::subscriber(log_level, std::io::stdout))?;
    let config = Config::read(environment)?;
    let network = &config.network;
    let tls = build_tls(network)?;
    let http = build_client(network, &tls)?;
    let function = Function {
        secrets_manager: secret::sdk_client(&config.aws, &http),
        sts: web_identity::sdk_client(&config.aws, &http),
        http,
        probe_http: build_probe_client(network, &tls)?,
        broker_tls: Arc::new(tls),
        http_limits: http::Limits::default(),
        rate_limit: RateLimit::default(),
        endpoints: EndpointCache::default(),
        sdk_limits: SdkLimits::with_max_attempts(config.aws.max_attempts),
        read_after_write: secret::READ_AFTER_WRITE,
        config,
    };
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.handle(event))).await
}
