//! The archive: the member of each room that stores. Its acknowledgement means fsynced.
//!
//! Joins are served from stored bytes without a decoded document; what a client sends again is recognised
//! by its ranges and costs no second record. A document that nobody has open costs no memory.

mod acknowledge;
mod automerge;
mod cache;
mod failed; // what cannot be opened, and is not tried again
mod following; // who hears of what changes
mod member;
mod parked; // what waits for a document that is being examined
mod reading; // which changes a stored document has, and what is served of it
mod replies; // what automerge-repo sessions say, once the disk has answered
mod state;

pub use member::StoreArchive;
