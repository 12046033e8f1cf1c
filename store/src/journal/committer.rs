//! The one thread that writes and syncs: drain the queue, write, one fdatasync, receipts for all.
//!
//! Nothing waits for a batch to fill: while one sync is under way the next batch gathers by itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::operation::Operation;

use super::error::JournalError;
use super::latency::Latency;
use super::segment::SegmentId;
use super::writer::{CommitError, Writer};
use crate::disk::Disk;

/// Called exactly once on the committer's thread: with the segment after the sync that covers the operation,
/// or with why there will be none.
pub type Receipt = Box<dyn FnOnce(Result<SegmentId, JournalError>) + Send>;

/// What a journal counts.
#[derive(Clone, Debug, Default)]
pub struct JournalStats {
    /// Group commits: one fdatasync each, or two where a segment ended.
    pub commits: u64,
    /// Operations made durable.
    pub operations: u64,
    /// Time of a group commit.
    pub latency: Latency,
}

pub(super) struct Job {
    /// None for a barrier, which only waits for what came before it.
    pub(super) operation: Option<Operation>,
    pub(super) receipt: Receipt,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closing: bool,
    /// The committer sleeps: only then need it be woken, which costs a system call.
    asleep: bool,
}

/// What the journal's handle and its thread share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    queue: Mutex<Queue>,
    changed: Condvar,
    pub(super) queued_bytes: AtomicU64,
    pub(super) failed: Mutex<Option<JournalError>>,
    pub(super) stalled: Mutex<Option<String>>,
    pub(super) stats: Mutex<JournalStats>,
    /// Length of each segment's file in bytes.
    pub(super) segments: Mutex<BTreeMap<SegmentId, u64>>,
    /// The last segment that something was written to, and how many bytes of it are durable.
    pub(super) durable: Mutex<(SegmentId, u64)>,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, segments: Vec<(SegmentId, u64)>, writer: &Writer) -> Self {
        Self {
            disk,
            queue: Mutex::default(),
            changed: Condvar::new(),
            queued_bytes: AtomicU64::new(0),
            failed: Mutex::default(),
            stalled: Mutex::default(),
            stats: Mutex::default(),
            segments: Mutex::new(segments.into_iter().collect()),
            durable: Mutex::new(writer.durable()),
        }
    }

    /// No job is taken from now on; the thread ends when it has done all that are there.
    pub(super) fn close(&self) {
        lock(&self.queue).closing = true;
        self.changed.notify_all();
    }

    pub(super) fn push(&self, job: Job) {
        let mut queue = lock(&self.queue);
        if queue.closing {
            drop(queue);
            self.settle([job].into(), &Err(JournalError::Closed));
            return;
        }
        queue.jobs.push_back(job);
        let asleep = std::mem::replace(&mut queue.asleep, false);
        drop(queue);
        if asleep {
            self.changed.notify_one();
        }
    }

    /// The journal's thread.
    pub(super) fn run(&self, mut writer: Writer) {
        let _ended = Ended(self);
        let mut prepare_at = Instant::now();
        loop {
            match self.next(writer.is_marked()) {
                Next::Batch(batch) => {
                    self.commit(&mut writer, batch);
                    self.catch_up(&mut writer, &mut prepare_at);
                }
                Next::Quiet => self.last_words(&mut writer, Writer::mark),
                Next::End => {
                    self.last_words(&mut writer, Writer::close);
                    return;
                }
            }
        }
    }

    fn next(&self, marked: bool) -> Next {
        let mut queue = lock(&self.queue);
        let mut woken = false;
        loop {
            queue.asleep = false;
            if !queue.jobs.is_empty() {
                if woken {
                    queue = self.gather(queue);
                }
                return Next::Batch(take(&mut queue.jobs));
            }
            if queue.closing {
                return Next::End;
            }
            woken = true;
            queue.asleep = true;
            if marked {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout(queue, QUIET).unwrap_or_else(PoisonError::into_inner);
            queue = waited.0;
            if waited.1.timed_out() && queue.jobs.is_empty() && !queue.closing {
                return Next::Quiet;
            }
        }
    }

    /// Woken by the first of a group, the rest of it is being appended right now: lets it come as long as each
    /// look finds more, without any clock.
    fn gather<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        for _ in 0..GATHER_LOOKS {
            let before = queue.jobs.len();
            drop(queue);
            std::thread::yield_now();
            queue = lock(&self.queue);
            if queue.jobs.len() == before {
                break;
            }
        }
        queue
    }

    fn commit(&self, writer: &mut Writer, mut batch: VecDeque<Job>) {
        let start = Instant::now();
        loop {
            if let Some(failed) = lock(&self.failed).clone() {
                self.settle(batch, &Err(failed));
                return;
            }
            let operations = batch.iter().filter_map(|job| job.operation.as_ref());
            let written = writer.commit(operations, |segment, len| {
                lock(&self.segments).insert(segment, len);
            });
            match written {
                Ok(segments) => {
                    *lock(&self.durable) = writer.durable();
                    *lock(&self.stalled) = None;
                    self.count(segments.len() as u64, start.elapsed());
                    self.settle(batch, &Ok((segments, writer.durable().0)));
                    return;
                }
                Err(CommitError::NoRoom { durable, source }) => {
                    self.count(durable.len() as u64, start.elapsed());
                    let settled = take_operations(&mut batch, durable.len());
                    self.settle(settled, &Ok((durable, writer.durable().0)));
                    if !self.wait_for_room(&source) {
                        self.fail(source);
                    }
                }
                Err(CommitError::Failed(error)) => {
                    self.fail(error);
                }
            }
        }
    }

    fn count(&self, operations: u64, elapsed: Duration) {
        if operations > 0 {
            let mut stats = lock(&self.stats);
            stats.commits += 1;
            stats.operations += operations;
            stats.latency.observe(elapsed);
        }
    }

    /// Nothing is wrong with what is written; there is no room, or no descriptor, for more. Receipts wait, and
    /// so does the queue, until it is refused at the door. False if the journal is being closed.
    fn wait_for_room(&self, error: &std::io::Error) -> bool {
        if lock(&self.stalled).replace(error.to_string()).is_none() {
            tracing::error!(%error, "no room for another journal segment: acknowledgements wait until there is");
        }
        let queue = lock(&self.queue);
        let waited = self.changed.wait_timeout_while(queue, ROOM_PAUSE, |queue| !queue.closing);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    /// What can wait until receipts are out.
    fn catch_up(&self, writer: &mut Writer, prepare_at: &mut Instant) {
        if lock(&self.failed).is_some() || Instant::now() < *prepare_at {
            return;
        }
        match writer.catch_up() {
            Ok(()) => {}
            Err(CommitError::NoRoom { source, .. }) => {
                tracing::warn!(error = %source, "no room yet for the next journal segment");
                *prepare_at = Instant::now() + PREPARE_PAUSE;
            }
            Err(CommitError::Failed(error)) => drop(self.fail(error)),
        }
    }

    fn last_words(&self, writer: &mut Writer, words: fn(&mut Writer) -> std::io::Result<()>) {
        if lock(&self.failed).is_none() {
            match words(writer) {
                Ok(()) => *lock(&self.durable) = writer.durable(),
                Err(error) => drop(self.fail(error)),
            }
        }
    }

    /// A failed write or sync is never tried again: the system may have dropped the bytes and forgotten it.
    pub(super) fn fail(&self, error: std::io::Error) -> JournalError {
        tracing::error!(%error, "a write to the journal failed: from now on nothing is stored or acknowledged");
        // The first reason is the one that says what happened.
        lock(&self.failed).get_or_insert(JournalError::ReadOnly(Arc::new(error))).clone()
    }

    fn settle(&self, batch: VecDeque<Job>, result: &Result<(Vec<SegmentId>, SegmentId), JournalError>) {
        let (mut segments, last) = match result {
            Ok((segments, last)) => (segments.iter(), *last),
            Err(_) => ([].iter(), SegmentId::default()),
        };
        for job in batch {
            if let Some(operation) = &job.operation {
                self.queued_bytes.fetch_sub(cost(operation), Ordering::Relaxed);
            }
            (job.receipt)(match result {
                Ok(_) if job.operation.is_some() => Ok(segments.next().copied().unwrap_or(last)),
                Ok(_) => Ok(last),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

/// However the thread ends, nobody waits for it for ever: not even if a receipt panicked.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(std::io::Error::other("the journal's thread panicked"));
        }
        let left = {
            let mut queue = lock(&self.0.queue);
            queue.closing = true;
            std::mem::take(&mut queue.jobs)
        };
        self.0.settle(left, &Err(JournalError::Closed));
    }
}

/// What one operation holds in memory on its way, in bytes: its payload, itself in two queues, its receipt.
#[must_use]
pub(crate) fn cost(operation: &Operation) -> u64 {
    const FIXED: usize = 512;
    (operation.payload.len() + FIXED) as u64
}

enum Next {
    Batch(VecDeque<Job>),
    /// Nothing came for a while.
    Quiet,
    End,
}

/// Up to [`BATCH_BYTES`] off the front, and always at least one.
fn take(jobs: &mut VecDeque<Job>) -> VecDeque<Job> {
    let mut bytes = 0;
    let fitting = jobs.iter().take_while(|job| {
        let fits = bytes < BATCH_BYTES;
        bytes += job.operation.as_ref().map_or(0, |operation| operation.payload.len());
        fits
    });
    let count = fitting.count();
    if count == jobs.len() {
        return std::mem::take(jobs);
    }
    jobs.drain(..count).collect()
}

/// Jobs off the front with this many operations, and the barriers among and right behind them.
fn take_operations(jobs: &mut VecDeque<Job>, operations: usize) -> VecDeque<Job> {
    let mut left = operations;
    let settled = jobs.iter().take_while(|job| {
        let taken = job.operation.is_none() || left > 0;
        left = left.saturating_sub(usize::from(job.operation.is_some()));
        taken
    });
    let count = settled.count();
    jobs.drain(..count).collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single step, so a poisoned state is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most payload bytes of one group commit, so that the first of a flood does not wait for the last.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most looks at a queue that grows before its first operation is written.
const GATHER_LOOKS: u32 = 64;
/// Pause before it is asked again whether there is room for a segment.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// Pause after there was no room ahead of need: writing zeros to a full disk is not for every commit.
const PREPARE_PAUSE: Duration = Duration::from_secs(2);
/// After this long without news a mark is written: from then on damage cannot be taken for a torn tail.
const QUIET: Duration = Duration::from_millis(200);
