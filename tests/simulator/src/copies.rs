//! Copies of the keys in a secret value, by a rule of the simulator's own: without escapes, the pending value and the value
//! that it replaces differ only in the keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use crate::secret::slot::{Slot, placeholder};
use crate::secret::{Secret, SecretValue};

/// The fields that the function reads for all keys, and in which a key is therefore not replaced.
const SETTINGS: [&str; 4] = [
    "serviceAccountId",
    "environmentId",
    "adminSecretArn",
    "masterarn",
];

/// The fields that the function reads for one key.
const SETTINGS_OF_A_KEY: [&str; 2] = ["resourceId", "endpoint"];

/// Returns whether `pending` is the value of a version with another key in every place. Values that the rule cannot decide
/// count as such.
pub(crate) fn replaces_every_copy(secret: &Secret, pending: &str) -> bool {
    let pending_slots = Slot::all(pending);
    if pending_slots.iter().all(|slot| slot.key_id().is_none()) {
        return true;
    }
    let versions = secret.versions.values();
    let mut current = versions.filter_map(|version| match &version.value {
        Some(SecretValue::String(value)) => Some((value.as_str(), version.slots.as_slice())),
        _ => None,
    });
    let is_undecided = current
        .clone()
        .filter(|(_, slots)| slots.iter().any(|slot| slot.key_id().is_some()))
        .all(|(value, slots)| !can_be_found(value, slots));
    is_undecided
        || current.any(|(value, slots)| {
            let initial: Vec<&Slot> = slots
                .iter()
                .filter(|slot| slot.key_id().is_none())
                .collect();
            without_keys(&without_fields(value, &initial), slots)
                == without_keys(&without_fields(pending, &initial), &pending_slots)
        })
}

/// Returns whether the keys have the form of Confluent's keys, and no setting contains one.
fn can_be_found(value: &str, slots: &[Slot]) -> bool {
    let json: Value = serde_json::from_str(value).unwrap_or_default();
    let of_keys = slots
        .iter()
        .flat_map(|slot| SETTINGS_OF_A_KEY.map(|setting| slot.field(setting)));
    let settings: Vec<String> = SETTINGS
        .map(ToOwned::to_owned)
        .into_iter()
        .chain(of_keys)
        .collect();
    let is_setting = |id: &str| {
        let mut strings = settings.iter().filter_map(|name| json[name].as_str());
        strings.any(|string| string.contains(id))
    };
    let mut keys = slots.iter().filter(|slot| slot.key_id().is_some());
    keys.all(|slot| {
        slot.id.trim().len() >= 12 && slot.secret.trim().len() >= 32 && !is_setting(&slot.id)
    })
}

/// Returns a value without the keys of these slots, into which a rotation inserts the initial keys. No other value changes.
fn without_fields(value: &str, slots: &[&Slot]) -> String {
    if slots.is_empty() {
        return value.to_owned();
    }
    let mut json: Value = serde_json::from_str(value).unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        for slot in slots {
            fields.remove(&slot.field("apiKey"));
            fields.remove(&slot.field("apiSecret"));
        }
    }
    json.to_string()
}

