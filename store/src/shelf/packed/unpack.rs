//! Packed bytes into a snapshot, or into what is known of it.
//!
//! Guarantee: no byte is given away that is not as it was packed, and no more memory is taken than the packed bytes
//! can fill or a record, which has a checksum, vouches for.

use bytes::Bytes;
use lz4_flex::block::decompress_into;
use tombolo_core::update::Outline;

use super::head::{Blocks, Head, Packing};
use super::{BYTES_MAX, Unpackable};

/// Bytes that one byte of an LZ4 block can stand for.
const BLOCK_RATIO_MAX: usize = 255;

impl Head {
    /// The outline, and the deletes unpacked, from the head with what follows of it and from the bytes behind
    /// [`Head::tail_at`], of a snapshot that is so long unpacked.
    pub(in super::super) fn survey(
        &self,
        first: &[u8],
        tail: &[u8],
        snapshot_bytes: usize,
    ) -> Result<(Outline, Bytes), Unpackable> {
        let outline = self.outline(first, tail)?;
        let packed = tail.len().checked_sub(self.deletes).and_then(|at| tail.get(at..));
        let len = snapshot_bytes.checked_sub(outline.deletes_at());
        let deletes = packed.zip(len).and_then(|(packed, len)| match &self.packing {
            Packing::Frames { .. } => frames(packed, len),
            Packing::Blocks(blocks) => {
                let mut deletes = room(packed.len(), len)?;
                block(packed, &mut deletes, blocks.deletes_crc)?;
                Some(deletes.into())
            }
        });
        Ok((outline, deletes.ok_or(Unpackable::Damaged("its deletes do not unpack"))?))
    }
}

/// Unpacks a snapshot that is so long unpacked.
pub(in super::super) fn unpack(packed: &[u8], len: usize) -> Result<(Bytes, Option<Outline>), Unpackable> {
    let (snapshot, outline) = match Head::read(packed)? {
        None => (frames(packed, len), None),
        Some(head) => {
            let tail = head.tail_at(packed.len()).and_then(|at| packed.get(at..)).unwrap_or_default();
            let outline = head.outline(packed, tail)?;
            let rest = packed.get(head.len..).unwrap_or_default();
            let snapshot = match &head.packing {
                Packing::Frames { .. } => frames(rest, len),
                Packing::Blocks(found) if found.update == len => {
                    let split = rest.len().checked_sub(head.deletes).and_then(|at| rest.split_at_checked(at));
                    split.and_then(|split| blocks(found, split, outline.deletes_at()))
                }
                Packing::Blocks(_) => None,
            };
            (snapshot, Some(outline))
        }
    };
    let damaged = Unpackable::Damaged("the snapshot does not unpack to the size it had");
    Ok((snapshot.ok_or(damaged)?, outline))
}

/// Unpacks bytes of which nothing tells how long they are; none if they are not one snapshot.
pub(in super::super) fn unpack_unknown(packed: &[u8]) -> Option<Bytes> {
    let size = |frame: &[u8]| {
        let size = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
        usize::try_from(size).ok().filter(|size| *size <= BYTES_MAX)
    };
    let len = match Head::read(packed).ok()? {
        None => size(packed)?,
        Some(Head { packing: Packing::Blocks(blocks), .. }) => blocks.update,
        Some(head) => {
            let deletes = packed.len().checked_sub(head.deletes).and_then(|at| packed.get(at..))?;
            size(packed.get(head.len..)?)? + size(deletes)?
        }
    };
    unpack(packed, len).ok().map(|(snapshot, _)| snapshot)
}

/// One zstd frame or two, if they unpack to that length.
fn frames(packed: &[u8], len: usize) -> Option<Bytes> {
    let unpacked = zstd::bulk::decompress(packed, Some(len).filter(|len| *len <= BYTES_MAX)?).ok()?;
    (unpacked.len() == len).then(|| unpacked.into())
}

/// The update from its two blocks, the first of which unpacks to so many bytes.
fn blocks(found: &Blocks, (structs, deletes): (&[u8], &[u8]), deletes_at: usize) -> Option<Bytes> {
    let mut update = room(structs.len() + deletes.len(), found.update)?;
    let (structs_out, deletes_out) = update.split_at_mut_checked(deletes_at)?;
    block(structs, structs_out, found.structs_crc)?;
    block(deletes, deletes_out, found.deletes_crc)?;
    Some(update.into())
}

/// Room for what a block unpacks to, if it can.
pub(super) fn room(packed: usize, len: usize) -> Option<Vec<u8>> {
    (len <= BYTES_MAX && len / BLOCK_RATIO_MAX <= packed).then(|| vec![0; len])
}

/// One block, if it fills the room and is what it was.
fn block(packed: &[u8], room: &mut [u8], crc: u32) -> Option<()> {
    let len = decompress_into(packed, room).ok()?;
    (len == room.len() && crc32c::crc32c(room) == crc).then_some(())
}
