//! Access tokens of an identity pool.
//!
//! Confluent Cloud exchanges a JSON Web Token of a registered identity provider for an access token, which the control plane
//! accepts instead of a Cloud API key.
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/identity-providers/oauth/access-rest-apis-sts.html>

use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::Principal;
use super::client::{Client, Error, check_response};
use super::wire::decode;
use crate::http::{BearerToken, Deadline, Destination, Redacted, Request};

/// An access token of an identity pool.
#[derive(Clone, Debug)]
pub struct AccessToken {
    pub(super) token: BearerToken,
    /// The ID of the identity pool.
    pub identity_pool_id: String,
    /// The time for which the token is valid, as the response states it, or else 15 minutes.
    pub valid_for: Duration,
    usable_until: Instant,
}

impl AccessToken {
    /// Returns whether the token expires too soon for another request.
    pub fn is_expiring(&self) -> bool {
        Instant::now() >= self.usable_until
    }

    /// Returns whether the other token is the same one.
    pub fn has_same_token_as(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

/// The maximum and the default of `expires_in`, in seconds.
///
/// <https://docs.confluent.io/cloud/current/api.html#tag/OAuth-Tokens-(stsv1)>
const MAX_SECONDS: u64 = 900;

/// A token is replaced this long before it expires, or after half of its validity if that is later.
const REFRESH_MARGIN: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct WireToken {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Value,
}

const EXCHANGE: &str = "exchange the web identity token";

impl Client {
    /// Exchanges a web identity token for an access token of the identity pool.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/exchangeStsV1OauthToken>
    pub async fn exchange(
        &self,
        web_identity_token: &Redacted,
        identity_pool_id: &str,
        deadline: Deadline,
    ) -> Result<AccessToken, Error> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let body = form(web_identity_token, identity_pool_id);
        let url = self
            .control_plane()
            .at(&["sts", "v1", "oauth2", "token"], &[]);
        let request = Request {
            method: Method::POST,
            destination: Destination::TokenExchange(url),
            accept: "application/json",
            body: Some((FORM, body)),
        };
        // A token without its signature does not authenticate.
        let signature = web_identity_token.expose().rsplit('.').next();
        let is_in = |text: &str| signature.is_some_and(|signature| text.contains(signature));
        let principal = Principal::IdentityPool(identity_pool_id.into());
        let sent = self.http.send(&request, deadline).await;
        let received_at = Instant::now();
        let response = check_response(EXCHANGE, principal, is_in, sent)?;
        let response: WireToken = decode(EXCHANGE, &response)?;
        let invalid = |problem: &str| Error::invalid_response(EXCHANGE, problem);
        if !response.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(invalid("contains a token of another type than Bearer"));
        }
        let token = BearerToken::new(response.access_token);
        let token = token.ok_or_else(|| invalid("contains no valid access token"))?;
        let valid_for = valid_for(&response.expires_in);
        Ok(AccessToken {
            token,
            identity_pool_id: identity_pool_id.to_owned(),
            valid_for,
            usable_until: received_at + usable_for(valid_for),
        })
    }
}

/// Returns the body of a token exchange.
fn form(web_identity_token: &Redacted, identity_pool_id: &str) -> Redacted {
    let form = Serializer::new(String::new())
        .append_pair(
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        )
        .append_pair("subject_token", web_identity_token.expose())
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        .append_pair(
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        )
        .append_pair("identity_pool_id", identity_pool_id)
        .append_pair("expires_in", &MAX_SECONDS.to_string())
        .finish();
    Redacted::new(form)
}

/// Returns the time for which a token is valid. Without a plausible `expires_in`, assumes the maximum: if the token expires earlier,
/// the control plane returns 401, and the token is replaced.
fn valid_for(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::String(seconds) => seconds.trim().parse().ok(),
        seconds => seconds.as_u64(),
    };
    let seconds = seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    Duration::from_secs(seconds.unwrap_or(MAX_SECONDS))
}

/// Returns the time for which a token is used.
fn usable_for(valid_for: Duration) -> Duration {
    (valid_for / 2).max(valid_for.saturating_sub(REFRESH_MARGIN))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_replaced_a_minute_before_it_expires_or_after_half_its_life() {
        for (expires_in, usable) in [
            (json!(900), 840_000),
            (json!(600), 540_000),
            (json!("600"), 540_000),
            (json!(121), 61_000),
            (json!(120), 60_000),
            (json!(60), 30_000),
            (json!(1), 500),
        ] {
            let usable_for = usable_for(valid_for(&expires_in));

            assert_eq!(usable_for.as_millis(), usable, "{expires_in}");
        }
    }

    #[test]
    fn a_token_without_a_plausible_lifetime_is_valid_for_the_requested_time() {
        for expires_in in [
            Value::Null,
            json!(0),
            json!(-1),
            json!(901),
            json!(u64::MAX),
            json!(1.5),
            json!("soon"),
            json!({}),
        ] {
            assert_eq!(valid_for(&expires_in).as_secs(), 900, "{expires_in}");
        }
    }
}