/// Returns a value without escapes, with a word in place of each form of each key. The words name the slot. For an initial
/// key, they are in place of its placeholders.
fn without_keys(value: &str, slots: &[Slot]) -> String {
    let mut forms = [const { Vec::new() }; 3];
    for slot in slots {
        let (id, secret) = match slot.key_id() {
            Some(id) => (id.trim().to_owned(), slot.secret.trim().to_owned()),
            None => (
                placeholder(&slot.field("apiKey")),
                placeholder(&slot.field("apiSecret")),
            ),
        };
        let pair = STANDARD_NO_PAD.encode(format!("{id}:{secret}"));
        let [pairs, secrets, ids] = &mut forms;
        pairs.push((pair, format!("PAIR{}", slot.name)));
        secrets.push((secret, format!("SECRET{}", slot.name)));
        ids.push((id, format!("ID{}", slot.name)));
    }
    let unescaped = unescape(value);
    let forms = forms.into_iter().flatten();
    forms.fold(unescaped, |value, (form, word)| value.replace(&form, &word))
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
    use crate::secret::Version;

    const SECRET: &str = "cflt+/5678901234567890123456789012345678901234567890123456789012";

    fn key() -> Slot {
        Slot {
            name: String::new(),
            resource: "cloud".to_owned(),
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
            assert_eq!(without_keys(value, &[key()]), expected);
        }
    }

    const MAIN: [&str; 2] = ["MAINKEY012345678", SECRET];
    const FURTHER: [&str; 2] = [
        "FURTHERKEY012345",
        "cfltfurther5678901234567890123456789012345678901234567890123456/",
    ];
    const NEW_MAIN: [&str; 2] = [
        "NEWMAINKEY012345",
        "cfltnewmain56789012345678901234567890123456789012345678901234567",
    ];
    const NEW_FURTHER: [&str; 2] = [
        "NEWFURTHERKEY012",
        "cfltnewfurther89012345678901234567890123456789012345678901234567",
    ];

    fn value([id, secret]: [&str; 2], [further_id, further_secret]: [&str; 2]) -> String {
        format!(
            r#"{{"apiKey": "{id}", "apiSecret": "{secret}", "resourceId": "lkc-1", "jaas": "user={id} password={secret}",
            "srApiKey": "{further_id}", "srApiSecret": "{further_secret}", "srResourceId": "lsrc-1", "srEndpoint": "https://sr",
            "info": "{further_id}:{further_secret}", "note": 1.0, "xApiKey": "X"}}"#
        )
    }

    fn replaces(current: &str, pending: &str) -> bool {
        let mut secret = Secret::new("arn", "name");
        let version = Version {
            value: Some(SecretValue::String(current.to_owned())),
            slots: Slot::all(current),
            ..Version::default()
        };
        secret.versions.insert("v1".to_owned(), version);
        replaces_every_copy(&secret, pending)
    }

    #[test]
    fn every_copy_of_every_key_is_replaced_by_the_key_of_its_slot() {
        let current = value(MAIN, FURTHER);
        let pending = value(NEW_MAIN, NEW_FURTHER);
        let [further, new_main, new_further] =
            [FURTHER, NEW_MAIN, NEW_FURTHER].map(|[id, secret]| format!("{id}:{secret}"));
        for (pending, expected) in [
            (pending.clone(), true),
            (pending.replace(&new_further, &further), false),
            (pending.replace(&new_further, &new_main), false),
            (
                pending.replace(
                    &format!("{}:", NEW_FURTHER[0]),
                    &format!("{}:", NEW_MAIN[0]),
                ),
                false,
            ),
            (value(NEW_FURTHER, NEW_MAIN), true),
            (value(NEW_MAIN, FURTHER), true),
            (pending.replace("lsrc-1", "lsrc-2"), false),
            (pending.replace("https://sr", "https://other"), false),
            (pending.replace("1.0", "1"), false),
            (pending.replace("\"X\"", "\"Y\""), false),
        ] {
            assert_eq!(replaces(&current, &pending), expected, "{pending}");
        }
    }

    #[test]
    fn an_initial_key_is_stored_in_its_placeholders_and_nothing_else_changes() {
        let placeholders = value(MAIN, ["${srApiKey}", "${srApiSecret}"]);
        let pending = value(NEW_MAIN, NEW_FURTHER);
        let blank = placeholders
            .replace(r#""srApiKey": "${srApiKey}""#, r#""srApiKey": null"#)
            .replace(r#""srApiSecret": "${srApiSecret}", "#, "");
        for (current, pending, expected) in [
            (&placeholders, pending.clone(), true),
            (&blank, pending.clone(), true),
            (
                &blank,
                pending.replace("https://sr", "https://other"),
                false,
            ),
            (&blank, pending.replace(" password=", "password="), false),
            (
                &placeholders,
                pending.replace(&NEW_FURTHER.join(":"), "${srApiKey}:${srApiSecret}"),
                false,
            ),
        ] {
            assert_eq!(
                replaces(current, &pending),
                expected,
                "{current}, {pending}"
            );
        }
    }
}
