//! Sync messages.
//!
//! | part | layout |
//! |---|---|
//! | version | 1 byte: `42` or `43` |
//! | heads, need | count, 32-byte hashes |
//! | have | count of { hashes, counted bloom filter: entries, bits per entry, probes, bits } |
//! | changes | count of counted byte strings, together a run of chunks |
//! | flags | counted bytes, absent before 0.5 |

use super::budget::Budget;
use super::chunk::validate_run;
use super::error::InvalidAutomerge;
use super::leb::Leb;
use crate::limits::UPDATE_BYTES_MAX;

/// Most probes of a bloom filter; stock peers use 7, each costs an allocation of 4 bytes a lookup.
const PROBES_MAX: u64 = 64;

/// Checks one whole sync message, its changes included.
///
/// # Errors
/// [`InvalidAutomerge`] names the first thing that is wrong.
pub fn validate_sync_message(bytes: &[u8]) -> Result<(), InvalidAutomerge> {
    if bytes.len() > UPDATE_BYTES_MAX {
        return Err(InvalidAutomerge::TooLarge { found: bytes.len() });
    }
    let mut budget = Budget::of(bytes.len());
    let mut reader = Leb::new(bytes);
    match reader.u8()? {
        0x42 | 0x43 => {}
        found => return Err(InvalidAutomerge::UnknownMessage { found }),
    }
    reader.hashes()?;
    reader.hashes()?;
    for _ in 0..reader.count(2)? {
        reader.hashes()?;
        validate_bloom(reader.counted()?)?;
    }
    for _ in 0..reader.count(1)? {
        validate_run(reader.counted()?, &mut budget)?;
    }
    if !reader.is_empty() {
        reader.counted()?;
    }
    reader.end()
}

/// What a sync message says, read without its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncOutline<'a> {
    /// Where its sender stands: hashes of 32 bytes in a row. None of a document without a change.
    pub heads: &'a [u8],
    /// Whether it asks for changes by their hashes.
    pub asks: bool,
    /// Whether it brings changes.
    pub brings: bool,
}

impl<'a> SyncOutline<'a> {
    /// Of a whole sync message.
    ///
    /// # Errors
    /// [`InvalidAutomerge`], but for nothing that [`validate_sync_message`] let pass.
    pub fn of(bytes: &'a [u8]) -> Result<Self, InvalidAutomerge> {
        let mut reader = Leb::new(bytes);
        reader.u8()?;
        let mut heads = reader;
        let heads_len = 32 * usize::try_from(heads.count(32)?).map_err(|_| InvalidAutomerge::Integer)?;
        let heads = heads.take(heads_len)?;
        reader.hashes()?;
        let asks = reader.hashes()? > 0;
        for _ in 0..reader.count(2)? {
            reader.hashes()?;
            reader.counted()?;
        }
        Ok(Self { heads, asks, brings: reader.count(1)? > 0 })
    }
}

fn validate_bloom(bytes: &[u8]) -> Result<(), InvalidAutomerge> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut reader = Leb::new(bytes);
    let (entries, bits, probes) = (reader.u64()?, reader.u64()?, reader.u64()?);
    // No bits under an entry divides by zero in the engine.
    let sound = entries == 0 || (bits > 0 && bits <= 1024 && (1..=PROBES_MAX).contains(&probes));
    let expected = entries.checked_mul(bits).map(|bits| bits.div_ceil(8));
    if sound && expected == Some(reader.rest().len() as u64) { Ok(()) } else { Err(InvalidAutomerge::Bloom) }
}
