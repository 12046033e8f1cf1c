//! y-protocols: the sync and awareness messages that y-websocket and Hocuspocus share (y-protocols 1.0.7).
//!
//! | message | layout |
//! |---|---|
//! | `SyncStep1` | `00 00` varBytes(state vector) |
//! | `SyncStep2` | `00 01` varBytes(update) |
//! | `Update` | `00 02` varBytes(update) |
//! | `Awareness` | `01` varBytes(awareness update) |
//! | `Auth` | `02 00` varString(reason), from servers only |
//! | `QueryAwareness` | `03` |
//!
//! Guarantees: whatever [`parse`] returns can be handed to stock clients as it is. They throw out of their
//! socket's event handler at an unknown subtype, a cut-off integer or awareness that is no JSON, which ends a
//! Node process; so a frame is taken whole or not at all. Integers longer than needed are accepted, as by lib0.

use bytes::Bytes;

use super::FrameError;
use super::payload::keep;
use crate::limits::STATE_VECTOR_BYTES_MAX;
use crate::update::{StateVector, Update};
use crate::validate::AwarenessUpdate;
use crate::wire::lib0::{Reader, write_var_bytes, write_var_u64};

/// An awareness update without entries: a message that changes nothing, to keep a quiet client connected.
pub const EMPTY_AWARENESS: [u8; 3] = [1, 1, 0];

/// Asks who is here.
pub const QUERY_AWARENESS: [u8; 1] = [3];

/// One validated message.
#[derive(Clone, Debug)]
pub enum Message {
    /// "This is what I have; send the rest."
    SyncStep1(StateVector),
    /// The answer to a `SyncStep1`; makes its receiver *synced*.
    SyncStep2(Update),
    /// A change.
    Update(Update),
    /// Presence of one or more clients.
    Awareness(AwarenessUpdate),
    /// "Who is here?"
    QueryAwareness,
}

/// Reads a message that fills `body`. Long updates share its memory.
///
/// # Errors
/// [`FrameError`] if anything in it is malformed, left over, or for servers to send.
pub fn parse(body: &Bytes) -> Result<Message, FrameError> {
    let mut reader = Reader::new(body);
    let message = match reader.var_u64()? {
        0 => match reader.var_u64()? {
            0 => Message::SyncStep1(state_vector_in(&mut reader)?),
            1 => Message::SyncStep2(update_in(body, &mut reader)?),
            2 => Message::Update(update_in(body, &mut reader)?),
            other => return Err(FrameError::UnknownSubtype(other)),
        },
        1 => Message::Awareness(AwarenessUpdate::parse(reader.var_bytes()?)?),
        2 => return Err(FrameError::ServerOnly(2)),
        3 => Message::QueryAwareness,
        other => return Err(FrameError::UnknownType(other)),
    };
    reader.end()?;
    Ok(message)
}

fn state_vector_in(reader: &mut Reader<'_>) -> Result<StateVector, FrameError> {
    let bytes = reader.var_bytes()?;
    if bytes.len() > STATE_VECTOR_BYTES_MAX {
        let what = "the state vector";
        return Err(FrameError::TooLong { what, bytes: bytes.len(), max: STATE_VECTOR_BYTES_MAX });
    }
    Ok(StateVector::parse(bytes)?)
}

fn update_in(body: &Bytes, reader: &mut Reader<'_>) -> Result<Update, FrameError> {
    Ok(Update::parse(keep(body, reader.var_bytes()?))?)
}

fn message(head: &[u8], payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(head.len() + 9 + payload.len());
    out.extend_from_slice(head);
    write_var_bytes(&mut out, payload);
    out.into()
}

/// What a `SyncStep2` has before the bytes of an update of this length, so that those need not be copied.
#[must_use]
pub fn sync_step2_head(update_bytes: usize) -> Vec<u8> {
    let mut head = vec![0, 1];
    write_var_u64(&mut head, update_bytes as u64);
    head
}

/// A `SyncStep1` with an encoded state vector.
#[must_use]
pub fn sync_step1(state_vector: &[u8]) -> Bytes {
    message(&[0, 0], state_vector)
}

/// A `SyncStep2` with an update.
#[must_use]
pub fn sync_step2(update: &[u8]) -> Bytes {
    message(&[0, 1], update)
}

/// An `Update`.
#[must_use]
pub fn update(update: &[u8]) -> Bytes {
    message(&[0, 2], update)
}

/// An `Awareness` message with an encoded awareness update.
#[must_use]
pub fn awareness(payload: &[u8]) -> Bytes {
    message(&[1], payload)
}
