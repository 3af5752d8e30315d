//! Evidence: what decides which keys of a slot may be deleted, except the values of the labeled versions.

use super::ownership::OwnershipTag;
use crate::confluent::{ApiKeyMetadata, Resource};
use crate::secret::Slot;

/// What Confluent Cloud shows about the keys of one slot.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The slot.
    pub slot: &'a Slot,
    /// The slot's resource.
    pub resource: &'a Resource,
    /// The listed keys of the owner.
    pub(super) listed: &'a [ApiKeyMetadata],
    pub(super) current: &'a ApiKeyMetadata,
    /// The current key's ownership tag, if it names this secret.
    pub(super) tag: Option<OwnershipTag>,
    pub(super) previous: Option<String>,
    /// Whether the current key is verified, so that [`free_quota`](super::deletion::Deletion::free_quota) may delete more than orphans
    /// of the pending version.
    pub may_free_quota: bool,
}

impl<'a> Evidence<'a> {
    /// Returns whether the current key was created for `version` of this secret.
    pub fn is_current_created_for(&self, version: &str) -> bool {
        self.tag.as_ref().is_some_and(|tag| tag.version == version)
    }

    /// Returns the ID of the previous key: the key of `AWSPREVIOUS`, or else the key that the current key's tag names.
    pub fn previous_key(&self) -> Option<&str> {
        self.previous.as_deref()
    }

    pub(super) fn find(&self, id: &str) -> Option<&'a ApiKeyMetadata> {
        self.listed.iter().find(|key| key.id == id)
    }
}
