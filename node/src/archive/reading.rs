//! A stored Yjs document for its room: which changes it has, and what is to be served of it.
//!
//! What is folded is served without a look at its structs. That is sound because it passed the door before it was
//! stored, and each of its rows has a checksum; the same holds for the outline that is used in their place.

use std::sync::Arc;

use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;
use tombolo_core::update::{Coverage, InvalidUpdate, Outlined, Update};
use tombolo_store::{Contents, Document, Store, StoreError};

use super::cache::Parts;

/// Why a stored document cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nothing that did not validate was ever stored, so this is damage or a mistake of ours; without that part
    /// the document would be another one.
    #[error("a stored update does not validate: {0}")]
    Invalid(#[from] InvalidUpdate),
}

impl ReadError {
    pub(super) fn refusal(&self) -> StoreRefused {
        match self {
            Self::Store(StoreError::Deleted { .. }) => StoreRefused::Deleted,
            Self::Store(_) | Self::Invalid(_) => StoreRefused::Trouble,
        }
    }
}

/// A document as it was just opened.
pub(super) struct Opened {
    pub(super) document: Document,
    /// Its edition, of before it was read.
    pub(super) edition: u64,
    /// Which changes it has.
    pub(super) coverage: Coverage,
    /// All of it, if it had to be read to know that.
    pub(super) parts: Option<Arc<Parts>>,
}

/// Opens a document; `is_wanted` says that somebody waits for all of it. Blocking.
///
/// # Errors
/// [`ReadError`] if it cannot be served.
pub(super) fn open(store: &Store, id: &DocumentId, is_wanted: bool) -> Result<Opened, ReadError> {
    let document = store.document(id)?;
    let edition = document.edition();
    let mut coverage = Coverage::default();
    let survey = if is_wanted { None } else { document.survey()? };
    let Some(survey) = survey else {
        let parts = read(&document)?;
        parts.add_to(&mut coverage)?;
        return Ok(Opened { document, edition, coverage, parts: Some(parts) });
    };
    coverage.add_outline(&survey.outline, &survey.deletes)?;
    for payload in survey.tail {
        coverage.add(&Update::parse(payload)?);
    }
    Ok(Opened { document, edition, coverage, parts: None })
}

/// All of a document. Blocking.
///
/// # Errors
/// [`ReadError`] if it cannot be served.
pub(super) fn read(document: &Document) -> Result<Arc<Parts>, ReadError> {
    let Contents { snapshot, outline, tail } = document.read()?;
    let outlined =
        snapshot.as_ref().zip(outline).map(|(bytes, outline)| Outlined::new(bytes.clone(), outline));
    let outlined = match outlined.transpose() {
        Ok(outlined) => outlined,
        Err(error) => {
            // A mistake of ours; the document is whole without it.
            tracing::error!(document = %document.id(), %error, "an outline is wrong; run tombolo verify");
            None
        }
    };
    let parsed = snapshot.filter(|_| outlined.is_none()).into_iter().chain(tail).map(Update::parse);
    Ok(Parts::new(outlined, parsed.collect::<Result<_, _>>()?))
}

/// What a document holds, as an encoded Yjs snapshot, and its door. Blocking.
///
/// # Errors
/// [`ReadError`] if it cannot be served.
pub(super) fn stored_snapshot(store: &Store, id: &DocumentId) -> Result<(Document, Vec<u8>), ReadError> {
    let Opened { document, coverage, .. } = open(store, id, false)?;
    Ok((document, coverage.encode_snapshot()))
}
