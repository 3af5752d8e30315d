//! The settings of the AWS SDK.
//!
//! The SDK's own loaders panic on some invalid values and look for credentials outside the environment. In Lambda, the
//! environment contains them, so the settings are read and validated here.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>

use std::num::NonZeroU32;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::config::{Credentials, SharedCredentialsProvider};
use url::Url;

use super::reader::{Reader, base_url};
use crate::http::{Redacted, SdkHttpClient};

/// The settings of the AWS SDK.
#[derive(Clone, Debug)]
pub struct Aws {
    /// `AWS_REGION`
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Redacted,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Redacted>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, or `AWS_ENDPOINT_URL`
    pub secrets_manager_url: Option<Url>,
    /// `AWS_ENDPOINT_URL_STS`, or `AWS_ENDPOINT_URL`
    pub sts_url: Option<Url>,
    /// `AWS_USE_FIPS_ENDPOINT`
    pub use_fips: Option<bool>,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub use_dual_stack: Option<bool>,
    /// `AWS_MAX_ATTEMPTS`: the maximum number of attempts of a request, retries included.
    pub max_attempts: Option<NonZeroU32>,
}

impl Aws {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Self {
        let secrets_manager = |value: &str| base_url(value, SECRETS_MANAGER_EXAMPLE);
        let sts = |value: &str| base_url(value, STS_EXAMPLE);
        let endpoint = reader.parse("AWS_ENDPOINT_URL", secrets_manager);
        let of_secrets_manager = reader.parse("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager);
        let of_sts = reader.parse("AWS_ENDPOINT_URL_STS", sts);
        reader.parse("AWS_RETRY_MODE", retry_mode);
        Self {
            region: reader.required("AWS_REGION"),
            access_key_id: reader.required("AWS_ACCESS_KEY_ID"),
            secret_access_key: Redacted::new(reader.required("AWS_SECRET_ACCESS_KEY")),
            session_token: reader.value("AWS_SESSION_TOKEN").map(Redacted::new),
            secrets_manager_url: of_secrets_manager.or_else(|| endpoint.clone()),
            sts_url: of_sts.or(endpoint),
            use_fips: reader.parse("AWS_USE_FIPS_ENDPOINT", boolean),
            use_dual_stack: reader.parse("AWS_USE_DUALSTACK_ENDPOINT", boolean),
            max_attempts: reader.parse("AWS_MAX_ATTEMPTS", attempts),
        }
    }

    /// Returns the SDK's configuration of all services. It contains no endpoint URL.
    pub fn sdk_config(&self, http: &reqwest::Client) -> SdkConfig {
        let session_token = self.session_token.as_ref();
        let credentials = Credentials::new(
            &self.access_key_id,
            self.secret_access_key.expose(),
            session_token.map(|token| token.expose().to_owned()),
            None,
            "environment",
        );
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(SdkHttpClient(http.clone()));
        builder.set_use_fips(self.use_fips);
        builder.set_use_dual_stack(self.use_dual_stack);
        builder.build()
    }
}

const SECRETS_MANAGER_EXAMPLE: &str = "https://secretsmanager.us-east-1.amazonaws.com";
const STS_EXAMPLE: &str = "https://sts.us-east-1.amazonaws.com";

fn retry_mode(value: &str) -> Result<(), &'static str> {
    let is_standard = value.eq_ignore_ascii_case("standard").then_some(());
    is_standard.ok_or("must be standard, or not set")
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    let value = value.to_ascii_lowercase().parse();
    value.map_err(|_| "must be true or false")
}

fn attempts(value: &str) -> Result<NonZeroU32, &'static str> {
    value
        .parse()
        .map_err(|_| "must be an integer of at least 1")
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Config, Problems};
    use super::*;

    fn aws(variables: &[(&str, &str)]) -> Result<Aws, Problems> {
        read(variables).map(|config| config.aws)
    }

    #[test]
    fn the_region_and_the_credentials_are_required() {
        let problems = Config::read(|_| None).unwrap_err().to_string();

        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert!(problems.contains(&format!("{name} must be set")), "{name}");
        }
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        for name in [
            "AWS_SESSION_TOKEN",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_ENDPOINT_URL_STS",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_USE_DUALSTACK_ENDPOINT",
            "AWS_MAX_ATTEMPTS",
            "AWS_RETRY_MODE",
        ] {
            for empty in ["", " "] {
                let aws = aws(&[(name, empty)]).unwrap();
                assert_eq!(aws.session_token, None, "{name}");
                assert_eq!(aws.secrets_manager_url, None, "{name}");
                assert_eq!(aws.max_attempts, None, "{name}");
            }
        }
    }

    #[test]
    fn an_invalid_variable_is_a_problem_and_its_value_is_not_quoted() {
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "hunter3"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://hunter3.example"),
            ("AWS_ENDPOINT_URL_STS", "https://user:hunter3@example.com"),
            ("AWS_USE_FIPS_ENDPOINT", "hunter3"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "hunter3"),
            ("AWS_MAX_ATTEMPTS", "hunter3"),
            ("AWS_MAX_ATTEMPTS", "0"),
            ("AWS_MAX_ATTEMPTS", "-1"),
            ("AWS_RETRY_MODE", "adaptive"),
            ("AWS_RETRY_MODE", "legacy"),
        ] {
            let problems = aws(&[(name, value)]).unwrap_err().to_string();

            assert!(problems.contains(&format!("{name} must be")), "{problems}");
            assert!(!problems.contains("hunter3"), "{problems}");
        }
    }

    #[test]
    fn the_problem_of_an_endpoint_gives_an_example_of_its_service() {
        for (name, example) in [
            ("AWS_ENDPOINT_URL", "https://secretsmanager."),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                "https://secretsmanager.",
            ),
            ("AWS_ENDPOINT_URL_STS", "https://sts."),
            ("CONFLUENT_API_URL", "https://api.confluent.cloud "),
        ] {
            let problems = aws(&[(name, "hunter3")]).unwrap_err().to_string();

            let expected = format!("such as {example}");
            assert!(problems.contains(&expected), "{problems}");
        }
    }

    #[test]
    fn the_endpoint_of_a_service_takes_precedence_over_the_common_one() {
        let aws = aws(&[
            ("AWS_ENDPOINT_URL", "https://common.example"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1"),
        ]);

        let aws = aws.unwrap();

        let url = |url: Option<Url>| url.map(String::from);
        assert_eq!(
            url(aws.secrets_manager_url).as_deref(),
            Some("http://127.0.0.1:1/")
        );
        assert_eq!(url(aws.sts_url).as_deref(), Some("https://common.example/"));
    }

    #[test]
    fn debug_output_contains_no_credentials() {
        let aws = aws(&[("AWS_SESSION_TOKEN", "hunter3")]).unwrap();

        let output = format!("{aws:?}");

        assert!(!output.contains("hunter"), "{output}");
    }
}
