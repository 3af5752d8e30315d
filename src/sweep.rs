//! Which API keys belong to this secret, and which of them may go.
//!
//! Every key we make bears a [`Mark`] in its description, because a crash can leave a key that no version
//! of the secret names. The functions here only choose; what they choose from is a list that is older than
//! the labels it is compared with, so no key of a later rotation can be in it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::confluent::Listed;

/// Who made a key: which secret, which version of it, which invocation.
///
/// It is written into the key's description. The secret is named by a hash of its ARN, since an ARN can be
/// longer than a description should be, and one that is cut off would be ambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    secret: String,
    version: String,
    invocation: String,
}

/// What every mark begins with.
const PREFIX: &str = "confluent-key-rotation";

/// Confluent documents no limit for descriptions; this much has been seen to work.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
#[cfg(test)]
const LONGEST_DESCRIPTION: usize = 255;

/// No request id is longer; one that is would be no request id of Lambda's.
const LONGEST_INVOCATION: usize = 64;

impl Mark {
    /// The mark for a key that the invocation with id `invocation` makes for `version` of the secret
    /// with the ARN `secret_arn`.
    #[must_use]
    pub fn new(secret_arn: &str, version: &str, invocation: &str) -> Self {
        let invocation = invocation
            .chars()
            .filter(char::is_ascii_graphic)
            .take(LONGEST_INVOCATION)
            .collect();
        Self {
            secret: hash(secret_arn),
            version: version.to_owned(),
            invocation,
        }
    }

    /// The description of a key that bears this mark.
    #[must_use]
    pub fn description(&self) -> String {
        let Self {
            secret,
            version,
            invocation,
        } = self;
        format!("{PREFIX} secret={secret} version={version} invocation={invocation}")
    }

    /// The mark in a description; none if it is somebody else's text, or was edited.
    fn read(description: &str) -> Option<Self> {
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

    /// The mark of `key`, if it is of the same secret.
    fn of_same_secret(&self, key: &Listed) -> Option<Self> {
        Self::read(&key.description).filter(|mark| mark.secret == self.secret)
    }
}

/// A name for people: the secret's own, as far as it fits.
#[must_use]
pub fn display_name(secret_arn: &str) -> String {
    const LONGEST: usize = 64;
    let name = secret_arn.rsplit(':').next().unwrap_or_default();
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(LONGEST)
        .collect()
}

fn hash(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// How old a marked key must be before no invocation can still be about to store or to publish it: two lives of
/// a Lambda function, since one may have done so after we looked.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const SETTLED_SECONDS: i64 = 2 * 15 * 60;

/// The keys that go before createSecret makes a new one.
///
/// Those that a crash or an abandoned rotation left long ago, and the one that `AWSPREVIOUS` names. A younger key
/// may be in the hands of an invocation that does not know yet that its rotation was abandoned, and that would
/// publish it: it stays until another version is current, since Secrets Manager then refuses it the label.
///
/// `mark` is this invocation's, `kept` the ids of keys that stay whatever they bear, `replaced` the id of the key
/// that the current one has replaced, and `now` the time in seconds since the epoch.
#[must_use]
pub fn before_creation<'k>(
    keys: &'k [Listed],
    mark: &Mark,
    kept: &[&str],
    replaced: Option<&str>,
    now: i64,
) -> Vec<&'k Listed> {
    let goes = |key: &Listed| {
        let settled = key
            .created_at
            .is_some_and(|created_at| now.saturating_sub(created_at) > SETTLED_SECONDS);
        (settled && mark.of_same_secret(key).is_some()) || replaced == Some(key.id.as_str())
    };
    keys.iter()
        .filter(|key| !kept.contains(&key.id.as_str()) && goes(key))
        .collect()
}

/// The keys that this very invocation made: after a create that got no answer, they are the ones whose
/// secret nobody has.
#[must_use]
pub fn of_invocation<'k>(keys: &'k [Listed], mark: &Mark) -> Vec<&'k Listed> {
    keys.iter()
        .filter(|key| Mark::read(&key.description).as_ref() == Some(mark))
        .collect()
}

/// The keys that were made for this version and are not `kept`: what its invocations did not store.
#[must_use]
pub fn of_version<'k>(keys: &'k [Listed], mark: &Mark, kept: &[&str]) -> Vec<&'k Listed> {
    marked(keys, kept, |key| {
        mark.of_same_secret(key)
            .is_some_and(|theirs| theirs.version == mark.version)
    })
}

/// The keys that were made for any version of this secret and are not `kept`: what rotations left that were
/// abandoned before this one was finished.
#[must_use]
pub fn of_secret<'k>(keys: &'k [Listed], mark: &Mark, kept: &[&str]) -> Vec<&'k Listed> {
    marked(keys, kept, |key| mark.of_same_secret(key).is_some())
}

