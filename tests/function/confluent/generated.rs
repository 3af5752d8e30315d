//! Generated error responses and resource IDs.

use aws_smithy_types::base64;
use confluent_key_rotation::confluent::{
    ApiKey, Endpoint, EndpointSource, ErrorResponse, ProbeTarget, Resource,
};
use confluent_key_rotation::http::Response;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reqwest::StatusCode;
use simulator::CANARY;
use url::Url;

use super::*;
use crate::generated::{for_each, key};

/// Returns the spellings of a key's secret that a server may echo.
fn spellings(key: &ApiKey) -> Vec<String> {
    let (id, secret) = (&key.id, key.secret.expose());
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let basic = base64::encode(format!("{id}:{secret}"));
    vec![
        secret.to_owned(),
        base64::encode(secret),
        basic,
        percent.replace('+', "%20"),
        percent,
    ]
}

/// Returns the spellings of every 20 characters of a key's secret. In base64, these are 27 characters.
fn leaks(key: &ApiKey) -> Vec<String> {
    let secret = key.secret.expose();
    let plain = secret.as_bytes().windows(20);
    let plain = plain.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let percent = |plain: &String| url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let percent: Vec<String> = plain.clone().map(|plain| percent(&plain)).collect();
    let base64 = [
        base64::encode(secret),
        base64::encode(format!("{}:{secret}", key.id)),
    ];
    let base64 = base64.iter().flat_map(|form| {
        let windows = form.as_bytes().windows(27);
        windows.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    });
    plain.chain(base64).chain(percent).collect()
}

/// An error response that may echo the credentials of the request.
#[derive(Clone, Debug)]
struct Echo {
    key: ApiKey,
    status: u16,
    request_id: Option<String>,
    body: Vec<u8>,
}

