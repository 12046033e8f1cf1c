//! Who follows the changes of the store: first what it missed, then what comes, with nothing in between.
//!
//! Guarantees: the store waits for nobody who follows; what changes faster than it is told is told once, at its latest
//! state; a follower costs memory for what changed since it was last told, each document once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tombolo_core::id::DocumentId;
use tombolo_relay::member::{Changed, FeedPort, Follows};
use tombolo_store::{Checkpoint, Store, StoreError};

use super::state::Common;

/// Documents told at once.
const PAGE: usize = 1_000;

/// What changed and was not told yet.
#[derive(Default)]
struct News {
    documents: Mutex<BTreeMap<DocumentId, u64>>,
    /// Asked to be told when all of it was.
    mark: Mutex<Option<u64>>,
    came: Notify,
}

impl News {
    /// What came, all of it that came before what is asked for.
    fn take(&self) -> (BTreeMap<DocumentId, u64>, Option<u64>) {
        let mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner).take();
        (std::mem::take(&mut self.documents.lock().unwrap_or_else(PoisonError::into_inner)), mark)
    }
}

/// Somebody who follows; dropping it ends that.
pub(super) struct Following {
    news: Arc<News>,
    task: tokio::task::JoinHandle<()>,
}

impl Follows for Following {
    fn mark(&self, token: u64) {
        *self.news.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.news.came.notify_one();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to tell `port`, on the archive's runtime.
pub(super) fn start(common: &Arc<Common>, since: &[u8], port: Arc<dyn FeedPort>) -> Following {
    let (store, since) = (common.store.clone(), Checkpoint::from_bytes(since));
    let news = Arc::new(News::default());
    let heard = Arc::clone(&news);
    let task = common.runtime.spawn(async move {
        if let Err(error) = follow(store, heard, since, port).await {
            tracing::error!(%error, "changes cannot be followed");
        }
    });
    Following { news, task }
}

async fn follow(
    store: Store,
    news: Arc<News>,
    since: Option<Checkpoint>,
    port: Arc<dyn FeedPort>,
) -> Result<(), StoreError> {
    let heard = Arc::clone(&news);
    let watching = store.clone();
    let watched = blocking(move || {
        watching.watch_changes(Box::new(move |document, number| {
            let mut documents = heard.documents.lock().unwrap_or_else(PoisonError::into_inner);
            documents.insert(document.clone(), number);
            drop(documents);
            heard.came.notify_one();
        }))
    });
    let Some(watch) = watched.await else { return Ok(()) };
    let _watch = watch?;
    let Some(mut at) = catch_up(store, since, &port).await? else { return Ok(()) };
    loop {
        news.came.notified().await;
        let (came, mark) = news.take();
        let number = came.values().copied().max().unwrap_or_default().max(at.number);
        // What was told while it caught up.
        let documents: Vec<_> = came
            .into_iter()
            .filter(|(_, number)| *number > at.number)
            .map(|(document, _)| document)
            .collect();
        at = Checkpoint { feed: at.feed, number };
        if !documents.is_empty() && !port.changed(changed(false, false, &at, documents)) {
            return Ok(());
        }
        if mark.is_some_and(|token| !port.marked(token)) {
            return Ok(());
        }
    }
}

/// Tells what was missed; up to where, or nothing if nobody listens any more.
async fn catch_up(
    store: Store,
    since: Option<Checkpoint>,
    port: &Arc<dyn FeedPort>,
) -> Result<Option<Checkpoint>, StoreError> {
    let mut since = since;
    loop {
        let (asked, at) = (store.clone(), since);
        let Some(page) = blocking(move || asked.changes(at.as_ref(), PAGE)).await else { return Ok(None) };
        let page = page?;
        let documents = page.documents.into_iter().map(|(document, _)| document).collect();
        if !port.changed(changed(page.anew, page.more, &page.up_to, documents)) {
            return Ok(None);
        }
        if !page.more {
            return Ok(Some(page.up_to));
        }
        since = Some(page.up_to);
    }
}

fn changed(anew: bool, more: bool, until: &Checkpoint, documents: Vec<DocumentId>) -> Changed {
    Changed { anew, more, until: Bytes::copy_from_slice(&until.to_bytes()), documents }
}

/// None if the runtime ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
