//! What happened in a world, as a hash, and as lines for people if they are wanted.
//!
//! Two runs of one plan are the same exactly if their hashes are.

use std::fmt::{self, Write as _};

/// What happened so far.
#[derive(Debug)]
pub(super) struct Trace {
    hash: blake3::Hasher,
    line: String,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keeps_lines: bool) -> Self {
        Self { hash: blake3::Hasher::new(), line: String::new(), lines: keeps_lines.then(Vec::new) }
    }

    /// Something happened at this time in ms.
    pub(super) fn note(&mut self, now: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Into memory.
        let _ = write!(self.line, "{now:>9} {what}");
        self.hash.update(self.line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    /// What nobody wants to read, but what makes two runs differ.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    pub(super) fn end(self) -> ([u8; 32], Vec<String>) {
        (*self.hash.finalize().as_bytes(), self.lines.unwrap_or_default())
    }
}
