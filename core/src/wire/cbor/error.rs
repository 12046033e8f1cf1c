//! Why bytes are not the CBOR that is expected.

use minicbor::decode::Error;

/// Why bytes are not the CBOR that is expected. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// No CBOR, or a text that is not UTF-8.
    #[error("the bytes are no CBOR")]
    Malformed,
    /// A value of another kind than is expected.
    #[error("a value is of another kind than is expected")]
    WrongKind,
    /// An integer above 2^53 − 1, the largest that JavaScript keeps exactly, or a fraction.
    #[error("a number is no integer below 2^53")]
    NotInteger,
    /// Arrays, maps and tags inside one another beyond [`NESTING_MAX`](crate::limits::NESTING_MAX).
    #[error("values are nested too deep")]
    Nesting,
    /// More elements than are accepted.
    #[error("a list or map has more than {max} elements")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// A map names a field twice.
    #[error("a field appears twice")]
    DuplicateField,
    /// Bytes behind the end of the message.
    #[error("bytes remain behind the message")]
    Trailing,
}

impl From<Error> for CborError {
    fn from(error: Error) -> Self {
        if error.is_end_of_input() {
            Self::Truncated
        } else if error.is_type_mismatch() {
            Self::WrongKind
        } else {
            Self::Malformed
        }
    }
}
