//! The strings of a JSON value, without recursion: values nested 30,000 levels deep are valid.
//!
//! The JSON must be valid, so outside of strings only `{`, `[`, `]`, `}`, `,` and `:` have a meaning.

use std::iter::successors;
use std::ops::Range;

/// The largest number of paths in a list.
const MAX_PATHS: usize = 20;
/// The largest number of names and indexes in a path.
const MAX_STEPS: usize = 8;
/// The longest name that is shown. A longer one may contain a secret.
const MAX_NAME_BYTES: usize = 100;
/// The longest run of the characters of API secrets in a name that is shown. The shortest API secret of a well-formed key has 32
/// characters.
const MAX_NAME_RUN: usize = 31;

/// The position of a string without its quotes, in bytes.
pub(super) type Span = Range<usize>;

/// A range of bytes and the string that replaces it.
pub(super) type Edit = (Range<usize>, String);

/// Returns the positions of all strings, names included.
pub(super) fn strings(json: &str) -> impl Iterator<Item = Span> {
    let next = |from: usize| {
        let start = from + json.get(from..)?.find('"')? + 1;
        let mut bytes = json.bytes().enumerate().skip(start);
        while let Some((position, byte)) = bytes.next() {
            match byte {
                b'"' => return Some(start..position),
                b'\\' => drop(bytes.next()),
                _ => {}
            }
        }
        None
    };
    successors(next(0), move |string| next(string.end + 1))
}

/// Returns the string at `span` without escapes, or `None` if it contains a lone surrogate.
pub(super) fn decode(json: &str, span: &Span) -> Option<String> {
    serde_json::from_str(json.get(span.start - 1..=span.end)?).ok()
}

/// Returns `json` without whitespace between tokens, with every string in the same spelling.
pub(super) fn normalize(json: &str) -> String {
    let (mut normalized, mut end) = (String::new(), 0);
    for span in strings(json) {
        let outside = json.get(end..span.start - 1).unwrap_or_default();
        normalized.extend(outside.split_ascii_whitespace());
        end = span.end + 1;
        let string = decode(json, &span).map(|string| serde_json::Value::from(string).to_string());
        normalized += string
            .as_deref()
            .or(json.get(span.start - 1..end))
            .unwrap_or_default();
    }
    normalized.extend(json.get(end..).unwrap_or_default().split_ascii_whitespace());
    normalized
}

/// Returns `json` with all `edits` applied, which do not overlap.
pub(super) fn splice(json: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut spliced, mut end) = (String::with_capacity(json.len()), 0);
    for (range, replacement) in edits {
        spliced += json.get(end..range.start).unwrap_or_default();
        spliced += &replacement;
        end = range.end;
    }
    spliced + json.get(end..).unwrap_or_default()
}

/// Returns the paths of `listed` strings, or `None` if there are none. Names that may contain a secret are not shown.
pub(super) fn paths(
    json: &str,
    listed: impl Iterator<Item = Span>,
    is_secret: impl Fn(&Span) -> bool,
) -> Option<String> {
    let mut listed = listed;
    let first = listed.by_ref().take(MAX_PATHS);
    let mut paths: Vec<String> = first
        .map(|span| format!("`{}`", path(json, &span, &is_secret)))
        .collect();
    paths.dedup();
    let more = listed.count();
    if more > 0 {
        paths.push(format!("and {more} more"));
    }
    (!paths.is_empty()).then(|| paths.join(", "))
}

/// Returns the names and indexes that lead to the string at `target`, as in `kafka/brokers/0`.
fn path(json: &str, target: &Span, is_secret: &impl Fn(&Span) -> bool) -> String {
    let mut levels: Vec<(Option<Span>, usize)> = Vec::new();
    let mut end = 0;
    for span in strings(json).take_while(|span| span.start <= target.start) {
        for byte in json.get(end..span.start).unwrap_or_default().bytes() {
            match (byte, levels.last_mut()) {
                (b'{' | b'[', _) => levels.push((None, 0)),
                (b'}' | b']', _) => drop(levels.pop()),
                (b',', Some((_, index))) => *index += 1,
                _ => {}
            }
        }
        end = span.end + 1;
        let is_name = json
            .get(end..)
            .unwrap_or_default()
            .trim_start()
            .starts_with(':');
        if let Some((name, _)) = levels.last_mut().filter(|_| is_name) {
            *name = Some(span);
        }
    }
    let step = |(name, index): &(Option<Span>, usize)| match name {
        Some(name) if is_secret(name) => "…".to_owned(),
        Some(name) => printable_name(json.get(name.clone()).unwrap_or_default()).to_owned(),
        None => index.to_string(),
    };
    let steps: Vec<String> = levels.iter().take(MAX_STEPS).map(step).collect();
    steps.join("/")
}

fn printable_name(name: &str) -> &str {
    let is_printable = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
    let may_be_secret = |c: char| c.is_ascii_alphanumeric() || "+/=\\%".contains(c);
    let mut runs = name.split(|c| !may_be_secret(c));
    let is_short = name.len() <= MAX_NAME_BYTES && runs.all(|run| run.len() <= MAX_NAME_RUN);
    if is_short && name.chars().all(is_printable) {
        name
    } else {
        "…"
    }
}
