//! Automerge chunks with right checksums, as somebody who forges them writes them: automerge refuses a wrong one
//! before it reads what is behind, and a fuzzer does not guess a SHA-256.

use std::io::Read;

use flate2::read::DeflateDecoder;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;
const DEFLATED: u8 = 2;
/// Longer ones keep their wrong checksum.
const INFLATED_BYTES_MAX: u64 = 1024 * 1024;

/// Makes the checksum right of every chunk that is in these bytes.
pub(crate) fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(&MAGIC)
            && let Some(sum) = checksum(&bytes[at..])
        {
            sealed[at + 4..at + 8].copy_from_slice(&sum);
        }
    }
    sealed
}

fn checksum(chunk: &[u8]) -> Option<[u8; 4]> {
    let kind = *chunk.get(8)?;
    let (len, head) = read_leb(&chunk[9..])?;
    let end = (9 + head).checked_add(len)?;
    let whole = chunk.get(8..end)?;
    let hash = if kind == DEFLATED {
        let mut body = Vec::new();
        DeflateDecoder::new(&whole[1 + head..]).take(INFLATED_BYTES_MAX).read_to_end(&mut body).ok()?;
        let mut plain = vec![CHANGE];
        write_leb(&mut plain, body.len());
        plain.append(&mut body);
        Sha256::digest(plain)
    } else {
        Sha256::digest(whole)
    };
    hash.first_chunk().copied()
}

/// A sync message that brings these chunks.
pub(crate) fn message(chunks: &[u8]) -> Vec<u8> {
    let mut message = vec![0x42, 0, 0, 0, 1];
    write_leb(&mut message, chunks.len());
    message.extend_from_slice(chunks);
    message
}

/// A number and how many bytes it took.
fn read_leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

fn write_leb(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
