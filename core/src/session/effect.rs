//! What comes out of a session.

use bytes::Bytes;

use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::operation::Stamp;
use crate::schedule::Priority;
use crate::update::{StateVector, Update};
use crate::validate::AwarenessUpdate;

/// Names one update on its way into the store of this replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names one opening of an Automerge document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Talk(pub u64);

/// What the driver must do.
#[derive(Clone, Debug)]
#[must_use]
pub enum Effect {
    /// Send this frame.
    Send {
        /// Frames of one lane keep their order: a document's handle, or 0 for what is about none.
        lane: u64,
        /// How urgent it is.
        priority: Priority,
        /// What.
        frame: Vec<u8>,
    },
    /// Say what is durable here of a document, with all that was to be brought before: answer each once with
    /// [`Session::described`](super::Session::described), those of a document in their order.
    Describe(DocumentId),
    /// Read what the other end lacks of a document, with all that was to be brought before: answer each once with
    /// [`Session::lacking`](super::Session::lacking), those of a document in their order, because answers name nobody. Also
    /// after its connection is gone: then the answer is passed over.
    Read {
        /// The document.
        document: DocumentId,
        /// What is there.
        have: StateVector,
    },
    /// Store what came; answer each once with [`Session::brought`](super::Session::brought) when it is durable, also after
    /// its connection is gone.
    Bring {
        /// Names it in the answer.
        token: Token,
        /// The document.
        document: DocumentId,
        /// What came.
        update: Update,
    },
    /// Take in the sync message that came of an Automerge document, if one did, and make the next one: answer each once, in
    /// their order, with [`Session::synced`](super::Session::synced). The sync state is that of the talk; one that was not
    /// heard of before begins fresh.
    Sync {
        /// Whose sync state it is.
        talk: Talk,
        /// The document.
        document: DocumentId,
        /// What came.
        message: Option<Bytes>,
    },
    /// Drop the sync state of a talk.
    Over(Talk),
    /// Show presence that came.
    Presence {
        /// The document.
        document: DocumentId,
        /// What came.
        update: AwarenessUpdate,
    },
    /// The other end's clock said this just now: observe it, within the bound on drift.
    Stamp(Stamp),
    /// It is not known which documents the other end lacks: [`Session::add`](super::Session::add) all that are to be kept in
    /// sync, not only those that changed since what was acknowledged.
    All,
    /// This document was deleted at the other end, whatever was acknowledged of it before: what is here is to be kept. Always
    /// before what follows from it is [`Effect::Reached`].
    Gone(DocumentId),
    /// There is a document on the other end that nobody asked for here: answer with
    /// [`Session::add`](super::Session::add) or [`Session::decline`](super::Session::decline).
    Found(DocumentId),
    /// Everything of this replica up to this position is fsynced by this keeper: keep it for
    /// [`Session::remember`](super::Session::remember), if only to save work.
    Acknowledged {
        /// Whose store.
        keeper: (ReplicaId, Incarnation),
        /// How far.
        position: u64,
    },
    /// Everything that the other end had until this checkpoint is durable here: keep it likewise.
    Reached {
        /// Whose store.
        keeper: (ReplicaId, Incarnation),
        /// What to say to it the next time.
        checkpoint: Bytes,
    },
}
