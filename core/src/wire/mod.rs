//! The primitives below the dialects.

pub mod inflate;
pub mod lib0;
