//! The presence of one document: what is shown here, who else is there, who looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use serde_json::Value;
use tombolo_core::id::DocumentId;
use tombolo_core::presence::{News, Presence};
use tombolo_core::time::Millis;
use tombolo_core::validate::AwarenessUpdate;

use super::States;
use crate::replica::error::ReplicaError;
use crate::replica::link::{Hub, LinkId};

/// What others show is another than before.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceChange {
    /// In which document.
    pub document: DocumentId,
    /// Clients who came, or show something else now, and what.
    pub shown: States,
    /// Clients who are gone.
    pub gone: Vec<u64>,
}

type Observer = Arc<Mutex<dyn FnMut(&PresenceChange) + Send>>;
type Observers = Mutex<Vec<(u64, Observer)>>;

/// One document.
pub(in crate::replica) struct Stage {
    hub: Arc<Hub>,
    document: DocumentId,
    presence: Mutex<Presence>,
    observers: Arc<Observers>,
}

impl Stage {
    pub(super) fn new(hub: Arc<Hub>, document: DocumentId, client: u64, now: Millis) -> Self {
        Self { hub, document, presence: Mutex::new(Presence::new(client, now)), observers: Arc::default() }
    }

    pub(in crate::replica) fn client(&self) -> u64 {
        self.lock().client()
    }

    /// Shows this, or nothing any more.
    pub(in crate::replica) fn set(&self, state: Option<&Value>) -> Result<(), ReplicaError> {
        // What is null is shown by nobody.
        let text = state.filter(|state| !state.is_null()).map(|state| Bytes::from(state.to_string()));
        let mut presence = self.lock();
        let said = presence.set(self.hub.presences.now(), text);
        let said =
            said.map_err(|source| ReplicaError::Presence { document: self.document.clone(), source })?;
        // Under the lock, so that clocks leave in their order.
        self.say(said.as_ref());
        Ok(())
    }

    pub(in crate::replica) fn others(&self) -> States {
        self.lock().others().filter_map(|(client, state)| Some((client, read(state)?))).collect()
    }

    pub(super) fn introduce(&self) -> Option<AwarenessUpdate> {
        self.lock().introduce(self.hub.presences.now())
    }

    pub(super) fn hear(&self, via: LinkId, update: AwarenessUpdate) {
        self.take(|presence, now| presence.hear(now, via.0, update));
    }

    pub(super) fn lost(&self, via: LinkId) {
        self.take(|presence, _| presence.lost(via.0));
    }

    pub(super) fn tick(&self) {
        self.take(Presence::tick);
    }

    fn take(&self, event: impl FnOnce(&mut Presence, Millis) -> News) {
        let mut presence = self.lock();
        let News { shown, gone, say } = event(&mut presence, self.hub.presences.now());
        self.say(say.as_ref());
        let shown: States = shown
            .into_iter()
            .filter_map(|client| Some((client, read(presence.state_of(client)?)?)))
            .collect();
        drop(presence);
        if shown.is_empty() && gone.is_empty() {
            return;
        }
        let change = PresenceChange { document: self.document.clone(), shown, gone };
        let observers = lock(&self.observers).clone();
        for (_, observer) in observers {
            observer.lock().unwrap_or_else(PoisonError::into_inner)(&change);
        }
    }

    fn say(&self, update: Option<&AwarenessUpdate>) {
        if let Some(update) = update {
            self.hub.show(&self.document, update);
        }
    }

    pub(in crate::replica) fn observe(
        self: &Arc<Self>,
        observer: impl FnMut(&PresenceChange) + Send + 'static,
    ) -> PresenceObservation {
        let mut observers = lock(&self.observers);
        let key = observers.last().map_or(0, |(key, _)| key + 1);
        observers.push((key, Arc::new(Mutex::new(observer))));
        PresenceObservation { observers: Arc::downgrade(&self.observers), key, _stage: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A goodbye, before the document is shut.
        if let Ok(Some(goodbye)) = self.lock().set(self.hub.presences.now(), None) {
            self.hub.show(&self.document, &goodbye);
        }
        if self.hub.presences.close(&self.document) {
            self.hub.watch(&self.document, false);
        }
    }
}

fn lock(observers: &Observers) -> MutexGuard<'_, Vec<(u64, Observer)>> {
    observers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is JSON for others may say what no value here can.
fn read(state: &[u8]) -> Option<Value> {
    serde_json::from_slice(state).ok()
}

/// Looks at who is there for as long as it is held.
#[must_use = "nobody looks any more when this is dropped"]
pub struct PresenceObservation {
    observers: Weak<Observers>,
    key: u64,
    /// So that others go on being heard of.
    _stage: Arc<Stage>,
}

impl Drop for PresenceObservation {
    fn drop(&mut self) {
        if let Some(observers) = self.observers.upgrade() {
            lock(&observers).retain(|(key, _)| *key != self.key);
        }
    }
}
