//! The secret value: find the key in it, put another in its place, touch nothing else.
//!
//! The other fields belong to other programs. A value that is parsed and written again would lose
//! the spelling of its numbers, its escapes and its repeated names, so the new key is spliced into
//! the text, and every other byte stays.
//!
//! No error, warning or `Debug` quotes what was read: fields of ours are named, and that is all.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-ConfluentCloudApiKey.html>

mod fields;
mod holds;

use std::fmt;

use crate::credential::{ApiKey, ApiKeyId, Redacted};

use fields::Fields;
pub(crate) use fields::LONGEST_ID;
pub use fields::api_key;
use holds::{Edit, Holds, splice};

/// "Secret value size", in bytes.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const SIZE_LIMIT: usize = 65_536;

/// Fields that hold the key and change together or not at all.
type Row = &'static [(&'static str, Holds)];

/// Every field that holds the key, in the layouts that clients read it from.
const KEY_FIELDS: [Row; 6] = [
    &[("apiKey", Holds::Id), ("apiSecret", Holds::Secret)],
    &[
        ("username", Holds::Id),
        ("user", Holds::Id),
        ("password", Holds::Secret),
    ],
    &[
        ("sasl.username", Holds::Id),
        ("sasl.password", Holds::Secret),
    ],
    &[("sasl.jaas.config", Holds::Jaas)],
    &[("basic.auth.user.info", Holds::UserInfo)],
    &[("schema.registry.basic.auth.user.info", Holds::UserInfo)],
];

/// The resource ids that Confluent Cloud compares in any case.
const ANY_CASE: [&str; 3] = ["cloud", "tableflow", "global"];

