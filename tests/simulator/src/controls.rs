//! The controls that a test sets. Every default is the documented behavior.

use std::collections::BTreeMap;
use std::time::Duration;

/// The behavior of the services where more than one is possible.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent setting"
)]
pub struct Controls {
    /// Delay between a request's effect and its response.
    pub latency: Duration,
    /// Rate limit of the control plane; `None` if there is none.
    pub rate_limit: Option<RateLimit>,
    /// The API secret of each new key instead of a generated one.
    pub issued_secret: Option<String>,
    /// Statuses that the first node of a data plane returns for each new key, in turn, before it returns the actual one:
    /// `[401, 401]` for a key that has not propagated yet, `[200, 401, 200]` for one that flaps.
    pub propagation_statuses: Vec<u16>,
    /// The same for key types of the control plane: Cloud, Global and Tableflow.
    pub control_plane_propagation_statuses: Vec<u16>,
    /// The same for each further node of a data plane and of the control plane. New connections reach the nodes in turn,
    /// and a connection stays on its node.
    pub other_nodes: Vec<Vec<u16>>,
    /// Time between the creation of a key and its first acceptance.
    pub propagation_delay: Duration,
    /// Number of lists that omit a new key.
    pub list_lag: u32,
    /// Number of reads by ID that do not find a new key.
    pub read_lag: u32,
    /// `metadata.created_at` of new keys.
    pub created_at: CreatedAt,
    /// Number of requests for which a deleted key is still listed, read and accepted. `DELETE` returns that the key "is
    /// being deleted".
    pub delete_lag: u32,
    /// Number of reads that do not find the value of a version after `PutSecretValue`.
    ///
    /// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
    pub value_lag: u32,
    /// Maximum number of keys on a page, whatever the request's `page_size`.
    pub max_page_size: Option<usize>,
    /// Maximum number of secrets on a page of `ListSecrets`, whatever the request's `MaxResults`.
    pub max_secrets_page: Option<usize>,
    /// Whether every page of `ListSecrets` is preceded and followed by one without secrets.
    pub empty_secrets_pages: bool,
    /// How the last page of a list of keys ends the list.
    pub last_page: LastPage,
    /// Number of keys that an owner may have; `None` for no limit.
    pub quota: Option<Quota>,
    /// The response for a key ID that does not exist.
    pub deleted_key_response: DeletedKeyResponse,
    /// Whether Global API keys may call `iam/v2`. Confluent does not document this.
    pub global_keys_may_call_iam: bool,
    /// The form of `kafka_bootstrap_endpoint`.
    pub bootstrap_form: BootstrapForm,
    /// Permissions of an accepted key, by resource ID, including `cloud`, `tableflow` and `global`.
    pub permissions: BTreeMap<String, Permission>,
    /// Whether the resource ID of a Flink key is `<env>.<cloud>.<region>` in responses.
    pub flink_ids_include_environment: bool,
    /// The function's policy for the previous key. A secret's resource tags override it.
    pub overlap: Overlap,
    /// Whether events have no `RotationToken`.
    pub omit_rotation_token: bool,
    /// Whether a version keeps `AWSPENDING` after its rotation succeeds.
    pub keep_pending_label: bool,
    /// IAM outbound identity federation in the AWS account.
    pub federation: Federation,
    /// Whether the function's role has no permission for `sts:GetWebIdentityToken`, or another condition.
    pub denies_web_identity_tokens: bool,
    /// `expires_in` in the response to a token exchange.
    pub expires_in: ExpiresIn,
    /// The time for which a new access token is accepted, if it differs from that in the response.
    pub access_token_lifetime: Option<Duration>,
    /// Whether the filters of all identity pools are false.
    pub pool_filter_mismatch: bool,
    /// Whether the control plane accepts API keys although there is an identity pool, as Confluent Cloud does.
    pub accept_api_keys: bool,
    /// Another server stores the secrets, so the simulator does not see when the function reads their labels.
    pub secrets_are_elsewhere: bool,
}

/// The time for which the previous key is kept after it was replaced, unless the quota is exceeded. To delete it or to remove
/// its label earlier is a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// None: `delete`.
    #[default]
    None,
    /// This number of hours: `delete-after`.
    Hours(u32),
    /// Until the next promotion: `keep-until-next-rotation`.
    UntilNextRotation,
}

/// IAM outbound identity federation, which is turned on once per account.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_getting_started.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Federation {
    /// Turned on.
    #[default]
    Enabled,
    /// Turned off.
    Disabled,
}

/// `expires_in` in the response to a token exchange. An integer from 1 to 900 is the time for which the token is accepted;
/// otherwise, it is the requested time.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/exchangeStsV1OauthToken>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExpiresIn {
    /// As requested, 900 by default.
    #[default]
    Requested,
    /// The field is absent.
    Absent,
    /// This value.
    Value(serde_json::Value),
}

/// `metadata.created_at` of a new key. The API's description does not require the field.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/createIamV2ApiKey>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CreatedAt {
    /// The current time, at least one second after that of the key before.
    #[default]
    Now,
    /// The field is absent.
    Absent,
    /// This string.
    At(String),
}

/// The value of `metadata.next` on the last page. A client must support all three.
///
/// <https://github.com/confluentinc/cli> `pkg/ccloudv2/utils.go`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPage {
    /// `""`.
    #[default]
    Empty,
    /// `null`.
    Null,
    /// The field is absent.
    Absent,
}

/// The quota of keys for one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Maximum number of keys, of all key types.
    pub per_owner: usize,
    /// The response if the quota is exceeded.
    pub response: QuotaResponse,
}

/// The control plane's rate limit for an organization. Confluent publishes no numbers.
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Maximum number of requests in a window.
    pub requests: u32,
    /// Length of a window.
    pub window: Duration,
    /// Maximum number of requests without a response yet.
    pub concurrent_requests: u32,
}

/// Confluent's two responses if a key exceeds the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaResponse {
    /// 402 with the code `quota_exceeded`, as documented.
    PaymentRequired,
    /// 400 with the detail "is currently limited to", a documented known issue.
    BadRequest,
}

/// Confluent's two responses for a key ID that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletedKeyResponse {
    /// 403 `forbidden_access`, the same as for a missing permission.
    #[default]
    Forbidden,
    /// 404 `api_key_not_found`.
    NotFound,
}

/// Whether an accepted key may use its resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// The resource carries out the request.
    #[default]
    Granted,
    /// The resource returns 403.
    Denied,
}

/// The endpoints that the control plane returns for a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Endpoints {
    /// A public endpoint.
    #[default]
    Public,
    /// Only the deprecated field: `spec.http_endpoint` of a Kafka cluster, `private_http_endpoint` of a Schema Registry.
    Deprecated,
    /// Only a private endpoint with this connection type. The spelling is `PRIVATE_LINK` in the API's description, and
    /// `PRIVATELINK` in a response that Terraform's provider recorded.
    Private(String),
    /// A private endpoint at this URL, followed by a public one.
    PrivateAndPublic {
        /// The connection type.
        connection_type: String,
        /// The URL of the private endpoint.
        private_url: String,
    },
}

/// The form in which the control plane returns the bootstrap endpoint of a Kafka cluster. Confluent documents no list.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootstrapForm {
    /// `SASL_SSL://<host>:<port>`.
    #[default]
    WithScheme,
    /// `<host>:<port>`.
    WithoutScheme,
    /// `<host>:<port>,…`: the bootstrap listener, followed by the listed brokers.
    List,
}

impl Controls {
    pub(crate) fn denies(&self, resource: &str) -> bool {
        self.permissions.get(resource) == Some(&Permission::Denied)
    }
}
