//! Generated secret values: parsed or rejected, never quoted, and changed only in the key.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use confluent_key_rotation::confluent::ApiKey;
use confluent_key_rotation::http::Redacted;
use confluent_key_rotation::secret::{self, SecretValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use simulator::CANARY;

use super::layouts::{pair_in_base64, percent};
use super::*;
use crate::generated::{assert_no_canary, for_each, key};

/// A key with the characters and plausible lengths of Confluent's keys.
fn api_key(prefix: &'static str) -> impl Strategy<Value = ApiKey> {
    let secret = prop_oneof![
        "[A-Za-z0-9+/]{51}",
        "[A-Za-z0-9]{51}",
        "[A-Za-z0-9+/=_.-]{24,70}"
    ];
    ("[A-Z0-9]{9}", secret).prop_map(move |(id, secret)| {
        key(format!("{prefix}{id}"), format!("{CANARY}{prefix}{secret}"))
    })
}

/// A part of the JSON: text that a rotation does not change, or a form of the key.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// The ID, with a choice of spelling for each character.
    Id(Vec<u8>),
    /// The API secret, in the same way.
    Secret(Vec<u8>),
    /// The API secret in the user info of a URL.
    InUrl,
    /// ID and API secret in base64.
    Base64,
}

impl Part {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Returns the JSON before a rotation.
    fn json(&self, key: &ApiKey) -> String {
        let (id, secret) = (key.id.as_str(), key.secret.expose());
        match self {
            Self::Text(text) => text.clone(),
            Self::Id(choices) => spell(id, choices),
            Self::Secret(choices) => spell(secret, choices),
            Self::InUrl => percent(secret),
            Self::Base64 => pair_in_base64(key.id.as_str(), key.secret.expose()),
        }
    }

    /// Returns the JSON after a rotation of `current`.
    fn replaced_json(&self, current: &ApiKey, key: &ApiKey) -> String {
        match self {
            Self::Id(_) => key.id.to_string(),
            Self::Secret(_) if !self.json(current).contains('%') => key.secret.expose().to_owned(),
            Self::Secret(_) => percent(key.secret.expose()),
            other => other.json(key),
        }
    }
}

/// Spells each character of a word as the next of `choices` says.
fn spell(word: &str, choices: &[u8]) -> String {
    let spell = |(character, choice): (char, &u8)| {
        let code = u32::from(character);
        // JSON allows one backslash in front of `/`, and any even number of them in front of every character.
        let backslashes = |count: u8| "\\".repeat(usize::from(count));
        match choice {
            0..4 if !character.is_ascii_alphanumeric() => {
                format!("{}{character}", backslashes(choice * 2 + 2))
            }
            4 if character == '/' => "\\/".to_owned(),
            5 => format!("{}u{code:04x}", backslashes(1)),
            6 => format!("{}u{code:04X}", backslashes(2)),
            7 => format!("%{code:02X}"),
            8 => format!("%{code:02x}"),
            _ => character.to_string(),
        }
    };
    word.chars()
        .zip(choices.iter().cycle())
        .map(spell)
        .collect()
}

/// A secret value, and its current key and another one.
#[derive(Clone, Debug)]
struct Template {
    parts: Vec<Part>,
    current: ApiKey,
    pending: ApiKey,
}

impl Template {
    fn current_json(&self) -> String {
        let parts = self.parts.iter().filter(|part| self.is_kept(part));
        parts.map(|part| part.json(&self.current)).collect()
    }

    fn replaced_json(&self, key: &ApiKey) -> String {
        let parts = self.parts.iter().filter(|part| self.is_kept(part));
        parts
            .map(|part| part.replaced_json(&self.current, key))
            .collect()
    }

    /// The pair in base64 can be replaced only by a pair of the same length, modulo 3.
    fn is_kept(&self, part: &Part) -> bool {
        let length = |key: &ApiKey| (key.id.as_str().len() + 1 + key.secret.expose().len()) % 3;
        !matches!(part, Part::Base64) || length(&self.current) == length(&self.pending)
    }
}

