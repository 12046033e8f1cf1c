//! The only callers of yrs and automerge: folding a tail, content hashes, automerge's sync sessions.
//!
//! Both engines can panic, hang or worse on bytes that are structurally well-formed (HAZARDS yrs-1, am-1),
//! so nothing here may run outside the store's merge worker, and only on bytes that `validate` has seen:
//! bounds on nesting, rows and inflation are checked there, before an engine allocates. The exceptions are [`edit`] and
//! [`automerge::Live`]: a replica edits in the process of its owner, who trusts whoever writes in its documents.
//!
//! Guarantees: equal parts give equal documents and hashes, though not always equal bytes (client and actor
//! ids are fixed or unused); a fold that would lose, hold back or change an edit is refused with an
//! [`EngineError`], never returned; a panic inside yrs leaks its document instead of running destructors
//! over it. A [`automerge::Session`] that panicked is for its owner to leak.

pub mod automerge;
pub mod edit; // one document held open, for a replica
mod error;
mod json; // a bounded writer
pub mod view; // documents as JSON and text, and back
pub mod yjs;
mod yjs_canonical;
mod yjs_make;
mod yjs_view;

pub use error::EngineError;
