//! What a job uses. Each job selects the management credentials here, so that they follow one rule.

use crate::config::Config;
use crate::error::Error;
use crate::http::Deadline;
use crate::keys::access_tokens::AccessTokens;
use crate::keys::credentials::{ControlPlane, ManagementCredentials};
use crate::keys::verification::Verifier;
use crate::secret::{SecretMetadata, SecretValue};
use crate::{confluent, secret};

/// The configuration, the clients and the deadline of one invocation.
#[derive(Clone, Debug)]
pub struct Invocation<'a> {
    /// The function's configuration.
    pub config: &'a Config,
    /// Secrets Manager.
    pub secrets: secret::Client,
    /// Confluent Cloud.
    pub confluent: confluent::Client,
    /// The access tokens of the function's identity pool, if it has one.
    pub access_tokens: Option<&'a AccessTokens<'a>>,
    /// The deadline of the invocation, or of one secret in it.
    pub deadline: Deadline,
    /// The function's ARN, which the secrets of the fleet name.
    pub function_arn: &'a str,
    /// The request ID, for the ownership tag.
    pub request_id: &'a str,
}

impl Invocation<'_> {
    /// Returns the same invocation with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Deadline) -> Self {
        Self {
            secrets: self.secrets.with_deadline(deadline),
            confluent: self.confluent.with_deadline(deadline),
            deadline,
            ..self.clone()
        }
    }

    /// Lists the fleet: the secrets whose rotation function is this one.
    pub async fn fleet(&self) -> Result<Vec<SecretMetadata>, Error> {
        Ok(self.secrets.list_fleet(self.function_arn).await?)
    }

    /// Selects the management credentials for a secret.
    pub fn management_credentials(
        &self,
        secret: &SecretMetadata,
        value: &SecretValue,
    ) -> Result<ManagementCredentials<'_>, Error> {
        let configured = self.config.admin_secret_arn.as_deref();
        ManagementCredentials::of(secret, value, configured, self.access_tokens)
    }

    /// Creates a control-plane client that authenticates with `management`, which may be a key in `value`.
    pub async fn control_plane<'i>(
        &'i self,
        management: ManagementCredentials<'i>,
        value: &SecretValue,
    ) -> Result<ControlPlane<'i>, Error> {
        let own_key = value.self_rotation_slot().key.as_ref();
        let created = ControlPlane::new(&self.confluent, &self.secrets, management, own_key).await;
        created.map_err(|error| error.with_other_keys(value))
    }

    /// Creates the verifier of keys.
    pub fn verifier(&self) -> Verifier<'_> {
        Verifier::new(&self.confluent, self.config)
    }
}
