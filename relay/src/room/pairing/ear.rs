//! What one automerge-repo connection is told, in its dialect, under the names of the peers that it knows here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata, RemoteHeads};
use tombolo_core::id::DocumentId;
use tombolo_core::pairs::{Slot, Subscriptions};

use crate::connection::frame;
use crate::connection::queue::Queue;
use crate::metrics::Metrics;

/// The one version of the protocol that exists.
pub(crate) const PROTOCOL_VERSION: &str = "1";

/// What a client calls its peers here.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    /// The archive.
    Archive(Arc<str>),
    /// Slots: this and their number. The same at whatever relay a client finds under this host, because it
    /// remembers all peers that it ever saw there; another at another host, where it may be at the same time.
    Slots(Arc<str>),
}

impl Names {
    /// The slots at a host, as clients write it.
    pub(crate) fn slots(host: &str) -> Self {
        Self::Slots(format!("tombolo-relay:{host}/").into())
    }

    fn of(&self, slot: Slot) -> String {
        match self {
            Self::Archive(name) => name.to_string(),
            Self::Slots(prefix) => format!("{prefix}{}", slot.0),
        }
    }

    /// The slot of a name, if it is one.
    pub(crate) fn slot(&self, name: &str) -> Option<Slot> {
        let slot = match self {
            Self::Archive(_) => Slot(0),
            Self::Slots(prefix) => Slot(name.strip_prefix(&**prefix)?.parse().ok()?),
        };
        Some(slot).filter(|slot| matches!(self, Self::Archive(_)) || self.of(*slot) == name)
    }
}

/// How something reaches a connection's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It asked for it itself.
    Itself,
    /// Others cause it.
    Others,
}

/// One connection's ear.
#[derive(Debug)]
pub(crate) struct Ear {
    queue: Arc<Queue>,
    pub(super) client: Arc<str>,
    /// The storage behind the client.
    pub(super) storage: Option<String>,
    names: Names,
    metrics: Arc<Metrics>,
    /// How many slots were introduced.
    introduced: Mutex<usize>,
    /// Whose heads it wants to hear.
    subscriptions: Mutex<Subscriptions>,
    /// Whose heads it was asked to report.
    asked: Mutex<Subscriptions>,
}

