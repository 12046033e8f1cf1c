//! What every row carries: a version, and a checksum that its tree and key are part of.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 4 | CRC-32 of the tree's tag, the key, the version and the body, big-endian |
//! | 5 | | body |

use super::{Tree, VALUE_BYTES_MAX};

const VERSION: u8 = 1;
const HEAD: usize = 5;

/// Largest body of a row in bytes.
pub(super) const BODY_BYTES_MAX: usize = VALUE_BYTES_MAX - HEAD;

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRow {
    /// Changed, or of another key.
    Broken,
    /// Whole, but of a later program.
    TooNew(u8),
}

/// Wraps a body.
pub(super) fn seal(tree: Tree, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD + body.len());
    row.push(VERSION);
    row.extend_from_slice(&checksum(tree, key, VERSION, body).to_be_bytes());
    row.extend_from_slice(body);
    row
}

/// The body of a row, if it is whole and belongs to this key.
pub(super) fn open<'a>(tree: Tree, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], NoRow> {
    let (head, body) = row.split_first_chunk::<HEAD>().ok_or(NoRow::Broken)?;
    let [version, crc @ ..] = *head;
    if u32::from_be_bytes(crc) != checksum(tree, key, version, body) {
        return Err(NoRow::Broken);
    }
    if version == VERSION { Ok(body) } else { Err(NoRow::TooNew(version)) }
}

fn checksum(tree: Tree, key: &[u8], version: u8, body: &[u8]) -> u32 {
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
    use super::*;

    #[test]
    fn golden_bytes_of_a_row() {
        let row = seal(Tree::Tails, b"key", b"body");
        assert_eq!(row, [1, 0x9b, 0xf0, 0x23, 0x07, b'b', b'o', b'd', b'y']);
        assert_eq!(open(Tree::Tails, b"key", &row), Ok(&b"body"[..]));
    }

    #[test]
    fn changed_and_misplaced_rows_are_seen() {
        let row = seal(Tree::Tails, b"key", b"body");
        assert_eq!(open(Tree::Snapshots, b"key", &row), Err(NoRow::Broken));
        assert_eq!(open(Tree::Tails, b"kez", &row), Err(NoRow::Broken));
        for bit in 0..row.len() * 8 {
            let mut row = row.clone();
            row[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Tree::Tails, b"key", &row), Err(NoRow::Broken));
        }
        let crc = checksum(Tree::Tails, b"key", 2, b"body").to_be_bytes();
        let later = [&[2][..], &crc, b"body"].concat();
        assert_eq!(open(Tree::Tails, b"key", &later), Err(NoRow::TooNew(2)));
    }
}
