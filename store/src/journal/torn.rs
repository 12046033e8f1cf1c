//! What a write that was cut off leaves, and what it cannot leave.
//!
//! A disk writes sectors whole, and a write that fails or is killed stops somewhere. Behind the last record a segment
//! is blank, so a record that was cut off has a sector that is still blank, or ends in blank. One without either has
//! been changed after it was written. That tells damage from a torn tail also in the last group, behind which nothing
//! says yet that it was durable. Where it cannot be told (a changed length that reaches into blank space, a record
//! that ends in zeros by itself) it counts as torn, and so does a single byte in blank space.

use super::record::{ALIGNMENT, HEAD, Head};

/// What a disk writes whole, in bytes; a larger unit is a multiple of it.
const SECTOR: usize = 512;

/// Whether a cut can have left what lies at `end`, where a record should be and none is.
pub(super) fn is_possible(bytes: &[u8], end: usize) -> bool {
    let rest = bytes.get(end..).unwrap_or_default();
    let until = (end / SECTOR + 1) * SECTOR - end;
    let first = rest.get(..until).unwrap_or(rest);
    if is_blank(first) || rest.iter().take(HEAD).filter(|byte| **byte != 0).count() <= 1 {
        return true;
    }
    // The sector is as it was to be, and with it what it has of the head; the next one may not be.
    let Some(record) = Head::read(rest).and_then(|head| rest.get(..head.record_len())) else { return true };
    let behind = record.get(until..).unwrap_or_default();
    behind.chunks(SECTOR).any(is_blank) || record.last_chunk::<ALIGNMENT>().is_some_and(|end| is_blank(end))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// How many bytes there are up to the last that is not blank.
pub(super) fn up_to_blank(bytes: &[u8]) -> usize {
    const BLANK: [u8; 4096] = [0; 4096];
    // Compared in pieces: nearly all of it is blank nearly always.
    let mut len = bytes.len();
    for piece in bytes.rchunks(BLANK.len()) {
        if BLANK.get(..piece.len()) != Some(piece) {
            return len - piece.iter().rev().take_while(|byte| **byte == 0).count();
        }
        len -= piece.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::up_to_blank;

    #[test]
    fn blank_ends_do_not_count() {
        for len in [0, 1, 4095, 4096, 4097, 9000] {
            let mut bytes = vec![0; len];
            assert_eq!(up_to_blank(&bytes), 0);
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
                bytes[at] = 7;
                assert_eq!(up_to_blank(&bytes), at + 1, "{at} of {len}");
            }
        }
    }
}
