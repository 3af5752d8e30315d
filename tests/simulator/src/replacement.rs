//! The replacement of keys: a rotation replaces all keys of a secret, in one version.
//!
//! A copy of the current value is permitted, because it replaces no key.

use crate::secret::slot::Slot;
use crate::secret::{Secret, Version};
use crate::state::State;

impl State {
    /// Returns a slot of `pending` that holds the key of another resource.
    pub(crate) fn misplaced_key(&self, pending: &str) -> Option<String> {
        let is_misplaced = |slot: &&Slot| {
            let key = self.keys.get(&slot.id);
            key.is_some_and(|key| !key.resource.eq_ignore_ascii_case(&slot.resource))
        };
        let slots = Slot::all(pending);
        let slot = slots.iter().find(is_misplaced)?;
        Some(format!(
            "holds a key of another resource in {}",
            slot.field("apiKey")
        ))
    }
}

/// Returns why the function must not store `pending` in the version `token`.
///
/// A user may store another value while the function creates keys. `pending` therefore replaces the keys of any version that has
/// or had `AWSCURRENT`. The rule cannot decide a value without keys.
pub(crate) fn stored_value_problem(secret: &Secret, token: &str, pending: &str) -> Option<String> {
    if secret.value("AWSCURRENT") == Some(pending) {
        return None;
    }
    let pending = Slot::all(pending);
    if let Some(slot) = pending.iter().find(|slot| slot.holds_half()) {
        return Some(format!("holds half of a key in {}", slot.field("apiKey")));
    }
    let ids: Vec<&str> = pending.iter().filter_map(Slot::key_id).collect();
    if ids.is_empty() {
        return None;
    }
    let versions = secret.versions.iter().filter(|(id, _)| *id != token);
    let was_current = |id| secret.labels.get("AWSCURRENT") == Some(id);
    let replaced = versions.filter(|(id, version)| was_current(*id) || version.replaced.is_some());
    let replaced: Vec<&Version> = replaced.map(|(_, version)| version).collect();
    let mut held = replaced
        .iter()
        .flat_map(|version| &version.slots)
        .filter_map(Slot::key_id);
    if let Some(id) = held.find(|id| ids.contains(id)) {
        return Some(format!("holds {id}, which is not a new key"));
    }
    let problem = replacement_problem(secret.slots("AWSCURRENT"), &pending);
    let is_replacement =
        |version: &&Version| replacement_problem(&version.slots, &pending).is_none();
    problem.filter(|_| !replaced.iter().any(is_replacement))
}

/// Returns why the function must not move `AWSCURRENT` to `version`.
pub(crate) fn promotion_problem(secret: &Secret, version: &str) -> Option<String> {
    let current = secret.labels.get("AWSCURRENT")?;
    let (current, pending) = (&secret.versions[current], &secret.versions[version]);
    let problem = replacement_problem(&current.slots, &pending.slots);
    problem.filter(|_| current.value != pending.value)
}

/// Returns why the keys of `pending` do not replace those of `current`.
fn replacement_problem(current: &[Slot], pending: &[Slot]) -> Option<String> {
    let problem = |slot: &Slot| {
        let field = slot.field("apiKey");
        let successor = pending.iter().find(|pending| pending.name == slot.name);
        let Some(successor) = successor.filter(|successor| successor.key_id().is_some()) else {
            return Some(format!("holds no key in {field}"));
        };
        if !successor.resource.eq_ignore_ascii_case(&slot.resource) {
            return Some(format!("has another resource for {field}"));
        }
        (successor.id == slot.id).then(|| format!("holds the current key in {field}"))
    };
    let is_new = |slot: &&Slot| current.iter().all(|current| current.name != slot.name);
    let added = pending.iter().find(is_new).filter(|_| !current.is_empty());
    let added = added.map(|slot| format!("holds a further key in {}", slot.field("apiKey")));
    current.iter().find_map(problem).or(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretValue;

    const CURRENT: &str = r#"{"apiKey": "K1", "apiSecret": "S1", "resourceId": "lkc-1",
        "srApiKey": "K2", "srApiSecret": "S2", "srResourceId": "Cloud"}"#;

    fn secret(versions: &[&str], labels: &[(&str, usize)]) -> Secret {
        let mut secret = Secret::new("arn", "name");
        for (index, value) in versions.iter().enumerate() {
            let version = Version {
                value: Some(SecretValue::String((*value).to_owned())),
                slots: Slot::all(value),
                ..Version::default()
            };
            secret.versions.insert(index.to_string(), version);
        }
        for (label, version) in labels {
            secret.move_label(label, &version.to_string());
        }
        secret
    }

    /// Returns the current value with other keys.
    fn with_keys(main: &str, further: &str) -> String {
        CURRENT.replace("K2", further).replace("K1", main)
    }

    #[test]
    fn a_stored_value_replaces_all_keys_of_the_current_value() {
        for (pending, expected) in [
            (with_keys("K3", "K4"), None),
            ("{}".to_owned(), None),
            (CURRENT.to_owned(), None),
            (with_keys("K3", ""), Some("holds half of a key in srApiKey")),
            (
                with_keys("K3", "").replace("S2", ""),
                Some("holds no key in srApiKey"),
            ),
            (
                with_keys("K3", "K2"),
                Some("holds K2, which is not a new key"),
            ),
            (
                with_keys("K1", "K4"),
                Some("holds K1, which is not a new key"),
            ),
            (
                with_keys("K2", "K4"),
                Some("holds K2, which is not a new key"),
            ),
            (
                with_keys("K3", "K4").replace("Cloud", "lsrc-1"),
                Some("has another resource for srApiKey"),
            ),
            (
                with_keys("K3", "K4").replace("sr", "schema"),
                Some("holds no key in srApiKey"),
            ),
            (
                with_keys("K3", "K4").replace('}', r#", "bResourceId": "cloud"}"#),
                Some("holds a further key in bApiKey"),
            ),
        ] {
            let secret = secret(&[CURRENT], &[("AWSCURRENT", 0)]);
            let problem = stored_value_problem(&secret, "1", &pending);
            assert_eq!(problem.as_deref(), expected, "{pending}");
        }
    }

    #[test]
    fn a_stored_value_may_replace_the_keys_of_a_value_that_was_current() {
        let main = r#"{"apiKey": "K0", "apiSecret": "S0", "resourceId": "lkc-1"}"#;
        let pending = main.replace("K0", "K3");
        let labels = [("AWSCURRENT", 0), ("AWSCURRENT", 1)];

        let replaced = stored_value_problem(&secret(&[main, CURRENT], &labels), "2", &pending);
        let never_current = secret(&[main, CURRENT], &[("AWSCURRENT", 1)]);
        let never_current = stored_value_problem(&never_current, "2", &pending);
        let old_key = with_keys("K3", "K0");
        let old_key = stored_value_problem(&secret(&[main, CURRENT], &labels), "2", &old_key);

        assert_eq!(replaced, None);
        assert_eq!(never_current.as_deref(), Some("holds no key in srApiKey"));
        assert_eq!(old_key.as_deref(), Some("holds K0, which is not a new key"));
    }

    #[test]
    fn a_value_may_be_stored_again_in_its_version() {
        let pending = with_keys("K3", "K4");
        let labels = [("AWSCURRENT", 0), ("AWSCURRENT", 1)];
        let secret = secret(&[CURRENT, &pending], &labels);

        assert_eq!(stored_value_problem(&secret, "1", &pending), None);
    }
}