/// A secret value that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not one JSON object.
    #[error("it is not a JSON object (line {line}, column {column})")]
    NotAnObject {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 before the first character of a line.
        column: usize,
    },
    /// A required field is absent, `null` or blank.
    #[error("`{0}` is missing or empty")]
    Missing(&'static str),
    /// A field of ours is a number, say, or a string with a broken escape.
    #[error("`{0}` is not a JSON string")]
    NotAString(&'static str),
    /// A field of ours is there twice. Readers of JSON differ on which one counts.
    #[error("`{0}` appears more than once")]
    Repeated(&'static str),
    /// An id that Confluent Cloud cannot have given.
    #[error("`{field}` is malformed")]
    Malformed {
        /// The field's name.
        field: &'static str,
        /// What its values look like.
        form: &'static str,
    },
    /// Both names of one setting are there and differ.
    #[error("`adminSecretArn` and `masterarn` name different secrets")]
    TwoAdminSecrets,
    /// With the new key in it, Secrets Manager would not store it.
    #[error(
        "with the new key it would be {bytes} bytes, and Secrets Manager stores at most {limit}"
    )]
    TooLarge {
        /// The size with the new key.
        bytes: usize,
        /// The largest size that is stored.
        limit: usize,
    },
    /// The pending value is meant for something else than the current one.
    #[error("`{0}` differs between the pending and the current value")]
    Disagreement(&'static str),
}

/// A secret value that names the owner of a key, and the key unless the first one is still to be made.
///
/// White space around the value of a field of ours does not count.
pub struct Document {
    text: Redacted,
    fields: Fields,
    api_key: Option<ApiKey>,
    owner: String,
    resource_id: Option<String>,
    environment_id: Option<String>,
    admin_secret_arn: Option<String>,
    endpoint: Option<String>,
}

impl Document {
    /// Reads a secret value.
    ///
    /// # Errors
    /// Any [`Error`] but [`TooLarge`](Error::TooLarge) and [`Disagreement`](Error::Disagreement).
    pub fn parse(text: Redacted) -> Result<Self, Error> {
        let fields = Fields::read(text.expose())?;
        let api_key = fields.api_key_or_none()?;
        let owner = fields.required("serviceAccountId")?;
        if !is_id(&owner, &["sa-", "u-"]) {
            let (field, form) = (
                "serviceAccountId",
                "`sa-…` or `u-…`, of ASCII letters, digits and hyphens",
            );
            return Err(Error::Malformed { field, form });
        }
        let environment_id = fields.optional("environmentId")?;
        if !environment_id.iter().all(|id| is_id(id, &["env-"])) {
            let (field, form) = (
                "environmentId",
                "`env-…`, of ASCII letters, digits and hyphens",
            );
            return Err(Error::Malformed { field, form });
        }
        let admin_secret_arn = fields.secret_arn("adminSecretArn")?;
        let masterarn = fields.secret_arn("masterarn")?;
        if admin_secret_arn.is_some() && masterarn.is_some() && admin_secret_arn != masterarn {
            return Err(Error::TwoAdminSecrets);
        }
        Ok(Self {
            api_key,
            owner,
            resource_id: fields.optional("resourceId")?,
            environment_id,
            admin_secret_arn: admin_secret_arn.or(masterarn),
            endpoint: fields.optional("endpoint")?,
            text,
            fields,
        })
    }

    /// `apiKey` and `apiSecret`; none if both are absent or empty.
    #[must_use]
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }

    /// `serviceAccountId`: the service account (`sa-…`) or user (`u-…`) that owns the key.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// `resourceId`: what the key opens, as it is written there; none for a Cloud key.
    #[must_use]
    pub fn resource_id(&self) -> Option<&str> {
        self.resource_id.as_deref()
    }

    /// `environmentId`: the environment (`env-…`) that the resource is in.
    #[must_use]
    pub fn environment_id(&self) -> Option<&str> {
        self.environment_id.as_deref()
    }

    /// `adminSecretArn`, which AWS's database templates call `masterarn`: the secret of who signs.
    #[must_use]
    pub fn admin_secret_arn(&self) -> Option<&str> {
        self.admin_secret_arn.as_deref()
    }

    /// `endpoint`: where the resource answers. Nothing is checked here, not even that it is a URL.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// What is odd about the value and does not stop a rotation: sentences that name fields.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.padded();
        for row in KEY_FIELDS.iter().filter(|row| !self.matches(row)) {
            let names: Vec<_> = self.present(row).map(|name| format!("`{name}`")).collect();
            warnings.push(format!(
                "left as they are, because they do not match the current key or appear twice: {}",
                names.join(", ")
            ));
        }
        warnings
    }

    /// The fields whose white space is ignored, in sentences.
    #[must_use]
    pub fn padded(&self) -> Vec<String> {
        self.fields.warnings()
    }

    /// The names of the other fields that may hold the key, and whether each of them follows it.
    #[must_use]
    pub fn aliases(&self) -> Vec<(&'static str, bool)> {
        let [_, rows @ ..] = KEY_FIELDS;
        let aliases = rows.into_iter().flat_map(|row| {
            let follows = self.matches(row);
            self.present(row).map(move |name| (name, follows))
        });
        aliases.collect()
    }

    /// The fields of a row that are there.
    fn present(&self, row: Row) -> impl Iterator<Item = &'static str> {
        let names = row.iter().map(|(name, _)| *name);
        names.filter(|name| self.fields.has(name))
    }

    /// The text with `key` in the place of [`api_key`](Self::api_key), and no other byte changed. Where there is no
    /// key yet, it is put where fields for it are empty, and `apiKey` and `apiSecret` are added if they are absent.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if Secrets Manager would not store it.
    pub fn with_api_key(&self, key: &ApiKey) -> Result<Redacted, Error> {
        let edits = KEY_FIELDS.iter().filter_map(|row| self.edits(row, key));
        let mut edits: Vec<Edit> = edits.flatten().collect();
        edits.extend(self.addition(key));
        let text = splice(self.text.expose(), edits);
        let (bytes, limit) = (text.len(), SIZE_LIMIT);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        Ok(Redacted::new(text))
    }

    /// The fields of the key that the object lacks, after its last one; none if it has them.
    fn addition(&self, key: &ApiKey) -> Option<Edit> {
        let [key_row, ..] = KEY_FIELDS;
        let absent = key_row.iter().filter(|(name, _)| !self.fields.has(name));
        let members = absent.filter_map(|(name, holds)| {
            let value = serde_json::Value::from(holds.renewed("", None, key)?);
            Some(format!(r#","{name}":{value}"#))
        });
        let members: String = members.collect();
        // The owner is required, so there is a field before the end.
        let (object, _) = self.text.expose().rsplit_once('}')?;
        let end = object.trim_end().len();
        (!members.is_empty()).then_some((end..end, members))
    }

    /// Checks that two values are meant for the same owner, resource and environment.
    ///
    /// # Errors
    /// [`Error::Disagreement`] with the first field that differs.
    pub fn agrees_with(&self, other: &Self) -> Result<(), Error> {
        let (resource, environment) = self.scope();
        let (other_resource, other_environment) = other.scope();
        for (field, same) in [
            ("serviceAccountId", self.owner == other.owner),
            ("resourceId", resource == other_resource),
            ("environmentId", environment == other_environment),
        ] {
            if !same {
                return Err(Error::Disagreement(field));
            }
        }
        Ok(())
    }

    /// Whether this value is `current` with another key in it, and nothing else.
    #[must_use]
    pub fn renews(&self, current: &Self) -> bool {
        let renewed = self.api_key().map(|key| current.with_api_key(key));
        renewed.is_some_and(|renewed| renewed.as_ref() == Ok(&self.text))
    }

    /// The resource and its environment, each in one of the spellings that mean the same.
    ///
    /// A Flink region may be written with its environment before it: `env-abc123.aws.us-east-2`.
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    fn scope(&self) -> (&str, Option<&str>) {
        let id = self.resource_id().unwrap_or("cloud");
        let (prefix, id) = match id.split_once('.') {
            Some((prefix, id)) if prefix.starts_with("env-") => (Some(prefix), id),
            _ => (None, id),
        };
        let mut words = ANY_CASE.into_iter();
        let word = words.find(|word| word.eq_ignore_ascii_case(id));
        (word.unwrap_or(id), self.environment_id().or(prefix))
    }

    /// Whether a row holds the current key, as far as it is there.
    fn matches(&self, row: Row) -> bool {
        let any = ApiKey {
            id: ApiKeyId::new(String::new()),
            secret: Redacted::new(String::new()),
        };
        self.edits(row, self.api_key().unwrap_or(&any)).is_some()
    }

    /// The changes that put `key` into one row, or none if the row does not hold the current key.
    fn edits(&self, row: Row, key: &ApiKey) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        for (name, holds) in row {
            let Some(field) = self.fields.find(name).ok()? else {
                continue;
            };
            let text = field.text.as_deref()?;
            let renewed = holds.renewed(text, self.api_key(), key)?;
            // What is right already keeps its spelling: a secret's `/` may be written `\/`.
            if renewed != text {
                let json = serde_json::Value::from(renewed).to_string();
                edits.push((field.span.clone(), json));
            }
        }
        Some(edits)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(..)")
    }
}

