//! The primitives below the dialects.

pub mod lib0;
