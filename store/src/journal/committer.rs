//! The one thread that writes and syncs: drain the queue, write, one fdatasync, receipts for all.
//!
//! Nothing waits for a group to fill: while one is synced the next gathers by itself, and what is appended while
//! the first of a group is encoded still goes with it.

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
    operation: Option<Operation>,
    /// None once it was given.
    receipt: Option<Receipt>,
}

impl Job {
    pub(super) fn new(operation: Option<Operation>, receipt: Receipt) -> Self {
        Self { operation, receipt: Some(receipt) }
    }

    fn payload_len(&self) -> usize {
        self.operation.as_ref().map_or(0, |operation| operation.payload.len())
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    payload_bytes: usize,
    closing: bool,
    /// The committer sleeps: only then need it be woken, which costs a system call.
    asleep: bool,
}

/// What is committed at once; kept between commits for its memory.
#[derive(Default)]
struct Group {
    jobs: VecDeque<Job>,
    payload_bytes: usize,
    /// Of the operations so far that are written or encoded.
    segments: Vec<SegmentId>,
    /// The thread slept before the first job came.
    woken: bool,
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
            self.refuse(&mut [job].into(), &JournalError::Closed);
            return;
        }
        queue.payload_bytes += job.payload_len();
        queue.jobs.push_back(job);
        let asleep = std::mem::replace(&mut queue.asleep, false);
        drop(queue);
        if asleep {
            self.changed.notify_one();
        }
    }

    /// The journal's thread; gives back the writer, behind its last word.
    pub(super) fn run(&self, mut writer: Writer) -> Writer {
        let _ended = Ended(self);
        let mut group = Group::default();
        let mut prepare_at = Instant::now();
        loop {
            match self.next(&mut group, writer.is_marked()) {
                Next::Group => {
                    self.commit(&mut writer, &mut group);
                    self.catch_up(&mut writer, &mut prepare_at);
                }
                Next::Quiet => self.last_words(&mut writer, Writer::mark),
                Next::End => {
                    self.last_words(&mut writer, Writer::close);
                    return writer;
                }
            }
        }
    }

    fn next(&self, group: &mut Group, marked: bool) -> Next {
        let mut queue = lock(&self.queue);
        group.woken = false;
        loop {
            queue.asleep = false;
            if queue.take_into(group) {
                return Next::Group;
            }
            if queue.closing {
                return Next::End;
            }
            queue.asleep = true;
            group.woken = true;
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

    /// Makes all of a group durable and gives its receipts, whatever they say.
    fn commit(&self, writer: &mut Writer, group: &mut Group) {
        let start = Instant::now();
        loop {
            if let Some(failed) = lock(&self.failed).clone() {
                self.refuse(&mut group.jobs, &failed);
                break;
            }
            match self.write(writer, group) {
                Ok(()) => {
                    *lock(&self.durable) = writer.durable();
                    *lock(&self.stalled) = None;
                    self.count(group.segments.len() as u64, start.elapsed());
                    self.acknowledge(group, group.jobs.len(), writer.durable().0);
                    break;
                }
                Err(CommitError::NoRoom(source)) => {
                    *lock(&self.durable) = writer.durable();
                    self.count(group.segments.len() as u64, start.elapsed());
                    self.acknowledge(group, group.jobs_of(group.segments.len()), writer.durable().0);
                    if !self.wait_for_room(&source) {
                        self.fail(source);
                    }
                }
                Err(CommitError::Failed(error)) => drop(self.fail(error)),
            }
        }
        group.end();
    }

    /// Writes a group and what joins it meanwhile, and syncs.
    fn write(&self, writer: &mut Writer, group: &mut Group) -> Result<(), CommitError> {
        let mut encoded = 0;
        loop {
            let operations = group.jobs.range(encoded..).filter_map(|job| job.operation.as_ref());
            encoded = group.jobs.len();
            writer.encode(operations, &mut group.segments, |segment, len| {
                lock(&self.segments).insert(segment, len);
            })?;
            if !self.more(group) {
                return writer.sync();
            }
        }
    }

    /// Lets those join a group who are appending right now, as long as each look finds more and without any
    /// clock.
    fn more(&self, group: &mut Group) -> bool {
        // Long enough for somebody to append one more, and nothing beside a sync.
        for _ in 0..SPINS {
            std::hint::spin_loop();
        }
        if lock(&self.queue).take_into(group) {
            return true;
        }
        // Who woke this thread may have had to make way for it.
        group.woken && {
            std::thread::yield_now();
            lock(&self.queue).take_into(group)
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
            Err(CommitError::NoRoom(source)) => {
                tracing::warn!(error = %source, "no room yet for the next journal segment");
                *prepare_at = Instant::now() + PREPARE_PAUSE;
            }
            Err(CommitError::Failed(error)) => drop(self.fail(error)),
        }
    }

    pub(super) fn last_words(&self, writer: &mut Writer, words: fn(&mut Writer) -> std::io::Result<()>) {
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

    /// Gives the receipts of the first jobs of a group, which are durable.
    fn acknowledge(&self, group: &mut Group, jobs: usize, last: SegmentId) {
        let mut segments = group.segments.iter();
        self.settle(&mut group.jobs, jobs, |is_operation| {
            let segment = if is_operation { segments.next() } else { None };
            Ok(segment.copied().unwrap_or(last))
        });
        group.segments.clear();
    }

    fn refuse(&self, jobs: &mut VecDeque<Job>, error: &JournalError) {
        self.settle(jobs, jobs.len(), |_| Err(error.clone()));
    }

    /// Answers the first jobs. Operations are freed behind all receipts: whoever waits need not wait for that.
    fn settle(
        &self,
        jobs: &mut VecDeque<Job>,
        count: usize,
        mut answer: impl FnMut(bool) -> Result<SegmentId, JournalError>,
    ) {
        let operations = jobs.range(..count).filter_map(|job| job.operation.as_ref());
        self.queued_bytes.fetch_sub(operations.map(cost).sum(), Ordering::Relaxed);
        for job in jobs.range_mut(..count) {
            let answer = answer(job.operation.is_some());
            if let Some(receipt) = job.receipt.take() {
                receipt(answer);
            }
        }
        jobs.drain(..count);
    }
}

impl Queue {
    /// Moves jobs off the front to the group's end, as many as fit; false if there are none or no room is left.
    fn take_into(&mut self, group: &mut Group) -> bool {
        let before = group.jobs.len();
        if group.payload_bytes + self.payload_bytes <= GROUP_BYTES {
            group.payload_bytes += std::mem::take(&mut self.payload_bytes);
            if before == 0 {
                std::mem::swap(&mut group.jobs, &mut self.jobs);
            } else {
                group.jobs.append(&mut self.jobs);
            }
        } else {
            while group.payload_bytes < GROUP_BYTES
                && let Some(job) = self.jobs.pop_front()
            {
                self.payload_bytes -= job.payload_len();
                group.payload_bytes += job.payload_len();
                group.jobs.push_back(job);
            }
        }
        group.jobs.len() > before
    }
}

impl Group {
    /// How many jobs these operations off the front are, with the barriers among and right behind them.
    fn jobs_of(&self, operations: usize) -> usize {
        let mut left = operations;
        let settled = self.jobs.iter().take_while(|job| {
            let taken = job.operation.is_none() || left > 0;
            left = left.saturating_sub(usize::from(job.operation.is_some()));
            taken
        });
        settled.count()
    }

    /// All jobs were settled.
    fn end(&mut self) {
        self.payload_bytes = 0;
        self.segments.clear();
        self.jobs.shrink_to(JOBS_KEPT);
        self.segments.shrink_to(JOBS_KEPT);
    }
}

/// However the thread ends, nobody waits for it for ever: not even if a receipt panicked.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(std::io::Error::other("the journal's thread panicked"));
        }
        let mut left = {
            let mut queue = lock(&self.0.queue);
            queue.closing = true;
            std::mem::take(&mut queue.jobs)
        };
        self.0.refuse(&mut left, &JournalError::Closed);
    }
}

/// What one operation holds in memory on its way, in bytes: its payload, itself in two queues, its receipt.
#[must_use]
pub(crate) fn cost(operation: &Operation) -> u64 {
    const FIXED: usize = 512;
    (operation.payload.len() + FIXED) as u64
}

enum Next {
    /// There is something to commit.
    Group,
    /// Nothing came for a while.
    Quiet,
    End,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single step, so a poisoned state is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most payload bytes of one group commit, so that the first of a flood does not wait for the last.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Pauses of the processor, some 20 ns each, before it is looked once more who joins a group.
const SPINS: u32 = 32;
/// Jobs that the memory of a group is kept for.
const JOBS_KEPT: usize = 1024;
/// Pause before it is asked again whether there is room for a segment.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// Pause after there was no room ahead of need: writing zeros to a full disk is not for every commit.
const PREPARE_PAUSE: Duration = Duration::from_secs(2);
/// After this long without news a mark is written: from then on damage cannot be taken for a torn tail.
const QUIET: Duration = Duration::from_millis(200);
