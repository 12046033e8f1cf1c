//! When what a link learned is written down: a little later, and by another thread, because a disk that stands still
//! must stop no link.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::session::Dropped;
use tombolo_store::{Checkpoint, FeedId};

use super::memory::Memory;

/// How long something new waits for more, so that a busy link does not write all the time.
const WAIT: Duration = Duration::from_secs(1);
/// How old what is written of when the link was in sync may become while it is.
const SYNCED_WAIT: Duration = Duration::from_secs(600);

/// What a link knows, and where that lies.
pub(super) struct Knowledge {
    path: PathBuf,
    memory: Option<Memory>,
    /// When the link was in sync last, with whomever; and as it is written.
    synced: Option<SystemTime>,
    written: Option<SystemTime>,
    /// This replica's feed, which positions are of.
    feed: FeedId,
    /// Since when there is something new.
    news: Option<Instant>,
    /// Who writes now.
    writing: Option<JoinHandle<()>>,
}

impl Knowledge {
    /// `memory` is of the feed that is here now.
    pub(super) fn new(
        path: PathBuf,
        memory: Option<Memory>,
        synced: Option<SystemTime>,
        feed: FeedId,
    ) -> Self {
        Self { path, memory, synced, written: synced, feed, news: None, writing: None }
    }

    /// When the link was in sync last.
    pub(super) fn synced(&self) -> Option<SystemTime> {
        self.synced
    }

    /// It is in sync.
    pub(super) fn is_synced(&mut self, now: SystemTime) {
        self.synced = Some(now);
        let age = self.written.map(|written| now.duration_since(written));
        // Also when the clock was set back.
        if !age.is_some_and(|age| age.is_ok_and(|age| age < SYNCED_WAIT)) {
            self.parted();
        }
    }

    /// The connection is gone: what is written of when it was in sync becomes true.
    pub(super) fn parted(&mut self) {
        if self.synced != self.written {
            self.news.get_or_insert_with(Instant::now);
        }
    }

    /// Since when this replica's changes may be lacking there.
    pub(super) fn since(&self) -> Option<Checkpoint> {
        self.memory.as_ref()?.acknowledged
    }

    /// Whose store it is about.
    pub(super) fn keeper(&self) -> Option<(ReplicaId, Incarnation)> {
        self.memory.as_ref()?.keeper
    }

    /// This is dropped from here on; of which keeper, if none is known yet. Written down at once, and then said.
    pub(super) fn dropped(
        &mut self,
        keeper: Option<(ReplicaId, Incarnation)>,
        document: &DocumentId,
        dropped: Dropped,
        done: SyncSender<bool>,
    ) {
        if let Some(keeper) = keeper.or(self.keeper()) {
            self.of(keeper).dropped.insert(document.clone(), dropped);
        }
        self.save();
        let before = self.writing.take();
        self.writing = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let _ = done.send(true);
        }));
    }

    /// This is not dropped any more.
    pub(super) fn taken_up(&mut self, document: &DocumentId) {
        if let Some(memory) = &mut self.memory
            && memory.dropped.remove(document).is_some()
        {
            self.news.get_or_insert_with(Instant::now);
        }
    }

    /// What was dropped and may have come there since.
    pub(super) fn all_dropped(&self) -> impl Iterator<Item = &DocumentId> {
        self.memory.iter().flat_map(|memory| memory.dropped.keys())
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.memory = None;
    }

    pub(super) fn acknowledged(&mut self, keeper: (ReplicaId, Incarnation), number: u64) {
        let feed = self.feed;
        self.of(keeper).acknowledged = Some(Checkpoint { feed, number });
    }

    pub(super) fn reached(&mut self, keeper: (ReplicaId, Incarnation), checkpoint: &Bytes) {
        self.of(keeper).reached = checkpoint.to_vec();
    }

    fn of(&mut self, keeper: (ReplicaId, Incarnation)) -> &mut Memory {
        self.news.get_or_insert_with(Instant::now);
        if self.memory.as_ref().is_some_and(|memory| memory.keeper != Some(keeper)) {
            self.memory = None;
        }
        self.memory.get_or_insert_with(|| Memory { keeper: Some(keeper), ..Memory::default() })
    }

    /// In how many ms something is to be written.
    pub(super) fn wait_ms(&self) -> Option<u64> {
        let left = WAIT.saturating_sub(self.news?.elapsed());
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn save_if_due(&mut self) {
        if self.wait_ms() != Some(0) {
            return;
        }
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            // What is newer is written behind it.
            self.news = Some(Instant::now());
            return;
        }
        self.save();
    }

    /// Writes down what is new, and waits for it.
    pub(super) async fn close(mut self) {
        let before = self.writing.take();
        if let Some(before) = before {
            // A panic in there is said by its thread.
            let _ = before.await;
        }
        self.save();
        if let Some(last) = self.writing.take() {
            let _ = last.await;
        }
    }

    fn save(&mut self) {
        if self.news.take().is_none() {
            return;
        }
        self.written = self.synced;
        // A relay keeps nothing, and so nothing but the time is known of it.
        let memory = Memory { synced: self.synced, ..self.memory.clone().unwrap_or_default() };
        let path = self.path.clone();
        let before = self.writing.take();
        let write = move || {
            if let Err(error) = memory.save(&path) {
                // It costs a comparison at the next start.
                tracing::warn!(path = %path.display(), %error, "what a link knows was not written down");
            }
        };
        self.writing = Some(tokio::spawn(async move {
            // What is newer is written behind it. A panic in there is said by its thread.
            if let Some(before) = before {
                let _ = before.await;
            }
            let _ = tokio::task::spawn_blocking(write).await;
        }));
    }
}
