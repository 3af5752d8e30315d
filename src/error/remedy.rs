//! Remedies: what to do about an error, in one or two sentences.
//!
//! Each match lists all variants, so that a new one does not compile without a remedy.

use super::{Error, KeyLookup};
use crate::confluent::{self, ErrorKind, ProbeOutcome};
use crate::secret::{PENDING, value};
use crate::{http, secret};

impl Error {
    /// Returns what to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::InvalidEvent { .. } => INVALID_EVENT,
            Self::RotationNotEnabled { .. } => ENABLE_ROTATION,
            Self::VersionNotPending { .. } => "Start a new rotation with RotateSecret",
            Self::InitialKeyNotAllowed => STORE_OR_ALLOW_KEY,
            Self::InitialKeyRequiresAdminSecret => NAME_ADMIN_SECRET,
            Self::NoCurrentVersion => STORE_VALUE,
            Self::StagingLabelMoved => NEXT_ATTEMPT_STARTS_OVER,
            Self::VersionWithoutKey { label } | Self::VersionWithoutValue { label, .. } => {
                for_missing_value(label)
            }
            Self::InvalidSecretValue { label, source } => return for_secret_value(label, source),
            Self::InvalidAdminSecretValue { source, .. } => {
                return for_value(source, "apiKey and apiSecret");
            }
            Self::PendingIsCurrent { .. }
            | Self::PendingMismatch { .. }
            | Self::PendingOutdated { .. }
            | Self::PendingKeyScopeMismatch { .. } => REMOVE_PENDING_LABEL,
            Self::UnknownResource(_) => RESOURCE_IDS,
            Self::AdminSecretConflict { .. } => {
                "Name the same secret in both, or remove one of them"
            }
            Self::CurrentKeyNotOfOwner { owner, lookup, .. } => return for_lookup(*lookup, owner),
            Self::CurrentKeyScopeMismatch { .. } => {
                "Correct resourceId and environmentId, or apiKey and apiSecret, in the secret"
            }
            Self::CurrentKeyNotAccepted { outcome, .. } => for_current_key(outcome),
            Self::EndpointUnreachable { .. } => CONNECT_TO_NETWORK,
            Self::EndpointAcceptsAnyCredential { .. } => CORRECT_ENDPOINT,
            Self::EnvironmentUnknown => "Add environmentId to the secret",
            Self::OrganizationUnknown => ORGANIZATION_UNKNOWN,
            Self::EndpointNotFound { .. } => ENDPOINT_NOT_FOUND,
            Self::EndpointInvalid { .. } => "Set `endpoint` in the secret to https://HOST",
            Self::EndpointNotAllowed { source, .. } => for_http(source),
            Self::PendingKeyNotAccepted { outcome, .. } => for_probe(outcome),
            Self::PendingKeyDeleted { .. } => START_OR_WAIT,
            Self::PendingKeyNotListed { .. } => NOT_LISTED,
            Self::QuotaExceeded { owner, orphans, .. } => return for_quota(owner, *orphans),
            Self::TimeoutTooShort { .. } => RAISE_TIMEOUT,
            Self::CreationOutcomeUnknown { .. } => ORPHAN_CLEANUP,
            Self::PreviousKeyStateUnknown { .. } => GRANT_RESOURCE_OWNER,
            Self::KeyDeletionFailed { source, .. } => return for_deletion(source),
            Self::Confluent(source) => for_confluent(source),
            Self::SecretsManager(source) => return for_secrets_manager(source),
        }
        .to_owned()
    }
}

const INVALID_EVENT: &str = "Start a rotation with RotateSecret, which sends Step, SecretId, ClientRequestToken and \
                             RotationToken. A test event requires the first three";

const ENABLE_ROTATION: &str = "Enable rotation with RotateSecret and this function's ARN. If it was canceled on purpose, no \
                               action is required";

const STORE_OR_ALLOW_KEY: &str = "Add apiKey and apiSecret to the secret, or set INITIAL_KEY=allow on the function to let the first \
                                  rotation create a key";

