//! TLS on loopback, with an authority of its own that nobody trusts unless told to, and a proxy for https.
//!
//! [`Authority::front`] stands before any of the plain services, and [`Proxy`] may lead a name that is somewhere else in
//! the world to it: the two together are a proxy that inspects TLS.

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

/// A certificate authority, made when the test begins.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as `SSL_CERT_FILE` wants it.
    pub pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        let key = KeyPair::generate().expect("randomness");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("a certificate");
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

/// A listener that is closed, with its connections, when this is dropped.
pub struct Listening {
    /// Host and port.
    pub address: String,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Authority {
    /// Speaks TLS as `names` in front of a service at `http://…`.
    pub async fn front(&self, names: &[&str], service: &str) -> Listening {
        let key = KeyPair::generate().expect("randomness");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let parameters = CertificateParams::new(names).expect("names");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let service = service.trim_start_matches("http://").to_owned();
        listen(move |stream| {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            async move {
                let mut inside = acceptor.accept(stream).await?;
                let mut outside = TcpStream::connect(service).await?;
                copy_bidirectional(&mut inside, &mut outside).await?;
                Ok(())
            }
        })
        .await
    }
}

/// A proxy that leads `CONNECT host:443` where a test wants it, and nothing else anywhere.
pub struct Proxy {
    listening: Listening,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Leads each of these hosts to an address.
    pub async fn start(hosts: &[(&str, &str)]) -> Self {
        let to = |(host, address): &(&str, &str)| (format!("{host}:443"), (*address).to_owned());
        let hosts: Arc<HashMap<String, String>> = Arc::new(hosts.iter().map(to).collect());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let listening = listen(move |stream| {
            let (hosts, seen) = (Arc::clone(&hosts), Arc::clone(&seen));
            async move { tunnel(stream, &hosts, &seen).await }
        })
        .await;
        Self { listening, heads }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.listening.address
    }

    /// What it was asked for: request line and headers.
    pub fn heads(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.heads)
    }
}

fn locked(heads: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    heads.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tunnel(
    mut stream: TcpStream,
    hosts: &HashMap<String, String>,
    seen: &Mutex<Vec<String>>,
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
    locked(seen).push(head.clone());
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

/// Binds a loopback port and serves every connection; one that breaks is the client's to report.
async fn listen<F, R>(serve: F) -> Listening
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a loopback port");
    let address = listener.local_addr().expect("a bound address").to_string();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
            while connections.try_join_next().is_some() {}
        }
    });
    Listening {
        address,
        task: task.abort_handle(),
    }
}
