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
                  secretsmanager:PutSecretValue action. Change the role's policy to allow it; \
                  AllowRotationLambdaArn must be exactly the rotation function's ARN",
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
                  secretsmanager:GetSecretValue action. Change the role's policy to allow it; \
                  AllowRotationLambdaArn must be exactly the rotation function's ARN",
        ..CASE
    },
];

/// The types of policies that IAM's messages name, and the remedies.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str); 5] = [
    (
        "identity-based policy",
        "Change the role's policy to allow it; AllowRotationLambdaArn must be exactly the rotation function's ARN",
    ),
    (
        "VPC endpoint policy",
        "Change the VPC endpoint's policy to allow it",
    ),
    (
        "resource-based policy",
        "Change the secret's resource policy to allow it",
    ),
    (
        "permissions boundary",
        "Change the role's permissions boundary to allow it",
    ),
    (
        "service control policy",
        "Change the service control policy to allow it",
    ),
];

/// Names of secrets that contain a type of policy, as far as a name can contain it.
const NAMES: [&str; 5] = [
    "confluent/VPC-endpoint",
    "confluent/resource-based-policy",
    "confluent/permissions-boundary",
    "confluent/service-control-policy",
    "confluent/KMS",
];

/// Returns IAM's message for a denied request.
fn denial(operation: &str, policy: &str) -> String {
    let reason = format!("because no {policy} policy allows the secretsmanager:{operation} action");
    denial_of("orders", operation, &reason)
}

fn denial_of(resource: &str, operation: &str, reason: &str) -> String {
    format!(
        "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
         secretsmanager:{operation} on resource: {resource} {reason}"
    )
}

#[tokio::test]
async fn a_missing_permission_is_reported_with_its_remedy() {
    assert_messages(CASES).await;
}

#[tokio::test]
async fn the_remedy_of_a_denial_names_the_policy_whatever_the_name_of_the_secret() {
    let world = World::new(Setting::default()).await;
    let operation = "GetSecretValue";
    for (policy, remedy) in POLICIES {
        let implicit = format!("because no {policy} allows the secretsmanager:{operation} action");
        let explicit = format!("with an explicit deny in a {policy}");
        for (name, reason) in NAMES
            .iter()
            .flat_map(|name| [(name, &implicit), (name, &explicit)])
        {
            let message = denial_of(name, operation, reason);
            let denied = Response::aws_error(400, ACCESS_DENIED, &message);
            world
                .simulator
                .respond_with(1, is_operation(operation), denied);

            let error = world.step_error("createSecret", reason).await;

            let message = error.error_message;
            assert!(message.ends_with(&format!(". {remedy}")), "{message}");
        }
    }
}
