//! Bytes to bodies, in two steps: the head tells whether the body is wanted, and only then is it read.

use bytes::Bytes;

use super::error::InvalidEnvelope;
use super::head::{Head, Place, read_id};
use super::write::{HERE_ARCHIVE, HERE_HELLO, ROLL_ARCHIVE, ROLL_CAUGHT_UP, ROLL_HEARD, ROLL_MUTUAL};
use super::{kind, message, tunnel};
use crate::cluster::envelope::{Envelope, Heard, Here, Part, Stream, ToEverybody, ToPeer, ToRoom, Who};
use crate::dialect::payload::keep;
use crate::id::DocumentId;
use crate::room::Roll;
use crate::wire::lib0::Reader;

/// All that is behind the head, unread.
#[derive(Clone, Debug)]
pub struct Letter(Bytes);

impl Letter {
    /// Takes the head off a message.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] if the head cannot be read.
    pub fn open(message: &Bytes) -> Result<(Head, Self), InvalidEnvelope> {
        let mut reader = Reader::new(message);
        let head = Head::read(&mut reader)?;
        Ok((head, Self(message.slice_ref(reader.rest()))))
    }

    /// What was put together from parts.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Whether it says who has the room open, or no more; all else is for those who have come.
    #[must_use]
    pub fn is_roll(&self) -> bool {
        matches!(self.0.first(), Some(&(kind::ROLL | kind::GONE)))
    }

    /// Reads what everybody is told.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] names the first thing that is wrong.
    pub fn to_everybody(&self) -> Result<ToEverybody, InvalidEnvelope> {
        let mut reader = Reader::new(&self.0);
        let body = match reader.u8()? {
            kind::HERE => ToEverybody::Here(here(&mut reader)?),
            kind::BYE => ToEverybody::Bye,
            kind::WHO => ToEverybody::Who(who(&mut reader)?),
            _ => return Ok(ToEverybody::Unknown),
        };
        reader.end()?;
        Ok(body)
    }

    /// Reads what a room is told.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] names the first thing that is wrong.
    pub fn to_room(&self) -> Result<ToRoom, InvalidEnvelope> {
        let mut reader = Reader::new(&self.0);
        let body = match reader.u8()? {
            kind::PART => return Ok(ToRoom::Part(self.part(reader)?)),
            kind::SAID => return Ok(ToRoom::Said(message::read(&self.0, reader)?)),
            kind::ROLL => roll(&mut reader)?,
            kind::GONE => ToRoom::Gone,
            _ => return Ok(ToRoom::Unknown),
        };
        reader.end()?;
        Ok(body)
    }

    /// Reads what one peer is told.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] names the first thing that is wrong.
    pub fn to_peer(&self) -> Result<ToPeer, InvalidEnvelope> {
        let mut reader = Reader::new(&self.0);
        let body = match reader.u8()? {
            kind::PART => return Ok(ToPeer::Part(self.part(reader)?)),
            kind::SAID => {
                let (document, opening) = (document(&mut reader)?, reader.var_u64()?);
                let message = message::read(&self.0, reader)?;
                return Ok(ToPeer::Said { document, opening, message });
            }
            kind::MARK => ToPeer::Mark,
            kind::HERE => ToPeer::Here(here(&mut reader)?),
            kind::WHO => ToPeer::Who(who(&mut reader)?),
            kind::NOT_HERE => ToPeer::NotHere { who: who(&mut reader)?, until: reader.var_u64()? },
            kind::MISSED_ROOM => ToPeer::Missed(Some(document(&mut reader)?)),
            kind::MISSED_STREAM => ToPeer::Missed(None),
            kind => {
                let frame = tunnel::read(kind, &self.0, reader)?;
                return Ok(frame.map_or(ToPeer::Unknown, ToPeer::Tunnel));
            }
        };
        reader.end()?;
        Ok(body)
    }

