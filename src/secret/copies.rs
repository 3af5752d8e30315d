//! Copies of the key: the fields that hold it, their formats, and the replacement of the key in them.

use std::cmp::Reverse;
use std::ops::Range;

use crate::confluent::ApiKey;

/// Fields whose keys are replaced together or not at all.
pub(super) type FieldGroup = &'static [(&'static str, KeyFormat)];

/// The fields that may hold the key, in the layouts that clients read.
pub(super) const KEY_FIELDS: [FieldGroup; 6] = [
    &[("apiKey", KeyFormat::Id), ("apiSecret", KeyFormat::Secret)],
    &[
        ("username", KeyFormat::Id),
        ("user", KeyFormat::Id),
        ("password", KeyFormat::Secret),
    ],
    &[
        ("sasl.username", KeyFormat::Id),
        ("sasl.password", KeyFormat::Secret),
    ],
    &[("sasl.jaas.config", KeyFormat::Jaas)],
    &[("basic.auth.user.info", KeyFormat::UserInfo)],
    &[("schema.registry.basic.auth.user.info", KeyFormat::UserInfo)],
];

/// The format in which a field holds the key.
#[derive(Clone, Copy)]
pub(super) enum KeyFormat {
    /// The ID.
    Id,
    /// The API secret.
    Secret,
    /// `ID:SECRET`.
    ///
    /// <https://docs.confluent.io/platform/current/schema-registry/sr-client-configs.html>
    UserInfo,
    /// ID and API secret, each in quotes: `… required username="ID" password="SECRET";`.
    ///
    /// <https://kafka.apache.org/documentation/#security_sasl_plain_clientconfig>
    Jaas,
}

impl KeyFormat {
    /// Returns `value` with `replacement` in place of `current`, or `None` if it does not hold `current`. Without a current
    /// key, `value` must be blank.
    pub(super) fn replace_key(
        self,
        value: &str,
        current: Option<&ApiKey>,
        replacement: &ApiKey,
    ) -> Option<String> {
        let format: fn(&ApiKey) -> String = match self {
            Self::Id => |key| key.id.to_string(),
            Self::Secret => |key| key.secret.expose().to_owned(),
            Self::UserInfo => |key| format!("{}:{}", key.id, key.secret.expose()),
            Self::Jaas => return replace_in_jaas(value, current?, replacement),
        };
        let expected = current.map(format).unwrap_or_default();
        (value.trim() == expected).then(|| format(replacement))
    }
}

fn replace_in_jaas(config: &str, current: &ApiKey, replacement: &ApiKey) -> Option<String> {
    let id = find_quoted(config, current.id.as_str())?;
    let secret = find_quoted(config, current.secret.expose())?;
    let are_disjoint = id.end < secret.start || secret.end < id.start;
    are_disjoint.then(|| {
        let new_id = escape_jaas(replacement.id.as_str());
        let new_secret = escape_jaas(replacement.secret.expose());
        splice(config, vec![(id, new_id), (secret, new_secret)])
    })
}

/// Returns the position of `word` in quotes, or `None` unless it appears exactly once.
fn find_quoted(config: &str, word: &str) -> Option<Range<usize>> {
    let word = escape_jaas(word);
    let quoted = [format!("\"{word}\""), format!("'{word}'")];
    let mut matches = quoted
        .iter()
        .flat_map(|quoted| config.match_indices(quoted));
    let (quote, _) = matches.next()?;
    let start = quote + 1;
    matches.next().is_none().then(|| start..start + word.len())
}

/// Escapes quotes and backslashes. Kafka parses JAAS with Java's `StreamTokenizer`, which accepts these escapes in quotes of
/// both types.
///
/// <https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/security/JaasConfig.java>
fn escape_jaas(word: &str) -> String {
    word.replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\'', r"\'")
}

/// A range of bytes and the string that replaces it.
pub(super) type Edit = (Range<usize>, String);

/// Returns `string` with all `edits` applied.
pub(super) fn splice(string: &str, mut edits: Vec<Edit>) -> String {
    let mut string = string.to_owned();
    // From the end, so that the ranges of the remaining edits stay valid.
    edits.sort_by_key(|(range, _)| Reverse(range.start));
    for (range, replacement) in edits {
        string.replace_range(range, &replacement);
    }
    string
}

