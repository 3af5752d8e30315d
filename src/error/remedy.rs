//! Remedies: what to do about an error, in one or two sentences.
//!
//! Each match lists all variants, so that a new one does not compile without a remedy.

use super::{Error, KeyLookup};
use crate::confluent::{self, ErrorKind, ProbeOutcome};
use crate::secret::{CURRENT, PENDING, value};
use crate::{http, secret};

impl Error {
    /// Returns what to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::InvalidEvent { is_preflight, .. } => for_event(*is_preflight),
            Self::RotationNotEnabled { .. } => "Enable rotation, unless it was canceled on purpose",
            Self::VersionNotPending { .. } => "Start a new rotation with RotateSecret",
            Self::InitialKeyNotAllowed => STORE_OR_ALLOW_KEY,
            Self::InitialKeyRequiresAdminSecret | Self::AdminSecretRequired { .. } => {
                NAME_ADMIN_SECRET
            }
            Self::StagingLabelMoved => RESUME_ROTATION,
            Self::InvalidSecretValue { label, source } => for_value(label, source),
            Self::InvalidAdminSecretValue { source, .. } => for_value(CURRENT, source),
            Self::VersionWithoutValue { label: PENDING, .. }
            | Self::PendingKeyScopeMismatch { .. } => REMOVE_PENDING_LABEL,
            Self::VersionWithoutKey { label: PENDING }
            | Self::PendingIsCurrent { .. }
            | Self::PendingMismatch { .. }
            | Self::PendingOutdated { .. }
            | Self::PendingKeyDeleted { .. } => HEALED,
            Self::ReplicaSecret { .. } => "Rotate the primary secret, which replicates its value",
            Self::CurrentKeyIsAdminKey { .. } => SEPARATE_ADMIN_KEY,
            Self::EarlierValueStored { .. } => MOVE_LABEL_BACK,
            Self::NoCurrentVersion
            | Self::VersionWithoutKey { .. }
            | Self::VersionWithoutValue { .. } => STORE_VALUE,
            Self::UnknownResource(_) => RESOURCE_IDS,
            Self::AdminSecretConflict { .. } => "Name one secret in both, or remove one of them",
            Self::CurrentKeyNotOfOwner { source, .. } => for_lookup(*source),
            Self::CurrentKeyScopeMismatch { .. } => CORRECT_SCOPE,
            Self::CurrentKeyNotAccepted { outcome, .. } => match outcome {
                ProbeOutcome::NotAccepted => CORRECT_KEY,
                outcome => for_probe(outcome),
            },
            Self::EndpointUnreachable { .. } => CONNECT_TO_ENDPOINT,
            Self::EndpointAcceptsAnyCredential { .. } => CHECK_FILTERS,
            Self::EnvironmentUnknown => "Add environmentId to the secret",
            Self::OrganizationUnknown => ORGANIZATION_UNKNOWN,
            Self::EndpointNotFound { .. } => ENDPOINT_NOT_FOUND,
            Self::EndpointInvalid { .. } => ENDPOINT_FORM,
            Self::EndpointNotAllowed { source, .. } => for_http(source),
            Self::PendingKeyNotAccepted { outcome, .. } => for_probe(outcome),
            Self::PendingKeyNotListed { .. } => NOT_LISTED,
            Self::QuotaExceeded { .. } => RAISE_QUOTA,
            Self::TimeoutTooShort { .. } => RAISE_TIMEOUT,
            Self::CreationOutcomeUnknown { .. } => ORPHAN_CLEANUP,
            Self::KeyDeletionFailed { source, .. } | Self::Confluent(source) => {
                for_confluent(source)
            }
            Self::SecretsManager(source) => for_secrets_manager(source),
        }
    }
}

const STORE_OR_ALLOW_KEY: &str =
    "Add apiKey and apiSecret, or set INITIAL_KEY=allow to let the first rotation create a key";
const RENAME_FIELDS: &str =
    "Rename these fields to apiKey and apiSecret, or add apiKey and apiSecret with the same values";
const NAME_ADMIN_SECRET: &str = "Name an admin secret with a Cloud API key: in the template parameter AdminSecretArn, or in \
                                 adminSecretArn of the secret and in OtherAdminSecretArns";
const STORE_CLOUD_KEY: &str = "Name an admin secret with a Cloud API key (template parameter AdminSecretArn), or store a Cloud API key in \
                               the one that is named";
const RESUME_ROTATION: &str = "The next attempt resumes the rotation. After a rollback, remove AWSPENDING, or that version is \
                               promoted again";
