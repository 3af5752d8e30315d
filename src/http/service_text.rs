//! A message from a service, without anything that may be a credential.
//!
//! An error response may quote the request in any encoding, complete or in pieces. The message is therefore not searched for a
//! credential. It is printed as far as it is known to be harmless: words, names, numbers, UUIDs, and the IDs of keys and
//! resources. Error codes, hosts, paths and ARNs consist of these. Everything else is opaque, and only a few opaque characters
//! are printed in one place.

use std::ops::Range;

/// The longest message that is printed, in characters.
const MAX_CHARS: usize = 400;
/// The largest number of opaque characters in one place.
const MAX_OPAQUE: usize = 7;
/// This many letters in words separate two places. Pieces of a credential may look like words, but not so many in sequence.
const MIN_LETTERS: usize = 16;
/// The characters of an ID or an acronym that count as one opaque character, because they may be a piece of a credential.
const ID_CHARS: usize = 4;

/// The words without a vowel, and the only words of one or two letters.
const SHORT_WORDS: &str = "a i am an as at be by db de do eu go id if in ip is it me my no of ok on or so to us v we \
    cmk crn fcpm glb html http https jwt kms ksql ksqldbcm oauth sql srcm ssl sts tls vpc";

/// Escapes that look like letters. The letters and digits of other escapes are opaque.
const ESCAPES: [&str; 4] = ["amp;", "\\n", "\\r", "\\t"];

/// Returns a service's message as one line of limited length, without anything that may be a credential.
pub fn printable(text: &str) -> String {
    let blank = |text: String, escape: &&str| text.replace(escape, &" ".repeat(escape.len()));
    let unescaped = ESCAPES.iter().fold(text.to_owned(), blank);
    let (mut printed, mut end) = (String::new(), 0);
    for part in opaque_parts(unescaped.as_bytes()) {
        printed += text.get(end..part.start).unwrap_or_default();
        printed += "[removed]";
        end = part.end;
    }
    printed += text.get(end..).unwrap_or_default();
    let line = printed.chars().take(MAX_CHARS);
    line.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns the parts that contain too many opaque characters.
fn opaque_parts(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut parts: Vec<(Range<usize>, usize)> = Vec::new();
    let (mut start, mut letters) = (0, MIN_LETTERS);
    for token in text.split(|b| !b.is_ascii_alphanumeric() && *b != b'-') {
        let is_id = is_resource_id(token);
        for atom in token.split(|b| *b == b'-') {
            let range = start..start + atom.len();
            start = range.end + 1;
            if atom.is_empty() || is_word(atom) {
                letters += atom.len();
                continue;
            }
            let opaque = match opaque_chars(text, &range, atom) {
                // Several of them in a row may encode a credential in hexadecimal digits.
                _ if is_uuid(token) => atom.len() / 8,
                opaque if is_id => opaque / ID_CHARS,
                opaque => opaque,
            };
            match parts.last_mut().filter(|_| letters < MIN_LETTERS) {
                Some(part) => *part = (part.0.start..range.end, part.1 + opaque),
                None => parts.push((range, opaque)),
            }
            letters = 0;
        }
    }
    let opaque = parts.into_iter().filter(|part| part.1 > MAX_OPAQUE);
    opaque.map(|part| part.0)
}

/// Returns how many opaque characters the atom at `range` counts as.
fn opaque_chars(text: &[u8], range: &Range<usize>, atom: &[u8]) -> usize {
    let before = range.start.checked_sub(1).and_then(|i| text.get(i));
    let consists_of = |set: fn(u8) -> bool| atom.iter().all(|b| b.is_ascii_digit() || set(*b));
    let is_label = text.get(range.end) == Some(&b'.') && consists_of(|b| b.is_ascii_lowercase());
    let is_key_id = matches!(atom.len(), 16 | 18) && consists_of(|b| b.is_ascii_uppercase());
    let is_time = consists_of(|b| b"TZ".contains(&b));
    let is_capital = |pair: &&[u8]| pair.iter().all(u8::is_ascii_uppercase);
    let capitals = || atom.windows(2).filter(is_capital).count();
    match (atom.len(), before) {
        // A short number may be the code of a character.
        (length, Some(b'%' | b'#')) => length,
        (..4, Some(b'-' | b'.' | b':' | b'/')) if is_time => 0,
        (..4, _) if is_time => 1,
        (..20, _) if is_time => 0,
        (length @ 8..20, _) if consists_of(|b| b"abcdef".contains(&b)) => length / 8,
        (length, _) if is_name(atom) && capitals() + 1 == length => length / ID_CHARS,
        _ if is_name(atom) => capitals(),
        (length @ ..20, _) if is_label || is_key_id => length / ID_CHARS,
        (length, _) => length,
    }
}

/// Returns whether the token is a UUID, or consists of its digits, like the ID of a multi-Region KMS key.
fn is_uuid(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"mrk-").unwrap_or(token);
    let digits = digits.split(|b| *b == b'-').collect::<Vec<_>>().concat();
    digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Returns whether the token is the ID of a resource (`lkc-abc123`), a Region, or a name with a suffix that Secrets Manager,
/// Lambda or `CloudFormation` generates (`FunctionRole-1ABCDEFGHIJKL`).
fn is_resource_id(token: &[u8]) -> bool {
    let parts: Vec<&[u8]> = token.split(|b| *b == b'-').collect();
    let Some((suffix, [first, rest @ ..])) = parts.split_last() else {
        return false;
    };
    let is_lowercase = !token.iter().any(u8::is_ascii_uppercase);
    let has_short_parts = (1..9).contains(&first.len()) && parts.iter().all(|part| part.len() < 18);
    let has_names = is_name(first) && rest.iter().all(|part| is_name(part));
    is_lowercase && has_short_parts || has_names && matches!(suffix.len(), ..8 | 12..14)
}

/// Returns whether the atom is a word with an ordinary case, and with at most four consonants in sequence.
fn is_word(atom: &[u8]) -> bool {
    let is_vowel = |b: &u8| b"aeiouy".contains(&b.to_ascii_lowercase());
    let is_cased = atom.iter().skip(1).all(u8::is_ascii_lowercase);
    let has_letters = (3..20).contains(&atom.len()) && atom.iter().all(u8::is_ascii_alphabetic);
    let mut consonants = atom.split(is_vowel).map(<[u8]>::len);
    let is_short = |word: &str| atom.eq_ignore_ascii_case(word.as_bytes());
    is_cased && has_letters && atom.iter().any(is_vowel) && consonants.all(|length| length < 5)
        || SHORT_WORDS.split(' ').any(is_short)
}

/// Returns whether the atom consists of words and acronyms, like `KMSKeyId`, and may end with a digit.
fn is_name(atom: &[u8]) -> bool {
    let ends_word = |a: &u8, b: &u8| a.is_ascii_lowercase() && b.is_ascii_uppercase();
    let letters = match atom {
        [letters @ .., digit] if digit.is_ascii_digit() => letters,
        _ => atom,
    };
    let mut words = letters.chunk_by(|a, b| !ends_word(a, b));
    let is_part = |word: &[u8]| {
        let capitals = word.iter().take_while(|b| b.is_ascii_uppercase()).count();
        let (acronym, rest) = word.split_at(capitals.saturating_sub(1));
        match acronym.len() {
            2.. if capitals == word.len() => capitals < 6 || is_word(&word.to_ascii_lowercase()),
            2..5 => is_word(rest),
            _ => is_word(word),
        }
    };
    !letters.is_empty() && words.all(is_part)
}
