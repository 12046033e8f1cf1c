//! The session: what a replica and the other end of one link say to each other, as a plain state machine.
//!
//! The other end is a relay, a node or another replica. Which documents are opened there, what each side lacks, what has
//! arrived there for good, and what is refused, is decided here; the driver reads and writes the store and the
//! connection, and hands in what comes of it.
//!
//! Guarantees: what [`Session::acknowledged`] covers was called stored by a keeper of the same incarnation, and so is
//! fsynced there; everything else is brought again after any break, which changes nothing where it is known; an operation
//! that is refused for good stays here, named, and stops nothing but its document; memory grows with the documents that
//! differ, not with those that are kept. Drive it with [`Session::begin`], [`Session::receive`] and
//! [`Session::changed`], and carry out what [`Session::poll`] hands over, in order.
//!
//! Frames are those of [`crate::dialect::replica`]; how a Yjs document is reconciled is y-protocols' (`sync.js`), with
//! acknowledgements besides; an Automerge document, by automerge's sync protocol.

mod dropping; // what is given up by decision
mod effect;
mod failing; // what cannot be read here
mod holding; // what waits for a decision after a long time apart
mod listing; // what changed there
mod machine;
mod observing; // what can be seen of it
mod paging; // what the other end lacks, if it is large
mod places; // what is open, and what waits for that
mod queue; // what waits for a place
mod receiving; // what the other end says
mod standing; // how a document stands
mod talking; // Automerge documents
#[cfg(test)]
mod tests;
mod waiting; // for all that there was at one moment

pub use dropping::Dropped;
pub use effect::{Effect, Talk, Token};
pub use failing::Failed;
pub use holding::Apart;
pub use machine::{Change, Session, SessionConfig};
pub use standing::{Lag, Standing};
pub use talking::Synced;
