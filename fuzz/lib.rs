//! The bodies of the fuzz targets, callable without a fuzzer: bytes in, a panic if a promise is broken.
//!
//! A test of the workspace replays the corpus through them (`node/tests/it/corpus.rs`). How to run them under
//! libFuzzer, and what has been run, is in `README.md`.

mod chunks; // forged checksums
mod cluster; // what another relay says
mod disk; // what a store finds on its disk
mod panics; // where engines panicked
mod validators; // what a client sends
mod worker; // what passed, to the engines

pub use cluster::cluster;
pub use disk::disk;
pub use validators::{automerge, awareness, dialects, update};
pub use worker::{died, worker};

/// Cuts an input in parts. Bytes that no UTF-8 has, so that parts may hold text; other than a length, a mark
/// survives what a fuzzer inserts before it.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, pair) in bytes.windows(2).enumerate() {
        if pair == [0xf5, 0xf6] && at >= start {
            parts.push(&bytes[start..at]);
            start = at + 2;
        }
    }
    parts.push(&bytes[start..]);
    parts
}
