//! API keys: what they open, from when on, and who may manage whose.
//!
//! A key opens one resource. A fresh one may be refused for a while, and may even flap; the knobs say
//! how. Who may do what follows from the roles of the key's owner, never from the key.

use std::collections::VecDeque;
use std::time::Instant;

use crate::answer::Answer;
use crate::call::Call;
use crate::state::State;

/// What an API key can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Cloud resource management.
    Cloud,
    /// A Kafka cluster, `lkc-…`.
    Kafka,
    /// A Schema Registry, `lsrc-…`.
    SchemaRegistry,
    /// A ksqlDB cluster, `lksqlc-…`.
    KsqlDb,
    /// A Flink region of one environment, `<cloud>.<region>`.
    Flink,
    /// Tableflow.
    Tableflow,
    /// All of it.
    Global,
}

impl Kind {
    /// Recognises a kind by the resource's id; the fixed ids in any case.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
    #[must_use]
    pub fn of(resource: Option<&str>) -> Option<Self> {
        let id = resource.unwrap_or("cloud").to_ascii_lowercase();
        let prefixes = [
            ("lkc-", Self::Kafka),
            ("lsrc-", Self::SchemaRegistry),
            ("lksqlc-", Self::KsqlDb),
            ("aws.", Self::Flink),
            ("azure.", Self::Flink),
            ("gcp.", Self::Flink),
        ];
        match id.as_str() {
            "cloud" => Some(Self::Cloud),
            "tableflow" => Some(Self::Tableflow),
            "global" => Some(Self::Global),
            id => prefixes
                .iter()
                .find(|(prefix, _)| id.starts_with(prefix))
                .map(|(_, kind)| *kind),
        }
    }

    /// Whether keys of this kind are used at `api.confluent.cloud` itself.
    #[must_use]
    pub fn is_control_plane(self) -> bool {
        matches!(self, Self::Cloud | Self::Tableflow | Self::Global)
    }
}

/// One API key.
#[derive(Clone)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub id: String,
    /// Its secret, which Confluent shows once.
    pub secret: String,
    /// Its owner, `sa-…` or `u-…`; none for Confluent's internal keys, which show up in lists.
    pub owner: Option<String>,
    /// What it belongs to.
    pub kind: Kind,
    /// The resource's id; `cloud`, `tableflow` and `global` are ids too.
    pub resource: String,
    /// The resource's environment, where it has one.
    pub environment: Option<String>,
    /// `spec.display_name`.
    pub display_name: String,
    /// `spec.description`.
    pub description: String,
    /// `metadata.created_at`.
    pub created_at: String,
    /// Made by a `POST`, and so by the function; all others are somebody else's until a secret names
    /// them. Set it to arrange what an earlier crash has left.
    pub posted: bool,
    /// The secret whose rotation made it, when only one was running.
    pub made_for: Option<String>,
    /// What is still answered before the true answer.
    pub settling: VecDeque<u16>,
    pub(crate) accepted_from: Instant,
    pub(crate) hidden_from_lists: u32,
    /// Deleted, and seen for so many more requests.
    pub(crate) lingers: Option<u32>,
}

impl ApiKey {
    /// Whether its resource accepts it from now on.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.settling.is_empty() && self.lingers.is_none() && Instant::now() >= self.accepted_from
    }

    /// The status that the service it is used at gives it now; 200 for "accepted".
    fn settle(&mut self) -> u16 {
        self.settling
            .pop_front()
            .unwrap_or(if Instant::now() < self.accepted_from {
                401
            } else {
                200
            })
    }
}

/// A service account or a user.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// What it may do.
    pub roles: Vec<Role>,
}

/// What a principal may do with keys and resources.
///
/// <https://docs.confluent.io/cloud/current/security/authenticate/workload-identities/service-accounts/api-keys/manage-api-keys.html>
/// <https://docs.confluent.io/cloud/current/security/access-control/rbac/predefined-rbac-roles.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything, but for other users' keys.
    OrganizationAdmin,
    /// Every kind of key of the service account.
    ResourceOwnerOf(String),
    /// Keys for Kafka, Schema Registry, Flink and ksqlDB in the environment.
    EnvironmentAdmin(String),
    /// Keys for the Kafka or ksqlDB cluster.
    CloudClusterAdmin(String),
    /// Keys for Kafka, Schema Registry, ksqlDB and Tableflow, but none of its own.
    ResourceKeyAdmin,
    /// Keys for Flink.
    FlinkAdmin,
    /// Keys for ksqlDB.
    KsqlAdmin,
    /// Sees resources and may change none.
    Operator,
}

impl Role {
    fn manages(&self, me: &str, key: &ApiKey) -> bool {
        use Kind::{Flink, Kafka, KsqlDb, SchemaRegistry, Tableflow};
        let owner = key.owner.as_deref();
        match self {
            Self::OrganizationAdmin => true,
            Self::ResourceOwnerOf(account) => owner == Some(account),
            Self::EnvironmentAdmin(environment) => {
                matches!(key.kind, Kafka | SchemaRegistry | Flink | KsqlDb)
                    && key.environment.as_ref() == Some(environment)
            }
            Self::CloudClusterAdmin(cluster) => {
                matches!(key.kind, Kafka | KsqlDb) && key.resource == *cluster
            }
            Self::ResourceKeyAdmin => {
                matches!(key.kind, Kafka | SchemaRegistry | KsqlDb | Tableflow) && owner != Some(me)
            }
            Self::FlinkAdmin => key.kind == Flink,
            Self::KsqlAdmin => key.kind == KsqlDb,
            Self::Operator => false,
        }
    }

