//! An answer, and the shapes of error that the services document.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};
use tokio::time::{Interval, interval};

/// What is sent back for one request.
#[derive(Clone)]
pub struct Answer {
    /// The status code, which need not be a registered one.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body, as it is.
    pub body: Bytes,
    /// How many bytes of the body are announced and never sent: the connection is closed instead.
    pub missing: u64,
    /// How long after one byte of the body the next is sent; none for all of them at once.
    pub pace: Option<Duration>,
}

impl Answer {
    /// Any status and body: what tests of odd and hostile servers need.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            missing: 0,
            pace: None,
        }
    }

    /// JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// No body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            missing: 0,
            pace: None,
        }
    }

    /// `302 Found`, pointing elsewhere.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::empty(302).with_header("location", location)
    }

    /// The same, cut off: so many bytes that were announced do not come.
    #[must_use]
    pub fn cut_off(mut self, missing: u64) -> Self {
        self.missing = missing;
        self
    }

    /// The same, with a body that drips: one byte, then so long nothing, then the next.
    #[must_use]
    pub fn dripping(mut self, pace: Duration) -> Self {
        self.pace = Some(pace);
        self
    }

    /// One more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Confluent's error body: `status` is a string, `code` is often missing, `source` may be empty.
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

    /// A key that Confluent does not know, or does not know yet.
    ///
    /// <https://github.com/confluentinc/terraform-provider-confluent> `fixtures/apikey/read_list_envs_401.json`
    #[must_use]
    pub fn confluent_unauthorized() -> Self {
        Self::confluent_error(401, None, "", "Unauthorized")
    }

    /// Refused, or gone: Confluent gives the same answer for both.
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

    /// Secrets Manager's error, in the AWS JSON 1.1 protocol.
    ///
    /// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
    #[must_use]
    pub fn aws_error(status: u16, error_type: &str, message: &str) -> Self {
        let body = json!({ "__type": error_type, "message": message }).to_string();
        Self::new(status, "application/x-amz-json-1.1", body)
            .with_header("x-amzn-errortype", error_type)
    }

    /// What a role that lacks a permission is told.
    #[must_use]
    pub fn aws_access_denied(operation: &str) -> Self {
        let message = format!(
            "User: arn:aws:sts::123456789012:assumed-role/rotation/function is not authorized to perform: \
             secretsmanager:{operation} because no identity-based policy allows the secretsmanager:{operation} action"
        );
        Self::aws_error(400, "AccessDeniedException", &message)
    }

    /// What a role that may not use the secret's KMS key is told.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html>
    #[must_use]
    pub fn aws_kms_denied() -> Self {
        Self::aws_error(400, "AccessDeniedException", "Access to KMS is not allowed")
    }

    pub(crate) fn into_response(self) -> http::Response<Body> {
        let announced = self.body.len() as u64 + self.missing;
        let mut response = http::Response::new(Body {
            rest: self.body,
            announced,
            pace: self.pace.map(interval),
        });
        *response.status_mut() =
            StatusCode::from_u16(self.status).expect("a status has three digits");
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            // Bytes, so that a test can send text that is not ASCII.
            response.headers_mut().append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"),
            );
        }
        response
    }
}

/// A body that may end before as many bytes have been sent as it announces, and may take its time.
pub(crate) struct Body {
    rest: Bytes,
    announced: u64,
    pace: Option<Interval>,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let next = match &mut self.pace {
            None => std::mem::take(&mut self.rest),
            Some(pace) => {
                ready!(pace.poll_tick(context));
                self.rest.split_to(1)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.announced == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

impl fmt::Debug for Answer {
    /// Bodies carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
