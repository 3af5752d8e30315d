//! Ownership tags: which API keys belong to this secret.
//!
//! Every key that the function creates has an [`OwnershipTag`] in its description. The tag is evidence from Confluent: it names the
//! secret for which the key was created, and the untagged key that the secret's keys replaced, if there is one.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::confluent::{ApiKeyMetadata, MAX_ID_LENGTH};

/// The ownership tag of a key. It contains a hash of the secret's ARN, because the ARN may be longer than a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipTag {
    secret: String,
    /// The version that the key was created for.
    pub version: String,
    invocation: String,
    /// The prefix of the slot that the key was created for, empty for `apiKey`. It is information for operators, and no evidence: the
    /// resource decides.
    slot: String,
    /// The ID of the key that was current when this one was created. It is information, not evidence.
    pub previous: Option<String>,
    /// The ID of the untagged key that this key, or an earlier key of this secret, replaced. It is evidence, because createSecret
    /// verified possession of that key.
    pub replaces: Option<String>,
}

/// The secret that a key belongs to according to its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This secret.
    ThisSecret(OwnershipTag),
    /// Another secret, or an ownership tag that was edited.
    AnotherSecret,
    /// The key has no ownership tag.
    Untagged,
}

/// The start of every ownership tag.
const PREFIX: &str = "confluent-key-rotation";

/// The longest description. Confluent documents no limit. Descriptions of this length are known to work.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
const MAX_DESCRIPTION_LENGTH: usize = 255;

/// The number of characters of the invocation's request ID in a tag.
const INVOCATION_LENGTH: usize = 8;

impl OwnershipTag {
    /// Creates the tag for keys that the invocation with the request ID `invocation` creates for `version` of the secret.
    pub fn new(secret_arn: &str, version: &str, invocation: &str) -> Self {
        let invocation = invocation.chars().filter(char::is_ascii_alphanumeric);
        Self {
            secret: hash(secret_arn),
            version: version.to_owned(),
            invocation: invocation.take(INVOCATION_LENGTH).collect(),
            slot: String::new(),
            previous: None,
            replaces: None,
        }
    }

    /// Sets the prefix of the slot that the key is created for.
    #[must_use]
    pub fn for_slot(self, prefix: &str) -> Self {
        let slot = prefix.to_owned();
        Self { slot, ..self }
    }

    /// Sets the key that is current, and the untagged key that this key or an earlier one replaces. Omits an ID that does not fit
    /// into a tag.
    #[must_use]
    pub fn replacing(self, previous: Option<String>, replaces: Option<String>) -> Self {
        let is_id = |id: &String| {
            (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        Self {
            previous: previous.filter(is_id),
            replaces: replaces.filter(is_id),
            ..self
        }
    }

    /// Returns the description of a key with this tag: ASCII, at most 255 characters. Omits `previous` if the description would be
    /// too long.
    pub fn description(&self) -> String {
        let Self {
            secret,
            version,
            invocation,
            slot,
            previous,
            replaces,
        } = self;
        let mut tag = format!("{PREFIX} secret={secret} version={version} invocation={invocation}");
        if !slot.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(tag, " slot={slot}");
        }
        let word = |name: &str, id: &Option<String>| {
            id.as_ref()
                .map_or_else(String::new, |id| format!(" {name}={id}"))
        };
        let (mut previous, replaces) = (word("previous", previous), word("replaces", replaces));
        // Evidence is more important than information.
        if tag.len() + previous.len() + replaces.len() > MAX_DESCRIPTION_LENGTH {
            previous.clear();
        }
        tag + &previous + &replaces
    }

    /// Parses the words of a description after the prefix.
    fn parse<'d>(mut words: impl Iterator<Item = &'d str>) -> Option<Self> {
        let mut word = |name: &str| words.next()?.strip_prefix(name).map(str::to_owned);
        let mut tag = Self {
            secret: word("secret=")?,
            version: word("version=")?,
            invocation: word("invocation=")?,
            slot: String::new(),
            previous: None,
            replaces: None,
        };
        let mut words = words.peekable();
        if let Some(prefix) = words.peek().and_then(|word| word.strip_prefix("slot=")) {
            prefix.clone_into(&mut tag.slot);
            words.next().filter(|_| !tag.slot.is_empty())?;
        }
        for word in words {
            let (field, id) = match word.split_once('=')? {
                ("previous", id) => (&mut tag.previous, id),
                ("replaces", id) => (&mut tag.replaces, id),
                _ => return None,
            };
            if id.is_empty() || field.replace(id.to_owned()).is_some() {
                return None;
            }
        }
        Some(tag)
    }
}

impl Ownership {
    /// Returns whether the description assigns `key` to the secret with the ARN `secret_arn`, to another secret, or to none.
    pub fn of(key: &ApiKeyMetadata, secret_arn: &str) -> Self {
        let Some(words) = key.description.strip_prefix(PREFIX) else {
            return Self::Untagged;
        };
        match OwnershipTag::parse(words.split_ascii_whitespace()) {
            Some(tag) if tag.secret == hash(secret_arn) => Self::ThisSecret(tag),
            _ => Self::AnotherSecret,
        }
    }

