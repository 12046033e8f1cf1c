//! A replica behind the door: any number of documents on one connection, each a seat in its room or, for an Automerge
//! document, a session at the archive.
//!
//! Guarantees: what it opens is judged one by one; what it brings without the right to is refused and reaches nobody; a
//! frame that breaks a rule costs it its connection and nobody else anything.

mod pair;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::replica::{self, Handle, Identity, Message, Outcome};
use tombolo_core::dialect::{native, y_protocols};
use tombolo_core::id::DocumentId;
use tombolo_core::limits::LISTED_MAX;
use tombolo_core::operation::Stamp;

use self::pair::Pair;
use super::pages::Pages;
use super::queue::{Queue, Way};
use super::reader::{self, Fate};
use super::{Closing, PresenceAllowance, frame};
use crate::admission::{Access, Claim};
use crate::listener::Shared;
use crate::member::{Changed, FeedPort, Follows};
use crate::room::{Framing, Seat, Seated};

/// What it may do with a document.
pub(super) enum Rights {
    /// As its token says.
    Asked(String),
    /// As another relay found out, where its socket is.
    Given(Access),
}

/// A replica that was let in.
pub(super) struct Replica {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    pages: Arc<Pages>,
    address: SocketAddr,
    rights: Rights,
    open: HashMap<Handle, Place>,
    presence: PresenceAllowance,
    /// Ends with it.
    follows: Option<Box<dyn Follows>>,
}

/// Tells a replica what changed.
struct Follower {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    prefixes: Vec<String>,
}

impl FeedPort for Follower {
    fn changed(&self, changed: Changed) -> bool {
        let Changed { anew, more, until, documents } = changed;
        let wanted: Vec<_> =
            documents.into_iter().filter(|id| replica::is_wanted(&self.prefixes, id)).collect();
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

    fn marked(&self, token: u64) -> bool {
        let stamp = self.shared.archive.as_ref().and_then(|archive| archive.stamp());
        // Behind what was listed.
        let frame = frame::binary(&[&replica::marked(token, stamp)]);
        self.queue.forward_all([frame], Way::Writer) && !self.queue.is_closing()
    }
}

/// A document that it has open.
enum Place {
    Seat(Seated, Access),
    Pair(Pair),
}

impl Place {
    /// Whether it still has it: the archive may have refused it, and its connection goes on.
    fn is_open(&self) -> bool {
        match self {
            Self::Seat(seated, _) => seated.is_seated(),
            Self::Pair(pair) => pair.is_open(),
        }
    }
}

impl Replica {
    pub(super) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr, rights: Rights) -> Self {
        let this = Self {
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            pages: Pages::new(queue),
            address,
            rights,
            open: HashMap::new(),
            presence: PresenceAllowance::default(),
            follows: None,
        };
        let archive = this.shared.archive.as_ref();
        let keeps = archive.map(|archive| archive.identity());
        let gives_up = archive.is_some_and(|archive| archive.gives_up());
        let identity = Identity { keeps, lists: keeps.is_some(), gives_up };
        this.send(&replica::identity_frame_at(&identity, archive.and_then(|archive| archive.stamp())));
        this
    }

    fn send(&self, body: &[u8]) {
        self.queue.answer(frame::binary(&[body]));
    }

