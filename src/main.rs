//! The Lambda function: reads the configuration, makes the clients, and waits for events.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use confluent_key_rotation::config::{Config, Logging, environment};
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::transport::{self, SdkHttpClient};
use confluent_key_rotation::{http, logging, store};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(outcome = "failed", "the function does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), lambda_runtime::Error> {
    // What is wrong with it is reported below, with the rest.
    let logging = Logging::read(environment).unwrap_or_default();
    tracing::subscriber::set_global_default(logging::subscriber(logging, std::io::stdout))?;
    let config = Config::read(environment)?;
    let http = transport::client(&config.network)?;
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .http_client(SdkHttpClient(http.clone()))
        .load()
        .await;
    let function = Function {
        config,
        http,
        secrets_manager: aws_sdk_secretsmanager::Client::new(&aws),
        http_limits: http::Limits::default(),
        crowd: http::Crowd::default(),
        store_limits: store::Limits::default(),
    };
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.handle(event))).await
}
