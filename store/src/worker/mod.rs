//! The merge worker: the only place where a document is decoded.
//!
//! The engines can panic, hang or overflow a stack on well-formed bytes (HAZARDS yrs-1, am-1), so they run
//! behind a trait that passes bytes and ids only: [`ProcessWorker`] for servers, [`ThreadWorker`] for embedded
//! replicas and tests.
//!
//! Guarantees: a request that kills the engine answers [`WorkerError::Died`] and nothing else suffers but
//! the session it touched; what was in memory when an engine panicked is never used again; whatever a
//! worker holds can be rebuilt from the stored parts. A worker stores nothing: the caller journals what
//! [`Reply::Received`] brings before it sends what [`Reply::Generated`] gives.

mod child; // the far end of a process
mod codec; // requests and replies for a pipe
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod process; // in processes of their own, with limits
mod protocol; // what is asked and answered
mod strain; // how much a process used
mod thread; // in this process, on threads with large stacks

pub use child::run_child;
pub use process::{ProcessConfig, ProcessWorker};
pub use protocol::{Reply, Request, WorkerError};
pub use thread::ThreadWorker;

use tombolo_core::id::DocumentId;

/// Something that merges. Shared by all documents.
pub trait Worker: Send + Sync + 'static {
    /// Asks and waits for the answer; to be called where blocking is fine.
    ///
    /// Requests for one document are answered in the order in which the calls were made by one caller.
    ///
    /// # Errors
    /// [`WorkerError`], by what the caller does next.
    fn call(&self, request: Request) -> Result<Reply, WorkerError>;

    /// Gives up the fold that is running, if it can be ended: whoever waits for it hears
    /// [`WorkerError::Unavailable`]. Nothing is lost, because a worker stores nothing.
    fn abandon(&self) {}

    /// Whether the last fold took so much of the time or memory allowed that more of the same might be too much, and
    /// the fault of no part of it.
    fn is_strained(&self) -> bool {
        false
    }
}

/// Lanes for sessions, each with a thread or process of its own; two, so that one slow document does not stop all
/// others.
pub const SESSION_LANES: usize = 2;

/// The lane that the session of a document is on, below [`SESSION_LANES`]. Requests of one lane wait for each other.
#[must_use]
pub fn session_lane(document: &DocumentId) -> usize {
    let [first, ..] = *blake3::hash(&document.to_key()).as_bytes();
    usize::from(first) % SESSION_LANES
}
