//! File descriptors: one for each connection, and some that the store must never be without.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for journal, shelves, merge processes and logs.
const RESERVE: u64 = 256;

/// Raises this process's limit to what the system allows; gives back how many connections that leaves room for.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where the system refuses, the lower limit stands.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = usize::try_from(descriptors.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::info!(descriptors, room, "fewer connections than wanted; raise the limit with ulimit -n");
    }
    wanted.min(room)
}
