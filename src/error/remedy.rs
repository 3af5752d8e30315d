//! Remedies: what to do about an error, in a few short sentences.
//!
//! The matches on [`Error`] and [`ProbeOutcome`] list all variants, so that a new one does not compile without a remedy.

use super::{Error, KeyLookup, OwnKeyUse};
use crate::config::SECRET_ARN_FORM;
use crate::confluent::{self, ErrorKind, Principal, ProbeOutcome};
use crate::secret::{CURRENT, PENDING, field_name, is_about_kms_key, value};
use crate::{http, secret};

impl Error {
    /// Returns what to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::InvalidEvent { event, .. } => for_event(event),
            Self::RotationNotEnabled { .. } => "Enable rotation, unless it was canceled on purpose",
            Self::VersionNotPending { .. } => "Start a new rotation with RotateSecret",
            Self::InitialKeyNotAllowed { .. } => STORE_OR_ALLOW_KEY,
            Self::InitialKeyRequiresAdminSecret => NAME_ADMIN_SECRET,
            Self::AdminSecretRequired { reason, .. } => for_own_key(*reason),
            Self::InvalidAdminSecretArn => COPY_ARN,
            Self::AdminSecretNotAllowed { .. } => REMOVE_ADMIN_SECRET,
            Self::InKey { source, .. } => source.remedy(),
            Self::Token(error) => error.remedy(),
            Self::Endpoint(error) => error.remedy(),
            Self::AdminSecretNotRead { source } => for_secrets_manager(source, true),
            Self::StagingLabelMoved => RESUME_ROTATION,
            Self::InvalidSecretValue { label, source } => for_value(label, source),
            Self::InvalidAdminSecretValue { source, .. } => for_value(CURRENT, source),
            Self::VersionWithoutValue { label: PENDING, .. }
            | Self::PendingKeyScopeMismatch { .. } => REMOVE_PENDING_LABEL,
            Self::VersionWithoutKey { label: PENDING, .. }
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
            Self::CurrentKeyNotOfOwner { source, .. } => for_lookup(source),
            Self::CurrentKeyScopeMismatch { .. } => CORRECT_SCOPE,
            Self::CurrentKeyNotAccepted { outcome, .. } => for_probe(outcome, CORRECT_KEY),
            Self::EndpointUnreachable { .. } => CONNECT_TO_ENDPOINT,
            Self::EndpointAcceptsAnyCredential { .. } => CHECK_FILTERS,
            Self::PendingKeyNotAccepted { outcome, .. } => for_probe(outcome, PROPAGATION),
            Self::PendingKeyNotListed { .. } => NOT_LISTED,
            Self::QuotaExceeded { .. } => RAISE_QUOTA,
            Self::TimeoutTooShort { .. } => RAISE_TIMEOUT,
            Self::CreationOutcomeUnknown { source } => for_unknown_creation(source),
            Self::KeyDeletionFailed { source, .. } | Self::Confluent(source) => for_request(source),
            Self::SecretsManager(source) => for_secrets_manager(source, false),
            Self::InvalidPolicyTag { .. } => CORRECT_POLICY_TAG,
            Self::AnotherRotationFunction { .. } => SEND_TO_NAMED_FUNCTION,
            Self::RetireFailed { .. } => LOOK_UP_ERRORS,
        }
    }
}

const SEND_TO_NAMED_FUNCTION: &str =
    "Send the event to the function that the secret names, or enable rotation with this one";
const READ_AGAIN: &str = "No action is required: the next attempt reads the secret again";
const LOOK_UP_ERRORS: &str = "A later run or the next rotation retries. If this persists, look up the error of each secret in the log";

const STORE_OR_ALLOW_KEY: &str =
    "Add apiKey and apiSecret, or set INITIAL_KEY=allow to let the next rotation create a key";
const RENAME_FIELDS: &str = "Add apiKey and apiSecret with this key: a rotation replaces it in these fields, too. Or rename \
                             the fields, if no client reads them";
const NAME_ADMIN_SECRET: &str = "Name an admin secret with a Cloud API key: in the template parameter AdminSecretArn, or in \
                                 adminSecretArn of the secret and in OtherAdminSecretArns. Or use an identity pool (IdentityPoolId)";
const NAME_OTHER_ADMIN_SECRET: &str = "Name another admin secret, with a Cloud API key: in the template parameter AdminSecretArn, or in adminSecretArn of the secret \
     and in OtherAdminSecretArns";
