//! A replica behind the door: any number of documents on one connection, each a seat in its room.
//!
//! Guarantees: what it opens is judged one by one; what it brings without the right to is refused and reaches nobody; a
//! frame that breaks a rule costs it its connection and nobody else anything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::replica::{self, Handle, Identity, Message, Outcome};
use tombolo_core::dialect::{native, y_protocols};
use tombolo_core::id::DocumentId;
use tombolo_core::limits::LISTED_MAX;

use super::queue::{Queue, Way};
use super::reader::{self, Fate};
use super::{Closing, PresenceAllowance, frame};
use crate::admission::{Access, Claim};
use crate::listener::Shared;
use crate::member::{Changed, FeedPort};
use crate::room::{Framing, Seat, Seated};

/// A replica that was let in.
pub(super) struct Replica {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    token: String,
    open: HashMap<Handle, Place>,
    presence: PresenceAllowance,
    /// Ends with it.
    follows: Option<Box<dyn Send>>,
}

/// Tells a replica what changed.
struct Follower {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    prefixes: Vec<String>,
}

impl Follower {
    fn wants(&self, document: &DocumentId) -> bool {
        // Others are not to be had through this door.
        let DocumentId::Yjs(name) = document else { return false };
        let name: &str = name.as_ref();
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

impl FeedPort for Follower {
    fn changed(&self, changed: Changed) -> bool {
        let Changed { anew, more, until, documents } = changed;
        let wanted: Vec<_> = documents.into_iter().filter(|document| self.wants(document)).collect();
        for document in &wanted {
            // What is listed was said before.
            self.shared.rooms.hand_out(document);
        }
        let mut rest = wanted.as_slice();
        loop {
            let (page, behind) = rest.split_at(rest.len().min(LISTED_MAX));
            let frame = replica::packed(replica::changes(anew, more || !behind.is_empty(), &until, page));
            // Who does not read is behind, and asks again from where it was.
            if !self.queue.forward_all([frame::binary(&[&frame])], Way::Writer) {
                return false;
            }
            if behind.is_empty() {
                return !self.queue.is_closing();
            }
            rest = behind;
        }
    }
}

/// A document that it has open.
struct Place {
    seated: Seated,
    access: Access,
}

impl Replica {
    pub(super) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr, token: String) -> Self {
        let this = Self {
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            address,
            token,
            open: HashMap::new(),
            presence: PresenceAllowance::default(),
            follows: None,
        };
        let keeps = this.shared.archive.as_ref().map(|archive| archive.identity());
        this.send(&replica::identity_frame(&Identity { keeps, lists: keeps.is_some() }));
        this
    }

    fn send(&self, body: &[u8]) {
        self.queue.answer(frame::binary(&[body]));
    }

    pub(super) fn message(&mut self, payload: &Bytes) -> Result<(), Closing> {
        let message = replica::parse(payload)
            .map_err(|error| Closing::refused(native::CLOSE_BAD_FRAME, &error, error.reason()))?;
        match message {
            // No Automerge document is open.
            Message::Identity(_) | Message::Pong(_) | Message::Sync { .. } => {}
            Message::Ping(token) => self.send(&replica::pong(token)),
            Message::Open { handle, document } => self.open(handle, &document)?,
            Message::Shut { handle, .. } => drop(self.open.remove(&handle)),
            Message::Y { handle, message } => self.hear(handle, message, payload.len())?,
            Message::Watch { since, prefixes } => self.follow(since, prefixes)?,
            Message::Stored { .. } | Message::Changes { .. } => {
                let words = "this is not for a replica to say here";
                return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "server_only"));
            }
        }
        Ok(())
    }

    fn follow(&mut self, since: Bytes, prefixes: Vec<String>) -> Result<(), Closing> {
        let Some(archive) = self.shared.archive.as_ref().filter(|_| self.follows.is_none()) else {
            let words = "changes are followed once, and where they are listed";
            return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "watch"));
        };
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(&self.queue));
        self.follows = archive.follow(since, Arc::new(Follower { shared, queue, prefixes }));
        Ok(())
    }

    fn open(&mut self, handle: Handle, document: &DocumentId) -> Result<(), Closing> {
        if self.open.contains_key(&handle) {
            let words = "this number is in use; shut its document first";
            return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "handle_in_use"));
        }
        if self.open.len() >= self.shared.config.documents_per_connection_max {
            // What its room shut takes no place, though nothing was said about it since.
            self.open.retain(|_, place| place.seated.is_seated());
        }
        match self.sit_down(handle, document) {
            Ok(place) => drop(self.open.insert(handle, place)),
            Err((outcome, words, reason)) => {
                self.shared.metrics.refuse(reason);
                self.send(&replica::shut(handle, outcome, &words));
            }
        }
        Ok(())
    }

    fn sit_down(
        &self,
        handle: Handle,
        document: &DocumentId,
    ) -> Result<Place, (Outcome, String, &'static str)> {
        if matches!(document, DocumentId::Automerge(_)) {
            let words = "Automerge documents are not to be had through this door yet; use /automerge";
            return Err((Outcome::FORBIDDEN, words.to_owned(), "format"));
        }
        if self.open.len() >= self.shared.config.documents_per_connection_max {
            let words = "too many documents on one connection";
            return Err((Outcome::CROWDED, words.to_owned(), "documents_per_connection"));
        }
        let claim = Claim { address: self.address, document: Some(document), token: Some(&self.token) };
        let admitted = self.shared.admission.admit(&claim);
        let access = admitted.map_err(|denied| (Outcome::FORBIDDEN, denied.reason, "admission"))?;
        let seat = Seat { queue: Arc::clone(&self.queue), framing: Framing::Numbered(handle) };
        let joined = self.shared.rooms.join(document, &seat, true, access);
        let seated = joined.map_err(|full| (Outcome::CROWDED, full.to_string(), full.reason()))?;
        Ok(Place { seated, access })
    }

    /// What is said about a document that is not open crossed with a Shut.
    fn hear(&mut self, handle: Handle, message: y_protocols::Message, bytes: usize) -> Result<(), Closing> {
        let Some(place) = self.open.get(&handle) else { return Ok(()) };
        if !place.seated.is_seated() {
            self.open.remove(&handle);
            return Ok(());
        }
        let message = match place.access {
            Access::ReadWrite => message,
            Access::ReadOnly => match reader::fate(message, self.shared.archive.is_some()) {
                Fate::Room(message) => message,
                Fate::Nothing => return Ok(()),
                Fate::Refused => {
                    self.shared.metrics.refuse("read_only");
                    self.send(&replica::stored(handle, Outcome::READ_ONLY));
                    return Ok(());
                }
            },
        };
        let said = place
            .seated
            .handle(message, bytes)
            .map_err(|violation| Closing::refused(native::CLOSE_BAD_FRAME, &violation, violation.reason()))?;
        if said.is_presence {
            self.presence.spend(&self.shared, &self.queue);
        }
        Ok(())
    }
}
