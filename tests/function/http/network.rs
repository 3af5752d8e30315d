//! Private certificate authorities, proxies and slow services.

use std::fs;
use std::path::PathBuf;

use confluent_key_rotation::http::{self, build_client, build_tls};
use simulator::CANARY;
use simulator::tls::{CertificateAuthority, Proxy};

use super::*;
use crate::end_to_end::Lambda;

/// The hosts of the two services.
const CONFLUENT: &str = "api.confluent.cloud";
const SECRETS_MANAGER: &str = "secretsmanager.us-east-1.amazonaws.com";

/// A file of certificates, which is removed on drop.
pub(crate) struct Bundle(PathBuf);

impl Bundle {
    pub(crate) fn of(authority: &CertificateAuthority) -> Self {
        let name = format!("authority-{}.pem", fastrand::u64(..));
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, format!("# A comment.\n{}", authority.pem)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn network(variables: &[(&str, &str)]) -> http::Network {
    let config = Config::read(|name| {
        let mut variables = variables.iter().chain(&LAMBDA_VARIABLES);
        let (_, value) = variables.find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    });
    config.unwrap().network
}

/// Sends a request with these variables. Returns its status, or its error with all causes.
async fn get(url: &str, variables: &[(&str, &str)]) -> Result<u16, String> {
    let network = network(variables);
    let client = build_client(&network, &build_tls(&network).unwrap()).unwrap();
    let request = client.get(url).basic_auth("unknown", Some("wrong"));
    match request.timeout(AMPLE).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(http::error_chain(&error)),
    }
}

#[tokio::test]
async fn a_private_certificate_authority_is_trusted_only_if_ssl_cert_file_contains_it() {
    let simulator = Simulator::start().await;
    let authority = CertificateAuthority::default();
    let front = authority
        .serve(&["127.0.0.1"], &simulator.confluent_url())
        .await;
    let (bundle, another) = (
        Bundle::of(&authority),
        Bundle::of(&CertificateAuthority::default()),
    );
    let url = format!("https://{}/org/v2/environments", front.address);

    let trusted = get(&url, &[("SSL_CERT_FILE", bundle.path())]).await;
    assert_eq!(
        trusted,
        Ok(401),
        "the simulator responds; the key does not exist"
    );

    for variables in [&[][..], &[("SSL_CERT_FILE", another.path())]] {
        let error = get(&url, variables).await.unwrap_err();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
}

#[tokio::test]
async fn the_proxy_is_used_for_every_https_host_except_loopback_and_no_proxy() {
    let simulator = Simulator::start().await;
    let authority = CertificateAuthority::default();
    let plain = simulator.confluent_url();
    let front = authority.serve(&[CONFLUENT, "127.0.0.1"], &plain).await;
    let proxy = Proxy::start(&[(CONFLUENT, &front.address)]).await;
    let bundle = Bundle::of(&authority);
    let path = "/org/v2/environments";
    let tls = format!("https://{}{path}", front.address);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let variables = [("SSL_CERT_FILE", bundle.path()), (name, proxy.address())];

        assert_eq!(get(&format!("{plain}{path}"), &variables).await, Ok(401));
        assert_eq!(get(&tls, &variables).await, Ok(401));
        assert_eq!(
            proxy.request_heads().len(),
            0,
            "loopback with and without TLS"
        );

        let status = get(&format!("https://{CONFLUENT}{path}"), &variables).await;
        assert_eq!(status, Ok(401));
        let heads = std::mem::take(&mut *proxy.request_heads());
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with("CONNECT api.confluent.cloud:443 "));

        // No DNS server resolves this name.
        let url = "https://elsewhere.invalid/";
        for no_proxy in ["NO_PROXY", "no_proxy"] {
            let no_proxy = (no_proxy, "a.example, .invalid");
            let variables = [variables[0], variables[1], no_proxy];
            get(url, &variables).await.unwrap_err();
            assert_eq!(proxy.request_heads().len(), 0);
        }
        get(url, &variables).await.unwrap_err();
        assert_eq!(std::mem::take(&mut *proxy.request_heads()).len(), 1);
    }
}

#[tokio::test]
async fn the_proxys_credentials_are_sent_to_the_proxy_and_not_logged() {
    let simulator = Simulator::start().await;
    let proxy = Proxy::start(&[]).await;
    let secrets_manager = format!("https://{SECRETS_MANAGER}");
    let url = format!("http://user:{CANARY}%2F@{}", proxy.address());
    let variables = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*secrets_manager),
        ("HTTPS_PROXY", &url),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ];
    let lambda = Lambda::start(&simulator, &variables).await;

    let outcome = lambda.rotate_unknown().await;

    assert_eq!(outcome.error_type, "SecretsManagerUnavailable");
    assert!(!outcome.message.contains(CANARY), "{outcome:?}");
    let head = proxy.request_heads()[0].to_lowercase();
    assert!(head.contains("proxy-authorization: basic "), "{head}");
    lambda.assert_nothing_secret_was_printed();
}

/// A rotation in a network whose only route to the internet is a proxy that inspects TLS.
#[tokio::test]
async fn the_program_rotates_through_a_proxy_that_inspects_tls() {
    let world = World::new(Setting {
        key_type: KeyType::Cloud,
        mode: Mode::SelfRotation,
        ..Setting::default()
    })
    .await;
    let simulator = &world.simulator;
    let authority = CertificateAuthority::default();
    let confluent = authority
        .serve(&[CONFLUENT], &simulator.confluent_url())
        .await;
    let aws = simulator.secrets_manager_url();
    let aws = authority.serve(&[SECRETS_MANAGER], &aws).await;
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
    assert_ne!(world.key("AWSCURRENT"), Some(world.initial_key.clone()));
    for (host, _) in hosts {
        let request = format!("CONNECT {host}:443 ");
        let heads = proxy.request_heads();
        assert!(
            heads.iter().any(|head| head.starts_with(&request)),
            "{host}"
        );
    }
}