#[cfg(test)]
mod tests {
    use crate::secret::SecretValue;
    use crate::secret::value::{
        JAAS_OPTIONS, current_key, jaas, json_with, key, parse, replaced, replaced_part, value_with,
    };

    fn not_replaced(names: &str) -> String {
        format!(
            "the key is not replaced in {names}: a group of fields is unchanged if one of them does not hold the current \
             key or appears more than once. If clients read the key from these fields, store the current key in each of \
             them, once"
        )
    }

    #[test]
    fn copies_of_the_current_key_are_replaced() {
        for (before, after) in [
            (r#""username":"CURRENTID""#, r#""username":"PENDINGID""#),
            (r#""user":"CURRENTID""#, r#""user":"PENDINGID""#),
            (
                r#""password":"current/secret""#,
                r#""password":"pending+secret""#,
            ),
            (
                r#""password":"current\/secret""#,
                r#""password":"pending+secret""#,
            ),
            (
                r#""password":"current/secret","x":1,"user":"CURRENTID","username":"CURRENTID""#,
                r#""password":"pending+secret","x":1,"user":"PENDINGID","username":"PENDINGID""#,
            ),
            (
                r#""sasl.username":"CURRENTID","sasl.password":"current/secret""#,
                r#""sasl.username":"PENDINGID","sasl.password":"pending+secret""#,
            ),
            (
                r#""basic.auth.user.info":"CURRENTID:current/secret""#,
                r#""basic.auth.user.info":"PENDINGID:pending+secret""#,
            ),
            (
                r#""schema.registry.basic.auth.user.info":"CURRENTID:current/secret""#,
                r#""schema.registry.basic.auth.user.info":"PENDINGID:pending+secret""#,
            ),
        ] {
            assert_eq!(replaced_part(before), after);
            assert_eq!(value_with(before).warnings(), [""; 0], "{before}");
        }
    }

    /// Fields that do not hold the current key: a name for the case, the fields, and the fields that the warning names.
    const NOT_HELD: [(&str, &str, &str); 13] = [
        ("another ID", r#""username":"hunter2""#, "`username`"),
        ("lower case", r#""username":"currentid""#, "`username`"),
        ("null", r#""user":null"#, "`user`"),
        ("an array", r#""password":["current/secret"]"#, "`password`"),
        ("a number", r#""password":1e400"#, "`password`"),
        (
            "the ID with another secret",
            r#""password":"hunter2","username":"CURRENTID""#,
            "`username`, `password`",
        ),
        (
            "another ID with the secret",
            r#""user":"CURRENTID","username":"hunter2","password":"current/secret""#,
            "`username`, `user`, `password`",
        ),
        (
            "a field twice",
            r#""user":"CURRENTID","user":"CURRENTID""#,
            "`user`",
        ),
        (
            "a field twice with different values",
            r#""user":"CURRENTID","user":"hunter2","password":"current/secret""#,
            "`user`, `password`",
        ),
        (
            "the ID as the password",
            r#""sasl.username":"CURRENTID","sasl.password":"CURRENTID""#,
            "`sasl.username`, `sasl.password`",
        ),
        (
            "user info with another secret",
            r#""basic.auth.user.info":"CURRENTID:hunter2""#,
            "`basic.auth.user.info`",
        ),
        (
            "user info with a space",
            r#""basic.auth.user.info":"CURRENTID: current/secret""#,
            "`basic.auth.user.info`",
        ),
        (
            "user info in the wrong order",
            r#""schema.registry.basic.auth.user.info":"current/secret:CURRENTID""#,
            "`schema.registry.basic.auth.user.info`",
        ),
    ];

    #[test]
    fn a_group_of_fields_that_does_not_hold_the_current_key_is_unchanged_with_a_warning() {
        for (case, fields, names) in NOT_HELD {
            assert_eq!(replaced_part(fields), fields, "{case}");
            assert_eq!(
                value_with(fields).warnings(),
                [not_replaced(names)],
                "{case}"
            );
        }
    }

    #[test]
    fn a_group_that_does_not_hold_the_current_key_does_not_affect_another() {
        let fields = r#""username":"app","sasl.username":"CURRENTID","password":"hunter2""#;

        let expected = fields.replace("CURRENTID", "PENDINGID");
        assert_eq!(replaced_part(fields), expected);
    }

    #[test]
    fn an_initial_key_is_stored_only_in_groups_that_are_empty() {
        let before = r#"{"apiKey":"","apiSecret":"","serviceAccountId":"sa-1","username":"","password":null,"sasl.username":"","sasl.password":"hunter2","basic.auth.user.info":"","sasl.jaas.config":""}"#;
        let after = r#"{"apiKey":"PENDINGID","apiSecret":"pending+secret","serviceAccountId":"sa-1","username":"PENDINGID","password":"pending+secret","sasl.username":"","sasl.password":"hunter2","basic.auth.user.info":"PENDINGID:pending+secret","sasl.jaas.config":""}"#;

        assert_eq!(replaced(before), after);
        let warning = not_replaced("`sasl.username`, `sasl.password`, `sasl.jaas.config`");
        assert_eq!(parse(before).unwrap().warnings(), [warning]);
    }

    #[test]
    fn a_key_that_jaas_quotes_once_is_replaced() {
        for (before, after) in [
            (
                JAAS_OPTIONS,
                r#"username="PENDINGID" password="pending+secret";"#,
            ),
            (
                r#" password='current/secret'  x="CURRENTIDs" y=CURRENTID username="CURRENTID" ; "#,
                r#" password='pending+secret'  x="CURRENTIDs" y=CURRENTID username="PENDINGID" ; "#,
            ),
        ] {
            assert_eq!(replaced_part(&jaas(before)), jaas(after));
            assert_eq!(value_with(&jaas(before)).warnings(), [""; 0], "{before}");
        }
    }

    #[test]
    fn jaas_that_does_not_quote_the_current_key_exactly_once_is_unchanged_with_a_warning() {
        for (case, options) in [
            (
                "another secret",
                r#"username="CURRENTID" password="hunter2";"#,
            ),
            (
                "another ID",
                r#"username="hunter2" password="current/secret";"#,
            ),
            ("no quotes", r"username=CURRENTID password=current/secret;"),
            (
                "different quotes",
                r#"username="CURRENTID' password="current/secret";"#,
            ),
            (
                "whitespace in quotes",
                r#"username=" CURRENTID" password="current/secret";"#,
            ),
            (
                "the ID twice",
                r#"username="CURRENTID" password="current/secret" user="CURRENTID";"#,
            ),
            (
                "the ID twice in different quotes",
                r#"username="CURRENTID" password="current/secret" user='CURRENTID';"#,
            ),
            (
                "the secret twice",
                r#"username="CURRENTID" password="current/secret" again="current/secret";"#,
            ),
        ] {
            let field = jaas(options);
            assert_eq!(replaced_part(&field), field, "{case}");
            let warning = not_replaced("`sasl.jaas.config`");
            assert_eq!(value_with(&field).warnings(), [warning], "{case}");
        }
    }

    #[test]
    fn quotes_and_backslashes_of_a_key_are_escaped_in_jaas() {
        let odd = key(r"i'd\", r#"s"c"#);
        let options = jaas(JAAS_OPTIONS);

        let replaced = value_with(&options).with_api_key(&odd).unwrap();
        let parsed = SecretValue::parse(replaced.clone()).unwrap();
        let restored = parsed.with_api_key(&current_key()).unwrap();

        let escaped = jaas(r#"username="i\'d\\" password="s\"c";"#);
        assert!(replaced.expose().ends_with(&format!("{escaped}}}")));
        assert_eq!(restored.expose(), json_with(&options));
    }

    #[test]
    fn a_string_that_is_both_the_id_and_the_secret_is_not_replaced_in_jaas() {
        let field = jaas(r#"username="CURRENTID";"#);
        let json = json_with(&field).replace("current/secret", "CURRENTID");

        let replaced = replaced(&json);

        assert!(replaced.ends_with(&format!("{field}}}")), "{replaced}");
    }
}