/// Returns everything that is printed of a value. It may only name fields.
fn output(value: &SecretValue) -> String {
    format!(
        "{value:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        value.whitespace_warnings(),
        value.copy_warnings(),
        value.copy_paths(value.main()),
        value.other_key_paths(),
        value.placeholder_paths(),
        value.check_replaceable()
    )
}

/// A string that may contain the key in several forms. Text separates them, so that a form does not depend on its neighbor.
fn string() -> impl Strategy<Value = Vec<Part>> {
    let choices = vec(0..40_u8, 1..80);
    let separator = select(
        &[
            " ",
            ";",
            "x",
            "\\n",
            "\\\"",
            "\\u00e9",
            "\u{1f511}",
            "=",
            "Z9",
            "\\ud800",
        ][..],
    );
    let form = prop_oneof![
        4 => choices.clone().prop_map(|choices| vec![Part::Id(choices)]),
        4 => choices.prop_map(|choices| vec![Part::Secret(choices)]),
        1 => Just(vec![Part::text("https://"), Part::Id(vec![9]), Part::text(":"), Part::InUrl, Part::text("@host ")]),
        1 => Just(vec![Part::Base64]),
        4 => "[a-z0-9 .,_-]{0,8}".prop_map(|text| vec![Part::Text(text)]),
    ];
    vec((form, separator), 0..4).prop_map(|forms| {
        let mut parts = vec![Part::text("\"")];
        for (form, separator) in forms {
            parts.extend(form);
            parts.push(Part::text(separator));
        }
        parts.push(Part::text("\""));
        parts
    })
}

/// Any JSON with the key planted in it, in names and at any depth.
fn planted_json() -> impl Strategy<Value = Vec<Part>> {
    let leaf = prop_oneof![2 => string(), 1 => any_json().prop_map(|json| vec![Part::Text(json)])];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let members = vec((string(), inner.clone()), 0..3);
        let array = vec(inner, 0..3).prop_map(|items| join("[", items, "]"));
        let object = members.prop_map(|members| {
            let members = members.into_iter();
            let members =
                members.map(|(name, value)| [name, vec![Part::text(" :")], value].concat());
            join("{", members.collect(), "}")
        });
        prop_oneof![array, object]
    })
}

