//! Confluent Cloud: the API Keys API, the endpoints of resources, and whether a key is accepted there.
//!
//! A created key's secret is shown once and nothing makes a repeated create harmless, so
//! [`create`](Confluent::create) is sent once, and its error says whether a key may exist.
//!
//! <https://docs.confluent.io/cloud/current/api.html#tag/API-Keys-(iamv2)>

use std::time::Duration;

use aws_smithy_types::date_time::Format;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use crate::credential::{ApiKey, ApiKeyId, Redacted};
use crate::deadline::Deadline;
use crate::document::LONGEST_ID;
use crate::http::{self, Answer, Http, Request};
use crate::metrics::Metrics;
use crate::refusal::{Meaning, Refusal};
use crate::resource::{LookUp, PathAndQuery, Probed, Reference, Resource};

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

/// An API key as Confluent Cloud describes it: everything but its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The service account or user it belongs to; internal keys have none.
    pub owner: Option<String>,
    /// The id of the resource it opens; none for a Cloud key.
    pub resource: Option<String>,
    /// The environment of that resource, where the answer tells it.
    pub environment: Option<String>,
    /// The organization's id, where the answer tells it.
    pub organization: Option<String>,
    /// Free text, in which we mark our keys.
    pub description: String,
    /// When it was made, in seconds since the epoch.
    pub created_at: Option<i64>,
}

impl Listed {
    /// The environment of the resource, where the answer tells it, as a part of a path.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it would be more than one part.
    pub fn environment_for_path(&self) -> Result<Option<String>, Error> {
        for_path(self.environment.as_deref(), "an environment")
    }

    /// The organization's id, where the answer tells it, as a part of a path.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it would be more than one part.
    pub fn organization_for_path(&self) -> Result<Option<String>, Error> {
        for_path(self.organization.as_deref(), "an organization")
    }
}

/// `id`, if it leads a path neither up nor elsewhere.
fn for_path(id: Option<&str>, what: &'static str) -> Result<Option<String>, Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match id {
        Some(id) if id.len() > LONGEST_ID || !id.bytes().all(is_allowed) => Err(unusable(
            "describe an API key",
            format!("names {what} that cannot be one"),
        )),
        id => Ok(id.map(str::to_owned)),
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

/// A description of a resource is a hundredth of this. Parsed, a text may take a hundred times its length.
const LONGEST_LOOK_UP: usize = 256 << 10;

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
            .send(&request, self.deadline)
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

    /// Deletes a key. A key that is gone (404) is a success.
    ///
    /// # Errors
    /// [`Error`]. [`Meaning::Forbidden`] is also what Confluent answers for a key that is gone.
    pub async fn delete(&self, signer: &ApiKey, id: &ApiKeyId) -> Result<(), Error> {
        const OPERATION: &str = "delete an API key";
        let request = Request {
            method: Method::DELETE,
            url: keys_request(Some(id)).on(&self.control_plane),
            key: signer,
            media_type: "application/json",
            body: None,
        };
        match self.http.send(&request, self.deadline).await {
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

/// Ids alone: the other parts of owner and resource are read-only.
fn create_body(new: &NewKey<'_>) -> Value {
    let mut spec = json!({
        "display_name": new.display_name,
        "description": new.description,
        "owner": {"id": new.owner},
    });
    let resource = match new.resource.kind.reference {
        Reference::Omitted => return json!({ "spec": spec }),
        Reference::Id => json!({"id": new.resource.id}),
        Reference::IdAndEnvironment => {
            json!({"id": new.resource.id, "environment": new.resource.environment})
        }
    };
    if let Value::Object(spec) = &mut spec {
        spec.insert("resource".to_owned(), resource);
    }
    json!({ "spec": spec })
}

/// The token of the next page. Only the token is taken from the answer's URL, never its host.
fn next_page(base: &Url, next: Option<&str>) -> Result<Option<String>, &'static str> {
    let Some(next) = next.filter(|next| !next.is_empty()) else {
        return Ok(None);
    };
    let url = base
        .join(next)
        .map_err(|_| "names a next page that is no URL")?;
    let token = url.query_pairs().find(|(name, _)| name == "page_token");
    match token {
        Some((_, token)) if !token.is_empty() => Ok(Some(token.into_owned())),
        _ => Err("names a next page without a page_token"),
    }
}

fn unusable(operation: &'static str, problem: impl Into<String>) -> Error {
    Error::Unusable {
        operation,
        problem: problem.into(),
    }
}

/// The whole of an answer of which any part may be wanted.
fn any_json(operation: &'static str, answer: &Answer) -> Result<Value, Error> {
    if answer.body.len() > LONGEST_LOOK_UP {
        let problem = format!("is longer than {LONGEST_LOOK_UP} bytes");
        return Err(unusable(operation, problem));
    }
    decoded(operation, answer)
}

fn decoded<'a, T: Deserialize<'a>>(
    operation: &'static str,
    answer: &'a Answer,
) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Only the position: the parser's own message quotes the text it stopped at.
        let (line, column) = (error.line(), error.column());
        unusable(
            operation,
            format!("cannot be read: line {line}, column {column}"),
        )
    })
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
#[derive(Deserialize)]
struct WirePage {
    data: Vec<WireKey>,
    metadata: Option<WirePageMetadata>,
}

