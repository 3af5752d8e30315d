//! The HTTP clients: one that all services share, and one for probes. Both use the same TLS stack and settings.
//!
//! Requests to Confluent Cloud use them directly. The AWS SDK uses the shared one, as
//! [`SdkHttpClient`](super::SdkHttpClient). They don't follow redirects, because a redirect would send credentials to another host.

use std::time::Duration;

use reqwest::{NoProxy, Proxy};
use rustls::{ClientConfig, RootCertStore};

use super::Network;

/// The timeout for connecting, including the TLS handshake. A private endpoint that the function cannot reach never
/// responds, so the timeout is short.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Loopback addresses never use the proxy, whatever `NO_PROXY` says.
///
/// <https://pkg.go.dev/net/http#ProxyFromEnvironment>
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Builds the client that all services share.
///
/// # Errors
/// Returns a [`reqwest::Error`] if reqwest rejects the proxy.
pub fn build_client(
    network: &Network,
    tls: &ClientConfig,
) -> Result<reqwest::Client, reqwest::Error> {
    builder(network, tls)?.build()
}

/// Builds the client for probes. It never reuses a connection: a connection stays on one node of a service, and a key
/// propagates to each node separately.
///
/// # Errors
/// Returns the same errors as [`build_client`].
pub fn build_probe_client(
    network: &Network,
    tls: &ClientConfig,
) -> Result<reqwest::Client, reqwest::Error> {
    builder(network, tls)?.pool_max_idle_per_host(0).build()
}

/// Builds the TLS settings of all connections.
///
/// # Errors
/// Returns a [`rustls::Error`] if the cryptographic provider does not support the protocol versions.
pub fn build_tls(network: &Network) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.extend(network.additional_roots.iter().cloned());
    // No default provider is installed in this process.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

fn builder(
    network: &Network,
    tls: &ClientConfig,
) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls.clone());
    // An HTTP proxy from the environment would receive the credentials of requests to loopback.
    let mut builder = builder.no_proxy();
    if let Some(proxy) = proxy(network)? {
        builder = builder.proxy(proxy);
    }
    Ok(builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        )))
}

/// Builds the proxy for HTTPS. It sees only host names and encrypted data, unless `SSL_CERT_FILE` trusts the certificate
/// authority with which it inspects TLS.
fn proxy(network: &Network) -> Result<Option<Proxy>, reqwest::Error> {
    let Some(url) = &network.proxy else {
        return Ok(None);
    };
    let direct = network.no_proxy.as_deref().unwrap_or_default();
    let direct = NoProxy::from_string(&format!("{LOOPBACK},{direct}"));
    Ok(Some(Proxy::https(url.expose())?.no_proxy(direct)))
}

/// The largest body from Confluent Cloud that is read, in bytes: ten times a full page of API keys.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Reads a response's body. Returns `None` if it exceeds `max_bytes`.
///
/// # Errors
/// Returns a [`reqwest::Error`] if the body is incomplete or arrives too late.
pub(super) async fn read_body(
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
