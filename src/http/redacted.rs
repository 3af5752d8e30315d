//! Strings that must not be printed.

use std::fmt;

/// A string that must not be printed: an API secret, a `RotationToken`, a secret value, a proxy's password.
///
/// It implements neither `Display` nor `Serialize`, so a secret cannot reach a log line by accident. Code that has to write
/// the string calls [`expose`](Self::expose): `grep -rn expose src` lists every such place.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Wraps a string that must not be printed.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the string. Pass it directly to a request or a secret value, and don't keep it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(..)")
    }
}
