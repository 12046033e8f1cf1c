//! The one bounded door to bincode (2.0.1; HAZARDS: unmaintained, and aborts on 9 bytes without a limit).
//!
//! Fixed-width big-endian integers, so that golden bytes can be read by eye. No other module calls it.

use ::bincode::{Decode, Encode, config};

/// Most bytes that one decoded record may claim.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

fn configuration() -> impl config::Config {
    config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<RECORD_BYTES_MAX>()
}

/// What bincode refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value does not encode within the limit.
    #[error("the record cannot be encoded")]
    Encode(#[source] ::bincode::error::EncodeError),
    /// The bytes are no such record.
    #[error("the record cannot be decoded")]
    Decode(#[source] ::bincode::error::DecodeError),
    /// Bytes remain behind the record.
    #[error("{0} bytes remain behind the record")]
    Trailing(usize),
}

/// Encodes a record.
///
/// # Errors
/// [`CodecError::Encode`] if it does not fit the limit.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    ::bincode::encode_to_vec(value, configuration()).map_err(CodecError::Encode)
}

/// Decodes a record that fills `bytes` exactly.
///
/// # Errors
/// [`CodecError`] if the bytes are no such record or something remains.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = ::bincode::decode_from_slice(bytes, configuration()).map_err(CodecError::Decode)?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(value),
        rest => Err(CodecError::Trailing(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_allocates_nothing() {
        assert!(decode::<Vec<u8>>(&[0xff; 9]).is_err());
        assert!(decode::<String>(&u64::MAX.to_be_bytes()).is_err());
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32).unwrap();
        assert_eq!(bytes, [0, 0, 0, 7]);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(CodecError::Trailing(1))));
    }
}
