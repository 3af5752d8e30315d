//! The secret value: finds the keys, replaces them, and leaves every other byte unchanged.
//!
//! Applications read the keys from other fields, too, in any layout. A key is therefore replaced wherever it is. Serializing a
//! parsed value would change how its numbers, escapes and repeated names are written, so the new keys are spliced into the JSON.
//!
//! No error, warning or `Debug` output quotes the value. They only name fields.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>

use std::borrow::Cow;
use std::fmt;
use std::iter::once;

use crate::confluent::{ApiKey, ApiKeyId};
use crate::http::Redacted;

use super::copies::{Replacement, Traces, has_unquoted_jaas, may_contain_key};
use super::fields::{Fields, placeholders};
use super::slot::Slot;
use super::strings::{Edit, Span, normalize, paths, splice, strings};

/// "Secret value size", in bytes.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const SIZE_LIMIT: usize = 65_536;

/// The resource IDs that Confluent Cloud compares without regard to case.
const CASE_INSENSITIVE: [&str; 3] = ["cloud", "tableflow", "global"];

/// The name of a field.
pub type FieldName = Cow<'static, str>;

/// An invalid secret value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum Error {
    #[error("it is not a JSON object (line {line}, column {column})")]
    NotAnObject { line: usize, column: usize },
    #[error("it is binary and not a string")]
    Binary,
    #[error("`{0}` is missing or empty")]
    Missing(FieldName),
    #[error("`{declared}` names the resource of a key, but there is no {missing}")]
    IncompleteKey { declared: String, missing: String },
    #[error("`{0}` is not a JSON string")]
    NotAString(FieldName),
    // JSON parsers differ on which one they return.
    #[error("`{0}` appears more than once")]
    Repeated(FieldName),
    #[error("`{field}` is not {form}")]
    Malformed {
        field: FieldName,
        form: &'static str,
    },
    #[error("`{first}` and `{second}` name the same resource")]
    SameResource { first: String, second: String },
    #[error("`{first}` and `{second}` contain the same key")]
    SameKey { first: String, second: String },
    #[error("{fields} are missing or empty, but there seems to be an API key in {paths}")]
    KeyInOtherFields { fields: String, paths: String },
    #[error("the function cannot replace a current key in {0}")]
    NotReplaceable(String),
    #[error("`adminSecretArn` and `masterarn` name different secrets")]
    TwoAdminSecrets,
    #[error("with the pending key it would be {bytes} bytes, more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("`{0}` differs from the current value")]
    ScopeMismatch(FieldName),
}

/// A secret value: an owner and its keys, one per slot. If the function is to create an initial key, the key is absent.
pub struct SecretValue {
    json: Redacted,
    fields: Fields,
    main: Slot,
    further: Vec<Slot>,
    admin_secret_arn: Option<String>,
}

impl SecretValue {
    /// Parses a secret value.
    ///
    /// # Errors
    /// Returns an error that names the first invalid field, or the fields that are missing or contradict each other.
    pub fn parse(json: Redacted) -> Result<Self, Error> {
        let fields = Fields::parse(json.expose())?;
        let (main, further) = fields.slots()?;
        let value = Self {
            admin_secret_arn: fields.admin_secret_arn()?,
            json,
            fields,
            main,
            further,
        };
        value.check_distinct()?;
        Ok(value)
    }

    /// Checks that no two slots have the same resource or the same key.
    fn check_distinct(&self) -> Result<(), Error> {
        for (nth, slot) in self.slots().enumerate() {
            for other in self.slots().take(nth) {
                let fields = |name| (other.field(name), slot.field(name));
                if are_same_resource(other, slot) {
                    let (first, second) = fields("resourceId");
                    return Err(Error::SameResource { first, second });
                }
                let ids = (slot.key.as_ref(), other.key.as_ref());
                if let (Some(key), Some(other)) = ids
                    && (key.id == other.id || key.secret == other.secret)
                {
                    let (first, second) = fields("apiKey");
                    return Err(Error::SameKey { first, second });
                }
            }
        }
        Ok(())
    }

