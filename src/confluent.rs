//! Confluent Cloud: the API Keys API, the endpoints of resources, and whether a key is accepted there.
//!
//! A created key's secret is shown once and nothing makes a repeated create harmless, so
//! [`create`](Confluent::create) is sent once, and its error says whether a key may exist.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

mod listed;
mod wire;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use crate::credential::{ApiKey, ApiKeyId, Redacted};
use crate::deadline::Deadline;
use crate::document::LONGEST_ID;
use crate::http::{self, Answer, Http, Request};
use crate::metrics::Metrics;
use crate::refusal::{Meaning, Refusal};
use crate::resource::{LookUp, PathAndQuery, Probed, Resource};
pub use listed::Listed;
use wire::{WireCount, WireKey, WirePage, any_json, create_body, decoded, next_page};

/// Confluent Cloud, for as long as one invocation lasts.
#[derive(Clone, Debug)]
pub struct Confluent {
    http: Http,
    control_plane: Url,
    deadline: Deadline,
}

/// A request to Confluent Cloud that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered, and the answer was no.
    #[error("Confluent Cloud {} {operation}: {refusal}", failing(.refusal, .signer))]
    Refused {
        /// The id of the key that signed.
        signer: ApiKeyId,
        /// What was asked for.
        operation: &'static str,
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// No answer came.
    #[error("Confluent Cloud gave no usable answer when asked to {operation}")]
    NoAnswer {
        /// What was asked for.
        operation: &'static str,
        /// What happened instead.
        #[source]
        source: http::Error,
    },
    /// The answer was a success and does not hold what was asked for.
    #[error("Confluent Cloud gave no usable answer when asked to {operation}: it {problem}")]
    Unusable {
        /// What was asked for.
        operation: &'static str,
        /// What is wrong with the answer; never a part of it.
        problem: String,
    },
}

impl Error {
    fn of(operation: &'static str, signer: &ApiKey, error: http::Error) -> Self {
        match error {
            http::Error::Refused(answer) => Self::Refused {
                signer: signer.id.clone(),
                operation,
                refusal: Box::new(Refusal::of(&answer, signer)),
            },
            source => Self::NoAnswer { operation, source },
        }
    }

    /// A create was answered with a key that was there before.
    #[must_use]
    pub fn names_another_key() -> Self {
        unusable("create an API key", "names a key that was there before")
    }

    /// What a refusal means; none if there was no refusal.
    #[must_use]
    pub fn meaning(&self) -> Option<Meaning> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.meaning),
            Self::NoAnswer { .. } | Self::Unusable { .. } => None,
        }
    }

    /// Whether the request may have done its work all the same.
    #[must_use]
    pub fn may_have_been_carried_out(&self) -> bool {
        match self {
            Self::Refused { refusal, .. } => refusal.meaning == Meaning::ServerError,
            Self::NoAnswer { source, .. } => source.may_have_been_carried_out(),
            Self::Unusable { .. } => true,
        }
    }
}

/// What Confluent did instead of an operation.
fn failing(refusal: &Refusal, signer: &ApiKeyId) -> String {
    match refusal.meaning {
        Meaning::ServerError => "failed to".to_owned(),
        _ => format!("did not let the key {signer}"),
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey<'a> {
    /// The service account or user it will belong to.
    pub owner: &'a str,
    /// The resource it will open.
    pub resource: &'a Resource,
    /// A name for people.
    pub display_name: &'a str,
    /// Our mark.
    pub description: &'a str,
}

/// What trying a key showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It opens its resource.
    Accepted,
    /// 401: not accepted, or not yet.
    NotAccepted,
    /// 403: recognised, and not permitted to do what was tried.
    NotAuthorised,
    /// 429: asked too often, and how long the endpoint wants to be left alone.
    Busy(Duration),
    /// Another answer, which says nothing about the key.
    Unclear(String),
    /// No answer at all.
    Unreachable(String),
}

