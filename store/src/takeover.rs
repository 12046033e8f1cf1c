//! From the journal to the shelf, behind the acknowledgement, in larger pieces.
//!
//! Operations arrive in the journal's order and leave in it, so a segment can go as soon as the first
//! operation of a later one was taken. If the shelf refuses, the journal keeps everything and takeover
//! tries again with growing pauses: nothing acknowledged depends on it. A document that is damaged there keeps
//! its operations in the journal and holds nobody else up.
//!
//! Every change gets its number here, when it is durable; what is taken is noted in the change feed before the journal
//! gives it up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use crate::document::Entry;
use crate::feed::{FeedId, Watchers};
use crate::journal::{SegmentId, cost};
use crate::store::Inner;
use crate::stuck::Stuck;

/// Most bytes and operations that one piece has.
const PIECE_BYTES: u64 = 8 * 1024 * 1024;
const PIECE_OPERATIONS: usize = 16 * 1024;
/// Pauses after the shelf refused.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A durable operation on its way.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Whose it is.
    pub(crate) entry: Arc<Entry>,
    pub(crate) operation: Operation,
    /// Which segment has it.
    pub(crate) segment: SegmentId,
    /// Of the change that it is, since the opening of the store.
    pub(crate) number: u64,
}

/// A change otherwise than by an operation.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) id: DocumentId,
    /// Since the opening of the store.
    pub(crate) number: u64,
    /// The feed whose file says that it was intended, if one does.
    pub(crate) intended: Option<FeedId>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: u64,
    since: Option<Instant>,
    /// The last number that was given to a change.
    given: u64,
    /// Changes otherwise than by an operation, until the feed's file has them.
    touched: Vec<Touched>,
    /// How many came and how many went, ever.
    pushed: u64,
    taken: u64,
    /// How many must have gone before somebody who waits goes on.
    urgent_until: u64,
    closing: bool,
    ended: bool,
    failure: Option<String>,
}

/// What waits for the shelf.
#[derive(Debug, Default)]
pub(crate) struct Takeover {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    stuck: Mutex<Stuck>,
    pub(crate) watchers: Arc<Watchers>,
}

impl Takeover {
    /// A durable operation.
    pub(crate) fn push(&self, entry: Arc<Entry>, operation: Operation, segment: SegmentId) {
        let turn = self.watchers.turn();
        let told = (!turn.is_idle()).then(|| Arc::clone(&entry));
        let mut waiting = self.lock();
        let number = waiting.next_number();
        waiting.bytes += cost(&operation);
        waiting.pushed += 1;
        waiting.items.push_back(Item { entry, operation, segment, number });
        if waiting.since.is_none() {
            waiting.since = Some(Instant::now());
            self.changed.notify_all();
        } else if waiting.is_full() {
            self.changed.notify_all();
        }
        drop(waiting);
        told.iter().for_each(|entry| turn.tell(&entry.id, number));
    }

    /// A document changed, durably, otherwise than by an operation, as was intended in the file of this feed.
    pub(crate) fn touch(&self, id: &DocumentId, intended: Option<FeedId>) {
        let turn = self.watchers.turn();
        let mut waiting = self.lock();
        let number = waiting.next_number();
        waiting.touched.push(Touched { id: id.clone(), number, intended });
        drop(waiting);
        turn.tell(id, number);
    }

    /// Takes out what was touched at numbers up to this one.
    pub(crate) fn touched_up_to(&self, number: u64) -> Vec<Touched> {
        self.lock().touched.extract_if(.., |touched| touched.number <= number).collect()
    }

    /// The last number that was given, and every document that has a change which the feed's file may lack, once, at
    /// its latest number, in the order of these.
    pub(crate) fn on_the_way(&self) -> (u64, Vec<(DocumentId, u64)>) {
        let waiting = self.lock();
        let mut latest: HashMap<&DocumentId, u64> = HashMap::new();
        let items = waiting.items.iter().map(|item| (&item.entry.id, item.number));
        let touched = waiting.touched.iter().map(|touched| (&touched.id, touched.number));
        for (id, number) in items.chain(touched) {
            let known = latest.entry(id).or_default();
            *known = number.max(*known);
        }
        let mut changes: Vec<_> = latest.into_iter().map(|(id, number)| (id.clone(), number)).collect();
        changes.sort_unstable_by_key(|(_, number)| *number);
        (waiting.given, changes)
    }

