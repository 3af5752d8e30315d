//! Where a credential may be sent.

use super::*;

fn hosts(control_plane: &str, more_domains: &[&str]) -> AllowedHosts {
    let more_domains = more_domains.iter().map(|&domain| domain.to_owned());
    AllowedHosts::new(Url::parse(control_plane).unwrap(), more_domains.collect())
}

/// Every URL that may be sent to, of those given.
fn allowed<'u>(hosts: &AllowedHosts, urls: &[&'u str]) -> Vec<&'u str> {
    let is_allowed = |url: &&str| hosts.check(&Url::parse(url).unwrap()).is_ok();
    urls.iter().copied().filter(is_allowed).collect()
}

const CONFLUENT: &str = "https://api.confluent.cloud";

#[test]
fn a_credential_may_go_to_confluents_own_domains() {
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

/// A credential is sent only to Confluent's control plane, to the resource's own endpoint on an allowed domain, and
/// to Secrets Manager: https, no redirects followed.
#[test]
fn a_credential_goes_nowhere_else() {
    let urls = [
        // Names that only look like Confluent's.
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
        // User information, which a reader takes for the host.
        "https://api.confluent.cloud@evil.example/",
        "https://user@api.confluent.cloud/",
        "https://user:password@pkc-1.confluent.cloud/",
        "https://:password@pkc-1.confluent.cloud/",
        // Not https, or not its port.
        "http://api.confluent.cloud/",
        "http://pkc-1.confluent.cloud:443/",
        "ftp://pkc-1.confluent.cloud/",
        "https://pkc-1.confluent.cloud:8443/",
        "https://api.confluent.cloud:80/",
        // Addresses: link-local with its metadata service, private, loopback, in any spelling.
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
fn a_domain_that_was_added_is_matched_at_its_labels_too() {
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
fn plain_http_goes_to_loopback_addresses_while_the_control_plane_is_one() {
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

    let from_loopback = allowed(&hosts("http://127.0.0.1:1234", &[]), &urls);
    let from_elsewhere = allowed(&hosts(CONFLUENT, &[]), &urls);

    assert_eq!(from_loopback, urls[..3]);
    assert!(from_elsewhere.is_empty(), "{from_elsewhere:?}");
}

#[test]
fn a_control_plane_of_ones_own_is_allowed_as_it_is_configured() {
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
fn the_refusal_names_the_host_and_no_user_information() {
    let hosts = hosts(CONFLUENT, &[]);
    for (url, names) in [
        ("https://evil.example/path", "evil.example"),
        (
            "https://pkc-1.confluent.cloud:8443/",
            "pkc-1.confluent.cloud:8443",
        ),
        ("https://[fe80::1]/", "[fe80::1]"),
        ("https://name:hunter2@evil.example/?hunter2", "evil.example"),
    ] {
        let error = hosts.check(&Url::parse(url).unwrap()).expect_err(url);

        let text = format!("{error} {error:?}");
        assert!(text.contains(names), "{url}: {text}");
        assert!(!text.contains("hunter2"), "{url}: {text}");
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

    let refused = matches!(outcome, Err(http::Error::HostNotAllowed { .. }));
    assert!(refused, "{outcome:?}");
    assert!(!outcome.unwrap_err().may_have_been_carried_out());
    assert_eq!(world.requests(), [""; 0]);
}