/// A page of which nothing is kept but how many keys it has.
#[derive(Deserialize)]
struct WireCount {
    data: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct WirePageMetadata {
    next: Option<String>,
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
#[derive(Deserialize)]
struct WireKey {
    #[serde(default)]
    id: String,
    metadata: Option<WireMetadata>,
    spec: Option<WireSpec>,
}

#[derive(Default, Deserialize)]
struct WireMetadata {
    resource_name: Option<String>,
    created_at: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireSpec {
    description: Option<String>,
    owner: Option<WireReference>,
    resource: Option<WireReference>,
    secret: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireReference {
    id: Option<String>,
    environment: Option<String>,
    resource_name: Option<String>,
}

impl From<WireKey> for Listed {
    fn from(key: WireKey) -> Self {
        let (spec, metadata) = (
            key.spec.unwrap_or_default(),
            key.metadata.unwrap_or_default(),
        );
        let resource = spec.resource.unwrap_or_default();
        let named = |crn: Option<&str>, part| crn.and_then(|crn| part_of(crn, part));
        Self {
            owner: spec.owner.and_then(|owner| owner.id),
            environment: resource
                .environment
                .filter(|id| !id.is_empty())
                .or_else(|| named(resource.resource_name.as_deref(), "environment")),
            resource: resource.id.filter(|id| !id.is_empty()),
            organization: named(metadata.resource_name.as_deref(), "organization"),
            description: spec.description.unwrap_or_default(),
            created_at: metadata.created_at.as_deref().and_then(epoch_seconds),
            id: key.id,
        }
    }
}

/// One part of a Confluent resource name, such as
/// `crn://confluent.cloud/organization=…/environment=env-…/cloud-cluster=lkc-…`.
///
/// <https://docs.confluent.io/cloud/current/security/monitor/audit-logging/audit-log-records.html>
fn part_of(crn: &str, part: &str) -> Option<String> {
    crn.split('/')
        .filter_map(|element| element.split_once('='))
        .find(|(name, value)| *name == part && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

fn epoch_seconds(rfc_3339: &str) -> Option<i64> {
    aws_smithy_types::DateTime::from_str(rfc_3339, Format::DateTimeWithOffset)
        .ok()
        .map(|time| time.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://api.confluent.cloud").unwrap()
    }

    #[test]
    fn only_the_token_is_taken_from_the_next_pages_url() {
        let token = |next| next_page(&base(), next);

        assert_eq!(token(None), Ok(None));
        assert_eq!(token(Some("")), Ok(None));
        assert_eq!(
            token(Some(
                "https://evil.example/iam/v2/api-keys?page_token=a%2Bb"
            )),
            Ok(Some("a+b".to_owned()))
        );
        assert_eq!(
            token(Some("/iam/v2/api-keys?page_size=1&page_token=abc")),
            Ok(Some("abc".to_owned()))
        );
        assert!(token(Some("https://api.confluent.cloud/iam/v2/api-keys")).is_err());
    }

    #[test]
    fn environment_and_organization_are_read_from_resource_names() {
        let crn = "crn://confluent.cloud/organization=o-1/environment=env-1/cloud-cluster=lkc-1";

        assert_eq!(part_of(crn, "environment").as_deref(), Some("env-1"));
        assert_eq!(part_of(crn, "organization").as_deref(), Some("o-1"));
        assert_eq!(part_of(crn, "kafka"), None);
        assert_eq!(part_of("", "environment"), None);
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let answer = Answer::new(
            StatusCode::OK,
            None,
            br#"{"spec":{"secret":["hunter2"]}}"#.into(),
        );

        let error = decoded::<WireKey>("create an API key", &answer)
            .err()
            .unwrap();

        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}
