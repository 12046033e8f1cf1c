//! The task of one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::CapacityError};
use tombolo_core::dialect::{hocuspocus, y_protocols};

use super::automerge::Automerge;
use super::hocuspocus::Hocuspocus;
use super::queue::Queue;
use super::read::ReadSide;
use super::write::{self, Pace};
use super::y_websocket::YWebsocket;
use super::{Closing, Dialect};
use crate::http::Endpoint;
use crate::listener::Shared;
use crate::metrics::DialectLabel;

/// A socket whose handshake is done.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    /// What came behind the handshake already.
    pub(crate) early: Bytes,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
}

/// Runs a connection to its end.
pub(crate) async fn run(shared: Arc<Shared>, accepted: Accepted) {
    let label = DialectLabel { dialect: accepted.endpoint.dialect() };
    shared.metrics.connections_opened.get_or_create(&label).inc();
    shared.metrics.connections.get_or_create(&label).inc();
    serve(&shared, accepted).await;
    shared.metrics.connections.get_or_create(&label).dec();
}

async fn serve(shared: &Arc<Shared>, accepted: Accepted) {
    let queue = Arc::new(Queue::new(shared.config.queue_bytes_max));
    let (read, write) = accepted.socket.into_split();
    let (mut dialect, harmless): (Box<dyn Dialect>, _) = match &accepted.endpoint {
        Endpoint::YWebsocket { room } => (
            Box::new(YWebsocket::new(shared, &queue, accepted.address, room)),
            Some(super::frame::binary(&[&y_protocols::EMPTY_AWARENESS])),
        ),
        Endpoint::Hocuspocus => (
            Box::new(Hocuspocus::new(shared, &queue, accepted.address)),
            Some(super::frame::binary(&[&hocuspocus::PING])),
        ),
        Endpoint::Automerge => (Box::new(Automerge::new(shared, &queue, accepted.address)), None),
    };
    let config = &shared.config;
    let pace = Pace {
        ping: Duration::from_millis(config.ping_ms),
        write: Duration::from_millis(config.write_ms),
        harmless,
    };
    let reading = async {
        let side = ReadSide::new(accepted.early, read, Arc::clone(&queue));
        let closing = read_all(shared, side, dialect.as_mut(), &queue).await;
        if let Some(closing) = closing {
            if let Some(reason) = closing.refusal {
                shared.metrics.refuse(reason);
                tracing::debug!(address = %accepted.address, reason, "connection refused");
            }
            queue.close(closing.code, &closing.reason);
        } else {
            queue.end();
        }
    };
    let writing = async {
        if let Err(error) = write::run(write, &queue, &pace).await {
            tracing::trace!(address = %accepted.address, %error, "write failed");
        }
        queue.end();
    };
    {
        tokio::pin!(reading);
        tokio::pin!(writing);
        tokio::select! {
            () = &mut writing => {}
            () = &mut reading => writing.await,
        }
    }
    dialect.end();
}

/// Reads until the connection ends; answers with a reason if it is this side that ends it.
async fn read_all(
    shared: &Shared,
    side: ReadSide,
    dialect: &mut dyn Dialect,
    queue: &Queue,
) -> Option<Closing> {
    let config = &shared.config;
    let limits = WebSocketConfig::default()
        .read_buffer_size(config.read_buffer_bytes)
        .write_buffer_size(0)
        .max_message_size(Some(config.message_bytes_max))
        .max_frame_size(Some(config.message_bytes_max));
    let mut socket = WebSocketStream::from_raw_socket(side, Role::Server, Some(limits)).await;
    let mut patience = Duration::from_millis(config.first_frame_ms);
    loop {
        let message = tokio::select! {
            () = shared.stop.asked() => return Some(Closing { code: 1012, reason: "the server restarts".into(), refusal: None }),
            message = timeout(patience, socket.next()) => message,
        };
        patience = Duration::from_millis(config.silence_ms);
        let message = match message {
            Err(_) => return Some(Closing::refused(4408, "nothing was heard for too long", "silent")),
            Ok(None) => return None,
            Ok(Some(Err(error))) => return closing_for(&error),
            Ok(Some(Ok(message))) => message,
        };
        if queue.is_closing() {
            return None;
        }
        let result = match message {
            Message::Binary(payload) => {
                shared.metrics.messages_received.inc();
                shared.metrics.bytes_received.inc_by(payload.len() as u64);
                dialect.message(payload)
            }
            Message::Text(_) => dialect.text(),
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        };
        if let Err(closing) = result {
            return Some(closing);
        }
        queue.drained(config.answer_bytes_max).await;
        if let Some(archive) = &shared.archive {
            archive.pressure().below(config.archive_bytes_max).await;
        }
    }
}

fn closing_for(error: &Error) -> Option<Closing> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some(Closing::refused(1009, "the message is too big", "message_too_big"))
        }
        Error::Protocol(_) => Some(Closing::refused(1002, "WebSocket protocol error", "websocket_protocol")),
        Error::Utf8(_) => Some(Closing::refused(1007, "text that is not UTF-8", "not_utf8")),
        _ => None,
    }
}
