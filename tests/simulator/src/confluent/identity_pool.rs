//! Identity pools, and authentication with an access token of a pool.
//!
//! The simulator is *keyless* once it has a pool: the control plane then accepts API keys only in probes, which shows that
//! the function needs no other key.
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/access-rest-apis-sts.html>

use std::time::SystemTime;

use super::permissions::Role;
use crate::Simulator;
use crate::generate::{BASE64, characters};
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;
use crate::sts::web_identity_token::WebIdentityToken;
use crate::sts::{ROLE_ARN, TOKEN_AUDIENCE, TOKEN_ISSUER};

/// An identity pool and its identity provider. The pool's roles are those of the [`Owner`](crate::Owner) with its ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPool {
    /// The issuer of the identity provider.
    pub issuer: String,
    /// The filter's value for `claims.sub`.
    pub subject: String,
    /// The filter's value for `claims.aud`.
    pub audience: String,
}

impl IdentityPool {
    /// Returns whether the filter is true:
    /// `claims.sub=="…" && claims.aud=="…"`.
    pub(super) fn accepts(&self, token: &WebIdentityToken) -> bool {
        token.subject == self.subject && token.audience == self.audience
    }
}

/// An access token that was issued.
#[derive(Clone)]
pub(crate) struct AccessToken {
    /// The ID of the pool.
    pub(super) principal: String,
    pub(crate) expires_at: SystemTime,
}

impl Simulator {
    /// Adds the account's issuer as an identity provider and, with `roles`, an identity pool whose filter names the function's
    /// role and audience. Returns the ID of the pool.
    ///
    /// From now on, the control plane rejects API keys except in probes, unless
    /// [`Controls::accept_api_keys`](crate::Controls::accept_api_keys) is set.
    pub fn add_identity_pool(&self, roles: &[Role]) -> String {
        let id = {
            let mut state = self.state();
            let id = format!("pool-{}", characters(state.next_serial(), 5, &BASE64[..62]));
            let pool = IdentityPool {
                issuer: TOKEN_ISSUER.to_owned(),
                subject: ROLE_ARN.to_owned(),
                audience: TOKEN_AUDIENCE.to_owned(),
            };
            state.identity_pools.insert(id.clone(), pool);
            id
        };
        self.add_owner(&id, roles);
        id
    }
}

impl State {
    /// Returns the pool whose access token authenticates to the control plane.
    ///
    /// The Tableflow API takes no access token:
    /// <https://github.com/confluentinc/terraform-provider-confluent> `docs/index.md`
    pub(super) fn authenticate_token(
        &self,
        request: &HttpRequest,
        token: &str,
    ) -> Result<String, Response> {
        let is_valid = |token: &&AccessToken| {
            token.expires_at > SystemTime::now()
                && self.identity_pools.contains_key(&token.principal)
                && request.segments().first() != Some(&"tableflow")
        };
        let token = self.access_tokens.get(token).filter(is_valid);
        token
            .map(|token| token.principal.clone())
            .ok_or_else(Response::confluent_unauthorized)
    }

    /// Returns whether the control plane accepts API keys for the request. In a keyless simulator, only probes send one.
    pub(super) fn accepts_api_keys(&self, request: &HttpRequest) -> bool {
        self.identity_pools.is_empty()
            || self.controls.accept_api_keys
            || matches!(request.segments().as_slice(), ["org" | "tableflow", ..])
    }
}
