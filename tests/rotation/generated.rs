//! Input that nobody thought of: what is read from outside never panics, never shows up in an error, and means what
//! a second, simpler rule says it means.
//!
//! The seed is fixed, so that a failure is the same failure the next time. The smallest case that fails is printed.

use std::fmt::Debug;

use aws_smithy_types::base64;
use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::document::{self, Document};
use confluent_key_rotation::event::Event;
use confluent_key_rotation::http::{AllowedHosts, Answer};
use confluent_key_rotation::refusal::Refusal;
use confluent_key_rotation::resource::{Endpoint, Probed, Resource};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};
use reqwest::StatusCode;
use simulator::CANARY;
use url::Url;

use super::*;

/// How many inputs each test tries.
const CASES: u32 = 10_000;

/// Runs `check` on inputs that `strategy` makes.
fn each<S: Strategy>(strategy: S, check: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0),
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        check(input);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn key(id: impl Into<String>, secret: impl Into<String>) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(id.into()),
        secret: Redacted::new(secret.into()),
    }
}

/// A key of Confluent's length, or with whatever characters there are in its secret.
fn api_key(prefix: &'static str) -> impl Strategy<Value = ApiKey> {
    let secret = prop_oneof![
        "[A-Za-z0-9+/]{16,64}",
        "\\PC{0,20}",
        "[\"'\\\\:/\n\u{1f511} ]{0,8}"
    ];
    ("[A-Z0-9]{8,16}", secret).prop_map(move |(id, secret)| {
        key(
            format!("{prefix}{id}"),
            format!("{CANARY}{prefix}{secret}."),
        )
    })
}

/// What is shown of a thing must not hold a secret.
fn assert_not_shown(shown: &str, input: &dyn Debug) {
    assert!(!shown.contains(CANARY), "{shown}\nof {input:?}");
}

/// A part of a secret value's text: what stays, or a string with the key in it.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Id,
    Secret,
    UserInfo,
    Jaas,
}

/// How the strings with the key are written at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// As a program writes them.
    Usual,
    /// With every character escaped.
    Escaped,
    /// With white space around them.
    Padded,
}

impl Part {
    fn written(&self, key: &ApiKey, spelling: Spelling) -> String {
        let (id, secret) = (key.id.as_str(), key.secret.expose());
        let escaped = |text: &str| {
            text.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\'', "\\'")
        };
        let text = match self {
            Self::Text(text) => return text.clone(),
            Self::Id => id.to_owned(),
            Self::Secret => secret.to_owned(),
            Self::UserInfo => format!("{id}:{secret}"),
            Self::Jaas => format!(
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{}\" password='{}';",
                escaped(id),
                escaped(secret)
            ),
        };
        match spelling {
            Spelling::Usual => json!(text).to_string(),
            Spelling::Escaped => {
                let units = text.encode_utf16();
                let units: Vec<_> = units.map(|unit| format!("\\u{unit:04X}")).collect();
                format!("\"{}\"", units.concat())
            }
            Spelling::Padded if matches!(self, Self::Jaas) => json!(text).to_string(),
            Spelling::Padded => json!(format!(" \t{text}\n")).to_string(),
        }
    }
}

/// A secret value and the rule of what a rotation makes of it.
#[derive(Clone, Debug)]
struct Template {
    parts: Vec<Part>,
    old: ApiKey,
    new: ApiKey,
    spelling: Spelling,
}

impl Template {
    fn with(&self, key: &ApiKey, spelling: Spelling) -> String {
        self.parts
            .iter()
            .map(|part| part.written(key, spelling))
            .collect()
    }

    fn text(&self) -> String {
        self.with(&self.old, self.spelling)
    }

    /// Everything that is not the key, which may be a secret of somebody else's.
    fn names_of_fields_alone(document: &Document) -> String {
        format!("{document:?} {:?}", document.warnings())
    }
}

/// The text of a field that is not ours to change: any JSON, in any spelling.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(
            &[
                "null",
                "true",
                "-0",
                "1.0",
                "1e400",
                "12345678901234567890123",
                "[]",
                "{}",
                "\"\""
            ][..]
        )
        .prop_map(str::to_owned),
        select(
            &[
                "\"\\u0041\\/\\ud800\"",
                "\"CANARY\"",
                "{\"apiKey\":\"CANARY\",\"apiKey\":[1 , 2]}"
            ][..]
        )
        .prop_map(str::to_owned),
        "\\PC{0,12}".prop_map(|text| json!(text).to_string()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let pairs = vec(("\\PC{0,4}", inner.clone()), 0..3);
        prop_oneof![
            vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(" ,"))),
            pairs.prop_map(|pairs| {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", json!(name)))
                    .collect();
                format!("{{{}}}", pairs.join("\n, "))
            }),
        ]
    })
}

