//! The journal as others see it: append, barrier, reclaim, close.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tombolo_core::operation::Operation;

use super::committer::{Job, JournalStats, Receipt, Shared, cost, lock};
use super::error::JournalError;
use super::replay::{self, Replay};
use super::segment::{self, SegmentId};
use super::writer::Writer;
use super::{JournalConfig, Position};
use crate::disk::Disk;

/// An open journal. Ends with [`Journal::close`] or when it is dropped.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Writer>>>,
    /// What the thread left when it ended.
    writer: Mutex<Option<Writer>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({:?})", self.shared.disk)
    }
}

impl Journal {
    /// Opens the journal of this disk and starts its thread.
    ///
    /// # Errors
    /// [`JournalError`] if it is damaged, of a later program, or the disk says no.
    pub fn open(disk: Arc<dyn Disk>, config: JournalConfig) -> Result<(Self, Replay), JournalError> {
        let opened = replay::open(&disk, config)?;
        let shared = Arc::new(Shared::new(disk, opened.segments, &opened.writer));
        let (committing, writer) = (Arc::clone(&shared), opened.writer);
        let thread =
            std::thread::Builder::new().name("journal".into()).spawn(move || committing.run(writer))?;
        let journal = Self { shared, thread: Mutex::new(Some(thread)), writer: Mutex::default() };
        Ok((journal, opened.replay))
    }

    /// Appends an operation behind all earlier ones. Never waits.
    pub fn append(&self, operation: Operation, receipt: Receipt) {
        self.shared.queued_bytes.fetch_add(cost(&operation), Ordering::Relaxed);
        self.shared.push(Job::new(Some(operation), receipt));
    }

    /// A receipt for everything appended before.
    pub fn barrier(&self, receipt: Receipt) {
        self.shared.push(Job::new(None, receipt));
    }

    /// Bytes of memory that operations hold which are not durable yet.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all segments on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.segments).values().sum()
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        lock(&self.shared.stats).clone()
    }

    /// Why nothing is taken any more, if so.
    #[must_use]
    pub fn read_only(&self) -> Option<JournalError> {
        lock(&self.shared.failed).clone()
    }

    /// Why receipts wait although nothing is wrong with what is written, if so: a full disk, no descriptors.
    #[must_use]
    pub fn stalled(&self) -> Option<String> {
        lock(&self.shared.stalled).clone()
    }

    /// The disk.
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.shared.disk
    }

    /// The last segment that something was written to, and how many bytes of it are durable.
    pub(crate) fn durable(&self) -> Position {
        *lock(&self.shared.durable)
    }

    /// Segments that were not reclaimed, in order.
    pub(super) fn segments(&self) -> Vec<SegmentId> {
        lock(&self.shared.segments).keys().copied().collect()
    }

    /// Whether a segment was not reclaimed; one that is being reclaimed is waited for.
    pub(super) fn has_segment(&self, id: SegmentId) -> bool {
        lock(&self.shared.segments).contains_key(&id)
    }

    /// Removes all segments before this one: whoever calls has everything in them elsewhere, durably.
    ///
    /// # Errors
    /// What the disk says; what could not be removed is reclaimed the next time. If it is not known whether a
    /// removal is durable, the journal is read-only from now on, as after any failed sync.
    pub fn reclaim_below(&self, segment: SegmentId) -> Result<(), JournalError> {
        let mut segments = lock(&self.shared.segments);
        while let Some(first) = segments.first_entry().filter(|first| *first.key() < segment) {
            if let Some(failed) = self.read_only() {
                return Err(failed);
            }
            segment::remove(self.disk(), *first.key())?;
            first.remove();
            if let Err(error) = self.shared.disk.sync_folder() {
                return Err(self.shared.fail(error));
            }
        }
        Ok(())
    }

    /// Makes everything appended before durable and ends the thread; later appends are refused.
    pub fn close(&self) {
        self.shared.close();
        let Some(thread) = lock(&self.thread).take() else { return };
        match thread.join() {
            Ok(writer) => *lock(&self.writer) = Some(writer),
            Err(_) => {
                tracing::error!("the journal's thread panicked; what it had not acknowledged may be lost");
            }
        }
    }

    /// Leaves word in a closed journal that everything in it is elsewhere, durably: the next start need not read it.
    pub fn mark_taken(&self) {
        if let Some(writer) = lock(&self.writer).as_mut() {
            self.shared.last_words(writer, Writer::mark_taken);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
