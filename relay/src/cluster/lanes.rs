//! What is large and goes to one peer: a little at a time, so that no backplane breaks under it.
//!
//! A peer may ask about many documents at once, each as large as documents get, and what waits for it or for the link
//! to other machines is bounded: beyond, all begin anew, and ask again. So while much waits nothing more is read for a
//! peer, and large answers wait here.
//!
//! Guarantees: what waits here is a few answers for each peer with the archive here, and what members answered before
//! they were read no more; each read and each answer has its turn once the way is free, also if that breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::PeerMessage;

use crate::room::PeerRead;

/// Most documents that are being read for one peer.
const READING_MAX: usize = 4;
/// Smaller answers go at once.
const LARGE: usize = 64 * 1024;
/// Time between two looks at whether the way is free.
const BREATH: Duration = Duration::from_millis(5);

/// What goes to one peer.
#[derive(Default)]
struct Lane {
    /// Documents that are being read.
    reading: usize,
    reads: VecDeque<PeerRead>,
    answers: VecDeque<(DocumentId, PeerMessage)>,
}

impl Lane {
    fn waits(&self) -> bool {
        !self.answers.is_empty() || (!self.reads.is_empty() && self.reading < READING_MAX)
    }

    fn is_done(&self) -> bool {
        self.reading == 0 && self.reads.is_empty() && self.answers.is_empty()
    }
}

/// What goes to each peer.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Mutex<BTreeMap<PeerId, Lane>>,
    news: Notify,
}

/// What has its turn.
pub(super) enum Next {
    Answer(DocumentId, PeerMessage),
    Read(PeerRead, Turn),
}

/// A document that is being read for a peer, until this is dropped.
pub(crate) struct Turn {
    lanes: Weak<Lanes>,
    peer: PeerId,
}

impl Lanes {
    /// Puts a question of a peer at the end of its lane.
    pub(super) fn read(&self, peer: PeerId, read: PeerRead) {
        self.lock().entry(peer).or_default().reads.push_back(read);
        self.news.notify_one();
    }

    /// Keeps a large answer if the way is not free or others wait already; else gives it back.
    pub(super) fn keep(
        &self,
        (document, peer): (&DocumentId, PeerId),
        message: PeerMessage,
        is_free: impl FnOnce() -> bool,
    ) -> Option<PeerMessage> {
        if !is_large(&message) {
            return Some(message);
        }
        // Not under the lock of the lanes.
        let is_free = is_free();
        let mut lanes = self.lock();
        if is_free && lanes.get(&peer).is_none_or(|lane| lane.answers.is_empty()) {
            return Some(message);
        }
        lanes.entry(peer).or_default().answers.push_back((document.clone(), message));
        drop(lanes);
        self.news.notify_one();
        None
    }

    /// Whose turn it is, as far as the way to them is free.
    pub(super) fn next(self: &Arc<Self>, is_free: impl Fn(PeerId) -> bool) -> Option<(PeerId, Next)> {
        let waiting: Vec<_> =
            self.lock().iter().filter(|(_, lane)| lane.waits()).map(|(peer, _)| *peer).collect();
        let peer = waiting.into_iter().find(|peer| is_free(*peer))?;
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&peer)?;
        if let Some((document, answer)) = lane.answers.pop_front() {
            let is_done = lane.is_done();
            if is_done {
                lanes.remove(&peer);
            }
            return Some((peer, Next::Answer(document, answer)));
        }
        if lane.reading >= READING_MAX {
            return None;
        }
        let read = lane.reads.pop_front()?;
        lane.reading += 1;
        Some((peer, Next::Read(read, Turn { lanes: Arc::downgrade(self), peer })))
    }

    /// Completes when it may be somebody's turn.
    pub(super) async fn due(&self) {
        let waits = self.lock().values().any(Lane::waits);
        tokio::select! {
            () = self.news.notified() => {}
            () = tokio::time::sleep(BREATH), if waits => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Lane>> {
        // Each change is whole before anything can panic.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lanes) = self.lanes.upgrade() else { return };
        let mut all = lanes.lock();
        if let Some(lane) = all.get_mut(&self.peer) {
            lane.reading = lane.reading.saturating_sub(1);
            if lane.is_done() {
                all.remove(&self.peer);
            }
        }
        drop(all);
        lanes.news.notify_one();
    }
}

fn is_large(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Answer { .. }) && message.update_bytes() >= LARGE
}
