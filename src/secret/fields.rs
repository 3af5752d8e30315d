//! The fields of a secret value that the function reads or replaces, with their positions in the JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::copies::may_contain_key;
use super::slot::{Slot, field_name, split_field_name};
use super::strings::{Edit, Span, paths, strings};
use super::value::Error;
use crate::config::{SECRET_ARN_FORM, is_secret_arn};
use crate::confluent::{ApiKey, ApiKeyId, MAX_ID_LENGTH};
use crate::http::Redacted;

/// The fields that all keys of a secret share.
const SHARED_SETTINGS: [&str; 4] = [
    "serviceAccountId",
    "environmentId",
    "adminSecretArn",
    "masterarn",
];

/// The fields that contain a key.
const KEY_FIELDS: [&str; 2] = ["apiKey", "apiSecret"];
const KEY_SETTINGS: [&str; 2] = ["resourceId", "endpoint"];

/// The longest prefix of a further key's fields. An ownership tag has no room for a longer one.
const MAX_PREFIX_LENGTH: usize = 32;

/// The form of the fields of a further key.
const PREFIX_FORM: &str = "a field of a key: its prefix must have 1 to 32 ASCII letters and digits, the first one a letter";

/// The longest name of a field in an error.
const MAX_NAME_LENGTH: usize = 100;

/// A field that the function knows.
struct Field {
    name: String,
    /// The position of the value in the JSON, in bytes.
    span: Span,
    /// The string: empty for `null`, `None` if the value is neither `null` nor a valid string.
    string: Option<String>,
}

impl Field {
    /// Returns the prefix of a key's field and its name without the prefix.
    fn split_name(&self) -> Option<(&str, &'static str)> {
        split_field_name(&self.name)
    }

    fn is_blank(&self) -> bool {
        self.string
            .as_deref()
            .is_some_and(|string| string.trim().is_empty())
    }
}

/// The known fields of an object, in the order of the JSON.
pub(super) struct Fields(Vec<Field>);

