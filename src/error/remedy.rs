//! What to do about an error: one sentence or two, for whoever is woken by it.
//!
//! The matches name every variant, so that a new one does not compile without its remedy.

use super::{Error, Found, Seen};
use crate::confluent::{self, Verdict};
use crate::refusal::Meaning;
use crate::store::PENDING;
use crate::{document, http, store};

impl Error {
    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::InvalidEvent { .. } => INVALID_EVENT,
            Self::RotationNotEnabled { .. } => ENABLE,
            Self::VersionNotPending { .. } => "Start another rotation with RotateSecret",
            Self::NoKeyYet => PUT_OR_ALLOW_A_KEY,
            Self::FirstKeyNeedsAdmin => NAME_AN_ADMIN,
            Self::NoCurrentVersion => PUT_A_VALUE,
            Self::LabelMoved => BEGINS_ANEW,
            Self::KeyMissing { label } | Self::VersionWithoutValue { label, .. } => {
                of_missing(label)
            }
            Self::SecretValue { label, source } => return of_value(label, source),
            Self::AdminSecretValue { source, .. } => {
                return of_document(source, "apiKey and apiSecret");
            }
            Self::PendingIsCurrent { .. }
            | Self::PendingDisagrees { .. }
            | Self::PendingOutdated { .. }
            | Self::NewKeyOfOtherResource { .. } => TAKE_PENDING_OFF,
            Self::UnknownResource(_) => RESOURCE_IDS,
            Self::AdminSecretAmbiguous { .. } => "Make them the same, or leave all but one out",
            Self::CurrentKeyNotOfOwner { owner, found, .. } => return of_found(*found, owner),
            Self::CurrentKeyOfOtherResource { .. } => {
                "Correct resourceId and environmentId in the secret, or put the right key into it"
            }
            Self::CurrentKeyNotAccepted { seen, .. } => of_current_verdict(seen),
            Self::EndpointUnreachable { .. } => UNREACHABLE,
            Self::EndpointIndifferent { .. } => INDIFFERENT,
            Self::EnvironmentUnknown => "Put environmentId into the secret",
            Self::OrganizationUnknown => "Set KEY_VERIFICATION=control-plane on the function",
            Self::EndpointNotFound { .. } => ENDPOINT_NOT_FOUND,
            Self::EndpointInvalid { .. } => {
                "Write it as https://HOST into `endpoint` in the secret"
            }
            Self::EndpointNotAllowed { source, .. } => of_http(source),
            Self::NewKeyNotAccepted { seen, .. } => of_verdict(&seen.0),
            Self::NewKeyDeleted { .. } => {
                "Start another rotation, or wait for the next one: it makes another key"
            }
            Self::NewKeyNotListed { .. } => NOT_LISTED,
            Self::QuotaExceeded {
                owner, left_over, ..
            } => return of_quota(owner, *left_over),
            Self::OutOfTime { .. } => LONGEST_TIMEOUT,
            Self::CreationUnknown { .. } => LEFT_TO_THE_SWEEP,
            Self::OldKeyUnknown { .. } => OLD_KEY_UNKNOWN,
            Self::KeyNotDeleted { source, .. } => {
                let remedy = of_confluent(source);
                // These say so themselves.
                return if [CONFLUENT_STATUS, SPREAD].contains(&remedy) {
                    remedy.to_owned()
                } else {
                    format!("The next attempt tries again. {remedy}")
                };
            }
            Self::Confluent(source) => of_confluent(source),
            Self::SecretsManager(source) => return of_store(source),
        }
        .to_owned()
    }
}

const INVALID_EVENT: &str = "Start a rotation with RotateSecret, which sends Step, SecretId, ClientRequestToken and \
                             RotationToken; an event made by hand needs the first three";

const ENABLE: &str = "Enable it with RotateSecret, naming this function; if it was cancelled on purpose, nothing is to be \
                      done";

const PUT_OR_ALLOW_A_KEY: &str = "Put a key into the secret, or set FIRST_KEY=allow on the function to let the first rotation make one";

const NAME_AN_ADMIN: &str =
    "Put adminSecretArn into the secret, or set ADMIN_SECRET_ARN on the function";

const PUT_A_VALUE: &str = "Put a value with apiKey, apiSecret and serviceAccountId into the secret";

const BEGINS_ANEW: &str = "The next attempt begins with the version that is current then; if you rolled back on purpose, take \
                           AWSPENDING off, or that version becomes current again";

const TAKE_PENDING_OFF: &str = "Take AWSPENDING off the version and start another rotation";

const RESOURCE_IDS: &str = "Use lkc-…, lsrc-…, lksqlc-…, a Flink region such as aws.us-west-2, Tableflow or Global, or \
                            leave it out for a Cloud key";

const UNREACHABLE: &str = "Attach the function to a network that reaches the endpoint and resolves its name, or set \
                           KEY_VERIFICATION=best-effort or control-plane on the function";

const INDIFFERENT: &str = "Correct `endpoint` in the secret, or give the key's owner a role that may list what is in the \
                           resource";