    /// Returns the slots: the one of `apiKey` first, the others in the order of the JSON.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> + Clone {
        once(&self.main).chain(&self.further)
    }

    /// Returns the slot of `apiKey`.
    pub fn main(&self) -> &Slot {
        &self.main
    }

    /// Returns the slot with this prefix.
    pub fn slot(&self, prefix: &str) -> Option<&Slot> {
        self.slots().find(|slot| slot.prefix == prefix)
    }

    /// Returns whether the value has several slots, so that messages have to name the key.
    pub fn has_several_slots(&self) -> bool {
        !self.further.is_empty()
    }

    /// Returns the slots that contain a key, with the key.
    pub fn filled_slots(&self) -> impl Iterator<Item = (&Slot, &ApiKey)> + Clone {
        self.slots()
            .filter_map(|slot| Some((slot, slot.key.as_ref()?)))
    }

    /// Returns the keys.
    pub fn keys(&self) -> impl Iterator<Item = &ApiKey> + Clone {
        self.filled_slots().map(|(_, key)| key)
    }

    /// Returns whether a slot contains a key.
    pub fn contains_keys(&self) -> bool {
        self.keys().next().is_some()
    }

    /// Returns the key of the slot with this prefix.
    pub fn key(&self, prefix: &str) -> Option<&ApiKey> {
        self.slot(prefix)?.key.as_ref()
    }

    /// Returns the slot whose key authenticates to the control plane if the secret uses self-rotation: the first one that contains a
    /// key of a type that can, or else that of `apiKey`.
    pub fn self_rotation_slot(&self) -> &Slot {
        let can_manage_keys = |slot: &&Slot| {
            let resource = slot.resource();
            slot.key.is_some() && resource.is_ok_and(|resource| resource.key_type.can_manage_keys)
        };
        self.slots().find(can_manage_keys).unwrap_or(&self.main)
    }

    /// Returns `serviceAccountId`: the service account (`sa-…`) or user (`u-…`) that owns the keys.
    pub fn owner(&self) -> &str {
        &self.main.owner
    }

    /// Returns `adminSecretArn`, or `masterarn`, its name in AWS's templates for databases.
    pub fn admin_secret_arn(&self) -> Option<&str> {
        self.admin_secret_arn.as_deref()
    }

    /// Returns a warning for each field with whitespace around its value.
    pub fn whitespace_warnings(&self) -> Vec<String> {
        self.fields.whitespace_warnings()
    }

    /// Returns the warnings about the copies of the keys.
    pub fn copy_warnings(&self) -> Vec<String> {
        self.filled_slots()
            .flat_map(|(slot, key)| self.copy_warnings_of(slot, key))
            .collect()
    }

    fn copy_warnings_of(&self, slot: &Slot, key: &ApiKey) -> impl Iterator<Item = String> {
        let (json, traces) = (self.json.expose(), Traces::of_id(&key.id));
        let malformed = (!key.is_well_formed()).then(|| {
            format!(
                "the key in `{}` is not in the format of a Confluent Cloud API key, so it is replaced only where it is a complete \
                 string",
                slot.field("apiKey")
            )
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
        [malformed, settings, jaas].into_iter().flatten()
    }

    /// Returns the paths of the strings in which a rotation replaces the key of `slot` or its placeholders, except the slot's own
    /// fields, or `None` if there are none.
    pub fn copy_paths(&self, slot: &Slot) -> Option<String> {
        self.paths_replaced(slot, slot.key.as_ref())
    }

    /// Returns the paths of the strings with a placeholder of a slot that contains a key, or `None` if there are none.
    pub fn placeholder_paths(&self) -> Option<String> {
        let paths: Vec<String> = self
            .filled_slots()
            .filter_map(|(slot, _)| self.paths_replaced(slot, None))
            .collect();
        (!paths.is_empty()).then(|| paths.join(", "))
    }

    fn paths_replaced(&self, slot: &Slot, current: Option<&ApiKey>) -> Option<String> {
        let mut replacement = Replacement::default();
        replacement.add(
            current,
            &placeholders(&slot.prefix),
            &stand_in(current, "0"),
        );
        self.paths(|span| {
            let is_known = self.is_setting(span) || self.fields.is_in_key_field(span);
            !is_known && !replacement.edits(self.json.expose(), span).is_empty()
        })
    }

    /// Returns the paths of the strings that seem to contain another key than the current ones, or `None` if there are none.
    pub fn other_key_paths(&self) -> Option<String> {
        let (json, keys) = (self.json.expose(), self.keys().collect::<Vec<_>>());
        let is_key = |span: &Span| may_contain_key(json, span, &keys);
        self.paths(|span| !self.is_setting(span) && is_key(span))
    }

    /// Returns the paths of the strings that contain `id` or seem to contain another key, or `None` if none contains `id`.
    pub fn key_paths_with(&self, id: &ApiKeyId) -> Option<String> {
        let (json, traces) = (self.json.expose(), Traces::of_id(id));
        let keys: Vec<&ApiKey> = self.keys().collect();
        let is_key = |span: &Span| may_contain_key(json, span, &keys);
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
        let json = self.json.expose();
        let traces: Vec<Traces> = self.keys().map(|key| Traces::of_key(key).any()).collect();
        let listed = strings(json).filter(is_listed);
        paths(json, listed, |name| {
            traces.iter().any(|traces| traces.are_in(json, name))
        })
    }

    fn is_setting(&self, span: &Span) -> bool {
        self.fields.is_in_setting(span)
    }

    /// Checks that every key can be replaced in every copy. Does not check the size of the value.
    pub fn check_replaceable(&self) -> Result<(), Error> {
        match self.with_keys(&self.stand_ins()) {
            Ok(_) | Err(Error::TooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the JSON with `keys`, one per slot, in place of the current ones. In a slot without a current key, the key is stored
    /// in the placeholders and in the slot's fields.
    ///
    /// # Errors
    /// Returns [`Error::NotReplaceable`] if a trace of a current key would remain, and [`Error::TooLarge`] if the result
    /// exceeds 64 KiB.
    pub fn with_keys(&self, keys: &[ApiKey]) -> Result<Redacted, Error> {
        let json = Redacted::new(self.replaced(keys));
        if let Some(paths) = self.paths_of_traces(json.expose()) {
            return Err(Error::NotReplaceable(paths));
        }
        // An ID may equal the API secret or the name of a field.
        let is_stored = Self::parse(json.clone()).is_ok_and(|value| {
            value
                .slots()
                .map(|slot| slot.key.as_ref())
                .eq(keys.iter().map(Some))
                && value.ensure_same_scope(self).is_ok()
        });
        if !is_stored {
            return Err(Error::NotReplaceable(self.key_fields()));
        }
        let (bytes, limit) = (json.expose().len(), SIZE_LIMIT);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(json)
    }

    fn key_fields(&self) -> String {
        let names = self
            .slots()
            .flat_map(|slot| ["apiKey", "apiSecret"].map(|name| slot.field(name)));
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }

    /// Returns the paths of the strings that still contain a trace of a current key in `replaced`, or `None` if there are none.
    fn paths_of_traces(&self, replaced: &str) -> Option<String> {
        let traces: Vec<Traces> = self.keys().map(Traces::of_key).collect();
        let mut have_trace = strings(replaced)
            .map(|span| traces.iter().any(|traces| traces.are_in(replaced, &span)));
        self.paths(|_| have_trace.next() == Some(true))
    }

    fn replaced(&self, keys: &[ApiKey]) -> String {
        let json = self.json.expose();
        let mut replacement = Replacement::default();
        let mut edits: Vec<Edit> = Vec::new();
        for (slot, key) in self.slots().zip(keys) {
            replacement.add(slot.key.as_ref(), &placeholders(&slot.prefix), key);
            if slot.key.is_none() {
                edits.extend(self.fields.initial_key_edits(json, &slot.prefix, key));
            }
        }
        let replaced = strings(json).filter(|span| !self.is_setting(span));
        edits.extend(replaced.flat_map(|span| replacement.edits(json, &span)));
        splice(json, edits)
    }

    /// Returns keys that stand for the ones to create.
    fn stand_ins(&self) -> Vec<ApiKey> {
        let slots = self.slots().enumerate();
        slots
            .map(|(nth, slot)| stand_in(slot.key.as_ref(), &nth.to_string()))
            .collect()
    }

    /// Checks that both values have the same owner and slots with the same resources and environment. The error names the first
    /// field that differs.
    pub fn ensure_same_scope(&self, other: &Self) -> Result<(), Error> {
        let mismatch = |field: String| Err(Error::ScopeMismatch(field.into()));
        if self.owner() != other.owner() {
            return mismatch("serviceAccountId".to_owned());
        }
        let slots = self.slots().map(|slot| (slot, other.slot(&slot.prefix)));
        for (slot, same) in slots {
            let Some(same) = same else {
                return mismatch(slot.field("resourceId"));
            };
            let ((resource, environment), (of_other, other_environment)) =
                (scope(slot), scope(same));
            if resource != of_other {
                return mismatch(slot.field("resourceId"));
            }
            if environment != other_environment {
                return mismatch("environmentId".to_owned());
            }
        }
        let removed = other.slots().find(|slot| self.slot(&slot.prefix).is_none());
        removed.map_or(Ok(()), |slot| mismatch(slot.field("resourceId")))
    }

    /// Returns whether this value is `current` with another key in every slot and no other difference. Whitespace and the spelling
    /// of strings are no difference: another version of the function may have written the value.
    pub fn differs_only_in_keys_from(&self, current: &Self) -> bool {
        let prefixes = self.slots().map(|slot| &slot.prefix);
        if !prefixes.eq(current.slots().map(|slot| &slot.prefix)) {
            return false;
        }
        let keys: Vec<ApiKey> = self.keys().cloned().collect();
        let is_replaced =
            |(slot, current): (&Slot, &Slot)| slot.key.is_some() && slot.key != current.key;
        if !self.slots().zip(current.slots()).all(is_replaced) {
            return false;
        }
        let stand_ins = current.stand_ins();
        current.replaced(&keys) == self.json.expose()
            || normalize(&self.replaced(&stand_ins)) == normalize(&current.replaced(&stand_ins))
    }
}

/// Returns a key that stands for the one to create: as long as `current`, or of today's lengths. It ends with `suffix`.
fn stand_in(current: Option<&ApiKey>, suffix: &str) -> ApiKey {
    let current = current.filter(|key| key.is_well_formed());
    let lengths = current.map(|key| (key.id.as_str().len(), key.secret.expose().len()));
    let (id, secret) = lengths.unwrap_or((16, 64));
    ApiKey {
        id: ApiKeyId::new(format!("{suffix:K>id$}")),
        secret: Redacted::new(format!("{suffix:s>secret$}")),
    }
}

/// Returns the resource of a slot and its environment in a normalized spelling.
///
/// The ID of a Flink region may start with its environment: `env-abc123.aws.us-east-2`.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
fn scope(slot: &Slot) -> (&str, Option<&str>) {
    let id = slot.resource_id.as_deref().unwrap_or("cloud");
    let (prefix, id) = match id.split_once('.') {
        Some((prefix, id)) if prefix.starts_with("env-") => (Some(prefix), id),
        _ => (None, id),
    };
    let mut normalized = CASE_INSENSITIVE.into_iter();
    let normalized = normalized.find(|word| word.eq_ignore_ascii_case(id));
    (
        normalized.unwrap_or(id),
        slot.environment_id.as_deref().or(prefix),
    )
}

/// Returns whether two slots of one value have the same resource. If only one has an environment, the ID decides.
fn are_same_resource(slot: &Slot, other: &Slot) -> bool {
    let ((resource, environment), (of_other, other_environment)) = (scope(slot), scope(other));
    let environments = environment.zip(other_environment);
    resource == of_other && environments.is_none_or(|(ours, theirs)| ours == theirs)
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
        let json = parse(json).unwrap().with_keys(&[pending]).unwrap();
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
        assert_eq!(value.whitespace_warnings(), [""; 0]);
        assert_eq!(value.copy_warnings(), [""; 0]);
    }

    #[test]
    fn an_optional_field_that_is_null_or_blank_counts_as_absent() {
        for blank in ["null", r#""""#, r#"" \t ""#] {
            let value = value_with(&format!(
                r#""resourceId":{blank},"environmentId":{blank},"adminSecretArn":{blank},"masterarn":{blank},"endpoint":{blank}"#
            ));

            let slot = value.main();
            assert_eq!(slot.resource_id, None, "{blank}");
            assert_eq!(slot.environment_id, None, "{blank}");
            assert_eq!(value.admin_secret_arn(), None, "{blank}");
            assert_eq!(slot.endpoint, None, "{blank}");
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
        let warning = "the key in `apiKey` is not in the format of a Confluent Cloud API key, so it is replaced only where it is a \
                       complete string";
        assert_eq!(value.copy_warnings(), [warning]);
    }

    #[test]
    fn the_secret_of_a_key_that_is_not_well_formed_is_not_shown() {
        let json = r#"{"apiKey":"short","apiSecret":"hunter2","serviceAccountId":"sa-1","x":{"hunter2":"short","y":"short:hunter2"}}"#;

        let value = parse(json).unwrap();

        let error = value.check_replaceable().unwrap_err();
        assert_eq!(error, Error::NotReplaceable("`x/y`".to_owned()));
        assert_eq!(value.copy_paths(value.main()).as_deref(), Some("`x/…`"));
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

        let pending = SecretValue::parse(current.with_keys(&[slash]).unwrap()).unwrap();

        assert!(pending.differs_only_in_keys_from(&current));
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

        let restored = pending.with_keys(&[current_key()]).unwrap();

        let pending_key = key("PENDING987654321", "pending+secret9876543210jihgfedcba");
        assert_eq!(pending.key(""), Some(&pending_key));
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
            assert_eq!(before.key(""), None, "{case}");
            assert!(after.differs_only_in_keys_from(&before), "{case}");
            assert!(!before.differs_only_in_keys_from(&after), "{case}");
            assert!(!before.differs_only_in_keys_from(&before), "{case}");
        }
    }

    #[test]
    fn a_value_larger_than_secrets_manager_stores_is_rejected() {
        let longer = [key(
            "PENDING98765432100",
            "a-longer/secret9876543210jihgfedcba",
        )];
        let of_size = |bytes: usize| {
            // A letter of two bytes, because the limit is in bytes.
            let smallest = value_with(r#""x":"é""#).with_keys(&longer).unwrap();
            let filling = "x".repeat(bytes - smallest.expose().len());
            value_with(&format!(r#""x":"é{filling}""#))
        };

        let largest = of_size(65_536).with_keys(&longer);
        let too_large = of_size(65_537);

        assert_eq!(largest.unwrap().expose().len(), 65_536);
        let (bytes, limit) = (65_537, 65_536);
        assert_eq!(
            too_large.check_replaceable(),
            Ok(()),
            "the size is checked with the created key"
        );
        assert_eq!(
            too_large.with_keys(&longer),
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
            assert_eq!(one.ensure_same_scope(&other), Ok(()), "{case}");
            assert_eq!(other.ensure_same_scope(&one), Ok(()), "{case}");
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
            let result = value_with(one).ensure_same_scope(&value_with(other));
            assert_eq!(
                result,
                Err(Error::ScopeMismatch(field.into())),
                "{one} {other}"
            );
        }
        let other_owner = parse(&json_with(cluster).replace("sa-1", "sa-2")).unwrap();
        assert_eq!(
            other_owner.ensure_same_scope(&value_with("")),
            Err(Error::ScopeMismatch("serviceAccountId".into()))
        );
    }

    #[test]
    fn debug_output_does_not_contain_the_value() {
        let value = value_with(&format!(r#""endpoint":"{CANARY}""#));

        assert_eq!(format!("{value:?}"), "SecretValue(..)");
    }
}
