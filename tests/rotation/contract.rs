//! The clients alone: what they send, what they accept, and what they do when an answer is not what it should be.
//!
//! [`requests`] is one request to Confluent Cloud, [`hosts`] where it may go, [`keys`] the API Keys API, [`trials`]
//! the endpoints that keys open, and [`secrets`] Secrets Manager.

mod hosts;
mod keys;
mod requests;
mod secrets;
mod trials;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use confluent_key_rotation::confluent::Confluent;
use confluent_key_rotation::credential::{ApiKey, ApiKeyId, Redacted};
use confluent_key_rotation::deadline::Deadline;
use confluent_key_rotation::http::{AllowedHosts, Http};
use confluent_key_rotation::resource::Resource;
use simulator::{Answer, Fault};
use url::Url;

use super::kinds::KINDS;
use super::*;

/// Faults that leave the process alive.
fn survivable() -> impl Iterator<Item = Fault> {
    let stops = [Fault::StopBefore, Fault::StopAfter];
    Fault::ALL
        .into_iter()
        .filter(move |fault| !stops.contains(fault))
}

async fn world_of(kind: Kind) -> World {
    let setting = Setting {
        kind,
        ..Setting::default()
    };
    World::new(setting).await
}

fn resource(kind: Kind) -> Resource {
    Resource::new(resource_id(kind), environment_id(kind)).unwrap()
}

fn api_key((id, secret): (String, String)) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(id),
        secret: Redacted::new(secret),
    }
}

impl World {
    /// A Cloud key of somebody who may do everything.
    fn admin_key(&self) -> ApiKey {
        self.simulator
            .add_owner(ADMIN, &[simulator::Role::OrganizationAdmin]);
        api_key(self.simulator.add_key(ADMIN, None, None))
    }

    fn control_plane(&self) -> Url {
        self.function.config.confluent_url.clone()
    }

    fn http(&self) -> Http {
        let allowed = AllowedHosts::new(self.control_plane(), Vec::new());
        Http::new(
            self.function.http.clone(),
            allowed,
            self.function.http_limits,
        )
    }

    fn confluent(&self) -> Confluent {
        Confluent::new(self.http(), self.control_plane(), Deadline::after(AMPLE))
    }

    /// A key of the kind that has been accepted for long.
    fn resource_key(&self, kind: Kind) -> ApiKey {
        let (resource, environment) = (resource_id(kind), environment_id(kind));
        api_key(self.simulator.add_key(OWNER, resource, environment))
    }

    /// Answers everything on the control plane, or on the data planes, with `answer`.
    fn always_answer(&self, answer: Answer) {
        self.simulator.answer(usize::MAX, |_| true, answer);
    }
}

/// What a [`raw_server`] does when it has sent what it was given.
#[derive(Clone, Copy)]
enum Then {
    /// Hangs up.
    Close,
    /// Nothing.
    Stall,
    /// Sends more, for as long as the client reads.
    GoOn,
}

/// A server for one connection that sends `head` whatever it is asked: for answers that no proper server sends.
fn raw_server(head: &'static str, then: Then) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        answer_raw(stream, head, then)
    });
    Url::parse(&url).unwrap()
}

fn answer_raw(mut stream: TcpStream, head: &str, then: Then) -> std::io::Result<()> {
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