const REMOVE_PENDING_LABEL: &str = "Remove AWSPENDING from the version and start a new rotation";
const HEALED: &str = "AWSPENDING was removed, and the next attempt starts over. If Secrets Manager does not start a new \
                      rotation, call RotateSecret";
const SEPARATE_ADMIN_KEY: &str =
    "Store another key in one of the two secrets, or name the secret itself as its admin secret";
const MOVE_LABEL_BACK: &str = "If an earlier value was stored again, move AWSCURRENT to the version labeled AWSPREVIOUS. Otherwise, correct apiKey and \
     apiSecret";
const STORE_VALUE: &str = "Store a value with apiKey, apiSecret and serviceAccountId in the secret";
const RESOURCE_IDS: &str =
    "Use lkc-…, lsrc-…, lksqlc-…, aws.us-west-2 (Flink), Tableflow or Global, or omit it (Cloud)";
const CORRECT_SCOPE: &str = "Correct resourceId and environmentId, or apiKey and apiSecret";
const CORRECT_KEY: &str = "Correct apiKey and apiSecret, or store another key if it was deleted";
pub(crate) const CONNECT_TO_ENDPOINT: &str = "Connect the function to a network with a route to the endpoint and DNS for its host \
     name. If it has them, check security groups, firewalls and HTTPS_PROXY";
const CHECK_FILTERS: &str = "If this persists, check for a firewall, a proxy (HTTPS_PROXY) and Confluent's IP filters, or correct \
     `endpoint` in the secret";
const BLOCKED: &str = "Check the proxy in HTTPS_PROXY with its user and password, firewalls, Confluent Cloud's IP filters, and \
                       CONFLUENT_API_URL";
const CHECK_NETWORK: &str = "Check the network path from the function to this host: NAT in a VPC, firewalls, HTTPS_PROXY, \
                             SSL_CERT_FILE if a proxy inspects TLS, and CONFLUENT_API_URL";
const ORGANIZATION_UNKNOWN: &str =
    "Check that the management credentials have permission to read the key";
const ENDPOINT_NOT_FOUND: &str =
    "Correct resourceId or environmentId, add `endpoint`, or grant the credentials' owner Operator";
const ENDPOINT_FORM: &str = "Set `endpoint` in the secret to https://HOST";
const NOT_LISTED: &str = "If this persists, grant the management credentials' owner ResourceOwner";
const PAYMENT_REQUIRED: &str = "Resolve what Confluent Cloud reports, such as the organization's billing; deleting keys does not help";
pub(crate) const RAISE_QUOTA: &str =
    "Delete unused keys, or contact Confluent Support to raise the quota";
const RAISE_TIMEOUT: &str = "Set the function's timeout to 15 minutes";
const ORPHAN_CLEANUP: &str = "No action is required: if a key was created, a later step deletes it";
const CONFLUENT_STATUS: &str = "If this persists, see https://status.confluent.cloud";
const SPREAD_ROTATIONS: &str = "If this persists, schedule the rotations at different times";

fn for_value(label: &str, error: &value::Error) -> &'static str {
    match error {
        // The pending value was created from the current one, so the current one is too large.
        value::Error::TooLarge { .. } => "Move other fields to another secret",
        value::Error::ScopeMismatch(_) => HEALED,
        value::Error::KeyInOtherFields(_) => RENAME_FIELDS,
        value::Error::NotReplaceable(_) => {
            "Store it there as plain text or as base64 of ID:SECRET, or remove it"
        }
        _ if label == PENDING => HEALED,
        value::Error::Binary => "Store the value as a string (SecretString)",
        value::Error::NotAnObject { .. } => {
            "Store key/value pairs: apiKey, apiSecret and (not in admin secrets) serviceAccountId"
        }
        value::Error::Missing(_) => "Add it, in exactly this spelling",
        value::Error::NotAString(_) => "Set it to a string in double quotes",
        value::Error::Repeated(_) | value::Error::TwoAdminSecrets => "Remove one of them",
        value::Error::Malformed { .. } => "Correct it",
    }
}
fn for_event(is_preflight: bool) -> &'static str {
    if is_preflight {
        return r#"Send {"Step": "preflight", "SecretId": "ARN or name"}"#;
    }
    r#"Start a rotation with RotateSecret. To check a secret, send {"Step": "preflight", "SecretId": "ARN or name"}"#
}

fn for_lookup(lookup: KeyLookup) -> &'static str {
    match lookup {
        KeyLookup::AnotherOwner => "Correct apiKey and apiSecret, or serviceAccountId",
        KeyLookup::OtherKeys => CORRECT_KEY,
        KeyLookup::NoKeys => {
            "Correct serviceAccountId, or grant the management credentials' owner ResourceOwner"
        }
    }
}

