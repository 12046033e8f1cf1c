//! Operations that are set aside and released while clients have their documents open, and documents that nobody can
//! help.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tombolo::archive::StoreArchive;
use tombolo::replica::{Replica, ReplicaError, SyncState};
use tombolo_core::engine::automerge::{Session, heads};
use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::room::{Answer, Arrival, MemberId, StoreRefused, Ticket};
use tombolo_core::update::Update;
use tombolo_relay::member::{Archive, ArchiveSeat, RoomPort};
use tombolo_store::worker::{Reply, Request, ThreadWorker, Worker, WorkerError};
use tombolo_store::{Release, Store, StoreConfig};

use super::blame::{FIRST, OTHER, Port, append, bytes, keystroke, open, set_aside, sync};

/// Client 9 types something.
const DEADLY: Bytes = Bytes::from_static(&[1, 1, 9, 0, 4, 1, 1, b't', 1, b'!', 0]);

fn threads() -> Arc<dyn Worker> {
    ThreadWorker::start().unwrap()
}

enum Told {
    Stored(Result<(), StoreRefused>),
    Answered(Result<Answer, StoreRefused>),
    Released(Update),
}

/// A room that hands on what it is told.
struct Room(Mutex<std::sync::mpsc::Sender<Told>>);

impl RoomPort for Room {
    fn stored(&self, results: &[(Ticket, Result<(), StoreRefused>)]) {
        for (_, result) in results {
            self.0.lock().unwrap().send(Told::Stored(*result)).unwrap();
        }
    }

    fn answered(&self, _: MemberId, result: Result<Answer, StoreRefused>) {
        self.0.lock().unwrap().send(Told::Answered(result)).unwrap();
    }

    fn released(&self, update: Update) {
        self.0.lock().unwrap().send(Told::Released(update)).unwrap();
    }
}

/// A room that has a document open.
struct Seated {
    seat: Box<dyn ArchiveSeat>,
    told: Receiver<Told>,
}

impl Seated {
    fn new(archive: &StoreArchive, id: &DocumentId) -> Self {
        let (sender, told) = channel();
        Self { seat: archive.open(id, Arc::new(Room(Mutex::new(sender)))), told }
    }

    fn told(&self) -> Told {
        self.told.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Whether who has `have` is served anything of this client, and what the archive says that it has of it.
    fn serves(&self, have: &[(u64, u64)], client: u64) -> (bool, u64) {
        self.seat.read(MemberId(1), have.iter().copied().collect());
        let Told::Answered(answer) = self.told() else { panic!("nothing was sent") };
        let answer = answer.unwrap();
        let update = Update::parse(answer.update).unwrap();
        let is_served = update.blocks().any(|(of, ..)| of == client);
        (is_served, answer.state_vector.iter().find(|(of, _)| *of == client).map_or(0, |(_, clock)| clock))
    }

    /// What becomes of all that a client has, which is this.
    fn store(&self, update: Bytes) -> Result<(), StoreRefused> {
        self.seat.store(Ticket(1), Update::parse(update).unwrap(), Arrival::Content);
        let Told::Stored(result) = self.told() else { panic!("nothing was asked") };
        result
    }
}

#[test]
fn who_has_a_document_open_sees_what_is_set_aside_and_released() {
    let folder = tempfile::tempdir().unwrap();
    let id = DocumentId::yjs("d").unwrap();
    let worker: Arc<dyn Worker> = Whims::dies_of(DEADLY);
    let store = open(folder.path(), &worker);
    let mut payloads: Vec<_> = (0..50).map(keystroke).collect();
    payloads.insert(20, DEADLY);
    append(&store, &id, payloads);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    let room = Seated::new(&archive, &id);
    let (deadly, typing) = (9, [(7, 50)]);
    let name = (store.replica(), Seq(21));
    // A second reader is served from what the first had read.
    for _ in 0..2 {
        assert_eq!(room.serves(&[], deadly), (true, 1));
    }
    for last in [false, true] {
        store.fold_all(&mut |_| ()).unwrap();
        assert_eq!(set_aside(&store, &id), [Seq(21)]);
        for have in [&[][..], &typing] {
            assert_eq!(room.serves(have, deadly), (false, 0), "it is set aside");
        }
        assert_eq!(room.store(DEADLY), Err(StoreRefused::Quarantined), "it is not known any more");
        assert_eq!(room.store(keystroke(49)), Ok(()));
        let release = if last { Release::Drop } else { Release::Retry };
        assert!(archive.release(&id, name, release).unwrap());
        if !last {
            let Told::Released(update) = room.told() else { panic!("who is in the room is not told") };
            assert_eq!(update.bytes(), &DEADLY);
        }
        for have in [&typing[..], &[]] {
            assert_eq!(room.serves(have, deadly), (!last, u64::from(!last)), "{release:?}");
        }
    }
    assert_eq!(room.store(DEADLY), Err(StoreRefused::Quarantined));
}

/// An engine with whims.
#[derive(Default)]
struct Whims {
    engine: Option<Arc<dyn Worker>>,
    /// A payload that it dies of.
    dies_of: Option<Bytes>,
    /// Whether it opens no session, and proves no fold.
    helps_nobody: AtomicBool,
    sessions: AtomicUsize,
}

impl Whims {
    fn dies_of(payload: Bytes) -> Arc<Self> {
        Arc::new(Self { engine: Some(threads()), dies_of: Some(payload), ..Self::default() })
    }
}

impl Worker for Whims {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let died = || WorkerError::Died { reason: "of a whim".into() };
        let helps_nobody = self.helps_nobody.load(Ordering::SeqCst);
        if let Request::SessionOpen { .. } = &request {
            self.sessions.fetch_add(1, Ordering::SeqCst);
        }
        match &request {
            Request::SessionOpen { .. } if helps_nobody => return Err(died()),
            Request::Compact { .. } if helps_nobody => {
                return Err(WorkerError::Diverged { reason: "it always does".into() });
            }
            Request::Compact { parts, .. }
                if parts.iter().any(|part| Some(part) == self.dies_of.as_ref()) =>
            {
                return Err(died());
            }
            _ => {}
        }
        self.engine.as_ref().unwrap().call(request)
    }
}