impl Fields {
    /// Parses a JSON object. Ignores fields with a prefix for which there is no resource ID.
    pub(super) fn parse(json: &str) -> Result<Self, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let fields = deserializer.deserialize_map(FieldsVisitor(json));
        let fields = fields.and_then(|fields| deserializer.end().map(|()| fields));
        // Only the position, because the message of `serde_json` quotes the value.
        let mut fields = fields.map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::NotAnObject { line, column }
        })?;
        let prefixes = fields.prefixes();
        fields.0.retain(|field| {
            let prefix = field.split_name().map(|(prefix, _)| prefix);
            prefix.is_none_or(|prefix| prefixes.iter().any(|known| known == prefix))
        });
        Ok(fields)
    }

    /// Returns the prefixes of the keys: the empty one, and those with a resource ID. A resource ID that is not a string
    /// declares a key only if its `apiKey` or `apiSecret` is present.
    fn prefixes(&self) -> Vec<String> {
        let mut prefixes = vec![String::new()];
        for field in &self.0 {
            if let Some((prefix, "resourceId")) = field.split_name() {
                let is_key = |other: &Field| {
                    let name = other.split_name();
                    name.is_some_and(|(of, name)| of == prefix && KEY_FIELDS.contains(&name))
                };
                let has_key = self.0.iter().any(is_key);
                let is_named = !field.is_blank() && (field.string.is_some() || has_key);
                // Another application's field may have a name that no key can have.
                let is_declared = is_named && (has_key || is_prefix(prefix));
                if is_declared && !prefixes.iter().any(|known| known == prefix) {
                    prefixes.push(prefix.to_owned());
                }
            }
        }
        prefixes
    }

    /// Returns the slots: the one of `apiKey` first, the others in the order of the JSON.
    ///
    /// # Errors
    /// Returns an error that names the first invalid field, or the fields that are missing.
    pub(super) fn slots(&self) -> Result<(Slot, Vec<Slot>), Error> {
        let slot = |prefix: String| {
            let field = |name| field_name(&prefix, name);
            if !prefix.is_empty() {
                self.check_further_key(&prefix)?;
            }
            Ok(Slot {
                key: self.api_key(&prefix)?,
                owner: self.owner()?,
                resource_id: self.optional(&field("resourceId"))?,
                environment_id: self.environment_id()?,
                endpoint: self.optional(&field("endpoint"))?,
                prefix,
            })
        };
        let mut further = Vec::new();
        let main = slot(String::new())?;
        for prefix in self.prefixes().into_iter().skip(1) {
            further.push(slot(prefix)?);
        }
        Ok((main, further))
    }

    /// Checks the prefix of a further key, and that its fields are present.
    fn check_further_key(&self, prefix: &str) -> Result<(), Error> {
        let declared = self.printable_name(&field_name(prefix, "resourceId"));
        if !is_prefix(prefix) {
            let (field, form) = (declared.into(), PREFIX_FORM);
            return Err(Error::Malformed { field, form });
        }
        let names = KEY_FIELDS.map(|name| field_name(prefix, name));
        let is_absent = |name: &&String| !self.0.iter().any(|field| field.name == **name);
        let missing: Vec<String> = names
            .iter()
            .filter(is_absent)
            .map(|name| format!("`{name}`"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(" or ");
        Err(Error::IncompleteKey { declared, missing })
    }

    /// Returns the start of a name, or an ellipsis if it contains an API secret.
    fn printable_name(&self, name: &str) -> String {
        let is_secret = |field: &&Field| {
            let secret = field.string.as_deref().unwrap_or_default().trim();
            let is_of_secret = matches!(field.split_name(), Some((_, "apiSecret")));
            is_of_secret && !secret.is_empty() && name.contains(secret)
        };
        if self.0.iter().any(|field| is_secret(&field)) {
            return "…".to_owned();
        }
        let printable = name.chars().filter(|c| !c.is_control());
        printable.take(MAX_NAME_LENGTH).collect()
    }

    /// Returns a warning for each field with ignored whitespace.
    pub(super) fn whitespace_warnings(&self) -> Vec<String> {
        let is_padded = |field: &&Field| {
            let string = field.string.as_deref().unwrap_or_default();
            string != string.trim()
        };
        let names = self.0.iter().filter(is_padded).map(|field| &field.name);
        let warning =
            |name| format!("the whitespace around the value of `{name}` is ignored: remove it");
        names.map(warning).collect()
    }

    /// Returns whether a string is in the value of a setting.
    pub(super) fn is_in_setting(&self, string: &Span) -> bool {
        let is_setting = |field: &Field| match field.split_name() {
            Some((_, name)) => KEY_SETTINGS.contains(&name),
            None => true,
        };
        let mut settings = self.0.iter().filter(|field| is_setting(field));
        settings.any(|field| field.span.contains(&string.start))
    }

    /// Returns whether a string is in the value of a field with a key.
    pub(super) fn is_in_key_field(&self, string: &Span) -> bool {
        let is_key = |field: &Field| {
            let name = field.split_name();
            name.is_some_and(|(_, name)| KEY_FIELDS.contains(&name))
        };
        let mut keys = self.0.iter().filter(|field| is_key(field));
        keys.any(|field| field.span.contains(&string.start))
    }

    /// Returns the edits that store the initial key of a slot in its fields, where they are blank or absent.
    pub(super) fn initial_key_edits(&self, json: &str, prefix: &str, key: &ApiKey) -> Vec<Edit> {
        let (mut edits, mut absent) = (Vec::new(), Vec::new());
        for (name, word) in KEY_FIELDS
            .into_iter()
            .zip([key.id.as_str(), key.secret.expose()])
        {
            let name = field_name(prefix, name);
            match self.0.iter().find(|field| field.name == name) {
                None => absent.push(format!(r#","{name}":"{word}""#)),
                Some(field) if field.is_blank() => {
                    edits.push((field.span.clone(), format!(r#""{word}""#)));
                }
                Some(_) => {}
            }
        }
        // The comma is valid, because the object has at least one field: the owner is required.
        let end = json
            .rsplit_once('}')
            .map_or(0, |(object, _)| object.trim_end().len());
        edits.push((end..end, absent.concat()));
        edits
    }

    fn find(&self, name: &str) -> Result<Option<&Field>, Error> {
        let mut fields = self.0.iter().filter(|field| field.name == name);
        match (fields.next(), fields.next()) {
            (field, None) => Ok(field),
            _ => Err(Error::Repeated(name.to_owned().into())),
        }
    }

    /// Returns the trimmed string of a field, or `None` if it is absent, `null` or blank.
    fn optional(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(field) = self.find(name)? else {
            return Ok(None);
        };
        let string = field.string.as_deref();
        let string = string.ok_or_else(|| Error::NotAString(name.to_owned().into()))?;
        Ok(Some(string.trim().to_owned()).filter(|string| !string.is_empty()))
    }

    /// Returns [`optional`](Self::optional) if it is `None` or valid.
    fn valid(
        &self,
        name: &str,
        form: &'static str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, Error> {
        match self.optional(name)? {
            Some(value) if !is_valid(&value) => {
                let field = name.to_owned().into();
                Err(Error::Malformed { field, form })
            }
            value => Ok(value),
        }
    }

    /// Returns the owner's ID, which is required.
    fn owner(&self) -> Result<String, Error> {
        const FIELD: &str = "serviceAccountId";
        let form = "`sa-…` or `u-…` with only ASCII letters, digits and hyphens";
        let owner = self.valid(FIELD, form, |id| is_id(id, "sa-") || is_id(id, "u-"))?;
        owner.ok_or(Error::Missing(Cow::Borrowed(FIELD)))
    }

    fn environment_id(&self) -> Result<Option<String>, Error> {
        let form = "`env-…` with only ASCII letters, digits and hyphens";
        self.valid("environmentId", form, |id| is_id(id, "env-"))
    }

    /// Returns the ARN of the admin secret. It is checked because it appears in messages.
    pub(super) fn admin_secret_arn(&self) -> Result<Option<String>, Error> {
        let arn = |field| self.valid(field, SECRET_ARN_FORM, is_secret_arn);
        let (admin_secret_arn, masterarn) = (arn("adminSecretArn")?, arn("masterarn")?);
        if admin_secret_arn.is_some() && masterarn.is_some() && admin_secret_arn != masterarn {
            return Err(Error::TwoAdminSecrets);
        }
        Ok(admin_secret_arn.or(masterarn))
    }

    /// Returns a key, or `None` if both of its fields are absent, empty or placeholders.
    fn api_key(&self, prefix: &str) -> Result<Option<ApiKey>, Error> {
        let [id_field, secret_field] = KEY_FIELDS.map(|name| field_name(prefix, name));
        let placeholders = placeholders(prefix);
        // The ID appears in messages, so an API secret in the wrong field must not be accepted.
        let is_valid = |id: &str| id.len() <= MAX_ID_LENGTH || placeholders.iter().any(|p| p == id);
        let id = self.valid(&id_field, "the ID of an API key", is_valid)?;
        let is_value = |string: &String| !placeholders.contains(string);
        let id = id.filter(is_value).map(ApiKeyId::new);
        let secret = self.optional(&secret_field)?.filter(is_value);
        match (id, secret.map(Redacted::new)) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::Missing(id_field.into())),
            (Some(_), None) => Err(Error::Missing(secret_field.into())),
            (Some(id), Some(secret)) => Ok(Some(ApiKey { id, secret })),
        }
    }
}

/// Returns the placeholders for an initial key: its ID and its API secret.
pub(super) fn placeholders(prefix: &str) -> [String; 2] {
    KEY_FIELDS.map(|name| format!("${{{}}}", field_name(prefix, name)))
}

/// Returns the key in the value of an admin secret, which requires no other field, and warnings about the value.
pub fn api_key(json: &Redacted) -> Result<(ApiKey, Vec<String>), Error> {
    let fields = Fields::parse(json.expose())?;
    let key = fields.api_key("")?.ok_or_else(|| {
        let json = json.expose();
        let other_keys = strings(json).filter(|span| may_contain_key(json, span, &[]));
        paths(json, other_keys, |_| false).map_or(
            Error::Missing(Cow::Borrowed("apiKey")),
            |paths| {
                let fields = "apiKey and apiSecret".to_owned();
                Error::KeyInOtherFields { fields, paths }
            },
        )
    })?;
    Ok((key, fields.whitespace_warnings()))
}

fn is_id(string: &str, prefix: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let rest = string.strip_prefix(prefix).unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(is_allowed)
}

/// Returns whether `prefix` can be the prefix of a further key's fields.
fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= MAX_PREFIX_LENGTH
        && prefix.starts_with(|c: char| c.is_ascii_alphabetic())
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

struct FieldsVisitor<'j>(&'j str);

impl<'j> Visitor<'j> for FieldsVisitor<'j> {
    type Value = Vec<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut object: A) -> Result<Vec<Field>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = object.next_entry::<String, &RawValue>()? {
            let is_shared = SHARED_SETTINGS.contains(&name.as_str());
            if !is_shared && split_field_name(&name).is_none() {
                continue;
            }
            let value = value.get();
            // A raw value borrows from the JSON, so the distance of their addresses is its position.
            let start = value.as_ptr().addr() - self.0.as_ptr().addr();
            let string = serde_json::from_str::<Option<String>>(value).ok();
            fields.push(Field {
                name,
                span: start..start + value.len(),
                string: string.map(Option::unwrap_or_default),
            });
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::{CANARY, current_key, json_with, parse, value_with};

    /// Returns the error of an invalid value, which must not quote the value.
    fn parse_error(json: &str) -> Error {
        let error = parse(json).expect_err(json);
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
        error
    }

    #[test]
    fn whitespace_around_a_known_field_is_ignored_with_a_warning() {
        let json = "{\"apiKey\":\" CURRENT123456789\\n\",\"apiSecret\":\"current/secret0123456789abcdefghij\\u00a0\",\"serviceAccountId\":\"\\tsa-1\",\
             \"resourceId\":\"lkc-1 \",\"environmentId\":\" env-1\",\"masterarn\":\"arn:x:secretsmanager:r:1:secret:a-AbCdEf\\r\\n\",\
             \"endpoint\":\" https://a \",\"other\":\" x \"}";

        let value = parse(json).unwrap();

        let slot = value.main();
        assert_eq!(slot.key, Some(current_key()));
        assert_eq!(value.owner(), "sa-1");
        assert_eq!(slot.resource_id.as_deref(), Some("lkc-1"));
        assert_eq!(slot.environment_id.as_deref(), Some("env-1"));
        assert_eq!(
            value.admin_secret_arn(),
            Some("arn:x:secretsmanager:r:1:secret:a-AbCdEf")
        );
        assert_eq!(slot.endpoint.as_deref(), Some("https://a"));
        let warning =
            |name| format!("the whitespace around the value of `{name}` is ignored: remove it");
        let names = "apiKey apiSecret serviceAccountId resourceId environmentId masterarn endpoint";
        assert_eq!(
            value.whitespace_warnings(),
            names.split(' ').map(warning).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_value_that_is_not_a_single_json_object_is_rejected() {
        for (case, json) in [
            ("empty", ""),
            ("blank", " \n"),
            ("plain text", "hunter2"),
            ("a string", r#""hunter2""#),
            ("an empty array", "[]"),
            ("an array", r#"["hunter2"]"#),
            ("null", "null"),
            ("an incomplete object", r#"{"apiKey":"hunter2""#),
            ("a value without quotes", r#"{"apiKey":hunter2}"#),
            ("a trailing comma", r#"{"apiKey":"hunter2",}"#),
            ("a surrogate in a name", r#"{"hunter2\ud800":1}"#),
            ("an unknown escape", r#"{"x":"hunter2\q"}"#),
            ("a line break in a string", "{\"x\":\"hunter2\n\"}"),
            ("two values", &format!("{} \"hunter2\"", json_with(""))),
            ("a byte order mark", &format!("\u{feff}{}", json_with(""))),
        ] {
            let error = parse_error(json);
            assert!(matches!(error, Error::NotAnObject { .. }), "{case}");
        }
    }

    #[test]
    fn invalid_json_is_rejected_with_its_position() {
        let error =
            parse_error("{\n  \"apiKey\": \"CURRENT123456789\",\n  \"apiSecret\": hunter2\n}");

        let message = "it is not a JSON object (line 3, column 16)";
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn an_absent_or_blank_required_field_is_rejected_by_name() {
        for field in ["apiKey", "apiSecret", "serviceAccountId"] {
            for value in ["null", r#""""#, r#"" \u2003\n""#] {
                let blank = json_with("").replacen(
                    &format!("\"{field}\":"),
                    &format!("\"{field}\":{value},\"renamed\":"),
                    1,
                );
                assert_eq!(parse_error(&blank), Error::Missing(field.into()), "{blank}");
            }
            let others = r#""username":"hunter2","password":"hunter2","api_key":"hunter2""#;
            let absent = json_with(others).replacen(field, "renamed", 1);
            assert_eq!(
                parse_error(&absent),
                Error::Missing(field.into()),
                "{absent}"
            );
        }
    }

    #[test]
    fn an_id_without_a_secret_and_a_secret_without_an_id_are_rejected() {
        for (present, absent) in [("apiKey", "apiSecret"), ("apiSecret", "apiKey")] {
            let json = format!(r#"{{"{present}":"hunter2","serviceAccountId":"sa-1"}}"#);

            assert_eq!(parse_error(&json), Error::Missing(absent.into()));
        }
    }

    #[test]
    fn a_known_field_that_is_not_a_string_is_rejected_by_name() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        for (case, value) in [
            ("an integer", "1"),
            ("a float", "1e400"),
            ("a Boolean", "true"),
            ("an array", r#"["hunter2"]"#),
            ("a deeply nested array", &deep),
            ("an object", r#"{"hunter2":"hunter2"}"#),
            ("a surrogate", r#""hunter2\ud800""#),
        ] {
            for (field, valid) in [
                ("apiKey", "CURRENT123456789"),
                ("apiSecret", "current/secret0123456789abcdefghij"),
                ("serviceAccountId", "sa-1"),
            ] {
                let json = json_with("").replace(&format!("\"{valid}\""), value);
                assert_eq!(
                    parse_error(&json),
                    Error::NotAString(field.into()),
                    "{case}"
                );
            }
            let (_owner, optional) = SHARED_SETTINGS.split_first().unwrap();
            for field in optional.iter().copied().chain(KEY_SETTINGS) {
                let json = json_with(&format!("\"{field}\":{value}"));
                assert_eq!(
                    parse_error(&json),
                    Error::NotAString(field.into()),
                    "{case}"
                );
            }
        }
    }

    #[test]
    fn a_known_field_that_appears_twice_is_rejected_by_name() {
        for field in KEY_FIELDS
            .into_iter()
            .chain(KEY_SETTINGS)
            .chain(SHARED_SETTINGS)
        {
            let json = json_with(&format!(r#""{field}":"hunter2","{field}":"hunter2""#));
            assert_eq!(parse_error(&json), Error::Repeated(field.into()), "{json}");
        }
        let escaped = json_with(r#""api\u004bey":"hunter2""#);
        assert_eq!(parse_error(&escaped), Error::Repeated("apiKey".into()));
    }

    #[test]
    fn an_admin_secret_with_a_key_under_other_names_is_rejected_with_these_names() {
        let json = r#"{"username":"CURRENT123456789","password":"hunter2"}"#;

        let error = api_key(&Redacted::new(json.to_owned()));

        let paths = "`username`".to_owned();
        let fields = "apiKey and apiSecret".to_owned();
        assert_eq!(error.err(), Some(Error::KeyInOtherFields { fields, paths }));
    }

    /// Checks that `field` is malformed, and that the error names it.
    fn assert_malformed(field: &str, json: &str) {
        let message = parse_error(json).to_string();
        assert!(
            message.starts_with(&format!("`{field}` is not ")),
            "{message}"
        );
    }

    #[test]
    fn an_api_key_id_of_the_length_of_an_api_secret_is_rejected_by_name() {
        let secret = CANARY.repeat(9);
        let json = json_with("").replace("CURRENT123456789", &secret);
        assert_malformed("apiKey", &json);
    }

    #[test]
    fn the_owner_is_a_service_account_or_a_user() {
        let json = |owner| json_with("").replace("sa-1", owner);
        for owner in ["sa-abc123", "u-abc123", "sa-A-1"] {
            assert_eq!(parse(&json(owner)).unwrap().owner(), owner);
        }
        for owner in [
            "hunter2",
            "SA-hunter2",
            "sa-",
            "u-",
            "sa_hunter2",
            "sa-hunter2/../x",
            "sa-hunter2 x",
            "pool-1",
            "u-é",
        ] {
            assert_malformed("serviceAccountId", &json(owner));
        }
    }

    #[test]
    fn an_environment_id_starts_with_env() {
        for environment in [
            "hunter2",
            "ENV-hunter2",
            "env-",
            "env-hunter2&x",
            "env-hunter2.aws.us-east-2",
        ] {
            let json = json_with(&format!(r#""environmentId":"{environment}""#));
            assert_malformed("environmentId", &json);
        }
    }

    #[test]
    fn an_admin_secret_that_is_not_a_complete_arn_is_rejected_by_name() {
        for field in ["adminSecretArn", "masterarn"] {
            for arn in [
                "hunter2",
                "arn:x:secretsmanager:hunter2",
                "arn:x:secretsmanager:r:1:secret:hunter2",
                "arn:x:secretsmanager:r:1:secret:hunter2-AbCdE",
                "arn:x:secretsmanager:r:1:secret:hunter2-??????",
                "arn:x:kms:r:1:secret:hunter2-AbCdEf",
            ] {
                let json = json_with(&format!(r#""{field}":"{arn}""#));
                assert_malformed(field, &json);
            }
        }
    }

    #[test]
    fn both_names_of_the_admin_secret_must_have_the_same_value() {
        for (case, fields) in [
            (
                "adminSecretArn",
                r#""adminSecretArn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf""#,
            ),
            (
                "masterarn",
                r#""masterarn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf""#,
            ),
            (
                "both, with whitespace",
                r#""adminSecretArn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf","masterarn":" arn:x:secretsmanager:r:1:secret:a-AbCdEf""#,
            ),
            (
                "adminSecretArn is null",
                r#""adminSecretArn":null,"masterarn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf""#,
            ),
            (
                "masterarn is empty",
                r#""adminSecretArn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf","masterarn":"""#,
            ),
        ] {
            let value = value_with(fields);
            let arn = value.admin_secret_arn();
            assert_eq!(
                arn,
                Some("arn:x:secretsmanager:r:1:secret:a-AbCdEf"),
                "{case}"
            );
        }
        let different = json_with(
            r#""adminSecretArn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf","masterarn":"arn:x:secretsmanager:r:1:secret:b-AbCdEf""#,
        );
        assert_eq!(parse_error(&different), Error::TwoAdminSecrets);
    }
}
