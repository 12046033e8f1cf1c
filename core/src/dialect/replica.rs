//! What replicas say to each other, and to a relay or node, once the door at `/native` has let them in (role 2).
//!
//! Many documents share a connection, each under a number that whoever opened it chose. A Yjs document's frames carry
//! the messages of y-protocols, so that replicas and stock clients meet in one room; an Automerge document's those of
//! automerge's sync protocol. Bytes are in `core/PROTOCOL.md` ("Replicas"), golden frames in `fixtures/native`.
//!
//! Guarantees: as of all dialects; beside that, a packed frame is inflated by [`inflate`]'s bounds and never twice.

use std::io::Write as _;

use bytes::Bytes;

use super::error::FrameError;
use super::payload::keep;
use super::y_protocols;
use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::limits::{
    CHECKPOINT_BYTES_MAX, INFLATE_RATIO_MAX, LISTED_MAX, PATTERNS_MAX, PEER_TEXT_BYTES_MAX, UPDATE_BYTES_MAX,
};
use crate::operation::Stamp;
use crate::room::StoreRefused;
use crate::validate::validate_sync_message;
use crate::wire::inflate::inflate;
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

/// Longest frame in bytes: the largest update and what is before it.
pub const FRAME_BYTES_MAX: usize = UPDATE_BYTES_MAX + 1024;
/// Frames from this length on are packed if that makes them shorter.
pub const PACKED_BYTES_MIN: usize = 1024;

const IDENTITY: u64 = 32;
const OPEN: u64 = 33;
const SHUT: u64 = 34;
const Y: u64 = 35;
const STORED: u64 = 36;
const PING: u64 = 37;
const PONG: u64 = 38;
const WATCH: u64 = 39;
const CHANGES: u64 = 40;
const PACKED: u64 = 41;
const SYNC: u64 = 42;
const MARK: u64 = 43;
const MARKED: u64 = 44;

/// The number of a document on one connection, given by whoever opens it; the smallest are the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The store behind it, if what it calls stored is fsynced there; a relay without an archive has none.
    pub keeps: Option<(ReplicaId, Incarnation)>,
    /// Whether it can say which documents changed ([`Message::Watch`]).
    pub lists: bool,
    /// Whether it may give content up that somebody else keeps, as replicas with a budget do: who gives up its own must not
    /// count on it, or both would.
    pub gives_up: bool,
}

/// What became of a change, or why a document is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome(pub u64);

impl Outcome {
    /// The change is fsynced; or the document is shut by wish.
    pub const WELL: Self = Self(0);
    /// Something failed or is too busy.
    pub const TROUBLE: Self = Self(2);
    /// The disk there is too full for a new document.
    pub const NO_ROOM: Self = Self(3);
    /// What is stored there of this document is damaged.
    pub const DAMAGED: Self = Self(4);
    /// The document was deleted.
    pub const DELETED: Self = Self(5);
    /// This very change was set aside there.
    pub const QUARANTINED: Self = Self(6);
    /// One may read it only.
    pub const READ_ONLY: Self = Self(7);
    /// One may not open it, or not under this name.
    pub const FORBIDDEN: Self = Self(8);
    /// The room is full, or this connection has opened too many.
    pub const CROWDED: Self = Self(9);

    /// Whether the same would be refused again until somebody decides something. Unknown ones pass.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        (5..=8).contains(&self.0)
    }
}

impl From<StoreRefused> for Outcome {
    fn from(reason: StoreRefused) -> Self {
        match reason {
            StoreRefused::Trouble => Self::TROUBLE,
            StoreRefused::NoRoom => Self::NO_ROOM,
            StoreRefused::Damaged => Self::DAMAGED,
            StoreRefused::Deleted => Self::DELETED,
            StoreRefused::Quarantined => Self::QUARANTINED,
        }
    }
}

