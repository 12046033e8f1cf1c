//! What is asked and answered, as JSON.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_core::id::{DocumentId, Format, InvalidName};
use tombolo_store::maintain::Progress;
use tombolo_store::worker::WorkerError;
use tombolo_store::{AppendError, StoreError};

/// Version of the protocol; it changes when an older end could misunderstand.
pub const VERSION: u64 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Documents in the order of their names: a row each.
    List {
        /// Only names that start so.
        prefix: String,
        /// Most rows.
        limit: u64,
    },
    /// One document from the outside.
    Show {
        /// Which.
        document: Named,
        /// Whether its content as JSON comes before the answer, as bytes.
        content: bool,
    },
    /// One document as a file: bytes.
    Export {
        /// Which.
        document: Named,
        /// In which form.
        form: FileForm,
        /// Only this member of it.
        root: Option<String>,
    },
    /// A file into a document; its bytes follow the request.
    Import {
        /// Which.
        document: Named,
        /// In which form it is.
        form: FileForm,
        /// Where a text or a JSON value goes.
        root: Option<String>,
        /// Length of the file.
        bytes: u64,
    },
    /// Deletes a document; its tombstone stays.
    Remove {
        /// Which.
        document: Named,
    },
    /// Deleted documents: a row each.
    Tombstones,
    /// Takes a tombstone away, so that the name may be used again.
    Purge {
        /// Whose.
        document: Named,
    },
    /// What goes on in the rooms: a row for each of the busiest.
    Rooms {
        /// How long to look, in ms.
        over_ms: u64,
        /// Most rows.
        limit: u64,
    },
    /// Looks at everything that is stored.
    Verify,
    /// Gives back all the space that can be given back.
    Compact,
    /// Documents with operations in quarantine: a row each.
    Quarantined,
    /// What of a document is in quarantine: a row each.
    Quarantine {
        /// Of which.
        document: Named,
    },
    /// Puts an operation in quarantine back into its document, or gives its payload up.
    Release {
        /// Of which document.
        document: Named,
        /// Whose operation, as 32 hex digits.
        replica: String,
        /// Its number.
        seq: u64,
        /// Back into the document, or dropped.
        retry: bool,
    },
}

/// A document's name as people and `/api/documents` write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The format.
    pub format: FormatName,
    /// The room name, or the base58check id.
    pub name: String,
}

/// A format's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatName {
    /// Yjs.
    Yjs,
    /// Automerge.
    Automerge,
}

impl FormatName {
    /// Of this format.
    #[must_use]
    pub fn of(format: Format) -> Self {
        match format {
            Format::Yjs => Self::Yjs,
            Format::Automerge => Self::Automerge,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yjs => "yjs",
            Self::Automerge => "automerge",
        }
    }
}

impl Named {
    /// The name of a document.
    #[must_use]
    pub fn of(id: &DocumentId) -> Self {
        Self { format: FormatName::of(id.format()), name: id.to_string() }
    }

    /// The document of this name.
    ///
    /// # Errors
    /// [`InvalidName`] if there can be none.
    pub fn id(&self) -> Result<DocumentId, InvalidName> {
        match self.format {
            FormatName::Yjs => DocumentId::yjs(&self.name),
            FormatName::Automerge => DocumentId::automerge_from_text(&self.name),
        }
    }
}

/// What a file of a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FileForm {
    /// A Yjs update in its v1 encoding
    Update,
    /// A Yjs update in its v2 encoding
    UpdateV2,
    /// Automerge chunks, as Automerge saves a document
    Automerge,
    /// JSON
    Json,
    /// Plain text
    Text,
}

impl FileForm {
    /// Whether it is for people to read.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::Text)
    }
}

/// Something on the way to the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// How far it is.
    Progress(Progress),
    /// A row of a list.
    Row(Value),
    /// A piece of a file.
    Bytes(&'a [u8]),
}

/// Where events go. An error ends the request: nobody listens any more.
pub type Sink<'a> = dyn FnMut(Event<'_>) -> io::Result<()> + 'a;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// By who must act.
    pub code: Code,
    /// In a sentence.
    pub message: String,
}

