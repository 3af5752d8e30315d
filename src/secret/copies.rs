//! Copies of the key: finds them by the key's value, not by the field's name, and replaces them.
//!
//! The raw strings are searched, because a string may contain JSON in turn. A copy in a spelling that [`spelling_length`] does
//! not recognize leaves a trace of the API secret, which is an error.

use std::ops::Range;

use aws_smithy_types::base64;

use super::strings::{Edit, Span, decode};
use crate::confluent::{ApiKey, ApiKeyId};

/// The largest number of backslashes in front of a character. JSON in a string of JSON doubles them at every level.
const MAX_BACKSLASHES: usize = 8;
/// The shortest run of letters and digits that identifies an API secret. Four secrets in a million have only shorter ones.
const MIN_RUN: usize = 10;
/// The shortest piece of base64 that identifies a form.
const MIN_BASE64: usize = 8;
/// The longest form that is searched for, in bytes: the time of a search grows with the length of the form times that of the
/// string.
const MAX_FORM_BYTES: usize = 400;
/// The characters that end a URL.
const URL_END: &[u8] = b" \t\r\n\"'<>,;|`";

/// A form of a key, found in a string.
struct Match {
    range: Range<usize>,
    /// The index of the form.
    form: usize,
    is_in_url: bool,
}

/// A form of a key, and the same form of the key that replaces it.
struct Form {
    old: String,
    new: String,
    /// Whether the form is replaced only where it is a complete string.
    complete_strings_only: bool,
}

/// The forms to replace.
#[derive(Default)]
pub(super) struct Replacement {
    /// The pairs, the API secrets and the IDs.
    forms: [Vec<Form>; 3],
}

impl Replacement {
    /// Adds the replacement of `current` with `key`, or of the placeholders if there is no current key.
    pub(super) fn add(
        &mut self,
        current: Option<&ApiKey>,
        placeholders: &[String; 2],
        key: &ApiKey,
    ) {
        let [id, secret] = placeholders.clone();
        let (mut old, new) = (
            current.map_or([String::new(), secret, id], forms),
            forms(key),
        );
        let [old_pair, ..] = &mut old;
        // With another length, the padding would be wrong.
        if old_pair.len() % 4 != new[0].len() % 4 {
            old_pair.clear();
        }
        let complete_strings_only = current.is_some_and(|key| !key.is_well_formed());
        for (forms, (old, new)) in self.forms.iter_mut().zip(old.into_iter().zip(new)) {
            forms.push(Form {
                old,
                new,
                complete_strings_only,
            });
        }
    }

    /// Returns the edits of the string at `span`.
    pub(super) fn edits(&self, json: &str, span: &Span) -> Vec<Edit> {
        let forms = self.forms.iter().flatten();
        let (complete, anywhere): (Vec<&Form>, Vec<&Form>) =
            forms.partition(|form| form.complete_strings_only);
        if !complete.is_empty() {
            let string = decode(json, span).unwrap_or_default();
            let mut complete = complete.into_iter();
            let form = complete.find(|form| form.old == string.trim() && !form.old.is_empty());
            if let Some(form) = form {
                return vec![(span.clone(), form.new.clone())];
            }
        }
        let raw = json.get(span.clone()).unwrap_or_default();
        let edit = |found: Match| {
            let new = &anywhere.get(found.form)?.new;
            let is_encoded = needs_percent_encoding(raw, &found);
            let new = if is_encoded {
                percent_encode(new)
            } else {
                new.clone()
            };
            Some((
                span.start + found.range.start..span.start + found.range.end,
                new,
            ))
        };
        let old: Vec<&str> = anywhere.iter().map(|form| form.old.as_str()).collect();
        find_forms(raw, &old).into_iter().filter_map(edit).collect()
    }
}

/// The forms that show that a string contains a key in another encoding.
#[derive(Default)]
pub(super) struct Traces {
    forms: Vec<String>,
    /// Whether only all forms together are a trace.
    requires_all: bool,
}

