//! Slots: the keys of a secret value. Most values have one.
//!
//! The fields of the main key have the names of AWS's managed type, such as `apiKey`. Those of a further key have a prefix, such as
//! `schemaRegistryApiKey`.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>

use std::fmt;

use tracing::Span;
use tracing::field::Empty;

use crate::confluent::{ApiKey, Resource, UnknownResource};

/// The fields of a slot, without a prefix and with one.
const FIELDS: [(&str, &str); 4] = [
    ("apiKey", "ApiKey"),
    ("apiSecret", "ApiSecret"),
    ("resourceId", "ResourceId"),
    ("endpoint", "Endpoint"),
];

/// A key of a secret value, and the settings that describe it.
///
/// Whitespace around the values of the fields is removed.
pub struct Slot {
    /// The prefix of its fields, which is empty for `apiKey`.
    pub prefix: String,
    /// `apiKey` and `apiSecret`, or `None` if both are absent, empty or placeholders: the initial key is to be created.
    pub key: Option<ApiKey>,
    /// `serviceAccountId`: the service account (`sa-…`) or user (`u-…`) that owns all keys of the secret.
    pub owner: String,
    /// `resourceId`: the resource that the key is scoped to, or `None` for a Cloud API key.
    pub resource_id: Option<String>,
    /// `environmentId`: the environment (`env-…`) of all resources.
    pub environment_id: Option<String>,
    /// `endpoint`: the URL of the resource. It is not validated.
    pub endpoint: Option<String>,
}

impl Slot {
    /// Returns the resource that the key is scoped to.
    ///
    /// # Errors
    /// Returns [`UnknownResource`] if no key type has such a resource ID.
    pub fn resource(&self) -> Result<Resource, UnknownResource> {
        let id = self.resource_id.as_deref();
        let resource = Resource::new(id, self.environment_id.as_deref());
        resource.ok_or_else(|| UnknownResource {
            field: self.field("resourceId"),
        })
    }

    /// Returns the span of the log messages about this key alone.
    pub fn span(&self) -> Span {
        let span = tracing::error_span!("key", resource_id = Empty, key_type = Empty);
        if let Ok(resource) = self.resource() {
            span.record("resource_id", &resource.id);
            span.record("key_type", resource.key_type.name);
        }
        span
    }

    /// Returns the names of the fields that contain the key, for a message.
    pub fn key_fields(&self) -> String {
        format!("{} and {}", self.field("apiKey"), self.field("apiSecret"))
    }

    /// Returns the complete name of one of the slot's fields, given its name without a prefix.
    pub fn field(&self, name: &str) -> String {
        field_name(&self.prefix, name)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.prefix)
    }
}

/// Returns the name of a field with a prefix, given its name without one.
pub fn field_name(prefix: &str, name: &str) -> String {
    let mut fields = FIELDS.into_iter();
    let field = fields.find(|(without, _)| !prefix.is_empty() && *without == name);
    field.map_or_else(
        || name.to_owned(),
        |(_, suffix)| format!("{prefix}{suffix}"),
    )
}