/// One frame.
#[derive(Clone, Debug)]
pub enum Message {
    /// From both, first; with the stamp of that moment, from who has a clock.
    Identity(Identity, Option<Stamp>),
    /// From who dialled: this document, under this number.
    Open {
        /// Its number from now on.
        handle: Handle,
        /// Which.
        document: DocumentId,
    },
    /// From both: no more of this document. Its number may be given again.
    Shut {
        /// Its number.
        handle: Handle,
        /// Why.
        outcome: Outcome,
        /// The same for people.
        reason: String,
    },
    /// A message of y-protocols about a Yjs document.
    Y {
        /// Its number.
        handle: Handle,
        /// What.
        message: y_protocols::Message,
    },
    /// A message of automerge's sync protocol about an Automerge document.
    Sync {
        /// Its number.
        handle: Handle,
        /// What, validated.
        message: Bytes,
    },
    /// From a keeper: the next of the changes that were brought to it (`SyncStep2` and `Update`, in their order).
    Stored {
        /// The document's number.
        handle: Handle,
        /// What became of it.
        outcome: Outcome,
    },
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// From who dialled, once: which documents changed since then, and from now on?
    Watch {
        /// What the last [`Message::Changes`] of this store said; empty for nothing.
        since: Bytes,
        /// Of documents that are under one of these ([`DocumentId::is_under`]); of all if there is none.
        prefixes: Vec<String>,
    },
    /// From who lists: these changed.
    Changes {
        /// What was known before counts no more: this is of all documents.
        anew: bool,
        /// Others follow at once.
        more: bool,
        /// To be given to [`Message::Watch`] once all of this is here.
        until: Bytes,
        /// Which.
        documents: Vec<DocumentId>,
    },
    /// From who watches: say when all that has changed so far was listed.
    Mark {
        /// Names it in the answer.
        token: u64,
        /// That of this moment, from who has a clock.
        stamp: Option<Stamp>,
    },
    /// From who lists: what had changed when the mark came was listed before this.
    Marked {
        /// As the mark said.
        token: u64,
        /// That of this moment, from who has a clock.
        stamp: Option<Stamp>,
    },
}

/// Whether [`Message::Watch`] with these prefixes is about a document.
#[must_use]
pub fn is_wanted(prefixes: &[String], document: &DocumentId) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| document.is_under(prefix))
}

/// Reads a frame, a packed one as what is in it.
///
/// # Errors
/// [`FrameError`] if it is none, too long, or of a kind that this version does not have.
pub fn parse(frame: &Bytes) -> Result<Message, FrameError> {
    let mut reader = Reader::new(frame);
    if reader.var_u64()? != PACKED {
        return parse_plain(frame);
    }
    bounded("the frame", frame.len(), FRAME_BYTES_MAX)?;
    parse_plain(&Bytes::from(inflate(reader.rest()).map_err(|_| FrameError::Packed)?))
}

fn parse_plain(frame: &Bytes) -> Result<Message, FrameError> {
    bounded("the frame", frame.len(), FRAME_BYTES_MAX)?;
    let mut reader = Reader::new(frame);
    let kind = reader.var_u64()?;
    let message = match kind {
        IDENTITY => return identity(&mut reader),
        OPEN => {
            let handle = handle(&mut reader)?;
            Message::Open { handle, document: DocumentId::from_key(reader.var_bytes()?)? }
        }
        SHUT => Message::Shut {
            handle: handle(&mut reader)?,
            outcome: Outcome(reader.var_u64()?),
            reason: text("the reason", &mut reader)?,
        },
        Y => {
            let (handle, body) = (handle(&mut reader)?, keep(frame, reader.rest()));
            return Ok(Message::Y { handle, message: y_protocols::parse(&body)? });
        }
        SYNC => {
            let (handle, message) = (handle(&mut reader)?, keep(frame, reader.rest()));
            validate_sync_message(&message)?;
            return Ok(Message::Sync { handle, message });
        }
        STORED => Message::Stored { handle: handle(&mut reader)?, outcome: Outcome(reader.var_u64()?) },
        PING => Message::Ping(reader.var_u64()?),
        PONG => Message::Pong(reader.var_u64()?),
        WATCH => Message::Watch { since: checkpoint(&mut reader)?, prefixes: prefixes(&mut reader)? },
        CHANGES => {
            let bits = reader.var_u64()?;
            let (anew, more) = (bits & 1 != 0, bits & 2 != 0);
            let until = checkpoint(&mut reader)?;
            Message::Changes { anew, more, until, documents: documents(&mut reader)? }
        }
        MARK => Message::Mark { token: reader.var_u64()?, stamp: some_stamp(&mut reader)? },
        MARKED => Message::Marked { token: reader.var_u64()?, stamp: some_stamp(&mut reader)? },
        kind => return Err(FrameError::UnknownType(kind)),
    };
    reader.end()?;
    Ok(message)
}

