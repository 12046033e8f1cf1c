//! lib0 primitives: variable-length integers, strings and byte arrays, read without allocating.
//!
//! A `varUint` has 7 bits per byte, little-endian groups, the high bit says that more follow
//! (source: lib0 0.2.120 `encoding.js`, `decoding.js`). Nothing is allocated from a claimed length.

/// Why bytes are no lib0 value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lib0Error {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// An integer above 2^53 − 1, the largest that JavaScript keeps exactly.
    #[error("an integer is larger than 2^53 - 1")]
    TooLarge,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Bytes behind the end of the message.
    #[error("bytes remain behind the message")]
    Trailing,
}

/// Reads lib0 values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Lib0Error::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, Lib0Error> {
        let (first, rest) = self.rest.split_first().ok_or(Lib0Error::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A varUint of at most 53 bits.
    ///
    /// # Errors
    /// [`Lib0Error`] if it is cut off or larger than 2^53 − 1.
    pub fn var_u64(&mut self) -> Result<u64, Lib0Error> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7f);
            if shift > 49 || (shift == 49 && group > 0x0f) {
                return Err(Lib0Error::TooLarge);
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// Exactly `len` bytes.
    ///
    /// # Errors
    /// [`Lib0Error::Truncated`] if fewer are left.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Lib0Error> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Lib0Error::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A varUint length and that many bytes.
    ///
    /// # Errors
    /// [`Lib0Error`] if the length is malformed or more than what is left.
    pub fn var_bytes(&mut self) -> Result<&'a [u8], Lib0Error> {
        let len = usize::try_from(self.var_u64()?).map_err(|_| Lib0Error::TooLarge)?;
        self.bytes(len)
    }

    /// A varUint length and that many bytes of UTF-8.
    ///
    /// # Errors
    /// [`Lib0Error`] as for [`Reader::var_bytes`], or if the bytes are not UTF-8.
    pub fn var_str(&mut self) -> Result<&'a str, Lib0Error> {
        std::str::from_utf8(self.var_bytes()?).map_err(|_| Lib0Error::NotUtf8)
    }

    /// Succeeds if everything has been read.
    ///
    /// # Errors
    /// [`Lib0Error::Trailing`] if not.
    pub fn end(&self) -> Result<(), Lib0Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Lib0Error::Trailing) }
    }
}

/// Appends a varUint.
#[expect(clippy::cast_possible_truncation, reason = "the low 7 bits are what is wanted")]
pub fn write_var_u64(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(0x80 | (value as u8 & 0x7f));
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varUint length and the bytes.
pub fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_varuints() {
        for (value, hex) in [
            (127, &[0x7f][..]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (1 << 32, &[0x80, 0x80, 0x80, 0x80, 0x10]),
        ] {
            let mut out = Vec::new();
            write_var_u64(&mut out, value);
            assert_eq!(out, hex);
        }
    }

    #[test]
    fn endless_and_oversized_integers_are_refused() {
        assert_eq!(Reader::new(&[0x80; 20]).var_u64(), Err(Lib0Error::TooLarge));
        assert_eq!(Reader::new(&[0x80; 3]).var_u64(), Err(Lib0Error::Truncated));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0x7f, 1]).var_bytes(), Err(Lib0Error::Truncated));
    }

    proptest! {
        #[test]
        fn integers_and_strings_come_back(value in 0u64..(1 << 53), text in ".*") {
            let mut out = Vec::new();
            write_var_u64(&mut out, value);
            write_var_bytes(&mut out, text.as_bytes());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.var_u64(), Ok(value));
            prop_assert_eq!(reader.var_str(), Ok(text.as_str()));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
