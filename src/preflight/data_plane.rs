//! Checks of the resource: its endpoint, and whether it accepts the current key.

use std::time::Duration;

use super::{Context, Finding};
use crate::confluent::{ApiKey, ApiKeyMetadata, ProbeTarget};
use crate::error::Error;
use crate::error::remedy::CONNECT_TO_ENDPOINT;
use crate::keys::verification::{Verification, Verifier};

/// The longest verification, which rate-limited probes may need. An operator waits for the report.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(30);

/// What the checks `endpoint` and `data-plane` found. Without an endpoint, there is nothing to verify.
type Findings = (Finding, Option<Finding>);

impl Context<'_> {
    /// Determines the endpoint and verifies the current key.
    pub(super) async fn check_data_plane(&self, metadata: ApiKeyMetadata) -> Findings {
        let verifier = Verifier::new(self.preflight.confluent, self.preflight.config);
        if !verifier.can_probe(self.resource) {
            let skipped = || Finding::ok("skipped with KEY_VERIFICATION=control-plane");
            return (skipped(), Some(skipped()));
        }
        let target = self.target(&verifier, metadata).await;
        match (target, self.value.api_key()) {
            (Ok(target), Some(key)) => self.verify(&verifier, key, &target).await,
            (Ok(target), None) => {
                let data_plane = Finding::unknown("the secret contains no key to verify");
                (Finding::ok(target.endpoint.as_str()), Some(data_plane))
            }
            (Err(Error::OrganizationUnknown), None) => {
                (Finding::unknown("unknown until a key exists"), None)
            }
            (Err(error), _) => (error.into(), None),
        }
    }

    async fn target(
        &self,
        verifier: &Verifier<'_>,
        metadata: ApiKeyMetadata,
    ) -> Result<ProbeTarget<'_>, Error> {
        let (control_plane, metadata) = (self.control_plane, Some(metadata));
        let target = verifier
            .target(control_plane, self.value, self.resource, metadata, &[])
            .await?;
        let allowed = &self.preflight.confluent.http.allowed;
        let checked = allowed.check(&target.endpoint);
        checked.map_err(|source| Error::EndpointNotAllowed {
            endpoint_source: target.endpoint_source(),
            source,
        })?;
        Ok(target)
    }

    async fn verify(
        &self,
        verifier: &Verifier<'_>,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
    ) -> Findings {
        let deadline = self.preflight.deadline.within(VERIFICATION_TIMEOUT);
        let endpoint = Finding::ok(target.endpoint.as_str());
        let (endpoint, data_plane) = match verifier.verify_once(key, target, deadline).await {
            Ok(Verification::Verified) => (
                endpoint,
                Finding::ok("the resource accepts the current key"),
            ),
            Ok(Verification::Unreachable) => {
                let endpoint = format!("{} is unreachable", target.endpoint);
                let observed = "not verified, which KEY_VERIFICATION=best-effort allows";
                let warning = |observed| Finding::warning(observed, CONNECT_TO_ENDPOINT);
                (warning(endpoint), warning(observed.to_owned()))
            }
            Err(error @ Error::EndpointUnreachable { .. }) => (
                error.into(),
                Finding::unknown("the endpoint is unreachable"),
            ),
            Err(error) => (endpoint, self.current_key_error(error).await),
        };
        (endpoint, Some(data_plane))
    }
}
