//! HTTP: the server, requests, responses, TLS, and the faults that a test injects.

pub(crate) mod faults;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;
pub mod tls;