const NAME_ADMIN_SECRET: &str =
    "Add adminSecretArn to the secret, or set ADMIN_SECRET_ARN on the function";

const STORE_VALUE: &str = "Store a value with apiKey, apiSecret and serviceAccountId in the secret";

const NEXT_ATTEMPT_STARTS_OVER: &str = "The next attempt starts with the version that is current then. After an intended rollback, remove \
                                        AWSPENDING, or the next attempt promotes that version again";

const REMOVE_PENDING_LABEL: &str = "Remove AWSPENDING from the version and start a new rotation";

const RESOURCE_IDS: &str = "Use lkc-…, lsrc-…, lksqlc-…, a Flink region such as aws.us-west-2, Tableflow or Global, or \
                            omit it for a Cloud API key";

const CONNECT_TO_NETWORK: &str = "Connect the function to a network from which it can reach the endpoint and resolve its \
                                  host name";

const ORGANIZATION_UNKNOWN: &str = "The next attempt retries. If this persists, check that the management credentials can read the \
                                    key, or set KEY_VERIFICATION=control-plane on the function";

const CORRECT_ENDPOINT: &str = "Correct `endpoint` in the secret. If it is correct, check whether a firewall, proxy or IP filter \
                                responds in place of the resource";

const ENDPOINT_NOT_FOUND: &str = "Correct resourceId and environmentId in the secret, grant the owner of the management credentials a \
                                  role that can view the resource, such as Operator, or add `endpoint` to the secret";

const START_OR_WAIT: &str =
    "Start a new rotation, or wait for the next one, which creates another key";

const NOT_LISTED: &str = "The next attempt retries. If this persists, grant the owner of the management credentials \
                          ResourceOwner on the service account";

const RAISE_TIMEOUT: &str =
    "Set the function's timeout to 15 minutes. The next attempt continues where this one ended";

const ORPHAN_CLEANUP: &str = "No action is required: such a key has this secret's ownership tag, and a later step or rotation \
                              deletes it";

const GRANT_RESOURCE_OWNER: &str = "The next attempt retries. Grant the owner of the management credentials ResourceOwner on the \
                                    service account";

const CONFLUENT_STATUS: &str =
    "The next attempt retries. If this persists, see https://status.confluent.cloud";

const SPREAD_ROTATIONS: &str =
    "The next attempt retries. If this persists, spread the rotations over the day";

fn for_missing_value(label: &str) -> &'static str {
    if label == PENDING {
        REMOVE_PENDING_LABEL
    } else {
        STORE_VALUE
    }
}

fn for_secret_value(label: &str, error: &value::Error) -> String {
    match error {
        // The pending value was created from the current one, so the current one is too large.
        value::Error::TooLarge { .. } => for_value(error, ""),
        _ if label == PENDING => REMOVE_PENDING_LABEL.to_owned(),
        _ => for_value(error, "apiKey, apiSecret and serviceAccountId"),
    }
}

/// Returns the remedy for an invalid value that requires `fields`.
fn for_value(error: &value::Error, fields: &str) -> String {
    match error {
        value::Error::NotAnObject { .. } => format!(
            "Store a single JSON object with {fields}. In the console, enter them as key/value pairs"
        ),
        value::Error::Missing(field) => format!("Add `{field}` to it, in exactly this spelling"),
        value::Error::NotAString(field) => {
            format!("Set `{field}` to a string in double quotes")
        }
        value::Error::Repeated(_) | value::Error::TwoAdminSecrets => {
            "Remove one of them".to_owned()
        }
        value::Error::Malformed { form, .. } => format!("Set it to {form}"),
        value::Error::TooLarge { .. } => "Move other fields to another secret".to_owned(),
        value::Error::ScopeMismatch(_) => REMOVE_PENDING_LABEL.to_owned(),
    }
}

