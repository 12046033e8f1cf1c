//! Hocuspocus: any number of documents on one socket, each under its own address and admission.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::hocuspocus::{self, Address, Incoming, Message};
use tombolo_core::dialect::y_protocols;
use tombolo_core::id::DocumentId;

use super::queue::Queue;
use super::{Closing, Dialect, PresenceAllowance, frame};
use crate::admission::Claim;
use crate::listener::Shared;
use crate::room::{Framing, Seat, Seated, Speaker};

enum Attachment {
    /// Frames that came before the token; the provider sends both in one go.
    Waiting {
        /// With the bytes of each.
        messages: Vec<(Word, usize)>,
        bytes: usize,
    },
    Seated(Place),
}

/// What is said on a document.
enum Word {
    /// To the room.
    Y(y_protocols::Message),
    /// Past it.
    Stateless(String),
}

/// A document in use.
struct Place {
    seated: Seated,
    speaker: Speaker,
}

/// A Hocuspocus connection.
pub(crate) struct Hocuspocus {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    attached: BTreeMap<Address, Attachment>,
    waiting_bytes: usize,
    presence: PresenceAllowance,
}

impl Hocuspocus {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr) -> Self {
        Self {
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            address,
            attached: BTreeMap::new(),
            waiting_bytes: 0,
            presence: PresenceAllowance::default(),
        }
    }

    fn send(&self, body: &[u8]) {
        self.queue.answer(frame::binary(&[body]));
    }

    fn authenticate(&mut self, address: Address, token: &str) -> Result<(), Closing> {
        if let Some(Attachment::Seated(place)) = self.attached.get(&address)
            && place.seated.is_seated()
        {
            // A token sent again on an established document: still who it was.
            return Ok(());
        }
        let admitted =
            DocumentId::yjs(address.document()).map_err(|error| error.to_string()).and_then(|document| {
                let claim = Claim { address: self.address, document: Some(&document), token: Some(token) };
                self.shared.admission.admit(&claim).map_err(|denied| denied.reason)?;
                Ok(document)
            });
        let waiting = self.detach(&address);
        match admitted {
            Err(reason) => {
                self.shared.metrics.refuse("admission");
                self.send(&hocuspocus::permission_denied(&address, &reason));
                Ok(())
            }
            Ok(document) => {
                if self.attached.len() >= self.shared.config.documents_per_connection_max {
                    return Err(Closing::refused(
                        hocuspocus::CLOSE_RESET,
                        "too many documents on one connection",
                        "documents_per_connection",
                    ));
                }
                self.send(&hocuspocus::authenticated(&address, "read-write"));
                let framing = Framing::Addressed(address.clone());
                let seat = Seat { queue: Arc::clone(&self.queue), framing };
                let seated = match self.shared.rooms.join(&document, &seat, true) {
                    Ok(seated) => seated,
                    Err(full) => {
                        self.shared.metrics.refuse(full.reason());
                        // No PermissionDenied: the provider would not come back, and tomorrow there may be room.
                        self.send(&hocuspocus::close(&address, &full.to_string()));
                        return Ok(());
                    }
                };
                let place = Place { seated, speaker: self.shared.stateless.speaker(&document, seat) };
                for (word, bytes) in waiting {
                    self.hand_on(&place, word, bytes)?;
                }
                self.attached.insert(address, Attachment::Seated(place));
                Ok(())
            }
        }
    }

    /// Leaves a document; gives back what waited for its token.
    fn detach(&mut self, address: &Address) -> Vec<(Word, usize)> {
        match self.attached.remove(address) {
            Some(Attachment::Waiting { messages, bytes }) => {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
                messages
            }
            Some(Attachment::Seated(_)) | None => Vec::new(),
        }
    }

    fn hand_on(&self, place: &Place, word: Word, bytes: usize) -> Result<(), Closing> {
        let is_presence = match word {
            Word::Y(message) => place.seated.handle(message, bytes).map_err(violated)?.is_presence,
            Word::Stateless(payload) => {
                // Whom the archive refused has nothing to say there any more.
                if place.seated.is_seated() {
                    place.speaker.say(&payload, &self.shared.metrics);
                }
                true
            }
        };
        if is_presence {
            self.presence.spend(&self.shared, &self.queue);
        }
        Ok(())
    }

    fn hear(&mut self, address: Address, word: Word, bytes: usize) -> Result<(), Closing> {
        if let Some(Attachment::Seated(place)) = self.attached.get(&address) {
            return self.hand_on(place, word, bytes);
        }
        // What a message holds in memory beside its bytes counts, too: a flood of the smallest is one as well.
        let cost = bytes + size_of::<(Word, usize)>();
        self.waiting_bytes += cost;
        let one_too_many = self.attached.len() >= self.shared.config.documents_per_connection_max
            && !self.attached.contains_key(&address);
        if self.waiting_bytes > self.shared.config.before_admission_bytes_max || one_too_many {
            return Err(Closing::refused(
                hocuspocus::CLOSE_RESET,
                "too much before authentication",
                "before_admission",
            ));
        }
        let new = || Attachment::Waiting { messages: Vec::new(), bytes: 0 };
        if let Attachment::Waiting { messages, bytes: waiting } =
            self.attached.entry(address).or_insert_with(new)
        {
            messages.push((word, bytes));
            *waiting += cost;
        }
        Ok(())
    }
}

fn violated(violation: tombolo_core::room::Violation) -> Closing {
    Closing::refused(hocuspocus::CLOSE_RESET, &violation, violation.reason())
}

impl Dialect for Hocuspocus {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        let bytes = payload.len();
        let incoming = hocuspocus::parse(&payload)
            .map_err(|error| Closing::refused(hocuspocus::CLOSE_UNAUTHORIZED, &error, error.reason()))?;
        let Incoming::Addressed { address, message } = incoming else { return Ok(()) };
        match message {
            Message::Auth { token, .. } => self.authenticate(address, &token),
            Message::Y(message) => self.hear(address, Word::Y(message), bytes),
            Message::Stateless(payload) => self.hear(address, Word::Stateless(payload), bytes),
            Message::Close => {
                if self.attached.contains_key(&address) {
                    self.detach(&address);
                    self.send(&hocuspocus::close(&address, "provider_initiated"));
                }
                Ok(())
            }
        }
    }

    fn silent(&self) -> u16 {
        hocuspocus::CLOSE_TIMEOUT
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(Closing::refused(1003, "this dialect has binary messages only", "text_message"))
    }
}
