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
use tombolo_core::update::StateVector;
use tombolo_relay::member::{Archive, RoomPort};
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
}

fn document() -> DocumentId {
    DocumentId::yjs("reports/2026/annual").expect("a plain name")
}

/// Fills a new store: `snapshot` folded, `tail` behind it.
pub(crate) fn fill(folder: &Path, snapshot: Bytes, tail: Vec<Bytes>) {
    let (store, _worker) = open(folder);
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
    let store = Store::open(StoreConfig::new(folder), Arc::clone(&worker)).expect("the folder is writable");
    (store, worker)
}

/// What a join took.
pub(crate) struct Join {
    pub(crate) message: Bytes,
    pub(crate) took: Duration,
    /// Time on a processor, of all threads.
    pub(crate) cpu: Duration,
    /// The same for one who joins right after.
    pub(crate) cpu_of_next: Duration,
}

/// From the first word of a joiner to the finished `SyncStep2`, in a store that nobody has used since it was
/// opened and whose files are not in memory.
pub(crate) fn cold_join(runtime: &Runtime, folder: &Path) -> Join {
    let (store, worker) = open(folder);
    let archive = {
        let _inside = runtime.enter();
        StoreArchive::start(store.clone(), &worker).expect("there are threads")
    };
    super::cold::forget(folder);
    let (sender, answers) = mpsc::channel();
    let (start, cpu) = (Instant::now(), processor_time());
    let seat = archive.open(&document(), Arc::new(Port(sender)));
    let join = || {
        seat.read(MemberId(1), StateVector::default());
        let answer = answers.recv().expect("the archive answers");
        y_protocols::sync_step2(&answer.update)
    };
    let message = join();
    let (took, cpu_of_first) = (start.elapsed(), processor_time().saturating_sub(cpu));
    let cpu = processor_time();
    join();
    let cpu_of_next = processor_time().saturating_sub(cpu);
    drop((seat, archive));
    store.close().expect("the disk takes it");
    Join { message, took, cpu: cpu_of_first, cpu_of_next }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time is not negative")
}
