//! Proof that a key opens its resource.
//!
//! A new key is refused until it has spread, and may be refused again by a part of the service that it has not
//! reached yet. So it counts as accepted after several successes in a row, some time apart, and until then a
//! refusal means "not yet" as long as there is time.
//!
//! <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/troubleshoot.html>

use std::time::{Duration, Instant};

use url::Url;

use crate::config::{Config, KeyVerification};
use crate::confluent::{self, Confluent, Listed, Target, Verdict};
use crate::credential::{ApiKey, ApiKeyId, Redacted};
use crate::deadline::{Deadline, at_least};
use crate::document::Document;
use crate::error::{Error, Seen};
use crate::http::FOR_AN_ANSWER;
use crate::refusal::Meaning;
use crate::resource::{Endpoint, Resource};
use crate::signer::Signer;

/// This many successes in a row are a proof. Confluent's Terraform provider waits for two, "to ensure synced
/// across all brokers"; one more costs one interval.
///
/// <https://github.com/confluentinc/terraform-provider-confluent/blob/master/internal/provider/utils_wait.go>
const SUCCESSES: u32 = 3;

/// An endpoint that could not be reached once in so many tries is out of reach.
const UNREACHABLE: u32 = 3;

/// How often the current key, which has been accepted for long, is tried before it counts as refused.
const TRIES_OF_CURRENT: u32 = 3;

/// A wait between tries grows by this factor, up to the longest.
const GROWTH: f64 = 1.5;
const LONGEST_INTERVAL: Duration = Duration::from_secs(15);

/// How a key is proven.
#[derive(Clone, Copy, Debug)]
pub struct Prover<'a> {
    /// Where it is tried.
    pub confluent: &'a Confluent,
    /// How much proof is needed.
    pub verification: KeyVerification,
    /// The wait between two tries, to begin with.
    pub interval: Duration,
}

/// How a proof ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The key opens the resource.
    Accepted,
    /// The endpoint is out of reach, and `best-effort` lets that pass.
    Unreachable,
}

impl<'a> Prover<'a> {
    /// Proves keys at `confluent` as far as `config` asks for it.
    #[must_use]
    pub fn new(confluent: &'a Confluent, config: &Config) -> Self {
        Self {
            confluent,
            verification: config.key_verification,
            interval: config.probe_interval,
        }
    }

    /// Whether keys of this resource are tried at all.
    #[must_use]
    pub fn tries(&self, resource: &Resource) -> bool {
        self.verification != KeyVerification::ControlPlane
            || matches!(resource.kind.endpoint, Endpoint::ControlPlane)
    }

