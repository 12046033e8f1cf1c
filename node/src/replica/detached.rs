//! A document outside of any replica: its whole state in hand, read and edited as a copy.
//!
//! An edit of a copy is an update that merges wherever the document is, whatever became of it meanwhile.

use bytes::Bytes;
use tombolo_core::engine::edit::{Edit, EditError, Live as Yjs};
use tombolo_core::id::DocumentId;

use super::error::ReplicaError;
use super::open::Live;

fn open(document: &DocumentId, state: &Bytes) -> Result<Yjs, ReplicaError> {
    Live::open(document, std::slice::from_ref(state))
}

/// The text under this name; none if nobody has ever written in it.
pub(crate) fn text(document: &DocumentId, state: &Bytes, name: &str) -> Result<Option<String>, ReplicaError> {
    Ok(open(document, state)?.read(|view| view.text(name)))
}

/// The update that an edit makes; none if it changes nothing.
pub(crate) fn edit(
    document: &DocumentId,
    state: &Bytes,
    work: impl FnOnce(&mut Edit<'_, '_>) -> Result<(), EditError>,
) -> Result<Option<Bytes>, ReplicaError> {
    let refused = |source| ReplicaError::Edit { document: document.clone(), source };
    let (_, (), made) = open(document, state)?.edit(work).map_err(refused)?;
    Ok(made.map(|update| update.bytes().clone()))
}