impl Traces {
    pub(super) fn of_key(key: &ApiKey) -> Self {
        if !key.is_well_formed() {
            let [_, secret, id] = forms(key);
            return Self {
                forms: vec![secret, id],
                requires_all: true,
            };
        }
        let secret = key.secret.expose();
        let runs = secret.split(|c: char| !c.is_ascii_alphanumeric());
        let run = runs
            .max_by_key(|run| run.len())
            .filter(|run| run.len() >= MIN_RUN);
        // Escapes of JSON and URLs leave letters and digits unchanged.
        let run = run.unwrap_or(secret);
        let in_base64 = in_base64(run).chain(in_base64(key.id.as_str()));
        Self {
            forms: in_base64.chain([run.to_owned()]).collect(),
            requires_all: false,
        }
    }

    /// Returns the forms of an ID: itself, and in base64.
    pub(super) fn of_id(id: &ApiKeyId) -> Self {
        let forms = in_base64(id.as_str()).chain([id.to_string()]);
        Self {
            forms: forms.collect(),
            requires_all: false,
        }
    }

    pub(super) fn are_in(&self, json: &str, span: &Span) -> bool {
        let raw = json.get(span.clone()).unwrap_or_default();
        let unwrapped = unwrap_lines(raw);
        let mut forms = self.forms.iter();
        let is_in = |raw: &str, form: &str| !find_forms(raw, &[form]).is_empty();
        let is_found =
            |form: &String| is_in(raw, form) || raw != unwrapped && is_in(&unwrapped, form);
        if self.requires_all {
            forms.all(is_found)
        } else {
            forms.any(is_found)
        }
    }

    /// Returns the traces without the condition that all forms are found.
    pub(super) fn any(self) -> Self {
        let requires_all = false;
        Self {
            requires_all,
            ..self
        }
    }
}

/// Returns a string without line breaks and the indentation after them, because base64 may be wrapped.
fn unwrap_lines(raw: &str) -> String {
    let lines = raw.split("\\n").flat_map(|line| line.split("\\r"));
    lines
        .map(|line| line.trim_start().trim_end_matches('\\'))
        .collect()
}

/// Returns whether a string contains what may be the ID or the API secret of another key than the current ones.
pub(super) fn may_contain_key(json: &str, span: &Span, current: &[&ApiKey]) -> bool {
    let mut string = decode(json, span).unwrap_or_default();
    for current in current.iter().filter(|key| key.is_well_formed()) {
        string = string
            .replace(current.secret.expose(), " ")
            .replace(current.id.as_str(), " ");
    }
    let has = |run: &str, is: fn(&u8) -> bool| run.bytes().any(|byte| is(&byte));
    let has_lowercase = |run: &str| has(run, u8::is_ascii_lowercase);
    let is_id = |run: &str| {
        [16, 18].contains(&run.len()) && has(run, u8::is_ascii_digit) && !has_lowercase(run)
    };
    // Requires both cases, so that a SHA-256 digest in hexadecimal does not count.
    let is_secret =
        |run: &str| run.len() == 64 && has(run, u8::is_ascii_uppercase) && has_lowercase(run);
    let mut ids = string.split(|c: char| !c.is_ascii_alphanumeric());
    let mut secrets = string.split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c));
    ids.any(is_id) || secrets.any(is_secret)
}

/// Returns whether a JAAS configuration contains the API secret without quotation marks. Kafka ends such a word at `+` and `/`.
///
/// <https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/security/JaasConfig.java>
pub(super) fn has_unquoted_jaas(json: &str, span: &Span, key: &ApiKey) -> bool {
    let raw = json.get(span.clone()).unwrap_or_default();
    find_forms(raw, &[key.secret.expose()]).iter().any(|found| {
        let before = raw.get(..found.range.start);
        let options = before.and_then(|before| before.rsplit_once("LoginModule"));
        options
            .is_some_and(|(_, options)| !options.contains(';') && options.trim_end().ends_with('='))
    })
}

