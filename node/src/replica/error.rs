//! What can go wrong with a replica, by what its owner does about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use autosurgeon::HydrateError;
use tombolo_core::engine::EngineError;
use tombolo_core::engine::edit::EditError;
use tombolo_core::id::{DocumentId, InvalidName};
use tombolo_core::presence::TooLarge;
use tombolo_core::update::InvalidUpdate;
use tombolo_relay::StartError;
use tombolo_relay::backplane::InvalidAddress;
use tombolo_store::journal::JournalError;
use tombolo_store::shelf::ShelfError;
use tombolo_store::{AppendError, OpenError, StoreError};

/// Why a replica did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// Another process, or another handle of this one, has the folder.
    #[error("the replica in {path} is in use; close it there first, or open another folder", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder does not open.
    #[error(transparent)]
    Open(OpenError),
    /// The system gives no threads or no random numbers.
    #[error("the system refuses what a replica needs; see its limits on threads and memory")]
    System(#[source] std::io::Error),
    /// What was given names no document.
    #[error("{name:?} names no document")]
    Name {
        /// What was given.
        name: String,
        /// Why not.
        #[source]
        source: InvalidName,
    },
    /// The document was deleted.
    #[error(
        "document {document} was deleted; use another name, or take its tombstone away with `tombolo doc purge`"
    )]
    Deleted {
        /// The document.
        document: DocumentId,
    },
    /// The document is not here.
    #[error("document {document} was evicted to make room: {address} has it; get it back with `fetch`")]
    Evicted {
        /// The document.
        document: DocumentId,
        /// Who had it then.
        address: String,
    },
    /// An evicted document did not come back.
    #[error(
        "document {document} was evicted to make room, and was not fetched: {reason}; link to {address}, which had it, \
         and fetch it again"
    )]
    NotFetched {
        /// The document.
        document: DocumentId,
        /// Who had it then.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The budget is used, and nothing can go.
    #[error(
        "document {document} was not changed: {used} of {budget} bytes are used, and nothing can be evicted; {unsynced} \
         bytes are not known to be anywhere else: sync, unpin or remove something, or set a larger budget"
    )]
    BudgetFull {
        /// The document.
        document: DocumentId,
        /// Bytes that are stored.
        used: u64,
        /// Bytes that may be.
        budget: u64,
        /// Bytes that nobody else is known to have.
        unsynced: u64,
    },
    /// Too much waits for a link.
    #[error(
        "document {document} was not changed: {documents} documents with {bytes} bytes of changes wait for {url} \
         already; sync, end that link, or drop what is parked"
    )]
    OutboxFull {
        /// The document.
        document: DocumentId,
        /// For which link.
        url: String,
        /// Documents that wait for it.
        documents: usize,
        /// Bytes of their changes.
        bytes: u64,
    },
    /// The marks of a budget make no sense.
    #[error(
        "a budget that warns at {warn_at} % and makes room down to {down_to} % makes no sense; warn at 100 % at most, \
         and go down to no more than that"
    )]
    Budget {
        /// In percent.
        warn_at: u8,
        /// In percent.
        down_to: u8,
    },
    /// Others count on what is here.
    #[error(
        "a replica that has a budget, or of which documents are evicted, cannot listen as one that keeps all; fetch them, \
         and open it without the one or the other"
    )]
    KeepsAll,
    /// The file of pins cannot be read or written.
    #[error(
        "what is pinned cannot be read or written in {path}; make it accessible, or remove it to begin without pins",
        path = path.display()
    )]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What is stored cannot be read. Nothing of it is lost by that.
    #[error("the replica cannot read what it has stored; run `tombolo verify` on its folder")]
    Read(#[source] StoreError),
    /// What is stored is whole, but the engine does not take it.
    #[error(
        "document {document} cannot be opened for edits: {reason}; `tombolo doc export` gives it out as it is"
    )]
    Unreadable {
        /// The document.
        document: DocumentId,
        /// What the engine said.
        reason: String,
    },
    /// The edit is not stored, and not shown.
    #[error("the edit was not stored")]
    NotStored(#[source] AppendError),
    /// The edit cannot be made.
    #[error("document {document} was not edited")]
    Edit {
        /// The document.
        document: DocumentId,
        /// Why not.
        #[source]
        source: EditError,
    },
    /// What came from elsewhere is no update.
    #[error("document {document} did not take what is no Yjs update; get it from its sender again")]
    Update {
        /// The document.
        document: DocumentId,
        /// What is wrong with it.
        #[source]
        source: InvalidUpdate,
    },
    /// What came from elsewhere is no Automerge change, document or sync message.
    #[error("document {document} did not take what does not read as Automerge; get it from its sender again")]
    Changes {
        /// The document.
        document: DocumentId,
        /// What is wrong with it.
        #[source]
        source: EngineError,
    },
    /// The document is not of the type that was asked for.
    #[error(
        "document {document} does not read as the type it was asked for; read it with `read`, or another type"
    )]
    Shape {
        /// The document.
        document: DocumentId,
        /// What does not fit.
        #[source]
        source: Box<HydrateError>,
    },
    /// Something that a peer was told of was set aside or released since, or an earlier message failed.
    #[error(
        "document {document} is not what its peer was told any more; begin the sync anew, with a fresh state on both \
         sides"
    )]
    SyncOver {
        /// The document.
        document: DocumentId,
    },
    /// What is to be shown to others is larger than they take.
    #[error("nothing else is shown in document {document}")]
    Presence {
        /// The document.
        document: DocumentId,
        /// Why.
        #[source]
        source: TooLarge,
    },
    /// No address of a relay or node.
    #[error("{url} is no address of a relay or node: {source}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: InvalidAddress,
    },
    /// There is such a link already.
    #[error("there is a link to {url} already; end that one first, to make it with other options")]
    Linked {
        /// Where it goes.
        url: String,
    },
    /// Anybody could come in.
    #[error(
        "{address} can be reached by others, who may do everything without a token; give one, or listen on 127.0.0.1"
    )]
    Exposed {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// It listens already.
    #[error("the replica listens at {address} already; close it to listen elsewhere")]
    Listening {
        /// Where.
        address: SocketAddr,
    },
    /// It cannot listen.
    #[error("the replica cannot listen")]
    Listen(#[source] StartError),
    /// The replica was closed.
    #[error("the replica is closed; open it again and its documents with it")]
    Closed,
    /// A document was asked for something in the middle of its own transaction.
    #[error(
        "document {document} is in the middle of a transaction of this very thread; use what the closure is given, or \
         come back after it"
    )]
    Nested {
        /// The document.
        document: DocumentId,
    },
}

impl ReplicaError {
    pub(super) fn unreadable(document: &DocumentId, error: &EngineError) -> Self {
        Self::Unreadable { document: document.clone(), reason: error.to_string() }
    }

    /// Of a store that was asked to read.
    pub(super) fn read(error: StoreError) -> Self {
        match error {
            StoreError::Deleted { document } => Self::Deleted { document },
            StoreError::Evicted { document, address } => Self::Evicted { document, address },
            StoreError::Append(error) => Self::not_stored(error),
            StoreError::Shelf(ShelfError::Closed) => Self::Closed,
            other => Self::Read(other),
        }
    }

    /// Of a store that was given an operation.
    pub(super) fn not_stored(error: AppendError) -> Self {
        match error {
            AppendError::Deleted { document } => Self::Deleted { document },
            AppendError::Journal { source: JournalError::Closed, .. } => Self::Closed,
            other => Self::NotStored(other),
        }
    }
}