    fn part(&self, mut reader: Reader<'_>) -> Result<Part, InvalidEnvelope> {
        let (index, count) = (reader.var_u64()?, reader.var_u64()?);
        Ok(Part { index, count, bytes: keep(&self.0, reader.rest()) })
    }
}

impl Envelope {
    /// Reads a whole message.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] names the first thing that is wrong.
    pub fn parse(message: &Bytes) -> Result<Self, InvalidEnvelope> {
        let (Head { sender, place }, letter) = Letter::open(message)?;
        let stream = match place {
            Place::Everybody => Stream::Everybody(letter.to_everybody()?),
            Place::Room { number } => Stream::Room { number, body: letter.to_room()? },
            Place::Peer { starts, meeting, number } => {
                Stream::Peer { starts, meeting, number, body: letter.to_peer()? }
            }
        };
        Ok(Self { sender, stream })
    }

    /// Whether this program knows what it says.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(
            self.stream,
            Stream::Everybody(ToEverybody::Unknown)
                | Stream::Room { body: ToRoom::Unknown, .. }
                | Stream::Peer { body: ToPeer::Unknown, .. }
        )
    }

    /// The message as bytes, whatever its length. Nothing is behind the head of what is not known.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let place = match &self.stream {
            Stream::Everybody(_) => Place::Everybody,
            Stream::Room { number, .. } => Place::Room { number: *number },
            Stream::Peer { starts, meeting, number, .. } => {
                Place::Peer { starts: *starts, meeting: *meeting, number: *number }
            }
        };
        let mut out = Vec::new();
        Head { sender: self.sender, place }.write(&mut out);
        match &self.stream {
            Stream::Everybody(body) => body.write(&mut out),
            Stream::Room { body, .. } => body.write(&mut out),
            Stream::Peer { body, .. } => body.write(&mut out),
        }
        out.into()
    }
}

fn here(reader: &mut Reader<'_>) -> Result<Here, InvalidEnvelope> {
    let flags = flags(reader, HERE_ARCHIVE | HERE_HELLO, "who is there")?;
    Ok(Here { archive: flags & HERE_ARCHIVE != 0, hello: flags & HERE_HELLO != 0 })
}

fn roll(reader: &mut Reader<'_>) -> Result<ToRoom, InvalidEnvelope> {
    let flags = flags(reader, ROLL_ARCHIVE | ROLL_CAUGHT_UP | ROLL_HEARD | ROLL_MUTUAL, "what is in a room")?;
    let opening = reader.var_u64()?;
    let heard = if flags & ROLL_HEARD == 0 {
        if flags & ROLL_MUTUAL != 0 {
            return Err(InvalidEnvelope::Code { what: "whom it heard", found: flags.into() });
        }
        None
    } else {
        let peer = crate::id::PeerId(read_id(reader)?);
        let (opening, meeting) = (reader.var_u64()?, reader.var_u64()?);
        Some(Heard { peer, opening, meeting, mutual: flags & ROLL_MUTUAL != 0 })
    };
    let roll = Roll { archive: flags & ROLL_ARCHIVE != 0, caught_up: flags & ROLL_CAUGHT_UP != 0 };
    Ok(ToRoom::Roll { roll, opening, heard })
}

fn who(reader: &mut Reader<'_>) -> Result<Who, InvalidEnvelope> {
    Ok(Who { document: document(reader)?, opening: reader.var_u64()? })
}

fn document(reader: &mut Reader<'_>) -> Result<DocumentId, InvalidEnvelope> {
    Ok(DocumentId::from_key(reader.var_bytes()?)?)
}

/// A byte of bits of which these have a meaning.
fn flags(reader: &mut Reader<'_>, known: u8, what: &'static str) -> Result<u8, InvalidEnvelope> {
    let flags = reader.u8()?;
    if flags & !known != 0 {
        return Err(InvalidEnvelope::Code { what, found: flags.into() });
    }
    Ok(flags)
}
