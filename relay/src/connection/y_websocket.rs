//! y-websocket: one room a connection, bare y-protocols frames.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::{self, Message};
use tombolo_core::dialect::y_websocket;
use tombolo_core::id::DocumentId;
use tombolo_core::update::Update;

use super::queue::Queue;
use super::reader::{self, Fate};
use super::{Closing, Dialect, PresenceAllowance};
use crate::admission::{Access, Claim};
use crate::listener::Shared;
use crate::room::{Framing, Seat, Seated};

/// A y-websocket connection.
pub(crate) struct YWebsocket {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// None if it was refused.
    place: Option<(Seated, Access)>,
    presence: PresenceAllowance,
}

impl YWebsocket {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        address: SocketAddr,
        room: &str,
        token: Option<&str>,
    ) -> Self {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        let mut this = Self { shared, queue, place: None, presence: PresenceAllowance::default() };
        if this.queue.is_closing() {
            return this;
        }
        // Refused after the upgrade, with a code that stock clients do not retry.
        match this.sit_down(address, room, token) {
            Ok(place) => this.place = Some(place),
            Err(closing) => {
                if let Some(reason) = closing.refusal {
                    this.shared.metrics.refuse(reason);
                }
                this.queue.close(closing.code, &closing.reason);
            }
        }
        this
    }

    fn sit_down(
        &self,
        address: SocketAddr,
        room: &str,
        token: Option<&str>,
    ) -> Result<(Seated, Access), Closing> {
        let document = DocumentId::yjs_from_path(room)
            .map_err(|error| Closing::refused(y_websocket::CLOSE_BAD_NAME, &error, "document_name"))?;
        let claim = Claim { address, document: Some(&document), token };
        let access =
            self.shared.admission.admit(&claim).map_err(|denied| {
                Closing::refused(y_websocket::CLOSE_FORBIDDEN, &denied.reason, "admission")
            })?;
        let seat = Seat { queue: Arc::clone(&self.queue), framing: Framing::Bare, pages: None };
        let joined = self.shared.rooms.join(&document, &seat, false, access);
        let seated =
            joined.map_err(|full| Closing::refused(y_websocket::CLOSE_VIOLATION, &full, full.reason()))?;
        Ok((seated, access))
    }

    /// What the room is told for a member that may only read. The dialect cannot say that something is refused, so it is
    /// dropped in silence, as stock servers do.
    fn of_reader(&self, message: Message) -> Option<Message> {
        let keeps = self.shared.archive.is_some();
        let is_answer = matches!(message, Message::SyncStep2(_));
        match reader::fate(message, keeps) {
            Fate::Room(message) => Some(message),
            Fate::Nothing => None,
            Fate::Refused => {
                self.shared.metrics.refuse("read_only");
                // The archive's question is answered.
                (is_answer && keeps).then(|| Message::SyncStep2(Update::empty()))
            }
        }
    }
}

impl Dialect for YWebsocket {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        let Some((seat, access)) = &self.place else { return Ok(()) };
        let mut message = y_protocols::parse(&payload)
            .map_err(|error| Closing::refused(y_websocket::CLOSE_BAD_FRAME, &error, error.reason()))?;
        if *access == Access::ReadOnly {
            let Some(passed) = self.of_reader(message) else { return Ok(()) };
            message = passed;
        }
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