/// One row of fields that may hold the key: absent, with the key, with another one, or with a number in one of them.
fn row(fields: &'static [(&'static str, Part)]) -> impl Strategy<Value = Vec<(String, Part)>> {
    (0..4_u8).prop_map(move |state| {
        let foreign = Part::Text(format!("\"{CANARY} of somebody else\""));
        let with = |value: &dyn Fn(usize, &Part) -> Part| {
            let fields = fields.iter().enumerate();
            let fields = fields.map(|(nth, (name, part))| ((*name).to_owned(), value(nth, part)));
            fields.collect()
        };
        match state {
            0 => Vec::new(),
            1 => with(&|_, part| part.clone()),
            2 => with(&|_, _| foreign.clone()),
            _ => with(&|nth, _| match nth {
                0 => Part::Text("1".to_owned()),
                _ => foreign.clone(),
            }),
        }
    })
}

fn fields() -> impl Strategy<Value = Vec<(String, Part)>> {
    let owner = select(&["\"sa-1\"", "\" u-a\"", "\"sa-\\u0041b-c\""][..]);
    let other = vec(("[A-Za-z_.\u{e9}]{1,12}", json_text()), 0..5);
    let needed = owner.prop_map(|owner| {
        vec![
            ("apiKey".to_owned(), Part::Id),
            ("apiSecret".to_owned(), Part::Secret),
            ("serviceAccountId".to_owned(), Part::Text(owner.to_owned())),
        ]
    });
    // A name of ours among the others would be a field of ours.
    let other = other.prop_map(|fields| {
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (format!("_{name}"), Part::Text(value)))
            .collect::<Vec<_>>()
    });
    let rows = (
        row(&[
            ("username", Part::Id),
            ("user", Part::Id),
            ("password", Part::Secret),
        ]),
        row(&[("sasl.username", Part::Id), ("sasl.password", Part::Secret)]),
        row(&[("sasl.jaas.config", Part::Jaas)]),
        row(&[("basic.auth.user.info", Part::UserInfo)]),
        row(&[("schema.registry.basic.auth.user.info", Part::UserInfo)]),
    );
    (needed, other, rows)
        .prop_map(|(needed, other, (a, b, c, d, e))| [needed, other, a, b, c, d, e].concat())
        .prop_shuffle()
}

fn template() -> impl Strategy<Value = Template> {
    let spelling = select(
        &[
            Spelling::Usual,
            Spelling::Usual,
            Spelling::Escaped,
            Spelling::Padded,
        ][..],
    );
    let space = select(&["", " ", "\r\n\t", "  "][..]);
    (fields(), space, api_key("OLD"), api_key("NEW"), spelling).prop_map(
        |(fields, space, old, new, spelling)| {
            let mut parts = vec![Part::Text(format!("{space}{{"))];
            for (nth, (name, value)) in fields.into_iter().enumerate() {
                let comma = if nth == 0 { "" } else { "," };
                parts.push(Part::Text(format!(
                    "{comma}{space}{}{space}:{space}",
                    json!(name)
                )));
                parts.push(value);
            }
            parts.push(Part::Text(format!("{space}}}{space}")));
            Template {
                parts,
                old,
                new,
                spelling,
            }
        },
    )
}

#[test]
fn a_secret_value_with_another_key_differs_in_nothing_but_the_key() {
    each(template(), |template| {
        let (old, new) = (&template.old, &template.new);
        let text = template.text();
        let document = Document::parse(Redacted::new(text.clone())).expect("a secret value");
        assert_eq!(document.api_key(), Some(old));
        assert_eq!(
            document::api_key(&Redacted::new(text.clone()))
                .as_ref()
                .map(|(key, _)| key),
            Ok(old)
        );
        assert_not_shown(&Template::names_of_fields_alone(&document), &template);

        let rotated = document.with_api_key(new).unwrap();

        assert_eq!(rotated.expose(), template.with(new, Spelling::Usual));
        let rotated = Document::parse(rotated).expect("a rotated value");
        assert_eq!(rotated.api_key(), Some(new));
        assert!(rotated.renews(&document));
        assert_eq!(rotated.agrees_with(&document), Ok(()));
        assert_not_shown(&Template::names_of_fields_alone(&rotated), &template);
        // And back: to the very bytes, unless the key was not written as it is now.
        let back = rotated.with_api_key(old).unwrap();
        assert_eq!(back.expose(), template.with(old, Spelling::Usual));
        // The same key again changes nothing, however it is spelt; white space around it goes.
        let same = document.with_api_key(old).unwrap();
        assert!(same.expose() == text || template.spelling == Spelling::Padded);
    });
}

