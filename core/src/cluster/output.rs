//! What comes out of the machine, in order.

use std::net::IpAddr;

use bytes::Bytes;

use super::address::To;
use super::codec::InvalidEnvelope;
use super::draft::Unread;
use crate::id::{DocumentId, PeerId};
use crate::room::{PeerMessage, Roll};

/// Names one tunnel; unique for the peer that opened it. At most 2^53 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u64);

/// Part of a connection of automerge-repo or of signaling on its way between the relay that has it and the one that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelFrame {
    /// A client has connected.
    Open {
        /// Names it from now on.
        tunnel: TunnelId,
        /// The path of its dialect; at most 16 KiB.
        path: String,
        /// Its `Host`; at most 16 KiB.
        host: String,
        /// Where it comes from, if it has an address that may be counted.
        client: Option<IpAddr>,
    },
    /// A message, in either direction: binary, or UTF-8 where the dialect has text.
    Data {
        /// Which.
        tunnel: TunnelId,
        /// The message.
        payload: Bytes,
    },
    /// It is over, from either side.
    Close {
        /// Which.
        tunnel: TunnelId,
        /// The code of the close frame.
        code: u16,
        /// The reason in it; at most 16 KiB.
        reason: String,
    },
}

/// What the driver must do or know.
#[derive(Clone, Debug)]
#[must_use]
pub enum Output {
    /// Say this on the backplane; at most [`super::MESSAGE_BYTES_MAX`] bytes.
    Transmit {
        /// To whom.
        to: To,
        /// The message.
        message: Bytes,
    },
    /// Listen to the room of a document, before anything that comes out later is said.
    Listen(DocumentId),
    /// Listen to it no more.
    Unlisten(DocumentId),
    /// Everybody that lives has said whether this room is open there, or two seconds are over. Comes once for each
    /// opening, and again for each [`super::Cluster::up`].
    Called(DocumentId),
    /// A peer has this room open, and both sides hear each other from now on.
    Came {
        /// The room.
        document: DocumentId,
        /// Who.
        peer: PeerId,
        /// What it has there.
        roll: Roll,
    },
    /// A peer that came has something else there now.
    Changed {
        /// The room.
        document: DocumentId,
        /// Who.
        peer: PeerId,
        /// What it has there.
        roll: Roll,
    },
    /// Messages between a peer and this room may be missing, in either direction.
    Lost {
        /// The room.
        document: DocumentId,
        /// Who.
        peer: PeerId,
    },
    /// A peer has this room open no more, or is gone itself.
    Went {
        /// The room.
        document: DocumentId,
        /// Who.
        peer: PeerId,
    },
    /// A peer said something to this room. It has come before.
    Said {
        /// The room.
        document: DocumentId,
        /// Who.
        peer: PeerId,
        /// What.
        message: PeerMessage,
    },
    /// A peer said something large. It is to be read and taken in before anything else is heard.
    Unread(Unread),
    /// A peer has a room open that the archive here should join: open it and call [`super::Cluster::opened`]. Comes
    /// again while that has not happened. Keep it open while [`super::Cluster::is_shared`].
    Wanted(DocumentId),
    /// Who serves the connections of automerge-repo from now on: the archive with the lowest id, else the relay with
    /// the lowest; it may be this one.
    Home(PeerId),
    /// Part of a tunnel came from a peer.
    Tunnel {
        /// Who.
        peer: PeerId,
        /// What.
        frame: TunnelFrame,
    },
    /// Frames of tunnels with this peer are missing, or it is gone: close them all.
    TunnelsBroken {
        /// Who.
        peer: PeerId,
    },
    /// Something was heard that cannot be read; it is as if it had not been said. For a log.
    Refused {
        /// Who said it, if that much could be read.
        peer: Option<PeerId>,
        /// What is wrong with it.
        error: InvalidEnvelope,
    },
}
