//! Where credentials may be sent. Every request to Confluent Cloud passes this check.

use url::{Host, Url};

use super::{Error, printable};

/// The reason that `ALLOWED_ENDPOINT_DOMAINS` can resolve.
pub(crate) const DOMAIN_NOT_ALLOWED: &str = "its domain is not in the list of allowed domains";

/// The port of the brokers of a Kafka cluster.
///
/// <https://docs.confluent.io/cloud/current/networking/overview.html>
pub const BROKER_PORT: u16 = 9092;

/// The hosts that credentials may be sent to.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    control_plane: Url,
    additional_domains: Vec<String>,
}

/// The domains of Confluent Cloud and of Confluent Cloud for Government.
///
/// <https://docs.confluent.io/cloud/current/networking/overview.html>
/// <https://docs.confluent.io/confluentgov/current/api/api.html>
const CONFLUENT_DOMAINS: [&str; 2] = ["confluent.cloud", "confluentgov.com"];

impl AllowedHosts {
    /// Allows the control plane, Confluent's domains and `additional_domains`.
    pub fn new(control_plane: Url, additional_domains: Vec<String>) -> Self {
        Self {
            control_plane,
            additional_domains,
        }
    }

    /// Returns the base URL of the control plane.
    pub fn control_plane(&self) -> ControlPlaneUrl {
        ControlPlaneUrl(self.control_plane.clone())
    }

    /// Checks that a token may be sent to `url`: that it is a URL of this control plane.
    pub(super) fn check_control_plane(&self, url: &ControlPlaneUrl) -> Result<(), Error> {
        if url.0.origin() == self.control_plane.origin() {
            return Ok(());
        }
        let (host, reason) = (authority(&url.0), "it is not the control plane");
        Err(Error::HostNotAllowed { host, reason })
    }

    /// Checks that credentials may be sent to `url`.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        let host = authority(url);
        let reject = |reason| Err(Error::HostNotAllowed { host, reason });
        if !url.username().is_empty() || url.password().is_some() {
            return reject("the URL contains user information");
        }
        let is_control_plane = url.origin() == self.control_plane.origin();
        if is_control_plane || (is_loopback(url) && is_loopback(&self.control_plane)) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return reject("the URL does not use HTTPS");
        }
        if url.port_or_known_default() != Some(443) {
            return reject("its port is not 443");
        }
        match url.host() {
            Some(Host::Domain(host)) if self.is_allowed_domain(host) => Ok(()),
            Some(Host::Domain(_)) => reject(DOMAIN_NOT_ALLOWED),
            _ => reject("it is an IP address, not a host name"),
        }
    }

    /// Checks that credentials may be sent to a broker. Returns whether it is on a loopback address, where the connection does not use
    /// TLS.
    pub fn check_broker(&self, host: &str, port: u16) -> Result<bool, Error> {
        let reject = |reason| {
            let host = printable(host);
            Err(Error::HostNotAllowed { host, reason })
        };
        let url = Url::parse(&format!("https://{host}:{port}"));
        // Anything other than a host name would be parsed as another part of the URL, such as a path.
        let url = url.ok().filter(|url| {
            url.host_str()
                .is_some_and(|parsed| parsed.eq_ignore_ascii_case(host))
        });
        let Some(url) = url else {
            return reject("it is not a host name");
        };
        if is_loopback(&url) && is_loopback(&self.control_plane) {
            return Ok(true);
        }
        match url.host() {
            Some(Host::Domain(host)) if !self.is_allowed_domain(host) => reject(DOMAIN_NOT_ALLOWED),
            Some(Host::Domain(_)) if port == BROKER_PORT => Ok(false),
            Some(Host::Domain(_)) => reject("its port is not 9092"),
            _ => reject("it is an IP address, not a host name"),
        }
    }

    fn is_allowed_domain(&self, host: &str) -> bool {
        let additional = self.additional_domains.iter().map(String::as_str);
        let mut domains = CONFLUENT_DOMAINS.into_iter().chain(additional);
        domains.any(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// A URL of the control plane: the base URL in [`AllowedHosts`], or one below it. Access tokens are sent to no other URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneUrl(Url);

impl ControlPlaneUrl {
    /// Returns the URL of `path` and `query`, with each path segment and each value encoded.
    #[must_use]
    pub fn at(&self, path: &[&str], query: &[(&str, &str)]) -> Self {
        Self(url_at(&self.0, path, query))
    }

    /// Returns the URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

/// Returns the URL of `path` and `query` at `base`, with each path segment and each value encoded.
pub fn url_at(base: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Returns whether `url` has a loopback address, so that a request to it never leaves this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

/// Returns the host, followed by the port unless it is the default of the scheme.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("a URL without a host");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_segment_cannot_change_the_rest_of_the_path() {
        let base = Url::parse("https://api.confluent.cloud").unwrap();

        let url = url_at(&base, &["iam", "../a?b#c/d"], &[("q", "a&b=c")]);

        assert_eq!(
            url.as_str(),
            "https://api.confluent.cloud/iam/..%2Fa%3Fb%23c%2Fd?q=a%26b%3Dc"
        );
    }
}
