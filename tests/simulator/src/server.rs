//! The listeners, and the way of one request: it is logged, meets its fault if it has one, or the control
//! plane's limits, waits where a test holds it, is carried out under the lock, and checked against the promises before its answer
//! leaves.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::answer::{Answer, Body};
use crate::call::{Call, Plane};
use crate::faults::{Effect, Fault, When};
use crate::rate_limit::Turn;
use crate::state::State;
use crate::{Shared, confluent, data_planes, secrets_manager};

/// An answer, or none because the connection is to be reset.
pub(crate) type Reply = Option<Answer>;

/// Binds a loopback port and serves it. The task, and with it every connection, ends when it is aborted.
pub(crate) fn listen<F, R>(handle: F) -> (String, AbortHandle)
where
    F: Fn(http::request::Parts, Bytes) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener
        .set_nonblocking(true)
        .expect("a socket that does not block");
    let address = listener.local_addr().expect("a bound address");
    let listener = TcpListener::from_std(listener).expect("a tokio runtime");
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, handle.clone()));
            while connections.try_join_next().is_some() {}
        }
    });
    (format!("http://{address}"), task.abort_handle())
}

async fn serve<F, R>(stream: TcpStream, handle: F)
where
    F: Fn(http::request::Parts, Bytes) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    // Small answers should not wait for the client's acknowledgement.
    stream.set_nodelay(true).expect("a TCP socket");
    let reset = Arc::new(Notify::new());
    let service = service_fn(|request: http::Request<Incoming>| {
        let (handle, reset) = (handle.clone(), Arc::clone(&reset));
        let response = async move {
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await else {
                // The client has gone away in the middle of its request.
                return pending().await;
            };
            let Some(answer) = handle(head, body.to_bytes()).await else {
                reset.notify_one();
                return pending().await;
            };
            Ok::<http::Response<Body>, Infallible>(answer.into_response())
        };
        Box::pin(response) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => {}
        () = reset.notified() => {
            // Closed like this, the kernel sends RST instead of FIN.
            connection.into_parts().io.into_inner().set_zero_linger().expect("a TCP socket");
        }
    }
}

/// Serves one plane, or one resource of a data plane.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    plane: Plane,
    resource: Option<String>,
) -> (String, AbortHandle) {
    let shared = Arc::clone(shared);
    listen(move |head, body| {
        let shared = Arc::clone(&shared);
        let call = Call::new(plane, resource.clone(), head, body);
        async move { answer(&shared, &call).await }
    })
}

async fn answer(shared: &Shared, call: &Call) -> Reply {
    let _witness = Witness(shared);
    let (index, fault) = shared.state().admit(call);
    let _turn = match Turn::take(shared, call) {
        Ok(turn) => turn,
        Err(refused) => return Some(shared.state().finish(index, call, refused)),
    };
    wait_at(shared, When::Request, index).await;
    let mut answer = None;
    if fault.is_none_or(Fault::is_carried_out) {
        answer = Some(shared.state().carry_out(index, call));
        wait_at(shared, When::Answer, index).await;
    }
    delay(shared).await;
    match fault.map(|fault| fault.effect(call.plane)) {
        None => {}
        Some(Effect::Answer(instead)) => answer = Some(instead),
        Some(Effect::Reset) => return None,
        Some(Effect::Stall) => return pending().await,
        Some(Effect::Stop) => {
            shared.stops.send_modify(|stops| *stops += 1);
            return pending().await;
        }
    }
    let answer = shared.state().finish(
        index,
        call,
        answer.expect("carried out, or answered instead"),
    );
    Some(answer)
}

/// Turns a panic on the way of a request, which ends the connection only, into a violation.
struct Witness<'a>(&'a Shared);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().violation("the simulator panicked");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a service's time to answer, which no deadline of the function's bounds"
)]
async fn delay(shared: &Shared) {
    let latency = shared.state().knobs.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

async fn wait_at(shared: &Shared, when: When, index: usize) {
    let gate = {
        let mut state = shared.state();
        let request = state.requests.get(index).cloned();
        request.and_then(|request| state.gate(when, &request))
    };
    if let Some(mut released) = gate {
        // A hold that was dropped is released too.
        let _ = released.wait_for(|released| *released).await;
    }
}

impl State {
    /// Logs a request, looks for what it must not carry, and finds the fault it is to meet.
    fn admit(&mut self, call: &Call) -> (usize, Option<Fault>) {
        self.in_hand = call.label();
        self.requests.push(call.logged());
        self.check_for_leaks(call);
        let index = self.requests.len() - 1;
        (index, self.faults.remove(&index))
    }

    fn carry_out(&mut self, index: usize, call: &Call) -> Answer {
        self.in_hand = call.label();
        let overridden = self
            .requests
            .get(index)
            .cloned()
            .and_then(|request| self.overridden(&request));
        let answer = match overridden {
            Some((instead, false)) => instead,
            overridden => {
                let answer = match call.plane {
                    Plane::ControlPlane => confluent::answer(self, call),
                    Plane::SecretsManager => secrets_manager::answer(self, call),
                    _ => data_planes::answer(self, call),
                }
                .unwrap_or_else(|refused| refused);
                overridden.map_or(answer, |(instead, _)| instead)
            }
        };
        self.check_promises();
        answer
    }

    fn finish(&mut self, index: usize, call: &Call, mut answer: Answer) -> Answer {
        if let Some(request) = self.requests.get_mut(index) {
            request.status = Some(answer.status);
            request.answered_at = Some(std::time::SystemTime::now());
        }
        if call.plane != Plane::SecretsManager {
            // On every answer: https://docs.confluent.io/cloud/current/api.html#section/Errors
            answer = answer.with_header("x-request-id", crate::mint::uuid(index as u64));
        }
        answer
    }
}
