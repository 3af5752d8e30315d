//! Ownership tags: which API keys belong to this secret.
//!
//! Every key that the function creates has an [`OwnershipTag`] in its description. If the function stops after it created a key
//! and before it stored it, no version of the secret contains the key, and the tag identifies it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::confluent::ApiKeyMetadata;

/// The ownership tag of a key: the secret, the version and the invocation that the key was created for.
///
/// It contains a hash of the secret's ARN, because the ARN may be longer than a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipTag {
    secret: String,
    version: String,
    invocation: String,
}

/// The start of every ownership tag.
const PREFIX: &str = "confluent-key-rotation";

/// Confluent documents no limit for descriptions. Descriptions of this length are known to work.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
#[cfg(test)]
const MAX_DESCRIPTION_LENGTH: usize = 255;

/// The longest request ID in a tag, in characters. Lambda's have 36.
const MAX_INVOCATION_LENGTH: usize = 64;

impl OwnershipTag {
    /// Creates the tag for keys that the invocation with the request ID `invocation` creates for `version` of the secret.
    pub fn new(secret_arn: &str, version: &str, invocation: &str) -> Self {
        let invocation = invocation
            .chars()
            .filter(char::is_ascii_graphic)
            .take(MAX_INVOCATION_LENGTH)
            .collect();
        Self {
            secret: hash(secret_arn),
            version: version.to_owned(),
            invocation,
        }
    }

    /// Returns the description of a key with this tag.
    pub fn description(&self) -> String {
        let Self {
            secret,
            version,
            invocation,
        } = self;
        format!("{PREFIX} secret={secret} version={version} invocation={invocation}")
    }

    /// Parses a description. Returns `None` if it is not an unchanged tag.
    fn parse(description: &str) -> Option<Self> {
        let mut words = description.split(' ');
        if words.next() != Some(PREFIX) {
            return None;
        }
        let secret = words.next()?.strip_prefix("secret=")?.to_owned();
        let version = words.next()?.strip_prefix("version=")?.to_owned();
        let invocation = words.next()?.strip_prefix("invocation=")?.to_owned();
        words.next().is_none().then_some(Self {
            secret,
            version,
            invocation,
        })
    }

    /// Returns the tag of `key` if it names the same secret.
    fn of_same_secret(&self, key: &ApiKeyMetadata) -> Option<Self> {
        Self::parse(&key.description).filter(|tag| tag.secret == self.secret)
    }
}

/// Returns the name of a key in the Confluent Cloud Console: the secret's name and random suffix, truncated.
pub fn display_name(secret_arn: &str) -> String {
    const MAX_LENGTH: usize = 64;
    let name = secret_arn.rsplit(':').next().unwrap_or_default();
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(MAX_LENGTH)
        .collect()
}

fn hash(string: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(string.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The age at which no invocation can still store or promote a tagged key: twice Lambda's maximum timeout, because an
/// invocation may have stored it just after its versions were read.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const MIN_ORPHAN_AGE: Duration = Duration::from_mins(2 * 15);

/// Returns the keys that createSecret deletes before it creates a key: orphaned keys that are older than 30 minutes, and the
/// key with the ID `replaced`, which the current key has replaced.
///
/// A younger orphaned key may belong to an invocation that does not know that its rotation was abandoned, and that would
/// promote it. finishSecret deletes it: once another version is current, Secrets Manager rejects the promotion.
pub fn find_orphans_before_create<'k>(
    keys: &'k [ApiKeyMetadata],
    tag: &OwnershipTag,
    kept: &[&str],
    replaced: Option<&str>,
) -> Vec<&'k ApiKeyMetadata> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_epoch.unwrap_or_default().as_secs();
    let is_old = |created_at: i64| {
        u64::try_from(created_at)
            .is_ok_and(|created_at| now.saturating_sub(created_at) > MIN_ORPHAN_AGE.as_secs())
    };
    let is_orphan = |key: &ApiKeyMetadata| {
        tag.of_same_secret(key).is_some() && key.created_at.is_some_and(is_old)
    };
    keys.iter()
        .filter(|key| !kept.contains(&key.id.as_str()))
        .filter(|key| is_orphan(key) || replaced == Some(key.id.as_str()))
        .collect()
}

/// Returns the keys that were created for this version and are not in `kept`.
pub fn find_orphans_of_version<'k>(
    keys: &'k [ApiKeyMetadata],
    tag: &OwnershipTag,
    kept: &[&str],
) -> Vec<&'k ApiKeyMetadata> {
    let mut orphans = find_orphans(keys, tag, kept);
    orphans.retain(|key| {
        tag.of_same_secret(key)
            .is_some_and(|theirs| theirs.version == tag.version)
    });
    orphans
}

