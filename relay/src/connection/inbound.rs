//! Frames of clients: RFC 6455 as a server reads it, out of whatever pieces the socket brings.
//!
//! tungstenite keeps a buffer, a copy of its settings and a writing side for each connection, 1 kB in all, and asks for
//! its socket through wakers of its own. Here a connection holds nothing between two messages, and a whole frame is
//! taken straight out of the bytes that all connections of a thread read into.
//!
//! Guarantees: what is not masked, has reserved bits or opcodes, is a broken control frame or a fragment out of order
//! ends here, as soon as its head is there. What is held is what came, at most twice, and never what is merely claimed.
//! The tests compare every message with what tungstenite makes of the same bytes.

use bytes::Bytes;

/// Longest head of a client's frame in bytes.
const HEAD_BYTES_MAX: usize = 14;
/// Longest payload of a control frame in bytes.
const CONTROL_BYTES_MAX: usize = 125;
/// Room that is made at once for a payload that is still to come, at most; then as much again as has come.
const EARLY_BYTES: usize = 4 * 1024;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
/// The bit of an opcode that makes it one of a control frame.
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Binary(Bytes),
    Text(String),
    /// To be sent back.
    Ping(Vec<u8>),
    Pong,
    /// Its last words: the code, if it gives one.
    Close(Option<u16>),
}

/// Why its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("WebSocket protocol error")]
    Protocol,
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("the message is too big")]
    TooBig,
}

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Inbound {
    message_bytes_max: usize,
    frame: Frame,
    /// The message whose last fragment has not come.
    fragments: Option<Box<Fragments>>,
}

/// Where in a frame the last piece ended.
#[derive(Debug)]
enum Frame {
    Between,
    Head(Box<Cut>),
    Payload(Box<Payload>),
}

/// The beginning of a head.
#[derive(Debug, Default)]
struct Cut {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

/// The beginning of a payload, unmasked.
#[derive(Debug)]
struct Payload {
    head: Head,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked: usize,
}

impl Fragments {
    fn begin(is_text: bool) -> Self {
        Self { is_text, bytes: Vec::new(), checked: 0 }
    }

    /// One more; the last character of a text may go on in the next.
    fn add(&mut self, mut payload: Vec<u8>) -> Result<(), Broken> {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, &mut payload);
        } else {
            self.bytes.extend_from_slice(&payload);
        }
        if self.is_text {
            self.checked += match std::str::from_utf8(self.bytes.get(self.checked..).unwrap_or_default()) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(Broken::NotUtf8),
            };
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Head {
    first: u8,
    mask: [u8; 4],
    /// Its own bytes.
    len: usize,
    /// Bytes that follow it.
    payload: usize,
}

impl Head {
    /// Reads a head; none if it is not all there yet.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let is_known = matches!(first & OPCODE, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if first & RESERVED_BITS != 0 || second & MASKED == 0 || !is_known {
            return Err(Broken::Protocol);
        }
        let short = second & !MASKED;
        let is_control = first & CONTROL != 0;
        if is_control && (first & FIN == 0 || usize::from(short) > CONTROL_BYTES_MAX) {
            return Err(Broken::Protocol);
        }
        let (extended, payload) = match short {
            126 => (2, rest.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len)))),
            127 => (8, rest.first_chunk().map(|len| u64::from_be_bytes(*len))),
            short => (0, Some(u64::from(short))),
        };
        let mask = rest.get(extended..).and_then(|rest| rest.first_chunk());
        let Some((payload, mask)) = payload.zip(mask) else { return Ok(None) };
        let payload = usize::try_from(payload).map_err(|_| Broken::TooBig)?;
        Ok(Some(Self { first, mask: *mask, len: 2 + extended + 4, payload }))
    }
}

