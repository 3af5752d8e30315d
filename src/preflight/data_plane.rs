//! Checks of the resource: its endpoint, and whether it accepts the current key.

use std::time::Duration;

use super::{CheckResult, Context, Finding, Report};
use crate::confluent::{ApiKey, ApiKeyMetadata, ProbeTarget};
use crate::error::Error;
use crate::error::remedy::CONNECT_TO_ENDPOINT;
use crate::keys::verification::{Verification, Verifier};

/// The longest verification, which rate-limited probes may need. An operator waits for the report.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(30);

impl Context<'_> {
    /// Determines the endpoint and verifies the current key.
    pub(super) async fn check_data_plane(&self, report: &mut Report, metadata: ApiKeyMetadata) {
        let verifier = Verifier::new(self.preflight.confluent, self.preflight.config);
        if !verifier.can_probe(self.resource) {
            return report.stop("KEY_VERIFICATION=control-plane skips them".to_owned());
        }
        let target = self.target(&verifier, metadata).await;
        let found = match (target, self.value.api_key()) {
            (Ok(target), Some(key)) => self.verify(&verifier, key, &target).await,
            (Ok(target), None) => {
                let data_plane = Finding::not_verifiable("the secret contains no key to verify");
                Ok((data_plane, Finding::ok(target.endpoint.as_str())))
            }
            (Err(Error::OrganizationUnknown), None) => {
                Err(Finding::not_verifiable("unknown until a key exists"))
            }
            (Err(error), _) => Err(error.into()),
        };
        if let Some(data_plane) = report.add_result("endpoint", found) {
            report.add("data-plane", data_plane);
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

    /// Verifies the current key. Returns what the check `data-plane` found, and what the check `endpoint` found.
    async fn verify(
        &self,
        verifier: &Verifier<'_>,
        key: &ApiKey,
        target: &ProbeTarget<'_>,
    ) -> CheckResult<Finding> {
        let deadline = self.preflight.deadline.within(VERIFICATION_TIMEOUT);
        let endpoint = Finding::ok(target.endpoint.as_str());
        match verifier.verify_once(key, target, deadline).await {
            Ok(Verification::Verified) => Ok((
                Finding::ok("the resource accepts the current key"),
                endpoint,
            )),
            Ok(Verification::Unreachable) => {
                let endpoint = format!("{} is unreachable", target.endpoint);
                let observed = "not verified, which KEY_VERIFICATION=best-effort allows";
                let warning = |observed| Finding::warning(observed, CONNECT_TO_ENDPOINT);
                Ok((warning(observed.to_owned()), warning(endpoint)))
            }
            Err(error @ Error::EndpointUnreachable { .. }) => Err(error.into()),
            Err(error) => Ok((self.current_key_error(error).await, endpoint)),
        }
    }
}
