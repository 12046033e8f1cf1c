//! Operations: what one replica appended to one document, and how they are counted and encoded.

pub mod bincode;
mod record;
mod version;

pub use record::{Kind, Operation, Stamp};
pub use version::Version;
