//! The head of each message: version and stream in one byte, the sender, its numbers.

use bytes::Bytes;

use super::error::InvalidEnvelope;
use super::kind;
use crate::id::PeerId;
use crate::wire::lib0::{Reader, write_var_u64};

const VERSION: u8 = 1;
const EVERYBODY: u8 = 0;
const ROOM: u8 = 1;
const PEER: u8 = 2;

/// One start of one relay on the backplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// Which relay.
    pub peer: PeerId,
    /// How often it came up; what an earlier start said is of no use.
    pub starts: u64,
}

/// The stream and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To everybody.
    Everybody,
    /// To a room.
    Room {
        /// Which since the opening.
        number: u64,
    },
    /// To a peer.
    Peer {
        /// The start of the addressee.
        starts: u64,
        /// The meeting of sender and addressee.
        meeting: u64,
        /// Which since the meeting.
        number: u64,
    },
}

impl Place {
    /// The place so many messages further on.
    #[must_use]
    pub fn behind(self, messages: u64) -> Self {
        match self {
            Self::Everybody => self,
            Self::Room { number } => Self::Room { number: number + messages },
            Self::Peer { starts, meeting, number } => {
                Self::Peer { starts, meeting, number: number + messages }
            }
        }
    }
}

/// Who says something, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who.
    pub sender: Sender,
    /// Where.
    pub place: Place,
}

impl Head {
    /// Reads the head off the front of a message.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, InvalidEnvelope> {
        let first = reader.u8()?;
        if first >> 2 != VERSION {
            return Err(InvalidEnvelope::Version { found: first >> 2 });
        }
        let peer = PeerId(read_id(reader)?);
        let sender = Sender { peer, starts: reader.var_u64()? };
        let place = match first & 3 {
            EVERYBODY => Place::Everybody,
            ROOM => Place::Room { number: reader.var_u64()? },
            PEER => Place::Peer {
                starts: reader.var_u64()?,
                meeting: reader.var_u64()?,
                number: reader.var_u64()?,
            },
            found => return Err(InvalidEnvelope::Code { what: "its stream", found: found.into() }),
        };
        Ok(Self { sender, place })
    }

    /// Appends the head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let stream = match self.place {
            Place::Everybody => EVERYBODY,
            Place::Room { .. } => ROOM,
            Place::Peer { .. } => PEER,
        };
        out.push(VERSION << 2 | stream);
        write_id(out, self.sender.peer.0);
        write_var_u64(out, self.sender.starts);
        match self.place {
            Place::Everybody => {}
            Place::Room { number } => write_var_u64(out, number),
            Place::Peer { starts, meeting, number } => {
                write_var_u64(out, starts);
                write_var_u64(out, meeting);
                write_var_u64(out, number);
            }
        }
    }
}

/// Who says this. For what stands between a peer and the backplane.
///
/// # Errors
/// [`InvalidEnvelope`] if the head cannot be read.
pub fn sender_of(message: &[u8]) -> Result<Sender, InvalidEnvelope> {
    Ok(Head::read(&mut Reader::new(message))?.sender)
}

/// What tells everybody that a peer is gone, also in its place when its connection to the backplane broke. Nothing that
/// this start of it said is heard any more; it may come back with a later one.
#[must_use]
pub fn bye(sender: Sender) -> Bytes {
    let mut out = Vec::new();
    Head { sender, place: Place::Everybody }.write(&mut out);
    out.push(kind::BYE);
    out.into()
}

/// 8 random bytes: a varUint would be longer.
pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<u64, InvalidEnvelope> {
    let bytes = reader.bytes(8)?.try_into().unwrap_or_default();
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn write_id(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(&id.to_be_bytes());
}
