//! The notes of a folder: in this process, if nobody uses it; else through the socket of the server that does.
//!
//! Both do the same with the same bytes: a note is read as its whole state, changed on a copy of it, and the change is
//! brought as an update, which merges with whatever happened meanwhile.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use tombolo_core::engine::edit::{Edit, EditError, Splice};
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::update::Update;

use super::TEXT_ROOT;
use super::error::NoteError;
use crate::admin::{Client, Code, Event, FileForm, FormatName, Named, Request};
use crate::replica::{Origin, Replica, ReplicaError, detached, splices};

/// Where notes are.
pub enum Notebook {
    /// In a folder that this process has open.
    Here(Replica),
    /// In a folder that a server has open.
    There(PathBuf),
}

/// A note as it was read.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// All of its document, a Yjs update: what a change is made on.
    pub state: Bytes,
}

impl Note {
    /// A note with nothing in it yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: String::new(),
            state: Bytes::copy_from_slice(Update::empty().bytes()),
        }
    }
}

/// A Yjs document of the folder, which may be a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Operations that it has had.
    pub operations: u64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Who has it, if it was evicted.
    pub evicted: Option<String>,
}

/// Documents asked for at once.
const PAGE: usize = 1000;

impl Notebook {
    /// Whether a server has the folder.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    /// The Yjs documents, in the order of their names.
    ///
    /// # Errors
    /// [`NoteError`] if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, NoteError> {
        let mut listed = Vec::new();
        match self {
            Self::Here(replica) => {
                let mut after = None;
                loop {
                    let page =
                        replica.store().descriptions(after.as_ref(), PAGE).map_err(ReplicaError::Read)?;
                    let Some((last, _)) = page.last() else { break };
                    after = Some(last.clone());
                    let notes = page.into_iter().filter(|(id, _)| id.format() == Format::Yjs);
                    listed.extend(notes.map(|(id, described)| {
                        let (operations, bytes) = (described.operations(), described.bytes());
                        let evicted = described.stub.map(|stub| stub.address);
                        Listed { name: id.to_string(), operations, bytes, evicted }
                    }));
                }
            }
            Self::There(_) => {
                let request = Request::List { prefix: String::new(), limit: u64::MAX };
                self.ask(&request, &Bytes::new(), &mut |event| {
                    if let Event::Row(row) = event {
                        listed.extend(listed_of(&row));
                    }
                })?;
            }
        }
        Ok(listed)
    }

    /// How many documents were deleted, whose names are still refused.
    ///
    /// # Errors
    /// [`NoteError`] if the folder cannot be read.
    pub fn deleted(&self) -> Result<usize, NoteError> {
        match self {
            Self::Here(replica) => Ok(replica.store().tombstones().map_err(ReplicaError::Read)?.len()),
            Self::There(_) => {
                let mut count = 0;
                self.ask(&Request::Tombstones, &Bytes::new(), &mut |event| {
                    count += usize::from(matches!(event, Event::Row(_)));
                })?;
                Ok(count)
            }
        }
    }

    /// One note; none if there is none, or the document of its name has no text.
    ///
    /// # Errors
    /// [`NoteError`] if it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Note>, NoteError> {
        let id = document(name)?;
        let state = match self {
            Self::Here(replica) => {
                if replica.store().describe(&id).map_err(ReplicaError::Read)?.is_none() {
                    return Ok(None);
                }
                replica.yjs(name)?.state()?
            }
            Self::There(_) => {
                let document = Named::of(&id);
                let mut state = Vec::new();
                let request = Request::Export { document, form: FileForm::Update, root: None };
                let asked = self.ask(&request, &Bytes::new(), &mut |event| {
                    if let Event::Bytes(bytes) = event {
                        state.extend_from_slice(bytes);
                    }
                });
                match asked {
                    Err(NoteError::Server(failure)) if failure.code == Code::Missing => return Ok(None),
                    asked => asked.map(|_| Bytes::from(state))?,
                }
            }
        };
        let text = detached::text(&id, &state, TEXT_ROOT)?;
        Ok(text.map(|text| Note { name: name.to_owned(), text, state }))
    }

    /// Makes the text of a note what `text` says, as a change of what was read: only where the two differ is anything
    /// touched, and what the note has become meanwhile stays. Durable when it returns; false if there is nothing to
    /// change.
    ///
    /// # Errors
    /// [`NoteError`] if it cannot be stored, or was deleted meanwhile.
    pub fn write(&self, note: &Note, text: &str) -> Result<bool, NoteError> {
        let changes = splices(&note.text, text);
        if changes.is_empty() {
            return Ok(false);
        }
        self.bring(note, &changes)
    }

    fn bring(&self, note: &Note, changes: &[Splice]) -> Result<bool, NoteError> {
        let id = document(&note.name)?;
        let mut is_plain = true;
        let edit = |edit: &mut Edit<'_, '_>| -> Result<(), EditError> {
            let mut text = edit.text(TEXT_ROOT);
            // What is embedded counts in positions, and a text of characters does not show it.
            is_plain = text.len() as usize == note.text.encode_utf16().count();
            if is_plain { text.splice(changes) } else { Err(EditError::Cancelled) }
        };
        let edited = detached::edit(&id, &note.state, edit);
        if !is_plain {
            return Err(NoteError::Embeds { name: note.name.clone() });
        }
        let Some(update) = edited? else { return Ok(false) };
        match self {
            Self::Here(replica) => {
                replica.yjs(&note.name)?.bring(&update, Origin::Local)?;
            }
            Self::There(_) => {
                let (form, bytes) = (FileForm::Update, update.len() as u64);
                let request = Request::Import { document: Named::of(&id), form, root: None, bytes };
                self.ask(&request, &update, &mut |_| ())?;
            }
        }
        Ok(true)
    }

    /// Deletes a note, so that nobody brings it back; its name stays refused. False if there is none.
    ///
    /// # Errors
    /// [`NoteError`] if that cannot be stored.
    pub fn remove(&self, name: &str) -> Result<bool, NoteError> {
        let id = document(name)?;
        match self {
            Self::Here(replica) => Ok(replica.remove(name)?),
            Self::There(_) => {
                let request = Request::Remove { document: Named::of(&id) };
                match self.ask(&request, &Bytes::new(), &mut |_| ()) {
                    Err(NoteError::Server(failure)) if failure.code == Code::Missing => Ok(false),
                    asked => asked.map(|_| true),
                }
            }
        }
    }

    /// Gives the folder free.
    ///
    /// # Errors
    /// [`NoteError`] if something could not be put away; what was durable is.
    pub fn close(self) -> Result<(), NoteError> {
        match self {
            Self::Here(replica) => Ok(replica.close()?),
            Self::There(_) => Ok(()),
        }
    }

    fn ask(
        &self,
        request: &Request,
        body: &Bytes,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<Value, NoteError> {
        let Self::There(folder) = self else { return Ok(Value::Null) };
        let client = Client::connect(folder)
            .map_err(|source| NoteError::File { path: folder.join("admin.sock"), source })?;
        let done = client.ask(request, body, &mut |event| {
            sink(event);
            Ok(())
        });
        Ok(done?)
    }
}

fn document(name: &str) -> Result<DocumentId, NoteError> {
    let named = DocumentId::yjs(name);
    Ok(named.map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?)
}

fn listed_of(row: &Value) -> Option<Listed> {
    if row.get("format")?.as_str()? != FormatName::Yjs.as_str() {
        return None;
    }
    let number = |key| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let name = row.get("name")?.as_str()?.to_owned();
    let evicted = row.get("evicted").and_then(Value::as_str).map(str::to_owned);
    Some(Listed { name, operations: number("operations"), bytes: number("bytes"), evicted })
}