/// Where a key is tried, and what the request has to name.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// Its endpoint.
    pub endpoint: Url,
    /// Its environment, where it is known.
    pub environment: String,
    /// The organization, where the kind needs it.
    pub organization: String,
    /// Whether the endpoint is the secret's own word.
    pub given: bool,
}

/// Where an endpoint comes from, in the words of an error.
pub(crate) const GIVEN_ENDPOINT: &str = "`endpoint` in the secret";
/// The same.
pub(crate) const FOUND_ENDPOINT: &str = "the endpoint that Confluent Cloud names";

impl Target<'_> {
    /// Where the endpoint comes from, in the words of an error.
    #[must_use]
    pub fn source_of_endpoint(&self) -> &'static str {
        if self.given {
            GIVEN_ENDPOINT
        } else {
            FOUND_ENDPOINT
        }
    }
}

/// A page holds this many keys, the most that is documented.
const PAGE_SIZE: &str = "100";

/// A list is not followed further: a service account may have 100 Cloud keys and 100 keys of each cluster, and
/// nobody has as many clusters.
///
/// <https://docs.confluent.io/cloud/current/quotas/service-quotas.html>
const MOST_PAGES: usize = 100;

/// Nor is it read further, which bounds the memory that it takes: pages as full as they can be. A key of theirs takes
/// a thousand bytes.
const MOST_KEYS: usize = 10_000;
const LONGEST_LIST: usize = 16 << 20;

/// Kept back from a create: a key whose secret cannot be stored any more is lost.
pub const TO_STORE: Duration = Duration::from_secs(5);

const KEYS: [&str; 3] = ["iam", "v2", "api-keys"];

impl Confluent {
    /// The control plane at `control_plane`, asked until `deadline`.
    #[must_use]
    pub fn new(http: Http, control_plane: Url, deadline: Deadline) -> Self {
        Self {
            http,
            control_plane,
            deadline,
        }
    }

    /// The same, asked no longer than until `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// The control plane's base URL.
    #[must_use]
    pub fn control_plane(&self) -> &Url {
        &self.control_plane
    }

