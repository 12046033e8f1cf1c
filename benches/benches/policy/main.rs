//! When folding is worth its cost: the same edits under several policies, what the folds took of the processor and
//! what a join took between them.
//!
//! Edits come in pieces, and after each the bench waits until nothing is due, so a policy is judged by itself and
//! not by how fast this machine folds. Two kinds: letters typed at the end of one text (folding shrinks them to
//! nearly nothing), and small changes of a large document (folding costs its whole size). Figures are processor
//! time of this process, the engine in it, against the same edits without any fold.

#![expect(clippy::expect_used, clippy::cast_precision_loss, reason = "a bench that cannot go on stops")]

use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tombolo_benches::Typist;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::update::{Coverage, Update};
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{CompactionPolicy, Description, Document, Store, StoreConfig};

/// Edits in a piece, and pieces.
const PIECE: usize = 500;
const PIECES: usize = 60;

/// What is edited.
#[derive(Clone, Copy)]
struct Kinds {
    name: &'static str,
    /// Writers that are there from the beginning, each with so many letters: the size of the document.
    writers: u32,
}

const KINDS: [Kinds; 2] =
    [Kinds { name: "typing", writers: 0 }, Kinds { name: "small changes of 1 MB", writers: 40_000 }];

fn main() {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    for kind in KINDS {
        let never = run(kind, policy(u64::MAX, u64::MAX));
        println!("{}: {} edits; no folds: a join in the mean {}", kind.name, PIECE * PIECES, never.joins());
        for kib in [4, 16, 64, 256] {
            for operations in [1_000, 10_000, 100_000] {
                let told = run(kind, policy(kib * 1024, operations));
                println!(
                    "{}: from {kib} KiB and the snapshot's size on, or {operations} operations: {} folds, \
                     {:.1} ms of processor for 1,000 edits more; a join in the mean {}",
                    kind.name,
                    told.folds,
                    (told.edits.as_secs_f64() - never.edits.as_secs_f64()) * 1e6 / (PIECE * PIECES) as f64,
                    told.joins()
                );
            }
        }
    }
}

fn policy(tail_bytes_min: u64, operations: u64) -> CompactionPolicy {
    CompactionPolicy { tail_bytes_min, tail_operations_yjs: operations, ..CompactionPolicy::default() }
}

/// What a run took of the processor.
#[derive(Default)]
struct Told {
    edits: Duration,
    joins: Duration,
    folds: usize,
}

impl Told {
    fn joins(&self) -> String {
        format!("{:.2} ms", self.joins.as_secs_f64() * 1e3 / PIECES as f64)
    }
}

fn run(kind: Kinds, policy: CompactionPolicy) -> Told {
    let scratch = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
    let config = StoreConfig { compaction: policy, takeover_ms: 5, ..StoreConfig::new(scratch.path()) };
    let store = Store::open(config, ThreadWorker::start().expect("there are threads")).expect("it opens");
    let id = DocumentId::yjs("document").expect("a plain name");
    let mut told = Told::default();
    let before: Vec<Bytes> =
        (0..kind.writers).map(|writer| Typist::new(1_000 + writer).types(20).into()).collect();
    // Somebody stays: what folds when the last one leaves is the same under every policy.
    let document = store.document(&id).expect("it opens");
    append(&store, &document, &before);
    store.fold_all(&mut |_| ()).expect("the store folds");
    let mut typist = Typist::new(7);
    let mut snapshot = described(&store, &id).map_or(0, |document| document.snapshot_bytes);
    for _ in 0..PIECES {
        let edits: Vec<Bytes> = (0..PIECE).map(|_| typist.types(1).into()).collect();
        let start = processor_time();
        append(&store, &document, &edits);
        let now = settled(&store, &id, policy);
        told.edits += processor_time().saturating_sub(start);
        told.folds += usize::from(now.snapshot_bytes != snapshot);
        snapshot = now.snapshot_bytes;
        let start = processor_time();
        join(&document);
        told.joins += processor_time().saturating_sub(start);
    }
    drop(document);
    store.close().expect("the disk takes it");
    told
}

fn append(store: &Store, document: &Document, updates: &[Bytes]) {
    let (sender, receiver) = channel();
    for update in updates {
        let sender = sender.clone();
        let done = Box::new(move |result: Result<_, _>| {
            // The other end is held until all have answered.
            let _ = sender.send(result.is_ok());
        });
        document.append(Kind::YjsUpdate, update.clone(), done).expect("there is room");
    }
    drop(sender);
    assert!(receiver.iter().all(|stored| stored), "the disk takes it");
    store.flush().expect("the disk takes it");
}

/// Waits until nothing is due.
fn settled(store: &Store, id: &DocumentId, policy: CompactionPolicy) -> Description {
    loop {
        let document = described(store, id).expect("it was written");
        let due = document.tail_operations >= policy.tail_operations_yjs
            || document.tail_bytes >= policy.tail_bytes_min.max(document.snapshot_bytes);
        if !due {
            return document;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn described(store: &Store, id: &DocumentId) -> Option<Description> {
    store.describe(id).expect("the store reads")
}

/// What somebody who opens the document for the first time costs: read, unpack, check.
fn join(document: &Document) {
    let contents = document.read().expect("the store reads");
    let mut coverage = Coverage::default();
    for update in contents.snapshot.iter().chain(&contents.tail) {
        coverage.add(&Update::parse(update.clone()).expect("only such is stored"));
    }
    std::hint::black_box(coverage.state_vector());
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("time is not negative")
}
