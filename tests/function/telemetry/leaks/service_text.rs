//! The text of a service: credentials are removed from it in any encoding, and real error messages are not changed.

use aws_smithy_types::base64;
use confluent_key_rotation::http::printable;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::generated::for_each;

/// As many characters of a credential must not be printed in sequence.
const MIN_LEAK: usize = 20;

/// Messages and codes of AWS and Confluent Cloud, with their sources.
const MESSAGES: [&str; 72] = [
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/orders/kafka-AbCdEf because no identity-based policy allows the secretsmanager:GetSecretValue action",
    "User: arn:aws:sts::123456789012:assumed-role/confluent-key-rotation-RotationFunctionRole-1A2B3C4D5E6F7/confluent-key-rotation-RotationFunction-AbCdEfGhIjKl is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab because no resource-based policy allows the kms:Decrypt action",
    "User: arn:aws:sts::123456789012:assumed-role/MyRole-1ABCDEFGHIJKL/my-function-AbCdEfGhIjKl is not authorized to perform: secretsmanager:UpdateSecretVersionStage on resource: arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:orders-2jm5Pa with an explicit deny in an identity-based policy",
    "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab because no VPC endpoint policy allows the kms:GenerateDataKey action",
    "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: secretsmanager:PutSecretValue because no permissions boundary allows the secretsmanager:PutSecretValue action",
    "User: arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_AdministratorAccess_1a2b3c4d5e6f7a8b/jane@example.com is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab with an explicit deny in a resource-based policy",
    "User: arn:aws:iam::123456789012:user/JohnDoe is not authorized to perform: secretsmanager:DescribeSecret on resource: my-secret because no service control policy allows the secretsmanager:DescribeSecret action",
    "User: arn:aws:sts::111122223333:assumed-role/rotator/i-0123456789abcdef0 is not authorized to perform: secretsmanager:GetSecretValue with an explicit deny in a VPC endpoint policy",
    "User: arn:aws:sts::123456789012:assumed-role/orders-RotationFunctionRole-1XJ4K2LPQ9ZT/orders-RotationFunction-Zx81kLmNoPqR is not authorized to perform: kms:GenerateDataKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
    "Access to KMS is not allowed. This version of secret is not encrypted with the current KMS key. (Service: AWSSecretsManager; Status Code: 400; Error Code: AccessDeniedException; Request ID: 332c0e26-bdf4-4cc0-add0-805f2acf50e5)",
    "1 validation error detected: Value 'x' at 'clientRequestToken' failed to satisfy constraint: Member must have length greater than or equal to 32",
    "Pending secret version 1234abcd-12ab-34cd-56ef-1234567890ab for Secret arn:aws:secretsmanager:us-east-1:123456789012:secret:orders-AbCdEf was not created by Lambda arn:aws:lambda:us-east-1:123456789012:function:rotation. Remove the AWSPENDING staging label and restart rotation",
    // https://github.com/mongodb/awscdk-resources-mongodbatlas/issues/207
    "User: arn:aws:sts::903779448426:assumed-role/MongoDB-Atlas-CDK-Excecution/8ce94db6-f347-1447-0e88-762666244885 is not authorized to perform: secretsmanager:GetSecretValue on resource: cfn/atlas/profile/development because no identity-based policy allows the secretsmanager:GetSecretValue action status code: 400, request id: 332c0e26-bdf4-4cc0-add0-805f2acf50e5",
    // https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
    "User: arn:aws:sts::123456789012:assumed-role/ROLE/SESSION is not authorized to perform: sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self because no identity-based policy allows the sts:GetWebIdentityToken action",
    "OutboundWebIdentityFederation is disabled.",
    "OutboundWebIdentityFederationDisabledException",
    "GetWebIdentityToken does not support federated user sessions",
    "Requested token expiry time must be before the original session's expiry time.",
    "SessionDurationEscalationException",
    "JWTPayloadSizeExceededException",
    "Operation not supported on STS global endpoint",
    "Requested SigningAlgorithm is not supported...",
    // https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html
    "Access to KMS is not allowed",
    "A previous rotation isn't complete. That rotation will be reattempted.",
    // https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.",
    "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab is disabled.",
    // https://github.com/aws/aws-sdk-js-v3/issues/7701
    "Secrets Manager can't find the specified secret value for staging label: AWSPENDING",
    "Secrets Manager can't find the specified secret.",
    // https://github.com/getmoto/moto/tree/master/tests/test_secretsmanager
    "You can't use ClientRequestToken 1234abcd-12ab-34cd-56ef-1234567890ab because that value is already in use for a version of secret arn:aws:secretsmanager:us-east-1:123456789012:secret:orders-AbCdEf.",
    "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version 1234abcd-12ab-34cd-56ef-1234567890ab, so you must explicitly reference that version in RemoveFromVersionId.",
    "You provided a VersionStage that is not associated to the provided VersionId.",
    // https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
    "Signature expired: 20250101T000000Z is now earlier than 20250101T000500Z (20250101T001000Z - 5 min.)",
    "The security token included in the request is invalid.",
    "AccessDeniedException",
    "DecryptionFailure",
    "IncompleteSignature",
    "InternalServiceError",
    "MalformedHttpRequestException",
    "MalformedPolicyDocumentException",
    "PreconditionNotMetException",
    "RequestEntityTooLargeException",
    "ServiceUnavailable",
    "ThrottlingException",
    "Rate exceeded",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "An error occurred on the server side.",
    // https://github.com/confluentinc/terraform-provider-confluent/issues/433
    "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key: https://docs.confluent.io/cloud/current/api.html#section/Authentication",
    // https://docs.confluent.io/cloud/current/api.html
    "Valid authentication credentials must be provided",
    "The 'delorean' resource can't be filtered by 'num_doors'",
    "The user 'mcfly' is not allowed to access the 'delorean' resource without the 'plutonium' role.",
    "The DeLorean has run out of gas, but Doc Brown will fill 'er up for you asap",
    "The entitlement '91e3e86f-fca6-4f14-98f5-a48e64113ce2' already exists.",
    "The property '/cluster/storage_size' of type string did not match the following type: integer",
    "The request would exceed the quota: kafka_clusters_per_environment",
    "service_account_not_found",
    "insufficient_permissions",
    // https://github.com/confluentinc/cli/blob/main/pkg/errors/catcher.go
    "Your service account sa-abc123 is currently limited to 10 API keys.",
    // https://github.com/confluentinc/terraform-provider-confluent/tree/master/internal/testdata/apikey
    "The API Key (id=ABCDEFGH12345678) does not exist",
    // https://docs.confluent.io/cloud/current/security/access-control/ip-filtering/overview.html
    "Access from IP address 192.168.100.200 is denied by the IP filter of the organization",
    // https://docs.confluent.io/cloud/current/api.html#section/Identifiers-and-URLs
    "crn://confluent.cloud/organization=9bb441c4-edef-46ac-8a41-c49e44a3fd9a/environment=env-abc123/cloud-cluster=lkc-abc123/kafka=lkc-abc123",
    "crn://confluent.cloud/organization=9bb441c4-edef-46ac-8a41-c49e44a3fd9a/identity-provider=op-4xq/identity-pool=pool-mP2Q",
    "https://sts.eu-central-1.amazonaws.com",
    "https://api.confluent.cloud/sts/v1/oauth2/token",
    "vpce-0123456789abcdef0-abcdefgh.secretsmanager.us-east-1.vpce.amazonaws.com",
    "lkc-2v531.domz6wj0p.us-west-1.aws.confluent.cloud:443",
    "https://api.confluent.cloud/iam/v2/api-keys/ABCDEFGH12345678",
    "/kafka/v3/clusters/lkc-abc123/topics",
    // https://docs.confluent.io/cloud/current/networking/overview.html
    "no route to pkc-4nmjv.us-east-2.aws.confluent.cloud:443",
    "no route to lkc-abc123-ap12345.eu-central-1.aws.accesspoint.glb.confluent.cloud:443",
    // https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting
    "The limit is 100 requests per 60 seconds for service account sa-abc123 in environment env-xyz987",
    "HTTP ERROR 401 Unauthorized",
];

