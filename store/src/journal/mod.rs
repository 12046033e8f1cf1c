//! The journal: where durable begins.
//!
//! Guarantees: an operation whose receipt was handed out survives a power cut; operations come back once
//! and in the order of their receipts; a torn tail, which nobody had a receipt for, is cut; any other damage
//! is named with its segment and offset and never skipped in silence; after a failed sync nothing is
//! acknowledged any more. Start at [`Journal::append`]; bytes on disk are in `store/FORMAT.md`.

mod ahead; // room for the next segment, made beside
mod checksum; // CRC32C, and CRC-32 in version 1
mod committer; // the one thread that writes and syncs
mod error; // what can be wrong
mod finding; // what looking at it finds
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handle; // append, barrier, reclaim, close
mod inspect; // everything that is wrong, without changing it
mod latency; // how long commits take
mod record; // one operation as bytes
mod replay; // reading it back after any kind of stop
mod salvage; // what can still be read of a damaged one
mod segment; // a preallocated file of records, chained by hash
#[cfg(test)]
mod tests;
mod torn; // what a write that was cut off leaves
mod walk; // records whatever lies between them
mod writer; // batches into segments

pub(crate) use committer::cost;
pub use committer::{JournalStats, Receipt};
pub use error::JournalError;
pub use finding::{Finding, Found, Inspection, Journaled};
pub use handle::Journal;
pub use inspect::inspect;
pub use latency::Latency;
pub use record::PAYLOAD_BYTES_MAX;
pub use replay::Replay;
pub use salvage::{Salvage, salvage};
pub use segment::SegmentId;

/// A place in the journal: a segment and an offset in it, in bytes.
pub(crate) type Position = (SegmentId, u64);

/// Settings of a journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalConfig {
    /// Preallocated size of a segment in bytes; one operation that is larger gets a segment of its own.
    pub segment_bytes: u64,
}
