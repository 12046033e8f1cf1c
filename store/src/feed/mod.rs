//! The change feed: which documents changed since somebody last asked.
//!
//! Each change of a document that is durable has a number. What the takeover has put on the shelf is in one file that
//! only grows ([`file`]); what it has not is in its queue, and in the journal after a stop. So an append pays a counter
//! for it, and memory follows what is on its way, not what is stored.
//!
//! Guarantees: who asks with a checkpoint hears of every document that changed since, once, at its latest number; a
//! checkpoint that this store did not give, or whose feed is gone, gives everything. Nobody who never asks pays: the
//! file is made at the first question, and read when it is needed. The file is believed only if it accounts for all that the
//! journal does not hold any more; otherwise, and after any failure, it is given up, which costs one full listing.

mod ask; // asking an open store
mod checkpoint; // what somebody who asked keeps
mod file; // rows in one file: read, appended to, made anew
mod keeper; // the store's feed: read late, made when asked for, given up when in doubt
mod page; // each document once
mod rewrite; // without what is superseded
mod row; // bytes of the file
mod scan; // row after row
#[cfg(test)]
mod tests;
mod verify; // what is wrong with it
mod watch; // who hears of changes as they come

pub use checkpoint::{Changes, Checkpoint, FeedId};
pub(crate) use keeper::Feed;
pub(crate) use verify::{Fault, verify};
pub(crate) use watch::Watchers;
pub use watch::{ChangeWatch, Heard};
