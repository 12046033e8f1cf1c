//! The end of automerge-repo sessions: a hydrated document per open name, in the merge worker, with fresh
//! sync state for every connection.
//!
//! A sync reply carries heads, and clients take heads for "saved": so each reply leaves only after the
//! fsync that covers everything the document had when the reply was made. Each lane of the merge worker is driven
//! by a thread of its own, so that a document that keeps one busy holds up only those beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::room::StoreRefused;
use tombolo_relay::member::{Pairwise, PairwisePeer, PairwisePort, Pressure, message_weight};
use tombolo_store::worker::{
    Reply as WorkerReply, Request, SESSION_LANES, Worker, WorkerError, session_lane,
};
use tombolo_store::{AppendError, Document, Store, StoreError};

use super::failed::Failed;
use super::parked::{Message, Parked};
use super::replies::{Ports, Reply, port, send_replies};
use crate::automerge_names::{peer_id, storage_id};
use crate::refusal::{refusal, unreadable};

/// Commands taken in one go before replies are made, so that a burst costs one reply.
const BATCH: usize = 256;
/// How often it is looked whether a document that messages wait for is still being examined.
const LOOK: Duration = Duration::from_millis(25);
/// What a stock client does by itself.
const STARTED_OVER: &str = "the session was started over, connect again";

enum Command {
    Receive(DocumentId, Message),
    Leave(PairwisePeer),
    Deleted(DocumentId),
    Released(DocumentId),
}

/// The pairwise end of an archive.
pub(super) struct AutomergeEnd {
    peer_id: String,
    storage_id: String,
    next: AtomicU64,
    ports: Ports,
    lanes: Vec<Sender<Command>>,
    pressure: Arc<Pressure>,
}

impl AutomergeEnd {
    pub(super) fn start(
        store: &Store,
        worker: &Arc<dyn Worker>,
        pressure: Arc<Pressure>,
    ) -> std::io::Result<Self> {
        let replica = store.replica();
        let ports = Ports::default();
        let (replies, ready) = unbounded_channel();
        tokio::spawn(send_replies(Arc::clone(&ports), ready));
        let mut lanes = Vec::new();
        for lane in 0..SESSION_LANES {
            let (commands, receiver) = channel();
            let sessions = Sessions {
                store: store.clone(),
                worker: Arc::clone(worker),
                ports: Arc::clone(&ports),
                pressure: Arc::clone(&pressure),
                replies: replies.clone(),
                open: BTreeMap::new(),
                failed: Failed::default(),
                parked: Parked::default(),
            };
            let name = format!("automerge-{lane}");
            std::thread::Builder::new().name(name).spawn(move || sessions.run(&receiver))?;
            lanes.push(commands);
        }
        Ok(Self {
            peer_id: peer_id(&replica),
            storage_id: storage_id(&replica),
            next: AtomicU64::new(1),
            ports,
            lanes,
            pressure,
        })
    }
}

impl AutomergeEnd {
    /// Ends the session of a document that was deleted, for all its peers.
    pub(super) fn deleted(&self, document: &DocumentId) {
        self.tell_lane(document, Command::Deleted(document.clone()));
    }

    /// Something of a document is served again that was in quarantine: who has it open comes back for that.
    pub(super) fn released(&self, document: &DocumentId) {
        self.tell_lane(document, Command::Released(document.clone()));
    }

    fn tell_lane(&self, document: &DocumentId, command: Command) {
        if let Some(lane) = self.lanes.get(session_lane(document)) {
            // The thread lives as long as this sender.
            let _ = lane.send(command);
        }
    }
}

impl Pairwise for AutomergeEnd {
    fn peer_id(&self) -> &str {
        &self.peer_id
    }

    fn storage_id(&self) -> &str {
        &self.storage_id
    }

    fn join(&self, port: Arc<dyn PairwisePort>) -> PairwisePeer {
        let peer = PairwisePeer(self.next.fetch_add(1, Ordering::Relaxed));
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, port);
        peer
    }

    fn receive(&self, peer: PairwisePeer, document: DocumentId, message: Bytes, wants: bool) {
        self.pressure.add(message_weight(&message));
        let message = Message { peer, data: message, wants };
        self.tell_lane(&document.clone(), Command::Receive(document, message));
    }

    fn leave(&self, peer: PairwisePeer) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        for lane in &self.lanes {
            let _ = lane.send(Command::Leave(peer));
        }
    }
}

struct OpenSession {
    document: Document,
    /// Of what it was hydrated from.
    edition: u64,
    peers: BTreeSet<PairwisePeer>,
    /// Who asked whether the document exists and was not answered yet.
    asking: BTreeSet<PairwisePeer>,
}

struct Sessions {
    store: Store,
    worker: Arc<dyn Worker>,
    ports: Ports,
    pressure: Arc<Pressure>,
    replies: UnboundedSender<Reply>,
    open: BTreeMap<DocumentId, OpenSession>,
    failed: Failed,
    parked: Parked,
}