fn marked<'k>(
    keys: &'k [Listed],
    kept: &[&str],
    is_ours: impl Fn(&Listed) -> bool,
) -> Vec<&'k Listed> {
    keys.iter()
        .filter(|key| !kept.contains(&key.id.as_str()) && is_ours(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/kafka-AbCdEf";
    const NOW: i64 = 1_800_000_000;

    fn key(id: &str, description: &str, age: i64) -> Listed {
        Listed {
            id: id.to_owned(),
            description: description.to_owned(),
            created_at: Some(NOW - age),
            ..Listed::default()
        }
    }

    fn ids<'k>(keys: &[&'k Listed]) -> Vec<&'k str> {
        keys.iter().map(|key| key.id.as_str()).collect()
    }

    fn mark(version: &str, invocation: &str) -> Mark {
        Mark::new(ARN, version, invocation)
    }

    #[test]
    fn a_mark_is_read_back_from_a_description() {
        let mark = mark("version-1", "request-1");

        assert_eq!(Mark::read(&mark.description()), Some(mark));
    }

    #[test]
    fn the_longest_mark_fits_a_description_and_is_ascii() {
        let arn = format!("arn:{}", "n".repeat(2_000));
        let description = Mark::new(&arn, &"v".repeat(64), &"i\u{e9} ".repeat(500)).description();

        assert!(
            description.len() <= LONGEST_DESCRIPTION,
            "{}",
            description.len()
        );
        assert!(description.is_ascii());
        assert!(Mark::read(&description).is_some());
    }

    #[test]
    fn secrets_whose_names_begin_alike_have_different_marks() {
        let long = "n".repeat(600);

        let one = Mark::new(&format!("{long}-a"), "v", "i");
        let other = Mark::new(&format!("{long}-b"), "v", "i");

        assert_ne!(one.description(), other.description());
    }

    #[test]
    fn somebody_elses_description_is_no_mark() {
        let ours = mark("v", "i").description();

        for text in [
            "",
            "confluent-key-rotation",
            &ours[1..],
            &format!("{ours} edited"),
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }

    #[test]
    fn before_creation_what_others_left_goes_and_what_is_in_use_stays() {
        let ours = mark("v2", "i2");
        let keys = [
            key("current", &mark("v1", "i1").description(), 9_000),
            key("previous", "made by hand", 90_000),
            key("abandoned-young", &mark("v0", "i0").description(), 10),
            key(
                "abandoned-old",
                &mark("v0", "i0").description(),
                SETTLED_SECONDS + 1,
            ),
            key("foreign", "made by hand", 90_000),
            key(
                "other-secret",
                &Mark::new("arn:other", "v0", "i0").description(),
                90_000,
            ),
            key(
                "same-version-young",
                &mark("v2", "i1").description(),
                SETTLED_SECONDS,
            ),
            key(
                "same-version-old",
                &mark("v2", "i1").description(),
                SETTLED_SECONDS + 1,
            ),
        ];

        let going = before_creation(&keys, &ours, &["current"], Some("previous"), NOW);

        assert_eq!(
            ids(&going),
            ["previous", "abandoned-old", "same-version-old"]
        );
    }

    #[test]
    fn before_creation_the_current_key_stays_even_if_the_previous_version_names_it() {
        let keys = [key("current", "made by hand", 90_000)];

        assert!(
            before_creation(&keys, &mark("v", "i"), &["current"], Some("current"), NOW).is_empty()
        );
    }

    #[test]
    fn a_key_whose_age_is_unknown_stays() {
        let unknown = Listed {
            created_at: None,
            ..key("unknown", &mark("v2", "i1").description(), 0)
        };

        assert!(before_creation(&[unknown], &mark("v2", "i2"), &["current"], None, NOW).is_empty());
    }

    #[test]
    fn after_a_create_without_answer_only_this_invocations_keys_go() {
        let keys = [
            key("ours", &mark("v2", "i2").description(), 1),
            key("concurrent", &mark("v2", "i3").description(), 1),
        ];

        assert_eq!(ids(&of_invocation(&keys, &mark("v2", "i2"))), ["ours"]);
    }

    #[test]
    fn after_promotion_keys_of_this_version_or_of_this_secret_go_but_those_that_are_kept() {
        let keys = [
            key("new", &mark("v2", "i2").description(), 1),
            key("old", &mark("v1", "i1").description(), 1),
            key("orphan", &mark("v2", "i1").description(), 1),
            key("abandoned", &mark("v0", "i0").description(), 1),
            key("foreign", "made by hand", 1),
            key(
                "other-secret",
                &Mark::new("arn:other", "v2", "i1").description(),
                1,
            ),
        ];
        let (ours, kept) = (mark("v2", "i5"), ["new", "old"]);

        assert_eq!(ids(&of_version(&keys, &ours, &kept)), ["orphan"]);
        assert_eq!(
            ids(&of_secret(&keys, &ours, &kept)),
            ["orphan", "abandoned"]
        );
    }
}
