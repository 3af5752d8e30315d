//! The kinds of resource an API key can belong to.
//!
//! [`KINDS`] is the only place a kind is written down: how it is recognised, what a new key needs, where
//! its endpoint is found and how a key is tried there. To support another one, add a row.

use reqwest::Method;
use serde_json::Value;
use url::Url;

/// One kind of resource: a row of [`KINDS`].
#[derive(Debug)]
pub struct ResourceKind {
    /// What people call it.
    pub name: &'static str,
    recognises: fn(&str) -> bool,
    /// Whether creating a key takes a resource, and whether that takes its environment.
    pub reference: Reference,
    /// Which of an owner's quotas its keys count against, where that is documented.
    pub quota: Option<Quota>,
    /// How the endpoint that the key opens is found.
    pub endpoint: Endpoint,
    /// The cheapest request that only an accepted key gets through.
    pub probe: fn(&Probed<'_>) -> ProbeRequest,
}

/// A quota of an owner's keys.
///
/// <https://docs.confluent.io/cloud/current/quotas/service-quotas.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// `iam.max_cloud_api_keys`
    CloudKeys,
    /// `iam.max_cluster_api_keys`
    ClusterKeys,
}

impl Quota {
    /// The quota's scope and id for keys of `owner`.
    #[must_use]
    pub fn scope_and_id(self, owner: &str) -> (&'static str, &'static str) {
        let is_user = owner.starts_with("u-");
        match (self, is_user) {
            (Self::CloudKeys, false) => (
                "SERVICE_ACCOUNT",
                "iam.max_cloud_api_keys.per_service_account",
            ),
            (Self::ClusterKeys, false) => (
                "SERVICE_ACCOUNT",
                "iam.max_cluster_api_keys.per_service_account",
            ),
            (Self::CloudKeys, true) => ("USER_ACCOUNT", "iam.max_cloud_api_keys.per_user"),
            (Self::ClusterKeys, true) => ("USER_ACCOUNT", "iam.max_cluster_api_keys.per_user"),
        }
    }

    /// How many keys `owner` may have if nobody had the limit changed.
    #[must_use]
    pub fn default_limit(self, owner: &str) -> u64 {
        if owner.starts_with("u-") { 10 } else { 100 }
    }

    /// How many of an owner's keys, given by what they are for, count against it.
    pub fn used<'k>(self, resources: impl Iterator<Item = Option<&'k str>>) -> u64 {
        let counted = resources.filter(|resource| self.counts(*resource));
        u64::try_from(counted.count()).unwrap_or(u64::MAX)
    }

    /// Whether a key of the resource with this id counts against it.
    fn counts(self, resource: Option<&str>) -> bool {
        let resource = resource.unwrap_or("cloud");
        let kind = KINDS
            .iter()
            .find(|kind| (kind.recognises)(split_environment(resource).1));
        kind.and_then(|kind| kind.quota) == Some(self)
    }
}

/// How a new key's request names its resource.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Not at all: a key without a resource manages Confluent Cloud itself.
    Omitted,
    /// By its id.
    Id,
    /// By its id and its environment, since the id is not unique without it.
    IdAndEnvironment,
}

/// Where the endpoint of a kind is found.
#[derive(Debug)]
pub enum Endpoint {
    /// It is the control plane.
    ControlPlane,
    /// The control plane knows it, and asking takes the resource's environment.
    LookUp(LookUp),
}

/// A request to the control plane whose answer names an endpoint.
#[derive(Debug)]
pub struct LookUp {
    /// Path segments and query of the request, from the resource's id and environment.
    pub request: fn(&str, &str) -> PathAndQuery,
    /// The endpoint in the answer.
    pub endpoint: fn(&Value) -> Option<String>,
    /// Whether trying a key there takes the organization's id.
    pub needs_organization: bool,
}

/// Path segments, not yet encoded, and query pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathAndQuery {
    /// The path's segments.
    pub path: Vec<String>,
    /// The query's pairs.
    pub query: Vec<(&'static str, String)>,
}

