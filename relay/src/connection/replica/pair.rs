//! An Automerge document that a replica has open: a session of its own at the archive, with fresh sync state each time
//! that it is opened.
//!
//! Guarantees: the archive hears once that it is over, whoever ended it, and nothing is said under its number after that.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tombolo_core::dialect::replica::{self, Handle, Outcome};
use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;

use crate::connection::frame;
use crate::connection::queue::Queue;
use crate::listener::Shared;
use crate::member::{Archive, PairwisePeer, PairwisePort};
use crate::room::{RoomLimits, Toll};

const NOT_HERE: &str =
    "Automerge documents are synced with a node that keeps them, and none are kept here; link to that node";
const ELSEWHERE: &str = "another node of this cluster keeps the Automerge documents now; link to that node";

/// An open document; dropping it ends the session.
pub(super) struct Pair {
    document: DocumentId,
    port: Arc<Port>,
    peer: PairwisePeer,
    limits: RoomLimits,
    toll: Toll,
}

/// How the archive reaches it.
struct Port {
    queue: Arc<Queue>,
    handle: Handle,
    archive: Arc<dyn Archive>,
    peer: OnceLock<PairwisePeer>,
    is_over: Mutex<bool>,
}

impl Pair {
    /// Begins a session at the archive here.
    ///
    /// # Errors
    /// What to say if there is none, or if clients of automerge-repo are brought to another one.
    pub(super) fn open(
        shared: &Shared,
        queue: &Arc<Queue>,
        handle: Handle,
        document: &DocumentId,
    ) -> Result<Self, (Outcome, &'static str)> {
        let archive = shared.archive.as_ref().ok_or((Outcome::FORBIDDEN, NOT_HERE))?;
        if shared.joint.home_elsewhere().is_some() {
            return Err((Outcome::TROUBLE, ELSEWHERE));
        }
        let port = Arc::new(Port {
            queue: Arc::clone(queue),
            handle,
            archive: Arc::clone(archive),
            peer: OnceLock::new(),
            is_over: Mutex::default(),
        });
        let peer = archive.pairwise().join(Arc::clone(&port) as Arc<dyn PairwisePort>);
        let peer = *port.peer.get_or_init(|| peer);
        let limits = RoomLimits::of(&shared.config);
        Ok(Self { document: document.clone(), port, peer, limits, toll: Toll::default() })
    }

    pub(super) fn is_open(&self) -> bool {
        !*self.port.lock()
    }

    /// A validated message of the replica.
    pub(super) fn hear(&mut self, shared: &Shared, message: Bytes) {
        if shared.joint.home_elsewhere().is_some() {
            return self.port.end(self.port.lock(), Some((Outcome::TROUBLE, ELSEWHERE)));
        }
        if let Some(wait) = self.toll.count(message.len(), &self.limits) {
            shared.metrics.slow("room_rate");
            self.port.queue.hold(wait);
        }
        // It brings what it has, and is told of what there is; it need not hear that there is nothing.
        self.port.archive.pairwise().receive(self.peer, self.document.clone(), message, false);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.port.end(self.port.lock(), None);
    }
}

impl Port {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, mut is_over: MutexGuard<'_, bool>, why: Option<(Outcome, &str)>) {
        if std::mem::replace(&mut *is_over, true) {
            return;
        }
        if let Some((outcome, words)) = why {
            self.queue.answer(frame::binary(&[&replica::shut(self.handle, outcome, words)]));
        }
        drop(is_over);
        if let Some(peer) = self.peer.get() {
            self.archive.pairwise().leave(*peer);
        }
    }
}

impl PairwisePort for Port {
    fn sync(&self, _: &DocumentId, message: Bytes) {
        let is_over = self.lock();
        if !*is_over {
            let frame = replica::packed(replica::sync(self.handle, &message));
            self.queue.answer(frame::binary(&[&frame]));
        }
    }

    fn unavailable(&self, _: &DocumentId) {
        self.end(self.lock(), Some((Outcome::FORBIDDEN, NOT_HERE)));
    }

    fn over(&self, _: &DocumentId, reason: StoreRefused) {
        self.end(self.lock(), Some((reason.into(), &reason.to_string())));
    }

    fn refuse(&self, reason: &str) {
        self.end(self.lock(), Some((Outcome::TROUBLE, reason)));
    }
}
