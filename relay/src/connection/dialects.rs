//! What a connection speaks, and within which bounds.

use std::net::SocketAddr;
use std::sync::Arc;

use tombolo_core::dialect::{hocuspocus, native, y_protocols};

use super::automerge::Automerge;
use super::hocuspocus::Hocuspocus;
use super::native::{Door, Native};
use super::pace::Word;
use super::queue::Queue;
use super::y_webrtc::YWebrtc;
use super::y_websocket::YWebsocket;
use super::{Dialect, frame};
use crate::admission::{Claim, admit_writer};
use crate::cluster::{Away, Handed, Tunnels};
use crate::config::{Rate, RelayConfig};
use crate::http::Endpoint;
use crate::listener::Shared;

/// What one connection may send, and what may wait for it.
pub(super) struct Bounds {
    pub(super) is_client: bool,
    pub(super) rates: (Rate, Rate),
    pub(super) queue_bytes: usize,
    pub(super) message_bytes: usize,
}

impl Bounds {
    pub(super) fn of(config: &RelayConfig, endpoint: &Endpoint) -> Self {
        match endpoint {
            // It speaks for all members of another process.
            Endpoint::Native { .. } => Self {
                is_client: false,
                rates: (config.peer_messages, config.peer_kib),
                queue_bytes: config.peer_queue_bytes_max,
                message_bytes: native::FRAME_BYTES_MAX,
            },
            _ => Self {
                is_client: true,
                rates: (config.connection_messages, config.connection_kib),
                queue_bytes: config.queue_bytes_max,
                message_bytes: config.message_bytes_max,
            },
        }
    }
}

/// The dialect, and a harmless message of it: stock clients do not count pings as signs of life.
pub(super) fn dialect_of(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    address: SocketAddr,
    endpoint: &Endpoint,
) -> (Box<dyn Dialect>, Option<Word>) {
    match endpoint {
        Endpoint::YWebsocket { room, token } => (
            Box::new(YWebsocket::new(shared, queue, address, room, token.as_deref())),
            Some(|| frame::binary(&[&y_protocols::EMPTY_AWARENESS])),
        ),
        Endpoint::Hocuspocus => {
            (Box::new(Hocuspocus::new(shared, queue, address)), Some(|| frame::binary(&[&hocuspocus::PING])))
        }
        Endpoint::Automerge { host, token } => {
            (handed(shared, queue, (address, token.as_deref()), (Handed::Automerge, host)), None)
        }
        Endpoint::Signaling { token } => {
            (handed(shared, queue, (address, token.as_deref()), (Handed::Signaling, "")), None)
        }
        Endpoint::Native { is_local } => {
            (Box::new(Native::new(shared, queue, address, Door::Peers { is_local: *is_local })), None)
        }
        Endpoint::Replica => {
            let native = Box::new(Native::new(shared, queue, address, Door::Replicas));
            if shared.archive.is_some() {
                return (native, None);
            }
            // Before it is welcomed, so that it hears of an archive that comes meanwhile.
            (Box::new(shared.tunnels.local(queue, true, native)), None)
        }
    }
}

/// A connection that may be served elsewhere. It is admitted where its socket is. Replicas are handed on later, when
/// they were welcomed.
fn handed(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    (address, token): (SocketAddr, Option<&str>),
    (handed, host): (Handed, &str),
) -> Box<dyn Dialect> {
    let admitted = admit_writer(&*shared.admission, &Claim { address, document: None, token });
    if let (Ok(()), Some(home)) = (&admitted, shared.joint.home_elsewhere()) {
        let away = Away::new(shared, queue, address, (handed, host), home);
        if shared.joint.home_elsewhere() != Some(home) {
            // It moved before this one was among those that are told.
            Tunnels::move_on(queue);
        }
        return Box::new(away);
    }
    let is_admitted = admitted.is_ok();
    let dialect: Box<dyn Dialect> = match (handed.is_text(), admitted) {
        (false, Ok(())) => Box::new(Automerge::new(shared, queue, address, host)),
        (false, Err(denied)) => Box::new(Automerge::new(shared, queue, address, host).denied(denied)),
        (true, Ok(())) => Box::new(YWebrtc::new(shared, queue)),
        (true, Err(denied)) => Box::new(YWebrtc::new(shared, queue).denied(&denied)),
    };
    let local = shared.tunnels.local(queue, false, dialect);
    if is_admitted && shared.joint.home_elsewhere().is_some() {
        Tunnels::move_on(queue);
    }
    Box::new(local)
}
