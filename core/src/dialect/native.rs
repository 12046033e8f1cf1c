//! The native dialect, at `/native`: peers join the backplane of a relay through its door. Binary messages, one frame
//! each; what peers say to each other is opaque here.
//!
//! Its bytes are in `core/PROTOCOL.md` ("The door"), with golden frames in `fixtures/native`.

use bytes::Bytes;

use super::error::FrameError;
use super::payload::keep;
use crate::cluster::To;
use crate::id::{DocumentId, PeerId};
use crate::limits::{
    DOCUMENT_NAME_BYTES_MAX, PEER_PAYLOAD_BYTES_MAX, PEER_TEXT_BYTES_MAX, PEER_VERSIONS_MAX,
};
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

/// The version that is spoken here.
pub const VERSION: u64 = 1;
/// Longest frame in bytes: a payload, to whom it goes, and what is before it.
pub const FRAME_BYTES_MAX: usize = PEER_PAYLOAD_BYTES_MAX + 1024 + DOCUMENT_NAME_BYTES_MAX;

/// The peer may not join, nor would it if it came again.
pub const CLOSE_REFUSED: u16 = 4403;
/// A frame that no peer sends.
pub const CLOSE_BAD_FRAME: u16 = 4500;
/// Messages were lost, or would have been: the peer begins anew with another connection.
pub const CLOSE_ANEW: u16 = 1013;

const HELLO: u64 = 0;
const WELCOME: u64 = 1;
const REFUSED: u64 = 2;
const LISTEN: u64 = 3;
const UNLISTEN: u64 = 4;
const SAY: u64 = 5;
const HEARD: u64 = 6;
/// Frames of replicas; see [`super::replica`].
const REPLICAS: std::ops::RangeInclusive<u64> = 32..=63;

/// What one wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One more on the backplane: a relay, or an archive that acknowledges.
    Peer,
    /// Another replica of the documents, which goes on with the frames of [`super::replica`].
    Replica,
    /// Something else of a later version.
    Other(u64),
}

/// What a peer says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it wants to be.
    pub role: Role,
    /// Its name.
    pub peer: PeerId,
    /// The secret of the door; empty for none.
    pub token: String,
}

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u64);

impl Refusal {
    /// No version is spoken on both sides.
    pub const VERSION: Self = Self(1);
    /// The token is missing or wrong.
    pub const TOKEN: Self = Self(2);
    /// The role is not to be had here.
    pub const ROLE: Self = Self(3);
    /// It is this very process.
    pub const YOURSELF: Self = Self(4);
    /// This server goes through the door of another itself.
    pub const GUEST: Self = Self(5);
    /// Somebody of the same name has not gone yet.
    pub const NAME: Self = Self(64);

    /// Whether the same would be refused again. So are all below 64, those of later versions, too.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        self.0 < 64
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From a peer, first: may it join?
    Hello(Hello),
    /// From a peer that does not speak [`VERSION`]; nothing else is known of it.
    HelloOfOthers,
    /// From the relay: it is joined.
    Welcome {
        /// The version that is spoken from now on.
        version: u64,
        /// The name of the relay.
        relay: PeerId,
    },
    /// From the relay, last: it is not.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// The same for people.
        reason: String,
    },
    /// From a peer: it hears what is said to the room of this document from now on.
    Listen(DocumentId),
    /// From a peer: and no more.
    Unlisten(DocumentId),
    /// From a peer: it says this.
    Say {
        /// To whom.
        to: To,
        /// What.
        payload: Bytes,
    },
    /// From the relay: somebody else said this.
    Heard {
        /// To whom.
        to: To,
        /// What.
        payload: Bytes,
    },
}

/// Reads a frame.
///
/// # Errors
/// [`FrameError`] if it is none, too long, or of a kind that this version does not have.
pub fn parse(frame: &Bytes) -> Result<Message, FrameError> {
    bounded("the frame", frame.len(), FRAME_BYTES_MAX)?;
    let mut reader = Reader::new(frame);
    let kind = reader.var_u64()?;
    let message = match kind {
        HELLO => return hello(reader),
        WELCOME => Message::Welcome { version: reader.var_u64()?, relay: peer(&mut reader)? },
        REFUSED => {
            Message::Refused { refusal: Refusal(reader.var_u64()?), reason: text("the reason", &mut reader)? }
        }
        LISTEN => Message::Listen(document(&mut reader)?),
        UNLISTEN => Message::Unlisten(document(&mut reader)?),
        SAY | HEARD => {
            let to = to(&mut reader)?;
            bounded("the payload", reader.rest().len(), PEER_PAYLOAD_BYTES_MAX)?;
            let payload = keep(frame, reader.rest());
            return Ok(if kind == SAY {
                Message::Say { to, payload }
            } else {
                Message::Heard { to, payload }
            });
        }
        kind if REPLICAS.contains(&kind) => return Err(FrameError::Reserved(kind)),
        kind => return Err(FrameError::UnknownType(kind)),
    };
    reader.end()?;
    Ok(message)
}

