//! Why a frame is refused.

use crate::id::InvalidName;
use crate::update::InvalidUpdate;
use crate::validate::{InvalidAutomerge, InvalidAwareness};
use crate::wire::cbor::CborError;
use crate::wire::lib0::Lib0Error;

/// What is wrong with a frame; always its sender's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A lib0 value is cut off, oversized or followed by something.
    #[error("the frame is malformed")]
    Malformed(#[from] Lib0Error),
    /// A message type that does not exist.
    #[error("message type {0} does not exist")]
    UnknownType(u64),
    /// A message of a replica, from who joined as a peer.
    #[error("message type {0} is for replicas to say; join as one")]
    Reserved(u64),
    /// What is packed does not unpack, or to too much.
    #[error("the packed frame cannot be unpacked")]
    Packed,
    /// A sync or auth subtype that does not exist.
    #[error("message subtype {0} does not exist")]
    UnknownSubtype(u64),
    /// A message that only a server sends.
    #[error("message type {0} is for servers to send")]
    ServerOnly(u64),
    /// A message about a Yjs document that is open as an Automerge document, or the other way round.
    #[error("the message is of another format than its document")]
    OtherFormat,
    /// The Yjs update or state vector inside is malformed.
    #[error("the update is malformed")]
    InvalidUpdate(#[from] InvalidUpdate),
    /// The awareness update inside is malformed.
    #[error("the awareness update is malformed")]
    InvalidAwareness(#[from] InvalidAwareness),
    /// The Automerge sync message inside is malformed.
    #[error("the sync message is malformed")]
    InvalidAutomerge(#[from] InvalidAutomerge),
    /// The document's name is no name.
    #[error("the document name cannot be used")]
    InvalidName(#[from] InvalidName),
    /// Not one CBOR map with texts as keys.
    #[error("the frame is not the CBOR map that is expected")]
    Cbor(#[from] CborError),
    /// A field of the CBOR map holds something else than it should.
    #[error("the field {field} cannot be read")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: CborError,
    },
    /// A field of the CBOR map is missing, or said to be `null` or `undefined`; one of the JSON object is no text.
    #[error("the field {0} is missing")]
    MissingField(&'static str),
    /// Not a JSON object.
    #[error("the frame is not the JSON object that is expected")]
    Json,
    /// A text is longer than any client writes.
    #[error("{what} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl FrameError {
    /// A short stable label for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_frame",
            Self::UnknownType(_) | Self::UnknownSubtype(_) => "unknown_message",
            Self::Reserved(_) => "reserved",
            Self::Packed => "packed",
            Self::ServerOnly(_) => "server_only",
            Self::OtherFormat => "format",
            Self::InvalidUpdate(_) => "invalid_update",
            Self::InvalidAwareness(_) => "invalid_awareness",
            Self::InvalidAutomerge(_) => "invalid_automerge",
            Self::InvalidName(_) => "document_name",
            Self::Cbor(_) | Self::Field { .. } | Self::MissingField(_) => "malformed_cbor",
            Self::Json => "malformed_json",
            Self::TooLong { .. } => "too_long",
        }
    }
}
