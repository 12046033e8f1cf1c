//! The file `repaired` in a copy that repair made: whose copy it is, and that nobody used it since.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLRPR1` |
//! | 8 | 32 | BLAKE3 of the whole path of the original |
//! | 40 | 32 | BLAKE3 of the replica file that the copy gets; of nothing if it gets none |
//! | 72 | 4 | CRC-32C of the bytes before |
//!
//! A store that is opened writes its replica file anew. So a copy with another one may hold edits of its own, and is
//! never removed.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::identity;

const MAGIC: &[u8; 8] = b"TMBLRPR1";
const NAME: &str = "repaired";

type Hash = [u8; 32];

/// Marks the folder `to` as a copy of another one.
pub(super) fn write(original: &Path, to: &Path) -> io::Result<()> {
    let replica = identity::carried(original)?.unwrap_or_default();
    let bytes = encode(&name_of(original)?, blake3::hash(&replica).as_bytes());
    fs::write(to.join(NAME), bytes)?;
    fs::File::open(to.join(NAME))?.sync_all()
}

/// It is a copy no more.
pub(super) fn remove(copy: &Path) -> io::Result<()> {
    absent(fs::remove_file(copy.join(NAME))).map(drop)
}

/// Why a folder must not be removed, unless it is an unused copy of this original.
pub(super) fn objection(original: &Path, copy: &Path) -> io::Result<Option<&'static str>> {
    let Some((of, given)) = absent(fs::read(copy.join(NAME)))?.and_then(|bytes| decode(&bytes)) else {
        return Ok(Some("it is not what a repair made"));
    };
    if of != name_of(original)? {
        return Ok(Some("it is what the repair of another folder made"));
    }
    // A repair that was stopped did not come to it.
    let replica = absent(fs::read(copy.join("replica")))?;
    let unused = replica.is_none_or(|bytes| *blake3::hash(&bytes).as_bytes() == given);
    Ok((!unused)
        .then_some("the copy that is there was used since it was made, so it may have edits of its own"))
}

fn name_of(original: &Path) -> io::Result<Hash> {
    Ok(*blake3::hash(fs::canonicalize(original)?.as_os_str().as_bytes()).as_bytes())
}

pub(super) fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn encode(of: &Hash, replica: &Hash) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], of, replica].concat();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Hash, Hash)> {
    let (whole, crc) = bytes.split_last_chunk::<4>()?;
    let (of, replica) = whole.strip_prefix(MAGIC)?.split_first_chunk()?;
    let replica = replica.try_into().ok()?;
    (crc32c::crc32c(whole) == u32::from_be_bytes(*crc)).then_some((*of, replica))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_mark() {
        let mut golden = [&b"TMBLRPR1"[..], &[7; 32], &[8; 32]].concat();
        golden.extend(crc32c::crc32c(&golden).to_be_bytes());
        assert_eq!(encode(&[7; 32], &[8; 32]), golden);
        assert_eq!(decode(&golden), Some(([7; 32], [8; 32])));
        for at in 0..golden.len() {
            let mut bytes = golden.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes), None, "byte {at}");
            assert_eq!(decode(&golden[..at]), None);
        }
    }
}