#[test]
fn the_messages_of_services_are_printed_unchanged() {
    for message in MESSAGES {
        assert_eq!(printable(message), message);
    }
}

#[test]
fn a_printed_text_is_a_single_line_of_bounded_length() {
    let text = printable(&"a word\n".repeat(10_000));

    assert_eq!(text.chars().count(), 400);
    assert!(!text.contains('\n'), "{text}");
}

/// A UUID and the ID of a request consist of hexadecimal digits, too.
#[test]
fn groups_of_hexadecimal_digits_are_not_printed() {
    let digits = "63666c7443414e415259a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6".repeat(2);
    for group in [8, 10, 16, 18, 32] {
        for separator in [" ", ", ", "\n", "."] {
            let groups = digits.as_bytes().chunks(group).map(str::from_utf8);
            let groups: Result<Vec<&str>, _> = groups.collect();
            let echo = groups.unwrap().join(separator);

            let printed = printable(&format!("the body was {echo} and is invalid"));

            assert!(printed.contains("[removed]"), "{group}: {printed}");
            assert!(!printed.contains(&digits[..group]), "{group}: {printed}");
        }
    }
}

/// An encoding of a credential, character by character.
type Encode = fn(char) -> String;

/// Encodings that a service may apply to the request that it quotes.
const ENCODINGS: [Encode; 13] = [
    |c| c.to_string(),
    |c| url_encoded(c),
    |c| url_encoded(c).replace('%', "%25"),
    |c| format!("%{:02x}", u32::from(c)),
    |c| html_encoded(c),
    |c| html_encoded(c).replace('&', "&amp;"),
    |c| format!("&#x{:x};", u32::from(c)),
    |c| format!("&#{};", u32::from(c)),
    |c| format!("&amp;#{};", u32::from(c)),
    |c| json_encoded(c),
    |c| json_encoded(c).replace('\\', "\\\\"),
    |c| format!("\\u{:04X}", u32::from(c)),
    |c| json_encoded(c).replace('\\', "&#92;"),
];

