//! What goes over the wire to and from the API Keys API, and how answers are read: leniently, and never quoted.

use aws_smithy_types::date_time::Format;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use super::{Error, Listed, NewKey, unusable};
use crate::http::Answer;
use crate::resource::Reference;

/// A description of a resource is a hundredth of this. Parsed, a text may take a hundred times its length.
const LONGEST_LOOK_UP: usize = 256 << 10;

/// Ids alone: the other parts of owner and resource are read-only.
pub(super) fn create_body(new: &NewKey<'_>) -> Value {
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
pub(super) fn next_page(base: &Url, next: Option<&str>) -> Result<Option<String>, &'static str> {
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

/// The whole of an answer of which any part may be wanted.
pub(super) fn any_json(operation: &'static str, answer: &Answer) -> Result<Value, Error> {
    if answer.body.len() > LONGEST_LOOK_UP {
        let problem = format!("is longer than {LONGEST_LOOK_UP} bytes");
        return Err(unusable(operation, problem));
    }
    decoded(operation, answer)
}

pub(super) fn decoded<'a, T: Deserialize<'a>>(
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
pub(super) struct WirePage {
    pub(super) data: Vec<WireKey>,
    pub(super) metadata: Option<WirePageMetadata>,
}

/// A page of which nothing is kept but how many keys it has.
#[derive(Deserialize)]
pub(super) struct WireCount {
    pub(super) data: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
pub(super) struct WirePageMetadata {
    pub(super) next: Option<String>,
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/getIamV2ApiKey>
#[derive(Deserialize)]
pub(super) struct WireKey {
    #[serde(default)]
    pub(super) id: String,
    metadata: Option<WireMetadata>,
    pub(super) spec: Option<WireSpec>,
}

#[derive(Default, Deserialize)]
pub(super) struct WireMetadata {
    resource_name: Option<String>,
    created_at: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct WireSpec {
    description: Option<String>,
    owner: Option<WireReference>,
    resource: Option<WireReference>,
    pub(super) secret: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct WireReference {
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
    use reqwest::StatusCode;

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
