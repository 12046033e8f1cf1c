//! The primitives below the dialects.

mod base64;
pub mod cbor;
pub mod inflate;
pub mod lib0;

pub use base64::base64;
