//! Checks of the tokens in keyless mode. If the exchange fails, they show what the pool's filter must contain.

use std::sync::Arc;

use super::report::{Finding, Report};
use crate::confluent::AccessToken;
use crate::error::{Error, TokenError};
use crate::http::Deadline;
use crate::keys::access_tokens::{AccessTokens, Failure, Obtained};
use crate::web_identity::Claims;

/// Checks that AWS STS issues a web identity token, and that Confluent Cloud exchanges it. Returns whether both succeeded.
pub(super) async fn check(
    tokens: &AccessTokens<'_>,
    deadline: Deadline,
    report: &mut Report,
) -> bool {
    let (claims, exchange) = match tokens.get(deadline).await {
        Ok(Obtained { token, claims }) => {
            let finding = Finding::ok(exchanged(&token, claims.as_ref()));
            (claims, Ok(((), finding)))
        }
        Err(Failure::NotIssued(error)) => {
            report.add_result::<()>("web-identity-token", Err(Error::Token(error).into()));
            return false;
        }
        Err(Failure::NotExchanged(claims, error)) => {
            let finding = not_exchanged(claims.as_ref(), error);
            (claims, Err(finding))
        }
    };
    report.add("web-identity-token", issued(claims.as_ref()));
    report.add_result("token-exchange", exchange).is_some()
}

fn issued(claims: Option<&Claims>) -> Finding {
    match claims {
        None => Finding::ok("AWS STS issues a token, whose claims could not be read"),
        Some(claims) if claims.is_role() => {
            Finding::ok(format!("AWS STS issues a token: {claims}"))
        }
        Some(claims) => {
            let observed = format!("the subject is not the ARN of an IAM role: {claims}");
            let remedy = "Run the function with a role: a filter for another subject may accept other principals";
            Finding::warning(observed, remedy)
        }
    }
}

fn exchanged(token: &AccessToken, claims: Option<&Claims>) -> String {
    let (pool, seconds) = (&token.identity_pool_id, token.valid_for.as_secs());
    let valid = format!("{pool} issues access tokens that are valid for {seconds} s");
    let filter = claims.map(|claims| {
        let filter = claims.filter();
        format!("; preflight cannot see the pool's filter: check that it is {filter}")
    });
    valid + &filter.unwrap_or_default()
}

/// Adds to the error what the identity provider and the pool must contain.
fn not_exchanged(claims: Option<&Claims>, error: Arc<TokenError>) -> Finding {
    let is_rejected = matches!(*error, TokenError::TokenExchangeRejected { .. });
    let finding = Finding::from(Error::Token(error));
    let Some(claims) = claims.filter(|_| is_rejected) else {
        return finding;
    };
    let (observed, filter) = (&finding.observed, claims.filter());
    let issuer = claims.issuer.trim_end_matches('/');
    Finding {
        observed: format!(
            "{observed}. Filter of the pool: {filter}. JWKS URI of the provider: {issuer}/.well-known/jwks.json"
        ),
        ..finding
    }
}
