//! Row after row of a file, with the memory of one buffer.

use std::io;
use std::ops::ControlFlow;

use super::checkpoint::FeedId;
use super::row::{BODY_MAX, HEAD_LEN, Row};
use crate::disk::DiskFile;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Visits the rows between two places of a file with their places; gives back where it stopped: at the end, at what
/// is no row, or behind the row that was visited last.
///
/// # Errors
/// What the disk says.
pub(super) fn scan(
    file: &dyn DiskFile,
    feed: FeedId,
    (from, to): (u64, u64),
    visit: &mut dyn FnMut(u64, &Row<'_>) -> ControlFlow<()>,
) -> io::Result<u64> {
    let (mut at, mut buffer, mut used) = (from, Vec::new(), 0);
    while at < to {
        let rest = usize::try_from(to - at).unwrap_or(usize::MAX);
        if buffer.len() - used < rest.min(HEAD_LEN + BODY_MAX) {
            buffer.resize(rest.min(CHUNK), 0);
            file.read_at(at, &mut buffer)?;
            used = 0;
        }
        let bytes = buffer.get(used..).unwrap_or_default();
        let Some((row, len)) = Row::decode(bytes, feed, at) else { break };
        at += len as u64;
        used += len;
        if visit(at - len as u64, &row).is_break() {
            break;
        }
    }
    Ok(at)
}
