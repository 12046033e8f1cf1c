//! When what a link learned is written down: a little later, and by another thread, because a disk that stands still
//! must stop no link.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tombolo_core::id::{Incarnation, ReplicaId};
use tombolo_store::{Checkpoint, FeedId};

use super::memory::Memory;

/// How long something new waits for more, so that a busy link does not write all the time.
const WAIT: Duration = Duration::from_secs(1);

/// What a link knows, and where that lies.
pub(super) struct Knowledge {
    path: PathBuf,
    memory: Option<Memory>,
    /// This replica's feed, which positions are of.
    feed: FeedId,
    /// Since when there is something new.
    news: Option<Instant>,
    /// Who writes now.
    writing: Option<JoinHandle<()>>,
}

impl Knowledge {
    /// `memory` is of the feed that is here now.
    pub(super) fn new(path: PathBuf, memory: Option<Memory>, feed: FeedId) -> Self {
        Self { path, memory, feed, news: None, writing: None }
    }

    /// Since when this replica's changes may be lacking there.
    pub(super) fn since(&self) -> Option<Checkpoint> {
        self.memory.as_ref()?.acknowledged
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
        if self.memory.as_ref().is_some_and(|memory| memory.keeper != keeper) {
            self.memory = None;
        }
        self.memory.get_or_insert_with(|| Memory { keeper, acknowledged: None, reached: Vec::new() })
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
        let Some(memory) = self.memory.clone() else { return };
        let path = self.path.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = memory.save(&path) {
                // It costs a comparison at the next start.
                tracing::warn!(path = %path.display(), %error, "what a link knows was not written down");
            }
        }));
    }
}