/// A later version may say more, which is not looked at.
fn identity(reader: &mut Reader<'_>) -> Result<Message, FrameError> {
    let bits = reader.var_u64()?;
    let keeps = if bits & 1 == 0 {
        None
    } else {
        let mut id = || Ok::<[u8; 16], Lib0Error>(reader.bytes(16)?.try_into().unwrap_or_default());
        Some((ReplicaId(id()?), Incarnation(id()?)))
    };
    let stamp = if bits & 4 == 0 { None } else { Some(stamp(reader)?) };
    Ok(Message::Identity(Identity { keeps, lists: bits & 2 != 0, gives_up: bits & 8 != 0 }, stamp))
}

fn stamp(reader: &mut Reader<'_>) -> Result<Stamp, Lib0Error> {
    Ok(Stamp(u64::from_be_bytes(reader.bytes(8)?.try_into().unwrap_or_default())))
}

/// 0 is none.
fn some_stamp(reader: &mut Reader<'_>) -> Result<Option<Stamp>, Lib0Error> {
    Ok(Some(stamp(reader)?).filter(|stamp| stamp.0 != 0))
}

fn handle(reader: &mut Reader<'_>) -> Result<Handle, FrameError> {
    Ok(Handle(reader.var_u64()?))
}

fn text(what: &'static str, reader: &mut Reader<'_>) -> Result<String, FrameError> {
    let text = reader.var_str()?;
    bounded(what, text.len(), PEER_TEXT_BYTES_MAX)?;
    Ok(text.to_owned())
}

fn checkpoint(reader: &mut Reader<'_>) -> Result<Bytes, FrameError> {
    let bytes = reader.var_bytes()?;
    bounded("the checkpoint", bytes.len(), CHECKPOINT_BYTES_MAX)?;
    Ok(Bytes::copy_from_slice(bytes))
}

/// The length of a list, which claims no memory yet.
fn count(what: &'static str, reader: &mut Reader<'_>, max: usize) -> Result<usize, FrameError> {
    let count = usize::try_from(reader.var_u64()?).map_err(|_| Lib0Error::TooLarge)?;
    bounded(what, count, max)?;
    Ok(count)
}

fn prefixes(reader: &mut Reader<'_>) -> Result<Vec<String>, FrameError> {
    let count = count("the list of prefixes", reader, PATTERNS_MAX)?;
    (0..count).map(|_| text("the prefix", reader)).collect()
}

fn documents(reader: &mut Reader<'_>) -> Result<Vec<DocumentId>, FrameError> {
    let count = count("the list of documents", reader, LISTED_MAX)?;
    (0..count).map(|_| Ok(DocumentId::from_key(reader.var_bytes()?)?)).collect()
}

fn bounded(what: &'static str, bytes: usize, max: usize) -> Result<(), FrameError> {
    if bytes <= max { Ok(()) } else { Err(FrameError::TooLong { what, bytes, max }) }
}

fn head(kind: u64, fields: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    write_var_u64(&mut out, kind);
    fields.iter().for_each(|field| write_var_u64(&mut out, *field));
    out
}

/// Whether a frame may be an Open, for who hands frames on and would not read those that carry content.
#[must_use]
pub fn may_open(frame: &[u8]) -> bool {
    let is_other = |first: &u8| [Y, SYNC, PING, PONG, SHUT].contains(&u64::from(*first));
    !frame.first().is_some_and(is_other)
}

/// Says who one is.
#[must_use]
pub fn identity_frame(identity: &Identity) -> Vec<u8> {
    identity_frame_at(identity, None)
}

/// Says who one is, and the stamp of this moment.
#[must_use]
pub fn identity_frame_at(identity: &Identity, stamp: Option<Stamp>) -> Vec<u8> {
    let bits = [identity.keeps.is_some(), identity.lists, stamp.is_some(), identity.gives_up];
    let bits = bits.into_iter().zip(0..).fold(0, |bits, (is_set, bit)| bits | u64::from(is_set) << bit);
    let mut out = head(IDENTITY, &[bits]);
    if let Some((replica, incarnation)) = &identity.keeps {
        out.extend_from_slice(&replica.0);
        out.extend_from_slice(&incarnation.0);
    }
    if let Some(stamp) = stamp {
        out.extend_from_slice(&stamp.0.to_be_bytes());
    }
    out
}