fn for_http(error: &http::Error) -> &'static str {
    match error {
        http::Error::HostNotAllowed { reason, .. } if *reason == http::DOMAIN_NOT_ALLOWED => {
            "Correct `endpoint`, or add a domain that you trust to ALLOWED_ENDPOINT_DOMAINS"
        }
        http::Error::HostNotAllowed { .. } => ENDPOINT_FORM,
        http::Error::NotSent { .. } => CHECK_NETWORK,
        http::Error::DeadlineExceeded { .. } => RAISE_TIMEOUT,
        http::Error::Rejected(_)
        | http::Error::OutcomeUnknown { .. }
        | http::Error::ResponseTooLong { .. } => CONFLUENT_STATUS,
    }
}

fn for_probe(outcome: &ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Unreachable(_) => CONNECT_TO_ENDPOINT,
        ProbeOutcome::Accepted | ProbeOutcome::NotAccepted => {
            "If this persists, set the timeout to 15 minutes and check that the key still exists"
        }
        ProbeOutcome::RateLimited(_) => SPREAD_ROTATIONS,
        ProbeOutcome::NotAuthorized
        | ProbeOutcome::ServerError(_)
        | ProbeOutcome::Inconclusive(_) => CHECK_FILTERS,
    }
}

fn for_confluent(error: &confluent::Error) -> &'static str {
    match error {
        confluent::Error::Rejected { response, .. } => for_kind(response.kind),
        confluent::Error::NoResponse { source, .. } => for_http(source),
        confluent::Error::InvalidResponse { .. } => CONFLUENT_STATUS,
    }
}

fn for_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unauthenticated => {
            "Correct this key in the secret that contains it, or store another if it was deleted"
        }
        ErrorKind::ResourceScopedKey => STORE_CLOUD_KEY,
        ErrorKind::Forbidden => {
            "Unless the object was deleted, grant the management credentials' owner ResourceOwner"
        }
        ErrorKind::Blocked => BLOCKED,
        ErrorKind::PaymentRequired => PAYMENT_REQUIRED,
        ErrorKind::QuotaExceeded => RAISE_QUOTA,
        ErrorKind::RateLimited => SPREAD_ROTATIONS,
        ErrorKind::NotFound | ErrorKind::Other => {
            "Check serviceAccountId, resourceId and environmentId in the secret"
        }
        ErrorKind::ServerError => CONFLUENT_STATUS,
    }
}

fn for_secrets_manager(error: &secret::Error) -> &'static str {
    match error {
        secret::Error::Rejected { code, message, .. } => for_code(code, message),
        secret::Error::NoResponse { .. } => {
            "If this persists, check the VPC endpoint for Secrets Manager, or the NAT gateway"
        }
        secret::Error::Binary { .. } => "Store the value as a string (SecretString)",
    }
}

const KMS_KEY: &str =
    "Enable the KMS key; allow kms:Decrypt and kms:GenerateDataKey in its policy and the role's";

/// Phrases of access denied errors, and the remedies. Each contains a space, so no name of a secret or a role contains it.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str); 5] = [
    ("Access to KMS", KMS_KEY),
    (
        "VPC endpoint",
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
const ALLOW_IN_ROLE: &str = "Change the role's policy to allow it; AllowRotationLambdaArn must be exactly the rotation \
                             function's ARN";

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn for_code(code: &str, message: &str) -> &'static str {
    match code {
        "AccessDeniedException" => {
            let mut policies = POLICIES.into_iter();
            let policy = policies.find(|(policy_type, _)| message.contains(policy_type));
            policy.map_or(ALLOW_IN_ROLE, |(_, remedy)| remedy)
        }
        "DecryptionFailure" | "EncryptionFailure" => KMS_KEY,
        "ResourceNotFoundException" | "ValidationException" => {
            "Check the ARN: the secret must exist in the function's Region"
        }
        "InvalidRequestException" => {
            "If the secret is scheduled for deletion, restore it. Otherwise, start a new rotation"
        }
        "ExpiredTokenException" | "UnrecognizedClientException" => {
            "Start a new rotation: Lambda renews the credentials of the function's role"
        }
        // Lambda sets the clock and the credentials.
        "InvalidSignatureException" => {
            "In a local run, check the clock and AWS_SECRET_ACCESS_KEY. In Lambda, this should not occur: start a new \
             rotation"
        }
        "LimitExceededException" => "Rotate less often, and remove labels from old versions",
        "InternalServiceError" | "ServiceUnavailable" => {
            "If this persists, see https://health.aws.amazon.com"
        }
        code if code.starts_with("Throttl") => SPREAD_ROTATIONS,
        _ => "If this persists, look up the code in the API reference of Secrets Manager",
    }
}
