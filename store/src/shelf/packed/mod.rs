//! A snapshot as it is packed.
//!
//! A Yjs update with an outline is packed in two LZ4 blocks, which a cold joiner waits for, behind a head:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | `54 2a 4d 18` |
//! | 4 | 4 | length of what follows of the head, little-endian |
//! | 8 | 1 | version: 2 |
//! | 9 | 4 | length of the second block |
//! | 13 | 4 | length of the update |
//! | 17 | 4 | CRC-32C of the update up to its deletes |
//! | 21 | 4 | CRC-32C of its deletes |
//! | 25 | 4 | CRC-32C of bytes 4 to 24 and the outline |
//! | 29 | | outline (`tombolo_core::update::Outline`) |
//! | | | LZ4 block: the update up to its deletes |
//! | | | LZ4 block: its deletes |
//!
//! So what an update holds is known without unpacking its structs, and an outline can belong to no other update.
//! Version 1 had two zstd frames with checksums instead of blocks, and at 13 a CRC-32C of bytes 8 to 12, the
//! outline at 17, and the last four bytes of either frame. It is read for ever.
//!
//! What has no outline (Automerge, an update with holes, everything that was stored before there were any) is one
//! zstd frame alone.

mod head; // what stands before the structs
mod pack; // a snapshot into bytes
#[cfg(test)]
mod tests;
mod unpack; // and back

pub(super) use head::Head;
pub(super) use pack::pack;
pub(super) use unpack::{unpack, unpack_unknown};

/// Longest snapshot unpacked, in bytes: a few packed ones may claim to unpack to any length.
pub(super) const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Why packed bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpackable {
    /// What is wrong.
    Damaged(&'static str),
    /// Written by a later version.
    TooNew(u8),
}