impl Inbound {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, frame: Frame::Between, fragments: None }
    }

    /// The next message out of these bytes, of which those that were used are taken off; none if they end before one
    /// does, and then all are.
    ///
    /// # Errors
    /// [`Broken`] if it can be none; there is nothing more to be read from there.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message>, Broken> {
        while !bytes.is_empty() {
            let Some((first, payload)) = self.frame(bytes)? else { return Ok(None) };
            if let Some(message) = self.whole(first, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next frame: its first byte and its payload.
    fn frame(&mut self, bytes: &mut &[u8]) -> Result<Option<(u8, Vec<u8>)>, Broken> {
        let begun = match std::mem::replace(&mut self.frame, Frame::Between) {
            Frame::Between => match Head::read(bytes)? {
                Some(head) => {
                    *bytes = bytes.get(head.len..).unwrap_or_default();
                    Some(head)
                }
                None => self.cut(Box::default(), bytes)?,
            },
            Frame::Head(cut) => self.cut(cut, bytes)?,
            Frame::Payload(payload) => return Ok(self.payload(payload.head, payload.bytes, bytes)),
        };
        let Some(head) = begun else { return Ok(None) };
        self.judge(head)?;
        Ok(self.payload(head, Vec::new(), bytes))
    }

    /// Goes on with a head that did not come in one piece.
    fn cut(&mut self, mut cut: Box<Cut>, bytes: &mut &[u8]) -> Result<Option<Head>, Broken> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if let Some(place) = cut.bytes.get_mut(cut.len) {
                *place = *byte;
                cut.len += 1;
            }
            if let Some(head) = Head::read(cut.bytes.get(..cut.len).unwrap_or_default())? {
                return Ok(Some(head));
            }
        }
        self.frame = Frame::Head(cut);
        Ok(None)
    }

    /// Goes on with a payload.
    fn payload(&mut self, head: Head, mut came: Vec<u8>, bytes: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
        let left = head.payload - came.len();
        let (now, later) = bytes.split_at_checked(left).unwrap_or((*bytes, &[]));
        *bytes = later;
        if came.capacity() - came.len() < now.len() {
            // As much again as has come: what comes in small pieces is not moved with each of them.
            came.reserve_exact(left.min(came.len().max(EARLY_BYTES)).max(now.len()));
        }
        unmask(&mut came, now, head.mask);
        if now.len() == left {
            return Some((head.first, came));
        }
        self.frame = Frame::Payload(Box::new(Payload { head, bytes: came }));
        None
    }

    /// Whether a frame with this head may come now.
    fn judge(&self, head: Head) -> Result<(), Broken> {
        if head.first & CONTROL != 0 {
            return Ok(());
        }
        if (head.first & OPCODE == CONTINUATION) != self.fragments.is_some() {
            return Err(Broken::Protocol);
        }
        let before = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len());
        if head.payload > self.message_bytes_max.saturating_sub(before) {
            return Err(Broken::TooBig);
        }
        Ok(())
    }

    /// The message that is whole with this frame.
    fn whole(&mut self, first: u8, payload: Vec<u8>) -> Result<Option<Message>, Broken> {
        let is_text = match first & OPCODE {
            PING => return Ok(Some(Message::Ping(payload))),
            PONG => return Ok(Some(Message::Pong)),
            CLOSE => return close(&payload).map(Some),
            CONTINUATION => {
                let Some(mut fragments) = self.fragments.take() else { return Err(Broken::Protocol) };
                fragments.add(payload)?;
                if first & FIN != 0 {
                    return message(fragments.is_text, fragments.bytes).map(Some);
                }
                self.fragments = Some(fragments);
                return Ok(None);
            }
            opcode => opcode == TEXT,
        };
        if first & FIN == 0 {
            let mut fragments = Box::new(Fragments::begin(is_text));
            fragments.add(payload)?;
            self.fragments = Some(fragments);
            return Ok(None);
        }
        message(is_text, payload).map(Some)
    }
}

fn message(is_text: bool, payload: Vec<u8>) -> Result<Message, Broken> {
    if is_text {
        return String::from_utf8(payload).map(Message::Text).map_err(|_| Broken::NotUtf8);
    }
    Ok(Message::Binary(payload.into()))
}

fn close(payload: &[u8]) -> Result<Message, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(Message::Close(None)) } else { Err(Broken::Protocol) };
    };
    std::str::from_utf8(reason).map_err(|_| Broken::NotUtf8)?;
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1013 | 3000..=4999) => Ok(Message::Close(Some(code))),
        // Those for no wire, and those that nobody has defined.
        _ => Err(Broken::Protocol),
    }
}

/// Appends `bytes`; the mask begins with the payload, of which `out` has the beginning.
fn unmask(out: &mut Vec<u8>, bytes: &[u8], mut mask: [u8; 4]) {
    let start = out.len();
    mask.rotate_left(start % 4);
    out.extend_from_slice(bytes);
    if mask == [0; 4] {
        return;
    }
    let wide = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let mut words = out.get_mut(start..).unwrap_or_default().chunks_exact_mut(8);
    for word in &mut words {
        if let Some(word) = word.first_chunk_mut() {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    words.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests;
