//! What is said, as values: three streams, each with the bodies that make sense in it.
//!
//! What goes to everybody has no number: whoever misses it asks again. What goes to a room and what goes to a peer is
//! numbered by its sender, for each room and each peer by itself.

use bytes::Bytes;

use super::codec::Sender;
use super::output::TunnelFrame;
use crate::id::{DocumentId, PeerId};
use crate::room::{PeerMessage, Roll};

/// One message on the backplane.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who says it.
    pub sender: Sender,
    /// To whom, in which stream.
    pub stream: Stream,
}

/// The stream that a message belongs to, with its place there.
#[derive(Clone, Debug)]
pub enum Stream {
    /// To everybody.
    Everybody(ToEverybody),
    /// To a room. Which one the backplane says.
    Room {
        /// Counts from 1 with each opening.
        number: u64,
        /// What.
        body: ToRoom,
    },
    /// To one peer.
    Peer {
        /// The addressee's start that this is meant for.
        starts: u64,
        /// Grows whenever the sender meets the addressee anew.
        meeting: u64,
        /// Counts from 1 with each meeting.
        number: u64,
        /// What.
        body: ToPeer,
    },
}

/// A bit of something that is larger than a message: of the bytes behind the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub index: u64,
    /// How many there are.
    pub count: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// "I am there."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// Whether an archive is behind it.
    pub archive: bool,
    /// Whether it wants to be told who else is.
    pub hello: bool,
}

/// "Who has this open?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The room.
    pub document: DocumentId,
    /// Which opening of the asker's asks.
    pub opening: u64,
}

/// What everybody is told.
#[derive(Clone, Debug)]
pub enum ToEverybody {
    /// A beat, or a greeting.
    Here(Here),
    /// The sender goes.
    Bye,
    /// A roll call.
    Who(Who),
    /// Of a later program.
    Unknown,
}

/// Whose roll a roll answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub peer: PeerId,
    /// Which opening of it.
    pub opening: u64,
    /// The sender's meeting with it.
    pub meeting: u64,
    /// Whether the sender knows that it was heard there itself.
    pub mutual: bool,
}

/// What a room is told.
#[derive(Clone, Debug)]
pub enum ToRoom {
    /// A bit of a message.
    Part(Part),
    /// The sender has the room open.
    Roll {
        /// What it has there.
        roll: Roll,
        /// Which opening of it; grows.
        opening: u64,
        /// Whom it answers.
        heard: Option<Heard>,
    },
    /// The sender has the room open no more.
    Gone,
    /// For the rooms of all peers.
    Said(PeerMessage),
    /// Of a later program.
    Unknown,
}

/// What one peer is told.
#[derive(Clone, Debug)]
pub enum ToPeer {
    /// A bit of a message.
    Part(Part),
    /// Nothing new, but a number.
    Mark,
    /// A greeting.
    Here(Here),
    /// A question again, or of somebody that came later.
    Who(Who),
    /// The answer to a question about a room that is not open.
    NotHere {
        /// The question.
        who: Who,
        /// All openings of the sender's up to this one are over, for this room.
        until: u64,
    },
    /// The sender lost messages of the addressee: of one room, or of this stream.
    Missed(Option<DocumentId>),
    /// For the addressee's room.
    Said {
        /// The room.
        document: DocumentId,
        /// Which opening of the addressee's it is meant for.
        opening: u64,
        /// What.
        message: PeerMessage,
    },
    /// Part of a tunnel.
    Tunnel(TunnelFrame),
    /// Of a later program.
    Unknown,
}
