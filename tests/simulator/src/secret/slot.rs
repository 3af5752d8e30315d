//! The slots of a secret value: the fields of its main key, and those of each further key.
//!
//! A further key has the fields of the main key with a prefix: `schemaRegistryApiKey`. Its `<prefix>ResourceId` declares it.

use serde_json::Value;

/// Maximum length of a prefix.
const MAX_PREFIX_LEN: usize = 32;

/// The place of one key in a secret value.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The prefix of the fields; empty for the main key.
    pub(crate) name: String,
    /// The ID of the resource that the key is scoped to.
    pub(crate) resource: String,
    /// The ID of the key; empty if it is blank.
    pub(crate) id: String,
    /// The API secret of the key; empty if it is blank.
    pub(crate) secret: String,
}

impl Slot {
    /// Returns the slots of a value: that of the main key, followed by the others in the order of the JSON.
    ///
    /// The main key has the fields of AWS's managed type.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>
    pub(crate) fn all(json: &str) -> Vec<Self> {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        let names = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys());
        let prefixes = names.filter_map(|name| name.strip_suffix("ResourceId"));
        let mut prefixes: Vec<&str> = prefixes.filter(|prefix| is_prefix(prefix)).collect();
        prefixes.sort_by_key(|prefix| json.find(&format!("\"{prefix}ResourceId\"")));
        let main = Self::read(&value, "").unwrap_or_else(|| Self::new(&value, "", "cloud"));
        let further = prefixes.into_iter();
        let further = further.filter_map(|prefix| Self::read(&value, prefix));
        std::iter::once(main).chain(further).collect()
    }

    /// Returns the slot if the value names its resource.
    fn read(value: &Value, name: &str) -> Option<Self> {
        let resource = value[field(name, "resourceId")].as_str()?.trim();
        (!resource.is_empty()).then(|| Self::new(value, name, resource))
    }

    fn new(value: &Value, name: &str, resource: &str) -> Self {
        let part = |part: &str| {
            let field = field(name, part);
            let string = value[&field].as_str().unwrap_or_default();
            let is_blank = string.trim().is_empty() || string.trim() == placeholder(&field);
            if is_blank { "" } else { string }.to_owned()
        };
        Self {
            name: name.to_owned(),
            resource: resource.to_owned(),
            id: part("apiKey"),
            secret: part("apiSecret"),
        }
    }

    /// Returns the ID of the key, or `None` if the initial key is still to be created.
    pub(crate) fn key_id(&self) -> Option<&str> {
        let holds_key = !self.id.is_empty() && !self.secret.is_empty();
        holds_key.then_some(&self.id)
    }

    /// Returns whether the slot holds an ID without an API secret, or an API secret without an ID.
    pub(crate) fn holds_half(&self) -> bool {
        self.id.is_empty() != self.secret.is_empty()
    }

    /// Returns the name of a field of the slot by the name of the main key's field.
    pub(crate) fn field(&self, main: &str) -> String {
        field(&self.name, main)
    }
}

/// Returns the placeholder for the initial value of a field.
pub(crate) fn placeholder(field: &str) -> String {
    format!("${{{field}}}")
}

/// Returns whether fields may have this prefix.
pub(crate) fn is_prefix(name: &str) -> bool {
    name.len() <= MAX_PREFIX_LEN
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Returns the name of the field with a prefix by the name of the main key's field.
pub(crate) fn field(prefix: &str, main: &str) -> String {
    match main.split_at_checked(1) {
        Some((first, rest)) if !prefix.is_empty() => {
            format!("{prefix}{}{rest}", first.to_ascii_uppercase())
        }
        _ => main.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the name, the resource, the ID and the secret of each slot.
    fn slots(json: &str) -> Vec<[String; 4]> {
        let slots = Slot::all(json).into_iter();
        slots
            .map(|slot| [slot.name, slot.resource, slot.id, slot.secret])
            .collect()
    }

    #[test]
    fn the_main_key_is_followed_by_the_further_keys_in_the_order_of_the_json() {
        let json = r#"{"zResourceId": "lsrc-1", "zApiKey": "K2", "zApiSecret": "S2", "apiKey": "K1", "apiSecret": "S1",
            "resourceId": "lkc-1", "aApiSecret": "S3", "aResourceId": "cloud", "aApiKey": "K3", "aEndpoint": "https://a"}"#;
        let expected = [
            ["", "lkc-1", "K1", "S1"],
            ["z", "lsrc-1", "K2", "S2"],
            ["a", "cloud", "K3", "S3"],
        ];
        assert_eq!(
            slots(json),
            expected.map(|slot| slot.map(ToOwned::to_owned))
        );
    }

    #[test]
    fn a_further_key_is_declared_by_the_id_of_its_resource() {
        for resource in [
            r#""x": 1"#,
            r#""srResourceId": null"#,
            r#""srResourceId": " ""#,
            r#""s-rResourceId": "lsrc-1""#,
            r#""1srResourceId": "lsrc-1""#,
            r#""srresourceId": "lsrc-1""#,
            r#""ResourceId": "lsrc-1""#,
            r#""a23456789012345678901234567890123ResourceId": "lsrc-1""#,
        ] {
            let json = format!(r#"{{"srApiKey": "K2", "srApiSecret": "S2", {resource}}}"#);
            assert_eq!(slots(&json), [["", "cloud", "", ""]], "{resource}");
        }
        let longest = format!("a{}", "2".repeat(31));
        let json = format!(r#"{{"{longest}ResourceId": "lsrc-1"}}"#);
        assert_eq!(Slot::all(&json).len(), 2);
    }

    #[test]
    fn a_blank_key_is_an_initial_key_that_is_still_to_be_created() {
        let full = r#""apiKey": "K", "apiSecret": "S", "srApiKey": "K", "srApiSecret": "S""#;
        let half = r#""apiKey": "K", "srApiSecret": "S""#;
        let placeholders = r#""apiKey": "${apiKey}", "apiSecret": "${apiSecret}",
            "srApiKey": "${srApiKey}", "srApiSecret": "${srApiSecret}""#;
        let other = r#""apiKey": "${srApiKey}", "apiSecret": "x", "srApiKey": "${apiKey}", "srApiSecret": "x""#;
        let blank = r#""apiKey": null, "apiSecret": " ", "srApiKey": "", "srApiSecret": null"#;
        for (fields, holds_key, holds_half) in [
            (full, true, false),
            (half, false, true),
            (placeholders, false, false),
            (other, true, false),
            (blank, false, false),
            (r#""x": 1"#, false, false),
        ] {
            let slots = Slot::all(&format!(r#"{{"srResourceId": "lsrc-1", {fields}}}"#));
            assert_eq!(slots.len(), 2);
            for slot in slots {
                assert_eq!(slot.key_id().is_some(), holds_key, "{fields}");
                assert_eq!(slot.holds_half(), holds_half, "{fields}");
            }
        }
    }
}
