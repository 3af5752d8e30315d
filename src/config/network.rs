//! Reads the network settings: additional certificate authorities and a proxy.
//!
//! A proxy's URL may contain a password, so no problem quotes it.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use url::Url;

use super::reader::Reader;
use crate::http::{Network, Redacted};

pub(super) fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Network {
    // Both spellings are common: https://curl.se/docs/manpage.html#ENVIRONMENT
    let uppercase = reader.parse("HTTPS_PROXY", proxy);
    let roots = reader.parse("SSL_CERT_FILE", certificates);
    let mut proxies = ["HTTPS_PROXY", "https_proxy"].into_iter();
    let has_proxy = proxies.any(|name| reader.value(name).is_some());
    // Without a proxy, the list has no effect, so none of its forms is a problem.
    let direct_hosts = |value: &str| has_proxy.then(|| direct_hosts(value)).transpose();
    let no_proxy = reader.parse("NO_PROXY", direct_hosts);
    Network {
        additional_roots: roots.unwrap_or_default(),
        proxy: uppercase.or_else(|| reader.parse("https_proxy", proxy)),
        no_proxy: no_proxy
            .or_else(|| reader.parse("no_proxy", direct_hosts))
            .flatten(),
    }
}

/// Reads the certificates of a PEM file. The function trusts them in addition to the public ones.
fn certificates(path: &str) -> Result<Vec<TrustAnchor<'static>>, &'static str> {
    let pem = std::fs::read(path).map_err(|_| {
        "must be the path of a file that the function can read, such as one of a layer under /opt"
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        if !matches!(added, Some(Ok(()))) {
            return Err("contains an invalid certificate: remove it, or convert it to PEM");
        }
    }
    if roots.is_empty() {
        return Err(
            "contains no certificate: it must be a PEM file with BEGIN CERTIFICATE and END CERTIFICATE lines",
        );
    }
    Ok(roots.roots)
}

/// Parses the URL of a proxy. As in curl, the default scheme is HTTP; the connections through the proxy use TLS.
fn proxy(value: &str) -> Result<Redacted, &'static str> {
    const PROBLEM: &str = "must be the URL of an HTTP or HTTPS proxy without a path, such as \
                           http://proxy.example.com:3128";
    let scheme = if value.contains("://") { "" } else { "http://" };
    let url = Url::parse(&format!("{scheme}{value}")).map_err(|_| PROBLEM)?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_valid = is_bare && matches!(url.scheme(), "http" | "https");
    let url = is_valid.then(|| Redacted::new(url.into()));
    url.ok_or(PROBLEM)
}