fn echo() -> impl Strategy<Value = Echo> {
    let api_key = "[A-Za-z0-9+/]{20,58}"
        .prop_map(|secret| key("ABCDEFGH12345678", format!("{CANARY}+/{secret}")));
    let piece = prop_oneof![
        "\\PC{0,20}",
        "[\\s\u{0}-\u{9f}\u{2028}\u{202e}]{1,8}",
        ".{0,600}",
        Just("quota_exceeded is currently limited to ".to_owned()),
    ];
    let string = vec((piece, any::<Option<Index>>()), 0..4);
    let shape = 0..9_u8;
    let end = prop_oneof![4 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (
        api_key,
        100..1000_u16,
        string.clone(),
        string,
        shape,
        end,
        any::<bool>(),
    )
        .prop_map(|(key, status, detail, code, shape, end, has_id)| {
            let spellings = spellings(&key);
            let joined = |pieces: &[(String, Option<Index>)]| -> String {
                let pieces = pieces.iter().map(|(piece, echo)| {
                    format!(
                        "{piece}{}",
                        echo.map_or("", |echo| echo.get::<String>(&spellings).as_str())
                    )
                });
                pieces.collect()
            };
            let (detail, code) = (joined(&detail), joined(&code));
            let mut body = match shape {
                0 => json!({"errors": [{"code": code, "detail": detail}]})
                    .to_string()
                    .into_bytes(),
                1 => json!({"errors": [{"code": 7, "detail": " ", "title": detail}]})
                    .to_string()
                    .into_bytes(),
                2 => json!({"error_code": code, "message": detail})
                    .to_string()
                    .into_bytes(),
                3 => json!({"error": {"code": code, "message": detail}})
                    .to_string()
                    .into_bytes(),
                4 => json!({"error": detail}).to_string().into_bytes(),
                5 => json!([{"detail": detail}]).to_string().into_bytes(),
                6 => format!("<html>{detail}").into_bytes(),
                7 => format!("\u{1f}{detail}").into_bytes(),
                _ => [&[0xff, 0x1f, 0x8b], detail.as_bytes()].concat(),
            };
            if let Some(end) = end {
                body.truncate(end.index(body.len() + 1));
            }
            let request_id = has_id.then(|| {
                code.chars()
                    .filter(char::is_ascii_graphic)
                    .take(100)
                    .collect()
            });
            Echo {
                key,
                status,
                request_id,
                body,
            }
        })
}

#[test]
fn an_error_response_is_one_bounded_line_without_the_api_secret() {
    for_each(echo(), |echo| {
        let status = StatusCode::from_u16(echo.status).unwrap();
        let response = Response::new(status, echo.request_id.clone(), echo.body.clone());

        let error = ErrorResponse::parse(&response, |text| echo.key.is_in(text));

        let message = error.to_string();
        assert!(message.chars().count() < 1_200, "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
        for output in [message, format!("{error:?}"), format!("{response:?}")] {
            for leak in leaks(&echo.key) {
                assert!(!output.contains(&leak), "{leak} in {output}\nof {echo:?}");
            }
        }
    });
}

fn resource_id() -> impl Strategy<Value = String> {
    let start = select(
        &[
            "", "env-", "env-1.", "env-a/b.", "env-a?b.", "env-..", "env-a b.", "env-.", "x.",
        ][..],
    );
    let key_type = select(
        &[
            "lkc-",
            "lsrc-",
            "lksqlc-",
            "aws.",
            "azure.",
            "gcp.",
            "AWS.",
            "cloud",
            "CLOUD",
            "Tableflow",
            "global",
            "lkc",
            "pkc-",
            "",
        ][..],
    );
    let piece = prop_oneof![
        6 => "[a-z0-9-]{1,8}",
        1 => select(&["..", ".", "/", "\\", "%2f", "%2e%2e", "?x", "#", ";", " ", "\n", "\u{e9}", "@evil", ":", ""][..])
            .prop_map(str::to_owned),
    ];
    (start, key_type, vec(piece, 0..3))
        .prop_map(|(start, key_type, pieces)| format!("{start}{key_type}{}", pieces.concat()))
}

#[test]
fn a_valid_resource_id_is_a_single_segment_of_a_path() {
    let base = Url::parse("https://api.confluent.cloud").unwrap();
    let environment = select(&[None, Some("env-2")][..]);
    let control_plane = AllowedHosts::new(base.clone(), Vec::new()).control_plane();
    for_each(
        (resource_id(), environment),
        |(resource_id, environment)| {
            let Some(resource) = Resource::new(Some(&resource_id), environment) else {
                return;
            };
            let id = resource.id.as_str();
            let environment = resource.environment.as_deref().unwrap_or_default();
            assert!(resource_id.ends_with(id), "{resource_id:?}");
            assert!(
                resource.matches(Some(&resource_id), resource.environment.as_deref()),
                "{resource_id:?}"
            );
            let segments = |url: &Url| -> Vec<String> {
                url.path().split('/').skip(1).map(str::to_owned).collect()
            };

            if let EndpointSource::Lookup(lookup) = &resource.key_type.endpoint {
                let url = (lookup.url)(&control_plane, id, environment);
                let url = url.as_url();
                assert_eq!(url.origin(), base.origin(), "{resource_id:?}");
                let is_cluster = resource.key_type.name != "flink";
                let ends_with_id = segments(url).last().is_some_and(|last| last == id);
                assert_eq!(
                    segments(url).len(),
                    if is_cluster { 4 } else { 3 },
                    "{resource_id:?}: {url}"
                );
                assert!(ends_with_id || !is_cluster, "{resource_id:?}: {url}");
            }
            let url = (resource.key_type.probe)(&ProbeTarget {
                resource: &resource,
                endpoint: Endpoint {
                    environment: environment.to_owned(),
                    organization: "o-1".to_owned(),
                    ..Endpoint::new(base.clone())
                },
                field: None,
            });
            assert_eq!(url.origin(), base.origin(), "{resource_id:?}");
            let expected = match resource.key_type.name {
                "kafka" => vec!["kafka", "v3", "clusters", id, "topics"],
                "flink" => vec![
                    "sql",
                    "v1",
                    "organizations",
                    "o-1",
                    "environments",
                    environment,
                    "statements",
                ],
                "schema-registry" => vec!["subjects"],
                "ksqldb" => vec!["ksql"],
                "tableflow" => vec!["tableflow", "v1", "regions"],
                _ => vec!["org", "v2", "environments"],
            };
            // Without an environment, the step fails before the probe.
            if !expected.contains(&"") {
                assert_eq!(segments(&url), expected, "{resource_id:?}: {url}");
            }
        },
    );
}
