//! An API key as a list, or a question for it, tells of it. It comes from outside, so its ids are checked before they
//! become a part of a path.

use super::{Error, unusable};
use crate::document::LONGEST_ID;

/// An API key as Confluent Cloud describes it: everything but its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The service account or user it belongs to; internal keys have none.
    pub owner: Option<String>,
    /// The id of the resource it opens; none for a Cloud key.
    pub resource: Option<String>,
    /// The environment of that resource, where the answer tells it.
    pub environment: Option<String>,
    /// The organization's id, where the answer tells it.
    pub organization: Option<String>,
    /// Free text, in which we mark our keys.
    pub description: String,
    /// When it was made, in seconds since the epoch.
    pub created_at: Option<i64>,
}

impl Listed {
    /// The environment of the resource, where the answer tells it, as a part of a path.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it would be more than one part.
    pub fn environment_for_path(&self) -> Result<Option<String>, Error> {
        for_path(self.environment.as_deref(), "an environment")
    }

    /// The organization's id, where the answer tells it, as a part of a path.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it would be more than one part.
    pub fn organization_for_path(&self) -> Result<Option<String>, Error> {
        for_path(self.organization.as_deref(), "an organization")
    }
}

/// `id`, if it leads a path neither up nor elsewhere.
fn for_path(id: Option<&str>, what: &'static str) -> Result<Option<String>, Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match id {
        Some(id) if id.len() > LONGEST_ID || !id.bytes().all(is_allowed) => Err(unusable(
            "describe an API key",
            format!("names {what} that cannot be one"),
        )),
        id => Ok(id.map(str::to_owned)),
    }
}