    /// Tries the current key, which proves that whoever wrote the secret holds the key: without that, a
    /// secret that names somebody else's key could be used to obtain a new key of theirs.
    ///
    /// # Errors
    /// [`Error::CurrentKeyNotAccepted`] if it was refused, [`Error::EndpointUnreachable`] if it could not be
    /// tried, [`Error::EndpointIndifferent`] if trying it there shows nothing.
    pub async fn current(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<Proof, Error> {
        let mut tries = 0;
        let mut interval = self.interval;
        loop {
            let mut verdict = self.try_key(key, target, deadline).await?;
            let mut is_indifferent = false;
            match verdict {
                Verdict::Accepted if !target.given => return Ok(Proof::Accepted),
                // A key that is recognised is held, whatever it may do; but anybody can answer so.
                Verdict::Accepted | Verdict::NotAuthorised => {
                    verdict = self.try_wrong_secret(key, target, deadline).await?;
                    if verdict == Verdict::NotAccepted {
                        return Ok(Proof::Accepted);
                    }
                    is_indifferent = matches!(verdict, Verdict::Accepted | Verdict::NotAuthorised);
                }
                _ => {}
            }
            let wait = if let Verdict::Busy(asked) = verdict {
                // No try: it says nothing about the key.
                let wait = at_least(interval.max(asked));
                interval = self.longer(interval);
                wait
            } else {
                tries += 1;
                self.interval
            };
            let waiting = deadline.keeping(FOR_AN_ANSWER);
            if tries < TRIES_OF_CURRENT && waiting.wait(wait).await.is_ok() {
                continue;
            }
            let key = key.id.to_string();
            let seen = Seen(verdict);
            return match &seen.0 {
                _ if is_indifferent => Err(Error::EndpointIndifferent { key }),
                Verdict::Unreachable(_) if self.verification == KeyVerification::BestEffort => {
                    Ok(Proof::Unreachable)
                }
                Verdict::Unreachable(_) => Err(Error::EndpointUnreachable { key, seen }),
                _ => Err(Error::CurrentKeyNotAccepted { key, seen }),
            };
        }
    }

    /// What the endpoint says of the key with another secret. One that does not refuse it, such as a gateway that answers
    /// 403 to everybody, or one that the writer of the secret chose, proves nothing.
    async fn try_wrong_secret(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<Verdict, Error> {
        let wrong = ApiKey {
            id: key.id.clone(),
            secret: Redacted::new("not-the-secret".to_owned()),
        };
        self.try_key(&wrong, target, deadline).await
    }

    /// Tries the new key until it is proven or `deadline` is near.
    ///
    /// A 403 counts as acceptance only if the current key gets the same: then the owner may not do what is
    /// tried, and the new key is as good as the old one. For a first key it counts if a wrong secret gets a 401.
    ///
    /// # Errors
    /// [`Error::NewKeyNotAccepted`], which says what was seen last and for how long.
    pub async fn new_key(
        &self,
        key: &ApiKey,
        current: Option<&ApiKey>,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<Proof, Error> {
        let began = Instant::now();
        let mut interval = self.interval;
        let (mut tries, mut successes, mut was_reached) = (0, 0, false);
        let mut before = None;
        if deadline.remaining().is_zero() {
            let purpose = "try the new key";
            return Err(Error::OutOfTime { purpose });
        }
        loop {
            let verdict = self.try_key(key, target, deadline).await?;
            let is_cut_short = deadline.remaining().is_zero();
            let accepted = self.is_acceptance(&verdict, key, current, target, deadline);
            let is_accepted = accepted.await?;
            tries += 1;
            successes = if is_accepted { successes + 1 } else { 0 };
            was_reached |= !matches!(verdict, Verdict::Unreachable(_));
            tracing::debug!(tries, successes, ?verdict, "tried the new key");

            if successes == SUCCESSES {
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!(tries, seconds, "the new key is accepted");
                // A copy of the current key has spread long ago.
                if current.is_none_or(|current| current.id != key.id) {
                    let metrics = self.confluent.metrics();
                    metrics.count(|counts| counts.propagation = Some(seconds));
                }
                return Ok(Proof::Accepted);
            }
            let is_lenient = self.verification == KeyVerification::BestEffort;
            if is_lenient && !was_reached && tries == UNREACHABLE {
                return Ok(Proof::Unreachable);
            }
            if is_accepted {
                interval = self.interval;
            }
            let asked_wait = match verdict {
                Verdict::Busy(wait) => wait,
                _ => Duration::ZERO,
            };
            if deadline.wait(interval.max(asked_wait)).await.is_err() {
                // A try that the deadline cut short says nothing about the key.
                let seen = before.filter(|_| is_cut_short).unwrap_or(verdict);
                return Err(Error::NewKeyNotAccepted {
                    key: key.id.to_string(),
                    seen: Seen(seen),
                    elapsed: began.elapsed(),
                    tries,
                });
            }
            interval = self.longer(interval);
            before = Some(verdict);
        }
    }

    /// Whether `verdict` on the new key counts as acceptance.
    async fn is_acceptance(
        &self,
        verdict: &Verdict,
        key: &ApiKey,
        current: Option<&ApiKey>,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let is_doubtful = match verdict {
            Verdict::NotAuthorised => true,
            // Anybody can answer so at an endpoint of their own.
            Verdict::Accepted => current.is_none() && target.given,
            _ => return Ok(false),
        };
        match current {
            _ if !is_doubtful => Ok(true),
            Some(current) => Ok(self.try_key(current, target, deadline).await? == *verdict),
            None => {
                let wrong = self.try_wrong_secret(key, target, deadline).await?;
                Ok(wrong == Verdict::NotAccepted)
            }
        }
    }

    /// The wait after one of `interval`.
    #[must_use]
    pub fn longer(&self, interval: Duration) -> Duration {
        let longest = LONGEST_INTERVAL.max(self.interval);
        interval.mul_f64(GROWTH).min(longest)
    }

    async fn try_key(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<Verdict, Error> {
        let tried = self.confluent.try_key(key, target, deadline).await;
        tried.map_err(|source| Error::EndpointNotAllowed {
            source_of_it: target.source_of_endpoint(),
            source,
        })
    }
}

/// Checks that the current key is what the secret says: one of the owner's, for the resource. With the trial of its
/// secret this keeps a secret from being used to obtain a key of somebody else's account. `listed` is how Confluent
/// describes the key, `keys` are the owner's.
///
/// # Errors
/// [`Error::CurrentKeyNotOfOwner`], [`Error::CurrentKeyOfOtherResource`]
pub fn check_listed(
    key: &ApiKeyId,
    current: &Document,
    resource: &Resource,
    listed: Option<&Listed>,
    keys: &[Listed],
) -> Result<(), Error> {
    let owner = current.owner();
    let Some(theirs) = listed.filter(|listed| listed.owner.as_deref() == Some(owner)) else {
        return Err(Error::not_of_owner(key, owner, listed, keys));
    };
    if resource.is_named_by(theirs.resource.as_deref(), theirs.environment.as_deref()) {
        Ok(())
    } else {
        Err(Error::CurrentKeyOfOtherResource {
            key: key.to_string(),
        })
    }
}

/// Where keys of `resource` are tried: the control plane, the secret's `endpoint`, or what the control plane
/// names. Where the secret does not tell the environment, or the kind needs the organization, a key for the same
/// resource does: `listed`, or the first of `keys` that is still there. What the control plane names may have been
/// asked for [`ahead`](look_up_ahead).
///
/// # Errors
/// [`Error`], naming the field of the secret that would help.
pub async fn target<'r>(
    confluent: &Confluent,
    signer: &Signer<'_>,
    document: &Document,
    resource: &'r Resource,
    listed: Option<Listed>,
    keys: &[&ApiKeyId],
    ahead: Option<Result<String, Error>>,
) -> Result<Target<'r>, Error> {
    let Endpoint::LookUp(look_up) = &resource.kind.endpoint else {
        return Ok(Target {
            resource,
            endpoint: confluent.control_plane().clone(),
            environment: String::new(),
            organization: String::new(),
            given: false,
        });
    };
    let given = document.endpoint();
    let needs_environment = look_up.needs_organization || given.is_none();
    let must_ask =
        look_up.needs_organization || (needs_environment && resource.environment.is_none());
    let mut listed = listed;
    for key in keys {
        if must_ask && listed.is_none() {
            listed = signer.read(key).await?;
        }
    }

    let listed = listed.unwrap_or_default();
    let environment = match resource.environment.clone() {
        Some(known) => known,
        None if needs_environment => {
            let listed = listed.environment_for_path()?;
            listed.ok_or(Error::EnvironmentUnknown)?
        }
        None => String::new(),
    };
    let organization = if look_up.needs_organization {
        let listed = listed.organization_for_path()?;
        listed.ok_or(Error::OrganizationUnknown)?
    } else {
        String::new()
    };
    let endpoint = if let Some(given) = given {
        base_url(confluent::GIVEN_ENDPOINT, given)?
    } else {
        let found = match ahead {
            Some(found) => found,
            None => signer.endpoint(look_up, &resource.id, &environment).await,
        };
        let found = found.map_err(not_found)?;
        base_url(confluent::FOUND_ENDPOINT, &found)?
    };
    Ok(Target {
        resource,
        endpoint,
        environment,
        organization,
        given: given.is_some(),
    })
}

/// What the control plane names as the endpoint of `resource`, if the secret tells enough to ask before anything is
/// known of its keys.
pub async fn look_up_ahead(
    signer: &Signer<'_>,
    document: &Document,
    resource: &Resource,
) -> Option<Result<String, Error>> {
    let Endpoint::LookUp(look_up) = &resource.kind.endpoint else {
        return None;
    };
    let environment = resource.environment.as_deref()?;
    if document.endpoint().is_some() {
        return None;
    }
    Some(signer.endpoint(look_up, &resource.id, environment).await)
}

/// A look-up that was refused calls for other remedies than the refusal knows of.
fn not_found(error: Error) -> Error {
    match error {
        Error::Confluent(source)
            if matches!(
                (&source, source.meaning()),
                (confluent::Error::Unusable { .. }, _)
                    | (_, Some(Meaning::Forbidden | Meaning::NotFound))
            ) =>
        {
            Error::EndpointNotFound { source }
        }
        error => error,
    }
}

/// An endpoint as a URL to put a path on. Some of Confluent's answers leave the scheme out.
fn base_url(source_of_it: &'static str, text: &str) -> Result<Url, Error> {
    let invalid = Error::EndpointInvalid { source_of_it };
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ if text.contains("://") => return Err(invalid),
        _ => match Url::parse(&format!("https://{text}")) {
            Ok(url) => url,
            Err(_) => return Err(invalid),
        },
    };
    // The host will be printed. A word without a dot is none, and may be a secret in the wrong field.
    let has_host = url.host_str().is_some_and(|host| host.contains(['.', ':']));
    if has_host && url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_or_without_its_scheme() {
        for (text, url) in [
            (
                "https://pkc-1.eu.aws.confluent.cloud:443",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "https://pkc-1.eu.aws.confluent.cloud/",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "pkc-1.eu.aws.confluent.cloud:443",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
            (
                "pkc-1.eu.aws.confluent.cloud",
                "https://pkc-1.eu.aws.confluent.cloud/",
            ),
        ] {
            assert_eq!(base_url("it", text).unwrap().as_str(), url, "{text}");
        }
        for text in [
            "",
            "https://",
            "https://a.confluent.cloud/x",
            "https://a.confluent.cloud?x",
            "a b",
            "cfltSECRET",
            "://x",
        ] {
            assert!(base_url("it", text).is_err(), "{text}");
        }
    }
}
