//! Clients for tests of a single layer, and servers that send invalid responses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

pub(crate) use confluent_key_rotation::confluent::{
    ApiKey, ApiKeyId, Client, Credentials, Resource,
};
pub(crate) use confluent_key_rotation::http::{AllowedHosts, Deadline, Http, Redacted};
use confluent_key_rotation::http::{Network, build_client, build_tls};
use simulator::Fault;
pub(crate) use url::Url;

use super::*;

/// Returns the faults that do not end the process.
pub(crate) fn survivable() -> impl Iterator<Item = Fault> {
    let interruptions = [Fault::InterruptBefore, Fault::InterruptAfter];
    Fault::ALL
        .into_iter()
        .filter(move |fault| !interruptions.contains(fault))
}

/// Returns an HTTP client without network settings.
pub(crate) fn http_client() -> reqwest::Client {
    let network = Network::default();
    build_client(&network, &build_tls(&network).unwrap()).unwrap()
}

pub(crate) async fn world_of(key_type: KeyType) -> World {
    let setting = Setting {
        key_type,
        ..Setting::default()
    };
    World::new(setting).await
}

pub(crate) fn resource(key_type: KeyType) -> Resource {
    Resource::new(resource_id(key_type), environment_id(key_type)).unwrap()
}

pub(crate) fn api_key((id, secret): (String, String)) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(id),
        secret: Redacted::new(secret),
    }
}

impl World {
    /// Creates a Cloud API key of an organization admin.
    pub(crate) fn admin_key(&self) -> ApiKey {
        self.simulator
            .add_owner(ADMIN, &[simulator::Role::OrganizationAdmin]);
        api_key(self.simulator.add_key(ADMIN, None, None))
    }

    pub(crate) fn admin_credentials(&self) -> Credentials {
        Credentials::Key(self.admin_key())
    }

    pub(crate) fn control_plane(&self) -> Url {
        self.function.config.confluent_url.clone()
    }

    pub(crate) fn http(&self) -> Http {
        self.http_with(&self.function.http)
    }

    fn http_with(&self, client: &reqwest::Client) -> Http {
        let allowed = AllowedHosts::new(self.control_plane(), Vec::new());
        Http::new(client.clone(), allowed, self.function.http_limits)
    }

    pub(crate) fn confluent(&self) -> Client {
        let probe_http = self.http_with(&self.function.probe_http);
        let deadline = Deadline::after(AMPLE);
        let tls = self.function.broker_tls.clone();
        let endpoints = self.function.endpoints.clone();
        Client::new(self.http(), probe_http, tls, endpoints, deadline)
    }

    /// Creates a key of this type that has propagated.
    pub(crate) fn resource_key(&self, key_type: KeyType) -> ApiKey {
        let (resource, environment) = (resource_id(key_type), environment_id(key_type));
        api_key(self.simulator.add_key(OWNER, resource, environment))
    }

    /// Responds to every request with `response`.
    pub(crate) fn always_answer(&self, response: Response) {
        self.simulator.respond_with(usize::MAX, |_| true, response);
    }
}

/// What a [`raw_server`] does after it has sent its response.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// Closes the connection.
    Close,
    /// Nothing.
    Stall,
    /// Sends more while the client reads.
    GoOn,
}

/// Starts a server that sends `head` to the first client, for responses that an HTTP library cannot send.
pub(crate) fn raw_server(head: &'static str, then: Then) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        respond_raw(stream, head, then)
    });
    Url::parse(&url).unwrap()
}

fn respond_raw(mut stream: TcpStream, head: &str, then: Then) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(head.as_bytes())?;
    match then {
        Then::Close => {}
        Then::Stall => while stream.read(&mut buffer)? > 0 {},
        Then::GoOn => loop {
            stream.write_all(&[b' '; 4096])?;
        },
    }
    Ok(())
}
