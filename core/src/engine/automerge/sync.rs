//! One document, one peer: a sync message taken in, and the next one made.
//!
//! A message is read to its end before the document sees it, so that a refused message changes
//! no applied change (a reused position of an actor can push that actor's later changes out of the queue,
//! which were not acknowledged).
//!
//! Changes whose dependencies are missing stay in automerge's queue. They are not acknowledged: heads, bloom filter
//! and changes of our messages are made from applied changes only. When the gap closes, by whichever peer, they are
//! applied.

use std::collections::BTreeSet;

use automerge::sync::{Message, State, SyncDoc};
use automerge::{Automerge, AutomergeError, ChangeHash};
use bytes::Bytes;

use super::chunk::{Chunks, load_document};
use super::has_ignored;
use crate::engine::EngineError;

/// What is known of one peer, for one connection: it starts fresh with each.
#[derive(Clone, Debug, Default)]
pub struct SyncState {
    state: State,
    /// A reset was sent and nothing has come back since.
    reset_sent: bool,
}

/// A sync message that was read to its end.
#[derive(Debug)]
pub(super) struct SyncMessage {
    pub(super) message: Message,
    /// What the document must hold or queue afterwards.
    pub(super) expected: Vec<ChangeHash>,
}

impl SyncMessage {
    /// Reads a message and every chunk in it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, EngineError> {
        let message = Message::decode(bytes).map_err(EngineError::malformed)?;
        let mut chunks = Chunks::default();
        for bytes in message.changes.iter() {
            chunks.read(bytes)?;
        }
        let mut expected: BTreeSet<ChangeHash> = chunks.hashes().into_iter().collect();
        for document in &chunks.documents {
            expected.extend(load_document(document)?.get_heads());
        }
        Ok(Self { expected: expected.into_iter().collect(), message })
    }
}

/// Takes a message in.
///
/// # Errors
/// [`EngineError::Malformed`] if it reuses a position of an actor (HAZARDS am-9); the document is as before.
/// [`EngineError::Diverged`] if automerge stopped half-way: the document must not be used again.
pub(super) fn receive(
    document: &mut Automerge,
    peer: &mut SyncState,
    message: SyncMessage,
) -> Result<(), EngineError> {
    peer.reset_sent = false;
    let said = peer.state.last_sent_heads.clone();
    match document.receive_sync_message(&mut peer.state, message.message) {
        Ok(()) => {}
        // Found before anything is applied.
        Err(error @ AutomergeError::DuplicateSeqNumber(..)) => return Err(EngineError::malformed(error)),
        Err(error) => return Err(EngineError::diverged(error)),
    }
    if !peer.state.last_sent_heads.is_empty() {
        // automerge takes heads that it hears, and has itself, for heads that it said. If the changes came in a message
        // before that is not answered yet, the peer would wait for ever for word that they arrived.
        peer.state.last_sent_heads = said;
    }
    if has_ignored(document, &message.expected) {
        return Err(EngineError::diverged("a change of a message was ignored"));
    }
    Ok(())
}

/// The next message for the peer; none if it has everything, or automerge waits for its answer.
///
/// One message for each call and answer is all there can be: automerge waits for an answer, except
/// after a reset, which it would repeat for ever; that is sent once for each message received.
pub(super) fn generate(document: &Automerge, peer: &mut SyncState) -> Option<Bytes> {
    if peer.reset_sent {
        return None;
    }
    let message = document.generate_sync_message(&mut peer.state)?;
    peer.reset_sent = !peer.state.in_flight;
    Some(message.encode().into())
}

/// Whether the peer has said where it stands.
pub(super) fn is_heard(peer: &SyncState) -> bool {
    peer.state.their_heads.is_some()
}

/// Whether all that the peer said it has is in the document.
pub(super) fn has_all_of(document: &Automerge, peer: &SyncState) -> bool {
    let theirs = peer.state.their_heads.as_ref();
    theirs.is_some_and(|heads| heads.iter().all(|head| document.get_change_meta_by_hash(head).is_some()))
}

/// Whether the peer said that it has these heads of the document, or what came after them.
pub(super) fn is_there(document: &Automerge, peer: &SyncState, heads: &[ChangeHash]) -> bool {
    // automerge looks once, when it is said, which of their heads are here; some may have come from somebody else since, and
    // then there is nothing left to say.
    let known = |head: &&ChangeHash| document.get_change_meta_by_hash(head).is_some();
    let theirs = peer.state.their_heads.iter().flatten().filter(known);
    let there: Vec<ChangeHash> = peer.state.shared_heads.iter().chain(theirs).copied().collect();
    if heads.iter().all(|head| there.contains(head)) {
        return true;
    }
    let not_there = document.get_changes_meta(&there);
    !not_there.iter().any(|change| heads.contains(&change.hash))
}