fn for_lookup(lookup: KeyLookup, owner: &str) -> String {
    match lookup {
        KeyLookup::AnotherOwner => {
            "Correct apiKey and apiSecret, or serviceAccountId, in the secret".to_owned()
        }
        KeyLookup::OtherKeys => "Correct apiKey in the secret. If the key was deleted, store another key of the same owner and \
                                 resource"
            .to_owned(),
        KeyLookup::NoKeys => format!(
            "Correct serviceAccountId in the secret, or grant the owner of the management credentials ResourceOwner on \
             {owner}"
        ),
    }
}

fn for_http(error: &http::Error) -> &'static str {
    match error {
        http::Error::HostNotAllowed { reason, .. } if *reason == http::DOMAIN_NOT_ALLOWED => {
            "Correct `endpoint` in the secret. If you trust this host with the key, add its domain to \
             ALLOWED_ENDPOINT_DOMAINS on the function"
        }
        http::Error::HostNotAllowed { .. } => "Set `endpoint` in the secret to https://HOST",
        http::Error::NotSent { .. } => {
            "Connect the function to a network from which it can reach this host, in a VPC through a NAT gateway, and \
             check CONFLUENT_API_URL if you set it"
        }
        http::Error::DeadlineExceeded { .. } => RAISE_TIMEOUT,
        http::Error::Rejected(_)
        | http::Error::OutcomeUnknown { .. }
        | http::Error::ResponseTooLong { .. } => CONFLUENT_STATUS,
    }
}

fn for_current_key(outcome: &ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::NotAccepted => {
            "Correct apiKey and apiSecret in the secret. If the key was deleted, store another key of the same owner and \
             resource"
        }
        outcome => for_probe(outcome),
    }
}

fn for_probe(outcome: &ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Unreachable(_) => CONNECT_TO_NETWORK,
        ProbeOutcome::NotAuthorized => {
            "The next attempt retries. If this persists, check the role bindings of the key's owner, and any firewall, \
             proxy or IP filter in front of the resource"
        }
        ProbeOutcome::Accepted | ProbeOutcome::NotAccepted => {
            "The next attempt retries. Set the function's timeout to 15 minutes. If this persists, check whether \
             Confluent Cloud lists the key"
        }
        ProbeOutcome::RateLimited(_) => SPREAD_ROTATIONS,
        ProbeOutcome::Inconclusive(_) => {
            "The next attempt retries. If this persists, check that the endpoint belongs to the resource"
        }
    }
}

fn for_quota(owner: &str, orphans: usize) -> String {
    let delete =
        format!("Delete unused keys of {owner}, or ask Confluent Support to raise the quota");
    match orphans {
        0 => delete,
        1 => format!(
            "{delete}. 1 of them is an orphaned key of this secret: a rotation deletes it half an hour after it was \
             created"
        ),
        _ => format!(
            "{delete}. {orphans} of them are orphaned keys of this secret: a rotation deletes them half an hour after \
             they were created"
        ),
    }
}

fn for_confluent(error: &confluent::Error) -> &'static str {
    match error {
        confluent::Error::Rejected { response, .. } => for_kind(response.kind),
        confluent::Error::NoResponse { source, .. } => for_http(source),
        confluent::Error::InvalidResponse { .. } => CONFLUENT_STATUS,
    }
}

fn for_deletion(error: &confluent::Error) -> String {
    let remedy = for_confluent(error);
    // These two already say that the next attempt retries.
    if [CONFLUENT_STATUS, SPREAD_ROTATIONS].contains(&remedy) {
        remedy.to_owned()
    } else {
        format!("The next attempt retries. {remedy}")
    }
}

fn for_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unauthenticated => {
            "Correct apiKey and apiSecret in the secret that contains this key. If the key was deleted, store another one"
        }
        ErrorKind::ResourceScopedKey => {
            "Name an admin secret with a Cloud API key (adminSecretArn in the secret, or ADMIN_SECRET_ARN): a \
             resource-scoped API key cannot manage keys"
        }
        ErrorKind::Forbidden => {
            "Grant the owner of the management credentials ResourceOwner on the service account. Confluent Cloud also \
             returns this status if the object no longer exists"
        }
        ErrorKind::QuotaExceeded => {
            "Delete unused keys, or ask Confluent Support to raise the quota"
        }
        ErrorKind::RateLimited => SPREAD_ROTATIONS,
        ErrorKind::NotFound | ErrorKind::Other => {
            "Check serviceAccountId, resourceId and environmentId in the secret"
        }
        ErrorKind::ServerError => CONFLUENT_STATUS,
    }
}

