//! The types of API keys.
//!
//! [`KEY_TYPES`] describes them: the form of the resource ID, what a `POST` contains, where the endpoint comes from and what a probe
//! sends. To support another key type, add a row.

use std::time::Duration;

use url::Url;

use super::endpoint::{
    bootstrap_endpoint, cloud_and_region, cluster_url, flink_endpoint, flink_region,
    kafka_endpoint, ksqldb_endpoint, schema_registry_endpoint,
};
use super::resource::split_environment;
use super::{EndpointLookup, EndpointSource, ProbeTarget};
use crate::http::url_at;

/// A type of API key: a row of [`KEY_TYPES`].
#[derive(Debug)]
pub struct KeyType {
    /// The name, as in logs and reports.
    pub name: &'static str,
    is_resource_id: fn(&str) -> bool,
    /// How a request to create a key refers to the resource.
    pub reference: ResourceReference,
    /// Whether a key may authenticate to the control plane. For Global API keys, this is not documented.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#section/Authentication>
    pub can_manage_keys: bool,
    /// The owner's quota that the keys count against, if it is documented.
    pub quota: Option<Quota>,
    /// Whether Confluent documents the filter `spec.resource` for keys of this type.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
    pub supports_resource_filter: bool,
    /// Where the endpoint comes from.
    pub endpoint: EndpointSource,
    /// Returns the URL of a probe: a read request that succeeds only with an accepted key.
    pub probe: fn(&ProbeTarget<'_>) -> Url,
    /// The media type and the body of a probe that is a `POST`. Other probes are `GET` requests for JSON.
    pub probe_body: Option<(&'static str, &'static str)>,
    /// The age at which a key that the function cannot probe counts as propagated.
    pub min_age: Duration,
}

/// The minimum age of Kafka and ksqlDB keys. Confluent's Terraform provider waits five minutes for a ksqlDB key, and expects two
/// for a Kafka key, which has to reach every broker.
///
/// <https://github.com/confluentinc/terraform-provider-confluent/blob/master/internal/provider/utils_wait.go>
const MIN_AGE_ON_CLUSTERS: Duration = Duration::from_mins(5);

/// The minimum age of other keys. Confluent's Terraform provider waits one minute for keys of Schema Registry and Flink, and
/// expects seconds for Cloud and Tableflow keys (same source). The documentation says that keys take a few minutes.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/troubleshoot.html>
const MIN_AGE: Duration = Duration::from_mins(2);

impl KeyType {
    /// Returns whether keys of this type are scoped to resources with IDs like `id`.
    pub(super) fn has_resource(&self, id: &str) -> bool {
        (self.is_resource_id)(id)
    }
}

/// A quota for the API keys of one owner.
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
    /// Returns the scope and the ID of this quota for keys of `owner`.
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

    /// Counts the keys that use this quota, given the resource IDs of an owner's keys.
    pub fn used<'k>(self, resources: impl Iterator<Item = Option<&'k str>>) -> u64 {
        let counted = resources.filter(|resource| self.counts(*resource));
        u64::try_from(counted.count()).unwrap_or(u64::MAX)
    }

    fn counts(self, resource: Option<&str>) -> bool {
        let (_, id) = split_environment(resource.unwrap_or("cloud"));
        let key_type = KEY_TYPES.iter().find(|key_type| key_type.has_resource(id));
        key_type.and_then(|key_type| key_type.quota) == Some(self)
    }
}

/// How a request to create a key refers to the resource.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceReference {
    /// Not at all: a Cloud API key has no resource.
    Omitted,
    /// By ID.
    Id,
    /// By ID and environment, because the ID alone is not unique.
    IdAndEnvironment,
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Environments>
fn list_environments(at: &ProbeTarget<'_>) -> Url {
    let path = ["org", "v2", "environments"];
    url_at(&at.endpoint.url, &path, &[("page_size", "1")])
}

