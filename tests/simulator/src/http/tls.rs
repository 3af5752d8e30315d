//! TLS on loopback: a certificate authority that clients trust only if configured to, and an HTTPS proxy.
//!
//! Together, [`CertificateAuthority::serve`] and [`Proxy`] are a proxy that inspects TLS.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A new certificate authority.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate in the format of `SSL_CERT_FILE`.
    pub pem: String,
}

impl Default for CertificateAuthority {
    fn default() -> Self {
        let key = KeyPair::generate().expect("a key can be generated");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters
            .self_signed(&key)
            .expect("the certificate is valid");
        Self {
            pem: pem(certificate.der()),
            issuer: Issuer::new(parameters, key),
        }
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
}

/// A listener. Dropping it closes the listener and its connections.
pub struct Listener {
    /// The host and port.
    pub address: String,
    task: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CertificateAuthority {
    /// Terminates TLS for `names` and forwards to the `http://` URL of a service.
    pub async fn serve(&self, names: &[&str], service: &str) -> Listener {
        let key = KeyPair::generate().expect("a key can be generated");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let parameters = CertificateParams::new(names).expect("the names are valid");
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .expect("the certificate is valid");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports these versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("the key matches the certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let service = service.trim_start_matches("http://").to_owned();
        listen(move |stream| {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            async move {
                let mut client = acceptor.accept(stream).await?;
                let mut service = TcpStream::connect(service).await?;
                copy_bidirectional(&mut client, &mut service).await?;
                Ok(())
            }
        })
        .await
    }
}

/// A proxy that forwards `CONNECT host:443` to an address for each host. It rejects any other host with 403.
pub struct Proxy {
    listener: Listener,
    request_heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy for pairs of host and address.
    pub async fn start(hosts: &[(&str, &str)]) -> Self {
        let to = |(host, address): &(&str, &str)| (format!("{host}:443"), (*address).to_owned());
        let hosts: Arc<HashMap<String, String>> = Arc::new(hosts.iter().map(to).collect());
        let request_heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&request_heads);
        let listener = listen(move |stream| {
            let (hosts, log) = (Arc::clone(&hosts), Arc::clone(&log));
            async move { tunnel(stream, &hosts, &log).await }
        })
        .await;
        Self {
            listener,
            request_heads,
        }
    }

    /// Returns the host and port.
    pub fn address(&self) -> &str {
        &self.listener.address
    }

    /// Returns the request line and headers of each `CONNECT`.
    pub fn request_heads(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.request_heads)
    }
}

fn lock(log: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tunnel(
    mut stream: TcpStream,
    hosts: &HashMap<String, String>,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let target = words
        .next()
        .filter(|method| *method == "CONNECT")
        .and_then(|_| words.next());
    let address = target.and_then(|target| hosts.get(target));
    lock(log).push(head.clone());
    let Some(address) = address else {
        return stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .await;
    };
    let mut to = TcpStream::connect(address).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut to).await?;
    Ok(())
}

/// Binds a loopback port and serves it. It ignores errors, because the client reports them.
async fn listen<F, R>(serve: F) -> Listener
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a loopback port is free");
    let address = listener
        .local_addr()
        .expect("the listener is bound")
        .to_string();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
            while connections.try_join_next().is_some() {}
        }
    });
    Listener {
        address,
        task: task.abort_handle(),
    }
}