/// What was set aside of a document by an engine that a newer one is better than.
fn set_aside_before(folder: &Path, id: &DocumentId) {
    let worker: Arc<dyn Worker> = Whims::dies_of(bytes(OTHER));
    let store = open(folder, &worker);
    append(&store, id, vec![bytes(FIRST), bytes(OTHER)]);
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!(set_aside(&store, id), [Seq(2)]);
    store.close().unwrap();
}

#[test]
fn a_session_that_is_open_starts_over_with_what_was_released() {
    let folder = tempfile::tempdir().unwrap();
    let id = DocumentId::Automerge([5; 16]);
    set_aside_before(folder.path(), &id);
    let worker = threads();
    let store = open(folder.path(), &worker);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    // One that stays.
    let (sender, inbox) = channel();
    let mut first = Session::open(&[]).unwrap();
    first.join(0);
    let peer = archive.pairwise().join(Arc::new(Port(Mutex::new(sender))));
    for (_, message) in first.generate() {
        archive.pairwise().receive(peer, id.clone(), message, true);
    }
    assert!(inbox.recv().unwrap().is_some());
    assert!(sync(&archive, &id, &heads(&[bytes(FIRST)]).unwrap()));
    assert!(archive.release(&id, (store.replica(), Seq(2)), Release::Retry).unwrap());
    let told: Vec<_> = std::iter::from_fn(|| inbox.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert!(told.len() < 3, "who stays is told to come back at once");
    assert!(sync(&archive, &id, &heads(&[bytes(FIRST), bytes(OTHER)]).unwrap()));
}

/// What a peer was told of may be what was set aside, so it cannot go on where it was.
#[test]
fn a_sync_with_a_replica_begins_anew_when_something_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open_with(StoreConfig::new(folder.path()), Whims::dies_of(bytes(OTHER))).unwrap();
    let document = replica.create_automerge().unwrap();
    let mut peer = SyncState::default();
    for changes in [FIRST, OTHER] {
        assert!(document.apply(&bytes(changes)).unwrap());
    }
    assert!(document.sync_generate(&mut peer).unwrap().is_some());
    replica.store().fold_all(&mut |_| ()).unwrap();
    assert_eq!(set_aside(replica.store(), document.id()), [Seq(2)]);
    assert!(matches!(document.sync_generate(&mut peer), Err(ReplicaError::SyncOver { .. })));
    let message = document.sync_generate(&mut SyncState::default()).unwrap().unwrap();
    assert!(matches!(document.sync_receive(&mut peer, &message), Err(ReplicaError::SyncOver { .. })));
    assert_eq!(document.heads().unwrap(), heads(&[bytes(FIRST)]).unwrap());
}

fn until_examined(store: &Store, id: &DocumentId) {
    while store.is_suspect(id) {
        std::thread::yield_now();
    }
}

#[test]
fn what_nobody_can_open_is_not_tried_again_before_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (id, other) = (DocumentId::Automerge([5; 16]), DocumentId::Automerge([6; 16]));
    let whims = Whims { engine: Some(threads()), helps_nobody: true.into(), ..Whims::default() };
    let whims = Arc::new(whims);
    let worker: Arc<dyn Worker> = Arc::clone(&whims) as _;
    let store = open(folder.path(), &worker);
    append(&store, &id, vec![bytes(FIRST)]);
    append(&store, &other, vec![bytes(FIRST)]);
    store.flush().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    let tries = |goal: &[Bytes]| {
        let goal = heads(goal).unwrap();
        for _ in 0..6 {
            assert!(!sync(&archive, &id, &goal));
            until_examined(&store, &id);
        }
        whims.sessions.swap(0, Ordering::SeqCst)
    };
    assert_eq!(tries(&[bytes(FIRST)]), 2);
    assert_eq!(tries(&[bytes(FIRST)]), 0);
    append(&store, &id, vec![bytes(OTHER)]);
    store.flush().unwrap();
    assert_eq!(tries(&[bytes(FIRST), bytes(OTHER)]), 2, "it has changed");
    assert_eq!(tries(&[bytes(FIRST), bytes(OTHER)]), 0);

    whims.helps_nobody.store(false, Ordering::SeqCst);
    assert!(sync(&archive, &other, &heads(&[bytes(FIRST)]).unwrap()), "another document is none of it");
    assert!(!sync(&archive, &id, &heads(&[bytes(FIRST), bytes(OTHER)]).unwrap()));
    store.fold_all(&mut |_| ()).unwrap();
    assert!(sync(&archive, &id, &heads(&[bytes(FIRST), bytes(OTHER)]).unwrap()), "it was folded");
}
