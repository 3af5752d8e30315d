//! The Lambda function: reads the configuration, makes the clients, and waits for events.

use std::process::ExitCode;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, SdkConfig};
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
    let aws = sdk_config(&http).await;
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

/// The SDK's configuration, with the credentials that its default chain would find.
async fn sdk_config(http: &reqwest::Client) -> SdkConfig {
    let mut aws =
        aws_config::defaults(BehaviorVersion::latest()).http_client(SdkHttpClient(http.clone()));
    // Where the chain looks first, and Lambda puts them. To build the rest of it takes a seventh of the start.
    // https://docs.rs/aws-config/latest/aws_config/default_provider/credentials/struct.DefaultCredentialsChain.html
    let variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    if variables.iter().all(|name| environment(name).is_some()) {
        aws = aws.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    aws.load().await
}
