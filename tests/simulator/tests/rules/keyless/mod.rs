//! Keyless mode: web identity tokens, the token exchange, and access tokens.

mod access_token;
mod token_exchange;
mod web_identity_token;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use simulator::{Role, TOKEN_AUDIENCE};

use crate::{OWNER, World, send};

const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/sts/aws4_request, \
                      SignedHeaders=host, Signature=00\r\nx-amz-date: 20260101T000000Z";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// A world with an identity pool, which may rotate the secret.
struct Keyless {
    world: World,
    pool: String,
}

/// A status, the head in lowercase, and a body.
type Reply = (u16, String, String);

impl Keyless {
    async fn new() -> Self {
        let world = World::new().await;
        let roles = [Role::ResourceOwnerOf(OWNER.into()), Role::Operator];
        let pool = world.simulator.add_identity_pool(&roles);
        Self { world, pool }
    }

    /// Sends a request to AWS STS.
    async fn sts(&self, headers: &[&str], body: &str) -> Reply {
        let head = format!("POST / HTTP/1.1\r\n{}", headers.join("\r\n"));
        let url = self.world.simulator.sts_url();
        send(&url, &head, body).await.unwrap()
    }

    async fn web_identity_token(&self) -> String {
        self.web_identity_token_for(TOKEN_AUDIENCE).await
    }

    async fn web_identity_token_for(&self, audience: &str) -> String {
        let (status, _, body) = self.sts(&[FORM, SIGNED], &parameters(audience)).await;
        assert_eq!(status, 200, "{body}");
        element(&body, "WebIdentityToken").to_owned()
    }

    /// Returns the form of a token exchange.
    fn form(&self, web_identity_token: &str) -> String {
        let urn = "urn%3Aietf%3Aparams%3Aoauth";
        let pool = &self.pool;
        format!(
            "grant_type={urn}%3Agrant-type%3Atoken-exchange&subject_token={web_identity_token}\
             &subject_token_type={urn}%3Atoken-type%3Ajwt\
             &requested_token_type={urn}%3Atoken-type%3Aaccess_token&identity_pool_id={pool}&expires_in=900"
        )
    }

    async fn send_form(&self, headers: &[&str], body: &str) -> (u16, Value) {
        let headers = headers.join("\r\n");
        let head = format!("POST /sts/v1/oauth2/token HTTP/1.1\r\n{headers}");
        let url = self.world.simulator.confluent_url();
        let (status, _, body) = send(&url, &head, body).await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Exchanges a web identity token.
    async fn exchange(&self, web_identity_token: &str) -> (u16, Value) {
        self.send_form(&[FORM], &self.form(web_identity_token))
            .await
    }

    async fn access_token(&self) -> String {
        let (status, body) = self.exchange(&self.web_identity_token().await).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// Sends a request with a bearer token to the control plane.
    async fn bearer(&self, request: &str, token: &str) -> (u16, Value) {
        let url = self.world.simulator.confluent_url();
        let head = format!("{request} HTTP/1.1\r\nauthorization: Bearer {token}");
        let (status, _, body) = send(&url, &head, "").await.unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// Returns the parameters of `GetWebIdentityToken`, as the AWS SDK for Rust sends them.
fn parameters(audience: &str) -> String {
    let audience = audience.replace(':', "%3A").replace('/', "%2F");
    format!(
        "Action=GetWebIdentityToken&Version=2011-06-15&Audience.member.1={audience}&DurationSeconds=300\
         &SigningAlgorithm=ES384"
    )
}

/// Returns the content of an XML element.
fn element<'a>(body: &'a str, name: &str) -> &'a str {
    let (_, rest) = body.split_once(&format!("<{name}>")).unwrap();
    rest.split_once(&format!("</{name}>")).unwrap().0
}

/// Decodes a part of a JWT.
fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn list() -> String {
    format!("GET /iam/v2/api-keys?spec.owner={OWNER}")
}
