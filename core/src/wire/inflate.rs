//! Raw DEFLATE with an end: inflating stops at an absolute size and at a ratio, whichever comes first.
//!
//! A megabyte can inflate to gigabytes before any checksum is looked at (HAZARDS: am-2).

use flate2::{Decompress, FlushDecompress, Status};

use crate::limits::{INFLATE_RATIO_MAX, INFLATED_BYTES_MAX};

/// Size in bytes below which no ratio is asked for: small runs of one byte compress by more.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
const STEP_BYTES: usize = 32 * 1024;

/// Why bytes were not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InflateError {
    /// The bytes are no complete DEFLATE stream.
    #[error("the compressed bytes are malformed")]
    Malformed,
    /// Bytes follow the end of the stream.
    #[error("bytes remain behind the compressed stream")]
    Trailing,
    /// The stream inflates to more than is accepted.
    #[error("the compressed bytes inflate beyond the accepted size")]
    TooLarge,
}

/// Inflates one whole raw DEFLATE stream.
///
/// # Errors
/// [`InflateError`] if the stream is malformed, followed by other bytes or too large. At most one step
/// of 32 KiB more than the bound is ever held.
pub fn inflate(deflated: &[u8]) -> Result<Vec<u8>, InflateError> {
    let by_ratio = deflated.len().saturating_mul(INFLATE_RATIO_MAX).max(RATIO_FREE_BYTES);
    let bound = by_ratio.min(INFLATED_BYTES_MAX);
    let mut stream = Decompress::new(false);
    let mut out = Vec::new();
    let mut rest = deflated;
    loop {
        out.reserve(STEP_BYTES);
        let (taken, made) = (stream.total_in(), stream.total_out());
        // Not Finish: with the room of one step only, some backends of flate2 take that for the end (miniz_oxide does).
        let status = stream
            .decompress_vec(rest, &mut out, FlushDecompress::None)
            .map_err(|_| InflateError::Malformed)?;
        if out.len() > bound {
            return Err(InflateError::TooLarge);
        }
        let taken = usize::try_from(stream.total_in() - taken).map_err(|_| InflateError::Malformed)?;
        rest = rest.get(taken..).unwrap_or_default();
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(out),
            Status::StreamEnd => return Err(InflateError::Trailing),
            _ if taken == 0 && stream.total_out() == made => return Err(InflateError::Malformed),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn streams_come_back_and_cuts_do_not() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let deflated = deflate(&bytes);
        assert_eq!(inflate(&deflated), Ok(bytes));
        assert_eq!(inflate(&deflated[..deflated.len() - 1]), Err(InflateError::Malformed));
        assert_eq!(inflate(&[&deflated[..], &[0]].concat()), Err(InflateError::Trailing));
        assert_eq!(inflate(&[]), Err(InflateError::Malformed));
        assert_eq!(inflate(&deflate(&[])), Ok(vec![]));
    }

    #[test]
    fn bombs_are_stopped() {
        assert_eq!(inflate(&deflate(&vec![0; 1 << 20])), Ok(vec![0; 1 << 20]));
        assert_eq!(inflate(&deflate(&vec![0; 64 << 20])), Err(InflateError::TooLarge));
    }
}
