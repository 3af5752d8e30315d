//! The listeners, and the path of a request: log, fault or rate limit, hold, effect, guarantees, response.
//!
//! A request takes effect under the lock of the [`State`].

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::faults::{Effect, Fault, HoldPoint};
use super::request::{ConnectionNumber, HttpRequest, Service};
use super::response::{Body, Response};
use crate::confluent::rate_limit::Permit;
use crate::state::State;
use crate::{Shared, confluent, generate, secret, sts};

/// A response; `None` to reset the connection.
pub(crate) type Reply = Option<Response>;

/// Binds a port of a loopback address of its own. On one address, thousands of tests would use up the ports, and the kernel would
/// compare each new one with all others. macOS configures only 127.0.0.1.
fn bind() -> std::io::Result<std::net::TcpListener> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [low, middle, ..] = number.to_le_bytes();
    // Processes that run at the same time start at different addresses.
    let [process, ..] = std::process::id().to_le_bytes();
    let address = Ipv4Addr::new(127, 1 + process % 254, middle, low);
    match std::net::TcpListener::bind((address, 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        }
        bound => bound,
    }
}

/// Binds a loopback port and serves it. Aborting the task closes all its connections.
pub(crate) fn accept<F, R>(serve: F) -> (SocketAddr, AbortHandle)
where
    F: Fn(TcpStream, ConnectionNumber) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = bind().expect("a loopback port is free");
    listener
        .set_nonblocking(true)
        .expect("the socket supports nonblocking mode");
    let address = listener.local_addr().expect("the listener is bound");
    let listener = TcpListener::from_std(listener).expect("a tokio runtime is running");
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let mut numbers = (0..).map(ConnectionNumber);
        while let (Ok((stream, _)), Some(number)) = (listener.accept().await, numbers.next()) {
            // Nagle's algorithm would delay small responses.
            stream.set_nodelay(true).expect("the stream is TCP");
            connections.spawn(serve(stream, number));
            while connections.try_join_next().is_some() {}
        }
    });
    (address, task.abort_handle())
}

/// Serves HTTP on a loopback port, and returns its URL.
pub(crate) fn listen<F, R>(handle: F) -> (String, AbortHandle)
where
    F: Fn(http::request::Parts, Bytes) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let (address, task) = accept(move |stream, number| serve(stream, number, handle.clone()));
    (format!("http://{address}"), task)
}

async fn serve<F, R>(stream: TcpStream, number: ConnectionNumber, handle: F)
where
    F: Fn(http::request::Parts, Bytes) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let reset = Arc::new(Notify::new());
    let service = service_fn(|request: http::Request<Incoming>| {
        let (handle, reset) = (handle.clone(), Arc::clone(&reset));
        let response = async move {
            let (mut head, body) = request.into_parts();
            head.extensions.insert(number);
            let Ok(body) = body.collect().await else {
                // The client closed the connection before the end of its request.
                return pending().await;
            };
            let Some(response) = handle(head, body.to_bytes()).await else {
                reset.notify_one();
                return pending().await;
            };
            Ok::<http::Response<Body>, Infallible>(response.into_http())
        };
        Box::pin(response) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => {}
        () = reset.notified() => {
            // With zero linger, the kernel sends RST instead of FIN.
            connection.into_parts().io.into_inner().set_zero_linger().expect("the stream is TCP");
        }
    }
}

/// Serves a service or, on a data plane, one resource.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    service: Service,
    resource: Option<String>,
) -> (String, AbortHandle) {
    let shared = Arc::clone(shared);
    listen(move |head, body| {
        let shared = Arc::clone(&shared);
        let request = HttpRequest::new(service, resource.clone(), head, body);
        async move { respond(&shared, &request).await }
    })
}

async fn respond(shared: &Shared, request: &HttpRequest) -> Reply {
    let _reporter = PanicReporter(shared);
    let (index, fault) = shared.state().log(request);
    let _permit = match Permit::acquire(shared, request) {
        Ok(permit) => permit,
        Err(rejection) => return Some(shared.state().finish(index, request, rejection)),
    };
    wait_at(shared, HoldPoint::Request, index).await;
    let mut response = None;
    if fault.is_none_or(Fault::takes_effect) {
        response = Some(shared.state().execute(request));
        wait_at(shared, HoldPoint::Response, index).await;
    }
    delay(shared).await;
    match fault.map(|fault| fault.effect(request.service)) {
        None => {}
        Some(Effect::Respond(fault)) => response = Some(fault),
        Some(Effect::Reset) => return None,
        Some(Effect::Stall) => return pending().await,
        Some(Effect::Interrupt) => {
            shared.interruptions.send_modify(|count| *count += 1);
            return pending().await;
        }
    }
    let response = response.expect("the request took effect, or its fault has a response");
    Some(shared.state().finish(index, request, response))
}

/// Records a violation if a request panics. The panic itself would only close the connection.
pub(crate) struct PanicReporter<'a>(pub(crate) &'a Shared);

impl Drop for PanicReporter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().record_violation("the simulator panicked");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the latency of a service is independent of the function's deadline"
)]
pub(crate) async fn delay(shared: &Shared) {
    let latency = shared.state().controls.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

pub(crate) async fn wait_at(shared: &Shared, point: HoldPoint, index: usize) {
    let hold = shared.state().enter_hold(point, index);
    if let Some(mut released) = hold {
        // An error means that the hold was dropped, which also releases the request.
        let _ = released.wait_for(|released| *released).await;
    }
}

impl State {
    /// Logs a request, checks it for secrets, and returns its index and its fault.
    fn log(&mut self, request: &HttpRequest) -> (usize, Option<Fault>) {
        self.current_request = request.name();
        self.requests.push(request.entry.clone());
        self.check_for_leaks(request);
        self.record_offered_keys(request);
        let index = self.requests.len() - 1;
        (index, self.faults.remove(&index))
    }

    fn execute(&mut self, request: &HttpRequest) -> Response {
        self.current_request = request.name();
        let replacement = self.replacement(&request.entry);
        let response = match replacement {
            Some((replacement, false)) => replacement,
            replacement => {
                let response = match request.service {
                    Service::ControlPlane => confluent::respond(self, request),
                    Service::SecretsManager => secret::operations::respond(self, request),
                    Service::Sts => sts::respond(self, request),
                    _ => confluent::probes::respond(self, request),
                }
                .unwrap_or_else(|error| error);
                replacement.map_or(response, |(replacement, _)| replacement)
            }
        };
        self.record_quota(request, &response);
        // A request that only reads breaks no guarantee, and there may be thousands of secrets.
        if !(self.is_checked && request.is_read()) {
            self.check_current_keys();
            self.is_checked = true;
        }
        response
    }

    fn finish(&mut self, index: usize, request: &HttpRequest, mut response: Response) -> Response {
        if let Some(logged) = self.requests.get_mut(index) {
            logged.status = Some(response.status);
            logged.responded_at = Some(std::time::SystemTime::now());
        }
        self.record_exchange(request, &response);
        if !matches!(request.service, Service::SecretsManager | Service::Sts) {
            // Every response has it: https://docs.confluent.io/cloud/current/api.html#section/Errors
            response = response.with_header("x-request-id", generate::uuid(index as u64));
        }
        response
    }
}