fn url_encoded(c: char) -> String {
    url::form_urlencoded::byte_serialize(c.to_string().as_bytes()).collect()
}

fn html_encoded(c: char) -> String {
    match c {
        '+' => "&#43;".to_owned(),
        '/' => "&#x2F;".to_owned(),
        '=' => "&#61;".to_owned(),
        _ => c.to_string(),
    }
}

fn json_encoded(c: char) -> String {
    match c {
        '+' => "\\u002b".to_owned(),
        '/' => "\\/".to_owned(),
        _ => c.to_string(),
    }
}

/// Whitespace, and escapes of whitespace, that may split a credential.
const SEPARATORS: [&str; 15] = [
    " ", "\n", "\r\n    ", "\t", "\\n", "\\r\\n", "\\t", "\\\\n", "\\u000a", "%0A", "%20", "%250A",
    "&#10;", "&nbsp;", "\u{ad}",
];

/// Confluent's API secrets, and AWS's secret access keys, session tokens and `RotationToken`s, which may be the whole of a
/// longer text in base64.
fn credential() -> impl Strategy<Value = String> {
    let characters = |set: &'static str, length| {
        let character = select(set.chars().collect::<Vec<_>>());
        vec(character, length).prop_map(String::from_iter)
    };
    let alphanumeric = &BASE64[..62];
    let plain = prop_oneof![
        characters(BASE64, 60..=60).prop_map(|secret| format!("cflt{secret}")),
        characters(BASE64, 40..=40),
        characters(BASE64, 200..=400),
        characters(alphanumeric, 36..=64),
    ];
    // A credential that is shorter, or has fewer different characters, is not random anymore.
    let plain = plain.no_shrink().boxed();
    let base64_text = |(credential, offset): (String, usize)| {
        base64::encode(format!("{}{credential}", &"ID:"[..offset]))
    };
    let basic = |credential| base64::encode(format!("ABCDEFGH12345678:{credential}"));
    let credential = prop_oneof![
        3 => plain.clone(),
        1 => (plain.clone(), 0..=3_usize).prop_map(base64_text),
        1 => plain.prop_map(basic),
    ];
    let base64url = |credential: String| credential.replace('+', "-").replace('/', "_");
    (credential, any::<bool>()).prop_map(move |(credential, is_base64url)| {
        if is_base64url {
            base64url(credential)
        } else {
            credential
        }
    })
}

