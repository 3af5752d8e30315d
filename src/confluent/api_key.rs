//! API keys and their IDs.

use std::fmt;
use std::ops::RangeInclusive;

use crate::http::Redacted;

/// The longest API key ID, in bytes. Today's IDs have 16 or 18 characters.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
pub const MAX_ID_LENGTH: usize = 40;

/// The lengths of a well-formed key, in bytes. Today's API secrets have 64 characters.
const ID_LENGTHS: RangeInclusive<usize> = 12..=MAX_ID_LENGTH;
const SECRET_LENGTHS: RangeInclusive<usize> = 32..=255;

/// The ID of an API key. It is not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyId(String);

impl ApiKeyId {
    /// Wraps an ID from Confluent Cloud or from a secret value.
    pub fn new(id: String) -> Self {
        Self(id)
    }

    /// Returns the ID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API key: its ID and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The ID, the user name in HTTP basic authentication.
    pub id: ApiKeyId,
    /// The secret, the password in HTTP basic authentication. Confluent Cloud returns it only once.
    pub secret: Redacted,
}

impl ApiKey {
    /// Returns the user name and the password for HTTP basic authentication.
    pub fn basic_auth(&self) -> (&str, &Redacted) {
        (self.id.as_str(), &self.secret)
    }

    /// Returns whether `text` contains the API secret.
    pub fn is_in(&self, text: &str) -> bool {
        text.contains(self.secret.expose())
    }

    /// Returns whether the ID and the API secret have the characters and plausible lengths of Confluent Cloud's keys. Such a key
    /// needs no escape, except in URLs, and no other string contains it by chance.
    ///
    /// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/overview.html>
    pub fn is_well_formed(&self) -> bool {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_.".contains(&byte);
        let (id, secret) = (self.id.as_str(), self.secret.expose());
        let lengths = (
            ID_LENGTHS.contains(&id.len()),
            SECRET_LENGTHS.contains(&secret.len()),
        );
        lengths == (true, true) && id.bytes().chain(secret.bytes()).all(is_allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_key_contains_its_id_but_not_its_secret() {
        let key = ApiKey {
            id: ApiKeyId::new("ABCDEFGH12345678".into()),
            secret: Redacted::new("hunter2".into()),
        };

        let output = format!("{key:?}");

        assert!(output.contains("ABCDEFGH12345678"), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}
