//! One hydrated document and the sync states of all its peers.
//!
//! The caller journals [`Received::changes`] and only then sends what [`Session::generate`] gives: its
//! heads are the acknowledgement that stock clients see.
//!
//! Changes whose dependencies are missing stay in automerge's queue. They are neither in
//! [`Received::changes`] nor acknowledged: heads, bloom filter and changes of our messages are made from
//! applied changes only. When the gap closes, by whichever peer, they are applied and appear in that
//! peer's `Received`. If the session ends first, they are gone from here but not lost: sync states are
//! fresh for each connection, so whoever made them sees that our heads lack them and sends them again.
//! Journaling them at once would gain nothing and would keep changes whose ground may never come.
//!
//! A message is read to its end before the document sees it, so that a refused message changes
//! no applied change (a reused position of an actor can push that actor's later changes out of the queue,
//! which were not acknowledged).

use std::collections::{BTreeMap, BTreeSet};

use automerge::sync::{Message, State, SyncDoc};
use automerge::{Automerge, AutomergeError, ChangeHash};
use bytes::Bytes;

use super::chunk::{Chunks, load_document};
use super::{has_ignored, load};
use crate::engine::EngineError;

/// What a message brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// All changes that are new to the document as concatenated change chunks, in causal order: to be
    /// journaled. Empty if there is nothing new.
    pub changes: Vec<u8>,
}

/// A document that is being synced with peers.
///
/// After a panic or [`EngineError::Diverged`] it must not be used again.
pub struct Session {
    document: Automerge,
    peers: BTreeMap<u64, Peer>,
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
        self.peers.insert(peer, Peer::default());
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
        let message = Message::decode(message).map_err(EngineError::malformed)?;
        let expected = readable(&message)?;
        let before = self.document.get_heads();
        peer.reset_sent = false;
        match self.document.receive_sync_message(&mut peer.state, message) {
            Ok(()) => {}
            // Found before anything is applied.
            Err(error @ AutomergeError::DuplicateSeqNumber(..)) => return Err(EngineError::malformed(error)),
            Err(error) => return Err(EngineError::diverged(error)),
        }
        if has_ignored(&self.document, &expected) {
            return Err(EngineError::diverged("a change of a message was ignored"));
        }
        let changes = self.document.get_changes(&before);
        Ok(Received { changes: changes.iter().flat_map(|change| change.raw_bytes()).copied().collect() })
    }

    /// The next message for each peer that needs one, by peer. Empty when all wait or have everything.
    ///
    /// One message for each peer and call is all there can be: automerge then waits for an answer, except
    /// after a reset, which it would repeat for ever; that is sent once for each message received.
    pub fn generate(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut messages = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.reset_sent {
                continue;
            }
            if let Some(message) = self.document.generate_sync_message(&mut peer.state) {
                peer.reset_sent = !peer.state.in_flight;
                messages.push((*id, message.encode()));
            }
        }
        messages
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

#[derive(Default)]
struct Peer {
    state: State,
    /// A reset was sent and nothing has come back since.
    reset_sent: bool,
}

/// Reads every chunk of a message; returns the changes that the document must hold or queue afterwards.
fn readable(message: &Message) -> Result<Vec<ChangeHash>, EngineError> {
    let mut chunks = Chunks::default();
    for bytes in message.changes.iter() {
        chunks.read(bytes)?;
    }
    let mut expected: BTreeSet<ChangeHash> = chunks.hashes().into_iter().collect();
    for document in &chunks.documents {
        expected.extend(load_document(document)?.get_heads());
    }
    Ok(expected.into_iter().collect())
}
