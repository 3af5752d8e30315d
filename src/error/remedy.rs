//! What to do about an error: one sentence or two, for whoever is woken by it.

use super::Error;
use crate::confluent::{self, Verdict};
use crate::refusal::Meaning;
use crate::{document, http, store};

impl Error {
    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::SecretValue { source, .. }
            | Self::AdminSecretValue { source, .. }
            | Self::PendingDisagrees { source, .. } => of_document(source),
            Self::EndpointNotAllowed { source, .. } => of_http(source).to_owned(),
            Self::EndpointUnreachable { .. } => UNREACHABLE.to_owned(),
            Self::NewKeyNotAccepted { seen, .. } => of_verdict(&seen.0).to_owned(),
            Self::QuotaExceeded { left_over, .. } => of_quota(*left_over),
            Self::KeyNotDeleted { source, .. } => {
                format!("The next attempt tries again. {}", of_confluent(source))
            }
            Self::Confluent(source) => of_confluent(source).to_owned(),
            Self::SecretsManager(source) => of_store(source).to_owned(),
            error => error.own_remedy().to_owned(),
        }
    }

    /// The remedy of a variant that needs no other.
    fn own_remedy(&self) -> &'static str {
        match self {
            Self::InvalidEvent { .. } => {
                "Start a rotation with RotateSecret, which sends Step, SecretId, ClientRequestToken and \
                 RotationToken; an event made by hand needs the first three"
            }
            Self::RotationNotEnabled { .. } => {
                "Enable it with RotateSecret, naming this function; if it was cancelled on purpose, nothing is to \
                 be done"
            }
            Self::VersionNotPending { .. } => "Start another rotation with RotateSecret",
            Self::NoCurrentVersion => {
                "Put a value with apiKey, apiSecret and serviceAccountId into the secret"
            }
            Self::CurrentVersionMoved => {
                "Nothing is to be done: the next attempt begins with the version that is current then"
            }
            Self::VersionWithoutValue { .. } | Self::KeyMissing { .. } => {
                "If it stays so, take AWSPENDING off the version and start another rotation"
            }
            Self::PendingIsCurrent { .. }
            | Self::PendingOutdated { .. }
            | Self::NewKeyOfOtherResource { .. } => {
                "Take AWSPENDING off the version and start another rotation"
            }
            Self::NoKeyYet => {
                "Put a key into the secret, or set FIRST_KEY=allow on the function to let the first rotation make one"
            }
            Self::FirstKeyNeedsAdmin => {
                "Put adminSecretArn into the secret, or set ADMIN_SECRET_ARN on the function"
            }
            Self::UnknownResource(_) => {
                "Use lkc-…, lsrc-…, lksqlc-…, a Flink region such as aws.us-west-2, Tableflow or Global, or leave it \
                 out for a Cloud key"
            }
            Self::AdminSecretAmbiguous { .. } => "Make them the same, or leave all but one out",
            _ => self.remedy_at_confluent(),
        }
    }

    /// The remedy of a variant about keys and endpoints.
    fn remedy_at_confluent(&self) -> &'static str {
        match self {
            Self::CurrentKeyNotOfOwner { .. } => {
                "Correct apiKey and serviceAccountId in the secret, or give the owner of the key that signs \
                 ResourceOwner on the service account, or OrganizationAdmin; if the current key is gone, set \
                 CURRENT_KEY_CHECK=off for one rotation"
            }
            Self::CurrentKeyOfOtherResource { .. } => {
                "Correct resourceId and environmentId in the secret"
            }
            Self::CurrentKeyNotAccepted { .. } => {
                "Correct apiKey and apiSecret in the secret; if the key is dead, set CURRENT_KEY_CHECK=off for one \
                 rotation"
            }
            Self::EndpointIndifferent { .. } => {
                "Correct `endpoint` in the secret, or give the key's owner a role that may list what is in the \
                 resource"
            }
            Self::EnvironmentUnknown => "Put environmentId into the secret",
            Self::OrganizationUnknown => "Set KEY_VERIFICATION=control-plane on the function",
            Self::EndpointNotFound { .. } => {
                "Correct resourceId and environmentId in the secret, give the owner of the key that signs a role \
                 that sees the resource, such as Operator, or put `endpoint` into the secret"
            }
            Self::EndpointInvalid { .. } => {
                "Write it as https://HOST into `endpoint` in the secret"
            }
            Self::NewKeyDeleted { .. } => {
                "Start another rotation, or wait for the next one: it makes another key"
            }
            Self::NewKeyNotListed { .. } => {
                "The next attempt asks again; if it goes on, give the owner of the key that signs ResourceOwner on \
                 the service account, or OrganizationAdmin"
            }
            Self::OutOfTime => {
                "Set the function's timeout to 15 minutes; the next attempt begins anew"
            }
            Self::CreationUnknown { .. } => {
                "Nothing is to be done: a key that was made bears this secret's mark, and a later step or rotation \
                 deletes it"
            }
            Self::OldKeyUnknown { .. } => {
                "Give the owner of the key that signs ResourceOwner on the service account, or OrganizationAdmin; \
                 the next attempt looks again"
            }
            // Those above, and those that `remedy` answers itself.
            _ => "The next attempt tries again",
        }
    }
}

