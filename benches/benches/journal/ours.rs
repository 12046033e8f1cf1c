//! The journal, and one writer who waits for receipts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};
use tombolo_store::disk::FileDisk;
use tombolo_store::journal::{Journal, JournalConfig, SegmentId};

use crate::FILE_BYTES;

pub(crate) struct Ours {
    journal: Journal,
    document: DocumentId,
    seq: Seq,
    /// The segment of the last receipt that was looked at.
    segment: SegmentId,
    waiting: Arc<Waiting>,
}

/// Who waits for a group.
struct Waiting {
    /// Receipts that are missing.
    missing: AtomicUsize,
    segment: AtomicU64,
    thread: Thread,
}

impl Ours {
    pub(crate) fn open(folder: &Path) -> Self {
        let disk = Arc::new(FileDisk::open(folder).expect("the folder is writable"));
        let config = JournalConfig { segment_bytes: FILE_BYTES };
        let (journal, _) = Journal::open(disk, config).expect("a new journal opens");
        let waiting = Waiting {
            missing: AtomicUsize::new(0),
            segment: AtomicU64::new(0),
            thread: std::thread::current(),
        };
        Self {
            journal,
            document: DocumentId::yjs("reports/2026/annual").expect("a plain name"),
            seq: Seq::default(),
            segment: SegmentId::default(),
            waiting: Arc::new(waiting),
        }
    }

    /// Appends a group and waits for its receipts; says how long it took. To be called on the thread that
    /// opened.
    pub(crate) fn group(&mut self, payloads: &[Bytes]) -> Duration {
        let start = Instant::now();
        self.waiting.missing.store(payloads.len(), Ordering::Release);
        for payload in payloads {
            self.append(payload.clone());
        }
        while self.waiting.missing.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
        // As the store does when the shelf has taken everything before.
        let segment = SegmentId(self.waiting.segment.load(Ordering::Relaxed));
        if segment != self.segment {
            self.journal.reclaim_below(segment).expect("the disk takes it");
            self.segment = segment;
        }
        start.elapsed()
    }

    fn append(&mut self, payload: Bytes) {
        self.seq = self.seq.next();
        let operation = Operation {
            document: self.document.clone(),
            replica: ReplicaId([7; 16]),
            seq: self.seq,
            stamp: Stamp(self.seq.0),
            kind: Kind::YjsUpdate,
            payload,
        };
        let waiting = Arc::clone(&self.waiting);
        self.journal.append(
            operation,
            Box::new(move |receipt| {
                waiting.segment.store(receipt.expect("the disk takes it").0, Ordering::Relaxed);
                if waiting.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
                    waiting.thread.unpark();
                }
            }),
        );
    }

    /// How often it synced, and for how many groups of this size.
    pub(crate) fn syncs_and_groups(&self, batch: usize) -> (u64, u64) {
        let stats = self.journal.stats();
        (stats.commits, stats.operations / batch as u64)
    }
}