/// Whether a text looks like the ARN of a secret.
pub(crate) fn is_secret_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.contains(":secretsmanager:")
}

fn is_id(text: &str, prefixes: &[&str]) -> bool {
    let mut rests = prefixes
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix));
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    rests.any(|rest| !rest.is_empty() && rest.bytes().all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::fields::SETTINGS;
    use super::*;

    /// What no error, warning or `Debug` may show.
    const CANARY: &str = "hunter2";

    const LEFT_ALONE: &str =
        "left as they are, because they do not match the current key or appear twice";

    /// How Kafka's documentation writes a key.
    const OPTIONS: &str = r#"username="OLDID" password="old/secret";"#;

    fn key(id: &str, secret: &str) -> ApiKey {
        ApiKey {
            id: ApiKeyId::new(id.into()),
            secret: Redacted::new(secret.into()),
        }
    }

    fn parse(text: &str) -> Result<Document, Error> {
        Document::parse(Redacted::new(text.into()))
    }

    /// A value with the old key, its owner, and `more` fields.
    fn with(more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!(
            r#"{{"apiKey":"OLDID","apiSecret":"old/secret","serviceAccountId":"sa-1"{comma}{more}}}"#
        )
    }

    fn document(more: &str) -> Document {
        parse(&with(more)).unwrap()
    }

    fn rotated(text: &str) -> String {
        let new = key("NEWID", "new+secret");
        let text = parse(text).unwrap().with_api_key(&new).unwrap();
        text.expose().to_owned()
    }

    /// `more` as it is after a rotation of a value that it is part of.
    fn rotated_part(more: &str) -> String {
        let text = rotated(&with(more));
        let start = r#"{"apiKey":"NEWID","apiSecret":"new+secret","serviceAccountId":"sa-1","#;
        let part = text.strip_prefix(start).unwrap().strip_suffix('}').unwrap();
        part.to_owned()
    }

    /// The field `sasl.jaas.config` with `options`.
    fn jaas(options: &str) -> String {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let config = format!("{module} required {options}\n");
        format!(r#""sasl.jaas.config":{}"#, serde_json::json!(config))
    }

    /// The error of a value that is refused, which must not quote the value.
    fn refusal(text: &str) -> Error {
        let error = parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
        error
    }

    #[test]
    fn a_value_is_read_by_the_names_of_its_fields() {
        let document = document(
            r#""resourceId":"lkc-1","environmentId":"env-1","adminSecretArn":"arn:x:secretsmanager:1","endpoint":"https://a""#,
        );

        assert_eq!(document.api_key(), Some(&key("OLDID", "old/secret")));
        assert_eq!(document.owner(), "sa-1");
        assert_eq!(document.resource_id(), Some("lkc-1"));
        assert_eq!(document.environment_id(), Some("env-1"));
        assert_eq!(document.admin_secret_arn(), Some("arn:x:secretsmanager:1"));
        assert_eq!(document.endpoint(), Some("https://a"));
        assert_eq!(document.warnings(), [""; 0]);
    }

    #[test]
    fn an_optional_field_that_is_null_or_blank_is_absent() {
        for blank in ["null", r#""""#, r#"" \t ""#] {
            let document = document(&format!(
                r#""resourceId":{blank},"environmentId":{blank},"adminSecretArn":{blank},"masterarn":{blank},"endpoint":{blank}"#
            ));

            assert_eq!(document.resource_id(), None, "{blank}");
            assert_eq!(document.environment_id(), None, "{blank}");
            assert_eq!(document.admin_secret_arn(), None, "{blank}");
            assert_eq!(document.endpoint(), None, "{blank}");
        }
    }

    #[test]
    fn every_byte_that_is_not_the_key_s_stays() {
        let value = |id, secret| {
            [
                "\r\n {\t\"n\" : [1.0,1e400 , 12345678901234567890123,-0],\r\n",
                &format!("\"apiSecret\"  :\r\n {secret} ,\"same\":1,\"same\": 2,"),
                r#""esc\u0061ped":"\u00e9\/\ud800 é 🔑", "z":null,"a":true,"#,
                r#""deep":{"apiKey":"OLDID","apiSecret":["old/secret"]},"API_KEY":"OLDID","#,
                &format!(r#""api\u004bey":{id}, "serviceAccountId":"u-1" }}"#),
                "  \n",
            ]
            .concat()
        };

        let new = rotated(&value(r#""OLDID""#, r#""old\/s\u0065cret""#));

        assert_eq!(new, value(r#""NEWID""#, r#""new+secret""#));
    }

    #[test]
    fn the_same_key_again_gives_the_same_bytes() {
        let text = with(&format!(
            r#""password":"old\/secr\u0065t","user":"OLDID","basic.auth.user.info":"OLDID:old\/secret",{}"#,
            jaas(OPTIONS)
        ));
        let document = parse(&text).unwrap();

        let same = document.with_api_key(document.api_key().unwrap()).unwrap();

        assert_eq!(same.expose(), text);
    }

    #[test]
    fn there_and_back_again_gives_the_same_bytes() {
        let text = with(&format!(r#""user":"OLDID",{}"#, jaas(OPTIONS)));
        let there = parse(&rotated(&text)).unwrap();

        let back = there.with_api_key(&key("OLDID", "old/secret")).unwrap();

        assert_eq!(there.api_key(), Some(&key("NEWID", "new+secret")));
        assert_eq!(back.expose(), text);
    }

    #[test]
    fn a_new_key_is_escaped_as_json_and_read_back_as_it_was() {
        let odd = key("a\"b\\c\n\u{1}", "é\u{2028}'\"\\");
        let aliases = r#""username":"OLDID","basic.auth.user.info":"OLDID:old/secret""#;

        let text = document(aliases).with_api_key(&odd).unwrap();

        assert_eq!(Document::parse(text).unwrap().api_key(), Some(&odd));
    }

    #[test]
    fn other_fields_that_hold_the_current_key_are_given_the_new_one() {
        for (old, new) in [
            (r#""username":"OLDID""#, r#""username":"NEWID""#),
            (r#""user":"OLDID""#, r#""user":"NEWID""#),
            (r#""password":"old/secret""#, r#""password":"new+secret""#),
            (r#""password":"old\/secret""#, r#""password":"new+secret""#),
            (
                r#""password":"old/secret","x":1,"user":"OLDID","username":"OLDID""#,
                r#""password":"new+secret","x":1,"user":"NEWID","username":"NEWID""#,
            ),
            (
                r#""sasl.username":"OLDID","sasl.password":"old/secret""#,
                r#""sasl.username":"NEWID","sasl.password":"new+secret""#,
            ),
            (
                r#""basic.auth.user.info":"OLDID:old/secret""#,
                r#""basic.auth.user.info":"NEWID:new+secret""#,
            ),
            (
                r#""schema.registry.basic.auth.user.info":"OLDID:old/secret""#,
                r#""schema.registry.basic.auth.user.info":"NEWID:new+secret""#,
            ),
        ] {
            assert_eq!(rotated_part(old), new);
            assert_eq!(document(old).warnings(), [""; 0], "{old}");
        }
    }

    #[test]
    fn a_first_key_is_put_where_its_fields_are_empty_and_added_where_they_are_absent() {
        let added = r#","apiKey":"NEWID","apiSecret":"new+secret""#;
        for (without, with) in [
            (
                r#"{"serviceAccountId":"sa-1"}"#.to_owned(),
                format!(r#"{{"serviceAccountId":"sa-1"{added}}}"#),
            ),
            (
                "{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {\"}\": 1.0}\n}\n".to_owned(),
                format!(
                    "{{\n  \"serviceAccountId\": \"sa-1\",\n  \"n\": {{\"}}\": 1.0}}{added}\n}}\n"
                ),
            ),
            (
                r#"{"apiSecret":" ","serviceAccountId":"sa-1","apiKey":null}"#.to_owned(),
                r#"{"apiSecret":"new+secret","serviceAccountId":"sa-1","apiKey":"NEWID"}"#
                    .to_owned(),
            ),
            (
                r#"{"apiKey":"","serviceAccountId":"sa-1"}"#.to_owned(),
                r#"{"apiKey":"NEWID","serviceAccountId":"sa-1","apiSecret":"new+secret"}"#
                    .to_owned(),
            ),
        ] {
            assert_eq!(parse(&without).unwrap().api_key(), None, "{without}");
            assert_eq!(rotated(&without), with);
            let (before, after) = (parse(&without).unwrap(), parse(&with).unwrap());
            assert!(after.renews(&before), "{without}");
            assert!(!before.renews(&before), "{without}");
        }
    }

    #[test]
    fn a_first_key_is_put_into_other_fields_that_are_empty_and_into_no_others() {
        let before = r#"{"apiKey":"","apiSecret":"","serviceAccountId":"sa-1","username":"","password":null,"sasl.username":"","sasl.password":"hunter2","basic.auth.user.info":"","sasl.jaas.config":""}"#;
        let after = r#"{"apiKey":"NEWID","apiSecret":"new+secret","serviceAccountId":"sa-1","username":"NEWID","password":"new+secret","sasl.username":"","sasl.password":"hunter2","basic.auth.user.info":"NEWID:new+secret","sasl.jaas.config":""}"#;

        assert_eq!(rotated(before), after);
        let warnings = parse(before).unwrap().warnings();
        let expected = [
            format!("{LEFT_ALONE}: `sasl.username`, `sasl.password`"),
            format!("{LEFT_ALONE}: `sasl.jaas.config`"),
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn half_a_key_is_refused() {
        for (present, absent) in [("apiKey", "apiSecret"), ("apiSecret", "apiKey")] {
            let text = format!(r#"{{"{present}":"hunter2","serviceAccountId":"sa-1"}}"#);

            assert_eq!(refusal(&text), Error::Missing(absent));
        }
    }

    #[test]
    fn other_fields_that_do_not_hold_the_current_key_are_left_alone_together_and_named() {
        for (fields, names) in [
            (r#""username":"hunter2""#, "`username`"),
            (r#""username":"oldid""#, "`username`"),
            (r#""user":null"#, "`user`"),
            (r#""password":["old/secret"]"#, "`password`"),
            (r#""password":1e400"#, "`password`"),
            (
                r#""password":"hunter2","username":"OLDID""#,
                "`username`, `password`",
            ),
            (
                r#""user":"OLDID","username":"hunter2","password":"old/secret""#,
                "`username`, `user`, `password`",
            ),
            (r#""user":"OLDID","user":"OLDID""#, "`user`"),
            (
                r#""user":"OLDID","user":"hunter2","password":"old/secret""#,
                "`user`, `password`",
            ),
            (
                r#""sasl.username":"OLDID","sasl.password":"OLDID""#,
                "`sasl.username`, `sasl.password`",
            ),
            (
                r#""basic.auth.user.info":"OLDID:hunter2""#,
                "`basic.auth.user.info`",
            ),
            (
                r#""basic.auth.user.info":"OLDID: old/secret""#,
                "`basic.auth.user.info`",
            ),
            (
                r#""schema.registry.basic.auth.user.info":"old/secret:OLDID""#,
                "`schema.registry.basic.auth.user.info`",
            ),
        ] {
            let warning = format!("{LEFT_ALONE}: {names}");

            assert_eq!(rotated_part(fields), fields);
            assert_eq!(document(fields).warnings(), [warning], "{fields}");
        }
    }

    #[test]
    fn one_layout_that_does_not_match_does_not_hold_up_another() {
        let fields = r#""username":"app","sasl.username":"OLDID","password":"hunter2""#;

        let rotated = rotated_part(fields);

        assert_eq!(rotated, fields.replace("OLDID", "NEWID"));
    }

    #[test]
    fn jaas_that_quotes_the_current_key_once_is_given_the_new_one() {
        for (old, new) in [
            (OPTIONS, r#"username="NEWID" password="new+secret";"#),
            (
                r#" password='old/secret'  x="OLDIDs" y=OLDID username="OLDID" ; "#,
                r#" password='new+secret'  x="OLDIDs" y=OLDID username="NEWID" ; "#,
            ),
        ] {
            assert_eq!(rotated_part(&jaas(old)), jaas(new));
            assert_eq!(document(&jaas(old)).warnings(), [""; 0], "{old}");
        }
    }

    #[test]
    fn jaas_that_does_not_is_left_alone_and_named() {
        for options in [
            r#"username="OLDID" password="hunter2";"#,
            r#"username="hunter2" password="old/secret";"#,
            r"username=OLDID password=old/secret;",
            r#"username="OLDID' password="old/secret";"#,
            r#"username=" OLDID" password="old/secret";"#,
            r#"username="OLDID" password="old/secret" user="OLDID";"#,
            r#"username="OLDID" password="old/secret" user='OLDID';"#,
            r#"username="OLDID" password="old/secret" again="old/secret";"#,
        ] {
            let field = jaas(options);

            assert_eq!(rotated_part(&field), field);
            let warning = format!("{LEFT_ALONE}: `sasl.jaas.config`");
            assert_eq!(document(&field).warnings(), [warning], "{options}");
        }
    }

    #[test]
    fn quotes_and_backslashes_of_a_key_are_escaped_in_jaas() {
        let odd = key(r"i'd\", r#"s"c"#);

        let there = document(&jaas(OPTIONS)).with_api_key(&odd).unwrap();
        let back = Document::parse(there.clone()).unwrap();
        let back = back.with_api_key(&key("OLDID", "old/secret")).unwrap();

        let escaped = jaas(r#"username="i\'d\\" password="s\"c";"#);
        assert!(there.expose().ends_with(&format!("{escaped}}}")));
        assert_eq!(back.expose(), with(&jaas(OPTIONS)));
    }

    #[test]
    fn a_word_of_jaas_that_is_both_the_id_and_the_secret_is_left_alone() {
        let field = jaas(r#"username="OLDID";"#);
        let text = with(&field).replace("old/secret", "OLDID");

        let rotated = rotated(&text);

        assert!(rotated.ends_with(&format!("{field}}}")), "{rotated}");
    }

    #[test]
    fn white_space_around_a_field_of_ours_is_ignored_and_named() {
        let text = "{\"apiKey\":\" OLDID\\n\",\"apiSecret\":\"old/secret\\u00a0\",\"serviceAccountId\":\"\\tsa-1\",\
             \"resourceId\":\"lkc-1 \",\"environmentId\":\" env-1\",\"masterarn\":\"arn:x:secretsmanager:1\\r\\n\",\
             \"endpoint\":\" https://a \",\"user\":\"OLDID \",\"other\":\" x \"}";

        let document = parse(text).unwrap();

        assert_eq!(document.api_key(), Some(&key("OLDID", "old/secret")));
        assert_eq!(document.owner(), "sa-1");
        assert_eq!(document.resource_id(), Some("lkc-1"));
        assert_eq!(document.environment_id(), Some("env-1"));
        assert_eq!(document.admin_secret_arn(), Some("arn:x:secretsmanager:1"));
        assert_eq!(document.endpoint(), Some("https://a"));
        let warned =
            |name| format!("the white space around the value of `{name}` is ignored: remove it");
        let names =
            "apiKey apiSecret serviceAccountId resourceId environmentId masterarn endpoint user";
        assert_eq!(
            document.warnings(),
            names.split(' ').map(warned).collect::<Vec<_>>()
        );
    }

    #[test]
    fn white_space_goes_where_the_key_is_written_and_stays_elsewhere() {
        let text = r#"{"apiKey":" OLDID\n","apiSecret":"old/secret ","serviceAccountId":" sa-1 ","user":" OLDID"}"#;

        let rotated = rotated(text);

        assert_eq!(
            rotated,
            r#"{"apiKey":"NEWID","apiSecret":"new+secret","serviceAccountId":" sa-1 ","user":"NEWID"}"#
        );
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for text in [
            "",
            " \n",
            "hunter2",
            r#""hunter2""#,
            "[]",
            r#"["hunter2"]"#,
            "null",
            r#"{"apiKey":"hunter2""#,
            r#"{"apiKey":hunter2}"#,
            r#"{"apiKey":"hunter2",}"#,
            r#"{"hunter2\ud800":1}"#,
            r#"{"x":"hunter2\q"}"#,
            "{\"x\":\"hunter2\n\"}",
            &format!("{} \"hunter2\"", with("")),
            &format!("\u{feff}{}", with("")),
        ] {
            let error = refusal(text);
            assert!(matches!(error, Error::NotAnObject { .. }), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let error = refusal("{\n  \"apiKey\": \"OLDID\",\n  \"apiSecret\": hunter2\n}");

        let place = "it is not a JSON object (line 3, column 16)";
        assert_eq!(error.to_string(), place);
    }

    #[test]
    fn a_required_field_that_is_absent_or_blank_is_named() {
        for field in ["apiKey", "apiSecret", "serviceAccountId"] {
            for value in ["null", r#""""#, r#"" \u2003\n""#] {
                let blank = with("").replacen(
                    &format!("\"{field}\":"),
                    &format!("\"{field}\":{value},\"was\":"),
                    1,
                );
                assert_eq!(refusal(&blank), Error::Missing(field), "{blank}");
            }
            let other = r#""username":"hunter2","password":"hunter2","api_key":"hunter2""#;
            let absent = with(other).replacen(field, "was", 1);
            assert_eq!(refusal(&absent), Error::Missing(field), "{absent}");
        }
    }

    #[test]
    fn a_field_of_ours_that_is_not_a_string_is_named() {
        let required = [
            ("apiKey", "OLDID"),
            ("apiSecret", "old/secret"),
            ("serviceAccountId", "sa-1"),
        ];
        for value in [
            "1",
            "1e400",
            "true",
            r#"["hunter2"]"#,
            r#"{"hunter2":"hunter2"}"#,
            r#""hunter2\ud800""#,
        ] {
            for (field, right) in required {
                let text = with("").replace(&format!("\"{right}\""), value);
                assert_eq!(refusal(&text), Error::NotAString(field), "{text}");
            }
            for field in [
                "resourceId",
                "environmentId",
                "adminSecretArn",
                "masterarn",
                "endpoint",
            ] {
                let text = with(&format!("\"{field}\":{value}"));
                assert_eq!(refusal(&text), Error::NotAString(field), "{text}");
            }
        }
    }

    #[test]
    fn a_field_of_ours_that_appears_twice_is_named() {
        for field in ["apiKey", "apiSecret"].into_iter().chain(SETTINGS) {
            let text = with(&format!(r#""{field}":"hunter2","{field}":"hunter2""#));
            assert_eq!(refusal(&text), Error::Repeated(field), "{text}");
        }
        let escaped = with(r#""api\u004bey":"hunter2""#);
        assert_eq!(refusal(&escaped), Error::Repeated("apiKey"));
    }

    #[test]
    fn an_owner_is_a_service_account_or_a_user() {
        for owner in ["sa-abc123", "u-abc123", "sa-A-1"] {
            let document = parse(&with("").replace("sa-1", owner)).unwrap();
            assert_eq!(document.owner(), owner);
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
            let error = refusal(&with("").replace("sa-1", owner));
            let said = error.to_string();
            assert!(
                said.starts_with("`serviceAccountId` is malformed"),
                "{said}"
            );
        }
    }

    #[test]
    fn an_environment_begins_with_env() {
        for environment in [
            "hunter2",
            "ENV-hunter2",
            "env-",
            "env-hunter2&x",
            "env-hunter2.aws.us-east-2",
        ] {
            let error = refusal(&with(&format!(r#""environmentId":"{environment}""#)));
            let said = error.to_string();
            assert!(said.starts_with("`environmentId` is malformed"), "{said}");
        }
    }

    #[test]
    fn the_admin_secret_has_two_names_that_must_not_differ() {
        for fields in [
            r#""adminSecretArn":"arn:x:secretsmanager:1""#,
            r#""masterarn":"arn:x:secretsmanager:1""#,
            r#""adminSecretArn":"arn:x:secretsmanager:1","masterarn":" arn:x:secretsmanager:1""#,
            r#""adminSecretArn":null,"masterarn":"arn:x:secretsmanager:1""#,
            r#""adminSecretArn":"arn:x:secretsmanager:1","masterarn":"""#,
        ] {
            let document = document(fields);
            assert_eq!(
                document.admin_secret_arn(),
                Some("arn:x:secretsmanager:1"),
                "{fields}"
            );
        }
        let different = with(
            r#""adminSecretArn":"arn:x:secretsmanager:1","masterarn":"arn:x:secretsmanager:2""#,
        );
        assert_eq!(refusal(&different), Error::TwoAdminSecrets);
    }

    #[test]
    fn an_admin_secret_that_is_no_arn_is_refused_without_being_quoted() {
        for field in ["adminSecretArn", "masterarn"] {
            let error = refusal(&with(&format!(r#""{field}":"hunter2""#)));

            let shown = format!("{error} {error:?}");
            assert!(shown.contains(field), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_value_may_be_as_large_as_secrets_manager_stores_and_no_larger() {
        let new = key("NEWID", "a\"longer/secret");
        let of_size = |bytes: usize| {
            // A letter of two bytes, because it is bytes that count.
            let smallest = document(r#""x":"é""#).with_api_key(&new).unwrap();
            let filling = "x".repeat(bytes - smallest.expose().len());
            document(&format!(r#""x":"é{filling}""#)).with_api_key(&new)
        };

        let largest = of_size(65_536);
        let too_large = of_size(65_537);

        assert_eq!(largest.unwrap().expose().len(), 65_536);
        let (bytes, limit) = (65_537, 65_536);
        assert_eq!(too_large, Err(Error::TooLarge { bytes, limit }));
    }

    #[test]
    fn a_deeply_nested_field_of_another_program_is_kept() {
        let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
        let deep = format!(r#""deep":{open}1{close}"#);

        let rotated = rotated_part(&deep);

        assert_eq!(rotated, deep);
    }

    #[test]
    fn a_deeply_nested_field_of_ours_is_not_a_string() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));

        let error = refusal(&with(&format!(r#""endpoint":{deep}"#)));

        assert_eq!(error, Error::NotAString("endpoint"));
    }

    #[test]
    fn values_agree_if_they_are_for_the_same_owner_resource_and_environment() {
        for (one, other) in [
            (
                r#""resourceId":"lkc-1","environmentId":"env-1""#,
                r#""environmentId":" env-1 ","resourceId":"lkc-1 ""#,
            ),
            (r#""x":1"#, r#""x":2,"endpoint":"https://a""#),
            (r#""x":1"#, r#""resourceId":"Cloud","environmentId":null"#),
            (r#""resourceId":"tableflow""#, r#""resourceId":"Tableflow""#),
            (r#""resourceId":"GLOBAL""#, r#""resourceId":"global""#),
            (
                r#""resourceId":"env-1.aws.us-east-2","environmentId":"env-1""#,
                r#""resourceId":"aws.us-east-2","environmentId":"env-1""#,
            ),
            (
                r#""resourceId":"env-1.aws.us-east-2""#,
                r#""resourceId":"aws.us-east-2","environmentId":"env-1""#,
            ),
        ] {
            let (one, other) = (document(one), document(other));
            assert_eq!(one.agrees_with(&other), Ok(()), "{:?}", other.scope());
            assert_eq!(other.agrees_with(&one), Ok(()), "{:?}", other.scope());
        }
    }

    #[test]
    fn values_that_do_not_agree_name_the_first_field_that_differs() {
        let flink = r#""resourceId":"env-1.aws.us-east-2""#;
        for (one, other, field) in [
            (
                r#""resourceId":"lkc-1""#,
                r#""resourceId":"lkc-2""#,
                "resourceId",
            ),
            (
                r#""resourceId":"lkc-1""#,
                r#""resourceId":"LKC-1""#,
                "resourceId",
            ),
            (r#""resourceId":"lkc-1""#, r#""x":1"#, "resourceId"),
            (r#""resourceId":"global""#, r#""x":1"#, "resourceId"),
            (flink, r#""resourceId":"env-1.aws.us-east-1""#, "resourceId"),
            (
                flink,
                r#""resourceId":"env-2.aws.us-east-2""#,
                "environmentId",
            ),
            (flink, r#""resourceId":"aws.us-east-2""#, "environmentId"),
            (
                r#""environmentId":"env-1""#,
                r#""environmentId":"env-2""#,
                "environmentId",
            ),
            (r#""environmentId":"env-1""#, r#""x":1"#, "environmentId"),
        ] {
            let answer = document(one).agrees_with(&document(other));
            assert_eq!(answer, Err(Error::Disagreement(field)), "{one} {other}");
        }
        let other_owner = with(r#""resourceId":"lkc-1""#).replace("sa-1", "sa-2");
        let answer = parse(&other_owner).unwrap().agrees_with(&document(""));
        assert_eq!(answer, Err(Error::Disagreement("serviceAccountId")));
    }

    #[test]
    fn a_document_in_a_debug_message_shows_nothing_of_the_value() {
        let shown = format!("{:?}", document(r#""endpoint":"hunter2""#));

        assert_eq!(shown, "Document(..)");
    }
}
