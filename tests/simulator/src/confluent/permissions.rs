//! Permissions of principals. They depend on the roles of the principal, the owner of a key or an identity pool, and never
//! on the key or the access token.

use super::api_key::{ApiKey, KeyType};
use crate::http::request::HttpRequest;
use crate::http::response::Response;
use crate::state::State;

/// A service account, a user, or the principal of an identity pool.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The roles of the principal.
    pub roles: Vec<Role>,
}

/// A role that permits managing keys or reading resources.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/manage-api-keys.html>
/// <https://docs.confluent.io/cloud/current/security/access-control/rbac/predefined-rbac-roles.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Manages everything except the keys of other users.
    OrganizationAdmin,
    /// Manages all keys of the service account.
    ResourceOwnerOf(String),
    /// Manages Kafka, Schema Registry, Flink and ksqlDB keys in the environment.
    EnvironmentAdmin(String),
    /// Manages keys of the Kafka or ksqlDB cluster.
    CloudClusterAdmin(String),
    /// Manages Kafka, Schema Registry, ksqlDB and Tableflow keys, except its own.
    ResourceKeyAdmin,
    /// Manages Flink keys.
    FlinkAdmin,
    /// Manages ksqlDB keys.
    KsqlAdmin,
    /// Reads resources and manages none.
    Operator,
}

impl Role {
    fn manages(&self, principal: &str, key: &ApiKey) -> bool {
        use KeyType::{Flink, Kafka, KsqlDb, SchemaRegistry, Tableflow};
        let owner = key.owner.as_deref();
        match self {
            Self::OrganizationAdmin => true,
            Self::ResourceOwnerOf(account) => owner == Some(account),
            Self::EnvironmentAdmin(environment) => {
                matches!(key.key_type, Kafka | SchemaRegistry | Flink | KsqlDb)
                    && key.environment.as_ref() == Some(environment)
            }
            Self::CloudClusterAdmin(cluster) => {
                matches!(key.key_type, Kafka | KsqlDb) && key.resource == *cluster
            }
            Self::ResourceKeyAdmin => {
                matches!(key.key_type, Kafka | SchemaRegistry | KsqlDb | Tableflow)
                    && owner != Some(principal)
            }
            Self::FlinkAdmin => key.key_type == Flink,
            Self::KsqlAdmin => key.key_type == KsqlDb,
            Self::Operator => false,
        }
    }

    fn reads(&self, resource: &str, environment: &str) -> bool {
        match self {
            Self::OrganizationAdmin | Self::Operator => true,
            Self::EnvironmentAdmin(administered) => administered == environment,
            Self::CloudClusterAdmin(administered) => administered == resource,
            Self::ResourceKeyAdmin
            | Self::FlinkAdmin
            | Self::KsqlAdmin
            | Self::ResourceOwnerOf(_) => false,
        }
    }
}

impl State {
    /// Returns whether `principal` may create or delete `key`.
    ///
    /// Only the user may manage the keys of a user. The keys of a service account require a role, even for the service
    /// account itself.
    pub(crate) fn may_manage(&self, principal: &str, key: &ApiKey) -> bool {
        match key.owner.as_deref() {
            Some(owner) if owner.starts_with("u-") => owner == principal,
            Some(_) => self
                .roles(principal)
                .iter()
                .any(|role| role.manages(principal, key)),
            None => false,
        }
    }

    /// Returns whether `principal` may read `key`: "You will only see the keys that are accessible to the account
    /// making the API request".
    ///
    /// A principal may read its own keys, because the operations on a key have `x-self-access`.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
    pub(crate) fn may_read(&self, principal: &str, key: &ApiKey) -> bool {
        key.owner.is_none()
            || key.owner.as_deref() == Some(principal)
            || self.may_manage(principal, key)
    }

    pub(crate) fn may_read_resource(
        &self,
        principal: &str,
        resource: &str,
        environment: &str,
    ) -> bool {
        self.roles(principal)
            .iter()
            .any(|role| role.reads(resource, environment))
    }

    pub(crate) fn is_admin(&self, principal: &str) -> bool {
        let roles = self.roles(principal);
        roles
            .iter()
            .any(|role| matches!(role, Role::OrganizationAdmin))
    }

    /// Returns whether a principal exists and may own keys, which an identity pool may not.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    pub(super) fn may_own_keys(&self, principal: &str) -> bool {
        self.owners.contains_key(principal) && !principal.starts_with("pool-")
    }

    fn roles(&self, principal: &str) -> &[Role] {
        self.owners.get(principal).map_or(&[], |owner| &owner.roles)
    }

    /// Returns 403 if the [`Controls`](crate::Controls) deny requests with the key, which the control plane has
    /// accepted.
    pub(super) fn check_permission(&self, request: &HttpRequest) -> Result<(), Response> {
        let key = request.basic().and_then(|(id, _)| self.keys.get(id));
        match key {
            Some(key) if self.controls.denies(&key.resource) => {
                Err(Response::confluent_forbidden())
            }
            _ => Ok(()),
        }
    }
}
