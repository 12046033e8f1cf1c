//! Structural checks of foreign bytes before anything decodes them.
//!
//! Both engines trust their input too far (HAZARDS: yrs-1, am-1): a server asks here first and hands
//! over only what passed. Nothing here recurses or allocates from a claimed length.

mod automerge;
mod awareness;
pub(crate) mod json;

pub use automerge::{InvalidAutomerge, SyncOutline, validate_chunks, validate_sync_message};
pub use awareness::{AwarenessEntry, AwarenessUpdate, InvalidAwareness};