/// Opens a document.
#[must_use]
pub fn open(handle: Handle, document: &DocumentId) -> Vec<u8> {
    let mut out = head(OPEN, &[handle.0]);
    write_var_bytes(&mut out, &document.to_key());
    out
}

/// Shuts a document; the reason is cut to what a frame may have.
#[must_use]
pub fn shut(handle: Handle, outcome: Outcome, reason: &str) -> Vec<u8> {
    let mut out = head(SHUT, &[handle.0, outcome.0]);
    let mut end = reason.len().min(PEER_TEXT_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    write_var_bytes(&mut out, reason.get(..end).unwrap_or_default().as_bytes());
    out
}

/// What comes before a message of y-protocols.
#[must_use]
pub fn y_head(handle: Handle) -> Vec<u8> {
    head(Y, &[handle.0])
}

/// A message of y-protocols about a document.
#[must_use]
pub fn y(handle: Handle, message: &[u8]) -> Vec<u8> {
    [&y_head(handle), message].concat()
}

/// A message of automerge's sync protocol about a document.
#[must_use]
pub fn sync(handle: Handle, message: &[u8]) -> Vec<u8> {
    [&head(SYNC, &[handle.0]), message].concat()
}

/// Tells what became of a change.
#[must_use]
pub fn stored(handle: Handle, outcome: Outcome) -> Vec<u8> {
    head(STORED, &[handle.0, outcome.0])
}

/// Asks whether the other is there.
#[must_use]
pub fn ping(token: u64) -> Vec<u8> {
    head(PING, &[token])
}

/// Answers that.
#[must_use]
pub fn pong(token: u64) -> Vec<u8> {
    head(PONG, &[token])
}

/// Asks for what changed; at most [`PATTERNS_MAX`] prefixes.
#[must_use]
pub fn watch(since: &[u8], prefixes: &[String]) -> Vec<u8> {
    let mut out = head(WATCH, &[]);
    write_var_bytes(&mut out, since);
    write_var_u64(&mut out, prefixes.len() as u64);
    prefixes.iter().for_each(|prefix| write_var_bytes(&mut out, prefix.as_bytes()));
    out
}

/// Tells what changed; at most [`LISTED_MAX`] documents.
#[must_use]
pub fn changes(anew: bool, more: bool, until: &[u8], documents: &[DocumentId]) -> Vec<u8> {
    let mut out = head(CHANGES, &[u64::from(anew) | u64::from(more) << 1]);
    write_var_bytes(&mut out, until);
    write_var_u64(&mut out, documents.len() as u64);
    documents.iter().for_each(|document| write_var_bytes(&mut out, &document.to_key()));
    out
}

/// Asks to be told when all that has changed so far was listed.
#[must_use]
pub fn mark(token: u64, stamp: Option<Stamp>) -> Vec<u8> {
    stamped(MARK, token, stamp)
}

/// Answers that.
#[must_use]
pub fn marked(token: u64, stamp: Option<Stamp>) -> Vec<u8> {
    stamped(MARKED, token, stamp)
}

fn stamped(kind: u64, token: u64, stamp: Option<Stamp>) -> Vec<u8> {
    let mut out = head(kind, &[token]);
    out.extend_from_slice(&stamp.map_or(0, |stamp| stamp.0).to_be_bytes());
    out
}

/// The frame as it is sent: packed (raw DEFLATE, RFC 1951) if it is long and that makes it shorter, though not by so
/// much that it would be refused.
#[must_use]
pub fn packed(frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < PACKED_BYTES_MIN {
        return frame;
    }
    let head = head(PACKED, &[]);
    let mut encoder = flate2::write::DeflateEncoder::new(head, flate2::Compression::fast());
    // Into memory; whatever it said, the plain frame is as good.
    match encoder.write_all(&frame).and_then(|()| encoder.finish()) {
        Ok(packed) if packed.len() < frame.len() && frame.len() / packed.len() < INFLATE_RATIO_MAX => packed,
        _ => frame,
    }
}
