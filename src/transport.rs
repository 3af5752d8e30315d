//! One HTTP client for both services: one TLS stack, one pool of connections, one set of rules.
//!
//! Confluent Cloud is called with it directly, Secrets Manager through the SDK, to which it is an
//! [`HttpClient`]. It follows no redirect, since a redirect would carry a credential to another host.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use reqwest::{NoProxy, Proxy};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Network;

/// How long a connection and its TLS handshake may take. Outside the resource's network a private
/// endpoint never answers at all, and that should be known soon.
const CONNECT: Duration = Duration::from_secs(5);

/// What is meant for this machine never goes through a proxy, whatever `NO_PROXY` says, as in Go.
///
/// <https://pkg.go.dev/net/http#ProxyFromEnvironment>
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The client for both services.
///
/// # Errors
/// A [`reqwest::Error`] if the TLS settings do not fit reqwest's version of rustls.
pub fn client(network: &Network) -> Result<reqwest::Client, reqwest::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.extend(network.more_roots.iter().cloned());
    // The process has no default provider to look up: it is named here, once.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    let builder = reqwest::Client::builder();
    let mut builder = match tls {
        Ok(tls) => builder.tls_backend_preconfigured(tls),
        // reqwest then reports that it has no TLS backend.
        Err(_) => builder,
    }
    // A plain http proxy from the environment would be sent credentials meant for loopback.
    .no_proxy();
    if let Some(proxy) = proxy(network)? {
        builder = builder.proxy(proxy);
    }
    builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        ))
        .build()
}

/// The proxy for https: it sees host names and TLS, and no credential but its own.
fn proxy(network: &Network) -> Result<Option<Proxy>, reqwest::Error> {
    let Some(url) = &network.proxy else {
        return Ok(None);
    };
    let direct = network.no_proxy.as_deref().unwrap_or_default();
    let direct = NoProxy::from_string(&format!("{LOOPBACK},{direct}"));
    Ok(Some(Proxy::https(url.expose())?.no_proxy(direct)))
}

/// A body longer than this is not read. A full page of 100 API keys is a tenth of it, a secret value a sixteenth.
pub const LONGEST_BODY: usize = 1 << 20;

/// The body of an answer; none if it is longer than [`LONGEST_BODY`].
///
/// # Errors
/// A [`reqwest::Error`] if the body ends too soon or too late.
pub async fn body(response: &mut reqwest::Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The shared client as the SDK wants it.
///
/// It buffers bodies, which are at most a secret value of 64 KiB. The SDK's timeouts for an attempt and for an
/// operation enclose it; those for connecting and for reading are its own to keep.
#[derive(Clone, Debug)]
pub struct SdkHttpClient(pub reqwest::Client);

impl HttpClient for SdkHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            client: self.0.clone(),
            limit: limit(settings),
        })
    }
}

/// How long the head of an answer may take: to connect, which the shared client limits, and what the SDK allows for
/// reading from then on.
fn limit(settings: &HttpConnectorSettings) -> Option<Duration> {
    let connecting = settings
        .connect_timeout()
        .map_or(CONNECT, |sdk| sdk.min(CONNECT));
    Some(connecting.saturating_add(settings.read_timeout()?))
}

/// The shared client with the SDK's settings of one service or call.
#[derive(Clone, Debug)]
struct Connector {
    client: reqwest::Client,
    limit: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, limit } = self.clone();
        HttpConnectorFuture::new(async move { exchange(client, request, limit).await })
    }
}

async fn exchange(
    client: reqwest::Client,
    request: HttpRequest,
    limit: Option<Duration>,
) -> Result<HttpResponse, ConnectorError> {
    let user = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
    let request = request
        .try_into_http1x()
        .map_err(|error| user(error.into()))?;
    let (parts, sent) = request.into_parts();
    let Some(sent) = sent.bytes().map(<[u8]>::to_vec) else {
        return Err(user("a streaming body is not supported".into()));
    };
    let request = http::Request::from_parts(parts, sent);
    let request = reqwest::Request::try_from(request).map_err(|error| user(error.into()))?;

    let answer = client.execute(request);
    let answer = match limit {
        Some(limit) => tokio::time::timeout(limit, answer)
            .await
            .map_err(|error| ConnectorError::timeout(error.into()))?,
        None => answer.await,
    };
    let mut response = answer.map_err(connector_error)?;
    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.headers_mut() = response.headers().clone();
    let body = body(&mut response).await.map_err(connector_error)?;
    let body = body.ok_or_else(|| ConnectorError::other("the answer is too long".into(), None))?;
    HttpResponse::try_from(head.map(|()| SdkBody::from(body)))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

/// What the SDK may do next follows from this: it repeats what timed out and what broke.
fn connector_error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
