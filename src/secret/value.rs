//! The secret value: finds the key, replaces it, and leaves every other byte unchanged.
//!
//! Applications read the key from other fields, too, in any layout. The key is therefore replaced wherever it is. Serializing a
//! parsed value would change how its numbers, escapes and repeated names are written, so the new key is spliced into the JSON.
//!
//! No error, warning or `Debug` output quotes the value. They only name fields.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>

use std::fmt;

use crate::confluent::{ApiKey, ApiKeyId};
use crate::http::Redacted;

use super::copies::{Replacement, Traces, has_unquoted_jaas, may_contain_key};
use super::fields::{Fields, KEY_FIELDS, SETTINGS};
use super::strings::{Edit, Span, normalize, paths, splice, strings};

/// "Secret value size", in bytes.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const SIZE_LIMIT: usize = 65_536;

/// The resource IDs that Confluent Cloud compares without regard to case.
const CASE_INSENSITIVE: [&str; 3] = ["cloud", "tableflow", "global"];

/// An invalid secret value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum Error {
    #[error("it is not a JSON object (line {line}, column {column})")]
    NotAnObject { line: usize, column: usize },
    #[error("it is binary and not a string")]
    Binary,
    #[error("`{0}` is missing or empty")]
    Missing(&'static str),
    #[error("`{0}` is not a JSON string")]
    NotAString(&'static str),
    // JSON parsers differ on which one they return.
    #[error("`{0}` appears more than once")]
    Repeated(&'static str),
    #[error("`{field}` is not {form}")]
    Malformed {
        field: &'static str,
        form: &'static str,
    },
    #[error(
        "`apiKey` and `apiSecret` are missing or empty, but there seems to be an API key in {0}"
    )]
    KeyInOtherFields(String),
    #[error("the function cannot replace the current key in {0}")]
    NotReplaceable(String),
    #[error("`adminSecretArn` and `masterarn` name different secrets")]
    TwoAdminSecrets,
    #[error("with the pending key it would be {bytes} bytes, more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("`{0}` differs from the current value")]
    ScopeMismatch(&'static str),
}

/// A secret value with an owner and a key. If the function is to create the initial key, the key is absent.
///
/// Whitespace around the values of its fields is ignored.
pub struct SecretValue {
    json: Redacted,
    fields: Fields,
    api_key: Option<ApiKey>,
    owner: String,
    resource_id: Option<String>,
    environment_id: Option<String>,
    admin_secret_arn: Option<String>,
    endpoint: Option<String>,
}

impl SecretValue {
    /// Parses a secret value.
    ///
    /// # Errors
    /// Returns an error that names the first invalid field.
    pub fn parse(json: Redacted) -> Result<Self, Error> {
        let fields = Fields::parse(json.expose())?;
        Ok(Self {
            api_key: fields.api_key()?,
            owner: fields.owner()?,
            resource_id: fields.optional("resourceId")?,
            environment_id: fields.environment_id()?,
            admin_secret_arn: fields.admin_secret_arn()?,
            endpoint: fields.optional("endpoint")?,
            json,
            fields,
        })
    }

    /// Returns `apiKey` and `apiSecret`, or `None` if both are absent, empty or placeholders.
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }

    /// Returns `serviceAccountId`: the service account (`sa-…`) or user (`u-…`) that owns the key.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns `resourceId`: the resource that the key is scoped to, or `None` for a Cloud API key.
    pub fn resource_id(&self) -> Option<&str> {
        self.resource_id.as_deref()
    }

    /// Returns `environmentId`: the environment (`env-…`) of the resource.
    pub fn environment_id(&self) -> Option<&str> {
        self.environment_id.as_deref()
    }

    /// Returns `adminSecretArn`, or `masterarn`, its name in AWS's templates for databases.
    pub fn admin_secret_arn(&self) -> Option<&str> {
        self.admin_secret_arn.as_deref()
    }

    /// Returns `endpoint`: the URL of the resource. It is not validated.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Returns a warning for each field with whitespace around its value.
    pub fn whitespace_warnings(&self) -> Vec<String> {
        self.fields.whitespace_warnings()
    }

    /// Returns the warnings about the copies of the key.
    pub fn copy_warnings(&self) -> Vec<String> {
        let Some(key) = self.api_key() else {
            return Vec::new();
        };
        let (json, traces) = (self.json.expose(), Traces::of_id(&key.id));
        let malformed = (!key.is_well_formed()).then(|| {
            "the current key is not in the format of a Confluent Cloud API key, so it is replaced only where it is a complete \
             string"
                .to_owned()
        });
        let settings = self.paths(|span| self.is_setting(span) && traces.are_in(json, span));
        let settings = settings.map(|paths| {
            format!("the ID of the current key is not replaced in {paths}, because the function reads this setting")
        });
        let jaas = self.paths(|span| has_unquoted_jaas(json, span, key));
        let jaas = jaas.map(|paths| {
            format!(
                "in {paths}, the API secret has no quotation marks, so Kafka cannot parse `+` or `/` in it: put quotation marks \
                 around username and password"
            )
        });
        [malformed, settings, jaas].into_iter().flatten().collect()
    }

    /// Returns the paths of the strings in which a rotation replaces the key, except `apiKey` and `apiSecret`, or `None` if
    /// there are none.
    pub fn copies(&self) -> Option<String> {
        self.paths_replaced(self.api_key())
    }

    /// Returns the paths of the strings with a placeholder, except `apiKey` and `apiSecret`, or `None` if there are none.
    pub fn placeholders(&self) -> Option<String> {
        self.paths_replaced(None)
    }

    fn paths_replaced(&self, current: Option<&ApiKey>) -> Option<String> {
        let replacement = Replacement::new(current, &self.stand_in());
        self.paths(|span| {
            let is_known = self.is_setting(span) || self.fields.are_around(&KEY_FIELDS, span);
            !is_known && !replacement.edits(self.json.expose(), span).is_empty()
        })
    }

    /// Returns the paths of the strings that seem to contain another key than the current one, or `None` if there are none.
    pub fn other_keys(&self) -> Option<String> {
        let json = self.json.expose();
        let is_key = |span: &Span| may_contain_key(json, span, self.api_key());
        self.paths(|span| !self.is_setting(span) && is_key(span))
    }

    /// Returns the paths of the strings that contain `id` or seem to contain another key, or `None` if none contains `id`.
    pub fn keys_with(&self, id: &ApiKeyId) -> Option<String> {
        let (json, traces) = (self.json.expose(), Traces::of_id(id));
        let is_key = |span: &Span| may_contain_key(json, span, self.api_key());
        self.paths_containing(id)?;
        self.paths(|span| traces.are_in(json, span) || is_key(span) && !self.is_setting(span))
    }

    /// Returns the paths of the strings that contain `id`, or `None` if there are none.
    pub fn paths_containing(&self, id: &ApiKeyId) -> Option<String> {
        let traces = Traces::of_id(id);
        self.paths(|span| traces.are_in(self.json.expose(), span))
    }

    /// Returns the paths of the strings that `is_listed` selects, separated by commas, or `None` if there are none.
    fn paths(&self, is_listed: impl FnMut(&Span) -> bool) -> Option<String> {
        let (json, traces) = (self.json.expose(), self.traces().any());
        let listed = strings(json).filter(is_listed);
        paths(json, listed, |name| traces.are_in(json, name))
    }

    fn traces(&self) -> Traces {
        self.api_key().map(Traces::of_key).unwrap_or_default()
    }

    fn is_setting(&self, span: &Span) -> bool {
        self.fields.are_around(&SETTINGS, span)
    }

    /// Checks that the key can be replaced in every copy. Does not check the size of the value.
    pub fn check_replaceable(&self) -> Result<(), Error> {
        match self.with_api_key(&self.stand_in()) {
            Ok(_) | Err(Error::TooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the JSON with `key` in place of [`api_key`](Self::api_key). If there is no current key, `key` is stored in the
    /// placeholders and in `apiKey` and `apiSecret`.
    ///
    /// # Errors
    /// Returns [`Error::NotReplaceable`] if a trace of the current key would remain, and [`Error::TooLarge`] if the result
    /// exceeds 64 KiB.
    pub fn with_api_key(&self, key: &ApiKey) -> Result<Redacted, Error> {
        let json = Redacted::new(self.replaced(key));
        if let Some(paths) = self.paths_of_traces(json.expose()) {
            return Err(Error::NotReplaceable(paths));
        }
        // An ID may equal the API secret or the name of a field.
        let is_stored = Self::parse(json.clone()).is_ok_and(|value| {
            value.api_key() == Some(key) && value.has_same_scope_as(self).is_ok()
        });
        if !is_stored {
            return Err(Error::NotReplaceable("`apiKey`, `apiSecret`".to_owned()));
        }
        let (bytes, limit) = (json.expose().len(), SIZE_LIMIT);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(json)
    }

    /// Returns the paths of the strings of which a trace of the current key remains in `replaced`, or `None` if there are none.
    fn paths_of_traces(&self, replaced: &str) -> Option<String> {
        let traces = self.traces();
        let mut have_trace = strings(replaced).map(|span| traces.are_in(replaced, &span));
        self.paths(|_| have_trace.next() == Some(true))
    }

    fn replaced(&self, key: &ApiKey) -> String {
        let json = self.json.expose();
        let replacement = Replacement::new(self.api_key(), key);
        let replaced = strings(json).filter(|span| !self.is_setting(span));
        let mut edits: Vec<Edit> = replaced
            .flat_map(|span| replacement.edits(json, &span))
            .collect();
        if self.api_key().is_none() {
            edits.extend(self.fields.initial_key_edits(json, key));
        }
        splice(json, edits)
    }

    /// Returns a key that stands for the one to create: as long as the current key, or of today's lengths.
    fn stand_in(&self) -> ApiKey {
        let current = self.api_key().filter(|key| key.is_well_formed());
        let lengths = current.map(|key| (key.id.as_str().len(), key.secret.expose().len()));
        let (id, secret) = lengths.unwrap_or((16, 64));
        ApiKey {
            id: ApiKeyId::new("K".repeat(id)),
            secret: Redacted::new("s".repeat(secret)),
        }
    }

    /// Checks that both values have the same owner, resource and environment. The error names the first one that differs.
    pub fn has_same_scope_as(&self, other: &Self) -> Result<(), Error> {
        let (resource, environment) = self.scope();
        let (other_resource, other_environment) = other.scope();
        let fields = [
            ("serviceAccountId", self.owner == other.owner),
            ("resourceId", resource == other_resource),
            ("environmentId", environment == other_environment),
        ];
        let mismatch = fields.into_iter().find(|(_, is_same)| !is_same);
        mismatch.map_or(Ok(()), |(field, _)| Err(Error::ScopeMismatch(field)))
    }

    /// Returns whether this value is `current` with another key and no other difference. Whitespace and the spelling of strings
    /// are no difference: another version of the function may have written the value.
    pub fn differs_only_in_key_from(&self, current: &Self) -> bool {
        let Some(key) = self.api_key().filter(|key| Some(*key) != current.api_key()) else {
            return false;
        };
        let stand_in = current.stand_in();
        current.replaced(key) == self.json.expose()
            || normalize(&self.replaced(&stand_in)) == normalize(&current.replaced(&stand_in))
    }

    /// Returns the resource and its environment in a normalized spelling.
    ///
    /// The ID of a Flink region may start with its environment: `env-abc123.aws.us-east-2`.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    fn scope(&self) -> (&str, Option<&str>) {
        let id = self.resource_id().unwrap_or("cloud");
        let (prefix, id) = match id.split_once('.') {
            Some((prefix, id)) if prefix.starts_with("env-") => (Some(prefix), id),
            _ => (None, id),
        };
        let mut normalized = CASE_INSENSITIVE.into_iter();
        let normalized = normalized.find(|word| word.eq_ignore_ascii_case(id));
        (normalized.unwrap_or(id), self.environment_id().or(prefix))
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

#[cfg(test)]
pub(super) use tests::{
    CANARY, current_key, json_with, key, parse, replaced, replaced_part, value_with,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A string that no error, warning or `Debug` output may contain.
    pub(crate) const CANARY: &str = "hunter2";

    pub(crate) fn key(id: &str, secret: &str) -> ApiKey {
        ApiKey {
            id: ApiKeyId::new(id.into()),
            secret: Redacted::new(secret.into()),
        }
    }

    pub(crate) fn current_key() -> ApiKey {
        key("CURRENT123456789", "current/secret0123456789abcdefghij")
    }

    pub(crate) fn parse(json: &str) -> Result<SecretValue, Error> {
        SecretValue::parse(Redacted::new(json.into()))
    }

    /// Returns a value with the current key, its owner, and `more` fields.
    pub(crate) fn json_with(more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!(
            r#"{{"apiKey":"CURRENT123456789","apiSecret":"current/secret0123456789abcdefghij","serviceAccountId":"sa-1"{comma}{more}}}"#
        )
    }

    pub(crate) fn value_with(more: &str) -> SecretValue {
        parse(&json_with(more)).unwrap()
    }

    /// Returns `json` with the pending key.
    pub(crate) fn replaced(json: &str) -> String {
        let pending = key("PENDING987654321", "pending+secret9876543210jihgfedcba");
        let json = parse(json).unwrap().with_api_key(&pending).unwrap();
        json.expose().to_owned()
    }

    /// Returns what becomes of `more` if the key of `json_with(more)` is replaced.
    pub(crate) fn replaced_part(more: &str) -> String {
        let json = replaced(&json_with(more));
        let start = r#"{"apiKey":"PENDING987654321","apiSecret":"pending+secret9876543210jihgfedcba","serviceAccountId":"sa-1","#;
        let part = json.strip_prefix(start).unwrap().strip_suffix('}').unwrap();
        part.to_owned()
    }

    #[test]
    fn each_field_is_parsed_by_its_name() {
        let value = value_with(
            r#""resourceId":"lkc-1","environmentId":"env-1","adminSecretArn":"arn:x:secretsmanager:r:1:secret:a-AbCdEf","endpoint":"https://a""#,
        );

        assert_eq!(value.api_key(), Some(&current_key()));
        assert_eq!(value.owner(), "sa-1");
        assert_eq!(value.resource_id(), Some("lkc-1"));
        assert_eq!(value.environment_id(), Some("env-1"));
        assert_eq!(
            value.admin_secret_arn(),
            Some("arn:x:secretsmanager:r:1:secret:a-AbCdEf")
        );
        assert_eq!(value.endpoint(), Some("https://a"));
        assert_eq!(value.whitespace_warnings(), [""; 0]);
        assert_eq!(value.copy_warnings(), [""; 0]);
    }

    #[test]
    fn an_optional_field_that_is_null_or_blank_counts_as_absent() {
        for blank in ["null", r#""""#, r#"" \t ""#] {
            let value = value_with(&format!(
                r#""resourceId":{blank},"environmentId":{blank},"adminSecretArn":{blank},"masterarn":{blank},"endpoint":{blank}"#
            ));

            assert_eq!(value.resource_id(), None, "{blank}");
            assert_eq!(value.environment_id(), None, "{blank}");
            assert_eq!(value.admin_secret_arn(), None, "{blank}");
            assert_eq!(value.endpoint(), None, "{blank}");
        }
    }

    #[test]
    fn every_byte_outside_the_key_is_unchanged() {
        let json = |id, secret| {
            [
                "\r\n {\t\"n\" : [1.0,1e400 , 12345678901234567890123,-0],\r\n",
                &format!("\"apiSecret\"  :\r\n {secret} ,\"same\":1,\"same\": 2,"),
                r#""esc\u0061ped":"\u00e9\/\ud800 é 🔑", "z":null,"a":true,"#,
                &format!(r#""deep":{{"api_key":{id},"apiSecret":["current-secret"]}},"#),
                &format!(r#""api\u004bey":{id}, "serviceAccountId":"u-1" }}"#),
                "  \n",
            ]
            .concat()
        };

        let replaced = replaced(&json(r#""CURRENT123456789""#, r#""current\/s\u0065cret""#));

        assert_eq!(
            replaced,
            json(
                r#""PENDING987654321""#,
                r#""pending+secret9876543210jihgfedcba""#
            )
        );
    }

    #[test]
    fn the_key_is_replaced_at_any_depth() {
        let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
        let deep = |id| format!(r#""deep":{open}"{id}"{close}"#);

        assert_eq!(
            replaced_part(&deep("CURRENT123456789")),
            deep("PENDING987654321")
        );
    }

    /// A key of Confluent Cloud replaces it, so the form of the new one is known.
    #[test]
    fn a_key_that_is_not_well_formed_is_replaced_only_where_it_is_a_complete_string() {
        let json = r#"{"apiKey":"short","apiSecret":"with \"quotes\"","serviceAccountId":"sa-1","user":" short\n","shorts":["short-lived","x with \"quotes\""]}"#;

        let value = parse(json).unwrap();

        assert_eq!(
            replaced(json),
            json.replace("\"short\"", "\"PENDING987654321\"")
                .replace("\" short\\n\"", "\"PENDING987654321\"")
                .replacen(
                    r#"with \"quotes\""#,
                    "pending+secret9876543210jihgfedcba",
                    1
                )
        );
        let warning = "the current key is not in the format of a Confluent Cloud API key, so it is replaced only where it is a \
                       complete string";
        assert_eq!(value.copy_warnings(), [warning]);
    }

    #[test]
    fn the_secret_of_a_key_that_is_not_well_formed_is_not_shown() {
        let json = r#"{"apiKey":"short","apiSecret":"hunter2","serviceAccountId":"sa-1","x":{"hunter2":"short","y":"short:hunter2"}}"#;

        let value = parse(json).unwrap();

        let error = value.check_replaceable().unwrap_err();
        assert_eq!(error, Error::NotReplaceable("`x/y`".to_owned()));
        assert_eq!(value.copies().as_deref(), Some("`x/…`"));
    }

    /// The search for a form takes the product of both lengths.
    #[test]
    fn a_very_long_secret_is_not_searched_for() {
        let secret = format!("{}b", "a".repeat(20_000));
        let more = "a".repeat(40_000);
        let json = format!(
            r#"{{"apiKey":"short","apiSecret":"{secret}","serviceAccountId":"sa-1","x":"{more}"}}"#
        );

        let value = parse(&json).unwrap();

        assert_eq!(value.check_replaceable(), Ok(()));
        assert_eq!(value.copy_warnings().len(), 1);
    }

    #[test]
    fn a_value_that_the_function_wrote_differs_only_in_the_key() {
        let current = value_with(r#""user":"DOMAIN\\current/secret0123456789abcdefghij""#);
        let slash = key("PENDING987654321", "/begins-with-a-slash-0123456789abcdef");

        let pending = SecretValue::parse(current.with_api_key(&slash).unwrap()).unwrap();

        assert!(pending.differs_only_in_key_from(&current));
    }

    #[test]
    fn a_string_with_both_parts_of_a_key_that_is_not_well_formed_is_an_error() {
        let json =
            r#"{"apiKey":"short","apiSecret":"weak","serviceAccountId":"sa-1","x":["short:weak"]}"#;

        let error = parse(json).unwrap().check_replaceable();

        assert_eq!(error, Err(Error::NotReplaceable("`x/0`".to_owned())));
    }

    #[test]
    fn a_key_that_cannot_be_replaced_in_its_own_fields_is_an_error() {
        for (id, secret) in [
            ("same", "same"),
            ("serviceAccountId", "of-another-field-0123456789abcdefghij"),
            ("apiSecret", "x"),
        ] {
            let json =
                format!(r#"{{"apiKey":"{id}","apiSecret":"{secret}","serviceAccountId":"sa-1"}}"#);

            let error = parse(&json).unwrap().check_replaceable();

            let paths = "`apiKey`, `apiSecret`".to_owned();
            assert_eq!(error, Err(Error::NotReplaceable(paths)), "{id}");
        }
    }

    #[test]
    fn replacing_the_key_and_restoring_it_changes_no_byte() {
        let json = json_with(
            r#""user":"CURRENT123456789","jaas":"password=\"current/secret0123456789abcdefghij\";""#,
        );
        let pending = parse(&replaced(&json)).unwrap();

        let restored = pending.with_api_key(&current_key()).unwrap();

        let pending_key = key("PENDING987654321", "pending+secret9876543210jihgfedcba");
        assert_eq!(pending.api_key(), Some(&pending_key));
        assert_eq!(restored.expose(), json);
    }

    #[test]
    fn replacing_the_key_keeps_the_whitespace_around_it() {
        let json = r#"{"apiKey":" CURRENT123456789\n","apiSecret":"current/secret0123456789abcdefghij ","serviceAccountId":" sa-1 "}"#;

        let expected = json.replace("CURRENT123456789", "PENDING987654321");
        let expected = expected.replace(
            "current/secret0123456789abcdefghij",
            "pending+secret9876543210jihgfedcba",
        );
        assert_eq!(replaced(json), expected);
    }

    #[test]
    fn an_initial_key_is_stored_in_empty_fields_and_absent_fields_are_added() {
        for (case, before, after) in [
            (
                "only the owner",
                r#"{"serviceAccountId":"sa-1"}"#,
                r#"{"serviceAccountId":"sa-1","apiKey":"PENDING987654321","apiSecret":"pending+secret9876543210jihgfedcba"}"#,
            ),
            (
                "several lines, the last field nested",
                "{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {\"}\": 1.0}\n}\n",
                "{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {\"}\": 1.0},\
                 \"apiKey\":\"PENDING987654321\",\"apiSecret\":\"pending+secret9876543210jihgfedcba\"\n}\n",
            ),
            (
                "blank and null",
                r#"{"apiSecret":" ","serviceAccountId":"sa-1","apiKey":null}"#,
                r#"{"apiSecret":"pending+secret9876543210jihgfedcba","serviceAccountId":"sa-1","apiKey":"PENDING987654321"}"#,
            ),
            (
                "empty ID, absent secret",
                r#"{"apiKey":"","serviceAccountId":"sa-1"}"#,
                r#"{"apiKey":"PENDING987654321","serviceAccountId":"sa-1","apiSecret":"pending+secret9876543210jihgfedcba"}"#,
            ),
        ] {
            assert_eq!(replaced(before), after, "{case}");
            let (before, after) = (parse(before).unwrap(), parse(after).unwrap());
            assert_eq!(before.api_key(), None, "{case}");
            assert!(after.differs_only_in_key_from(&before), "{case}");
            assert!(!before.differs_only_in_key_from(&after), "{case}");
            assert!(!before.differs_only_in_key_from(&before), "{case}");
        }
    }

    #[test]
    fn a_value_larger_than_secrets_manager_stores_is_rejected() {
        let longer = key("PENDING98765432100", "a-longer/secret9876543210jihgfedcba");
        let of_size = |bytes: usize| {
            // A letter of two bytes, because the limit is in bytes.
            let smallest = value_with(r#""x":"é""#).with_api_key(&longer).unwrap();
            let filling = "x".repeat(bytes - smallest.expose().len());
            value_with(&format!(r#""x":"é{filling}""#))
        };

        let largest = of_size(65_536).with_api_key(&longer);
        let too_large = of_size(65_537);

        assert_eq!(largest.unwrap().expose().len(), 65_536);
        let (bytes, limit) = (65_537, 65_536);
        assert_eq!(
            too_large.check_replaceable(),
            Ok(()),
            "the size is checked with the created key"
        );
        assert_eq!(
            too_large.with_api_key(&longer),
            Err(Error::TooLarge { bytes, limit })
        );
    }

    #[test]
    fn values_for_the_same_owner_resource_and_environment_have_the_same_scope() {
        for (case, one, other) in [
            (
                "order and whitespace",
                r#""resourceId":"lkc-1","environmentId":"env-1""#,
                r#""environmentId":" env-1 ","resourceId":"lkc-1 ""#,
            ),
            (
                "other fields",
                r#""x":1"#,
                r#""x":2,"endpoint":"https://a""#,
            ),
            (
                "a Cloud API key",
                r#""x":1"#,
                r#""resourceId":"Cloud","environmentId":null"#,
            ),
            (
                "a Tableflow key",
                r#""resourceId":"tableflow""#,
                r#""resourceId":"Tableflow""#,
            ),
            (
                "a Global API key",
                r#""resourceId":"GLOBAL""#,
                r#""resourceId":"global""#,
            ),
            (
                "a Flink region with and without its environment",
                r#""resourceId":"env-1.aws.us-east-2","environmentId":"env-1""#,
                r#""resourceId":"aws.us-east-2","environmentId":"env-1""#,
            ),
            (
                "the environment only in the Flink region",
                r#""resourceId":"env-1.aws.us-east-2""#,
                r#""resourceId":"aws.us-east-2","environmentId":"env-1""#,
            ),
        ] {
            let (one, other) = (value_with(one), value_with(other));
            assert_eq!(one.has_same_scope_as(&other), Ok(()), "{case}");
            assert_eq!(other.has_same_scope_as(&one), Ok(()), "{case}");
        }
    }

    #[test]
    fn a_scope_mismatch_names_the_first_field_that_differs() {
        let flink = r#""resourceId":"env-1.aws.us-east-2""#;
        let cluster = r#""resourceId":"lkc-1""#;
        let environment = r#""environmentId":"env-1""#;
        for (one, other, field) in [
            (cluster, r#""resourceId":"lkc-2""#, "resourceId"),
            (cluster, r#""resourceId":"LKC-1""#, "resourceId"),
            (cluster, r#""x":1"#, "resourceId"),
            (r#""resourceId":"global""#, r#""x":1"#, "resourceId"),
            (flink, r#""resourceId":"env-1.aws.us-east-1""#, "resourceId"),
            (
                flink,
                r#""resourceId":"env-2.aws.us-east-2""#,
                "environmentId",
            ),
            (flink, r#""resourceId":"aws.us-east-2""#, "environmentId"),
            (environment, r#""environmentId":"env-2""#, "environmentId"),
            (environment, r#""x":1"#, "environmentId"),
        ] {
            let result = value_with(one).has_same_scope_as(&value_with(other));
            assert_eq!(result, Err(Error::ScopeMismatch(field)), "{one} {other}");
        }
        let other_owner = parse(&json_with(cluster).replace("sa-1", "sa-2")).unwrap();
        assert_eq!(
            other_owner.has_same_scope_as(&value_with("")),
            Err(Error::ScopeMismatch("serviceAccountId"))
        );
    }

    #[test]
    fn debug_output_does_not_contain_the_value() {
        let value = value_with(&format!(r#""endpoint":"{CANARY}""#));

        assert_eq!(format!("{value:?}"), "SecretValue(..)");
    }
}
