//! The secret value: finds the key, replaces it, and leaves every other byte unchanged.
//!
//! Other applications own the other fields. Serializing a parsed value would change how its numbers, escapes and repeated names
//! are written, so the replacement is spliced into the JSON.
//!
//! No error, warning or `Debug` output quotes the value. They only name fields.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>

use std::fmt;

use crate::confluent::{ApiKey, ApiKeyId};
use crate::http::Redacted;

use super::copies::{Edit, FieldGroup, KEY_FIELDS, KeyFormat, splice};
use super::fields::Fields;

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

    /// Returns `apiKey` and `apiSecret`, or `None` if both are absent or empty.
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }

    /// Returns whether a string in the value, under any name, contains `id`.
    pub fn contains(&self, id: &ApiKeyId) -> bool {
        let mut parts = self.json.expose().split("\\u");
        let mut unescaped = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (digits, rest) = part.split_at_checked(4).unwrap_or(("", part));
            let code = u32::from_str_radix(digits, 16).ok();
            unescaped.extend(code.and_then(char::from_u32));
            unescaped += rest;
        }
        unescaped.contains(id.as_str())
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

    /// Returns the problems that do not stop a rotation.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.whitespace_warnings();
        let unchanged = self.key_copies(false).join("`, `");
        if !unchanged.is_empty() {
            warnings.push(format!(
                "the key is not replaced in `{unchanged}`: a group of fields is unchanged if one of them does not hold the \
                 current key or appears more than once. If clients read the key from these fields, store the current key \
                 in each of them, once"
            ));
        }
        warnings
    }

    /// Returns a warning for each field with whitespace around its value.
    pub fn whitespace_warnings(&self) -> Vec<String> {
        self.fields.whitespace_warnings()
    }

    /// Returns the other fields for the key: those in which a rotation replaces it, or those that it leaves unchanged.
    pub fn key_copies(&self, are_replaced: bool) -> Vec<&'static str> {
        let placeholder = ApiKey {
            id: ApiKeyId::new(String::new()),
            secret: Redacted::new(String::new()),
        };
        let key = self.api_key().unwrap_or(&placeholder);
        let groups = KEY_FIELDS.into_iter().skip(1);
        let groups = groups.filter(|group| self.edits(group, key).is_some() == are_replaced);
        let names = groups.flatten().map(|(name, _)| *name);
        names.filter(|name| self.fields.has(name)).collect()
    }

    /// Returns the JSON with `key` in place of [`api_key`](Self::api_key). If there is no current key, `key` is stored in the
    /// empty fields of the groups that hold no other value, and `apiKey` and `apiSecret` are added if they are absent.
    pub fn with_api_key(&self, key: &ApiKey) -> Result<Redacted, Error> {
        let edits = KEY_FIELDS.iter().filter_map(|group| self.edits(group, key));
        let mut edits: Vec<Edit> = edits.flatten().collect();
        edits.extend(self.missing_fields(key));
        let json = splice(self.json.expose(), edits);
        let (bytes, limit) = (json.len(), SIZE_LIMIT);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(Redacted::new(json))
    }

    /// Returns the edits that replace the key in a group, or `None` if the group does not hold the current key.
    fn edits(&self, group: FieldGroup, key: &ApiKey) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        for (name, format) in group {
            let Some(field) = self.fields.find(name).ok()? else {
                continue;
            };
            let string = field.string.as_deref()?;
            let replaced = format.replace_key(string, self.api_key(), key)?;
            // An unchanged string keeps its spelling: it may be written with `\/` for `/`.
            if replaced != string {
                let json = serde_json::Value::from(replaced).to_string();
                edits.push((field.span.clone(), json));
            }
        }
        Some(edits)
    }

    /// Returns the edit that adds those of `apiKey` and `apiSecret` that are absent, or `None` if both are present.
    fn missing_fields(&self, key: &ApiKey) -> Option<Edit> {
        let [group, ..] = KEY_FIELDS;
        let absent = group.iter().filter(|(name, _)| !self.fields.has(name));
        let member = |(name, format): &(&str, KeyFormat)| {
            let value = serde_json::Value::from(format.replace_key("", None, key)?);
            Some(format!(r#","{name}":{value}"#))
        };
        let members: String = absent.filter_map(member).collect();
        // The comma is valid, because the object has at least one field: the owner is required.
        let (object, _) = self.json.expose().rsplit_once('}')?;
        let end = object.trim_end().len();
        (!members.is_empty()).then_some((end..end, members))
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

    /// Returns whether this value is `current` with another key and no other difference. Whitespace, the order of fields and
    /// the spelling of strings are no difference: another version of the function may have written the value.
    pub fn differs_only_in_key_from(&self, current: &Self) -> bool {
        let replaced = self.api_key().map(|key| current.with_api_key(key));
        let Some(Ok(replaced)) = replaced else {
            return false;
        };
        let parse = |json: &Redacted| serde_json::from_str::<serde_json::Value>(json.expose()).ok();
        replaced == self.json
            || parse(&replaced).is_some_and(|json| parse(&self.json) == Some(json))
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
    CANARY, JAAS_OPTIONS, current_key, jaas, json_with, key, parse, replaced, replaced_part,
    value_with,
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
        key("CURRENTID", "current/secret")
    }

    pub(crate) fn parse(json: &str) -> Result<SecretValue, Error> {
        SecretValue::parse(Redacted::new(json.into()))
    }

    /// Returns a value with the current key, its owner, and `more` fields.
    pub(crate) fn json_with(more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!(
            r#"{{"apiKey":"CURRENTID","apiSecret":"current/secret","serviceAccountId":"sa-1"{comma}{more}}}"#
        )
    }

    pub(crate) fn value_with(more: &str) -> SecretValue {
        parse(&json_with(more)).unwrap()
    }

    /// Returns `json` with the pending key.
    pub(crate) fn replaced(json: &str) -> String {
        let pending = key("PENDINGID", "pending+secret");
        let json = parse(json).unwrap().with_api_key(&pending).unwrap();
        json.expose().to_owned()
    }

    /// Returns what becomes of `more` if the key of `json_with(more)` is replaced.
    pub(crate) fn replaced_part(more: &str) -> String {
        let json = replaced(&json_with(more));
        let start =
            r#"{"apiKey":"PENDINGID","apiSecret":"pending+secret","serviceAccountId":"sa-1","#;
        let part = json.strip_prefix(start).unwrap().strip_suffix('}').unwrap();
        part.to_owned()
    }

    /// The options of a JAAS configuration, as in Kafka's documentation.
    pub(crate) const JAAS_OPTIONS: &str = r#"username="CURRENTID" password="current/secret";"#;

    /// Returns the field `sasl.jaas.config` with `options`.
    pub(crate) fn jaas(options: &str) -> String {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let config = format!("{module} required {options}\n");
        format!(r#""sasl.jaas.config":{}"#, serde_json::json!(config))
    }

    #[test]
    fn each_field_is_parsed_by_its_name() {
        let value = value_with(
            r#""resourceId":"lkc-1","environmentId":"env-1","adminSecretArn":"arn:x:secretsmanager:1","endpoint":"https://a""#,
        );

        assert_eq!(value.api_key(), Some(&current_key()));
        assert_eq!(value.owner(), "sa-1");
        assert_eq!(value.resource_id(), Some("lkc-1"));
        assert_eq!(value.environment_id(), Some("env-1"));
        assert_eq!(value.admin_secret_arn(), Some("arn:x:secretsmanager:1"));
        assert_eq!(value.endpoint(), Some("https://a"));
        assert_eq!(value.warnings(), [""; 0]);
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
                r#""deep":{"apiKey":"CURRENTID","apiSecret":["current/secret"]},"API_KEY":"CURRENTID","#,
                &format!(r#""api\u004bey":{id}, "serviceAccountId":"u-1" }}"#),
                "  \n",
            ]
            .concat()
        };

        let replaced = replaced(&json(r#""CURRENTID""#, r#""current\/s\u0065cret""#));

        assert_eq!(replaced, json(r#""PENDINGID""#, r#""pending+secret""#));
    }

    #[test]
    fn a_deeply_nested_field_of_another_application_is_unchanged() {
        let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
        let deep = format!(r#""deep":{open}1{close}"#);

        assert_eq!(replaced_part(&deep), deep);
    }

    #[test]
    fn replacing_the_key_with_itself_changes_no_byte() {
        let json = json_with(&format!(
            r#""password":"current\/secr\u0065t","user":"CURRENTID","basic.auth.user.info":"CURRENTID:current\/secret",{}"#,
            jaas(JAAS_OPTIONS)
        ));

        let same = parse(&json).unwrap().with_api_key(&current_key()).unwrap();

        assert_eq!(same.expose(), json);
    }

    #[test]
    fn replacing_the_key_and_restoring_it_changes_no_byte() {
        let json = json_with(&format!(r#""user":"CURRENTID",{}"#, jaas(JAAS_OPTIONS)));
        let pending = parse(&replaced(&json)).unwrap();

        let restored = pending.with_api_key(&current_key()).unwrap();

        let pending_key = key("PENDINGID", "pending+secret");
        assert_eq!(pending.api_key(), Some(&pending_key));
        assert_eq!(restored.expose(), json);
    }

    #[test]
    fn a_key_is_escaped_as_json_and_parsed_back_unchanged() {
        let odd = key("a\"b\\c\n\u{1}", "é\u{2028}'\"\\");
        let copies = r#""username":"CURRENTID","basic.auth.user.info":"CURRENTID:current/secret""#;

        let json = value_with(copies).with_api_key(&odd).unwrap();

        assert_eq!(SecretValue::parse(json).unwrap().api_key(), Some(&odd));
    }

    #[test]
    fn replacing_the_key_removes_only_the_whitespace_around_the_key() {
        let json = r#"{"apiKey":" CURRENTID\n","apiSecret":"current/secret ","serviceAccountId":" sa-1 ","user":" CURRENTID"}"#;

        assert_eq!(
            replaced(json),
            r#"{"apiKey":"PENDINGID","apiSecret":"pending+secret","serviceAccountId":" sa-1 ","user":"PENDINGID"}"#
        );
    }

    #[test]
    fn an_initial_key_is_stored_in_empty_fields_and_absent_fields_are_added() {
        for (case, before, after) in [
            (
                "only the owner",
                r#"{"serviceAccountId":"sa-1"}"#,
                r#"{"serviceAccountId":"sa-1","apiKey":"PENDINGID","apiSecret":"pending+secret"}"#,
            ),
            (
                "several lines, the last field nested",
                "{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {\"}\": 1.0}\n}\n",
                "{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {\"}\": 1.0},\
                 \"apiKey\":\"PENDINGID\",\"apiSecret\":\"pending+secret\"\n}\n",
            ),
            (
                "blank and null",
                r#"{"apiSecret":" ","serviceAccountId":"sa-1","apiKey":null}"#,
                r#"{"apiSecret":"pending+secret","serviceAccountId":"sa-1","apiKey":"PENDINGID"}"#,
            ),
            (
                "empty ID, absent secret",
                r#"{"apiKey":"","serviceAccountId":"sa-1"}"#,
                r#"{"apiKey":"PENDINGID","serviceAccountId":"sa-1","apiSecret":"pending+secret"}"#,
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
        let longer = key("PENDINGID", "a\"longer/secret");
        let of_size = |bytes: usize| {
            // A letter of two bytes, because the limit is in bytes.
            let smallest = value_with(r#""x":"é""#).with_api_key(&longer).unwrap();
            let filling = "x".repeat(bytes - smallest.expose().len());
            value_with(&format!(r#""x":"é{filling}""#)).with_api_key(&longer)
        };

        let largest = of_size(65_536);
        let too_large = of_size(65_537);

        assert_eq!(largest.unwrap().expose().len(), 65_536);
        let (bytes, limit) = (65_537, 65_536);
        assert_eq!(too_large, Err(Error::TooLarge { bytes, limit }));
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