/// Its beginning is the same in all versions, and what a later one has behind it is not looked at.
fn hello(mut reader: Reader<'_>) -> Result<Message, FrameError> {
    let count = usize::try_from(reader.var_u64()?).map_err(|_| Lib0Error::TooLarge)?;
    bounded("the list of versions", count, PEER_VERSIONS_MAX)?;
    let mut is_ours = false;
    for _ in 0..count {
        is_ours |= reader.var_u64()? == VERSION;
    }
    if !is_ours {
        return Ok(Message::HelloOfOthers);
    }
    let role = match reader.var_u64()? {
        1 => Role::Peer,
        2 => Role::Replica,
        other => Role::Other(other),
    };
    let peer = peer(&mut reader)?;
    Ok(Message::Hello(Hello { role, peer, token: text("the token", &mut reader)? }))
}

fn peer(reader: &mut Reader<'_>) -> Result<PeerId, FrameError> {
    let bytes: [u8; 8] = reader.bytes(8)?.try_into().map_err(|_| Lib0Error::Truncated)?;
    Ok(PeerId(u64::from_be_bytes(bytes)))
}

fn document(reader: &mut Reader<'_>) -> Result<DocumentId, FrameError> {
    Ok(DocumentId::from_key(reader.var_bytes()?)?)
}

fn text(what: &'static str, reader: &mut Reader<'_>) -> Result<String, FrameError> {
    let text = reader.var_str()?;
    bounded(what, text.len(), PEER_TEXT_BYTES_MAX)?;
    Ok(text.to_owned())
}

fn to(reader: &mut Reader<'_>) -> Result<To, FrameError> {
    match reader.var_u64()? {
        0 => Ok(To::Everybody),
        1 => Ok(To::Room(document(reader)?)),
        2 => Ok(To::Peer(peer(reader)?)),
        other => Err(FrameError::UnknownSubtype(other)),
    }
}

fn bounded(what: &'static str, bytes: usize, max: usize) -> Result<(), FrameError> {
    if bytes <= max { Ok(()) } else { Err(FrameError::TooLong { what, bytes, max }) }
}

impl Message {
    /// The frame of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello(Hello { role, peer, token }) => {
                let role = match role {
                    Role::Peer => 1,
                    Role::Replica => 2,
                    Role::Other(other) => *other,
                };
                for number in [HELLO, 1, VERSION, role] {
                    write_var_u64(&mut out, number);
                }
                out.extend_from_slice(&peer.0.to_be_bytes());
                write_var_bytes(&mut out, token.as_bytes());
            }
            Self::HelloOfOthers => {
                write_var_u64(&mut out, HELLO);
                write_var_u64(&mut out, 0);
            }
            Self::Welcome { version, relay } => {
                write_var_u64(&mut out, WELCOME);
                write_var_u64(&mut out, *version);
                out.extend_from_slice(&relay.0.to_be_bytes());
            }
            Self::Refused { refusal, reason } => {
                write_var_u64(&mut out, REFUSED);
                write_var_u64(&mut out, refusal.0);
                write_var_bytes(&mut out, reason.as_bytes());
            }
            Self::Listen(document) => out = about(LISTEN, document),
            Self::Unlisten(document) => out = about(UNLISTEN, document),
            Self::Say { to, payload } => {
                out = say_head(to);
                out.extend_from_slice(payload);
            }
            Self::Heard { to, payload } => {
                out = heard_head(to);
                out.extend_from_slice(payload);
            }
        }
        out
    }
}

fn about(kind: u64, document: &DocumentId) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.key_len() + 3);
    write_var_u64(&mut out, kind);
    write_var_bytes(&mut out, &document.to_key());
    out
}

/// The beginning of [`Message::Say`]; the payload follows as it is.
#[must_use]
pub fn say_head(to: &To) -> Vec<u8> {
    head(SAY, to)
}

/// The beginning of [`Message::Heard`]; the payload follows as it is.
#[must_use]
pub fn heard_head(to: &To) -> Vec<u8> {
    head(HEARD, to)
}

fn head(kind: u64, to: &To) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    write_var_u64(&mut out, kind);
    match to {
        To::Everybody => write_var_u64(&mut out, 0),
        To::Room(document) => {
            write_var_u64(&mut out, 1);
            write_var_bytes(&mut out, &document.to_key());
        }
        To::Peer(peer) => {
            write_var_u64(&mut out, 2);
            out.extend_from_slice(&peer.0.to_be_bytes());
        }
    }
    out
}