/// Checks a list of hosts for the forms that [`reqwest::NoProxy`] ignores: with them, requests would use the proxy. It compares an IP
/// address or a CIDR block only with an IP address in a URL, and the function's URLs contain host names.
fn direct_hosts(value: &str) -> Result<String, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_allowed);
    let is_domain = |host: &str| {
        let has_letter = host.contains(|c: char| c.is_ascii_alphabetic());
        has_letter
            && host
                .strip_prefix('.')
                .unwrap_or(host)
                .split('.')
                .all(is_label)
    };
    let hosts = value.split(',').map(str::trim);
    let mut hosts = hosts.filter(|host| !host.is_empty());
    let are_valid = hosts.all(|host| host == "*" || is_domain(host));
    let value = are_valid.then(|| value.to_ascii_lowercase());
    value.ok_or(
        "must be host names separated by commas, without a scheme, a port or a wildcard: example.com and .example.com \
         include all subdomains, and * alone is every host. IP addresses and CIDR blocks would have no effect",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Problems;
    use super::*;

    fn read(name: &str, value: &str) -> Result<Network, Problems> {
        super::super::tests::read(&[(name, value)]).map(|config| config.network)
    }

    #[test]
    fn the_default_is_a_direct_connection() {
        let network = read("OTHER", "").unwrap();

        assert!(network.additional_roots.is_empty());
        assert_eq!((network.proxy, network.no_proxy), (None, None));
    }

    #[test]
    fn a_file_without_valid_certificates_is_a_problem() {
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
            assert!(
                problem.contains("SSL_CERT_FILE contains"),
                "{name}: {problem}"
            );
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let absent = directory.join("absent");
        let problem = read("SSL_CERT_FILE", absent.to_str().unwrap()).unwrap_err();
        assert!(problem.to_string().contains("SSL_CERT_FILE must be"));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// Reads `NO_PROXY` or `no_proxy` with a proxy.
    fn read_no_proxy(name: &str, value: &str, proxy: (&str, &str)) -> Result<Network, Problems> {
        super::super::tests::read(&[(name, value), proxy]).map(|config| config.network)
    }

    const PROXY: &str = "http://proxy.example.com:3128";

    /// Lists of hosts with a form that the function does not support.
    const INVALID: [&str; 14] = [
        "*.example.com",
        "example.*",
        "example.com:443",
        "10.0.0.1:443",
        "[::1]:443",
        "https://example.com",
        "a.example b.example",
        "a.example;b.example",
        "a..example",
        "10.0.0.1",
        "10.0.0.0/8",
        "::1",
        "fd00::/8",
        "hunter2@example.com",
    ];

    #[test]
    fn without_a_proxy_the_hosts_to_connect_to_directly_are_ignored() {
        for name in ["NO_PROXY", "no_proxy"] {
            for value in INVALID.into_iter().chain(["example.com"]) {
                let network = read(name, value).unwrap();

                assert_eq!(network.no_proxy, None, "{value}");
            }
        }
    }

    #[test]
    fn an_invalid_proxy_is_reported_together_with_the_hosts_to_connect_to_directly() {
        for proxy in ["HTTPS_PROXY", "https_proxy"] {
            for name in ["NO_PROXY", "no_proxy"] {
                let problem = read_no_proxy(name, "*.example.com", (proxy, "ftp://a")).unwrap_err();

                let problem = problem.to_string();
                assert!(problem.contains(&format!("{name} must be")), "{problem}");
                assert!(problem.contains(&format!("{proxy} must be")), "{problem}");
            }
        }
    }

    #[test]
    fn with_a_proxy_a_form_of_a_host_that_would_be_ignored_is_a_problem() {
        for (name, proxy) in [("NO_PROXY", "HTTPS_PROXY"), ("no_proxy", "https_proxy")] {
            let read = |value: &str| read_no_proxy(name, value, (proxy, PROXY));
            for valid in ["vpce-1.example.com, .Example.com,localhost,", "*"] {
                let network = read(valid).unwrap();
                assert_eq!(network.no_proxy, Some(valid.to_ascii_lowercase()));
            }
            for invalid in INVALID {
                let problem = read(&format!("a.example,{invalid}")).unwrap_err();

                let problem = problem.to_string();
                assert!(problem.contains(&format!("{name} must be")), "{problem}");
                assert!(problem.contains(".example.com include"), "{problem}");
                assert!(!problem.contains("hunter2"), "{problem}");
            }
        }
    }

    #[test]
    fn a_proxy_is_a_url_and_its_password_is_never_printed() {
        for valid in [
            "http://proxy.example.com:3128",
            "https://proxy.example.com/",
            "proxy.example.com:3128",
            "10.0.0.1:3128",
            "http://user:hunter2@proxy.example.com",
        ] {
            for name in ["HTTPS_PROXY", "https_proxy"] {
                let network = read(name, valid).unwrap();
                assert!(network.proxy.is_some(), "{valid}");
                assert!(!format!("{network:?}").contains("hunter2"), "{valid}");
            }
        }
        for invalid in [
            "socks5://user:hunter2@proxy",
            "http://user:hunter2@proxy/path",
            "http://user:hunter2@",
            "http://user:hunter2@proxy:port",
            "user hunter2",
        ] {
            let problem = read("HTTPS_PROXY", invalid).unwrap_err().to_string();
            assert!(problem.contains("HTTPS_PROXY must be"), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
