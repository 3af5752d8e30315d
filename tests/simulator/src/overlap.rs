//! The overlap: the time for which the previous key is kept after it was replaced.
//!
//! The simulator decides from its own record of when `AWSCURRENT` moved away from each version, not from the dates that the
//! function reads.

use crate::confluent::api_key::ApiKey;
use crate::controls::Overlap;
use crate::guarantees::Guarantee;
use crate::secret::{Secret, Version, epoch_seconds};
use crate::state::State;

/// The default of `OLD_KEY_HOURS`.
const DEFAULT_HOURS: u32 = 24;

/// The function rounds times to seconds.
const TOLERANCE_SECONDS: f64 = 1.0;

impl State {
    /// Returns why the key must be kept, if it is the previous key and its overlap has not ended.
    pub(crate) fn overlap_problem(
        &self,
        key: &ApiKey,
        secret: &Secret,
    ) -> Option<(Guarantee, String)> {
        let owner = key.owner.as_deref().unwrap_or_default();
        let is_kept = match self.overlap(secret) {
            _ if self.is_quota_exhausted(owner) => false,
            Overlap::None => false,
            Overlap::Hours(hours) => {
                let mut slots = secret.slots("AWSCURRENT").iter();
                slots.any(|slot| {
                    let last = secret.last_replaced(&slot.name);
                    let last = last.filter(|version| version.key_id(&slot.name) == Some(&key.id));
                    last.is_some_and(|version| !version.has_overlapped_for(hours))
                })
            }
            Overlap::UntilNextRotation => self.previous_keys(secret).contains(&key.id),
        };
        let message = format!(
            "{} is the previous key of {}, and its overlap has not ended",
            key.id, secret.name
        );
        is_kept.then_some((Guarantee::PreviousKeyKept, message))
    }

    /// Returns why `AWSPREVIOUS` must not be removed, if the overlap of its key has not ended.
    pub(crate) fn previous_label_problem(&self, arn: &str) -> Option<(Guarantee, String)> {
        let secret = &self.secrets[arn];
        let owner = secret.owner().unwrap_or_default();
        let is_kept = match self.overlap(secret) {
            _ if self.is_quota_exhausted(&owner) => false,
            Overlap::None => false,
            Overlap::Hours(hours) => {
                let version = secret.labels.get("AWSPREVIOUS");
                let version = version.map(|version| &secret.versions[version]);
                version.is_some_and(|version| !version.has_overlapped_for(hours))
            }
            Overlap::UntilNextRotation => true,
        };
        let message = format!(
            "AWSPREVIOUS of {} is removed, and its overlap has not ended",
            secret.name
        );
        is_kept.then_some((Guarantee::PreviousKeyKept, message))
    }

    /// Returns the overlap of a secret. Its resource tags override that of the function. Under an invalid tag, the previous key
    /// is kept.
    fn overlap(&self, secret: &Secret) -> Overlap {
        let tag = |name: &str| {
            let tags = &secret.attributes.tags;
            tags.get(&format!("confluent-key-rotation:{name}"))
        };
        let hours = tag("old-key-hours").map(|hours| hours.parse());
        let hours = match hours {
            None => None,
            Some(Ok(hours @ 1..=720)) => Some(hours),
            Some(_) => return Overlap::UntilNextRotation,
        };
        let of_function = self.controls.overlap;
        match (tag("old-key-policy").map(String::as_str), of_function) {
            (Some("delete"), _) => Overlap::None,
            (Some("delete-after") | None, Overlap::Hours(default)) => {
                Overlap::Hours(hours.unwrap_or(default))
            }
            (Some("delete-after"), _) => Overlap::Hours(hours.unwrap_or(DEFAULT_HOURS)),
            (Some(_), _) => Overlap::UntilNextRotation,
            (None, _) => of_function,
        }
    }
}

impl Secret {
    /// Returns the version with another key than the current one in a slot from which `AWSCURRENT` moved away last.
    fn last_replaced(&self, slot: &str) -> Option<&Version> {
        let current = self.slot_key_id("AWSCURRENT", slot);
        let holds_current =
            |version: &Version| current.is_some() && version.key_id(slot) == current;
        let versions = self.versions.values();
        let replaced = versions.filter(|version| version.replaced.is_some());
        let replaced = replaced.filter(|version| !holds_current(version));
        replaced.max_by(|a, b| a.replaced.partial_cmp(&b.replaced).expect("no date is NaN"))
    }
}

impl Version {
    /// Returns whether `AWSCURRENT` moved away at least `hours` ago. A version that was never current counts from its creation.
    fn has_overlapped_for(&self, hours: u32) -> bool {
        let seconds = f64::from(hours) * 3600.0 - TOLERANCE_SECONDS;
        let since = self.replaced.or(self.created);
        since.is_none_or(|since| epoch_seconds() - since >= seconds)
    }
}
