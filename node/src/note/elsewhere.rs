//! Notes that were evicted: fetched when somebody wants to read one.

use std::time::Duration;

use tombolo_core::id::DocumentId;

use super::error::NoteError;
use super::links::NoteLink;
use super::notebook::{Note, Notebook};
use crate::replica::ReplicaError;

/// How long a note may take to come.
const LIMIT: Duration = Duration::from_secs(30);

impl Notebook {
    /// As [`Notebook::read`]; a note that was evicted is fetched over these links first.
    ///
    /// # Errors
    /// [`NoteError::Evicted`] if there are none, or one is of a server that has the folder; else as of [`Notebook::read`].
    pub fn read_or_fetch(&self, name: &str, links: &[NoteLink]) -> Result<Option<Note>, NoteError> {
        let address = match self.read(name) {
            Err(NoteError::Replica(ReplicaError::Evicted { address, .. })) => address,
            read => return read,
        };
        let Self::Here(replica) = self else { return Ok(None) };
        if links.is_empty() {
            return Err(NoteError::Evicted { name: name.to_owned(), address });
        }
        for link in links {
            replica.link(&link.url, link.options())?;
        }
        let id =
            DocumentId::yjs(name).map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        replica.fetch(&id, LIMIT)?;
        self.read(name)
    }
}
