//! The resource that a key is scoped to, as the secret value names it.

use super::{EndpointSource, KEY_TYPES, KeyType};

/// The resource that a key is scoped to.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The type of the resource's keys.
    pub key_type: &'static KeyType,
    /// The ID, without an environment, or `cloud` if the secret value contains no `resourceId`.
    pub id: String,
    /// The environment, if the secret value contains it.
    pub environment: Option<String>,
}

/// No key type has a resource ID of this form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` in the secret is not a resource ID of Confluent Cloud")]
pub struct UnknownResource {
    /// The field with the ID.
    pub field: String,
}

impl Resource {
    /// Creates a resource from an ID and an environment in a secret value. Returns `None` if no key type has such an ID.
    pub fn new(id: Option<&str>, environment: Option<&str>) -> Option<Self> {
        let (prefix, id) = split_environment(id.unwrap_or("cloud"));
        // Both become segments of a URL's path.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let is_well_formed = |part: &str| part.chars().all(is_allowed);
        let are_well_formed = is_well_formed(id) && prefix.is_none_or(is_well_formed);
        let mut key_types = KEY_TYPES.iter();
        let key_type = key_types.find(|key_type| are_well_formed && key_type.has_resource(id));
        Some(Self {
            key_type: key_type?,
            id: id.to_owned(),
            environment: environment.or(prefix).map(str::to_owned),
        })
    }

    /// Returns whether `id` and `environment` from Confluent identify this resource. If only one side contains an
    /// environment, the ID decides: it is unique for every key type except Flink.
    pub fn matches(&self, id: Option<&str>, environment: Option<&str>) -> bool {
        let (prefix, id) = split_environment(id.unwrap_or("cloud"));
        let is_same_environment = match (&self.environment, environment.or(prefix)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let is_same_id = match self.key_type.endpoint {
            // `Tableflow` and `Global` are words, which Confluent compares without regard to case.
            EndpointSource::ControlPlane => id.eq_ignore_ascii_case(&self.id),
            EndpointSource::Lookup(_) => id == self.id,
        };
        is_same_id && is_same_environment
    }
}

/// Splits `env-abc.aws.us-west-2`, an older form of a Flink region's ID, into environment and ID. Responses still use it.
pub(super) fn split_environment(id: &str) -> (Option<&str>, &str) {
    match id.split_once('.') {
        Some((environment, rest)) if environment.starts_with("env-") => (Some(environment), rest),
        _ => (None, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_type(id: Option<&str>) -> Option<&'static str> {
        Resource::new(id, None).map(|resource| resource.key_type.name)
    }

    #[test]
    fn the_resource_id_determines_the_key_type() {
        for (id, expected) in [
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
            assert_eq!(key_type(id), Some(expected), "{id:?}");
        }
    }

    #[test]
    fn an_id_of_no_key_type_is_rejected() {
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
            assert_eq!(key_type(Some(id)), None, "{id:?}");
        }
    }

    #[test]
    fn flink_ids_are_compared_without_their_environment_prefix() {
        let region = Resource::new(Some("aws.us-west-2"), Some("env-abc")).unwrap();

        assert!(region.matches(Some("env-abc.aws.us-west-2"), None));
        assert!(region.matches(Some("aws.us-west-2"), Some("env-abc")));
        assert!(!region.matches(Some("env-other.aws.us-west-2"), None));
        assert!(!region.matches(Some("aws.us-west-2"), Some("env-other")));
        assert!(!region.matches(Some("aws.us-east-1"), Some("env-abc")));
    }

    #[test]
    fn a_cloud_api_key_has_no_resource_or_the_resource_cloud() {
        let cloud = Resource::new(None, None).unwrap();

        assert!(cloud.matches(None, None));
        assert!(cloud.matches(Some("cloud"), None));
        assert!(!cloud.matches(Some("lkc-abc"), None));
    }
}
