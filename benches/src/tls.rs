//! TLS on loopback, in front of the simulator's HTTP ports, with its own certificate authority.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::subject;

/// A certificate for 127.0.0.1 and its certificate authority.
pub struct Tls {
    acceptor: TlsAcceptor,
    /// A file with the authority's certificate, for `SSL_CERT_FILE`. The function also contains Mozilla's roots.
    pub authority: PathBuf,
    /// A file with the same certificate and botocore's roots, for Python.
    pub bundle: PathBuf,
}

impl Tls {
    /// Creates an authority and a certificate, both with ECDSA on P-256.
    #[must_use]
    pub fn new() -> Self {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // If issuer and subject have the same name, OpenSSL considers a certificate self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of the benchmarks");
        let authority_key = key();
        let authority = params.self_signed(&authority_key).expect("a certificate");
        let file = subject::target().join("tmp/benches-authority.pem");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the target folder");
        std::fs::write(&file, authority.pem()).expect("the target folder");
        let bundle = file.with_file_name("benches-bundle.pem");
        let roots = subject::python_roots().unwrap_or_default();
        std::fs::write(&bundle, authority.pem() + &roots).expect("the target folder");

        let leaf_key = key();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let issuer = Issuer::new(params, authority_key);
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a certificate");
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let chain = vec![CertificateDer::from(leaf)];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .expect("a certificate that matches its key");
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority: file,
            bundle,
        }
    }

    /// Opens a TLS port that forwards to `url` until the runtime ends. Returns its URL.
    pub async fn front(&self, url: &str) -> String {
        let upstream = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let Ok(mut client) = acceptor.accept(stream).await else {
                        return;
                    };
                    let Ok(mut server) = TcpStream::connect(upstream).await else {
                        return;
                    };
                    let _ = server.set_nodelay(true);
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        format!("https://{address}")
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}
