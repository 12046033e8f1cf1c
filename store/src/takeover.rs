//! From the journal to the shelf, behind the acknowledgement, in larger pieces.
//!
//! Operations arrive in the journal's order and leave in it, so a segment can go as soon as the first
//! operation of a later one was taken. If the shelf refuses, the journal keeps everything and takeover
//! tries again with growing pauses: nothing acknowledged depends on it. A document that is damaged there keeps
//! its operations in the journal and holds nobody else up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use crate::document::Entry;
use crate::journal::SegmentId;
use crate::store::Inner;

/// Most bytes and operations that one piece has.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
const PIECE_OPERATIONS: usize = 16 * 1024;
/// Longest pause after the shelf refused.
const PAUSE_MAX: Duration = Duration::from_secs(30);

type Item = (Arc<Entry>, Operation, SegmentId);

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: u64,
    since: Option<Instant>,
    /// Somebody waits for it to become empty.
    urgent: bool,
    closing: bool,
    busy: bool,
    failure: Option<String>,
    /// Documents that the shelf cannot take until somebody repairs them, and why.
    stuck: BTreeMap<DocumentId, String>,
    /// The first segment with an operation of theirs.
    held: Option<SegmentId>,
}

/// What waits for the shelf.
#[derive(Debug, Default)]
pub(crate) struct Takeover {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Takeover {
    /// A durable operation.
    pub(crate) fn push(&self, entry: Arc<Entry>, operation: Operation, segment: SegmentId) {
        let mut waiting = self.lock();
        waiting.bytes += operation.payload.len() as u64;
        waiting.items.push_back((entry, operation, segment));
        if waiting.since.is_none() {
            waiting.since = Some(Instant::now());
            self.changed.notify_all();
        } else if waiting.bytes >= PIECE_BYTES as u64 || waiting.items.len() >= PIECE_OPERATIONS {
            self.changed.notify_all();
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Waits until everything pushed before is on the shelf.
    pub(crate) fn flush(&self) -> Result<(), String> {
        let mut waiting = self.lock();
        waiting.urgent = true;
        waiting.failure = None;
        self.changed.notify_all();
        while (!waiting.items.is_empty() || waiting.busy) && waiting.failure.is_none() {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let stuck = waiting.stuck.values().next();
        waiting.failure.as_ref().or(stuck).map_or(Ok(()), |reason| Err(reason.clone()))
    }

    fn hold(&self, segment: SegmentId) {
        let mut waiting = self.lock();
        waiting.held = Some(waiting.held.map_or(segment, |held| held.min(segment)));
    }

    /// Takes what waits and ends the thread.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// The takeover thread.
    pub(crate) fn run(&self, inner: &Inner, patience: Duration) {
        let mut pause = Duration::from_millis(100);
        while let Some(piece) = self.next(patience) {
            match take(inner, &piece) {
                Ok(()) => {
                    pause = Duration::from_millis(100);
                    self.taken(piece.len());
                }
                Err(reason) => {
                    tracing::error!(reason, "the shelf refuses operations; the journal keeps them");
                    if self.refused(reason, pause) {
                        return;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// The next piece, still at the front of the queue; none at the end.
    fn next(&self, patience: Duration) -> Option<Vec<Item>> {
        let mut waiting = self.lock();
        loop {
            let full = waiting.bytes >= PIECE_BYTES as u64 || waiting.items.len() >= PIECE_OPERATIONS;
            let age = waiting.since.map(|since| since.elapsed());
            if waiting.items.is_empty() {
                waiting.since = None;
                waiting.urgent = false;
                self.changed.notify_all();
                if waiting.closing {
                    return None;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            } else if full || waiting.urgent || waiting.closing || age.is_none_or(|age| age >= patience) {
                waiting.busy = true;
                return Some(piece(&waiting.items));
            } else {
                let rest = patience.saturating_sub(age.unwrap_or_default());
                waiting = self.changed.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn taken(&self, count: usize) {
        let mut waiting = self.lock();
        let bytes: usize =
            waiting.items.drain(..count).map(|(_, operation, _)| operation.payload.len()).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes as u64);
        waiting.since = (!waiting.items.is_empty()).then(Instant::now);
        waiting.busy = false;
        self.changed.notify_all();
    }

    /// Notes the failure, waits; true if the thread is to end.
    fn refused(&self, reason: String, pause: Duration) -> bool {
        let mut waiting = self.lock();
        waiting.failure = Some(reason);
        waiting.busy = false;
        waiting.urgent = false;
        self.changed.notify_all();
        if waiting.closing {
            return true;
        }
        let until = |waiting: &mut Waiting| !waiting.closing;
        let woken = self.changed.wait_timeout_while(waiting, pause, until);
        woken.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change under this lock leaves the queue whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn piece(items: &VecDeque<Item>) -> Vec<Item> {
    let mut bytes = 0;
    let fits = |item: &&Item| {
        bytes += item.1.payload.len();
        bytes <= PIECE_BYTES
    };
    let mut piece: Vec<_> = items.iter().take(PIECE_OPERATIONS).take_while(fits).cloned().collect();
    if piece.is_empty() {
        piece.extend(items.front().cloned()); // One that is larger than a piece.
    }
    piece
}

fn take(inner: &Inner, piece: &[Item]) -> Result<(), String> {
    let operations: Vec<_> = piece.iter().map(|(_, operation, _)| operation.clone()).collect();
    let stuck = inner.shelves.fill(&operations).map_err(|error| {
        std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    })?;
    let mut entries = Vec::new();
    for (entry, _, segment) in piece {
        if stuck.contains_key(&entry.id) {
            // It stays in memory and in the journal, which keeps everything from here on.
            inner.takeover.hold(*segment);
        } else {
            entry.shelved(1);
            entries.push(entry);
        }
    }
    for (document, error) in &stuck {
        tracing::error!(%document, %error, "a document cannot be taken over; the journal keeps it, others go on");
        inner.takeover.lock().stuck.insert(document.clone(), error.to_string());
    }
    entries.sort_by_key(|entry| Arc::as_ptr(entry));
    entries.dedup_by(|a, b| Arc::ptr_eq(a, b));
    for entry in entries {
        inner.compactor.consider(&entry.id);
        inner.forget_if_unused(entry);
    }
    if let Some((.., segment)) = piece.last() {
        let below = inner.takeover.lock().held.map_or(*segment, |held| held.min(*segment));
        inner.journal.reclaim_below(below).map_err(|error| error.to_string())?;
    }
    Ok(())
}
