//! Which changes a document holds, from the record, a few rows of the snapshot and the tail: none of its structs is
//! unpacked.

use std::sync::PoisonError;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Version;

use super::document::place;
use super::open_shelf::OpenShelf;
use super::shelves::Shelves;
use super::stored::Survey;
use super::{ShelfError, snapshot, tail};

impl Shelves {
    /// What tells which changes a document holds, and which operations those are; `is_new` as for
    /// [`Shelves::record`]. None if there is no snapshot, or one without an outline.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn survey(&self, id: &DocumentId, is_new: bool) -> Result<Option<(Version, Survey)>, ShelfError> {
        Ok(self.read(self.index_of(id).into(), |shelf| shelf.survey(id, is_new))?.flatten())
    }
}

impl OpenShelf {
    pub(super) fn survey(
        &self,
        id: &DocumentId,
        is_new: bool,
    ) -> Result<Option<(Version, Survey)>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = self.record(id, is_new)? else { return Ok(None) };
        let prefix = place(id).0;
        let Some((outline, deletes)) = snapshot::survey(&self.rows, id, &prefix, &record)? else {
            return Ok(None);
        };
        let tail = tail::read(&self.rows, id, &prefix, &record)?;
        let tail = tail.into_iter().map(|operation| operation.payload).collect();
        Ok(Some((record.version, Survey { outline, deletes, tail })))
    }
}
