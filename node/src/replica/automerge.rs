//! One open Automerge document: edited, read, watched, synced.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use automerge::Automerge;
use automerge::transaction::Transaction;
use autosurgeon::{Hydrate, Reconcile};
use bytes::Bytes;
use tombolo_core::engine::EngineError;
use tombolo_core::engine::automerge::{self as engine, Brought, BroughtMessage};
use tombolo_core::engine::edit::EditError;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;

use super::changes::{Change, Observation, Origin};
use super::error::ReplicaError;
use super::open::{Live, Open, on_a_large_stack, random};

/// An open Automerge document of a replica. A cheap clone; all handles share one state.
///
/// Clients of automerge-repo open the same document by its [`url`](Self::url). Positions in a text are bytes, as in a
/// `str`.
#[derive(Clone)]
pub struct AutomergeDocument {
    open: Arc<Open<engine::Live>>,
}

/// What one connection knows of its peer. It starts fresh with each, on both sides.
#[derive(Clone, Debug, Default)]
pub struct SyncState {
    peer: engine::SyncState,
    /// Of the document that the peer was told of.
    edition: Option<u64>,
}

/// What a sync message brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReceived {
    /// Whether something of it was new; it is fsynced.
    pub changed: bool,
}

impl AutomergeDocument {
    pub(super) fn of(open: Arc<Open<engine::Live>>) -> Self {
        Self { open }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        self.open.id()
    }

    /// Its name as clients of automerge-repo write it, `automerge:` and the base58check form of 16 bytes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("automerge:{}", self.id())
    }

    /// Edits in one transaction; when this returns, the edit is fsynced and everybody sees it. If the closure fails,
    /// nothing is changed. Blocking, for the disk only.
    ///
    /// # Errors
    /// [`ReplicaError::Edit`] if the closure fails, [`ReplicaError::NotStored`] if the disk does not take it,
    /// [`ReplicaError::Deleted`] if the document was deleted.
    pub fn edit<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        // Before 1970 there is no history.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now_s = i64::try_from(now_s).unwrap_or_default();
        let failed = |source| ReplicaError::Edit { document: self.id().clone(), source };
        let (value, _) = self.open.change(Origin::Local, |live| live.edit(now_s, work).map_err(failed))?;
        Ok(value)
    }

    /// Makes the document say what `value` says, by the fewest changes that autosurgeon finds; durable when it returns.
    ///
    /// # Errors
    /// As for [`AutomergeDocument::edit`].
    pub fn reconcile(&self, value: &impl Reconcile) -> Result<(), ReplicaError> {
        self.edit(|edit| Ok(autosurgeon::reconcile(edit, value)?))
    }

    /// Reads it as it is now, edits of other threads that are on their way to the disk included. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] or [`ReplicaError::Unreadable`] if it cannot be read, [`ReplicaError::Deleted`] if it
    /// was deleted.
    pub fn read<T>(&self, work: impl FnOnce(&Automerge) -> T) -> Result<T, ReplicaError> {
        self.open.look(|live| live.read(work))
    }

    /// The whole document as a Rust value, by autosurgeon.
    ///
    /// # Errors
    /// [`ReplicaError::Shape`] if it is no such value, else as for [`AutomergeDocument::read`].
    pub fn hydrate<T: Hydrate>(&self) -> Result<T, ReplicaError> {
        let hydrated = self.read(|view| autosurgeon::hydrate(view))?;
        hydrated.map_err(|source| ReplicaError::Shape { document: self.id().clone(), source })
    }

    /// Takes in what others did: change chunks or a saved document. True if anything of it was new; then it is
    /// fsynced. What lacks its ground is stored and shown when that has come. Blocking, for the disk only.
    ///
    /// # Errors
    /// [`ReplicaError::Changes`] if it is none, else as for [`AutomergeDocument::edit`].
    pub fn apply(&self, changes: &Bytes) -> Result<bool, ReplicaError> {
        let brought = on_a_large_stack(|| Brought::read(changes), |error| self.refused(error))?;
        let ((), is_new) = self.open.change(Origin::Remote, |live| {
            let (live, news) = on_a_large_stack(|| live.apply(&brought), |error| self.refused(error))?;
            Ok((live, (), news))
        })?;
        Ok(is_new)
    }

    /// All of it as one saved document, what waits for others behind it.
    ///
    /// # Errors
    /// As for [`AutomergeDocument::read`].
    pub fn state(&self) -> Result<Bytes, ReplicaError> {
        self.open.look(engine::Live::save)
    }

    /// Its heads, sorted: documents with equal heads are equal.
    ///
    /// # Errors
    /// As for [`AutomergeDocument::read`].
    pub fn heads(&self) -> Result<Vec<[u8; 32]>, ReplicaError> {
        self.open.look(engine::Live::heads)
    }

    /// Calls `observer` for each change from now on, until what this gives back is dropped: once each, in order, when
    /// it is durable, on a thread that edits this document. It may read and edit; what it edits it hears of after it
    /// has returned.
    pub fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        self.open.observe(observer)
    }

    /// The next message of automerge's sync protocol for a peer; none if there is nothing to say. All that it says is
    /// there is fsynced. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::SyncOver`] if the peer has to begin anew, else as for [`AutomergeDocument::read`].
    pub fn sync_generate(&self, peer: &mut SyncState) -> Result<Option<Bytes>, ReplicaError> {
        let mut next = self.current(peer)?;
        let message = self.open.look_durably(|live| live.sync_generate(&mut next.peer))?;
        *peer = next;
        Ok(message)
    }

    /// Takes in a message of automerge's sync protocol; when this returns, what it brought is fsynced. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::SyncOver`] if the peer has to begin anew, [`ReplicaError::Changes`] if it is no sync message,
    /// else as for [`AutomergeDocument::edit`].
    pub fn sync_receive(&self, peer: &mut SyncState, message: &Bytes) -> Result<SyncReceived, ReplicaError> {
        let message = on_a_large_stack(|| BroughtMessage::read(message), |error| self.refused(error))?;
        let mut next = self.current(peer)?;
        let ((), changed) = self.open.change(Origin::Remote, |live| {
            let receive = || live.sync_receive(&mut next.peer, message);
            let (live, news) = on_a_large_stack(receive, |error| self.refused(error))?;
            Ok((live, (), news))
        })?;
        *peer = next;
        Ok(SyncReceived { changed })
    }

    /// The state to go on with, unless the peer knows of something that is not served any more.
    fn current(&self, peer: &SyncState) -> Result<SyncState, ReplicaError> {
        let edition = self.open.edition();
        match peer.edition {
            Some(known) if known != edition => Err(ReplicaError::SyncOver { document: self.id().clone() }),
            _ => Ok(SyncState { peer: peer.peer.clone(), edition: Some(edition) }),
        }
    }

    fn refused(&self, error: EngineError) -> ReplicaError {
        match error {
            EngineError::Malformed { .. } => {
                ReplicaError::Changes { document: self.id().clone(), source: error }
            }
            error => ReplicaError::unreadable(self.id(), &error),
        }
    }
}

impl Live for engine::Live {
    const KIND: Kind = Kind::AutomergeChanges;

    fn open(document: &DocumentId, parts: &[Bytes]) -> Result<Self, ReplicaError> {
        let actor = random()?;
        on_a_large_stack(|| Self::open(parts, actor), |error| ReplicaError::unreadable(document, &error))
    }
}
