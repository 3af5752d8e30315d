//! Copies of the key in a secret value, by a rule of the simulator's own: without escapes, the pending value and the value that
//! it replaces differ only in the key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::secret::{HeldKey, Secret, SecretValue};

/// The fields that the function reads, and in which the key is therefore not replaced.
const SETTINGS: [&str; 6] = [
    "serviceAccountId",
    "resourceId",
    "environmentId",
    "adminSecretArn",
    "masterarn",
    "endpoint",
];

/// Returns whether `pending` is the value of a version with another key in every place. Values that the rule cannot decide
/// count as such.
pub(crate) fn replaces_every_copy(secret: &Secret, pending: &str) -> bool {
    let Some(pending_key) = HeldKey::of(pending) else {
        return true;
    };
    let pending = without_key(pending, &pending_key);
    let versions = secret.versions.values();
    let mut current = versions.filter_map(|version| match (&version.value, &version.held_key) {
        (Some(SecretValue::String(value)), Some(key)) => Some((value, key)),
        _ => None,
    });
    let is_undecided = current
        .clone()
        .all(|(value, key)| !can_be_found(value, key));
    is_undecided || current.any(|(value, key)| without_key(value, key) == pending)
}

/// Returns whether the key has the form of Confluent's keys, and no setting contains it.
fn can_be_found(value: &str, key: &HeldKey) -> bool {
    let json: serde_json::Value = serde_json::from_str(value).unwrap_or_default();
    let mut settings = SETTINGS.iter().filter_map(|name| json[name].as_str());
    key.id.trim().len() >= 12
        && key.secret.trim().len() >= 32
        && !settings.any(|string| string.contains(&key.id))
}

/// Returns a value without escapes, with a word in place of each form of the key.
fn without_key(value: &str, key: &HeldKey) -> String {
    let (id, secret) = (key.id.trim(), key.secret.trim());
    let pair = STANDARD_NO_PAD.encode(format!("{id}:{secret}"));
    let unescaped = unescape(value);
    unescaped
        .replace(&pair, "PAIR")
        .replace(secret, "SECRET")
        .replace(id, "ID")
}

/// Removes the escapes of JSON at every level, and percent-encoding.
fn unescape(json: &str) -> String {
    let characters: Vec<char> = json.chars().collect();
    let code = |position: usize| {
        let digits: String = characters.get(position..position + 2)?.iter().collect();
        let code = u8::from_str_radix(&digits, 16).ok()?;
        code.is_ascii_graphic().then_some(char::from(code))
    };
    let (mut unescaped, mut position) = (String::new(), 0);
    while let Some(character) = characters.get(position) {
        let is_unicode = position > 0
            && characters[position - 1] == '\\'
            && characters[position..].starts_with(&['u', '0', '0']);
        let (decoded, length) = match character {
            '%' => (code(position + 1), 3),
            'u' if is_unicode => (code(position + 3), 5),
            _ => (None, 1),
        };
        let literal = Some(*character).filter(|character| *character != '\\');
        unescaped.extend(decoded.or(literal));
        position += if decoded.is_some() { length } else { 1 };
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "cflt+/5678901234567890123456789012345678901234567890123456789012";

    fn key() -> HeldKey {
        HeldKey {
            id: "ABCDEFGH12345678".to_owned(),
            secret: SECRET.to_owned(),
        }
    }

    #[test]
    fn every_spelling_of_a_key_is_recognized() {
        let percent = SECRET.replace('+', "%2b").replace('/', "%2F");
        let nested = SECRET.replace('/', r"\\/").replace('+', r"\\u002B");
        let pair = STANDARD_NO_PAD.encode(format!("ABCDEFGH12345678:{SECRET}"));
        for (value, expected) in [
            (SECRET, "SECRET"),
            (percent.as_str(), "SECRET"),
            (nested.as_str(), "SECRET"),
            (pair.as_str(), "PAIR"),
            ("ABCDEFG\\u00488765", "ABCDEFGH8765"),
            ("x ABCDEFGH12345678:", "x ID:"),
            ("100 %, 50%", "100 %, 50%"),
        ] {
            assert_eq!(without_key(value, &key()), expected);
        }
    }
}
