//! Generated URLs: credentials are sent only to allowed hosts.

use confluent_key_rotation::http::AllowedHosts;
use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

use crate::generated::for_each;

fn url() -> impl Strategy<Value = String> {
    let scheme = select(
        &[
            "https://", "https://", "https://", "HTTPS://", "http://", "ftp://", "https:", "//",
        ][..],
    );
    let user = select(
        &[
            "",
            "",
            "",
            "",
            "user@",
            "user:password@",
            ":password@",
            "api.confluent.cloud@",
            "@",
        ][..],
    );
    let label = select(
        &[
            "", "", "pkc-1.", "evil", "evil.", "a.b.", "-", ".", "xn--", "\u{441}", "%2e", "*.",
            "_.",
        ][..],
    );
    let host = select(
        &[
            "confluent.cloud",
            "confluent.cloud",
            "CONFLUENT.Cloud",
            "confluentgov.com",
            "kafka.example",
            "confluent.cloud.evil.example",
            "confluent.cloud.",
            "confluent.cloud..",
            "confluent.clou\u{e9}",
            "confluent\u{3002}cloud",
            "confluent\u{ff0e}cloud",
            "c\u{43e}nfluent.cloud",
            "confluent.cloud%00.evil",
            "confluent%2ecloud",
            "169.254.169.254",
            "10.0.0.1",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "cloud",
            "confluent.cl\u{ad}oud",
            "confluent.cloud\u{200b}",
        ][..],
    );
    let port = select(
        &[
            "", "", "", ":443", ":443", ":80", ":8443", ":0443", ":", ":0", ":65536",
        ][..],
    );
    let rest = select(
        &[
            "",
            "/",
            "/iam?x=y#z",
            "\\evil.example",
            "#@evil.example",
            "?@evil.example",
            "/../..",
        ][..],
    );
    let built = (scheme, user, label, host, port, rest);
    let built = built.prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].concat());
    prop_oneof![8 => built, 1 => "https://\\PC{1,20}confluent.cloud", 1 => "https://[a-z.@:/\\\\]{0,30}"]
}

/// Returns whether the host of a normalized URL is in an allowed domain, by a second implementation of the rule.
fn is_allowed(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let domains = ["confluent.cloud", "confluentgov.com", "kafka.example"];
    domains.iter().any(|domain| {
        let below = authority
            .strip_suffix(domain)
            .and_then(|labels| labels.strip_suffix('.'));
        // A `:` would start a port other than 443, and an `@` would end a user name.
        authority == *domain || below.is_some_and(|labels| !labels.contains(['@', ':', '[']))
    })
}

#[test]
fn credentials_are_sent_only_over_https_to_an_allowed_domain() {
    let hosts = |control_plane: &str| {
        AllowedHosts::new(
            Url::parse(control_plane).unwrap(),
            vec!["kafka.example".to_owned()],
        )
    };
    let (confluent, loopback) = (
        hosts("https://api.confluent.cloud"),
        hosts("http://127.0.0.1:1"),
    );
    for_each(url(), |string| {
        let Ok(url) = Url::parse(&string) else {
            return;
        };

        let (by_confluent, by_loopback) = (confluent.check(&url), loopback.check(&url));

        assert_eq!(
            by_confluent.is_ok(),
            is_allowed(url.as_str()),
            "{string:?} is {url}"
        );
        let is_loopback = ["127.", "[::1]"].iter().any(|start| {
            let rest = url.as_str().split_once("://").map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with(start))
        });
        assert_eq!(
            by_loopback.is_ok(),
            is_allowed(url.as_str()) || is_loopback,
            "{string:?} is {url}"
        );
        if let Err(error) = by_confluent {
            let message = format!("{error} {error:?}");
            assert!(
                message.contains(url.host_str().unwrap_or_default()),
                "{message}"
            );
            assert!(!message.contains("password"), "{message}");
        }
    });
}