impl PathAndQuery {
    /// `path`, split at its slashes, and `query`.
    fn new<const N: usize>(path: &str, query: [(&'static str, &str); N]) -> Self {
        Self {
            path: path.split('/').map(str::to_owned).collect(),
            query: query.map(|(name, value)| (name, value.to_owned())).into(),
        }
    }

    /// This path and query on the host of `base`, each part encoded.
    #[must_use]
    pub fn on(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// What a probe can name.
#[derive(Clone, Debug)]
pub struct Probed<'a> {
    /// The resource's id, without an environment in front.
    pub id: &'a str,
    /// The resource's environment, where it is known.
    pub environment: &'a str,
    /// The organization's id, where the kind needs it.
    pub organization: &'a str,
}

/// A request that tries a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRequest {
    /// The method.
    pub method: Method,
    /// Path and query on the endpoint.
    pub target: PathAndQuery,
    /// The media type of body and answer.
    pub media_type: &'static str,
    /// The body, where there is one.
    pub body: Option<&'static str>,
}

impl ProbeRequest {
    fn get<const N: usize>(path: &str, query: [(&'static str, &str); N]) -> Self {
        Self {
            method: Method::GET,
            target: PathAndQuery::new(path, query),
            media_type: "application/json",
            body: None,
        }
    }
}

/// Every kind.
pub static KINDS: [ResourceKind; 7] = [
    ResourceKind {
        name: "cloud",
        recognises: |id| id.eq_ignore_ascii_case("cloud"),
        reference: Reference::Omitted,
        quota: Some(Quota::CloudKeys),
        endpoint: Endpoint::ControlPlane,
        // https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Environments
        probe: |_| ProbeRequest::get("org/v2/environments", [("page_size", "1")]),
    },
    ResourceKind {
        name: "kafka",
        recognises: |id| id.starts_with("lkc-"),
        reference: Reference::Id,
        quota: Some(Quota::ClusterKeys),
        endpoint: Endpoint::LookUp(LookUp {
            request: |id, environment| cluster("cmk/v2", id, environment),
            endpoint: kafka_endpoint,
            needs_organization: false,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/listKafkaTopics
        probe: |on| ProbeRequest::get(&format!("kafka/v3/clusters/{}/topics", on.id), []),
    },
    ResourceKind {
        name: "schema-registry",
        recognises: |id| id.starts_with("lsrc-"),
        reference: Reference::Id,
        quota: Some(Quota::ClusterKeys),
        endpoint: Endpoint::LookUp(LookUp {
            request: |id, environment| cluster("srcm/v3", id, environment),
            endpoint: schema_registry_endpoint,
            needs_organization: false,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/list
        probe: |_| ProbeRequest::get("subjects", [("limit", "1")]),
    },
    ResourceKind {
        name: "ksqldb",
        recognises: |id| id.starts_with("lksqlc-"),
        reference: Reference::Id,
        quota: Some(Quota::ClusterKeys),
        endpoint: Endpoint::LookUp(LookUp {
            request: |id, environment| cluster("ksqldbcm/v2", id, environment),
            endpoint: |answer| text(answer, "/status/http_endpoint"),
            needs_organization: false,
        }),
        // https://docs.confluent.io/cloud/current/ksqldb/ksqldb-api.html: listing is a `POST`, and
        // changes nothing.
        probe: |_| ProbeRequest {
            method: Method::POST,
            target: PathAndQuery::new("ksql", []),
            media_type: "application/vnd.ksql.v1+json",
            body: Some(r#"{"ksql":"LIST STREAMS;","streamsProperties":{}}"#),
        },
    },
    ResourceKind {
        name: "flink",
        recognises: |id| cloud_and_region(id).is_some(),
        reference: Reference::IdAndEnvironment,
        quota: Some(Quota::ClusterKeys),
        endpoint: Endpoint::LookUp(LookUp {
            request: flink_region,
            endpoint: |answer| {
                text(answer, "/data/0/http_endpoint")
                    .or_else(|| text(answer, "/data/0/private_http_endpoint"))
            },
            needs_organization: true,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/listSqlv1Statements
        probe: |on| {
            let path = format!(
                "sql/v1/organizations/{}/environments/{}/statements",
                on.organization, on.environment
            );
            ProbeRequest::get(&path, [("page_size", "1")])
        },
    },
    ResourceKind {
        name: "tableflow",
        recognises: |id| id.eq_ignore_ascii_case("tableflow"),
        reference: Reference::Id,
        quota: Some(Quota::ClusterKeys),
        endpoint: Endpoint::ControlPlane,
        // https://docs.confluent.io/cloud/current/api.html#operation/listTableflowV1Regions
        probe: |_| ProbeRequest::get("tableflow/v1/regions", []),
    },
    ResourceKind {
        name: "global",
        recognises: |id| id.eq_ignore_ascii_case("global"),
        reference: Reference::Id,
        quota: None,
        endpoint: Endpoint::ControlPlane,
        // https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Environments
        probe: |_| ProbeRequest::get("org/v2/environments", [("page_size", "1")]),
    },
];

fn cluster(api: &str, id: &str, environment: &str) -> PathAndQuery {
    PathAndQuery::new(
        &format!("{api}/clusters/{id}"),
        [("environment", environment)],
    )
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listFcpmV2Regions>
fn flink_region(id: &str, _environment: &str) -> PathAndQuery {
    let (cloud, region) = cloud_and_region(id).unwrap_or_default();
    PathAndQuery::new(
        "fcpm/v2/regions",
        [
            ("cloud", &cloud.to_ascii_uppercase()),
            ("region_name", region),
        ],
    )
}

/// `aws.us-west-2` taken apart.
fn cloud_and_region(id: &str) -> Option<(&str, &str)> {
    let (cloud, region) = id.split_once('.')?;
    (["aws", "azure", "gcp"].contains(&cloud) && !region.is_empty()).then_some((cloud, region))
}

/// The endpoint of a public access point, else of a private one, else the deprecated single one.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
fn kafka_endpoint(answer: &Value) -> Option<String> {
    let access_points = answer.pointer("/spec/endpoints").and_then(Value::as_object);
    let of_access_point = |public: bool| {
        access_points?
            .values()
            .filter(|point| {
                // Everything but PUBLIC is private, and is spelt in more than one way.
                let kind = point.pointer("/connection_type").and_then(Value::as_str);
                public == (kind == Some("PUBLIC"))
            })
            .find_map(|point| text(point, "/http_endpoint"))
    };
    of_access_point(true)
        .or_else(|| of_access_point(false))
        .or_else(|| text(answer, "/spec/http_endpoint"))
}

/// The public endpoint, else a private one, else the deprecated private one.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getSrcmV3Cluster>
fn schema_registry_endpoint(answer: &Value) -> Option<String> {
    let regional = || {
        answer
            .pointer("/spec/private_networking_config/regional_endpoints")?
            .as_object()?
            .values()
            .find_map(|endpoint| endpoint.as_str().filter(|text| !text.is_empty()))
            .map(str::to_owned)
    };
    text(answer, "/spec/http_endpoint")
        .or_else(regional)
        .or_else(|| text(answer, "/spec/private_http_endpoint"))
}

/// The text at `pointer`; none if it is empty, as unused endpoints are.
fn text(answer: &Value, pointer: &str) -> Option<String> {
    let text = answer.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The resource a key belongs to, as the secret names it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its kind.
    pub kind: &'static ResourceKind,
    /// Its id, without an environment in front; `cloud` where the secret names none.
    pub id: String,
    /// Its environment, where the secret names one.
    pub environment: Option<String>,
}

/// The secret's `resourceId` is not that of any kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`resourceId` is not one that Confluent Cloud gives")]
pub struct UnknownResource;

impl Resource {
    /// The resource with the id and in the environment that a secret names.
    ///
    /// # Errors
    /// [`UnknownResource`] if no kind's ids look like that.
    pub fn new(id: Option<&str>, environment: Option<&str>) -> Result<Self, UnknownResource> {
        let (prefix, id) = split_environment(id.unwrap_or("cloud"));
        // Both become part of a URL's path.
        let well_formed = [id, prefix.unwrap_or_default()]
            .iter()
            .flat_map(|part| part.chars())
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        let kind = KINDS
            .iter()
            .find(|kind| well_formed && (kind.recognises)(id))
            .ok_or(UnknownResource)?;
        Ok(Self {
            kind,
            id: id.to_owned(),
            environment: environment.or(prefix).map(str::to_owned),
        })
    }

    /// Whether Confluent's `id` and `environment` name this resource. Where only one side tells the
    /// environment, the id decides: for all kinds but Flink's it is unique by itself.
    #[must_use]
    pub fn is_named_by(&self, id: Option<&str>, environment: Option<&str>) -> bool {
        let (prefix, id) = split_environment(id.unwrap_or("cloud"));
        let same_environment = match (&self.environment, environment.or(prefix)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let same_id = match self.kind.endpoint {
            // These are words, which Confluent compares in any case.
            Endpoint::ControlPlane => id.eq_ignore_ascii_case(&self.id),
            Endpoint::LookUp(_) => id == self.id,
        };
        same_id && same_environment
    }
}

/// `env-abc.aws.us-west-2` as environment and id: an older form of Flink's ids, which answers still use.
fn split_environment(id: &str) -> (Option<&str>, &str) {
    match id.split_once('.') {
        Some((environment, rest)) if environment.starts_with("env-") => (Some(environment), rest),
        _ => (None, id),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind_of(id: Option<&str>) -> Result<&'static str, UnknownResource> {
        Resource::new(id, None).map(|resource| resource.kind.name)
    }

    #[test]
    fn a_kind_is_recognised_by_the_resource_id_alone() {
        for (id, kind) in [
            (None, "cloud"),
            (Some("cloud"), "cloud"),
            (Some("CLOUD"), "cloud"),
            (Some("lkc-abc123"), "kafka"),
            (Some("lsrc-abc123"), "schema-registry"),
            (Some("lksqlc-abc123"), "ksqldb"),
            (Some("aws.us-west-2"), "flink"),
            (Some("azure.centralus"), "flink"),
            (Some("gcp.us-central1"), "flink"),
            (Some("env-abc.aws.us-west-2"), "flink"),
            (Some("Tableflow"), "tableflow"),
            (Some("TABLEFLOW"), "tableflow"),
            (Some("global"), "global"),
        ] {
            assert_eq!(kind_of(id), Ok(kind), "{id:?}");
        }
    }

    #[test]
    fn an_id_of_no_kind_is_refused() {
        for id in [
            "",
            "lkc",
            "pkc-abc",
            "lkc-a/../b",
            "lkc-a?b",
            "lkc-a b",
            "aws.",
            "oci.x",
        ] {
            assert_eq!(kind_of(Some(id)), Err(UnknownResource), "{id:?}");
        }
    }

    #[test]
    fn flink_ids_are_compared_without_the_environment_in_front() {
        let region = Resource::new(Some("aws.us-west-2"), Some("env-abc")).unwrap();

        assert!(region.is_named_by(Some("env-abc.aws.us-west-2"), None));
        assert!(region.is_named_by(Some("aws.us-west-2"), Some("env-abc")));
        assert!(!region.is_named_by(Some("env-other.aws.us-west-2"), None));
        assert!(!region.is_named_by(Some("aws.us-west-2"), Some("env-other")));
        assert!(!region.is_named_by(Some("aws.us-east-1"), Some("env-abc")));
    }

    #[test]
    fn a_cloud_key_is_one_without_a_resource_or_with_the_word() {
        let cloud = Resource::new(None, None).unwrap();

        assert!(cloud.is_named_by(None, None));
        assert!(cloud.is_named_by(Some("cloud"), None));
        assert!(!cloud.is_named_by(Some("lkc-abc"), None));
    }

    #[test]
    fn the_public_kafka_endpoint_goes_before_private_and_deprecated_ones() {
        let private =
            json!({"connection_type": "PRIVATE_LINK", "http_endpoint": "https://private"});
        let public = json!({"connection_type": "PUBLIC", "http_endpoint": "https://public"});
        let deprecated = "https://deprecated";

        let all = json!({"spec": {"endpoints": {"ap1": private, "ap2": public}, "http_endpoint": deprecated}});
        let only_private =
            json!({"spec": {"endpoints": {"ap1": private}, "http_endpoint": deprecated}});
        let neither = json!({"spec": {"endpoints": {}, "http_endpoint": deprecated}});

        assert_eq!(kafka_endpoint(&all).as_deref(), Some("https://public"));
        assert_eq!(
            kafka_endpoint(&only_private).as_deref(),
            Some("https://private")
        );
        assert_eq!(
            kafka_endpoint(&neither).as_deref(),
            Some("https://deprecated")
        );
        assert_eq!(kafka_endpoint(&json!({"spec": {}})), None);
    }

    #[test]
    fn an_empty_schema_registry_endpoint_is_none_and_the_private_one_is_taken() {
        let answer = json!({"spec": {
            "http_endpoint": "",
            "private_networking_config": {"regional_endpoints": {"us-west-2": "https://regional"}},
            "private_http_endpoint": "https://deprecated",
        }});

        assert_eq!(
            schema_registry_endpoint(&answer).as_deref(),
            Some("https://regional")
        );
    }

    #[test]
    fn a_part_of_a_path_cannot_leave_its_segment() {
        let request = PathAndQuery {
            path: vec!["iam".into(), "../a?b#c/d".into()],
            query: vec![("q", "a&b=c".into())],
        };

        let url = request.on(&Url::parse("https://api.confluent.cloud").unwrap());

        assert_eq!(
            url.as_str(),
            "https://api.confluent.cloud/iam/..%2Fa%3Fb%23c%2Fd?q=a%26b%3Dc"
        );
    }
}
