//! What changes here, handed to rooms and then told to those who follow.
//!
//! Guarantees: what a follower is told of a Yjs document that is open was handed to its room before; what it missed comes
//! first, and nothing is left out in between.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};
use tombolo_core::id::DocumentId;
use tombolo_core::update::Update;
use tombolo_relay::member::{Changed, FeedPort, Follows};
use tombolo_store::{Checkpoint, FeedId};

use super::archive::{Room, Seats, lock};
use super::pairs::Pairs;
use crate::replica::link::{Heard, Hub, LinkId, News, Shelves};

/// Documents told at once.
const PAGE: usize = 1_000;

/// Who follows.
pub(super) struct Followers {
    feed: FeedId,
    news: UnboundedSender<Heard>,
    next: AtomicU64,
    list: Mutex<Vec<(u64, Weak<Follower>)>>,
}

#[derive(Default)]
struct Follower {
    documents: Mutex<BTreeMap<DocumentId, u64>>,
    /// Asked to be told when all of it was.
    mark: Mutex<Option<u64>>,
    came: Notify,
}

impl Followers {
    pub(super) fn new(feed: FeedId, news: UnboundedSender<Heard>) -> Self {
        Self { feed, news, next: AtomicU64::new(0), list: Mutex::default() }
    }

    fn join(&self) -> Arc<Follower> {
        let follower = Arc::new(Follower::default());
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(_, follower)| follower.strong_count() > 0);
        list.push((self.next.fetch_add(1, Ordering::Relaxed), Arc::downgrade(&follower)));
        follower
    }

    fn tell(&self, news: &News) {
        for (_, follower) in self.list.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Some(follower) = follower.upgrade() else { continue };
            let mut documents = follower.documents.lock().unwrap_or_else(PoisonError::into_inner);
            documents.insert(news.document.clone(), news.position);
            drop(documents);
            follower.came.notify_one();
        }
    }

    /// When this is done, everything that changed before it was begun was handed to rooms.
    async fn flush(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.news.send(Heard::Flush(sender)).is_ok() && receiver.await.is_ok()
    }
}

/// Who has documents open here.
pub(super) struct Rooms {
    /// What they bring comes by this.
    pub(super) link: LinkId,
    pub(super) hub: Arc<Hub>,
    pub(super) seats: Arc<Seats>,
    pub(super) pairs: Weak<Pairs>,
}

impl Rooms {
    fn room(&self, document: &DocumentId) -> Option<Arc<Room>> {
        lock(&self.seats).get(document).and_then(Weak::upgrade)
    }

    fn tell(&self, news: &News) {
        // To those who brought it, too: the others hear it from nobody else.
        if let Some(pairs) = self.pairs.upgrade() {
            pairs.changed(&news.document);
        }
        // What a room brought it has.
        if news.via == Some(self.link) {
            return;
        }
        if let (Some(room), Ok(update)) = (self.room(&news.document), Update::parse(news.update.clone())) {
            room.port.released(update);
        }
    }
}

/// Hands what changes to those who have it open, and then tells who follows. Ends with the listening.
pub(super) async fn hear(mut heard: UnboundedReceiver<Heard>, rooms: Rooms, followers: Arc<Followers>) {
    let followers = Arc::downgrade(&followers);
    while let Some(heard) = heard.recv().await {
        let news = match heard {
            Heard::News(news) => news,
            Heard::Mark(_) | Heard::Watch(_, false) => continue,
            Heard::Presence(document, update) => {
                if let Some(room) = rooms.room(&document) {
                    room.port.show(update);
                }
                continue;
            }
            Heard::Watch(document, true) => {
                if let Some(present) = rooms.room(&document).and_then(|room| room.port.present()) {
                    rooms.hub.presences.heard(rooms.link, &document, present);
                }
                continue;
            }
            Heard::Flush(done) => {
                // Whoever waited for it may be gone.
                let _ = done.send(());
                continue;
            }
        };
        let Some(followers) = followers.upgrade() else { return };
        rooms.tell(&news);
        followers.tell(&news);
    }
}

/// Somebody who follows; dropping it ends that.
pub(super) struct Following {
    follower: Arc<Follower>,
    task: tokio::task::JoinHandle<()>,
}

impl Follows for Following {
    fn mark(&self, token: u64) {
        *self.follower.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.follower.came.notify_one();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to tell `port`.
pub(super) fn start(
    runtime: &Handle,
    shelves: Shelves,
    followers: Arc<Followers>,
    since: &[u8],
    port: Arc<dyn FeedPort>,
) -> Following {
    let since = Checkpoint::from_bytes(since);
    let follower = followers.join();
    let joined = Arc::clone(&follower);
    let task = runtime.spawn(async move { follow(shelves, &followers, &joined, since, &port).await });
    Following { follower, task }
}

async fn follow(
    shelves: Shelves,
    followers: &Followers,
    follower: &Follower,
    since: Option<Checkpoint>,
    port: &Arc<dyn FeedPort>,
) {
    let Some(mut at) = catch_up(&shelves, followers, since, port).await else { return };
    loop {
        follower.came.notified().await;
        let mark = follower.mark.lock().unwrap_or_else(PoisonError::into_inner).take();
        if mark.is_some() && !followers.flush().await {
            return;
        }
        let came = std::mem::take(&mut *follower.documents.lock().unwrap_or_else(PoisonError::into_inner));
        let number = came.values().copied().max().unwrap_or_default().max(at.number);
        let news = came.into_iter().filter(|(_, number)| *number > at.number);
        let documents: Vec<_> = news.map(|(document, _)| document).collect();
        at.number = number;
        if !documents.is_empty() && !port.changed(changed(false, false, &at, documents)) {
            return;
        }
        if mark.is_some_and(|token| !port.marked(token)) {
            return;
        }
    }
}

/// Tells what was missed; up to where, or nothing if nobody listens any more.
async fn catch_up(
    shelves: &Shelves,
    followers: &Followers,
    since: Option<Checkpoint>,
    port: &Arc<dyn FeedPort>,
) -> Option<Checkpoint> {
    let mut since = since;
    loop {
        let (store, at) = (shelves.store.clone(), since);
        let page = tokio::task::spawn_blocking(move || store.changes(at.as_ref(), PAGE)).await.ok()?;
        let page = page.inspect_err(|error| tracing::error!(%error, "changes cannot be followed")).ok()?;
        // What is durable and not handed out yet is told with what comes.
        let number = page.up_to.number.min(shelves.hub.told());
        if !followers.flush().await {
            return None;
        }
        let until = Checkpoint { feed: followers.feed, number };
        let known = page.documents.into_iter().filter(|(_, position)| *position <= number);
        let documents = known.map(|(document, _)| document).collect();
        if !port.changed(changed(page.anew, page.more, &until, documents)) {
            return None;
        }
        if !page.more {
            return Some(until);
        }
        since = Some(page.up_to);
    }
}

fn changed(anew: bool, more: bool, until: &Checkpoint, documents: Vec<DocumentId>) -> Changed {
    Changed { anew, more, until: Bytes::copy_from_slice(&until.to_bytes()), documents }
}
