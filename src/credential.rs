//! API keys, and text that must never be printed.
//!
//! A secret cannot reach a log line by accident, because its type has no way to be formatted.

use std::fmt;

/// A text that must not be printed: an API key's secret, a `RotationToken`, a secret value.
///
/// It has no `Display` and no `Serialize`. The few lines that must write the text out call
/// [`expose`](Self::expose), so `grep -rn expose src` is the whole list of places it can leave by.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Takes ownership of a text that is not to be printed from here on.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Pass it straight to a request or a document; do not keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(..)")
    }
}

/// The public half of an API key: it may be logged, and is what Confluent Cloud calls the key by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyId(String);

impl ApiKeyId {
    /// An id as Confluent Cloud or a secret value gives it.
    #[must_use]
    pub fn new(id: String) -> Self {
        Self(id)
    }

    /// The id as Confluent Cloud writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API key with its secret: what signs a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The key's id, the user name of HTTP basic authentication.
    pub id: ApiKeyId,
    /// The key's secret, the password. Confluent Cloud shows it once.
    pub secret: Redacted,
}

impl ApiKey {
    /// Whether `text` repeats the secret: as it is, in base64, as basic authentication sends it, or as a URL spells it.
    #[must_use]
    pub fn is_repeated_in(&self, text: &str) -> bool {
        let secret = self.secret.expose();
        let base64 = aws_smithy_types::base64::encode(secret);
        let basic = aws_smithy_types::base64::encode(format!("{}:{secret}", self.id));
        let in_url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        [secret, &base64, &basic, &in_url]
            .iter()
            .any(|form| text.contains(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_debug_message_shows_its_id_and_not_its_secret() {
        let key = ApiKey {
            id: ApiKeyId::new("ABCDEFGH12345678".into()),
            secret: Redacted::new("hunter2".into()),
        };

        let shown = format!("{key:?}");

        assert!(shown.contains("ABCDEFGH12345678"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