const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What surrounds a credential: sentences, and texts that make it look like something else.
const SURROUNDINGS: [(&str, &str); 14] = [
    ("", ""),
    ("invalid credentials: ", " were rejected"),
    ("the secret is '", "' and was not accepted"),
    ("https://api.confluent.cloud/iam/v2/", "/keys"),
    ("/iam/v2/api-keys/", "?page_size=1"),
    ("https://", ".eu-central-1.aws.confluent.cloud"),
    ("pkc-", ".confluent.cloud:443"),
    ("arn:aws:sts::123456789012:assumed-role/", "/function"),
    (
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
        "",
    ),
    ("SecretValueException", "Exception"),
    ("1234abcd-12ab-34cd-56ef-1234567890ab-", "-1234"),
    ("secret_", "_not_found"),
    ("secret", "rejected"),
    ("Authorization: Basic ", "\r\n"),
];

#[test]
fn a_credential_is_not_printed_in_any_encoding() {
    let encode = select(&ENCODINGS[..]);
    let surroundings = select(&SURROUNDINGS[..]);
    let input = (credential(), encode, surroundings, any::<Cut>());
    for_each(input, |(credential, encode, (before, after), cut)| {
        let echo: String = quoted(&credential, cut).chars().map(encode).collect();

        let printed = printable(&format!("{before}{echo}{after}"));

        assert_no_credential(&printed, &credential, encode);
    });
}

#[test]
fn a_credential_is_not_printed_in_pieces() {
    let encode = select(&ENCODINGS[..]);
    let separator = select(&SEPARATORS[..]);
    let pieces = prop_oneof![
        (1..=40_usize).prop_map(|length| vec![length]),
        vec(1..=19_usize, 1..20),
    ];
    let surroundings = select(&SURROUNDINGS[..3]);
    let input = (
        credential(),
        encode,
        separator,
        pieces,
        surroundings,
        any::<Cut>(),
    );
    for_each(
        input,
        |(credential, encode, separator, pieces, (before, after), cut)| {
            let (mut echo, mut rest) = (String::new(), quoted(&credential, cut));
            for length in pieces.iter().cycle() {
                let (piece, after) = rest.split_at((*length).min(rest.len()));
                echo.extend(piece.chars().map(encode));
                rest = after;
                if rest.is_empty() {
                    break;
                }
                echo += separator;
            }

            let printed = printable(&format!("{before}{echo}{after}"));

            assert_no_credential(&printed.replace(separator.trim(), ""), &credential, encode);
            assert_no_credential(&printed, &credential, encode);
        },
    );
}

/// The part of a credential that is quoted.
type Cut = Option<(Index, Index)>;

fn quoted(credential: &str, cut: Cut) -> &str {
    let Some((start, end)) = cut else {
        return credential;
    };
    let start = start.index(credential.len() - MIN_LEAK + 1);
    let rest = &credential[start..];
    &rest[..MIN_LEAK + end.index(rest.len() - MIN_LEAK + 1)]
}

/// Asserts that `printed` contains no 20 consecutive characters of the credential, apart from whitespace.
fn assert_no_credential(printed: &str, credential: &str, encode: Encode) {
    let printed: String = printed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '\u{ad}')
        .collect();
    let characters: Vec<char> = credential.chars().collect();
    for window in characters.windows(MIN_LEAK) {
        let leak: String = window.iter().copied().map(encode).collect();
        assert!(!printed.contains(&leak), "{leak} in {printed}");
    }
}