/// Kinds of failures, by who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The two ends speak different versions.
    Version,
    /// The request makes no sense.
    Request,
    /// There is no such document.
    Missing,
    /// The document, or the file, has no such form.
    Unfit,
    /// The store did not take it.
    Refused,
    /// The store cannot read or write now.
    Store,
    /// Too many ask at once.
    Busy,
    /// Nobody listens any more.
    Gone,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unfit(message: impl Into<String>) -> Self {
        Self::new(Code::Unfit, message)
    }

    /// With all its causes, because only words go over a socket.
    pub(super) fn because(code: Code, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(why) = cause {
            message.push_str(": ");
            message.push_str(&why.to_string());
            cause = why.source();
        }
        Self { code, message }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::because(Code::Request, &error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::because(Code::Gone, &error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Deleted { .. } => Code::Missing,
            _ => Code::Store,
        };
        Self::because(code, &error)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        Self::because(Code::Refused, &error)
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Refused { reason } => Self::unfit(reason),
            WorkerError::Pending => Self::unfit(error.to_string()),
            other => Self::because(Code::Store, &other),
        }
    }
}

/// The first line of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) tombolo: u64,
    pub(super) request: Request,
}

/// One line of a server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Progress { done: u64, of: u64 },
    Row(Value),
    Bytes(u64),
    Done(Value),
    Error(Failure),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn golden_lines() {
        let document = Named { format: FormatName::Yjs, name: "a b".into() };
        let requests = [
            (
                Request::List { prefix: "p".into(), limit: 3 },
                r#"{"tombolo":1,"request":{"list":{"prefix":"p","limit":3}}}"#,
            ),
            (
                Request::Show { document: document.clone(), content: true },
                r#"{"tombolo":1,"request":{"show":{"document":{"format":"yjs","name":"a b"},"content":true}}}"#,
            ),
            (
                Request::Export { document: document.clone(), form: FileForm::Text, root: Some("r".into()) },
                r#"{"tombolo":1,"request":{"export":{"document":{"format":"yjs","name":"a b"},"form":"text","root":"r"}}}"#,
            ),
            (
                Request::Remove { document: document.clone() },
                r#"{"tombolo":1,"request":{"remove":{"document":{"format":"yjs","name":"a b"}}}}"#,
            ),
            (Request::Tombstones, r#"{"tombolo":1,"request":"tombstones"}"#),
            (
                Request::Purge { document: document.clone() },
                r#"{"tombolo":1,"request":{"purge":{"document":{"format":"yjs","name":"a b"}}}}"#,
            ),
            (
                Request::Rooms { over_ms: 1000, limit: 50 },
                r#"{"tombolo":1,"request":{"rooms":{"over_ms":1000,"limit":50}}}"#,
            ),
            (Request::Verify, r#"{"tombolo":1,"request":"verify"}"#),
            (Request::Compact, r#"{"tombolo":1,"request":"compact"}"#),
            (Request::Quarantined, r#"{"tombolo":1,"request":"quarantined"}"#),
            (
                Request::Quarantine { document: document.clone() },
                r#"{"tombolo":1,"request":{"quarantine":{"document":{"format":"yjs","name":"a b"}}}}"#,
            ),
            (
                Request::Release { document: document.clone(), replica: "0f".into(), seq: 2, retry: true },
                r#"{"tombolo":1,"request":{"release":{"document":{"format":"yjs","name":"a b"},"replica":"0f","seq":2,"retry":true}}}"#,
            ),
            (
                Request::Import { document, form: FileForm::UpdateV2, root: None, bytes: 7 },
                r#"{"tombolo":1,"request":{"import":{"document":{"format":"yjs","name":"a b"},"form":"update-v2","root":null,"bytes":7}}}"#,
            ),
        ];
        for (request, line) in requests {
            let asked = Asked { tombolo: VERSION, request: request.clone() };
            assert_eq!(serde_json::to_string(&asked).unwrap(), line);
            assert_eq!(serde_json::from_str::<Asked>(line).unwrap().request, request);
        }
        for (line, text) in [
            (Line::Progress { done: 1, of: 2 }, r#"{"progress":{"done":1,"of":2}}"#),
            (Line::Row(json!({"a": 1})), r#"{"row":{"a":1}}"#),
            (Line::Bytes(5), r#"{"bytes":5}"#),
            (Line::Done(json!({})), r#"{"done":{}}"#),
            (
                Line::Error(Failure::new(Code::Missing, "no")),
                r#"{"error":{"code":"missing","message":"no"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            serde_json::from_str::<Line>(text).unwrap();
        }
    }
}