    /// Returns the tag if the key belongs to this secret.
    pub fn tag_of_this_secret(self) -> Option<OwnershipTag> {
        match self {
            Self::ThisSecret(tag) => Some(tag),
            Self::AnotherSecret | Self::Untagged => None,
        }
    }
}

/// Returns the name of a key in the Confluent Cloud Console: the start of the last part of the ARN, which is the secret's name and a
/// random suffix.
pub fn display_name(secret_arn: &str) -> String {
    const MAX_DISPLAY_NAME_LENGTH: usize = 64;
    let name = secret_arn.rsplit(':').next().unwrap_or_default();
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(MAX_DISPLAY_NAME_LENGTH)
        .collect()
}

/// Returns the first 128 bits of a SHA-256 hash in hexadecimal.
fn hash(string: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(string.as_bytes()).iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/kafka-AbCdEf";

    fn of(description: &str) -> Ownership {
        let key = ApiKeyMetadata {
            description: description.to_owned(),
            ..ApiKeyMetadata::default()
        };
        Ownership::of(&key, ARN)
    }

    fn tag() -> OwnershipTag {
        OwnershipTag::new(ARN, "version-1", "request-1")
    }

    #[expect(clippy::unnecessary_wraps, reason = "the type of the fields")]
    fn id(id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    #[test]
    fn a_tag_is_parsed_from_its_description() {
        for tag in [
            tag(),
            tag().replacing(id("KEY1"), None),
            tag().replacing(None, id("KEY2")),
            tag().replacing(id("KEY1"), id("KEY2")),
            tag().for_slot("schemaRegistry"),
            tag().for_slot("sr").replacing(id("KEY1"), id("KEY2")),
        ] {
            assert_eq!(of(&tag.description()), Ownership::ThisSecret(tag));
        }
    }

    #[test]
    fn the_longest_tag_fits_a_description_and_is_ascii() {
        let arn = format!("arn:{}", "n".repeat(2_000));
        let longest = "K".repeat(MAX_ID_LENGTH);
        let tag = OwnershipTag::new(&arn, &"v".repeat(64), &"i\u{e9} ".repeat(500));

        let tag = tag.replacing(id(&longest), id(&longest));
        for slot in ["", &"s".repeat(32)] {
            let description = tag.clone().for_slot(slot).description();

            assert!(
                description.len() <= MAX_DESCRIPTION_LENGTH,
                "{}",
                description.len()
            );
            assert!(description.is_ascii());
            assert!(description.ends_with(&format!(" replaces={longest}")));
        }
    }

    #[test]
    fn the_longest_tag_with_todays_ids_is_complete() {
        let (arn, slot, today) = ("arn", "s".repeat(32), "K".repeat(18));
        let tag = OwnershipTag::new(arn, &"v".repeat(64), "invocation").for_slot(&slot);
        let tag = tag.replacing(id(&today), id(&today));

        assert_eq!(
            OwnershipTag::parse(tag.description().split(' ').skip(1)),
            Some(tag)
        );
    }

    #[test]
    fn the_previous_key_is_omitted_only_if_the_description_would_be_too_long() {
        let description = |version: usize| {
            let tag = OwnershipTag::new("arn", &"v".repeat(version), "invocation");
            tag.replacing(id("KEY1"), id("KEY2")).description()
        };
        let longest = 1 + MAX_DESCRIPTION_LENGTH - description(1).len();

        assert_eq!(description(longest).len(), MAX_DESCRIPTION_LENGTH);
        assert!(description(longest).contains(" previous=KEY1"));
        assert!(!description(longest + 1).contains(" previous="));
    }

    #[test]
    fn an_id_that_does_not_fit_into_a_tag_is_omitted() {
        for invalid in [
            "",
            "KEY 1",
            "KEY=1",
            "KEY\u{e9}",
            &"K".repeat(MAX_ID_LENGTH + 1),
        ] {
            let tag = tag().replacing(id(invalid), id(invalid));

            assert_eq!(of(&tag.description()), Ownership::ThisSecret(self::tag()));
        }
    }

    #[test]
    fn the_tag_of_another_secret_and_an_edited_tag_belong_to_another_secret() {
        let other = OwnershipTag::new(&ARN.replace("eu-west-1", "us-east-1"), "v", "i");
        let ours = tag().description();

        for description in [
            PREFIX,
            &other.description(),
            &format!("{ours} edited"),
            &format!("{ours} replaces="),
            &format!("{ours} replaces=A replaces=B"),
            &format!("{ours} slot="),
            &format!("{ours} slot=a slot=b"),
            &format!("{ours} previous=A slot=a"),
            &format!("{PREFIX}2{}", &ours[PREFIX.len()..]),
            &ours.replace("version=", "Version="),
        ] {
            assert_eq!(of(description), Ownership::AnotherSecret, "{description}");
        }
    }

    #[test]
    fn a_description_without_the_prefix_is_no_tag() {
        for description in ["", "created manually", &tag().description()[1..]] {
            assert_eq!(of(description), Ownership::Untagged, "{description}");
        }
    }
}
