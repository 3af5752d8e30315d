//! How the network is reached: whom to trust beside the web's certificate authorities, and through which proxy.
//!
//! A proxy's URL may hold a password, so no problem and no `Debug` here quotes one.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use url::Url;

use super::Reader;
use crate::credential::Redacted;

/// How the network is reached. By default as it is.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// `SSL_CERT_FILE`: certificate authorities that are trusted beside the web's.
    pub more_roots: Vec<TrustAnchor<'static>>,
    /// `HTTPS_PROXY`, or `https_proxy`: the URL of a proxy for https, which may hold a password.
    pub proxy: Option<Redacted>,
    /// `NO_PROXY`, or `no_proxy`: hosts that are reached without it.
    pub no_proxy: Option<String>,
}

impl Network {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Self {
        let more_roots = reader.parsed("SSL_CERT_FILE", None, certificates);
        // Everybody who knows the one spelling knows the other: https://curl.se/docs/manpage.html#ENVIRONMENT
        let proxy = reader.parsed("HTTPS_PROXY", None, proxy);
        let proxy = proxy.or_else(|| reader.parsed("https_proxy", None, self::proxy));
        let no_proxy = (reader.variable)("NO_PROXY").or_else(|| (reader.variable)("no_proxy"));
        Self {
            more_roots: more_roots.unwrap_or_default(),
            proxy,
            no_proxy,
        }
    }
}

/// The certificates of a file, as OpenSSL's variable of the same name has it.
fn certificates(path: &str) -> Result<Vec<TrustAnchor<'static>>, &'static str> {
    let pem = std::fs::read(path).map_err(|_| {
        "must be the path of a file that the function can read, such as one of a layer under /opt"
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        if !matches!(added, Some(Ok(()))) {
            return Err(
                "holds a certificate that cannot be read: take it out, or write it again as PEM",
            );
        }
    }
    if roots.is_empty() {
        return Err(
            "holds no certificate: it must be PEM, each between BEGIN CERTIFICATE and END CERTIFICATE",
        );
    }
    Ok(roots.roots)
}

/// As curl has it, a proxy without a scheme is spoken to in plain http; what passes through it is TLS.
fn proxy(value: &str) -> Result<Redacted, &'static str> {
    const REMEDY: &str = "must be the URL of an http or https proxy without a path, such as \
                          http://proxy.example.com:3128";
    let value = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let url = Url::parse(&value).map_err(|_| REMEDY)?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if is_bare && matches!(url.scheme(), "http" | "https") {
        Ok(Redacted::new(url.into()))
    } else {
        Err(REMEDY)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Problems};
    use super::*;

    fn read(name: &str, value: &str) -> Result<Network, Problems> {
        let variable = |asked: &str| (asked == name).then(|| value.to_owned());
        Config::read(variable).map(|config| config.network)
    }

    #[test]
    fn nothing_is_read_where_nothing_is_set() {
        let network = read("OTHER", "").unwrap();

        assert!(network.more_roots.is_empty());
        assert_eq!((network.proxy, network.no_proxy), (None, None));
    }

    #[test]
    fn a_file_without_certificates_is_a_problem_that_names_the_variable() {
        let directory = std::env::temp_dir().join(format!("network-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let good = "-----BEGIN CERTIFICATE-----\n";
        for (name, content) in [
            ("empty", ""),
            ("text", "hunter2"),
            (
                "der",
                "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n",
            ),
            ("cut", good),
            (
                "key",
                "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
            ),
        ] {
            let path = directory.join(name);
            std::fs::write(&path, content).unwrap();

            let problem = read("SSL_CERT_FILE", path.to_str().unwrap()).unwrap_err();

            let problem = problem.to_string();
            assert!(problem.contains("SSL_CERT_FILE holds"), "{name}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let absent = directory.join("absent");
        let problem = read("SSL_CERT_FILE", absent.to_str().unwrap()).unwrap_err();
        assert!(problem.to_string().contains("SSL_CERT_FILE must be"));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_proxy_is_a_url_and_its_password_is_printed_by_nobody() {
        for good in [
            "http://proxy.example.com:3128",
            "https://proxy.example.com/",
            "proxy.example.com:3128",
            "10.0.0.1:3128",
            "http://user:hunter2@proxy.example.com",
        ] {
            for name in ["HTTPS_PROXY", "https_proxy"] {
                let network = read(name, good).unwrap();
                assert!(network.proxy.is_some(), "{good}");
                assert!(!format!("{network:?}").contains("hunter2"), "{good}");
            }
        }
        for bad in [
            "socks5://user:hunter2@proxy",
            "http://user:hunter2@proxy/path",
            "http://user:hunter2@",
            "http://user:hunter2@proxy:port",
            "user hunter2",
        ] {
            let problem = read("HTTPS_PROXY", bad).unwrap_err().to_string();
            assert!(problem.contains("HTTPS_PROXY must be"), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
