//! What a field holds of a key, and how another key is written in its place.

use std::cmp::Reverse;
use std::ops::Range;

use crate::credential::ApiKey;

/// What a field holds of a key.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    Id,
    Secret,
    /// `ID:SECRET`.
    /// <https://docs.confluent.io/platform/current/schema-registry/sr-client-configs.html>
    UserInfo,
    /// Both, between quotes, in a longer text: `… required username="ID" password="SECRET";`.
    /// <https://kafka.apache.org/documentation/#security_sasl_plain_clientconfig>
    Jaas,
}

impl Holds {
    /// `text` with `new` in the place of `old`, or none if it does not hold `old`. A text that holds no key is empty.
    pub(super) fn renewed(self, text: &str, old: Option<&ApiKey>, new: &ApiKey) -> Option<String> {
        let written: fn(&ApiKey) -> String = match self {
            Self::Id => |key| key.id.to_string(),
            Self::Secret => |key| key.secret.expose().to_owned(),
            Self::UserInfo => |key| format!("{}:{}", key.id, key.secret.expose()),
            Self::Jaas => return renewed_jaas(text, old?, new),
        };
        let expected = old.map(written).unwrap_or_default();
        (text.trim() == expected).then(|| written(new))
    }
}

fn renewed_jaas(config: &str, old: &ApiKey, new: &ApiKey) -> Option<String> {
    let id = quoted_once(config, old.id.as_str())?;
    let secret = quoted_once(config, old.secret.expose())?;
    let are_apart = id.end < secret.start || secret.end < id.start;
    are_apart.then(|| {
        let new_id = jaas_escaped(new.id.as_str());
        let new_secret = jaas_escaped(new.secret.expose());
        splice(config, vec![(id, new_id), (secret, new_secret)])
    })
}

/// Where `word` stands between quotes, if it does so exactly once.
fn quoted_once(config: &str, word: &str) -> Option<Range<usize>> {
    let word = jaas_escaped(word);
    let quoted = [format!("\"{word}\""), format!("'{word}'")];
    let mut places = quoted
        .iter()
        .flat_map(|quoted| config.match_indices(quoted));
    let (quote, _) = places.next()?;
    let start = quote + 1;
    places.next().is_none().then(|| start..start + word.len())
}

/// Kafka reads JAAS with Java's `StreamTokenizer`, which takes what follows a backslash as it is if
/// it is a quote or a backslash, whichever kind of quotes is around it.
/// <https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/security/JaasConfig.java>
fn jaas_escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '\\' | '"' | '\'') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Where to write, and what.
pub(super) type Edit = (Range<usize>, String);

pub(super) fn splice(text: &str, mut edits: Vec<Edit>) -> String {
    let mut text = text.to_owned();
    // From the back, so that no edit moves the place of one still to come.
    edits.sort_by_key(|(place, _)| Reverse(place.start));
    for (place, new) in edits {
        text.replace_range(place, &new);
    }
    text
}