const ENDPOINT_NOT_FOUND: &str = "Correct resourceId and environmentId in the secret, or give the owner of the key that \
                                  signs a role that sees the resource, such as Operator, or put `endpoint` into the \
                                  secret";

const NOT_LISTED: &str = "The next attempt asks again; if it goes on, give the owner of the key that signs ResourceOwner \
                          on the service account, or OrganizationAdmin";

const LONGEST_TIMEOUT: &str =
    "Set the function's timeout to 15 minutes; the next attempt goes on where this one ended";

const LEFT_TO_THE_SWEEP: &str = "Nothing is to be done: a key that was made bears this secret's mark, and a later step or \
                                 rotation deletes it";

const OLD_KEY_UNKNOWN: &str = "Give the owner of the key that signs ResourceOwner on the service account, or \
                               OrganizationAdmin; the next attempt looks again";

const CONFLUENT_STATUS: &str =
    "The next attempt asks again; if it goes on, see https://status.confluent.cloud";

const SPREAD: &str =
    "The next attempt asks again; if it goes on, spread the rotations over the day";

fn of_missing(label: &str) -> &'static str {
    if label == PENDING {
        TAKE_PENDING_OFF
    } else {
        PUT_A_VALUE
    }
}

fn of_value(label: &str, error: &document::Error) -> String {
    match error {
        // Nobody but this function writes a pending value, and it makes that from the current one.
        document::Error::TooLarge { .. } => of_document(error, ""),
        _ if label == PENDING => TAKE_PENDING_OFF.to_owned(),
        _ => of_document(error, "apiKey, apiSecret and serviceAccountId"),
    }
}

/// `fields` are those that such a value needs.
fn of_document(error: &document::Error, fields: &str) -> String {
    match error {
        document::Error::NotAnObject { .. } => format!(
            "Store one JSON object with {fields}, and nothing before or after it; in the console, enter them as \
             key/value pairs"
        ),
        document::Error::Missing(field) => format!("Put `{field}` into it, spelt exactly so"),
        document::Error::NotAString(field) => {
            format!("Write the value of `{field}` as text between double quotes")
        }
        document::Error::Repeated(_) | document::Error::TwoAdminSecrets => {
            "Keep one of them".to_owned()
        }
        document::Error::Malformed { form, .. } => format!("Write {form}"),
        document::Error::TooLarge { .. } => "Move other fields to another secret".to_owned(),
        document::Error::Disagreement(_) => TAKE_PENDING_OFF.to_owned(),
    }
}

fn of_found(found: Found, owner: &str) -> String {
    match found {
        Found::OfAnotherOwner => {
            "Correct apiKey and apiSecret, or serviceAccountId, in the secret".to_owned()
        }
        Found::OtherKeys => "Correct apiKey in the secret; if the key was deleted, set CURRENT_KEY_CHECK=off on the \
                             function for one rotation"
            .to_owned(),
        Found::NoKeys => format!(
            "Give the owner of the key that signs ResourceOwner on {owner}, or OrganizationAdmin; if the account is \
             another one, correct serviceAccountId in the secret"
        ),
    }
}

fn of_http(error: &http::Error) -> &'static str {
    match error {
        http::Error::HostNotAllowed { why, .. } if *why == http::OTHER_DOMAIN => {
            "Put the right one into `endpoint` in the secret; if this host is one to trust with the key, add its domain to \
             ALLOWED_ENDPOINT_DOMAINS on the function"
        }
        http::Error::HostNotAllowed { .. } => {
            "Write it as https://HOST into `endpoint` in the secret"
        }
        http::Error::NotSent { .. } => {
            "Give the function a way to that host, in a VPC by a NAT gateway; and check CONFLUENT_API_URL if you set it"
        }
        http::Error::TimeUp { .. } => LONGEST_TIMEOUT,
        http::Error::Refused(_)
        | http::Error::OutcomeUnknown { .. }
        | http::Error::TooLong { .. } => CONFLUENT_STATUS,
    }
}

fn of_current_verdict(seen: &Seen) -> &'static str {
    match &seen.0 {
        Verdict::NotAccepted => {
            "Correct apiKey and apiSecret in the secret; if the key is dead, set CURRENT_KEY_CHECK=off on the function \
             for one rotation"
        }
        verdict => of_verdict(verdict),
    }
}

fn of_verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Unreachable(_) => UNREACHABLE,
        Verdict::NotAuthorised => {
            "The next attempt tries it again; if it goes on, give the key's owner a role that may list what is in \
             the resource"
        }
        Verdict::Accepted | Verdict::NotAccepted => {
            "The next attempt tries it again; give the function a timeout of 15 minutes, and if it goes on, see whether \
             Confluent Cloud lists the key"
        }
        Verdict::Busy(_) => SPREAD,
        Verdict::Unclear(_) => {
            "The next attempt tries it again; if it goes on, check that the endpoint is the resource's own"
        }
    }
}

