//! Why something that was heard on a backplane cannot be read.

use crate::id::InvalidName;
use crate::update::InvalidUpdate;
use crate::validate::InvalidAwareness;
use crate::wire::lib0::Lib0Error;

/// Why bytes are nothing that a relay says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnvelope {
    /// Written by another program version, or by something else altogether.
    #[error(
        "a message on the backplane has version {found}, this relay speaks version 1; run one version on all \
         relays, and let nothing else speak on their subjects"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// A primitive value is malformed, or bytes are missing or left over.
    #[error("a message of another relay is malformed: {0}")]
    Lib0(#[from] Lib0Error),
    /// A number that stands for nothing.
    #[error("a message of another relay has {found} where it says {what}")]
    Code {
        /// What it should have said.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// A document name that is none.
    #[error("a message of another relay names no document: {0}")]
    Name(#[from] InvalidName),
    /// An update or state vector that is none.
    #[error("a message of another relay carries an invalid update: {0}")]
    Update(#[from] InvalidUpdate),
    /// Presence that is none.
    #[error("a message of another relay carries invalid presence: {0}")]
    Awareness(#[from] InvalidAwareness),
    /// It came on another stream than it was written for.
    #[error("a message of another relay came where it does not belong")]
    Misplaced,
    /// More than is taken.
    #[error("a message of another relay, or what all of them have under way in parts, is too large")]
    TooLarge,
}
