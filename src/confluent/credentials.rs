//! The credentials of a request to the control plane.

use std::fmt;

use super::{AccessToken, ApiKey, ApiKeyId};
use crate::http::{ControlPlaneUrl, Destination};

/// The credentials of one request to the control plane.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// An API key: the management credentials, or the key of `AWSPREVIOUS`, which helps to explain an error.
    Key(ApiKey),
    /// An access token of an identity pool.
    Token(AccessToken),
}

impl Credentials {
    pub(super) fn at(&self, url: ControlPlaneUrl) -> Destination<'_> {
        match self {
            Self::Key(key) => Destination::WithKey(url.as_url().clone(), key.basic_auth()),
            Self::Token(access_token) => Destination::WithToken(url, &access_token.token),
        }
    }

    /// Returns whether `text` contains the API secret or the token.
    pub(super) fn are_in(&self, text: &str) -> bool {
        match self {
            Self::Key(key) => key.is_in(text),
            Self::Token(access_token) => access_token.token.is_in(text),
        }
    }

    /// Returns the principal, for messages.
    pub(super) fn principal(&self) -> Principal {
        match self {
            Self::Key(key) => Principal::Key(key.id.clone()),
            Self::Token(access_token) => {
                Principal::IdentityPool(access_token.identity_pool_id.as_str().into())
            }
        }
    }
}

/// The principal of a request, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The key with this ID.
    Key(ApiKeyId),
    /// The identity pool with this ID. Boxed, because a larger error slows down every `Result`.
    IdentityPool(Box<str>),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::IdentityPool(id) => write!(f, "identity pool {id}"),
        }
    }
}
