//! Network settings: additional certificate authorities and a proxy.

use rustls::pki_types::TrustAnchor;

use super::Redacted;

/// How the HTTP client connects. The default is a direct connection that trusts the public certificate authorities.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// `SSL_CERT_FILE`: certificate authorities to trust in addition to the public ones.
    pub additional_roots: Vec<TrustAnchor<'static>>,
    /// `HTTPS_PROXY` or `https_proxy`: the URL of a proxy for HTTPS, which may contain a password.
    pub proxy: Option<Redacted>,
    /// `NO_PROXY` or `no_proxy`: hosts to connect to directly.
    pub no_proxy: Option<String>,
}
