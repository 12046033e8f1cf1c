//! Which changes of a replica are durable, told to all links in the order of their positions.
//!
//! A position is the change's number in the store's feed. Whoever appends has the bytes, the feed has the number; both
//! are told on the journal's thread, the number first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tombolo_core::id::DocumentId;
use tombolo_core::schedule::Priority;
use tombolo_core::validate::AwarenessUpdate;
use tombolo_store::{ChangeWatch, Store, StoreError};

use super::LinkId;
use crate::replica::changes::Origin;
use crate::replica::presence::Presences;

/// A change that is durable.
#[derive(Clone, Debug)]
pub(in crate::replica) struct News {
    pub(in crate::replica) document: DocumentId,
    pub(in crate::replica) position: u64,
    pub(in crate::replica) update: Bytes,
    /// The link that brought it.
    pub(in crate::replica) via: Option<LinkId>,
    /// How urgent it is, if not as its document.
    pub(in crate::replica) priority: Option<Priority>,
}

/// What a link hears.
#[derive(Debug)]
pub(in crate::replica) enum Heard {
    /// A change.
    News(News),
    /// Everything before was heard; say so.
    Flush(oneshot::Sender<()>),
    /// Everything up to this position was heard.
    Mark(u64),
    /// This is shown in a document from now on.
    Presence(DocumentId, AwarenessUpdate),
    /// Somebody looks at the presence of a document from now on, or nobody any more.
    Watch(DocumentId, bool),
}

#[derive(Default)]
struct State {
    links: Vec<(LinkId, UnboundedSender<Heard>)>,
    /// While there are links.
    watch: Option<ChangeWatch>,
}

/// All links of a replica hear of changes through it.
#[derive(Default)]
pub(in crate::replica) struct Hub {
    latest: Arc<AtomicU64>,
    /// Of the last change that everybody who listens was told of.
    told: AtomicU64,
    state: Mutex<State>,
    pub(in crate::replica) presences: Presences,
}

impl Hub {
    /// Position of the last change; 0 before a link was there.
    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Changes up to this position were there before anybody listened.
    pub(in crate::replica) fn begin_at(&self, position: u64) {
        self.latest.fetch_max(position, Ordering::AcqRel);
        self.told.fetch_max(position, Ordering::AcqRel);
    }

    /// Position of the last change that was told to all; others may be durable, and are told next.
    pub(in crate::replica) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// A link hears of changes from now on. Blocking.
    pub(in crate::replica) fn join(
        &self,
        link: LinkId,
        news: UnboundedSender<Heard>,
        store: &Store,
    ) -> Result<(), StoreError> {
        // Without the lock: it may read much, and who edits waits for nobody.
        if self.lock().watch.is_none() {
            let latest = Arc::clone(&self.latest);
            let heard = move |_: &DocumentId, number| {
                latest.fetch_max(number, Ordering::AcqRel);
            };
            let watch = store.watch_changes(Box::new(heard))?;
            // Two who come first at once both watch, which tells no number twice.
            self.lock().watch.get_or_insert(watch);
        }
        let mut state = self.lock();
        state.links.push((link, news));
        Ok(())
    }

    /// Lets every link know that it has heard of all that is durable now; gives the position that it is told.
    pub(super) fn mark(&self) -> u64 {
        let state = self.lock();
        let told = self.told();
        for (_, news) in &state.links {
            let _ = news.send(Heard::Mark(told));
        }
        told
    }

    pub(in crate::replica) fn leave(&self, link: LinkId) {
        self.lock().links.retain(|(id, _)| *id != link);
        self.presences.lost(link);
    }

    /// Says over all links what is shown in a document.
    pub(in crate::replica) fn show(&self, document: &DocumentId, update: &AwarenessUpdate) {
        for (_, news) in &self.lock().links {
            let _ = news.send(Heard::Presence(document.clone(), update.clone()));
        }
    }

    /// Lets every link keep a document open for its presence, or not any more.
    pub(in crate::replica) fn watch(&self, document: &DocumentId, watched: bool) {
        for (_, news) in &self.lock().links {
            let _ = news.send(Heard::Watch(document.clone(), watched));
        }
    }

    /// A change is durable. Called on the journal's thread, in order, and quick.
    pub(in crate::replica) fn changed(
        &self,
        document: &DocumentId,
        update: &Bytes,
        origin: Origin,
        priority: Option<Priority>,
    ) {
        let via = if let Origin::Link(link) = origin { Some(link) } else { None };
        let state = self.lock();
        for (_, news) in &state.links {
            let (document, update) = (document.clone(), update.clone());
            // A link that is ending hears no more.
            let _ = news.send(Heard::News(News { document, position: self.latest(), update, via, priority }));
        }
        self.told.fetch_max(self.latest(), Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Single pushes and removals, so a poisoned list is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
