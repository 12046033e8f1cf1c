//! Why bytes are no update or state vector: one variant for each way a peer can be wrong.

use crate::wire::lib0::Lib0Error;

/// Why bytes are no well-formed Yjs update or state vector. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUpdate {
    /// A primitive value is malformed, or bytes are missing or left over.
    #[error("the update is malformed")]
    Lib0(#[from] Lib0Error),
    /// More bytes than any stock client sends.
    #[error("the update has {found} bytes, more than are accepted")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
    /// A count of more elements than the remaining bytes can hold.
    #[error("a count of {claimed} is more than the remaining bytes can hold")]
    Count {
        /// The claimed number of elements.
        claimed: u64,
    },
    /// More structs, holes, clients or delete ranges than one update may have.
    #[error("the update has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A client that is listed twice.
    #[error("client {client} is listed twice")]
    DuplicateClient {
        /// The client id.
        client: u64,
    },
    /// A client without a single struct.
    #[error("client {client} is listed without structs")]
    EmptySection {
        /// The client id.
        client: u64,
    },
    /// A struct or delete range of length 0.
    #[error("client {client} has an empty struct or range at clock {clock}")]
    Empty {
        /// The client id.
        client: u64,
        /// The clock of the struct or range.
        clock: u64,
    },
    /// A clock that ends above the highest accepted one.
    #[error("client {client} has a clock above the highest accepted one")]
    ClockTooHigh {
        /// The client id.
        client: u64,
    },
    /// An info byte that names no struct.
    #[error("info byte {info:#04x} names no struct")]
    UnknownStruct {
        /// The info byte.
        info: u8,
    },
    /// A shared type that is unknown, or that yrs reads otherwise than yjs (5, `XmlHook`; 7, weak link).
    #[error("shared type {type_ref} is not supported")]
    UnknownType {
        /// The type reference.
        type_ref: u64,
    },
    /// A parent flag other than 0 and 1.
    #[error("parent flag {flag} is neither 0 nor 1")]
    ParentFlag {
        /// The flag.
        flag: u64,
    },
    /// An item whose origin, right origin or parent is itself or a later item of its own client.
    #[error("item {clock} of client {client} depends on itself or on its successor")]
    SelfReference {
        /// The client id.
        client: u64,
        /// The clock of the item.
        clock: u64,
    },
    /// An item whose parent is, in the same update, an item that is no shared type.
    #[error("item {clock} of client {client} is a parent but no shared type")]
    ParentNoType {
        /// The client id of the parent.
        client: u64,
        /// The clock of the parent.
        clock: u64,
    },
    /// A tag that names no `Any` value.
    #[error("tag {tag} names no value")]
    UnknownAny {
        /// The tag.
        tag: u8,
    },
    /// Values nested too deep.
    #[error("values are nested too deep")]
    Nesting,
    /// A string that must hold JSON and does not.
    #[error("a string that must be json is not")]
    Json,
    /// A sub-document whose options are no object.
    #[error("the options of a sub-document are no object")]
    DocOptions,
    /// Delete ranges that overlap or go backwards.
    #[error("the delete ranges of client {client} overlap or go backwards")]
    DeleteOrder {
        /// The client id.
        client: u64,
    },
    /// An outline that is that of no update, or of another one. Outlines come from our own disk, so this is a
    /// mistake of ours.
    #[error("what was noted of the update is not true of it")]
    Outline,
}