    pub(super) fn message(&mut self, payload: &Bytes) -> Result<(), Closing> {
        let message = replica::parse(payload)
            .map_err(|error| Closing::refused(native::CLOSE_BAD_FRAME, &error, error.reason()))?;
        match message {
            Message::Identity(_, stamp) => self.observe(stamp),
            Message::Pong(token) => self.pages.pong(token),
            Message::Ping(token) => self.send(&replica::pong(token)),
            Message::Open { handle, document } => self.open(handle, &document)?,
            Message::Shut { handle, .. } => {
                drop(self.open.remove(&handle));
                self.pages.shut(handle);
            }
            Message::Y { handle, message } => self.hear(handle, message, payload.len())?,
            Message::Sync { handle, message } => self.sync(handle, message)?,
            Message::Watch { since, prefixes } => self.follow(since, prefixes)?,
            Message::Mark { token, stamp } => {
                self.observe(stamp);
                let Some(follows) = &self.follows else {
                    let words = "a mark is for who follows changes";
                    return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "watch"));
                };
                follows.mark(token);
            }
            Message::Stored { .. } | Message::Changes { .. } | Message::Marked { .. } => {
                let words = "this is not for a replica to say here";
                return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "server_only"));
            }
        }
        Ok(())
    }

    fn observe(&self, stamp: Option<Stamp>) {
        if let (Some(archive), Some(stamp)) = (&self.shared.archive, stamp) {
            archive.observe(stamp);
        }
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
        if self.open.get(&handle).is_some_and(Place::is_open) {
            let words = "this number is in use; shut its document first";
            return Err(Closing::refused(native::CLOSE_BAD_FRAME, words, "handle_in_use"));
        }
        if self.open.len() >= self.shared.config.documents_per_connection_max {
            // What was shut from here takes no place, though nothing was said about it since.
            self.open.retain(|_, place| place.is_open());
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
        if self.open.len() >= self.shared.config.documents_per_connection_max {
            let words = "too many documents on one connection";
            return Err((Outcome::CROWDED, words.to_owned(), "documents_per_connection"));
        }
        let access = match &self.rights {
            Rights::Given(access) => *access,
            Rights::Asked(token) => {
                let claim = Claim { address: self.address, document: Some(document), token: Some(token) };
                let admitted = self.shared.admission.admit(&claim);
                admitted.map_err(|denied| (Outcome::FORBIDDEN, denied.reason, "admission"))?
            }
        };
        if matches!(document, DocumentId::Automerge(_)) {
            return self.pair_up(handle, document, access);
        }
        let (queue, pages) = (Arc::clone(&self.queue), Some(Arc::clone(&self.pages)));
        let seat = Seat { queue, framing: Framing::Numbered(handle), pages };
        let joined = self.shared.rooms.join(document, &seat, true, access);
        let seated = joined.map_err(|full| (Outcome::CROWDED, full.to_string(), full.reason()))?;
        Ok(Place::Seat(seated, access))
    }

    fn pair_up(
        &self,
        handle: Handle,
        document: &DocumentId,
        access: Access,
    ) -> Result<Place, (Outcome, String, &'static str)> {
        if access == Access::ReadOnly {
            let words = "whoever syncs an Automerge document may write in it; give a token that may write";
            return Err((Outcome::FORBIDDEN, words.to_owned(), "read_only"));
        }
        let pair = Pair::open(&self.shared, &self.queue, handle, document);
        pair.map(Place::Pair).map_err(|(outcome, words)| (outcome, words.to_owned(), "format"))
    }

    /// What is open under this number. What is said about a document that is not open crossed with a Shut.
    fn place(&mut self, handle: Handle) -> Option<&mut Place> {
        if !self.open.get(&handle)?.is_open() {
            self.open.remove(&handle);
        }
        self.open.get_mut(&handle)
    }

    fn sync(&mut self, handle: Handle, message: Bytes) -> Result<(), Closing> {
        let shared = Arc::clone(&self.shared);
        let pair = match self.place(handle) {
            None => return Ok(()),
            Some(Place::Seat(..)) => return Err(other_format()),
            Some(Place::Pair(pair)) => pair,
        };
        pair.hear(&shared, message);
        Ok(())
    }

    fn hear(&mut self, handle: Handle, message: y_protocols::Message, bytes: usize) -> Result<(), Closing> {
        let has_archive = self.shared.archive.is_some();
        let (seated, access) = match self.place(handle) {
            None => return Ok(()),
            Some(Place::Pair(_)) => return Err(other_format()),
            Some(Place::Seat(seated, access)) => (seated, *access),
        };
        let message = match access {
            Access::ReadWrite => message,
            Access::ReadOnly => match reader::fate(message, has_archive) {
                Fate::Room(message) => message,
                Fate::Nothing => return Ok(()),
                Fate::Refused => {
                    self.shared.metrics.refuse("read_only");
                    self.send(&replica::stored(handle, Outcome::READ_ONLY));
                    return Ok(());
                }
            },
        };
        let said = seated
            .handle(message, bytes)
            .map_err(|violation| Closing::refused(native::CLOSE_BAD_FRAME, &violation, violation.reason()))?;
        if said.is_presence {
            self.presence.spend(&self.shared, &self.queue);
        }
        Ok(())
    }
}

fn other_format() -> Closing {
    let words = "this is no message about a document of this format";
    Closing::refused(native::CLOSE_BAD_FRAME, words, "format")
}
