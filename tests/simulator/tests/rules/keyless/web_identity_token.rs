//! `GetWebIdentityToken`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use simulator::{
    Authentication, FUNCTION_ARN, Fault, Federation, ROLE_ARN, Service, TOKEN_AUDIENCE,
    TOKEN_ISSUER, USER_ACCESS_KEY_ID,
};

use super::{FORM, Keyless, SIGNED, decode, element, parameters};
use crate::now;

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
#[tokio::test]
async fn a_web_identity_token_has_the_claims_of_the_functions_role() {
    let keyless = Keyless::new().await;

    let (status, head, body) = keyless
        .sts(&[FORM, SIGNED], &parameters(TOKEN_AUDIENCE))
        .await;

    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/xml"), "{head}");
    assert!(head.contains("x-amzn-requestid: "), "{head}");
    assert!(body.starts_with(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
    ));
    let parts: Vec<&str> = element(&body, "WebIdentityToken").split('.').collect();
    let [header, claims, signature] = parts.try_into().unwrap();
    let expected = json!({ "kid": "EC384_0", "typ": "JWT", "alg": "ES384" });
    assert_eq!(decode(header), expected);
    assert_eq!(URL_SAFE_NO_PAD.decode(signature).unwrap().len(), 96);
    let claims = decode(claims);
    assert_eq!(claims["iss"], TOKEN_ISSUER);
    assert_eq!(claims["sub"], ROLE_ARN);
    assert_eq!(claims["aud"], TOKEN_AUDIENCE);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 36);
    let (iat, exp) = (
        claims["iat"].as_f64().unwrap(),
        claims["exp"].as_f64().unwrap(),
    );
    assert!((iat - now()).abs() < 5.0 && (exp - iat - 300.0).abs() < 0.1);
    let aws = &claims["https://sts.amazonaws.com/"];
    assert_eq!(aws["aws_account"], "123456789012");
    assert_eq!(aws["source_region"], "eu-west-1");
    assert_eq!(aws["principal_id"], ROLE_ARN);
    assert_eq!(aws["lambda_source_function_arn"], FUNCTION_ARN);
    let expiration = element(&body, "Expiration");
    assert_eq!(expiration.len(), "2026-09-11T18:36:46.507Z".len());
    let is_after = |seconds| expiration.starts_with(&simulator::timestamp(seconds)[..19]);
    assert!((295..=300).any(is_after), "{expiration}");
}

#[tokio::test]
async fn the_duration_is_300_seconds_by_default_and_the_algorithm_may_be_rs256() {
    let keyless = Keyless::new().await;
    let parameters = parameters(TOKEN_AUDIENCE)
        .replace("&DurationSeconds=300", "")
        .replace("ES384", "RS256");

    let (_, _, body) = keyless.sts(&[FORM, SIGNED], &parameters).await;

    let parts: Vec<&str> = element(&body, "WebIdentityToken").split('.').collect();
    let expected = json!({ "kid": "RSA_0", "typ": "JWT", "alg": "RS256" });
    assert_eq!(decode(parts[0]), expected);
    let claims = decode(parts[1]);
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        300
    );
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 256);
}

#[tokio::test]
async fn web_identity_tokens_are_distinct_and_their_signatures_are_canaries() {
    let keyless = Keyless::new().await;

    let tokens = [
        keyless.web_identity_token().await,
        keyless.web_identity_token().await,
    ];

    assert_ne!(tokens[0], tokens[1]);
    let canaries = keyless.world.simulator.canaries();
    for token in tokens {
        let parts: Vec<&str> = token.split('.').collect();
        assert!(canaries.contains(&parts[2].to_owned()));
        // The header and the claims are not secret.
        assert!(!canaries.contains(&parts[0].to_owned()));
        assert!(!canaries.contains(&parts[1].to_owned()));
    }
}

