//! Messages about the secret value.

use super::*;

const NOT_AN_OBJECT: &str = "the value of the AWSCURRENT version of the secret is invalid: it is not a JSON object (line 1, column [..]). \
     Store key/value pairs: apiKey, apiSecret and (not in admin secrets) serviceAccountId";

const CASES: &[Case] = &[
    Case {
        name: "a key ID and an API secret in plaintext",
        arrange: |world| store(world, &world.arn, "ABCDEFGH12345678:cfltSecret"),
        error: "InvalidSecretValue",
        message: NOT_AN_OBJECT,
        ..CASE
    },
    Case {
        name: "an API secret in plaintext",
        arrange: |world| store(world, &world.arn, "cfltSecret"),
        error: "InvalidSecretValue",
        message: NOT_AN_OBJECT,
        ..CASE
    },
    Case {
        name: "a binary value",
        arrange: |world| world.arn = world.simulator.add_binary_secret("orders/bytes", b"\x00"),
        error: "InvalidSecretValue",
        message: "the value of SECRET is binary (SecretBinary). Store the value as a string (SecretString)",
        ..CASE
    },
    Case {
        name: "no API secret",
        arrange: |world| set_field(world, "apiSecret", ""),
        error: "InvalidSecretValue",
        message: "the value of the AWSCURRENT version of the secret is invalid: `apiSecret` is missing or empty. Add \
                  it, in exactly this spelling",
        ..CASE
    },
    Case {
        name: "no key yet",
        arrange: |world| {
            set_field(world, "apiSecret", "");
            set_field(world, "apiKey", "");
        },
        error: "InitialKeyNotAllowed",
        message: "there is no key to rotate: apiKey and apiSecret are missing, empty or placeholders. Add apiKey and apiSecret, or \
                  set INITIAL_KEY=allow to let the next rotation create a key",
        ..CASE
    },
    Case {
        name: "the ID of a bootstrap server instead of the cluster's",
        arrange: |world| set_field(world, "resourceId", "pkc-orders"),
        error: "UnknownResource",
        message: "`resourceId` in the secret is not a resource ID of Confluent Cloud. Use lkc-…, lsrc-…, lksqlc-…, \
                  aws.us-west-2 (Flink), Tableflow, Global or cloud",
        ..CASE
    },
];

#[tokio::test]
async fn an_invalid_secret_value_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
