//! Topics of y-webrtc signaling: who subscribed what. No topic outlives its last subscriber.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tombolo_core::dialect::y_webrtc::Publication;

use crate::connection::frame;
use crate::connection::queue::Queue;

/// All topics of a relay.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    next: AtomicU64,
    topics: Mutex<HashMap<String, BTreeMap<u64, Arc<Queue>>>>,
}

/// One connection's subscriptions; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Subscriber {
    topics: Arc<Topics>,
    id: u64,
    queue: Arc<Queue>,
    subscribed: BTreeSet<String>,
}

impl Topics {
    pub(crate) fn subscriber(self: &Arc<Self>, queue: &Arc<Queue>) -> Subscriber {
        Subscriber {
            topics: Arc::clone(self),
            id: self.next.fetch_add(1, Ordering::Relaxed),
            queue: Arc::clone(queue),
            subscribed: BTreeSet::new(),
        }
    }

    /// Tells all subscribers.
    pub(crate) fn publish(&self, publication: Publication) {
        let subscribers: Vec<_> = match self.lock().get(publication.topic()) {
            Some(subscribers) => subscribers.values().cloned().collect(),
            None => return,
        };
        // Outside the lock that all topics share.
        let frame = frame::text(&publication.for_subscribers(subscribers.len()));
        for subscriber in subscribers {
            subscriber.forward(frame.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<u64, Arc<Queue>>>> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// Hears a topic from now on; false if it hears `topics_max` others already.
    pub(crate) fn subscribe(&mut self, topic: String, topics_max: usize) -> bool {
        if self.subscribed.contains(&topic) {
            return true;
        }
        if self.subscribed.len() >= topics_max {
            return false;
        }
        self.topics.lock().entry(topic.clone()).or_default().insert(self.id, Arc::clone(&self.queue));
        self.subscribed.insert(topic);
        true
    }

    /// Hears it no more.
    pub(crate) fn unsubscribe(&mut self, topic: &str) {
        if self.subscribed.remove(topic) {
            self.leave(topic);
        }
    }

    fn leave(&self, topic: &str) {
        let mut topics = self.topics.lock();
        if let Some(subscribers) = topics.get_mut(topic) {
            subscribers.remove(&self.id);
            if subscribers.is_empty() {
                topics.remove(topic);
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        for topic in &std::mem::take(&mut self.subscribed) {
            self.leave(topic);
        }
    }
}
