//! What every row carries: a marker, a version, its own place, and a checksum over all of that.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | first half of the store's mark |
//! | 4 | 1 | version: 2, or 3 for the record of an evicted document |
//! | 5 | 4 | CRC-32C, begun with the second half of the mark, of everything else from 4 on |
//! | 9 | 1 | tag of the tree |
//! | 10 | 2 | length of the key |
//! | 12 | 2 | length of the body |
//! | 14 | | key, body |
//!
//! A row says by itself where it belongs, so that it can be found in the bytes of a file whose engine does not
//! open any more ([`Mark::carve`]). The mark is random and no client knows it, so that nobody can write a payload
//! that would be taken for a row then. Version 1 had neither mark nor place: version (1), CRC-32 of tree tag (1),
//! length of the key (8), key, version and body (4), body. It is read for ever.

use super::{Tree, VALUE_BYTES_MAX};

/// What is written now.
pub(super) const VERSION: u8 = 2;
/// The same, of the record of an evicted document: a program that knows no such records must not take it for an empty
/// document.
pub(super) const EVICTED: u8 = 3;
const HEAD: usize = 14;
/// Version and checksum of version 1.
const HEAD_1: usize = 5;

/// Largest body of a row in bytes.
pub(super) const fn body_bytes_max(key_len: usize) -> usize {
    VALUE_BYTES_MAX.saturating_sub(HEAD + key_len)
}

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRow {
    /// Changed, or of another key.
    Broken,
    /// Whole, but of a later program.
    TooNew(u8),
}

/// A whole row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// Which version wrote it.
    pub(super) version: u8,
    pub(super) body: &'a [u8],
}

/// What all rows of a store have in common, made once at random.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(pub(super) [u8; 8]);

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It must not get into a log that clients may see.
        f.write_str("Mark")
    }
}

impl Mark {
    /// A new one.
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        // The first byte of a row of version 1 is 1.
        bytes[0] |= 0x80;
        Ok(Self(bytes))
    }

    fn halves(self) -> ([u8; 4], u32) {
        let [a, b, c, d, e, f, g, h] = self.0;
        ([a, b, c, d], u32::from_be_bytes([e, f, g, h]))
    }

    /// Wraps a body of at most [`body_bytes_max`] bytes.
    pub(super) fn seal(self, tree: Tree, key: &[u8], body: &[u8]) -> Vec<u8> {
        self.seal_as(VERSION, tree, key, body)
    }

    /// As [`Mark::seal`], of another version.
    pub(super) fn seal_as(self, version: u8, tree: Tree, key: &[u8], body: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEAD + key.len() + body.len());
        row.extend_from_slice(&self.halves().0);
        row.push(version);
        row.extend_from_slice(&[0; 4]);
        row.push(tree.tag());
        // Both fit: a value is at most VALUE_BYTES_MAX.
        row.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        row.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        row.extend_from_slice(key);
        row.extend_from_slice(body);
        let crc = self.checksum(&row);
        if let Some(field) = row.get_mut(5..9) {
            field.copy_from_slice(&crc.to_be_bytes());
        }
        row
    }

    /// The body of a row, if it is whole and belongs to this key.
    pub(super) fn open<'a>(self, tree: Tree, key: &[u8], row: &'a [u8]) -> Result<Row<'a>, NoRow> {
        if !row.starts_with(&self.halves().0) {
            return open_1(tree, key, row);
        }
        let whole = self.read(row).ok_or(NoRow::Broken)?;
        if whole.len != row.len() || (whole.tag, whole.key) != (tree.tag(), key) {
            return Err(NoRow::Broken);
        }
        if is_known(tree, whole.version) {
            Ok(Row { version: whole.version, body: whole.body })
        } else {
            Err(NoRow::TooNew(whole.version))
        }
    }

    /// The row at the start of `bytes`, whatever its version.
    fn read(self, bytes: &[u8]) -> Option<Whole<'_>> {
        let head = bytes.first_chunk::<HEAD>()?;
        let [_, _, _, _, version, c0, c1, c2, c3, tag, k0, k1, b0, b1] = *head;
        let key_len = usize::from(u16::from_be_bytes([k0, k1]));
        let body_len = usize::from(u16::from_be_bytes([b0, b1]));
        let len = HEAD + key_len + body_len;
        let row = bytes.get(..len)?;
        if !row.starts_with(&self.halves().0) || self.checksum(row) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return None;
        }
        let (key, body) = row.get(HEAD..)?.split_at_checked(key_len)?;
        Some(Whole { version, tag, key, body, len })
    }

    /// Calls for each whole row in `bytes`, wherever it lies: current ones, and older ones that the engine has
    /// not overwritten yet. Rows of version 1 cannot be found.
    pub(super) fn carve<'a>(self, bytes: &'a [u8], mut found: impl FnMut(Carved<'a>)) {
        let finder = memchr::memmem::Finder::new(&self.0[..4]);
        let mut at = 0;
        while let Some(ahead) = finder.find(bytes.get(at..).unwrap_or_default()) {
            at += ahead;
            let rest = bytes.get(at..).unwrap_or_default();
            let row = self.read(rest).and_then(|row| Some((Tree::of_tag(row.tag)?, row)));
            match row.filter(|(tree, row)| is_known(*tree, row.version)) {
                Some((tree, row)) => {
                    found(Carved { tree, key: row.key, row: rest.get(..row.len).unwrap_or_default() });
                    at += row.len;
                }
                None => at += 1,
            }
        }
    }

    fn checksum(self, row: &[u8]) -> u32 {
        let version = crc32c::crc32c_append(self.halves().1, row.get(4..5).unwrap_or_default());
        crc32c::crc32c_append(version, row.get(9..).unwrap_or_default())
    }
}