    /// Bytes of memory that operations hold which wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Why the shelf refuses what waits, if it does.
    pub(crate) fn failing(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Waits until everything pushed before is on the shelf, but for what is stuck.
    pub(crate) fn flush(&self) -> Result<(), String> {
        let mut waiting = self.lock();
        let until = waiting.pushed;
        waiting.urgent_until = until;
        waiting.failure = None;
        self.changed.notify_all();
        while waiting.taken < until && waiting.failure.is_none() && !waiting.ended {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = waiting.failure.clone() {
            return Err(failure);
        }
        if waiting.taken < until {
            return Err("the takeover has ended".to_owned());
        }
        Ok(())
    }

    /// Why some operations are not on the shelf although they were taken, if any are not.
    pub(crate) fn first_stuck(&self) -> Option<String> {
        self.stuck().first_reason()
    }

    /// Takes what waits and ends the thread.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// The takeover thread.
    pub(crate) fn run(&self, inner: &Inner, patience: Duration) {
        let _ended = Ended(self);
        let mut pause = PAUSE_MIN;
        while let Some(piece) = self.next(patience) {
            match self.take(inner, &piece).and_then(|()| self.note(inner, &piece)) {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    self.reclaim(inner, &piece);
                    self.taken(&piece);
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

    /// Notes what was taken in the change feed.
    fn note(&self, inner: &Inner, piece: &[Item]) -> Result<(), String> {
        inner
            .feed
            .note(self, piece)
            .map_err(|error| format!("the list of changed documents cannot be removed: {error}"))
    }

    /// The next piece, still at the front of the queue; none at the end.
    pub(crate) fn next(&self, patience: Duration) -> Option<Vec<Item>> {
        let mut waiting = self.lock();
        loop {
            if waiting.items.is_empty() {
                waiting.since = None;
                if waiting.closing {
                    return None;
                }
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let age = waiting.since.map(|since| since.elapsed()).unwrap_or_default();
            let urgent = waiting.closing || waiting.taken < waiting.urgent_until;
            if urgent || waiting.is_full() || age >= patience {
                return Some(piece(&waiting.items));
            }
            let rest = patience.saturating_sub(age);
            waiting = self.changed.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Puts a piece on the shelf, but for documents that cannot take theirs.
    fn take(&self, inner: &Inner, piece: &[Item]) -> Result<(), String> {
        let operations: Vec<_> = piece.iter().map(|item| item.operation.clone()).collect();
        let stuck = inner.space.fill(&inner.shelves, &operations)?;
        let mut shelved: HashMap<*const Entry, (&Arc<Entry>, usize)> = HashMap::new();
        for item in piece {
            let entry = &item.entry;
            match stuck.get(&entry.id) {
                Some(error) => self.stuck().keep(item.clone(), error),
                None => shelved.entry(Arc::as_ptr(entry)).or_insert((entry, 0)).1 += 1,
            }
        }
        for (entry, count) in shelved.into_values() {
            entry.shelved(count);
            inner.compactor.consider(&entry.id);
            inner.forget_if_unused(entry);
        }
        Ok(())
    }

    /// What is on the shelf leaves the queue.
    pub(crate) fn taken(&self, piece: &[Item]) {
        let mut waiting = self.lock();
        waiting.items.drain(..piece.len());
        waiting.taken += piece.len() as u64;
        waiting.failure = None;
        let bytes: u64 = piece.iter().map(|item| cost(&item.operation)).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        waiting.since = (!waiting.items.is_empty()).then(Instant::now);
        self.changed.notify_all();
    }

    /// Gives back segments that hold nothing any more. If that fails they go the next time: the piece is taken.
    fn reclaim(&self, inner: &Inner, piece: &[Item]) {
        let Some(Item { segment, .. }) = piece.last() else { return };
        let mut stuck = self.stuck();
        let below = stuck.first_segment().map_or(*segment, |held| held.min(*segment));
        if let Err(error) = inner.journal.reclaim_below(below) {
            tracing::warn!(%error, "a journal segment that is not needed any more could not be removed");
        }
        // Behind that, because it may have made the room that this needs.
        if inner.journal.stalled().is_none() {
            stuck.carry_forward(&inner.journal, *segment);
        }
    }

    /// Notes the failure, waits; true if the thread is to end.
    fn refused(&self, reason: String, pause: Duration) -> bool {
        let mut waiting = self.lock();
        waiting.failure = Some(reason);
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

    fn stuck(&self) -> MutexGuard<'_, Stuck> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next_number(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn is_full(&self) -> bool {
        self.bytes >= PIECE_BYTES || self.items.len() >= PIECE_OPERATIONS
    }
}

/// However the thread ends, nobody waits for it for ever.
struct Ended<'a>(&'a Takeover);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the takeover panicked; the journal keeps everything until the next start");
        }
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

fn piece(items: &VecDeque<Item>) -> Vec<Item> {
    let mut bytes = 0;
    let fits = |item: &&Item| {
        bytes += cost(&item.operation);
        bytes <= PIECE_BYTES
    };
    let mut piece: Vec<_> = items.iter().take(PIECE_OPERATIONS).take_while(fits).cloned().collect();
    if piece.is_empty() {
        piece.extend(items.front().cloned()); // One that is larger than a piece.
    }
    piece
}
