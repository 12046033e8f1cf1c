//! An Automerge document on one link: what each side has told the other, and what of this replica has arrived there.
//!
//! Guarantees: what is said is durable here; a position counts as arrived only if the other end said that it has all that
//! the document had when it was looked at behind that position.

use bytes::Bytes;
use tombolo_core::engine::automerge::Compared;
use tombolo_core::session::Synced;

use super::{AutomergeDocument, SyncState};
use crate::replica::changes::Origin;
use crate::replica::error::ReplicaError;

/// One opening of a document.
pub(in crate::replica) struct Talk {
    document: AutomergeDocument,
    peer: SyncState,
    /// The heads that the document had behind a position; who makes changes all the time never has them at rest.
    mark: Option<(u64, Vec<[u8; 32]>)>,
    acknowledged: u64,
}

impl Talk {
    /// Begins fresh.
    pub(in crate::replica) fn new(document: AutomergeDocument) -> Self {
        Self { document, peer: SyncState::default(), mark: None, acknowledged: 0 }
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
        let mark = &mut self.mark;
        let (message, compared, arrived) = self.document.sync_say(&mut self.peer, |live, peer| {
            let (message, compared) = (live.sync_generate(peer), live.compare(peer));
            let mut arrived = None;
            if compared.is_heard {
                arrived = mark.take_if(|(_, heads)| live.is_there(peer, heads));
                if mark.is_none() {
                    *mark = Some((position, live.heads()));
                    arrived = mark.take_if(|(_, heads)| live.is_there(peer, heads)).or(arrived);
                }
            }
            (message, compared, arrived.map(|(position, _)| position))
        })?;
        self.acknowledged = self.acknowledged.max(arrived.unwrap_or_default());
        let Compared { is_heard: heard, has_all_of_theirs: caught_up } = compared;
        Ok(Synced { message, heard, caught_up, acknowledged: self.acknowledged })
    }
}
