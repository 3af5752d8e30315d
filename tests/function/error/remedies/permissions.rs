//! Messages about the permissions of the function's role.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::*;

const ACCESS_DENIED: &str = "AccessDeniedException";

const CASES: &[Case] = &[
    Case {
        name: "no permission for the KMS key",
        arrange: |world| {
            let message = "Access to KMS is not allowed";
            reject(world, "GetSecretValue", ACCESS_DENIED, message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager denied GetSecretValue for SECRET: AccessDeniedException, Access to KMS is not \
                  allowed. Enable the KMS key; allow kms:Decrypt and kms:GenerateDataKey in its policy and the role's",
        ..CASE
    },
    Case {
        name: "a disabled KMS key",
        arrange: |world| {
            let message = "Secrets Manager can't decrypt the protected secret text using the provided KMS key";
            reject(world, "GetSecretValue", "DecryptionFailure", message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager rejected GetSecretValue for SECRET: DecryptionFailure, Secrets Manager can't decrypt \
                  the protected secret text using the provided KMS key. Enable the KMS key; allow kms:Decrypt and \
                  kms:GenerateDataKey in its policy and the role's",
        ..CASE
    },
    Case {
        name: "no permission to store a value",
        arrange: |world| {
            let message = denial("PutSecretValue", "identity-based");
            reject(world, "PutSecretValue", ACCESS_DENIED, &message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager denied PutSecretValue for SECRET: AccessDeniedException, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
                  secretsmanager:PutSecretValue on resource: orders because no identity-based policy allows the \
                  secretsmanager:PutSecretValue action. Allow it in the role's policy; AllowRotationLambdaArn must be \
                  exactly the rotation's ARN",
        ..CASE
    },
    Case {
        name: "no permission to read the admin secret",
        arrange: |world| {
            // The first read is of the pending version, the second of the current one.
            let reads = AtomicUsize::new(0);
            let reads_admin_secret = move |request: &Request| {
                is_operation("GetSecretValue")(request) && reads.fetch_add(1, Relaxed) >= 2
            };
            let denied = Response::aws_access_denied("GetSecretValue");
            respond(world, reads_admin_secret, denied);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager denied GetSecretValue for ADMIN: AccessDeniedException, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
                  secretsmanager:GetSecretValue because no identity-based policy allows the \
                  secretsmanager:GetSecretValue action. Allow it in the role's policy; AllowRotationLambdaArn must be \
                  exactly the rotation's ARN",
        ..CASE
    },
    Case {
        name: "the policy of the VPC endpoint",
        arrange: |world| {
            let message = denial("DescribeSecret", "VPC endpoint");
            reject(world, "DescribeSecret", ACCESS_DENIED, &message);
        },
        error: "SecretsManagerRejected",
        message: "Secrets Manager denied DescribeSecret for SECRET: AccessDeniedException, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
                  secretsmanager:DescribeSecret on resource: orders because no VPC endpoint policy allows the \
                  secretsmanager:DescribeSecret action. Allow it in the VPC endpoint's policy",
        ..CASE
    },
];

/// Returns IAM's message for a denied request.
fn denial(operation: &str, policy: &str) -> String {
    format!(
        "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
         secretsmanager:{operation} on resource: orders because no {policy} policy allows the \
         secretsmanager:{operation} action"
    )
}

#[tokio::test]
async fn a_missing_permission_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}
