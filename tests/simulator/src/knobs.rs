//! What tests may turn. Every default is the behaviour that the services document.

use std::collections::BTreeMap;
use std::time::Duration;

/// How the services behave where they may behave in more than one way.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Knobs {
    /// How long after it was carried out a request is answered.
    pub latency: Duration,
    /// How often the control plane may be asked; none for as often as one likes.
    pub rate_limit: Option<RateLimit>,
    /// The statuses a data plane gives to each new key, in turn, before its true answer: `[401, 401]`
    /// for a key that takes time to be known, `[200, 401, 200]` for one that flaps.
    pub settling: Vec<u16>,
    /// The same for keys of the control plane: Cloud, Global, Tableflow.
    pub control_plane_settling: Vec<u16>,
    /// How long after it was made a new key is first accepted, for the demo.
    pub settles_after: Duration,
    /// How many lists do not show a new key yet.
    pub list_lag: u32,
    /// For how many more requests a deleted key is still listed, read and accepted. `DELETE` answers
    /// that the key "is being deleted".
    pub delete_lag: u32,
    /// How many reads do not find a version's value after it was put.
    ///
    /// <https://github.com/aws/aws-sdk-js-v3/issues/7701>
    pub value_lag: u32,
    /// The most keys on one page, to force paging however many a client asks for.
    pub page_size_cap: Option<usize>,
    /// How the last page says so.
    pub last_page: LastPage,
    /// How many keys an owner may have; none for as many as it likes.
    pub quota: Option<Quota>,
    /// The answer for a key id that does not exist.
    pub gone_answer: GoneAnswer,
    /// Whether Global keys may call `iam/v2`, which Confluent's pages leave open.
    pub global_keys_may_call_iam: bool,
    /// What an accepted key may do, by resource id (`cloud`, `tableflow` and `global` are ids too).
    pub verdicts: BTreeMap<String, Verdict>,
    /// Give Flink keys' resource ids back as `<env>.<cloud>.<region>`.
    pub flink_ids_name_their_environment: bool,
    /// `AWSPREVIOUS` is to be kept until the next rotation begins.
    pub keep_previous: bool,
    /// Leave `RotationToken` out of the events, as older services do.
    pub without_rotation_token: bool,
    /// Leave `AWSPENDING` beside `AWSCURRENT` when a rotation has succeeded.
    pub pending_stays: bool,
}

/// What `metadata.next` is on the last page: the client has to know all three.
///
/// <https://github.com/confluentinc/cli> `pkg/ccloudv2/utils.go`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPage {
    /// `""`.
    #[default]
    Empty,
    /// `null`.
    Null,
    /// No such field.
    Absent,
}

/// How many keys an owner may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Keys of one owner, of whatever kind.
    pub per_owner: usize,
    /// How Confluent says that there are as many.
    pub answer: QuotaAnswer,
}

/// How often an organization may ask the control plane, and how much at once. Confluent publishes no numbers.
///
/// <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in one window.
    pub requests: u32,
    /// How long a window is.
    pub window: Duration,
    /// Requests that are not answered yet.
    pub at_once: u32,
}

/// Confluent's two ways to refuse a key too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaAnswer {
    /// 402 with the code `quota_exceeded`, as documented.
    PaymentRequired,
    /// 400 with the text "is currently limited to", the documented known issue.
    BadRequest,
}

/// Confluent's two answers for a key id that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GoneAnswer {
    /// 403 `forbidden_access`, which is also a real refusal.
    #[default]
    Forbidden,
    /// 404 `api_key_not_found`.
    NotFound,
}

/// What an accepted key may do at its resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// What it asks for.
    #[default]
    Authorized,
    /// Nothing: 403.
    Forbidden,
}

/// Where the control plane says that a resource is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Endpoints {
    /// In the field for public endpoints.
    #[default]
    Public,
    /// In the deprecated field only: `spec.http_endpoint` of a Kafka cluster, `private_http_endpoint`
    /// of a Schema Registry.
    Deprecated,
    /// Behind a private connection only, spelled like this: `PRIVATE_LINK` in the API's description,
    /// `PRIVATELINK` in what Terraform's provider recorded.
    Private(String),
    /// Behind a private connection at the given URL, which comes first, and in public.
    PrivateAndPublic {
        /// The connection's type, as spelled.
        connection_type: String,
        /// Where the private access point is.
        private_url: String,
    },
}

impl Knobs {
    pub(crate) fn is_forbidden(&self, resource: &str) -> bool {
        self.verdicts.get(resource) == Some(&Verdict::Forbidden)
    }
}