/// Returns the forms in which a key is replaced: `ID:SECRET` in base64 without padding, the API secret, and the ID. The first
/// contains neither `+` nor `/`, so it is base64url, too. The API secret may contain the ID.
fn forms(key: &ApiKey) -> [String; 3] {
    let (id, secret) = (key.id.to_string(), key.secret.expose().to_owned());
    let pair = base64::encode(format!("{id}:{secret}"));
    [pair.trim_end_matches('=').to_owned(), secret, id]
}

/// Returns the characters that base64 yields for `word`, wherever it begins in the encoded text.
fn in_base64(word: &str) -> impl Iterator<Item = String> {
    (0..3).filter_map(move |offset| {
        let bytes = [vec![0; offset], word.into()].concat();
        let complete = bytes.len() / 3 * 4;
        let encoded = base64::encode(bytes);
        let piece = encoded.get(if offset == 0 { 0 } else { 4 }..complete)?;
        (piece.len() >= MIN_BASE64).then(|| piece.to_owned())
    })
}

/// Returns whether a form has to be percent-encoded: it lies in a URL, or characters in it or next to it are percent-encoded.
/// Apache Camel does not decode a value in `RAW(…)` or `RAW{…}`.
///
/// <https://camel.apache.org/manual/faq/how-do-i-configure-endpoints.html>
fn needs_percent_encoding(raw: &str, found: &Match) -> bool {
    let part = |range: Range<usize>| raw.get(range).unwrap_or_default();
    let Range { start, end } = found.range;
    let (before, form, after) = (part(0..start), part(start..end), part(end..raw.len()));
    let is_code = |string: &str| matches!(string.as_bytes(), [b'%', digits @ ..] if hex_code(digits).is_some());
    let is_encoded =
        form.contains('%') || is_code(after) || is_code(part(start.saturating_sub(3)..start));
    let is_raw = before.ends_with("RAW(") || before.ends_with("RAW{");
    !is_raw && (found.is_in_url || is_encoded)
}

