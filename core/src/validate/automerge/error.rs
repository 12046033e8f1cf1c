//! Why bytes are no Automerge chunk or sync message.

use crate::wire::inflate::InflateError;

/// Why bytes are no acceptable Automerge chunks or sync message. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAutomerge {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// Bytes behind the end.
    #[error("bytes remain behind the end")]
    Trailing,
    /// More bytes than are accepted.
    #[error("the input has {found} bytes, more than are accepted")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
    /// A LEB128 integer that is too large or longer than needed.
    #[error("an integer is too large or badly encoded")]
    Integer,
    /// A count of more elements than the remaining bytes can hold.
    #[error("a count of {claimed} is more than the remaining bytes can hold")]
    Count {
        /// The claimed number of elements.
        claimed: u64,
    },
    /// A string that is not UTF-8.
    #[error("a string is not utf-8")]
    NotUtf8,
    /// A first byte that names no sync message.
    #[error("byte {found:#04x} begins no sync message")]
    UnknownMessage {
        /// The byte.
        found: u8,
    },
    /// A bloom filter whose parameters cannot work.
    #[error("a bloom filter is malformed")]
    Bloom,
    /// A chunk without the magic bytes.
    #[error("a chunk does not begin with the magic bytes")]
    Magic,
    /// A chunk type that is not accepted.
    #[error("chunk type {found} is not accepted")]
    UnknownChunk {
        /// The type.
        found: u8,
    },
    /// A compressed part that does not inflate within bounds.
    #[error("a compressed part cannot be inflated")]
    Inflate(#[from] InflateError),
    /// Compressed columns in a change, where none may be.
    #[error("a change has compressed columns")]
    CompressedColumns,
    /// Columns out of order or listed twice.
    #[error("columns are out of order")]
    ColumnOrder,
    /// A column of more rows than are accepted, or an empty or overlong run.
    #[error("a column has a malformed run or too many rows")]
    Rows,
    /// Columns that disagree about the number of rows.
    #[error("the columns of a chunk disagree")]
    Disagree,
    /// A missing value where each row must have one.
    #[error("a column lacks a value that must be there")]
    Null,
    /// An actor index beyond the chunk's actors.
    #[error("an actor index is out of range")]
    Actor,
    /// Actors out of order or listed twice.
    #[error("the actors of a chunk are out of order")]
    ActorOrder,
    /// A sequence number or operation counter that is zero or too high.
    #[error("a counter is zero or above the highest accepted one")]
    Counter,
    /// A dependency or head that does not exist.
    #[error("a change depends on itself or on its successor")]
    Dependency,
    /// An operation that cannot be.
    #[error("an operation is malformed")]
    Operation,
    /// A scalar value whose bytes do not fit its type.
    #[error("a scalar value is malformed")]
    Value,
}
