//! A response, which may be truncated or slow.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::body::{Frame, SizeHint};
use serde_json::Value;
use tokio::time::{Interval, interval};

/// The response to a request.
#[derive(Clone)]
pub struct Response {
    /// The status code, registered or not.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Number of bytes that `Content-Length` adds to the body. They are never sent: the connection is closed instead.
    pub missing_bytes: u64,
    /// Interval between two bytes of the body; `None` to send them all immediately.
    pub byte_interval: Option<Duration>,
}

impl Response {
    /// Returns a response with any status and body.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            missing_bytes: 0,
            byte_interval: None,
        }
    }

    /// Returns a JSON response.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// Returns a response without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            missing_bytes: 0,
            byte_interval: None,
        }
    }

    /// Returns `302 Found` with this `Location`.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::empty(302).with_header("location", location)
    }

    /// Truncates the body: `Content-Length` announces `missing_bytes` more than are sent.
    #[must_use]
    pub fn truncated(mut self, missing_bytes: u64) -> Self {
        self.missing_bytes = missing_bytes;
        self
    }

    /// Sends the body byte by byte, one in each interval.
    #[must_use]
    pub fn byte_by_byte(mut self, interval: Duration) -> Self {
        self.byte_interval = Some(interval);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns whether the client receives the response in full and without delay.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing_bytes == 0 && self.byte_interval.is_none()
    }

    pub(crate) fn into_http(self) -> http::Response<Body> {
        let content_length = self.body.len() as u64 + self.missing_bytes;
        let mut response = http::Response::new(Body {
            unsent: self.body,
            content_length,
            byte_interval: self.byte_interval.map(interval),
        });
        *response.status_mut() =
            StatusCode::from_u16(self.status).expect("the status has three digits");
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the header name is valid");
            // Bytes, so that a test can send a value that is not ASCII.
            response.headers_mut().append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("the header value is valid"),
            );
        }
        response
    }
}

/// A body that may be shorter than its `Content-Length`, and slow.
pub(crate) struct Body {
    unsent: Bytes,
    content_length: u64,
    byte_interval: Option<Interval>,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.unsent.is_empty() {
            return Poll::Ready(None);
        }
        let next = match &mut self.byte_interval {
            None => std::mem::take(&mut self.unsent),
            Some(interval) => {
                ready!(interval.poll_tick(context));
                self.unsent.split_to(1)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.content_length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content_length)
    }
}

impl fmt::Debug for Response {
    /// Omits the body, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
