//! Cutting concatenated Automerge bytes into chunks, and reading all of them or none.
//!
//! `load_incremental` answers `Ok` for bytes that it skipped (HAZARDS am-4). Here each chunk is read by
//! itself, so that a bad one is refused before any document has seen its neighbours.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | magic `85 6f 4a 83` |
//! | 4 | 4 | start of the SHA-256, checked by automerge |
//! | 8 | 1 | kind: 0 document, 1 change, 2 deflated change (3, bundle, is refused: an experiment upstream) |
//! | 9 | 1–10 | length of the body, unsigned LEB128 |

use automerge::{Automerge, Change, ChangeHash, LoadOptions, TextEncoding};
use bytes::Bytes;

use super::super::EngineError;
use crate::wire::lib0::Reader;

/// What a run of chunks holds.
#[derive(Default)]
pub(super) struct Chunks<'a> {
    /// Whole documents, unread.
    pub(super) documents: Vec<&'a [u8]>,
    /// Single changes, read.
    pub(super) changes: Vec<Change>,
}

impl<'a> Chunks<'a> {
    /// Reads `bytes` to their end and adds what is in them.
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> Result<(), EngineError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (kind, chunk, behind) = split(rest)?;
            match kind {
                DOCUMENT => self.documents.push(chunk),
                CHANGE | DEFLATED => {
                    self.changes.push(Change::from_bytes(chunk.to_vec()).map_err(EngineError::malformed)?);
                }
                other => return Err(EngineError::malformed(format_args!("a chunk of kind {other}"))),
            }
            rest = behind;
        }
        Ok(())
    }

    /// The names of the single changes.
    pub(super) fn hashes(&self) -> Vec<ChangeHash> {
        self.changes.iter().map(Change::hash).collect()
    }
}

/// Loads one document chunk strictly: checksum, columns and heads.
pub(super) fn load_document(chunk: &[u8]) -> Result<Automerge, EngineError> {
    Automerge::load_with_options(chunk, LoadOptions::new().text_encoding(TEXT_ENCODING))
        .map_err(EngineError::malformed)
}

/// A document without a change.
pub(super) fn empty_document() -> Automerge {
    Automerge::new_with_encoding(TEXT_ENCODING)
}

/// Changes as concatenated chunks.
pub(super) fn raw(changes: &[Change]) -> Bytes {
    changes.iter().flat_map(Change::raw_bytes).copied().collect()
}

/// One chunk off the front: its kind, all its bytes, what is behind it. A length of a chunk within our
/// limits fits the 53 bits of a lib0 integer, which is coded as LEB128 is.
fn split(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), EngineError> {
    let mut reader = Reader::new(bytes);
    if reader.bytes(4).map_err(EngineError::malformed)? != MAGIC {
        return Err(EngineError::malformed("no chunk starts here"));
    }
    reader.bytes(4).map_err(EngineError::malformed)?;
    let kind = reader.u8().map_err(EngineError::malformed)?;
    reader.var_bytes().map_err(EngineError::malformed)?;
    let behind = reader.rest();
    let chunk = bytes.get(..bytes.len().saturating_sub(behind.len())).unwrap_or_default();
    Ok((kind, chunk, behind))
}

/// How positions in a text are counted by who edits one here: in bytes, as Rust and autosurgeon do (HAZARDS am-11).
/// Nothing stored or sent depends on it.
const TEXT_ENCODING: TextEncoding = TextEncoding::Utf8CodeUnit;
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;
const DEFLATED: u8 = 2;