fn of_quota(owner: &str, left_over: usize) -> String {
    let delete =
        format!("Delete keys of {owner} that nobody uses, or have Confluent raise the quota");
    match left_over {
        0 => delete,
        keys => format!(
            "{delete}. Abandoned rotations of this secret left {keys} of them: rotate again half an hour after they \
             were made, and they are deleted first"
        ),
    }
}

fn of_confluent(error: &confluent::Error) -> &'static str {
    match error {
        confluent::Error::Refused { refusal, .. } => of_refusal(refusal.meaning),
        confluent::Error::NoAnswer { source, .. } => of_http(source),
        confluent::Error::Unusable { .. } => CONFLUENT_STATUS,
    }
}

fn of_refusal(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Unauthenticated => {
            "Correct apiKey and apiSecret in the secret that holds this key; if the key was deleted, put another one \
             there"
        }
        Meaning::ResourceKey => {
            "Name an admin secret that holds a Cloud key (adminSecretArn in the secret, or ADMIN_SECRET_ARN): the key \
             of a cluster cannot manage keys"
        }
        Meaning::Forbidden => {
            "Give the owner of the key that signs ResourceOwner on the service account, or OrganizationAdmin; \
             Confluent Cloud answers so too if what was asked for is gone"
        }
        Meaning::QuotaExceeded => "Delete keys that nobody uses, or have Confluent raise the quota",
        Meaning::RateLimited => SPREAD,
        Meaning::NotFound | Meaning::Other => {
            "Check serviceAccountId, resourceId and environmentId in the secret"
        }
        Meaning::ServerError => CONFLUENT_STATUS,
    }
}

fn of_store(error: &store::Error) -> String {
    match error {
        store::Error::Refused {
            operation,
            code,
            message,
            ..
        } if code == "AccessDeniedException" => of_denial(operation, message),
        store::Error::Refused { code, message, .. } => of_code(code, message).to_owned(),
        store::Error::NoAnswer { .. } => {
            "The next attempt asks again; in a VPC, check the interface endpoint of Secrets Manager with its security \
             group, or the NAT gateway"
                .to_owned()
        }
        store::Error::Binary { .. } => {
            "Store it as text (SecretString): a JSON object with apiKey and apiSecret".to_owned()
        }
        store::Error::Undescribed { .. } => {
            "Check AWS_ENDPOINT_URL_SECRETS_MANAGER: this is no answer of Secrets Manager's"
                .to_owned()
        }
    }
}

const KMS_KEY: &str = "Allow the function's role kms:Decrypt and kms:GenerateDataKey on the key that encrypts the secret, \
                       in the role's policy and the key's, and check that the key is enabled";

/// The kinds of policy that a denial names, and where each is found.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str); 5] = [
    (
        "VPC endpoint policy",
        "in the policy of the VPC's endpoint of Secrets Manager",
    ),
    ("resource-based policy", "in the secret's resource policy"),
    (
        "permissions boundary",
        "in the role's permissions boundary too",
    ),
    (
        "service control policy",
        "in the organization's service control policy too",
    ),
    (
        "",
        "in the role's policy; a condition on AllowRotationLambdaArn wants the function's ARN exactly as it is attached",
    ),
];

fn of_denial(operation: &str, message: &str) -> String {
    // "Access to KMS is not allowed"
    if message.contains("KMS") {
        return KMS_KEY.to_owned();
    }
    let mut policies = POLICIES.into_iter();
    let policy = policies.find(|(kind, _)| message.contains(kind));
    let (_, place) = policy.unwrap_or_default();
    format!("Allow the function's role secretsmanager:{operation} on this secret {place}")
}

const CLOCK: &str = "The next attempt signs anew; if it goes on, set the clock of the machine that runs the function";

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn of_code(code: &str, message: &str) -> &'static str {
    match code {
        "DecryptionFailure" | "EncryptionFailure" => KMS_KEY,
        "ResourceNotFoundException" | "ValidationException" => {
            "Check the ARN: the secret has to exist, and in the function's own region"
        }
        // "You can't perform this operation on the secret because it was marked for deletion."
        "InvalidRequestException" if message.contains("delet") => {
            "Restore it with RestoreSecret if it is still wanted, or let the rotation end with it"
        }
        "InvalidRequestException" => {
            "If the secret is scheduled for deletion, restore it; if another version was put meanwhile, start another \
             rotation"
        }
        // "Signature expired: … is now earlier than …", "Signature not yet current: …"
        "RequestExpired" => CLOCK,
        "InvalidSignatureException" if message.starts_with("Signature") => CLOCK,
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => {
            "Rotate again: Lambda renews the credentials of the function's role; outside of Lambda, get fresh ones"
        }
        "LimitExceededException" => {
            "Rotate the secret less often, and take labels off versions that nobody needs"
        }
        "InternalServiceError" | "ServiceUnavailable" => {
            "The next attempt asks again; if it goes on, see https://health.aws.amazon.com"
        }
        code if code.starts_with("Throttl") => SPREAD,
        _ => {
            "The next attempt asks again; if it goes on, look the code up in Secrets Manager's API reference"
        }
    }
}
