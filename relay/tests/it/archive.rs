//! An archive in memory: it keeps nothing and answers when the test says so.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::room::{Answer, Arrival, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::{
    Archive, ArchiveSeat, FeedPort, Follows, Pairwise, PairwisePeer, PairwisePort, Pressure, RoomPort,
};

use super::world::soon;

/// What the relay sees.
pub struct Stub {
    opened: UnboundedSender<DocumentId>,
    follows: UnboundedSender<Follow>,
    stores: UnboundedSender<Store>,
    reads: UnboundedSender<Read>,
    pairwise: UnboundedSender<Pair>,
    pressure: Pressure,
}

/// What the test sees: each call of the relay, in order.
pub struct Calls {
    pub opened: UnboundedReceiver<DocumentId>,
    pub follows: UnboundedReceiver<Follow>,
    pub stores: UnboundedReceiver<Store>,
    pub reads: UnboundedReceiver<Read>,
    pub pairwise: UnboundedReceiver<Pair>,
}

/// An update to be stored.
pub struct Store {
    room: Arc<dyn RoomPort>,
    ticket: Ticket,
    pub update: Update,
}

/// A question.
pub struct Read {
    room: Arc<dyn RoomPort>,
    asker: MemberId,
    pub document: DocumentId,
}

/// Somebody who follows changes.
pub struct Follow {
    pub since: Bytes,
    pub port: Arc<dyn FeedPort>,
    /// Done when nobody follows any more.
    pub ended: oneshot::Receiver<()>,
    pub marks: UnboundedReceiver<u64>,
}

struct Following {
    _ended: oneshot::Sender<()>,
    marks: UnboundedSender<u64>,
}

impl Follows for Following {
    fn mark(&self, token: u64) {
        let _ = self.marks.send(token);
    }
}

/// A call of the pairwise end.
pub enum Pair {
    Join(PairwisePeer, Arc<dyn PairwisePort>),
    Receive { peer: PairwisePeer, document: DocumentId, message: Bytes, wants: bool },
    Leave(PairwisePeer),
}

pub fn stub() -> (Arc<Stub>, Calls) {
    let (opened, opened_calls) = unbounded_channel();
    let (follows, follow_calls) = unbounded_channel();
    let (stores, store_calls) = unbounded_channel();
    let (reads, read_calls) = unbounded_channel();
    let (pairwise, pairwise_calls) = unbounded_channel();
    let calls = Calls {
        opened: opened_calls,
        follows: follow_calls,
        stores: store_calls,
        reads: read_calls,
        pairwise: pairwise_calls,
    };
    (Arc::new(Stub { opened, follows, stores, reads, pairwise, pressure: Pressure::default() }), calls)
}

impl Calls {
    pub async fn store(&mut self) -> Store {
        soon("a store", self.stores.recv()).await.unwrap()
    }

    pub async fn follow(&mut self) -> Follow {
        soon("somebody to follow changes", self.follows.recv()).await.unwrap()
    }

    pub async fn read(&mut self) -> Read {
        soon("a read", self.reads.recv()).await.unwrap()
    }

    pub async fn pair(&mut self) -> Pair {
        soon("a pairwise call", self.pairwise.recv()).await.unwrap()
    }
}

impl Store {
    /// The archive serves this again, which it had kept back.
    pub fn release(&self, update: Update) {
        self.room.released(update);
    }

    pub fn done(self, result: Result<(), StoreRefused>) {
        self.room.stored(&[(self.ticket, result)]);
    }
}

impl Read {
    /// Answers with `update`, of an archive that has nothing else.
    pub fn answer(self, update: impl Into<Bytes>) {
        let answer = Answer { update: update.into(), state_vector: StateVector::default() };
        self.room.answered(self.asker, Ok(answer));
    }

    pub fn refuse(self, reason: StoreRefused) {
        self.room.answered(self.asker, Err(reason));
    }
}

struct Seat {
    room: Arc<dyn RoomPort>,
    document: DocumentId,
    stores: UnboundedSender<Store>,
    reads: UnboundedSender<Read>,
}

impl ArchiveSeat for Seat {
    fn store(&self, ticket: Ticket, update: Update, _: Arrival) {
        // A test that has ended looks at nothing any more.
        let _ = self.stores.send(Store { room: Arc::clone(&self.room), ticket, update });
    }

    fn read(&self, asker: MemberId, _: StateVector) {
        let (room, document) = (Arc::clone(&self.room), self.document.clone());
        let _ = self.reads.send(Read { room, asker, document });
    }
}

impl Archive for Stub {
    fn open(&self, document: &DocumentId, room: Arc<dyn RoomPort>) -> Box<dyn ArchiveSeat> {
        let _ = self.opened.send(document.clone());
        let (stores, reads) = (self.stores.clone(), self.reads.clone());
        Box::new(Seat { room, document: document.clone(), stores, reads })
    }

    fn pairwise(&self) -> &dyn Pairwise {
        self
    }

    fn identity(&self) -> (ReplicaId, Incarnation) {
        (ReplicaId([1; 16]), Incarnation([2; 16]))
    }

    fn follow(&self, since: Bytes, port: Arc<dyn FeedPort>) -> Option<Box<dyn Follows>> {
        let (_ended, ended) = oneshot::channel::<()>();
        let (marks, marks_calls) = unbounded_channel();
        let _ = self.follows.send(Follow { since, port, ended, marks: marks_calls });
        Some(Box::new(Following { _ended, marks }))
    }

    fn pressure(&self) -> &Pressure {
        &self.pressure
    }
}

impl Pairwise for Stub {
    fn peer_id(&self) -> &'static str {
        "server"
    }

    fn storage_id(&self) -> &'static str {
        "storage"
    }

    fn join(&self, port: Arc<dyn PairwisePort>) -> PairwisePeer {
        let peer = PairwisePeer(Arc::as_ptr(&port).cast::<u8>() as u64);
        let _ = self.pairwise.send(Pair::Join(peer, port));
        peer
    }

    fn receive(&self, peer: PairwisePeer, document: DocumentId, message: Bytes, wants: bool) {
        let _ = self.pairwise.send(Pair::Receive { peer, document, message, wants });
    }

    fn leave(&self, peer: PairwisePeer) {
        let _ = self.pairwise.send(Pair::Leave(peer));
    }
}
