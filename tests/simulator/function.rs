//! The function as `main` makes it, but for the services' addresses: what the examples run.

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use confluent_key_rotation::config::Config;
use confluent_key_rotation::handler::Function;
use confluent_key_rotation::transport::{self, SdkHttpClient};
use confluent_key_rotation::{http, store};
use simulator::Simulator;

/// The function with the simulator's addresses, and with these variables.
pub(crate) fn function(simulator: &Simulator, variables: &[(&str, &str)]) -> Function {
    let config = Config::read(|name| match name {
        "CONFLUENT_API_URL" => Some(simulator.confluent_url()),
        name => {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some((*value).to_owned())
        }
    });
    let config = config.expect("the configuration is right");
    let http = transport::client(&config.network).expect("the TLS settings are right");
    let credentials = Credentials::new("AKIAEXAMPLE", "example", None, None, "example");
    let sdk = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(simulator.secrets_manager_url())
        .http_client(SdkHttpClient(http.clone()))
        .build();
    Function {
        config,
        http,
        secrets_manager: aws_sdk_secretsmanager::Client::from_conf(sdk),
        http_limits: http::Limits::default(),
        crowd: http::Crowd::default(),
        store_limits: store::Limits::default(),
    }
}