const UNREACHABLE: &str = "Attach the function to a network that reaches the endpoint, or set \
                           KEY_VERIFICATION=best-effort or control-plane";

fn of_document(error: &document::Error) -> String {
    match error {
        document::Error::NotAnObject { .. } => {
            "Store one JSON object of named fields, with nothing before or after it (in the console: key/value pairs, \
             or the object as plaintext)"
        }
        document::Error::Missing(_) => "Add it to the value, spelt exactly so",
        document::Error::NotAString(_) => "Write its value as text between double quotes",
        document::Error::Repeated(_) | document::Error::TwoAdminSecrets => "Keep one of them",
        document::Error::Malformed { form, .. } => return format!("Write {form}"),
        document::Error::TooLarge { .. } => "Move other fields to another secret",
        document::Error::Disagreement(_) => {
            "Take AWSPENDING off the version and start another rotation"
        }
    }
    .to_owned()
}

fn of_http(error: &http::Error) -> &'static str {
    match error {
        http::Error::HostNotAllowed { .. } => {
            "Correct the endpoint, or add its domain to ALLOWED_ENDPOINT_DOMAINS"
        }
        http::Error::NotSent { .. } => {
            "Give the function a way to the host: in a VPC that is a NAT gateway, a private endpoint or a proxy"
        }
        http::Error::TimeUp { .. } => {
            "Set the function's timeout to 15 minutes; the next attempt goes on"
        }
        http::Error::Refused(_)
        | http::Error::OutcomeUnknown { .. }
        | http::Error::TooLong { .. } => {
            "The next attempt asks again; if it goes on, see https://status.confluent.cloud"
        }
    }
}

fn of_verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Unreachable(_) => UNREACHABLE,
        Verdict::NotAuthorised => {
            "The next attempt tries it again; if it goes on, give the key's owner a role that may list what is in \
             the resource"
        }
        _ => {
            "The next attempt tries it again; if it goes on, see which endpoint was asked and whether the key is \
             listed at Confluent"
        }
    }
}

fn of_quota(left_over: usize) -> String {
    let delete = "Delete keys that nobody uses, or have the quota raised";
    match left_over {
        0 => delete.to_owned(),
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
        confluent::Error::Unusable { .. } => {
            "The next attempt asks again; if it goes on, see https://status.confluent.cloud"
        }
    }
}

fn of_refusal(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Unauthenticated => {
            "Correct apiKey and apiSecret in the secret of the key that signs; if its key was deleted, put another \
             one there"
        }
        Meaning::ResourceKey => {
            "Name an admin secret that holds a Cloud key: the key that signs belongs to a resource and cannot \
             manage keys"
        }
        Meaning::Forbidden => {
            "Give the owner of the key that signs ResourceOwner on the service account, or OrganizationAdmin; \
             Confluent Cloud answers so too if what was asked for is gone"
        }
        Meaning::QuotaExceeded => "Delete keys that nobody uses, or have the quota raised",
        Meaning::RateLimited => "The next attempt asks again; if it goes on, spread the schedules",
        Meaning::NotFound | Meaning::Other => {
            "Check serviceAccountId, resourceId and environmentId in the secret"
        }
        Meaning::ServerError => {
            "The next attempt asks again; if it goes on, see https://status.confluent.cloud"
        }
    }
}

fn of_store(error: &store::Error) -> &'static str {
    match error {
        store::Error::Refused { code, message, .. } => of_code(code, message),
        store::Error::NoAnswer { .. } => {
            "The next attempt asks again; in a VPC, check the interface endpoint of Secrets Manager with its security \
             group, or the NAT gateway"
        }
        store::Error::Binary { .. } => {
            "Store it as text (SecretString), a JSON object with apiKey and apiSecret"
        }
        store::Error::Undescribed { .. } => {
            "Check AWS_ENDPOINT_URL_SECRETS_MANAGER: this is no answer of Secrets Manager's"
        }
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn of_code(code: &str, message: &str) -> &'static str {
    const KEY: &str = "Allow the function's role kms:Decrypt and kms:GenerateDataKey on the key that encrypts the secret, \
                       and check that this key is enabled";
    match code {
        // "Access to KMS is not allowed"
        "AccessDeniedException" if message.contains("KMS") => KEY,
        "DecryptionFailure" | "EncryptionFailure" => KEY,
        "AccessDeniedException" => {
            "Allow it to the function's role, and check the secret's resource policy and, in a VPC, the endpoint's \
             policy; a condition on AllowRotationLambdaArn wants the function's ARN exactly as it is attached"
        }
        "ResourceNotFoundException" | "ValidationException" => {
            "Check the ARN: the secret has to exist in the function's own region"
        }
        "InvalidRequestException" => {
            "If the secret is scheduled for deletion, restore it; if another version was put meanwhile, start another \
             rotation"
        }
        "InvalidSignatureException" | "RequestExpired" | "SignatureDoesNotMatch" => {
            "Check the clock of the machine that signs: it may be minutes off"
        }
        "UnrecognizedClientException" | "ExpiredTokenException" | "InvalidClientTokenId" => {
            "Check the credentials of the function's role"
        }
        code if code.starts_with("Throttl") => {
            "The next attempt asks again; if it goes on, spread the schedules"
        }
        _ => {
            "The next attempt asks again; if it goes on, look the code up in Secrets Manager's API reference"
        }
    }
}
