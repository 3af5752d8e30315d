//! The JSON of the API Keys API. Parsing is lenient, and errors never quote the response.

use aws_smithy_types::DateTime;
use std::fmt;

use aws_smithy_types::date_time::Format;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use url::Url;

use super::{ApiKeyMetadata, ApiKeySpec, Error, ResourceReference};
use crate::http::Response;

/// The largest response that is parsed as arbitrary JSON, in bytes. Parsed JSON can take a hundred times its length in memory,
/// and the description of a resource takes a hundredth of this limit.
const MAX_ANY_JSON_BYTES: usize = 256 << 10;

/// The largest number of keys on a page that is parsed: ten times the documented maximum. It bounds the memory that a page
/// uses.
const MAX_PAGE_KEYS: usize = 1_000;

/// Builds the body of a request to create a key. Owner and resource contain only their IDs, and the resource's environment if the
/// ID alone is not unique, because their other members are read-only.
pub(super) fn create_body(new: &ApiKeySpec<'_>) -> Value {
    let mut spec = json!({
        "display_name": new.display_name,
        "description": new.description,
        "owner": {"id": new.owner},
    });
    let resource = match new.resource.key_type.reference {
        ResourceReference::Omitted => return json!({ "spec": spec }),
        ResourceReference::Id => json!({"id": new.resource.id}),
        ResourceReference::IdAndEnvironment => {
            json!({"id": new.resource.id, "environment": new.resource.environment})
        }
    };
    if let Value::Object(spec) = &mut spec {
        spec.insert("resource".to_owned(), resource);
    }
    json!({ "spec": spec })
}

/// Returns the token of the next page. Only the token is used, never the host of the URL in the response.
pub(super) fn next_page(base: &Url, next: Option<&str>) -> Result<Option<String>, &'static str> {
    let Some(next) = next.filter(|next| !next.is_empty()) else {
        return Ok(None);
    };
    let url = base.join(next);
    let url = url.map_err(|_| "contains an invalid URL of the next page")?;
    let token = url.query_pairs().find(|(name, _)| name == "page_token");
    match token {
        Some((_, token)) if !token.is_empty() => Ok(Some(token.into_owned())),
        _ => Err("contains a URL of the next page without a page_token"),
    }
}

/// Decodes a response as arbitrary JSON.
pub(super) fn decode_any(operation: &'static str, response: &Response) -> Result<Value, Error> {
    if response.body.len() > MAX_ANY_JSON_BYTES {
        let problem = format!("exceeds {MAX_ANY_JSON_BYTES} bytes");
        return Err(Error::invalid_response(operation, problem));
    }
    decode(operation, response)
}

/// Decodes a response.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    operation: &'static str,
    response: &'a Response,
) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| {
        // Only the position: the parser's message quotes the response.
        let (line, column) = (error.line(), error.column());
        let problem = format!("cannot be parsed at line {line}, column {column}");
        Error::invalid_response(operation, problem)
    })
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
#[derive(Deserialize)]
pub(super) struct WirePage {
    #[serde(deserialize_with = "bounded")]
    pub(super) data: Vec<WireKey>,
    pub(super) metadata: Option<WirePageMetadata>,
}

/// Deserializes at most [`MAX_PAGE_KEYS`] keys.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WireKey>, D::Error> {
    struct Keys;

    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<WireKey>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of API keys")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some(key) = array.next_element()? {
                keys.push(key);
                if keys.len() > MAX_PAGE_KEYS {
                    return Err(A::Error::custom("too many keys"));
                }
            }
            Ok(keys)
        }
    }

    deserializer.deserialize_seq(Keys)
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
    pub(super) description: Option<String>,
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

impl From<WireKey> for ApiKeyMetadata {
    fn from(key: WireKey) -> Self {
        let spec = key.spec.unwrap_or_default();
        let metadata = key.metadata.unwrap_or_default();
        let resource = spec.resource.unwrap_or_default();
        let element = |crn: Option<String>, name| crn_element(&crn?, name);
        let is_set = |id: &String| !id.is_empty();
        let environment = resource.environment.filter(is_set);
        Self {
            owner: spec.owner.and_then(|owner| owner.id),
            environment: environment.or_else(|| element(resource.resource_name, "environment")),
            resource: resource.id.filter(is_set),
            organization: element(metadata.resource_name, "organization"),
            description: spec.description.unwrap_or_default(),
            created_at: metadata.created_at.as_deref().and_then(epoch_seconds),
            id: key.id,
        }
    }
}

/// Returns one element of a Confluent resource name, such as
/// `crn://confluent.cloud/organization=…/environment=env-…/cloud-cluster=lkc-…`.
///
/// <https://docs.confluent.io/cloud/current/security/monitor/audit-logging/audit-log-records.html>
fn crn_element(crn: &str, name: &str) -> Option<String> {
    let mut elements = crn.split('/').filter_map(|element| element.split_once('='));
    let element = elements.find(|(key, value)| *key == name && !value.is_empty());
    element.map(|(_, value)| value.to_owned())
}

fn epoch_seconds(rfc_3339: &str) -> Option<i64> {
    let time = DateTime::from_str(rfc_3339, Format::DateTimeWithOffset);
    time.ok().map(|time| time.secs())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn base() -> Url {
        Url::parse("https://api.confluent.cloud").unwrap()
    }

    #[test]
    fn only_the_token_of_the_next_pages_url_is_used() {
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
    fn the_environment_and_the_organization_are_read_from_resource_names() {
        let crn = "crn://confluent.cloud/organization=o-1/environment=env-1/cloud-cluster=lkc-1";

        assert_eq!(crn_element(crn, "environment").as_deref(), Some("env-1"));
        assert_eq!(crn_element(crn, "organization").as_deref(), Some("o-1"));
        assert_eq!(crn_element(crn, "kafka"), None);
        assert_eq!(crn_element("", "environment"), None);
    }

    #[test]
    fn a_page_contains_at_most_1000_keys() {
        let page = |keys: usize| {
            let body = json!({"data": vec![json!({"id": "KEY"}); keys]}).to_string();
            Response::new(StatusCode::OK, None, body.into())
        };

        let (full, too_long) = (page(1_000), page(1_001));
        let full = decode::<WirePage>("list API keys", &full);
        let too_long = decode::<WirePage>("list API keys", &too_long);

        assert_eq!(full.unwrap().data.len(), 1_000);
        let error = too_long.err().unwrap();
        assert!(
            error.to_string().contains("cannot be parsed at line 1"),
            "{error}"
        );
    }

    #[test]
    fn an_invalid_response_is_not_quoted() {
        let response = Response::new(
            StatusCode::OK,
            None,
            br#"{"spec":{"secret":["hunter2"]}}"#.into(),
        );

        let error = decode::<WireKey>("create an API key", &response)
            .err()
            .unwrap();

        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}
