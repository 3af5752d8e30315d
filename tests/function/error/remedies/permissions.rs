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
                  allowed. Enable the KMS key, or cancel its deletion. If it is enabled, its policy and the role's (template \
                  parameters SecretKmsKeyArns and AdminSecretKmsKeyArns) must allow kms:Decrypt and, except for admin \
                  secrets, kms:GenerateDataKey",
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
                  the protected secret text using the provided KMS key. Enable the KMS key, or cancel its deletion. If it is \
                  enabled, its policy and the role's (template parameters SecretKmsKeyArns and AdminSecretKmsKeyArns) must \
                  allow kms:Decrypt and, except for admin secrets, kms:GenerateDataKey",
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
                  secretsmanager:PutSecretValue action. Check that the secret's name starts with one of the template's \
                  SecretPrefixes, and that its rotation names exactly the function's ARN, without an alias or a version",
        ..CASE
    },
    Case {
        name: "no permission to read the admin secret",
        arrange: |world| {
            let denied = Response::aws_access_denied("GetSecretValue");
            respond(world, reads_admin_secret(), denied);
        },
        error: "SecretsManagerRejected",
        message: "could not read the admin secret: Secrets Manager denied GetSecretValue for ADMIN: AccessDeniedException, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
                  secretsmanager:GetSecretValue because no identity-based policy allows the \
                  secretsmanager:GetSecretValue action. Check that this is the complete ARN of the intended admin \
                  secret. If it is, set the template parameter AdminSecretArn to it or, if secrets name their admin secrets, add it \
                  to OtherAdminSecretArns",
        ..CASE
    },
    Case {
        name: "no permission to read an admin secret in another account",
        arrange: |world| {
            let message = denial_of(
                "admin",
                "GetSecretValue",
                "because no resource-based policy allows the secretsmanager:GetSecretValue action",
            );
            let denied = Response::aws_error(400, ACCESS_DENIED, &message);
            respond(world, reads_admin_secret(), denied);
        },
        error: "SecretsManagerRejected",
        message: "could not read the admin secret: Secrets Manager denied GetSecretValue for ADMIN: AccessDeniedException, User: \
                  arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
                  secretsmanager:GetSecretValue on resource: admin because no resource-based policy allows the \
                  secretsmanager:GetSecretValue action. Change the admin secret's resource policy to allow it, and check that the \
                  template parameter AdminSecretArn or OtherAdminSecretArns contains the secret's complete ARN",
        ..CASE
    },
];

/// Matches the reads of the admin secret: the first read is of the pending version, the second of the current one.
fn reads_admin_secret() -> impl Fn(&Request) -> bool + Send {
    let reads = AtomicUsize::new(0);
    move |request: &Request| {
        is_operation("GetSecretValue")(request) && reads.fetch_add(1, Relaxed) >= 2
    }
}

