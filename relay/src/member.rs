//! The port for members in the same process: how an archive takes its seat in a room.
//!
//! Calls into the archive never block (they are made under a room's lock); its answers come back through
//! the ports on other threads, in any order between rooms and in order within one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::operation::Stamp;
use tombolo_core::room::{Answer, Arrival, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{StateVector, Update};
use tombolo_core::validate::AwarenessUpdate;

/// What stores. One for the whole relay.
pub trait Archive: Send + Sync + 'static {
    /// Takes a seat in the room of a Yjs document; loading goes on behind. Dropping the seat leaves.
    fn open(&self, document: &DocumentId, room: Arc<dyn RoomPort>) -> Box<dyn ArchiveSeat>;

    /// The end of all pairwise (automerge-repo) sessions.
    fn pairwise(&self) -> &dyn Pairwise;

    /// Whose store it is, for those who note what arrived there: after a restore it is another one.
    fn identity(&self) -> (ReplicaId, Incarnation);

    /// Whether it may give content up that somebody else keeps, so that nobody else may count on it who does the same.
    fn gives_up(&self) -> bool {
        false
    }

    /// Tells which documents changed since this checkpoint, which may be anybody's, and from now on, until what this gives
    /// back is dropped; none if it cannot.
    fn follow(&self, since: Bytes, port: Arc<dyn FeedPort>) -> Option<Box<dyn Follows>>;

    /// The stamp of this moment by its clock, if it has one.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// Somebody who came in is at this stamp by a clock of their own, which may be wrong.
    fn observe(&self, _: Stamp) {}

    /// How much is on its way to the disk.
    fn pressure(&self) -> &Pressure;
}

/// An archive's seat in one room.
pub trait ArchiveSeat: Send {
    /// Appends an update, unless its arrival allows to leave it out; the answer is [`RoomPort::stored`], once
    /// everything before is durable.
    fn store(&self, ticket: Ticket, update: Update, arrival: Arrival);
    /// Reads what `asker` lacks; the answer is [`RoomPort::answered`].
    fn read(&self, asker: MemberId, state_vector: StateVector);
    /// Somebody came, moved or went: a message of y-protocols, perhaps what [`RoomPort::show`] said itself.
    fn shown(&self, _awareness: &Bytes) {}
}

/// What an archive tells a room.
pub trait RoomPort: Send + Sync {
    /// These updates are durable, or will never be.
    fn stored(&self, results: &[(Ticket, Result<(), StoreRefused>)]);
    /// What an asker lacks.
    fn answered(&self, asker: MemberId, result: Result<Answer, StoreRefused>);
    /// This update, which was kept back and is stored, is served from now on.
    fn released(&self, update: Update);
    /// The archive's own program shows this from now on.
    fn show(&self, _update: AwarenessUpdate) {}
    /// Everybody who is present.
    fn present(&self) -> Option<AwarenessUpdate> {
        None
    }
}

/// Documents that changed, and are durable as they are now.
#[derive(Clone, Debug)]
pub struct Changed {
    /// These are of all documents: what was known before counts no more.
    pub anew: bool,
    /// Others follow at once.
    pub more: bool,
    /// A checkpoint behind them.
    pub until: Bytes,
    /// Which.
    pub documents: Vec<DocumentId>,
}

/// What an archive tells who follows its changes.
pub trait FeedPort: Send + Sync {
    /// These changed. False if nobody listens any more.
    fn changed(&self, changed: Changed) -> bool;
    /// All that was durable when this was asked for was told. False if nobody listens any more.
    fn marked(&self, token: u64) -> bool;
}

/// Somebody who follows changes, for as long as it is held.
pub trait Follows: Send {
    /// Asks for [`FeedPort::marked`]; of several at once the last is enough.
    fn mark(&self, token: u64);
}

/// Where pairwise sessions end: a document-holding peer of automerge-repo clients.
pub trait Pairwise: Send + Sync {
    /// The peer id that clients see.
    fn peer_id(&self) -> &str;
    /// The storage id that clients see; stays the same for the life of the store.
    fn storage_id(&self) -> &str;
    /// A connection joins: a fresh identity, hence fresh sync state.
    fn join(&self, port: Arc<dyn PairwisePort>) -> PairwisePeer;
    /// A sync message, already validated; `wants` if the client asks whether the document exists.
    fn receive(&self, peer: PairwisePeer, document: DocumentId, message: Bytes, wants: bool);
    /// The connection is gone.
    fn leave(&self, peer: PairwisePeer);
}

/// One connection at the pairwise end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairwisePeer(pub u64);

/// What the pairwise end tells a connection.
pub trait PairwisePort: Send + Sync {
    /// Send a sync message.
    fn sync(&self, document: &DocumentId, message: Bytes);
    /// Nobody here has the document.
    fn unavailable(&self, document: &DocumentId);
    /// The session of a document that was there is over, and the others on the connection go on.
    fn over(&self, document: &DocumentId, reason: StoreRefused) {
        let _ = reason;
        self.unavailable(document);
    }
    /// What the client sent cannot be taken; close it.
    fn refuse(&self, reason: &str);
}

/// Bytes on their way to the disk, and who waits for them to become fewer.
#[derive(Debug, Default)]
pub struct Pressure {
    bytes: AtomicUsize,
    relief: Notify,
}

/// What an update holds in memory on its way to the disk, in bytes: itself and what is known of it. To be counted by an
/// archive for each that it is given, the empty ones as well.
#[must_use]
pub fn update_weight(update: &Update) -> usize {
    message_weight(update.bytes())
}

/// As [`update_weight`], of a sync message or the changes that it brought.
#[must_use]
pub fn message_weight(message: &Bytes) -> usize {
    const FIXED: usize = 512;
    message.len() + FIXED
}

impl Pressure {
    /// So many bytes more are on their way.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes arrived.
    pub fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.relief.notify_waiters();
    }

    /// Bytes on their way.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until at most `bytes_max` are on their way.
    pub async fn below(&self, bytes_max: usize) {
        while self.bytes() > bytes_max {
            let relief = self.relief.notified();
            tokio::pin!(relief);
            relief.as_mut().enable();
            if self.bytes() <= bytes_max {
                return;
            }
            relief.await;
        }
    }
}
