//! What a merge worker is asked and what it answers: ids and bytes, so that a pipe can carry it.

use bytes::Bytes;
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;

/// A question to the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Fold a snapshot and its tail into one snapshot, proved to be the same document before it is handed out:
    /// [`Reply::Snapshot`], or [`Reply::Partly`] if changes of Automerge wait for others.
    Compact {
        /// Which engine.
        kind: Kind,
        /// Snapshot and operations, in any order.
        parts: Vec<Bytes>,
    },
    /// Show a document in another form: [`Reply::View`].
    View {
        /// Which engine.
        format: Format,
        /// How.
        form: Form,
        /// Only this member of it.
        root: Option<String>,
        /// Snapshot and operations, in any order.
        parts: Vec<Bytes>,
    },
    /// Make an operation of what somebody has in another form: [`Reply::View`].
    Make {
        /// Which engine.
        format: Format,
        /// What `content` is.
        form: Form,
        /// Where it goes.
        root: Option<String>,
        /// The document in that form.
        content: Bytes,
    },
    /// Hydrate a document for syncing; nothing happens if it is open: [`Reply::Opened`].
    SessionOpen {
        /// Which.
        document: DocumentId,
        /// Everything stored of it.
        parts: Vec<Bytes>,
    },
    /// Add a peer with a fresh sync state: [`Reply::Done`].
    SessionJoin {
        /// To which document.
        document: DocumentId,
        /// Who, named by the caller.
        peer: u64,
    },
    /// Take a peer's sync message in: [`Reply::Received`].
    SessionReceive {
        /// Of which document.
        document: DocumentId,
        /// From whom.
        peer: u64,
        /// The message as it came off the wire, validated.
        message: Bytes,
    },
    /// Ask for the next messages to all peers: [`Reply::Generated`].
    SessionGenerate {
        /// Of which document.
        document: DocumentId,
    },
    /// Remove a peer; the session closes with its last one: [`Reply::Left`].
    SessionLeave {
        /// From which document.
        document: DocumentId,
        /// Who.
        peer: u64,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is so.
    Done,
    /// The folded bytes, of the same kind as the parts.
    Snapshot(Bytes),
    /// The document in the form asked for, or the operation made of one.
    View(Bytes),
    /// The folded bytes of the parts but for some, each change of which that has its ground is in them all the same.
    Partly {
        /// As [`Reply::Snapshot`].
        snapshot: Bytes,
        /// Places of the parts that have a change that waits for one that is not there, ascending.
        waiting: Vec<u64>,
    },
    /// The document is hydrated.
    Opened {
        /// Whether it has no change at all.
        empty: bool,
    },
    /// The message is taken in.
    Received {
        /// New changes, to be journaled before anything is sent; empty if there are none.
        changes: Bytes,
        /// Whether the document still has no change at all.
        empty: bool,
    },
    /// Messages to send, by peer.
    Generated {
        /// Peer and message.
        messages: Vec<(u64, Bytes)>,
        /// Whether the document has no change at all.
        empty: bool,
    },
    /// The peer is gone.
    Left {
        /// Whether it was the last one.
        closed: bool,
    },
}

/// Why a worker did not answer, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The engine does not accept the bytes; sessions are as before. Close the peer, or keep the tail.
    #[error("the merge worker refused: {reason}")]
    Refused {
        /// The engine's words.
        reason: String,
    },
    /// There is no engine to ask: no process, thread or memory for one, or no program; or it was ended from outside, or
    /// told to give up. Nobody's bytes are to blame; try again later. Sessions that it held are gone.
    #[error("no merge worker is there to answer: {reason}; see that there are memory and processes for one")]
    Unavailable {
        /// What the system said.
        reason: String,
    },
    /// An edit waits for one that is not among the parts. Keep it in the tail.
    #[error("an edit waits for one that is not here")]
    Pending,
    /// A fold is not the document that its parts are, by its state hash. Keep the tail: it is right.
    #[error("a fold would not be the same document: {reason}")]
    Diverged {
        /// What does not agree.
        reason: String,
    },
    /// The engine died of the request; the session, if it was for one, is closed for all its peers.
    /// Quarantine the bytes, open the session again from the stored parts.
    #[error("the merge worker died of the request: {reason}")]
    Died {
        /// What it said last.
        reason: String,
    },
    /// The document has no session, or the peer has not joined the one it has. Open and join again.
    #[error("the document has no session with this peer")]
    NoSession,
}
