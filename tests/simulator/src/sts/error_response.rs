//! AWS STS's error responses, in the AWS Query protocol.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#operation-error-serialization>

use super::{NAMESPACE, ROLE_ARN};
use crate::http::response::Response;

const REQUEST_ID: &str = "2f6c0d3e-5b1a-4c8e-9d27-71e0a4b35c98";

impl Response {
    /// Returns an error of AWS STS. AWS is the cause of a status of 500 and above.
    ///
    /// <https://github.com/radkawar/stackd> `testdata/aws/iam/outbound_issuance.json`
    #[must_use]
    pub fn aws_sts_error(status: u16, code: &str, message: &str) -> Self {
        let sender = if status < 500 { "Sender" } else { "Receiver" };
        let body = format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    <Type>{sender}</Type>\n    <Code>{code}</Code>\n    \
             <Message>{message}</Message>\n  </Error>\n  <RequestId>{REQUEST_ID}</RequestId>\n</ErrorResponse>\n"
        );
        Self::new(status, "text/xml", body).with_header("x-amzn-requestid", REQUEST_ID)
    }

    /// Returns the error for a role without permission for `sts:GetWebIdentityToken`, or if no condition of the permission
    /// matches.
    ///
    /// <https://github.com/radkawar/stackd> `testdata/aws/iam/outbound_issuance.json`
    #[must_use]
    pub fn aws_sts_denied() -> Self {
        let role = ROLE_ARN.rsplit('/').next().unwrap_or_default();
        let message = format!(
            "User: arn:aws:sts::123456789012:assumed-role/{role}/rotation is not authorized to perform: \
             sts:GetWebIdentityToken on resource: arn:aws:sts::123456789012:self because no identity-based policy \
             allows the sts:GetWebIdentityToken action"
        );
        Self::aws_sts_error(403, "AccessDenied", &message)
    }

    /// Returns the error if IAM outbound identity federation is not turned on in the account.
    ///
    /// <https://github.com/radkawar/stackd> `testdata/aws/iam/outbound_lifecycle.json`
    #[must_use]
    pub fn aws_federation_disabled() -> Self {
        let code = "OutboundWebIdentityFederationDisabledException";
        Self::aws_sts_error(403, code, "OutboundWebIdentityFederation is disabled.")
    }
}
