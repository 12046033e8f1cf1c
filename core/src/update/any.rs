//! Skips one `Any` value of lib0 without recursion, so that nesting cannot exhaust a stack
//! (HAZARDS: yrs-3).
//!
//! Tags (lib0 0.2.120 `writeAny`): 127 undefined, 126 null, 125 varInt, 124 f32, 123 f64, 122 i64,
//! 121 false, 120 true, 119 string, 118 object, 117 array, 116 bytes.

use super::error::InvalidUpdate;
use crate::limits::NESTING_MAX;
use crate::wire::lib0::{Lib0Error, Reader};

/// Reads past one value; at most [`NESTING_MAX`] containers may be open at once.
pub(super) fn skip_any(reader: &mut Reader<'_>) -> Result<(), InvalidUpdate> {
    // One entry for each open container: values still to come, and whether a key precedes each.
    let mut open: Vec<(u64, bool)> = Vec::new();
    loop {
        if let Some((left, keyed)) = open.last_mut() {
            if *left == 0 {
                open.pop();
                if open.is_empty() {
                    return Ok(());
                }
                continue;
            }
            *left -= 1;
            if *keyed {
                reader.var_str()?;
            }
        }
        match reader.u8()? {
            120 | 121 | 126 | 127 => {}
            125 => skip_var_int(reader)?,
            124 => drop(reader.bytes(4)?),
            122 | 123 => drop(reader.bytes(8)?),
            119 => drop(reader.var_str()?),
            116 => drop(reader.var_bytes()?),
            tag @ (117 | 118) => {
                if open.len() >= NESTING_MAX {
                    return Err(InvalidUpdate::Nesting);
                }
                let keyed = tag == 118;
                let claimed = count(reader, if keyed { 2 } else { 1 })?;
                open.push((claimed, keyed));
            }
            tag => return Err(InvalidUpdate::UnknownAny { tag }),
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// Reads a count of elements that take at least `bytes_min` bytes each.
pub(super) fn count(reader: &mut Reader<'_>, bytes_min: usize) -> Result<u64, InvalidUpdate> {
    let claimed = reader.var_u64()?;
    if claimed > (reader.rest().len() / bytes_min.max(1)) as u64 {
        return Err(InvalidUpdate::Count { claimed });
    }
    Ok(claimed)
}

fn skip_var_int(reader: &mut Reader<'_>) -> Result<(), InvalidUpdate> {
    let mut byte = reader.u8()?;
    let mut value = u64::from(byte & 0x3f);
    let mut shift = 6u32;
    while byte & 0x80 != 0 {
        byte = reader.u8()?;
        let group = u64::from(byte & 0x7f);
        if shift > 48 || (shift == 48 && group > 0x1f) {
            return Err(Lib0Error::TooLarge.into());
        }
        value |= group << shift;
        shift += 7;
    }
    debug_assert!(value < 1 << 53);
    Ok(())
}