/// Whether rows of this tree have this version, but for the first, which looks otherwise.
fn is_known(tree: Tree, version: u8) -> bool {
    version == VERSION || (version == EVICTED && tree == Tree::Documents)
}

fn open_1<'a>(tree: Tree, key: &[u8], row: &'a [u8]) -> Result<Row<'a>, NoRow> {
    let (head, body) = row.split_first_chunk::<HEAD_1>().ok_or(NoRow::Broken)?;
    let [version, crc @ ..] = *head;
    if version != 1 || u32::from_be_bytes(crc) != checksum_1(tree, key, version, body) {
        return Err(NoRow::Broken);
    }
    Ok(Row { version, body })
}

/// Bytes that pass for a row, whatever its version.
struct Whole<'a> {
    version: u8,
    tag: u8,
    key: &'a [u8],
    body: &'a [u8],
    len: usize,
}

/// A row that was found among other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carved<'a> {
    pub(super) tree: Tree,
    pub(super) key: &'a [u8],
    /// The row as its engine would give it.
    pub(super) row: &'a [u8],
}

fn checksum_1(tree: Tree, key: &[u8], version: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[tree.tag()]);
    crc.update(&(key.len() as u64).to_be_bytes());
    crc.update(key);
    crc.update(&[version]);
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: Mark = Mark(*b"\xd4ROWmark");
    /// Written by the second version; must be read for ever.
    const GOLDEN: &[u8] = b"\xd4ROW\x02\xb6\xc3\xd6\xad\x02\x00\x03\x00\x04keybody";
    /// Written by the first.
    const GOLDEN_1: &[u8] = &[1, 0x9b, 0xf0, 0x23, 0x07, b'b', b'o', b'd', b'y'];

    #[test]
    fn golden_bytes_of_a_row() {
        assert_eq!(MARK.seal(Tree::Tails, b"key", b"body"), GOLDEN);
        assert_eq!(MARK.open(Tree::Tails, b"key", GOLDEN), Ok(Row { version: 2, body: b"body" }));
        assert_eq!(MARK.open(Tree::Tails, b"key", GOLDEN_1), Ok(Row { version: 1, body: b"body" }));
    }

    #[test]
    fn changed_and_misplaced_rows_are_seen() {
        for golden in [GOLDEN, GOLDEN_1] {
            assert_eq!(MARK.open(Tree::Snapshots, b"key", golden), Err(NoRow::Broken));
            assert_eq!(MARK.open(Tree::Tails, b"kez", golden), Err(NoRow::Broken));
            for bit in 0..golden.len() * 8 {
                let mut row = golden.to_vec();
                row[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(MARK.open(Tree::Tails, b"key", &row), Err(NoRow::Broken), "bit {bit}");
            }
            for len in 0..golden.len() {
                assert_eq!(MARK.open(Tree::Tails, b"key", &golden[..len]), Err(NoRow::Broken));
            }
        }
        let mut later = GOLDEN.to_vec();
        later[4] = 3;
        let crc = MARK.checksum(&later).to_be_bytes();
        later[5..9].copy_from_slice(&crc);
        assert_eq!(MARK.open(Tree::Tails, b"key", &later), Err(NoRow::TooNew(3)));
    }

    proptest! {
        /// Among any bytes, and next to one that is damaged, each whole row is found.
        #[test]
        fn rows_are_carved_out_of_anything(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..10),
            between in prop::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
        ) {
            let rows: Vec<_> = bodies.iter().map(|body| MARK.seal(Tree::Snapshots, b"a key", body)).collect();
            let mut bytes = Vec::new();
            let mut starts = Vec::new();
            for row in &rows {
                bytes.extend_from_slice(&between);
                starts.push(bytes.len());
                bytes.extend_from_slice(row);
            }
            let flipped = at.index(bytes.len());
            bytes[flipped] ^= 1;
            let expected: Vec<_> = rows.iter().zip(starts)
                .filter(|(row, start)| !(*start..start + row.len()).contains(&flipped))
                .map(|(row, _)| row.clone()).collect();
            let mut found = Vec::new();
            MARK.carve(&bytes, |carved| {
                assert_eq!((carved.tree, carved.key), (Tree::Snapshots, &b"a key"[..]));
                found.push(carved.row.to_vec());
            });
            prop_assert_eq!(found, expected);
        }
    }
}
