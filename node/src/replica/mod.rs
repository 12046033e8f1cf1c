//! The replica: documents on this device that can be edited for ever without a network.
//!
//! Open a folder, open documents in it, edit them in transactions, read them, watch them change:
//!
//! ```
//! use tombolo::replica::{Origin, Replica};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("notes");
//! let replica = Replica::open(&folder)?;
//! let today = replica.yjs("notes/today")?;
//! let _watch = today.observe(|change| {
//!     if change.origin == Origin::Local {
//!         println!("{} bytes of {} are on the disk", change.update.len(), change.document);
//!     }
//! });
//! today.edit(|edit| {
//!     edit.text("text").push("Milk, bread, salt\n");
//!     edit.map("meta").insert("colour", "blue");
//!     Ok(())
//! })?;
//! assert_eq!(today.text("text")?, "Milk, bread, salt\n");
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees:
//!
//! - An edit is fsynced when the call returns, and never waits for a network. Who reads the document sees it at once.
//! - A transaction becomes one operation, or, if its closure fails, nothing.
//! - What was edited apart merges: [`YjsDocument::state`] of one replica goes into [`YjsDocument::apply`] of another,
//!   in any order and as often as one likes; so it is with an [`AutomergeDocument`].
//! - Observers hear of each change once, in order, when it is durable.
//! - One process at a time has a folder; a second one is told so.
//!
//! A folder is the same that `tombolo serve` keeps its documents in, one after the other.
//!
//! An [`AutomergeDocument`] is edited with the crate [`automerge`](crate::automerge), or as a Rust value with
//! [`autosurgeon`](crate::autosurgeon), in the same kind of transaction. Clients of automerge-repo know it by its URL.
//!
//! [`Replica::link`] keeps documents in sync with nodes and other replicas, and Yjs documents with relays as well;
//! [`Replica::listen`] lets other replicas come, and stock clients. Not there yet: Automerge documents through a relay that
//! keeps nothing.
//!
//! [`Replica::set_budget`] says how much of the disk a replica may take: what others keep is evicted, and comes back with
//! [`Replica::fetch`].
//!
//! Documents are read by yrs and automerge in this process, without the wall that a server has around them
//! ([`ThreadWorker`](tombolo_store::worker::ThreadWorker) says why that matters): open documents of people whom you
//! trust.

mod automerge; // one open Automerge document
mod budget; // how much of the disk it takes, and what goes
mod changes; // who watches a document, and in which order they hear
#[cfg(feature = "server")]
pub(crate) mod detached; // a copy in hand, for notes
mod document; // one open Yjs document
mod error;
mod handle;
mod link; // to relays, nodes and other replicas
mod linked;
mod listen; // for others that link to this one
mod open; // what the documents of both formats share
mod presence; // who is in a document now
mod splices; // what makes one text of another
mod urgency; // how one edit is to be treated

pub use self::automerge::{AutomergeDocument, SyncReceived, SyncState};
pub use budget::{Budget, Fetched, MadeRoom, Usage};
pub use changes::{Change, Observation, Origin};
pub use document::YjsDocument;
pub use error::ReplicaError;
pub use handle::{Documents, Replica};
pub use link::{
    Apart, Backlog, BacklogEstimate, Decision, Lag, LinkId, LinkOptions, LinkState, LinkStatus, Mode,
    OutboxMax, Priority, Stale, Standing, Subscription,
};
pub use listen::ListenOptions;
pub use presence::{PresenceChange, PresenceObservation, States};
pub use splices::splices;
pub use tombolo_core::dialect::replica::Outcome;
pub use tombolo_core::engine::edit::{Any, Array, Edit, EditError, Map, Splice, Text, View};
pub use tombolo_core::id::{DocumentId, Format, ReplicaId};
pub use tombolo_core::pattern::{InvalidPattern, Pattern};
pub use tombolo_relay::backplane::Token;
pub use tombolo_store::Stub;
pub use urgency::EditOptions;