#[tokio::test]
async fn the_log_names_the_operation_and_the_authentication() {
    let keyless = Keyless::new().await;

    keyless.web_identity_token().await;

    let state = keyless.world.simulator.state();
    let request = state.requests.last().unwrap();
    assert_eq!(request.name(), "GetWebIdentityToken");
    assert_eq!(request.service, Service::Sts);
    assert_eq!(request.authentication, Authentication::SigV4);
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
#[tokio::test]
async fn federation_is_checked_after_permission_and_parameters() {
    let keyless = Keyless::new().await;
    let valid = parameters(TOKEN_AUDIENCE);
    let invalid = valid.replace("ES384", "ES256");
    let code = async |denied: bool, federation: Federation, parameters: &str| {
        {
            let mut state = keyless.world.simulator.state();
            state.controls.denies_web_identity_tokens = denied;
            state.controls.federation = federation;
        }
        let (status, head, body) = keyless.sts(&[FORM, SIGNED], parameters).await;
        assert!(head.contains("content-type: text/xml"), "{head}");
        let message = element(&body, "Message").to_owned();
        (status, element(&body, "Code").to_owned(), message)
    };

    let disabled = code(false, Federation::Disabled, &valid).await;
    let denied = code(true, Federation::Disabled, &valid).await;
    let rejected = code(false, Federation::Disabled, &invalid).await;

    assert_eq!(disabled.0, 403);
    assert_eq!(disabled.1, "OutboundWebIdentityFederationDisabledException");
    assert_eq!(disabled.2, "OutboundWebIdentityFederation is disabled.");
    assert_eq!((denied.0, denied.1.as_str()), (403, "AccessDenied"));
    assert_eq!(
        denied.2,
        "User: arn:aws:sts::123456789012:assumed-role/confluent-key-rotation-FunctionRole-1ABCDEFGHIJKL/rotation \
         is not authorized to perform: sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self because \
         no identity-based policy allows the sts:GetWebIdentityToken action"
    );
    assert_eq!((rejected.0, rejected.1.as_str()), (400, "ValidationError"));
    keyless.world.assert_violation("SigningAlgorithm");
}

#[tokio::test]
async fn faults_have_the_format_of_the_query_protocol() {
    let keyless = Keyless::new().await;
    for (fault, status, code) in [
        (Fault::TooManyRequests, 400, "Throttling"),
        (Fault::InternalError, 500, "InternalFailure"),
    ] {
        keyless.world.simulator.clear_requests();
        keyless.world.simulator.fail(0, fault);

        let response = keyless
            .sts(&[FORM, SIGNED], &parameters(TOKEN_AUDIENCE))
            .await;

        assert_eq!((response.0, element(&response.2, "Code")), (status, code));
    }
}

#[tokio::test]
async fn a_web_identity_token_that_the_function_does_not_need_is_a_violation() {
    let keyless = Keyless::new().await;
    let parameters = parameters(TOKEN_AUDIENCE);
    let added = |parameter: &str| format!("{parameters}&{parameter}");
    let seconds = |seconds: &str| parameters.replace("=300", &format!("={seconds}"));
    for (body, violation) in [
        (added("Tags.member.1.Key=team"), "tags"),
        (added("Audience.member.2=other"), "more than one audience"),
        (added("SubjectMode=OriginIdentity"), "unknown parameter"),
        (added("DurationSeconds=300"), "repeated parameter"),
        (seconds("59"), "DurationSeconds"),
        (seconds("301"), "longer than 300 s"),
        (seconds("3601"), "DurationSeconds"),
        (seconds("soon"), "DurationSeconds"),
        (parameters.replace("ES384", "es384"), "SigningAlgorithm"),
        (
            parameters.replace("&SigningAlgorithm=ES384", ""),
            "SigningAlgorithm",
        ),
        (
            parameters.replace("https%3A%2F%2Fconfluent.cloud%2Foidc", ""),
            "Audience",
        ),
        (
            parameters.replace("2011-06-15", "2011-06-16"),
            "an operation",
        ),
        (
            parameters.replace("GetWebIdentityToken", "GetCallerIdentity"),
            "an operation",
        ),
    ] {
        let (status, _, _) = keyless.sts(&[FORM, SIGNED], &body).await;

        assert!(status >= 400, "{body}");
        keyless.world.assert_violation(violation);
    }
}

#[tokio::test]
async fn a_request_that_is_not_the_functions_is_a_violation() {
    let keyless = Keyless::new().await;
    let body = parameters(TOKEN_AUDIENCE);
    let other = SIGNED.replace("/sts/", "/secretsmanager/");
    let user = SIGNED.replace("AKID", USER_ACCESS_KEY_ID);
    for (headers, violation) in [
        (vec![FORM], "not signed"),
        (vec![FORM, other.as_str()], "not signed"),
        (vec![FORM, user.as_str()], "a user's credentials"),
        (
            vec![SIGNED, "content-type: application/json"],
            "the content type",
        ),
    ] {
        let (status, _, _) = keyless.sts(&headers, &body).await;

        assert_eq!(status, 500, "{violation}");
        keyless.world.assert_violation(violation);
    }
}

#[tokio::test]
async fn a_web_identity_token_expires() {
    let keyless = Keyless::new().await;
    let token = keyless.web_identity_token().await;

    keyless.world.simulator.pass(Duration::from_secs(301));

    let (status, body) = keyless.exchange(&token).await;
    assert_eq!(status, 401);
    assert_eq!(body["errors"][0]["code"], "JWT_PROCESSING_FAILED");
}
