//! Automerge documents: fold a tail into one document chunk, sync sessions with many peers, and documents that a
//! replica holds open and edits.
//!
//! Nothing is edited but in [`Live`], under an actor id from outside: the random one that automerge gives each document
//! is never used. Hydrating into values, the recursion of HAZARDS am-7, does not happen but for who asks [`Live`] for
//! them.

use ::automerge::{Automerge, ChangeHash, ReadDoc, SaveOptions};
use bytes::Bytes;

use self::chunk::{Chunks, empty_document, load_document};
use super::EngineError;

mod arrived; // what a peer has
mod chunk; // all chunks or none
mod live; // one document held open, for a replica
pub(super) mod make; // JSON and text as changes
mod session; // one document, many peers
mod sync; // one document, one peer
pub(super) mod view; // JSON, text and heads of a document

pub use arrived::Arrived;
pub use live::{Brought, BroughtMessage, Compared, Live};
pub use session::{Received, Session};
pub use sync::SyncState;

/// Folds documents and changes, in any order and with repetitions, into one document chunk.
///
/// The result is loaded again before it is handed out and must have the same heads and as many changes: heads
/// hash all history. automerge stores changes in their order of arrival, so the bytes of two folds of one
/// document may differ; their [`heads`] do not.
///
/// # Errors
/// [`EngineError::Pending`] if a change waits for one that is not there, [`EngineError::Malformed`] if a
/// part does not read to its end or two changes claim one position of one actor (HAZARDS am-9),
/// [`EngineError::Diverged`] if the fold is not the same document.
pub fn compact(parts: &[Bytes]) -> Result<Bytes, EngineError> {
    match compact_what_has_ground(parts)? {
        (saved, waiting) if waiting.is_empty() => Ok(saved),
        _ => Err(EngineError::Pending),
    }
}

/// As [`compact`], without the changes that wait for one that is not there; with the places of the parts that have
/// such a change, ascending.
///
/// # Errors
/// As for [`compact`], but for [`EngineError::Pending`].
pub fn compact_what_has_ground(parts: &[Bytes]) -> Result<(Bytes, Vec<usize>), EngineError> {
    let (document, pending) = load(parts)?;
    let saved = document.save_with_options(SaveOptions { retain_orphans: false, ..SaveOptions::default() });
    let again = load_document(&saved).map_err(EngineError::diverged)?;
    if again.get_heads() != document.get_heads() || again.stats().num_changes != document.stats().num_changes
    {
        return Err(EngineError::diverged("a saved document loads with other changes"));
    }
    let mut waiting = Vec::new();
    for (place, part) in parts.iter().enumerate().filter(|_| pending) {
        let mut chunks = Chunks::default();
        chunks.read(part)?;
        if chunks.hashes().iter().any(|hash| document.get_change_by_hash(hash).is_none()) {
            waiting.push(place);
        }
    }
    Ok((saved.into(), waiting))
}

/// The heads of the document that the parts give, sorted. Equal heads are equal documents: they hash all
/// history.
///
/// # Errors
/// As for [`compact`], without the comparison.
pub fn heads(parts: &[Bytes]) -> Result<Vec<[u8; 32]>, EngineError> {
    match load(parts)? {
        (_, true) => Err(EngineError::Pending),
        (document, false) => Ok(document.get_heads().into_iter().map(|head| head.0).collect()),
    }
}

/// The document of all parts, and whether a change in them waits for another one.
///
/// One call applies the whole tail (HAZARDS am-5); afterwards each change must be found in the document
/// or in its queue (HAZARDS am-4).
fn load(parts: &[Bytes]) -> Result<(Automerge, bool), EngineError> {
    let mut chunks = Chunks::default();
    for part in parts {
        chunks.read(part)?;
    }
    let mut documents = chunks.documents.iter();
    let mut document = match documents.next() {
        Some(first) => load_document(first)?,
        None => empty_document(),
    };
    let mut expected = chunks.hashes();
    let mut changes = chunks.changes;
    for other in documents {
        let other = load_document(other)?;
        expected.extend(other.get_heads());
        changes.extend(other.get_changes(&[]));
    }
    document.apply_changes(changes).map_err(EngineError::malformed)?;
    if has_ignored(&document, &expected) {
        return Err(EngineError::malformed("a change was ignored"));
    }
    let pending = !document.get_missing_deps(&[]).is_empty();
    Ok((document, pending))
}

/// Whether one of the changes is neither in the document nor in its queue; `get_missing_deps` names
/// exactly those, besides dependencies that never arrived.
fn has_ignored(document: &Automerge, expected: &[ChangeHash]) -> bool {
    let missing = document.get_missing_deps(expected);
    expected.iter().any(|hash| missing.contains(hash))
}

#[cfg(test)]
mod tests;
