//! The layouts in which applications read the key. `layouts.json` names each one and, where it was found in public, its source.
//!
//! In a string or a name of the file, `{id}` and `{secret}` stand for the key, and `{secret:percent}` and the like for the
//! API secret in another spelling.

use aws_smithy_types::base64;
use confluent_key_rotation::confluent::ApiKey;
use confluent_key_rotation::secret::SecretValue;

use super::*;
use crate::generated::key;

const LAYOUTS: &str = include_str!("layouts.json");

/// A layout, with placeholders for the key.
pub(super) struct Layout {
    pub(super) name: String,
    /// The members of the JSON object.
    members: String,
    /// Whether the layout contains the current key.
    has_copies: bool,
}

impl Layout {
    /// Returns the layouts in the file.
    pub(super) fn all() -> Vec<Self> {
        let layouts: Value = serde_json::from_str(LAYOUTS).unwrap();
        let layouts = layouts.as_array().unwrap();
        layouts.iter().map(Self::new).collect()
    }

    fn new(layout: &Value) -> Self {
        let members = layout["raw"].as_str().map(str::to_owned);
        let members = members.unwrap_or_else(|| {
            let object = layout["fields"].to_string();
            object[1..object.len() - 1].to_owned()
        });
        Self {
            name: layout["name"].as_str().unwrap().to_owned(),
            members,
            has_copies: layout["has_copies"] != json!(false),
        }
    }

    /// Returns the members with `key` in the spellings of the layout.
    pub(super) fn members_with(&self, key: &ApiKey) -> String {
        self.fill(key, &|spelling, secret| match spelling {
            "percent" => percent(secret),
            "percent_lower" => percent(secret)
                .replace("%2B", "%2b")
                .replace("%2F", "%2f")
                .replace("%3D", "%3d"),
            "slash" => secret.replace('/', r"\/"),
            "slash2" => secret.replace('/', r"\\/"),
            "unicode_upper" => unicode(secret)
                .replace("\\u002b", "\\u002B")
                .replace("\\u002f", "\\u002F")
                .replace("\\u003d", "\\u003D"),
            "unicode_lower" => unicode(secret),
            other => panic!("unknown spelling {other}"),
        })
    }

    /// Returns the members with the key that replaces another one: without escapes that a key does not require.
    pub(super) fn members_after_replacement(&self, key: &ApiKey) -> String {
        self.fill(key, &|spelling, secret| {
            if spelling.starts_with("percent") {
                percent(secret)
            } else {
                secret.to_owned()
            }
        })
    }

    fn fill(&self, key: &ApiKey, spell: &dyn Fn(&str, &str) -> String) -> String {
        let (id, secret) = (key.id.as_str(), key.secret.expose());
        let mut members = self.members.replace("{id}", id).replace("{secret}", secret);
        members = members.replace("{pair:base64}", &pair_in_base64(id, secret));
        while let Some((before, rest)) = members.split_once("{secret:") {
            let (spelling, after) = rest.split_once('}').unwrap();
            members = format!("{before}{}{after}", spell(spelling, secret));
        }
        members
    }
}

/// Returns `ID:SECRET` in base64 without padding.
pub(super) fn pair_in_base64(id: &str, secret: &str) -> String {
    let pair = base64::encode(format!("{id}:{secret}"));
    pair.trim_end_matches('=').to_owned()
}

pub(super) fn percent(secret: &str) -> String {
    secret
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

fn unicode(secret: &str) -> String {
    secret
        .replace('+', "\\u002b")
        .replace('/', "\\u002f")
        .replace('=', "\\u003d")
}

/// Keys of the documented lengths, with the characters that encoders treat differently, or without them.
fn keys() -> [ApiKey; 5] {
    let secret = |filling: &str| filling.chars().cycle().take(64).collect::<String>();
    [
        key(
            "ABCDEFGH12345678",
            secret("cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6+SjzZ12wZfwjaJdipHZtDjw"),
        ),
        key(
            "ZYXWVUTS87654321",
            secret("/+startsAndEndsWithTheCharactersThatUrlsEncode9876543210abcdefgh+"),
        ),
        key(
            "NODIGITSATTHEEND",
            secret("withoutAnyCharacterThatAnEncoderTreatsDifferently0123456789abcdef"),
        ),
        key(
            "PADDEDIDOF16CHAR",
            secret("Old64CharacterSecretsAreBase64AndMayEndWithAnEqualsSign/abcdefg+="),
        ),
        key(
            "1BEGINSWITHDIGIT",
            secret("+++///alternatingRunsOf/the+Characters/0123456789ABCDEFGHIJKLMNO"),
        ),
    ]
}

fn json_of(key: &ApiKey, members: &str) -> String {
    let (id, secret) = (&key.id, key.secret.expose());
    format!(r#"{{"apiKey":"{id}","apiSecret":"{secret}","serviceAccountId":"sa-1",{members}}}"#)
}

#[test]
fn the_key_is_replaced_in_every_layout_and_every_other_byte_is_unchanged() {
    let layouts = Layout::all();
    assert!(layouts.len() >= 40, "{}", layouts.len());
    for layout in &layouts {
        for (current, pending) in keys()
            .iter()
            .flat_map(|current| keys().map(|key| (current.clone(), key)))
        {
            if current == pending {
                continue;
            }
            let json = json_of(&current, &layout.members_with(&current));
            let value = SecretValue::parse(Redacted::new(json.clone())).unwrap();
            let name = &layout.name;

            assert_eq!(value.check_replaceable(), Ok(()), "{name}: {json}");
            let replaced = value.with_keys(std::slice::from_ref(&pending)).unwrap();

            assert_eq!(
                replaced.expose(),
                json_of(&pending, &layout.members_after_replacement(&pending)),
                "{name}"
            );
            assert_eq!(
                value.copy_paths(value.main()).is_some(),
                layout.has_copies,
                "{name}"
            );
            let replaced = SecretValue::parse(replaced).unwrap();
            assert!(replaced.differs_only_in_keys_from(&value), "{name}");
        }
    }
}