impl Ear {
    pub(crate) fn new(
        queue: &Arc<Queue>,
        client: &str,
        storage: Option<String>,
        names: Names,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue: Arc::clone(queue),
            client: client.into(),
            storage,
            names,
            metrics: Arc::clone(metrics),
            introduced: Mutex::new(1),
            subscriptions: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Introduces the first peer, of which alone a client notices that it went with the connection.
    pub(crate) fn greet(&self, storage: Option<String>) {
        let is_ephemeral = storage.is_none();
        self.introduce(Slot(0), PeerMetadata { storage_id: storage, is_ephemeral });
    }

    /// A sync message of the archive: what it has is durable, which is what its heads say to who subscribed to it.
    pub(crate) fn sync_of_archive(&self, document: &DocumentId, data: Bytes, storage: &str, at: u64) {
        let heads = self.wants(storage).then(|| tombolo_core::pairs::heads_of(&data));
        self.sync(document, Slot(0), data, Cause::Itself);
        if let Some(heads) = heads.filter(|heads| !heads.is_empty()) {
            self.heads(document, storage, &heads, at);
        }
    }

    pub(super) fn sync(&self, document: &DocumentId, slot: Slot, data: Bytes, cause: Cause) {
        self.introduce_up_to(slot);
        let (sender, target) = (self.names.of(slot), self.client.to_string());
        self.send(cause, &Message::Sync { sender, target, document: document.clone(), data });
    }

    /// The archive has not got a document.
    pub(crate) fn unavailable_at_archive(&self, document: &DocumentId) {
        self.unavailable(document, Slot(0), Cause::Itself);
    }

    pub(super) fn unavailable(&self, document: &DocumentId, slot: Slot, cause: Cause) {
        self.unknown_has_not(document, self.names.of(slot), cause);
    }

    /// A peer that is none of the slots was asked: a peer of before.
    pub(crate) fn stranger_has_not(&self, document: &DocumentId, sender: String) {
        self.unknown_has_not(document, sender, Cause::Itself);
    }

    fn unknown_has_not(&self, document: &DocumentId, sender: String, cause: Cause) {
        let target = self.client.to_string();
        self.send(cause, &Message::DocUnavailable { sender, target, document: document.clone() });
    }

    /// The archive cannot take what it sent: it is told why and closed.
    pub(crate) fn refuse(&self, code: u16, reason: &str) {
        self.send(Cause::Itself, &Message::Error { sender: None, target: None, message: reason.to_owned() });
        self.queue.close(code, reason);
    }

    pub(super) fn say(&self, document: &DocumentId, from: &Ear, count: u64, session: &str, data: Bytes) {
        let (sender, target) = (from.client.to_string(), self.client.to_string());
        let (document, session) = (document.clone(), session.to_owned());
        self.send(Cause::Others, &Message::Ephemeral { sender, target, document, count, session, data });
    }

    pub(super) fn heads(&self, document: &DocumentId, storage: &str, heads: &[String], at: u64) {
        let about = RemoteHeads { heads: heads.to_vec(), timestamp: at };
        let message = Message::RemoteHeadsChanged {
            sender: self.names.of(Slot(0)),
            target: self.client.to_string(),
            document: document.clone(),
            new_heads: [(storage.to_owned(), about)].into(),
        };
        self.send(Cause::Others, &message);
    }

    /// Asks it to report of the storages that another wants to hear of, unless it speaks for them itself or was asked
    /// before. Nobody takes that back: what is not wanted any more is not passed on.
    ///
    /// Only at an archive: when the connection ends, a stock client tells the other peers it was shown on it that the
    /// first one asks no more, its closed socket throws, and in Node that ends the process.
    pub(super) fn ask_for(&self, other: &Ear) {
        if matches!(self.names, Names::Slots(_)) {
            return;
        }
        let wanted: Vec<_> = locked(&other.subscriptions)
            .iter()
            .filter(|storage| self.storage.as_ref() != Some(storage))
            .cloned()
            .collect();
        // Beyond the bound it is not asked.
        let Some(new) = locked(&self.asked).change(wanted, &[]) else { return };
        if new.is_empty() {
            return;
        }
        let message = Message::RemoteSubscriptionChange {
            sender: self.names.of(Slot(0)),
            target: self.client.to_string(),
            add: new.into_iter().collect(),
            remove: Vec::new(),
        };
        self.send(Cause::Others, &message);
    }

    pub(super) fn wants(&self, storage: &str) -> bool {
        locked(&self.subscriptions).contains(storage)
    }

    pub(super) fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        locked(&self.subscriptions)
    }

    /// Peers are introduced when they are first needed, and then the first once more: a client takes the last one for
    /// the connection.
    fn introduce_up_to(&self, slot: Slot) {
        let mut introduced = locked(&self.introduced);
        if slot.0 < *introduced {
            return;
        }
        for slot in (*introduced..=slot.0).chain([0]) {
            self.introduce(Slot(slot), PeerMetadata { storage_id: None, is_ephemeral: true });
        }
        *introduced = slot.0 + 1;
    }

    fn introduce(&self, slot: Slot, metadata: PeerMetadata) {
        let message = Message::Peer {
            sender: self.names.of(slot),
            target: self.client.to_string(),
            metadata,
            version: PROTOCOL_VERSION.to_owned(),
        };
        self.send(Cause::Itself, &message);
    }

    fn send(&self, cause: Cause, message: &Message) {
        let frame = frame::binary(&[&message.encode()]);
        self.metrics.messages_sent.inc();
        self.metrics.bytes_sent.inc_by(frame.len() as u64);
        match cause {
            Cause::Itself => self.queue.answer(frame),
            Cause::Others => {
                self.queue.forward(frame);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single step, so a poisoned lock is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_slots_come_back_and_no_others() {
        let names = Names::slots("host:1");
        assert_eq!(names.of(Slot(3)), "tombolo-relay:host:1/3");
        assert_eq!(names.slot("tombolo-relay:host:1/3"), Some(Slot(3)));
        for other in ["tombolo-relay:host:2/3", "tombolo-relay:host:1/03", "tombolo-relay:host:1/+3", "3", ""]
        {
            assert_eq!(names.slot(other), None, "{other}");
        }
        assert_eq!(Names::Archive("a".into()).slot("anything"), Some(Slot(0)), "there is one peer only");
    }
}
