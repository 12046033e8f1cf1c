//! What happened in a world, as a hash, and as lines for people if they are wanted.
//!
//! Two runs of one plan are the same exactly if their hashes are.

use std::fmt::{self, Write as _};

use bytes::Bytes;

use crate::dialect::replica::{self, Message};
use crate::dialect::y_protocols::Message as Said;
use crate::update::Update;

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

    /// A frame arrived. Few want to read that, but it makes two runs differ.
    pub(super) fn frame(&mut self, now: u64, to: fmt::Arguments<'_>, frame: &Bytes) {
        self.hash.update(frame);
        if let Some(lines) = &mut self.lines
            && let Some(words) = describe(frame)
        {
            lines.push(format!("{now:>9}     {to} hears {words}"));
        }
    }

    pub(super) fn end(self) -> ([u8; 32], Vec<String>) {
        (*self.hash.finalize().as_bytes(), self.lines.unwrap_or_default())
    }
}

/// A frame about documents, in short.
fn describe(frame: &Bytes) -> Option<String> {
    let content = |update: &Update| {
        let blocks = update.blocks().map(|(client, from, to)| format!("{:x}:{from}-{to}", client % 4096));
        format!("{} and {} deletes", blocks.collect::<Vec<_>>().join(" "), update.deletes().count())
    };
    Some(match replica::parse(frame).ok()? {
        Message::Ping(_) | Message::Pong(_) => return None,
        Message::Y { handle, message } => {
            let said = match &message {
                Said::SyncStep1(_) => "a question".to_owned(),
                Said::SyncStep2(update) => format!("an answer: {}", content(update)),
                Said::Update(update) => format!("a change: {}", content(update)),
                Said::Awareness(_) | Said::QueryAwareness => "presence".to_owned(),
            };
            format!("{} {said}", handle.0)
        }
        other => format!("{other:?}"),
    })
}
