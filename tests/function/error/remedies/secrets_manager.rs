//! Messages about Secrets Manager.

use super::*;

const CASES: &[Case] = &[
    Case {
        name: "a secret that is scheduled for deletion",
        arrange: |world| {
            let message = "You can't perform this operation on the secret because it was marked for deletion.";
            reject(world, "GetSecretValue", "InvalidRequestException", message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager rejected GetSecretValue for SECRET: InvalidRequestException, You can't perform this \
                  operation on the secret because it was marked for deletion. If the secret is scheduled for deletion, \
                  restore it. Otherwise, start a new rotation",
        ..CASE
    },
    Case {
        name: "a wrong clock",
        arrange: |world| {
            let message = "Signature expired: 20261101T000000Z is now earlier than 20261101T010000Z (20261101T010500Z - 5 min.)";
            reject(
                world,
                "DescribeSecret",
                "InvalidSignatureException",
                message,
            );
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager rejected DescribeSecret for SECRET: InvalidSignatureException, Signature expired: \
                  20261101T000000Z is now earlier than 20261101T010000Z (20261101T010500Z - 5 min.). In a local run, \
                  check the clock and AWS_SECRET_ACCESS_KEY. In Lambda, this should not occur: start a new rotation",
        ..CASE
    },
    Case {
        name: "expired AWS credentials",
        arrange: |world| {
            let message = "The security token included in the request is expired";
            reject(world, "DescribeSecret", "ExpiredTokenException", message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager rejected DescribeSecret for SECRET: ExpiredTokenException, The security token \
                  included in the request is expired. Retry: Lambda renews the credentials of the \
                  function's role",
        ..CASE
    },
    Case {
        name: "a throttled request",
        arrange: |world| {
            let message = "Rate exceeded";
            reject(world, "DescribeSecret", "ThrottlingException", message);
        },
        error: "SecretsManagerUnavailable",
        message: "Secrets Manager throttled DescribeSecret for SECRET: ThrottlingException, Rate exceeded. If this \
                  persists, schedule the rotations at different times",
        ..CASE
    },
    Case {
        name: "a page of a proxy",
        arrange: |world| {
            let page = Response::new(403, "text/html", "<html>Blocked</html>");
            respond(world, is_operation("DescribeSecret"), page);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager rejected DescribeSecret for SECRET: HTTP 403 without an error code, no message[..]. A proxy or a firewall probably \
                  responded: check HTTPS_PROXY, NO_PROXY and AWS_ENDPOINT_URL_SECRETS_MANAGER",
        ..CASE
    },
    Case {
        name: "an error of Secrets Manager",
        arrange: |world| {
            let failure = Response::aws_error(500, "InternalServiceError", "It failed.");
            respond(world, is_operation("DescribeSecret"), failure);
        },
        error: "SecretsManagerUnavailable",
        message: "Secrets Manager failed to process DescribeSecret for SECRET: InternalServiceError, It failed. If this \
                  persists, see https://health.aws.amazon.com",
        ..CASE
    },
];

#[tokio::test]
async fn a_rejected_request_to_secrets_manager_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
