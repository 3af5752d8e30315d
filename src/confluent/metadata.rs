//! An API key's metadata as the control plane returns it. IDs in it are checked before they become part of a URL.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Error, MAX_ID_LENGTH};

/// The metadata of an API key: everything except its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyMetadata {
    /// The key's ID.
    pub id: String,
    /// The service account or user that owns the key. Confluent's internal keys have no owner.
    pub owner: Option<String>,
    /// The ID of the resource that the key is scoped to, or `None` for a Cloud API key.
    pub resource: Option<String>,
    /// The environment of the resource, if the response contains it.
    pub environment: Option<String>,
    /// The organization's ID, if the response contains it.
    pub organization: Option<String>,
    /// The description. It holds the ownership tag of a key that this function created.
    pub description: String,
    /// The creation time, in seconds since the epoch.
    pub created_at: Option<i64>,
}

/// How far `created_at` may be ahead of the function's clock, in seconds.
const MAX_CLOCK_SKEW: i64 = 5 * 60;

impl ApiKeyMetadata {
    /// Returns the creation time unless it is absent, zero or in the future.
    pub fn plausible_created_at(&self) -> Option<i64> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(since_epoch.as_secs()).ok()?;
        let range = 1..=now.saturating_add(MAX_CLOCK_SKEW);
        self.created_at
            .filter(|created_at| range.contains(created_at))
    }

    /// Returns the environment as a segment of a URL's path.
    pub fn environment_for_path(&self) -> Result<Option<String>, Error> {
        path_segment(self.environment.as_deref(), "an environment")
    }

    /// Returns the organization's ID as a segment of a URL's path.
    pub fn organization_for_path(&self) -> Result<Option<String>, Error> {
        path_segment(self.organization.as_deref(), "an organization")
    }
}

/// Checks that `id` cannot change the rest of a path.
fn path_segment(id: Option<&str>, what: &'static str) -> Result<Option<String>, Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_some_and(|id| id.len() > MAX_ID_LENGTH || !id.bytes().all(is_allowed)) {
        let problem = format!("contains {what} with an invalid ID");
        return Err(Error::invalid_response("describe an API key", problem));
    }
    Ok(id.map(str::to_owned))
}
