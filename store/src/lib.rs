//! What survives: every operation whose receipt was handed out is on the disk.
//!
//! The way of an operation: [`Document::append`] → [`journal`] (append, one fdatasync for many) → receipt →
//! takeover into the [`shelf`] behind it, in larger pieces → compaction through the [`worker`].
//!
//! Guarantees: a receipt means fsynced; reading shows everything appended before, once and in order;
//! a stop at any instant loses nothing that had a receipt; a document that nobody has open costs no memory.
//! Documents of people whom one does not trust need a [`worker::ProcessWorker`]: see [`worker::ThreadWorker`].
//! Start at [`Store::open`]; bytes on disk are in `store/FORMAT.md`.

mod clock;
mod compact;
mod config;
mod delete;
mod describe;
pub mod disk;
mod document;
mod error;
mod evict;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod idle;
pub mod journal;
pub mod maintain;
pub mod shelf;
mod space;
mod store;
mod stuck;
mod takeover;
pub mod worker;

pub use compact::CompactionPolicy;
pub use config::StoreConfig;
pub use describe::Description;
pub use document::{Document, Done, Held, Standing};
pub use error::{AppendError, OpenError, StoreError};
pub use evict::Kept;
pub use feed::{ChangeWatch, Changes, Checkpoint, FeedId, Heard};
pub use shelf::{Contents, DocumentRecord, Engine, Noted, Release, SetAside, Stub, Survey};
pub use space::{Level, SpaceMetrics};
pub use store::{Store, StoreMetrics};
