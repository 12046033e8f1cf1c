//! One page of changes: each document once, at its latest number.
//!
//! The file may have several changes of a document. So a stretch of it is taken, and what comes again behind it is taken out:
//! memory follows the page and what is on its way to the shelf.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

use tombolo_core::id::DocumentId;

use super::file::FeedFile;

/// Least number of changes in a stretch.
const STRETCH_MIN: usize = 1024;

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) documents: Vec<(DocumentId, u64)>,
    pub(super) more: bool,
}

/// The first documents with changes above a number, at most `limit`, in the order of their latest numbers. `on_the_way` is what the file does not have yet, each document once, in the order of numbers.
/// None if a row of the file is not whole any more.
///
/// # Errors
/// What the disk says.
pub(super) fn page(
    file: &FeedFile,
    above: u64,
    on_the_way: Vec<(DocumentId, u64)>,
    limit: usize,
) -> io::Result<Option<Page>> {
    let later: HashSet<Vec<u8>> = on_the_way.iter().map(|(id, _)| id.to_key()).collect();
    let mut found = Vec::new();
    let (mut above, mut from) = (above, None);
    while found.len() <= limit {
        let Some(stretch) = stretch(file, above, from, &later, limit.max(STRETCH_MIN))? else {
            return Ok(None);
        };
        let Some(next) = stretch.next else { break };
        (above, from) = (next.0, Some(next.1));
        let mut changes: Vec<_> = stretch.changes.into_iter().map(|(key, number)| (number, key)).collect();
        changes.sort_unstable();
        for (number, key) in changes {
            // A key with a right checksum that is no name was written by nobody.
            let Ok(id) = DocumentId::from_key(&key) else { return Ok(None) };
            found.push((id, number));
        }
    }
    found.extend(on_the_way);
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Some(Page { documents: found, more }))
}

/// Changes that no later one supersedes, by key.
struct Stretch {
    changes: HashMap<Vec<u8>, u64>,
    /// The last number that was looked at and its place; none if there was no change.
    next: Option<(u64, u64)>,
}

fn stretch(
    file: &FeedFile,
    above: u64,
    from: Option<u64>,
    later: &HashSet<Vec<u8>>,
    len: usize,
) -> io::Result<Option<Stretch>> {
    let mut stretch = Stretch { changes: HashMap::new(), next: None };
    let mut taking = true;
    let whole = file.changes(above, from, &mut |at, number, key| {
        if !taking {
            stretch.changes.remove(key);
            // Nothing is left that a later one could take out.
            return if stretch.changes.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        if !later.contains(key) {
            stretch.changes.insert(key.to_vec(), number);
        }
        stretch.next = Some((number, at));
        taking = stretch.changes.len() < len;
        ControlFlow::Continue(())
    })?;
    Ok(whole.then_some(stretch))
}
