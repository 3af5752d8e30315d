//! Generated secret values: parsed or rejected, never quoted, and changed only in the key.

use confluent_key_rotation::confluent::ApiKey;
use confluent_key_rotation::http::Redacted;
use confluent_key_rotation::secret::{self, SecretValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use simulator::CANARY;

use super::*;
use crate::generated::{assert_no_canary, for_each, key};

/// A key of the length of Confluent's keys, or with any characters in its secret.
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

/// A part of a secret value: JSON that a rotation does not change, or a string that holds the key.
#[derive(Clone, Debug)]
enum Part {
    Unchanged(String),
    Id,
    Secret,
    UserInfo,
    Jaas,
}

/// How the strings that hold the key are written before the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// As a JSON library writes them.
    Usual,
    /// With every character escaped.
    Escaped,
    /// With whitespace around them.
    Padded,
}

impl Part {
    fn json(&self, key: &ApiKey, spelling: Spelling) -> String {
        let (id, secret) = (key.id.as_str(), key.secret.expose());
        let escaped = |string: &str| {
            string
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\'', "\\'")
        };
        let string = match self {
            Self::Unchanged(json) => return json.clone(),
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
            Spelling::Usual => json!(string).to_string(),
            Spelling::Escaped => {
                let units = string.encode_utf16();
                let units: Vec<_> = units.map(|unit| format!("\\u{unit:04X}")).collect();
                format!("\"{}\"", units.concat())
            }
            Spelling::Padded if matches!(self, Self::Jaas) => json!(string).to_string(),
            Spelling::Padded => json!(format!(" \t{string}\n")).to_string(),
        }
    }
}

/// A secret value, and the rule that a rotation follows.
#[derive(Clone, Debug)]
struct Template {
    parts: Vec<Part>,
    current: ApiKey,
    pending: ApiKey,
    spelling: Spelling,
}

impl Template {
    fn with(&self, key: &ApiKey, spelling: Spelling) -> String {
        self.parts
            .iter()
            .map(|part| part.json(key, spelling))
            .collect()
    }

    fn current_json(&self) -> String {
        self.with(&self.current, self.spelling)
    }
}

/// Returns everything that is printed of a value. It may only name fields.
fn output(value: &SecretValue) -> String {
    format!("{value:?} {:?}", value.warnings())
}

/// The value of another application's field: any JSON, in any spelling.
fn any_json() -> impl Strategy<Value = String> {
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
        "\\PC{0,12}".prop_map(|string| json!(string).to_string()),
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

/// A group of fields that may hold the key: absent, with the key, with another key, or with a number in the first field.
fn group(fields: &'static [(&'static str, Part)]) -> impl Strategy<Value = Vec<(String, Part)>> {
    (0..4_u8).prop_map(move |state| {
        let another = Part::Unchanged(format!("\"{CANARY} of another application\""));
        let with = |value: &dyn Fn(usize, &Part) -> Part| {
            let fields = fields.iter().enumerate();
            let fields = fields.map(|(nth, (name, part))| ((*name).to_owned(), value(nth, part)));
            fields.collect()
        };
        match state {
            0 => Vec::new(),
            1 => with(&|_, part| part.clone()),
            2 => with(&|_, _| another.clone()),
            _ => with(&|nth, _| match nth {
                0 => Part::Unchanged("1".to_owned()),
                _ => another.clone(),
            }),
        }
    })
}

