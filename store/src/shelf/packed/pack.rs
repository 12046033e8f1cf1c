//! A snapshot into bytes: what is read by joiners so that it unpacks fast, the rest so that it is short.

use lz4_flex::block::compress;
use tombolo_core::update::Outline;

use super::head::Head;

/// Fast, and near the ratio of the slow levels on operation bytes.
const LEVEL: i32 = 3;

/// Packs a snapshot. An outline that is not one of these bytes is left out.
pub(in super::super) fn pack(snapshot: &[u8], outline: Option<&Outline>) -> std::io::Result<Vec<u8>> {
    match outline.and_then(|outline| blocks(snapshot, outline)) {
        Some(packed) => Ok(packed),
        None => frame(snapshot),
    }
}

fn blocks(snapshot: &[u8], outline: &Outline) -> Option<Vec<u8>> {
    let contents = snapshot.split_at_checked(outline.deletes_at())?;
    let (structs, deletes) = (compress(contents.0), compress(contents.1));
    let mut packed = Head::write(contents, deletes.len(), &outline.encode())?;
    packed.reserve_exact(structs.len() + deletes.len());
    packed.extend_from_slice(&structs);
    packed.extend_from_slice(&deletes);
    Some(packed)
}

fn frame(snapshot: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    // Rows have checksums of their own; this one says that they belong together.
    compressor.include_checksum(true)?;
    compressor.compress(snapshot)
}
