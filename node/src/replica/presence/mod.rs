//! Who is in a document now: what clients show each other while they are there, and nobody keeps.
//!
//! Guarantees: what is shown here is said over every link and to whoever is linked to this replica, again every 15 s, and
//! taken back when the document is closed; who is silent for 30 s, or was heard through a link that is gone, is not here
//! any more; what others show takes bounded memory, and only in documents that somebody here has open for it. Observers
//! run on a thread of their own.

mod stage; // one document
mod thread; // what is heard, and time

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tombolo_core::id::DocumentId;
use tombolo_core::time::Millis;
use tombolo_core::validate::AwarenessUpdate;

pub(super) use self::stage::Stage;
pub use self::stage::{PresenceChange, PresenceObservation};
use self::thread::Event;
use super::error::ReplicaError;
use super::link::{Hub, LinkId};

/// Most words of others that wait for the thread; more are not heard, and said again by who is there.
const EVENTS_MAX: usize = 256;

/// The presence of all documents of a replica.
pub(super) struct Presences {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stages: HashMap<DocumentId, Weak<Stage>>,
    /// While somebody is interested in any.
    events: Option<SyncSender<Event>>,
}

impl Default for Presences {
    fn default() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }
}

impl Presences {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// That of one document, which all who have it open share.
    pub(super) fn open(
        &self,
        hub: &Arc<Hub>,
        document: &DocumentId,
        client: u64,
    ) -> Result<Arc<Stage>, ReplicaError> {
        let mut state = self.lock();
        if let Some(stage) = state.stages.get(document).and_then(Weak::upgrade) {
            return Ok(stage);
        }
        if state.events.is_none() {
            let (events, heard) = sync_channel(EVENTS_MAX);
            thread::start(Arc::downgrade(hub), heard).map_err(ReplicaError::System)?;
            state.events = Some(events);
        }
        let stage = Arc::new(Stage::new(Arc::clone(hub), document.clone(), client, self.now()));
        state.stages.insert(document.clone(), Arc::downgrade(&stage));
        drop(state);
        hub.watch(document, true);
        Ok(stage)
    }

    /// Something came over a link. Quick; dropped if too much waits, or nobody here looks at that document.
    pub(super) fn heard(&self, via: LinkId, document: &DocumentId, update: AwarenessUpdate) {
        let state = self.lock();
        if let Some(events) = state.events.as_ref().filter(|_| state.stages.contains_key(document)) {
            let _ = events.try_send(Event::Heard { via, document: document.clone(), update });
        }
    }

    /// A link is gone, and with it who was heard through it; what is lost of that here is silent, and gone a little later.
    pub(super) fn lost(&self, via: LinkId) {
        if let Some(events) = &self.lock().events {
            let _ = events.try_send(Event::Lost(via));
        }
    }

    /// Documents that somebody looks at for their presence.
    pub(super) fn watched(&self) -> Vec<DocumentId> {
        self.lock().stages.keys().cloned().collect()
    }

    /// Whether somebody looks at the presence of a document.
    pub(super) fn is_watched(&self, document: &DocumentId) -> bool {
        self.lock().stages.contains_key(document)
    }

    /// What is shown in a document, for those to whom there was no connection before.
    pub(super) fn introduce(&self, document: &DocumentId) -> Option<AwarenessUpdate> {
        self.stage(document)?.introduce()
    }

    fn stages(&self) -> Vec<Arc<Stage>> {
        self.lock().stages.values().filter_map(Weak::upgrade).collect()
    }

    fn stage(&self, document: &DocumentId) -> Option<Arc<Stage>> {
        self.lock().stages.get(document).and_then(Weak::upgrade)
    }

    /// Nobody has it open any more; true unless it was opened anew meanwhile.
    fn close(&self, document: &DocumentId) -> bool {
        let mut state = self.lock();
        let is_over = state.stages.get(document).is_some_and(|stage| stage.strong_count() == 0);
        if is_over {
            state.stages.remove(document);
        }
        is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Single insertions and removals, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// States as JSON values, by client.
pub type States = BTreeMap<u64, serde_json::Value>;
