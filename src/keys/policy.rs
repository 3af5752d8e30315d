//! The policy for the previous key of one secret: the function's, or that of the secret's resource tags.
//!
//! A principal that can tag the secret can shorten the overlap. An invalid resource tag is never replaced by a default.

use std::time::Duration;

use crate::config::{Config, OldKeyPolicy, old_key_hours, old_key_policy};
use crate::error::Error;
use crate::http::printable;
use crate::secret::SecretMetadata;

/// The prefix of the keys of the resource tags that the function reads.
const TAG_PREFIX: &str = "confluent-key-rotation:";
/// The resource tag that overrides `OLD_KEY_POLICY` for one secret.
pub const POLICY_TAG: &str = "confluent-key-rotation:old-key-policy";
/// The resource tag that overrides `OLD_KEY_HOURS` for one secret.
pub const HOURS_TAG: &str = "confluent-key-rotation:old-key-hours";

/// The policy for the previous key of one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousKeyPolicy {
    /// What happens to the previous key.
    pub policy: OldKeyPolicy,
    /// How long `delete-after` keeps it.
    pub hours: u16,
}

impl PreviousKeyPolicy {
    /// Returns the policy of a secret.
    ///
    /// # Errors
    /// Returns [`Error::InvalidPolicyTag`] if a tag has an invalid value, even if the policy ignores it, or if a tag key with the
    /// prefix is unknown.
    pub fn of(secret: &SecretMetadata, config: &Config) -> Result<Self, Error> {
        let mut policy = Self {
            policy: config.old_key_policy,
            hours: config.old_key_hours,
        };
        for (tag, value) in &secret.tags {
            let parsed = match tag.as_str() {
                POLICY_TAG => old_key_policy(value).map(|parsed| policy.policy = parsed),
                HOURS_TAG => old_key_hours(value).map(|parsed| policy.hours = parsed),
                tag if tag.starts_with(TAG_PREFIX) => Err(format!(
                    "is unknown: the function reads {POLICY_TAG} and {HOURS_TAG}"
                )),
                _ => Ok(()),
            };
            parsed.map_err(|problem| Error::InvalidPolicyTag {
                tag: printable(tag),
                problem,
            })?;
        }
        Ok(policy)
    }

    /// Returns how long the previous key is kept after its replacement, or `None` under a policy without a schedule.
    pub fn overlap(self) -> Option<Duration> {
        let is_scheduled = self.policy == OldKeyPolicy::DeleteAfter;
        is_scheduled.then(|| Duration::from_hours(self.hours.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Returns the policy of a secret with these resource tags under a function's variables.
    fn of(variables: &[(&str, &str)], tags: &[(&str, &str)]) -> Result<PreviousKeyPolicy, Error> {
        let lambda = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "example"),
        ];
        let config = Config::read(|name| {
            let mut variables = variables.iter().chain(&lambda);
            let (_, value) = variables.find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        });
        let mut secret = SecretMetadata::default();
        for (key, value) in tags {
            secret.tags.insert((*key).to_owned(), (*value).to_owned());
        }
        PreviousKeyPolicy::of(&secret, &config.unwrap())
    }

    #[test]
    fn a_resource_tag_overrides_the_setting_of_the_function() {
        let delete = ("OLD_KEY_POLICY", "delete");
        let hours = ("OLD_KEY_HOURS", "72");
        for (variables, tags, policy, overlap) in [
            (&[][..], &[][..], OldKeyPolicy::DeleteAfter, Some(24)),
            (
                &[hours],
                &[("team", "orders")],
                OldKeyPolicy::DeleteAfter,
                Some(72),
            ),
            (
                &[hours],
                &[(HOURS_TAG, "1")],
                OldKeyPolicy::DeleteAfter,
                Some(1),
            ),
            (
                &[hours],
                &[(POLICY_TAG, "delete")],
                OldKeyPolicy::Delete,
                None,
            ),
            (
                &[delete, hours],
                &[(POLICY_TAG, "delete-after")],
                OldKeyPolicy::DeleteAfter,
                Some(72),
            ),
            (&[delete], &[(HOURS_TAG, "48")], OldKeyPolicy::Delete, None),
            (
                &[delete],
                &[(POLICY_TAG, "keep-until-next-rotation")],
                OldKeyPolicy::KeepUntilNextRotation,
                None,
            ),
        ] {
            let found = of(variables, tags).unwrap();

            let overlap = overlap.map(Duration::from_hours);
            assert_eq!(
                (found.policy, found.overlap()),
                (policy, overlap),
                "{tags:?}"
            );
        }
    }

    #[test]
    fn an_invalid_resource_tag_is_an_error_under_every_policy() {
        for policy in ["delete-after", "delete", "keep-until-next-rotation"] {
            for tag in [
                (POLICY_TAG, ""),
                (POLICY_TAG, "Delete"),
                (POLICY_TAG, "delete "),
                (POLICY_TAG, "keep"),
                (HOURS_TAG, ""),
                (HOURS_TAG, "0"),
                (HOURS_TAG, "721"),
                (HOURS_TAG, "24h"),
                ("confluent-key-rotation:old-key-polcy", "delete"),
                ("confluent-key-rotation:", "delete"),
            ] {
                let error = of(&[("OLD_KEY_POLICY", policy)], &[tag]).unwrap_err();

                assert_eq!(error.name(), "InvalidPolicyTag");
                assert!(error.message().contains(tag.0), "{tag:?}");
            }
        }
    }
}
