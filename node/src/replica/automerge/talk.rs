//! An Automerge document on one link: what each side has told the other, and what of this replica has arrived there.
//!
//! Guarantees: what is said is durable here; what counts as arrived there, [`Arrived`] says.

use bytes::Bytes;
use tombolo_core::engine::automerge::{Arrived, Compared};
use tombolo_core::session::Synced;

use super::{AutomergeDocument, SyncState};
use crate::replica::changes::Origin;
use crate::replica::error::ReplicaError;

/// One opening of a document.
pub(in crate::replica) struct Talk {
    document: AutomergeDocument,
    peer: SyncState,
    arrived: Arrived,
}

impl Talk {
    /// Begins fresh.
    pub(in crate::replica) fn new(document: AutomergeDocument) -> Self {
        Self { document, peer: SyncState::default(), arrived: Arrived::default() }
    }

    /// Takes in a message, if one came, and makes the next one. `latest` is asked for the position of the last change that
    /// is durable. Blocking. After an error both sides begin anew.
    pub(in crate::replica) fn turn(
        &mut self,
        message: Option<&Bytes>,
        origin: Origin,
        latest: impl FnOnce() -> u64,
    ) -> Result<Synced, ReplicaError> {
        if let Some(message) = message {
            self.document.sync_take(&mut self.peer, message, origin)?;
        }
        // Before it is looked at, so that everything up to it is seen.
        let position = latest();
        let arrived = &mut self.arrived;
        let (message, compared, acknowledged) = self.document.sync_say(&mut self.peer, |live, peer| {
            (live.sync_generate(peer), live.compare(peer), arrived.look(live, peer, position))
        })?;
        let Compared { is_heard: heard, has_all_of_theirs: caught_up } = compared;
        Ok(Synced { message, heard, caught_up, acknowledged })
    }
}