fn fields() -> impl Strategy<Value = Vec<(String, Part)>> {
    let owner = select(&["\"sa-1\"", "\" u-a\"", "\"sa-\\u0041b-c\""][..]);
    let other = vec(("[A-Za-z_.\u{e9}]{1,12}", any_json()), 0..5);
    let required = owner.prop_map(|owner| {
        vec![
            ("apiKey".to_owned(), Part::Id),
            ("apiSecret".to_owned(), Part::Secret),
            (
                "serviceAccountId".to_owned(),
                Part::Unchanged(owner.to_owned()),
            ),
        ]
    });
    // The prefix keeps these names different from the names of known fields.
    let other = other.prop_map(|fields| {
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (format!("_{name}"), Part::Unchanged(value)))
            .collect::<Vec<_>>()
    });
    let groups = (
        group(&[
            ("username", Part::Id),
            ("user", Part::Id),
            ("password", Part::Secret),
        ]),
        group(&[("sasl.username", Part::Id), ("sasl.password", Part::Secret)]),
        group(&[("sasl.jaas.config", Part::Jaas)]),
        group(&[("basic.auth.user.info", Part::UserInfo)]),
        group(&[("schema.registry.basic.auth.user.info", Part::UserInfo)]),
    );
    (required, other, groups)
        .prop_map(|(required, other, (a, b, c, d, e))| [required, other, a, b, c, d, e].concat())
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
    (
        fields(),
        space,
        api_key("CURRENT"),
        api_key("PENDING"),
        spelling,
    )
        .prop_map(|(fields, space, current, pending, spelling)| {
            let mut parts = vec![Part::Unchanged(format!("{space}{{"))];
            for (nth, (name, value)) in fields.into_iter().enumerate() {
                let comma = if nth == 0 { "" } else { "," };
                parts.push(Part::Unchanged(format!(
                    "{comma}{space}{}{space}:{space}",
                    json!(name)
                )));
                parts.push(value);
            }
            parts.push(Part::Unchanged(format!("{space}}}{space}")));
            Template {
                parts,
                current,
                pending,
                spelling,
            }
        })
}

#[test]
fn replacing_the_key_changes_only_the_key() {
    for_each(template(), |template| {
        let (current, pending) = (&template.current, &template.pending);
        let json = template.current_json();
        let value = SecretValue::parse(Redacted::new(json.clone())).expect("a secret value");
        assert_eq!(value.api_key(), Some(current));
        assert_eq!(
            secret::api_key(&Redacted::new(json.clone()))
                .as_ref()
                .map(|(key, _)| key),
            Ok(current)
        );
        assert_no_canary(&output(&value), &template);

        let rotated = value.with_api_key(pending).unwrap();

        assert_eq!(rotated.expose(), template.with(pending, Spelling::Usual));
        let rotated = SecretValue::parse(rotated).expect("a rotated value");
        assert_eq!(rotated.api_key(), Some(pending));
        assert!(rotated.differs_only_in_key_from(&value));
        assert_eq!(rotated.has_same_scope_as(&value), Ok(()));
        assert_no_canary(&output(&rotated), &template);
        let restored = rotated.with_api_key(current).unwrap();
        assert_eq!(restored.expose(), template.with(current, Spelling::Usual));
        // Replacing the key with itself keeps its spelling, and removes only the whitespace around it.
        let same = value.with_api_key(current).unwrap();
        assert!(same.expose() == json || template.spelling == Spelling::Padded);
    });
}

/// An arbitrary change to a string.
#[derive(Clone, Debug)]
struct Damage {
    from: Index,
    length: usize,
    replacement: &'static str,
}

impl Damage {
    fn apply(&self, string: &str) -> String {
        let mut characters: Vec<char> = string.chars().collect();
        let from = self.from.index(characters.len() + 1);
        let to = characters.len().min(from + self.length);
        characters.splice(from..to, self.replacement.chars());
        characters.into_iter().collect()
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let replacements = [
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
    (any::<Index>(), length, select(replacements.to_vec())).prop_map(
        |(from, length, replacement)| Damage {
            from,
            length,
            replacement,
        },
    )
}

#[test]
fn a_damaged_secret_value_is_parsed_or_rejected_and_never_quoted() {
    let damaged = (template(), vec(damage(), 1..4));
    let damaged = damaged.prop_map(|(template, damages)| {
        let json = template.current_json();
        let damaged = damages
            .iter()
            .fold(json, |json, damage| damage.apply(&json));
        (damaged, template.pending)
    });
    let anything = ("\\PC{0,40}", api_key("PENDING"));
    for_each(
        prop_oneof![9 => damaged, 1 => anything],
        |(json, pending)| {
            let input = Redacted::new(json.clone());
            if let Err(error) = secret::api_key(&input) {
                assert_no_canary(&format!("{error} {error:?}"), &json);
            }
            match SecretValue::parse(input) {
                Err(error) => assert_no_canary(&format!("{error} {error:?}"), &json),
                Ok(value) => {
                    assert_no_canary(&output(&value), &json);
                    let rotated = value.with_api_key(&pending).expect("a small value");
                    let rotated = SecretValue::parse(rotated).expect("a rotated value");
                    assert_eq!(rotated.api_key(), Some(&pending), "{json}");
                    assert_eq!(rotated.has_same_scope_as(&value), Ok(()), "{json}");
                    assert!(rotated.differs_only_in_key_from(&value), "{json}");
                }
            }
        },
    );
}