/// A type of policy that IAM's messages name, the remedy, and the remedy if it denies a KMS action.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
struct PolicyType(&'static str, &'static str, &'static str);

const POLICIES: [PolicyType; 8] = [
    PolicyType(
        "identity-based policy",
        "Check that the secret's name starts with one of the template's SecretPrefixes, and that its rotation names exactly the \
         function's ARN, without an alias or a version",
        ENABLE_KMS_KEY,
    ),
    PolicyType(
        "resource control policy",
        "Change the resource control policy to allow it",
        "Change the resource control policy to allow this KMS action",
    ),
    PolicyType(
        "VPC endpoint policy",
        "Change the VPC endpoint's policy to allow it",
        "Change the VPC endpoint's policy to allow this KMS action",
    ),
    PolicyType(
        "resource-based policy",
        "Change the secret's resource policy to allow it",
        "Change the KMS key's policy to allow this action",
    ),
    PolicyType(
        "permissions boundary",
        "Change the role's permissions boundary to allow it",
        "Change the role's permissions boundary to allow this KMS action",
    ),
    PolicyType(
        "service control policy",
        "Change the service control policy to allow it",
        "Change the service control policy to allow this KMS action",
    ),
    PolicyType(
        "session policy",
        "Change the session policy to allow it",
        "Change the session policy to allow this KMS action",
    ),
    PolicyType("", REMOVE_ANY_DENY, REMOVE_ANY_KMS_DENY),
];

const REMOVE_ANY_DENY: &str = "Remove the deny: it may be in a policy of the role, the secret, the VPC endpoint or the organization";

const REMOVE_ANY_KMS_DENY: &str = "Remove the deny of this KMS action: it may be in a policy of the role, the KMS key, the VPC endpoint or \
                                   the organization";

const ENABLE_KMS_KEY: &str = "Enable the KMS key, or cancel its deletion. If it is enabled, its policy and the role's (template \
                              parameters SecretKmsKeyArns and AdminSecretKmsKeyArns) must allow kms:Decrypt and, except for \
                              admin secrets, kms:GenerateDataKey";

/// Returns what IAM's messages about `action` say at the end: no policy of the type allows it, or one denies it. A service may omit
/// the type of the policy that denies it.
fn reasons(policy: &str, action: &str) -> Vec<String> {
    if policy.is_empty() {
        return vec!["with an explicit deny".to_owned()];
    }
    let article = if policy.starts_with('i') { "an" } else { "a" };
    vec![
        format!("because no {policy} allows the {action} action"),
        format!("with an explicit deny in {article} {policy}"),
    ]
}

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
    for PolicyType(policy, remedy, _) in POLICIES {
        let reasons = reasons(policy, &format!("secretsmanager:{operation}"));
        for (name, reason) in NAMES
            .iter()
            .flat_map(|name| reasons.iter().map(move |reason| (name, reason)))
        {
            let message = denial_of(name, operation, reason);
            let denied = Response::aws_error(400, ACCESS_DENIED, &message);
            world
                .simulator
                .respond_with(1, is_operation(operation), denied);

            let error = world.step_error("createSecret", reason).await;

            let message = error.error_message;
            let is_denied_by_role = reason.contains("deny in an identity-based policy");
            let remedy = if is_denied_by_role {
                REMOVE_DENY
            } else {
                remedy
            };
            assert!(message.ends_with(&format!(". {remedy}")), "{message}");
        }
    }
}

const REMOVE_DENY: &str = "Remove the deny from the role's policies";

#[tokio::test]
async fn the_remedy_of_a_denied_kms_action_names_kms_and_the_policy() {
    let world = World::new(Setting::default()).await;
    for PolicyType(policy, _, remedy) in POLICIES {
        for action in ["kms:Decrypt", "kms:GenerateDataKey", "KMS:Decrypt"] {
            for reason in reasons(policy, action) {
                let message = format!(
                    "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: {action} on \
                     resource: {KMS_KEY_ARN} {reason}"
                );
                let denied = Response::aws_error(400, ACCESS_DENIED, &message);
                let operation = is_operation("GetSecretValue");
                world.simulator.respond_with(1, operation, denied);

                let error = world.step_error("createSecret", &reason).await;

                let message = error.error_message;
                let is_denied_by_role = reason.contains("deny in an identity-based policy");
                let remedy = if is_denied_by_role {
                    "Remove the deny of this KMS action from the role's policies"
                } else {
                    remedy
                };
                assert!(message.ends_with(&format!(". {remedy}")), "{message}");
            }
        }
    }
}

const KMS_KEY_ARN: &str =
    "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111";

/// Rejections because of the KMS key.
const KMS_REJECTIONS: [(&str, &str); 8] = [
    (ACCESS_DENIED, "Access to kms is not allowed"),
    (
        ACCESS_DENIED,
        "The ciphertext refers to a KMS key that does not exist",
    ),
    (
        "InvalidRequestException",
        "You can't access a secret that is encrypted with an AWS KMS key that is pending deletion",
    ),
    (
        "InvalidRequestException",
        "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111 is pending deletion.",
    ),
    (
        ACCESS_DENIED,
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to \
         access.",
    ),
    (
        "InvalidRequestException",
        "You can't access a secret that is encrypted with a CMK that is pending deletion",
    ),
    ("KMSInvalidStateException", "It is pending deletion."),
    ("EncryptionFailure", "It is disabled."),
];

#[tokio::test]
async fn the_remedy_of_a_rejection_because_of_the_kms_key_names_it() {
    let world = World::new(Setting::default()).await;
    for operation in ["GetSecretValue", "PutSecretValue"] {
        for (code, message) in KMS_REJECTIONS {
            let rejection = Response::aws_error(400, code, message);
            world
                .simulator
                .respond_with(1, is_operation(operation), rejection);

            let error = world.step_error("createSecret", message).await;

            let message = error.error_message;
            let remedy = ". Enable the KMS key, or cancel its deletion. If it is enabled, ";
            assert!(message.contains(remedy), "{code}: {message}");
            assert!(!message.contains("restore"), "{code}: {message}");
        }
    }
}
