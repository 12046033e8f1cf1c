//! LEB128 integers and counted parts, read off the front of a slice without allocating.

use super::error::InvalidAutomerge;

/// Reads Automerge primitives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leb<'a>(&'a [u8]);

impl<'a> Leb<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, InvalidAutomerge> {
        let (first, rest) = self.0.split_first().ok_or(InvalidAutomerge::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], InvalidAutomerge> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(InvalidAutomerge::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// Unsigned, without superfluous groups.
    pub(super) fn u64(&mut self) -> Result<u64, InvalidAutomerge> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(InvalidAutomerge::Integer);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(InvalidAutomerge::Integer) } else { Ok(value) };
            }
            shift += 7;
        }
    }

    /// Signed, without superfluous groups.
    pub(super) fn i64(&mut self) -> Result<i64, InvalidAutomerge> {
        let (mut value, mut shift, mut last) = (0i64, 0u32, 0u8);
        loop {
            let byte = self.u8()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(InvalidAutomerge::Integer);
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                let (negative, before) = (byte & 0x40 != 0, last & 0x40 != 0);
                if shift > 7 && ((byte == 0 && !before) || (byte == 0x7f && before)) {
                    return Err(InvalidAutomerge::Integer);
                }
                return Ok(if negative && shift < 64 { value | (-1 << shift) } else { value });
            }
            last = byte;
        }
    }

    /// A count of elements that take at least `bytes_min` bytes each.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<u64, InvalidAutomerge> {
        let claimed = self.u64()?;
        if claimed > (self.0.len() / bytes_min.max(1)) as u64 {
            return Err(InvalidAutomerge::Count { claimed });
        }
        Ok(claimed)
    }

    /// A length and that many bytes.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], InvalidAutomerge> {
        let len = usize::try_from(self.count(1)?).map_err(|_| InvalidAutomerge::Integer)?;
        self.take(len)
    }

    /// A length and that many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, InvalidAutomerge> {
        std::str::from_utf8(self.counted()?).map_err(|_| InvalidAutomerge::NotUtf8)
    }

    /// A count of 32-byte hashes; returns how many.
    pub(super) fn hashes(&mut self) -> Result<u64, InvalidAutomerge> {
        let count = self.count(32)?;
        for _ in 0..count {
            self.take(32)?;
        }
        Ok(count)
    }

    pub(super) fn end(&self) -> Result<(), InvalidAutomerge> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidAutomerge::Trailing) }
    }
}
