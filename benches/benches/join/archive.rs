//! The store with its archive, opened as a server opens it, and one joiner.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tombolo::archive::StoreArchive;
use tombolo_core::dialect::y_protocols;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::room::{Answer, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::{Archive, ArchiveSeat, RoomPort};
use tombolo_store::worker::{ThreadWorker, Worker};
use tombolo_store::{Store, StoreConfig};

/// Where the archive's answer arrives.
struct Port(mpsc::Sender<Answer>);

impl RoomPort for Port {
    fn stored(&self, _results: &[(Ticket, Result<(), StoreRefused>)]) {}

    fn answered(&self, _asker: MemberId, result: Result<Answer, StoreRefused>) {
        // Nobody listens any more only if the bench has stopped.
        let _ = self.0.send(result.expect("the store reads"));
    }

    fn released(&self, _update: Update) {}
}

fn document() -> DocumentId {
    DocumentId::yjs("reports/2026/annual").expect("a plain name")
}

/// Another document on the same shelf.
fn neighbour() -> DocumentId {
    DocumentId::yjs("reports/2026/cover").expect("a plain name")
}

/// Fills a new store: `snapshot` folded, `tail` behind it.
pub(crate) fn fill(folder: &Path, snapshot: Bytes, tail: Vec<Bytes>) {
    let (store, _worker) = open(folder);
    let neighbour = store.document(&neighbour()).expect("a new store opens");
    let letter = tail.first().cloned().unwrap_or_else(|| tombolo_benches::Typist::new(1).types(1).into());
    neighbour.append(Kind::YjsUpdate, letter, Box::new(drop)).expect("a new store takes it");
    let document = store.document(&document()).expect("a new store opens");
    let append = |payload| {
        document.append(Kind::YjsUpdate, payload, Box::new(drop)).expect("a new store takes it");
    };
    append(snapshot);
    // A tail this large is due for folding at once.
    while document.read().expect("the store reads").snapshot.is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let count = tail.len();
    tail.into_iter().for_each(append);
    store.flush().expect("the disk takes it");
    let contents = document.read().expect("the store reads");
    assert_eq!((contents.snapshot.is_some(), contents.tail.len()), (true, count), "not as it should lie");
    store.close().expect("the disk takes it");
}

fn open(folder: &Path) -> (Store, Arc<dyn Worker>) {
    let worker: Arc<dyn Worker> = ThreadWorker::start().expect("there are threads");
    let config = StoreConfig { shelf_count: 1, ..StoreConfig::new(folder) };
    let store = Store::open(config, Arc::clone(&worker)).expect("the folder is writable");
    (store, worker)
}

/// What a join took.
pub(crate) struct Join {
    pub(crate) message: Bytes,
    pub(crate) state_vector: StateVector,
    pub(crate) took: Duration,
    /// Time on a processor, of all threads.
    pub(crate) cpu: Duration,
}

/// How a joiner finds the shelf of the document. Nobody has read the document since the store was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// Closed, and on the disk only.
    Closed,
    /// Open, because somebody came for another document, and on the disk only.
    Open,
    /// Open, and its files are in the system's memory.
    InMemory,
}

/// A server with a store that has just been opened.
pub(crate) struct Server {
    store: Store,
    archive: StoreArchive,
    _worker: Arc<dyn Worker>,
}

impl Server {
    pub(crate) fn start(runtime: &Runtime, folder: &Path, shelf: Shelf) -> Self {
        let (store, worker) = open(folder);
        let archive = {
            let _inside = runtime.enter();
            StoreArchive::start(store.clone(), &worker).expect("there are threads")
        };
        let server = Self { store, archive, _worker: worker };
        if shelf != Shelf::Closed {
            Visit::of(&server, &neighbour()).join(&StateVector::default());
        }
        super::cold::forget(folder);
        if shelf == Shelf::InMemory {
            recall(&folder.join("shelf"));
        }
        server
    }

    pub(crate) fn visit(&self) -> Visit {
        Visit::of(self, &document())
    }

    pub(crate) fn stop(self) {
        drop(self.archive);
        self.store.close().expect("the disk takes it");
    }
}

/// A room with the document.
pub(crate) struct Visit {
    seat: Box<dyn ArchiveSeat>,
    answers: mpsc::Receiver<Answer>,
}

impl Visit {
    fn of(server: &Server, document: &DocumentId) -> Self {
        let (sender, answers) = mpsc::channel();
        Self { seat: server.archive.open(document, Arc::new(Port(sender))), answers }
    }

    /// From the first word of a joiner to the finished `SyncStep2`.
    pub(crate) fn join(&self, have: &StateVector) -> Join {
        let (start, cpu) = (Instant::now(), processor_time());
        self.seat.read(MemberId(1), have.clone());
        let answer = self.answers.recv().expect("the archive answers");
        // The relay writes the update behind this as it is.
        let head = y_protocols::sync_step2_head(answer.update.len());
        let (took, cpu) = (start.elapsed(), processor_time().saturating_sub(cpu));
        let message = [&head[..], &answer.update].concat().into();
        Join { message, state_vector: answer.state_vector, took, cpu }
    }
}

/// Has the system hold all files in a folder in its memory.
fn recall(path: &Path) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("the folder is there");
        entries.for_each(|entry| recall(&entry.expect("the folder is there").path()));
    } else {
        std::hint::black_box(std::fs::read(path).expect("the file is there"));
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time is not negative")
}
