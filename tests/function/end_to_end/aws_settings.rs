//! The environment variables of the AWS SDK. The function reads them itself: the SDK's loaders panic on some of these values.

use super::*;

/// Values with which the function starts. An empty value counts as not set.
const VALID: [(&str, &str); 20] = [
    ("AWS_SESSION_TOKEN", ""),
    ("AWS_RETRY_MODE", ""),
    ("AWS_RETRY_MODE", "standard"),
    ("AWS_RETRY_MODE", "STANDARD"),
    ("AWS_MAX_ATTEMPTS", ""),
    ("AWS_MAX_ATTEMPTS", "2"),
    ("AWS_ENDPOINT_URL", ""),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", ""),
    ("AWS_ENDPOINT_URL_STS", ""),
    ("AWS_ENDPOINT_URL_STS", "https://sts.example.com"),
    ("AWS_USE_FIPS_ENDPOINT", ""),
    ("AWS_USE_FIPS_ENDPOINT", "false"),
    ("AWS_USE_DUALSTACK_ENDPOINT", ""),
    ("AWS_USE_DUALSTACK_ENDPOINT", "false"),
    ("AWS_LAMBDA_LOG_LEVEL", ""),
    // The function reads no profile.
    ("AWS_PROFILE", ""),
    ("AWS_PROFILE", "unknown"),
    ("AWS_CONFIG_FILE", ""),
    ("AWS_CONFIG_FILE", "/unknown"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/unknown"),
];

/// Values with which the function does not start.
const INVALID: [(&str, &str); 20] = [
    ("AWS_RETRY_MODE", "legacy"),
    ("AWS_RETRY_MODE", "adaptive"),
    ("AWS_RETRY_MODE", CANARY),
    ("AWS_MAX_ATTEMPTS", "0"),
    ("AWS_MAX_ATTEMPTS", "-1"),
    ("AWS_MAX_ATTEMPTS", "many"),
    ("AWS_MAX_ATTEMPTS", CANARY),
    ("AWS_ENDPOINT_URL", "nonsense"),
    ("AWS_ENDPOINT_URL", CANARY),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "nonsense"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", CANARY),
    ("AWS_ENDPOINT_URL_STS", "nonsense"),
    ("AWS_ENDPOINT_URL_STS", CANARY),
    ("AWS_ENDPOINT_URL_STS", "http://sts.example.com"),
    ("AWS_USE_FIPS_ENDPOINT", "maybe"),
    ("AWS_USE_FIPS_ENDPOINT", CANARY),
    ("AWS_USE_DUALSTACK_ENDPOINT", "maybe"),
    ("AWS_USE_DUALSTACK_ENDPOINT", CANARY),
    ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
    ("AWS_LAMBDA_LOG_LEVEL", CANARY),
];

#[tokio::test]
async fn the_function_starts_with_empty_and_valid_aws_settings() {
    for (name, value) in VALID {
        let world = World::new(Setting::default()).await;
        let common_url = world.simulator.secrets_manager_url();
        let variables = [("AWS_ENDPOINT_URL", &*common_url), (name, value)];
        let lambda = Lambda::start(&world.simulator, &variables).await;

        let outcome = lambda.rotate(&world.simulator, &world.arn).await;

        assert_eq!(outcome, Outcome::Succeeded, "{name}={value}");
        assert_eq!(lambda.process.stderr(), "", "{name}={value}");
        lambda.assert_nothing_secret_was_printed();
    }
}

#[tokio::test]
async fn an_invalid_aws_setting_ends_the_process_with_an_error_that_names_it_without_its_value() {
    let simulator = Simulator::start().await;
    for (name, value) in INVALID {
        let mut lambda = Lambda::start(&simulator, &[(name, value)]).await;

        let message = lambda.process.startup_error();

        assert!(message.contains(&format!("{name} must be")), "{message}");
        assert!(!message.contains(value), "{value} in {message}");
        lambda.assert_nothing_secret_was_printed();
    }
}

#[tokio::test]
async fn missing_credentials_and_region_end_the_process_with_one_error_that_names_all() {
    let required = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let empty = required.map(|name| (name, ""));
    for variables in [&[][..], &empty] {
        let mut process = Process::start(variables);

        let message = process.startup_error();

        for name in required {
            assert!(
                message.contains(&format!("{name} must be set")),
                "{name} in {message}"
            );
        }
    }
}