fn join(open: &str, items: Vec<Vec<Part>>, close: &str) -> Vec<Part> {
    let mut parts = vec![Part::text(open)];
    for (nth, item) in items.into_iter().enumerate() {
        parts.push(Part::text(if nth == 0 { "" } else { " ," }));
        parts.extend(item);
    }
    parts.push(Part::text(close));
    parts
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

fn fields() -> impl Strategy<Value = Vec<Vec<Part>>> {
    let owner = select(&["\"sa-1\"", "\" u-a\"", "\"sa-\\u0041b-c\""][..]);
    let key = (vec(0..40_u8, 1..80), select(&["", " ", "\\n\\t"][..]));
    let required = (owner, key).prop_map(|(owner, (choices, space))| {
        // The key is read from these fields, so only JSON escapes are possible.
        let choices: Vec<u8> = choices
            .into_iter()
            .map(|choice| if matches!(choice, 4 | 5) { choice } else { 9 })
            .collect();
        let field = |name: &str, part: Part| {
            let open = format!("\"{name}\":\"{space}");
            vec![Part::Text(open), part, Part::Text(format!("{space}\""))]
        };
        vec![
            field("apiKey", Part::Id(choices.clone())),
            field("apiSecret", Part::Secret(choices)),
            vec![Part::Text(format!("\"serviceAccountId\": {owner}"))],
        ]
    });
    // The prefix keeps these names different from the names of known fields.
    let other = ("[A-Za-z_.\u{e9}]{0,12}", planted_json()).prop_map(|(name, value)| {
        let name = Part::Text(format!("{}:", json!(format!("_{name}"))));
        [vec![name], value].concat()
    });
    (required, vec(other, 0..5))
        .prop_map(|(required, other)| [required, other].concat())
        .prop_shuffle()
}

fn template() -> impl Strategy<Value = Template> {
    let space = select(&["", " ", "\r\n\t", "  "][..]);
    (fields(), space, api_key("CURRENT"), api_key("PENDING")).prop_map(
        |(fields, space, current, pending)| {
            let object = join("{", fields, &format!("{space}}}{space}"));
            let parts = [vec![Part::text(space)], object].concat();
            Template {
                parts,
                current,
                pending,
            }
        },
    )
}

#[test]
fn replacing_the_key_changes_only_the_key() {
    for_each(template(), |template| {
        let (current, pending) = (&template.current, &template.pending);
        let value =
            SecretValue::parse(Redacted::new(template.current_json())).expect("a secret value");
        assert_eq!(value.key(""), Some(current));
        assert_no_canary(&output(&value), &template);
        assert_eq!(value.check_replaceable(), Ok(()));

        let rotated = value.with_keys(std::slice::from_ref(pending)).unwrap();

        assert_eq!(rotated.expose(), template.replaced_json(pending));
        let rotated = SecretValue::parse(rotated).expect("a rotated value");
        assert_eq!(rotated.key(""), Some(pending));
        assert!(rotated.differs_only_in_keys_from(&value));
        assert_eq!(rotated.ensure_same_scope(&value), Ok(()));
        assert_no_canary(&output(&rotated), &template);
        let restored =
            SecretValue::parse(rotated.with_keys(std::slice::from_ref(current)).unwrap());
        assert!(
            restored
                .expect("a restored value")
                .differs_only_in_keys_from(&rotated)
        );
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

/// Returns whether the values are equal apart from the case of hexadecimal digits, in which a copy of the key may be written.
fn has_same_meaning(json: &str, other: &str) -> bool {
    let parse = |json: &str| serde_json::from_str::<Value>(&json.to_lowercase()).ok();
    let parsed = parse(json);
    parsed.is_none() || parsed == parse(other)
}

#[test]
fn every_change_of_a_pending_value_is_detected() {
    let detected = AtomicUsize::new(0);
    let edit = (
        any::<Index>(),
        0..3_usize,
        select(
            &[
                "", "a", "A", "0", "+", "/", " ", "\\n", "\\", "%", "{}", "[", ",",
            ][..],
        ),
    );
    let edit = edit.prop_map(|(from, length, replacement)| Damage {
        from,
        length,
        replacement,
    });
    for_each((template(), edit), |(template, damage)| {
        let current =
            SecretValue::parse(Redacted::new(template.current_json())).expect("a secret value");
        let pending = template.replaced_json(&template.pending);
        let damaged = damage.apply(&pending);
        let Ok(value) = SecretValue::parse(Redacted::new(damaged.clone())) else {
            return;
        };
        if has_same_meaning(&damaged, &pending) || value.key("") != Some(&template.pending) {
            return;
        }
        detected.fetch_add(1, Relaxed);
        assert!(!value.differs_only_in_keys_from(&current), "{damaged}");
    });
    assert!(detected.into_inner() > 1_000);
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
                    // A path shows a damaged name.
                    let output = format!("{value:?} {:?}", value.whitespace_warnings());
                    assert_no_canary(&output, &json);
                    let rotated = match value.with_keys(std::slice::from_ref(&pending)) {
                        Ok(rotated) => SecretValue::parse(rotated).expect("a rotated value"),
                        Err(_) => return,
                    };
                    assert_eq!(rotated.key(""), Some(&pending), "{json}");
                    assert_eq!(rotated.ensure_same_scope(&value), Ok(()), "{json}");
                    assert!(rotated.differs_only_in_keys_from(&value), "{json}");
                }
            }
        },
    );
}
