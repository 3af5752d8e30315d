//! Ownership tags, read independently of the function: which secret a key was created for, and which key it replaces.
//!
//! A key that a version once held is not the secret's by that alone: a user may store any ID.

use sha2::{Digest as _, Sha256};

use crate::Simulator;
use crate::confluent::api_key::ApiKey;
use crate::secret::Secret;
use crate::secret::slot::{Slot, is_prefix};
use crate::state::State;

const PREFIX: &str = "confluent-key-rotation";

/// Maximum length of the invocation's ID in a tag.
const MAX_INVOCATION_LEN: usize = 8;

/// The parts of a tag that the guarantees need.
pub(crate) struct OwnershipTag {
    secret: String,
    pub(crate) version: String,
    pub(crate) previous: Option<String>,
    pub(crate) replaces: Option<String>,
}

impl OwnershipTag {
    /// Parses the description of a key. Returns `None` if it is not a complete tag.
    pub(crate) fn parse(description: &str) -> Option<Self> {
        let words: Vec<_> = description.split(' ').collect();
        let (prefix, words) = words.split_first()?;
        let fields: Option<Vec<_>> = words.iter().map(|word| word.split_once('=')).collect();
        let fields = fields.filter(|_| *prefix == PREFIX)?;
        let known = [
            "secret",
            "version",
            "invocation",
            "slot",
            "previous",
            "replaces",
        ];
        let mut rest = fields.as_slice();
        let mut values = known.map(|_| None);
        for (value, name) in values.iter_mut().zip(known) {
            if let Some(((_, first), others)) =
                rest.split_first().filter(|((found, _), _)| *found == name)
            {
                *value = Some((*first).to_owned());
                rest = others;
            }
        }
        let [secret, version, invocation, slot, previous, replaces] = values;
        let is_id = |id: &Option<String>| id.as_ref().is_none_or(|id| !id.is_empty());
        let is_complete = rest.is_empty()
            && invocation?.len() <= MAX_INVOCATION_LEN
            && slot.is_none_or(|slot| is_prefix(&slot))
            && is_id(&previous)
            && is_id(&replaces);
        let (secret, version) = (secret?, version?);
        is_complete.then_some(Self {
            secret,
            version,
            previous,
            replaces,
        })
    }

    fn is_of(&self, arn: &str) -> bool {
        self.secret == hash(arn)
    }
}

/// Returns the description of a key that the function creates for `version` of a secret. `extra` is empty or has, in this
/// order, the prefix of a further key and other keys of its slot: `slot=<prefix> previous=<ID> replaces=<ID>`.
#[must_use]
pub fn ownership_tag(arn: &str, version: &str, invocation: &str, extra: &str) -> String {
    let secret = hash(arn);
    let tag = format!("{PREFIX} secret={secret} version={version} invocation={invocation} {extra}");
    tag.trim_end().to_owned()
}

/// Returns the first 128 bits of the ARN's SHA-256, in hexadecimal.
fn hash(arn: &str) -> String {
    let digest = Sha256::digest(arn);
    let (bits, _) = digest.split_first_chunk().expect("the hash has 256 bits");
    format!("{:032x}", u128::from_be_bytes(*bits))
}

impl Simulator {
    /// Sets the description of a key to the secret's ownership tag, as if the function had created the key.
    pub fn tag_key(&self, id: &str, arn: &str, version: &str, invocation: &str, extra: &str) {
        let mut state = self.state();
        let key = state.key_mut(id);
        key.description = ownership_tag(arn, version, invocation, extra);
        key.created_by_function = true;
    }
}

impl State {
    /// Returns whether a key is the secret's: it has the secret's ownership tag, or a current key has the secret's
    /// ownership tag and replaces it.
    #[must_use]
    pub fn is_owned(&self, arn: &str, id: &str) -> bool {
        let owner = self.keys.get(id).and_then(|key| self.owning_secret(key));
        owner.is_some_and(|secret| secret.arn == arn)
    }

    /// Returns the secret to which a key belongs.
    pub(crate) fn owning_secret(&self, key: &ApiKey) -> Option<&Secret> {
        let tag = OwnershipTag::parse(&key.description);
        let owns = |secret: &&Secret| match &tag {
            Some(tag) => tag.is_of(&secret.arn),
            None => self.is_replaced(secret, key),
        };
        self.secrets.values().find(owns)
    }

    /// Returns whether the tag of a current key names the key as the one that it replaces.
    fn is_replaced(&self, secret: &Secret, key: &ApiKey) -> bool {
        let mut slots = secret.slots("AWSCURRENT").iter();
        let replaced = |slot: &Slot| self.current_tag(secret, slot)?.replaces;
        slots.any(|slot| replaced(slot).as_ref() == Some(&key.id))
    }

    /// Returns the tag of the current key in a slot, unless it is another secret's.
    fn current_tag(&self, secret: &Secret, slot: &Slot) -> Option<OwnershipTag> {
        let key = self.keys.get(slot.key_id()?)?;
        OwnershipTag::parse(&key.description).filter(|tag| tag.is_of(&secret.arn))
    }

    /// Returns the previous key of each slot: that of the version with `AWSPREVIOUS` or, if that is no other key than the
    /// current one, the one that the current key's tag names.
    pub(crate) fn previous_keys(&self, secret: &Secret) -> Vec<String> {
        let previous = |slot: &Slot| {
            let labeled = secret.slot_key_id("AWSPREVIOUS", &slot.name);
            let labeled = labeled.filter(|id| slot.key_id() != Some(id));
            labeled
                .map(ToOwned::to_owned)
                .or_else(|| self.current_tag(secret, slot)?.previous)
        };
        let slots = secret.slots("AWSCURRENT").iter();
        slots.filter_map(previous).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/kafka-AbCdEf";

    #[test]
    fn a_tag_names_the_first_128_bits_of_the_sha_256_of_the_arn() {
        // https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/SHA256.pdf
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_tag_is_read_with_and_without_the_keys_that_it_names() {
        for (extra, previous, replaces) in [
            ("", None, None),
            ("previous=K1", Some("K1"), None),
            ("replaces=K0", None, Some("K0")),
            ("previous=K1 replaces=K0", Some("K1"), Some("K0")),
            ("slot=schemaRegistry", None, None),
            ("slot=sr previous=K1 replaces=K0", Some("K1"), Some("K0")),
        ] {
            let tag = OwnershipTag::parse(&ownership_tag(ARN, "v2", "0a1b2c3d", extra));
            let tag = tag.unwrap_or_else(|| panic!("no tag with {extra}"));
            assert!(tag.is_of(ARN) && !tag.is_of("arn"), "{extra}");
            assert_eq!(tag.version, "v2");
            assert_eq!(tag.previous.as_deref(), previous, "{extra}");
            assert_eq!(tag.replaces.as_deref(), replaces, "{extra}");
        }
    }

    #[test]
    fn another_description_is_no_tag() {
        let tag = ownership_tag(ARN, "v2", "0a1b2c3d", "");
        for description in [
            String::new(),
            "created manually".to_owned(),
            format!("{tag} edited"),
            format!("{tag} replaces="),
            format!("{tag} replaces=K0 previous=K1"),
            format!("{tag} previous=K1 slot=sr"),
            format!("{tag} slot="),
            format!("{tag} slot=s-r"),
            tag.replace(" invocation", " slot=sr invocation"),
            format!("the {tag}"),
            tag.replace("0a1b2c3d", "0a1b2c3d4"),
            tag.replace(" version=v2", ""),
        ] {
            assert!(OwnershipTag::parse(&description).is_none(), "{description}");
        }
    }
}
