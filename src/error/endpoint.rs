//! Errors of a data plane's endpoint: why the function does not send a probe, and what to do.

use super::remedy::{ENDPOINT_FORM, for_http};
use crate::{confluent, http};

/// Why the endpoint of a resource is unknown or cannot be used. The [names](super::Error::name) of the variants are stable.
#[derive(Debug, strum_macros::IntoStaticStr, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum EndpointError {
    #[error("the environment of the resource is unknown")]
    EnvironmentUnknown,
    #[error("Confluent Cloud did not return the organization's ID, which a Flink probe requires")]
    OrganizationUnknown,
    #[error("could not look up the resource's endpoint")]
    EndpointNotFound { source: confluent::Error },
    #[error("{endpoint_source} is not an HTTPS URL of a host without a path or query")]
    EndpointInvalid { endpoint_source: String },
    #[error("{endpoint_source} is not allowed")]
    EndpointNotAllowed {
        endpoint_source: String,
        source: http::Error,
    },
}

impl EndpointError {
    /// Returns what to do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::EnvironmentUnknown => "Add environmentId to the secret",
            Self::OrganizationUnknown => ORGANIZATION_UNKNOWN,
            Self::EndpointNotFound { .. } => ENDPOINT_NOT_FOUND,
            Self::EndpointInvalid { .. } => ENDPOINT_FORM,
            Self::EndpointNotAllowed { source, .. } => for_http(source),
        }
    }
}

const ORGANIZATION_UNKNOWN: &str = "If this persists, check that the key exists, and that the management credentials' owner has \
                                    a role for the key's owner";
const ENDPOINT_NOT_FOUND: &str = "Correct resourceId and environmentId. If they are correct, the management credentials cannot look \
                                  up the resource: add its `endpoint` to the secret";
