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
