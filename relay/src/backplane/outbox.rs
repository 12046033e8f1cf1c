//! What waits for the link to other machines: in order, bounded in bytes. One that does not keep up is cut, and then
//! nothing is missed silently.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tombolo_core::cluster::To;

/// What an entry costs besides its message.
const ENTRY_COST: usize = 64;
/// What is taken in one go: what was taken waits as well, but nobody knows.
const TAKEN_BYTES: usize = 1024 * 1024;

/// Something for the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outward {
    /// Say this there.
    Say(To, Bytes),
    /// Somebody here hears this from now on.
    Listen(To),
    /// Nobody here does any more.
    Unlisten(To),
    /// These were the last words.
    End,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Outward>,
    bytes: usize,
    has_overflowed: bool,
}

impl Waiting {
    fn take(&mut self) -> VecDeque<Outward> {
        let (mut taken, mut bytes) = (VecDeque::new(), 0);
        while bytes < TAKEN_BYTES
            && let Some(entry) = self.entries.pop_front()
        {
            bytes += cost(&entry);
            taken.push_back(entry);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        taken
    }
}

fn cost(entry: &Outward) -> usize {
    ENTRY_COST + if let Outward::Say(_, message) = entry { message.len() } else { 0 }
}

/// What waits for one link.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    overflow: Notify,
    bytes_max: usize,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), news: Notify::new(), overflow: Notify::new(), bytes_max })
    }

    pub(super) fn push(&self, entry: Outward) {
        let mut waiting = self.lock();
        if waiting.has_overflowed {
            return;
        }
        waiting.bytes += cost(&entry);
        if waiting.bytes > self.bytes_max {
            *waiting = Waiting { has_overflowed: true, ..Waiting::default() };
            // Who writes may be waiting for the network.
            self.overflow.notify_one();
        } else {
            waiting.entries.push_back(entry);
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits for something and takes a good deal of what waits. For the one who writes; nothing is lost if it stops waiting.
    pub(super) async fn take(&self) -> VecDeque<Outward> {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.entries.is_empty() {
                    return waiting.take();
                }
            }
            self.news.notified().await;
        }
    }

    /// Completes when something had to be left out: then it is of no use any more.
    pub(super) async fn overflow(&self) {
        while !self.lock().has_overflowed {
            self.overflow.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is whole before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_taken_in_order_and_too_much_is_said() {
        let outbox = Outbox::new(1000);
        let say = |len: usize| Outward::Say(To::Everybody, vec![0; len].into());
        outbox.push(say(1));
        outbox.push(Outward::End);
        assert_eq!(outbox.take().await, [say(1), Outward::End]);
        outbox.push(say(900));
        assert_eq!(outbox.take().await, [say(900)], "what was taken waits no more");
        outbox.push(say(900));
        assert!(is_idle(outbox.overflow()).await);
        outbox.push(say(900));
        outbox.overflow().await;
        outbox.push(say(1));
        outbox.overflow().await;
        assert!(is_idle(outbox.take()).await, "nothing comes behind what was left out");
    }

    #[tokio::test]
    async fn what_is_not_taken_yet_waits_still() {
        let outbox = Outbox::new(100 << 20);
        let say = |len: usize| Outward::Say(To::Everybody, vec![0; len].into());
        (0..8).for_each(|_| outbox.push(say(400 * 1024)));
        assert_eq!(outbox.bytes(), 8 * (400 * 1024 + ENTRY_COST));
        assert_eq!(outbox.take().await.len(), 3);
        assert_eq!(outbox.bytes(), 5 * (400 * 1024 + ENTRY_COST));
        assert_eq!(outbox.take().await.len() + outbox.take().await.len(), 5);
        assert_eq!(outbox.bytes(), 0);
    }

    async fn is_idle(waiting: impl Future) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, waiting).await.is_err()
    }
}
