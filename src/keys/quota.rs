//! The deletion of a key if a `POST` is rejected because a quota is exceeded. If there is no orphan, it deletes the previous key,
//! which ends the overlap early.

use super::deletion::{Deletion, Outcome};
use super::evidence::Evidence;
use crate::http::error_chain;

impl<'a> Deletion<'a> {
    /// Returns the number of keys of a slot that may be deleted under the rule to free quota.
    pub fn count_deletable(&self, evidence: &Evidence<'_>) -> usize {
        let orphans = self.orphans(evidence, None).into_iter();
        let keys = orphans.chain(evidence.previous_key());
        let keys = keys.filter_map(|id| evidence.find(id));
        keys.filter(|key| self.check(evidence, key).is_ok()).count()
    }

    /// Deletes at most one key, so that a key for `version` can be created. Begins with orphans of this version in all `slots`,
    /// then other orphans, then previous keys. If a slot's current key is not verified, only its orphans of this version are
    /// candidates. The version must not have a value yet, and the key may be younger than the current one. Returns whether a key
    /// may have been deleted, and what happened.
    pub async fn free_quota(
        &mut self,
        version: &'a str,
        slots: &[&Evidence<'_>],
    ) -> (bool, String) {
        self.quota_version = Some(version);
        let candidates = self.quota_candidates(version, slots);
        let is_verified = slots.iter().any(|evidence| evidence.may_free_quota);
        let mut result = if is_verified || !candidates.is_empty() {
            "no key was deleted: none of this secret's keys can be deleted safely"
        } else {
            "no key was deleted, because the current key is not verified and there is no orphaned key of this version"
        }
        .to_owned();
        for (evidence, id) in candidates {
            match self.delete(evidence, id).await {
                Ok(Outcome::Deleted) => return (true, format!("deleted key {id}")),
                Ok(Outcome::Stopped) => {
                    let result =
                        "stopped deleting keys: the secret has changed or could not be described";
                    return (false, result.to_owned());
                }
                Ok(Outcome::Kept) => {}
                Err(error) => {
                    result = error_chain(&error);
                    if error.may_have_taken_effect() {
                        self.deleted.push(id.to_owned());
                        return (true, result);
                    }
                }
            }
        }
        (false, result)
    }

    /// Returns the keys whose deletion would free quota, in the order of the attempts.
    fn quota_candidates<'s>(
        &self,
        version: &str,
        slots: &[&'s Evidence<'s>],
    ) -> Vec<(&'s Evidence<'s>, &'s str)> {
        let orphans = |evidence: &'s Evidence<'s>, version| {
            let orphans = self.orphans(evidence, version).into_iter();
            orphans.map(move |id| (evidence, id))
        };
        let of_version = slots
            .iter()
            .flat_map(|evidence| orphans(evidence, Some(version)));
        let verified = slots.iter().filter(|evidence| evidence.may_free_quota);
        let others = verified
            .clone()
            .flat_map(|evidence| orphans(evidence, None));
        let previous = verified.filter_map(|evidence| Some((*evidence, evidence.previous_key()?)));
        let mut candidates: Vec<(&Evidence<'_>, &str)> = Vec::new();
        for (evidence, id) in of_version.chain(others).chain(previous) {
            let is_known = candidates.iter().any(|(_, known)| *known == id);
            if !is_known && !self.deleted.iter().any(|deleted| deleted == id) {
                candidates.push((evidence, id));
            }
        }
        candidates
    }
}
