//! The primitives below the dialects.

pub mod cbor;
pub mod inflate;
pub mod lib0;