/// Encodes the characters of keys that have another meaning in a URL.
fn percent_encode(word: &str) -> String {
    word.replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

/// Finds all `forms` in the content of a JSON string. If several match, the longest counts: one ID may be the start of another.
fn find_forms(raw: &str, forms: &[&str]) -> Vec<Match> {
    let (mut matches, mut position, mut is_in_url) = (Vec::new(), 0, false);
    while let Some(rest @ [_, ..]) = raw.as_bytes().get(position..) {
        let forms = forms.iter().enumerate();
        let found = forms.filter_map(|(nth, form)| Some((nth, form_length(rest, form)?)));
        let found = found.max_by_key(|(_, length)| *length);
        if let Some((form, length)) = found {
            let range = position..position + length;
            position = range.end;
            matches.push(Match {
                range,
                form,
                is_in_url,
            });
            continue;
        }
        let scheme = form_length(rest, "://");
        let separator = [":", "/"].iter().find_map(|form| form_length(rest, form));
        is_in_url = scheme.is_some() || is_in_url && (separator.is_some() || !ends_url(rest));
        // A form does not begin within an escape.
        position += match rest {
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => separator.unwrap_or(2),
            _ => 1,
        };
    }
    matches
}

/// Returns whether a URL ends before `raw`: at whitespace and the characters around URLs, escaped or not.
fn ends_url(raw: &[u8]) -> bool {
    let backslashes = count_backslashes(raw);
    match raw.get(backslashes..).unwrap_or_default() {
        [b'u', b'0', b'0', digits @ ..] if backslashes > 0 => {
            hex_code(digits).is_none_or(|code| code < b' ' || URL_END.contains(&code))
        }
        [first, ..] => URL_END.contains(first) || backslashes > 0 && first.is_ascii_alphanumeric(),
        [] => true,
    }
}

/// Returns the length of `form` at the start of `raw`, or `None` if `raw` starts with something else.
fn form_length(raw: &[u8], form: &str) -> Option<usize> {
    if !(1..=MAX_FORM_BYTES).contains(&form.len()) {
        return None;
    }
    form.bytes().try_fold(0, |length, character| {
        Some(length + spelling_length(raw.get(length..)?, character)?)
    })
}

/// Returns the length of `character` at the start of `raw`, in any spelling of JSON strings, nested or not, and of URLs.
///
/// | spelling | example | written by |
/// | --- | --- | --- |
/// | itself | `+` | |
/// | backslashes and the character, unless it is a letter or digit | `\/`, `\\/` | PHP; JSON in JSON; properties |
/// | backslashes and its code | `\u002B`, `\\u002b` | .NET, Gson |
/// | its code in percent-encoding | `%2B`, `%2b` | URLs, forms |
fn spelling_length(raw: &[u8], character: u8) -> Option<usize> {
    // Nearly all bytes begin no escape, and every byte of a value is compared with every form.
    match raw.first() {
        Some(b'\\' | b'%') => {}
        first => return (first == Some(&character)).then_some(1),
    }
    let backslashes = count_backslashes(raw);
    let rest = raw.get(backslashes..)?;
    let is_itself = rest.first() == Some(&character);
    let is_code = |digits: &[u8]| hex_code(digits) == Some(character);
    match (backslashes, rest) {
        (0, _) if is_itself => Some(1),
        (0, [b'%', digits @ ..]) if is_code(digits) => Some(3),
        (1..=MAX_BACKSLASHES, _) if is_itself && !character.is_ascii_alphanumeric() => {
            Some(backslashes + 1)
        }
        (1..=MAX_BACKSLASHES, [b'u', b'0', b'0', digits @ ..]) if is_code(digits) => {
            Some(backslashes + 5)
        }
        _ => None,
    }
}

fn count_backslashes(raw: &[u8]) -> usize {
    let first = raw.iter().take(MAX_BACKSLASHES + 1);
    first.take_while(|byte| **byte == b'\\').count()
}

fn hex_code(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(digits.get(..2)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::{Error, key, parse, replaced, replaced_part, value_with};

    /// A form of the current key: a name, the JSON that contains it, and the JSON after the replacement.
    const SPELLINGS: [(&str, &str, &str); 22] = [
        ("a complete string", r#""x":"{id}""#, r#""x":"{new id}""#),
        (
            "a part of a word",
            r#""x":"a{id}b{secret}c""#,
            r#""x":"a{new id}b{new secret}c""#,
        ),
        (
            "several times",
            r#""x":"{id}{id} {secret}{secret}""#,
            r#""x":"{new id}{new id} {new secret}{new secret}""#,
        ),
        (
            "a name",
            r#""{id}":{"{secret}":1}"#,
            r#""{new id}":{"{new secret}":1}"#,
        ),
        (
            "an escaped letter",
            r#""x":"\u0043URRENT123456789""#,
            r#""x":"{new id}""#,
        ),
        (
            "an escaped slash",
            r#""x":"current\/secret0123456789abcdefghij""#,
            r#""x":"{new secret}""#,
        ),
        (
            "a nested escaped slash",
            r#""x":"{\"x\":\"current\\\/secret0123456789abcdefghij\"}""#,
            r#""x":"{\"x\":\"{new secret}\"}""#,
        ),
        (
            "eight backslashes",
            r#""x":"current\\\\\\\\/secret0123456789abcdefghij""#,
            r#""x":"{new secret}""#,
        ),
        (
            "an escaped code",
            r#""x":"current\u002Fsecret0123456789abcdefghij""#,
            r#""x":"{new secret}""#,
        ),
        (
            "a nested escaped code",
            r#""x":"current\\u002fsecret0123456789abcdefghij""#,
            r#""x":"{new secret}""#,
        ),
        (
            "percent-encoding",
            r#""x":"current%2Fsecret0123456789abcdefghij""#,
            r#""x":"pending%2Bsecret9876543210jihgfedcba""#,
        ),
        (
            "percent-encoding in lower case",
            r#""x":"current%2fsecret0123456789abcdefghij""#,
            r#""x":"pending%2Bsecret9876543210jihgfedcba""#,
        ),
        (
            "a line break before the ID",
            r#""x":"\n{id}\u000A{id}""#,
            r#""x":"\n{new id}\u000A{new id}""#,
        ),
        (
            "percent-encoding next to the secret",
            r#""x":"{id}%3A{secret}""#,
            r#""x":"{new id}%3Apending%2Bsecret9876543210jihgfedcba""#,
        ),
        (
            "user info of a URL",
            r#""x":"https://{id}:{secret}@host""#,
            r#""x":"https://{new id}:pending%2Bsecret9876543210jihgfedcba@host""#,
        ),
        (
            "user info with escaped slashes",
            r#""x":"https:\\/\\/{id}:{secret}@host""#,
            r#""x":"https:\\/\\/{new id}:pending%2Bsecret9876543210jihgfedcba@host""#,
        ),
        (
            "user info in a properties file",
            r#""x":"https\\://{id}\\:{secret}@host""#,
            r#""x":"https\\://{new id}\\:pending%2Bsecret9876543210jihgfedcba@host""#,
        ),
        (
            "a parameter of a URL after an escape",
            r#""x":"https://host?a=\u00e9\u0026b={secret}""#,
            r#""x":"https://host?a=\u00e9\u0026b=pending%2Bsecret9876543210jihgfedcba""#,
        ),
        (
            "an escaped quotation mark after a URL",
            r#""x":"\"https://host\u0022{secret}""#,
            r#""x":"\"https://host\u0022{new secret}""#,
        ),
        (
            "the ID between a colon and slashes",
            r#""x":"a:{id}//{secret}""#,
            r#""x":"a:{new id}//{new secret}""#,
        ),
        (
            "the line after a URL",
            r#""x":"https://host\n{secret}\\n{secret}""#,
            r#""x":"https://host\n{new secret}\\n{new secret}""#,
        ),
        (
            "RAW of Camel in a URI",
            r#""x":"kafka://a?password=RAW({secret})""#,
            r#""x":"kafka://a?password=RAW({new secret})""#,
        ),
    ];

    fn fill(json: &str) -> String {
        json.replace("{id}", "CURRENT123456789")
            .replace("{secret}", "current/secret0123456789abcdefghij")
            .replace("{new id}", "PENDING987654321")
            .replace("{new secret}", "pending+secret9876543210jihgfedcba")
    }

    #[test]
    fn the_key_is_replaced_in_every_spelling() {
        for (case, before, after) in SPELLINGS {
            let (before, after) = (fill(before), fill(after));
            assert_eq!(replaced_part(&before), after, "{case}");
            assert_eq!(value_with(&before).check_replaceable(), Ok(()), "{case}");
        }
    }

    #[test]
    fn the_pair_is_replaced_in_base64_with_its_padding() {
        let encode =
            |id: &str, secret: &str, rest: &str| base64::encode(format!("{id}:{secret}{rest}"));
        for rest in ["", "\n"] {
            let before = encode(
                "CURRENT123456789",
                "current/secret0123456789abcdefghij",
                rest,
            );
            let after = encode(
                "PENDING987654321",
                "pending+secret9876543210jihgfedcba",
                rest,
            );
            let before = format!(r#""x":"Basic {before}""#);

            assert_eq!(replaced_part(&before), format!(r#""x":"Basic {after}""#));
        }
    }

    #[test]
    fn a_new_secret_that_contains_the_current_id_is_stored_unchanged() {
        let pending = key("PENDING987654321", "CURRENT123456789/0123456789abcdefghij");

        let json = value_with(r#""x":"CURRENT123456789""#)
            .with_keys(&[pending])
            .unwrap();

        let expected = r#""apiSecret":"CURRENT123456789/0123456789abcdefghij","serviceAccountId":"sa-1","x":"PENDING987654321"}"#;
        assert!(json.expose().ends_with(expected), "{}", json.expose());
    }

    /// Strings that contain no form of the current key: a name, and the JSON.
    const NOT_THE_KEY: [(&str, &str); 6] = [
        ("another ID", r#""username":"CURRENT123456788""#),
        ("lower case", r#""username":"current123456789""#),
        ("nine backslashes", r#""x":"CURRENT\\\\\\\\\u0031""#),
        ("a number", r#""x":1e400"#),
        ("a lone surrogate", r#""x":"\ud800""#),
        (
            "another key",
            r#""sasl.username":"OTHERKEY00000000","sasl.password":"another-keys-secret""#,
        ),
    ];

    #[test]
    fn strings_without_the_key_are_unchanged() {
        for (case, json) in NOT_THE_KEY {
            assert_eq!(replaced_part(json), json, "{case}");
            let value = value_with(json);
            assert_eq!(value.copy_paths(value.main()), None, "{case}");
        }
    }

    #[test]
    fn the_key_may_begin_within_percent_encoding() {
        let json = r#"{"apiKey":"ABCDEFGH12345678","apiSecret":"Fsecret/0123456789abcdefghij-01234","serviceAccountId":"sa-1","x":"%3ABCDEFGH12345678 %2Fsecret/0123456789abcdefghij-01234"}"#;

        let replaced = replaced(json);

        let end = r#""x":"%3PENDING987654321 %2pending+secret9876543210jihgfedcba"}"#;
        assert!(replaced.ends_with(end), "{replaced}");
    }

    #[test]
    fn wrapped_base64_is_an_error_wherever_a_line_breaks() {
        for offset in 0..57 {
            let file = format!(
                "{}CURRENT123456789\ncurrent/secret0123456789abcdefghij\n",
                "x".repeat(offset)
            );
            let encoded = base64::encode(file);
            for line_break in [r"\n", r"\r\n", r"\\n", r"\n    "] {
                let lines: Vec<&str> = encoded
                    .as_bytes()
                    .chunks(76)
                    .map(|line| str::from_utf8(line).unwrap())
                    .collect();
                let value = value_with(&format!(r#""x":"{}""#, lines.join(line_break)));

                let error = value.check_replaceable();

                assert_eq!(
                    error,
                    Err(Error::NotReplaceable("`x`".to_owned())),
                    "{offset}"
                );
                let id = ApiKeyId::new("CURRENT123456789".to_owned());
                assert!(value.paths_containing(&id).is_some(), "{offset}");
            }
        }
    }

    #[test]
    fn the_key_does_not_begin_within_an_escape() {
        let json = |escaped| {
            let secret = "current/secret0123456789abcdefghij";
            format!(
                r#"{{"apiKey":"ABCDEFGH12345678","apiSecret":"{secret}","serviceAccountId":"sa-1","x":"{escaped}"}}"#
            )
        };

        let replaced = replaced(&json(r"\uAfABCDEFGH12345678"));

        assert!(
            replaced.ends_with(r#""x":"\uAfABCDEFGH12345678"}"#),
            "{replaced}"
        );
    }

    /// Encodings in which the key cannot be replaced: a name, the JSON, and the path.
    const TRACES: [(&str, &str, &str); 8] = [
        (
            "double percent-encoding",
            r#""kube":{"password":"current%252Fsecret0123456789abcdefghij"}"#,
            "`kube/password`",
        ),
        (
            "HTML",
            r#""x":["","current&#47;secret0123456789abcdefghij"]"#,
            "`x/1`",
        ),
        (
            "nine backslashes",
            r#""x":"current\\\\\\\\\/secret0123456789abcdefghij""#,
            "`x`",
        ),
        (
            "a part of the secret",
            r#""x":"secret0123456789abcdefghij""#,
            "`x`",
        ),
        (
            "a name",
            r#""x":{"current%252Fsecret0123456789abcdefghij":1}"#,
            "`x/…`",
        ),
        (
            "a setting",
            r#""endpoint":"https://x:current/secret0123456789abcdefghij@host""#,
            "`endpoint`",
        ),
        (
            "the ID in base64",
            r#""x":"Q1VSUkVOVDEyMzQ1Njc4OQ==""#,
            "`x`",
        ),
        (
            "the secret in base64",
            r#""x":"Y3VycmVudC9zZWNyZXQwMTIzNDU2Nzg5YWJjZGVmZ2hpag==""#,
            "`x`",
        ),
    ];

    #[test]
    fn an_encoding_in_which_the_key_cannot_be_replaced_is_an_error_that_names_the_path() {
        for (case, json, path) in TRACES {
            let error = value_with(json).check_replaceable();
            assert_eq!(error, Err(Error::NotReplaceable(path.to_owned())), "{case}");
        }
    }

    #[test]
    fn the_key_in_base64_at_any_position_is_an_error() {
        for (word, offset) in ["CURRENT123456789", "current/secret0123456789abcdefghij"]
            .into_iter()
            .flat_map(|word| [(word, 0), (word, 1), (word, 2)])
        {
            let encoded = base64::encode(format!("{}{word}=\n", "x".repeat(offset)));

            let error = value_with(&format!(r#""x":"{encoded}""#)).check_replaceable();

            assert_eq!(
                error,
                Err(Error::NotReplaceable("`x`".to_owned())),
                "{word}, {offset}"
            );
        }
    }

    /// The form of the result depends on the length of the new key, so it is checked again.
    #[test]
    fn a_created_key_of_another_length_cannot_replace_the_pair_in_base64() {
        let pair = base64::encode("CURRENT123456789:current/secret0123456789abcdefghij");
        let value = value_with(&format!(r#""x":"{pair}""#));
        let longer = key("PENDING98765432100", "pending+secret9876543210jihgfedcba");

        assert_eq!(value.check_replaceable(), Ok(()));
        let error = Err(Error::NotReplaceable("`x`".to_owned()));
        assert_eq!(value.with_keys(&[longer]), error);
    }

    #[test]
    fn the_id_in_a_setting_is_unchanged_with_a_warning() {
        let arn = r#""adminSecretArn":"arn:x:secretsmanager:r:1:secret:CURRENT123456789-AbCdEf""#;

        let value = value_with(arn);

        assert_eq!(replaced_part(arn), arn);
        let warning = "the ID of the current key is not replaced in `adminSecretArn`, because the function reads this setting";
        assert_eq!(value.copy_warnings(), [warning]);
    }

    #[test]
    fn jaas_without_quotation_marks_is_replaced_with_a_warning() {
        for (case, options, is_warned) in [
            (
                "no quotation marks",
                "username={id} password={secret};",
                true,
            ),
            ("whitespace", r"username={id}\n  password = {secret};", true),
            (
                "quotation marks",
                r#"username=\"{id}\" password=\"{secret}\";"#,
                false,
            ),
            ("apostrophes", "username='{id}' password='{secret}';", false),
            (
                "another option",
                r"username='x';\nsasl.password={secret}",
                false,
            ),
        ] {
            let json = format!(
                r#""x":"org.apache.kafka.common.security.plain.PlainLoginModule required {options}""#
            );

            let value = value_with(&fill(&json));

            assert_eq!(value.check_replaceable(), Ok(()), "{case}");
            assert_eq!(!value.copy_warnings().is_empty(), is_warned, "{case}");
        }
    }

    #[test]
    fn another_key_is_recognized_by_its_format() {
        for (case, json, other_keys) in [
            (
                "user info",
                r#""sr":"SRKEY00000000000:the-registrys-own-secret""#,
                Some("`sr`"),
            ),
            (
                "a secret",
                r#""x":["cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6SjzZ12wZfwjaJdipHZtDjw"]"#,
                Some("`x/0`"),
            ),
            (
                "a line of a file",
                r#""x":"a\nSRKEY0000000000018""#,
                Some("`x`"),
            ),
            (
                "the current key",
                r#""x":"CURRENT123456789:current/secret0123456789abcdefghij""#,
                None,
            ),
            ("a longer word", r#""x":"ASRKEY00000000000""#, None),
            (
                "a hash",
                r#""x":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
                None,
            ),
            (
                "an account and a UUID",
                r#""x":"123456789012 123e4567-e89b-12d3-a456-426614174000""#,
                None,
            ),
        ] {
            assert_eq!(
                value_with(json).other_key_paths().as_deref(),
                other_keys,
                "{case}"
            );
        }
    }

    #[test]
    fn a_listed_key_is_found_with_its_secret_in_another_field() {
        let secret = "cfltT8d8RzkNseTMEDKcjNM1BZTFPHqRn/dQm9q7w6SjzZ12wZfwjaJdipHZtDjw";
        let json = format!(
            r#"{{"serviceAccountId":"sa-1","apiKey":null,"user":"ONLYCAPITALSHERE","x":1,"kafka":{{"pass":"{secret}"}}}}"#
        );
        let value = parse(&json).unwrap();
        for (id, paths) in [
            ("ONLYCAPITALSHERE", Some("`user`, `kafka/pass`")),
            ("ANOTHERLISTEDKEY", None),
        ] {
            let found = value.key_paths_with(&ApiKeyId::new(id.to_owned()));
            assert_eq!(found.as_deref(), paths, "{id}");
        }
    }

    #[test]
    fn placeholders_are_replaced_by_an_initial_key() {
        let before = r#"{"apiKey":"${apiKey}","apiSecret":"${apiSecret}","serviceAccountId":"sa-1","username":"","x":["https://${apiKey}:${apiSecret}@host","username=\"${apiKey}\" password=\"${apiSecret}\";"]}"#;
        let after = r#"{"apiKey":"{new id}","apiSecret":"{new secret}","serviceAccountId":"sa-1","username":"","x":["https://{new id}:pending%2Bsecret9876543210jihgfedcba@host","username=\"{new id}\" password=\"{new secret}\";"]}"#;

        assert_eq!(parse(before).unwrap().keys().next(), None);
        assert_eq!(replaced(before), fill(after));
        let (before, after) = (parse(before).unwrap(), parse(&fill(after)).unwrap());
        assert!(after.differs_only_in_keys_from(&before));
    }

    #[test]
    fn a_placeholder_with_half_of_a_key_counts_as_missing() {
        for (json, field) in [
            (
                r#"{"apiKey":"CURRENT123456789","apiSecret":"${apiSecret}","serviceAccountId":"sa-1"}"#,
                "apiSecret",
            ),
            (
                r#"{"apiKey":" ${apiKey}","apiSecret":"x","serviceAccountId":"sa-1"}"#,
                "apiKey",
            ),
        ] {
            assert_eq!(parse(json).err(), Some(Error::Missing(field.into())));
        }
    }

    #[test]
    fn placeholders_are_unchanged_if_there_is_a_current_key() {
        let json = r#""x":"${apiKey}","${apiSecret}":1"#;

        assert_eq!(replaced_part(json), json);
        let placeholders = value_with(json).placeholder_paths();
        assert_eq!(placeholders.as_deref(), Some("`x`, `${apiSecret}`"));
    }
}