fn for_secrets_manager(error: &secret::Error) -> String {
    match error {
        secret::Error::Rejected {
            operation,
            code,
            message,
            ..
        } if code == "AccessDeniedException" => for_access_denied(operation, message),
        secret::Error::Rejected { code, message, .. } => for_code(code, message).to_owned(),
        secret::Error::NoResponse { .. } => {
            "The next attempt retries. In a VPC, check the interface endpoint for Secrets Manager and its security \
             group, or the NAT gateway"
                .to_owned()
        }
        secret::Error::Binary { .. } => {
            "Store the value as a string (SecretString): a JSON object with apiKey and apiSecret".to_owned()
        }
        secret::Error::MissingArn { .. } => {
            "Check AWS_ENDPOINT_URL_SECRETS_MANAGER: the response is not from Secrets Manager".to_owned()
        }
    }
}

const KMS_KEY: &str = "Allow kms:Decrypt and kms:GenerateDataKey on the secret's KMS key for the function's role, in the role's \
                       policy and in the key policy, and check that the key is enabled";

/// The types of policies that an access denied error names, and where to allow the action.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str); 5] = [
    (
        "VPC endpoint policy",
        "in the policy of the VPC endpoint for Secrets Manager",
    ),
    ("resource-based policy", "in the secret's resource policy"),
    (
        "permissions boundary",
        "in the role's permissions boundary, too",
    ),
    (
        "service control policy",
        "in the organization's service control policy, too",
    ),
    (
        "",
        "in the role's policy. If it has a condition on AllowRotationLambdaArn, the value must be exactly the ARN with \
         which rotation is enabled",
    ),
];

fn for_access_denied(operation: &str, message: &str) -> String {
    // "Access to KMS is not allowed"
    if message.contains("KMS") {
        return KMS_KEY.to_owned();
    }
    let mut policies = POLICIES.into_iter();
    let policy = policies.find(|(policy_type, _)| message.contains(policy_type));
    let (_, place) = policy.unwrap_or_default();
    format!("Allow secretsmanager:{operation} on this secret for the function's role {place}")
}

const CLOCK: &str = "The next attempt retries. If this persists, set the clock of the machine that runs the function";

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn for_code(code: &str, message: &str) -> &'static str {
    match code {
        "DecryptionFailure" | "EncryptionFailure" => KMS_KEY,
        "ResourceNotFoundException" | "ValidationException" => {
            "Check the ARN: the secret must exist in the function's Region"
        }
        // "You can't perform this operation on the secret because it was marked for deletion."
        "InvalidRequestException" if message.contains("delet") => {
            "Restore the secret with RestoreSecret if you still need it. Otherwise no action is required"
        }
        "InvalidRequestException" => {
            "If the secret is scheduled for deletion, restore it. If another version was stored in the meantime, start a \
             new rotation"
        }
        // "Signature expired: … is now earlier than …", "Signature not yet current: …"
        "RequestExpired" => CLOCK,
        "InvalidSignatureException" if message.starts_with("Signature") => CLOCK,
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => {
            "Start a new rotation: Lambda renews the credentials of the function's role. Outside Lambda, export new \
             credentials"
        }
        "LimitExceededException" => {
            "Rotate the secret less often, and remove labels from versions that you no longer need"
        }
        "InternalServiceError" | "ServiceUnavailable" => {
            "The next attempt retries. If this persists, see https://health.aws.amazon.com"
        }
        code if code.starts_with("Throttl") => SPREAD_ROTATIONS,
        _ => {
            "The next attempt retries. If this persists, look up the code in the API reference of Secrets Manager"
        }
    }
}
