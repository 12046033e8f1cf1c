//! Checksums of headers and records: CRC-32 in version 1, CRC32C since, which processors compute themselves.
//!
//! [`Ranges`] gives the checksum of any part of a segment at once, so that looking for records whose nonce
//! nobody knows costs the same whatever lengths the bytes claim.

/// A version of the segment's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    /// The one that new segments have.
    pub(super) const LATEST: Self = Self::Two;

    pub(super) fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }

    pub(super) fn tag(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The checksum of what `crc` is of, followed by these bytes; of nothing it is 0.
    pub(super) fn append(self, crc: u32, bytes: &[u8]) -> u32 {
        match self {
            Self::One => {
                let mut hasher = crc32fast::Hasher::new_with_initial(crc);
                hasher.update(bytes);
                hasher.finalize()
            }
            Self::Two => crc32c::crc32c_append(crc, bytes),
        }
    }

    /// The polynomial, lowest bit first.
    fn polynomial(self) -> u32 {
        match self {
            Self::One => 0xedb8_8320,
            Self::Two => 0x82f6_3b78,
        }
    }
}

/// Bytes between two places where a range may start or end.
const STEP: usize = super::record::ALIGNMENT;

/// The checksums of all ranges of one segment that start and end at multiples of 8.
pub(super) struct Ranges {
    version: Version,
    /// Of the bytes before each multiple of 8.
    before: Vec<u32>,
    /// What 8, 16, 32, … bytes of zeros do to a checksum, as polynomials.
    shifts: Vec<u32>,
}

impl Ranges {
    pub(super) fn of(version: Version, bytes: &[u8]) -> Self {
        let mut before = Vec::with_capacity(bytes.len() / STEP + 1);
        let mut crc = 0;
        before.push(crc);
        for piece in bytes.chunks_exact(STEP) {
            crc = version.append(crc, piece);
            before.push(crc);
        }
        let mut shifts = Vec::new();
        // x^64: the lowest bit of a reflected polynomial is its highest power.
        let mut shift = (0..STEP * 8).fold(1 << 31, |shift, _| times_x(version, shift));
        for _ in 0..usize::BITS {
            shifts.push(shift);
            shift = times(version, shift, shift);
        }
        Self { version, before, shifts }
    }

    /// The checksum of what `crc` is of, followed by the bytes from `start` to `end`; none if they are not there.
    pub(super) fn append(&self, crc: u32, start: usize, end: usize) -> Option<u32> {
        let from = self.before.get(start / STEP)?;
        let to = self.before.get(end / STEP)?;
        let mut difference = crc ^ from;
        let steps = (end.checked_sub(start)?) / STEP;
        for (bit, shift) in self.shifts.iter().enumerate() {
            if steps >> bit & 1 == 1 {
                difference = times(self.version, difference, *shift);
            }
        }
        Some(to ^ difference)
    }
}

fn times_x(version: Version, value: u32) -> u32 {
    if value & 1 == 1 { (value >> 1) ^ version.polynomial() } else { value >> 1 }
}

/// Product of two polynomials modulo the checksum's.
fn times(version: Version, mut one: u32, two: u32) -> u32 {
    let mut product = 0;
    for bit in (0..u32::BITS).rev() {
        if two >> bit & 1 == 1 {
            product ^= one;
        }
        one = times_x(version, one);
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_the_known_ones() {
        // The check values of both in the catalogue of Greg Cook.
        assert_eq!(Version::One.append(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(Version::Two.append(0, b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn ranges_are_what_was_computed_byte_by_byte(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
            crc in any::<u32>(),
        ) {
            let (from, to) = (from.index(bytes.len() / 8 + 1) * 8, to.index(bytes.len() / 8 + 1) * 8);
            for version in [Version::One, Version::Two] {
                let ranges = Ranges::of(version, &bytes);
                let expected = (from <= to).then(|| version.append(crc, &bytes[from..to]));
                prop_assert_eq!(ranges.append(crc, from, to), expected);
            }
        }
    }
}
