//! Messages in keyless mode: about the web identity token, the token exchange and the access token.

use simulator::{Authentication, Federation};

use super::*;

const TOKEN: &str = "GetWebIdentityToken";
const EXCHANGE: &str = "POST /sts/v1/oauth2/token";

const KEYLESS: Case = Case {
    mode: Mode::Keyless,
    ..CASE
};

/// Sends `response` to all requests with this name.
fn always(world: &World, name: &'static str, response: Response) {
    respond(world, move |request| request.name() == name, response);
}

/// Denies a web identity token with a message of AWS about the policy.
fn deny(world: &World, reason: &str) {
    let role = "arn:aws:sts::123456789012:assumed-role/rotation/rotation";
    let action = "sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self";
    let message = format!("User: {role} is not authorized to perform: {action} {reason}");
    always(
        world,
        TOKEN,
        Response::aws_sts_error(403, "AccessDenied", &message),
    );
}

fn has_token(request: &Request) -> bool {
    request.authentication == Authentication::Bearer
}

const CASES: &[Case] = &[
    Case {
        name: "IAM outbound identity federation is turned off",
        arrange: |world| world.simulator.state().controls.federation = Federation::Disabled,
        error: "FederationDisabled",
        message: "IAM outbound identity federation is turned off in the AWS account: AWS STS returned \
                  OutboundWebIdentityFederationDisabledException, OutboundWebIdentityFederation is disabled. (request \
                  ID ID). Turn it on, once per account: aws iam enable-outbound-web-identity-federation. Then register \
                  the issuer that this prints as an identity provider in Confluent Cloud",
        ..KEYLESS
    },
    Case {
        name: "the role may not request a token",
        arrange: |world| world.simulator.state().controls.denies_web_identity_tokens = true,
        error: "TokenDenied",
        message: "AWS denied the function's role a web identity token: AWS STS returned AccessDenied, User: \
                  arn:aws:sts::123456789012:assumed-role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL/rotation is \
                  not authorized to perform: sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self \
                  because no identity-based policy allows the sts:GetWebIdentityToken action (request ID ID). Allow \
                  sts:GetWebIdentityToken for TOKEN_AUDIENCE, TOKEN_SIGNING_ALGORITHM and 300 seconds: the role in the \
                  template has this permission. Check the role's permissions boundary, service control policies, and \
                  the policy of the VPC endpoint of AWS STS. IAM outbound identity federation may be turned off, too",
        ..KEYLESS
    },
    Case {
        name: "a service control policy denies the token",
        arrange: |world| deny(world, "with an explicit deny in a service control policy"),
        error: "TokenDenied",
        message: "AWS denied the function's role a web identity token: AWS STS returned AccessDenied, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/rotation is not authorized to perform: \
                  sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self with an explicit deny in a \
                  service control policy (request ID ID). Change the service control policy to allow it",
        ..KEYLESS
    },
    Case {
        name: "a permissions boundary denies the token",
        arrange: |world| {
            deny(
                world,
                "because no permissions boundary allows the sts:GetWebIdentityToken action",
            );
        },
        error: "TokenDenied",
        message: "AWS denied the function's role a web identity token: AWS STS returned AccessDenied, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/rotation is not authorized to perform: \
                  sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self because no permissions boundary \
                  allows the sts:GetWebIdentityToken action (request ID ID). Change the role's permissions boundary to \
                  allow it",
        ..KEYLESS
    },
    Case {
        name: "the policy of a VPC endpoint denies the token",
        arrange: |world| {
            deny(
                world,
                "because no VPC endpoint policy allows the sts:GetWebIdentityToken action",
            );
        },
        error: "TokenDenied",
        message: "AWS denied the function's role a web identity token: AWS STS returned AccessDenied, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/rotation is not authorized to perform: \
                  sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self because no VPC endpoint policy \
                  allows the sts:GetWebIdentityToken action (request ID ID). Change the VPC endpoint's policy to allow \
                  it",
        ..KEYLESS
    },
    Case {
        name: "AWS_ENDPOINT_URL_STS is the global endpoint",
        arrange: |world| {
            let message = "Operation not supported on STS global endpoint";
            always(
                world,
                TOKEN,
                Response::aws_sts_error(400, "InvalidAction", message),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned InvalidAction, Operation not supported \
                  on STS global endpoint (request ID ID). Remove AWS_ENDPOINT_URL_STS, or set it to the endpoint of \
                  the function's Region, https://sts.REGION.amazonaws.com",
        ..KEYLESS
    },
    Case {
        name: "AWS STS throttles the request",
        arrange: |world| {
            always(
                world,
                TOKEN,
                Response::aws_sts_error(400, "Throttling", "Rate exceeded"),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned Throttling, Rate exceeded (request ID \
                  ID). If this persists, schedule the rotations at different times",
        ..KEYLESS
    },
    Case {
        name: "AWS STS fails",
        arrange: |world| {
            always(
                world,
                TOKEN,
                Response::aws_sts_error(500, "InternalFailure", "It failed."),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned InternalFailure, It failed. (request ID \
                  ID). If this persists, see https://health.aws.amazon.com. It may occur for seconds after outbound \
                  identity federation was turned on or off",
        ..KEYLESS
    },
    Case {
        name: "the role's credentials expire before the token",
        arrange: |world| {
            let message =
                "Requested token expiry time must be before the original session's expiry time.";
            let code = "SessionDurationEscalationException";
            always(world, TOKEN, Response::aws_sts_error(403, code, message));
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned SessionDurationEscalationException, \
                  Requested token expiry time must be before the original session's expiry time. (request ID ID). \
                  Retry: Lambda renews the credentials of the function's role",
        ..KEYLESS
    },
    Case {
        name: "the role has too many tags",
        arrange: |world| {
            let code = "JWTPayloadSizeExceededException";
            always(
                world,
                TOKEN,
                Response::aws_sts_error(400, code, "The payload is too large."),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned JWTPayloadSizeExceededException, The \
                  payload is too large. (request ID ID). Reduce the number of tags of the function's role",
        ..KEYLESS
    },
    Case {
        name: "the Region does not support the algorithm",
        arrange: |world| {
            let message = "Requested SigningAlgorithm is not supported";
            always(
                world,
                TOKEN,
                Response::aws_sts_error(400, "ValidationError", message),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned ValidationError, Requested \
                  SigningAlgorithm is not supported (request ID ID). Correct TOKEN_AUDIENCE and \
                  TOKEN_SIGNING_ALGORITHM",
        ..KEYLESS
    },
    Case {
        name: "a proxy responds instead of AWS STS",
        arrange: |world| {
            always(
                world,
                TOKEN,
                Response::new(403, "text/html", "<html>Denied</html>"),
            );
        },
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: AWS STS returned HTTP 403 without an error code, no message. A \
                  proxy or a firewall probably responded: check HTTPS_PROXY, NO_PROXY and AWS_ENDPOINT_URL_STS",
        ..KEYLESS
    },
    Case {
        name: "the response of AWS STS is not XML",
        arrange: |world| always(world, TOKEN, Response::new(200, "text/xml", "{}")),
        error: "TokenNotIssued",
        message: "AWS STS did not issue a web identity token: GetWebIdentityToken did not complete: the response (HTTP \
                  200) could not be parsed. If this persists, check the network path to AWS STS: its VPC endpoint or \
                  NAT, security groups, HTTPS_PROXY and AWS_ENDPOINT_URL_STS",
        ..KEYLESS
    },
    Case {
        name: "the pool's filter does not match",
        arrange: |world| world.simulator.state().controls.pool_filter_mismatch = true,
        error: "TokenExchangeRejected",
        message: "the web identity token (issuer \
                  https://0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.tokens.sts.global.api.aws, subject \
                  arn:aws:iam::123456789012:role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL, audience \
                  https://confluent.cloud/oidc) was not exchanged for an access token: Confluent Cloud denied identity \
                  pool POOL permission to exchange the web identity token: HTTP 403, code forbidden_access, Forbidden \
                  Access (request ID ID). Compare the identity provider's issuer and JWKS URI with this issuer, the \
                  filter of the identity pool with this subject and audience, and IDENTITY_POOL_ID with the pool's ID. \
                  If they match, set TOKEN_SIGNING_ALGORITHM to RS256",
        ..KEYLESS
    },
    Case {
        name: "the identity pool does not exist",
        arrange: |world| world.simulator.state().identity_pools.clear(),
        error: "TokenExchangeRejected",
        message: "the web identity token (issuer \
                  https://0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.tokens.sts.global.api.aws, subject \
                  arn:aws:iam::123456789012:role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL, audience \
                  https://confluent.cloud/oidc) was not exchanged for an access token: Confluent Cloud rejected a \
                  request from identity pool POOL to exchange the web identity token: HTTP 404, code \
                  resource_not_found, identity pool POOL was not found (request ID ID). Compare the identity \
                  provider's issuer and JWKS URI with this issuer, the filter of the identity pool with this subject \
                  and audience, and IDENTITY_POOL_ID with the pool's ID. If they match, set \
                  TOKEN_SIGNING_ALGORITHM to RS256",
        ..KEYLESS
    },
    Case {
        name: "a firewall blocks the exchange",
        arrange: |world| {
            always(
                world,
                EXCHANGE,
                Response::new(403, "text/html", "<html>Denied</html>"),
            );
        },
        error: "TokenExchangeRejected",
        message: "the web identity token (issuer \
                  https://0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.tokens.sts.global.api.aws, subject \
                  arn:aws:iam::123456789012:role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL, audience \
                  https://confluent.cloud/oidc) was not exchanged for an access token: a proxy, a firewall or an IP \
                  filter blocked a request from identity pool POOL to exchange the web identity token: HTTP 403, an \
                  HTML page (request ID ID). Check the proxy in HTTPS_PROXY with its user and password, firewalls, \
                  Confluent Cloud's IP filters, and CONFLUENT_API_URL",
        ..KEYLESS
    },
    Case {
        name: "a proxy redirects the exchange",
        arrange: |world| {
            let response =
                Response::empty(302).with_header("location", "https://login.example.com");
            always(world, EXCHANGE, response);
        },
        error: "TokenExchangeRejected",
        message: "the web identity token (issuer \
                  https://0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d.tokens.sts.global.api.aws, subject \
                  arn:aws:iam::123456789012:role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL, audience \
                  https://confluent.cloud/oidc) was not exchanged for an access token: a proxy or a firewall responded \
                  to a request from identity pool POOL to exchange the web identity token: HTTP 302 (request ID ID). \
                  Check the proxy in HTTPS_PROXY with its user and password, firewalls, Confluent Cloud's IP filters, \
                  and CONFLUENT_API_URL",
        ..KEYLESS
    },
    Case {
        name: "the exchange returns no token",
        arrange: |world| {
            always(
                world,
                EXCHANGE,
                Response::json(200, &json!({"token_type": "Bearer"})),
            );
        },
        error: "TokenResponseInvalid",
        message: "the response to the token exchange contains no valid access token: Confluent Cloud returned an \
                  invalid response to a request to exchange the web identity token: it cannot be parsed at line 1, \
                  column 23. If this persists, see https://status.confluent.cloud",
        ..KEYLESS
    },
    Case {
        name: "a proxy responds to the exchange with a page",
        arrange: |world| {
            always(
                world,
                EXCHANGE,
                Response::new(200, "text/html", "<html>Sign in</html>"),
            );
        },
        error: "TokenResponseInvalid",
        message: "the response to the token exchange contains no valid access token: a proxy or a firewall responded \
                  to a request from identity pool POOL to exchange the web identity token: HTTP 200, an HTML page \
                  (request ID ID). If this persists, check the proxy in HTTPS_PROXY, firewalls and CONFLUENT_API_URL",
        ..KEYLESS
    },
    Case {
        name: "the exchange fails",
        arrange: |world| always(world, EXCHANGE, Response::empty(500)),
        error: "ConfluentUnavailable",
        message: "Confluent Cloud failed to exchange the web identity token: HTTP 500 (request ID ID). If this \
                  persists, see https://status.confluent.cloud",
        ..KEYLESS
    },
    Case {
        name: "the control plane rejects every access token",
        arrange: |world| {
            respond(
                world,
                has_token,
                Response::confluent_error(401, None, "Unauthorized", "no"),
            );
        },
        error: "ConfluentUnauthenticated",
        message: "Confluent Cloud rejected identity pool POOL in a request to list the owner's API keys: HTTP 401, no \
                  (request ID ID). Check that the identity pool belongs to the organization of the secret's keys. If \
                  it does, this API may not accept access tokens: use an admin secret",
        ..KEYLESS
    },
    Case {
        name: "the control plane expects a Cloud API key",
        arrange: |world| {
            let detail =
                "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key";
            respond(
                world,
                has_token,
                Response::confluent_error(401, None, "Unauthorized", detail),
            );
        },
        error: "ConfluentUnauthenticated",
        message: "Confluent Cloud rejected identity pool POOL in a request to list the owner's API keys: HTTP 401, \
                  invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key (request ID ID). \
                  Check that the identity pool belongs to the organization of the secret's keys. If it does, this API \
                  may not accept access tokens: use an admin secret",
        ..KEYLESS
    },
    Case {
        name: "the pool may not create keys",
        arrange: |world| respond(world, creates_a_key, Response::confluent_forbidden()),
        error: "ConfluentForbidden",
        message: "Confluent Cloud denied identity pool POOL permission to create an API key: HTTP 403, code \
                  forbidden_access, Forbidden Access (request ID ID). Check that serviceAccountId is correct and that \
                  it and the key exist. Only if so, grant the identity pool ResourceOwner on this service account \
                  (principal User:pool-…)",
        ..KEYLESS
    },
    Case {
        name: "the pool has no role",
        arrange: |world| world.simulator.add_owner(&world.identity_pool(), &[]),
        error: "CurrentKeyNotOfOwner",
        message: "could not confirm that the current key CURRENT is an API key of sa-orders: Confluent Cloud shows \
                  neither this key nor any key of this owner to the management credentials: they have no role for this \
                  owner, or the key has another owner or was deleted. Look up the key's owner in Confluent Cloud. If \
                  it is another one, correct serviceAccountId. If it is this one, grant the management credentials' \
                  owner, or the identity pool, ResourceOwner on this service account",
        ..KEYLESS
    },
    Case {
        name: "the secret names an admin secret",
        arrange: |world| {
            let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin-AbCdEf";
            world.change_value(|value| value["adminSecretArn"] = json!(arn));
        },
        error: "AdminSecretConflict",
        message: "IDENTITY_POOL_ID is set, but adminSecretArn or masterarn in the secret names an admin secret. Remove \
                  it: the function authenticates with its identity pool. To use an admin secret for this secret, rotate \
                  it with another function",
        ..KEYLESS
    },
];

#[tokio::test]
async fn a_message_about_a_token_says_what_to_do() {
    assert_messages(CASES).await;
}
