//! Whether a payload shares its frame's memory.

use bytes::Bytes;

use crate::limits::SHARED_BYTES_MIN;

/// `part` of `frame` as bytes of their own life: shared if it is long, copied if it is short.
///
/// A slice keeps the whole read buffer of its connection alive for as long as it waits anywhere, a few bytes as
/// well as many (HAZARDS, tokio-tungstenite); a long payload fills the buffer that it keeps.
pub(crate) fn keep(frame: &Bytes, part: &[u8]) -> Bytes {
    if part.len() < SHARED_BYTES_MIN { Bytes::copy_from_slice(part) } else { frame.slice_ref(part) }
}
