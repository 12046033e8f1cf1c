//! y-websocket: one room a connection, bare y-protocols frames.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tombolo_core::dialect::{y_protocols, y_websocket};
use tombolo_core::id::DocumentId;

use super::queue::Queue;
use super::{Closing, Dialect, PresenceAllowance};
use crate::admission::Claim;
use crate::listener::Shared;
use crate::room::{Framing, Seat, Seated};

/// A y-websocket connection; its seat is taken with the first message.
pub(crate) struct YWebsocket {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    room: Result<DocumentId, String>,
    token: Option<String>,
    seat: Option<Seated>,
    presence: PresenceAllowance,
}

impl YWebsocket {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr, room: &str) -> Self {
        let (path, query) = room.split_once('?').unwrap_or((room, ""));
        let token = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))
            .map(|token| percent_decode_str(token).decode_utf8_lossy().into_owned());
        let room = DocumentId::yjs_from_path(path).map_err(|error| error.to_string());
        let mut this = Self {
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            address,
            room,
            token,
            seat: None,
            presence: PresenceAllowance::default(),
        };
        if queue.is_closing() {
            return this;
        }
        // Refused after the upgrade, with a code that stock clients do not retry.
        if let Err(closing) = this.sit_down() {
            if let Some(reason) = closing.refusal {
                shared.metrics.refuse(reason);
            }
            queue.close(closing.code, &closing.reason);
        }
        this
    }

    fn sit_down(&mut self) -> Result<(), Closing> {
        let document = self
            .room
            .as_ref()
            .map_err(|reason| Closing::refused(y_websocket::CLOSE_BAD_NAME, reason, "document_name"))?;
        let claim = Claim { address: self.address, document: Some(document), token: self.token.as_deref() };
        self.shared
            .admission
            .admit(&claim)
            .map_err(|denied| Closing::refused(y_websocket::CLOSE_FORBIDDEN, &denied.reason, "admission"))?;
        let seat = Seat { queue: Arc::clone(&self.queue), framing: Framing::Bare };
        let joined = self.shared.rooms.join(document, &seat, false);
        self.seat = Some(
            joined.map_err(|full| Closing::refused(y_websocket::CLOSE_VIOLATION, &full, full.reason()))?,
        );
        Ok(())
    }
}

impl Dialect for YWebsocket {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        let Some(seat) = &self.seat else { return Ok(()) };
        let message = y_protocols::parse(&payload)
            .map_err(|error| Closing::refused(y_websocket::CLOSE_BAD_FRAME, &error, error.reason()))?;
        let said = seat.handle(message, payload.len()).map_err(|violation| {
            Closing::refused(y_websocket::CLOSE_VIOLATION, &violation, violation.reason())
        })?;
        if said.is_presence {
            self.presence.spend(&self.shared, &self.queue);
        }
        Ok(())
    }

    fn silent(&self) -> u16 {
        y_websocket::CLOSE_SILENT
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(Closing::refused(1003, "this dialect has binary messages only", "text_message"))
    }
}