/// Returns the keys that were created for any version of this secret and are not in `kept`.
pub fn find_orphans<'k>(
    keys: &'k [ApiKeyMetadata],
    tag: &OwnershipTag,
    kept: &[&str],
) -> Vec<&'k ApiKeyMetadata> {
    keys.iter()
        .filter(|key| !kept.contains(&key.id.as_str()) && tag.of_same_secret(key).is_some())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/kafka-AbCdEf";

    fn key(id: &str, description: &str, age: Duration) -> ApiKeyMetadata {
        let created_at = (SystemTime::now() - age).duration_since(UNIX_EPOCH);
        ApiKeyMetadata {
            id: id.to_owned(),
            description: description.to_owned(),
            created_at: i64::try_from(created_at.unwrap().as_secs()).ok(),
            ..ApiKeyMetadata::default()
        }
    }

    fn ids<'k>(keys: &[&'k ApiKeyMetadata]) -> Vec<&'k str> {
        keys.iter().map(|key| key.id.as_str()).collect()
    }

    fn tag(version: &str, invocation: &str) -> OwnershipTag {
        OwnershipTag::new(ARN, version, invocation)
    }

    #[test]
    fn a_tag_is_parsed_from_its_description() {
        let tag = tag("version-1", "request-1");

        assert_eq!(OwnershipTag::parse(&tag.description()), Some(tag));
    }

    #[test]
    fn the_longest_tag_fits_a_description_and_is_ascii() {
        let arn = format!("arn:{}", "n".repeat(2_000));
        let description =
            OwnershipTag::new(&arn, &"v".repeat(64), &"i\u{e9} ".repeat(500)).description();

        assert!(
            description.len() <= MAX_DESCRIPTION_LENGTH,
            "{}",
            description.len()
        );
        assert!(description.is_ascii());
        assert!(OwnershipTag::parse(&description).is_some());
    }

    #[test]
    fn secrets_with_the_same_name_prefix_have_different_tags() {
        let long = "n".repeat(600);

        let one = OwnershipTag::new(&format!("{long}-a"), "v", "i");
        let other = OwnershipTag::new(&format!("{long}-b"), "v", "i");

        assert_ne!(one.description(), other.description());
    }

    #[test]
    fn any_other_description_is_not_a_tag() {
        let ours = tag("v", "i").description();

        for description in [
            "",
            "confluent-key-rotation",
            &ours[1..],
            &format!("{ours} edited"),
        ] {
            assert_eq!(OwnershipTag::parse(description), None, "{description}");
        }
    }

    #[test]
    fn create_secret_deletes_old_orphans_and_the_replaced_key_and_keeps_keys_in_use() {
        let ours = tag("v2", "i2");
        let (young, old) = (MIN_ORPHAN_AGE / 2, 2 * MIN_ORPHAN_AGE);
        let orphan = tag("v0", "i0").description();
        let same_version = tag("v2", "i1").description();
        let other_secret = OwnershipTag::new("arn:other", "v0", "i0").description();
        let keys = [
            key("current", &tag("v1", "i1").description(), old),
            key("previous", "created manually", old),
            key("orphan-young", &orphan, young),
            key("orphan-old", &orphan, old),
            key("other-application", "created manually", old),
            key("other-secret", &other_secret, old),
            key("same-version-young", &same_version, young),
            key("same-version-old", &same_version, old),
        ];

        let deleted = find_orphans_before_create(&keys, &ours, &["current"], Some("previous"));

        assert_eq!(
            ids(&deleted),
            ["previous", "orphan-old", "same-version-old"]
        );
    }

    #[test]
    fn create_secret_keeps_the_current_key_even_if_the_previous_version_contains_it() {
        let keys = [key("current", "created manually", 2 * MIN_ORPHAN_AGE)];

        let deleted =
            find_orphans_before_create(&keys, &tag("v", "i"), &["current"], Some("current"));

        assert!(deleted.is_empty());
    }

    #[test]
    fn create_secret_keeps_a_key_of_unknown_age() {
        let unknown = ApiKeyMetadata {
            created_at: None,
            ..key("unknown", &tag("v2", "i1").description(), Duration::ZERO)
        };

        let keys = [unknown];
        let deleted = find_orphans_before_create(&keys, &tag("v2", "i2"), &["current"], None);

        assert!(deleted.is_empty());
    }

    #[test]
    fn after_promotion_orphans_are_the_tagged_keys_that_are_not_kept() {
        let other_secret = OwnershipTag::new("arn:other", "v2", "i1").description();
        let keys = [
            key("current", &tag("v2", "i2").description(), Duration::ZERO),
            key("previous", &tag("v1", "i1").description(), Duration::ZERO),
            key("orphan", &tag("v2", "i1").description(), Duration::ZERO),
            key("abandoned", &tag("v0", "i0").description(), Duration::ZERO),
            key("other-application", "created manually", Duration::ZERO),
            key("other-secret", &other_secret, Duration::ZERO),
        ];
        let (ours, kept) = (tag("v2", "i5"), ["current", "previous"]);

        assert_eq!(
            ids(&find_orphans_of_version(&keys, &ours, &kept)),
            ["orphan"]
        );
        assert_eq!(
            ids(&find_orphans(&keys, &ours, &kept)),
            ["orphan", "abandoned"]
        );
    }
}