    /// What this invocation counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.http.metrics()
    }

    /// Lists the keys of `owner` that the signer may see: an absent key is no proof that it is gone.
    ///
    /// # Errors
    /// [`Error`]; also if the list does not end.
    pub async fn list(&self, signer: &ApiKey, owner: &str) -> Result<Vec<Listed>, Error> {
        const OPERATION: &str = "list the owner's API keys";
        let mut keys = Vec::new();
        let mut read = 0;
        let mut page_token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut request = keys_request(None);
            request.query.push(("spec.owner", owner.to_owned()));
            request.query.push(("page_size", PAGE_SIZE.to_owned()));
            if let Some(token) = page_token {
                request.query.push(("page_token", token));
            }
            let answer = self.get(OPERATION, signer, &request).await?;
            read += answer.body.len();
            if read > LONGEST_LIST {
                let problem = format!("is longer than {LONGEST_LIST} bytes");
                return Err(unusable(OPERATION, problem));
            }
            // Counting takes no memory, however many there are.
            let counted: WireCount = decoded(OPERATION, &answer)?;
            if keys.len() + counted.data.len() > MOST_KEYS {
                let problem = format!("lists more than {MOST_KEYS} keys");
                return Err(unusable(OPERATION, problem));
            }
            let page: WirePage = decoded(OPERATION, &answer)?;
            keys.extend(page.data.into_iter().map(Listed::from));
            let next = page.metadata.and_then(|metadata| metadata.next);
            page_token = next_page(&self.control_plane, next.as_deref())
                .map_err(|problem| unusable(OPERATION, problem))?;
            if page_token.is_none() {
                return Ok(keys);
            }
        }
        Err(unusable(OPERATION, "does not end"))
    }

    /// Describes one key.
    ///
    /// # Errors
    /// [`Error`]. A key that is gone is [`Meaning::NotFound`] or [`Meaning::Forbidden`].
    pub async fn read(&self, signer: &ApiKey, id: &ApiKeyId) -> Result<Listed, Error> {
        const OPERATION: &str = "describe an API key";
        let answer = self.get(OPERATION, signer, &keys_request(Some(id))).await?;
        let key: WireKey = decoded(OPERATION, &answer)?;
        if key.id != id.as_str() {
            return Err(unusable(OPERATION, "describes another one"));
        }
        Ok(key.into())
    }

    /// Makes a key and returns it with its secret, which Confluent never shows again.
    ///
    /// # Errors
    /// [`Error`]. If it [may have been carried out](Error::may_have_been_carried_out), do not call again
    /// before the keys that bear the same description have been listed and deleted.
    pub async fn create(&self, signer: &ApiKey, new: &NewKey<'_>) -> Result<ApiKey, Error> {
        const OPERATION: &str = "create an API key";
        let request = Request {
            method: Method::POST,
            url: keys_request(None).on(&self.control_plane),
            key: signer,
            media_type: "application/json",
            body: Some(create_body(new).to_string()),
        };
        let answer = self
            .http
            .send(&request, self.deadline.keeping(TO_STORE))
            .await
            .map_err(|error| Error::of(OPERATION, signer, error))?;
        let key: WireKey = decoded(OPERATION, &answer)?;
        let secret = key.spec.and_then(|spec| spec.secret).unwrap_or_default();
        // What a secret value could not hold, or would not give back as it is, is no key.
        let is_whole = |text: &str| !text.is_empty() && text.trim() == text;
        if !is_whole(&key.id) || key.id.len() > LONGEST_ID || !is_whole(&secret) {
            return Err(unusable(OPERATION, "lacks the key's id or its secret"));
        }
        Ok(ApiKey {
            id: ApiKeyId::new(key.id),
            secret: Redacted::new(secret),
        })
    }

    /// Deletes a key. A key that is gone (404) is a success. What failed is sent again, where that may help, while the key
    /// is `unused` still.
    ///
    /// # Errors
    /// [`Error`]. [`Meaning::Forbidden`] is also what Confluent answers for a key that is gone.
    pub async fn delete(
        &self,
        signer: &ApiKey,
        id: &ApiKeyId,
        unused: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        const OPERATION: &str = "delete an API key";
        let request = Request {
            method: Method::DELETE,
            url: keys_request(Some(id)).on(&self.control_plane),
            key: signer,
            media_type: "application/json",
            body: None,
        };
        let sent = self.http.send_while(&request, self.deadline, unused);
        match sent.await {
            Ok(_) => Ok(()),
            Err(http::Error::Refused(answer)) if answer.status == StatusCode::NOT_FOUND => Ok(()),
            Err(error) => Err(Error::of(OPERATION, signer, error)),
        }
    }

    /// Asks where the resource with this `id` is reached.
    ///
    /// # Errors
    /// [`Error`]; also if the answer names no endpoint.
    pub async fn endpoint(
        &self,
        signer: &ApiKey,
        look_up: &LookUp,
        id: &str,
        environment: &str,
    ) -> Result<String, Error> {
        const OPERATION: &str = "find the resource's endpoint";
        let request = (look_up.request)(id, environment);
        let answer = self.get(OPERATION, signer, &request).await?;
        let answer = any_json(OPERATION, &answer)?;
        (look_up.endpoint)(&answer).ok_or_else(|| unusable(OPERATION, "names none"))
    }

    /// Whether a service account or user with this id exists.
    ///
    /// # Errors
    /// [`Error`]. For an owner that the signer may not see it may be [`Meaning::Forbidden`].
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ServiceAccount>
    pub async fn has_owner(&self, signer: &ApiKey, owner: &str) -> Result<bool, Error> {
        const OPERATION: &str = "describe the owner";
        let collection = if owner.starts_with("u-") {
            "users"
        } else {
            "service-accounts"
        };
        let path = ["iam", "v2", collection, owner].map(str::to_owned);
        let request = PathAndQuery {
            path: path.into(),
            query: Vec::new(),
        };
        match self.get(OPERATION, signer, &request).await {
            Ok(_) => Ok(true),
            Err(error) if error.meaning() == Some(Meaning::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The limit of the quota with this `id`; none if Confluent does not tell it.
    ///
    /// # Errors
    /// [`Error`]
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listServiceQuotaV1AppliedQuotas>
    pub async fn quota(
        &self,
        signer: &ApiKey,
        scope: &str,
        id: &str,
    ) -> Result<Option<u64>, Error> {
        const OPERATION: &str = "tell a quota";
        let path = ["service-quota", "v1", "applied-quotas"].map(str::to_owned);
        let request = PathAndQuery {
            path: path.into(),
            query: vec![("scope", scope.to_owned()), ("id", id.to_owned())],
        };
        let answer = self.get(OPERATION, signer, &request).await?;
        let answer = any_json(OPERATION, &answer)?;
        Ok(answer
            .pointer("/data/0/applied_limit")
            .and_then(Value::as_u64))
    }

    /// Checks that a key may be sent to `endpoint`.
    ///
    /// # Errors
    /// [`http::Error::HostNotAllowed`]
    pub fn check_host(&self, endpoint: &Url) -> Result<(), http::Error> {
        self.http.check_host(endpoint)
    }

    /// Tries `key` once at its resource.
    ///
    /// # Errors
    /// [`http::Error::HostNotAllowed`] alone: whatever else happens is a [`Verdict`].
    pub async fn try_key(
        &self,
        key: &ApiKey,
        target: &Target<'_>,
        deadline: Deadline,
    ) -> Result<Verdict, http::Error> {
        let probe = (target.resource.kind.probe)(&Probed {
            id: &target.resource.id,
            environment: &target.environment,
            organization: &target.organization,
        });
        let request = Request {
            method: probe.method,
            url: probe.target.on(&target.endpoint),
            key,
            media_type: probe.media_type,
            body: probe.body.map(str::to_owned),
        };
        Ok(match self.http.send_once(&request, deadline).await {
            // Every probe is answered in JSON. A page that answers 200 to everything proves nothing.
            Ok(answer) if serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok() => {
                Verdict::Accepted
            }
            Ok(answer) => {
                Verdict::Unclear(format!("status {} without JSON", answer.status.as_u16()))
            }
            Err(http::Error::Refused(answer)) => match answer.status {
                StatusCode::UNAUTHORIZED => Verdict::NotAccepted,
                StatusCode::FORBIDDEN => Verdict::NotAuthorised,
                StatusCode::TOO_MANY_REQUESTS => Verdict::Busy(answer.asked_wait()),
                _ => Verdict::Unclear(Refusal::of(&answer, key).to_string()),
            },
            Err(error @ http::Error::HostNotAllowed { .. }) => return Err(error),
            Err(error @ (http::Error::TooLong { .. } | http::Error::TimeUp { .. })) => {
                Verdict::Unclear(error.to_string())
            }
            Err(error) => Verdict::Unreachable(crate::error::joined(&error)),
        })
    }

    async fn get(
        &self,
        operation: &'static str,
        signer: &ApiKey,
        target: &PathAndQuery,
    ) -> Result<Answer, Error> {
        let request = Request {
            method: Method::GET,
            url: target.on(&self.control_plane),
            key: signer,
            media_type: "application/json",
            body: None,
        };
        let sent = self.http.send(&request, self.deadline).await;
        sent.map_err(|error| Error::of(operation, signer, error))
    }
}

/// `/iam/v2/api-keys`, or one key below it.
fn keys_request(id: Option<&ApiKeyId>) -> PathAndQuery {
    let id = id.map(ApiKeyId::as_str);
    PathAndQuery {
        path: KEYS.into_iter().chain(id).map(str::to_owned).collect(),
        query: Vec::new(),
    }
}

fn unusable(operation: &'static str, problem: impl Into<String>) -> Error {
    Error::Unusable {
        operation,
        problem: problem.into(),
    }
}