const COPY_ARN: &str = "Copy it from DescribeSecret of the admin secret";
const STORE_CLOUD_KEY: &str = "Name an admin secret with a Cloud API key (template parameter AdminSecretArn), or store a Cloud API key in \
                               the one that is named";
const RESUME_ROTATION: &str = "The next attempt resumes the rotation. After a rollback, remove AWSPENDING, or that version is \
                               promoted again";
const REMOVE_PENDING_LABEL: &str =
    "Remove AWSPENDING from the version with UpdateSecretVersionStage, and start a new rotation";
const HEALED: &str = "AWSPENDING was removed, and the next attempt starts over. If Secrets Manager does not start a new \
                      rotation, call RotateSecret";
const SEPARATE_ADMIN_KEY: &str =
    "Store another key in one of the two secrets, or name the secret itself as its admin secret";
const MOVE_LABEL_BACK: &str = "If an earlier value was stored again, move AWSCURRENT to the version labeled AWSPREVIOUS. Otherwise, correct apiKey and \
     apiSecret";
const STORE_VALUE: &str = "Store a value with apiKey, apiSecret and serviceAccountId in the secret";
const RESOURCE_IDS: &str =
    "Use lkc-…, lsrc-…, lksqlc-…, aws.us-west-2 (Flink), Tableflow, Global or cloud";
const CORRECT_SCOPE: &str = "Correct resourceId and environmentId, or apiKey and apiSecret";
pub(crate) const PROPAGATION: &str =
    "If this persists, set the timeout to 15 minutes and check that the key still exists";
pub(crate) const CORRECT_KEY: &str =
    "Correct apiKey and apiSecret, or store another key if it was deleted";
pub(crate) const CONNECT_TO_ENDPOINT: &str = "Connect the function to a network with a route to the endpoint and DNS for its host \
     name. If it has them, check security groups, firewalls and HTTPS_PROXY";
const CONNECT_TO_BROKERS: &str = "Connect the function to a network with a route to each broker on TCP port 9092 and DNS for its host name. If it has \
     them, check security groups and firewalls. HTTPS_PROXY does not apply";
const CHECK_BROKERS: &str = "If this persists, check for a firewall in front of the brokers. If the message says that the broker's domain is not \
     allowed and it is your own, add it to ALLOWED_ENDPOINT_DOMAINS";
const CHECK_FILTERS: &str = "If this persists, check for a firewall, a proxy (HTTPS_PROXY) and Confluent's IP filters, or correct \
     `endpoint` in the secret";
pub(super) const BLOCKED: &str = "Check the proxy in HTTPS_PROXY with its user and password, firewalls, Confluent Cloud's IP filters, and \
                       CONFLUENT_API_URL";
const BLOCKED_CREATION: &str = "Check the proxy in HTTPS_PROXY with its user and password, firewalls, and CONFLUENT_API_URL. If a key was \
                                created, a later step deletes it";
const CHECK_NETWORK: &str = "Check the network path from the function to this host: NAT in a VPC, firewalls, HTTPS_PROXY, \
                             SSL_CERT_FILE if a proxy inspects TLS, and CONFLUENT_API_URL";
pub(super) const ENDPOINT_FORM: &str =
    "Set `endpoint` in the secret to the resource's REST endpoint, https://HOST, or remove it";
const TRUST_DOMAIN: &str =
    "Correct `endpoint`, or, if the domain is your own, add it to ALLOWED_ENDPOINT_DOMAINS";
const NOT_LISTED: &str = "If this persists, check that the key exists, and that the management credentials' owner still has \
                          ResourceOwner on the key's owner";
/// Confluent Cloud returns 403, or an empty list, both for a missing role and for an object that does not exist.
const FORBIDDEN: &str = "Check that serviceAccountId is correct and that it and the key exist. Only if so, grant the management \
                         credentials' owner ResourceOwner on this service account";
const NO_KEYS: &str = "Look up the key's owner in Confluent Cloud. If it is another one, correct serviceAccountId. If it is this \
                       one, grant the management credentials' owner, or the identity pool, ResourceOwner on this service account";
pub(super) const PAYMENT_REQUIRED: &str =
    "Resolve what Confluent Cloud reports, such as the organization's billing";
pub(crate) const RAISE_QUOTA: &str =
    "Delete unused keys, or contact Confluent Support to raise the quota";
