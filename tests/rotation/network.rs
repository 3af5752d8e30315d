//! Networks that are not the open one: a private certificate authority, a proxy, and services that are slow.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use simulator::CANARY;
use simulator::tls::{Authority, Proxy};

use super::end_to_end::Lambda;
use super::*;

/// Where the two services are in the world.
const CONFLUENT: &str = "api.confluent.cloud";
const SECRETS_MANAGER: &str = "secretsmanager.us-east-1.amazonaws.com";

/// A file that has been removed when this is dropped.
struct Bundle(PathBuf);

impl Bundle {
    fn of(authority: &Authority) -> Self {
        let name = format!("authority-{}.pem", fastrand::u64(..));
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, format!("# A comment.\n{}", authority.pem)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn network(variables: &[(&str, &str)]) -> Network {
    let config = Config::read(|name| {
        let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    });
    config.unwrap().network
}

/// What a request with these variables comes to: a status, or the error with all its causes.
async fn get(url: &str, variables: &[(&str, &str)]) -> Result<u16, String> {
    let client = transport::client(&network(variables)).unwrap();
    let request = client.get(url).basic_auth("nobody", Some("nothing"));
    match request.timeout(AMPLE).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(confluent_key_rotation::error::joined(&error)),
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_ssl_cert_file_names_it_and_refused_if_not() {
    let simulator = Simulator::start().await;
    let authority = Authority::default();
    let front = authority
        .front(&["127.0.0.1"], &simulator.confluent_url())
        .await;
    let (bundle, another) = (Bundle::of(&authority), Bundle::of(&Authority::default()));
    let url = format!("https://{}/org/v2/environments", front.address);

    let trusted = get(&url, &[("SSL_CERT_FILE", bundle.path())]).await;
    assert_eq!(
        trusted,
        Ok(401),
        "the simulator answers, and knows no such key"
    );

    for variables in [&[][..], &[("SSL_CERT_FILE", another.path())]] {
        let error = get(&url, variables).await.unwrap_err();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_every_https_host_but_loopback_and_those_that_are_excepted() {
    let simulator = Simulator::start().await;
    let authority = Authority::default();
    let plain = simulator.confluent_url();
    let front = authority.front(&[CONFLUENT, "127.0.0.1"], &plain).await;
    let proxy = Proxy::start(&[(CONFLUENT, &front.address)]).await;
    let bundle = Bundle::of(&authority);
    let path = "/org/v2/environments";
    let secure = format!("https://{}{path}", front.address);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let variables = [("SSL_CERT_FILE", bundle.path()), (name, proxy.address())];

        assert_eq!(get(&format!("{plain}{path}"), &variables).await, Ok(401));
        assert_eq!(get(&secure, &variables).await, Ok(401));
        assert_eq!(proxy.heads().len(), 0, "loopback, and plain http");

        let through = get(&format!("https://{CONFLUENT}{path}"), &variables).await;
        assert_eq!(through, Ok(401));
        let heads = std::mem::take(&mut *proxy.heads());
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with("CONNECT api.confluent.cloud:443 "));

        // A name that nobody else can resolve either.
        let url = "https://elsewhere.invalid/";
        for except in ["NO_PROXY", "no_proxy"] {
            let excepted = [variables[0], variables[1], (except, "a.example, .invalid")];
            get(url, &excepted).await.unwrap_err();
            assert_eq!(proxy.heads().len(), 0);
        }
        get(url, &variables).await.unwrap_err();
        assert_eq!(std::mem::take(&mut *proxy.heads()).len(), 1);
    }
}

#[tokio::test]
async fn what_opens_the_proxy_goes_to_it_and_into_no_line() {
    let simulator = Simulator::start().await;
    let refusing = Proxy::start(&[]).await;
    let secrets_manager = format!("https://{SECRETS_MANAGER}");
    let url = format!("http://user:{CANARY}%2F@{}", refusing.address());
    let variables = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*secrets_manager),
        ("HTTPS_PROXY", &url),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ];
    let lambda = Lambda::start(&simulator, &variables).await;

    let outcome = lambda.rotate_unknown().await;

    assert_eq!(outcome.error_type, "SecretsManagerUnavailable");
    assert!(!outcome.message.contains(CANARY), "{outcome:?}");
    let head = refusing.heads()[0].to_lowercase();
    assert!(head.contains("proxy-authorization: basic "), "{head}");
    lambda.assert_nothing_secret_was_printed();
}

/// Promise: a rotation from a network that only a proxy leads out of, which inspects TLS.
#[tokio::test]
async fn the_binary_that_ships_rotates_through_a_proxy_that_inspects_tls() {
    let world = World::new(Setting {
        kind: Kind::Cloud,
        mode: Mode::Own,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    let authority = Authority::default();
    let confluent = authority
        .front(&[CONFLUENT], &simulator.confluent_url())
        .await;
    let aws = simulator.secrets_manager_url();
    let aws = authority.front(&[SECRETS_MANAGER], &aws).await;
    let hosts = [
        (CONFLUENT, &*confluent.address),
        (SECRETS_MANAGER, &*aws.address),
    ];
    let proxy = Proxy::start(&hosts).await;
    let (bundle, url) = (
        Bundle::of(&authority),
        format!("http://{}", proxy.address()),
    );
    let variables = [
        ("CONFLUENT_API_URL", "https://api.confluent.cloud"),
        (
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "https://secretsmanager.us-east-1.amazonaws.com",
        ),
        ("SSL_CERT_FILE", bundle.path()),
        ("HTTPS_PROXY", &url),
    ];
    let lambda = Lambda::start(simulator, &variables).await;

    let outcome = lambda.rotate(simulator, &world.arn).await;

    assert_eq!(outcome, Outcome::Succeeded);
    assert_ne!(world.key("AWSCURRENT"), Some(world.first_key.clone()));
    for (host, _) in hosts {
        let asked = |head: &&String| head.starts_with(&format!("CONNECT {host}:443 "));
        assert!(proxy.heads().iter().any(|head| asked(&head)), "{host}");
    }
}

/// The SDK's limit for reading an answer, which no other limit of the call is near.
#[tokio::test]
async fn an_answer_that_takes_longer_than_the_sdk_says_is_given_up() {
    let world = World::new(Setting::default()).await;
    let _held = world.simulator.hold_requests(|_| true);
    let limits = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(50))
        .read_timeout(Duration::from_millis(50))
        .build();
    let sdk = world.function.secrets_manager.config().to_builder();
    let sdk = sdk.timeout_config(limits);
    let sdk = sdk.retry_config(aws_sdk_secretsmanager::config::retry::RetryConfig::disabled());
    let client = aws_sdk_secretsmanager::Client::from_conf(sdk.build());
    let asked = Instant::now();

    let answer = client.describe_secret().secret_id(&world.arn).send().await;

    let error = answer.unwrap_err();
    let failure = error.as_service_error().is_none();
    assert!(
        failure && format!("{error:?}").contains("Timeout"),
        "{error:?}"
    );
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}
