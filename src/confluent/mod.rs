//! Confluent Cloud: API keys, key types, endpoints, probes, brokers, access tokens and error responses.
//!
//! The control plane creates, lists and deletes API keys. The data plane of a resource shows whether it accepts a key.

mod access_token;
mod api_key;
pub mod broker;
mod client;
mod credentials;
mod endpoint;
mod endpoint_cache;
mod error_response;
mod key_type;
mod metadata;
mod probe;
mod resource;
mod wire;

pub use access_token::AccessToken;
pub use api_key::{ApiKey, ApiKeyId, MAX_ID_LENGTH};
pub use client::{ApiKeySpec, Client, Error, KeyFilter, STORE_RESERVE};
pub use credentials::{Credentials, Principal};
pub use endpoint::{Endpoint, EndpointLookup, EndpointSource};
pub use endpoint_cache::{EndpointCache, EndpointCacheKey};
pub use error_response::{ErrorKind, ErrorResponse};
pub use key_type::{KEY_TYPES, KeyType, Quota, ResourceReference};
pub use metadata::ApiKeyMetadata;
pub(crate) use probe::endpoint_source;
pub use probe::{ProbeOutcome, ProbeTarget};
pub use resource::{Resource, UnknownResource};