const RAISE_TIMEOUT: &str = "Set the function's timeout to 15 minutes";
const ORPHAN_CLEANUP: &str = "No action is required: if a key was created, a later step deletes it";
pub(super) const CONFLUENT_STATUS: &str = "If this persists, see https://status.confluent.cloud";
pub(super) const SPREAD_ROTATIONS: &str =
    "If this persists, schedule the rotations at different times";

const CORRECT_POLICY_TAG: &str = "Correct the resource tag, or remove it: without it, the function's OLD_KEY_POLICY and OLD_KEY_HOURS \
                                  apply";

fn for_unknown_creation(error: &confluent::Error) -> &'static str {
    match error.kind() {
        Some(ErrorKind::Blocked) => BLOCKED_CREATION,
        _ => ORPHAN_CLEANUP,
    }
}

fn for_event(event: &str) -> &'static str {
    match event {
        "preflight" => {
            r#"Send {"Step": "preflight", "SecretId": "ARN or name"}, or "SecretIds": ["ARN or name"] or "All": true instead of SecretId"#
        }
        "status" => r#"Send {"Step": "status"}"#,
        "retire" => {
            r#"Send {"Step": "retire"}, or {"Step": "retire", "SecretIds": ["ARN or name"]}. OLD_KEY_HOURS sets the number of hours"#
        }
        _ => {
            r#"Start a rotation with RotateSecret. To check a secret, send {"Step": "preflight", "SecretId": "ARN or name"}"#
        }
    }
}

fn for_own_key(reason: OwnKeyUse) -> &'static str {
    match reason {
        OwnKeyUse::NoAdminSecret => NAME_ADMIN_SECRET,
        OwnKeyUse::NamesItself(_) => NAME_OTHER_ADMIN_SECRET,
        OwnKeyUse::SameKey => STORE_CLOUD_KEY,
    }
}

/// Returns a remedy with the names of the fields of the key with `prefix`.
pub(crate) fn remedy_for_key(remedy: &str, prefix: &str) -> String {
    const NAMED: [&str; 4] = ["apiKey", "apiSecret", "resourceId", "`endpoint`"];
    NAMED.into_iter().fold(remedy.to_owned(), |remedy, name| {
        let quoted = name.trim_matches('`');
        remedy.replace(name, &name.replace(quoted, &field_name(prefix, quoted)))
    })
}

fn for_value(label: &str, error: &value::Error) -> &'static str {
    match error {
        // The pending value was created from the current one, so the current one is too large.
        value::Error::TooLarge { .. } => "Move other fields to another secret",
        value::Error::ScopeMismatch(_) => HEALED,
        value::Error::KeyInOtherFields { .. } => RENAME_FIELDS,
        value::Error::NotReplaceable(_) => {
            "In settings such as endpoint, remove the ID and the API secret. Elsewhere, store both of them completely, as plain \
             text or as base64 of ID:SECRET, or remove them"
        }
        _ if label == PENDING => HEALED,
        value::Error::Binary => "Store the value as a string (SecretString)",
        value::Error::NotAnObject { .. } => {
            "Store key/value pairs: apiKey, apiSecret and (not in admin secrets) serviceAccountId"
        }
        value::Error::Missing(_) => "Add it, in exactly this spelling",
        value::Error::IncompleteKey { .. } => {
            "Add the missing field, with an empty string if the next rotation is to create the key. If the field with the \
             resource ID has another purpose, rename that field"
        }
        value::Error::SameResource { .. } | value::Error::SameKey { .. } => {
            "Store one key per resource, each in fields of its own"
        }
        value::Error::NotAString(_) => "Set it to a string in double quotes",
        value::Error::Repeated(_) | value::Error::TwoAdminSecrets => "Remove one of them",
        value::Error::Malformed { form, .. } if *form == SECRET_ARN_FORM => COPY_ARN,
        value::Error::Malformed { .. } => "Correct it",
    }
}

fn for_lookup(lookup: &KeyLookup) -> &'static str {
    match lookup {
        KeyLookup::AnotherOwner(_) => "Correct apiKey and apiSecret, or serviceAccountId",
        KeyLookup::OtherKeys => {
            "Correct apiKey and apiSecret, or serviceAccountId, or store another key if it was deleted"
        }
        KeyLookup::NoKeys => NO_KEYS,
    }
}

