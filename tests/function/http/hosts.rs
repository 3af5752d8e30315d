//! The hosts that credentials may be sent to.

use confluent_key_rotation::http;

use super::*;

fn hosts(control_plane: &str, additional_domains: &[&str]) -> AllowedHosts {
    let additional_domains = additional_domains.iter().map(|&domain| domain.to_owned());
    AllowedHosts::new(
        Url::parse(control_plane).unwrap(),
        additional_domains.collect(),
    )
}

/// Returns those of `urls` that credentials may be sent to.
fn allowed<'u>(hosts: &AllowedHosts, urls: &[&'u str]) -> Vec<&'u str> {
    let is_allowed = |url: &&str| hosts.check(&Url::parse(url).unwrap()).is_ok();
    urls.iter().copied().filter(is_allowed).collect()
}

const CONFLUENT: &str = "https://api.confluent.cloud";

#[test]
fn credentials_may_be_sent_to_confluents_domains() {
    let urls = [
        "https://api.confluent.cloud/iam/v2/api-keys",
        "https://confluent.cloud/",
        "https://pkc-12345.us-west-2.aws.confluent.cloud:443/kafka/v3",
        "https://PKC-12345.us-west-2.aws.CONFLUENT.cloud/",
        "https://lkc-1-ap2.us-east-1.aws.accesspoint.glb.confluent.cloud/",
        "https://lsrc-1.us-east-1.aws.private.confluent.cloud/",
        "https://flink.us-gov-west-1.aws.confluentgov.com/",
    ];

    let allowed = allowed(&hosts(CONFLUENT, &[]), &urls);

    assert_eq!(allowed, urls);
}

/// Credentials are sent only to Confluent's control plane, to the resource's own endpoint on an allowed domain, and to AWS,
/// over TLS and without following redirects.
#[test]
fn credentials_are_sent_to_no_other_host() {
    let urls = [
        // Names that resemble Confluent's.
        "https://confluent.cloud.evil.example/",
        "https://evilconfluent.cloud/",
        "https://confluent.cloud-evil.example/",
        "https://confluentgov.com.evil.example/",
        "https://evil.example/confluent.cloud",
        "https://evil.example?.confluent.cloud",
        "https://evil.example#.confluent.cloud",
        "https://evil.example\\.confluent.cloud",
        "https://confluent\u{3002}cloud\u{3002}evil.example/",
        "https://\u{441}onfluent.cloud/",
        "https://pkc-1.confluent.cloud./",
        // User information, which can be mistaken for the host.
        "https://api.confluent.cloud@evil.example/",
        "https://user@api.confluent.cloud/",
        "https://user:password@pkc-1.confluent.cloud/",
        "https://:password@pkc-1.confluent.cloud/",
        // Not HTTPS, or another port.
        "http://api.confluent.cloud/",
        "http://pkc-1.confluent.cloud:443/",
        "ftp://pkc-1.confluent.cloud/",
        "https://pkc-1.confluent.cloud:8443/",
        "https://api.confluent.cloud:80/",
        // IP addresses in every spelling: link-local (metadata service), private, loopback.
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0/",
        "https://8.8.8.8/",
        "http://[::1]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[2001:db8::1]/",
        "http://localhost/",
        "https://localhost/",
    ];

    let allowed = allowed(&hosts(CONFLUENT, &[]), &urls);

    assert!(allowed.is_empty(), "{allowed:?}");
}

#[test]
fn an_added_domain_matches_itself_and_its_subdomains() {
    let urls = [
        "https://kafka.example/",
        "https://lkc-1.kafka.example/",
        "https://evilkafka.example/",
        "https://kafka.example.evil/",
        "http://lkc-1.kafka.example/",
        "https://pkc-1.confluent.cloud/",
    ];

    let allowed = allowed(&hosts(CONFLUENT, &["kafka.example"]), &urls);

    assert_eq!(allowed, [urls[0], urls[1], urls[5]]);
}

#[test]
fn plain_http_is_allowed_to_loopback_only_if_the_control_plane_is_on_loopback() {
    let urls = [
        "http://127.0.0.1:9999/",
        "http://127.1.2.3:1/",
        "http://[::1]:9999/",
        "http://localhost:9999/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0:9999/",
        "http://pkc-1.confluent.cloud/",
    ];

    let with_loopback = allowed(&hosts("http://127.0.0.1:1234", &[]), &urls);
    let with_confluent = allowed(&hosts(CONFLUENT, &[]), &urls);

    assert_eq!(with_loopback, urls[..3]);
    assert!(with_confluent.is_empty(), "{with_confluent:?}");
}

#[test]
fn a_configured_control_plane_is_allowed_with_its_exact_origin() {
    let urls = [
        "https://confluent.proxy.example:8443/iam/v2/api-keys",
        "https://confluent.proxy.example/",
        "https://user@confluent.proxy.example:8443/",
        "https://sub.confluent.proxy.example:8443/",
    ];

    let allowed = allowed(&hosts("https://confluent.proxy.example:8443", &[]), &urls);

    assert_eq!(allowed, [urls[0]]);
}

#[test]
fn the_error_names_the_host_and_no_user_information() {
    let hosts = hosts(CONFLUENT, &[]);
    for (url, host) in [
        ("https://evil.example/path", "evil.example"),
        (
            "https://pkc-1.confluent.cloud:8443/",
            "pkc-1.confluent.cloud:8443",
        ),
        ("https://[fe80::1]/", "[fe80::1]"),
        ("https://name:hunter2@evil.example/?hunter2", "evil.example"),
    ] {
        let error = hosts.check(&Url::parse(url).unwrap()).expect_err(url);

        let output = format!("{error} {error:?}");
        assert!(output.contains(host), "{url}: {output}");
        assert!(!output.contains("hunter2"), "{url}: {output}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_allowed() {
    let world = World::new(Setting::default()).await;
    let key = world.admin_key();
    let http = Http::new(
        world.function.http.clone(),
        hosts(CONFLUENT, &[]),
        world.function.http_limits,
    );
    let request = requests::get(&world, &key);

    let outcome = http.send(&request, Deadline::after(AMPLE)).await;

    let is_not_allowed = matches!(outcome, Err(http::Error::HostNotAllowed { .. }));
    assert!(is_not_allowed, "{outcome:?}");
    assert!(!outcome.unwrap_err().may_have_taken_effect());
    assert_eq!(world.requests(), [""; 0]);
}
