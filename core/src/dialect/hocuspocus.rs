//! Hocuspocus 4: any number of documents on one socket; each frame starts with an address.
//!
//! `frame = varString(address) varUint(type) body`; the address is the document's name, or
//! `name 00 session` where two providers share one name. Replies carry it unchanged: the provider finds the
//! document by it. Two frames have no address and are one byte long: `09` Ping (server), `0a` Pong (client).
//!
//! | type | body from a client | body from the server |
//! |---|---|---|
//! | 0 Sync, 1 Awareness, 3 QueryAwareness | as in [`y_protocols`] | the same |
//! | 2 Auth | `00` varString(token), from provider 4 on varString(version) | `01` varString(reason): denied |
//! | | | `02` varString(scope): admitted |
//! | 5 Stateless | varString(payload) | the same |
//! | 7 Close | nothing, or varString(reason) | varString(reason) |
//! | 8 `SyncStatus` | | `01` taken, `00` refused |
//!
//! Types 4 (`SyncReply`) and 6 (`BroadcastStateless`) are for servers among each other.
//!
//! Guarantees: a frame is read whole or refused. Whether the address names a document is not judged here but by
//! [`DocumentId::yjs`](crate::id::DocumentId::yjs), because a bad name is one document's problem: it is denied
//! and the socket goes on, while a bad frame ends the socket.

use bytes::Bytes;

use super::{FrameError, y_protocols};
use crate::limits::{EPHEMERAL_BYTES_MAX, TEXT_BYTES_MAX};
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

/// Close code: the connection starts over (too much waits for admission, too many documents).
pub const CLOSE_RESET: u16 = 4205;
/// Close code: a frame that cannot be read.
pub const CLOSE_UNAUTHORIZED: u16 = 4401;
/// Close code: may not join.
pub const CLOSE_FORBIDDEN: u16 = 4403;
/// Close code: nothing was heard for too long.
pub const CLOSE_TIMEOUT: u16 = 4408;
/// The whole Ping frame. The provider answers with Pong and counts it as a sign of life.
pub const PING: [u8; 1] = [9];
/// The whole Pong frame.
const PONG: [u8; 1] = [10];

/// Where a frame belongs, as its client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    prefix: Bytes,
    text: Bytes,
}

impl Address {
    fn new(text: &str) -> Self {
        // Copied: a slice would keep the whole frame alive for as long as the document is attached.
        let mut prefix = Vec::with_capacity(text.len() + 3);
        write_var_bytes(&mut prefix, text.as_bytes());
        let prefix = Bytes::from(prefix);
        Self { text: prefix.slice(prefix.len().saturating_sub(text.len())..), prefix }
    }

    /// The document's name, without the session; any text, even none.
    #[must_use]
    pub fn document(&self) -> &str {
        let text = std::str::from_utf8(&self.text).unwrap_or_default();
        text.split('\0').next().unwrap_or_default()
    }

    /// The bytes that every reply starts with.
    #[must_use]
    pub fn prefix(&self) -> Bytes {
        self.prefix.clone()
    }
}

/// One frame of a client.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A sign of life.
    Pong,
    /// A message for one document.
    Addressed {
        /// Which, in the client's words.
        address: Address,
        /// What.
        message: Message,
    },
}

/// One validated message for one document.
#[derive(Clone, Debug)]
pub enum Message {
    /// Sync or awareness.
    Y(y_protocols::Message),
    /// A token; the first message of an address, and again when it is renewed. Others come right behind it
    /// without waiting for the answer.
    Auth {
        /// As the application gave it; may be empty.
        token: String,
        /// The provider's version, from 4 on.
        version: Option<String>,
    },
    /// An application's own message, as it gave it.
    Stateless(String),
    /// This document is closed; the socket goes on.
    Close,
}

/// Reads one frame.
///
/// # Errors
/// [`FrameError`] if anything in it is malformed, left over, or for servers to send.
pub fn parse(frame: &Bytes) -> Result<Incoming, FrameError> {
    if **frame == PONG {
        return Ok(Incoming::Pong);
    }
    let mut reader = Reader::new(frame);
    let address = Address::new(text(&mut reader, "the address", TEXT_BYTES_MAX)?);
    let body = frame.slice_ref(reader.rest());
    let message = match reader.var_u64()? {
        0 | 1 | 3 => {
            return Ok(Incoming::Addressed { address, message: Message::Y(y_protocols::parse(&body)?) });
        }
        2 => auth(&mut reader)?,
        5 => Message::Stateless(text(&mut reader, "the stateless message", EPHEMERAL_BYTES_MAX)?.to_owned()),
        7 => {
            // Some versions say why; the reason is of no use here.
            if !reader.rest().is_empty() {
                text(&mut reader, "the reason", TEXT_BYTES_MAX)?;
            }
            Message::Close
        }
        other @ (4 | 6 | 8 | 9) => return Err(FrameError::ServerOnly(other)),
        other => return Err(FrameError::UnknownType(other)),
    };
    reader.end()?;
    Ok(Incoming::Addressed { address, message })
}

fn auth(reader: &mut Reader<'_>) -> Result<Message, FrameError> {
    match reader.var_u64()? {
        0 => {
            let token = text(reader, "the token", TEXT_BYTES_MAX)?.to_owned();
            let version = match reader.rest() {
                [] => None,
                _ => Some(text(reader, "the version", TEXT_BYTES_MAX)?.to_owned()),
            };
            Ok(Message::Auth { token, version })
        }
        1 | 2 => Err(FrameError::ServerOnly(2)),
        other => Err(FrameError::UnknownSubtype(other)),
    }
}

fn text<'a>(reader: &mut Reader<'a>, what: &'static str, max: usize) -> Result<&'a str, FrameError> {
    let bytes = reader.var_bytes()?;
    if bytes.len() > max {
        return Err(FrameError::TooLong { what, bytes: bytes.len(), max });
    }
    Ok(std::str::from_utf8(bytes).map_err(|_| Lib0Error::NotUtf8)?)
}

/// A y-protocols message under an address.
#[must_use]
pub fn addressed(address: &Address, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(address.prefix.len() + body.len());
    out.extend_from_slice(&address.prefix);
    out.extend_from_slice(body);
    out.into()
}

fn with_text(address: &Address, head: &[u64], text: &str) -> Bytes {
    let mut out = address.prefix.to_vec();
    for number in head {
        write_var_u64(&mut out, *number);
    }
    write_var_bytes(&mut out, text.as_bytes());
    out.into()
}

/// "You may", with the scope `read-write` or `readonly`.
#[must_use]
pub fn authenticated(address: &Address, scope: &str) -> Bytes {
    with_text(address, &[2, 2], scope)
}

/// "You may not", and why.
#[must_use]
pub fn permission_denied(address: &Address, reason: &str) -> Bytes {
    with_text(address, &[2, 1], reason)
}

/// An update of this client was taken (`applied`) or refused. One for each `SyncStep2` and `Update`.
#[must_use]
pub fn sync_status(address: &Address, applied: bool) -> Bytes {
    addressed(address, &[8, u8::from(applied)])
}

/// An application's own message, as another client gave it.
#[must_use]
pub fn stateless(address: &Address, payload: &str) -> Bytes {
    with_text(address, &[5], payload)
}

/// This document is closed; the socket goes on.
#[must_use]
pub fn close(address: &Address, reason: &str) -> Bytes {
    with_text(address, &[7], reason)
}