pub(super) fn for_http(error: &http::Error) -> &'static str {
    match error {
        http::Error::HostNotAllowed { reason, .. } if *reason == http::DOMAIN_NOT_ALLOWED => {
            TRUST_DOMAIN
        }
        http::Error::HostNotAllowed { .. } => ENDPOINT_FORM,
        http::Error::NotSent { .. } => CHECK_NETWORK,
        http::Error::NoLongerWanted { .. } => READ_AGAIN,
        http::Error::DeadlineExceeded { .. } => RAISE_TIMEOUT,
        http::Error::Rejected(_)
        | http::Error::OutcomeUnknown { .. }
        | http::Error::ResponseTooLong { .. } => CONFLUENT_STATUS,
    }
}

/// `rejected` is the remedy if the resource rejected the key.
pub(crate) fn for_probe(outcome: &ProbeOutcome, rejected: &'static str) -> &'static str {
    match outcome {
        ProbeOutcome::Unreachable(_) => CONNECT_TO_ENDPOINT,
        ProbeOutcome::BrokerUnreachable(..) => CONNECT_TO_BROKERS,
        ProbeOutcome::BrokerInconclusive(..) => CHECK_BROKERS,
        ProbeOutcome::NotAccepted | ProbeOutcome::RejectedByBroker(_) => rejected,
        ProbeOutcome::Accepted => PROPAGATION,
        ProbeOutcome::RateLimited(_) => SPREAD_ROTATIONS,
        ProbeOutcome::NotAuthorized
        | ProbeOutcome::ServerError(_)
        | ProbeOutcome::NotTheEndpoint(_)
        | ProbeOutcome::Inconclusive(_) => CHECK_FILTERS,
    }
}

/// Returns the remedy of a failed request to Confluent Cloud.
pub(super) fn for_request(error: &confluent::Error) -> &'static str {
    match error {
        confluent::Error::Rejected {
            response,
            principal: Principal::IdentityPool(_),
            ..
        } => match response.kind {
            ErrorKind::Unauthenticated => TOKEN_NOT_ACCEPTED,
            ErrorKind::Forbidden => BIND_POOL,
            kind => for_kind(kind),
        },
        confluent::Error::Rejected { response, .. } => for_kind(response.kind),
        confluent::Error::NoResponse { source, .. } => for_http(source),
        confluent::Error::InvalidResponse { .. } => CONFLUENT_STATUS,
    }
}

fn for_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unauthenticated => {
            "Correct this key in the secret that contains it, or store another Cloud API key if it was deleted"
        }
        ErrorKind::ResourceScopedKey => STORE_CLOUD_KEY,
        ErrorKind::Forbidden => FORBIDDEN,
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

const REMOVE_ADMIN_SECRET: &str = "Remove it: the function authenticates with its identity pool. To use an admin secret for this secret, \
    rotate it with another function";
const TOKEN_NOT_ACCEPTED: &str = "Check that the identity pool belongs to the organization of the secret's keys. If it does, this API may \
    not accept access tokens: use an admin secret";
const BIND_POOL: &str = "Check that serviceAccountId is correct and that it and the key exist. Only if so, grant the identity pool \
    ResourceOwner on this service account (principal User:pool-…)";
fn for_secrets_manager(error: &secret::Error, is_admin_secret: bool) -> &'static str {
    match error {
        secret::Error::Rejected {
            code: Some(code),
            message,
            ..
        } => for_code(code, message, is_admin_secret),
        // Secrets Manager always returns a code.
        secret::Error::Rejected { code: None, .. } => {
            "A proxy or a firewall probably responded: check HTTPS_PROXY, NO_PROXY and AWS_ENDPOINT_URL_SECRETS_MANAGER"
        }
        secret::Error::NoResponse { .. } => {
            "If this persists, check the network path to Secrets Manager: its VPC endpoint or NAT, security groups, and HTTPS_PROXY"
        }
        secret::Error::Binary { .. } => "Store the value as a string (SecretString)",
    }
}

/// The template's role allows requests only under these conditions.
const ALLOW_SECRET: &str = "Check that the secret's name starts with one of the template's SecretPrefixes, and that its rotation \
                            names exactly the function's ARN, without an alias or a version";
const ALLOW_LIST: &str = "Set the template parameter RetireSchedule to yes, which allows secretsmanager:ListSecrets. For secrets of \
                          another account, name them in SecretIds";
const ALLOW_ADMIN_SECRET: &str = "Check that this is the complete ARN of the intended admin secret. If it is, set the template parameter \
                                  AdminSecretArn to it or, if secrets name their admin secrets, add it to OtherAdminSecretArns";
