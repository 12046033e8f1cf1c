//! What takes long because it is large, apart from the machine: whoever drives it does that where nobody waits.
//!
//! To say it, a [`Draft`] is made before; the machine only puts numbers in front of its pieces. What is heard comes out
//! [`Unread`] and goes in again when it was read.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::codec::{
    Head, InvalidEnvelope, LETTER_BYTES_MAX, Letter, MESSAGE_BYTES_MAX, Place, Sender, part_head,
    write_frame, write_said,
};
use super::envelope::{ToPeer, ToRoom};
use super::output::TunnelFrame;
use super::parts::{PARTS_MAX, TooLarge};
use crate::id::DocumentId;
use crate::room::PeerMessage;

/// Room in front of each piece for what is known only when it is said: the head, which part it is, for whom.
const RESERVED: usize = 1024;
const PIECE_BYTES: usize = MESSAGE_BYTES_MAX - RESERVED;
const _: () = assert!(LETTER_BYTES_MAX.div_ceil(PIECE_BYTES) as u64 <= PARTS_MAX);

/// Something to be said. One that is short is written by the machine.
#[derive(Debug)]
pub struct Draft<T>(pub(super) Written<T>);

#[derive(Debug)]
pub(super) enum Written<T> {
    Short(T),
    Long(Pieces),
}

/// The body in pieces, each with room in front.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<BytesMut>,
    len: usize,
}

impl<T> From<T> for Draft<T> {
    fn from(short: T) -> Self {
        Self(Written::Short(short))
    }
}

impl Draft<PeerMessage> {
    /// Of what a room says.
    #[must_use]
    pub fn of_message(message: PeerMessage) -> Self {
        let len = message.update_bytes();
        Self::of(message, len, write_said)
    }
}

impl Draft<TunnelFrame> {
    /// Of a frame of a tunnel.
    #[must_use]
    pub fn of_frame(frame: TunnelFrame) -> Self {
        let len = if let TunnelFrame::Data { payload, .. } = &frame { payload.len() } else { 0 };
        Self::of(frame, len, write_frame)
    }
}

impl<T> Draft<T> {
    fn of(said: T, len: usize, write: impl FnOnce(&mut Vec<u8>, &T)) -> Self {
        if len <= PIECE_BYTES {
            return said.into();
        }
        let mut body = Vec::with_capacity(len + RESERVED);
        write(&mut body, &said);
        let piece = |bytes: &[u8]| {
            let mut piece = BytesMut::with_capacity(RESERVED + bytes.len());
            piece.resize(RESERVED, 0);
            piece.extend_from_slice(bytes);
            piece
        };
        let pieces = body.chunks(PIECE_BYTES).map(piece).collect();
        Self(Written::Long(Pieces { pieces, len: body.len() }))
    }
}

impl Pieces {
    /// The messages, the first one at `place`; `before` is what of the letter stands before the body.
    pub(super) fn seal(self, sender: Sender, place: Place, before: &[u8]) -> Result<Vec<Bytes>, TooLarge> {
        let found = before.len() + self.len;
        if found > LETTER_BYTES_MAX {
            return Err(TooLarge { found, max: LETTER_BYTES_MAX });
        }
        let count = self.pieces.len() as u64;
        let message = |(index, mut piece): (u64, BytesMut)| {
            let mut front = Vec::with_capacity(RESERVED);
            Head { sender, place: place.behind(index) }.write(&mut front);
            part_head(&mut front, index, count);
            if index == 0 {
                front.extend_from_slice(before);
            }
            // The longest name leaves half of it.
            let start = RESERVED.saturating_sub(front.len());
            if let Some(room) = piece.get_mut(start..RESERVED) {
                room.copy_from_slice(&front);
            }
            piece.advance(start);
            piece.freeze()
        };
        Ok((0..count).zip(self.pieces).map(message).collect())
    }
}

/// A large message that was heard. It is to be [read](Unread::read) and [taken in](super::Cluster::take_in) before
/// anything else is heard.
#[derive(Clone)]
pub struct Unread {
    pub(super) sender: Sender,
    pub(super) place: UnreadPlace,
    pub(super) letter: Letter,
}

/// In which stream it came, as that was then.
#[derive(Clone, Debug)]
pub(super) enum UnreadPlace {
    Room { document: DocumentId, opening: u64 },
    Peer { meeting: u64 },
}

/// What was read of it.
#[derive(Debug)]
pub struct Read {
    pub(super) sender: Sender,
    pub(super) body: ReadBody,
}

#[derive(Debug)]
pub(super) enum ReadBody {
    Room { document: DocumentId, opening: u64, read: Result<ToRoom, InvalidEnvelope> },
    Peer { meeting: u64, read: Result<ToPeer, InvalidEnvelope> },
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not all of it.
        f.debug_struct("Unread")
            .field("sender", &self.sender)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Unread {
    /// Reads it, which takes as long as it is large.
    #[must_use]
    pub fn read(self) -> Read {
        let Self { sender, place, letter } = self;
        let body = match place {
            UnreadPlace::Room { document, opening } => {
                ReadBody::Room { document, opening, read: letter.to_room() }
            }
            UnreadPlace::Peer { meeting } => ReadBody::Peer { meeting, read: letter.to_peer() },
        };
        Read { sender, body }
    }
}
