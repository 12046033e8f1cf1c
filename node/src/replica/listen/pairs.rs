//! Automerge documents of those who link to this replica: sync sessions that end here, one after the other on a thread
//! of their own.
//!
//! Guarantees: what is said is fsynced here before, and what came, when its sender hears of it; whatever changes a
//! document here is said to all who have it open; a document in trouble ends the sessions about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;
use tombolo_relay::member::{Pairwise, PairwisePeer, PairwisePort, Pressure, message_weight};

use super::work::refused;
use crate::automerge_names::{peer_id, storage_id};
use crate::replica::automerge::{AutomergeDocument, SyncState};
use crate::replica::changes::Origin;
use crate::replica::error::ReplicaError;
use crate::replica::link::{LinkId, Shelves};

/// Commands taken in one go before anything is said, so that a burst costs one message.
const BATCH: usize = 256;

enum Command {
    Join(PairwisePeer, Arc<dyn PairwisePort>),
    Receive(PairwisePeer, Heard),
    Leave(PairwisePeer),
    Changed(DocumentId),
}

struct Heard {
    document: DocumentId,
    message: Bytes,
    /// Whether it is asked if the document exists.
    wants: bool,
}

/// The thread, as it is reached.
pub(super) struct Pairs {
    peer_id: String,
    storage_id: String,
    next: AtomicU64,
    pressure: Arc<Pressure>,
    running: Mutex<Option<(Sender<Command>, JoinHandle<()>)>>,
}

impl Pairs {
    pub(super) fn start(shelves: Shelves, link: LinkId, pressure: Arc<Pressure>) -> std::io::Result<Self> {
        let replica = shelves.store.replica();
        let (peer_id, storage_id) = (peer_id(&replica), storage_id(&replica));
        let (commands, receiver) = channel();
        let sessions = Sessions {
            shelves,
            link,
            pressure: Arc::clone(&pressure),
            ports: HashMap::new(),
            open: BTreeMap::new(),
        };
        let builder = std::thread::Builder::new().name("listen-automerge".to_owned());
        let thread = builder.spawn(move || sessions.run(&receiver))?;
        let running = Mutex::new(Some((commands, thread)));
        Ok(Self { peer_id, storage_id, next: AtomicU64::new(0), pressure, running })
    }

    /// A document is durable as it is now; perhaps there is something to say about it.
    pub(super) fn changed(&self, document: &DocumentId) {
        if matches!(document, DocumentId::Automerge(_)) {
            self.tell(Command::Changed(document.clone()));
        }
    }

    /// Ends it, so that it holds no document any more. Blocking.
    pub(super) fn stop(&self) {
        let Some((commands, thread)) = self.running().take() else { return };
        drop(commands);
        // It said on stderr if it panicked.
        let _ = thread.join();
    }

    /// Once the replica is closed nobody is answered any more; its connections end.
    fn tell(&self, command: Command) {
        if let Some((commands, _)) = &*self.running() {
            let _ = commands.send(command);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<(Sender<Command>, JoinHandle<()>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pairwise for Pairs {
    fn peer_id(&self) -> &str {
        &self.peer_id
    }

    fn storage_id(&self) -> &str {
        &self.storage_id
    }

    fn join(&self, port: Arc<dyn PairwisePort>) -> PairwisePeer {
        let peer = PairwisePeer(self.next.fetch_add(1, Ordering::Relaxed));
        self.tell(Command::Join(peer, port));
        peer
    }

    fn receive(&self, peer: PairwisePeer, document: DocumentId, message: Bytes, wants: bool) {
        self.pressure.add(message_weight(&message));
        self.tell(Command::Receive(peer, Heard { document, message, wants }));
    }

    fn leave(&self, peer: PairwisePeer) {
        self.tell(Command::Leave(peer));
    }
}

/// A document that somebody has open.
struct Session {
    document: AutomergeDocument,
    peers: BTreeMap<PairwisePeer, SyncState>,
}

struct Sessions {
    shelves: Shelves,
    link: LinkId,
    pressure: Arc<Pressure>,
    ports: HashMap<PairwisePeer, Arc<dyn PairwisePort>>,
    open: BTreeMap<DocumentId, Session>,
}

impl Sessions {
    fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            // With those who ask whether there is one.
            let mut touched = BTreeMap::<DocumentId, BTreeSet<PairwisePeer>>::new();
            for command in once(first).chain(commands.try_iter().take(BATCH)) {
                match command {
                    Command::Join(peer, port) => drop(self.ports.insert(peer, port)),
                    Command::Leave(peer) => self.leave(peer),
                    Command::Changed(document) => drop(touched.entry(document).or_default()),
                    Command::Receive(peer, heard) => {
                        let asking = touched.entry(heard.document.clone()).or_default();
                        asking.extend(heard.wants.then_some(peer));
                        let received = self.receive(peer, &heard);
                        self.pressure.remove(message_weight(&heard.message));
                        if let Err(error) = received {
                            self.end(peer, &heard.document, &error);
                        }
                    }
                }
            }
            for (document, asking) in touched {
                self.say(&document, &asking);
            }
        }
    }

    fn receive(&mut self, peer: PairwisePeer, heard: &Heard) -> Result<(), ReplicaError> {
        let Self { shelves, link, ports, open, .. } = self;
        if !ports.contains_key(&peer) {
            return Ok(()); // Its connection is gone.
        }
        if !open.contains_key(&heard.document) {
            let document = shelves.automerge_document(&heard.document)?;
            let session = Session { document, peers: BTreeMap::new() };
            open.insert(heard.document.clone(), session);
        }
        let Some(session) = open.get_mut(&heard.document) else { return Ok(()) };
        let state = session.peers.entry(peer).or_default();
        session.document.sync_take(state, &heard.message, Origin::Link(*link)).map(drop)
    }

    /// Says what there is to say to each who has the document open.
    fn say(&mut self, id: &DocumentId, asking: &BTreeSet<PairwisePeer>) {
        let Some(session) = self.open.get_mut(id) else { return };
        let is_empty = !asking.is_empty() && session.document.heads().is_ok_and(|heads| heads.is_empty());
        let mut failed = Vec::new();
        for (peer, state) in &mut session.peers {
            let Some(port) = self.ports.get(peer) else { continue };
            match session.document.sync_generate(state) {
                Ok(message) => {
                    message.into_iter().for_each(|message| port.sync(id, message));
                    if is_empty && asking.contains(peer) {
                        port.unavailable(id);
                    }
                }
                Err(error) => failed.push((*peer, error)),
            }
        }
        for (peer, error) in failed {
            self.end(peer, id, &error);
        }
    }

    /// Ends the session of a peer about one document, and says why. Both sides begin anew.
    fn end(&mut self, peer: PairwisePeer, id: &DocumentId, error: &ReplicaError) {
        let reason = refused(id, error);
        self.forget(peer, id);
        let Some(port) = self.ports.get(&peer) else { return };
        match reason {
            StoreRefused::Trouble => port.refuse(&error.to_string()),
            reason => port.over(id, reason),
        }
    }

    fn leave(&mut self, peer: PairwisePeer) {
        self.ports.remove(&peer);
        let of_peer = self.open.iter().filter(|(_, session)| session.peers.contains_key(&peer));
        for id in of_peer.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.forget(peer, &id);
        }
    }

    fn forget(&mut self, peer: PairwisePeer, id: &DocumentId) {
        let Some(session) = self.open.get_mut(id) else { return };
        session.peers.remove(&peer);
        if session.peers.is_empty() {
            self.open.remove(id);
        }
    }
}
