//! Automerge chunks and sync messages, judged without a document.
//!
//! automerge 0.12.0 trusts whatever has a right checksum: claimed lengths abort on allocation, run
//! lengths hang, counters overflow (HAZARDS: am-1, am-2, am-3). Here every count is held against the
//! bytes that remain, compression is bounded, and columns are walked run by run, never row by row for a
//! claimed run. Checksums themselves are left to the engine, which refuses a wrong one safely.
//!
//! Layout of `automerge` 0.12.0 `src/sync.rs`, `src/storage/`. Bundles (chunk type 3) are refused: the
//! format is experimental there and neither `save` nor the sync protocol writes it.

mod budget;
mod chunk;
mod columns;
mod error;
mod leb;
mod ops;
mod sync;

#[cfg(test)]
mod tests;

pub use chunk::validate_chunks;
pub use error::InvalidAutomerge;
pub use sync::{SyncOutline, validate_sync_message};
