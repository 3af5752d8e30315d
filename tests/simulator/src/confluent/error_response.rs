//! Confluent's error responses.

use serde_json::json;

use crate::http::response::Response;

impl Response {
    /// Returns Confluent's error response. `status` is a string, `code` is often absent, and `source` may be empty.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#section/Errors>
    #[must_use]
    pub fn confluent_error(status: u16, code: Option<&str>, title: &str, detail: &str) -> Self {
        let mut error =
            json!({ "id": "a2b96f2e5c5e4ba98eb1de1b2b8b1d5e", "status": status.to_string() });
        if let Some(code) = code {
            error["code"] = json!(code);
            error["title"] = json!(title);
        }
        error["detail"] = json!(detail);
        error["source"] = json!({});
        Self::json(status, &json!({ "errors": [error] }))
    }

    /// Returns 401, the response for a key that does not exist or has not propagated yet.
    ///
    /// <https://github.com/confluentinc/terraform-provider-confluent> `fixtures/apikey/read_list_envs_401.json`
    #[must_use]
    pub fn confluent_unauthorized() -> Self {
        Self::confluent_error(401, None, "", "Unauthorized")
    }

    /// Returns 403, the response for a missing permission and for a deleted key.
    ///
    /// <https://github.com/confluentinc/terraform-provider-confluent> `fixtures/apikey/read_deleted_kafka.json`
    #[must_use]
    pub fn confluent_forbidden() -> Self {
        Self::confluent_error(
            403,
            Some("forbidden_access"),
            "Forbidden Access",
            "Forbidden Access",
        )
    }
}