const ALLOW_OTHER_ACCOUNT: &str = "Change the admin secret's resource policy to allow it, and check that the template parameter AdminSecretArn or \
                                   OtherAdminSecretArns contains the secret's complete ARN";
const KMS_KEY: &str = "Enable the KMS key, or cancel its deletion. If it is enabled, its policy and the role's (template parameters \
                       SecretKmsKeyArns and AdminSecretKmsKeyArns) must allow kms:Decrypt and, except for admin secrets, \
                       kms:GenerateDataKey";

/// Phrases of access denied errors, in lowercase, the remedy, and the remedy if a KMS action is denied. Each phrase contains a
/// space, so no name of a secret or a role contains it.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str, &str); 8] = [
    (
        "deny in an identity-based policy",
        "Remove the deny from the role's policies",
        "Remove the deny of this KMS action from the role's policies",
    ),
    (
        "vpc endpoint",
        "Change the VPC endpoint's policy to allow it",
        "Change the VPC endpoint's policy to allow this KMS action",
    ),
    (
        "resource-based policy",
        "Change the secret's resource policy to allow it",
        "Change the KMS key's policy to allow this action",
    ),
    (
        "permissions boundary",
        "Change the role's permissions boundary to allow it",
        "Change the role's permissions boundary to allow this KMS action",
    ),
    (
        "service control policy",
        "Change the service control policy to allow it",
        "Change the service control policy to allow this KMS action",
    ),
    (
        "resource control policy",
        "Change the resource control policy to allow it",
        "Change the resource control policy to allow this KMS action",
    ),
    (
        "session policy",
        "Change the session policy to allow it",
        "Change the session policy to allow this KMS action",
    ),
    // Some messages name no type.
    (
        "explicit deny",
        "Remove the deny: it may be in a policy of the role, the secret, the VPC endpoint or the organization",
        "Remove the deny of this KMS action: it may be in a policy of the role, the KMS key, the VPC endpoint or the organization",
    ),
];

/// Returns the row of [`POLICIES`] that an access denied message names.
pub(super) fn denying_policy(message: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let message = message.to_lowercase();
    let mut policies = POLICIES.into_iter();
    policies.find(|(policy, ..)| message.contains(policy))
}

/// Returns the remedy of an access denied error.
fn for_denial(message: &str, is_admin_secret: bool) -> &'static str {
    let is_about_kms = is_about_kms_key(message);
    match denying_policy(message) {
        Some((_, _, remedy)) if is_about_kms => remedy,
        // The message names one policy. If the secret is in another account, the role's policy may not allow the request either.
        Some(("resource-based policy", ..)) if is_admin_secret => ALLOW_OTHER_ACCOUNT,
        Some((_, remedy, _)) => remedy,
        None if is_about_kms => KMS_KEY,
        None if is_admin_secret => ALLOW_ADMIN_SECRET,
        None if message.contains("secretsmanager:ListSecrets") => ALLOW_LIST,
        None => ALLOW_SECRET,
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn for_code(code: &str, message: &str, is_admin_secret: bool) -> &'static str {
    match code {
        code if code.starts_with("Throttl") => SPREAD_ROTATIONS,
        "InternalServiceError" | "ServiceUnavailable" => {
            "If this persists, see https://health.aws.amazon.com"
        }
        "DecryptionFailure" | "EncryptionFailure" => KMS_KEY,
        "AccessDeniedException" => for_denial(message, is_admin_secret),
        code if code.starts_with("KMS") || is_about_kms_key(message) => KMS_KEY,
        "ResourceNotFoundException" | "ValidationException" => {
            "Check the ARN or the name: the secret must exist in the function's Region"
        }
        "InvalidRequestException" => {
            "If the secret is scheduled for deletion, restore it. Otherwise, start a new rotation"
        }
        "ExpiredTokenException" | "UnrecognizedClientException" => {
            "Retry: Lambda renews the credentials of the function's role"
        }
        // Lambda sets the clock and the credentials.
        "InvalidSignatureException" => {
            "In a local run, check the clock and AWS_SECRET_ACCESS_KEY. In Lambda, this should not occur: start a new \
             rotation"
        }
        "LimitExceededException" => "Rotate less often, and remove labels from old versions",
        _ => "If this persists, look up the code in the API reference of Secrets Manager",
    }
}
