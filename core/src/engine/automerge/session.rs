//! One hydrated document and the sync states of all its peers.
//!
//! The caller journals [`Received::changes`] and only then sends what [`Session::generate`] gives: its
//! heads are the acknowledgement that stock clients see.
//!
//! Changes that wait in the queue (see [`super::sync`]) are not in [`Received::changes`]; when the gap closes, they
//! appear in the `Received` of whichever peer closed it. If the session ends first, they are gone from here but not
//! lost: sync states are fresh for each connection, so whoever made them sees that our heads lack them and sends them
//! again. Journaling them at once would gain nothing and would keep changes whose ground may never come.

use std::collections::BTreeMap;

use automerge::Automerge;
use bytes::Bytes;

use super::chunk::raw;
use super::load;
use super::sync::{SyncMessage, SyncState, generate, receive};
use crate::engine::EngineError;

/// What a message brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// All changes that are new to the document as concatenated change chunks, in causal order: to be
    /// journaled. Empty if there is nothing new.
    pub changes: Bytes,
}

/// A document that is being synced with peers.
///
/// After a panic or [`EngineError::Diverged`] it must not be used again.
pub struct Session {
    document: Automerge,
    peers: BTreeMap<u64, SyncState>,
}

impl Session {
    /// Hydrates a document. Changes that wait for others are kept in the queue and not refused: what is
    /// stored must stay servable.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] if a part does not read to its end.
    pub fn open(parts: &[Bytes]) -> Result<Self, EngineError> {
        let (document, _) = load(parts)?;
        Ok(Self { document, peers: BTreeMap::new() })
    }

    /// Adds a peer with a fresh sync state; one that is there starts over.
    pub fn join(&mut self, peer: u64) {
        self.peers.insert(peer, SyncState::default());
    }

    /// Forgets a peer; returns whether none is left.
    pub fn leave(&mut self, peer: u64) -> bool {
        self.peers.remove(&peer);
        self.peers.is_empty()
    }

    /// Takes a sync message in.
    ///
    /// # Errors
    /// [`EngineError::UnknownPeer`] if the peer has not joined. [`EngineError::Malformed`] if the message
    /// or one of its chunks does not read or reuses a position of an actor (HAZARDS am-9); the document is
    /// as before. [`EngineError::Diverged`] if automerge stopped half-way: drop the session.
    pub fn receive(&mut self, peer: u64, message: &[u8]) -> Result<Received, EngineError> {
        let peer = self.peers.get_mut(&peer).ok_or(EngineError::UnknownPeer { peer })?;
        let message = SyncMessage::read(message)?;
        let before = self.document.get_heads();
        receive(&mut self.document, peer, message)?;
        Ok(Received { changes: raw(&self.document.get_changes(&before)) })
    }

    /// The next message for each peer that needs one, by peer. Empty when all wait or have everything.
    pub fn generate(&mut self) -> Vec<(u64, Bytes)> {
        let Self { document, peers } = self;
        peers.iter_mut().filter_map(|(id, peer)| Some((*id, generate(document, peer)?))).collect()
    }

    /// Whether the document has no applied change at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.document.get_heads().is_empty()
    }

    /// The heads of the document, sorted. Queued changes are not in them.
    #[must_use]
    pub fn heads(&self) -> Vec<[u8; 32]> {
        self.document.get_heads().into_iter().map(|head| head.0).collect()
    }
}