impl Sessions {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let first = if self.parked.is_empty() {
                commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                commands.recv_timeout(LOOK)
            };
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            let mut touched = BTreeSet::new();
            self.receive_parked(&mut touched);
            for command in first.into_iter().chain(commands.try_iter().take(BATCH)) {
                match command {
                    Command::Receive(document, message) => {
                        let bytes = message_weight(&message.data);
                        self.take(document, message, &mut touched);
                        self.pressure.remove(bytes);
                    }
                    Command::Leave(peer) => self.leave(peer),
                    Command::Deleted(document) => {
                        touched.remove(&document);
                        self.end(&document, |_, port| port.over(&document, StoreRefused::Deleted));
                    }
                    Command::Released(document) => drop(self.end_if_outdated(&document)),
                }
            }
            for document in touched {
                self.reply(&document);
            }
        }
    }

    /// Goes on with documents that were examined meanwhile.
    fn receive_parked(&mut self, touched: &mut BTreeSet<DocumentId>) {
        let store = &self.store;
        for (document, messages) in self.parked.take_ready(|id| store.is_suspect(id)) {
            for message in messages {
                self.take(document.clone(), message, touched);
            }
        }
    }

    /// Takes a message, or tells its peer why not. One for a document that is being examined waits.
    fn take(&mut self, id: DocumentId, message: Message, touched: &mut BTreeSet<DocumentId>) {
        let peer = message.peer;
        // What comes must not overtake what waits.
        let received = if self.parked.has(&id) { Ok(Some(message)) } else { self.receive(&id, message) };
        match received {
            Ok(None) => {
                touched.insert(id);
            }
            Ok(Some(message)) => {
                if !self.parked.park(&id, message)
                    && let Some(port) = port(&self.ports, peer)
                {
                    port.refuse(STARTED_OVER);
                }
            }
            Err(failure) => self.fail(peer, &id, &failure),
        }
    }

    /// Gives the message back if its document is being examined.
    fn receive(&mut self, id: &DocumentId, message: Message) -> Result<Option<Message>, Failure> {
        let peer = message.peer;
        if port(&self.ports, peer).is_none() {
            return Ok(None); // Left while its message waited.
        }
        if self.end_if_outdated(id).contains(&peer) {
            return Ok(None); // It comes back, and says it again.
        }
        if !self.open.contains_key(id) {
            match self.open_session(id)? {
                Some(session) => self.open.insert(id.clone(), session),
                None => return Ok(Some(message)),
            };
        }
        let Some(session) = self.open.get_mut(id) else { return Ok(None) };
        if session.peers.insert(peer) {
            self.worker.call(Request::SessionJoin { document: id.clone(), peer: peer.0 })?;
        }
        if message.wants {
            session.asking.insert(peer);
        }
        let request = Request::SessionReceive { document: id.clone(), peer: peer.0, message: message.data };
        if let WorkerReply::Received { changes, .. } = self.worker.call(request)?
            && !changes.is_empty()
        {
            let (pressure, bytes, name) = (Arc::clone(&self.pressure), message_weight(&changes), id.clone());
            pressure.add(bytes);
            let appended = session.document.append(
                Kind::AutomergeChanges,
                changes,
                Box::new(move |result| {
                    pressure.remove(bytes);
                    if let Err(error) = result {
                        tracing::error!(document = %name, %error, "changes were not stored");
                    }
                }),
            );
            if let Err(error) = appended {
                self.pressure.remove(bytes);
                // The session has what the store has not: nothing it would say is true.
                return Err(Failure::Refused(error));
            }
        }
        Ok(None)
    }

    /// Hydrates a document. If that cannot be done with what is stored, the operation to blame is looked for at once;
    /// none while that goes on.
    fn open_session(&mut self, id: &DocumentId) -> Result<Option<OpenSession>, Failure> {
        let document = self.store.document(id)?;
        // Both before it is read: what changes meanwhile is looked at again.
        let (edition, standing) = (document.edition(), document.standing()?);
        if self.failed.is_hopeless(id, &standing) {
            // A fold may find the reason yet. It is not made here, and remembers by itself what it cannot help.
            self.store.suspect(id);
            return Err(Failure::Hopeless);
        }
        if self.store.is_suspect(id) {
            return Ok(None);
        }
        let contents = document.read()?;
        let parts = contents.snapshot.into_iter().chain(contents.tail).collect();
        match self.worker.call(Request::SessionOpen { document: id.clone(), parts }) {
            Ok(_) => {
                self.failed.forget(id);
                let (peers, asking) = (BTreeSet::new(), BTreeSet::new());
                Ok(Some(OpenSession { document, edition, peers, asking }))
            }
            Err(error @ (WorkerError::Died { .. } | WorkerError::Refused { .. })) => {
                tracing::error!(document = %id, %error, "what is stored of a document opens no session");
                self.failed.note(id, standing);
                self.store.suspect(id);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the replies now, lets them go when everything they speak of is durable.
    fn reply(&mut self, id: &DocumentId) {
        let Some(session) = self.open.get_mut(id) else { return };
        let generated = self.worker.call(Request::SessionGenerate { document: id.clone() });
        let (messages, empty) = match generated {
            Ok(WorkerReply::Generated { messages, empty }) => (messages, empty),
            Ok(_) => return,
            Err(error) => {
                self.restart(id, &error.to_string());
                return;
            }
        };
        let unavailable = if empty { std::mem::take(&mut session.asking) } else { BTreeSet::new() };
        session.asking.clear();
        let (replies, document) = (self.replies.clone(), id.clone());
        session.document.barrier(Box::new(move |result| {
            // On the committer's thread: framing is for others. Nobody hears it any more only at the end.
            let _ = replies.send(Reply { document, messages, unavailable, stored: result.is_ok() });
        }));
    }

    fn leave(&mut self, peer: PairwisePeer) {
        self.parked.leave(peer);
        let ids: Vec<_> = self
            .open
            .iter()
            .filter(|(_, session)| session.peers.contains(&peer))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            let left = self.worker.call(Request::SessionLeave { document: id.clone(), peer: peer.0 });
            if let Some(session) = self.open.get_mut(&id) {
                session.peers.remove(&peer);
                session.asking.remove(&peer);
                if session.peers.is_empty() || left.is_err() {
                    self.open.remove(&id);
                }
            }
        }
    }

    fn fail(&mut self, peer: PairwisePeer, id: &DocumentId, failure: &Failure) {
        tracing::warn!(document = %id, %failure, "a sync message was not taken");
        match failure {
            // A close would bring the client back every few seconds, with all its documents.
            Failure::Hopeless => {
                if let Some(port) = port(&self.ports, peer) {
                    port.over(id, StoreRefused::Damaged);
                }
            }
            Failure::Store(error) => {
                if let Some(port) = port(&self.ports, peer) {
                    match unreadable(error) {
                        StoreRefused::Trouble => port.refuse("the document cannot be read or stored now"),
                        reason => port.over(id, reason),
                    }
                }
            }
            Failure::Worker(WorkerError::Refused { reason }) => {
                if let Some(port) = port(&self.ports, peer) {
                    port.refuse(reason);
                }
            }
            Failure::Refused(error) => self.refused(peer, id, error),
            Failure::Worker(error) if self.open.contains_key(id) => self.restart(id, &error.to_string()),
            Failure::Worker(_) => {
                // There is no session whose end would tell it.
                if let Some(port) = port(&self.ports, peer) {
                    port.refuse(STARTED_OVER);
                }
            }
        }
    }

    /// A document that is not kept here is unavailable here, and the others on the connection go on: a close would
    /// only bring the client back every few seconds, with all of them.
    fn refused(&mut self, sender: PairwisePeer, id: &DocumentId, error: &AppendError) {
        match refusal(error) {
            StoreRefused::Trouble => self.restart(id, &error.to_string()),
            reason @ (StoreRefused::NoRoom | StoreRefused::Damaged | StoreRefused::Deleted) => {
                self.end(id, |_, port| port.over(id, reason));
            }
            StoreRefused::Quarantined => {
                let tell = |peer, port: &dyn PairwisePort| match peer == sender {
                    true => port.over(id, StoreRefused::Quarantined),
                    false => port.refuse(STARTED_OVER),
                };
                self.end(id, tell);
            }
        }
    }

    /// Ends a session that was hydrated from what the document does not serve any more: something was set aside or
    /// released. Gives back the peers that were told to come back.
    fn end_if_outdated(&mut self, id: &DocumentId) -> BTreeSet<PairwisePeer> {
        let outdated = self.open.get(id).filter(|session| session.document.edition() != session.edition);
        let Some(peers) = outdated.map(|session| session.peers.clone()) else { return BTreeSet::new() };
        tracing::info!(document = %id, "something was set aside or released; the session is started over");
        self.end(id, |_, port| port.refuse(STARTED_OVER));
        peers
    }

    /// The session is lost: its peers start over with fresh state, from what is stored.
    fn restart(&mut self, id: &DocumentId, reason: &str) {
        tracing::error!(document = %id, reason, "the session of a document is started over");
        self.end(id, |_, port| port.refuse(STARTED_OVER));
    }

    /// Ends a session and tells its peers.
    fn end(&mut self, id: &DocumentId, tell: impl Fn(PairwisePeer, &dyn PairwisePort)) {
        let Some(session) = self.open.remove(id) else { return };
        for peer in session.peers {
            // Ends the worker's side too, if it is still there.
            let _ = self.worker.call(Request::SessionLeave { document: id.clone(), peer: peer.0 });
            if let Some(port) = port(&self.ports, peer) {
                tell(peer, &*port);
            }
        }
    }
}

/// Why a sync message was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("store: {0}")]
    Store(#[from] StoreError),
    #[error("refused: {0}")]
    Refused(AppendError),
    /// It failed before as it stands.
    #[error(
        "what is stored of the document opens no session, and it is not tried again before that has changed; \
         `tombolo verify` and `tombolo quarantine` say more"
    )]
    Hopeless,
    #[error("worker: {0}")]
    Worker(#[from] WorkerError),
}
