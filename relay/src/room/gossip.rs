//! Ephemeral messages of automerge-repo: to everybody else who has the document open, under the author's name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::Message;
use tombolo_core::id::DocumentId;

use crate::connection::frame;
use crate::connection::queue::Queue;

type Listeners = BTreeMap<u64, (Arc<Queue>, Arc<str>)>;

/// Who listens to which document.
#[derive(Debug, Default)]
pub(crate) struct Gossip {
    next: AtomicU64,
    documents: Mutex<HashMap<DocumentId, Listeners>>,
}

/// One connection's ear; dropping it stops listening.
#[derive(Debug)]
pub(crate) struct Listener {
    gossip: Arc<Gossip>,
    id: u64,
    queue: Arc<Queue>,
    client: Arc<str>,
    heard: Mutex<BTreeSet<DocumentId>>,
}

impl Gossip {
    pub(crate) fn listener(self: &Arc<Self>, queue: &Arc<Queue>, client: &Arc<str>) -> Listener {
        Listener {
            gossip: Arc::clone(self),
            id: self.next.fetch_add(1, Ordering::Relaxed),
            queue: Arc::clone(queue),
            client: Arc::clone(client),
            heard: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Listeners>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Listens to a document from now on; false if it listens to `documents_max` others already.
    pub(crate) fn hear(&self, document: &DocumentId, documents_max: usize) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.contains(document) {
            return true;
        }
        if heard.len() >= documents_max {
            return false;
        }
        heard.insert(document.clone());
        let listener = (Arc::clone(&self.queue), Arc::clone(&self.client));
        self.gossip.lock().entry(document.clone()).or_default().insert(self.id, listener);
        true
    }

    /// Says something to all others; the receiver's name is rewritten, the author's never.
    pub(crate) fn say(&self, document: &DocumentId, count: u64, session: &str, data: &Bytes) {
        // Framed outside the lock that all documents share.
        let others: Vec<_> = match self.gossip.lock().get(document) {
            Some(listeners) => {
                listeners.iter().filter(|(id, _)| **id != self.id).map(|(_, other)| other.clone()).collect()
            }
            None => return,
        };
        for (queue, client) in others {
            let message = Message::Ephemeral {
                sender: self.client.to_string(),
                target: client.to_string(),
                document: document.clone(),
                count,
                session: session.to_owned(),
                data: data.clone(),
            };
            queue.forward(frame::binary(&[&message.encode()]));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let heard = std::mem::take(self.heard.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut documents = self.gossip.lock();
        for document in heard {
            if let Some(listeners) = documents.get_mut(&document) {
                listeners.remove(&self.id);
                if listeners.is_empty() {
                    documents.remove(&document);
                }
            }
        }
    }
}