/// A change to a text that need not make sense.
#[derive(Clone, Debug)]
struct Damage {
    from: Index,
    length: usize,
    put: &'static str,
}

impl Damage {
    fn to(&self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        let from = self.from.index(characters.len() + 1);
        let to = characters.len().min(from + self.length);
        characters.splice(from..to, self.put.chars());
        characters.into_iter().collect()
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let put = [
        "",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        ":",
        ",",
        "null",
        "7",
        "CANARY",
        "\"CANARY\"",
        "\\ud800",
        "\u{0}",
        "\u{1f511}",
        "\"apiKey\":1,",
        "\"apiSecret\":\"CANARY\",",
        "\"serviceAccountId\":\"CANARY\",",
        "\"environmentId\":\"CANARY\",",
        "\"masterarn\":\"CANARY\",",
        "\"adminSecretArn\":\"arn:CANARY\",",
        "\"endpoint\":[\"CANARY\"],",
        "\"apiKey\":\"CANARYCANARYCANARYCANARYCANARYCANARYCANARY\",",
    ];
    let length = prop_oneof![0..4_usize, Just(usize::MAX / 2)];
    (any::<Index>(), length, select(put.to_vec())).prop_map(|(from, length, put)| Damage {
        from,
        length,
        put,
    })
}

#[test]
fn a_broken_secret_value_is_read_or_refused_and_never_quoted() {
    let damaged = (template(), vec(damage(), 1..4));
    let damaged = damaged.prop_map(|(template, damages)| {
        let text = template.text();
        (
            damages.iter().fold(text, |text, damage| damage.to(&text)),
            template.new,
        )
    });
    let anything = ("\\PC{0,40}", api_key("NEW"));
    each(prop_oneof![9 => damaged, 1 => anything], |(text, new)| {
        let input = Redacted::new(text.clone());
        if let Err(error) = document::api_key(&input) {
            assert_not_shown(&format!("{error} {error:?}"), &text);
        }
        match Document::parse(input) {
            Err(error) => assert_not_shown(&format!("{error} {error:?}"), &text),
            Ok(document) => {
                assert_not_shown(&Template::names_of_fields_alone(&document), &text);
                let rotated = document.with_api_key(&new).expect("a small value");
                let rotated = Document::parse(rotated).expect("a rotated value");
                assert_eq!(rotated.api_key(), Some(&new), "{text}");
                assert_eq!(rotated.agrees_with(&document), Ok(()), "{text}");
                assert!(rotated.renews(&document), "{text}");
            }
        }
    });
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        Just(json!(CANARY)),
        Just(json!("")),
        Just(json!([CANARY])),
        Just(json!({"Step": CANARY})),
        "\\PC{0,70}".prop_map(|text| json!(format!("{CANARY}{text}"))),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let or = |good: BoxedStrategy<Value>| prop_oneof![4 => good, 1 => value()];
    let steps = [
        "createSecret",
        "set_secret",
        "testSecret",
        "finish_secret",
        "CreateSecret",
    ];
    let step = select(steps.to_vec()).prop_map(Value::from);
    let token = "[!-~]{31,65}".prop_map(Value::from);
    let fields = vec![
        ("Step", or(step.boxed())),
        ("SecretId", or(Just(json!("arn:secret")).boxed())),
        ("ClientRequestToken", or(token.boxed())),
        ("RotationToken", or(Just(json!(CANARY)).boxed())),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| (Just(name), value))
        .collect();
    let object = (fields, vec(any::<bool>(), 4), value()).prop_map(|(fields, absent, more)| {
        let is_there = absent.iter().zip(fields);
        let there = is_there.filter(|(absent, (name, _))| !**absent || *name == "Step");
        let mut event: serde_json::Map<_, _> = there
            .map(|(_, (name, value))| (name.to_owned(), value))
            .collect();
        event.insert("More".to_owned(), more);
        Value::Object(event)
    });
    let whole = (select(steps[..4].to_vec()), "[!-~]{32,64}");
    let whole = whole.prop_map(|(step, token)| {
        json!({"Step": step, "SecretId": "arn:secret", "ClientRequestToken": token, "RotationToken": CANARY})
    });
    prop_oneof![6 => object, 3 => whole, 1 => value()]
}

/// Whether a payload is an event, told in another way than the function's.
fn is_event(payload: &Value) -> bool {
    let text = |name: &str| {
        payload
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let steps = ["create", "set", "test", "finish"];
    let is_step = steps.iter().any(|step| {
        let name = text("Step");
        name == format!("{step}Secret") || name == format!("{step}_secret")
    });
    let token = text("ClientRequestToken").as_bytes();
    let rotation_token = &payload["RotationToken"];
    is_step
        && !text("SecretId").is_empty()
        && token.len() >= 32
        && token.len() <= 64
        && token.iter().all(|byte| (b'!'..=b'~').contains(byte))
        && (rotation_token.is_null() || rotation_token.is_string())
}

#[test]
fn an_event_is_read_or_refused_and_never_quoted() {
    each(event(), |payload| {
        let read = Event::parse(&payload);

        assert_eq!(read.is_ok(), is_event(&payload), "{payload}");
        match read {
            Ok(event) => {
                let (secret, token) = (event.secret_id.as_str(), event.token.as_str());
                assert_eq!(payload["SecretId"], secret);
                assert_eq!(payload["ClientRequestToken"], token);
                let shown = format!("{event:?}").replace(&format!("{secret:?}"), "");
                assert_not_shown(&shown.replace(&format!("{token:?}"), ""), &payload);
            }
            Err(error) => assert_not_shown(&format!("{error} {error:?}"), &payload),
        }
    });
}

/// The spellings of a signer's secret that a server may repeat.
fn spellings(signer: &ApiKey) -> Vec<String> {
    let (id, secret) = (&signer.id, signer.secret.expose());
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

/// An answer that may repeat what signed the request.
#[derive(Clone, Debug)]
struct Echo {
    signer: ApiKey,
    status: u16,
    request_id: Option<String>,
    body: Vec<u8>,
}

fn echo() -> impl Strategy<Value = Echo> {
    let signer = "[A-Za-z0-9+/]{20,58}"
        .prop_map(|secret| key("ABCDEFGH12345678", format!("{CANARY}+/{secret}")));
    let piece = prop_oneof![
        "\\PC{0,20}",
        "[\\s\u{0}-\u{9f}\u{2028}\u{202e}]{1,8}",
        ".{0,600}",
        Just("quota_exceeded is currently limited to ".to_owned()),
    ];
    let text = vec((piece, any::<Option<Index>>()), 0..4);
    let shape = 0..9_u8;
    let end = prop_oneof![4 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (
        signer,
        100..1000_u16,
        text.clone(),
        text,
        shape,
        end,
        any::<bool>(),
    )
        .prop_map(|(signer, status, text, code, shape, end, has_id)| {
            let spellings = spellings(&signer);
            let said = |pieces: &[(String, Option<Index>)]| -> String {
                let said = pieces.iter().map(|(piece, echo)| {
                    format!(
                        "{piece}{}",
                        echo.map_or("", |echo| echo.get::<String>(&spellings).as_str())
                    )
                });
                said.collect()
            };
            let (text, code) = (said(&text), said(&code));
            let mut body = match shape {
                0 => json!({"errors": [{"code": code, "detail": text}]})
                    .to_string()
                    .into_bytes(),
                1 => json!({"errors": [{"code": 7, "detail": " ", "title": text}]})
                    .to_string()
                    .into_bytes(),
                2 => json!({"error_code": code, "message": text})
                    .to_string()
                    .into_bytes(),
                3 => json!({"error": {"code": code, "message": text}})
                    .to_string()
                    .into_bytes(),
                4 => json!({"error": text}).to_string().into_bytes(),
                5 => json!([{"detail": text}]).to_string().into_bytes(),
                6 => format!("<html>{text}").into_bytes(),
                7 => format!("\u{1f}{text}").into_bytes(),
                _ => [&[0xff, 0x1f, 0x8b], text.as_bytes()].concat(),
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
                signer,
                status,
                request_id,
                body,
            }
        })
}

#[test]
fn a_refusal_is_one_bounded_line_without_the_signers_secret() {
    each(echo(), |echo| {
        let status = StatusCode::from_u16(echo.status).unwrap();
        let answer = Answer::new(status, echo.request_id.clone(), echo.body.clone());

        let refusal = Refusal::of(&answer, &echo.signer);

        let shown = refusal.to_string();
        assert!(shown.chars().count() < 1_200, "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
        for text in [shown, format!("{refusal:?}"), format!("{answer:?}")] {
            // The header's own text is printed with the answer by `Debug`, and with nothing else.
            let text = text.replace(&format!("{:?}", echo.request_id), "");
            for spelling in spellings(&echo.signer) {
                assert!(
                    !text.contains(&spelling),
                    "{spelling} in {text}\nof {echo:?}"
                );
            }
        }
    });
}

fn url_text() -> impl Strategy<Value = String> {
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

/// Whether a URL, as it is sent, goes to an allowed domain: told by its text alone.
fn is_confluents(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let domains = ["confluent.cloud", "confluentgov.com", "kafka.example"];
    domains.iter().any(|domain| {
        let below = authority
            .strip_suffix(domain)
            .and_then(|labels| labels.strip_suffix('.'));
        // Any port but the usual one would stand here, and so would a user.
        authority == *domain || below.is_some_and(|labels| !labels.contains(['@', ':', '[']))
    })
}

#[test]
fn a_credential_may_go_to_https_on_an_allowed_domain_and_nowhere_else() {
    let hosts = |control_plane: &str| {
        AllowedHosts::new(
            Url::parse(control_plane).unwrap(),
            vec!["kafka.example".to_owned()],
        )
    };
    let (real, local) = (
        hosts("https://api.confluent.cloud"),
        hosts("http://127.0.0.1:1"),
    );
    each(url_text(), |text| {
        let Ok(url) = Url::parse(&text) else {
            return;
        };

        let (on_real, on_local) = (real.check(&url), local.check(&url));

        assert_eq!(
            on_real.is_ok(),
            is_confluents(url.as_str()),
            "{text:?} is {url}"
        );
        let is_loopback = ["127.", "[::1]"].iter().any(|start| {
            let rest = url.as_str().split_once("://").map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with(start))
        });
        assert_eq!(
            on_local.is_ok(),
            is_confluents(url.as_str()) || is_loopback,
            "{text:?} is {url}"
        );
        if let Err(error) = on_real {
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains(url.host_str().unwrap_or_default()),
                "{shown}"
            );
            assert!(!shown.contains("password"), "{shown}");
        }
    });
}

fn resource_text() -> impl Strategy<Value = String> {
    let start = select(
        &[
            "", "env-", "env-1.", "env-a/b.", "env-a?b.", "env-..", "env-a b.", "env-.", "x.",
        ][..],
    );
    let kind = select(
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
    (start, kind, vec(piece, 0..3))
        .prop_map(|(start, kind, pieces)| format!("{start}{kind}{}", pieces.concat()))
}

#[test]
fn a_resource_id_that_is_accepted_stays_within_one_segment_of_a_path() {
    let base = Url::parse("https://api.confluent.cloud").unwrap();
    let environment = select(&[None, Some("env-2")][..]);
    each((resource_text(), environment), |(text, environment)| {
        let Ok(resource) = Resource::new(Some(&text), environment) else {
            return;
        };
        let id = resource.id.as_str();
        let environment = resource.environment.as_deref().unwrap_or_default();
        assert!(text.ends_with(id), "{text:?}");
        assert!(
            resource.is_named_by(Some(&text), resource.environment.as_deref()),
            "{text:?}"
        );
        let segments = |url: &Url| -> Vec<String> {
            url.path().split('/').skip(1).map(str::to_owned).collect()
        };

        if let Endpoint::LookUp(look_up) = &resource.kind.endpoint {
            let url = (look_up.request)(id, environment).on(&base);
            assert_eq!(url.origin(), base.origin(), "{text:?}");
            let is_cluster = resource.kind.name != "flink";
            let names_it = segments(&url).last().is_some_and(|last| last == id);
            assert_eq!(
                segments(&url).len(),
                if is_cluster { 4 } else { 3 },
                "{text:?}: {url}"
            );
            assert!(names_it || !is_cluster, "{text:?}: {url}");
        }
        let probe = (resource.kind.probe)(&Probed {
            id,
            environment,
            organization: "o-1",
        });
        let url = probe.target.on(&base);
        assert_eq!(url.origin(), base.origin(), "{text:?}");
        let expected = match resource.kind.name {
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
        // Without an environment none is asked for: the step ends before.
        if !expected.contains(&"") {
            assert_eq!(segments(&url), expected, "{text:?}: {url}");
        }
    });
}
