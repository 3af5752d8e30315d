//! The listeners, and the path of a frame: log, checks, fault, hold, effect, response.

use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::frame::Frame;
use super::operations::Session;
use super::responses::{Reply, error_reply};
use crate::Shared;
use crate::http::faults::{Effect, Fault, HoldPoint};
use crate::http::request::Service;
use crate::http::server::{PanicReporter, accept, delay, wait_at};

/// `sasl.server.max.receive.size`, the limit for frames before authentication.
///
/// <https://kafka.apache.org/documentation/#brokerconfigs_sasl.server.max.receive.size>
const MAX_FRAME_LENGTH: usize = 524_288;

/// The error code for an error without a code of its own.
///
/// <https://kafka.apache.org/protocol#protocol_error_codes>
const UNKNOWN_SERVER_ERROR: i16 = -1;

/// Serves a broker or, without a node ID, the bootstrap listener. Returns the host and port.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    cluster: &str,
    node_id: Option<i32>,
) -> (String, AbortHandle) {
    let (shared, cluster) = (Arc::clone(shared), cluster.to_owned());
    let (address, task) = accept(move |stream, number| {
        let (shared, cluster) = (Arc::clone(&shared), cluster.clone());
        async move {
            let session = shared.state().connect(&cluster, node_id, number.0);
            let mut connection = Connection::new(stream);
            match session {
                None => connection.reset(),
                Some(session) => serve(&shared, connection, session).await,
            }
        }
    });
    (address.to_string(), task)
}

async fn serve(shared: &Shared, mut connection: Connection, mut session: Session) {
    let _reporter = PanicReporter(shared);
    loop {
        let frame = match connection.read_frame().await {
            Ok(Some(frame)) => frame,
            // The client closed the connection.
            Err(_) => return,
            Ok(None) => {
                let mut state = shared.state();
                state.current_request = format!("a connection to broker {}", session.target());
                state.record_violation("the bytes are not a frame of the Kafka protocol");
                return;
            }
        };
        let (index, reply) = respond(shared, &mut session, &frame).await;
        if connection.has_unread_bytes().await {
            shared.state().check_pipelining(&session, &frame);
        }
        match reply {
            Reply::Respond {
                bytes,
                status,
                closes,
            } => {
                shared.state().finish_frame(index, status);
                if connection.stream.write_all(&bytes).await.is_err() || closes {
                    return;
                }
            }
            Reply::Close => return,
            Reply::Reset => return connection.reset(),
            Reply::Stall => return pending().await,
            Reply::Interrupt => {
                shared.interruptions.send_modify(|count| *count += 1);
                return pending().await;
            }
        }
    }
}

/// Returns the index of the frame in the log, and the reply.
async fn respond(shared: &Shared, session: &mut Session, frame: &Frame) -> (usize, Reply) {
    let (index, fault) = shared.state().log_frame(session, frame);
    wait_at(shared, HoldPoint::Request, index).await;
    let mut reply = None;
    if fault.is_none_or(Fault::takes_effect) {
        reply = Some(shared.state().execute_frame(session, frame));
        wait_at(shared, HoldPoint::Response, index).await;
    }
    delay(shared).await;
    let fault = fault.map(|fault| fault_reply(fault, frame));
    let reply = fault.or(reply);
    (
        index,
        reply.expect("the frame took effect, or it has a fault"),
    )
}

fn fault_reply(fault: Fault, frame: &Frame) -> Reply {
    match fault.effect(Service::KafkaBroker) {
        Effect::Interrupt => Reply::Interrupt,
        Effect::Reset => Reply::Reset,
        Effect::Stall => Reply::Stall,
        // A proxy does not know the protocol.
        Effect::Respond(page) if fault == Fault::Unavailable => {
            let (status, length) = (page.status, page.body.len());
            let head = format!(
                "HTTP/1.1 {status} Service Temporarily Unavailable\r\ncontent-type: text/html\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            Reply::Respond {
                bytes: [head.as_bytes(), &page.body].concat(),
                status: Some(status),
                closes: true,
            }
        }
        Effect::Respond(_) => error_reply(frame, UNKNOWN_SERVER_ERROR),
    }
}

/// A connection, and the bytes that belong to later frames.
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Reads a frame; `None` if the bytes are not a frame.
    async fn read_frame(&mut self) -> io::Result<Option<Frame>> {
        let length = loop {
            if let Some(length) = self.unread.first_chunk() {
                break i32::from_be_bytes(*length);
            }
            self.read().await?;
        };
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_FRAME_LENGTH)
        else {
            return Ok(None);
        };
        let end = size_of::<i32>() + length;
        while self.unread.len() < end {
            self.read().await?;
        }
        let later = self.unread.split_off(end);
        let frame = std::mem::replace(&mut self.unread, later).split_off(size_of::<i32>());
        Ok(Frame::parse(frame))
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Returns whether the client sent bytes after the frame that was read last.
    async fn has_unread_bytes(&mut self) -> bool {
        // The runtime polls the sockets before it resumes the task.
        tokio::task::yield_now().await;
        // An error, or the end of the stream, is for the next read.
        let _ = self.stream.try_read_buf(&mut self.unread);
        !self.unread.is_empty()
    }

    fn reset(&mut self) {
        // With zero linger, the kernel sends RST instead of FIN.
        self.stream.set_zero_linger().expect("the stream is TCP");
    }
}
