//! Server frames of RFC 6455 as finished bytes: framed once, shared by every receiver.
//!
//! Server frames are unmasked and never fragmented here.

use bytes::Bytes;

/// The first byte of a binary message in one frame.
pub(crate) const BINARY: u8 = FIN_BINARY;
/// The first byte of a text message in one frame.
pub(crate) const TEXT: u8 = FIN_TEXT;
/// The first byte of a close frame.
pub(crate) const CLOSE: u8 = FIN_CLOSE;
const FIN_BINARY: u8 = 0x82;
const FIN_TEXT: u8 = 0x81;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8a;
const FIN_CLOSE: u8 = 0x88;

/// Whether a finished frame carries a message; the others are for the socket itself.
pub(crate) fn is_message(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(&(FIN_BINARY | FIN_TEXT)))
}

/// Longest head of a server frame in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 10;

/// Appends one binary message out of consecutive parts.
pub(crate) fn append_binary(out: &mut Vec<u8>, parts: &[&[u8]]) {
    append(out, FIN_BINARY, parts, 0);
}

/// One binary message out of consecutive parts.
pub(crate) fn binary(parts: &[&[u8]]) -> Bytes {
    frame(FIN_BINARY, parts)
}

/// One text message.
pub(crate) fn text(text: &str) -> Bytes {
    frame(FIN_TEXT, &[text.as_bytes()])
}

/// The beginning of a binary message that goes on with so many bytes that need not be copied.
pub(crate) fn binary_head(parts: &[&[u8]], rest: usize) -> Bytes {
    begin(FIN_BINARY, parts, rest)
}

/// A ping without payload.
pub(crate) fn ping() -> Bytes {
    frame(FIN_PING, &[])
}

/// The answer to a ping with this payload.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    frame(FIN_PONG, &[payload])
}

/// What a close without a code is called; it is for no wire.
pub(crate) const NO_CODE: u16 = 1005;

/// A close frame; the reason is cut to the 123 bytes that a control frame has room for.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    if code == NO_CODE {
        return frame(FIN_CLOSE, &[]);
    }
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.as_bytes().get(..end).unwrap_or_default();
    frame(FIN_CLOSE, &[&code.to_be_bytes(), reason])
}

/// The head of a finished frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// [`BINARY`], [`CLOSE`] or another.
    pub(crate) first: u8,
    /// Its bytes.
    pub(crate) len: usize,
    /// Bytes that follow it.
    pub(crate) payload: usize,
}

/// Reads the head of a finished frame; none if it is not all there yet.
pub(crate) fn head_of(bytes: &[u8]) -> Option<Head> {
    let (first, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (len, payload) = match short {
        126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (2, u64::from(*short)),
    };
    Some(Head { first: *first, len, payload: usize::try_from(payload).ok()? })
}

/// Code and reason in the payload of a close frame.
pub(crate) fn close_of(payload: &[u8]) -> (u16, String) {
    match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()),
        None => (NO_CODE, String::new()),
    }
}

fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    begin(first, parts, 0)
}

/// A frame but for its last `rest` bytes.
fn begin(first: u8, parts: &[&[u8]], rest: usize) -> Bytes {
    let here: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(here + HEAD_BYTES_MAX);
    append(&mut out, first, parts, rest);
    out.into()
}

#[expect(clippy::cast_possible_truncation, reason = "each branch checked the range")]
fn append(out: &mut Vec<u8>, first: u8, parts: &[&[u8]], rest: usize) {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + rest;
    out.push(first);
    if len < 126 {
        out.push(len as u8);
    } else if len <= usize::from(u16::MAX) {
        out.push(126);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_rfc_6455() {
        assert_eq!(binary(&[b"a", b"bc"])[..], [0x82, 3, b'a', b'b', b'c']);
        assert_eq!(binary(&[&[0; 126]])[..4], [0x82, 126, 0, 126]);
        assert_eq!(binary(&[&[0; 65536]])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(binary_head(&[b"a"], 2)[..], [0x82, 3, b'a']);
        assert_eq!(binary_head(&[b"a"], 65535)[..], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, b'a']);
        assert_eq!(ping()[..], [0x89, 0]);
        assert_eq!(close(1013, "x")[..], [0x88, 3, 0x03, 0xf5, b'x']);
        assert_eq!(close(1005, "x")[..], [0x88, 0]);
        assert_eq!(close(1000, &"é".repeat(100)).len(), 2 + 2 + 122);
    }
}