/// All key types.
pub static KEY_TYPES: [KeyType; 7] = [
    KeyType {
        name: "cloud",
        is_resource_id: |id| id.eq_ignore_ascii_case("cloud"),
        reference: ResourceReference::Omitted,
        can_manage_keys: true,
        quota: Some(Quota::CloudKeys),
        supports_resource_filter: false,
        endpoint: EndpointSource::ControlPlane,
        probe: list_environments,
        probe_body: None,
        min_age: MIN_AGE,
    },
    KeyType {
        name: "kafka",
        is_resource_id: |id| id.starts_with("lkc-"),
        reference: ResourceReference::Id,
        can_manage_keys: false,
        quota: Some(Quota::ClusterKeys),
        supports_resource_filter: true,
        endpoint: EndpointSource::Lookup(EndpointLookup {
            url: |base, id, environment| cluster_url(base, ["cmk", "v2"], id, environment),
            endpoint: kafka_endpoint,
            bootstrap: Some(bootstrap_endpoint),
            needs_organization: false,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/listKafkaTopics
        probe: |at| {
            let path = ["kafka", "v3", "clusters", &at.resource.id, "topics"];
            url_at(&at.endpoint.url, &path, &[])
        },
        probe_body: None,
        min_age: MIN_AGE_ON_CLUSTERS,
    },
    KeyType {
        name: "schema-registry",
        is_resource_id: |id| id.starts_with("lsrc-"),
        reference: ResourceReference::Id,
        can_manage_keys: false,
        quota: Some(Quota::ClusterKeys),
        supports_resource_filter: true,
        endpoint: EndpointSource::Lookup(EndpointLookup {
            url: |base, id, environment| cluster_url(base, ["srcm", "v3"], id, environment),
            endpoint: schema_registry_endpoint,
            bootstrap: None,
            needs_organization: false,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/list
        probe: |at| url_at(&at.endpoint.url, &["subjects"], &[("limit", "1")]),
        probe_body: None,
        min_age: MIN_AGE,
    },
    KeyType {
        name: "ksqldb",
        is_resource_id: |id| id.starts_with("lksqlc-"),
        reference: ResourceReference::Id,
        can_manage_keys: false,
        quota: Some(Quota::ClusterKeys),
        supports_resource_filter: true,
        endpoint: EndpointSource::Lookup(EndpointLookup {
            url: |base, id, environment| cluster_url(base, ["ksqldbcm", "v2"], id, environment),
            endpoint: ksqldb_endpoint,
            bootstrap: None,
            needs_organization: false,
        }),
        // The request is a `POST`, but it only lists.
        // https://docs.confluent.io/cloud/current/ksqldb/ksqldb-api.html
        probe: |at| url_at(&at.endpoint.url, &["ksql"], &[]),
        probe_body: Some((
            "application/vnd.ksql.v1+json",
            r#"{"ksql":"LIST STREAMS;","streamsProperties":{}}"#,
        )),
        min_age: MIN_AGE_ON_CLUSTERS,
    },
    KeyType {
        name: "flink",
        is_resource_id: |id| cloud_and_region(id).is_some(),
        reference: ResourceReference::IdAndEnvironment,
        can_manage_keys: false,
        quota: Some(Quota::ClusterKeys),
        supports_resource_filter: false,
        endpoint: EndpointSource::Lookup(EndpointLookup {
            url: flink_region,
            endpoint: flink_endpoint,
            bootstrap: None,
            needs_organization: true,
        }),
        // https://docs.confluent.io/cloud/current/api.html#operation/listSqlv1Statements
        probe: |at| {
            let path = ["sql", "v1", "organizations", &at.endpoint.organization];
            let path = [
                &path[..],
                &["environments", &at.endpoint.environment, "statements"],
            ]
            .concat();
            url_at(&at.endpoint.url, &path, &[("page_size", "1")])
        },
        probe_body: None,
        min_age: MIN_AGE,
    },
    KeyType {
        name: "tableflow",
        is_resource_id: |id| id.eq_ignore_ascii_case("tableflow"),
        reference: ResourceReference::Id,
        can_manage_keys: false,
        quota: Some(Quota::ClusterKeys),
        supports_resource_filter: false,
        endpoint: EndpointSource::ControlPlane,
        // https://docs.confluent.io/cloud/current/api.html#operation/listTableflowV1Regions
        probe: |at| url_at(&at.endpoint.url, &["tableflow", "v1", "regions"], &[]),
        probe_body: None,
        min_age: MIN_AGE,
    },
    KeyType {
        name: "global",
        is_resource_id: |id| id.eq_ignore_ascii_case("global"),
        reference: ResourceReference::Id,
        can_manage_keys: true,
        quota: None,
        supports_resource_filter: false,
        endpoint: EndpointSource::ControlPlane,
        probe: list_environments,
        probe_body: None,
        min_age: MIN_AGE,
    },
];
