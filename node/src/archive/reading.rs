//! A stored Yjs document for its room: which changes it has, and what is to be served of it.
//!
//! What is folded is served without a look at its structs. That is sound because it passed the door before it was
//! stored, and each of its rows has a checksum; the same holds for the outline that is used in their place.

use std::sync::Arc;

use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;
use tombolo_core::update::{Coverage, InvalidUpdate, Outlined, Update};
use tombolo_store::{Contents, Document, StoreError};

use super::cache::Parts;
use super::state::Common;
use crate::refusal::unreadable;

/// Why a stored document cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nothing that did not validate was ever stored, so this is damage or a mistake of ours; without that part
    /// the document would be another one.
    #[error("a stored update does not validate: {0}")]
    Invalid(#[from] InvalidUpdate),
    /// It did not before, as it stands.
    #[error(
        "what is stored does not validate, and it is not looked at again before that has changed; `tombolo verify` \
         and `tombolo quarantine` say more"
    )]
    Hopeless,
}

impl ReadError {
    pub(super) fn refusal(&self) -> StoreRefused {
        match self {
            Self::Store(error) => unreadable(error),
            Self::Invalid(_) | Self::Hopeless => StoreRefused::Damaged,
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
pub(super) fn open(common: &Common, id: &DocumentId, is_wanted: bool) -> Result<Opened, ReadError> {
    let document = common.store.document(id)?;
    let edition = document.edition();
    let known =
        unless_hopeless(common, &document, || if is_wanted { all(&document) } else { survey(&document) });
    known.map(|(coverage, parts)| Opened { document, edition, coverage, parts })
}

/// Does not look at a document again that twice did not validate as it stands. The first time it is looked for the
/// operation to blame.
fn unless_hopeless<T>(
    common: &Common,
    document: &Document,
    look: impl FnOnce() -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    // Before it is read: what changes meanwhile is looked at again.
    let (id, standing) = (document.id(), document.standing()?);
    if common.failed().is_hopeless(id, &standing) {
        // A fold may help yet. It is not made here, and remembers by itself what it cannot help.
        common.store.suspect(id);
        return Err(ReadError::Hopeless);
    }
    let looked = look();
    match &looked {
        Ok(_) => common.failed().forget(id),
        Err(ReadError::Invalid(_)) => {
            common.failed().note(id, standing);
            common.store.suspect(id);
        }
        Err(ReadError::Store(_) | ReadError::Hopeless) => {}
    }
    looked
}

/// Which changes a document has, and all of it if that had to be read.
type Known = (Coverage, Option<Arc<Parts>>);

fn survey(document: &Document) -> Result<Known, ReadError> {
    let Some(survey) = document.survey()? else { return all(document) };
    let mut coverage = Coverage::default();
    if let Err(error) = coverage.add_outline(&survey.outline, &survey.deletes) {
        tell_of_outline(document, &error);
        return all(document);
    }
    for payload in survey.tail {
        coverage.add(&Update::parse(payload)?);
    }
    Ok((coverage, None))
}

fn all(document: &Document) -> Result<Known, ReadError> {
    let (mut coverage, parts) = (Coverage::default(), parts(document)?);
    parts.add_to(&mut coverage)?;
    Ok((coverage, Some(parts)))
}

/// A mistake of ours; the document is whole without it.
fn tell_of_outline(document: &Document, error: &InvalidUpdate) {
    tracing::error!(document = %document.id(), %error, "an outline is wrong; run tombolo verify");
}

/// All of a document. Blocking.
///
/// # Errors
/// [`ReadError`] if it cannot be served.
pub(super) fn read(common: &Common, document: &Document) -> Result<Arc<Parts>, ReadError> {
    unless_hopeless(common, document, || parts(document))
}

fn parts(document: &Document) -> Result<Arc<Parts>, ReadError> {
    let Contents { snapshot, outline, tail } = document.read()?;
    let outlined =
        snapshot.as_ref().zip(outline).map(|(bytes, outline)| Outlined::new(bytes.clone(), outline));
    let outlined = match outlined.transpose() {
        Ok(outlined) => outlined,
        Err(error) => {
            tell_of_outline(document, &error);
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
pub(super) fn stored_snapshot(common: &Common, id: &DocumentId) -> Result<(Document, Vec<u8>), ReadError> {
    let Opened { document, coverage, .. } = open(common, id, false)?;
    Ok((document, coverage.encode_snapshot()))
}
