//! Where a credential may be sent: the one check that every request goes through.

use url::{Host, Url};

use super::Error;

/// The rule that [`AllowedHosts`] can be told to relax.
pub(crate) const OTHER_DOMAIN: &str = "its domain is not an allowed one";

/// Where credentials may be sent.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    control_plane: Url,
    more_domains: Vec<String>,
}

/// The domains of Confluent Cloud's data planes, and of its edition for the United States' government.
///
/// <https://docs.confluent.io/cloud/current/networking/overview.html>
/// <https://docs.confluent.io/confluentgov/current/api/api.html>
const CONFLUENT_DOMAINS: [&str; 2] = ["confluent.cloud", "confluentgov.com"];

impl AllowedHosts {
    /// The control plane, Confluent's own domains, and `more_domains`.
    #[must_use]
    pub fn new(control_plane: Url, more_domains: Vec<String>) -> Self {
        Self {
            control_plane,
            more_domains,
        }
    }

    /// Checks that a credential may be sent to `url`.
    ///
    /// # Errors
    /// [`Error::HostNotAllowed`], which names the host and the rule.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        let refuse = |why| {
            Err(Error::HostNotAllowed {
                host: authority(url),
                why,
            })
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it carries user information");
        }
        if url.origin() == self.control_plane.origin() {
            return Ok(());
        }
        if is_loopback(url) && is_loopback(&self.control_plane) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return refuse("it is not https");
        }
        if url.port_or_known_default() != Some(443) {
            return refuse("its port is not 443");
        }
        match url.host() {
            Some(Host::Domain(host)) if self.is_allowed_domain(host) => Ok(()),
            Some(Host::Domain(_)) => refuse(OTHER_DOMAIN),
            _ => refuse("it is an address, not a name"),
        }
    }

    fn is_allowed_domain(&self, host: &str) -> bool {
        let more = self.more_domains.iter().map(String::as_str);
        CONFLUENT_DOMAINS.into_iter().chain(more).any(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// Whether `url` names this machine by address, so that nothing sent to it leaves the machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

/// The host and, where it is not the usual one, the port: what an error names.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("a URL without a host");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
