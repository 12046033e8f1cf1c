//! What stands before the structs of a packed update: its outline, and what binds that to the rest.
//!
//! Guarantee: an outline or deletes that are given away are those of the update that they were packed with.

use tombolo_core::update::Outline;

use super::Unpackable;

const MAGIC: [u8; 4] = [0x54, 0x2a, 0x4d, 0x18];
/// Where the length of what follows ends, and the version stands.
const AT_VERSION: usize = 8;
const VERSION: u8 = 2;
const BYTES: usize = 29;
/// Of version 1.
const BYTES_1: usize = 17;
/// Why bytes that begin like a head are none.
const CUT_OFF: Unpackable = Unpackable::Damaged("its outline is cut off");

/// What stands before the structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Head {
    /// Its length in bytes, with the outline.
    pub(in super::super) len: usize,
    /// That of the packed deletes, which are the last of the packed bytes.
    pub(super) deletes: usize,
    pub(super) packing: Packing,
}

/// How structs and deletes are packed, and what binds them to the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Of version 1: zstd frames, and the checksum over head, outline and their last bytes.
    Frames { crc: u32 },
    /// Of version 2.
    Blocks(Blocks),
}

/// Of two LZ4 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Bytes of the update.
    pub(super) update: usize,
    /// Checksums of what they unpack to.
    pub(super) structs_crc: u32,
    pub(super) deletes_crc: u32,
    head_crc: u32,
}

fn checksum(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

impl Head {
    /// The head of an update in two parts, of which the second is packed in so many bytes. None if anything is
    /// longer than it can say.
    pub(super) fn write(
        (structs, deletes): (&[u8], &[u8]),
        packed_deletes: usize,
        outline: &[u8],
    ) -> Option<Vec<u8>> {
        let mut head = Vec::with_capacity(BYTES + outline.len());
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&u32::try_from(BYTES - AT_VERSION + outline.len()).ok()?.to_le_bytes());
        head.push(VERSION);
        head.extend_from_slice(&u32::try_from(packed_deletes).ok()?.to_be_bytes());
        head.extend_from_slice(&u32::try_from(structs.len() + deletes.len()).ok()?.to_be_bytes());
        head.extend_from_slice(&checksum(&[structs]).to_be_bytes());
        head.extend_from_slice(&checksum(&[deletes]).to_be_bytes());
        let crc = checksum(&[head.get(MAGIC.len()..)?, outline]);
        head.extend_from_slice(&crc.to_be_bytes());
        head.extend_from_slice(outline);
        Some(head)
    }

    /// The head of packed bytes, of which only the first need be here. None if there is none.
    pub(in super::super) fn read(packed: &[u8]) -> Result<Option<Self>, Unpackable> {
        let Some(rest) = packed.strip_prefix(&MAGIC) else { return Ok(None) };
        let (following, rest) = rest.split_first_chunk().ok_or(CUT_OFF)?;
        let (&version, mut rest) = rest.split_first().ok_or(CUT_OFF)?;
        let following = usize::try_from(u32::from_le_bytes(*following)).map_err(|_| CUT_OFF)?;
        let mut field = || {
            let (field, behind) = rest.split_first_chunk().ok_or(CUT_OFF)?;
            rest = behind;
            Ok(u32::from_be_bytes(*field))
        };
        let length = |field: u32| usize::try_from(field).map_err(|_| CUT_OFF);
        let deletes = length(field()?)?;
        let (bytes, packing) = match version {
            1 => (BYTES_1, Packing::Frames { crc: field()? }),
            VERSION => {
                let (update, structs_crc) = (length(field()?)?, field()?);
                let (deletes_crc, head_crc) = (field()?, field()?);
                (BYTES, Packing::Blocks(Blocks { update, structs_crc, deletes_crc, head_crc }))
            }
            _ => return Err(Unpackable::TooNew(version)),
        };
        if following < bytes - AT_VERSION {
            return Err(Unpackable::Damaged("its outline has an impossible length"));
        }
        Ok(Some(Self { len: following.saturating_add(AT_VERSION), deletes, packing }))
    }

    /// Where of so many packed bytes starts what is needed beside the head for a survey; it reaches to their end.
    pub(in super::super) fn tail_at(&self, stored: usize) -> Option<usize> {
        let ends = match self.packing {
            Packing::Frames { .. } => 4,
            Packing::Blocks(_) => 0,
        };
        stored.checked_sub(self.deletes)?.checked_sub(ends).filter(|at| *at >= self.len)
    }

    /// The outline, from the head with what follows of it and from the bytes behind [`Head::tail_at`].
    pub(super) fn outline(&self, first: &[u8], tail: &[u8]) -> Result<Outline, Unpackable> {
        let part = |range| first.get(range).ok_or(CUT_OFF);
        let (outline, crcs) = match self.packing {
            Packing::Frames { crc } => {
                let (head, outline) = (part(AT_VERSION..BYTES_1 - 4)?, part(BYTES_1..self.len)?);
                let ends = [tail.first_chunk::<4>(), tail.last_chunk()];
                let ends = ends.map(|end| end.copied().unwrap_or_default());
                (outline, (crc, checksum(&[head, outline, &ends.concat()])))
            }
            Packing::Blocks(Blocks { head_crc, .. }) => {
                let outline = part(BYTES..self.len)?;
                (outline, (head_crc, checksum(&[part(MAGIC.len()..BYTES - 4)?, outline])))
            }
        };
        if crcs.0 != crcs.1 {
            return Err(Unpackable::Damaged("its outline belongs to another one"));
        }
        Outline::parse(outline).map_err(|_| Unpackable::Damaged("its outline cannot be read"))
    }
}