/// Returns the prefix of a slot's field, and its name without a prefix. Returns `None` for a field of another kind.
pub(super) fn split_field_name(field: &str) -> Option<(&str, &'static str)> {
    FIELDS.into_iter().find_map(|(name, suffix)| {
        if field == name {
            return Some(("", name));
        }
        let prefix = field.strip_suffix(suffix)?;
        (!prefix.is_empty()).then_some((prefix, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::{
        Error, SecretValue, current_key, json_with, key, parse, value_with,
    };

    const REGISTRY: &str = r#""schemaRegistryApiKey":"REGISTRY12345678","schemaRegistryApiSecret":"registry/secret0123456789abcdefghi","schemaRegistryResourceId":"lsrc-1""#;

    fn registry_key() -> ApiKey {
        key("REGISTRY12345678", "registry/secret0123456789abcdefghi")
    }

    fn pending() -> [ApiKey; 2] {
        [
            key("PENDING987654321", "pending+secret9876543210jihgfedcba"),
            key("PENDREG987654321", "pendreg+secret9876543210jihgfedcba"),
        ]
    }

    /// Returns the fields of a key.
    fn fields(prefix: &str, id: &str, resource: &str) -> String {
        format!(
            r#""{prefix}ApiKey":"{id}","{prefix}ApiSecret":"secret-of-{id}-0123456789abcdef","{prefix}ResourceId":"{resource}""#
        )
    }

    fn parse_error(more: &str) -> Error {
        parse(&json_with(more)).expect_err(more)
    }

    #[test]
    fn a_further_key_has_an_owner_and_an_environment_in_common_with_the_first() {
        let endpoint = r#""environmentId":"env-1","schemaRegistryEndpoint":" https://a ""#;

        let value = value_with(&format!("{REGISTRY},{endpoint}"));

        let registry = value.slot("schemaRegistry").unwrap();
        assert_eq!(registry.key, Some(registry_key()));
        assert_eq!(registry.owner, "sa-1");
        assert_eq!(registry.resource_id.as_deref(), Some("lsrc-1"));
        assert_eq!(registry.environment_id.as_deref(), Some("env-1"));
        assert_eq!(registry.endpoint.as_deref(), Some("https://a"));
        assert_eq!(registry.field("resourceId"), "schemaRegistryResourceId");
        let resource = registry.resource().unwrap();
        assert_eq!(resource.key_type.name, "schema-registry");
        let prefixes: Vec<&str> = value.slots().map(|slot| slot.prefix.as_str()).collect();
        assert_eq!(prefixes, ["", "schemaRegistry"]);
        assert_eq!(value.key(""), Some(&current_key()));
    }

    #[test]
    fn slots_are_in_the_order_of_the_json() {
        let more = [
            fields("z", "ZZZZZZZZZZZZZZZZ", "lkc-z"),
            fields("A1", "AAAAAAAAAAAAAAAA", "lkc-a"),
            fields("cloudApi", "CCCCCCCCCCCCCCCC", "lsrc-c"),
        ];
        let value = value_with(&format!(r#"{},"resourceId":"lkc-1""#, more.join(",")));

        let prefixes: Vec<&str> = value.slots().map(|slot| slot.prefix.as_str()).collect();

        assert_eq!(prefixes, ["", "z", "A1", "cloudApi"]);
    }

    #[test]
    fn fields_without_a_resource_id_are_no_key_of_the_rotation() {
        for more in [
            r#""datadogApiKey":"x""#,
            r#""datadogApiKey":1,"datadogApiSecret":[]"#,
            r#""datadogApiKey":"a","datadogApiKey":"b""#,
            r#""datadogApiKey":"x","datadogApiSecret":"y","datadogResourceId":null"#,
            r#""datadogApiKey":"x","datadogApiSecret":"y","datadogResourceId":" ""#,
            r#""restEndpoint":1,"ApiKey":"x","ApiSecret":2,"ResourceId":"lkc-2""#,
            r#""topicResourceId":17"#,
            r#""topic_ResourceId":"lkc-2""#,
            r#""x":{"schemaRegistryResourceId":"lsrc-1"}"#,
        ] {
            let value = value_with(more);

            assert!(!value.has_several_slots(), "{more}");
            let replaced = value.with_keys(&pending()[..1]).unwrap();
            assert!(replaced.expose().ends_with(&format!(",{more}}}")), "{more}");
        }
    }

    #[test]
    fn an_incomplete_key_is_an_error_that_names_the_missing_fields() {
        for (more, missing) in [
            (r#""srResourceId":"lsrc-1""#, "`srApiKey` or `srApiSecret`"),
            (r#""srResourceId":"lsrc-1","srApiKey":"x""#, "`srApiSecret`"),
            (r#""srResourceId":"lsrc-1","srApiSecret":"x""#, "`srApiKey`"),
            (r#""srResourceId":1,"srApiSecret":"x""#, "`srApiKey`"),
        ] {
            let declared = "srResourceId".to_owned();
            let missing = missing.to_owned();
            let error = Error::IncompleteKey { declared, missing };
            assert_eq!(parse_error(more), error, "{more}");
        }
        for (id, secret, missing) in [
            (r#""x""#, r#""""#, "srApiSecret"),
            ("null", r#""x""#, "srApiKey"),
            (r#""${srApiKey}""#, r#""x""#, "srApiKey"),
            (r#""x""#, r#""${srApiSecret}""#, "srApiSecret"),
        ] {
            let more = format!(r#""srResourceId":"lsrc-1","srApiKey":{id},"srApiSecret":{secret}"#);
            assert_eq!(parse_error(&more), Error::Missing(missing.into()), "{more}");
        }
    }

    #[test]
    fn an_invalid_field_of_a_further_key_is_rejected_by_name() {
        let sr = fields("sr", "SSSSSSSSSSSSSSSS", "lsrc-1");
        for (more, error) in [
            (
                sr.replace(r#""lsrc-1""#, "[1]"),
                Error::NotAString("srResourceId".into()),
            ),
            (
                sr.replace(r#""SSSSSSSSSSSSSSSS""#, "true"),
                Error::NotAString("srApiKey".into()),
            ),
            (
                format!(r#"{sr},"srEndpoint":7"#),
                Error::NotAString("srEndpoint".into()),
            ),
            (
                format!(r#"{sr},"srApiKey":"x""#),
                Error::Repeated("srApiKey".into()),
            ),
            (
                format!(r#"{sr},"srResourceId":"lsrc-2""#),
                Error::Repeated("srResourceId".into()),
            ),
        ] {
            assert_eq!(parse_error(&more), error, "{more}");
        }
    }

    #[test]
    fn a_prefix_has_1_to_32_letters_and_digits() {
        for prefix in [
            "a",
            "schemaRegistry",
            "SchemaRegistry",
            "kafka2",
            &"p".repeat(32),
        ] {
            let value = value_with(&fields(prefix, "SSSSSSSSSSSSSSSS", "lsrc-1"));
            assert!(value.slot(prefix).is_some(), "{prefix}");
        }
        for prefix in [
            "schema_registry",
            "2nd",
            "a-b",
            "a b",
            "\u{e4}",
            &"p".repeat(33),
        ] {
            let more = fields(prefix, "SSSSSSSSSSSSSSSS", "lsrc-1");
            let error = parse_error(&more).to_string();
            let expected = format!("`{prefix}ResourceId` is not a field of a key");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn two_keys_for_one_resource_are_an_error_that_names_the_fields() {
        for (one, other, environment) in [
            ("lkc-1", "lkc-1", ""),
            ("cloud", "Cloud", ""),
            ("global", "GLOBAL", ""),
            ("env-1.aws.us-east-2", "aws.us-east-2", ""),
            ("env-1.aws.us-east-2", "aws.us-east-2", "env-1"),
        ] {
            let more = format!(
                r#"{},{},"environmentId":"{environment}""#,
                fields("a", "AAAAAAAAAAAAAAAA", one),
                fields("b", "BBBBBBBBBBBBBBBB", other)
            );
            let json = json_with(&more).replace(
                "\"serviceAccountId\"",
                "\"resourceId\":\"lkc-0\",\"serviceAccountId\"",
            );
            let error = Error::SameResource {
                first: "aResourceId".to_owned(),
                second: "bResourceId".to_owned(),
            };
            assert_eq!(parse(&json).err(), Some(error), "{one} {other}");
        }
        let error = Error::SameResource {
            first: "resourceId".to_owned(),
            second: "cResourceId".to_owned(),
        };
        let cloud = fields("c", "CCCCCCCCCCCCCCCC", "cloud");
        assert_eq!(parse_error(&cloud), error);
    }

    #[test]
    fn one_key_for_two_resources_is_an_error_that_names_the_fields() {
        let error = Error::SameKey {
            first: "apiKey".to_owned(),
            second: "srApiKey".to_owned(),
        };
        assert_eq!(
            parse_error(&fields("sr", "CURRENT123456789", "lsrc-1")),
            error
        );
    }

    #[test]
    fn each_copy_is_replaced_with_the_successor_of_the_key_that_it_contains() {
        let json = |id: &str, secret: &str, sr_id: &str, sr_secret: &str, pairs: [&str; 2]| {
            let [pair, sr_pair] = pairs;
            format!(
                r#"{{"sasl.jaas.config":"username=\"{id}\" password=\"{secret}\";","basic.auth.user.info":"{sr_id}:{sr_secret}","both":["{sr_id}{id}","{sr_secret}{secret}"],"apiKey":"{id}","apiSecret":"{secret}","srApiSecret":"{sr_secret}","srApiKey":"{sr_id}","Basic {pair}":"{sr_pair}","srResourceId":"lsrc-1","serviceAccountId":"sa-1","otherApiKey":"{sr_id}","${{apiKey}}":"${{srApiSecret}}"}}"#
            )
        };
        let pair = |key: &ApiKey| {
            let pair = format!("{}:{}", key.id, key.secret.expose());
            aws_smithy_types::base64::encode(pair)
        };
        let [new, new_registry] = pending();
        let (old, registry) = (current_key(), registry_key());
        let of = |key: &ApiKey, sr: &ApiKey| {
            let pairs = [pair(key), pair(sr)];
            json(
                key.id.as_str(),
                key.secret.expose(),
                sr.id.as_str(),
                sr.secret.expose(),
                [&pairs[0], &pairs[1]],
            )
        };
        let current = parse(&of(&old, &registry)).unwrap();

        let replaced = current.with_keys(&pending()).unwrap();

        assert_eq!(replaced.expose(), of(&new, &new_registry));
        let replaced = SecretValue::parse(replaced).unwrap();
        assert!(replaced.differs_only_in_keys_from(&current));
        let swapped =
            parse(&of(&new, &new_registry).replacen("PENDREG987654321:", "PENDING987654321:", 1));
        assert!(!swapped.unwrap().differs_only_in_keys_from(&current));
        let half = parse(&of(&new, &registry)).unwrap();
        assert!(!half.differs_only_in_keys_from(&current), "half of a pair");
    }

    #[test]
    fn the_placeholders_of_a_slot_are_replaced_with_its_initial_key() {
        let before = r#""srApiKey":"${srApiKey}","srApiSecret":"","srResourceId":"lsrc-1","x":"${srApiKey}:${srApiSecret}","y":"${apiKey}""#;
        let value = value_with(before);

        let replaced = value.with_keys(&pending()).unwrap();

        let after = r#""srApiKey":"PENDREG987654321","srApiSecret":"pendreg+secret9876543210jihgfedcba","srResourceId":"lsrc-1","x":"PENDREG987654321:pendreg+secret9876543210jihgfedcba","y":"${apiKey}"}"#;
        assert!(replaced.expose().ends_with(after), "{}", replaced.expose());
        assert_eq!(
            value.copy_paths(value.slot("sr").unwrap()).as_deref(),
            Some("`x`")
        );
        assert_eq!(value.placeholder_paths().as_deref(), Some("`y`"));
    }

    #[test]
    fn the_settings_of_a_further_key_are_unchanged() {
        let more = format!(r#"{REGISTRY},"schemaRegistryEndpoint":"https://REGISTRY12345678""#);
        let value = value_with(&more);

        let replaced = value.with_keys(&pending()).unwrap();

        let endpoint = r#""schemaRegistryEndpoint":"https://REGISTRY12345678""#;
        assert!(replaced.expose().contains(endpoint));
        assert_eq!(value.copy_warnings().len(), 1);
    }

    #[test]
    fn a_trace_of_any_key_is_an_error() {
        let trace = r#""x":"registry%252Fsecret0123456789abcdefghi""#;
        let value = value_with(&format!("{REGISTRY},{trace}"));

        let error = Error::NotReplaceable("`x`".to_owned());
        assert_eq!(value.check_replaceable(), Err(error));
    }

    #[test]
    fn an_id_may_be_the_start_of_another_one() {
        let more = fields("sr", "CURRENT123456789AB", "lsrc-1");

        let replaced = value_with(&more).with_keys(&pending()).unwrap();

        let expected = r#""srApiKey":"PENDREG987654321","#;
        assert!(
            replaced.expose().contains(expected),
            "{}",
            replaced.expose()
        );
    }

    #[test]
    fn another_slot_is_another_scope() {
        let (one, two) = (value_with(""), value_with(REGISTRY));
        let error = Error::ScopeMismatch("schemaRegistryResourceId".into());

        assert_eq!(one.ensure_same_scope(&two).as_ref(), Err(&error));
        assert_eq!(two.ensure_same_scope(&one).as_ref(), Err(&error));
        let other = value_with(&REGISTRY.replace("lsrc-1", "lsrc-2"));
        assert_eq!(two.ensure_same_scope(&other), Err(error));
    }

    #[test]
    fn the_first_key_that_can_manage_keys_authenticates_to_the_control_plane() {
        let cloud = fields("cloud", "CCCCCCCCCCCCCCCC", "cloud");
        for (more, prefix) in [
            (format!(r#""resourceId":"lkc-1",{cloud}"#), "cloud"),
            (r#""resourceId":"lkc-1""#.to_owned(), ""),
            (REGISTRY.to_owned(), ""),
        ] {
            assert_eq!(
                value_with(&more).self_rotation_slot().prefix,
                prefix,
                "{more}"
            );
        }
    }
}
