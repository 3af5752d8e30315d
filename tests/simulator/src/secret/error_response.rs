//! Secrets Manager's error responses.

use serde_json::json;

use crate::http::response::Response;

/// Returns an error with the status 400.
pub(super) fn error(error_type: &str, message: &str) -> Response {
    Response::aws_error(400, error_type, message)
}

impl Response {
    /// Returns an error of the AWS JSON 1.1 protocol.
    ///
    /// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
    #[must_use]
    pub fn aws_error(status: u16, error_type: &str, message: &str) -> Self {
        let body = json!({ "__type": error_type, "message": message }).to_string();
        Self::new(status, "application/x-amz-json-1.1", body)
            .with_header("x-amzn-errortype", error_type)
    }

    /// Returns the error for a role without permission for `operation`.
    #[must_use]
    pub fn aws_access_denied(operation: &str) -> Self {
        let message = format!(
            "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
             secretsmanager:{operation} because no identity-based policy allows the secretsmanager:{operation} action"
        );
        Self::aws_error(400, "AccessDeniedException", &message)
    }

    /// Returns the error for a role without permission to use the secret's KMS key.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html>
    #[must_use]
    pub fn aws_kms_denied() -> Self {
        Self::aws_error(400, "AccessDeniedException", "Access to KMS is not allowed")
    }
}
