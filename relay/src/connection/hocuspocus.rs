//! Hocuspocus: any number of documents on one socket, each under its own address and admission.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::hocuspocus::{self, Address, Incoming, Message};
use tombolo_core::dialect::y_protocols;
use tombolo_core::id::DocumentId;
use tombolo_core::room::PeerMessage;
use tombolo_core::update::StateVector;

use super::queue::Queue;
use super::reader::{self, Fate};
use super::{Closing, Dialect, PresenceAllowance, frame};
use crate::admission::{Access, Claim};
use crate::config::AcknowledgeWithoutArchive;
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
    access: Access,
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

    /// A token: the first for a document, or a newer one for one that is open, which may change what its client may do.
    fn authenticate(&mut self, address: Address, token: &str) -> Result<(), Closing> {
        let standing = match self.attached.get(&address) {
            Some(Attachment::Seated(place)) if place.seated.is_seated() => Some(place.access),
            Some(_) | None => None,
        };
        match self.admit(&address, token) {
            // Stock servers do not answer, either.
            Ok((_, access)) if standing == Some(access) => Ok(()),
            Ok((document, access)) => self.take_place(address, &document, access, standing.is_some()),
            Err(reason) => {
                self.detach(&address);
                self.shared.metrics.refuse("admission");
                self.send(&hocuspocus::permission_denied(&address, &reason));
                if standing.is_some() {
                    self.send(&hocuspocus::close(&address, &reason));
                }
                Ok(())
            }
        }
    }

    fn admit(&self, address: &Address, token: &str) -> Result<(DocumentId, Access), String> {
        let document = DocumentId::yjs(address.document()).map_err(|error| error.to_string())?;
        let claim = Claim { address: self.address, document: Some(&document), token: Some(token) };
        let access = self.shared.admission.admit(&claim).map_err(|denied| denied.reason)?;
        Ok((document, access))
    }

    fn take_place(
        &mut self,
        address: Address,
        document: &DocumentId,
        access: Access,
        is_open: bool,
    ) -> Result<(), Closing> {
        let waiting = self.detach(&address);
        if self.attached.len() >= self.shared.config.documents_per_connection_max {
            return Err(Closing::refused(
                hocuspocus::CLOSE_RESET,
                "too many documents on one connection",
                "documents_per_connection",
            ));
        }
        self.send(&hocuspocus::authenticated(&address, scope(access)));
        let (queue, framing) = (Arc::clone(&self.queue), Framing::Addressed(Arc::new(address.clone())));
        let seat = Seat { queue, framing, pages: None };
        let seated = match self.shared.rooms.join(document, &seat, true, access) {
            Ok(seated) => seated,
            Err(full) => {
                self.shared.metrics.refuse(full.reason());
                // No PermissionDenied: the provider would not come back, and tomorrow there may be room.
                self.send(&hocuspocus::close(&address, &full.to_string()));
                return Ok(());
            }
        };
        let place = Place { seated, speaker: self.shared.stateless.speaker(document, seat), access };
        if is_open {
            // Its provider does not ask again. Asked for it, the room says what it missed, and wants what was refused.
            let question = y_protocols::Message::SyncStep1(StateVector::default());
            self.hand_on(&address, &place, Word::Y(question), 0)?;
        }
        for (word, bytes) in waiting {
            self.hand_on(&address, &place, word, bytes)?;
        }
        self.attached.insert(address, Attachment::Seated(place));
        Ok(())
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

    fn hand_on(&self, address: &Address, place: &Place, word: Word, bytes: usize) -> Result<(), Closing> {
        let is_presence = match word {
            Word::Y(message) => {
                let message = match place.access {
                    Access::ReadWrite => Some(message),
                    Access::ReadOnly => self.of_reader(address, place, message),
                };
                let Some(message) = message else { return Ok(()) };
                place.seated.handle(message, bytes).map_err(violated)?.is_presence
            }
            Word::Stateless(payload) => {
                // Whom the archive refused has nothing to say there any more.
                if place.seated.is_seated() {
                    place.seated.hand_out();
                    place.speaker.say(&payload, &self.shared.metrics);
                    self.shared.joint.say(place.speaker.document(), PeerMessage::Stateless(payload));
                }
                true
            }
        };
        if is_presence {
            self.presence.spend(&self.shared, &self.queue);
        }
        Ok(())
    }

    /// What the room is told for a member that may only read; what it is not told of is answered here.
    fn of_reader(
        &self,
        address: &Address,
        place: &Place,
        message: y_protocols::Message,
    ) -> Option<y_protocols::Message> {
        let is_told = || place.seated.is_seated();
        match reader::fate(message, self.shared.archive.is_some()) {
            Fate::Room(message) => return Some(message),
            Fate::Nothing => {
                if self.shared.config.acknowledge == AcknowledgeWithoutArchive::Forwarded && is_told() {
                    self.send(&hocuspocus::sync_status(address, true));
                }
            }
            Fate::Refused => {
                self.shared.metrics.refuse("read_only");
                if is_told() {
                    self.send(&hocuspocus::sync_status(address, false));
                }
            }
        }
        None
    }

    fn hear(&mut self, address: Address, word: Word, bytes: usize) -> Result<(), Closing> {
        if let Some(Attachment::Seated(place)) = self.attached.get(&address) {
            return self.hand_on(&address, place, word, bytes);
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

fn scope(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "read-write",
        Access::ReadOnly => "readonly",
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