    fn sees(&self, resource: &str, environment: &str) -> bool {
        match self {
            Self::OrganizationAdmin | Self::Operator => true,
            Self::EnvironmentAdmin(mine) => mine == environment,
            Self::CloudClusterAdmin(mine) => mine == resource,
            Self::ResourceKeyAdmin
            | Self::FlinkAdmin
            | Self::KsqlAdmin
            | Self::ResourceOwnerOf(_) => false,
        }
    }
}

impl State {
    /// Whether `principal` may create or delete `key`: a user its own, nobody another user's; a service
    /// account's key by role only, also its own.
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

    /// "You will only see the keys that are accessible to the account making the API request": those it
    /// may manage, and its own, as operations on a key are marked `x-self-access`.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/listIamV2ApiKeys>
    pub(crate) fn may_see(&self, principal: &str, key: &ApiKey) -> bool {
        key.owner.is_none()
            || key.owner.as_deref() == Some(principal)
            || self.may_manage(principal, key)
    }

    pub(crate) fn may_discover(&self, principal: &str, resource: &str, environment: &str) -> bool {
        self.roles(principal)
            .iter()
            .any(|role| role.sees(resource, environment))
    }

    pub(crate) fn is_admin(&self, principal: &str) -> bool {
        let roles = self.roles(principal);
        roles
            .iter()
            .any(|role| matches!(role, Role::OrganizationAdmin))
    }

    fn roles(&self, principal: &str) -> &[Role] {
        self.owners.get(principal).map_or(&[], |owner| &owner.roles)
    }

    /// The principal that signed a request to the control plane, if keys of its kind may call there.
    pub(crate) fn principal(
        &mut self,
        call: &Call,
        accepts: impl Fn(Kind) -> bool,
    ) -> Result<String, Answer> {
        let Some((id, secret)) = call.basic() else {
            self.violation("a request to the control plane without Basic authentication");
            // https://github.com/confluentinc/terraform-provider-confluent fixtures/ksql/401_Unathorized.json
            let detail = "Valid authentication credentials must be provided";
            return Err(Answer::confluent_error(
                401,
                Some("user_unauthenticated"),
                "Unauthorized",
                detail,
            ));
        };
        let Some(key) = self.presented(&id, &secret) else {
            return Err(Answer::confluent_unauthorized());
        };
        if !accepts(key.kind) {
            // https://github.com/confluentinc/confluent-cloud-secrets-engine
            // astrodocs/src/content/docs/guides/developer.md
            let detail = "invalid API key: make sure you're using a Cloud API Key and not a Cluster API Key: \
                          https://docs.confluent.io/cloud/current/api.html#section/Authentication";
            return Err(Answer::confluent_error(401, None, "", detail));
        }
        match key.settle() {
            200 => key.owner.clone().ok_or_else(Answer::confluent_unauthorized),
            403 => Err(Answer::confluent_forbidden()),
            401 => Err(Answer::confluent_unauthorized()),
            status => Err(Answer::confluent_error(
                status,
                None,
                "",
                "The key is not known everywhere yet",
            )),
        }
    }

    /// The status for the key that signed a request to a data plane; 200 for "accepted". `opens` says
    /// whether a key opens what was asked for.
    pub(crate) fn data_plane_status(
        &mut self,
        call: &Call,
        opens: impl Fn(&ApiKey) -> bool,
    ) -> u16 {
        let Some((id, secret)) = call.basic() else {
            self.violation("a request to a data plane without Basic authentication");
            return 401;
        };
        let Some(key) = self.presented(&id, &secret) else {
            return 401;
        };
        if !opens(key) {
            let text = format!(
                "{id}, a key of {}, was sent to where it does not belong",
                key.resource
            );
            self.broken(6, &text);
            return 401;
        }
        let resource = key.resource.clone();
        match key.settle() {
            200 if self.knobs.is_forbidden(&resource) => 403,
            status => status,
        }
    }

    /// The key with this id and this secret. A deleted one may still be accepted for a while.
    fn presented(&mut self, id: &str, secret: &str) -> Option<&mut ApiKey> {
        self.observe(id);
        self.keys.get_mut(id).filter(|key| key.secret == secret)
    }

    /// Counts one more look at a deleted key, and lets it go after the last.
    pub(crate) fn observe(&mut self, id: &str) {
        match self.keys.get_mut(id).map(|key| &mut key.lingers) {
            Some(Some(0)) => {
                let key = self.keys.remove(id).expect("it was just found");
                self.deleted_keys.insert(id.to_owned(), key);
            }
            Some(Some(looks)) => *looks -= 1,
            Some(None) | None => {}
        }
    }
}
