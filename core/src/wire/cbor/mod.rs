//! Bounded CBOR (RFC 8949): what a peer sent is walked once, before anything is built from it.
//!
//! minicbor reads the heads; this module adds what it leaves open. Nothing recurses, values that nobody asked
//! for are skipped at most [`NESTING_MAX`](crate::limits::NESTING_MAX) levels deep (minicbor's own `skip` knows
//! no depth and takes a break without a beginning), a map names each field once, and nothing is allocated from
//! a claimed length.
//!
//! Accepted: maps and arrays of definite and indefinite length; texts and byte strings of definite length, the
//! latter also behind tag 64 (`Uint8Array`); `null` and `undefined` as "not there"; integers of any width or
//! as integral floats of 32 or 64 bits, since JavaScript encoders write those above 2^32. Written as cbor-x
//! 1.6 does with `useRecords: false, tagUint8Array: false`, which is what automerge-repo sets.

mod error;
mod fields;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use error::CborError;
pub use fields::Fields;
pub use read::{Items, Reader};
pub use write::Writer;

/// What JavaScript keeps exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;
